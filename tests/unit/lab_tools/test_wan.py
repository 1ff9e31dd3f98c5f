"""The wide-area network: what a cut takes, what a cut peering takes, and that each has its own way back."""

from __future__ import annotations

import ipaddress
import random

import pytest

from lab.host.wan import DELAY_MS, Direction, Wan
from lab.ports import REGIONS

IRELAND, PARIS, FRANKFURT = (region.name for region in REGIONS)
NODES = {IRELAND: "10.10.10.11", PARIS: "10.20.10.11", FRANKFURT: "10.30.10.41"}
AWS = {region.name: region.host_address for region in REGIONS}


def packet(source: str, target: str) -> bytes:
    """An IPv4 header and something in it."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    return b"\x45" + bytes(11) + addresses + b"hello"


class Net:
    def __init__(self) -> None:
        self.wan = Wan({region.name: region.cidr for region in REGIONS}, AWS.values())
        self.now = 100.0

    def says(self, *commands: str) -> None:
        for command in commands:
            assert self.wan.command(command) == "ok"

    def way(self, source: str, target: str) -> Direction:
        return self.wan.ways[self.wan.names.index(source), self.wan.names.index(target)]

    def sends(self, source: str, address: str) -> None:
        index = self.wan.names.index(source)
        self.wan.receive(index, packet(NODES[source], address), self.now)

    def arrives(self, source: str, target: str) -> list[bytes]:
        self.now += DELAY_MS / 1000
        return self.way(source, target).due(self.now)

    def passes(self, source: str, target: str, address: str) -> bool:
        self.sends(source, address)
        return bool(self.arrives(source, target))


@pytest.fixture
def net() -> Net:
    random.seed(1)
    return Net()


def both(net: Net, first: str, second: str) -> tuple[bool, bool]:
    """Whether a node of the first reaches a node, and AWS, of the second."""
    return net.passes(first, second, NODES[second]), net.passes(first, second, AWS[second])


def test_everything_passes_on_a_good_day(net: Net) -> None:
    assert both(net, IRELAND, PARIS) == (True, True)


def test_a_cut_takes_everything_both_ways_and_no_other_way(net: Net) -> None:
    net.says(f"cut {IRELAND} {PARIS}")
    assert both(net, IRELAND, PARIS) == (False, False)
    assert both(net, PARIS, IRELAND) == (False, False)
    assert both(net, IRELAND, FRANKFURT) == (True, True)


def test_a_cut_peering_takes_what_nodes_say_to_each_other_and_leaves_aws(net: Net) -> None:
    net.says(f"cut-peering {IRELAND} {PARIS}")
    assert both(net, IRELAND, PARIS) == (False, True)
    assert both(net, PARIS, IRELAND) == (False, True)
    assert both(net, PARIS, FRANKFURT) == (True, True)


def test_what_aws_says_to_a_node_passes_a_cut_peering(net: Net) -> None:
    net.says(f"cut-peering {IRELAND} {PARIS}")
    index = net.wan.names.index(IRELAND)
    net.wan.receive(index, packet(AWS[IRELAND], NODES[PARIS]), net.now)
    assert net.arrives(IRELAND, PARIS)


@pytest.mark.parametrize(
    ("verb", "to_node", "to_aws"), [("cut", False, False), ("cut-peering", False, True)]
)
def test_what_is_under_way_is_lost_as_well(
    net: Net, verb: str, to_node: bool, to_aws: bool
) -> None:
    net.sends(IRELAND, NODES[PARIS])
    net.says(f"{verb} {IRELAND} {PARIS}")
    assert bool(net.arrives(IRELAND, PARIS)) is to_node
    net.says(f"mend {IRELAND} {PARIS}", f"mend-peering {IRELAND} {PARIS}")
    net.sends(IRELAND, AWS[PARIS])
    net.says(f"{verb} {IRELAND} {PARIS}")
    assert bool(net.arrives(IRELAND, PARIS)) is to_aws


def test_each_is_mended_by_its_own_word(net: Net) -> None:
    net.says(f"cut {IRELAND} {PARIS}", f"cut-peering {IRELAND} {PARIS}")
    net.says(f"mend {IRELAND} {PARIS}")
    assert both(net, IRELAND, PARIS) == (False, True)
    net.says(f"cut {IRELAND} {PARIS}", f"mend-peering {IRELAND} {PARIS}")
    assert both(net, IRELAND, PARIS) == (False, False)
    net.says(f"mend {IRELAND} {PARIS}", f"mend {IRELAND} {PARIS}")
    assert both(net, IRELAND, PARIS) == (True, True)


def test_an_unknown_word_or_region_is_a_sentence(net: Net) -> None:
    assert "not understood" in net.wan.command(f"cut-peering {IRELAND} mars")
    assert "not understood" in net.wan.command(f"cut-peering {IRELAND} {PARIS} 3")
