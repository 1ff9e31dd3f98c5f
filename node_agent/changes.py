"""What changed between two reports, as the contract's events. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

DISK_PRESSURE = 0.8
PEER_UNREACHABLE = "Peer Unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One event to announce."""

    detail_type: str
    subject: str
    before: str | None
    after: str | None


def changes(
    old: Mapping[str, Any], new: Mapping[str, Any], *, peer_silent_after_s: float
) -> list[Change]:
    """Events of one pass, in a fixed order."""
    return [
        *_patroni(old.get("patroni"), new.get("patroni")),
        *_replication(old.get("postgres"), new.get("postgres")),
        *_haproxy(old.get("haproxy"), new.get("haproxy")),
        *_flag("Etcd Health Changed", "etcd", old.get("etcd"), new.get("etcd"), "healthy"),
        *_alarms(old.get("etcd"), new.get("etcd")),
        *_flag("App Health Changed", "app", old.get("app"), new.get("app"), "ready"),
        *_disk(old.get("disk"), new.get("disk")),
        *_writable(old.get("disk"), new.get("disk")),
        *_peers(old.get("peers") or {}, new.get("peers") or {}, peer_silent_after_s),
    ]


def _word(value: object) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _patroni(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Change]:
    if old is None or new is None:
        return
    fields = (
        ("role", "Patroni Role Changed"),
        ("state", "Patroni State Changed"),
        ("leader", "Patroni Leader Changed"),
    )
    for field, kind in fields:
        if old.get(field) != new.get(field):
            yield Change(
                detail_type=kind,
                subject=field,
                before=_word(old.get(field)),
                after=_word(new.get(field)),
            )


def _streaming(part: Mapping[str, Any] | None) -> set[str]:
    rows = (part or {}).get("replication") or []
    return {row["name"] for row in rows if row.get("state") == "streaming"}


def _replication(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Change]:
    if new is None or new.get("in_recovery") is not False:
        return
    for name in sorted(_streaming(old) - _streaming(new)):
        yield Change(detail_type="Replication Broken", subject=name, before="streaming", after=None)


def _haproxy(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Change]:
    if old is None or new is None:
        return
    for field in ("write_backends_up", "read_backends_up"):
        before, after = set(old.get(field) or ()), set(new.get(field) or ())
        for name in sorted(before - after):
            yield Change(
                detail_type="HAProxy Backend Down", subject=name, before="up", after="down"
            )
        for name in sorted(after - before):
            yield Change(detail_type="HAProxy Backend Up", subject=name, before="down", after="up")
    if old.get("write_backends_up") and not new.get("write_backends_up"):
        yield Change(detail_type="HAProxy No Primary", subject="writes", before="up", after="down")


def _flag(
    kind: str,
    subject: str,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    field: str,
) -> Iterator[Change]:
    if old is not None and new is not None and old.get(field) != new.get(field):
        yield Change(
            detail_type=kind,
            subject=subject,
            before=_word(old.get(field)),
            after=_word(new.get(field)),
        )


def _alarms(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Change]:
    """etcd's health does not say them."""
    if old is None or new is None:
        return
    before, after = (",".join(sorted(part.get("alarms") or ())) for part in (old, new))
    if before != after:
        yield Change(
            detail_type="Etcd Health Changed",
            subject="alarms",
            before=before or None,
            after=after or None,
        )


def _writable(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Change]:
    """Only what is known to be so: a trial that hangs says nothing."""
    before, after = (old or {}).get("writable"), (new or {}).get("writable")
    if after is not None and before != after and False in {before, after}:
        yield Change(
            detail_type="Disk Pressure",
            subject="writable",
            before=_word(before),
            after=_word(after),
        )


def _disk(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Change]:
    before, after = used(old), used(new)
    if after is not None and after >= DISK_PRESSURE and (before is None or before < DISK_PRESSURE):
        yield Change(
            detail_type="Disk Pressure", subject="data", before=_word(before), after=_word(after)
        )


def used(disk: Mapping[str, Any] | None) -> float | None:
    """Used share of the data disk, 0 to 1."""
    if not disk or not disk.get("size_bytes") or disk.get("used_bytes") is None:
        return None
    return round(float(disk["used_bytes"]) / float(disk["size_bytes"]), 3)


def _peers(old: Mapping[str, Any], new: Mapping[str, Any], limit_s: float) -> Iterator[Change]:
    for name, now in new.items():
        was = old.get(name) or {}
        silent = now["state"] == "silent" and now["for_s"] >= limit_s
        said = was.get("state") == "silent" and was.get("for_s", 0.0) >= limit_s
        if silent and not said:
            yield Change(
                detail_type=PEER_UNREACHABLE,
                subject=name,
                before=_word(was.get("state")),
                after="silent",
            )
