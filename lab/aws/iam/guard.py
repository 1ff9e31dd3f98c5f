"""Identity policies, enforced: decides every call that is not the operator's. What it cannot judge it refuses."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from lab.aws.context import log
from lab.aws.iam.calls import read_call, take_body
from lab.aws.iam.ec2_asks import ec2_asks
from lab.aws.iam.model import Ask, Call, NotUnderstood, Refusal
from lab.aws.iam.policies import Verdict, identity_says
from lab.aws.iam.principals import Principal, Sessions, keys_of, policies_of, role_by_arn
from lab.aws.iam.service_asks import service_asks
from lab.aws.iam.table_asks import table_asks

MAKERS: Mapping[str, Callable[[Call], Iterator[Ask]]] = {"ec2": ec2_asks, "dynamodb": table_asks}
# AWS answers these whatever the policies say.
FREE = frozenset({"sts:GetCallerIdentity"})
INVALID = "The security token included in the request is invalid."
EXPIRED = "The security token included in the request is expired"


class Guard:
    """Decides whether a principal may make a call."""

    def __init__(self) -> None:
        self._sessions = Sessions()
        self._expired: set[str] = set()

    def expire(self, session: str, *, expired: bool) -> None:
        """Fault and its way back: a session's credentials (an instance's id) are taken for expired."""
        (self._expired.add if expired else self._expired.discard)(session)

    def expired(self, session: str) -> bool:
        """Whether a session's credentials are taken for expired."""
        return session in self._expired

    def check(self, environ: dict[str, Any], key: str, region: str, service: str) -> Refusal | None:
        """The refusal, or None. The body of the request stays readable."""
        family = "json" if environ.get("HTTP_X_AMZ_TARGET") else service
        try:
            principal = self._sessions.find(key)
            token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
            if principal is None or not hmac.compare_digest(principal.token, token):
                take_body(environ)
                return Refusal(code=_invalid(family), sentence=INVALID)
            if principal.expires <= datetime.now(UTC) or self.expired(principal.session):
                take_body(environ)
                return Refusal(code=_expired(family), sentence=EXPIRED)
            sentence = _sentence(principal, read_call(environ, service, region))
        except NotUnderstood as error:
            sentence = f"The local AWS refuses what it does not understand: {error}."
        except Exception as error:  # noqa: BLE001 - it becomes a refusal
            # A guard that fails must fail closed, whatever made it fail.
            log.exception("a call could not be judged")
            sentence = f"The local AWS could not judge this call: {error!r}."
        return None if sentence is None else Refusal(code=_denied(family), sentence=sentence)


def _sentence(principal: Principal, call: Call) -> str | None:
    """Why a call is refused, or None. Raises NotUnderstood."""
    if call.action in FREE:
        return None
    role = role_by_arn(principal.role_arn)
    statements = () if role is None else policies_of(role)
    try:
        asks = list(MAKERS.get(call.service, service_asks)(call))
    except NotUnderstood:
        # Whatever it is about, a role that may do it nowhere hears AWS's own sentence.
        if any(s.allows and s.names(call.action) for s in statements):
            raise
        asks = [Ask(action=call.action, resource="*", tags=None)]
        statements = ()
    if not asks:
        raise NotUnderstood(f"{call.action} names no resource")
    known = {} if role is None else keys_of(principal, role, call.region)
    for ask in asks:
        found = _refused(principal, ask, identity_says(statements, ask, known))
        if found is not None:
            return found
    return None


def _refused(principal: Principal, ask: Ask, verdict: Verdict) -> str | None:
    """AWS's own sentence."""
    if verdict is Verdict.ALLOWED:
        return None
    why = (
        "with an explicit deny in an identity-based policy"
        if verdict is Verdict.DENIED
        else f"because no identity-based policy allows the {ask.action} action"
    )
    sentence = (
        f"User: {principal.arn} is not authorized to perform: {ask.action} "
        f"on resource: {ask.resource} {why}"
    )
    if ask.action.startswith("ec2:"):
        return f"You are not authorized to perform this operation. {sentence}"
    return sentence


def _denied(family: str) -> str:
    return {"ec2": "UnauthorizedOperation", "sns": "AuthorizationError"}.get(family, "AccessDenied")


def _invalid(family: str) -> str:
    json = dict.fromkeys(("json", "lambda"), "UnrecognizedClient")
    found = {"ec2": "AuthFailure", "s3": "InvalidAccessKeyId", **json}
    return found.get(family, "InvalidClientTokenId")


def _expired(family: str) -> str:
    return {"ec2": "RequestExpired"}.get(family, "ExpiredToken")
