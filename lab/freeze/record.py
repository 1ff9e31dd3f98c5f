"""What the trials found: one record each, the table, `freeze.json`, and the promises broken. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from lab.demo.record import seconds
from lab.freeze.plan import Guard, Plan, Variant

# What a guard says when it keeps a lock from its Patroni (node_agent/guard).
DENIALS: Final = ("is not taken back", "may not take the leader key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One freeze and thaw. Seconds count from the freeze unless said otherwise."""

    variant: Variant
    guard: Guard
    frozen: str  # slot that led the database
    etcd_leader: str  # slot, when the host was frozen
    successor: str | None
    leader_after: str | None
    thawed_s: float
    full_s: float  # from the thaw to full strength
    acked: int
    unknown: int
    lost: int  # acknowledged writes that the leader does not have in the end
    outage_frozen_s: float  # the longest time without an acknowledged write until the thaw
    outage_thawed_s: float  # and from the thaw on
    two_writable_s: float
    patroni_stopped_s: float | None  # how long the successor's Patroni stood still; forced only
    said: tuple[str, ...]  # what the guards of all nodes said

    @property
    def retaken(self) -> bool:
        """The thawed host leads in the end."""
        return self.leader_after == self.frozen

    @property
    def denied(self) -> int:
        """How often a guard kept its Patroni from taking the lock."""
        return sum(any(words in line for words in DENIALS) for line in self.said)


def broken(trials: Sequence[Trial]) -> tuple[str, ...]:
    """Promises broken: with the guard on, no acknowledged write is lost. Off, losses are what is looked for."""
    return tuple(
        f"trial {number} ({trial.variant}): {trial.lost} acknowledged writes are gone,"
        f" {trial.leader_after or 'nobody'} leads after {trial.frozen} was frozen"
        for number, trial in enumerate(trials, start=1)
        if trial.guard is Guard.ON and trial.lost
    )


def verdict(trials: Sequence[Trial]) -> tuple[str, ...]:
    """One sentence a variant."""
    sentences = []
    for variant in Variant:
        done = [trial for trial in trials if trial.variant is variant]
        if done:
            losing = [trial.lost for trial in done if trial.lost]
            most = f", {max(losing)} at most" if losing else ""
            sentences.append(
                f"{variant}, guard {done[0].guard}: {len(losing)} of {len(done)} trials lost acknowledged writes{most};"
                f" the thawed host led again in {sum(trial.retaken for trial in done)}"
            )
    return tuple(sentences)


def table(trials: Sequence[Trial]) -> list[tuple[str, ...]]:
    """Rows for people, header first."""
    rows: list[tuple[str, ...]] = [
        (
            *("variant", "guard", "frozen", "etcd leader", "successor", "leads after"),
            *("lost", "acked", "outage frozen", "outage thawed", "two writable", "full", "denied"),
        )
    ]
    rows += [
        (
            trial.variant,
            trial.guard,
            trial.frozen,
            trial.etcd_leader,
            trial.successor or "-",
            trial.leader_after or "-",
            str(trial.lost),
            str(trial.acked),
            seconds(trial.outage_frozen_s),
            seconds(trial.outage_thawed_s),
            f"{trial.two_writable_s:.2f} s",
            seconds(trial.full_s),
            str(trial.denied),
        )
        for trial in trials
    ]
    return rows


def as_json(plan: Plan, trials: Sequence[Trial], stopped_by: str | None) -> dict[str, Any]:
    """The content of `freeze.json`. `stopped_by` says why fewer trials were made than planned."""
    rows = []
    for trial in trials:
        row: dict[str, Any] = {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in asdict(trial).items()
        }
        rows.append({**row, "retaken": trial.retaken, "denied": trial.denied})
    return {
        "ok": stopped_by is None and len(trials) == len(plan.order()) and not broken(trials),
        "plan": asdict(plan),
        "stopped_by": stopped_by,
        "verdict": list(verdict(trials)),
        "broken_promises": list(broken(trials)),
        "trials": rows,
    }
