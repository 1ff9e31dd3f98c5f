"""The hub's items that a scenario reads or sets as a person could: the breaker, the mode, planned work, the budget."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lab.demo.runner import Stage
from lab.environment import variables
from lab.errors import LabError
from lab.faults.bench import Bench, said
from lab.operator import CLUSTER, HUB_REGION

ROOT: Final = Path(__file__).resolve().parents[2]
# A working day's faults within the hour are what the budget is there to stop; here they are the purpose.
BUDGET: Final[Mapping[str, int]] = {
    "replacements_per_hour": 400,
    "replacements_per_day": 400,
    "failed_launches_per_hour": 400,
    "disk_growths_per_day": 40,
}
PEOPLE_S: Final = 60.0


def people(*words: str) -> str:
    """A command of `lambdas.people` against the lab. Its words; LabError with its sentence when it refuses."""
    done = subprocess.run(
        [sys.executable, "-m", "lambdas.people", "--on", "lab", *words],
        cwd=ROOT,
        env={**os.environ, **variables()},
        capture_output=True,
        text=True,
        timeout=PEOPLE_S,
        check=False,
    )
    if done.returncode:
        raise LabError(f"'{' '.join(words)}': {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout.strip()


def item(bench: Bench, sk: str) -> Mapping[str, Any]:
    """One CLUSTER item, with DynamoDB's type marks; empty when there is none."""
    key = {"pk": {"S": "CLUSTER"}, "sk": {"S": sk}}
    with said(f"read the {sk} item"):
        answer = bench.aws("dynamodb", HUB_REGION).get_item(
            TableName=CLUSTER, Key=key, ConsistentRead=True
        )
    found: Mapping[str, Any] = answer.get("Item", {})
    return found


def attribute(bench: Bench, sk: str, name: str) -> str | None:
    """A text attribute of a CLUSTER item."""
    value = item(bench, sk).get(name, {}).get("S")
    return None if value is None else str(value)


def set_mode(mode: str) -> None:
    """As a person sets it, without an end."""
    words = {
        "auto": ("resume",),
        "observe": ("pause", "--why", "the proof"),
        "off": ("pause", "--off", "--why", "the proof"),
    }
    people(*words[mode])


def as_found(stage: Stage) -> None:
    """Nothing that people have set stands in the healer's way: mode auto, no open breaker, no open plan."""
    bench = stage.bench
    if attribute(bench, "mode", "mode") not in {None, "auto"}:
        set_mode("auto")
    if attribute(bench, "breaker", "state") == "open":
        stage.timeline.say(
            "note", people("ack", "--why", "the next scenario begins").splitlines()[0]
        )
    if attribute(bench, "planned", "state") == "open":
        stage.timeline.say("note", people(str(attribute(bench, "planned", "kind")), "--cancel"))


def widen_budget(bench: Bench) -> None:
    """Let the healer replace as much as a run of many faults asks for, by the spec in every region's bucket."""
    for region in bench.api.spec()["regions"]:
        s3, bucket = bench.aws("s3", region["name"]), str(region["bucket"])
        with said("widen the healer's budget"):
            spec = json.loads(s3.get_object(Bucket=bucket, Key="spec.json")["Body"].read())
            spec["budget"] = {**spec["budget"], **BUDGET}
            s3.put_object(Bucket=bucket, Key="spec.json", Body=json.dumps(spec).encode())
