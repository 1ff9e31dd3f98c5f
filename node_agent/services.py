"""Which units a node runs, by its role: the one table of them."""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.spec import Spec

AGENT, DISK, ETCD = "pgmend-agent", "pgmend-disk", "etcd"
# What makes the node what it is. A witness is etcd alone, and whether a slot votes is the spec's to say.
OWN: Mapping[str, tuple[str, ...]] = {
    "db": ("patroni",),
    "witness": (),
    "haproxy": ("haproxy",),
    "app": ("pgmend-app",),
}
DATA_ROLES = frozenset({"db", "witness"})  # have a disk, and may vote


def of_slot(spec: Spec, slot: str) -> tuple[str, ...]:
    """Units that serve others from this slot."""
    found = spec.slots[slot]
    own = OWN[found["role"]]
    return (*own, ETCD) if found["etcd_voter"] else own


def all_of(role: str) -> tuple[str, ...]:
    """Every unit that a node of the role may have, in the order in which they start; needs no spec."""
    data = (DISK, ETCD) if role in DATA_ROLES else ()
    return (AGENT, *data, *OWN[role])
