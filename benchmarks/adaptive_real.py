"""One real task: do repeated bisections with fresh seeds scatter as the interval of ``adaptive`` says?

A bilinear RNN of width 16 with acot on addition modulo 3, lengths 2..7, on the CPU, every probe really
trained. ``adaptive`` is run several times with seeds of its own, ``log`` many times with fresh grids. If the
interval is honest, q(N) also tells how bisections must scatter: their spread is compared with that of
bisections simulated on the fitted curve.

    python benchmarks/adaptive_real.py [--bisections 12] [--adaptive 3] [--k 3]
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from collections.abc import Callable

from runners.engine.trainer import Trainer
from runners.engine.types import Control, Ended, Member, Plan, Planned, StopScope
from runners.search import Candidate, Evidence, Progress, replay
from runners.search.adaptive import totals
from runners.search.family import Family
from runners.search.posterior import posterior
from runners.spec import DenseSSM, Grid, Job, Lengths, ModularAddition, Search, Training
from runners.verdict import Outcome

Measure = Callable[[Job, Candidate], Evidence]
PLANS: dict[int, Plan] = {}


def job(strategy: str, seeds: tuple[int, ...]) -> Job:
    """The preset's task with another grid."""
    return Job(
        task=ModularAddition(m=3),
        format="acot",
        lengths=Lengths(distribution="uniform", length=7),
        model=DenseSSM(hidden=16),
        grid=Grid(learning_rates=(1e-2, 3e-3), seeds=seeds),
        training=Training(steps=500, eval_every=25, validation_size=256),
        search=Search.model_validate({"strategy": strategy, "eps": 1e-3}),
    )


def train(spec: Job, candidate: Candidate) -> Evidence:
    """One probe: the grid's seeds until the first success, or fresh ones each until its own."""
    seeds = candidate.seeds or spec.grid.seeds
    stop: StopScope = "probe" if candidate.seeds is None else "seed"
    members = [
        Member("p", candidate.n, lr, seed, spec.search.eps, stop)
        for lr in spec.grid.learning_rates
        for seed in seeds
    ]
    succeeded: set[int] = set()
    best = math.inf
    for event in Trainer(spec, members, device="cpu", plan=PLANS.get(len(members))).run(Control()):
        if isinstance(event, Planned):
            PLANS[len(members)] = event.plan
        if isinstance(event, Ended):
            best = min(best, event.best_loss)
            if event.outcome is Outcome.SUCCESS:
                succeeded.add(members[event.member].seed)
    fresh = len(seeds) if candidate.seeds is not None else 0
    return Evidence(candidate.n, bool(succeeded), fresh, len(succeeded) if fresh else 0, best)


def search(spec: Job, measure: Measure) -> tuple[list[Evidence], Progress]:
    """Every candidate in turn."""
    evidence: list[Evidence] = []
    while (progress := replay(spec, evidence)).next is not None:
        evidence.append(measure(spec, progress.next))
    return evidence, progress


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bisections", type=int, default=12)
    parser.add_argument("--adaptive", type=int, default=3)
    parser.add_argument("--k", type=int, default=3, help="seeds of a grid")
    args = parser.parse_args()
    start = time.perf_counter()
    spec = job("adaptive", tuple(range(1, args.k + 1)))
    print(f"{spec.label}, N_max {spec.n_max}, k = {args.k}")
    every: list[Evidence] = []
    for i in range(args.adaptive):
        spec = job("adaptive", tuple(range(1 + 1000 * i, 1 + 1000 * i + args.k)))
        evidence, end = search(spec, train)
        every += evidence
        if end.estimate is None or end.n50 is None:
            print(f"  adaptive: {end.status}, flags {end.flags}", flush=True)
            continue
        e, n50 = end.estimate, end.n50
        print(
            f"  adaptive: N* {e.value:.0f} [{e.low:.0f}, {e.high:.0f}], N_50 {n50.value:.0f} [{n50.low:.0f}, "
            f"{n50.high:.0f}],"
            f" {sum(x.seeds for x in evidence)} seeds in {len(evidence)} probes, flags {end.flags}",
            flush=True,
        )
    found = []
    for i in range(args.bisections):
        evidence, end = search(job("log", tuple(range(500_000 + 100 * i, 500_000 + 100 * i + args.k))), train)
        found.append(end.hi if end.hi is not None else spec.n_max + 1)
        print(f"  bisection: {end.hi}, {len(evidence)} candidates, flags {end.flags}", flush=True)
    logs = [math.log(n) for n in found]
    print(
        f"{len(found)} bisections: median {statistics.median(found):.0f}, from {min(found)} to {max(found)}, "
        f"spread {statistics.stdev(logs):.2f} in log N"
    )
    _predicted(spec, every, len(found))
    print(f"{time.perf_counter() - start:.0f} s")


def _predicted(spec: Job, evidence: list[Evidence], count: int) -> None:
    """Bisections simulated on curves drawn from the posterior of all adaptive evidence."""
    import numpy as np

    family = Family(len(spec.grid.seeds))
    post = posterior(family, totals(evidence), spec.n_max)
    e = post.n_star()
    print(f"all adaptive evidence together: N* {e.value:.0f} [{e.low:.0f}, {e.high:.0f}]")
    rng, chance = np.random.default_rng(0), random.Random(0)
    spreads, medians = [], []
    for index in rng.choice(post.weights.size, 100, p=post.weights.ravel()):
        t, nuisance = divmod(int(index), post.weights.shape[1])
        location = post.t[t : t + 1]

        def simulated(
            log_spec: Job, candidate: Candidate, location: object = location, nuisance: int = nuisance
        ) -> Evidence:
            q = float(family.q(np.log([float(candidate.n)]), location)[0, 0, nuisance])  # type: ignore[arg-type]
            return Evidence(candidate.n, chance.random() < 1 - (1 - q) ** len(log_spec.grid.seeds))

        ends = [search(job("log", spec.grid.seeds), simulated)[1].hi or spec.n_max + 1 for _ in range(count)]
        spreads.append(float(np.std(np.log(ends), ddof=1)))
        medians.append(float(np.median(ends)))
    s, m = np.quantile(spreads, (0.05, 0.5, 0.95)), np.quantile(medians, (0.05, 0.5, 0.95))
    print(
        f"what that predicts for {count} bisections: median {m[1]:.0f} [{m[0]:.0f}, {m[2]:.0f}], "
        f"spread {s[1]:.2f} [{s[0]:.2f}, {s[2]:.2f}]"
    )


if __name__ == "__main__":
    main()
