"""What systemd hears of Patroni, and what PostgreSQL may do without it: a thread of its own in Patroni's process.

Every second it ends a PostgreSQL whose lease is over (`fence`) and tells systemd's watchdog that the process lives; a
process that stands still tells nothing, and is killed and started again before its lease ends. The thread asks for the
same when the process lives and the leader's HA loop does not. Why and how long: docs/patroni-guard.md.

Nothing that goes wrong in the thread ends it, and nothing keeps it from its word to systemd.
"""
# It stands in for methods of Patroni's classes: it has their signatures and uses what they use.
# ruff: noqa: ANN401, FBT001, SLF001

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn, Protocol

from node_agent.guard.fence import Found, Lease, Record, fence, now
from node_agent.guard.journal import ERROR, WARNING, say
from node_agent.guard.leadership import Standing

TICK_S = 1.0
RESTART_S = 1.0  # RestartSec of patroni.service
START_S = 4.0  # from exec to the first renewal, on a busy machine
LOOP_BACK_S = (
    TICK_S + RESTART_S + START_S
)  # a leader's loop that stands still needs this to be back
COPY_USEC = (
    60_000_000  # nothing hangs on a copy, and a kill would leave its rewind or clone half done
)
ALIVE, TRIGGER = "WATCHDOG=1", "WATCHDOG=trigger"
ADDRESS, PATIENCE = "NOTIFY_SOCKET", "WATCHDOG_USEC"
# systemd's words for this process; PostgreSQL would inherit them, and send words of its own.
SYSTEMD = (ADDRESS, PATIENCE, "WATCHDOG_PID")
Send = Callable[[str], None]


class Ha(Protocol):
    """The part of `patroni.ha.Ha` used here."""

    dcs: Any
    state_handler: Any

    def is_failsafe_mode(self) -> bool:
        """Whether a leader may go on without a lease while every member agrees."""


class Keeper:
    """What the HA loop last said of its lease, and the thread that goes by it."""

    def __init__(
        self,
        send: Send,
        record: Record | None,
        *,
        leader_usec: int = 0,
        clock: Callable[[], float] = now,
    ) -> None:
        """`leader_usec` is systemd's patience with a leader, which it has at the start; 0 leaves it as it is."""
        self._send, self._record, self._clock = send, record, clock
        self._leader_usec = self._granted_usec = leader_usec
        self.paused: Callable[[], bool] = lambda: False  # until Patroni's word is known
        self._lock = threading.Lock()
        self._lease = record.read() if record else None
        self._slow_s = 0.0
        self._renewals = 0  # in a row, by this process
        self._stopping = 0  # calls that are stopping PostgreSQL
        self._stood_s = 0.0  # since the last renewal, as far as this thread was awake
        self._last = clock()  # up to when the time that the loop stood is counted
        self._complaint = ""

    # what the HA loop says

    def renewed(self, lease: Lease, *, slow_s: float) -> None:
        """The lease was renewed. A loop that is merely slow lets `slow_s` pass until it says so again."""
        with self._lock:
            self._lease, self._slow_s = lease, slow_s
            self._renewals += 1
            self._stood_s, self._last = 0.0, self._clock()
            if self.paused():
                self._try(self._forget)
            elif self._record is not None:
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
        """One look, one word to systemd, whatever comes of the look."""
        word = self._try(self._look) or ALIVE
        self._try(self._tell, word)

    def _look(self) -> str:
        at = self._clock()
        with self._lock:
            # A host that was frozen counts as one long tick: its loop has had no more time than this thread.
            self._stood_s += min(at - self._last, 2 * TICK_S)
            self._last = at
            # In pause PostgreSQL runs on without a lease, and whoever promotes one means it.
            if self._lease is not None and self.paused():
                self._try(self._forget)
            lease, stuck = self._lease, self._stuck(at)
        if lease is not None:
            self._try(self._fence, lease, at)
        return TRIGGER if stuck else ALIVE

    def _stuck(self, at: float) -> bool:
        """Whether a leader's loop stands still and a restart would be in time for the lease.

        Not in a process whose first cycle never ended: restarts would keep a lease for a leader that cannot lead.
        """
        if self._lease is None or not self._lease.ends - LOOP_BACK_S <= at < self._lease.ends:
            return False
        leads = self._renewals > 1 and not self._stopping
        return leads and self._stood_s >= self._slow_s

    def _fence(self, lease: Lease, at: float) -> None:
        found = fence(lease, at=at)
        if found is Found.ENDED:
            say(WARNING, "the lease is over: PostgreSQL, which took writes, is ended")
        if found is Found.NOTHING:
            with self._lock:
                if self._lease is lease:
                    self._forget()

    def _forget(self) -> None:
        """The lease is of no use any more; what runs as a primary later is none of its business. Holds the lock."""
        self._lease = None
        if self._record is not None:
            self._record.forget()

    def _tell(self, word: str) -> None:
        """A word, and with it systemd's patience, when that is to be another."""
        wanted = self._leader_usec
        if wanted and self._lease is None:
            wanted = max(wanted, COPY_USEC)
        other = wanted != self._granted_usec
        self._send(f"{word}\n{PATIENCE}={wanted}" if other else word)
        self._granted_usec = wanted

    def _try(self, what: Callable[..., Any], *args: Any) -> Any:
        """Say once what goes wrong, and go on: neither a leader nor this thread ends for it. None is no answer."""
        try:
            return what(*args)
        except Exception as error:  # noqa: BLE001 - without this thread systemd kills Patroni
            complaint = f"{what.__name__}: {error!r}"
            if complaint != self._complaint:
                say(ERROR, f"{complaint}; it is tried again")
            self._complaint = complaint
            return None


