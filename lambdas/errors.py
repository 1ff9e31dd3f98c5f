"""The exception tree of the functions.

HealerError
├── RetryableError          the same call may succeed later; the run ends and the next wake tries again
│   ├── RegionSilentError   an API of one region did not answer
│   ├── BusRefusedError     the hub bus did not take an event
│   ├── MetricsRefusedError CloudWatch did not take the metrics
│   ├── NoticeRefusedError  people were not told, or not by this call
│   └── LeaseLostError      another run took over; this one must not act any more
└── FatalError              trying again cannot help
    ├── MalformedEventError an event that is none of the contract's
    ├── MalformedSpecError  the cluster spec cannot be what it claims
    └── WrongClusterError   asked to act on a cluster that is not ours
"""

from __future__ import annotations


class HealerError(Exception):
    """Anything the functions raise on purpose; the message is a sentence."""


class RetryableError(HealerError):
    """Worth another try."""


class RegionSilentError(RetryableError):
    """An API of one region did not answer."""


class BusRefusedError(RetryableError):
    """The hub bus did not take an event."""


class MetricsRefusedError(RetryableError):
    """CloudWatch did not take the metrics."""


class NoticeRefusedError(RetryableError):
    """People were not told, or not by this call."""


class LeaseLostError(RetryableError):
    """Another run holds the lease."""


class FatalError(HealerError):
    """Not worth another try."""


class MalformedEventError(FatalError):
    """An event that the contract does not know."""


class MalformedSpecError(FatalError):
    """A cluster spec that cannot be what it claims."""


class WrongClusterError(FatalError):
    """Asked to act on another cluster."""
