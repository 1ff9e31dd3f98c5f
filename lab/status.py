"""The rows of `lab status`.

Pure: what AWS and the reports say, side by side, unknown shown as `-`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lab.operator import Occupant, Slot, StoredReport

HEADER = ("slot", "instance", "address", "role", "state", "lag", "etcd", "agent age")


def rows(
    slots: Sequence[Slot],
    occupants: Sequence[Occupant],
    reports: Mapping[str, StoredReport],
    *,
    now: datetime | None = None,
) -> list[tuple[str, ...]]:
    """Header and one row for every slot that is active or occupied."""
    by_slot = {item.slot: item for item in occupants}
    lags = _lags(reports)
    moment = now or datetime.now(UTC)
    body = [
        _row(slot, by_slot.get(slot.name), reports.get(slot.name), lags, moment)
        for slot in slots
        if slot.active or slot.name in by_slot
    ]
    return [HEADER, *body]


def _row(
    slot: Slot,
    occupant: Occupant | None,
    report: StoredReport | None,
    lags: Mapping[str, int],
    now: datetime,
) -> tuple[str, ...]:
    if occupant is None:
        return (slot.name, "-", slot.address, slot.role, "empty", "-", "-", "-")
    current = report if report and report.instance_id == occupant.instance_id else None
    body: Mapping[str, Any] = current.body if current else {}
    return (
        slot.name,
        occupant.instance_id,
        slot.address,
        _role(slot, body),
        _state(occupant, body),
        _bytes(lags.get(slot.name)),
        _etcd(body),
        _age(body, now),
    )


def _role(slot: Slot, body: Mapping[str, Any]) -> str:
    role = _inner(body, "patroni").get("role")
    return f"{slot.role} ({role})" if role else slot.role


def _state(occupant: Occupant, body: Mapping[str, Any]) -> str:
    if occupant.state != "running":
        return occupant.state
    if occupant.checks == "impaired":
        return "running, checks fail"
    if not body:
        return "running, no report"
    if body.get("phase") != "configured":
        return f"running, {body.get('phase') or 'phase unknown'}"
    services = _inner(body, "services")
    bad = [f"{name} {state}" for name, state in services.items() if state != "active"]
    patroni = _inner(body, "patroni").get("state")
    return ", ".join(bad) or str(patroni or "running")


def _lags(reports: Mapping[str, StoredReport]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for report in reports.values():
        postgres = _inner(report.body, "postgres")
        if postgres.get("in_recovery") is False:
            for copy in postgres.get("replication") or ():
                if isinstance(copy.get("lag_bytes"), int):
                    found[copy["name"]] = copy["lag_bytes"]
    return found


def _etcd(body: Mapping[str, Any]) -> str:
    etcd = _inner(body, "etcd")
    if not etcd:
        return "-"
    if etcd.get("healthy") is not True:
        return "unhealthy" if etcd.get("healthy") is False else "unknown"
    return "leader" if etcd.get("is_leader") else "healthy"


def _age(body: Mapping[str, Any], now: datetime) -> str:
    try:
        observed = datetime.fromisoformat(str(body.get("observed_at")))
    except ValueError:
        return "-"
    return f"{max(0.0, (now - observed).total_seconds()):.0f} s"


def _bytes(value: int | None) -> str:
    if value is None:
        return "-"
    return f"{value} B" if value < 1024 else f"{value / 1024 / 1024:.1f} MiB"


def _inner(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}
