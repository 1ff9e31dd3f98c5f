"""The commands themselves: words in, one confirmation out. Exit 0 done, 1 AWS did not do it, 2 refused.

python -m lambdas.people pause --for 2h --why 'new disks for db-euw1-a'
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from botocore.exceptions import ClientError

from lambdas.compose import iso
from lambdas.core.consent import PlannedKind
from lambdas.core.model import Mode
from lambdas.people import story, times
from lambdas.people.connect import Hub, hub_of
from lambdas.people.errors import RefusedError, UnreachableError
from lambdas.people.facts import Facts
from lambdas.people.orders import Orders, Person

Command = Callable[[Hub, argparse.Namespace], str]
LAST, LAST_MAX = 10, 500
SERVERS_OWN = 500  # from here on HTTP's codes tell of failures that may have come after the act


class Parser(argparse.ArgumentParser):
    """Refuses in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raises RefusedError."""
        raise RefusedError(f"{message}; --help says more")


def main(
    argv: Sequence[str] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    hub: Hub | None = None,
) -> int:
    """One command. `hub` takes the place of what options and environment lead to."""
    try:
        args = parser().parse_args(argv)
        found = hub or hub_of(
            on=args.on,
            cluster=args.cluster,
            region=args.region,
            env=os.environ if env is None else env,
        )
        command: Command = args.command
        print(command(found, args))
    except RefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    except UnreachableError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


# -- what is read


def _status(hub: Hub, _args: argparse.Namespace) -> str:
    facts, now = hub.facts(), hub.person().now
    opened = [incident.opened_at for incident in facts.incidents]
    with hub.table():
        steps = hub.reader().steps(iso(min(opened))) if opened else ()
    return f"{story.status(facts, steps, now=now)}\n{hub.where()}"


def _history(hub: Hub, args: argparse.Namespace) -> str:
    if not 1 <= args.last <= LAST_MAX:
        raise RefusedError(f"--last is between 1 and {LAST_MAX}, not {args.last}")
    if args.slot is not None:
        hub.known_slot(args.slot)
    with hub.table():
        reader = hub.reader()
        if args.incident is None:
            pasts = reader.incidents(last=args.last, slot=args.slot)
        else:
            past = reader.incident(args.incident)
            if past is None:
                raise RefusedError(f"there is no incident {args.incident!r}; history lists them")
            pasts = (past,)
        since = iso(min((past.incident.opened_at for past in pasts), default=0.0))
        alone = args.incident is not None or args.slot is not None
        orders = () if alone else reader.orders(since)
        return story.history(pasts, reader.steps(since), orders, alone=alone)


# -- what is ordered


def _ordered(hub: Hub, order: Callable[[Orders, Person], str]) -> str:
    """Write it, wake the healer, and say what holds the healer nevertheless."""
    before, person = hub.facts(), hub.person()
    try:
        with hub.table():
            sentence = order(hub.orders(person, before), person)
    except UnreachableError as error:
        raise UnreachableError(f"{error}; {_written(error.__cause__)}") from error
    return "\n".join([sentence, hub.wake(), *_still_held(hub, before, person), hub.where()])


def _written(cause: BaseException | None) -> str:
    """Whether the order stands, after a failure."""
    if isinstance(cause, ClientError):
        status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        if status < SERVERS_OWN:
            return "nothing was written"
    return "whether the order was written is not known: look at heal-status before you repeat it"


def _still_held(hub: Hub, before: Facts, person: Person) -> list[str]:
    """What held the healer before and still does. The order stands, also when this cannot be read."""
    try:
        after = hub.facts()
    except UnreachableError as error:
        return [f"Note: the order is written; what holds the healer could not be read: {error}."]
    held = set(story.holds(before, now=person.now))
    return [f"Note: {why}." for why in story.holds(after, now=person.now) if why in held]


def _pause(hub: Hub, args: argparse.Namespace) -> str:
    mode = Mode.OFF if args.off else Mode.OBSERVE

    def order(orders: Orders, person: Person) -> str:
        end = times.until(for_=args.for_, until_=args.until, begin=person.now, now=person.now)
        return orders.pause(mode, until=end, why=args.why, replace=args.replace)

    return _ordered(hub, order)


def _resume(hub: Hub, _args: argparse.Namespace) -> str:
    return _ordered(hub, lambda orders, _: orders.resume())


def _ack(hub: Hub, args: argparse.Namespace) -> str:
    return _ordered(hub, lambda orders, _: orders.acknowledge(args.why))


def _window(hub: Hub, args: argparse.Namespace) -> str:
    adding = any(v is not None for v in (args.from_, args.for_, args.until, args.why))
    if args.cancel is not None:
        if adding:
            raise RefusedError("--cancel goes with nothing else")
        begin = times.moment(args.cancel)
        return _ordered(hub, lambda orders, _: orders.cancel_window(begin))
    if not adding:
        return f"{story.windows(hub.facts(), now=hub.person().now)}\n{hub.where()}"

    def order(orders: Orders, person: Person) -> str:
        begin = person.now if args.from_ in (None, "now") else times.moment(args.from_)
        if begin < person.now:
            raise RefusedError(f"{times.written(begin)} is past; leave --from out to begin now")
        end = times.until(for_=args.for_, until_=args.until, begin=begin, now=person.now)
        if end is None:
            raise RefusedError("a window has an end: --for 2h or --until")
        return orders.open_window(from_=begin, until=end, why=args.why or "")

    return _ordered(hub, order)


def _switchover(hub: Hub, args: argparse.Namespace) -> str:
    if args.cancel:
        return _cancelled(hub, args, PlannedKind.SWITCHOVER, args.to)
    if args.to is not None:
        hub.heir(args.to, hub.facts())
    plan = PlannedKind.SWITCHOVER
    return _ordered(hub, lambda orders, _: orders.plan(plan, to=args.to, why=args.why))


def _roll(hub: Hub, args: argparse.Namespace) -> str:
    if args.cancel:
        return _cancelled(hub, args, PlannedKind.ROLL, None)
    return _ordered(hub, lambda orders, _: orders.plan(PlannedKind.ROLL, why=args.why))


def _cancelled(hub: Hub, args: argparse.Namespace, kind: PlannedKind, to: str | None) -> str:
    if args.why is not None or to is not None:
        raise RefusedError("--cancel goes with nothing else")
    return _ordered(hub, lambda orders, _: orders.cancel_plan(kind))


# -- their words


def parser() -> Parser:
    """Every command with its options."""
    root = Parser(
        prog="python -m lambdas.people", description="Ask the healer, and tell it what it may do."
    )
    root.add_argument(
        "--on", choices=("auto", "aws", "lab"), default="auto", help="refuse any other"
    )
    root.add_argument("--region", help="the hub's region (default: the environment's)")
    root.add_argument("--cluster", default="pgmend")
    commands = root.add_subparsers(dest="word", required=True, metavar="command")

    def add(word: str, command: Command, says: str) -> Parser:
        found = commands.add_parser(word, help=says, description=says)
        found.set_defaults(command=command)
        return found

    add("status", _status, "strength, modes, open incidents: what happens and what holds it")

    pause = add("pause", _pause, "the healer does nothing for a time, or until resume")
    _lasting(pause)
    pause.add_argument("--why", required=True, help="for the others on call")
    which = pause.add_mutually_exclusive_group()
    which.add_argument("--observe", action="store_true", help="plan and say (the default)")
    which.add_argument("--off", action="store_true", help="switch healing off")
    pause.add_argument("--replace", action="store_true", help="even if somebody else paused it")

    add("resume", _resume, "the healer may act again")

    window = add("window", _window, "list maintenance windows, or add or cancel one")
    window.add_argument("--from", dest="from_", metavar="ISO", help="default: now")
    _lasting(window)
    window.add_argument("--why", help="for the others on call")
    window.add_argument("--cancel", metavar="ISO", help="the window that begins then")

    ack = add("ack", _ack, "I have looked: close the breaker, begin anew with what is held")
    ack.add_argument("--why", help="what was found")

    past = add("history", _history, "incidents, their steps, and what people ordered")
    past.add_argument("--slot", help="one slot's incidents")
    past.add_argument("--incident", help="one incident, by its id")
    past.add_argument("--last", type=int, default=LAST, help=f"how many (default {LAST})")

    switch = add("switchover", _switchover, "another database shall lead")
    switch.add_argument("--to", metavar="SLOT", help="default: the best replica")
    roll = add("roll", _roll, "replace every node, one at a time, the leader last")
    for planned in (switch, roll):
        planned.add_argument("--why", help="for the others on call")
        planned.add_argument("--cancel", action="store_true", help="take back what is not done yet")
    return root


def _lasting(parser: Parser) -> None:
    parser.add_argument("--for", dest="for_", metavar="TIME", help="90m, 2h, 1d12h")
    parser.add_argument("--until", metavar="ISO", help="in UTC unless it says otherwise")
