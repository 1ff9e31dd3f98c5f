"""What is broken and mended by hand where whole regions are concerned, and that status says what is out."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from lab import cli
from lab.cli import main
from lab.control import LabStatus
from lab.faults.record import FaultRecord
from tests.unit.lab_tools.fakes import FakeApi, FakeMachines

IRELAND, PARIS, FRANKFURT = "eu-west-1", "eu-west-3", "eu-central-1"


class Control(FakeMachines):
    """The running lab."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.out: tuple[str, ...] = ()

    def status(self) -> LabStatus:
        return LabStatus(
            pid=1,
            started_at=2.0,
            size="minimal",
            durability="region",
            clock="fast",
            directory=str(self.directory),
        )

    def outages(self) -> tuple[str, ...]:
        return self.out


class Probe:
    def __init__(self, _: object) -> None:
        return

    def leader(self) -> str | None:
        raise AssertionError("nobody asked for the leader")

    def close(self) -> None:
        """Nothing to let go of."""


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Control:
    control = Control(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(cli, "ControlClient", lambda: control)
    monkeypatch.setattr(cli, "Operator", FakeApi)
    monkeypatch.setattr(cli, "StrengthProbe", Probe)
    return control


def test_a_region_is_broken_by_hand_and_remembered(
    control: Control, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["break", "region-power", "region:euw1"]) == 0
    assert control.calls == [
        ("region-api", IRELAND, "silent"),
        ("power", IRELAND, "None", "off"),
    ]
    (kept,) = FaultRecord(control.directory).open_faults()
    assert (kept.fault, kept.region) == ("region-power", IRELAND)
    assert "region:euw1: every host of the region loses power" in capsys.readouterr().out


def test_a_zone_is_broken_by_hand_and_remembered(control: Control) -> None:
    assert main(["break", "zone-lost", "zone:euw1a"]) == 0
    assert main(["mend"]) == 0
    assert control.calls[:2] == [
        ("power", IRELAND, "eu-west-1a", "off"),
        ("power", IRELAND, "eu-west-1a", "on"),
    ]


def test_a_flap_takes_its_seed_and_its_minutes(control: Control) -> None:
    assert main(["break", "region-flap", "region:euw1", "--seed", "7", "--minutes", "2"]) == 0
    assert main(["break", "region_flap"]) == 0
    assert control.calls == [("flap", IRELAND, "7", "120.0"), ("flap", PARIS, "1", "600.0")]


def test_mending_puts_back_what_is_written_down_and_then_all_there_is(control: Control) -> None:
    """Also what a process broke that died before it wrote it down."""
    assert main(["break", "events-down", "region:euw3"]) == 0
    control.calls.clear()

    assert main(["mend"]) == 0

    assert control.calls[0] == ("region-service", PARIS, "events", "True")
    everything = {
        *(("calm", region) for region in (IRELAND, PARIS, FRANKFURT)),
        *(("region-api", region, "answers") for region in (IRELAND, PARIS, FRANKFURT)),
        *(("power", region, "None", "on") for region in (IRELAND, PARIS, FRANKFURT)),
        ("power", IRELAND, "eu-west-1b", "on"),
        ("power", PARIS, "eu-west-3a", "on"),
        ("region-service", FRANKFURT, "lambda", "True"),
        ("mend", IRELAND, PARIS),
        ("mend-peering", IRELAND, PARIS),
        ("mend-peering", PARIS, FRANKFURT),
    }
    assert everything <= set(control.calls[1:])
    assert FaultRecord(control.directory).open_faults() == ()


def test_status_says_what_is_out(control: Control, capsys: pytest.CaptureFixture[str]) -> None:
    control.out = ("AWS's endpoints in eu-west-3 are silent", "no host in eu-west-3 has power")
    assert main(["status"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert set(control.out) <= set(printed)
