"""What the packaged units lack: the disk before everything that writes to it, and a service that always comes back."""

from __future__ import annotations

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
{_ALWAYS}TimeoutStopSec=60
LimitNOFILE=65536
"""

HAPROXY = f"""\
[Unit]
StartLimitIntervalSec=0

[Service]
{_ALWAYS}"""
