"""The SSM agent stand-in of lab nodes, loaded from the script as it is installed."""

from __future__ import annotations

import importlib.util
import json
import urllib.request
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

SCRIPT = Path(__file__).resolve().parents[3] / "lab/image/usr/bin/amazon-ssm-agent"


class Loader(SourceFileLoader):
    """Leaves no compiled copy beside the script: the folder goes onto nodes as it is."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        del path, data, _mode


def load(home: Path) -> ModuleType:
    """The script as a module that keeps its notes in a folder of the test's."""
    loader = Loader("amazon_ssm_agent", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    module.HOME = home  # type: ignore[attr-defined]
    return module


def get(url: str) -> bytes:
    """What a listener on loopback answers."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - never a file
        body: bytes = answer.read()
    return body


@dataclass(kw_only=True)
class Agent:
    """One node's agent: it asks for work, runs it with the script's own functions, and delivers."""

    base: str
    module: ModuleType

    def asks(self) -> dict[str, Any] | None:
        """The next command; None when there was none for a while."""
        found: dict[str, Any] | None = json.loads(get(f"{self.base}/next"))
        return found

    def runs(self, command: dict[str, Any]) -> Path:
        """What came of it, kept on disk until it is delivered."""
        result = self.module.run(command["document"], command["parameters"])
        self.module.keep(command["command_id"], result)
        kept: Path = self.module.HOME / f"{command['command_id']}.result"
        return kept

    def delivers(self, kept: Path) -> None:
        self.module.deliver(self.base, kept)

    def works(self) -> None:
        """One command from asking to delivering."""
        command = self.asks()
        assert command is not None
        self.delivers(self.runs(command))
