"""Starts and stops the lab's daemon from the command line. It must never load the local AWS: hand tools stay quick."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lab.control import ControlClient
from lab.errors import LabError
from lab.host import preflight, rootfs
from lab.host.paths import Paths
from lab.host.sweep import leftovers, sweep

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 90.0
LOG_TAIL = 2000


def start_detached(*, size: str, durability: str, clock: str) -> None:
    """Check this computer, make the node image if missing, start the daemon and wait until it serves.

    Raises LabError with a sentence; then nothing of it is left behind.
    """
    paths = Paths.from_env()
    preflight.check(paths)
    with _building(paths):
        rootfs.ensure(paths, print)
    paths.state.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    command = [
        *(sys.executable, "-m", "lab.serve", "--size", size, "--durability", durability),
        *("--clock", clock, "--report-to", str(writing)),
    ]
    with (paths.state / "lab.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(writing,),
            start_new_session=True,
        )
    os.close(writing)
    with os.fdopen(reading) as report:
        said = report.readline().strip()
    if said == "ready":
        # It outlives this command, but while we live it is ours to reap.
        threading.Thread(target=process.wait, daemon=True, name="reaper").start()
        return
    process.wait(STOP_S)
    tail = _log_tail(paths)
    with paths.lock.open("a+") as lock:
        if _locked(lock):  # else it is another's lab that stood in the way
            _clean(paths)
    raise LabError(said or f"the lab did not start; the end of its log:\n{tail}")


def _log_tail(paths: Paths) -> str:
    return (paths.state / "lab.log").read_text("utf-8", errors="replace")[-LOG_TAIL:]


@contextmanager
def _building(paths: Paths) -> Iterator[None]:
    """One build of the node image at a time on this computer."""
    paths.cache.mkdir(parents=True, exist_ok=True)
    with (paths.cache / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def stop() -> None:
    """Stop the lab, however far it came, and remove every trace. Harmless when there is none."""
    paths = Paths.from_env()
    paths.run.mkdir(parents=True, exist_ok=True)
    with paths.lock.open("a+") as lock:
        _ask_to_stop(lock)
        _clean(paths)


def _clean(paths: Paths) -> None:
    """Remove every trace but the lock's own file, which whoever starts next may hold already."""
    sweep(paths)
    left = leftovers(paths)
    if left:
        raise LabError(f"the lab could not remove everything: {', '.join(left)}")
    shutil.rmtree(paths.state, ignore_errors=True)


def _ask_to_stop(lock: IO[str]) -> None:
    """Returns once the lock is ours: the daemon has gone, asked first, then made to."""
    if _locked(lock):
        return
    try:
        ControlClient(timeout_s=10.0).stop()
    except LabError:
        _signal(lock, signal.SIGTERM)  # it is starting, or it is stuck
    if _wait_for(lock, STOP_S):
        return
    _signal(lock, signal.SIGKILL)
    if not _wait_for(lock, 10.0):
        raise LabError("the lab's daemon does not end; its process id is in its lock file")


def _wait_for(lock: IO[str], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if _locked(lock):
            return True
        time.sleep(0.1)
    return False


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signal(lock: IO[str], number: signal.Signals) -> None:
    lock.seek(0)
    with suppress(ValueError, ProcessLookupError):
        os.kill(int(lock.read()), number)
