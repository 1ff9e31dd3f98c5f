"""What pgmend itself costs on a quiet cluster: the agents' memory and processor time, and one warm look of the healer.

Read from the nodes' own systemd and from the local AWS's record of invocations; nothing is estimated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from lab.control import RunResult
from lab.errors import LabError
from lab.operator import Occupant

WINDOW_S: Final = 20.0
AGENT_MB_MAX: Final = 100.0
AGENT_PERCENT_MAX: Final = 2.0
WARM_LOOK_S_MAX: Final = 1.5
WARM_LOOKS: Final = 5
LOOKS_TRIED_MAX: Final = 20
# Resident memory and processor time of the agent's own process, asked inside the node.
SCRIPT: Final = (
    'pid=$(systemctl show -P MainPID pgmend-agent.service); grep VmRSS "/proc/$pid/status"; '
    'cut -d" " -f14-17 "/proc/$pid/stat"; getconf CLK_TCK; cut -d" " -f1 /proc/uptime'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentUse:
    """One look at an agent's process."""

    rss_mb: float
    cpu_s: float
    uptime_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """The figures, the largest over all nodes."""

    agent_rss_mb: float
    agent_cpu_percent: float
    healer_warm_s: float
    healer_init_s: float | None = None  # a cold start costs this much more

    def broken(self) -> tuple[str, ...]:
        """Promises these figures break, one sentence each."""
        return tuple(
            f"{what} {value:.1f} {unit}, promised were at most {limit:.1f}"
            for what, value, unit, limit in (
                ("an agent holds", self.agent_rss_mb, "MB", AGENT_MB_MAX),
                ("an agent takes", self.agent_cpu_percent, "% of a core", AGENT_PERCENT_MAX),
                ("a quiet warm look takes", self.healer_warm_s, "s", WARM_LOOK_S_MAX),
            )
            if value > limit
        )

    def as_json(self) -> Mapping[str, Any]:
        """For `summary.json`."""
        return {name: None if v is None else round(v, 2) for name, v in asdict(self).items()}


class Machines(Protocol):
    """The part of `lab.control.ControlClient` used here."""

    def run(self, instance_id: str, argv: Sequence[str], timeout_s: float = 60.0) -> RunResult:
        """Run a command in the machine."""


class Api(Protocol):
    """The part of `lab.operator.Operator` used here."""

    def occupants(self) -> Sequence[Occupant]:
        """Instances that are not terminated."""

    def look_and_wait(self) -> Mapping[str, Any]:
        """Invoke the healer and return its answer."""


def measure(
    machines: Machines,
    api: Api,
    *,
    invocations: Path,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Costs:
    """Look at every agent twice, and let the healer look at a quiet cluster. Raises LabError."""
    running = [item for item in api.occupants() if item.state == "running"]
    before = {item.slot: agent_use(machines, item.instance_id) for item in running}
    sleep(WINDOW_S)
    after = {item.slot: agent_use(machines, item.instance_id) for item in running}
    return Costs(
        agent_rss_mb=max(use.rss_mb for use in after.values()),
        agent_cpu_percent=max(percent(before[slot], after[slot]) for slot in after),
        healer_init_s=healer_init_s(invocations),
        healer_warm_s=sorted(_warm_look_s(api, clock) for _ in range(WARM_LOOKS))[WARM_LOOKS // 2],
    )


def _warm_look_s(api: Api, clock: Callable[[], float]) -> float:
    """How long the healer takes for one look that finds nothing to do, as its caller sees it."""
    for _ in range(LOOKS_TRIED_MAX):
        began = clock()
        if api.look_and_wait()["looks"] == 1:
            return clock() - began
    raise LabError("the healer was never alone with a quiet cluster; another run kept the lease")


def agent_use(machines: Machines, instance_id: str) -> AgentUse:
    """What the agent of one node uses. Raises LabError when it cannot be read."""
    done = machines.run(instance_id, ("/bin/sh", "-euc", SCRIPT))
    try:
        memory, times, ticks, uptime = done.stdout.strip().splitlines()
        return AgentUse(
            rss_mb=int(memory.split()[1]) / 1024,
            cpu_s=sum(int(word) for word in times.split()) / int(ticks),
            uptime_s=float(uptime),
        )
    except (ValueError, IndexError) as error:
        raise LabError(
            f"the agent of {instance_id} could not be looked at: {done.stderr}"
        ) from error


def percent(before: AgentUse, after: AgentUse) -> float:
    """Share of a core between two looks, in percent."""
    return 100 * (after.cpu_s - before.cpu_s) / (after.uptime_s - before.uptime_s)


def healer_init_s(invocations: Path) -> float | None:
    """How long the healer's first process took to import and ask for work, from the local AWS's record."""
    for line in invocations.read_text("utf-8").splitlines():
        entry = json.loads(line)
        if entry["function"].endswith("-healer") and entry["cold"]:
            return float(entry["init_s"]) if entry["init_s"] is not None else None
    return None
