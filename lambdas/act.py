"""The only doer: turns one action into AWS calls, idempotently, and journals what came of it.

The intent is written first, then the act, then its result; a crash anywhere replans to the same act with the same id.
It must never decide: a step that reaches it has passed the rails.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from botocore.exceptions import BotoCoreError, ClientError

from lambdas.adapters.ec2 import Ec2
from lambdas.adapters.notices import Teller
from lambdas.adapters.ssm import CommandState
from lambdas.core.actions import (
    COMMANDS,
    REMOVALS,
    STOPS,
    AttachDisk,
    Command,
    CreateDisk,
    DeclareBirth,
    DeclareBorn,
    GrowDisk,
    Launch,
    Reboot,
    SetDiskAside,
    StartInstance,
    Step,
    StopInstance,
    Terminate,
    rung_of,
)
from lambdas.core.diagnosis import Diagnosis
from lambdas.core.incident import GIVEN
from lambdas.core.model import Birth, Incident, OpenAction, Slot
from lambdas.core.parse import document
from lambdas.core.plan import unanswered_key
from lambdas.core.rules.hosts import no_capacity_key
from lambdas.core.rules.services import EXIT_HOLD, EXIT_REFUSED
from lambdas.documents import DOCUMENTS, parameters
from lambdas.observe import World
from lambdas.sentences import sentence

__all__ = ["DOCUMENTS", "Actor", "Done", "is_refusal", "last_line", "notice"]

BUDGETED = REMOVALS | {"grow-disk"}
NO_ANSWER = "no answer"  # the error that people are told where AWS gave none, not even a refusal
# EC2's words for having no room for an instance now, or not of this type.
NO_CAPACITY = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientCapacity",
        "InstanceLimitExceeded",
        "VcpuLimitExceeded",
        "Unsupported",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of one act."""

    action_id: str
    outcome: str  # done, sent, failed, no-capacity, or unknown
    sentence: str
    incident: Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """How one call went. `error` is AWS's code of a refusal, or that there was no answer."""

    outcome: str
    sentence: str
    error: str | None = None


