"""`lab demo` and `lab smoke`: setup, faults, evidence, the verdict, and the way down, also when
interrupted.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.control import ControlClient
from lab.demo.evidence import gather, new_directory, write_results
from lab.demo.memory import MemorySampler
from lab.demo.record import Run, table
from lab.demo.runner import perform, set_up
from lab.demo.scenario import Step
from lab.demo.timeline import Timeline
from lab.demo.wiring import Lifetime, Wanted, new_run, setup_steps, stage
from lab.errors import LabError
from lab.load.history import Probe, Tail, Write
from lab.operator import Operator


def demo(wanted: Wanted, steps: Sequence[Step], *, title: str, whole: bool) -> int:
    """Run it all; 0 when every promise was kept, 1 otherwise, 130 when interrupted."""
    timeline, run, directory, memory = Timeline(), new_run(wanted), new_directory(), MemorySampler()
    lifetime = Lifetime(lambda: memory.watch(ControlClient().status().pid))
    memory.watch(os.getpid())
    memory.start()
    timeline.heading(
        f"{title}: {wanted.size}, durability {wanted.durability}, clock {wanted.clock}"
    )
    code = 1
    try:
        set_up(setup_steps(wanted, lifetime), run, timeline)
        with stage(directory, run, timeline, whole=whole) as work:
            perform(work, steps)
        run.finished_at = time.monotonic()
        code = 0
    except LabError as error:
        run.broken.append(str(error))
        timeline.say("broken", str(error))
    except KeyboardInterrupt:
        timeline.say("note", "interrupted; cleaning up (this takes a moment)")
        code = 130
    finally:
        with interrupts_ignored():
            memory.close()
            run.peak_rss_mb = memory.peak_mb
            if code != 130 and lifetime.started:
                _gather(directory, timeline)
            _end(lifetime, run, timeline)
    _finish(run, directory, timeline)
    return code if code == 130 else (0 if run.ok else 1)


def _end(lifetime: Lifetime, run: Run, timeline: Timeline) -> None:
    try:
        lifetime.end(timeline)
    except LabError as error:
        run.broken.append(f"the lab could not be brought down: {error}")


def _gather(directory: Path, timeline: Timeline) -> None:
    with timeline.step("gathering the evidence"):
        for sentence in gather(directory, Operator(), ControlClient()):
            timeline.say("note", f"not gathered: {sentence}")


def _finish(run: Run, directory: Path, timeline: Timeline) -> None:
    _write(directory, run)
    if run.faults:
        timeline.table(table(run.faults), title="what it cost")
    for sentence in run.promises_broken:
        timeline.say("broken", f"broken promise: {sentence}")
    if run.ok:
        timeline.say("healed", f"every promise was kept; peak memory {run.peak_rss_mb} MiB")
    timeline.say("note", f"report: {directory / 'report.html'}")


def _write(directory: Path, run: Run) -> None:
    writes = Tail(directory / "writer.csv", Write).read()
    probes = Tail(directory / "prober.csv", Probe).read()
    write_results(directory, run, writes, probes)


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Cleaning up is not to be interrupted half-way."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
