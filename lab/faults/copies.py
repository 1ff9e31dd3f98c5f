"""Damage to copies: what keeps a replica from following its leader, and what keeps a leader from forgetting.

Damage of a few steps is done while the healer only watches, so that it meets the whole of it.
"""

from __future__ import annotations

from typing import Final

from lab.errors import LabError
from lab.faults.base import Fault, Injected
from lab.faults.bench import Bench
from lab.operator import Occupant, Slot

DATA: Final = "/var/lib/pgmend/postgresql/data"
BIN: Final = "/usr/lib/postgresql/17/bin"
AS_POSTGRES: Final = "runuser -u postgres --"
LAG_MIB: Final = 48
REPLAYER: Final = "pkill --signal {} --full '^postgres: .*startup '"
HOARD_MIB: Final = 1200  # the healer's limit is 1 GiB on the lab's disks
CHUNK_MIB: Final = 40  # commits wait for what is on its way to the copies before them
CLOSE_BEHIND: Final = (
    "SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn)), 0) < 4194304"
    " FROM pg_stat_replication"
)
HOARDER: Final = "lab_hoarder"
PROMOTED_S: Final = 60.0
RECYCLED_S: Final = 60.0
FORKED_MIB: Final = 20
RECYCLED_MIB: Final = 24
KEEP_LITTLE: Final = {"max_slot_wal_keep_size": "32MB", "wal_keep_size": "16MB"}
# No transaction, so nobody waits for a copy.
WAL: Final = "SELECT count(pg_logical_emit_message(false, 'lab', repeat('x', 1048576)))"
NO_START: Final = f"""
systemctl stop patroni
printf "shared_buffers = 'as much as there is'\\n" >>{DATA}/postgresql.auto.conf
systemctl start patroni
"""
# WAL that nobody else has: what sends it to the copies stands still, then everything ends at once.
FORK: Final = f"""
pkill -STOP -f '^postgres: .*walsender'
psql() {{ {AS_POSTGRES} psql -XAtq "$@"; }}
psql -c "STATEMENT" >/dev/null
systemctl kill --signal=STOP --kill-whom=main patroni
postmaster=$(head -n 1 {DATA}/postmaster.pid)
pkill -KILL -P "$postmaster" || true
kill -KILL "$postmaster"
systemctl kill --signal=KILL --kill-whom=main patroni
systemctl stop patroni
"""
# A copy that starts and cannot become consistent: the WAL it needs to get there is gone here, and nobody sends it.
# Patroni comes to a server that is starting already, and waits.
STUCK: Final = f"""
control() {{ {AS_POSTGRES} {BIN}/pg_controldata {DATA} | sed -n "s/^$1: *//p"; }}
systemctl kill --signal=STOP --kill-whom=main patroni
postmaster=$(head -n 1 {DATA}/postmaster.pid)
kill -KILL "$postmaster"
while pgrep -u postgres -f '^postgres: ' >/dev/null; do sleep 0.1; done
redo=$(control "Latest checkpoint's REDO WAL file")
end=$(control "Minimum recovery ending location")
last=$(printf '%s%08X%08X' "${{redo:0:8}}" "0x${{end%/*}}" "$((0x${{end#*/}} >> 24))")
[[ "$last" > "$redo" ]] || {{ echo "the copy needs no WAL beyond $redo to start" >&2; exit 1; }}
for file in {DATA}/pg_wal/0*; do
  name=${{file##*/}}
  if [[ ! "$name" < "$last" ]]; then rm -f "$file"; fi
done
printf "primary_conninfo = 'host=127.0.0.1 port=9 user=nobody'\\n" >>{DATA}/postgresql.conf
rm -f {DATA}/postmaster.pid
systemd-run --quiet --collect --unit=lab-postgres --uid=postgres --gid=postgres \\
  /bin/sh -c "exec $(cat {DATA}/postmaster.opts)"
systemctl kill --signal=KILL --kill-whom=main patroni
"""
# No clone succeeds on this host: the program that makes them fails.
NO_CLONE: Final = f"""
systemctl stop patroni
[ -e /root/pg_basebackup.lab ] || cp -pL {BIN}/pg_basebackup /root/pg_basebackup.lab
rm -f {BIN}/pg_basebackup
printf '#!/bin/sh\\necho "lab: no clone today" >&2\\nexit 1\\n' >{BIN}/pg_basebackup
chmod 755 {BIN}/pg_basebackup
find {DATA} -mindepth 1 -delete
systemctl start patroni
"""
CLONE_AGAIN: Final = (
    f"if [ -e /root/pg_basebackup.lab ]; then rm -f {BIN}/pg_basebackup;"
    f" mv /root/pg_basebackup.lab {BIN}/pg_basebackup; fi"
)
PATRONI_ON: Final = "systemctl start patroni"


