"""`daemon`: the agent itself, as pgmend-agent.service runs it."""

from __future__ import annotations

from argparse import Namespace

from node_agent.daemon import main


def run(_args: Namespace) -> str:
    """For ever; systemd ends it."""
    main()
    return "the daemon ended"
