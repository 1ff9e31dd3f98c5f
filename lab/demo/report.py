"""The report of a run: one HTML file with its own picture and no outside resources. Pure: data in,
text out.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Final

from lab.demo.picture import picture
from lab.demo.record import FaultRecord, Run, seconds, summary
from lab.load.history import Probe, Write

STYLE: Final = """
:root{--ink:#1d2733;--soft:#5b6773;--line:#dfe4ea;--ok:#1a7f4b;--bad:#b3261e;--paper:#fff;--panel:#f6f8fa}
@media (prefers-color-scheme:dark){:root{
--ink:#e6edf3;--soft:#9aa7b4;--line:#30363d;--ok:#4cc38a;--bad:#ff7b72;
--paper:#0d1117;--panel:#161b22}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
margin:2rem auto;max-width:1180px;
padding:0 1rem}
h1{font-size:1.6rem;margin:0 0 .2rem} h2{font-size:1.15rem;margin:2rem 0 .5rem}
.verdict{font-weight:600} .ok{color:var(--ok)} .bad{color:var(--bad)} .soft{color:var(--soft)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft)} td.n,th.n{text-align:right}
.picture{overflow-x:auto;background:var(--panel);
border:1px solid var(--line);border-radius:8px;padding:.5rem}
svg text{fill:var(--ink);font:11px system-ui,sans-serif} svg .soft{fill:var(--soft)}
details{margin:.4rem 0} pre{background:var(--panel);padding:.8rem;overflow:auto;border-radius:6px}
"""
LEGEND: Final = (
    "Top to bottom: who leads, strength, faults and what the healer did, and the latency of"
    " acknowledged writes (slowest per slice of time); red: no write was acknowledged."
)


def render(run: Run, writes: Sequence[Write], probes: Sequence[Probe]) -> str:
    """The whole page."""
    content = html.escape(json.dumps(summary(run), indent=2))
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width,initial-scale=1'>",
        f"<title>pgmend lab run</title><style>{STYLE}</style></head><body>",
        _head(run),
        "<h2>Timeline</h2><div class='picture'>",
        picture(run, writes, probes),
        f"</div><p class='soft'>{LEGEND}</p>",
        "<h2>Faults</h2>",
        _table(run.faults),
        _actions(run.faults),
        _setup(run),
        f"<details><summary>summary.json</summary><pre>{content}</pre></details>",
        "</body></html>\n",
    ]
    return "".join(parts)


def _head(run: Run) -> str:
    verdict = (
        "<span class='ok'>Every promise was kept.</span>"
        if run.ok
        else "<span class='bad'>Not every promise was kept.</span>"
    )
    broken = "".join(f"<li class='bad'>{html.escape(text)}</li>" for text in run.promises_broken)
    if run.finished_at is None:
        broken += "<li class='bad'>the run did not end by itself</li>"
    return (
        f"<h1>pgmend: {len(run.faults)} faults under load</h1>"
        f"<p class='verdict'>{verdict}</p><ul>{broken}</ul>"
        f"<p class='soft'>size {html.escape(run.size)}, durability {html.escape(run.durability)},"
        f" clock {html.escape(run.clock)}; peak memory {run.peak_rss_mb} MiB</p>"
    )


def _table(faults: Sequence[FaultRecord]) -> str:
    head = (
        "<tr><th>fault</th><th>target</th><th class='n'>write outage</th>"
        "<th class='n'>detected</th>"
        "<th class='n'>full strength</th><th class='n'>promised</th><th class='n'>acknowledged</th>"
        "<th class='n'>lost</th><th class='n'>two writable</th><th>woken by</th></tr>"
    )
    return f"<table>{head}{''.join(_row(fault) for fault in faults)}</table>"


def _row(fault: FaultRecord) -> str:
    late = fault.full_strength_s is None or fault.full_strength_s > fault.deadline_s
    cells = [
        ("", fault.name),
        ("", fault.target),
        ("n", seconds(fault.write_outage_s)),
        ("n", seconds(fault.detected_s)),
        ("n bad" if late else "n ok", seconds(fault.full_strength_s)),
        ("n soft", f"{fault.deadline_s:.0f} s"),
        ("n", f"{fault.acked}"),
        ("n bad" if fault.lost else "n ok", f"{fault.lost}"),
        ("n bad" if fault.two_writable_s else "n ok", f"{fault.two_writable_s:.2f} s"),
        ("", fault.wake or "-"),
    ]
    body = "".join(f"<td class='{name}'>{html.escape(text)}</td>" for name, text in cells)
    return f"<tr>{body}</tr>"


def _actions(faults: Sequence[FaultRecord]) -> str:
    items = "".join(
        f"<li><b>{html.escape(fault.name)}</b>:"
        f" {html.escape(', '.join(fault.actions) or 'nothing')}</li>"
        for fault in faults
    )
    return f"<h2>What the healer did</h2><ul>{items}</ul>"


def _setup(run: Run) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td class='n'>{value:.1f} s</td></tr>"
        for name, value in run.setup_s.items()
    )
    return f"<h2>Setup</h2><table>{rows}</table>"
