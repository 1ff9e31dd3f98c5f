"""Faults of whole regions and zones: what they ask of the lab, and that the way back undoes just that."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from lab.control import RegionApi
from lab.errors import LabError, UsageError
from lab.faults.base import Injected
from lab.faults.bench import Api, Bench
from lab.faults.catalogue import fault_named
from lab.faults.record import FaultRecord
from lab.faults.regions import flapping
from lab.faults.targets import resolve
from tests.unit.lab_tools.fakes import FakeApi, FakeMachines, slots

IRELAND, PARIS, FRANKFURT = "eu-west-1", "eu-west-3", "eu-central-1"
Calls = list[tuple[str, ...]]


class Stubborn(FakeMachines):
    """Hosts that do not go off, or do not boot."""

    def power(self, region: str, *, zone: str | None, on: bool) -> None:
        super().power(region, zone=zone, on=on)
        raise LabError("a machine does not do it")


def bench(machines: FakeMachines | None = None) -> tuple[Bench, FakeMachines]:
    machines = machines or FakeMachines()
    return Bench(machines=machines, api=cast("Api", FakeApi()), leader=lambda: None), machines


def inject(lab: Bench, name: str, word: str) -> Injected:
    return fault_named(name).inject(lab, resolve(word, slots=slots(), leader=None))


@pytest.mark.parametrize(
    ("name", "word", "done", "undone"),
    [
        pytest.param(
            "region-power",
            "region:euw1",
            [("region-api", IRELAND, "silent"), ("power", IRELAND, "None", "off")],
            [("power", IRELAND, "None", "on"), ("region-api", IRELAND, "answers")],
            id="a region without power",
        ),
        pytest.param(
            "observer-lost",
            "region:euc1",
            [("region-api", FRANKFURT, "silent"), ("power", FRANKFURT, "None", "off")],
            [("power", FRANKFURT, "None", "on"), ("region-api", FRANKFURT, "answers")],
            id="the observer without power",
        ),
        pytest.param(
            "zone-lost",
            "zone:euw3a",
            [("power", PARIS, "eu-west-3a", "off")],
            [("power", PARIS, "eu-west-3a", "on")],
            id="a zone",
        ),
        pytest.param(
            "zone-lost",
            "db-euw1-b",
            [("power", IRELAND, "eu-west-1b", "off")],
            [("power", IRELAND, "eu-west-1b", "on")],
            id="the zone of a slot",
        ),
        pytest.param(
            "region-isolated",
            "region:euw3",
            [("cut-peering", PARIS, IRELAND), ("cut-peering", PARIS, FRANKFURT)],
            [("mend-peering", PARIS, IRELAND), ("mend-peering", PARIS, FRANKFURT)],
            id="an isolated region",
        ),
        pytest.param(
            "peering-cut",
            "region:euw3",
            [("cut-peering", IRELAND, PARIS)],
            [("mend-peering", IRELAND, PARIS)],
            id="the peering of the data regions",
        ),
        pytest.param(
            "region-flap",
            "region:euw1",
            [("flap", IRELAND, "1", "600.0")],
            [("calm", IRELAND), ("mend", IRELAND, PARIS), ("mend", IRELAND, FRANKFURT)],
            id="a region that flaps",
        ),
        pytest.param(
            "region-api-refused",
            "region:euw3",
            [("region-api", PARIS, "refused")],
            [("region-api", PARIS, "answers")],
            id="endpoints that refuse",
        ),
        pytest.param(
            "region-api-silent",
            "region:euw3",
            [("region-api", PARIS, "silent")],
            [("region-api", PARIS, "answers")],
            id="endpoints that are silent",
        ),
        pytest.param(
            "events-down",
            "region:euw1",
            [("region-service", IRELAND, "events", "False")],
            [("region-service", IRELAND, "events", "True")],
            id="EventBridge",
        ),
        pytest.param(
            "lambda-down",
            "region:euc1",
            [("region-service", FRANKFURT, "lambda", "False")],
            [("region-service", FRANKFURT, "lambda", "True")],
            id="Lambda",
        ),
    ],
)
def test_it_does_and_undoes(
    name: str, word: str, done: Calls, undone: Calls, tmp_path: Path
) -> None:
    lab, machines = bench()
    FaultRecord(tmp_path).add(inject(lab, name, word))
    assert machines.calls == done

    FaultRecord(tmp_path).heal_all(lab)  # as another process would

    assert machines.calls == done + undone


@pytest.mark.parametrize(
    ("name", "word", "says"),
    [
        ("region-power", "zone:euw1a", "hits a region"),
        ("zone-lost", "region:euw1", "hits a zone"),
        ("observer-lost", "region:euw1", "no observer region; these are: eu-central-1"),
        ("peering-cut", "region:euc1", "no data region; these are: eu-west-1, eu-west-3"),
        ("power-loss", "zone:euw1a", "hits one machine"),
    ],
)
def test_a_target_that_does_not_fit_is_refused(name: str, word: str, says: str) -> None:
    lab, _ = bench()
    with pytest.raises(UsageError, match=says):
        inject(lab, name, word)


def test_a_region_that_goes_only_half_is_put_back() -> None:
    lab, machines = bench(Stubborn())
    with pytest.raises(LabError):
        inject(lab, "region-power", "region:euw3")
    assert machines.calls[-1] == ("region-api", PARIS, RegionApi.ANSWERS.value)


def test_aws_answers_again_although_a_host_does_not_boot() -> None:
    lab, machines = bench(Stubborn())
    done = Injected(
        fault="region-power", target="region:euw3", slot=None, region=PARIS, instance_id=None
    )
    with pytest.raises(LabError, match="does not do it"):
        fault_named("region-power").heal(lab, done)
    assert machines.calls[-1] == ("region-api", PARIS, "answers")


def test_a_flap_has_the_seed_and_the_time_it_was_given() -> None:
    lab, machines = bench()
    target = resolve("region:euw3", slots=slots(), leader=None)
    flapping(seed=42, for_s=120.0).inject(lab, target)
    assert machines.calls == [("flap", PARIS, "42", "120.0")]


def test_what_another_version_wrote_down_can_be_undone(tmp_path: Path) -> None:
    """A record without a zone, as it was written before there were faults of zones."""
    (tmp_path / "faults.json").write_text(
        '[{"fault": "cut-region", "target": "region:euw3", "slot": null,'
        ' "region": "eu-west-3", "instance_id": null}]'
    )
    lab, machines = bench()
    FaultRecord(tmp_path).heal_all(lab)
    assert machines.calls[0] == ("mend", PARIS, IRELAND)
