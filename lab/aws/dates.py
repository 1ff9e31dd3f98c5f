"""The date of a signature: AWS refuses a call whose signature was made too far from its own time. Pure.

What is signed in its URL says itself how long it is good for, and is not judged here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lab.aws.iam.model import Refusal

STAMP: Final = "%Y%m%dT%H%M%SZ"
OFF_MAX: Final = timedelta(minutes=5)
OFF_MAX_S3: Final = timedelta(minutes=15)
ONE_SENTENCE: Final[Mapping[str, Refusal]] = {
    "ec2": Refusal(code="RequestExpired", sentence="Request has expired."),
    "s3": Refusal(
        code="RequestTimeTooSkewed",
        sentence="The difference between the request time and the current time is too large.",
    ),
}
# By what a client reads errors as; clients of the others know the name that JSON has.
BY_FORM: Final = frozenset({"monitoring", "sns", "sqs", "sts", "iam"})


def too_far(environ: Mapping[str, Any], shape: str, now: datetime) -> Refusal | None:
    """The refusal of a call whose headers are signed, or None. `shape` is how its client reads errors."""
    signed_at = _signed_at(environ.get("HTTP_X_AMZ_DATE", ""))
    if signed_at is None:
        return None
    off_max = OFF_MAX_S3 if shape == "s3" else OFF_MAX
    if abs(signed_at - now) <= off_max:
        return None
    code = "SignatureDoesNotMatch" if shape in BY_FORM else "InvalidSignature"
    return ONE_SENTENCE.get(shape) or Refusal(code=code, sentence=_sentence(signed_at, now))


def _signed_at(stamp: str) -> datetime | None:
    try:
        return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def _sentence(signed_at: datetime, now: datetime) -> str:
    """AWS's own."""
    late = signed_at < now
    edge = now - OFF_MAX if late else now + OFF_MAX
    what, how, sign = ("expired", "earlier", "-") if late else ("not yet current", "later", "+")
    adverb = "now" if late else "still"
    return (
        f"Signature {what}: {signed_at:{STAMP}} is {adverb} {how} than {edge:{STAMP}} "
        f"({now:{STAMP}} {sign} 5 min.)"
    )
