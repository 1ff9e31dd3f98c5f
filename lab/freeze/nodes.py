"""What a trial does on nodes, through their own systemd: the guard's switch, the agent, a Patroni that stands still."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from lab.errors import LabError
from lab.faults.bench import Bench
from lab.freeze.plan import FULL_S, Guard, Mover
from lab.operator import Slot

DROP_IN: Final = "/etc/systemd/system/patroni.service.d/freeze-trial.conf"
MARK: Final = "pgmend guard:"
RESTART_S: Final = 90.0
# Of the process that runs, not of what is configured: its command, and its switch if it has one.
LOOK: Final = (
    "pid=$(systemctl show -P MainPID patroni.service); "
    "tr '\\0' ' ' <\"/proc/$pid/cmdline\"; echo; "
    "tr '\\0' '\\n' <\"/proc/$pid/environ\" | grep ^PGMEND_PATRONI_GUARD= || true"
)
# Without systemd's watchdog, too: a Patroni that it restarts at the thaw has a fresh view, and loses nothing.
SWITCH_OFF: Final = (
    f"mkdir -p {DROP_IN.rpartition('/')[0]}; "
    f"printf '[Service]\\nEnvironment=PGMEND_PATRONI_GUARD=off\\nWatchdogSec=0\\n' >{DROP_IN}"
)
SWITCH_ON: Final = f"rm -f {DROP_IN}"
RESTART: Final = "systemctl daemon-reload; systemctl restart patroni.service"


class UntilFull(Protocol):
    """`lab.demo.watch.Watch.until_full`."""

    def __call__(self, *, limit_s: float) -> float | None:
        """None past the limit."""


@dataclass(slots=True, kw_only=True)
class Standstill:
    """A process that stands still, by the clock of who stopped it."""

    clock: Callable[[], float]
    began: float
    order_s: float  # what it took to tell it
    ended: float | None = None

    def rest_of(self, seconds: float) -> float:
        """How long to wait before the order to go on, for a standstill of this length."""
        return max(0.0, seconds - self.order_s - (self.clock() - self.began))

    @property
    def seconds(self) -> float:
        """How long it stood, or has stood so far."""
        return (self.clock() if self.ended is None else self.ended) - self.began


class Nodes:
    """The database nodes of a running lab."""

    def __init__(self, bench: Bench, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._bench, self._clock = bench, clock

    # the guard

    def guard(self, slot: str) -> Guard | None:
        """How the Patroni that runs there was started; None for one without the launcher."""
        command, _, switch = self._run(slot, LOOK).strip().partition("\n")
        if "node_agent.guard" not in command:
            return None
        return Guard.OFF if switch.strip() == "PGMEND_PATRONI_GUARD=off" else Guard.ON

    def switch(self, wanted: Guard, slots: Sequence[Slot], until_full: UntilFull) -> list[str]:
        """Restart Patroni where its guard is not as wanted, the leader last; the slots that were restarted.

        Raises LabError where there is no guard to switch on, or when strength does not return.
        """
        found = {slot: self.guard(slot) for slot in self._databases(slots)}
        bare = [slot for slot, guard in found.items() if guard is None]
        if bare and wanted is Guard.ON:
            raise LabError(
                f"Patroni on {', '.join(bare)} does not run through the guard's launcher"
            )
        changed = [slot for slot, guard in found.items() if guard not in {None, wanted}]
        for slot in changed:
            self._restart(slot, wanted, until_full)
        return changed

    def restore(self, slots: Sequence[Slot], until_full: UntilFull) -> None:
        """The guard is on again wherever it was switched off."""
        for slot in self._databases(slots):
            if self.guard(slot) is Guard.OFF:
                self._restart(slot, Guard.ON, until_full)

    def _databases(self, slots: Sequence[Slot]) -> list[str]:
        leader = self._bench.leader()
        names = [slot.name for slot in slots if slot.role == "db" and slot.active]
        return sorted(names, key=lambda name: (name == leader, name))

    def _restart(self, slot: str, wanted: Guard, until_full: UntilFull) -> None:
        change = SWITCH_OFF if wanted is Guard.OFF else SWITCH_ON
        self._run(slot, f"{change}; {RESTART}", RESTART_S)
        if self.guard(slot) is not wanted:
            raise LabError(f"Patroni on {slot} was restarted, but its guard is not {wanted}")
        if until_full(limit_s=FULL_S) is None:
            raise LabError(f"strength did not return after Patroni on {slot} was restarted")

    def said(self, slots: Sequence[Slot], *, since_wall: float) -> tuple[str, ...]:
        """What the guards wrote into their nodes' journals since then, with the slot before it."""
        script = (
            f"journalctl --unit=patroni.service --since=@{since_wall:.0f} --output=cat --no-pager"
            f" | grep -F '{MARK}' || true"
        )
        return tuple(
            f"{slot.name}: {line.strip()}"
            for slot in slots
            if slot.role == "db" and slot.active
            for line in self._run(slot.name, script).splitlines()
        )

    def switch_over(self, leader: str, to: str, until_full: UntilFull) -> None:
        """Have another database lead, by Patroni's own command. Raises LabError when it does not come to that."""
        words = f"patronictl -c /etc/patroni/config.yml switchover --leader {leader} --candidate {to} --force"
        self._run(leader, words, RESTART_S)
        if until_full(limit_s=FULL_S) is None or self._bench.leader() != to:
            raise LabError(
                f"{leader} was asked to hand over to {to}, which does not lead in strength"
            )

    # the trial's moments

    @contextmanager
    def mover_stopped(self, slot: str, mover: Mover) -> Iterator[None]:
        """The agent on this host does nothing; it comes back in the end."""
        if mover is Mover.ON:
            yield
            return
        self._run(slot, "systemctl stop pgmend-agent.service")
        try:
            yield
        finally:
            self._run(slot, "systemctl start pgmend-agent.service")

    @contextmanager
    def patroni_stopped(self, slot: str) -> Iterator[Standstill]:
        """Patroni's process there stands still inside, and goes on in the end."""
        instance_id = self._bench.occupant_of(slot).instance_id  # asking takes longer than the stop
        kill = "systemctl kill --kill-whom=main --signal={} patroni.service"
        asked = self._clock()
        self._run_in(instance_id, slot, kill.format("STOP"))
        began = self._clock()
        stand = Standstill(clock=self._clock, began=began, order_s=began - asked)
        try:
            yield stand
        finally:
            self._run_in(instance_id, slot, kill.format("CONT"))
            stand.ended = self._clock()

    def _run(self, slot: str, script: str, timeout_s: float = 60.0) -> str:
        """Its output; LabError when it fails."""
        return self._run_in(self._bench.occupant_of(slot).instance_id, slot, script, timeout_s)

    def _run_in(self, instance_id: str, slot: str, script: str, timeout_s: float = 60.0) -> str:
        done = self._bench.machines.run(instance_id, ("/bin/sh", "-euc", script), timeout_s)
        if done.returncode:
            tail = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
            raise LabError(f"on {slot} a step of the trial failed: {tail[0]}")
        return done.stdout
