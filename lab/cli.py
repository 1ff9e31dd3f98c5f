"""The lab's command line. Each verb parses, calls and maps; every failure is one sentence and a
non-zero exit.

up down status break mend shell logs demo smoke freeze faults chaos verify env
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from lab.chaos import main as chaos
from lab.control import SOCKET, ControlClient, RegionApi, RegionLink, RegionService
from lab.demo.big_database import big_database
from lab.demo.evidence import new_directory
from lab.demo.main import demo, interrupts_ignored
from lab.demo.runner import FIRST_FILL_S, set_up
from lab.demo.scenario import SMOKE, steps_for
from lab.demo.timeline import Timeline
from lab.demo.wiring import Lifetime, Wanted, daemon, new_run, setup_steps, stage
from lab.environment import variables
from lab.errors import LabError, UsageError
from lab.faults.bench import Bench
from lab.faults.catalogue import FAULTS, fault_named
from lab.faults.record import FaultRecord
from lab.faults.regions import FLAPS_FOR_S, REGION_FLAP, SEED, flapping
from lab.faults.targets import WORDS, resolve
from lab.freeze import main as freeze
from lab.operator import Operator
from lab.ports import CLOCKS, REGIONS
from lab.proof import main as proof
from lab.status import rows
from lab.strength_probe import StrengthProbe

BIG_DATABASE: Final = "big-database"
VERIFY_S: Final = 20.0
LOG_LINES: Final = 200


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Raise it as the lab's own error."""
        raise UsageError(f"{message}; 'python -m lab --help' lists the commands")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        args = _parser().parse_args(argv)
        verb: Callable[[argparse.Namespace], int] = args.verb
        return verb(args)
    except UsageError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`); that is its right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> Parser:
    parser = Parser(prog="lab", description="A two-region cluster on this machine, to break.")
    verbs = parser.add_subparsers(required=True, metavar="VERB", parser_class=Parser)

    def add(name: str, verb: Callable[[argparse.Namespace], int], text: str) -> Parser:
        made = verbs.add_parser(name, help=text)
        made.set_defaults(verb=verb)
        return made

    for name, verb, text in (
        ("up", _up, "start the lab and fill every slot"),
        ("demo", _demo, "faults one after another under load, measured"),
        ("smoke", _smoke, "one fault, healed"),
    ):
        made = add(name, verb, text)
        _add_lab(made)
    trials = add("freeze", _freeze, "the host of both leaders is frozen and thawed, measured")
    _add_lab(trials)
    freeze.add_options(trials)
    proof.add_options(add("faults", _faults, "a scenario for every fault of the catalogue"))
    random_faults = add("chaos", _chaos, "random, overlapping faults under the checker of writes")
    _add_lab(random_faults)
    chaos.add_options(random_faults)
    add("down", _down, "stop the lab and remove every trace")
    add("status", _status, "slots, instances, roles, lag, etcd, agent age")
    breaking = add("break", _break, f"inject a fault: {', '.join((*FAULTS, BIG_DATABASE))}")
    breaking.add_argument("fault", nargs="?")
    breaking.add_argument("target", nargs="?")
    breaking.add_argument("--seed", type=int, default=SEED, help="of region-flap")
    breaking.add_argument(
        "--minutes", type=float, default=FLAPS_FOR_S / 60, help="how long region-flap lasts"
    )
    add("mend", _mend, "undo the faults injected by hand")
    add("shell", _shell, "a shell on a node").add_argument("slot", nargs="?")
    add("logs", _logs, "logs of a node, or of the lab").add_argument("slot", nargs="?")
    add("verify", _verify, "is the cluster at full strength?")
    add("env", _env, "the running lab's endpoint and keys, for a shell to evaluate")
    return parser


def _add_lab(parser: Parser) -> None:
    """What a lab is started with."""
    parser.add_argument("--size", choices=("minimal", "standard"), default="minimal")
    parser.add_argument("--durability", choices=("async", "zone", "region"), default="region")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="fast")


def _need_root() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab starts machines and networks, which needs root; use sudo")


def _wanted(args: argparse.Namespace) -> Wanted:
    return Wanted(size=args.size, durability=args.durability, clock=args.clock)


def _up(args: argparse.Namespace) -> int:
    _need_root()
    wanted, timeline, lifetime = _wanted(args), Timeline(), Lifetime()
    run = new_run(wanted)
    try:
        set_up(setup_steps(wanted, lifetime), run, timeline)
        with stage(Path("/nonexistent"), run, timeline) as work:
            full_at = work.watch.until_full(limit_s=FIRST_FILL_S)
    except (KeyboardInterrupt, LabError):
        with interrupts_ignored():
            lifetime.end(timeline)
        raise
    if full_at is None:
        raise LabError("the lab is up, but not at full strength; 'make lab-status' tells more")
    timeline.say("note", "the lab is up; 'make lab-status' shows it, 'make lab-down' ends it")
    return 0


def _down(_: argparse.Namespace) -> int:
    _need_root()
    daemon().stop()
    print("the lab is down")
    return 0


def _demo(args: argparse.Namespace) -> int:
    _need_root()
    return demo(_wanted(args), steps_for(args.clock), title="pgmend demo", whole=True)


def _smoke(args: argparse.Namespace) -> int:
    _need_root()
    return demo(_wanted(args), SMOKE, title="pgmend smoke", whole=False)


def _freeze(args: argparse.Namespace) -> int:
    _need_root()
    return freeze.freeze(args)


def _faults(args: argparse.Namespace) -> int:
    if not args.list:
        _need_root()
    return proof.faults(args)


def _chaos(args: argparse.Namespace) -> int:
    if not (args.list or args.summary):
        _need_root()
    return chaos.chaos(args)


def _env(_: argparse.Namespace) -> int:
    """Exit 1 when no lab runs, 2 when one does that is another user's: then AWS is not what was meant."""
    if SOCKET.exists() and not os.access(SOCKET, os.R_OK | os.W_OK):
        raise UsageError("a lab runs here and belongs to root; run this as root, or say ON=aws")
    ControlClient(timeout_s=5.0).status()
    for name, value in variables().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _status(_: argparse.Namespace) -> int:
    control, api, timeline = ControlClient(), Operator(), Timeline()
    started = control.status()
    timeline.table(rows(api.slots(), api.occupants(), api.reports()))
    print(f"{started.size}, durability {started.durability}, clock {started.clock}")
    for sentence in control.outages():
        print(sentence)
    print(api.healer_sentence() or "the healer has not spoken yet")
    return 0


def _bench(api: Operator, control: ControlClient, probe: StrengthProbe) -> Bench:
    return Bench(machines=control, api=api, leader=probe.leader)


def _break(args: argparse.Namespace) -> int:
    if not args.fault:
        regions = ", ".join(f"region:{region.short}" for region in REGIONS)
        raise UsageError(
            f"say which fault ({', '.join((*FAULTS, BIG_DATABASE))}) and on whom"
            f" ({', '.join(WORDS)}, {regions}, zone:euw1a, or a slot)"
        )
    if args.fault.replace("_", "-") == BIG_DATABASE:
        return _big_database()
    fault = fault_named(args.fault)
    if fault is REGION_FLAP:
        fault = flapping(seed=args.seed, for_s=args.minutes * 60.0)
    control, api = ControlClient(), Operator()
    directory = Path(control.status().directory)
    probe = StrengthProbe(api)
    try:
        word = args.target or fault.default_target
        slots = api.slots()
        needs_leader = word in {"leader", "replica"}
        leader = probe.leader() if needs_leader else None
        target = resolve(word, slots=slots, leader=leader, roles=fault.roles)
        done = fault.inject(_bench(api, control, probe), target)
    finally:
        probe.close()
    FaultRecord(directory).add(done)
    print(f"{target.name}: {fault.describe}")
    return 0


def _big_database() -> int:
    started = ControlClient().status()
    wanted = Wanted(size=started.size, durability=started.durability, clock=started.clock)
    with stage(new_directory(), new_run(wanted), Timeline()) as work:
        return 0 if big_database(work) else 1


def _mend(_: argparse.Namespace) -> int:
    control, api = ControlClient(), Operator()
    directory = Path(control.status().directory)
    probe = StrengthProbe(api)
    try:
        healed = FaultRecord(directory).heal_all(_bench(api, control, probe))
    finally:
        probe.close()
    _mend_regions(control, {slot.zone: slot.region for slot in api.slots()})
    for done in healed:
        print(f"{done.target}: {done.fault} undone, as far as that is for us to do")
    if not healed:
        print("nothing was broken by hand; the ways between the regions are open")
    return 0


def _mend_regions(control: ControlClient, zones: Mapping[str, str]) -> None:
    """Whatever is out as a whole, also what a process that died left broken."""
    for index, first in enumerate(REGIONS):
        control.calm(first.name)
        for second in REGIONS[index + 1 :]:
            for link in (RegionLink.MEND, RegionLink.MEND_PEERING):
                control.region_link(link, first.name, second.name)
    for region in REGIONS:
        control.power(region.name, zone=None, on=True)
        for zone in [zone for zone, of in zones.items() if of == region.name]:
            control.power(region.name, zone=zone, on=True)
        control.region_api(region.name, RegionApi.ANSWERS)
        for service in RegionService:
            control.region_service(region.name, service, running=True)


def _instance_in(slot: str | None) -> str:
    api = Operator()
    names = [item.slot for item in api.occupants() if item.state == "running"]
    if slot not in names:
        said = f"'{slot}' has no running instance" if slot else "say which slot"
        raise UsageError(f"{said}; these have one: {', '.join(sorted(names)) or 'none'}")
    return next(item.instance_id for item in api.occupants() if item.slot == slot)


def _shell(args: argparse.Namespace) -> int:
    instance_id = _instance_in(args.slot)
    term = os.environ.get("TERM", "dumb")
    words = ControlClient().enter(instance_id, ("env", f"TERM={term}", "/bin/bash", "--login"))
    os.execvp(words[0], words)  # noqa: S606 - becoming the shell is the point


def _logs(args: argparse.Namespace) -> int:
    control = ControlClient()
    if args.slot:
        argv = ("journalctl", "--no-pager", "--output=short-iso", f"--lines={LOG_LINES}")
        print(control.run(_instance_in(args.slot), argv).stdout, end="")
        return 0
    for file in sorted(Path(control.status().directory).glob("*.log")):
        lines = file.read_text("utf-8", errors="replace").splitlines()[-LOG_LINES // 4 :]
        print(f"== {file}", *lines, sep="\n")
    return 0


def _verify(_: argparse.Namespace) -> int:
    started = ControlClient().status()
    wanted = Wanted(size=started.size, durability=started.durability, clock=started.clock)
    with stage(Path("/nonexistent"), new_run(wanted), Timeline()) as work:
        return 0 if work.watch.until_full(limit_s=VERIFY_S) is not None else 1
