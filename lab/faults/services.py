"""Damage to what a node runs: its services, its agent, its clock, the command that documents call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lab.faults.base import Fault, Injected
from lab.faults.bench import Bench
from lab.operator import Occupant, Slot

SERVICE: Final[Mapping[str, str]] = {
    "db": "patroni",
    "haproxy": "haproxy",
    "witness": "etcd",
    "app": "pgmend-app",
}
# The first line of the file is the pid; where the data lies is the node's business.
KILL_POSTGRES: Final = (
    "find /var/lib/pgmend/postgresql -maxdepth 4 -name postmaster.pid"
    " -exec head -qn 1 {} + | head -n 1 | xargs kill -KILL"
)
# The proxy that runs checks a port on which nobody speaks HTTP; its file is as it was, so a restart sees again.
# Its master reads the file before it makes a new worker.
BLIND: Final = """
cd /etc/haproxy
main=$(systemctl show -P MainPID haproxy)
workers=$(pgrep -P "$main" || true)
cp -p haproxy.cfg /root/haproxy.cfg.lab
sed -i 's/check port 8008/check port 8009/' haproxy.cfg
systemctl reload haproxy
for _ in $(seq 100); do
  if [ "$(pgrep -P "$main" || true)" != "$workers" ]; then break; fi
  sleep 0.1
done
cp -p /root/haproxy.cfg.lab haproxy.cfg
"""
NODE: Final = "/opt/pgmend/bin/pgmend-node"
KEPT: Final = "/root/pgmend-node.lab"
# LINES is filled in: what the node's command is from now on.
REPLACE_COMMAND: Final = f"""
[ -e {KEPT} ] || cp -p {NODE} {KEPT}
printf '#!/bin/sh\\nLINES\\n' >{NODE}.new
chmod 755 {NODE}.new
mv {NODE}.new {NODE}
"""
BREAK_COMMAND: Final = REPLACE_COMMAND.replace(
    "LINES", 'echo "lab: this command is broken" >&2\\nexit 1'
)
# It goes as soon as the node is mended, so that none is left behind.
HANG_COMMAND: Final = REPLACE_COMMAND.replace(
    "LINES", f"while [ -e {KEPT} ]; do sleep 1; done\\nexit 1"
)
MEND_COMMAND: Final = f"if [ -e {KEPT} ]; then mv {KEPT} {NODE}; fi"
CLOCK_UNITS: Final = "pgmend-agent patroni"
CLOCK_OFF_BY: Final = "+3h"
# UNITS and CLOCK are filled in. Deadlines and leases go by the monotonic clock, which no error of a real clock touches.
WRONG_CLOCK: Final = (
    "lib=$(find /usr/lib -path '*/faketime/libfaketime.so.1' | head -n 1)\n"
    '[ -n "$lib" ] || { echo "libfaketime is not in the node image" >&2; exit 1; }\n'
    "for unit in UNITS; do\n"
    "  mkdir -p /etc/systemd/system/$unit.service.d\n"
    "  printf '[Service]\\nEnvironment=LD_PRELOAD=%s FAKETIME=CLOCK FAKETIME_DONT_FAKE_MONOTONIC=1"
    ' FAKETIME_DONT_RESET=1\\n\' "$lib"'
    " >/etc/systemd/system/$unit.service.d/lab-clock.conf\n"
    "done\n"
    "systemctl daemon-reload\n"
    "systemctl restart UNITS\n"
)
RIGHT_CLOCK: Final = (
    "rm -f /etc/systemd/system/*.service.d/lab-clock.conf\n"
    "systemctl daemon-reload\n"
    "systemctl restart UNITS\n"
)


def main_service(bench: Bench, done: Injected) -> str:
    """The service that makes the slot what it is."""
    return SERVICE[bench.slot(done.slot or "").role]


def _stop_service(bench: Bench, occupant: Occupant, slot: Slot) -> None:
    bench.command(occupant.instance_id, "systemctl", "stop", SERVICE[slot.role])


def _start_service(bench: Bench, done: Injected) -> None:
    bench.command(done.instance_id or "", "systemctl", "start", main_service(bench, done))


def _shell(script: str) -> Callable[[Bench, Occupant, Slot], None]:
    def do(bench: Bench, occupant: Occupant, _: Slot) -> None:
        bench.shell(occupant.instance_id, script)

    return do


def _shell_back(script: str) -> Callable[[Bench, Injected], None]:
    def undo(bench: Bench, done: Injected) -> None:
        bench.shell(done.instance_id or "", script)

    return undo


def _spoil_command(script: str) -> Callable[[Bench, Occupant, Slot], None]:
    """The node's command is another from now on, and the healer gets a reason to call it."""

    def do(bench: Bench, occupant: Occupant, slot: Slot) -> None:
        bench.shell(occupant.instance_id, script)
        bench.command(occupant.instance_id, "systemctl", "stop", SERVICE[slot.role])

    return do


