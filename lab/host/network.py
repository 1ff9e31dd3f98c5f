"""The lab's network: a router a region, a routed /32 link a machine, a leg of this computer into each region."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from lab.errors import LabError
from lab.host import cgroups
from lab.host.paths import Paths
from lab.host.shell import attempt, ip_batch, tool
from lab.host.wan import MTU
from lab.ports import API_PORT, REGIONS, MachineSpec, Region

GATEWAY = "169.254.1.1"
METADATA = "169.254.169.254"
API_RULE = 100  # priority, before the router's table is asked


def router(region: Region) -> str:
    """Name of the region's router namespace."""
    return f"pgm-{region.short}"


def namespace(instance_id: str) -> str:
    """Name of a machine's namespace."""
    return f"pgm-{instance_id}"


def link(instance_id: str) -> str:
    """Name of the router's end of a machine's link (15 characters at most)."""
    return f"v{instance_id[-12:]}"


def region_of(name: str) -> Region:
    """The region of that name."""
    return next(region for region in REGIONS if region.name == name)


class Network:
    """Makes and unmakes regions and links; implements `lab.ports.RegionSwitch`."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._socket = paths.run / "wan.sock"
        self._wan: subprocess.Popen[bytes] | None = None

    def up(self) -> None:
        """Routers, legs and the wide-area network."""
        for region in REGIONS:
            self._router(region)
        self._start_wan()
        for region in REGIONS:
            others = [other.cidr for other in REGIONS if other is not region]
            lines = [
                f"link set wan0 up mtu {MTU}",
                *(f"route add {cidr} dev wan0" for cidr in others),
            ]
            ip_batch(lines, namespace=router(region))

    def _router(self, region: Region) -> None:
        name, host_end = router(region), f"pgmh-{region.short}"
        inner = f"169.254.2.{REGIONS.index(region) + 1}"
        tool(["ip", "netns", "add", name])
        sysctls = (
            "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.default.rp_filter=0",
        )
        tool(["ip", "netns", "exec", name, "sysctl", "-qw", *sysctls])
        ip_batch(
            [
                f"link add {host_end} mtu {MTU} type veth peer name host0 netns {name} mtu {MTU}",
                f"addr add {region.host_address}/32 dev {host_end}",
                f"link set {host_end} up",
            ]
        )
        ip_batch(
            [
                "link set lo up",
                f"addr add {inner}/32 dev host0",
                "link set host0 up",
                f"route add {region.host_address}/32 dev host0",
                # An address nobody has now answers with silence, as in a VPC, and not with "unreachable".
                f"route add blackhole {region.cidr}",
            ],
            namespace=name,
        )
        ip_batch(
            [f"route add {region.cidr} via {inner} dev {host_end} onlink src {region.host_address}"]
        )
        # Answers to another region's nodes leave by that region's leg, so the way in and out may differ.
        Path(f"/proc/sys/net/ipv4/conf/{host_end}/rp_filter").write_text("0")

    def _start_wan(self) -> None:
        specs = [f"{r.name}:{router(r)}:{r.cidr}:{r.host_address}" for r in REGIONS]
        self._wan = subprocess.Popen(
            [sys.executable, "-m", "lab.host.wan", str(self._socket), *specs],
            preexec_fn=lambda: cgroups.enter("wan"),  # noqa: PLW1509 - single-threaded at this point
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(OSError):
                self._say("ping")
                return
            if self._wan.poll() is not None:
                break
            time.sleep(0.02)
        raise LabError("the wide-area network did not start; see the lab's log")

    def down(self) -> None:
        """End the wide-area network; routers and legs are removed by the sweep."""
        if self._wan is not None:
            self._wan.kill()
            self._wan.wait()
            self._wan = None

    def _say(self, text: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            own = f"\0pgmend-{os.getpid()}-{time.monotonic_ns()}"
            client.bind(own)
            client.settimeout(5)
            client.connect(str(self._socket))
            client.send(text.encode())
            answer = client.recv(512).decode()
        if answer != "ok":
            raise LabError(answer)

    def cut(self, first: str, second: str) -> None:
        """No packet passes between two regions."""
        self._say(f"cut {first} {second}")

    def mend(self, first: str, second: str) -> None:
        """Packets pass again."""
        self._say(f"mend {first} {second}")

    def cut_peering(self, first: str, second: str) -> None:
        """Nodes of two regions do not reach each other; AWS's endpoints stay within reach of both."""
        self._say(f"cut-peering {first} {second}")

    def mend_peering(self, first: str, second: str) -> None:
        """They reach each other again, unless the regions are cut."""
        self._say(f"mend-peering {first} {second}")

    def set_way_to_aws(self, region: str, *, reachable: bool) -> None:
        """Whether packets from the region's nodes to AWS's API, in whichever region, get further than their router."""
        there = region_of(region)
        rule = ["priority", str(API_RULE), "from", there.cidr, "ipproto", "tcp"]
        rule += ["dport", str(API_PORT), "blackhole"]
        where = ["ip", "-n", router(there), "rule"]
        while attempt([*where, "del", *rule]):
            pass  # one that was added twice
        if not reachable:
            tool([*where, "add", *rule])

    def set_delay(self, first: str, second: str, *, one_way_ms: float) -> None:
        """Delay each way."""
        self._say(f"delay {first} {second} {one_way_ms}")

    def plug_in(self, spec: MachineSpec) -> None:
        """Namespace and link of a machine."""
        region, name, end = (
            region_of(spec.region),
            namespace(spec.instance_id),
            link(spec.instance_id),
        )
        tool(["ip", "netns", "add", name])
        ip_batch(
            [
                f"link add {end} mtu {MTU} type veth peer name eth0 netns {name} mtu {MTU} address {spec.mac}"
            ],
            namespace=router(region),
        )
        ip_batch(
            [
                f"addr add {GATEWAY}/32 dev {end}",
                f"link set {end} up",
                f"route replace {spec.address}/32 dev {end}",
            ],
            namespace=router(region),
        )
        ip_batch(
            [
                "link set lo up",
                f"addr add {METADATA}/32 dev lo",
                f"addr add {spec.address}/32 dev eth0",
                "link set eth0 up",
                f"route add default via {GATEWAY} dev eth0 onlink",
            ],
            namespace=name,
        )

    def set_link(self, spec: MachineSpec, *, up: bool) -> None:
        """The machine's cable. The router's end goes, so that nothing inside can undo it."""
        end, where = link(spec.instance_id), router(region_of(spec.region))
        if not up:
            attempt(["ip", "-n", where, "link", "set", end, "down"])
            return
        ip_batch(
            [f"link set {end} up", f"route replace {spec.address}/32 dev {end}"], namespace=where
        )

    def unplug(self, instance_id: str) -> None:
        """Remove namespace and link."""
        for region in REGIONS:
            attempt(["ip", "-n", router(region), "link", "del", link(instance_id)])
        attempt(["ip", "netns", "del", namespace(instance_id)])