def start(environ: MutableMapping[str, str], *, fenced: bool) -> Keeper | None:
    """The keeper and its thread, where systemd wants to hear of this process; else None.

    Not `fenced`, it only tells systemd that the process lives.
    """
    address, usec = environ.get(ADDRESS), environ.get(PATIENCE, "")
    for word in SYSTEMD:
        environ.pop(word, None)
    record = Record.of(environ)
    if record is not None and not fenced:
        record.forget()
    if not address:
        return None
    if fenced:
        leader_usec = int(usec) if usec.isdecimal() else 0
        keeper = Keeper(to_systemd(address), record, leader_usec=leader_usec)
    else:
        keeper = Keeper(to_systemd(address), None)
    threading.Thread(target=keeper.run, name="pgmend-alive", daemon=True).start()
    return keeper


def to_systemd(address: str, *, patience_s: float = 0.0) -> Send:
    """Sends a word to its notification socket; raises OSError rather than wait for longer."""

    def send(message: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(patience_s)
            client.connect("\0" + address[1:] if address.startswith("@") else address)
            client.send(message.encode())

    return send


def install(ha: ModuleType, keeper: Keeper) -> None:
    """Wrap the methods of `patroni.ha`'s `Ha` that know of the lease and of PostgreSQL's end."""
    keeper.paused = lambda: bool(ha.global_config.is_paused)
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
        dcs = ha.dcs
        # In failsafe mode it may be the members' word that lets it go on, and not etcd's.
        since = now() if ha.is_failsafe_mode() else Standing.of(dcs).renewed_at
        lease = Lease(data_dir=str(ha.state_handler.data_dir), ends=since + dcs.ttl)
        keeper.renewed(lease, slow_s=dcs.loop_wait + 3 * dcs._retry.deadline)

    return set_and_tell


def stopping(method: Callable[..., Any], keeper: Keeper) -> Callable[..., Any]:
    """A method of Patroni's that stops PostgreSQL, with the keeper told so."""

    def stop(ha: Ha, *args: Any, **kwargs: Any) -> Any:
        with keeper.stopping():
            return method(ha, *args, **kwargs)

    return stop
