"""Whether other nodes are there: the agents' own port, 8009, asked from every node and answered by every agent.

A host whose kernel answers but whose agent does not is `refused`; one that accepts and stays mute (frozen) is `silent`.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PORT = 8009


def ask(address: str, timeout_s: float) -> str:
    """alive, refused or silent."""
    try:
        with socket.create_connection((address, PORT), timeout=timeout_s) as client:
            client.settimeout(timeout_s)
            return "alive" if client.recv(64).startswith(b"pgmend ") else "silent"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "silent"


class Peers:
    """What became of each peer and for how long it has been so."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._since: dict[str, tuple[str, float]] = {}
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="peers")

    def probe(self, addresses: Mapping[str, str], now: float) -> dict[str, dict[str, Any]]:
        """Ask all at once; slot → state and seconds in it."""
        asked = {name: self._pool.submit(ask, a, self._timeout_s) for name, a in addresses.items()}
        return {name: self.note(name, future.result(), now) for name, future in asked.items()}

    def note(self, name: str, state: str, now: float) -> dict[str, Any]:
        """Remember since when."""
        before = self._since.get(name)
        if before is None or before[0] != state:
            self._since[name] = before = (state, now)
        return {"state": state, "for_s": round(now - before[1], 1)}


class _Answer(socketserver.BaseRequestHandler):
    server: Responder

    def handle(self) -> None:
        """One line, then close."""
        self.request.sendall(self.server.line)


class Responder(socketserver.TCPServer):
    """Answers peers from one thread."""

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: str, slot: str, instance_id: str) -> None:
        self.line = f"pgmend 1 {slot} {instance_id}\n".encode()
        super().__init__((address, PORT), _Answer)

    def start(self) -> None:
        """Serve in the background."""
        threading.Thread(target=self.serve_forever, daemon=True, name="responder").start()
