"""Files written whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write(path: Path, text: str, *, mode: int = 0o644, owner: str | None = None) -> bool:
    """Replace a file; whether its text changed."""
    if path.exists() and path.read_text() == text and (path.stat().st_mode & 0o777) == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.new")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.chmod(mode)
    if owner is not None:
        shutil.chown(scratch, owner, owner)
    scratch.replace(path)
    return True
