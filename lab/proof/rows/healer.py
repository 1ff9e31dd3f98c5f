"""The healer itself: killed half-way, throttled, doubled, and given words that make no sense."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from lab.demo.runner import Stage
from lab.errors import LabError
from lab.faults.bench import Bench, said
from lab.host import cgroups
from lab.operator import CLUSTER, HUB_REGION
from lab.proof.account import Account, steps_of
from lab.proof.scenario import Row, Scenario, blow

HALF_WAY_S: Final = 45.0
BUSY: Final = "TooManyRequestsException"
HANDLER: Final = b"lambdas.handlers.healer"
SPARE, ACTIVE = "db-euw1-c", "app-euw1-a"
BAD_FOR_S: Final = 8.0
REFUSED_EXITS: Final = frozenset({2, 10})
ENDED: Final = frozenset({"Success", "Failed", "TimedOut", "Cancelled"})
HOSTILE: Final[tuple[Mapping[str, str], ...]] = (
    {"Slot": "haproxy-euw1-a; reboot", "Service": "haproxy"},
    {"Slot": "haproxy-euw1-a' 'x", "Service": "haproxy"},
    {"Slot": "$(reboot)", "Service": "haproxy"},
    {"Slot": "haproxy-euw1-a\nreboot", "Service": "haproxy"},
    {"Slot": "haproxy-euw1-a", "Service": "ssh"},
    {"Slot": "haproxy-euw1-a", "Service": "haproxy && reboot"},
)


def kill_healers() -> int:
    """End every process of the healer function, as a crash would; how many there were."""
    killed = 0
    for pid in cgroups.pids():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"awslambdaric" in command and HANDLER in command:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def _kill_half_way(stage: Stage, targets: Sequence[str]) -> None:
    """As soon as it has launched, before it can configure."""
    since = stage.wall()

    def launched() -> bool:
        steps = steps_of(stage.api.journal(), since)
        return any(step.kind == "launch" and step.slot in targets for step in steps)

    stage.bench.until(launched, "the healer launches", within_s=HALF_WAY_S)
    if not kill_healers():
        raise LabError("no healer ran that could be killed")
    stage.timeline.say("fault", "the healer's processes are killed")


def _look_twice(stage: Stage, targets: Sequence[str]) -> None:
    """Two who wait for an answer and some who do not, all at once."""
    del targets
    with ThreadPoolExecutor(max_workers=8) as pool:
        asked = [pool.submit(stage.api.look) for _ in range(6)]
        waiting = [pool.submit(_wait_for_an_answer, stage) for _ in range(2)]
        for done in (*asked, *waiting):
            done.result()


def _wait_for_an_answer(stage: Stage) -> None:
    """Who waits may be told that as many run already as may; who does not wait has his turn later."""
    try:
        stage.api.look_and_wait()
    except LabError as error:
        if BUSY not in str(error):
            raise
        stage.timeline.say("note", str(error))


def _one_launch(stage: Stage, seen: Account) -> list[str]:
    """One occupant, launched once."""
    found = []
    for target in seen.targets:
        launches = [step for step in seen.of_kind("launch") if step.slot == target]
        occupants = [o for o in stage.api.occupants() if o.slot == target]
        if len(launches) != 1 or len(occupants) != 1:
            found.append(
                f"{target} was launched {len(launches)} times and has {len(occupants)} occupants"
            )
    return found


# -- words that make no sense


def _bad_reports(now: float) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(instance id, body, more) of reports nobody may believe."""
    body = {"version": 1, "cluster": CLUSTER, "phase": "configured", "observed_at": "2099-01-01"}
    yield "i-0123456789abcdef0", "{not json", {}
    yield "i-0123456789abcdef0", json.dumps({**body, "version": 99}), {}
    yield "i-0123456789abcdef0", json.dumps([body]), {}
    yield "i-0123456789abcdef0", json.dumps({**body, "instance_id": "i-0retired00000000"}), {}
    yield "", "", {"sequence": {"N": str(int(now) * 1000)}}
    yield "i-0123456789abcdef0", json.dumps({**body, "services": "all of them"}), {}