class Actor:
    """Carries out steps for the run that holds `token`."""

    def __init__(self, world: World, teller: Teller, *, token: int) -> None:
        self._world, self._teller, self._token = world, teller, token

    def act(
        self, step: Step, incident: Incident, *, now: float, found: Diagnosis | None = None
    ) -> Done:
        """Do it, journal it under what was found, tell it. An AWS refusal is an outcome, not an exception.

        A try without an answer is asked again under its id: that is journaled once, and told from the second on.
        """
        asked_before = incident.rung(unanswered_key(step.kind)) > 0
        action_id = incident.next_action_id(step.kind)
        intent = OpenAction(
            action_id=action_id, kind=step.kind, incident=incident.incident_id, started_at=now
        )
        self._world.table.save_action(step.slot, intent, token=self._token)
        # What has a budget counts though the run ends before it can say so.
        if step.kind in BUDGETED and not asked_before:
            asked = f"EC2 is asked for {step.kind} on {step.slot}"
            self._journal(step.kind, action_id, _as(incident, found), "asked", asked, now)
        attempt = self._attempt(step, intent)
        outcome, said = attempt.outcome, attempt.sentence
        types = self._world.spec.by_name[step.slot].instance_types
        acted = _counted(incident, step, outcome, now, types)
        if not acted.passing:
            self._world.table.save_incident(acted)
        in_vain = outcome == "unknown"
        if not (in_vain and asked_before):
            self._journal(step.kind, action_id, _as(acted, found), outcome, said, now)
        if attempt.error is None:
            self._tell("Action Taken", acted, said, action_id)
        elif asked_before or not in_vain:
            refused = {"step": step.kind, "error": attempt.error}
            self._tell("Action Refused", acted, said, action_id, **refused)
        return Done(action_id=action_id, outcome=outcome, sentence=said, incident=acted)

    def _attempt(self, step: Step, intent: OpenAction) -> _Attempt:
        """`unknown`: AWS gave no answer, so the same id is asked again and nothing is counted."""
        try:
            result = self._carry_out(step, intent)
        except (ClientError, BotoCoreError) as error:
            full = has_no_room(error)  # with a status that says nothing else: 500
            if not isinstance(error, ClientError) or not (full or is_refusal(error)):
                said = f"AWS did not say what became of {step.kind} on {step.slot}: {error}"
                return _Attempt(outcome="unknown", sentence=said, error=NO_ANSWER)
            self._world.table.clear_action(step.slot)
            return _Attempt(
                outcome="no-capacity" if full and isinstance(step, Launch) else "failed",
                sentence=f"{step.kind} on {step.slot} was refused: {error}",
                error=error.response["Error"]["Code"],
            )
        asked = replace(
            intent, instance_id=result.get("instance_id"), command_id=result.get("command_id")
        )
        self._world.table.save_action(step.slot, asked, token=self._token)
        outcome = "sent" if step.kind in COMMANDS else "done"
        return _Attempt(outcome=outcome, sentence=sentence(step, result))

    def finish(
        self, action: OpenAction, state: CommandState, incident: Incident, *, now: float
    ) -> Incident:
        """Note that a command ended. The incident as it now stands."""
        good = state.status == "Success"
        message = last_line(state.output)
        said = f"{action.kind} on {incident.slot} ended: {state.status}" + (
            "" if good else f"{_exit(state)}: {message}"
        )
        # A node that refuses, or asks for a person, did nothing: no failed attempt, and its cause may pass.
        nothing_done = state.exit_code in (EXIT_REFUSED, EXIT_HOLD)
        counted = incident.succeeded(action.kind) if good else incident.failed(action.kind)
        after = replace(
            incident if nothing_done and not good else counted,
            last_exit_code=None if good else state.exit_code,
            last_acted_at=now,
        )
        self._world.table.save_incident(after)
        self._world.table.clear_action(incident.slot)
        self._journal(
            action.kind, f"{action.action_id}-end", after, state.status.lower(), said, now
        )
        return after

    def note(self, kind: str, incident: Incident, sentence: str, *, now: float) -> None:
        """Journal what was decided and changes nothing."""
        self._journal(kind, incident.next_action_id(kind), incident, kind, sentence, now)

    def _journal(
        self, kind: str, action_id: str, incident: Incident, outcome: str, sentence: str, now: float
    ) -> None:
        entry = {
            "kind": kind,
            "slot": incident.slot,
            "incident": incident.incident_id,
            "action_id": action_id,
            "outcome": outcome,
            "sentence": sentence,
            "wake": incident.wake,
            "diagnosis": incident.diagnosis,
        }
        self._world.table.journal(
            at_iso=self._world.iso(now), action_id=action_id, entry=entry, token=self._token, at=now
        )

    def _tell(
        self, what: str, incident: Incident, sentence: str, action_id: str, **more: str
    ) -> None:
        detail = notice(self._world.spec.cluster, incident, sentence, action_id, self._token)
        self._teller.say(what, {**detail, **more})

    def _carry_out(self, step: Step, intent: OpenAction) -> Mapping[str, str]:  # noqa: PLR0911 - one switch
        """The ids that came of it: instance_id, command_id."""
        slot = self._world.spec.by_name[step.slot]
        ec2 = self._world.ec2[slot.region]
        match step:
            case DeclareBirth():
                token = uuid.uuid4().hex
                self._world.table.declare_birth(
                    Birth(
                        state="pending",
                        first_leader=slot.name,
                        etcd_token=token,
                        declared_at=intent.started_at,
                    )
                )
                return {}
            case DeclareBorn():
                self._world.table.declare_born(
                    etcd_cluster_id=step.etcd_cluster_id, system_identifier=step.system_identifier
                )
                return {}
            case Launch():
                return {"instance_id": _launched(ec2, slot, step, intent)}
            case CreateDisk():
                grown = {} if step.size_gib is None else {"size_gib": step.size_gib}
                ec2.create_volume(slot, action_id=intent.action_id, **grown)
                return {}
            case SetDiskAside():
                ec2.set_aside(step.volume_id)
                return {"instance_id": step.instance_id}
            case GrowDisk():
                ec2.grow(step.volume_id, size_gib=step.size_gib)
                return {}
            case AttachDisk() | StartInstance() | Reboot() | StopInstance() | Terminate():
                _on_machine(ec2, step)
                return {"instance_id": step.instance_id}
            case _:
                return self._command(step, slot, intent.action_id)

    def _command(self, step: Command, slot: Slot, action_id: str) -> Mapping[str, str]:
        ssm = self._world.ssm[slot.region]
        command_id = ssm.find(comment=action_id, instance_id=step.instance_id) or ssm.send(
            document=DOCUMENTS[step.kind],
            instance_id=step.instance_id,
            parameters=parameters(step),
            comment=action_id,
            timeout_s=self._world.spec.timings.configure_timeout_s,
        )
        return {"instance_id": step.instance_id, "command_id": command_id}


