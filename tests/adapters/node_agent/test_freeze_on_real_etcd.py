"""The lab's way to etcd in a freeze trial, against a real etcd of three members."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from lab.errors import LabError
from lab.freeze.etcd import LEADER_KEY, EtcdMembers, LeaderKey
from tests.adapters.node_agent.conftest import Cluster
from tests.unit.lab_tools.fakes import slots

A, B, C = "db-euw1-a", "db-euw3-a", "witness-euc1-a"


class Gateways:
    """The spec's addresses, led to the cluster on loopback."""

    def __init__(self, cluster: Cluster) -> None:
        addresses = {slot.name: slot.address for slot in slots()}
        self._real = {
            f"http://{addresses[name]}:2379": url
            for name, url in zip((A, B, C), cluster.urls, strict=True)
        }

    def __call__(self, url: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        base, _, path = url.partition("/v3")
        answer = requests.post(f"{self._real[base]}/v3{path}", json=body, timeout=3)
        return answer.json() if answer.ok else None

    def put(self, name: str) -> str:
        lease = str((self(next(iter(self._real)) + "/v3/lease/grant", {"TTL": 60}) or {})["ID"])
        key, value = (base64.b64encode(word.encode()).decode() for word in (LEADER_KEY, name))
        self(next(iter(self._real)) + "/v3/kv/put", {"key": key, "value": value, "lease": lease})
        return lease


@pytest.mark.parametrize("slot", [B, A, C])
def test_etcds_leader_goes_where_it_is_told(cluster: Cluster, slot: str) -> None:
    cluster.wait()
    etcd = EtcdMembers(slots(), Gateways(cluster))

    etcd.move_leader(slot)

    assert etcd.leader() == slot


def test_a_revoked_lease_takes_the_leader_key_with_it(cluster: Cluster) -> None:
    cluster.wait()
    gateways = Gateways(cluster)
    etcd = EtcdMembers(slots(), gateways)
    assert etcd.leader_key(without=A) is None
    lease = gateways.put(B)
    assert etcd.leader_key(without=A) == LeaderKey(name=B, lease=lease)

    etcd.revoke(lease, without=A)

    assert etcd.leader_key(without=A) is None
    with pytest.raises(LabError):
        etcd.revoke(lease, without=A)
