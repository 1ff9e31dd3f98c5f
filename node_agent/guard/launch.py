"""Starts the distribution's Patroni with the guard in it: verify, replace, run.

It refuses what it does not know, with one sentence and an exit code of its own. The switch that turns the guard off is
for the lab, which proves with it what the guard is for.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import MutableMapping, Sequence
from importlib import import_module
from typing import NoReturn

from node_agent.guard import REFUSED, alive, election, leadership, leftovers
from node_agent.guard.journal import ERROR, INFO, WARNING, say
from node_agent.guard.known import KNOWN, UnknownPatroniError, digests, verify

SWITCH = "PGMEND_PATRONI_GUARD"
ON, OFF = "on", "off"
DIGESTS = "--digests"


def main(argv: Sequence[str], environ: MutableMapping[str, str] = os.environ) -> None:
    """Become Patroni with these arguments. Ends the process with REFUSED when it must not."""
    if list(argv) == [DIGESTS]:
        print_digests()
        return
    # It was for finding this module; PostgreSQL and its children have no use for it.
    environ.pop("PYTHONPATH", None)
    switch = environ.get(SWITCH, ON)
    # Before Patroni is imported: systemd's watchdog counts from the start, and a predecessor's lease may end meanwhile.
    keeper = alive.start(environ, fenced=switch == ON)
    if keeper is not None:
        leftovers.clear()
    guard(switch, keeper)
    sys.argv = ["patroni", *argv]
    import_module("patroni.__main__").main()


def guard(switch: str, keeper: alive.Keeper | None = None) -> None:
    """Put the guard in, or say loudly that there is none. `keeper` is who hears of the lease, under systemd."""
    if switch == OFF:
        say(
            WARNING,
            f"OFF by {SWITCH}={OFF}: a leader that was frozen and thawed may win and lose acknowledged writes",
        )
        return
    if switch != ON:
        refuse(f"{SWITCH}={switch} means nothing; it is {ON} or {OFF}")
    try:
        version = installed()
        verify(version, source_of)
        etcd3, ha = import_module("patroni.dcs.etcd3"), import_module("patroni.ha")
    except (UnknownPatroniError, ImportError, OSError) as error:
        refuse(
            f"{error}. Patroni is not started, because the guard cannot know that it holds; install"
            f" {' or '.join(sorted(KNOWN))}, or teach the guard this one (docs/patroni-guard.md)"
        )
    leadership.install(etcd3)
    election.install(ha)
    if keeper is not None:
        alive.install(ha, keeper)
    say(INFO, f"on, Patroni {version}: a leader key that is gone is a lost lock")


def refuse(sentence: str) -> NoReturn:
    """Say why and end."""
    say(ERROR, sentence)
    sys.exit(REFUSED)


def installed() -> str:
    """The version Patroni says it is."""
    return str(import_module("patroni.version").__version__)


def source_of(module: str) -> str:
    """The text the module was loaded from."""
    return inspect.getsource(import_module(module))


def print_digests() -> None:
    """The entry of known.json for the Patroni that is installed here."""
    print(json.dumps({installed(): digests(source_of)}, indent=2))
