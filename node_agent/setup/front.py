"""HAProxy and the app: a file, a unit."""

from __future__ import annotations

from pathlib import Path

from node_agent import files
from node_agent.render import app as render_app
from node_agent.render import haproxy as render_haproxy
from node_agent.render import units as drop_ins
from node_agent.setup.context import Setup

HAPROXY_FILE = Path("/etc/haproxy/haproxy.cfg")
APP_FILE = Path("/etc/pgmend/app.json")


def proxy(s: Setup) -> None:
    """Render, check, start or reload."""
    text = render_haproxy.configuration(s.spec, s.me)
    trial = HAPROXY_FILE.with_name("haproxy.cfg.pgmend")
    files.write(trial, text)
    s.run(["haproxy", "-c", "-q", "-f", str(trial)])
    trial.unlink()
    changed = files.write(HAPROXY_FILE, text)
    s.units.drop_in("haproxy", drop_ins.HAPROXY)
    s.units.enable("haproxy")
    _run(s, "haproxy", changed=changed)


def app(s: Setup) -> None:
    """Render, start."""
    text = render_app.configuration(s.spec, s.me, s.node.endpoints)
    changed = files.write(APP_FILE, text)
    s.units.enable("pgmend-app")
    _run(s, "pgmend-app", changed=changed)


def _run(s: Setup, unit: str, *, changed: bool) -> None:
    if s.units.state(unit) != "active":
        s.units.start(unit)
    elif changed:
        s.units.reload(unit) if unit == "haproxy" else s.units.restart(unit)
