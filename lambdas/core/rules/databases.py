"""What can be wrong with a copy that should follow the leader, and with what the leader keeps for others."""

from __future__ import annotations

from lambdas.core.diagnosis import QUIET, UNHURRIED, Diagnosis, Rule
from lambdas.core.evidence import Evidence, leader_gives_no_answer
from lambdas.core.model import Role, timeline_of

LAG_BYTES_MAX = 1024 * 1024
CLONES_MAX = 3  # within the hour: as many beginnings and no end are a loop
CLONING = "creating replica"  # Patroni's word
STUCK_AFTER_S = 180.0
UNSETTLED = frozenset({"starting", "restarting", "stopping"})  # Patroni's words


def not_streaming(e: Evidence) -> bool:
    """A copy that the leader does not see streaming, or sees behind for long, or that says that it does not follow."""
    if e.slot.role is not Role.DB or e.slot.name == e.observation.leader:
        return False
    if leader_gives_no_answer(e.observation):
        return says_it_does_not_follow(e)
    return says_it_does_not_follow(e) or not (
        _streams(e) and (_close(e) or _fell_behind_just_now(e))
    )


def _streams(e: Evidence) -> bool:
    return e.standby is not None and e.standby.state == "streaming"


def _close(e: Evidence) -> bool:
    lag_bytes = None if e.standby is None else e.standby.lag_bytes
    return lag_bytes is not None and lag_bytes <= LAG_BYTES_MAX


def _fell_behind_just_now(e: Evidence) -> bool:
    """Load alone puts a copy that was well behind for a moment. One that was ill is well once it has caught up."""
    if e.lag is None or e.standby is None or e.standby.lag_bytes is None:
        return False
    found = None if e.incident is None else e.incident.found
    was_well = e.incident is None or found in QUIET | UNHURRIED
    return was_well and e.observation.now - e.lag.since <= e.observation.spec.timings.restart_wait_s


def _strayed(e: Evidence) -> bool:
    mine = None if e.report is None else timeline_of(e.report)
    return mine is not None and e.leader_timeline is not None and mine != e.leader_timeline


def says_it_does_not_follow(e: Evidence) -> bool:
    """A lost standby looks alive to its leader until wal_sender_timeout; its own word is sooner."""
    if e.report is None:
        return False
    own = e.report.postgres
    return own is None or own.up is False or own.receiver_up is False or _strayed(e)


def _state(e: Evidence) -> str | None:
    patroni = None if e.report is None else e.report.patroni
    return None if patroni is None else patroni.state


def _wal_gone(e: Evidence) -> bool:
    kept = e.replication_slot
    return not_streaming(e) and not _streams(e) and kept is not None and kept.wal_status == "lost"


def _reinit_loop(e: Evidence) -> bool:
    patroni = None if e.report is None else e.report.patroni
    clones = None if patroni is None else patroni.clones
    return not_streaming(e) and clones is not None and clones >= CLONES_MAX


def unsettled(e: Evidence) -> str | None:
    """Patroni's word for a PostgreSQL that is on its way up or down; None when it is neither."""
    state = _state(e)
    return state if state in UNSETTLED else None


def _stuck(e: Evidence) -> bool:
    patroni = None if e.report is None else e.report.patroni
    for_s = None if patroni is None else patroni.state_for_s
    waits = unsettled(e) is not None and for_s is not None and for_s > STUCK_AFTER_S
    return not_streaming(e) and waits


def _lagging(e: Evidence) -> bool:
    return not_streaming(e) and _streams(e) and not says_it_does_not_follow(e)


RULES: tuple[Rule, ...] = (
    Rule(
        number=240,
        diagnosis=Diagnosis.REPLICA_WAL_GONE,
        when=_wal_gone,
        why="the leader no longer has the WAL that this copy needs next",
    ),
    Rule(
        number=241,
        diagnosis=Diagnosis.REINIT_LOOP,
        when=_reinit_loop,
        why="the copy was made anew again and again within the hour and never streamed",
    ),
    Rule(
        number=242,
        diagnosis=Diagnosis.REPLICA_CLONING,
        when=lambda e: not_streaming(e) and _state(e) == CLONING,
        why="the copy is being cloned from the leader",
    ),
    Rule(
        number=243,
        diagnosis=Diagnosis.REPLICA_STUCK,
        when=_stuck,
        why="the copy has been starting or stopping for minutes",
    ),
    Rule(
        number=244,
        diagnosis=Diagnosis.REPLICA_DIVERGED,
        when=lambda e: not_streaming(e) and _strayed(e),
        why="the copy is on another timeline than the leader",
    ),
    Rule(
        number=245,
        diagnosis=Diagnosis.REPLICA_LAGGING,
        when=_lagging,
        why="the copy streams and has been more than 1 MiB behind for a while",
    ),
    Rule(
        number=246,
        diagnosis=Diagnosis.REPLICA_BROKEN,
        when=not_streaming,
        why="the leader does not see this copy streaming",
    ),
    Rule(
        number=262,
        diagnosis=Diagnosis.WAL_HOARDED,
        when=lambda e: e.droppable is not None,
        why="a replication slot that nobody reads keeps the leader's WAL",
    ),
    Rule(
        number=268,
        diagnosis=Diagnosis.WAL_HOARDED,
        when=lambda e: bool(e.hoarded),
        why="a replication slot keeps much of the leader's WAL, and somebody may still want it",
    ),
)
