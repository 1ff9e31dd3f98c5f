"""`python -m lab.aws --port N`: the local AWS alone, without machines, for trying the HCL."""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
from pathlib import Path

from lab.aws.build import build
from lab.ports import FAST


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, help="folder for what it keeps; else one in /tmp")
    given = parser.parse_args()
    state = given.state or Path(tempfile.mkdtemp(prefix="pgmend-aws-"))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    aws = build(clock=FAST, host=None, state=state, port=given.port, evidence=state / "evidence")
    aws.listeners.start(regional=False)
    print(f"listening on 127.0.0.1:{given.port}; evidence in {state / 'evidence'}", flush=True)
    stopping.wait()
    aws.stop()


if __name__ == "__main__":
    main()
