"""Healers with one guard taken away: each must make the simulator find a violation, or the simulator proves nothing."""

from __future__ import annotations

from dataclasses import replace

import lambdas.act
import lambdas.core.evidence
import lambdas.core.hearsay
import lambdas.core.majority
import lambdas.core.plan
import lambdas.core.rails
import lambdas.core.wanted
import lambdas.observe
import lambdas.run
from lambdas.core.diagnose import Diagnosis
from lambdas.core.model import Incident, Observation
from lambdas.core.rails import Rail
from tests.simulation import mistakes
from tests.simulation.mutation import (
    Apply,
    Mutant,
    applied,
    function,
    rail_lets_removals,
    rail_sees,
    rule_sees,
    together,
    without_rail,
    without_rules,
)

__all__ = ["MUTANTS", "STOPPED_BY_RAILS", "Mutant", "applied"]

DEAD, STUCK = Diagnosis.PRESUMED_DEAD, Diagnosis.BOOT_STUCK
_EVIDENCE, _PLAN, _RUN = lambdas.core.evidence, lambdas.core.plan, lambdas.run
_WANTED = lambdas.core.wanted
_FORGETS = function(lambdas.observe, "_remember_who_leads", mistakes.no_memory_of_leaders)

# The planner keeps to these rails by itself: each is tried with a planner that makes the mistake it is there for.
MISTAKES: dict[str, Apply] = {
    "corroboration": mistakes.ending_the_suspected,
    "last-copy": mistakes.making_copies_anew_at_once,
    "growth-budget": mistakes.growing_without_end,
    "attempts": mistakes.without_end,
    "region-silent": without_rules(Diagnosis.REGION_CUT_OFF),
}


SHOWN_BY = {
    "windows": "windows_are_kept",
    "breaker": "an_open_breaker_stops_everything",
    "last-copy": "the_newest_wal_is_kept",
    "growth-budget": "disks_only_grow_and_within_bounds",
    "refills": "a_slot_is_not_refilled_for_ever",
    "one-disturbance": "one_disturbance_at_a_time",
}


TEMPERS = {
    "paused": "people",
    "attempts": "services",
    "removal-budget": "deaths",
    "launch-budget": "deaths",
    "refills": "deaths",
}


def _rail(rail: Rail) -> Mutant:
    off, mistake = without_rail(rail.id), MISTAKES.get(rail.id)
    apply = off if mistake is None else together(off, mistake)
    return Mutant(
        name=f"rail {rail.id} off",
        missing=rail.why,
        apply=apply,
        shown_by=SHOWN_BY.get(rail.id, ""),
        temper=TEMPERS.get(rail.id, ""),
    )


RAIL_MUTANTS = tuple(_rail(rail) for rail in lambdas.core.rails.RAILS)
# With the rail in place nothing happens.
STOPPED_BY_RAILS = tuple(
    Mutant(name=f"the mistake that rail {rail} stops", missing=rail, apply=mistake)
    for rail, mistake in MISTAKES.items()
)

DEATH_MUTANTS = tuple(
    Mutant(name=f"presumed dead: {name}", missing=missing, apply=rule_sees(DEAD, lie))
    for name, missing, lie in (
        (
            "a speaking agent will do",
            "agent silent",
            lambda e: replace(e, report_age_s=1e9),
        ),
        (
            "one silent peer will do",
            "two peers get no answer",
            lambda e: replace(e, peers_silent=mistakes.twice(e.peers_silent)),
        ),
        (
            "no silent peer is needed",
            "peers get no answer",
            lambda e: replace(e, peers_silent=("one", "two")),
        ),
        (
            "an answered peer does not count",
            "no peer gets an answer",
            lambda e: replace(e, peers_answered=()),
        ),
        (
            "EC2 need not say impaired",
            "EC2 says impaired",
            lambda e: replace(e, impaired=True),
        ),
        (
            "no verdict counts as impaired",
            "unknown is not impaired",
            lambda e: replace(e, impaired=e.impaired is not False),
        ),
        (
            "a streaming copy may be dead",
            "the leader does not hear it",
            lambda e: replace(e, heard=False),
        ),
    )
)

STUCK_MUTANTS = tuple(
    Mutant(name=f"boot stuck: {name}", missing=missing, apply=rule_sees(STUCK, lie))
    for name, missing, lie in (
        ("no grace for the young", "grace", mistakes.as_old),
        (
            "who answers, follows or led may be stuck",
            "whoever gives a sign of life lives",
            lambda e: replace(e, alive=False, heard=False, last_led=False),
        ),
    )
)

