"""Takes the zero-loss promise away by hand, behind the checker's back, so that it has something to find."""

from __future__ import annotations

from typing import Final

from lab.faults.bench import Bench

CONFIG: Final = ("patronictl", "-c", "/etc/patroni/config.yml")
SHOW: Final = "SHOW synchronous_standby_names"
WITHIN_S: Final = 30.0


def break_commit(bench: Bench) -> None:
    """Patroni is told to replicate asynchronously. Raises LabError when the leader does not come to that."""
    leader = bench.leading()
    change = ("edit-config", "--quiet", "--force", "--set", "synchronous_mode=off")
    bench.command(bench.occupant_of(leader).instance_id, *CONFIG, *change)
    bench.until(
        lambda: bench.sql(bench.leading(), SHOW) == "",
        "the leader waits for nobody",
        within_s=WITHIN_S,
    )
