"""What the packaged units lack: the disk before everything that writes to it, a service that always comes back, and
the guard around Patroni (docs/patroni-guard.md).
"""

from __future__ import annotations

GUARDED_PATRONI = "/opt/pgmend/bin/pgmend-patroni /etc/patroni/config.yml"
GUARD_REFUSED = (
    78  # the launcher does not know this Patroni, and will not know it a second later either
)

_ON_DISK = """\
Requires=pgmend-disk.service
After=pgmend-disk.service network-online.target
Wants=network-online.target
RequiresMountsFor=/var/lib/pgmend
"""
_ALWAYS = "Restart=always\nRestartSec=1\n"

# Ready means that etcd has found a leader; without a majority that may take long and is no reason to kill it.
ETCD = f"""\
[Unit]
{_ON_DISK}StartLimitIntervalSec=0

[Service]
{_ALWAYS}TimeoutStartSec=infinity
OOMScoreAdjust=-800
Nice=-10
"""

# Patroni stops PostgreSQL before it goes, which a checkpoint can make long.
PATRONI = f"""\
[Unit]
{_ON_DISK}StartLimitIntervalSec=0

[Service]
ExecStart=
ExecStart={GUARDED_PATRONI}
{_ALWAYS}RestartPreventExitStatus={GUARD_REFUSED}
TimeoutStopSec=60
LimitNOFILE=65536
"""

HAPROXY = f"""\
[Unit]
StartLimitIntervalSec=0

[Service]
{_ALWAYS}"""
