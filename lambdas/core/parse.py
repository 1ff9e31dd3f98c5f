"""Reads the contract's documents: the cluster spec and agents' reports. What is missing stays unknown (None);
what cannot be what it claims is refused with a sentence. It must never guess.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from datetime import UTC, datetime
from types import NoneType
from typing import Any

from lambdas.core.model import (
    App,
    Budget,
    Disk,
    DiskSpec,
    Etcd,
    Haproxy,
    Patroni,
    PeerState,
    Phase,
    Postgres,
    ReplicationSlot,
    Report,
    Role,
    Slot,
    Spec,
    Standby,
    Timings,
)
from lambdas.errors import MalformedSpecError

VERSION = 1
NUMBER_MAX = 1e15
INTEGER_MAX = 2**64  # PostgreSQL's and etcd's own numbers have 64 bits
# How a field of the spec is written in its dataclass → its types in JSON, and in words.
WRITTEN: Mapping[object, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "no string"),
    "str | None": ((str, NoneType), "neither a string nor null"),
    "int": ((int,), "no whole number"),
    "int | None": ((int, NoneType), "neither a whole number nor null"),
    "float": ((int, float), "no number"),
}
PEER_STATES = {member.value: member for member in PeerState}


class BadReportError(ValueError):
    """A report that must not be trusted; the message says why."""


def document(text: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON can say
    """What a JSON document says. Raises ValueError, also for one that is all depth (`[[[[...`)."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def spec_from_json(text: str | bytes) -> Spec:
    """The cluster spec. Raises MalformedSpecError."""
    try:
        raw = document(text)
        if raw["version"] != VERSION:
            message = f"cluster spec has version {raw['version']!r}; this healer reads {VERSION}"
            raise MalformedSpecError(message)
        slots = tuple(_slot(item) for item in raw["slots"])
        spec = Spec(
            cluster=raw["cluster"],
            size=raw["size"],
            durability=raw["durability"],
            hub_region=raw["hub"]["region"],
            regions=tuple(region["name"] for region in raw["regions"]),
            slots=slots,
            timings=_only(Timings, raw["timings"], "timings"),
            budget=_only(Budget, raw["budget"], "budget"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedSpecError(
            f"cluster spec cannot be read: {error!r}; apply tofu/ again"
        ) from error
    if len(spec.by_name) != len(slots):
        raise MalformedSpecError("cluster spec names a slot twice; apply tofu/ again")
    return spec


def _only(kind: type[Any], raw: Mapping[str, Any], where: str) -> Any:  # noqa: ANN401
    """A dataclass from the keys it knows; later versions may add others, and earlier ones lack what has a default."""
    known = [f for f in fields(kind) if f.default is MISSING or f.name in raw]
    return kind(**{f.name: _checked(f, raw[f.name], where) for f in known})


def _checked(field: Field[Any], value: object, where: str) -> object:
    """The value, which is of its field's type; a number is neither negative nor without end."""
    types, otherwise = WRITTEN[field.type]
    wrong = otherwise if isinstance(value, bool) or not isinstance(value, types) else None
    if wrong is None and isinstance(value, int | float) and not 0 <= value < NUMBER_MAX:
        wrong = "out of range"
    if wrong is not None:
        raise MalformedSpecError(
            f"cluster spec says {field.name} of {where} is {str(value)[:80]!r}, which is {wrong};"
            " apply tofu/ again"
        )
    return value


def _slot(raw: Mapping[str, Any]) -> Slot:
    disk = raw["disk"]
    return Slot(
        name=raw["name"],
        role=Role(raw["role"]),
        region=raw["region"],
        zone=raw["zone"],
        address=raw["address"],
        interface_id=raw["interface_id"],
        launch_template_id=raw["launch_template_id"],
        launch_template_version=str(raw["launch_template_version"]),
        active=bool(raw["active"]),
        etcd_voter=bool(raw["etcd_voter"]),
        disk=None if disk is None else _only(DiskSpec, disk, f"{raw['name']}'s disk"),
        instance_types=tuple(str(kind) for kind in raw.get("instance_types") or ()),
    )


def report_from_json(text: str, *, cluster: str, slot: str) -> Report:
    """An agent's report, checked against the item it came from. Raises BadReportError."""
    try:
        raw = document(text)
    except ValueError as error:
        raise BadReportError(f"not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise BadReportError("not an object")
    if raw.get("version") != VERSION:
        raise BadReportError(f"version {raw.get('version')!r} is not {VERSION}")
    if raw.get("cluster") != cluster or raw.get("slot") != slot:
        raise BadReportError(
            f"speaks of {raw.get('cluster')!r}/{raw.get('slot')!r}, not {cluster}/{slot}"
        )
    instance_id, sequence = raw.get("instance_id"), _int(raw.get("sequence"))
    if not isinstance(instance_id, str) or not instance_id.startswith("i-") or sequence is None:
        raise BadReportError("has no instance id or no sequence number")
    try:
        phase = Phase(str(raw.get("phase")))
    except ValueError as error:
        raise BadReportError(f"phase {raw.get('phase')!r} is not known") from error
    services = _dict(raw.get("services")) or {}
    peers = _dict(raw.get("peers")) or {}
    return Report(
        slot=slot,
        instance_id=instance_id,
        sequence=sequence,
        phase=phase,
        volume_id=_str(raw.get("volume_id")),
        services={str(k): v for k, v in services.items() if isinstance(v, str)},
        postgres=_postgres(_dict(raw.get("postgres"))),
        patroni=_patroni(_dict(raw.get("patroni"))),
        etcd=_etcd(_dict(raw.get("etcd"))),
        haproxy=_haproxy(_dict(raw.get("haproxy"))),
        app=_app(_dict(raw.get("app"))),
        peers=_peers(peers),
        peers_for_s={name: s for name, v in peers.items() if (s := _for_s(v)) is not None},
        disk=_disk(_dict(raw.get("disk"))),
        observed_at=_time(raw.get("observed_at")),
    )


def _dict(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _list(value: object) -> list[Any] | None:
    return value if isinstance(value, list) else None


def _str(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _bool(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _int(value: object) -> int | None:
    """A whole number; JSON knows such without an end, which nobody can reckon with."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < INTEGER_MAX else None


def _float(value: object) -> float | None:
    """A finite number; JSON knows integers without an end, which are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < NUMBER_MAX else None


def _time(value: object) -> float | None:
    """ISO 8601 as epoch seconds; without a zone it is UTC, as the contract has it."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _disk(raw: dict[str, Any] | None) -> Disk | None:
    if raw is None:
        return None
    return Disk(
        mounted=_bool(raw.get("mounted")),
        read_only=_bool(raw.get("read_only")),
        writable=_bool(raw.get("writable")),
        size_bytes=_int(raw.get("size_bytes")),
        used_bytes=_int(raw.get("used_bytes")),
        device_bytes=_int(raw.get("device_bytes")),
        ballast_bytes=_int(raw.get("ballast_bytes")),
    )


def _replication_slots(raw: object) -> tuple[ReplicationSlot, ...]:
    rows = [row for row in _list(raw) or [] if isinstance(row, dict)]
    return tuple(
        ReplicationSlot(
            name=name,
            active=_bool(row.get("active")),
            physical=_bool(row.get("physical")),
            wal_status=_str(row.get("wal_status")),
            retained_bytes=_int(row.get("retained_bytes")),
        )
        for row in rows
        if (name := _str(row.get("name")))
    )


def _postgres(raw: dict[str, Any] | None) -> Postgres | None:
    if raw is None:
        return None
    rows = [row for row in _list(raw.get("replication")) or [] if isinstance(row, dict)]
    return Postgres(
        up=_bool(raw.get("up")),
        in_recovery=_bool(raw.get("in_recovery")),
        timeline=_int(raw.get("timeline")),
        lsn_bytes=_int(raw.get("lsn_bytes")),
        system_identifier=_str(raw.get("system_identifier")),
        receiver_up=_bool(raw.get("receiver_up")),
        replication=tuple(
            Standby(name=name, state=_str(row.get("state")), lag_bytes=_int(row.get("lag_bytes")))
            for row in rows
            if (name := _str(row.get("name")))
        ),
        checksum_failures=_int(raw.get("checksum_failures")),
        replication_slots=_replication_slots(raw.get("replication_slots")),
    )


def _patroni(raw: dict[str, Any] | None) -> Patroni | None:
    if raw is None:
        return None
    return Patroni(
        up=_bool(raw.get("up")),
        role=_str(raw.get("role")),
        state=_str(raw.get("state")),
        timeline=_int(raw.get("timeline")),
        paused=_bool(raw.get("paused")),
        leader=_str(raw.get("leader")),
        state_for_s=_float(raw.get("state_for_s")),
        clones=_int(raw.get("clones")),
    )


def _etcd(raw: dict[str, Any] | None) -> Etcd | None:
    if raw is None:
        return None
    return Etcd(
        healthy=_bool(raw.get("healthy")),
        cluster_id=_str(raw.get("cluster_id")),
        is_leader=_bool(raw.get("is_leader")),
        alarms=tuple(str(alarm) for alarm in _list(raw.get("alarms")) or []),
    )


def _haproxy(raw: dict[str, Any] | None) -> Haproxy | None:
    if raw is None:
        return None
    backends = _list(raw.get("write_backends_up"))
    return Haproxy(
        up=_bool(raw.get("up")),
        write_backends_up=None if backends is None else tuple(str(name) for name in backends),
    )


def _app(raw: dict[str, Any] | None) -> App | None:
    return None if raw is None else App(up=_bool(raw.get("up")), ready=_bool(raw.get("ready")))


def _for_s(raw: object) -> float | None:
    return _float(raw.get("for_s")) if isinstance(raw, dict) else None


def _peers(raw: Mapping[str, Any]) -> dict[str, PeerState]:
    peers = {}
    for name, value in raw.items():
        state = value.get("state") if isinstance(value, dict) else None
        known = PEER_STATES.get(state) if isinstance(state, str) else None
        peers[name] = known or PeerState.UNKNOWN
    return peers
