"""What the young reports of others say of each slot, gathered in one pass over all of them. Pure.

A report says nothing here of its own slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from lambdas.core.report import PeerState, Report


@dataclass(slots=True, kw_only=True)
class HeardOf:
    """The others' word on one slot."""

    silent: list[str] = field(default_factory=list)  # who gets no answer from it
    answered: list[str] = field(default_factory=list)  # who gets one, if only from its host
    alive: bool = False  # its agent answers somebody
    streams: bool = False  # a primary hears its WAL receiver reply, whatever its Patroni says
    writable: bool = False  # its Patroni tells a proxy that it leads
    leads: bool = False  # somebody names it as leader


NOTHING: Final = HeardOf()


def gather_hearsay(young: Mapping[str, Report]) -> Mapping[str, HeardOf]:
    """Slot → what is said of it; absent when nothing is."""
    found: dict[str, HeardOf] = {}
    for teller, report in young.items():
        _peers(teller, report, found)
        leader = None if report.patroni is None else report.patroni.leader
        if leader is not None and leader != teller:
            found.setdefault(leader, HeardOf()).leads = True
        _servers(report, found)
        if report.postgres is None or report.postgres.in_recovery is not False:
            continue
        for row in report.postgres.replication:
            if row.state == "streaming" and row.name != teller:
                found.setdefault(row.name, HeardOf()).streams = True
    return found


def _servers(report: Report, found: dict[str, HeardOf]) -> None:
    """Whose Patroni tells a proxy that it leads."""
    seen = None if report.haproxy is None else report.haproxy.write_backends_up
    for name in seen or ():
        heard = found.setdefault(name, HeardOf())
        heard.writable = heard.leads = True


def _peers(teller: str, report: Report, found: dict[str, HeardOf]) -> None:
    for name, state in report.peers.items():
        if name == teller:
            continue
        heard = found.setdefault(name, HeardOf())
        if state is PeerState.SILENT:
            heard.silent.append(teller)
        elif state is not PeerState.UNKNOWN:
            heard.answered.append(teller)
            heard.alive = heard.alive or state is PeerState.ALIVE
