"""Patroni on a database slot. Nothing here lets a node make a database, but the first leader of a birth.

A directory is only ever followed up when its system identifier is the cluster's; anything else is a hold with nothing
created.
"""

from __future__ import annotations

import json
from pathlib import Path

from node_agent import database, files
from node_agent.errors import AgentError, HoldError
from node_agent.membership import MAJORITY_S
from node_agent.paths import SECRET_FILE
from node_agent.render import patroni as render
from node_agent.setup.context import Setup
from node_agent.units import Units

CONFIG = Path(render.CONFIG_FILE)
# For the post-bootstrap script; gone once the database is born.
ROLES = Path("/etc/patroni/roles.json")
STOPPED = frozenset({"inactive", "failed", "unknown"})


def require_known_cluster(s: Setup, *, silence: type[AgentError] = HoldError) -> None:
    """Raise HoldError when the cluster's identity is missing, or differs from the hub's or from this disk's.

    `silence` is raised when no majority answers: a voter with its old directory may itself be what is missing.
    """
    found = s.deadline.within(MAJORITY_S).until(s.ask_system)
    if found is None:
        raise silence(
            "no etcd majority answered, so the cluster's identity is not known; nothing was created"
        )
    check_identity(s, found[0])


def check_identity(s: Setup, cluster_system: str | None) -> None:
    """Compare etcd's, the hub's and the disk's system identifiers. Raises HoldError."""
    if not cluster_system:
        raise HoldError(
            "Patroni's initialize key is empty: etcd does not know this cluster any more; nothing was created"
        )
    hub = None if s.birth is None else s.birth.system_identifier
    if hub is not None and hub != cluster_system:
        raise HoldError(
            f"etcd says the database is {cluster_system}, the hub's birth item says {hub}"
        )
    disk = database.system_identifier(database.DATA_DIR, run=s.run)
    if disk is not None and disk != cluster_system:
        raise HoldError(
            f"the disk holds database {disk}, the cluster is {cluster_system}; it was left as it is"
        )


def follow(s: Setup) -> None:
    """Start Patroni as a member that can only join."""
    if s.units.state("patroni") in STOPPED:
        clear_unfinished(s.units)
    _write(s, bootstrap=False)
    _enable(s)


def clear_unfinished(units: Units) -> None:
    """Make room for a new clone where one was cut short: Patroni would wait for a person for ever."""
    if database.unfinished(database.DATA_DIR):
        units.end_leftovers("patroni")
        database.set_aside(database.DATA_DIR, "unfinished")


def _enable(s: Setup) -> None:
    """At every boot and now; one that runs reads its configuration again."""
    s.units.enable("patroni")
    if s.units.state("patroni") == "active":
        s.units.reload("patroni")
    else:
        s.units.start("patroni")


def wait_for_birth(s: Setup) -> str:
    """The system identifier, once the first leader has made the database."""
    found = s.deadline.until(lambda: (s.ask_system() or (None,))[0] or None)
    if found is None:
        raise AgentError("the first leader has not made the database in time")
    return found


def lead_birth(s: Setup) -> None:
    """Make the database, once: the only place where a `bootstrap` section is written, and it is taken back at once."""
    answered = s.deadline.until(s.ask_system)
    if answered is None:
        raise AgentError("etcd has no majority yet, so the database cannot be made")
    value = answered[0]
    if value:
        check_identity(s, value)
    else:
        _clear_interrupted(s, begun=value is not None)
        _write(s, bootstrap=True)
        s.units.start("patroni")
        wait_for_birth(s)
    # From here on this node is like every other: enabled at boot, and unable to make a database.
    _write(s, bootstrap=False)
    _enable(s)


def _clear_interrupted(s: Setup, *, begun: bool) -> None:
    """A birth that stopped half-way has served nobody: its key was never given a value, so it may start over."""
    if begun:
        s.units.stop("patroni")
        s.units.end_leftovers("patroni")
        if not database.empty(database.DATA_DIR):
            database.set_aside(database.DATA_DIR, "interrupted")
        s.everyone.attempt(lambda end: end.delete_if_empty(render.initialize_key(s.spec)))
        return
    if database.system_identifier(database.DATA_DIR, run=s.run) is not None:
        raise HoldError(
            "the disk holds a database but etcd has no initialize key; nothing was created, a person should look"
        )
    if s.units.state("patroni") in STOPPED:
        clear_unfinished(s.units)


def _write(s: Setup, *, bootstrap: bool) -> None:
    """Configuration and passwords, each readable by who needs it."""
    database.make_folder(database.FOLDER, database.USER)
    text = render.configuration(s.spec, s.me, s.passwords, bootstrap=bootstrap)
    files.write(CONFIG, text, mode=0o600, owner=database.USER)
    if bootstrap:
        roles = {role: s.passwords[role] for role in (render.APP, render.MONITOR)}
        files.write(ROLES, json.dumps(roles), mode=0o600, owner=database.USER)
    else:
        ROLES.unlink(missing_ok=True)
    files.write(SECRET_FILE, json.dumps({"monitor": s.passwords["monitor"]}), mode=0o600)
