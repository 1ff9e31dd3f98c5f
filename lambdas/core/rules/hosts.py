"""What can be wrong with a slot's host and with the agent on it."""

from __future__ import annotations

from collections.abc import Callable

from lambdas.core.diagnosis import Diagnosis, Rule
from lambdas.core.evidence import Evidence
from lambdas.core.model import InstanceState
from lambdas.core.stand_in import is_wanted

CLOCK_OFF_S_MAX = 60.0


def silent(e: Evidence) -> bool:
    """The agent spoke once, and has not for too long."""
    limit = e.observation.spec.timings.agent_silent_after_s
    return e.report is not None and e.report_age_s is not None and e.report_age_s > limit


def _mute(e: Evidence) -> bool:
    return e.report is None and e.age_s > e.observation.spec.timings.boot_grace_s


def _unanswering(e: Evidence) -> bool:
    """Agent silent, two peers or more get no answer and none does, nobody hears it stream; a leader also superseded."""
    knocked = len(e.peers_silent) >= 2 or not e.slot.active  # nobody knocks at a spare slot's door
    mute = silent(e) and knocked and not e.peers_answered
    return mute and not e.heard and (not e.last_led or e.superseded)


def _presumed_dead(e: Evidence) -> bool:
    return _unanswering(e) and e.impaired is True


def _unreachable(e: Evidence) -> bool:
    """As if dead, for long, and EC2 sees nothing wrong."""
    limit = e.observation.spec.timings.unreachable_after_s
    return _unanswering(e) and e.impaired is False and e.suspected_s > limit


def _suspected(e: Evidence) -> bool:
    late = (
        e.report_age_s is not None
        and e.report_age_s > 2 * e.observation.spec.timings.report_interval_s + 1
    )
    return late and (e.impaired is True or (bool(e.peers_silent) and not e.peers_answered))


def _silent_on_a_disk_set_aside(e: Evidence) -> bool:
    """Its end waits until it has handed on the lead, and for that it has to speak."""
    return silent(e) and e.set_aside is not None and e.last_led and not e.superseded


def _boot_stuck(e: Evidence) -> bool:
    """It never spoke, and a peer that is heard has no answer of its agent's. Whoever follows, or led last, lives."""
    witnessed = bool(e.peers_silent or e.peers_answered) or not e.slot.active
    lives = e.alive or e.heard or e.last_led
    return _mute(e) and witnessed and not lives


def _state(*states: InstanceState) -> Callable[[Evidence], bool]:
    return lambda e: e.occupant is not None and e.occupant.state in states


def _spare(e: Evidence) -> bool:
    return not (e.slot.active or e.occupants or is_wanted(e.slot.name, e.observation))


def _no_capacity(e: Evidence) -> bool:
    """Every instance type was refused for want of capacity, each at least once."""
    types = e.slot.instance_types or ("",)
    tried = {} if e.incident is None else e.incident.rungs
    return not e.occupants and all(tried.get(no_capacity_key(kind), 0) for kind in types)


def no_capacity_key(instance_type: str | None) -> str:
    """Under which name refusals for want of capacity are counted."""
    return f"no-capacity:{instance_type or ''}"


def _clock_off(e: Evidence) -> bool:
    seen = e.observation.reports.get(e.slot.name)
    off_s = None if seen is None or e.report is None else seen.clock_off_s
    return off_s is not None and abs(off_s) > CLOCK_OFF_S_MAX


