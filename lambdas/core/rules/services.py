"""What can be wrong with what a node is set up to run: its documents, its units and its etcd member."""

from __future__ import annotations

from collections.abc import Callable

from lambdas.core.diagnosis import Diagnosis, Rule
from lambdas.core.evidence import Evidence
from lambdas.core.ladder import ETCD_REPAIRS_MAX, ETCD_RESTARTS_MAX, rung_now, tried
from lambdas.core.model import Phase

CONFIGURE_ATTEMPTS_MAX = 3
EXIT_REFUSED, EXIT_HOLD = 10, 11
# A node that asked for a person is asked again: the cause may have passed.
ASK_AGAIN_AFTER_S = 300.0


def _phase(phase: Phase) -> Callable[[Evidence], bool]:
    return lambda e: e.report is not None and e.report.phase is phase


_idle = _phase(Phase.IDLE)


def _asked_for_a_person(e: Evidence) -> bool:
    """Its last document ended with the exit code that says so."""
    return e.incident is not None and e.incident.last_exit_code == EXIT_HOLD


def _needs_person(e: Evidence) -> bool:
    return _idle(e) and _asked_for_a_person(e) and _just_asked(e)


def _just_asked(e: Evidence) -> bool:
    return e.observation.now - e.touched_at < ASK_AGAIN_AFTER_S


def _will_not_start(e: Evidence) -> bool:
    """Its restart said that trying again does not help; it is asked again now and then, and nothing more is done."""
    if not e.services_down or not _asked_for_a_person(e):
        return False
    rung = rung_now(Diagnosis.SERVICE_DOWN, e)
    return _just_asked(e) or rung is None or rung.kind != "restart-service"


def _configuring(e: Evidence) -> bool:
    action = e.open_action
    if not _idle(e) or action is None or e.occupant is None:
        return False
    return action.kind == "configure" and action.instance_id == e.occupant.instance_id


def _configure_failed(e: Evidence) -> bool:
    failures = 0 if e.incident is None else e.incident.failures_of("configure")
    return _idle(e) and failures >= CONFIGURE_ATTEMPTS_MAX


def _alarm(name: str) -> Callable[[Evidence], bool]:
    def raised(e: Evidence) -> bool:
        etcd = None if e.report is None else e.report.etcd
        return e.slot.etcd_voter and etcd is not None and name in etcd.alarms

    return raised


def _etcd_unhealthy(e: Evidence) -> bool:
    if not e.slot.etcd_voter or e.report is None:
        return False
    return e.report.etcd is None or e.report.etcd.healthy is not True or bool(e.report.etcd.alarms)


def _etcd_lost(e: Evidence) -> bool:
    """It was restarted as often as it may be, and still does not serve."""
    if tried(e, "restart-service:etcd") < ETCD_RESTARTS_MAX or not _etcd_unhealthy(e):
        return False
    etcd = None if e.report is None else e.report.etcd
    return etcd is None or etcd.healthy is not True


RULES: tuple[Rule, ...] = (
    Rule(
        number=170,
        diagnosis=Diagnosis.NEEDS_PERSON,
        when=_needs_person,
        why="configuring said that a person is needed: no etcd majority, an empty key, or another database",
    ),
    Rule(
        number=180,
        diagnosis=Diagnosis.CONFIGURING,
        when=_configuring,
        why="the node is being configured",
    ),
    Rule(
        number=190,
        diagnosis=Diagnosis.CONFIGURE_FAILED,
        when=_configure_failed,
        why="configuring the node failed as often as it may",
    ),
    Rule(
        number=200,
        diagnosis=Diagnosis.NOT_CONFIGURED,
        when=_idle,
        why="the agent is up and no document has configured the node",
    ),
    Rule(
        number=210,
        diagnosis=Diagnosis.LEFT,
        when=_phase(Phase.LEFT),
        why="the node was asked to leave the cluster",
    ),
    Rule(
        number=216,
        diagnosis=Diagnosis.ETCD_CORRUPT,
        when=_alarm("CORRUPT"),
        why="the etcd member has raised the alarm that its data is corrupt",
    ),
    Rule(
        number=217,
        diagnosis=Diagnosis.ETCD_FULL,
        when=lambda e: _alarm("NOSPACE")(e) and tried(e, "repair-etcd") < ETCD_REPAIRS_MAX,
        why="the etcd member takes no writes: its quota of space is used up, and others may be down for it",
    ),
    Rule(
        number=218,
        diagnosis=Diagnosis.ETCD_LOST,
        when=_etcd_lost,
        why="the etcd member does not serve and restarts did not bring it back",
    ),
    Rule(
        number=219,
        diagnosis=Diagnosis.NEEDS_PERSON,
        when=_will_not_start,
        why="restarting the unit said that a person is needed: the guard does not know this Patroni",
    ),
    Rule(
        number=220,
        diagnosis=Diagnosis.SERVICE_DOWN,
        when=lambda e: bool(e.services_down),
        why="a unit that this role runs has failed or is stopped",
    ),
    Rule(
        number=222,
        diagnosis=Diagnosis.SERVICE_DOWN,
        when=lambda e: e.patroni_is_mute,
        why="Patroni's unit runs or starts, and it has not answered for long: it hangs, or never comes up",
    ),
    Rule(
        number=225,
        diagnosis=Diagnosis.ETCD_FULL,
        when=_alarm("NOSPACE"),
        why="the etcd member has raised the alarm that its quota of space is used up",
    ),
    Rule(
        number=230,
        diagnosis=Diagnosis.ETCD_UNHEALTHY,
        when=_etcd_unhealthy,
        why="the etcd member does not answer healthily or has an alarm",
    ),
)
