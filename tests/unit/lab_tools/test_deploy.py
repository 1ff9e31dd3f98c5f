"""Applying tofu/: which command and provider are used, what they are told, and what is left when it goes wrong.

The command is a small shell script that writes down how it was called.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import deploy
from lab.deploy import Deployment
from lab.errors import LabError

PACKAGE = f"hashicorp/aws/5.100.0/{deploy.this_platform()}"
BINARY = "terraform-provider-aws_v5.100.0_x5"
WANTED = {"size": "minimal", "durability": "region", "clock": "fast"}


def a_mirror(at: Path, registry: str = "registry.terraform.io", package: str = PACKAGE) -> Path:
    """A folder that holds an unpacked provider."""
    folder = at / registry / package
    folder.mkdir(parents=True)
    (folder / BINARY).touch()
    return at


def a_command(at: Path, *, body: str = "exit 0") -> Path:
    """A command that notes its arguments, one call a line, and then does as told."""
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_text(
        f'#!/bin/sh\necho "$*" >>{at.parent / "calls"}\nenv >{at.parent / "env"}\n{body}\n'
    )
    at.chmod(0o755)
    return at


def calls(command: Path) -> list[str]:
    """How the command was called: each call's words after the folder."""
    lines = (command.parent / "calls").read_text().splitlines()
    return [line.split(" ", 1)[1] for line in lines]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with some HCL and what `make package` builds."""
    root = tmp_path / "checkout"
    for name, text in (
        ("tofu/main.tf", "locals {}\n"),
        ("tofu/modules/hub/main.tf", "locals {}\n"),
        ("dist/lambdas.zip", "zip"),
        ("dist/node-bundle.tar.gz", "bundle"),
        ("dist/vendor/big", "wheels"),
        ("ssm_documents/pgmend-join-replica.yaml", "---\n"),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(deploy, "ROOT", root)
    return root


@pytest.fixture
def deployment(tmp_path: Path, checkout: Path) -> Callable[[str], Deployment]:
    """A deployment whose command does as told."""
    assert checkout.exists()

    def made(body: str) -> Deployment:
        return Deployment(
            command=str(a_command(tmp_path / "bin/terraform", body=body)),
            mirror=None,
            work=tmp_path / "state/tofu",
            endpoint="http://127.0.0.1:1",
            node_endpoints={"eu-west-1": "http://10.10.255.1:1"},
        )

    return made


# -- the command and the provider


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        pytest.param({"tofu", "terraform"}, "tofu", id="opentofu-first"),
        pytest.param({"terraform"}, "terraform", id="terraform-otherwise"),
    ],
)
def test_the_command_on_the_path_is_taken(there: set[str], taken: str) -> None:
    assert deploy.find_command(lambda name: name if name in there else None) == taken


def test_without_a_command_the_sentence_says_how_to_get_one() -> None:
    with pytest.raises(LabError, match=r"neither 'tofu' nor 'terraform'.*opentofu.org"):
        deploy.find_command(lambda _: None)


def test_a_provider_unpacked_in_a_usual_place_is_found(tmp_path: Path) -> None:
    mirror = a_mirror(tmp_path / "share/some/plugins")
    assert deploy.find_mirror({}, [str(tmp_path / "none"), str(tmp_path / "share")]) == mirror


def test_a_mirror_named_after_either_registry_is_found(tmp_path: Path) -> None:
    mirror = a_mirror(tmp_path / "plugins", "registry.opentofu.org")
    assert deploy.find_mirror({}, [str(tmp_path)]) == mirror


def test_a_provider_for_another_computer_is_passed_by(tmp_path: Path) -> None:
    a_mirror(tmp_path / "plugins", package="hashicorp/aws/5.100.0/plan9_mips")
    assert deploy.find_mirror({}, [str(tmp_path)]) is None


def test_the_search_does_not_go_down_for_ever(tmp_path: Path) -> None:
    a_mirror(tmp_path / "a/b/c/d/e")
    assert deploy.find_mirror({}, [str(tmp_path)]) is None


def test_the_named_folder_comes_before_the_usual_places(tmp_path: Path) -> None:
    usual, named = a_mirror(tmp_path / "usual"), a_mirror(tmp_path / "named")
    assert deploy.find_mirror({"TF_PLUGIN_DIR": str(named)}, [str(usual)]) == named


def test_a_named_folder_without_the_provider_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"TF_PLUGIN_DIR is .*no AWS provider"):
        deploy.find_mirror({"TF_PLUGIN_DIR": str(tmp_path)}, [])


def test_terraform_uses_its_own_registrys_mirror_as_it_is(tmp_path: Path) -> None:
    mirror = a_mirror(tmp_path / "mirror")
    assert deploy.mirror_for("terraform", mirror, tmp_path / "plugins") == mirror


def test_opentofu_finds_the_same_provider_under_its_own_registrys_name(tmp_path: Path) -> None:
    mirror, into = a_mirror(tmp_path / "mirror"), tmp_path / "plugins"
    for _ in range(2):  # a second time changes nothing
        assert deploy.mirror_for("tofu", mirror, into) == into
    assert (into / "registry.opentofu.org" / PACKAGE / BINARY).is_file()


# -- what the command is told


def test_nothing_of_the_persons_own_settings_reaches_the_provider(tmp_path: Path) -> None:
    own = {
        "PATH": "/bin",
        "AWS_PROFILE": "production",
        "AWS_SESSION_TOKEN": "secret",
        "AWS_ENDPOINT_URL_S3": "https://elsewhere",
        "TF_VAR_size": "standard",
        "TF_CLI_ARGS_apply": "-target=x",
        "TF_WORKSPACE": "other",
    }
    found = deploy.environment(own, endpoint="http://127.0.0.1:1", data=tmp_path)
    assert found["PATH"] == "/bin"
    assert found["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert found["AWS_CONFIG_FILE"] == found["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert not (own.keys() - {"PATH"}) & found.keys()


@pytest.mark.parametrize("exists", [True, False])
def test_a_settings_file_is_named_only_when_there_is_one(tmp_path: Path, exists: bool) -> None:
    file = tmp_path / "terraformrc"
    if exists:
        file.touch()
    own = {"TF_CLI_CONFIG_FILE": str(file)}
    found = deploy.environment(own, endpoint="", data=tmp_path)
    assert ("TF_CLI_CONFIG_FILE" in found) is exists


def test_an_apply_initialises_once_and_passes_the_labs_variables(
    deployment: Callable[[str], Deployment],
) -> None:
    made = deployment("exit 0")
    made.apply(**WANTED)
    made.apply(**WANTED)
    verbs = [call.split()[0] for call in calls(Path(made.command))]
    assert verbs == ["init", "apply", "apply"]
    variables = json.loads((made.work / "lab.tfvars.json").read_text())
    assert variables["size"] == "minimal"
    assert variables["aws_endpoints"] == {"eu-west-1": "http://10.10.255.1:1"}
    assert variables["timings"]["report_interval_s"] < 5
    assert variables["deletion_protection"] is False


def test_changed_hcl_is_initialised_again_and_what_the_command_keeps_stays(
    deployment: Callable[[str], Deployment], checkout: Path
) -> None:
    made = deployment("exit 0")
    made.apply(**WANTED)
    copied = made.work / "config/tofu"
    for name in ("terraform.tfstate", ".terraform.lock.hcl"):
        (copied / name).write_text("kept")
    (checkout / "tofu/modules/hub/main.tf").rename(checkout / "tofu/modules/hub/other.tf")
    made.apply(**WANTED)
    assert [call.split()[0] for call in calls(Path(made.command))][2:] == ["init", "apply"]
    assert (copied / "terraform.tfstate").read_text() == "kept"
    assert (copied / ".terraform.lock.hcl").read_text() == "kept"
    assert [p.name for p in (copied / "modules/hub").iterdir()] == ["other.tf"]


def test_a_plan_and_a_destroy_are_of_what_was_applied(
    deployment: Callable[[str], Deployment], checkout: Path
) -> None:
    made = deployment("exit 0")
    made.apply(**WANTED)
    (checkout / "dist/lambdas.zip").write_text("built again")
    made.plan_is_clean(**WANTED)
    made.destroy(**WANTED)
    copied = made.work / "config/dist"
    assert sorted(p.name for p in copied.iterdir()) == ["lambdas.zip", "node-bundle.tar.gz"]
    assert (copied / "lambdas.zip").read_text() == "zip"
    made.apply(**WANTED)
    assert (copied / "lambdas.zip").read_text() == "built again"


def test_the_checkout_is_not_written_to(
    deployment: Callable[[str], Deployment], checkout: Path
) -> None:
    before = {p for p in checkout.rglob("*") if p.is_file()}
    deployment('mkdir -p "$TF_DATA_DIR"; touch "$TF_DATA_DIR/x"').apply(**WANTED)
    assert {p for p in checkout.rglob("*") if p.is_file()} == before


def test_functions_that_were_not_built_are_said_so(
    deployment: Callable[[str], Deployment], checkout: Path
) -> None:
    (checkout / "dist/lambdas.zip").unlink()
    with pytest.raises(LabError, match="make package"):
        deployment("exit 0").apply(**WANTED)


@pytest.mark.parametrize(("code", "clean"), [(0, True), (2, False)])
def test_the_plans_exit_code_says_whether_it_is_clean(
    deployment: Callable[[str], Deployment],
    code: int,
    clean: bool,
) -> None:
    made = deployment(f'case "$*" in *" plan "*) exit {code};; esac')
    assert made.plan_is_clean(**WANTED) is clean


def test_a_plan_that_fails_is_neither_clean_nor_changed(
    deployment: Callable[[str], Deployment],
) -> None:
    made = deployment('case "$*" in *" plan "*) echo "Error: no answer" >&2; exit 1;; esac')
    with pytest.raises(LabError, match="'terraform plan' failed: no answer"):
        made.plan_is_clean(**WANTED)


# -- what is said when it fails

WORDS = """
Error: creating SQS Queue (x): no answer

  with module.hub.aws_sqs_queue.dead,
  on modules/hub/main.tf line 4, in resource "aws_sqs_queue" "dead":
   4: resource "aws_sqs_queue" "dead" {

"""


def test_an_error_is_told_in_one_line_without_quoted_source() -> None:
    assert deploy.readable(WORDS) == (
        "creating SQS Queue (x): no answer with module.hub.aws_sqs_queue.dead,"
        ' on modules/hub/main.tf line 4, in resource "aws_sqs_queue" "dead":'
    )


def test_many_errors_are_counted_rather_than_listed() -> None:
    said = deploy.readable(WORDS * 5)
    assert said.count("no answer") == 3
    assert said.endswith("; and 2 more")


@pytest.mark.parametrize(
    ("text", "said"), [("", "it said nothing"), ("killed\n by it", "killed by it")]
)
def test_words_that_are_no_error_are_told_too(text: str, said: str) -> None:
    assert deploy.readable(text) == said


# -- nothing is left

# Ends when asked to, as the real one does, and leaves its provider behind.
WITH_A_PROVIDER = """#!/bin/sh
trap 'exit 1' INT
sleep 300 &
echo $! >{pid}.new
mv {pid}.new {pid}
wait
"""


@pytest.fixture
def command(tmp_path: Path) -> Path:
    made = tmp_path / "terraform"
    made.write_text(WITH_A_PROVIDER.format(pid=tmp_path / "pid"))
    made.chmod(0o755)
    return made


def gone(pid: int) -> bool:
    """Whether the process has ended, within a few seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def appeared(file: Path) -> bool:
    """Whether the file is there, within a few seconds."""
    deadline = time.monotonic() + 10
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return file.exists()


def test_ctrl_c_ends_the_command_and_its_providers(tmp_path: Path, command: Path) -> None:
    text = (
        # A test run in the background has the interrupt ignored, and so would this process.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "import sys; from pathlib import Path; from lab.deploy import run; here = Path(sys.argv[1]);"
        "run([str(here / 'terraform')], {'PATH': '/bin:/usr/bin'}, output=here / 'o', errors=here / 'e')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", text, str(tmp_path)], stderr=subprocess.DEVNULL, cwd=deploy.ROOT
    ) as person:
        assert command.exists()
        assert appeared(tmp_path / "pid")
        person.send_signal(signal.SIGINT)
        assert person.wait(timeout=30) != 0
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_command_that_takes_too_long_is_ended_and_named(tmp_path: Path, command: Path) -> None:
    with pytest.raises(LabError, match="terraform' took longer than 1 s"):
        deploy.run(
            [str(command)],
            {"PATH": "/bin:/usr/bin"},
            output=tmp_path / "o",
            errors=tmp_path / "e",
            timeout_s=1,
        )
    assert gone(int((tmp_path / "pid").read_text()))
