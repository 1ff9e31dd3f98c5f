"""The slot's disk on this node: found by volume id, formatted only when it is proven blank, mounted at one place.

`disk.json` on the disk says whose it is. What cannot be read, or belongs to another slot or cluster, is left exactly as
it was and needs a person. Nothing here deletes data.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node_agent import files
from node_agent.ballast import Ballast
from node_agent.errors import AgentError, HoldError, RefusedError
from node_agent.node import Node
from node_agent.paths import DATA, STATE
from node_agent.shell import Run, run
from node_agent.waiting import Deadline

VERSION = 1
BY_ID = Path("/dev/disk/by-id")
BOOT_RECORD = Path("/etc/pgmend/disk.json")  # what pgmend-disk.service mounts after a reboot
FORMATTING = STATE / "formatting"
LOCK = Path("/run/pgmend/disk.lock")
FILE_SYSTEM = "xfs"  # grows while it is mounted
# A copy of a disk has its file system's UUID too, and XFS would refuse the second one a kernel sees.
OPTIONS = "noatime,nouuid"
PROBED_BYTES = 1024 * 1024
NOTHING_FOUND = 2  # blkid's exit code
CHECK_S, CHECK_WORDS_MAX = 110.0, 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Whose disk it is."""

    volume_id: str
    slot: str
    cluster: str

    def text(self) -> str:
        """As it lies on the disk."""
        return json.dumps(
            {
                "version": VERSION,
                "volume_id": self.volume_id,
                "slot": self.slot,
                "cluster": self.cluster,
            }
        )

    @classmethod
    def parse(cls, text: str) -> Record:
        """Raises HoldError for what is no record."""
        try:
            raw = json.loads(text)
            if raw["version"] != VERSION:
                raise HoldError(
                    f"disk.json has version {raw['version']!r}; this agent reads {VERSION}"
                )
            values = [raw[name] for name in ("volume_id", "slot", "cluster")]
        except (ValueError, KeyError, TypeError) as error:
            raise HoldError(f"disk.json cannot be read: {error!r}") from error
        if not all(isinstance(value, str) and value for value in values):
            raise HoldError("disk.json names no volume, slot or cluster")
        return cls(volume_id=values[0], slot=values[1], cluster=values[2])


def device_of(volume_id: str) -> Path:
    """The link EC2's Nitro hosts have for a volume."""
    return BY_ID / f"nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}"


def find(volume_id: str, deadline: Deadline) -> Path:
    """Wait until the volume's device is there. Raises AgentError when it does not come."""
    link = device_of(volume_id)
    found = deadline.until(lambda: link.resolve() if link.exists() else None, every_s=0.1)
    if found is None:
        raise AgentError(f"{volume_id} did not appear as {link}; is it attached to this instance?")
    return found


def is_mounted_here(device: Path, folder: Path) -> bool:
    """Whether the folder is this very device's file system. Raises HoldError when it is another's."""
    if not folder.is_mount():
        return False
    if folder.stat().st_dev != device.stat().st_rdev:
        raise HoldError(f"{folder} is another disk's mount, not {device}'s; nothing was changed")
    return True


def require_ours(node: Node) -> Path:
    """Where the slot's own disk is mounted. Raises RefusedError where it is not."""
    if not DATA.is_mount():
        raise RefusedError(f"no disk is mounted at {DATA}, or it does not answer; nothing was done")
    try:
        found = Record.parse((DATA / "disk.json").read_text())
    except OSError as error:
        raise RefusedError(
            f"the disk's record cannot be read: {error}; nothing was done"
        ) from error
    if (found.slot, found.cluster) != (node.slot, node.cluster):
        raise RefusedError(f"the disk here is {found.slot}'s; nothing was done")
    return DATA


