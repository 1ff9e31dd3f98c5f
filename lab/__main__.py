"""`python -m lab`."""

from __future__ import annotations

import sys


def run() -> int:
    """Ctrl-C while the modules are still being loaded is as quiet as later."""
    try:
        from lab.cli import main  # noqa: PLC0415 - inside, so that its loading is covered too
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(run())
