"""Two faults at once."""

from __future__ import annotations

from typing import Final

from lab.demo.runner import Stage
from lab.errors import LabError
from lab.proof import hub
from lab.proof.scenario import REFILL, STANDARD, Blow, Row, Scenario

LOST: Final = ("terminate", *REFILL)
NO_VOTER: Final = (
    "db-euw1-b"  # of the smallest cluster's copies; with any other two voters of three would go
)
SETTLE_S: Final = 2.0
SWITCHOVER_S: Final = 60.0


def _no_voter_follows(stage: Stage) -> None:
    """Hand the lead on where the copy that has no vote in etcd leads."""
    bench = stage.bench
    if bench.leader() != NO_VOTER:
        return
    stage.timeline.say("note", hub.people("switchover", "--why", "the proof").splitlines()[0])
    bench.until(
        lambda: (
            bench.leader() not in {None, NO_VOTER}
            and hub.attribute(bench, "planned", "state") != "open"
        ),
        "another copy leads",
        within_s=SWITCHOVER_S,
    )
    if stage.watch.until_full(limit_s=SWITCHOVER_S) is None:
        raise LabError("strength did not return after the switchover")
    stage.sleep(SETTLE_S)


ROWS: Final[tuple[Row, ...]] = (
    Scenario(
        name="replica-and-witness",
        row="two at once: replica and witness",
        blows=(
            Blow(fault="power-loss", target=NO_VOTER),
            Blow(fault="power-loss", target="witness"),
        ),
        before=_no_voter_follows,
        must=LOST,
        full_s=150.0,
        outage_s=20.0,
    ),
    Scenario(
        name="leader-and-haproxy",
        row="two at once: leader and HAProxy",
        blows=(
            Blow(fault="power-loss", target="leader"),
            Blow(fault="power-loss", target="haproxy"),
        ),
        must=LOST,
        full_s=180.0,
        outage_s=40.0,
    ),
    Scenario(
        name="two-replicas",
        row="two at once: two replicas, in standard",
        blows=(
            Blow(fault="power-loss", target="replica"),
            Blow(fault="power-loss", target="replica"),
        ),
        must=LOST,
        full_s=180.0,
        outage_s=20.0,
        size=STANDARD,
    ),
)
