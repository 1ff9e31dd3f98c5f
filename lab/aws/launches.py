"""What EC2 refuses to launch: no capacity of a type in a zone, the account's limits, too many requests. A fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moto.core.serialize import EC2Serializer
from moto.ec2.exceptions import EC2ClientError

from lab.aws.takeover import take_over
from lab.errors import UsageError

SENTENCES = {
    "InsufficientInstanceCapacity": (
        "We currently do not have sufficient {kind} capacity in the Availability Zone you requested ({zone})."
    ),
    "InstanceLimitExceeded": (
        "You have requested more instances than your current instance limit allows for the specified "
        "instance type ({kind})."
    ),
    "VcpuLimitExceeded": (
        "You have requested more vCPU capacity than your current vCPU limit allows for the instance bucket "
        "that the specified instance type ({kind}) belongs to."
    ),
    "RequestLimitExceeded": "Request limit exceeded.",
}

# What EC2 calls its own fault comes with a status of the 500 series, and clients try again by themselves.
STATUSES = {
    "InsufficientInstanceCapacity": 500,
    "InsufficientVolumeCapacity": 500,
    "RequestLimitExceeded": 503,
    "Unavailable": 503,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Launches that are refused: of one instance type, in one zone, or all where these are None."""

    code: str
    instance_type: str | None
    zone: str | None

    def fits(self, instance_type: str, zone: str) -> bool:
        """Whether it is about this launch."""
        return self.instance_type in (None, instance_type) and self.zone in (None, zone)


class Refusals:
    """The refusals in force."""

    def __init__(self) -> None:
        self._all: tuple[Refusal, ...] = ()

    def install(self) -> None:
        """moto answers every error of EC2 with 400."""
        original = EC2Serializer._serialized_error_to_response  # noqa: SLF001 - moto has no public way

        def answer(this: Any, resp: Any, error: Exception, *rest: Any) -> Any:
            answered = original(this, resp, error, *rest)
            status = STATUSES.get(str(getattr(error, "code", "")))
            if status is not None:
                answered["status_code"] = status
            return answered

        take_over(EC2Serializer, "_serialized_error_to_response", answer)

    def add(self, code: str, *, instance_type: str | None, zone: str | None) -> None:
        """Refuse more. Raises UsageError for a code that EC2 does not have for this."""
        if code not in SENTENCES:
            raise UsageError(f"EC2 refuses a launch with one of {', '.join(SENTENCES)}")
        self._all = (*self._all, Refusal(code=code, instance_type=instance_type, zone=zone))

    def clear(self) -> None:
        """Refuse nothing."""
        self._all = ()

    def check(self, instance_type: str, zone: str) -> None:
        """Raises EC2's error for a launch that is refused."""
        for refusal in self._all:
            if refusal.fits(instance_type, zone):
                sentence = SENTENCES[refusal.code].format(kind=instance_type, zone=zone)
                raise EC2ClientError(refusal.code, sentence)
