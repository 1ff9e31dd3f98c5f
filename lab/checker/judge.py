"""The verdict over a run, from its files and the prober's answers alone. Pure but for reading them.

Promises: what was acknowledged is there at the end, once; what failed is not; every register was
linearizable; money is neither made nor lost; no two nodes took writes at once; all copies hold the
same. Only loss, and what a register looks like after one, is excused while the cluster announces
that durability is suspended, and reported apart. With asynchronous replication that is always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.checker.final import FinalState
from lab.checker.history import History, Operation, read
from lab.checker.settings import Kind, Settings
from lab.checker.verdicts import append, bank, copies, presence, register, writable
from lab.checker.verdicts.finding import Anomaly, Finding
from lab.checker.verdicts.presence import Written
from lab.checker.verdicts.windows import ALWAYS, Loss, Window
from lab.load.history import Outcome, Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was promised and broken, what was excused, and what could not be judged."""

    findings: tuple[Finding, ...]
    losses: tuple[Loss, ...]  # of appends and transfers, broken and excused alike
    doubts: tuple[str, ...]
    counts: Mapping[Kind, Mapping[Outcome, int]]  # operations of each workload by outcome

    @property
    def broken(self) -> tuple[Finding, ...]:
        """Promises that were in force and did not hold."""
        return tuple(finding for finding in self.findings if not finding.excused)

    @property
    def excused(self) -> tuple[Finding, ...]:
        """What happened while the promise was suspended."""
        return tuple(finding for finding in self.findings if finding.excused)

    @property
    def holds(self) -> bool:
        """Whether no promise was broken. Doubts are for the reader."""
        return not self.broken

    @property
    def sentences(self) -> tuple[str, ...]:
        """One for every broken promise."""
        return tuple(finding.sentence for finding in self.broken)

    @property
    def lost(self) -> int:
        """How many acknowledged appends and transfers are gone, excused or not."""
        return sum(loss.number for loss in self.losses)

    @property
    def lost_s(self) -> float:
        """How far back the worst loss went, in seconds."""
        return max((loss.seconds for loss in self.losses), default=0.0)

    def as_json(self) -> dict[str, Any]:
        """For the record of the run."""
        return {
            "holds": self.holds,
            "broken": [finding.as_json() for finding in self.broken],
            "excused": [finding.as_json() for finding in self.excused],
            "losses": [
                {
                    "number": loss.number,
                    "seconds": loss.seconds,
                    "begin": loss.begin,
                    "end": loss.end,
                }
                for loss in self.losses
            ],
            "doubts": list(self.doubts),
            "counts": {
                kind.value: {outcome.value: number for outcome, number in counts.items()}
                for kind, counts in self.counts.items()
            },
        }


def judge(
    directory: Path,
    final: FinalState,
    probes: Iterable[Probe],
    suspended: Sequence[Window],
    *,
    asynchronous: bool = False,
    loss_s_max: float | None = None,
) -> Verdict:
    """The verdict over the histories in this directory.

    `probes` are direct answers of database nodes only. `suspended` are the announced windows.
    With `asynchronous` every loss is excused, unless it goes back further than `loss_s_max`.
    `HistoryError` when a history contradicts itself.
    """
    settings = Settings.load(directory)
    histories = {
        kind: read(kind.history(directory)) for kind in Kind if kind.history(directory).exists()
    }
    windows = (ALWAYS,) if asynchronous else tuple(suspended)
    found: list[Finding] = []
    losses: list[Loss] = []
    for kind, history in histories.items():
        found += _findings(kind, history.operations, final, settings, windows)
        losses += _losses(kind, history.operations, final)
    found += [*writable.findings(probes), *copies.findings(final.copies)]
    if loss_s_max is not None:
        found += _too_far_back(losses, loss_s_max)
    return Verdict(
        findings=tuple(found),
        losses=tuple(losses),
        doubts=tuple(_doubts(histories, final)),
        counts={
            kind: Counter(operation.outcome for operation in history.operations)
            for kind, history in histories.items()
        },
    )


def _findings(
    kind: Kind,
    operations: Sequence[Operation],
    final: FinalState,
    settings: Settings,
    windows: Sequence[Window],
) -> list[Finding]:
    match kind:
        case Kind.APPEND:
            found = final.appended
            return (
                []
                if found is None
                else [*presence.findings(append.written(operations), found, windows)]
            )
        case Kind.REGISTER:
            reads = register.final_reads(final)
            gone = [] if final.registers is None else register.final_findings(final, settings)
            return [*register.findings([*operations, *reads], windows), *gone]
        case Kind.BANK:
            read_while_running = bank.findings(operations, settings)
            if final.balances is None or final.ledger is None:
                return [*read_while_running]
            ledger = [entry.id for entry in final.ledger]
            return [
                *read_while_running,
                *bank.final_findings(final, settings),
                *presence.findings(bank.written(operations), ledger, windows),
            ]


def _losses(kind: Kind, operations: Sequence[Operation], final: FinalState) -> tuple[Loss, ...]:
    written: Written
    match kind:
        case Kind.APPEND if final.appended is not None:
            written, found = append.written(operations), final.appended
        case Kind.BANK if final.ledger is not None:
            written, found = bank.written(operations), tuple(it.id for it in final.ledger)
        case _:
            return ()
    return presence.lost_stretches(written, found)


def _too_far_back(losses: Iterable[Loss], loss_s_max: float) -> list[Finding]:
    return [
        Finding(
            anomaly=Anomaly.LOST,
            sentence=(
                f"{loss.number} acknowledged operations are gone, {loss.seconds:.3f} s back from"
                f" {loss.end:.3f} s; promised were at most {loss_s_max:.3f} s"
            ),
        )
        for loss in losses
        if loss.seconds > loss_s_max
    ]


def _doubts(histories: Mapping[Kind, History], final: FinalState) -> list[str]:
    """Why the verdict may say less than it seems to."""
    doubts = [*final.doubts, *copies.doubts(final.copies)]
    if not histories:
        doubts.append("there is no history: nothing was judged")
    read_at_the_end = {
        Kind.APPEND: final.appended is not None,
        Kind.REGISTER: final.registers is not None,
        Kind.BANK: final.balances is not None and final.ledger is not None,
    }
    for kind, history in histories.items():
        if not any(operation.acked for operation in history.operations):
            doubts.append(f"no {kind} operation was acknowledged: nothing is shown by them")
        if not read_at_the_end[kind]:
            doubts.append(f"the {kind} workload was not read at the end: loss was not looked for")
        if history.truncated:
            doubts.append(f"the {kind} history ends within a line: its writer was killed")
        if history.never_completed:
            doubts.append(
                f"{history.never_completed} {kind} operations never ended: their client was killed"
            )
    return doubts
