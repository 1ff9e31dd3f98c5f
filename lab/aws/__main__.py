"""`python -m lab.aws --port N`: the local AWS alone, without machines, for trying the HCL."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from lab.aws.build import build
from lab.ports import FAST


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    state = Path(tempfile.mkdtemp(prefix="pgmend-aws-"))
    aws = build(clock=FAST, host=None, state=state, port=given.port, evidence=state / "evidence")
    aws.listeners.start(regional=False)
    print(f"listening on 127.0.0.1:{given.port}; evidence in {state / 'evidence'}", flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
