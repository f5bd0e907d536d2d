"""A lab of the paper's scale, in bulk SQL; ``tests/support/fakelab.py`` has the small one."""

from __future__ import annotations

import math
import os
import random
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from runners.spec import DenseSSM, Job, Lengths, ModularAddition
from store import curves
from store.paths import LabPaths
from store.rows import Curve
from store.write import create_or_open
from store.write.submit import job_row

BASE_TIME = 1_790_000_000.0
"""When the oldest row of a fake lab was written."""
TRACEBACK = """Traceback (most recent call last):
  File "worker.py", line 88, in main
    for event in trainer.run(control):
RuntimeError: CUDA error: an illegal memory access was encountered"""


def fake_curve(rng: random.Random, steps: int, every: int, eps: float, success: bool) -> Curve:
    """Losses that fall from ln 3 to below eps, or to a plateau."""
    count = max(1, steps // every)
    end = eps * 0.6 if success else 0.05 + 0.6 * rng.random()
    at = tuple(every * (i + 1) for i in range(count))
    losses = [
        math.exp(math.log(1.1) + (math.log(end) - math.log(1.1)) * ((i + 1) / count) ** 1.5)
        for i in range(count)
    ]
    noisy = [x * math.exp(0.1 * rng.gauss(0, 1)) for x in losses]
    noisy[-1] = losses[-1]
    held = (*(max(x, eps * 1.01) for x in noisy[:-1]), noisy[-1])
    return Curve(at, tuple(0.8 * x for x in noisy), held)


MODELS = (
    ("transformer", "transformer 6x256"),
    ("lstm", "lstm 768"),
    ("dense_ssm", "dense_ssm 256"),
)
FORMATS = ("outcome", "cot", "acot")
LENGTHS = (5, 10, 20, 30)
N_MAX = 16_000_000


def paper_lab(
    path: str | os.PathLike[str],
    *,
    searches: int = 12_700,
    probes: int = 5,
    trials: int = 3,
    with_curves: bool = True,
    seed: int = 0,
) -> Path:
    """A lab of ``searches`` jobs in kappa cells, with ``probes`` candidates each and ``trials`` runs in
    each of these.
    """
    lab = Path(path)
    create_or_open(lab)
    rng = random.Random(seed)
    with sqlite3.connect(LabPaths(lab).uri(mode="rw"), uri=True, isolation_level=None) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN IMMEDIATE")
        made = _paper_jobs(connection, rng, searches)
        _paper_probes(connection, rng, made, probes, trials, with_curves)
        connection.execute("INSERT INTO device VALUES ('cuda:0', 'NVIDIA H200', 8, 'active', '')")
        connection.execute(
            "INSERT INTO supervisor VALUES (1, 4242, ?, 'bench', 'boot', '0.1.0', ?, ?, 'stopped', '')",
            (BASE_TIME,) * 3,
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return lab


def _insert(
    connection: sqlite3.Connection, table: str, rows: Sequence[dict[str, Any]] | Iterator[dict[str, Any]]
) -> None:
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    names = tuple(first)
    sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    connection.execute(sql, tuple(first.values()))
    connection.executemany(sql, (tuple(row.values()) for row in rows))


def _reseeded(spec: Job, number: int) -> Job:
    """The same search on seeds of its own."""
    grid = spec.grid.model_copy(update={"seeds": tuple(range(5 * number, 5 * number + len(spec.grid.seeds)))})
    return Job(**{name: getattr(spec, name) for name in Job.model_fields} | {"grid": grid})


def _paper_jobs(connection: sqlite3.Connection, rng: random.Random, searches: int) -> list[dict[str, Any]]:
    spec = Job(
        task=ModularAddition(m=5),
        format="acot",
        lengths=Lengths(distribution="uniform", length=20),
        model=DenseSSM(),
    )
    plain = job_row(spec, now=BASE_TIME)
    spec_text = spec.to_json()
    texts: dict[int, str] = {}
    jobs: list[dict[str, Any]] = []
    cells: list[dict[str, Any]] = []
    parts: list[tuple[int, int, int]] = []

    def job(m: int, model: tuple[str, str], fmt: str, distribution: str, length: int) -> int:
        number = len(jobs) + 1
        low = length if distribution == "fixed" else 2
        grown = (m * 40.0 * length**1.3) * rng.uniform(0.8, 1.25)
        hi = None if rng.random() < 0.06 else min(N_MAX, int(grown) + 1)
        state = "done"
        if number > searches - 500:
            state = "queued"
        elif number > searches - 508:
            state = "running"
        elif number > searches - 520:
            state = "paused"
        elif number % 317 == 0:
            state = "failed"
        elif number % 503 == 0:
            state = "cancelled"
        begun = state in ("done", "running", "failed")
        own = plain
        if state in ("queued", "running", "paused"):
            # What may still be trained has the hash of its content, as the supervisor wants it;
            # the rest only has to be many.
            reseeded = _reseeded(spec, number)
            own, texts[number] = job_row(reseeded, now=BASE_TIME), reseeded.to_json()
        jobs.append(
            {
                **own,
                "id": number,
                "hash": own["hash"]
                if own is not plain
                else f"{number * 0x9E3779B97F4A7C15 % (1 << 128):032x}",
                "name": f"Z{m} {fmt} {'n=' if distribution == 'fixed' else 'L=2..'}{length} {model[1]}",
                "state": state,
                "position": float(number),
                "task": f"Z{m}",
                "m": m,
                "model": model[0],
                "model_label": model[1],
                "format": fmt,
                "distribution": distribution,
                "length": length,
                "min_length": low,
                "n_max": N_MAX,
                "lo": 0 if not begun else hi // 2 if hi else N_MAX,
                "hi": hi if begun else None,
                "status": "open" if state != "done" else "bracket" if hi else "censored",
                "best_loss": rng.random() * 1e-4 if begun else None,
                "epoch": 1 if state == "running" else None,
                "candidates": 0 if not begun else 4 if state == "running" else 5,
                "started_at": BASE_TIME + number if begun else None,
                "finished_at": BASE_TIME + number * 3.0 if state in ("done", "failed", "cancelled") else None,
                "wall_s": 300.0 if begun else 0.0,
                "device": "cuda:0" if state == "running" else None,
                "current_n": 4000 if state == "running" else None,
                "progress": 0.3 if state == "running" else 0.0,
                "reason": "failed\n" + TRACEBACK if state == "failed" else None,
                "tags": '["paper"]',
            }
        )
        return number

    per_combination = LENGTHS[-1] - 1 + 2 * len(LENGTHS)
    for m in range(2, 2 + max(1, searches // (9 * per_combination))):
        for model in MODELS:
            for fmt in FORMATS:
                if len(jobs) + per_combination > searches:
                    break
                single = {n: job(m, model, fmt, "fixed", n) for n in range(2, LENGTHS[-1] + 1)}
                for distribution in ("uniform", "short_to_long"):
                    for length in LENGTHS:
                        number = len(cells) + 1
                        cells.append(
                            {
                                "id": number,
                                "study_id": 1,
                                "ordinal": number - 1,
                                "task": f"Z{m}",
                                "m": m,
                                "model": model[0],
                                "model_label": model[1],
                                "format": fmt,
                                "distribution": distribution,
                                "length": length,
                                "min_length": 2,
                                "joint_job_id": job(m, model, fmt, distribution, length),
                            }
                        )
                        parts += [(number, n, single[n]) for n in range(2, length + 1)]
    alone = 2
    while len(jobs) < searches:
        job(97, MODELS[alone % 3], FORMATS[alone % 2], "fixed", 2 + alone % 29)
        alone += 1
    study = {
        "id": 1,
        "hash": "paper",
        "name": "the paper, and more",
        "notes": "",
        "tags": '["paper"]',
        "priority": 0,
        "created_at": BASE_TIME,
        "archived": 0,
        "spec": "{}",
    }
    _insert(connection, "study", [study])
    _insert(connection, "job", jobs)
    specs = ((j["id"], texts.get(j["id"], spec_text)) for j in jobs)
    connection.executemany("INSERT INTO job_text VALUES (?, ?, '{}')", specs)
    connection.executemany("INSERT INTO study_job VALUES (1, ?, ?)", ((j["id"], j["id"] - 1) for j in jobs))
    _insert(connection, "cell", cells)
    connection.executemany("INSERT INTO cell_part VALUES (?, ?, ?)", parts)
    connection.executemany(
        "INSERT INTO event (at, kind, level, job_id, text, data) VALUES (?, ?, 'info', ?, ?, '{}')",
        ((BASE_TIME + j["id"], f"job.{j['state']}", j["id"], f"{j['name']}: {j['state']}") for j in jobs),
    )
    return jobs


def _paper_probes(
    connection: sqlite3.Connection,
    rng: random.Random,
    jobs: list[dict[str, Any]],
    probes: int,
    trials: int,
    with_curves: bool,
) -> None:
    shapes = [curves.encode(fake_curve(rng, 16_000, 500, 1e-4, k % 2 == 0)) for k in range(16)]
    probe_rows: list[tuple[Any, ...]] = []
    trial_rows: list[tuple[Any, ...]] = []
    for job in jobs:
        if job["state"] in ("queued", "paused", "cancelled"):
            continue
        hi = job["hi"]
        ladder = (
            [N_MAX >> k for k in range(probes)]
            if hi is None
            else sorted({max(1, hi * 2**k // 4) for k in range(probes)})
        )
        for k, n in enumerate(ladder[:probes]):
            success = hi is not None and n >= hi
            live = job["state"] == "running" and k == probes - 1
            number = len(probe_rows) + 1
            since = BASE_TIME + number
            fixed = (number, job["id"], k + 1, n, f"{k:016x}")
            state = ("running", None, 0, None) if live else ("done", success, 0, k + 1)
            ran = (1, 1, "cuda:0", "cuda:0/1", since, since + 60, 60.0, 60.0, 16_000 * trials, trials)
            reached = (
                0 if live else trials,
                16_000,
                0.3 if live else 1.0,
                5e-5 if success else 0.2,
                trials,
                int(success),
            )
            probe_rows.append((*fixed, *state, *ran, *reached, None, 0, ""))
            for t in range(trials):
                outcome = (
                    "running" if live else "failure" if not success else "success" if t == 0 else "superseded"
                )
                loss = 5e-5 if outcome == "success" else rng.random()
                of = (len(trial_rows) + 1, number, job["id"], n, (1e-3, 1e-4, 1e-5)[t % 3], 10 * (t // 3 + 1))
                trial_rows.append((*of, outcome, loss, 12_000, loss * 1.1, 16_000, 20.0, None))
    connection.executemany(f"INSERT INTO probe VALUES ({', '.join('?' * len(probe_rows[0]))})", probe_rows)
    connection.executemany(f"INSERT INTO trial VALUES ({', '.join('?' * len(trial_rows[0]))})", trial_rows)
    if with_curves:
        connection.executemany(
            "INSERT INTO curve VALUES (?, ?)", ((row[0], shapes[row[0] % len(shapes)]) for row in trial_rows)
        )
