"""`diagnose`: what this node knows of itself, as text for people, within what SSM keeps of an output.

It must never print a password, and it changes nothing.
"""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence

from node_agent import phase, services, shell
from node_agent.errors import AgentError
from node_agent.node import Node
from node_agent.paths import DATA, SECRET_FILE
from node_agent.probes import haproxy, patroni
from node_agent.probes.etcd import Etcd
from node_agent.probes.http import Http
from node_agent.setup.patroni import CONFIG, ROLES
from node_agent.shell import Run
from node_agent.spec import Spec

OUTPUT_MAX = 23_000  # SSM keeps 24,000 characters; the last line and the shell need some
LOG_LINES = 200
SHORT_MAX = 2_500
HIDDEN = "(hidden)"
Section = tuple[str, str]


def run(node: Node, _args: Namespace) -> str:
    """Print it; the sentence is the last line's."""
    print(bounded(redacted(list(sections(node, shell.run)), secrets())))
    return f"{node.slot}: diagnosis above"


def sections(node: Node, program: Run) -> Iterable[Section]:
    """(title, text) in order of use to a reader."""
    units = services.all_of(node.role)
    yield "node", f"{node.slot} {node.instance_id} phase {phase.phase()}"
    names = [f"{unit}.service" for unit in units]
    fields = "Id,ActiveState,SubState,Result,NRestarts,ActiveEnterTimestamp"
    yield "units", _said(program, ["systemctl", "show", f"--property={fields}", *names])
    if node.role in services.DATA_ROLES:
        yield (
            "disk",
            _said(program, ["df", "-h", str(DATA)]) + _said(program, ["findmnt", str(DATA)]),
        )
    spec = Spec.kept()
    if spec is not None and node.slot in spec.slots:
        yield from _services(node, spec)
    for unit in reversed(units):
        command = ["journalctl", "--no-pager", "--output=short-iso", "--unit", unit]
        yield f"log of {unit}", _said(program, [*command, f"--lines={LOG_LINES}"])


def _services(node: Node, spec: Spec) -> Iterable[Section]:
    me, http = spec.slots[node.slot], Http(2.0)
    probes: dict[str, Callable[[], object]] = {}
    if node.role == "db":
        probes["patroni"] = lambda: patroni.probe(http, str(me["address"]))
    if me["etcd_voter"]:
        probes["etcd"] = Etcd(http).probe
    if node.role == "haproxy":
        probes["haproxy"] = lambda: haproxy.probe(2.0)
    for name, probe in probes.items():
        yield name, json.dumps(probe(), indent=1)


def _said(program: Run, command: Sequence[str]) -> str:
    try:
        return str(program(command, ok=range(256), timeout_s=10).out)
    except AgentError as error:
        return f"{error}\n"


def secrets() -> list[str]:
    """Every password that a file of this node holds."""
    found = []
    for file in (SECRET_FILE, CONFIG, ROLES):
        if file.exists():
            found += list(_passwords(json.loads(file.read_text())))
    return [word for word in found if len(word) >= 4]


def _passwords(value: object) -> Iterable[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str) and name in {"password", "monitor", "app"}:
                yield inner
            else:
                yield from _passwords(inner)


def redacted(found: Sequence[Section], words: Sequence[str]) -> list[Section]:
    """No password in any section."""
    result = []
    for title, text in found:
        clean = text
        for word in words:
            clean = clean.replace(word, HIDDEN)
        result.append((title, clean))
    return result


def bounded(found: Sequence[Section], limit: int = OUTPUT_MAX) -> str:
    """All sections within the limit: short ones whole, logs from their end, with equal shares of what is left."""
    parts = [(f"== {title}\n", text.strip() + "\n") for title, text in found]
    logs = [title for title, _ in found if title.startswith("log of ")]
    whole = [(head, _end(text, SHORT_MAX) if not _log(head) else text) for head, text in parts]
    fixed = sum(len(head) + (0 if _log(head) else len(text)) for head, text in whole)
    share = max(0, limit - fixed) // max(1, len(logs))
    return "".join(head + (_end(text, share) if _log(head) else text) for head, text in whole)[
        :limit
    ]


def _log(head: str) -> bool:
    return head.startswith("== log of ")


def _end(text: str, limit: int) -> str:
    """Its last characters, from a line's beginning."""
    if len(text) <= limit:
        return text
    tail = text[-limit:] if limit else ""
    return tail[tail.find("\n") + 1 :] if "\n" in tail else tail
