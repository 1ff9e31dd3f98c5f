"""`pgmend-node`: parse, check that this is the node that is meant, call one command, map what came of it.

The last line of standard output is JSON and the exit code is the contract's (docs/contracts.md). Modules of a command
are imported when it is called, so that none pays for another's.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NoReturn

from node_agent.errors import AgentError, RefusedError, UsageError
from node_agent.lock import alone
from node_agent.node import whoami

SERVICES = ("etcd", "patroni", "haproxy", "pgmend-app", "pgmend-agent", "chrony")
DATABASE = re.compile(r"db-[a-z]{2,4}[0-9]-[a-d]")
REPLICATION_SLOT = re.compile(r"[a-z0-9_]{1,63}")
READ_ONLY = frozenset({"diagnose"})
EXITS = """\
exit codes: 0 done; 1 failed, may be tried again; 2 wrong parameters; 10 refused, a precondition does not hold now;
11 hold, a person is needed. The last line of output is JSON: {"ok": bool, "code": str, "message": str}
"""
log = logging.getLogger("pgmend.agent")


def _spelled(pattern: re.Pattern[str]) -> Callable[[str], str]:
    """A reader of words that are exactly so; documents check them too, and this is the last door."""

    def read(words: str) -> str:
        if not pattern.fullmatch(words):
            raise argparse.ArgumentTypeError(f"{words!r} is not of the form {pattern.pattern}")
        return words

    return read


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """argparse would print and leave; the contract wants its own last line."""
        raise UsageError(message)


def parser() -> argparse.ArgumentParser:
    """Every verb and its parameters."""
    top = _Parser(
        prog="pgmend-node",
        description="The pgmend node agent: its daemon and what documents and people ask of this node.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)

    def verb(name: str, words: str, *, slot: bool = True) -> argparse.ArgumentParser:
        found = verbs.add_parser(name, help=words, description=words)
        if slot:
            found.add_argument("--slot", required=True, help="the slot this node must be")
        return found

    verb("daemon", "report and announce, for ever (pgmend-agent.service)", slot=False)
    verb("mount", "mount the slot's disk (pgmend-disk.service)", slot=False)
    born = verb("post-bootstrap", "make roles and database (called by Patroni)", slot=False)
    born.add_argument("conninfo")
    configure = verb("configure", "make an idle node what its slot says")
    configure.add_argument("--volume-id", required=True, help="vol-… or none")
    configure.add_argument("--birth", default="no", help="yes only while the cluster is being born")
    configure.add_argument("--etcd-token", default="none", help="the birth's token, or none")
    verb("join", "make a database node follow the leader again")
    verb("reinit", "discard this copy and make it anew from the leader")
    verb("leave", "take this node out of the cluster in good order")
    restart = verb("restart", "restart one service")
    restart.add_argument("--service", required=True, choices=SERVICES)
    switchover = verb("switchover", "hand the leader's part to another copy")
    switchover.add_argument("--to", required=True, type=_spelled(DATABASE), help="a database slot")
    verb("grow-file-system", "let the disk's file system fill its device")
    verb("release-ballast", "remove the ballast from a disk that is full")
    dropping = verb("drop-replication-slot", "drop a replication slot that nobody uses")
    dropping.add_argument(
        "--replication-slot", required=True, type=_spelled(REPLICATION_SLOT), help="its name"
    )
    verb("repair-etcd", "compact and defragment this etcd member, take its alarm back")
    verb("replace-etcd-member", "give this voter a new seat; its data is lost or corrupt")
    verb("diagnose", "print what this node knows of itself")
    return top


def main(argv: Sequence[str]) -> int:
    """The one entry point."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        args = parser().parse_args(argv)
        message = _command(args)
    except AgentError as error:
        log.error("%s", error)  # noqa: TRY400 - the sentence says it all
        return _say(ok=False, code=error.code, message=str(error), exit_code=error.exit_code)
    except Exception as error:  # the loop's edge: whatever it is, the caller gets a line and a code
        log.exception("unexpected")
        words = f"{type(error).__name__}: {error}"
        return _say(ok=False, code=AgentError.code, message=words, exit_code=AgentError.exit_code)
    return _say(ok=True, code="done", message=message, exit_code=0)


def _say(*, ok: bool, code: str, message: str, exit_code: int) -> int:
    print(json.dumps({"ok": ok, "code": code, "message": " ".join(message.split())[:2000]}))
    return exit_code


def _command(args: argparse.Namespace) -> str:
    """Call the verb's module: with the node for verbs that name a slot, without for this host's own."""
    module = import_module(f"node_agent.commands.{args.verb.replace('-', '_')}")
    if "slot" not in args:
        return str(module.run(args))
    node = whoami()
    if node.slot != args.slot:
        raise RefusedError(f"this node is {node.slot}, not {args.slot}; nothing was done")
    if args.verb in READ_ONLY:
        return str(module.run(node, args))
    with alone():
        return str(module.run(node, args))