def emit_wal(bench: Bench, slot: str, mib: int) -> None:
    """So much WAL on the slot that leads."""
    bench.sql(slot, wal(mib))


def wal(mib: int) -> str:
    """The statement that writes so much WAL."""
    return f"{WAL} FROM generate_series(1, {mib})"


def replayed_everything(bench: Bench, leader: str, copy: str) -> None:
    """Wait until the copy has replayed all that its leader has now. Raises LabError."""
    at = bench.sql(leader, "SELECT pg_current_wal_lsn()")
    ask = f"SELECT pg_last_wal_replay_lsn() >= '{at}'"
    bench.until(
        lambda: bench.sql(copy, ask) == "t", f"{copy} has replayed everything", within_s=30.0
    )


def _lag(bench: Bench, occupant: Occupant, _: Slot) -> None:
    """The process that replays stands still; a replay that is merely paused Patroni resumes."""
    bench.shell(occupant.instance_id, REPLAYER.format("STOP"))
    emit_wal(bench, bench.leading(), LAG_MIB)


def _replay(bench: Bench, done: Injected) -> None:
    bench.shell(done.instance_id or "", REPLAYER.format("CONT"))


def _no_start(bench: Bench, occupant: Occupant, _: Slot) -> None:
    with bench.observing():
        bench.shell(occupant.instance_id, NO_START, timeout_s=90.0)


