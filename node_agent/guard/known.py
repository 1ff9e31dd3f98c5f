"""Which Patroni the guard was written against: exact versions, and the exact text of every function it replaces, calls
or counts on. Anything else is refused; the way to a new version is in docs/patroni-guard.md.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

SourceOf = Callable[[str], str]

REPLACED = (
    "patroni.dcs.etcd3:Etcd3._update_leader",
    "patroni.dcs.etcd3:Etcd3._do_refresh_lease",
    "patroni.dcs.etcd3:Etcd3Client.put",
    "patroni.ha:Ha.acquire_lock",
    "patroni.ha:Ha._is_healthiest_node",
    "patroni.ha:Ha.set_is_leader",
    "patroni.ha:Ha.demote",
    "patroni.ha:Ha.shutdown",
)
# What the replacements call, and what their callers make of True, False and DCSError.
COUNTED_ON = (
    "patroni.dcs.etcd3:Etcd3Client.call_rpc",
    "patroni.dcs.etcd3:Etcd3Client.handle_auth_errors",
    "patroni.dcs.etcd3:Etcd3Client.lease_keepalive",
    "patroni.dcs.etcd3:Etcd3Client.lease_grant",
    "patroni.dcs.etcd3:PatroniEtcd3Client.call_rpc",
    "patroni.dcs.etcd3:PatroniEtcd3Client._restart_watcher",
    "patroni.dcs.etcd3:PatroniEtcd3Client.txn",
    "patroni.dcs.etcd3:Etcd3.take_leader",
    "patroni.dcs.etcd3:Etcd3._cluster_from_nodes",
    "patroni.dcs.etcd3:Etcd3.attempt_to_acquire_leader",
    "patroni.dcs.etcd3:Etcd3._do_attempt_to_acquire_leader",
    "patroni.dcs.etcd:AbstractEtcd._run_and_handle_exceptions",
    "patroni.dcs:catch_return_false_exception",
    "patroni.dcs:AbstractDCS.update_leader",
    "patroni.dcs:AbstractDCS.acquire_leader_lock",
    "patroni.dcs:AbstractDCS.client_path",
    "patroni.utils:Retry",
    "patroni.ha:Ha.update_lock",
    "patroni.ha:Ha.load_cluster_from_dcs",
    "patroni.ha:Ha.recover",
    "patroni.ha:Ha.post_bootstrap",
    "patroni.ha:Ha.process_healthy_cluster",
    "patroni.ha:Ha.process_unhealthy_cluster",
    "patroni.ha:Ha.handle_long_action_in_progress",
    "patroni.ha:Ha.handle_starting_instance",
    "patroni.ha:Ha.is_healthiest_node",
    "patroni.ha:Ha.fetch_nodes_statuses",
    "patroni.ha:_MemberStatus",
    "patroni.ha:Ha._run_cycle",
    "patroni.ha:Ha._handle_dcs_error",
    "patroni.ha:Ha._delete_leader",
    "patroni.ha:Ha.is_failsafe_mode",
    "patroni.daemon:AbstractPatroniDaemon.run",
    "patroni.daemon:AbstractPatroniDaemon.shutdown",
    "patroni.global_config:GlobalConfig.update",
    "patroni.global_config:GlobalConfig.check_mode",
    "patroni.global_config:GlobalConfig.is_paused",
)
FUNCTIONS = REPLACED + COUNTED_ON

# Version -> function -> SHA-256 of its text, decorators included.
KNOWN: Mapping[str, Mapping[str, str]] = json.loads(
    Path(__file__).with_name("known.json").read_text("utf-8")
)


class UnknownPatroniError(Exception):
    """This is not a Patroni the guard knows; the sentence is for the person who has to do something about it."""


def verify(
    version: str, source_of: SourceOf, known: Mapping[str, Mapping[str, str]] = KNOWN
) -> None:
    """Raise UnknownPatroniError unless version and text of every function are known."""
    expected = known.get(version)
    if expected is None:
        raise UnknownPatroniError(
            f"Patroni is {version}, and the guard knows {', '.join(sorted(known))}"
        )
    changed = [
        name for name, found in digests(source_of, expected).items() if found != expected[name]
    ]
    if changed:
        raise UnknownPatroniError(
            f"Patroni says it is {version}, but differs from the {version} the guard was written against in"
            f" {', '.join(changed)}"
        )


def digests(source_of: SourceOf, names: Iterable[str] = FUNCTIONS) -> dict[str, str]:
    """Function -> SHA-256 of its text, `absent` when the module has none of that name. `source_of` gives a module's."""
    sources: dict[str, str] = {}
    found: dict[str, str] = {}
    for name in names:
        module, _, path = name.partition(":")
        if module not in sources:
            sources[module] = source_of(module)
        text = text_of(sources[module], path)
        found[name] = "absent" if text is None else hashlib.sha256(text.encode()).hexdigest()
    return found


def text_of(source: str, path: str) -> str | None:
    """The lines of `Class.method`, `Class` or `function` in a module's source, with its decorators."""
    body: list[ast.stmt] = ast.parse(source).body
    node: ast.stmt | None = None
    for word in path.split("."):
        node = next((n for n in body if isinstance(n, _NAMED) and n.name == word), None)
        if node is None:
            return None
        body = node.body
    if not isinstance(node, _NAMED):
        return None
    first = min((d.lineno for d in node.decorator_list), default=node.lineno)
    return "\n".join(source.splitlines()[min(first, node.lineno) - 1 : node.end_lineno]) + "\n"


_NAMED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
