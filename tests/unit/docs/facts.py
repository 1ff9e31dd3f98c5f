"""Numbers that runbook pages give, in the pages' words, made from the code and from the timings of AWS."""

from __future__ import annotations

from lambdas.core import evidence, ladder, rails, wanted
from lambdas.core.evidence import GIB
from lambdas.core.model import PING_LOST_S
from lambdas.core.parse import spec_from_json
from lambdas.core.rules import databases, disks, hosts, services
from lambdas.core.spec import GROWTH_FACTOR_MAX
from lambdas.observe import FUTURE_S
from node_agent.render.etcd import QUOTA_BYTES
from node_agent.render.patroni import PARAMETERS
from tests.unit.docs.pages import ROOT

SPEC = spec_from_json((ROOT / "tests/contract/examples/spec.json").read_text())
T = SPEC.timings
MIB = 1024 * 1024
SILENT = f"{T.agent_silent_after_s:.0f} s (`agent_silent_after_s`)"
GRACE = f"{T.boot_grace_s:.0f} s (`boot_grace_s`)"
UNREACHABLE = f"{T.unreachable_after_s:.0f} s (`unreachable_after_s`)"
BLIND = f"{ladder.machine_wait_s(T):.0f} s"
BACK_OFF = f"{wanted.BACK_OFF_S:.0f} s"
BACK_OFF_MAX = f"up to {wanted.BACK_OFF_S_MAX:.0f} s"
KEPT = PARAMETERS["max_slot_wal_keep_size"].replace("GB", " GB")
SWITCHOVERS = f"at most {ladder.SWITCHOVERS_MAX} tries"
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
REFILLS = f"After {NUMBERS[rails.REFILLS_MAX]} new instances"

THRESHOLDS: tuple[tuple[str, str], ...] = (
    # hosts
    ("agent-silent", SILENT),
    ("agent-silent", GRACE),
    (
        "agent-cut-off",
        f"{T.agent_silent_after_s:.0f} s, or none ever came within {T.boot_grace_s:.0f} s",
    ),
    ("presumed-dead", SILENT),
    ("region-cut-off", SILENT),
    ("region-cut-off", f"After {T.restart_wait_s:.0f} s it opens an incident"),
    ("region-cut-off", f"older than {PING_LOST_S:.0f} s, SSM does not see"),
    ("unreachable", UNREACHABLE),
    ("suspected", f"older than {2 * T.report_interval_s + 1:.0f} s"),
    ("suspected", f"After {UNREACHABLE}"),
    ("booting", GRACE),
    ("terminating", f"for more than {UNREACHABLE}"),
    ("terminating", f"after {2 * T.unreachable_after_s:.0f} s"),
    ("disk-busy", f"After {2 * T.unreachable_after_s:.0f} s"),
    ("boot-stuck", GRACE),
    ("boot-stuck", REFILLS),
    ("region-unknown", f"while they are fresh ({T.agent_silent_after_s:.0f} s)"),
    ("two-leaders", f"younger than {T.agent_silent_after_s:.0f} s"),
    ("report-refused", f"more than {FUTURE_S / 3600:.0f} h in the future"),
    ("clock-off", f"more than {hosts.CLOCK_OFF_S_MAX:.0f} s"),
    ("impaired", SWITCHOVERS),
    ("retiring", f"{T.drain_before_s / 3600:.0f} h (`drain_before_s`)"),
    ("slot-empty", f"{SPEC.budget.launches_in_parallel} launches"),
    ("slot-empty", BACK_OFF_MAX),
    ("no-capacity", f"from {BACK_OFF} to {wanted.BACK_OFF_S_MAX:.0f} s"),
    ("stopped", f"After {wanted.STARTS_MAX} refused starts"),
    ("stopped", f"again after {BACK_OFF}"),
    # disks
    ("disk-missing", BACK_OFF_MAX),
    ("disk-detached", BACK_OFF_MAX),
    ("disk-stalled", f"for more than {T.restart_wait_s:.0f} s (`restart_wait_s`)"),
    ("disk-full", f"{disks.FULL:.0%}".replace("%", " %")),
    ("disk-filling", f"{disks.FILLING:.0%}".replace("%", " %")),
    ("disk-filling", f"{NUMBERS[GROWTH_FACTOR_MAX]} times its first size"),
    ("disk-small", f"more than {evidence.WIDENED_SHARE:.1%} of the device".replace("%", " %")),
    ("disk-small", f"more than {evidence.WIDENED_BYTES // MIB} MiB"),
    # services
    ("needs-person", f"{services.ASK_AGAIN_AFTER_S:.0f} s ago"),
    ("configure-failed", f"{services.CONFIGURE_ATTEMPTS_MAX} `pgmend-configure-node` in a row"),
    ("not-configured", f"does not for {BLIND}"),
    ("etcd-lost", f"`etcd` {ladder.ETCD_RESTARTS_MAX} times"),
    ("etcd-unhealthy", f"After {ladder.ETCD_RESTARTS_MAX} restarts"),
    ("etcd-full", f"({QUOTA_BYTES // GIB} GiB)"),
    # copies
    ("replica-lagging", f"more than {databases.LAG_BYTES_MAX // MIB} MiB"),
    ("replica-lagging", f"for more than {T.restart_wait_s:.0f} s (`restart_wait_s`)"),
    ("replica-lagging", f"for {wanted.LAGGING_S_MAX:.0f} s"),
    ("replica-cloning", f"more than {wanted.CLONING_S_MAX / 3600:.0f} h"),
    ("replica-stuck", f"more than {databases.STUCK_AFTER_S:.0f} s"),
    ("reinit-loop", f"`patroni.clones` is {databases.CLONES_MAX} or more"),
    ("replica-wal-gone", f"({KEPT})"),
    ("wal-hoarded", f"at {KEPT}"),
    ("wal-hoarded", f"above {evidence.HOARD_SHARE:.0%} of its disk".replace("%", " %")),
    ("to-switch-over", f"less than {databases.LAG_BYTES_MAX // MIB} MiB behind"),
    # the index
    ("README", f"after {rails.TRIES_MAX} steps in one incident"),
    ("README", f"after {rails.REFILLS_MAX}: [boot-stuck]"),
    ("README", f"has not seen the instance for {BLIND}"),
)
