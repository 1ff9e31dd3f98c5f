"""The node agent's exception tree; `exit_code` is the contract's.

AgentError (1)          failed, may be tried again
├── UsageError (2)      wrong parameters
├── RefusedError (10)   a precondition does not hold now
└── HoldError (11)      a person is needed; nothing was created
"""

from __future__ import annotations


class AgentError(Exception):
    """It failed; trying again may help."""

    exit_code = 1
    code = "failed"


class UsageError(AgentError):
    """The command was called with what cannot be meant."""

    exit_code = 2
    code = "usage"


class RefusedError(AgentError):
    """Not now: a precondition does not hold."""

    exit_code = 10
    code = "refused"


class HoldError(AgentError):
    """Not without a person."""

    exit_code = 11
    code = "hold"
