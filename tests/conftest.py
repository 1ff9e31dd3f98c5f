"""For all tests: a property is not a stop-watch, and machines that run tests are busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("pgmend", deadline=None)
settings.load_profile("pgmend")
