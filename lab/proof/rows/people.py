"""What people order: a mode in which nothing is done, a switchover, and the replacement of every node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from lab.demo.runner import Stage
from lab.errors import LabError
from lab.proof import hub
from lab.proof.account import Account, outages_s
from lab.proof.scenario import ANYWHERE, REFILL, Row, Scenario, blow

SWITCHOVER_S: Final = 10.0  # the write outage that one switchover may cost
GAP_S: Final = 1.0


def _mode(mode: str) -> Callable[[Stage], None]:
    return lambda _: hub.set_mode(mode)


def _nothing_done(stage: Stage, seen: Account) -> list[str]:
    """Not one step before the mode was auto again."""
    del stage
    return [
        f"{step.word} on {step.slot} was done while the healer was to do nothing"
        for step in seen.before_mending()
    ]


class Before:
    """What was so before an order, for the check after it."""

    def __init__(self) -> None:
        self.leader: str | None = None
        self.instances: frozenset[str] = frozenset()

    def note(self, stage: Stage) -> None:
        """Remember who leads and who is there."""
        self.leader = stage.bench.leader()
        self.instances = frozenset(o.instance_id for o in stage.api.occupants())

    def another_leads(self, stage: Stage, seen: Account) -> list[str]:
        """The lead has moved."""
        del seen
        now = stage.bench.leader()
        return [f"{now} leads as before"] if now == self.leader else []

    def all_are_new(self, stage: Stage, seen: Account) -> list[str]:
        """Nobody is left, and writes stood still for no longer than one switchover takes."""
        left = [o.slot for o in stage.api.occupants() if o.instance_id in self.instances]
        found = [f"the occupant of {slot} is as old as before" for slot in left]
        writes, _ = stage.load.collect()
        total_s = outages_s(writes, seen.begin, seen.end, least_s=GAP_S)
        if total_s > SWITCHOVER_S:
            found.append(
                f"no write was acknowledged for {total_s:.1f} s in all,"
                f" promised were {SWITCHOVER_S:.0f} s"
            )
        return found


def _order(*words: str) -> Callable[[Stage, Sequence[str]], None]:
    def order(stage: Stage, _: Sequence[str]) -> None:
        stage.timeline.say("note", hub.people(*words, "--why", "the proof").splitlines()[0])

    return order


def _carried_out(stage: Stage) -> bool:
    """Whether the order is not open any more. Raises LabError when it was taken back."""
    state = hub.attribute(stage.bench, "planned", "state")
    if state == "cancelled":
        raise LabError("the order was taken back")
    return state != "open"


SWITCHED: Final = Before()
ROLLED: Final = Before()
ROWS: Final[tuple[Row, ...]] = (
    Scenario(
        name="mode-observe",
        row="mode observe does nothing",
        blows=blow("terminate", "app"),
        before=_mode("observe"),
        mend=_mode("auto"),
        stands_s=20.0,
        must=("launch", "configure"),
        check=_nothing_done,
        full_s=75.0,
    ),
    Scenario(
        name="mode-off",
        row="mode off does nothing",
        blows=blow("stop-service", "haproxy-euw3-a"),
        before=_mode("off"),
        mend=_mode("auto"),
        stands_s=20.0,
        check=_nothing_done,
        may=("restart-service:haproxy",),
        full_s=60.0,
    ),
    Scenario(
        name="planned-switchover",
        row="planned switchover",
        before=SWITCHED.note,
        meanwhile=_order("switchover"),
        must=(f"switchover{ANYWHERE}",),
        until=_carried_out,
        check=SWITCHED.another_leads,
        outage_s=SWITCHOVER_S,
        full_s=90.0,
    ),
    Scenario(
        name="rolling-replacement",
        row="rolling replacement of every node",
        before=ROLLED.note,
        meanwhile=_order("roll"),
        must=(f"switchover{ANYWHERE}", f"terminate{ANYWHERE}"),
        may=tuple(f"{kind}{ANYWHERE}" for kind in REFILL),
        until=_carried_out,
        check=ROLLED.all_are_new,
        outage_s=SWITCHOVER_S,
        full_s=600.0,
    ),
)
