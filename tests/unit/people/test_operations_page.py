"""docs/operations.md says what the commands take: every command on the page is one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lambdas.people.cli import parser

PAGE = (Path(__file__).parents[3] / "docs" / "operations.md").read_text()
IN_TABLE = re.findall(r"^\| [^|]+ \| `([^`]+)` \| (?:`[^`]+` )?\|$", PAGE, re.MULTILINE)
WORDS = frozenset({"pause", "resume", "window", "ack", "history", "switchover", "roll", "status"})


def _examples() -> list[str]:
    """Indented lines that begin with a command and stand for themselves: without choices in brackets."""
    lines = (line[4:].split("  ")[0] for line in PAGE.splitlines() if line.startswith("    "))
    return [line for line in lines if (line.split() or [""])[0] in WORDS and "[" not in line]


@pytest.mark.parametrize("command", IN_TABLE + _examples())
def test_a_command_on_the_page_is_one(command: str) -> None:
    for one in command.split(", "):
        parser().parse_args(shlex.split(one.replace("...", "because")))


def test_the_table_names_every_command() -> None:
    assert {command.split()[0] for command in IN_TABLE} == WORDS
