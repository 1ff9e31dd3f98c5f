"""The simulator's command line: many seeds, one seed as a story, or all mutants.

python -m tests.simulation --seeds 0:1000 --faults 60 --workers 2
python -m tests.simulation --seed 17
python -m tests.simulation --mutants
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from tests.simulation import killing
from tests.simulation.faults import temper_of
from tests.simulation.mutants import MUTANTS
from tests.simulation.scenario import FAULTS, Result, run
from tests.simulation.shrinking import shrink

CHUNK = 10


def main(arguments: list[str]) -> int:
    """0 when no invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed, told as a story")
    parser.add_argument("--seeds", default="0:200", help="first:end, or how many")
    parser.add_argument("--faults", type=int, default=FAULTS, help="faults a seed")
    parser.add_argument("--size", choices=("minimal", "standard"), help="else some of each")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--whole", action="store_true", help="do not shrink a seed that fails")
    parser.add_argument("--mutants", action="store_true", help="find a seed against every mutant")
    chosen = parser.parse_args(arguments)
    if chosen.mutants:
        return mutants(workers=chosen.workers)
    if chosen.seed is not None:
        return tell(chosen.seed, chosen.faults, size=chosen.size, whole=chosen.whole)
    first, _, end = chosen.seeds.rpartition(":")
    seeds = range(int(first or 0), int(end))
    return many(seeds, chosen.faults, size=chosen.size, workers=chosen.workers)


# -- one seed


def tell(seed: int, faults: int, *, size: str | None, whole: bool) -> int:
    """The seed's story; a seed that fails is shrunk first."""
    result = run(seed, count=faults, size=size)
    if result.first is not None and not whole:
        print(f"seed {seed} breaks {result.first.invariant}; leaving faults out", flush=True)
        result = shrink(result)
    told = run(seed, faults=result.faults, size=result.size, recording=True)
    print(story(told))
    return 0 if told.first is None else 1


def story(result: Result) -> str:
    """Time, fault, the healer's sentence, violation; then how it ended."""
    lines = [f"seed {result.seed} ({temper_of(result.seed)}, {result.size})"]
    lines += [f"{at:8.1f} s  {sentence}" for at, sentence in result.story]
    lines.append(f"{len(result.faults)} faults, {result.steps} steps in {result.simulated_s:.0f} s")
    if result.first is not None:
        lines.append(f"BROKEN: {result.first.invariant}: {result.first.sentence}")
    elif result.settling.held_by:
        lines.append(f"held with reason: {'; '.join(result.settling.held_by)}")
    else:
        lines.append(f"full strength {result.settling.full_after_s:.0f} s after the last fault")
    return "\n".join(lines)


# -- many seeds


def many(seeds: range, faults: int, *, size: str | None, workers: int) -> int:
    """Run them all and say what came of it."""
    began, spent_s = time.perf_counter(), 0.0
    chunks = [seeds[i : i + CHUNK] for i in range(0, len(seeds), CHUNK)]
    results: list[Result] = []
    with ProcessPoolExecutor(max_workers=workers) as pool:
        jobs = [pool.submit(_chunk, chunk, faults, size) for chunk in chunks]
        for job in jobs:
            chunk, chunk_s = job.result()
            spent_s += chunk_s
            for result in chunk:
                results.append(result)
                if result.first is not None:
                    print(f"seed {result.seed}: {result.first.invariant}: {result.first.sentence}")
                    sys.stdout.flush()
    took_s = time.perf_counter() - began
    print(summary(results, took_s=took_s, spent_s=spent_s, workers=workers))
    return 1 if any(r.first is not None for r in results) else 0


def _chunk(seeds: range, faults: int, size: str | None) -> tuple[list[Result], float]:
    """In a worker, with the seconds of processor time it took; faults can be made again from the seed."""
    began = time.process_time()
    results = [replace(run(seed, count=faults, size=size), faults=()) for seed in seeds]
    return results, time.process_time() - began


def summary(results: list[Result], *, took_s: float, spent_s: float, workers: int) -> str:
    """Faults, steps, violations, seeds to replay, faults per minute."""
    faults, broken = sum(r.struck for r in results), [r for r in results if r.first is not None]
    full = [r.settling.full_after_s for r in results if r.settling.full_after_s is not None]
    holds = Counter(reason for r in results for reason in r.settling.held_by)
    steps, looks = sum(r.steps for r in results), sum(r.looks for r in results)
    hours, latest_s = sum(r.simulated_s for r in results) / 3600, max(full, default=0.0)
    lines = [
        f"{len(results)} seeds, {hours:.0f} hours simulated: {faults} faults, {looks} looks, {steps} steps",
        f"full strength returned in {len(full)}, at the latest {latest_s:.0f} s after the last fault",
        *(f"held with reason in {count}: {reason}" for reason, count in holds.most_common()),
        f"{len(broken)} violations"
        + "".join(f"\n  python -m tests.simulation --seed {r.seed}" for r in broken),
        f"{faults / took_s * 60:.0f} faults a minute on {workers} of {os.cpu_count()} cores",
        f"{faults / spent_s * 60:.0f} faults in a minute of one core's time",
    ]
    return "\n".join(lines)


# -- mutants


def mutants(*, workers: int) -> int:
    """A seed against every mutant, into the file and the page."""
    killers = {}
    with ProcessPoolExecutor(max_workers=workers) as pool:
        jobs = {name: pool.submit(_find, name) for name in MUTANTS}
        for name, job in jobs.items():
            killer = job.result()
            if killer is not None:
                killers[name] = killer
            print(f"{name}: {killer or 'ALIVE'}", flush=True)
    killing.write(killers)
    return 0 if len(killers) == len(MUTANTS) else 1


def _find(name: str) -> killing.Killer | None:
    return killing.find(MUTANTS[name])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
