"""/etc/haproxy/haproxy.cfg: writes to the leader, reads to copies, by Patroni's word on each server.

Every database slot is a server from the start, spare ones too, so that nothing has to be rewritten to heal. Nothing
listens on 5000, which is the API's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node_agent.spec import Spec

WRITES_PORT, READS_PORT, PATRONI_PORT = 5432, 5433, 8008
LAG_MAX = "16MB"
WRITE_CHECKS = "inter 1s fastinter 250ms downinter 500ms fall 2 rise 1"
READ_CHECKS = "inter 2s fastinter 500ms downinter 1s fall 2 rise 1"
SERVER = "maxconn 90 tcp-ut 10s"  # two proxies stay below PostgreSQL's max_connections

GLOBAL = """\
# Written by pgmend-node configure; changes are overwritten.
global
    log /dev/log local0 notice
    chroot /var/lib/haproxy
    stats socket /run/haproxy/admin.sock mode 660 level operator
    stats timeout 10s
    user haproxy
    group haproxy
    maxconn 2000
    hard-stop-after 30s

defaults
    mode tcp
    log global
    option dontlognull
    option redispatch
    option clitcpka
    option srvtcpka
    clitcpka-idle 5s
    clitcpka-intvl 2s
    clitcpka-cnt 3
    srvtcpka-idle 5s
    srvtcpka-intvl 2s
    srvtcpka-cnt 3
    retries 2
    timeout connect 2s
    timeout check 1500ms
    timeout queue 5s
    timeout client 30m
    timeout server 30m
"""


def configuration(spec: Spec, slot: Mapping[str, Any]) -> str:
    """The whole file for a proxy's slot."""
    servers = spec.of_role("db")
    near = [server for server in servers if server["region"] == slot["region"]]
    far = [server for server in servers if server["region"] != slot["region"]]
    return "\n".join([GLOBAL, _writes([*near, *far]), _reads(near, far)])


def _writes(servers: list[Mapping[str, Any]]) -> str:
    """Sessions end with their leader: a session that hangs on a dead one helps nobody."""
    lines = [
        "listen writes",
        f"    bind :{WRITES_PORT} tcp-ut 10s",
        "    balance first",
        "    option httpchk OPTIONS /primary",
        "    http-check expect status 200",
        f"    default-server {WRITE_CHECKS} {SERVER} on-marked-down shutdown-sessions",
        *(_server(server) for server in servers),
    ]
    return "\n".join(lines) + "\n"


def _reads(near: list[Mapping[str, Any]], far: list[Mapping[str, Any]]) -> str:
    """Copies of the own region, then the other's, then the leader. Long reads outlive a failover elsewhere."""
    lines = [
        "listen reads",
        f"    bind :{READS_PORT} tcp-ut 10s",
        "    balance leastconn",
        "    option allbackups",
        f"    option httpchk OPTIONS /replica?lag={LAG_MAX}",
        "    http-check expect status 200",
        "    use_backend writes if { nbsrv(reads) eq 0 }",
        f"    default-server {READ_CHECKS} {SERVER}",
        *(_server(server) for server in near),
        *(f"{_server(server)} backup" for server in far),
    ]
    return "\n".join(lines) + "\n"


def _server(slot: Mapping[str, Any]) -> str:
    return f"    server {slot['name']} {slot['address']}:5432 check port {PATRONI_PORT}"
