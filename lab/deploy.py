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
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lab.errors import LabError
from lab.host.paths import Paths
from lab.ports import API_PORT, BUDGETS, OPERATOR_KEY, REGIONS, TIMINGS

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
PROVIDER: Final = "terraform-provider-aws_*"
KEPT: Final = (".terraform", "terraform.tfstate")  # what the command keeps beside the HCL
ARCHIVES: Final = ("lambdas.zip", "node-bundle.tar.gz")
PARALLELISM: Final = 10  # 30 took as long: what an apply waits for is in the provider
TIMEOUT_S: Final = 1800.0
INTERRUPTED_S: Final = 10.0
ERRORS_SHOWN_MAX: Final = 3
ERROR_CHARS_MAX: Final = 700
GET_A_COMMAND: Final = (
    "neither 'tofu' nor 'terraform' is on the path; install OpenTofu"
    " (https://opentofu.org/docs/intro/install/) or Terraform, 1.11 or newer"
)


def apply(*, size: str, durability: str, clock: str) -> None:
    """Apply `tofu/` to the lab's AWS."""
    Deployment.of_lab().apply(size=size, durability=durability, clock=clock)


def plan_is_clean(*, size: str, durability: str, clock: str) -> bool:
    """True when a plan against the lab's AWS shows no change."""
    return Deployment.of_lab().plan_is_clean(size=size, durability=durability, clock=clock)


