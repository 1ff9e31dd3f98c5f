"""Whose etcd directory it is, read from bytes that etcd 3.5.16 wrote and from bytes nobody should have written."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from node_agent.etcd_data import Identity, identity, parse
from tests.unit.node_agent.builders import an_etcd_directory, an_etcd_log

IDS = st.integers(min_value=1, max_value=2**64 - 1)
# The first 96 bytes of a log of etcd 3.5.16 (Debian 13).
REAL = bytes.fromhex(
    "0400000000000084080410000000000"
    "01f00000000000081080110d1d4d7e9061a1508bcb69eace8ce8491d60110828b9abf86d7bfab6600"
    "0d000000000000830805109d92c73e1a0408001000000000700000000000000008"
)


def test_a_real_log_says_who_wrote_it() -> None:
    assert parse(REAL) == Identity(
        member_id="15429915573580438332", cluster_id="7374361507836364162"
    )


@given(IDS, IDS)
def test_every_identity_is_read_back(member_id: int, cluster_id: int) -> None:
    found = parse(an_etcd_log(member_id, cluster_id))
    assert found == Identity(member_id=str(member_id), cluster_id=str(cluster_id))


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(head: bytes) -> None:
    assert isinstance(parse(head), Identity | None)


@given(st.integers(min_value=0, max_value=len(REAL) - 1), st.integers(0, 255))
def test_a_flipped_byte_is_another_answer_and_no_crash(at: int, value: int) -> None:
    assert isinstance(parse(REAL[:at] + bytes([value]) + REAL[at + 1 :]), Identity | None)


@given(st.integers(min_value=0, max_value=40))
def test_half_a_log_names_nobody(length: int) -> None:
    assert parse(REAL[:length]) is None


def test_an_empty_directory_is_nobodys(tmp_path: Path) -> None:
    assert identity(tmp_path) is None
    (tmp_path / "member" / "wal").mkdir(parents=True)
    assert identity(tmp_path) is None


def test_the_newest_log_counts(tmp_path: Path) -> None:
    an_etcd_directory(tmp_path, 5)
    newest = tmp_path / "member" / "wal" / "0000000000000001-0000000000000100.wal"
    newest.write_bytes(an_etcd_log(6, 7))
    assert identity(tmp_path) == Identity(member_id="6", cluster_id="7")
