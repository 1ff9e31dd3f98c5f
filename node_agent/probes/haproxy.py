"""HAProxy through its statistics socket."""

from __future__ import annotations

import csv
import socket
from typing import Any

UNKNOWN: dict[str, Any] = {
    "up": False,
    "write_backends_up": None,
    "read_backends_up": None,
    "backends": {},
}
SOCKET = "/run/haproxy/admin.sock"


def parse(text: str) -> dict[str, Any]:
    """The report's `haproxy` from `show stat`, read by column names; what is no table is no answer."""
    try:
        rows = list(csv.DictReader(text.lstrip("# ").splitlines()))
    except csv.Error:
        return dict(UNKNOWN)
    servers = [row for row in rows if row.get("svname") not in ("FRONTEND", "BACKEND", None)]

    def up(backend: str) -> list[str]:
        return [
            str(row["svname"])
            for row in servers
            if row.get("pxname") == backend and str(row.get("status", "")).startswith("UP")
        ]

    return {
        "up": True,
        "write_backends_up": up("writes"),
        "read_backends_up": up("reads"),
        "backends": {
            str(row["svname"]): str(row.get("status", ""))
            for row in servers
            if row.get("pxname") == "writes"
        },
    }


def probe(timeout_s: float, path: str = SOCKET) -> dict[str, Any]:
    """Ask the socket; unknown when it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout_s)
            client.connect(path)
            client.sendall(b"show stat\n")
            chunks = []
            while chunk := client.recv(65536):
                chunks.append(chunk)
    except OSError:
        return dict(UNKNOWN)
    return parse(b"".join(chunks).decode(errors="replace"))
