"""A trial of `lab.freeze` as a scenario of the proof: the same trial, its record as a line of the table."""

from __future__ import annotations

from typing import Final

from lab.demo.runner import Stage
from lab.freeze.etcd import EtcdMembers
from lab.freeze.healer import HealerMode
from lab.freeze.nodes import Nodes
from lab.freeze.plan import Guard, Mover, Plan
from lab.freeze.record import Trial, broken
from lab.freeze.trial import Stand, perform
from lab.proof.record import Line
from lab.proof.runner import Losses
from lab.proof.scenario import Freeze

# A host that goes on where it stood answers as a primary until Patroni's first cycle, with nobody to acknowledge to it.
THAWED_S_MAX: Final = 2.0


def play_freeze(stage: Stage, freeze: Freeze, losses: Losses) -> Line:
    """One trial. Raises LabError when it cannot be made, or when strength does not return."""
    stand = Stand(
        stage=stage,
        etcd=EtcdMembers(stage.api.slots()),
        nodes=Nodes(stage.bench),
        healer=HealerMode(),
        lost=losses.known,
    )
    trials: list[Trial] = []
    began = stage.clock()
    plan = Plan(trials=1, variants=(freeze.variant,), guard=Guard.ON, mover=Mover.OFF)
    perform(stand, plan, trials.append)
    return line_of_trial(freeze, trials[0], took_s=stage.clock() - began)


def line_of_trial(freeze: Freeze, trial: Trial, *, took_s: float) -> Line:
    """The trial's outcome. Strength counts from the thaw: before it the host is meant to stand still."""
    sentences = list(broken((trial,)))
    if trial.two_writable_s > THAWED_S_MAX:
        sentences.append(
            f"the thawed host answered as a primary for {trial.two_writable_s:.2f} s,"
            f" promised were {THAWED_S_MAX:.0f} s"
        )
    return Line(
        name=freeze.name,
        row=freeze.row,
        targets=(trial.frozen,),
        called=(),
        detected_s=None,
        actions=(),
        outage_s=max(trial.outage_frozen_s, trial.outage_thawed_s),
        full_strength_s=trial.full_s,
        acked=trial.acked,
        lost=trial.lost,
        two_writable_s=trial.two_writable_s,
        took_s=took_s,
        broken=tuple(sentences),
    )
