"""Puts the local AWS together: moto's settings, fixes for drift, the parts, the listeners."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import moto.core.config as moto_config

from lab.aws import images
from lab.aws.alarms import Alarms
from lab.aws.bus import Bus
from lab.aws.context import Context
from lab.aws.drift import mend_moto
from lab.aws.ec2 import Ec2
from lab.aws.evidence import Evidence
from lab.aws.functions import Functions
from lab.aws.iam import Guard
from lab.aws.schedules import Schedules
from lab.aws.server import Front, Listeners
from lab.aws.ssm import Ssm
from lab.errors import LabError
from lab.ports import API_PORT, REGIONS, Clock, MachineHost, RegionApi, RegionService

RUNTIME_LOCK = Path(__file__).resolve().parents[2] / "requirements" / "lambda-runtime.lock"


@dataclass(frozen=True, kw_only=True)
class LocalAws:
    """The running local AWS."""

    context: Context
    bus: Bus
    ec2: Ec2
    functions: Functions
    listeners: Listeners
    guard: Guard

    def region_api(self, region: str, api: RegionApi) -> None:
        """What AWS's endpoints of a region do, with all that stands behind them. Harmless when they do so already."""
        self.context.outages.set_region(region, api)
        self.context.evidence.add("outages", region=region, what="endpoints", state=api)
        self.listeners.become(region, api)
        if api is not RegionApi.ANSWERS:
            self.functions.lose(region)

    def region_service(self, region: str, service: RegionService, *, running: bool) -> None:
        """Stop one service of a region, or let it run again."""
        self.context.outages.set_service(region, service, running=running)
        state = "running" if running else "stopped"
        self.context.evidence.add("outages", region=region, what=service, state=state)

    def outages(self) -> list[str]:
        """What is out, for people."""
        return [*self.context.outages.sentences(), *self.ec2.power.sentences()]

    def stop(self) -> None:
        """Stop background work, functions and listeners."""
        self.context.down.set()
        self.functions.stop()
        self.listeners.stop()


def build(
    *,
    clock: Clock,
    host: MachineHost | None,
    state: Path,
    root: Path | None = None,
    runtime_client: Path | None = None,
    port: int = API_PORT,
    evidence: Path | None = None,
) -> LocalAws:
    """Everything wired, nothing listening yet."""
    moto_config.default_user_config["lambda"]["use_docker"] = False
    moto_config.default_user_config["iam"]["load_aws_managed_policies"] = True
    mend_moto()
    images.install()
    context = Context(clock=clock, evidence=Evidence(evidence))
    bus = Bus(context)
    bus.install()
    ec2 = Ec2(context, bus, host)
    ec2.install()
    ssm = Ssm(context, bus, ec2)
    ssm.install()
    functions = Functions(
        context,
        state / "functions",
        root,
        runtime_client,
        grouped=host is not None and os.geteuid() == 0,
    )
    functions.install()
    context.every(30.0, functions.reap, what="idle functions")
    bus.functions = functions
    Schedules(context, bus).install()
    Alarms(context, bus).install()
    guard = Guard()
    listeners = Listeners(Front(context, ssm, guard), REGIONS, port)
    return LocalAws(
        context=context, bus=bus, ec2=ec2, functions=functions, listeners=listeners, guard=guard
    )


def runtime_client(cache: Path) -> Path:
    """AWS's runtime interface client for the functions' Python 3.13, from the lock, cached."""
    digest = hashlib.sha256(RUNTIME_LOCK.read_bytes()).hexdigest()[:12]
    target = cache / f"lambda-runtime-{digest}"
    if target.exists():
        return target
    scratch = target.with_suffix(".new")
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *(
            "--no-deps",
            "--require-hashes",
            "--requirement",
            str(RUNTIME_LOCK),
            "--only-binary=:all:",
        ),
        *("--platform", "manylinux2014_x86_64", "--platform", "any", "--python-version", "3.13"),
        *("--implementation", "cp", "--target", str(scratch)),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise LabError(f"the Lambda runtime client could not be installed:\n{found.stderr[-1500:]}")
    scratch.rename(target)
    return target
