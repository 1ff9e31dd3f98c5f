"""The lab's daemon on this computer: one at a time, and nothing of it left however it ends.

It refuses to start beside another lab, whose machines it would sweep away.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import daemon
from lab.control import ControlClient
from lab.errors import LabError
from lab.host import cgroups
from lab.host.paths import Paths
from lab.host.sweep import leftovers

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: namespaces, cgroups, loop devices"),
]


@pytest.fixture(autouse=True)
def no_lab_before_or_after() -> Iterator[None]:
    if ControlClient(timeout_s=5.0).alive():
        pytest.fail("a lab is running: 'make lab-down' first, this test would sweep it away")
    yield
    daemon.stop()
    assert leftovers(Paths.from_env()) == []


def start() -> None:
    daemon.start_detached(size="minimal", durability="region", clock="fast")


def test_a_lab_that_is_up_answers_and_leaves_nothing_when_it_is_stopped() -> None:
    start()
    assert ControlClient().status().size == "minimal"
    daemon.stop()
    assert leftovers(Paths.from_env()) == []
    assert not Paths.from_env().state.exists()


def test_stopping_twice_is_no_error() -> None:
    start()
    daemon.stop()
    daemon.stop()


def test_a_second_lab_is_refused_and_the_first_goes_on() -> None:
    start()
    first = ControlClient().status().pid
    with pytest.raises(LabError, match="a lab is running already"):
        start()
    assert ControlClient().status().pid == first


def test_what_a_crashed_lab_left_does_not_stand_in_the_way_of_the_next() -> None:
    start()
    crashed = ControlClient().status().pid
    os.kill(crashed, signal.SIGKILL)
    wait_until_gone(crashed)
    assert leftovers(Paths.from_env())
    start()
    assert ControlClient().status().pid != crashed


def test_an_interrupt_while_the_lab_starts_leaves_nothing() -> None:
    script = (
        # A test run in the background has the interrupt ignored, and so would this process.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from lab import daemon; daemon.start_detached(size='minimal', durability='region', clock='fast')"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT) as starting:
        deadline = time.monotonic() + 60
        while not cgroups.pids() and time.monotonic() < deadline:
            time.sleep(0.01)
        starting.send_signal(signal.SIGINT)
        assert starting.wait(60) != 0
    daemon.stop()
    assert leftovers(Paths.from_env()) == []


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
