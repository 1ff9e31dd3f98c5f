"""What systemd hears of Patroni, and what PostgreSQL may do without it: a thread of its own in Patroni's process.

Every second it ends a PostgreSQL whose lease is over (`fence`) and tells systemd's watchdog that the process lives; a
process that stands still tells nothing, and is killed and started again before its lease ends. The thread asks for the
same when the process lives and the leader's HA loop does not. Why and how long: docs/patroni-guard.md.
"""
# It stands in for methods of Patroni's classes: it has their signatures and uses what they use.
# ruff: noqa: ANN401, FBT001

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn, Protocol

from node_agent.guard.fence import Lease, Record, fence, now
from node_agent.guard.journal import ERROR, WARNING, say

TICK_S = 1.0
RESTART_S = 1.0  # RestartSec of patroni.service
START_S = 4.0  # from exec to the first renewal, on a busy machine
LOOP_BACK_S = (
    TICK_S + RESTART_S + START_S
)  # a leader's loop that stands still needs this to be back
ALIVE, TRIGGER = "WATCHDOG=1", "WATCHDOG=trigger"
ADDRESS = "NOTIFY_SOCKET"
# systemd's words for this process; PostgreSQL would inherit them, and send words of its own.
SYSTEMD = (ADDRESS, "WATCHDOG_USEC", "WATCHDOG_PID")
Send = Callable[[str], None]


class Ha(Protocol):
    """The part of `patroni.ha.Ha` used here."""

    dcs: Any
    state_handler: Any

    def is_paused(self) -> bool:
        """Maintenance mode."""


class Keeper:
    """What the HA loop last said of its lease, and the thread that goes by it."""

    def __init__(
        self, send: Send, record: Record | None, *, clock: Callable[[], float] = now
    ) -> None:
        self._send, self._record, self._clock = send, record, clock
        self._lock = threading.Lock()
        self._lease = record.read() if record else None
        self._ttl = 0.0
        self._renewals = 0  # in a row, by this process
        self._stopping = 0  # calls that are stopping PostgreSQL
        self._stood_s = 0.0  # since the last renewal, as far as this thread was awake
        self._last = clock()  # up to when the time that the loop stood is counted
        self._complaint = ""

    # what the HA loop says

    def renewed(self, lease: Lease, *, ttl: float) -> None:
        """The lease was renewed a moment ago."""
        with self._lock:
            self._lease, self._ttl = lease, ttl
            self._renewals += 1
            self._stood_s, self._last = 0.0, self._clock()
        if self._record is not None:
            self._try(self._record.write, lease)

    def lost(self) -> None:
        """This member does not lead. The lease it had stays known: PostgreSQL may not have heard yet."""
        with self._lock:
            self._renewals = 0

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """While Patroni stops PostgreSQL its loop waits, and is not to be helped."""
        with self._lock:
            self._stopping += 1
        try:
            yield
        finally:
            with self._lock:
                self._stopping -= 1

    # what the thread does

    def run(self) -> NoReturn:
        """For as long as the process lives."""
        while True:
            self.tick()
            time.sleep(TICK_S)

    def tick(self) -> None:
        """One look, one word to systemd."""
        at = self._clock()
        with self._lock:
            # A host that was frozen counts as one long tick: its loop has had no more time than this thread.
            self._stood_s += min(at - self._last, 2 * TICK_S)
            self._last = at
            lease, stuck = self._lease, self._stuck(at)
        self._try(self._fence, lease, at)
        self._try(self._send, TRIGGER if stuck else ALIVE)

    def _stuck(self, at: float) -> bool:
        """Whether a leader's loop stands still and a restart would be in time for the lease.

        Not in a process whose first cycle never ended: restarts would keep a lease for a leader that cannot lead.
        """
        if self._lease is None or self._lease.ends is None or at >= self._lease.ends:
            return False
        leads = self._renewals > 1 and not self._stopping
        return leads and self._stood_s >= self._ttl - LOOP_BACK_S

    @staticmethod
    def _fence(lease: Lease | None, at: float) -> None:
        if fence(lease, at=at):
            say(WARNING, "the lease is over: PostgreSQL, which took writes, is ended")

    def _try(self, what: Callable[..., None], *args: Any) -> None:
        """Say once what the system refuses, and go on: neither a leader nor this thread ends for it."""
        try:
            what(*args)
        except OSError as error:
            complaint = f"{what.__name__}: {error}"
            if complaint != self._complaint:
                say(ERROR, f"{complaint}; it is tried again")
            self._complaint = complaint


def start(environ: MutableMapping[str, str], *, fenced: bool) -> Keeper | None:
    """The keeper and its thread, where systemd wants to hear of this process; else None.

    Not `fenced`, it only tells systemd that the process lives.
    """
    address = environ.get(ADDRESS)
    for word in SYSTEMD:
        environ.pop(word, None)
    record = Record.of(environ)
    if record is not None and not fenced:
        record.forget()
    if not address:
        return None
    keeper = Keeper(to_systemd(address), record if fenced else None)
    threading.Thread(target=keeper.run, name="pgmend-alive", daemon=True).start()
    return keeper


def to_systemd(address: str) -> Send:
    """Sends a word to its notification socket; raises OSError rather than wait."""

    def send(message: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(0)
            client.connect("\0" + address[1:] if address.startswith("@") else address)
            client.send(message.encode())

    return send


def install(ha: ModuleType, keeper: Keeper) -> None:
    """Wrap the methods of `patroni.ha`'s `Ha` that know of the lease and of PostgreSQL's end."""
    stock = ha.Ha
    stock.set_is_leader = telling(stock.set_is_leader, keeper)
    stock.demote = stopping(stock.demote, keeper)
    stock.shutdown = stopping(stock.shutdown, keeper)


def telling(set_is_leader: Callable[[Any, bool], None], keeper: Keeper) -> Callable[..., None]:
    """Patroni's `set_is_leader`, called at every renewal and at every loss, which tells the keeper."""

    def set_and_tell(ha: Ha, value: bool) -> None:
        set_is_leader(ha, value)
        if not value:
            keeper.lost()
            return
        ends = None if ha.is_paused() else now() + ha.dcs.ttl
        keeper.renewed(Lease.of(ha.state_handler.data_dir, ends=ends), ttl=ha.dcs.ttl)

    return set_and_tell


def stopping(method: Callable[..., Any], keeper: Keeper) -> Callable[..., Any]:
    """A method of Patroni's that stops PostgreSQL, with the keeper told so."""

    def stop(ha: Ha, *args: Any, **kwargs: Any) -> Any:
        with keeper.stopping():
            return method(ha, *args, **kwargs)

    return stop
