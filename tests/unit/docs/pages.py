"""Runbook pages as data: their sections, tables, shell blocks and the documents they send. And the code's sentences."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOLE = re.compile(r"<[^<>]+>")
ASSIGNMENT = re.compile(r"^(?:[A-Z]+=\S+ ?)+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One `aws ssm send-command` of a page, with the page's own variables filled in."""

    page: str
    document: str
    region: str
    targets: tuple[str, ...]
    parameters: Mapping[str, str]


def names() -> list[str]:
    """Pages by name, the index left out."""
    return sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "README")


def text(name: str) -> str:
    """A page, or the index: README."""
    return (RUNBOOKS / f"{name}.md").read_text()


def sections(page: str) -> dict[str, str]:
    """Heading of the second level → what stands below it, in order."""
    parts = re.split(r"^## (.+)\n", page, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows(body: str, first: str) -> list[tuple[str, ...]]:
    """Rows of the tables whose first column is called `first`."""
    found: list[tuple[str, ...]] = []
    inside = False
    for line in body.splitlines():
        cells = tuple(cell.strip() for cell in line.strip().strip("|").split(" | "))
        if not line.startswith("|"):
            inside = False
        elif cells[0] == first:
            inside = True
        elif inside and not set(line) <= set("|-"):
            found.append(cells)
    return found


def blocks(page: str) -> list[str]:
    """Shell blocks."""
    return BLOCK.findall(page)


def sent(name: str) -> Iterator[Sent]:
    """The documents that a page sends."""
    for block in blocks(text(name)):
        variables: dict[str, str] = {}
        for line in block.replace("\\\n", " ").splitlines():
            if ASSIGNMENT.match(line):
                variables |= dict(part.split("=", 1) for part in line.split())
            elif "ssm send-command" in line:
                yield _parsed(name, line, variables)


def _parsed(page: str, line: str, variables: Mapping[str, str]) -> Sent:
    filled = re.sub(r"\$([A-Z]+)", lambda found: variables[found[1]], line)
    options: dict[str, list[str]] = {}
    option = ""
    for word in shlex.split(filled, comments=True)[3:]:
        if word.startswith("--"):
            option = word
            options[option] = []
        else:
            options[option].append(word)
    (document,), (region,), (given,) = (
        options[name] for name in ("--document-name", "--region", "--parameters")
    )
    return Sent(
        page=page,
        document=document,
        region=region,
        targets=tuple(options["--targets"]),
        parameters=dict(part.split("=", 1) for part in given.split(",")),
    )


def documents() -> dict[str, Any]:
    """Documents as shipped, by name."""
    files = (ROOT / "ssm_documents").glob("*.yaml")
    return {file.stem: yaml.safe_load(file.read_text()) for file in files}


def said_in(package: str) -> tuple[str, ...]:
    """Every piece of text in a package's code; a sentence with values in it is several pieces."""
    files = sorted((ROOT / package).rglob("*.py"))
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return tuple(n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str))


def unsaid(sentence: str, pieces: tuple[str, ...]) -> list[str]:
    """Parts of a sentence, between its <holes>, that no code says."""
    parts = [part.strip() for part in HOLE.split(sentence)]
    return [part for part in parts if part and not any(part in piece for piece in pieces)]


def quoted(cell: str) -> list[str]:
    """What a table's cell has in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def anchors(page: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
