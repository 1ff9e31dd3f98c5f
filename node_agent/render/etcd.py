"""/etc/default/etcd, which the packaged unit reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node_agent.membership import client_address, peer_url
from node_agent.spec import Spec

DATA_DIR = "/var/lib/pgmend/etcd"
# Patroni demotes a leader that cannot renew its lock for retry_timeout (3 s): an election has to fit in. Regions of one
# continent answer within 30 ms, a third of the heartbeat.
HEARTBEAT_MS, ELECTION_MS = 100, 1000
QUOTA_BYTES = 1024**3
NEW, EXISTING = "new", "existing"
JOINED_TOKEN = "joined"  # noqa: S105 - etcd uses the token only to tell new clusters apart


def environment(slot: Mapping[str, Any], *, initial_cluster: str, state: str, token: str) -> str:
    """The unit's environment. The `initial` values count only while the directory is empty."""
    client = f"http://{client_address(slot)}"
    values = {
        "ETCD_NAME": slot["name"],
        "ETCD_DATA_DIR": DATA_DIR,
        "ETCD_LISTEN_PEER_URLS": peer_url(slot),
        "ETCD_LISTEN_CLIENT_URLS": f"{client},http://127.0.0.1:2379",
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": peer_url(slot),
        "ETCD_ADVERTISE_CLIENT_URLS": client,
        "ETCD_INITIAL_CLUSTER": initial_cluster,
        "ETCD_INITIAL_CLUSTER_STATE": state,
        "ETCD_INITIAL_CLUSTER_TOKEN": token,
        "ETCD_HEARTBEAT_INTERVAL": HEARTBEAT_MS,
        "ETCD_ELECTION_TIMEOUT": ELECTION_MS,
        "ETCD_PRE_VOTE": "true",
        "ETCD_STRICT_RECONFIG_CHECK": "true",
        "ETCD_QUOTA_BACKEND_BYTES": QUOTA_BYTES,
        "ETCD_AUTO_COMPACTION_MODE": "periodic",
        "ETCD_AUTO_COMPACTION_RETENTION": "30m",
        "ETCD_SNAPSHOT_COUNT": 10000,
        "ETCD_MAX_SNAPSHOTS": 3,
        "ETCD_MAX_WALS": 3,
    }
    head = "# Written by pgmend-node configure; changes are overwritten.\n"
    return head + "".join(f'{name}="{value}"\n' for name, value in values.items())


def spec_cluster(spec: Spec) -> str:
    """The voters a new cluster starts with."""
    return ",".join(f"{voter['name']}={peer_url(voter)}" for voter in spec.voters)
