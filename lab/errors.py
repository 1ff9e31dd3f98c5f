"""The lab's exception tree.

LabError            a sentence for the person at the keyboard; the command exits 1
└── UsageError      the command line was wrong; exits 2
"""

from __future__ import annotations


class LabError(Exception):
    """Something the person running the lab can read and act on: what happened and what to do."""


class UsageError(LabError):
    """The command was called with words that cannot be meant."""
