"""The HCL as sources: in the house format, in the predictable files, every variable and output described."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import hcl2
import pytest

TOFU = Path(__file__).resolve().parents[2] / "tofu"
MODULES = sorted(path for path in (TOFU / "modules").iterdir() if path.is_dir())


def blocks(file: Path, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """(name, body) of every variable or output of a file."""
    with file.open() as opened:
        parsed = hcl2.load(opened)
    return [(name, body) for block in parsed.get(kind, []) for name, body in block.items()]


def test_every_file_is_in_the_format_of_the_command(command: str) -> None:
    found = subprocess.run(
        [command, "fmt", "-check", "-recursive", "-diff", str(TOFU)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_a_module_has_the_files_that_a_reader_expects(module: Path) -> None:
    names = {path.name for path in module.iterdir()}
    assert {"main.tf", "variables.tf", "outputs.tf", "versions.tf"} <= names


@pytest.mark.parametrize("folder", [TOFU, *MODULES], ids=lambda path: path.name)
def test_every_variable_is_typed_and_described_and_every_output_described(folder: Path) -> None:
    variables = blocks(folder / "variables.tf", "variable")
    assert variables
    for name, body in variables:
        assert {"type", "description"} <= body.keys(), name
    for name, body in blocks(folder / "outputs.tf", "output"):
        assert "description" in body, name
