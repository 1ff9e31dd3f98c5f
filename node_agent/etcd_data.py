"""Whose etcd directory this is: member and cluster id from the head of its write-ahead log.

A directory is only worth keeping when the cluster still lists the member that wrote it; nothing else says who that was
while etcd is stopped. It must never change the directory.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 4096
METADATA = 1
RECORD_BYTES_MAX = 1024
LENGTH_MASK = (1 << 56) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who wrote the directory; decimal ids, as etcd's gateway writes them."""

    member_id: str
    cluster_id: str


def identity(folder: Path) -> Identity | None:
    """None when there is no member in the directory, or none that can be read."""
    logs = sorted((folder / "member" / "wal").glob("*.wal"))
    if not logs:
        return None
    with logs[-1].open("rb") as file:
        return parse(file.read(HEAD_BYTES))


def parse(head: bytes) -> Identity | None:
    """From the first records of a log file: frames of a length and a protobuf record, the metadata among them."""
    at = 0
    while at + 8 <= len(head):
        (field,) = struct.unpack_from("<Q", head, at)
        padding = (field >> 56) & 0x7 if field >> 63 else 0
        length = field & LENGTH_MASK
        if not 0 < length <= RECORD_BYTES_MAX or at + 8 + length > len(head):
            return None
        record = _fields(head[at + 8 : at + 8 + length])
        if record is None:
            return None
        if record.get(1) == METADATA:
            return _metadata(record.get(3))
        at += 8 + length + padding
    return None


def _metadata(data: int | bytes | None) -> Identity | None:
    fields = _fields(data) if isinstance(data, bytes) else None
    if fields is None:
        return None
    member, cluster = fields.get(1), fields.get(2)
    if not isinstance(member, int) or not isinstance(cluster, int) or not member or not cluster:
        return None
    return Identity(member_id=str(member), cluster_id=str(cluster))


def _fields(data: bytes) -> dict[int, int | bytes] | None:
    """A protobuf message's varints and byte strings by number; None when it is none."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        tag = _varint(data, at)
        value = None if tag is None else _varint(data, tag[1])
        if tag is None or value is None:
            return None
        at = value[1]
        match tag[0] & 0x7:
            case 0:
                found[tag[0] >> 3] = value[0]
            case 2:
                if at + value[0] > len(data):
                    return None
                found[tag[0] >> 3] = data[at : at + value[0]]
                at += value[0]
            case _:
                return None
    return found


def _varint(data: bytes, at: int) -> tuple[int, int] | None:
    """(value, where it ends)."""
    value = 0
    for count in range(10):
        if at + count >= len(data):
            return None
        byte = data[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    return None
