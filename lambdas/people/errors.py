"""The exception tree of people's commands.

PeopleError
├── RefusedError      what was asked cannot be done as it was asked; nothing was written (exit 2)
└── UnreachableError  AWS did not answer, or would not; whether something was written is said (exit 1)
"""

from __future__ import annotations


class PeopleError(Exception):
    """What a person is told instead of a confirmation; the message is a sentence."""


class RefusedError(PeopleError):
    """Asked wrongly, or out of date."""


class UnreachableError(PeopleError):
    """AWS did not do it."""