def _exit(state: CommandState) -> str:
    """The exit code in words; a command that did not come to one has none to show."""
    return f" (exit {state.exit_code})" if state.exit_code >= 0 else ""


def _on_machine(
    ec2: Ec2, step: AttachDisk | StartInstance | Reboot | StopInstance | Terminate
) -> None:
    match step:
        case AttachDisk():
            ec2.attach(volume_id=step.volume_id, instance_id=step.instance_id)
        case StartInstance():
            ec2.start(step.instance_id)
        case Reboot():
            ec2.reboot(step.instance_id)
        case StopInstance():
            ec2.stop(step.instance_id, force=step.force)
        case Terminate():
            ec2.terminate(step.instance_id)
        case _:
            assert_never(step)


def _launched(ec2: Ec2, slot: Slot, step: Launch, intent: OpenAction) -> str:
    """The new instance's id; the type is only named where it is not the launch template's own."""
    named = {} if step.instance_type is None else {"instance_type": step.instance_type}
    return ec2.launch(slot, action_id=intent.action_id, incident=intent.incident, **named)


def _as(incident: Incident, found: Diagnosis | None) -> Incident:
    """The incident as the journal's entry shows it: with what was found just now, not when it was opened."""
    return incident if found is None else replace(incident, diagnosis=found)


def has_no_room(error: ClientError | BotoCoreError) -> bool:
    """Whether a launch or a start was refused for want of capacity: another type or a later time may do."""
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in NO_CAPACITY


def is_refusal(error: ClientError | BotoCoreError) -> bool:
    """Whether AWS said no. A time-out, throttling or a failure on its side may have done the act all the same."""
    if not isinstance(error, ClientError):
        return False
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400))
    return status < 500 and status != 429 and "Throttl" not in error.response["Error"]["Code"]


def _counted(
    incident: Incident, step: Step, outcome: str, now: float, types: tuple[str, ...]
) -> Incident:
    """The incident after a step. Emptying the slot begins its tries anew."""
    if outcome == "unknown":
        return replace(incident, last_acted_at=now).climbed(unanswered_key(step.kind))
    tries = 0 if step.kind in REMOVALS else incident.tries + 1
    answered = {
        key: n for key, n in incident.rungs.items() if not key.startswith(unanswered_key(""))
    }
    acted = replace(
        incident, steps=incident.steps + 1, tries=tries, last_acted_at=now, rungs=answered
    )
    if isinstance(step, Launch):
        return _launch_counted(acted, step, outcome, types)
    acted = acted.climbed(rung_of(step))
    if outcome == "failed":
        return acted.failed(step.kind)
    if isinstance(step, SetDiskAside):
        acted = acted.without(GIVEN)  # the next disk is another
    return acted.succeeded(step.kind) if outcome == "done" else acted


def _launch_counted(
    acted: Incident, step: Launch, outcome: str, types: tuple[str, ...]
) -> Incident:
    """A launch that is refused is no new instance; for want of capacity, the next type is asked for."""
    if outcome == "no-capacity":
        kind = step.instance_type or (types[0] if types else "")
        return acted.failed(step.kind).climbed(no_capacity_key(kind))
    if outcome == "failed":
        return acted.failed(step.kind)
    begun = {key: n for key, n in acted.rungs.items() if not key.startswith(no_capacity_key(""))}
    launched = replace(acted, rungs=begun).climbed(step.kind)
    # A machine that others ended takes with it what was done to it alone; one that we ended had that in vain.
    if not launched.rung("terminate"):
        launched = launched.without(STOPS | {"start"})
    # What its predecessor failed at says nothing of the new one.
    return replace(launched, failing=None, failures=0)


def notice(
    cluster: str, incident: Incident, sentence: str, action_id: str | None, token: int
) -> dict[str, object]:
    """The detail of an event of ours."""
    return {
        "cluster": cluster,
        "incident": incident.incident_id,
        "slot": incident.slot,
        "diagnosis": incident.diagnosis,
        "sentence": sentence,
        "action": action_id,
        "token": token,
    }


def last_line(output: str) -> str:
    """The message in the command's last line of output, which is JSON by contract."""
    lines = [line for line in output.strip().splitlines() if line.strip()]
    if not lines:
        return "no output"
    try:
        return str(document(lines[-1])["message"])
    except (ValueError, KeyError, TypeError):
        return lines[-1][:300]
