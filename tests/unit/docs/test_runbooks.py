"""docs/runbooks/ says what the code does: a page for each diagnosis, and what stands on it is so."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping

import pytest

from lambdas import books_unread
from lambdas.core.actions import COMMANDS, DISCARDS, ETCD_CHANGES, REMOVALS, STOPS
from lambdas.core.climb import NEED_A_LEADER, PATIENT
from lambdas.core.diagnose import QUIET, RULES
from lambdas.core.diagnosis import Diagnosis
from lambdas.core.evidence import UNITS
from lambdas.core.ladder import LADDERS
from lambdas.core.rails import BREAKERS, RAILS
from node_agent.errors import AgentError, HoldError, RefusedError, UsageError
from tests.unit.docs import pages
from tests.unit.docs.facts import SPEC, THRESHOLDS
from tests.unit.docs.generated import brought_up_to_date

NEEDED = ("Evidence", "What the healer does", "By hand", "Stop and call for help", "Do not")
ORDER = (*NEEDED[:3], "Look deeper", *NEEDED[3:])
DOCUMENTS = pages.documents()
NOT_DOCUMENTS = {"pgmend-agent", "pgmend-app", "pgmend-disk", "pgmend-healer", "pgmend-node"}
CORE, AGENT = pages.said_in("lambdas/core"), pages.said_in("node_agent")
HEALER = pages.said_in("lambdas")
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
HELD_BY = re.compile(r"Can be \[held\]\(README\.md#reading-a-hold\) by (.+?)\.\n\n", re.DOTALL)
EVERYWHERE = {"pgmend-agent", "chrony"}
# Rails that a page has to name, by the kinds of steps that they can stop.
STOPPED_BY: Mapping[str, frozenset[str]] = {
    "quorum": STOPS | DISCARDS | REMOVALS | ETCD_CHANGES,
    "last-copy": DISCARDS,
    "one-disturbance": STOPS | DISCARDS,
    "one-removal": REMOVALS,
    "removal-budget": REMOVALS,
    "refills": REMOVALS,
    "breaker": STOPS | DISCARDS | REMOVALS | {"replace-etcd-member"},
    "growth-budget": frozenset({"grow-disk"}),
    "ssm": COMMANDS,
}
GIVEN_TIME = (
    f"The first step comes {SPEC.timings.restart_wait_s:.0f} s after the incident was opened."
)
each_page = pytest.mark.parametrize("name", pages.names())


def _flat(text: str) -> str:
    return " ".join(text.split())


def _rails() -> set[str]:
    """Ids of the rails, and of holds that are given without one."""
    named = re.findall(
        r'rail="([a-z-]+)"',
        "".join(path.read_text() for path in (pages.ROOT / "lambdas/core").rglob("*.py")),
    )
    return {rail.id for rail in RAILS} | set(named) | {books_unread.RAIL}


# -- pages


def test_every_diagnosis_that_is_not_a_way_of_being_well_has_a_page() -> None:
    assert set(pages.names()) == set(Diagnosis) - QUIET


def test_every_page_is_of_a_diagnosis_that_a_rule_gives() -> None:
    assert set(pages.names()) == {rule.diagnosis for rule in RULES} - QUIET


def test_the_index_names_every_page_once() -> None:
    index = pages.sections(pages.text("README"))["Pages"]
    assert sorted(re.findall(r"\]\(([a-z-]+)\.md\)", index)) == pages.names()


@each_page
def test_a_page_has_its_sections_in_order(name: str) -> None:
    page = pages.text(name)
    found = pages.sections(page)
    assert page.startswith(f"# {name}\n\n")
    assert tuple(found) == tuple(head for head in ORDER if head in found)
    assert set(NEEDED) <= set(found)
    assert all(body.strip() for body in found.values())
    assert pages.blocks(found["By hand"])


# -- what the healer does


@each_page
def test_the_rules_and_the_ladder_on_a_page_are_the_healers(name: str) -> None:
    page = pages.text(name)
    now = brought_up_to_date(page, Diagnosis(name))
    assert page == now, "python -m tests.unit.docs writes them; read the rest of the page then"


@each_page
def test_a_page_says_what_is_waited_for_before_the_first_step(name: str) -> None:
    does = _flat(pages.sections(pages.text(name))["What the healer does"])
    assert (GIVEN_TIME in does) == (Diagnosis(name) in PATIENT)
    assert ("While nobody leads it waits." in does) == (Diagnosis(name) in NEED_A_LEADER)


@each_page
def test_every_rail_on_a_page_exists(name: str) -> None:
    for held_by in HELD_BY.findall(pages.text(name)):
        rails = re.findall(r"`([^`]+)` \(", _flat(held_by))
        assert rails
        assert set(rails) <= _rails()


@each_page
def test_a_page_names_the_rails_that_its_steps_can_run_into(name: str) -> None:
    diagnosis = Diagnosis(name)
    kinds = {rung.kind for rung in LADDERS.get(diagnosis, ())}
    able = {rail for rail, stopped in STOPPED_BY.items() if kinds & stopped}
    able -= {"removal-budget"} if diagnosis is Diagnosis.OUTDATED else set()
    held_by = " ".join(HELD_BY.findall(pages.text(name)))
    assert able <= set(re.findall(r"`([^`]+)` \(", _flat(held_by)))


def test_the_index_explains_every_hold_in_the_healers_words() -> None:
    found = pages.rows(pages.text("README"), "rule")
    assert {rail for cells in found for rail in pages.quoted(cells[0])} == _rails()
    for _, says, _ in found:
        for sentence in pages.quoted(says):
            assert not pages.unsaid(sentence, HEALER), sentence


def test_the_index_says_which_rails_open_the_breaker() -> None:
    found = pages.rows(pages.text("README"), "rule")
    assert {pages.quoted(rail)[0] for rail, _, so in found if "opens the breaker" in so} == BREAKERS


@pytest.mark.parametrize(("name", "words"), THRESHOLDS)
def test_numbers_on_a_page_are_the_codes(name: str, words: str) -> None:
    assert words in _flat(pages.text(name))


# -- documents


SENT = [sent for name in (*pages.names(), "README") for sent in pages.sent(name)]


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: f"{sent.page}-{sent.document}")
def test_a_document_on_a_page_can_be_sent_as_it_stands_there(sent: pages.Sent) -> None:
    declared = DOCUMENTS[sent.document]["parameters"]
    assert set(sent.parameters) == set(declared)
    for name, value in sent.parameters.items():
        if "allowedPattern" in declared[name]:
            assert re.search(declared[name]["allowedPattern"], value), name
        if "allowedValues" in declared[name]:
            assert value in declared[name]["allowedValues"], name
    slot = sent.parameters["Slot"]
    assert sent.targets == (
        f"Key=tag:pgmend:cluster,Values={SPEC.cluster}",
        f"Key=tag:pgmend:slot,Values={slot}",
    )
    assert sent.region == SPEC.by_name[slot].region


@pytest.mark.parametrize("sent", SENT, ids=lambda sent: f"{sent.page}-{sent.document}")
def test_a_document_on_a_page_is_sent_to_a_slot_that_can_do_it(sent: pages.Sent) -> None:
    slot = SPEC.by_name[sent.parameters["Slot"]]
    given = sent.parameters
    assert given.get("Service", "pgmend-agent") in EVERYWHERE | set(UNITS[slot.role]) | (
        {"etcd"} if slot.etcd_voter else set()
    )
    assert slot.etcd_voter or "etcd" not in sent.document
    assert given.get("To") != slot.name
    assert (given.get("VolumeId") == "none") == ("VolumeId" in given and slot.disk is None)
    assert given.get("Birth", "no") == "no"


def test_every_document_is_on_a_page() -> None:
    assert {sent.document for sent in SENT} == set(DOCUMENTS)


@pytest.mark.parametrize("name", [*pages.names(), "README"])
def test_whatever_is_called_like_a_document_is_one(name: str) -> None:
    called = set(re.findall(r"(?<![/.\w])pgmend-[a-z]+(?:-[a-z]+)*\b(?!-\$)", pages.text(name)))
    assert called <= set(DOCUMENTS) | NOT_DOCUMENTS


@each_page
def test_results_on_a_page_are_the_agents_words(name: str) -> None:
    codes = {"0", *(str(kind.exit_code) for kind in (AgentError, RefusedError, HoldError))}
    for code, message, _ in pages.rows(pages.text(name), "exit"):
        assert code in codes
        for sentence in pages.quoted(message):
            assert not pages.unsaid(sentence, AGENT), sentence


def test_the_index_explains_every_exit_code() -> None:
    kinds = (AgentError, UsageError, RefusedError, HoldError)
    expected = {("0", "`done`"), *((str(k.exit_code), f"`{k.code}`") for k in kinds)}
    found = pages.rows(pages.text("README"), "exit")
    assert {(code, word) for code, word, _ in found} == expected


# -- what a reader types and follows


@pytest.mark.parametrize("name", [*pages.names(), "README"])
def test_shell_on_a_page_is_shell(name: str) -> None:
    for block in pages.blocks(pages.text(name)):
        done = subprocess.run(
            ["bash", "-n"], input=block, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [*pages.names(), "README"])
def test_make_on_a_page_has_a_target(name: str) -> None:
    makefile = (pages.ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+-?[a-z]+)\b(?=[ `\n])", _code(name))) <= targets


def _code(name: str) -> str:
    """What stands in backquotes or shell blocks."""
    page = pages.text(name)
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(pages.BLOCK, "", page))
    return "\n".join([*spans, *pages.blocks(page), ""])


@pytest.mark.parametrize("name", [*pages.names(), "README"])
def test_links_lead_somewhere(name: str) -> None:
    for link in LINK.findall(pages.text(name)):
        path, _, anchor = link.partition("#")
        target = (pages.RUNBOOKS / path) if path else pages.RUNBOOKS / f"{name}.md"
        assert target.is_file(), link
        assert not anchor or anchor in pages.anchors(target.read_text()), link
