"""How many rounds speculation saves: rounds of a search with 1, 2, 4 and 8 slots, on simulated oracles;
nothing is trained.

A round is one grid's training. Two clocks are told: every probe takes one round; and a probe that succeeds
takes 0.35 of one, because it stops at its first success while a failing one trains its whole budget. Every
bracket is checked against the sequential one.

    python benchmarks/speculation.py [--oracles 200] [--seed 0]
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import statistics
from collections.abc import Callable

from runners.search import Evidence, Progress, replay, speculate
from runners.spec import DenseSSM, Job, Lengths, ModularAddition, Search

SLOTS = (1, 2, 4, 8)
SUCCESS_TIME = 0.35
Oracle = Callable[[int], bool]


def job(strategy: str, n_max: int) -> Job:
    """A search with room for any N_max."""
    return Job(
        task=ModularAddition(m=10),
        format="acot",
        lengths=Lengths(distribution="fixed", length=20),
        model=DenseSSM(),
        search=Search.model_validate({"strategy": strategy, "n_max": n_max}),
    )


def oracle(rng: random.Random, n_max: int) -> Oracle:
    """A threshold, uniform in log N, with luck of its own at each N near it: success is not monotone."""
    centre, width, salt = rng.uniform(0, math.log(n_max)), rng.uniform(0.01, 0.4), rng.getrandbits(32)

    def verdict(n: int) -> bool:
        luck = random.Random(salt * 1_000_003 + n).gauss(0, width)
        return math.log(n) + luck >= centre

    return verdict


def run(
    spec: Job, verdict: Oracle, slots: int, success_time: float
) -> tuple[Progress, list[Evidence], float, float]:
    """(end, evidence, time to the end, training done) with ``slots`` probes side by side,
    in units of a failing probe.
    """
    evidence: list[Evidence] = []
    known: dict[int, bool] = {}
    running: dict[int, float] = {}
    ends: list[tuple[float, int]] = []
    now = work = 0.0
    while True:
        progress = replay(spec, evidence)
        while progress.next is not None and progress.next.n in known:
            n = progress.next.n
            evidence.append(Evidence(n, known.pop(n)))
            progress = replay(spec, evidence)
        wanted = [c.n for c in speculate(spec, evidence, known, slots, running)]
        for n in set(running) - set(wanted):
            work += now - running.pop(n)
        if progress.next is None:
            return progress, evidence, now, work
        for n in wanted:
            if n not in running:
                running[n] = now
                heapq.heappush(ends, (now + (success_time if verdict(n) else 1.0), n))
        while True:
            at, n = heapq.heappop(ends)
            if n in running:
                break
        now = at
        work += now - running.pop(n)
        known[n] = verdict(n)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--oracles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(
        f"{args.oracles} oracles each; mean time to the bracket in rounds, gain over one slot, "
        "training over one slot"
    )
    print(
        f"  {'strategy':<10}{'N_max':>12}  {'a success takes':>15}"
        + "".join(f"{f'{s} slots':>24}" for s in SLOTS)
    )
    for strategy in ("log", "paper"):
        for n_max in (16_000_000, 20_000):
            for success_time in (1.0, SUCCESS_TIME):
                rng = random.Random(args.seed)
                spec = job(strategy, n_max)
                times: dict[int, list[float]] = {s: [] for s in SLOTS}
                works: dict[int, list[float]] = {s: [] for s in SLOTS}
                for _ in range(args.oracles):
                    verdict = oracle(rng, n_max)
                    first: tuple[Progress, list[Evidence]] | None = None
                    for slots in SLOTS:
                        end, evidence, time, work = run(spec, verdict, slots, success_time)
                        first = first or (end, evidence)
                        assert (end, evidence) == first, "speculation changed a bracket"
                        times[slots].append(time)
                        works[slots].append(work)
                base, base_work = statistics.mean(times[1]), statistics.mean(works[1])
                row = f"  {strategy:<10}{n_max:>12,}  {success_time:>15.2f}"
                for slots in SLOTS:
                    t, w = statistics.mean(times[slots]), statistics.mean(works[slots])
                    row += f"{f'{t:.1f} ({base / t:.2f}x, {w / base_work:.1f}x)':>24}"
                print(row, flush=True)
    print("every bracket and every sequence of candidates was the sequential one")


if __name__ == "__main__":
    main()
