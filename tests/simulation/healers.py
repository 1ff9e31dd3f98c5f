"""Runs of the real healer in the simulated world: woken, racing, with clocks of their own, dying at any call."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from botocore.exceptions import BotoCoreError, ClientError

import lambdas.run
from lambdas.adapters.ec2 import Ec2
from lambdas.adapters.notices import Bus, Metrics
from lambdas.adapters.ssm import Ssm
from lambdas.adapters.table import Table
from lambdas.errors import HealerError
from lambdas.observe import World as HealersWorld
from lambdas.run import Outcome, Run
from tests.simulation.aws_ports import Ec2Port, SsmPort
from tests.simulation.ports import BusPort, MetricsPort, TablePort, iso

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
FUNCTION_S = 300.0
CONCURRENT = 3
TICK_S = 60.0
THROTTLED_SHARE = 0.4
_NO_DIGITS = str.maketrans("", "", "0123456789.")
_here = threading.local()


class DiedError(BaseException):
    """The function's process is gone: nothing may catch it."""


class _Answer(Generic[T]):
    """A call that ran beside others: what it gave, and when."""

    def __init__(self, healer: Healer, ask: Callable[..., T], args: tuple[Any, ...]) -> None:
        self._healer, self._error = healer, cast("Exception | None", None)
        outer, healer.lane = healer.lane, 0.0
        try:
            self._value = ask(*args)
        except Exception as error:  # noqa: BLE001 - raised again where the result is asked for
            self._error = error
        self._ready_at = healer.world.now + healer.lane
        healer.lane = outer

    def result(self) -> T:
        """Wait for it."""
        wait_s = self._ready_at - self._healer.world.now
        if wait_s > 0:
            self._healer.world.time.sleep(wait_s)
        if self._error is not None:
            raise self._error
        return self._value


class _Beside:
    """Takes the thread pool's place: calls side by side, in simulated time and in a fixed order."""

    def __init__(self, *, max_workers: int) -> None:
        assert max_workers
        self._healer: Healer = _here.healer

    def __enter__(self) -> _Beside:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def submit(self, ask: Callable[..., T], *args: Any) -> _Answer[T]:
        return _Answer(self._healer, ask, args)


@contextmanager
def in_simulated_time() -> Iterator[None]:
    """The real run, with simulated time in place of threads."""
    real = vars(lambdas.run)["ThreadPoolExecutor"]
    vars(lambdas.run)["ThreadPoolExecutor"] = _Beside
    try:
        yield
    finally:
        vars(lambdas.run)["ThreadPoolExecutor"] = real


class Healer:
    """One run and what the watch knows of it."""

    def __init__(self, world: World, number: int, wake: str) -> None:
        self.world, self.number, self.why = world, number, wake
        self.owner = f"run-{number}"
        self.token: int | None = None
        self.lane: float | None = None  # seconds spent by a call beside others
        self.began_at = world.now
        self.table_read_at = self.intended_at = world.now
        self.instances_read_at: dict[str, float] = {}
        self.verdicts: dict[str, bool | None] = {}  # EC2's, as last read
        self.reports_read: dict[str, str] = {}  # slot → what lay there when it read the table
        self.told_before: dict[str, float] = {}  # instance → when its last word had come by then
        self.gap_s = 0.0
        self.calls = 0
        self.dies_at_call: int | None = None

    # -- as the run sees it

    def now(self) -> float:
        """This machine's clock."""
        return self.world.now + self.world.healers.skew_s(self)

    def sleep(self, seconds: float) -> None:
        self.world.time.sleep(max(seconds, 0.01))

    def remaining_s(self) -> float:
        return FUNCTION_S - (self.world.now - self.began_at)

    def run(self) -> Outcome:
        """Go, with the real code."""
        _here.healer = self
        regions = self.world.spec.regions
        real = Run(
            world=HealersWorld(
                spec=self.world.spec,
                ec2={r: cast("Ec2", Ec2Port(self, r)) for r in regions},
                ssm={r: cast("Ssm", SsmPort(self, r)) for r in regions},
                table=cast("Table", TablePort(self)),
                iso=iso,
            ),
            bus=cast("Bus", BusPort(self)),
            metrics=cast("Metrics", MetricsPort(self)),
            clock=self,
            wake=self.why,
            remaining_s=self.remaining_s,
            log=self._log,
            _owner=self.owner,
        )
        return real.go()

    def _log(self, sentence: str, _extra: Mapping[str, object]) -> None:
        self.world.healers.said(self, sentence)

    # -- what the ports tell

    def spend(self, seconds: float) -> None:
        """A call takes time; side by side with others it takes it there."""
        slow = self.world.weather
        if slow.on("slow-calls"):
            seconds += slow.amount("slow-calls")
        if self.lane is not None:
            self.lane += seconds
        else:
            self.world.time.sleep(seconds)
        if self.world.now - self.began_at > FUNCTION_S:
            raise DiedError

    def dice_say(self, name: str, where: str) -> bool:
        """Whether this call is one of those that are refused."""
        weather = self.world.weather
        return weather.on(name, where) and self.world.healers.dice.random() < THROTTLED_SHARE

    def perhaps_die(self) -> None:
        """The process may be gone after any single call that changed something."""
        self.calls += 1
        if self.dies_at_call is None and self.world.weather.on("healer-dies"):
            self.dies_at_call = self.calls + int(self.world.weather.amount("healer-dies"))
            self.world.weather.use_up("healer-dies")
        if self.dies_at_call is not None and self.calls >= self.dies_at_call:
            raise DiedError

    def took(self, token: int | None) -> None:
        self.token = token

    def intends(self, token: int) -> None:
        """An intent was written: a step begins."""
        assert token == self.token
        self.intended_at = self.world.now

    def read_the_table(self) -> None:
        self.gap_s = self.world.watch.read(self.now() - self.world.now)
        self.table_read_at = self.world.now
        self.reports_read = dict(self.world.hub.reports)
        hosts = self.world.aws.sits.values()
        self.told_before = {host.instance_id: host.told_at for host in hosts}

    def looked_at_instances(self, region: str) -> None:
        self.instances_read_at[region] = self.world.now


