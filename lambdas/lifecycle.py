"""Emptying the cluster before OpenTofu destroys what it owns. It must never run without the closed mark."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lambdas.core.model import Instance, InstanceState, Volume
from lambdas.errors import FatalError, RetryableError
from lambdas.observe import World
from lambdas.run import Clock

POLL_S = 2.0


def refuse_if_protected(request: Mapping[str, Any]) -> None:
    """Raises FatalError unless the request says that the cluster may be emptied.

    A replaced or moved invocation asks for a delete like a destroy does. What it was last applied with decides: only a
    person who said so beforehand means it.
    """
    if request.get("deletion_protection") is not False:
        raise FatalError(
            "the cluster is protected and nothing was touched; to empty it and lose its disks, apply with"
            " deletion_protection=false, then destroy"
        )


def empty(
    world: World, *, clock: Clock, remaining_s: Callable[[], float], final_snapshot: bool
) -> dict[str, object]:
    """End every instance, wait until EC2 says terminated, delete current disks. Raises RetryableError past the time."""
    world.table.set_closed(closed=True)
    ended: set[str] = set()
    while alive := _alive(world):
        for instance in alive:
            if instance.state is not InstanceState.SHUTTING_DOWN:
                world.ec2[instance.region].terminate(instance.instance_id)
                ended.add(instance.instance_id)
        if remaining_s() < 3 * POLL_S:
            names = ", ".join(sorted(i.instance_id for i in alive))
            raise RetryableError(
                f"not terminated in time: {names}; the cluster stays closed: destroy again, or raise the variable"
                " opening and apply to have it filled again"
            )
        clock.sleep(POLL_S)
    deleted, left = [], []
    for region, volume in _volumes(world):
        if final_snapshot:
            left.append(
                world.ec2[region].snapshot(volume.volume_id, description=f"final {volume.slot}")
            )
        world.ec2[region].delete_volume(volume.volume_id)
        deleted.append(volume.volume_id)
    world.table.forget_birth()
    return {"version": 1, "ok": True, "ended": sorted(ended), "deleted": deleted, "left": left}


def _alive(world: World) -> list[Instance]:
    return [
        i
        for ec2 in world.ec2.values()
        for i in ec2.instances()
        if i.state is not InstanceState.TERMINATED
    ]


def _volumes(world: World) -> list[tuple[str, Volume]]:
    """Current ones only: what was set aside may hold the only good copy of something, and is a person's."""
    return [
        (region, v)
        for region, ec2 in world.ec2.items()
        for v in ec2.volumes(changes=False)
        if not v.set_aside
    ]
