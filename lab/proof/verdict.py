"""Which promises a scenario broke, one sentence each. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from lab.proof.account import Account, Call, Step
from lab.proof.scenario import ANYWHERE, Scenario


def permitted(step: Step, allowed: Collection[str], targets: Sequence[str]) -> bool:
    """Whether this step may happen: listed for the slots that were hit, or for any."""
    names = {step.word, step.kind}
    if {f"{name}{ANYWHERE}" for name in names} & set(allowed):
        return True
    return step.slot in targets and bool(names & set(allowed))


def done(step: Step, word: str, targets: Sequence[str]) -> bool:
    """Whether this step is the one that has to happen, and did what it was to do."""
    return permitted(step, (word,), targets) and step.succeeded


def all_done(scenario: Scenario, steps: Sequence[Step], targets: Sequence[str]) -> bool:
    """Whether everything that has to happen has happened."""
    return all(any(done(step, word, targets) for step in steps) for word in scenario.must)


def was_called(scenario: Scenario, calls: Collection[Call], targets: Sequence[str]) -> bool:
    """Whether the healer has found one of the diagnoses that are right, on a slot that was hit."""
    return any(
        call.diagnosis in scenario.called and (not targets or call.slot in targets)
        for call in calls
    )


def mends_now(scenario: Scenario, calls: Collection[Call], steps: Sequence[Step]) -> bool:
    """Whether something has happened on which the damage is taken back before its time."""
    words = {call.diagnosis for call in calls}
    words |= {step.word for step in steps if step.succeeded}
    words |= {f"{step.word} failed" for step in steps if step.failed}
    return bool(words & set(scenario.mended_on))


def broken(scenario: Scenario, seen: Account) -> list[str]:
    """Every broken promise."""
    found = [*_about_data(seen), *_about_time(scenario, seen), *_about_the_healer(scenario, seen)]
    return found if found or seen.settled else ["it did not come to rest in the time there was"]


def _about_data(seen: Account) -> Iterator[str]:
    if seen.lost:
        yield f"{seen.lost} acknowledged writes are gone"
    if seen.two_writable_s > 0:
        yield f"two nodes were writable at once for {seen.two_writable_s:.2f} s"


def _about_time(scenario: Scenario, seen: Account) -> Iterator[str]:
    if seen.back is None or seen.full_strength_s is None:
        yield f"strength did not return: {'; '.join(seen.missing) or 'nobody could look'}"
    elif seen.full_strength_s > scenario.full_s:
        yield (
            f"strength returned after {seen.full_strength_s:.0f} s,"
            f" promised were {scenario.full_s:.0f} s"
        )
    if scenario.outage_s is not None and seen.outage_s > scenario.outage_s:
        yield (
            f"no write was acknowledged for {seen.outage_s:.1f} s,"
            f" promised were {scenario.outage_s:.0f} s"
        )


def _about_the_healer(scenario: Scenario, seen: Account) -> Iterator[str]:
    if scenario.called and not was_called(scenario, seen.calls, seen.targets):
        found = sorted({f"{call.slot} {call.diagnosis}" for call in seen.calls})
        yield (
            f"nobody called it {' or '.join(scenario.called)}, but {', '.join(found) or 'nothing'}"
        )
    if scenario.held is not None and not any(c.held == scenario.held for c in seen.calls):
        yield f"nothing was held by '{scenario.held}'"
    for word in scenario.must:
        if not any(done(step, word, seen.targets) for step in seen.steps):
            yield f"{word} did not happen"
    for step in seen.steps:
        if not permitted(step, scenario.allowed, seen.targets):
            yield f"{step.word} on {step.slot} ({step.diagnosis}) was not to happen"
    if seen.open_slots:
        yield f"incidents are open in the end: {', '.join(sorted(set(seen.open_slots)))}"
