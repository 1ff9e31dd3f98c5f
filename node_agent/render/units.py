"""What the packaged units lack: the disk before everything that writes to it, a service that always comes back, and
the guard around Patroni (docs/patroni-guard.md).
"""

from __future__ import annotations

import math

from node_agent.errors import HoldError
from node_agent.guard import REFUSED, alive
from node_agent.spec import Spec

GUARDED_PATRONI = "/opt/pgmend/bin/pgmend-patroni /etc/patroni/config.yml"
FENCE = "/usr/bin/env PYTHONPATH=/opt/pgmend /usr/bin/python3 -P -B -m node_agent.guard.fence"
WATCHDOG_MIN_S = 5  # five words of a thread that may be late

_ON_DISK = """\
Requires=pgmend-disk.service
After=pgmend-disk.service network-online.target
Wants=network-online.target
RequiresMountsFor=/var/lib/pgmend
"""
_ALWAYS = f"Restart=always\nRestartSec={alive.RESTART_S:.0f}\n"

# Ready means that etcd has found a leader; without a majority that may take long and is no reason to kill it.
ETCD = f"""\
[Unit]
{_ON_DISK}StartLimitIntervalSec=0

[Service]
{_ALWAYS}TimeoutStartSec=infinity
OOMScoreAdjust=-800
Nice=-10
"""


def patroni(spec: Spec) -> str:
    """Patroni stops PostgreSQL before it goes, which a checkpoint can make long. KillMode stays the package's
    `process`: a Patroni that is killed leaves PostgreSQL to its successor, or to the fence when the lease is over.
    What the fence knows goes with a person's stop. PostgreSQL's backends belong to the unit: the kernel's choice of one
    is no reason to stop it, and as in Debian's own unit they can be chosen and the postmaster is spared.
    """
    return f"""\
[Unit]
{_ON_DISK}StartLimitIntervalSec=0

[Service]
ExecStart=
ExecStart={GUARDED_PATRONI}
ExecStopPost=-{FENCE}
{_ALWAYS}RestartPreventExitStatus={REFUSED}
TimeoutStopSec=60
NotifyAccess=main
WatchdogSec={watchdog_s(spec)}
WatchdogSignal=SIGKILL
RuntimeDirectory=pgmend-patroni
RuntimeDirectoryPreserve=restart
OOMPolicy=continue
OOMScoreAdjust=-900
Environment=PG_OOM_ADJUST_FILE=/proc/self/oom_score_adj PG_OOM_ADJUST_VALUE=0
LimitNOFILE=65536
"""


def watchdog_s(spec: Spec) -> int:
    """How long Patroni may tell systemd nothing, so that a leader's successor renews the lease before it ends.

    Of the ttl go: the time since the last renewal, a restart, and one wait for an etcd member that does not answer.
    Raises HoldError when the ttl leaves no room, for this or for a loop that is merely slow (`alive`).
    """
    ttl, loop_wait, retry = (
        int(spec.patroni[word]) for word in ("ttl", "loop_wait", "retry_timeout")
    )
    spent = loop_wait + retry + math.ceil(alive.RESTART_S + alive.START_S)
    slow = loop_wait + 3 * retry + math.ceil(alive.LOOP_BACK_S)
    least = max(spent + WATCHDOG_MIN_S, slow)
    if ttl < least:
        raise HoldError(
            f"Patroni's ttl of {ttl} s leaves no time to restart a Patroni that hangs; with loop_wait {loop_wait} and"
            f" retry_timeout {retry} it is {least} s at least"
        )
    return ttl - spent


HAPROXY = f"""\
[Unit]
StartLimitIntervalSec=0

[Service]
{_ALWAYS}"""
