"""Writes a run's folder: summary, report, and the raw evidence behind both. A piece that cannot be
had is named, not hidden.

    lab/runs/<time>/summary.json  report.html  writer.csv  prober.csv  strength.jsonl  marks.jsonl
                    journal.json  incidents.json  aws/ (logs of the local AWS)  nodes/<slot>/
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from lab.control import LabStatus, MachineState
from lab.demo.record import Run, summary
from lab.demo.report import render
from lab.errors import LabError
from lab.load.history import Probe, Write
from lab.operator import Operator

RUNS: Final = Path(__file__).resolve().parents[1] / "runs"


class Control(Protocol):
    """The part of `lab.control.ControlClient` evidence needs."""

    def status(self) -> LabStatus:
        """The lab."""

    def machines(self) -> Sequence[MachineState]:
        """Machines that exist."""

    def journal(self, instance_id: str, into: str) -> None:
        """Save a machine's journal."""


def new_directory(runs: Path = RUNS) -> Path:
    """A fresh folder for a run, and `latest` pointing at it."""
    directory = runs / time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    number = 1
    while directory.exists():
        number += 1
        directory = directory.with_name(f"{directory.name.partition('-')[0]}-{number}")
    directory.mkdir(parents=True)
    latest = runs / "latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(directory.name)
    return directory


def write_results(
    directory: Path, run: Run, writes: Sequence[Write], probes: Sequence[Probe]
) -> None:
    """The summary, the report, and what the demo itself gathered."""
    _json(directory / "summary.json", summary(run))
    for name, items in (("strength", run.samples), ("marks", run.marks)):
        lines = [json.dumps(asdict(item)) + "\n" for item in items]
        (directory / f"{name}.jsonl").write_text("".join(lines), "utf-8")
    (directory / "report.html").write_text(render(run, writes, probes), "utf-8")


def gather(directory: Path, api: Operator, control: Control) -> list[str]:
    """Raw evidence from the running lab.

    Returns a sentence for each piece that could not be had.
    """
    missing: list[str] = []

    def attempt(what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except (LabError, OSError) as error:
            missing.append(f"{what}: {error}")

    attempt("journal", lambda: _json(directory / "journal.json", list(api.journal())))
    attempt("incidents", lambda: _json(directory / "incidents.json", list(api.incidents())))
    attempt("logs of the local AWS", lambda: _copy_logs(directory / "aws", control))
    attempt("node logs", lambda: _node_logs(directory / "nodes", api, control))
    return missing


def _node_logs(directory: Path, api: Operator, control: Control) -> None:
    slots = {occupant.instance_id: occupant.slot for occupant in api.occupants()}
    for machine in control.machines():
        into = directory / (slots.get(machine.instance_id) or machine.instance_id)
        into.mkdir(parents=True, exist_ok=True)
        control.journal(machine.instance_id, str(into))


def _copy_logs(directory: Path, control: Control) -> None:
    source = Path(control.status().directory)
    for pattern in ("*.log", "*.jsonl", "evidence/*", "logs/*"):
        for file in source.glob(pattern):
            if file.is_file():
                directory.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, directory / file.name)


def _json(path: Path, value: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    path.write_text(json.dumps(value, indent=2, default=str) + "\n", "utf-8")
