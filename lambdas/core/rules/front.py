"""What can be wrong with proxies and apps, and what only waits for a leader."""

from __future__ import annotations

from lambdas.core.diagnosis import Diagnosis, Rule
from lambdas.core.evidence import Evidence
from lambdas.core.model import Role
from lambdas.core.rules.databases import not_streaming


def _haproxy_blind(e: Evidence) -> bool:
    if e.slot.role is not Role.HAPROXY or e.report is None:
        return False
    proxy = e.report.haproxy
    return proxy is None or proxy.write_backends_up is None or len(proxy.write_backends_up) != 1


def _app_not_ready(e: Evidence) -> bool:
    if e.slot.role is not Role.APP or e.report is None:
        return False
    return e.report.app is None or e.report.app.ready is not True


def _waits_for_leader(e: Evidence) -> bool:
    """What follows from there being no leader is Patroni's to end, and no fault of the slot's own."""
    return e.observation.leader is None and (
        not_streaming(e) or _haproxy_blind(e) or _app_not_ready(e)
    )


RULES: tuple[Rule, ...] = (
    Rule(
        number=235,
        diagnosis=Diagnosis.WAITS_FOR_LEADER,
        when=_waits_for_leader,
        why="nobody leads, so a copy has nobody to follow and a proxy nobody to show",
    ),
    Rule(
        number=250,
        diagnosis=Diagnosis.HAPROXY_BLIND,
        when=_haproxy_blind,
        why="HAProxy does not see exactly one server to write to",
    ),
    Rule(
        number=260,
        diagnosis=Diagnosis.APP_NOT_READY,
        when=_app_not_ready,
        why="the app is down or cannot reach the primary",
    ),
)
