"""The ballast is real, made only where there is room, and always goes when it is asked to."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.core import evidence
from node_agent import ballast, disk
from node_agent.ballast import Ballast, wanted_bytes
from node_agent.commands import grow_file_system
from node_agent.commands.grow_file_system import grow
from node_agent.commands.release_ballast import release
from node_agent.errors import AgentError, RefusedError
from node_agent.shell import Result
from tests.unit.node_agent.builders import Programs, a_node
from tests.unit.node_agent.configuring import Bench as Configuring
from tests.unit.node_agent.conftest import Home

GIB = 1024**3


class Room:
    """A file system as statvfs shows it."""

    def __init__(self, size_bytes: int = 10 * 1024**2, used_percent: int = 10) -> None:
        self.size_bytes, self.used_percent = size_bytes, used_percent

    def __call__(self, _folder: Path) -> os.statvfs_result:
        blocks = self.size_bytes // 4096
        free = blocks * (100 - self.used_percent) // 100
        return os.statvfs_result((4096, 4096, blocks, free, free, 0, 0, 0, 0, 255))


# -- how large


@pytest.mark.parametrize(
    ("size_gib", "wanted"), [(4, 4 * GIB // 50), (20, 20 * GIB // 50), (100, GIB), (0, 0)]
)
def test_the_ballast_is_two_percent_and_a_gibibyte_at_most(
    monkeypatch: pytest.MonkeyPatch, size_gib: int, wanted: int
) -> None:
    monkeypatch.setattr(ballast, "BYTES_MAX", GIB)
    assert 0 <= wanted - wanted_bytes(size_gib * GIB) < 4096


@given(st.integers(min_value=0, max_value=2**60))
def test_the_ballast_is_of_whole_blocks_and_never_more_than_its_share(size: int) -> None:
    found = wanted_bytes(size)
    assert found % 4096 == 0
    assert found * 50 <= size


# -- made


def test_a_ballast_has_real_blocks(home: Home) -> None:
    one = Ballast(home.data, statvfs=Room())
    assert one.held_bytes() == 0
    assert one.make() == "the ballast holds 65536 bytes"
    assert one.held_bytes() >= 65536


def test_making_it_again_changes_nothing(home: Home) -> None:
    one = Ballast(home.data, statvfs=Room())
    one.make()
    before = (home.data / "ballast").stat()
    assert "holds" in one.make()
    after = (home.data / "ballast").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_it_grows_with_its_disk(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    Ballast(home.data, statvfs=Room()).make()
    monkeypatch.setattr(ballast, "BYTES_MAX", 256 * 1024)
    Ballast(home.data, statvfs=Room(size_bytes=GIB)).make()
    assert (home.data / "ballast").stat().st_size == 256 * 1024


@pytest.mark.parametrize(("used_percent", "made"), [(70, True), (71, False), (100, False)])
def test_a_disk_that_is_rather_full_goes_without(
    home: Home, used_percent: int, *, made: bool
) -> None:
    words = Ballast(home.data, statvfs=Room(used_percent=used_percent)).make()
    assert (home.data / "ballast").exists() is made
    assert ("no ballast is made" in words) is not made


def test_a_disk_that_gives_no_room_keeps_what_it_had(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ballast(home.data, statvfs=Room()).make()

    def full(_descriptor: int, _offset: int, _length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(ballast, "BYTES_MAX", 256 * 1024)
    with pytest.raises(AgentError, match="could not be made"):
        Ballast(home.data, statvfs=Room(size_bytes=GIB)).make()
    assert (home.data / "ballast").stat().st_size == 65536


def test_configuring_a_node_makes_its_ballast_once_the_disk_is_signed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ballast, "USED_PERCENT_MAX", 100)
    allocate = os.posix_fallocate

    def once_it_is_signed(descriptor: int, offset: int, length: int) -> None:
        assert (home.data / "disk.json").exists()
        allocate(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", once_it_is_signed)
    Configuring(home, "witness-euc1-a").configure()
    assert Ballast(home.data).held_bytes() >= 65536


def test_a_node_is_configured_without_a_ballast_where_there_is_no_room_for_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _offset: int, _length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ballast, "USED_PERCENT_MAX", 100)
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert "is configured" in Configuring(home, "witness-euc1-a").configure()
    assert Ballast(home.data).held_bytes() == 0


# -- released


def test_a_ballast_is_released_and_a_second_time_there_is_none(home: Home) -> None:
    Ballast(home.data, statvfs=Room()).make()
    assert "bytes of ballast were released" in release(home.data)
    assert not (home.data / "ballast").exists()
    assert release(home.data) == "there is no ballast to release"


def test_a_disk_that_does_not_let_it_go_is_a_failure(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlink(_path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, f"Read-only file system, whether {missing_ok} or not")

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(AgentError, match="could not be released"):
        release(home.data)


# -- the file system


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    found = Room(size_bytes=GIB)
    monkeypatch.setattr(grow_file_system, "device_bytes", lambda _number: 2 * GIB)
    return found


class Growing(Programs):
    """xfs_growfs, and what it makes of a room."""

    def __init__(self, room: Room, to_bytes: int) -> None:
        super().__init__()
        self._room, self._to_bytes = room, to_bytes

    def __call__(
        self, argv: Sequence[str], *, ok: Sequence[int] = (0,), timeout_s: float = 60.0
    ) -> Result:
        self._room.size_bytes = self._to_bytes
        return super().__call__(argv, ok=ok, timeout_s=timeout_s)


def test_a_file_system_grows_in_use_and_the_ballast_is_made_again(home: Home, room: Room) -> None:
    programs = Growing(room, 2 * GIB)
    words = grow(home.data, programs, statvfs=room)
    assert f"it grew from {GIB} to {2 * GIB} bytes; the ballast holds" in words
    assert programs.said("xfs_growfs", "-d", str(home.data))


def test_a_file_system_that_fills_its_device_already_is_done(home: Home, room: Room) -> None:
    room.size_bytes = 2 * GIB
    assert f"it has {2 * GIB} bytes" in grow(home.data, Growing(room, 2 * GIB), statvfs=room)


def test_a_file_system_that_stays_small_is_a_failure(home: Home, room: Room) -> None:
    with pytest.raises(AgentError, match="on a device of"):
        grow(home.data, Growing(room, GIB), statvfs=room)


@pytest.mark.parametrize(
    ("device_gib", "left_mib", "fits"),
    [(2, 64, True), (2, 256, False), (350, 12 * 1024, False), (4096, 2048, True)],
)
def test_what_xfs_keeps_for_its_log_is_no_failure_and_a_small_last_growth_is_none_of_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, device_gib: int, left_mib: int, fits: bool
) -> None:
    device = device_gib * GIB
    room = Room(size_bytes=device - left_mib * 1024 * 1024)
    monkeypatch.setattr(grow_file_system, "device_bytes", lambda _number: device)
    programs = Growing(room, room.size_bytes)
    if fits:
        assert "it has" in grow(home.data, programs, statvfs=room)
    else:
        with pytest.raises(AgentError, match="on a device of"):
            grow(home.data, programs, statvfs=room)


def test_the_agent_and_the_healer_mean_the_same_by_a_file_system_that_did_not_grow() -> None:
    assert grow_file_system.LEFT_BYTES_MAX == evidence.WIDENED_BYTES
    assert grow_file_system.LEFT_SHARE_MAX == evidence.WIDENED_SHARE


# -- only on the slot's own disk


def a_mounted(home: Home, monkeypatch: pytest.MonkeyPatch, **record: str) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == home.data)
    document = {"version": 1, "volume_id": "vol-1", "slot": "db-euw1-a", "cluster": "pgmend"}
    (home.data / "disk.json").write_text(json.dumps({**document, **record}))


def test_the_slots_own_disk_is_touched(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    a_mounted(home, monkeypatch)
    assert disk.require_ours(a_node()) == home.data


def test_without_a_disk_nothing_is_touched(home: Home) -> None:
    with pytest.raises(RefusedError, match=f"no disk is mounted at {home.data}"):
        disk.require_ours(a_node())


def test_a_disk_without_a_record_is_not_touched(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_mounted(home, monkeypatch)
    (home.data / "disk.json").unlink()
    with pytest.raises(RefusedError, match="cannot be read"):
        disk.require_ours(a_node())


@pytest.mark.parametrize("change", [{"slot": "db-euw1-b"}, {"cluster": "other"}], ids=str)
def test_another_slots_disk_is_not_touched(
    home: Home, monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    a_mounted(home, monkeypatch, **change)
    with pytest.raises(RefusedError, match="nothing was done"):
        disk.require_ours(a_node())
