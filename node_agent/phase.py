"""What a document has made of this node so far: idle, configured or left."""

from __future__ import annotations

from node_agent import files
from node_agent.paths import STATE

PHASE_FILE = STATE / "phase"
IDLE, CONFIGURED, LEFT = "idle", "configured", "left"


def phase() -> str:
    """idle until a document configured this node."""
    return PHASE_FILE.read_text().strip() if PHASE_FILE.exists() else IDLE


def enter(name: str) -> None:
    """The agent sees it at its next pass."""
    files.write(PHASE_FILE, f"{name}\n")
