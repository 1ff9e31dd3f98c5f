"""Applies `tofu/` to the local AWS with the real command line (OpenTofu or Terraform) and the real AWS provider.

The HCL gets its own declared variables and nothing else. This module must never let a setting of the person's own
(profiles, endpoints, variables) through to the provider, since the lab may not touch AWS, and never write into the
checkout.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.aws.context import OPERATOR_KEY
from lab.errors import LabError
from lab.host.paths import Paths
from lab.ports import API_PORT, REGIONS

ROOT: Final = Path(__file__).resolve().parents[1]
COMMANDS: Final = ("tofu", "terraform")
REGISTRIES: Final = {"tofu": "registry.opentofu.org", "terraform": "registry.terraform.io"}
MIRRORS: Final = (
    "/opt",
    "/usr/local/share",
    "/usr/share",
    "~/.terraform.d/plugins",
    "~/.local/share",
)
MIRROR_DEPTH_MAX: Final = 3
PARALLELISM: Final = 10
TIMEOUT_S: Final = 1800.0
INTERRUPTED_S: Final = 10.0
ERRORS_SHOWN_MAX: Final = 3
ERROR_CHARS_MAX: Final = 700
GET_A_COMMAND: Final = (
    "neither 'tofu' nor 'terraform' is on the path; install OpenTofu"
    " (https://opentofu.org/docs/intro/install/) or Terraform, 1.11 or newer"
)


def apply(*, size: str, durability: str) -> None:
    """Apply `tofu/` to the lab's AWS."""
    Deployment.of_lab().apply(size=size, durability=durability)


def plan_is_clean(*, size: str, durability: str) -> bool:
    """True when a plan against the lab's AWS shows no change."""
    return Deployment.of_lab().plan_is_clean(size=size, durability=durability)


def destroy(*, size: str, durability: str) -> None:
    """Destroy everything that `tofu/` made in the lab's AWS."""
    Deployment.of_lab().destroy(size=size, durability=durability)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """`tofu/` on one local AWS. `work` keeps the state and a copy of the HCL."""

    command: str
    mirror: Path | None  # an unpacked provider mirror; None: the registry, as usual
    work: Path
    endpoint: str  # the AWS API as the operator reaches it
    node_endpoints: Mapping[str, str]  # the same as nodes and functions reach it, by region

    @classmethod
    def of_lab(cls) -> Deployment:
        """The running lab's. Raises LabError when there is no command."""
        return cls(
            command=find_command(),
            mirror=find_mirror(os.environ),
            work=Paths.from_env().state / "tofu",
            endpoint=f"http://127.0.0.1:{API_PORT}",
            node_endpoints={region.name: region.endpoint(API_PORT) for region in REGIONS},
        )

    def apply(self, *, size: str, durability: str) -> None:
        """Make everything. Raises LabError with what the command said."""
        self._ready(size, durability)
        self._must("apply", "-auto-approve", f"-parallelism={PARALLELISM}")

    def plan_is_clean(self, *, size: str, durability: str) -> bool:
        """Whether a plan shows no change."""
        self._ready(size, durability)
        code = self._run("plan", "-detailed-exitcode", f"-parallelism={PARALLELISM}")
        if code not in (0, 2):
            raise self._failure("plan")
        return code == 0

    def plan(self, *, size: str, durability: str) -> Mapping[str, object]:
        """The plan as the command's JSON."""
        self._ready(size, durability)
        saved = self.work / "plan.bin"
        self._must("plan", f"-out={saved}", f"-parallelism={PARALLELISM}")
        self._must("show", "-json", str(saved))
        shown: Mapping[str, object] = json.loads(self._log("show").read_text())
        return shown

    def destroy(self, *, size: str, durability: str) -> None:
        """Remove everything. Raises LabError with what the command said."""
        self._ready(size, durability)
        self._must("destroy", "-auto-approve", f"-parallelism={PARALLELISM}")

    def _ready(self, size: str, durability: str) -> None:
        """Bring the copy of the HCL and its variables up to date; initialise when the HCL changed."""
        if not (ROOT / "dist/lambdas.zip").exists():
            raise LabError("dist/lambdas.zip has not been built; run 'make package'")
        config, stamp = self.work / "config", self.work / "initialised"
        config.mkdir(parents=True, exist_ok=True)
        for name in ("dist", "ssm_documents"):  # the HCL finds both beside itself
            if not (config / name).is_symlink():
                (config / name).symlink_to(ROOT / name)
        variables = {
            "size": size,
            "durability": durability,
            "aws_endpoints": dict(self.node_endpoints),
            "s3_use_path_style": True,
        }
        (self.work / "lab.tfvars.json").write_text(json.dumps(variables, indent=2))
        digest = tree_digest(ROOT / "tofu")
        if stamp.exists() and stamp.read_text() == digest:
            return
        shutil.rmtree(config / "tofu", ignore_errors=True)
        shutil.copytree(
            ROOT / "tofu",
            config / "tofu",
            ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"),
        )
        self._must("init", *self._plugin_option())
        stamp.write_text(digest)

    def _plugin_option(self) -> Sequence[str]:
        if self.mirror is None:
            return ()
        mirror = mirror_for(Path(self.command).name, self.mirror, self.work / "plugins")
        return (f"-plugin-dir={mirror}",)

    def _must(self, verb: str, *options: str) -> None:
        if self._run(verb, *options) != 0:
            raise self._failure(verb)

    def _run(self, verb: str, *options: str) -> int:
        stateful = verb in ("apply", "plan", "destroy")
        files = (
            f"-state={self.work / 'terraform.tfstate'}",
            f"-var-file={self.work / 'lab.tfvars.json'}",
        )
        argv = [
            *(self.command, f"-chdir={self.work / 'config/tofu'}", verb),
            *(() if verb == "show" else ("-input=false",)),
            *(("-compact-warnings", *files) if stateful else ()),
            *("-no-color", *(o for o in options)),
        ]
        return run(
            argv, self._environment(), output=self._log(verb), errors=self._log(f"{verb}-errors")
        )

    def _environment(self) -> dict[str, str]:
        return environment(os.environ, endpoint=self.endpoint, data=self.work / "data")

    def _log(self, name: str) -> Path:
        return self.work / f"{name}.log"

    def _failure(self, verb: str) -> LabError:
        said = readable(self._log(f"{verb}-errors").read_text(errors="replace"))
        return LabError(
            f"'{Path(self.command).name} {verb}' failed: {said} (all of it: {self._log(verb)})"
        )
