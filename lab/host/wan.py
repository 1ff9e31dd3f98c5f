"""The wide-area network between the regions, in user space: delay, cuts and loss between TUN devices.

Run as `python -m lab.host.wan SOCKET name:namespace:cidr:aws ...`; one process for all regions; `aws` is the address of
the region's AWS endpoints. It never looks inside a packet beyond its addresses. Control is by datagrams on SOCKET:
`cut A B`, `mend A B`, `cut-one-way A B`, `cut-peering A B`, `mend-peering A B`, `delay A B MS`, `loss A B PERCENT`,
`ping`; each is answered with `ok` or a sentence.

A cut takes everything, as if a region were alone in the world. A cut peering takes what nodes say to each other; what
they say to AWS's endpoints passes, as on AWS, where that goes over another network. The two do not know of each other:
each is mended by its own word.
"""

from __future__ import annotations

import ctypes
import fcntl
import ipaddress
import os
import random
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
PACKETS_MAX = 20000
MTU = 8500
DELAY_MS = 12.0


@dataclass(slots=True)
class Direction:
    """Packets on their way from one region to another, oldest first."""

    delay_s: float = DELAY_MS / 1000
    cut: bool = False
    peering_cut: bool = False
    loss: float = 0.0
    aws: frozenset[bytes] = frozenset()  # addresses of AWS's endpoints at both ends
    queue: deque[tuple[float, bytes]] = field(default_factory=deque)

    def push(self, packet: bytes, now: float, draw: float) -> bool:
        """Take a packet in; False when it is dropped."""
        if self._takes(packet) or draw < self.loss or len(self.queue) >= PACKETS_MAX:
            return False
        self.queue.append((now + self.delay_s, packet))
        return True

    def _takes(self, packet: bytes) -> bool:
        """Whether a cut takes the packet."""
        if not self.peering_cut:
            return self.cut
        return self.cut or self.aws.isdisjoint((packet[12:16], packet[16:20]))

    def due(self, now: float) -> list[bytes]:
        """Packets whose time has come; a cut loses what is under way."""
        out = []
        while self.queue and self.queue[0][0] <= now:
            packet = self.queue.popleft()[1]
            if not self._takes(packet):
                out.append(packet)
        return out


class Wan:
    """Every direction between every two regions."""

    def __init__(self, cidrs: dict[str, str], aws: Iterable[str] = ()) -> None:
        self.names = list(cidrs)
        endpoints = frozenset(ipaddress.ip_address(address).packed for address in aws)
        self._nets = [ipaddress.ip_network(cidr) for cidr in cidrs.values()]
        self._prefix = {int(net.network_address) >> 16: n for n, net in enumerate(self._nets)}
        self.ways = {
            (a, b): Direction(aws=endpoints)
            for a in range(len(self.names))
            for b in range(len(self.names))
            if a != b
        }

    def receive(self, source: int, packet: bytes, now: float) -> None:
        """A packet came out of a region's router."""
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return
        target = self._prefix.get(struct.unpack_from("!H", packet, 16)[0])
        if target is not None and target != source:
            self.ways[source, target].push(packet, now, random.random())  # noqa: S311 - packet loss

    def next_due(self) -> float | None:
        """When the next packet is due."""
        heads = [way.queue[0][0] for way in self.ways.values() if way.queue]
        return min(heads, default=None)

    def command(self, text: str) -> str:
        """Carry out one control command."""
        words = text.split()
        if words == ["ping"]:
            return "ok"
        if len(words) < 3 or words[1] not in self.names or words[2] not in self.names:
            return f"not understood: {text!r}; regions are {', '.join(self.names)}"
        a, b = self.names.index(words[1]), self.names.index(words[2])
        both = [self.ways[a, b], self.ways[b, a]]
        if not _change(words[0], words[3:], both):
            return f"not understood: {text!r}"
        return "ok"


def _change(verb: str, rest: list[str], both: list[Direction]) -> bool:
    """Do to the directions what a command says, the first one first; False when it says nothing known."""
    match verb, rest:
        case "cut", []:
            changes: dict[str, object] = {"cut": True}
        case "mend", []:
            changes = {"cut": False, "loss": 0.0}
        case "cut-peering", []:
            changes = {"peering_cut": True}
        case "mend-peering", []:
            changes = {"peering_cut": False}
        case "cut-one-way", []:
            changes, both = {"cut": True}, both[:1]
        case "delay", [ms]:
            changes = {"delay_s": float(ms) / 1000}
        case "loss", [percent]:
            changes = {"loss": float(percent) / 100}
        case _:
            return False
    for way in both:
        for name, value in changes.items():
            setattr(way, name, value)
    return True


def open_tun(namespace: str) -> int:
    """A TUN device `wan0` in a network namespace; the descriptor stays usable here."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(there, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"wan0", IFF_TUN | IFF_NO_PI))
        if libc.setns(home, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns back")
    finally:
        os.close(home)
        os.close(there)
    return tun


def serve(wan: Wan, tuns: list[int], control: socket.socket) -> None:
    """Move packets until killed."""
    poll = select.poll()
    of = {fd: n for n, fd in enumerate(tuns)}
    for fd in (*tuns, control.fileno()):
        poll.register(fd, select.POLLIN)
    while True:
        due = wan.next_due()
        wait_ms = None if due is None else max(0.0, (due - time.monotonic()) * 1000)
        for fd, _ in poll.poll(wait_ms):
            if fd in of:
                _drain(wan, fd, of[fd])
            else:
                text, sender = control.recvfrom(512)
                if sender:
                    control.sendto(wan.command(text.decode()).encode(), sender)
        now = time.monotonic()
        for (_, target), way in wan.ways.items():
            for packet in way.due(now):
                try:
                    os.write(tuns[target], packet)
                except BlockingIOError:
                    break  # the router's queue is full: what a full link does is drop


def _drain(wan: Wan, fd: int, source: int) -> None:
    now = time.monotonic()
    for _ in range(256):
        try:
            wan.receive(source, os.read(fd, 65535), now)
        except BlockingIOError:
            return


def main(argv: list[str]) -> None:
    """Entry point."""
    path, specs = Path(argv[0]), [spec.split(":") for spec in argv[1:]]
    tuns = [open_tun(namespace) for _, namespace, _, _ in specs]
    path.unlink(missing_ok=True)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    control.bind(str(path))
    wan = Wan({name: cidr for name, _, cidr, _ in specs}, [aws for _, _, _, aws in specs])
    serve(wan, tuns, control)


if __name__ == "__main__":
    main(sys.argv[1:])