class Healers:
    """The function: events and ticks wake it, runs race."""

    def __init__(self, world: World, rng_seed: str) -> None:
        self.world = world
        self.dice = random.Random(rng_seed)  # noqa: S311 - the same run every time
        self.running: list[Healer] = []
        self.runs = self.looks = self.died = self.failed = 0
        self.last: Outcome | None = None
        self.last_sentence = self._told = ""
        self._skews: dict[int, float] = {}
        self._woken_at = float("-inf")
        self._stopped = False

    # -- waking

    def start(self) -> None:
        """The minute tick."""
        self.world.time.after(TICK_S, self._tick)

    def _tick(self) -> None:
        if self._stopped:
            return
        if not self.world.weather.on("ticks-lost"):
            self.invoke("tick")
        self.world.time.after(TICK_S, self._tick)

    def stop(self) -> None:
        self._stopped = True

    def event(self, why: str) -> None:
        """An event on its way: lost, late, twice or in time."""
        now, weather = self.world.now, self.world.weather
        if now - self._woken_at < 1.0 and why != "unfinished":
            return  # one of many in the same second
        if weather.on("events-lost"):
            return
        self._woken_at = now
        delay_s = 0.5 + weather.amount("events-late")
        for _ in range(2 if weather.on("events-doubled") else 1):
            self.world.time.after(delay_s, lambda: self.invoke(why))

    def invoke(self, why: str) -> None:
        """Lambda starts a run, unless too many are at it already or its region is away."""
        if self._stopped or len(self.running) >= CONCURRENT:
            return
        if self.world.weather.on("healer-away"):
            return
        self.runs += 1
        healer = Healer(self.world, self.runs, why)
        self.running.append(healer)
        self.world.keep_up()
        self.world.time.spawn(lambda: self._run(healer))

    def _run(self, healer: Healer) -> None:
        self.world.catch_up()
        try:
            outcome = healer.run()
        except DiedError:
            self.died += 1
            self.world.tell(f"run {healer.number} dies")
        except (HealerError, ClientError, BotoCoreError) as error:
            self.failed += 1
            self.world.tell(f"run {healer.number} fails: {error}")
        else:
            self.looks += outcome.looks
            if healer.token is not None:
                self.last = outcome
        finally:
            self.running.remove(healer)

    # -- clocks

    def skew_s(self, healer: Healer) -> float:
        """How wrong a run's clock is: as the machine it started on, and what it jumped since."""
        skew = self._skews.get(healer.number)
        if skew is None:
            skew = self._skews[healer.number] = self.world.weather.amount("clock-skew")
        return skew + self.world.weather.amount("clock-jump")

    def said(self, healer: Healer, sentence: str) -> None:
        """For the story: a sentence that is new."""
        self.last_sentence = sentence
        if not self.world.recording:
            return
        without_numbers = sentence.translate(_NO_DIGITS)
        if without_numbers != self._told:
            self._told = without_numbers
            self.world.tell(f"run {healer.number}: {sentence}")
