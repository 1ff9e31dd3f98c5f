"""A disk is never waited for longer than a pass allows, and never written to before it is ours."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.probes import disk as probing
from node_agent.probes.beside import Beside
from node_agent.probes.disk import UNKNOWN, Disk, device_bytes, sizes, writable
from tests.unit.node_agent.builders import Clock
from tests.unit.node_agent.conftest import Home

# -- writing


def test_a_disk_that_takes_a_few_bytes_is_writable(home: Home) -> None:
    (home.data / "disk.json").touch()
    assert writable(home.data) is True
    first = (home.data / probing.TRIAL).stat()
    assert writable(home.data) is True
    again = (home.data / probing.TRIAL).stat()
    assert (again.st_ino, again.st_size) == (first.st_ino, first.st_size)


def test_a_disk_that_is_not_signed_is_never_written_to(home: Home) -> None:
    assert writable(home.data) is None
    assert list(home.data.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EROFS, False),
        (errno.EIO, False),
        (errno.EUCLEAN, False),
        (errno.ENODEV, False),
        (errno.ENOSPC, None),
        (errno.EDQUOT, None),
        (errno.EACCES, None),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if value else str(value),
)
def test_a_refusal_is_told_from_a_disk_that_is_full(
    home: Home, monkeypatch: pytest.MonkeyPatch, code: int, said: bool | None
) -> None:
    (home.data / "disk.json").touch()

    def sync(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", sync)
    assert writable(home.data) is said


# -- looking


def test_a_folder_without_a_disk_is_not_mounted_and_has_no_size(home: Home) -> None:
    assert sizes(home.data) == {**UNKNOWN, "mounted": False}
    assert sizes(home.data / "none") == {**UNKNOWN, "mounted": False}


def test_a_mounted_disk_has_sizes_and_no_ballast_until_there_is_one() -> None:
    found = sizes(Path("/proc"))
    assert found["mounted"] is True
    assert isinstance(found["size_bytes"], int)
    assert (found["ballast_bytes"], found["device_bytes"]) == (0, None)


@pytest.mark.parametrize(
    ("code", "takes_writes"), [(errno.EIO, False), (errno.ENODEV, False), (errno.EACCES, None)]
)
def test_a_disk_that_answers_with_errors_takes_no_writes_and_is_not_called_absent(
    monkeypatch: pytest.MonkeyPatch, code: int, takes_writes: bool | None
) -> None:
    def lstat(_path: Path) -> os.stat_result:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "lstat", lstat)
    assert sizes(Path("/proc")) == {**UNKNOWN, "writable": takes_writes}


@pytest.mark.parametrize(("text", "size"), [("41943040\n", 20 * 1024**3), ("", None), ("x", None)])
def test_a_devices_size_is_the_kernels_word(tmp_path: Path, text: str, size: int | None) -> None:
    (tmp_path / "7:3").mkdir()
    (tmp_path / "7:3" / "size").write_text(text)
    assert device_bytes(os.makedev(7, 3), tmp_path) == size
    assert device_bytes(os.makedev(7, 4), tmp_path) is None


# -- without waiting


class Mount:
    """What the two threads do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.takes: bool | None = True
        self.trials = 0
        monkeypatch.setattr(probing, "sizes", lambda _folder: {**UNKNOWN, "mounted": True})
        monkeypatch.setattr(probing, "writable", self._trial)

    def _trial(self, _folder: Path) -> bool | None:
        self.trials += 1
        assert self.goes_on.wait(10)
        return self.takes


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mount]:
    found = Mount(monkeypatch)
    yield found
    found.goes_on.set()


def test_a_disk_that_hangs_is_unknown_for_as_long_as_it_hangs_and_asked_once(mount: Mount) -> None:
    clock = Clock()
    disk = Disk(Path("/nowhere"), 0.02, clock=clock)
    mount.goes_on.clear()
    for _ in range(3):
        found = disk.probe()
        assert (found["mounted"], found["writable"]) == (True, None)
        clock.sleep(60)
    assert mount.trials == 1
    mount.goes_on.set()
    disk = Disk(Path("/nowhere"), 5.0, clock=clock)
    assert disk.probe()["writable"] is True


def test_a_disk_is_written_to_every_few_seconds_and_not_at_every_pass(mount: Mount) -> None:
    clock = Clock()
    disk = Disk(Path("/nowhere"), 5.0, clock=clock)
    assert [disk.probe()["writable"] for _ in range(3)] == [True] * 3
    assert mount.trials == 1
    mount.takes = False
    clock.sleep(probing.TRIAL_EVERY_S)
    assert [disk.probe()["writable"] for _ in range(3)] == [False] * 3
    assert mount.trials == 2


def test_a_disk_whose_sizes_hang_is_unknown_altogether(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    def hang(_folder: Path) -> dict[str, object]:
        goes_on.wait(10)
        return {**UNKNOWN, "mounted": False}

    monkeypatch.setattr(probing, "sizes", hang)
    disk = Disk(Path("/nowhere"), 0.02, clock=Clock())
    assert disk.probe() == UNKNOWN
    goes_on.set()


def test_what_a_question_raises_is_raised_to_who_asks() -> None:
    def fail() -> int:
        raise OSError(errno.EIO, "dead")

    question = Beside("failing", fail)
    for _ in range(2):
        with pytest.raises(OSError, match="dead"):
            question.answer(5.0)
        assert not question.pending