def destroy(*, size: str, durability: str, clock: str) -> None:
    """Destroy everything that `tofu/` made in the lab's AWS."""
    Deployment.of_lab().destroy(size=size, durability=durability, clock=clock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """`tofu/` on one local AWS. `work` holds a copy of the HCL, and in it the state."""

    command: str
    mirror: Path | None  # an unpacked provider mirror; None: the registry, as usual
    work: Path
    endpoint: str  # the AWS API as the operator reaches it
    node_endpoints: Mapping[str, str]  # the same as nodes and functions reach it, by region
    # Variables besides the lab's, or in their place.
    more: Mapping[str, Any] = field(default_factory=dict)

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

    def apply(self, *, size: str, durability: str, clock: str) -> None:
        """Make everything as the checkout is now. Raises LabError with what the command said."""
        self._ready(size, durability, clock, anew=True)
        self._must("apply", "-auto-approve", *self._options())

    def plan_is_clean(self, *, size: str, durability: str, clock: str) -> bool:
        """Whether a plan of what was applied shows no change."""
        self._ready(size, durability, clock)
        code = self._run("plan", "-detailed-exitcode", *self._options())
        if code not in (0, 2):
            raise self._failure("plan")
        return code == 0

    def plan(self, *, size: str, durability: str, clock: str) -> Mapping[str, Any]:
        """What a plan would change, as the command's own JSON."""
        self._ready(size, durability, clock)
        saved = self.work / "plan.bin"
        self._must("plan", f"-out={saved}", *self._options())
        self._must("show", "-json", str(saved))
        shown: Mapping[str, Any] = json.loads(self._log("show").read_text())
        return shown

    def destroy(self, *, size: str, durability: str, clock: str) -> None:
        """Remove everything. Raises LabError with what the command said."""
        self._ready(size, durability, clock)
        self._must("destroy", "-auto-approve", *self._options())

    def _ready(self, size: str, durability: str, clock: str, *, anew: bool = False) -> None:
        """Variables, and a copy of the sources: made anew by an apply and kept by what comes after it."""
        self.work.mkdir(parents=True, exist_ok=True)
        variables = {
            "size": size,
            "durability": durability,
            "timings": dict(TIMINGS[clock]),
            "budget": dict(BUDGETS[clock]),
            "aws_endpoints": dict(self.node_endpoints),
            "s3_use_path_style": True,
            "deletion_protection": False,  # what the lab makes is there to be destroyed
            **self.more,
        }
        self._variables.write_text(json.dumps(variables, indent=2))
        stamp = self.work / "initialised"
        if anew or not stamp.exists():
            copy_sources(ROOT, self.work / "config")
            self._initialise(stamp)

    def _initialise(self, stamp: Path) -> None:
        """`init`, unless the same command has done it for the same HCL."""
        made_of = f"{self.command} {tree_digest(self.work / 'config/tofu')}"
        if stamp.exists() and stamp.read_text() == made_of:
            return
        stamp.unlink(missing_ok=True)
        options = ["-input=false"]
        if self.mirror is not None:
            name = Path(self.command).name
            options.append(f"-plugin-dir={mirror_for(name, self.mirror, self.work / 'plugins')}")
        self._must("init", *options)
        stamp.write_text(made_of)

    def _options(self) -> tuple[str, ...]:
        return ("-input=false", f"-parallelism={PARALLELISM}", f"-var-file={self._variables}")

    def _must(self, verb: str, *options: str) -> None:
        if self._run(verb, *options) != 0:
            raise self._failure(verb)

    def _run(self, verb: str, *options: str) -> int:
        return run(
            [self.command, f"-chdir={self.work / 'config/tofu'}", verb, "-no-color", *options],
            environment(os.environ, endpoint=self.endpoint, data=self.work / "data"),
            output=self._log(verb),
            errors=self._log(f"{verb}-errors"),
        )

    @property
    def _variables(self) -> Path:
        return self.work / "lab.tfvars.json"

    def _log(self, name: str) -> Path:
        return self.work / f"{name}.log"

    def _failure(self, verb: str) -> LabError:
        errors = self._log(f"{verb}-errors")
        said = readable(errors.read_text(errors="replace"))
        return LabError(f"'{Path(self.command).name} {verb}' failed: {said} (all of it: {errors})")


def find_command(which: Callable[[str], str | None] = shutil.which) -> str:
    """OpenTofu, else Terraform. Raises LabError when there is neither."""
    for name in COMMANDS:
        found = which(name)
        if found is not None:
            return found
    raise LabError(GET_A_COMMAND)


def find_mirror(environ: Mapping[str, str], below: Sequence[str] = MIRRORS) -> Path | None:
    """A folder with the AWS provider unpacked for this computer, or None.

    TF_PLUGIN_DIR names one and must then hold it.
    """
    named = environ.get("TF_PLUGIN_DIR")
    if named:
        if not providers(Path(named)):
            raise LabError(
                f"TF_PLUGIN_DIR is {named}, but no AWS provider for this computer is unpacked there; unset it"
                " to search the usual places and the registry"
            )
        return Path(named)
    for place in below:
        for folder in folders(Path(place).expanduser(), MIRROR_DEPTH_MAX):
            if providers(folder):
                return folder
    return None


def folders(top: Path, depth: int) -> Iterator[Path]:
    """A folder and those below it, down to a depth; what may not be read is passed by."""
    yield top
    if depth == 0:
        return
    try:
        entries = sorted(e.path for e in os.scandir(top) if e.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in entries:
        yield from folders(Path(entry), depth - 1)


def providers(mirror: Path) -> tuple[Path, ...]:
    """The packages of the AWS provider for this computer in a mirror, whichever registry it is named after."""
    return tuple(
        file.parent
        for registry in REGISTRIES.values()
        for file in sorted(mirror.glob(f"{registry}/hashicorp/aws/*/{this_platform()}/{PROVIDER}"))
    )


def this_platform() -> str:
    """As providers are named: linux_amd64."""
    machine = platform.machine()
    return f"linux_{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine) }"


def mirror_for(command: str, mirror: Path, into: Path) -> Path:
    """The mirror as this command looks for it: each takes only packages under its own registry's name."""
    registry = REGISTRIES[command]
    if (mirror / registry).exists():
        return mirror
    for package in providers(mirror):
        link = into / registry / "hashicorp/aws" / package.parent.name / package.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(package)
    return into


def tree_digest(folder: Path) -> str:
    """Of the name and content of every source; what the command itself keeps there does not count."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith(KEPT):
            content = file.read_bytes()
            digest.update(f"{file.relative_to(folder)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def copy_sources(root: Path, config: Path) -> None:
    """`tofu/` and, beside it, what it reads. What the command keeps there stays. Raises LabError when not built."""
    archives = [root / "dist" / name for name in ARCHIVES]
    for archive in archives:
        if not archive.exists():
            raise LabError(f"dist/{archive.name} has not been built; run 'make package'")
    for old in config.glob("*/*"):
        if old.is_dir():
            shutil.rmtree(old)
        elif not old.name.startswith(KEPT):
            old.unlink()
    ignored = shutil.ignore_patterns(*(f"{name}*" for name in KEPT))
    for name in ("tofu", "ssm_documents"):
        shutil.copytree(root / name, config / name, ignore=ignored, dirs_exist_ok=True)
    (config / "dist").mkdir(exist_ok=True)
    for archive in archives:
        shutil.copyfile(archive, config / "dist" / archive.name)


def environment(environ: Mapping[str, str], *, endpoint: str, data: Path) -> dict[str, str]:
    """The command's environment: this computer's own, without anything that could lead it elsewhere."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(("AWS_", "TF_VAR_", "TF_CLI_ARGS")) and name != "TF_WORKSPACE"
    }
    settings = kept.get("TF_CLI_CONFIG_FILE")
    if settings is not None and not Path(settings).is_file():
        del kept["TF_CLI_CONFIG_FILE"]  # the command warns about it at every step otherwise
    return {
        **kept,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": OPERATOR_KEY,
        "AWS_SECRET_ACCESS_KEY": OPERATOR_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "TF_DATA_DIR": str(data),
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
    }


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    output: Path,
    errors: Path,
    timeout_s: float = TIMEOUT_S,
) -> int:
    """The command's exit code, its words in two files. Nothing of it is left when this is interrupted."""
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,  # Ctrl-C comes here, and goes on to the command from here
        )
    try:
        return process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"'{' '.join(argv[:3])}' took longer than {timeout_s:.0f} s") from error
    finally:
        if process.poll() is None:
            end(process)


def end(process: subprocess.Popen[bytes], *, patience_s: float = INTERRUPTED_S) -> None:
    """Ask the command to stop, which saves its state; then kill what is left of it and its providers."""
    with suppress(subprocess.TimeoutExpired), killed_after(process):
        process.send_signal(signal.SIGINT)
        process.wait(timeout=patience_s)


@contextmanager
def killed_after(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens within, the command's whole group is gone afterwards."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def readable(text: str) -> str:
    """The first errors of the command's own words, each on one line, of bounded length, without quoted source."""
    lines = [line for line in text.splitlines() if not re.match(r"\s*\d+: ", line)]
    first, *found = " ".join(" ".join(lines).split()).split("Error: ")
    if not found:
        return first[:ERROR_CHARS_MAX] or "it said nothing"
    shown = [part.strip()[:ERROR_CHARS_MAX] for part in found[:ERRORS_SHOWN_MAX]]
    more = len(found) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
