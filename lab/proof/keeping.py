"""Keeps what a scenario leaves: its line, the healer's items, strength, writes and probes, and, when a promise broke,
every node's journal. A piece that cannot be had is named, not hidden.

    lab/runs/<time>/<scenario>/line.json journal.json incidents.json reports.json
                               strength.jsonl writes.csv probes.csv nodes/<slot>/
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab.control import ControlClient
from lab.demo.runner import Stage
from lab.demo.watch import epoch
from lab.errors import LabError
from lab.proof.record import Line


def keep(directory: Path, stage: Stage, line: Line, *, begin: float, begin_wall: float) -> None:
    """Write the scenario's folder; what could not be had is told on the timeline."""
    directory.mkdir(parents=True, exist_ok=True)
    _json(directory / "line.json", asdict(line))
    try:
        _items(directory, stage, begin_wall)
        _measured(directory, stage, begin)
        if not line.ok:
            _nodes(directory / "nodes", stage)
    except (LabError, OSError) as error:
        stage.timeline.say("note", f"not all evidence of {line.name} could be kept: {error}")


def _items(directory: Path, stage: Stage, begin_wall: float) -> None:
    journal = [
        item
        for item in stage.api.journal()
        if (epoch(str(item["sk"]).partition("#")[0]) or 0.0) >= begin_wall
    ]
    incidents = [
        item
        for item in stage.api.incidents()
        if (epoch(item.get("opened_at")) or 0.0) >= begin_wall - 1
    ]
    reports = {slot: report.body for slot, report in stage.api.reports().items()}
    _json(directory / "journal.json", journal)
    _json(directory / "incidents.json", incidents)
    _json(directory / "reports.json", reports)


def _measured(directory: Path, stage: Stage, begin: float) -> None:
    writes, probes = stage.load.collect()
    samples = [json.dumps(asdict(s)) + "\n" for s in stage.run.samples if s.at >= begin]
    (directory / "strength.jsonl").write_text("".join(samples), "utf-8")
    _lines(directory / "writes.csv", [w.line() for w in writes if w.at >= begin])
    _lines(directory / "probes.csv", [p.line() for p in probes if p.at >= begin])


def _nodes(directory: Path, stage: Stage) -> None:
    control = ControlClient()
    slots = {occupant.instance_id: occupant.slot for occupant in stage.api.occupants()}
    for machine in control.machines():
        into = directory / (slots.get(machine.instance_id) or machine.instance_id)
        into.mkdir(parents=True, exist_ok=True)
        control.journal(machine.instance_id, str(into))


def _lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(lines), "utf-8")


def _json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    path.write_text(json.dumps(value, indent=2, default=str) + "\n", "utf-8")
