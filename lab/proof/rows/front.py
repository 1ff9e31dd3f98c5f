"""HAProxy and the app: down, blind, or without a host. And a node whose documents fail."""

from __future__ import annotations

from typing import Final

from lab.proof.scenario import Row, Scenario, blow

REFILL_WITHOUT_DISK: Final = ("launch", "configure")
ROWS: Final[tuple[Row, ...]] = (
    Scenario(
        name="haproxy-down",
        row="HAProxy down",
        blows=blow("stop-service", "haproxy"),
        called=("service-down",),
        must=("restart-service:haproxy",),
        full_s=60.0,
    ),
    Scenario(
        name="haproxy-blind",
        row="HAProxy blind",
        blows=blow("haproxy-blind", "haproxy"),
        called=("haproxy-blind",),
        must=("restart-service:haproxy",),
        full_s=75.0,
    ),
    Scenario(
        name="haproxy-host-lost",
        row="HAProxy's host lost",
        blows=blow("power-loss", "haproxy"),
        must=("terminate", *REFILL_WITHOUT_DISK),
        full_s=75.0,
    ),
    Scenario(
        name="app-down",
        row="app container down",
        blows=blow("stop-service", "app"),
        called=("service-down", "app-not-ready"),
        must=("restart-service:pgmend-app",),
        full_s=60.0,
    ),
    Scenario(
        name="app-host-lost",
        row="app's host lost",
        blows=blow("power-loss", "app"),
        must=("terminate", *REFILL_WITHOUT_DISK),
        full_s=75.0,
    ),
    Scenario(
        name="document-failed",
        row="document failed",
        blows=blow("node-command-broken", "haproxy"),
        called=("service-down",),
        must=("restart-service:haproxy",),
        stands_s=60.0,
        mended_on=("restart-service:haproxy failed",),
        full_s=90.0,
    ),
    Scenario(
        name="document-timed-out",
        row="document timed out",
        blows=blow("node-command-hangs", "haproxy"),
        called=("service-down",),
        must=("restart-service:haproxy",),
        stands_s=180.0,  # the document has two minutes, and SSM some seconds more to say that they are over
        mended_on=("restart-service:haproxy failed",),
        full_s=90.0,
    ),
)