OTHER_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="a leader that looks dead is ended before another leads",
        missing="another leads on a newer timeline (the rule and the living-leader rail both ask)",
        apply=together(
            rule_sees(DEAD, lambda e: replace(e, superseded=True)),
            rail_lets_removals("living-leader"),
        ),
    ),
    Mutant(
        name="who led is forgotten with the last word of it",
        temper="signs",
        missing="memory of who led last",
        apply=_FORGETS,
    ),
    Mutant(
        name="only a leader's own word counts",
        missing="another's fresh word names the leader",
        apply=together(_FORGETS, function(_EVIDENCE, "_last_led", mistakes.led_by_own_word)),
    ),
    Mutant(
        name="a leader's own last word does not count",
        missing="the last word of the dead",
        apply=together(_FORGETS, function(_EVIDENCE, "_last_led", mistakes.led_by_others_word)),
    ),
    Mutant(
        name="a report is young whatever its sequence",
        missing="freshness by sequence",
        apply=function(lambdas.observe, "_first_seen", lambda _raw, _id, _n, _memory, now: now),
    ),
    Mutant(
        name="a report counts whoever wrote it",
        missing="a report is its occupant's own",
        apply=together(
            function(_EVIDENCE, "_own_report", mistakes.own_report_of_anyone),
            function(Observation, "_trusted", mistakes.trusted_whoever_wrote),
        ),
    ),
    Mutant(
        name="where EC2 is silent its nodes are not heard",
        missing="a peer's word counts though EC2's API is silent there",
        apply=function(Observation, "_trusted", mistakes.trusted_only_where_ec2_speaks),
    ),
    Mutant(
        name="a region that does not answer is empty",
        missing="unknown is not empty",
        apply=without_rules(Diagnosis.REGION_UNKNOWN),
    ),
    Mutant(
        name="a slot is empty while its occupant ends",
        missing="a slot is refilled only when EC2 says terminated",
        apply=function(Observation, "occupants", mistakes.stands_unless_ending),
    ),
    Mutant(
        name="a voter that etcd needs may be ended",
        temper="signs",
        missing="etcd that answers needs this voter",
        apply=function(lambdas.core.rails, "needed_now", lambda _slot, _o: None),
    ),
    Mutant(
        name="what proxies see does not count",
        temper="signs",
        missing="a proxy that finds who leads hears it",
        apply=function(lambdas.core.hearsay, "_servers", lambda _report, _found: None),
    ),
    Mutant(
        name="where no voter gets an answer etcd is lost",
        temper="signs",
        missing="somebody leads, so etcd answers by those who do not speak",
        apply=together(
            function(lambdas.core.majority, "_somebody_takes_writes", lambda _o: False),
            function(lambdas.core.majority, "_lives", lambda _voter, _o: False),
        ),
    ),
    Mutant(
        name="words that came while nobody looked are young",
        temper="storm",
        missing="look once more before anything is stopped",
        apply=function(_PLAN, "_looked_away", lambda _o: None),
    ),
    Mutant(
        name="removals count when EC2 shows them",
        temper="deaths",
        missing="what was asked counts before it is shown",
        apply=rail_sees("one-removal", lambda o: replace(o, open_actions={})),
    ),
    Mutant(
        name="several removals a look",
        missing="one removal a look",
        apply=mistakes.every_step_a_look,
    ),
    Mutant(
        name="launches are not counted",
        missing="so many launches at once",
        apply=function(_PLAN, "_launching", lambda _o: -100),
    ),
    Mutant(
        name="what was asked is asked again",
        missing="a slot is busy with its last step",
        apply=function(_PLAN, "_under_way", mistakes.never_busy),
    ),
    Mutant(
        name="documents go by an older word",
        missing="a step waits for a newer report",
        apply=mistakes.never_patient,
    ),
    Mutant(
        name="configuring is tried for ever",
        missing="configuring fails only so often",
        apply=without_rules(Diagnosis.CONFIGURE_FAILED),
    ),
    Mutant(
        name="a node on an unlisted volume gets another",
        missing="the node's own word on its volume",
        apply=function(_WANTED, "_disk", lambda _finding, step: step),
    ),
    Mutant(
        name="every configure is a birth",
        missing="once born, nothing may initdb",
        apply=mistakes.always_as_for_a_birth,
    ),
    Mutant(
        name="no answer is a refusal",
        missing="a lost answer is asked for again under the same id",
        apply=mistakes.taking_silence_for_no,
    ),
    Mutant(
        name="every try has a client token of its own",
        missing="the same step has the same token (and what was asked has time to be shown)",
        apply=together(
            function(Incident, "next_action_id", mistakes.numbered_anew()),
            function(_PLAN, "SETTLE_S", 0.0),
        ),
    ),
    Mutant(
        name="documents are sent without looking for them",
        missing="what was sent before a crash is found",
        apply=function(lambdas.act.Actor, "_command", mistakes.sent_again),
    ),
    Mutant(
        name="the lease is not looked at between steps",
        missing="the lease is renewed before every step (and what is written without it is refused)",
        apply=together(mistakes.steps_without_lease, mistakes.writes_without_lease),
    ),
    Mutant(
        name="the lease is never renewed",
        missing="a run that lost its lease does not act (and what is written without it is refused)",
        apply=together(
            function(_RUN.Run, "_renew", lambda _run: False), mistakes.writes_without_lease
        ),
    ),
    Mutant(
        name="the ladder is climbed from the top",
        missing="the least that helps is tried first",
        apply=mistakes.from_the_top,
    ),
    Mutant(
        name="a moment's silence is long",
        missing="who EC2 calls well is unreachable only after long",
        apply=function(
            lambdas.core.evidence.Evidence, "suspected_s", property(mistakes.suspected_for_long)
        ),
    ),
    Mutant(
        name="a roll waits for nobody",
        missing="one at a time, while all else is well",
        apply=mistakes.out_of_turn,
    ),
    Mutant(
        name="who has no room is asked again at once",
        missing="launches that are refused are spaced out",
        apply=function(_WANTED, "backed_off", mistakes.never_backs_off),
    ),
)

MUTANTS: dict[str, Mutant] = {
    mutant.name: mutant
    for mutant in (*RAIL_MUTANTS, *DEATH_MUTANTS, *STUCK_MUTANTS, *OTHER_MUTANTS)
}
