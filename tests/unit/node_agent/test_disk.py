"""The disk is formatted only when it is proven blank, mounted once, and never taken for another slot's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent import database
from node_agent import disk as disks
from node_agent.disk import PROBED_BYTES, Disk, Record
from node_agent.errors import AgentError, HoldError
from node_agent.shell import Result
from tests.unit.node_agent.builders import SYSTEM, Clock, Programs
from tests.unit.node_agent.conftest import Home

MINE = Record(volume_id="vol-0aaaaaaaa", slot="db-euw1-a", cluster="pgmend")
XFS = Result(code=0, out="DEVNAME=/dev/x\nUUID=1\nBLOCK_SIZE=512\nTYPE=xfs\nUSAGE=filesystem\n")
NOTHING = Result(code=2, out="")


class Bench:
    """A disk on the bench: a file for a device, and programs that note what they were asked."""

    def __init__(self, home: Home) -> None:
        self.home, self.programs, self.mounted = home, Programs(), False
        self.device = home.root / "device"
        self.device.write_bytes(bytes(PROBED_BYTES))
        self.programs.answers["blkid"] = NOTHING
        self.disk = Disk(
            MINE, self.device, run=self.programs, mounted=lambda _device, _folder: self.mounted
        )

    def record(self, **changes: object) -> None:
        document = {**json.loads(MINE.text()), **changes}
        (self.home.data / "disk.json").write_text(json.dumps(document))


@pytest.fixture
def bench(home: Home) -> Bench:
    return Bench(home)


# -- finding


def test_a_volume_is_found_by_its_id(home: Home) -> None:
    folder = home.root / "by-id"
    folder.mkdir()
    (home.root / "nvme1n1").touch()
    (folder / "nvme-Amazon_Elastic_Block_Store_vol0aaaaaaaa").symlink_to(home.root / "nvme1n1")
    assert disks.find("vol-0aaaaaaaa", Clock().deadline(5)) == home.root / "nvme1n1"


def test_a_device_that_comes_late_is_waited_for(home: Home) -> None:
    clock, link = Clock(), disks.device_of("vol-0aaaaaaaa")
    link.parent.mkdir()
    clock.after(3.0, link.touch)
    assert disks.find("vol-0aaaaaaaa", clock.deadline(60)) == link
    assert clock.now < 1004.0
    assert home.root in link.parents


def test_a_device_that_never_comes_is_an_error_that_names_the_volume(home: Home) -> None:
    assert home.root.exists()
    with pytest.raises(AgentError, match="vol-0aaaaaaaa did not appear"):
        disks.find("vol-0aaaaaaaa", Clock().deadline(60))


# -- blank or not


def test_a_disk_of_zeros_without_a_signature_is_blank(bench: Bench) -> None:
    assert bench.disk.blank()


def test_our_file_system_is_not_blank(bench: Bench) -> None:
    bench.programs.answers["blkid"] = XFS
    assert not bench.disk.blank()


@pytest.mark.parametrize(
    "found",
    [
        Result(code=0, out="TYPE=ext4\n"),
        Result(code=0, out="TYPE=crypto_LUKS\n"),
        Result(code=0, out="PTTYPE=gpt\n"),
        Result(code=8, out=""),
        Result(code=0, out=""),
        Result(code=0, out="garbage"),
    ],
    ids=["ext4", "encrypted", "partitions", "ambivalent", "silent", "garbage"],
)
def test_anything_else_is_a_hold_and_is_not_formatted(bench: Bench, found: Result) -> None:
    bench.programs.answers["blkid"] = found
    with pytest.raises(HoldError, match="left as it is"):
        bench.disk.format()
    assert not bench.programs.said("mkfs.xfs")


def test_data_without_a_signature_is_a_hold(bench: Bench) -> None:
    bench.device.write_bytes(bytes(4096) + b"data" + bytes(PROBED_BYTES))
    with pytest.raises(HoldError, match="left as it is"):
        bench.disk.blank()


def test_a_disk_that_cannot_be_read_is_a_hold(bench: Bench) -> None:
    bench.device.unlink()
    with pytest.raises(HoldError, match="cannot be read"):
        bench.disk.blank()


def test_a_disk_that_is_too_short_to_be_read_is_a_hold(bench: Bench) -> None:
    bench.device.write_bytes(bytes(512))
    with pytest.raises(HoldError):
        bench.disk.blank()


def test_a_format_that_was_cut_short_is_done_again(bench: Bench) -> None:
    bench.programs.answers["mkfs.xfs"] = AgentError("killed")
    with pytest.raises(AgentError):
        bench.disk.format()
    bench.programs.answers["blkid"] = XFS
    del bench.programs.answers["mkfs.xfs"]
    assert bench.disk.blank()
    bench.disk.format()
    assert not bench.disk.blank()


def test_another_volumes_interrupted_format_is_no_excuse(bench: Bench) -> None:
    (bench.home.state / "formatting").write_text("vol-0bbbbbbbb")
    bench.programs.answers["blkid"] = Result(code=0, out="TYPE=ext4\n")
    with pytest.raises(HoldError):
        bench.disk.blank()


def test_what_is_mounted_is_never_formatted(bench: Bench) -> None:
    bench.mounted = True
    with pytest.raises(HoldError, match="not blank"):
        bench.disk.format()


# -- mounting


def test_a_mounted_disk_is_not_mounted_twice(bench: Bench) -> None:
    bench.mounted = True
    bench.disk.mount()
    assert not bench.programs.said("mount")


def test_a_disk_grows_into_its_volume_when_it_is_mounted(bench: Bench) -> None:
    bench.disk.mount()
    assert bench.programs.said("mount", "-t", "xfs")
    assert bench.programs.said("xfs_growfs", "-d", str(bench.home.data))


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (Result(code=1, out="Phase 1", err="bad magic number"), "bad magic number"),
        (Result(code=0, out=""), "no output"),
        (AgentError("xfs_repair could not be run"), "could not be run"),
    ],
    ids=["damage", "nothing", "no such program"],
)
def test_a_damaged_disk_is_a_hold_and_nobody_repairs_it(
    bench: Bench, check: Result | AgentError, words: str
) -> None:
    bench.programs.answers["mount"] = AgentError("mount: structure needs cleaning")
    bench.programs.answers["xfs_repair"] = check
    with pytest.raises(HoldError, match="left exactly as it is") as hold:
        bench.disk.mount()
    assert "structure needs cleaning" in str(hold.value)
    assert words in str(hold.value)
    repairs = [call for call in bench.programs.calls if call[0] == "xfs_repair"]
    assert [call[1] for call in repairs] == ["-n"]
    assert sum(call[0] == "mount" for call in bench.programs.calls) == 1


def test_another_disk_at_our_place_is_a_hold() -> None:
    with pytest.raises(HoldError, match="another disk"):
        disks.is_mounted_here(Path("/dev/null"), Path("/proc"))


def test_a_plain_folder_is_no_mount(tmp_path: Path) -> None:
    assert not disks.is_mounted_here(Path("/dev/null"), tmp_path)


# -- whose it is


def test_a_fresh_disk_was_not_written_here_before_it_is_signed(bench: Bench) -> None:
    assert not bench.disk.written_here()
    bench.disk.sign()
    assert bench.disk.written_here()


def test_a_signature_that_was_cut_short_does_not_make_the_disk_a_strangers(bench: Bench) -> None:
    (bench.home.data / ".disk.json.new").write_text('{"vers')
    assert not bench.disk.written_here()


def test_a_copy_of_the_slots_disk_was_not_written_here(bench: Bench) -> None:
    bench.record(volume_id="vol-0bbbbbbbb")
    assert not bench.disk.written_here()


@pytest.mark.parametrize("change", [{"slot": "db-euw1-b"}, {"cluster": "other"}], ids=str)
def test_another_slots_or_clusters_disk_is_given_back_untouched(
    bench: Bench, change: dict[str, str]
) -> None:
    bench.record(**change)
    with pytest.raises(HoldError, match="left as it is"):
        bench.disk.written_here()
    assert bench.programs.said("umount")
    assert json.loads((bench.home.data / "disk.json").read_text())["version"] == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 2}', '{"version": 1}', "null"])
def test_a_record_that_cannot_be_read_is_a_hold(bench: Bench, text: str) -> None:
    (bench.home.data / "disk.json").write_text(text)
    with pytest.raises(HoldError):
        bench.disk.written_here()


def test_files_that_nobody_vouches_for_are_a_hold(bench: Bench) -> None:
    (bench.home.data / "precious").mkdir()
    with pytest.raises(HoldError, match="precious"):
        bench.disk.written_here()


@given(
    st.none()
    | st.integers()
    | st.text()
    | st.lists(st.text())
    | st.dictionaries(st.text(), st.text())
)
def test_no_document_breaks_the_records_reader(value: object) -> None:
    with pytest.raises(HoldError):
        Record.parse(json.dumps(value))


# -- the database on it


def test_a_finished_directory_says_whose_database_it_is(home: Home) -> None:
    home.a_database()
    programs = Programs()
    programs.answers["pg_controldata"] = Result(
        code=0,
        out=(
            "pg_control version number:            1700\n"
            f"Database system identifier:           {SYSTEM}\n"
            "Database cluster state:               in production\n"
        ),
    )
    assert database.system_identifier(home.data_dir, run=programs) == SYSTEM


def test_an_unfinished_clone_is_nobodys_database(home: Home) -> None:
    home.half_a_clone()
    assert database.system_identifier(home.data_dir, run=Programs()) is None
    assert database.unfinished(home.data_dir)


def test_a_damaged_control_file_is_a_hold_and_not_an_unfinished_clone(home: Home) -> None:
    home.a_database()
    programs = Programs()
    programs.answers["pg_controldata"] = Result(code=1, out="", err="could not read file")
    with pytest.raises(HoldError, match="could not read file"):
        database.system_identifier(home.data_dir, run=programs)
    assert not database.unfinished(home.data_dir)


def test_a_missing_or_empty_directory_is_empty_and_not_unfinished(home: Home) -> None:
    assert database.empty(home.data_dir)
    home.data_dir.mkdir(parents=True)
    assert database.empty(home.data_dir)
    assert not database.unfinished(home.data_dir)


def test_what_makes_room_is_renamed_and_only_the_last_of_its_kind_is_kept(home: Home) -> None:
    for number in range(2):
        home.half_a_clone()
        (home.data_dir / f"attempt-{number}").touch()
        database.set_aside(home.data_dir, "unfinished")
    kept = home.data_dir.with_name("data.unfinished")
    assert sorted(path.name for path in kept.iterdir()) == ["attempt-1", "backup_label"]
    assert not home.data_dir.exists()