class Disk:
    """One volume on this node and the record it must carry."""

    def __init__(
        self,
        record: Record,
        device: Path,
        *,
        run: Run = run,
        mounted: Callable[[Path, Path], bool] = is_mounted_here,
    ) -> None:
        self.record, self._device, self._run = record, device, run
        self._is_mounted = mounted

    def blank(self) -> bool:
        """True when nothing was ever written, False for our file system. Raises HoldError for anything else."""
        if self._is_mounted(self._device, DATA):
            return False
        if FORMATTING.exists() and FORMATTING.read_text() == self.record.volume_id:
            return True  # proven blank before, and the format was cut short
        found = self._run(["blkid", "-p", "-o", "export", str(self._device)], ok=(0, 2, 8))
        values = dict(line.split("=", 1) for line in found.out.splitlines() if "=" in line)
        if found.code == 0 and values.get("TYPE") == FILE_SYSTEM:
            return False
        if found.code == NOTHING_FOUND and not values and self._never_written():
            return True
        what = values.get("TYPE") or values.get("PTTYPE") or "something that blkid does not know"
        raise HoldError(
            f"{self.record.volume_id} holds {what}, so it is neither blank nor {FILE_SYSTEM};"
            " it was left as it is"
        )

    def _never_written(self) -> bool:
        """blkid also finds nothing where it cannot read."""
        try:
            with self._device.open("rb") as file:
                head = file.read(PROBED_BYTES)
        except OSError as error:
            raise HoldError(f"{self.record.volume_id} cannot be read: {error}") from error
        return len(head) == PROBED_BYTES and not any(head)

    def format(self) -> None:
        """Make the file system. Raises HoldError unless the disk is blank."""
        if not self.blank():
            raise HoldError(f"{self.record.volume_id} is not blank and was not formatted")
        files.write(FORMATTING, self.record.volume_id)
        # -f for what an earlier format of ours left half-done, -K because a blank disk needs no discarding.
        self._run(["mkfs.xfs", "-q", "-f", "-K", "-L", "pgmend", str(self._device)], timeout_s=120)
        FORMATTING.unlink()

    def mount(self) -> None:
        """Mount it, once; that alone replays what a crash left in the log. Raises HoldError for a damaged disk."""
        with _one_at_a_time():
            if self._is_mounted(self._device, DATA):
                return
            DATA.mkdir(parents=True, exist_ok=True)
            place = [str(self._device), str(DATA)]
            try:
                self._run(["mount", "-t", FILE_SYSTEM, "-o", OPTIONS, *place])
            except AgentError as error:
                raise HoldError(
                    f"the disk {self.record.volume_id} is damaged and was left exactly as it is: {error};"
                    f" xfs_repair -n: {self._damage()}. A person is needed: snapshot the volume, then repair it"
                    " or set it aside for a fresh one"
                ) from error
            self._run(["xfs_growfs", "-d", str(DATA)])  # the volume may be larger by now

    def _damage(self) -> str:
        """What a check says that changes nothing. A repair drops what it cannot read, so a repaired copy may lack
        acknowledged writes and still be elected: nobody but a person may order one.
        """
        try:
            check = ["xfs_repair", "-n", str(self._device)]
            found = self._run(check, ok=range(256), timeout_s=CHECK_S)
        except AgentError as error:
            return str(error)
        return (found.err.strip() or found.out.strip() or "no output")[-CHECK_WORDS_MAX:]

    def unmount(self) -> None:
        """Give it back as it was."""
        self._run(["umount", str(DATA)])

    def written_here(self) -> bool:
        """Whether the disk's record names this very volume; False too for a fresh disk without any.

        A copy of the slot's disk (a clone, a restored snapshot) has the old volume's id. Raises HoldError, with the
        disk unmounted again, for another slot's or cluster's disk and for files that nobody vouches for.
        """
        try:
            found = self._found()
        except HoldError:
            self.unmount()
            raise
        return found == self.record

    def _found(self) -> Record | None:
        file, mine = DATA / "disk.json", self.record
        if not file.exists():
            strange = sorted(p.name for p in DATA.iterdir() if p.name != ".disk.json.new")
            if strange:
                raise HoldError(
                    f"{mine.volume_id} has no disk.json but holds {', '.join(strange[:5])}"
                )
            return None
        found = Record.parse(file.read_text())
        if (found.slot, found.cluster) != (mine.slot, mine.cluster):
            raise HoldError(
                f"{mine.volume_id} is the disk of {found.slot} in {found.cluster}, not of {mine.slot}"
                f" in {mine.cluster}; it was left as it is"
            )
        return found

    def offer_ballast(self) -> str:
        """Make the ballast on a disk that is signed; says what came of it, and a node goes on without one too."""
        try:
            return Ballast(DATA).make()
        except (AgentError, OSError) as error:
            return f"there is no ballast: {error}"

    def sign(self) -> None:
        """Write the record. What must not outlive a copy has to be gone from the disk before."""
        files.write(DATA / "disk.json", self.record.text())


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """A boot and a document may both want to mount; mounts stack, so the second has to see the first."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