def _lose_slot(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    """While the copy is away its leader keeps little WAL and writes much."""
    leader = bench.leading()
    with bench.observing():
        bench.shell(occupant.instance_id, "systemctl stop patroni", timeout_s=90.0)
        try:
            for name, size in KEEP_LITTLE.items():
                bench.sql(leader, f"ALTER SYSTEM SET {name} = '{size}'")
            bench.sql(leader, "SELECT pg_reload_conf()")
            bench.until(
                lambda: _recycled(bench, leader, slot.name), "WAL gone", within_s=RECYCLED_S
            )
        finally:
            for name in KEEP_LITTLE:
                bench.sql(leader, f"ALTER SYSTEM RESET {name}")
            bench.sql(leader, "SELECT pg_reload_conf()")
        bench.shell(occupant.instance_id, PATRONI_ON)


def _recycled(bench: Bench, leader: str, slot: str) -> bool:
    """After some more WAL, which the copies that are there get first: it is not their WAL that shall be gone."""
    emit_wal(bench, leader, RECYCLED_MIB)
    bench.sql(leader, "SELECT pg_switch_wal()")
    _others_keep_up(bench, leader)
    bench.sql(leader, "CHECKPOINT")
    name = slot.replace("-", "_")
    ask = f"SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{name}'"  # noqa: S608 - a slot's name
    return bench.sql(leader, ask) == "lost"


def _others_keep_up(bench: Bench, leader: str) -> None:
    bench.until(lambda: bench.sql(leader, CLOSE_BEHIND) == "t", "the copies keep up", within_s=30.0)


def _diverge(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    """The leader goes with WAL of its own, another leads, and the first comes back."""
    with bench.observing():
        bench.shell(occupant.instance_id, FORK.replace("STATEMENT", wal(FORKED_MIB)))
        try:
            bench.until(
                lambda: bench.leader() not in {None, slot.name},
                "another member leads",
                within_s=PROMOTED_S,
            )
        finally:
            bench.shell(occupant.instance_id, PATRONI_ON)


def _stick(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    leader = bench.leading()
    with bench.observing():
        bench.sql(leader, "CHECKPOINT")
        replayed_everything(bench, leader, slot.name)
        bench.sql(slot.name, "CHECKPOINT")
        # A table that goes makes the copy note how far it has come, in a later file than the checkpoint's.
        bench.sql(leader, "CREATE TABLE IF NOT EXISTS lab_stuck (n int)")
        bench.sql(leader, "SELECT pg_switch_wal()")
        bench.sql(leader, "DROP TABLE lab_stuck")
        replayed_everything(bench, leader, slot.name)
        bench.shell(occupant.instance_id, STUCK)


def _no_clone(bench: Bench, occupant: Occupant, _: Slot) -> None:
    with bench.observing():
        bench.shell(occupant.instance_id, NO_CLONE, timeout_s=90.0)


def _clone_again(bench: Bench, done: Injected) -> None:
    bench.shell(done.instance_id or "", CLONE_AGAIN)


def _hoard(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    """A slot that Patroni is told to leave alone, as for a backup tool that is gone."""
    _ignore_slots(bench, occupant.instance_id, f'[{{"name": "{HOARDER}", "type": "physical"}}]')
    bench.sql(slot.name, f"SELECT pg_create_physical_replication_slot('{HOARDER}', true)")
    for _ in range(HOARD_MIB // CHUNK_MIB):
        emit_wal(bench, slot.name, CHUNK_MIB)
        _others_keep_up(bench, slot.name)


def _forget(bench: Bench, done: Injected) -> None:
    """The setting is the cluster's: whoever leads now takes it back."""
    leader = bench.leader()
    if leader is None:
        raise LabError("no database leads now, so the hoarding slot could not be dropped")
    _ignore_slots(bench, bench.occupant_of(leader).instance_id, "null")
    del done
    bench.sql(
        leader,
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"  # noqa: S608 - a constant
        f" WHERE slot_name = '{HOARDER}' AND NOT active",
    )


def _ignore_slots(bench: Bench, instance_id: str, value: str) -> None:
    config = ("patronictl", "-c", "/etc/patroni/config.yml")
    change = ("edit-config", "--quiet", "--force", "--set", f"ignore_slots={value}")
    bench.command(instance_id, *config, *change)


REPLICA_LAGGING: Final = Fault(
    name="replica-lagging",
    describe="the copy receives WAL and does not replay it",
    default_target="replica",
    do=_lag,
    undo=_replay,
    roles=("db",),
)
REPLICA_BROKEN: Final = Fault(
    name="replica-broken",
    describe="the copy's PostgreSQL does not start: a setting of its own makes no sense",
    default_target="replica",
    do=_no_start,
    roles=("db",),
)
WAL_GONE: Final = Fault(
    name="wal-gone",
    describe="the leader has given up the WAL that the copy needs next: its slot is lost",
    default_target="replica",
    do=_lose_slot,
    roles=("db",),
)
DIVERGED: Final = Fault(
    name="diverged",
    describe="the leader dies with WAL that nobody else has, and comes back under another one",
    default_target="leader",
    do=_diverge,
    roles=("db",),
)
REPLICA_STUCK: Final = Fault(
    name="replica-stuck",
    describe="the copy's PostgreSQL starts and never becomes consistent",
    default_target="replica",
    do=_stick,
    roles=("db",),
)
REINIT_LOOP: Final = Fault(
    name="reinit-loop",
    describe="the copy is gone, and every clone on this host fails",
    default_target="replica",
    do=_no_clone,
    undo=_clone_again,
    roles=("db",),
)
WAL_HOARDED: Final = Fault(
    name="wal-hoarded",
    describe="a replication slot that nobody reads keeps more and more of the leader's WAL",
    default_target="leader",
    do=_hoard,
    put_back=_forget,
    roles=("db",),
)

FAULTS: Final = (
    REPLICA_LAGGING,
    REPLICA_BROKEN,
    WAL_GONE,
    DIVERGED,
    REPLICA_STUCK,
    REINIT_LOOP,
    WAL_HOARDED,
)
