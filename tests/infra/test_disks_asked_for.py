"""What may be asked of disks: only what EC2 makes, since a volume that it refuses leaves its slot empty for ever."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOFU = Path(__file__).resolve().parents[2] / "tofu"
Asked = Callable[[str], tuple[dict[str, Any], str]]


def block(name: str, begins: str, ends: str) -> str:
    """A piece of the shipped source, from one line to before another."""
    found = re.search(
        rf"^{re.escape(begins)}.*?(?=^{re.escape(ends)})",
        (TOFU / name).read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None, (name, begins)
    return found[0]


@pytest.fixture
def asked(command: str, tmp_path: Path) -> Asked:
    """(role → IOPS, "") of what was asked for, or ({}, the refusal). It needs no provider."""
    variable = block("variables.tf", 'variable "disks"', "variable ")
    local = block("locals.tf", "  disk_iops =", "  slots =")
    output = 'output "iops" {\n  value = local.disk_iops\n}\n'
    (tmp_path / "main.tf").write_text(f"{variable}\nlocals {{\n{local}}}\n{output}")

    def ask(disks: str) -> tuple[dict[str, Any], str]:
        words = ["apply", "-no-color", "-input=false", "-auto-approve", f"-var=disks={disks}"]
        done = subprocess.run(
            [command, *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        if done.returncode:
            return {}, " ".join(done.stderr.split())
        state = json.loads((tmp_path / "terraform.tfstate").read_text())
        return state["outputs"]["iops"]["value"], ""

    assert os.access(command, os.X_OK)
    return ask


@pytest.mark.parametrize(
    ("disks", "iops"),
    [
        ("{}", {"db": 3000, "witness": 3000}),
        ("{iops=16000}", {"db": 16000, "witness": 4000}),
        ("{iops=16000,witness_gib=1}", {"db": 16000, "witness": 3000}),
        ("{iops=6000,throughput_mibs=1500,witness_gib=100}", {"db": 6000, "witness": 6000}),
    ],
)
def test_the_witness_is_asked_for_no_more_than_a_disk_of_its_size_has(
    asked: Asked, disks: str, iops: dict[str, int]
) -> None:
    assert asked(disks) == (iops, "")


@pytest.mark.parametrize(
    ("disks", "why"),
    [
        ("{iops=100}", "disks.iops is at least 3000"),
        ("{iops=16000,db_gib=31}", "at most 500 for each GiB"),
        ("{throughput_mibs=100}", "disks.throughput_mibs is at least 125"),
        ("{throughput_mibs=751}", "at most a fourth of disks.iops"),
        ("{db_gib=50,db_max_gib=49}", "A disk's limit is not below its first size"),
    ],
)
def test_a_disk_that_ec2_would_not_make_is_refused_before_anything_is(
    asked: Asked, disks: str, why: str
) -> None:
    found, refusal = asked(disks)
    assert found == {}
    assert why in refusal
