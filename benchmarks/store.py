"""The lab file under load: ``python -m benchmarks.store [--quick]``.

Writes trials with curves through the supervisor's own transactions while readers look at everything, then times what the
screens ask of a lab of the paper's scale (12,700 searches, 190,000 trials). Prints JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from store.filters import Condition
from store.read import open_lab
from store.rows import Curve
from store.write import Identity, Writer, create_or_open, submit

READER = """
import sys
from store.read import open_lab
with open_lab(sys.argv[1]) as lab:
    print("ready", flush=True)
    while True:
        lab.data_version()
        ids = lab.job_ids()
        lab.jobs(ids[:128])
        lab.probes(1)
        lab.cells()
        lab.trial_ids(order="best_loss")
"""


def write(folder: Path, seconds: float, readers: int, slots: int = 8) -> dict[str, float]:
    """Trials per second and commit times; one transaction per finished probe of 15 trials, as the supervisor batches them."""
    from runners.spec import load

    path = folder / f"write-{readers}.db"
    create_or_open(path)
    submit(path, load("quick"))
    members = [(lr, seed) for lr in (1e-3, 1e-4, 1e-5) for seed in (10, 20, 30, 40, 50)]
    curve = Curve(tuple(range(1, 33)), (0.5,) * 32, tuple(1.0 / k for k in range(1, 33)))
    watching = [
        subprocess.Popen([sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(readers)
    ]
    for process in watching:
        assert process.stdout is not None
        process.stdout.readline()
    took: list[float] = []
    trials = 0
    with Writer(path) as writer:
        with writer.transaction() as tx:
            tx.claim(Identity(1, 0.0, "bench", "boot", "bench"))
            jobs = [(j.id, tx.set_job(j.id, "running", device="cpu")) for j in tx.queued(slots)]
        begun_at = time.perf_counter()
        n = 0
        while time.perf_counter() - begun_at < seconds:
            n += 1
            for job, attempt in jobs:
                started = time.perf_counter()
                with writer.transaction() as tx:
                    begun = tx.begin_probe(job, n, members, device="cpu", slot="0", attempt=attempt)
                    for trial in begun.trial_ids:
                        tx.trial(
                            trial,
                            "failure",
                            attempt=attempt,
                            steps=500,
                            best_loss=0.1,
                            best_step=400,
                            last_loss=0.2,
                            curve=curve,
                        )
                    tx.end_probe(begun.probe_id, attempt=attempt, wall_s=1.0)
                took.append(time.perf_counter() - started)
                trials += len(members)
        wall = time.perf_counter() - begun_at
    failed = sum(process.poll() is not None for process in watching)
    for process in watching:
        process.kill()
        process.wait()
    took.sort()
    return {
        "readers": readers,
        "trials_per_s": round(trials / wall, 1),
        "transaction_p50_ms": round(1e3 * statistics.median(took), 2),
        "transaction_p99_ms": round(1e3 * took[int(0.99 * (len(took) - 1))], 2),
        "readers_that_failed": failed,
    }


def read(path: Path) -> dict[str, float]:
    """Milliseconds, the best of seven."""

    def best(ask: Callable[[], object]) -> float:
        times = []
        for _ in range(7):
            started = time.perf_counter()
            ask()
            times.append(time.perf_counter() - started)
        return round(1e3 * min(times), 2)

    found = {"open_ms": best(lambda: open_lab(path).close())}
    with open_lab(path) as lab:
        ids, trials = lab.job_ids(), lab.trial_ids()
        found |= {
            "job_list_ms": best(lambda: lab.jobs(lab.job_ids()[:128])),
            "one_bracket_ms": best(lambda: (lab.job(100), lab.probes(100), lab.trials(job_id=100))),
            "kappa_table_ms": best(lab.cells),
            "filtered_ms": best(lambda: lab.job_ids([Condition("state", "=", "running"), Condition("model", "=", "lstm")])),
            "trial_ids_ms": best(lab.trial_ids),
            "trial_page_ms": best(lambda: lab.trials_by_id(trials[5000:5128])),
            "data_version_ms": best(lab.data_version),
        }
        found |= {"jobs": len(ids), "trials": len(trials), "file_mb": round(path.stat().st_size / 1e6, 1)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small lab and a few seconds, to show that it works")
    quick = parser.parse_args().quick
    from tests.support.paperlab import paper_lab

    with tempfile.TemporaryDirectory(prefix="labtui-bench-") as name:
        folder = Path(name)
        seconds = 1.0 if quick else 8.0
        result = {
            "write": [write(folder, seconds, readers) for readers in (0, 3)],
            "read": read(paper_lab(folder / "paper.db", searches=1_500 if quick else 12_700)),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
