"""Damage to whole regions and zones: power, the ways between them, what AWS runs there.

Two kinds of isolation: `cut-region` takes every packet, so that the region's reports do not reach the hub;
`region-isolated` and `peering-cut` take only what nodes say to each other, as the loss of a peering does on AWS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lab.control import RegionApi, RegionLink, RegionService
from lab.errors import UsageError
from lab.faults.base import Fault, Injected
from lab.faults.bench import Bench
from lab.faults.hosts import each_link

SEED: Final = 1
FLAPS_FOR_S: Final = 600.0


def _regions(bench: Bench, kind: str) -> tuple[str, ...]:
    """Names of the regions of a kind, `data` or `observer`, as the spec has them."""
    return tuple(str(item["name"]) for item in bench.api.spec()["regions"] if item["kind"] == kind)


def _of_kind(bench: Bench, kind: str, region: str) -> tuple[str, ...]:
    """All regions of the kind. Raises UsageError when this one is of another."""
    found = _regions(bench, kind)
    if region not in found:
        raise UsageError(f"{region} is no {kind} region; these are: {', '.join(found) or 'none'}")
    return found


def _darken(bench: Bench, region: str) -> None:
    """AWS falls silent first, so that nobody sees the hosts go."""
    bench.machines.region_api(region, RegionApi.SILENT)
    bench.machines.power(region, zone=None, on=False)


def _lighten(bench: Bench, done: Injected) -> None:
    """The hosts come first; AWS answers again although one of them does not boot."""
    region = done.region or ""
    try:
        bench.machines.power(region, zone=None, on=True)
    finally:
        bench.machines.region_api(region, RegionApi.ANSWERS)


def _darken_observer(bench: Bench, region: str) -> None:
    _of_kind(bench, "observer", region)
    _darken(bench, region)


def _zone_off(bench: Bench, zone: str) -> None:
    bench.machines.power(zone[:-1], zone=zone, on=False)


def _zone_on(bench: Bench, done: Injected) -> None:
    bench.machines.power(done.region or "", zone=done.zone, on=True)


def _isolate(bench: Bench, region: str) -> None:
    each_link(bench, RegionLink.CUT_PEERING, region)


def _join(bench: Bench, done: Injected) -> None:
    each_link(bench, RegionLink.MEND_PEERING, done.region or "")


def _part(bench: Bench, region: str) -> None:
    first, second = _of_kind(bench, "data", region)
    bench.machines.region_link(RegionLink.CUT_PEERING, first, second)


def _rejoin(bench: Bench, _: Injected) -> None:
    first, second = _regions(bench, "data")
    bench.machines.region_link(RegionLink.MEND_PEERING, first, second)


def _calm(bench: Bench, done: Injected) -> None:
    bench.machines.calm(done.region or "")
    each_link(bench, RegionLink.MEND, done.region or "")


def flapping(*, seed: int, for_s: float) -> Fault:
    """The fault `region-flap` by this seed, for so long."""
    return Fault(
        name="region-flap",
        describe="the region is cut off and mended again and again, 20 to 60 s each",
        default_target="region:euw3",
        do_region=lambda bench, region: bench.machines.flap(region, seed=seed, for_s=for_s),
        put_back=_calm,
    )


def _api(api: RegionApi) -> Callable[[Bench, str], None]:
    return lambda bench, region: bench.machines.region_api(region, api)


def _api_back(bench: Bench, done: Injected) -> None:
    bench.machines.region_api(done.region or "", RegionApi.ANSWERS)


def _stop(service: RegionService) -> Callable[[Bench, str], None]:
    return lambda bench, region: bench.machines.region_service(region, service, running=False)


def _run(service: RegionService) -> Callable[[Bench, Injected], None]:
    return lambda bench, done: bench.machines.region_service(
        done.region or "", service, running=True
    )


REGION_POWER: Final = Fault(
    name="region-power",
    describe="every host of the region loses power, and AWS there falls silent",
    default_target="region:euw3",
    do_region=_darken,
    put_back=_lighten,
)
OBSERVER_LOST: Final = Fault(
    name="observer-lost",
    describe="the observer region loses power: the witness, the hub and the healer are gone",
    default_target="region:euc1",
    do_region=_darken_observer,
    put_back=_lighten,
)
ZONE_LOST: Final = Fault(
    name="zone-lost",
    describe="every host of the zone loses power, and EC2 launches and attaches nothing there",
    default_target="zone:euw1a",
    do_zone=_zone_off,
    put_back=_zone_on,
)
REGION_ISOLATED: Final = Fault(
    name="region-isolated",
    describe="the region's nodes reach no node of another region; all of them reach AWS",
    default_target="region:euw3",
    do_region=_isolate,
    put_back=_join,
)
PEERING_CUT: Final = Fault(
    name="peering-cut",
    describe="nodes of the two data regions do not reach each other; both reach the observer and AWS",
    default_target="region:euw3",
    do_region=_part,
    put_back=_rejoin,
)
REGION_FLAP: Final = flapping(seed=SEED, for_s=FLAPS_FOR_S)
API_REFUSED: Final = Fault(
    name="region-api-refused",
    describe="AWS's endpoints in the region refuse connections, and what AWS runs there stands still",
    default_target="region:euw3",
    do_region=_api(RegionApi.REFUSED),
    put_back=_api_back,
)
API_SILENT: Final = Fault(
    name="region-api-silent",
    describe="AWS's endpoints in the region do not answer, and what AWS runs there stands still",
    default_target="region:euw3",
    do_region=_api(RegionApi.SILENT),
    put_back=_api_back,
)
EVENTS_DOWN: Final = Fault(
    name="events-down",
    describe="EventBridge of the region takes no events and delivers none",
    default_target="region:euw3",
    do_region=_stop(RegionService.EVENTS),
    put_back=_run(RegionService.EVENTS),
)
LAMBDA_DOWN: Final = Fault(
    name="lambda-down",
    describe="Lambda of the region runs nothing new: in the observer region, that is the healer",
    default_target="region:euc1",
    do_region=_stop(RegionService.LAMBDA),
    put_back=_run(RegionService.LAMBDA),
)

FAULTS: Final = (
    REGION_POWER,
    OBSERVER_LOST,
    ZONE_LOST,
    REGION_ISOLATED,
    PEERING_CUT,
    REGION_FLAP,
    API_REFUSED,
    API_SILENT,
    EVENTS_DOWN,
    LAMBDA_DOWN,
)