def _write_nonsense(stage: Stage, targets: Sequence[str]) -> None:
    """For a while, over the agent's own words and beside them."""
    del targets
    bench, end = stage.bench, stage.clock() + BAD_FOR_S
    while stage.clock() < end:
        for slot in (SPARE, ACTIVE):
            for instance_id, body, more in _bad_reports(time.time()):
                _put_report(bench, slot, instance_id, body, more)
                stage.sleep(0.3)
        stage.api.look()


def _put_report(
    bench: Bench, slot: str, instance_id: str, body: str, more: Mapping[str, Any]
) -> None:
    item = {
        "pk": {"S": "REPORT"},
        "sk": {"S": slot},
        "instance_id": {"S": instance_id},
        "sequence": {"N": "7"},
        "body": {"S": body},
        **more,
    }
    with said("write a report"):
        bench.aws("dynamodb", HUB_REGION).put_item(TableName=CLUSTER, Item=item)


def _no_nonsense(stage: Stage) -> None:
    with said("remove a report"):
        stage.bench.aws("dynamodb", HUB_REGION).delete_item(
            TableName=CLUSTER, Key={"pk": {"S": "REPORT"}, "sk": {"S": SPARE}}
        )


def _still_answers(stage: Stage, seen: Account) -> list[str]:
    """Nonsense was not fatal: the healer answers, and says so."""
    del seen
    answer = stage.api.look_and_wait()
    return [] if answer.get("sentence") else [f"the healer answers {answer}"]


def _send_hostile(stage: Stage, targets: Sequence[str]) -> None:
    """Raises LabError when anything hostile is taken, or a document for another slot does anything."""
    del targets
    bench = stage.bench
    instance_id = bench.occupant_of("haproxy-euw1-a").instance_id
    for parameters in HOSTILE:
        if not _refused(bench, instance_id, parameters):
            raise LabError(f"SSM took {parameters} for a restart")
    for slot in ("haproxy-euw3-a", "haproxy-usw2-a"):
        code = _exit_code(bench, instance_id, {"Slot": slot, "Service": "haproxy"})
        if code not in REFUSED_EXITS:
            raise LabError(f"a document for {slot} ended with {code} on haproxy-euw1-a")


def _send(bench: Bench, instance_id: str, parameters: Mapping[str, str]) -> str:
    """The command's id. Raises ClientError."""
    sent = bench.aws("ssm", "eu-west-1").send_command(
        DocumentName="pgmend-restart-service",
        InstanceIds=[instance_id],
        Parameters={name: [value] for name, value in parameters.items()},
    )
    return str(sent["Command"]["CommandId"])


def _refused(bench: Bench, instance_id: str, parameters: Mapping[str, str]) -> bool:
    try:
        _send(bench, instance_id, parameters)
    except ClientError as error:
        return "Parameter" in error.response["Error"]["Code"]
    return False


def _exit_code(bench: Bench, instance_id: str, parameters: Mapping[str, str]) -> int:
    with said("send a document"):
        command_id = _send(bench, instance_id, parameters)
        asked = {"CommandId": command_id, "InstanceId": instance_id}
        ssm = bench.aws("ssm", "eu-west-1")
        bench.until(
            lambda: ssm.get_command_invocation(**asked)["Status"] in ENDED,
            "the document ends",
            within_s=60.0,
        )
        return int(ssm.get_command_invocation(**asked)["ResponseCode"])


ROWS: Final[tuple[Row, ...]] = (
    Scenario(
        name="healer-crashed",
        row="healer crashed half-way",
        blows=blow("terminate", "haproxy-euw3-a"),
        must=("launch", "configure"),
        meanwhile=_kill_half_way,
        check=_one_launch,
        full_s=120.0,
    ),
    Scenario(
        name="healer-throttled",
        row="healer throttled",
        blows=blow("throttled", "haproxy-euw3-a"),
        must=("launch", "configure"),
        stands_s=20.0,
        full_s=90.0,
    ),
    Scenario(
        name="healer-doubled",
        row="healer doubled",
        blows=blow("terminate", "app"),
        must=("launch", "configure"),
        meanwhile=_look_twice,
        check=_one_launch,
        full_s=90.0,
    ),
    Scenario(
        name="bad-reports",
        row="bad input: reports",
        meanwhile=_write_nonsense,
        mend=_no_nonsense,
        check=_still_answers,
        full_s=45.0,
    ),
    Scenario(
        name="hostile-parameters",
        row="bad input: document parameters",
        meanwhile=_send_hostile,
        full_s=45.0,
    ),
)