STOP_SERVICE: Final = Fault(
    name="stop-service",
    describe="the main service of the node is stopped",
    default_target="haproxy",
    do=_stop_service,
    undo=_start_service,
)
STOP_AGENT: Final = Fault(
    name="stop-agent",
    describe="the node agent is stopped, all else runs on",
    default_target="replica",
    do=_shell("systemctl stop pgmend-agent"),
    undo=_shell_back("systemctl start pgmend-agent"),
)
POSTGRES_KILL: Final = Fault(
    name="postgres-kill",
    describe="the postmaster is killed",
    default_target="leader",
    do=_shell(KILL_POSTGRES),
    roles=("db",),
)
PATRONI_KILL: Final = Fault(
    name="patroni-kill",
    describe="Patroni's process is killed, PostgreSQL runs on",
    default_target="leader",
    do=_shell("systemctl kill --signal=KILL --kill-whom=main patroni"),
    roles=("db",),
)
PATRONI_HANG: Final = Fault(
    name="patroni-hang",
    describe="Patroni's process stands still, PostgreSQL runs on",
    default_target="replica",
    do=_shell("systemctl kill --signal=STOP --kill-whom=main patroni"),
    undo=_shell_back("systemctl kill --signal=CONT --kill-whom=main patroni"),
    roles=("db",),
)
PATRONI_MUTE: Final = Fault(
    name="patroni-mute",
    describe="Patroni's process stands still, and systemd's watchdog does not see to it",
    default_target="replica",
    do=_shell(
        "systemctl service-watchdogs no; systemctl kill --signal=STOP --kill-whom=main patroni"
    ),
    undo=_shell_back(
        "systemctl kill --signal=CONT --kill-whom=main patroni; systemctl service-watchdogs yes"
    ),
    roles=("db",),
)
HAPROXY_BLIND: Final = Fault(
    name="haproxy-blind",
    describe="HAProxy runs and sees no primary where Patroni has one",
    default_target="haproxy",
    do=_shell(BLIND),
    undo=_shell_back("systemctl reload haproxy"),
    roles=("haproxy",),
)
NODE_COMMAND: Final = Fault(
    name="node-command-broken",
    describe="the main service is stopped, and every document on the node fails",
    default_target="haproxy",
    do=_spoil_command(BREAK_COMMAND),
    undo=_shell_back(MEND_COMMAND),
)
NODE_COMMAND_HANGS: Final = Fault(
    name="node-command-hangs",
    describe="the main service is stopped, and every document on the node hangs until its time is over",
    default_target="haproxy",
    do=_spoil_command(HANG_COMMAND),
    undo=_shell_back(MEND_COMMAND),
)
CLOCK_OFF: Final = Fault(
    name="clock-off",
    describe="the clock is three hours ahead for the agent and Patroni",
    default_target="replica",
    do=_shell(WRONG_CLOCK.replace("CLOCK", CLOCK_OFF_BY).replace("UNITS", CLOCK_UNITS)),
    undo=_shell_back(RIGHT_CLOCK.replace("UNITS", CLOCK_UNITS)),
    roles=("db",),
)

FAULTS: Final = (
    STOP_SERVICE,
    STOP_AGENT,
    POSTGRES_KILL,
    PATRONI_KILL,
    PATRONI_HANG,
    PATRONI_MUTE,
    HAPROXY_BLIND,
    NODE_COMMAND,
    NODE_COMMAND_HANGS,
    CLOCK_OFF,
)
