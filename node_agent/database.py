"""The PostgreSQL data directory as it lies on disk, while Patroni is not looking at it.

It must never delete the only copy of anything: what has to make room is renamed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from node_agent.errors import HoldError
from node_agent.paths import DATA
from node_agent.shell import Run, run

FOLDER = DATA / "postgresql"
DATA_DIR = FOLDER / "data"
BIN_DIR = Path("/usr/lib/postgresql/17/bin")
USER = "postgres"


def empty(data_dir: Path) -> bool:
    """Whether there is nothing."""
    return not data_dir.exists() or not any(data_dir.iterdir())


def system_identifier(data_dir: Path, *, run: Run = run) -> str | None:
    """The identifier in the control file; None for an empty or unfinished directory.

    Raises HoldError when there is a control file and it cannot be read: that may be the newest copy, damaged.
    """
    if not (data_dir / "global" / "pg_control").exists():
        return None
    identifier = control(data_dir, run=run).get("Database system identifier", "")
    if not identifier.isdigit():
        raise HoldError(f"the control file in {data_dir} names no system identifier")
    return identifier


def control(data_dir: Path, *, run: Run = run) -> dict[str, str]:
    """What pg_controldata prints, by its own names. Raises HoldError when the control file cannot be read."""
    found = run([str(BIN_DIR / "pg_controldata"), str(data_dir)], ok=(0, 1))
    values = {}
    for line in found.out.splitlines():
        name, _, value = line.partition(":")
        values[name.strip()] = value.strip()
    if found.code or "Database system identifier" not in values:
        words = (found.err or found.out).strip()[:300]
        raise HoldError(f"the control file in {data_dir} cannot be read: {words}")
    return values


def set_aside(data_dir: Path, why: str) -> Path:
    """Rename the directory; one earlier remainder of the same kind makes room for it."""
    target = data_dir.with_name(f"{data_dir.name}.{why}")
    shutil.rmtree(target, ignore_errors=True)
    data_dir.rename(target)
    return target


def unfinished(data_dir: Path) -> bool:
    """Whether a clone was cut short: a base backup writes the control file last."""
    return not empty(data_dir) and not (data_dir / "global" / "pg_control").exists()


def make_folder(folder: Path, owner: str) -> None:
    """A folder only its owner can read."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    shutil.chown(folder, owner, owner)