RULES: tuple[Rule, ...] = (
    Rule(
        number=10,
        diagnosis=Diagnosis.REGION_UNKNOWN,
        when=lambda e: e.slot.region in e.observation.unknown_regions,
        why="EC2's API of the slot's region did not answer, so what occupies the slot is not known",
    ),
    Rule(
        number=20,
        diagnosis=Diagnosis.TWO_OCCUPANTS,
        when=lambda e: len(e.occupants) > 1,
        why="two instances claim one slot; that cannot happen by our own doing",
    ),
    Rule(
        number=30,
        diagnosis=Diagnosis.TWO_LEADERS,
        when=lambda e: len(e.observation.leaders) > 1 and e.slot.name in e.observation.leaders,
        why="more than one fresh report says that it leads a writable PostgreSQL",
    ),
    Rule(
        number=40,
        diagnosis=Diagnosis.SPARE,
        when=_spare,
        why="a spare slot is closed until it stands in for another",
    ),
    Rule(
        number=45,
        diagnosis=Diagnosis.NO_CAPACITY,
        when=_no_capacity,
        why="the slot is empty, and AWS had no capacity for any of its instance types",
    ),
    Rule(
        number=50,
        diagnosis=Diagnosis.SLOT_EMPTY,
        when=lambda e: not e.occupants,
        why="an active slot, or one that stands in for it, has no instance that is not terminated",
    ),
    Rule(
        number=60,
        diagnosis=Diagnosis.TERMINATING,
        when=_state(InstanceState.SHUTTING_DOWN, InstanceState.STOPPING),
        why="the occupant is on its way out; its interface and disk are not free before EC2 says so",
    ),
    Rule(
        number=70,
        diagnosis=Diagnosis.STOPPED,
        when=_state(InstanceState.STOPPED),
        why="the occupant is stopped; starting it is the least that helps",
    ),
    Rule(
        number=80,
        diagnosis=Diagnosis.BOOTING,
        when=_state(InstanceState.PENDING),
        why="EC2 is starting the occupant",
    ),
    Rule(
        number=85,
        diagnosis=Diagnosis.REGION_CUT_OFF,
        when=lambda e: silent(e) and e.region_silent and e.impaired is not True,
        why="nobody of the region is heard and EC2 calls nobody ill: the region's way to AWS is lost",
    ),
    Rule(
        number=90,
        diagnosis=Diagnosis.PRESUMED_DEAD,
        when=_presumed_dead,
        why="agent silent, peers get no answer, EC2 status impaired; a former leader also superseded",
    ),
    Rule(
        number=95,
        diagnosis=Diagnosis.UNREACHABLE,
        when=_unreachable,
        why="nobody has had an answer for long while EC2 says well; a former leader also superseded",
    ),
    Rule(
        number=100,
        diagnosis=Diagnosis.SUSPECTED,
        when=_suspected,
        why="some evidence of death, not all of it",
    ),
    Rule(
        number=105,
        diagnosis=Diagnosis.REPORT_REFUSED,
        when=lambda e: e.report is None and e.slot.name in e.observation.refused_reports,
        why="the slot's report is there and cannot be read, so nothing is known of the occupant",
    ),
    Rule(
        number=110,
        diagnosis=Diagnosis.BOOT_STUCK,
        when=_boot_stuck,
        why="the occupant has been running for longer than the grace and its agent has never spoken",
    ),
    Rule(
        number=112,
        diagnosis=Diagnosis.AGENT_SILENT,
        when=_silent_on_a_disk_set_aside,
        why="the agent is silent on the disk set aside of a leader, which cannot be asked to hand on",
    ),
    Rule(
        number=150,
        diagnosis=Diagnosis.BOOTING,
        when=lambda e: e.report is None and not _mute(e),
        why="the occupant runs and its agent has not spoken yet, within the grace",
    ),
    Rule(
        number=155,
        diagnosis=Diagnosis.AGENT_CUT_OFF,
        when=lambda e: (silent(e) or _mute(e)) and e.alive,
        why="the agent answers its peers and no report comes: its way to AWS or its credentials are gone",
    ),
    Rule(
        number=160,
        diagnosis=Diagnosis.AGENT_SILENT,
        when=lambda e: silent(e) or _mute(e),
        why="the agent is silent while peers or EC2 see the host well",
    ),
    Rule(
        number=270,
        diagnosis=Diagnosis.IMPAIRED,
        when=lambda e: e.impaired is True,
        why="EC2's status checks fail while the node serves",
    ),
    Rule(
        number=280,
        diagnosis=Diagnosis.RETIRING,
        when=lambda e: e.occupant is not None and bool(e.occupant.events),
        why="AWS has announced that it will stop, reboot or retire the host",
    ),
    Rule(
        number=890,
        diagnosis=Diagnosis.CLOCK_OFF,
        when=_clock_off,
        why="the node's clock is more than a minute off; everything else goes by sequence",
    ),
    Rule(
        number=900,
        diagnosis=Diagnosis.HEALTHY,
        when=lambda _: True,
        why="nothing above applies",
    ),
)
