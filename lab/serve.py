"""The lab's daemon: owns the machines and the local AWS until it is told to stop, then removes every trace of them.

Started by `lab.daemon`, which waits for one line on the pipe given as `--report-to`: `ready`, or a sentence that says
why not. It must never leave a process, mount, namespace or control group behind, however it ends short of SIGKILL.
"""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

from moto.ec2.exceptions import EC2ClientError

from lab.aws.build import LocalAws, build, runtime_client
from lab.control import (
    ControlServer,
    LabStatus,
    MachineFault,
    MachineState,
    RegionApi,
    RegionLink,
    RegionService,
    RunResult,
)
from lab.errors import LabError, UsageError
from lab.host import cgroups
from lab.host.flap import Flaps
from lab.host.host import Host
from lab.host.paths import Paths
from lab.host.sweep import sweep
from lab.ports import CLOCKS, REGIONS

log = logging.getLogger("lab")
GROUP = "daemon"


class RunningLab:
    """`lab.control.LabControl` over the real parts."""

    def __init__(
        self, host: Host, aws: LocalAws, status: LabStatus, stop: Callable[[], None]
    ) -> None:
        self._host, self._aws, self._status, self._stop = host, aws, status, stop
        self._flaps = Flaps(host.network)

    def status(self) -> LabStatus:
        """The lab as it was started."""
        return self._status

    def machines(self) -> Sequence[MachineState]:
        """All machines that exist now."""
        specs = {spec.instance_id: spec for spec in self._host.specs()}
        return [
            MachineState(
                instance_id=instance_id,
                address=spec.address,
                region=spec.region,
                healthy=self._host.healthy(instance_id),
            )
            for instance_id, spec in specs.items()
        ]

    def machine_fault(self, fault: MachineFault, instance_id: str) -> None:
        """Do this to the machine."""
        host = self._host
        {
            MachineFault.POWER_LOSS: lambda: host.power_loss(instance_id),
            MachineFault.FREEZE: lambda: host.freeze(instance_id),
            MachineFault.HANG: lambda: self._hang(instance_id),
            MachineFault.THAW: lambda: self._thaw(instance_id),
            MachineFault.UNPLUG: lambda: host.set_link(instance_id, up=False),
            MachineFault.PLUG: lambda: host.set_link(instance_id, up=True),
            MachineFault.DISK_READ_ONLY: lambda: host.set_disk_writable(
                instance_id, writable=False
            ),
            MachineFault.DISK_WRITABLE: lambda: host.set_disk_writable(instance_id, writable=True),
            MachineFault.DISK_ERRORS: lambda: host.break_disk(instance_id),
        }[fault]()
        log.info("%s: %s", fault, instance_id)

    def _hang(self, instance_id: str) -> None:
        """Told first, so that no check in between finds the host frozen."""
        self.status_checks(instance_id, "ok")
        self._host.freeze(instance_id)

    def _thaw(self, instance_id: str) -> None:
        self._host.thaw(instance_id)
        self.status_checks(instance_id, None)

    def region_link(self, link: RegionLink, first: str, second: str) -> None:
        """Cut or mend two regions, or only the peering between them."""
        network = self._host.network
        {
            RegionLink.CUT: network.cut,
            RegionLink.MEND: network.mend,
            RegionLink.CUT_PEERING: network.cut_peering,
            RegionLink.MEND_PEERING: network.mend_peering,
        }[link](first, second)
        log.info("%s: %s, %s", link, first, second)

    def way_to_aws(self, region: str, *, reachable: bool) -> None:
        """Whether the nodes of a region reach AWS's API."""
        self._host.network.set_way_to_aws(region, reachable=reachable)
        log.info("the way of %s to AWS is %s", region, "open" if reachable else "cut")

    def region_api(self, region: str, api: RegionApi) -> None:
        """What AWS's endpoints of a region do."""
        self._aws.region_api(_known(region), api)
        log.info("AWS's endpoints in %s: %s", region, api)

    def region_service(self, region: str, service: RegionService, *, running: bool) -> None:
        """Stop one service of a region, or let it run again."""
        self._aws.region_service(_known(region), service, running=running)
        log.info("%s in %s is %s", service, region, "running" if running else "stopped")

    def power(self, region: str, *, zone: str | None, on: bool) -> None:
        """The power of all hosts of a region, or of one of its zones."""
        if zone is not None and zone[:-1] != region:
            raise UsageError(f"{zone} is no zone of {region}")
        power = self._aws.ec2.power
        (power.on if on else power.off)(_known(region), zone)
        log.info("power in %s is %s", zone or region, "on" if on else "off")

    def flap(self, region: str, *, seed: int, for_s: float) -> None:
        """Cut the region from the others and mend it, again and again."""
        self._flaps.begin(_known(region), seed=seed, for_s=for_s)

    def calm(self, region: str) -> None:
        """The region flaps no more."""
        self._flaps.end(_known(region))

    def outages(self) -> Sequence[str]:
        """What is out now as a whole."""
        return [*self._aws.outages(), *self._flaps.sentences()]

    def credentials(self, instance_id: str, *, valid: bool) -> None:
        """Whether AWS takes the instance's credentials for valid."""
        self._aws.guard.expire(instance_id, expired=not valid)
        log.info("the credentials of %s are %s", instance_id, "valid" if valid else "expired")

    def status_checks(self, instance_id: str, verdict: str | None) -> None:
        """What EC2's checks say of an instance."""
        with _in_words():
            self._aws.ec2.checks.say(instance_id, verdict)

    def schedule_event(self, instance_id: str, code: str, not_before: float) -> str:
        """EC2 announces maintenance."""
        with _in_words():
            event_id = self._aws.ec2.maintenance.schedule(instance_id, code, not_before)
        log.info("%s: %s, not before %s", code, instance_id, not_before)
        return event_id

    def cancel_events(self, instance_id: str) -> None:
        """EC2 takes back what it has announced."""
        self._aws.ec2.maintenance.clear(instance_id)

    def refuse_launches(
        self, code: str, *, instance_type: str | None = None, zone: str | None = None
    ) -> None:
        """Refuse launches with this error code."""
        self._aws.ec2.refusals.add(code, instance_type=instance_type, zone=zone)
        log.info("launches are refused: %s, %s, %s", code, instance_type, zone)

    def allow_launches(self) -> None:
        """Refuse none any more."""
        self._aws.ec2.refusals.clear()

    def run(self, instance_id: str, argv: Sequence[str], timeout_s: float) -> RunResult:
        """Run a command in the machine."""
        done = self._host.run(instance_id, argv, timeout_s=timeout_s)
        return RunResult(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def enter(self, instance_id: str, argv: Sequence[str]) -> Sequence[str]:
        """The command line that enters the machine."""
        return self._host.enter(instance_id, argv)

    def journal(self, instance_id: str, into: str) -> None:
        """Save the machine's journal."""
        self._host.journal(instance_id, into=Path(into))

    def stop(self) -> None:
        """Begin to stop."""
        self._stop()

    def close(self) -> None:
        """End what goes on by itself. Before the network goes."""
        self._flaps.end_all()


def _known(region: str) -> str:
    """The region's name. Raises UsageError when there is none of that name."""
    names = [known.name for known in REGIONS]
    if region not in names:
        raise UsageError(f"there is no region '{region}'; the regions are {', '.join(names)}")
    return region


@contextmanager
def _in_words() -> Iterator[None]:
    """EC2's own errors, for whoever asked without being a client of EC2."""
    try:
        yield
    except EC2ClientError as error:
        raise LabError(str(error)) from error


@contextmanager
def only_lab(paths: Paths) -> Iterator[None]:
    """Hold the lab's lock. Raises LabError when another lab has it."""
    paths.run.mkdir(parents=True, exist_ok=True)
    with paths.lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(
                "a lab is running already; 'make lab-status' shows it, 'make lab-down' ends it"
            ) from None
        _write_pid(lock, str(os.getpid()))
        try:
            yield
        finally:
            _write_pid(lock, "")


def _write_pid(lock: TextIO, text: str) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(text)
    lock.flush()


@contextmanager
def swept(paths: Paths) -> Iterator[None]:
    """Nothing of an earlier lab before, nothing of this one after."""
    sweep(paths)
    cgroups.enter(GROUP)
    try:
        yield
    finally:
        sweep(paths)


def serve(paths: Paths, status: LabStatus, ready: Callable[[], None]) -> None:
    """Bring everything up, serve until told to stop, take everything down."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    host = Host(paths, log.info)
    host.up()
    aws = build(
        clock=CLOCKS[status.clock],
        host=host,
        state=paths.state,
        root=host.root,
        runtime_client=runtime_client(paths.cache),
        evidence=paths.evidence,
    )
    host.serve(aws.ec2, aws.ec2.went_off)
    running = RunningLab(host, aws, status, stopping.set)
    control = ControlServer(running, paths.socket)
    try:
        aws.listeners.start(regional=True)
        control.start()
        ready()
        stopping.wait()
    finally:
        log.info("stopping")
        control.close()
        running.close()
        aws.stop()
        host.down()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lab.serve")
    parser.add_argument("--size", required=True)
    parser.add_argument("--durability", required=True)
    parser.add_argument("--clock", choices=tuple(CLOCKS), required=True)
    parser.add_argument("--report-to", type=int, required=True)
    return parser.parse_args(argv)


def _stopped_early(_number: int, _frame: FrameType | None) -> None:
    raise LabError("the lab was told to stop while it started")


def main(argv: Sequence[str] | None = None) -> int:
    """The daemon's process."""
    args, paths = _arguments(argv), Paths.from_env()
    signal.signal(signal.SIGTERM, _stopped_early)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    status = LabStatus(
        pid=os.getpid(),
        started_at=time.time(),
        size=args.size,
        durability=args.durability,
        clock=args.clock,
        directory=str(paths.state),
    )
    with os.fdopen(args.report_to, "w") as report:

        def ready() -> None:
            print("ready", file=report, flush=True)
            report.close()

        try:
            with only_lab(paths), swept(paths):
                serve(paths, status, ready)
        except LabError as error:
            log.exception("the lab ends")
            if not report.closed:
                print(str(error).replace("\n", " "), file=report, flush=True)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
