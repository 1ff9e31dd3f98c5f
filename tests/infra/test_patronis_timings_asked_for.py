"""What may be asked of Patroni: only timings that leave a hung Patroni time to be back, as the nodes themselves ask."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from node_agent.errors import HoldError
from node_agent.render.units import watchdog_s
from tests.infra.test_disks_asked_for import block
from tests.unit.node_agent.builders import the_spec

ASKED = [
    (20, 2, 3),
    (20, 5, 5),
    (23, 2, 5),
    (22, 2, 5),
    (30, 10, 10),
    (30, 5, 5),
    (30, 5, 8),
    (20, 2, 5),
    (20, 10, 5),
    (46, 10, 10),
    (45, 10, 10),
    (20, 8, 1),
    (20, 10, 1),
]


@pytest.mark.parametrize(("ttl", "loop_wait", "retry_timeout"), ASKED)
def test_what_the_nodes_would_refuse_is_refused_before_anything_is_made(
    command: str, tmp_path: Path, ttl: int, loop_wait: int, retry_timeout: int
) -> None:
    assert os.access(command, os.X_OK)
    (tmp_path / "main.tf").write_text(block("variables.tf", 'variable "patroni"', "variable "))
    given = {"ttl": ttl, "loop_wait": loop_wait, "retry_timeout": retry_timeout}
    try:
        watchdog_s(the_spec(patroni={**the_spec().patroni, **given}))
        refused_by_nodes = False
    except HoldError:
        refused_by_nodes = True

    words = ["apply", "-no-color", "-input=false", "-auto-approve"]
    done = subprocess.run(
        [command, *words, f"-var=patroni={json.dumps(given)}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode != 0) is refused_by_nodes, done.stderr
    said = " ".join(done.stderr.replace("│", " ").split())
    assert ("leaves no time to restart a Patroni that hangs" in said) is refused_by_nodes
