"""What a document has made of this node so far: idle, configured or left."""

from __future__ import annotations

from pathlib import Path

from node_agent import files
from node_agent.paths import STATE

PHASE_FILE = STATE / "phase"
CONFIGURED, LEFT, IDLE = "configured", "left", "idle"


def phase(file: Path | None = None) -> str:
    """idle until a document configured this node."""
    found = file or PHASE_FILE
    return found.read_text().strip() if found.exists() else IDLE


def enter(name: str, file: Path | None = None) -> None:
    """The agent sees it at its next pass."""
    files.write(file or PHASE_FILE, f"{name}\n")
