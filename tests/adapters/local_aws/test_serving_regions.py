"""What the lab's daemon does when it is asked for whole regions, over the local AWS and a network on paper."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import pytest

from lab.control import LabStatus, RegionApi, RegionLink, RegionService
from lab.errors import UsageError
from lab.host.host import Host
from lab.serve import RunningLab
from tests.adapters.local_aws.setting import OBSERVER, OTHER_REGION, REGION, Local

STATUS = LabStatus(
    pid=1, started_at=2.0, size="minimal", durability="region", clock="fast", directory="/lab"
)


class PaperNetwork:
    """Remembers what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []

    def cut(self, first: str, second: str) -> None:
        self.calls.append(("cut", first, second))

    def mend(self, first: str, second: str) -> None:
        self.calls.append(("mend", first, second))

    def cut_peering(self, first: str, second: str) -> None:
        self.calls.append(("cut_peering", first, second))

    def mend_peering(self, first: str, second: str) -> None:
        self.calls.append(("mend_peering", first, second))


class PaperHost:
    def __init__(self) -> None:
        self.network = PaperNetwork()


@pytest.fixture
def host() -> PaperHost:
    return PaperHost()


@pytest.fixture
def running(local: Local, host: PaperHost) -> Iterator[RunningLab]:
    whole = replace(local.aws, listeners=local.regional)
    running = RunningLab(cast("Host", host), whole, STATUS, lambda: None)
    yield running
    running.close()
    for region in (REGION, OTHER_REGION, OBSERVER):
        running.region_api(region, RegionApi.ANSWERS)
        running.power(region, zone=None, on=True)
        for service in RegionService:
            running.region_service(region, service, running=True)


@pytest.mark.parametrize(
    ("link", "verb"),
    [
        (RegionLink.CUT, "cut"),
        (RegionLink.MEND, "mend"),
        (RegionLink.CUT_PEERING, "cut_peering"),
        (RegionLink.MEND_PEERING, "mend_peering"),
    ],
)
def test_a_link_is_changed_by_its_own_word(
    running: RunningLab, host: PaperHost, link: RegionLink, verb: str
) -> None:
    running.region_link(link, REGION, OTHER_REGION)
    assert host.network.calls == [(verb, REGION, OTHER_REGION)]


def test_all_that_is_out_is_said_and_nothing_when_it_is_back(running: RunningLab) -> None:
    running.region_api(OTHER_REGION, RegionApi.SILENT)
    running.power(OTHER_REGION, zone=None, on=False)
    running.region_service(OBSERVER, RegionService.LAMBDA, running=False)
    running.flap(REGION, seed=3, for_s=600.0)
    assert running.outages() == [
        "AWS's endpoints in eu-west-3 are silent",
        "Lambda in eu-central-1 is stopped",
        "no host in eu-west-3 has power",
        "eu-west-1 flaps: cut and mended by turns, seed 3",
    ]
    running.calm(REGION)
    running.power(OTHER_REGION, zone=None, on=True)
    running.region_api(OTHER_REGION, RegionApi.ANSWERS)
    running.region_service(OBSERVER, RegionService.LAMBDA, running=True)
    assert running.outages() == []


def test_a_flap_ends_mended_when_the_lab_ends(running: RunningLab, host: PaperHost) -> None:
    running.flap(REGION, seed=3, for_s=600.0)
    running.close()
    assert not [one for one in threading.enumerate() if one.name == f"flap {REGION}"]
    assert host.network.calls[-2:] == [
        ("mend", REGION, OTHER_REGION),
        ("mend", REGION, OBSERVER),
    ]


@pytest.mark.parametrize("region", ["mars", "", "euw1"])
def test_a_region_that_there_is_not_is_refused(running: RunningLab, region: str) -> None:
    asked: tuple[Callable[[], None], ...] = (
        lambda: running.region_api(region, RegionApi.SILENT),
        lambda: running.region_service(region, RegionService.EVENTS, running=False),
        lambda: running.power(region, zone=None, on=False),
        lambda: running.flap(region, seed=1, for_s=1.0),
        lambda: running.calm(region),
    )
    for ask in asked:
        with pytest.raises(UsageError, match="the regions are eu-west-1"):
            ask()
    assert running.outages() == []


def test_a_zone_of_another_region_is_refused(running: RunningLab) -> None:
    with pytest.raises(UsageError, match="eu-west-3a is no zone of eu-west-1"):
        running.power(REGION, zone=f"{OTHER_REGION}a", on=False)
