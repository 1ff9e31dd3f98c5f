"""What stands on runbook pages word for word as in the code: each rule's words and each ladder."""

from __future__ import annotations

import textwrap

from lambdas.core.diagnose import RULES
from lambdas.core.diagnosis import Diagnosis
from lambdas.core.ladder import LADDERS, SERVICES
from tests.unit.docs.facts import T

WIDTH = 118
EVIDENCE, DOES = "## Evidence\n", "## What the healer does\n"


def rules(diagnosis: Diagnosis) -> str:
    """The rules that give the diagnosis, as a quotation."""
    said = [f"rule {rule.number}: {rule.why}" for rule in RULES if rule.diagnosis is diagnosis]
    filled = [
        textwrap.fill(
            words,
            WIDTH,
            initial_indent="> ",
            subsequent_indent="> ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for words in said
    ]
    return "\n>\n".join(filled) + "\n"


def ladder(diagnosis: Diagnosis) -> str:
    """Its rungs as a table, with the timings of AWS; nothing where there is no ladder."""
    if diagnosis not in LADDERS:
        return ""
    lines = ["| rung | attempts | then waits |", "|---|---|---|"]
    for rung in LADDERS[diagnosis]:
        unit = f" {SERVICES[diagnosis]}" if diagnosis in SERVICES else ""
        kind = f"{rung.kind}{unit}" if rung.kind == "restart-service" else rung.kind
        kind += ", now and then" if rung.told else ""
        lines.append(f"| {kind} | {rung.attempts} | {rung.wait_s(T):.0f} s |")
    return "\n".join(lines) + "\n"


def brought_up_to_date(page: str, diagnosis: Diagnosis) -> str:
    """The page with the code's words of now; all else as it is."""
    page = _beginning(page, EVIDENCE, ">", rules(diagnosis))
    return _beginning(page, DOES, "|", ladder(diagnosis))


def _beginning(page: str, heading: str, mark: str, words: str) -> str:
    """A section's first lines that begin with the mark, replaced."""
    before, _, after = page.partition(heading)
    lines = after.splitlines(keepends=True)
    old = next((n for n, line in enumerate(lines) if not line.startswith(mark)), len(lines))
    rest = "".join(lines[old:])
    gap = "\n" if words and not rest.startswith("\n") else ""
    return before + heading + words + gap + (rest if words else rest.lstrip("\n"))
