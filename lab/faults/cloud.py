"""What AWS refuses or no longer answers: capacity, quotas, throttling, credentials, a region's way, a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lab.faults.base import Fault, Injected
from lab.faults.bench import Bench, said
from lab.operator import Occupant, Slot

BUNDLE: Final = "node-bundle.tar.gz"
HIDDEN: Final = "hidden-by-the-lab/" + BUNDLE


def first_type(bench: Bench, slot: str) -> str | None:
    """The instance type the slot is launched with as long as there is capacity; None where the spec names none."""
    types = _of_spec(bench, slot).get("instance_types") or ()
    return str(types[0]) if types else None


def _of_spec(bench: Bench, slot: str) -> Mapping[str, Any]:
    return next(item for item in bench.api.spec()["slots"] if item["name"] == slot)


def _no_capacity(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    bench.machines.refuse_launches(
        "InsufficientInstanceCapacity", instance_type=first_type(bench, slot.name)
    )
    bench.api.terminate(occupant.instance_id, slot.region)


def _no_capacity_at_all(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    bench.machines.refuse_launches("InsufficientInstanceCapacity")
    bench.api.terminate(occupant.instance_id, slot.region)


def _throttle(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    bench.machines.refuse_launches("RequestLimitExceeded")
    bench.api.terminate(occupant.instance_id, slot.region)


def _allow(bench: Bench, done: Injected) -> None:
    del done
    bench.machines.allow_launches()


def _expire(bench: Bench, occupant: Occupant, _: Slot) -> None:
    bench.machines.credentials(occupant.instance_id, valid=False)


def _renew(bench: Bench, done: Injected) -> None:
    bench.machines.credentials(done.instance_id or "", valid=True)


def _cut_off(bench: Bench, region: str) -> None:
    bench.machines.way_to_aws(region, reachable=False)


def _join_again(bench: Bench, done: Injected) -> None:
    bench.machines.way_to_aws(done.region or "", reachable=True)


def _bucket(bench: Bench, region: str) -> str:
    regions = bench.api.spec()["regions"]
    return str(next(item["bucket"] for item in regions if item["name"] == region))


def _hide_bundle(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    """The next instance finds nothing to install, and never speaks."""
    s3, bucket = bench.aws("s3", slot.region), _bucket(bench, slot.region)
    with said("hide the node bundle"):
        s3.copy_object(Bucket=bucket, Key=HIDDEN, CopySource={"Bucket": bucket, "Key": BUNDLE})
        s3.delete_object(Bucket=bucket, Key=BUNDLE)
    bench.api.terminate(occupant.instance_id, slot.region)


def _show_bundle(bench: Bench, done: Injected) -> None:
    region = done.region or ""
    s3, bucket = bench.aws("s3", region), _bucket(bench, region)
    with said("show the node bundle again"):
        if s3.list_objects_v2(Bucket=bucket, Prefix=HIDDEN).get("KeyCount"):
            s3.copy_object(Bucket=bucket, Key=BUNDLE, CopySource={"Bucket": bucket, "Key": HIDDEN})
            s3.delete_object(Bucket=bucket, Key=HIDDEN)


NO_CAPACITY: Final = Fault(
    name="no-capacity",
    describe="the instance is ended, and AWS has no capacity of its type",
    default_target="replica",
    do=_no_capacity,
    put_back=_allow,
)
NO_CAPACITY_AT_ALL: Final = Fault(
    name="no-capacity-at-all",
    describe="the instance is ended, and AWS has no capacity of any type",
    default_target="haproxy",
    do=_no_capacity_at_all,
    put_back=_allow,
)
THROTTLED: Final = Fault(
    name="throttled",
    describe="the instance is ended, and EC2 answers every launch with RequestLimitExceeded",
    default_target="haproxy",
    do=_throttle,
    put_back=_allow,
)
CREDENTIALS: Final = Fault(
    name="credentials-expired",
    describe="the instance's credentials have expired, and no new ones come",
    default_target="replica",
    do=_expire,
    undo=_renew,
)
BOOT_STUCK: Final = Fault(
    name="boot-stuck",
    describe="the instance is ended, and the next one finds nothing to install",
    default_target="haproxy",
    do=_hide_bundle,
    put_back=_show_bundle,
)
REGION_CUT_OFF: Final = Fault(
    name="region-cut-off",
    describe="the region's nodes do not reach AWS, and all of them run on",
    default_target="region:euw3",
    do_region=_cut_off,
    put_back=_join_again,
)

FAULTS: Final = (
    NO_CAPACITY,
    NO_CAPACITY_AT_ALL,
    THROTTLED,
    CREDENTIALS,
    BOOT_STUCK,
    REGION_CUT_OFF,
)
