"""From what was seen to what is wrong: one ordered table of rules, the first that fits names the diagnosis.

Pure. The rules are written by subject in rules/. It must never decide what to do about it (plan.py does) nor forbid
anything (rails.py does).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lambdas.core.diagnosis import ORDERED, QUIET, UNHURRIED, Diagnosis, Rule
from lambdas.core.evidence import Evidence, gather
from lambdas.core.model import Observation
from lambdas.core.rules import databases, disks, front, hosts, planned, services

__all__ = [
    "ORDERED",
    "QUIET",
    "RULES",
    "UNHURRIED",
    "Diagnosis",
    "Finding",
    "Rule",
    "diagnose",
    "rule_table",
]

RULES: tuple[Rule, ...] = tuple(
    sorted(
        (
            *hosts.RULES,
            *disks.RULES,
            *services.RULES,
            *databases.RULES,
            *front.RULES,
            *planned.RULES,
        ),
        key=lambda rule: rule.number,
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The diagnosis of one slot, the rule that gave it and the evidence it stands on."""

    evidence: Evidence
    rule: Rule

    @property
    def diagnosis(self) -> Diagnosis:
        """What is wrong."""
        return self.rule.diagnosis

    @property
    def slot(self) -> str:
        """Where."""
        return self.evidence.slot.name


def diagnose(observation: Observation) -> Mapping[str, Finding]:
    """A finding for every slot of the spec, spare ones too."""
    findings = {}
    for slot in observation.spec.slots:
        evidence = gather(observation, slot)
        rule = next(rule for rule in RULES if rule.when(evidence))
        findings[slot.name] = Finding(evidence=evidence, rule=rule)
    return findings


def rule_table() -> str:
    """The rules as text, one a line: the golden file that makes a changed rule a reviewable diff."""
    return "".join(f"{r.number:>4}  {r.diagnosis:<22}  {r.why}\n" for r in RULES)
