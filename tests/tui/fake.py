"""A lab in memory with the methods of ``store.read.Lab``: what the screens' own tests draw."""

from __future__ import annotations

import json
import math
import random
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from store.rows import (
    CellRow,
    Curve,
    DeviceRow,
    EventRow,
    JobRow,
    NodeRow,
    NStar,
    ProbeRow,
    ProbeState,
    Status,
    StudyRow,
    SupervisorRow,
    TrialOutcome,
    TrialRow,
)

T0 = 1_771_400_000.0
MODELS = (("dense_ssm", "dense_ssm 16"), ("lstm", "lstm 32"), ("transformer", "transformer 2x32"))


def job_row(id: int, **changes: Any) -> JobRow:
    """A job with plain values; ``changes`` replace them
    (fields of later schemas are filled with their defaults).
    """
    import dataclasses

    values: dict[str, Any] = {
        "id": id, "hash": f"{zlib.crc32(str(id).encode()):08x}" * 4, "name": "", "state": "queued",
        "priority": 0, "position": float(id), "attempt": 1, "max_attempts": 3, "task": "Z3", "m": 3,
        "model": "dense_ssm", "model_label": "dense_ssm 16", "format": "acot", "distribution": "uniform",
        "length": 7, "min_length": 2, "strategy": "log", "eps": 1e-3, "n_max": 2910, "trials_per_probe": 4,
        "steps": 500, "lo": 0, "hi": None, "status": "open", "flags": (), "best_loss": None, "candidates": 0,
        "current_n": None, "progress": 0.0, "device": None, "created_at": T0, "started_at": None,
        "finished_at": None, "wall_s": 0.0, "device_s": 0.0, "member_steps": 0, "reason": None, "notes": "",
        "tags": (), "archived": False,
    }  # fmt: skip
    values |= changes
    for f in dataclasses.fields(JobRow):
        if (
            f.name not in values
            and f.default is dataclasses.MISSING
            and f.default_factory is dataclasses.MISSING
        ):
            values[f.name] = 0 if "int" in str(f.type) else None
    return JobRow(**values)


@dataclass
class FakeLab:
    """Everything in lists; ``touch`` moves the version as a commit would."""

    rows: list[JobRow] = field(default_factory=list)
    study_rows: list[StudyRow] = field(default_factory=list)
    probe_rows: list[ProbeRow] = field(default_factory=list)
    trial_rows: list[TrialRow] = field(default_factory=list)
    curve_rows: dict[int, Curve] = field(default_factory=dict)
    cell_rows: list[CellRow] = field(default_factory=list)
    event_rows: list[EventRow] = field(default_factory=list)
    supervisor_row: SupervisorRow | None = None
    path: str = "lab.db"
    read_only: bool = False
    notice: str = ""
    version: int = 1
    reads: list[str] = field(default_factory=list)
    fails: Exception | None = None

    def touch(self) -> None:
        self.version += 1

    def change(self, id: int, **changes: Any) -> None:
        self.rows = [replace(r, **changes) if r.id == id else r for r in self.rows]
        self.touch()

    def data_version(self) -> int:
        if self.fails is not None:
            raise self.fails
        return self.version

    def close(self) -> None:
        pass

    def counts(self) -> dict[str, int]:
        out: dict[str, int] = {}
        for r in self.rows:
            out[r.state] = out.get(r.state, 0) + 1
        return out

    def supervisor(self) -> SupervisorRow | None:
        return self.supervisor_row

    def pending_commands(self) -> int:
        return 0

    def studies(self) -> list[StudyRow]:
        return self.study_rows

    def study(self, id: int) -> StudyRow:
        return next(s for s in self.study_rows if s.id == id)

    def nodes(self) -> list[NodeRow]:
        return []

    def last_event_id(self) -> int:
        return self.event_rows[-1].id if self.event_rows else 0

    def events(self, after: int = 0, job_id: int | None = None, limit: int = 200) -> list[EventRow]:
        rows = [e for e in self.event_rows if e.id > after and (job_id is None or e.job_id == job_id)]
        return rows[-limit:]

    def job_ids(
        self,
        where: Iterable[Any] = (),
        order: str = "queue",
        study: int | None = None,
        archived: bool | None = False,
    ) -> array[int]:
        rows = [r for r in self.rows if archived is None or r.archived == archived]
        rows = [r for r in rows if all(_holds(r, c) for c in where)]
        live = {"running": 0, "failed": 1, "paused": 2, "queued": 3}
        if order == "queue":
            rows.sort(key=lambda r: (live.get(r.state, 4), -r.priority, r.position))
        else:
            name = order.lstrip("-")
            attribute = {"L": "length", "finished": "finished_at", "created": "created_at"}.get(name, name)
            rows.sort(key=lambda r: getattr(r, attribute) or 0, reverse=order.startswith("-"))
        return array("q", (r.id for r in rows))

    def jobs(self, ids: Sequence[int] | None = None) -> list[JobRow]:
        self.reads.append("jobs")
        by_id = {r.id: r for r in self.rows}
        return list(self.rows) if ids is None else [by_id[i] for i in ids if i in by_id]

    def job(self, reference: str | int) -> JobRow:
        from store.errors import LabError

        for r in self.rows:
            if r.id == reference or (isinstance(reference, str) and r.hash.startswith(reference)):
                return r
        raise LabError(f"there is no job {reference}")

    def accuracies(self) -> dict[int, tuple[float, ...]]:
        return {}

    def job_specs(self, ids: Sequence[int]) -> dict[int, str]:
        return {i: self.job_spec(i) for i in ids}

    def job_spec(self, id: int) -> str:
        row = self.job(id)
        return json.dumps(
            {
                "task": {"kind": "modular_addition", "m": row.m}, "format": row.format,
                "lengths": {
                    "distribution": row.distribution, "length": row.length, "min_length": row.min_length,
                },
                "model": {"kind": row.model},
                "grid": {"learning_rates": [0.01, 0.003], "seeds": [10, 20]},
                "training": {"batch_size": 64, "steps": row.steps, "eval_every": 25},
                "search": {"strategy": row.strategy, "eps": row.eps},
            }
        )  # fmt: skip

    def provenance(self, id: int) -> dict[str, Any]:
        return {"torch": "2.13", "device": "cpu"}

    def probes(self, job_id: int) -> list[ProbeRow]:
        return [p for p in self.probe_rows if p.job_id == job_id]

    def trials(self, job_id: int | None = None, probe_id: int | None = None) -> list[TrialRow]:
        return [
            t
            for t in self.trial_rows
            if (job_id is None or t.job_id == job_id) and (probe_id is None or t.probe_id == probe_id)
        ]

    def trial_ids(self, where: Iterable[Any] = (), order: str = "id", study: int | None = None) -> array[int]:
        rows = [t for t in self.trial_rows if all(_holds(t, c) for c in where)]
        name = order.lstrip("-")
        rows.sort(
            key=lambda t: getattr(t, {"job": "job_id"}.get(name, name)) or 0, reverse=order.startswith("-")
        )
        return array("q", (t.id for t in rows))

    def trials_by_id(self, ids: Sequence[int]) -> list[TrialRow]:
        by_id = {t.id: t for t in self.trial_rows}
        return [by_id[i] for i in ids if i in by_id]

    def curve(self, trial_id: int) -> Curve | None:
        return self.curve_rows.get(trial_id)

    def curves(self, probe_id: int) -> dict[int, Curve]:
        return {
            t.id: self.curve_rows[t.id]
            for t in self.trial_rows
            if t.probe_id == probe_id and t.id in self.curve_rows
        }

    def cells(self, study_id: int | None = None) -> list[CellRow]:
        return [c for c in self.cell_rows if study_id is None or c.study_id == study_id]

    def devices(self) -> list[DeviceRow]:
        return [DeviceRow("cpu", "CPU", 2, "active", "")]

    def speed(self) -> dict[tuple[str, int], float]:
        return {("dense_ssm 16", 7): 9_000.0, ("lstm 32", 7): 3_000.0, ("transformer 2x32", 12): 1_500.0}

    def studies_of(self, job_id: int) -> list[int]:
        return [s.id for s in self.study_rows[:1]]


def _holds(row: Any, condition: Any) -> bool:
    name = {
        "L": "length", "label": "model_label", "job": "job_id", "loss": "best_loss", "trial": "id",
        "created": "created_at",
    }.get(condition.field, condition.field)  # fmt: skip
    have, want = getattr(row, name, None), condition.value
    if isinstance(want, tuple):
        return bool((have in want) == (condition.op == "="))
    if condition.op == "~":
        return str(want).lower() in str(have).lower()
    if have is None:
        return False
    answers: dict[str, bool] = {
        "=": have == want,
        "!=": have != want,
        "<": have < want if not isinstance(have, str) else False,
        "<=": have <= want if not isinstance(have, str) else False,
        ">": have > want if not isinstance(have, str) else False,
        ">=": have >= want if not isinstance(have, str) else False,
    }
    return answers[str(condition.op)]


@dataclass
class _Maker:
    rng: random.Random
    lab: FakeLab
    at: float = T0

    def job(self, state: str, **changes: Any) -> JobRow:
        id = len(self.lab.rows) + 1
        true = changes.pop("true", None)
        row = job_row(id, state=state, **changes)
        self.lab.rows.append(row)
        if true is not None or state in ("running", "done", "paused"):
            row = self._search(row, true)
            self.lab.rows[-1] = row
        return row

    def _search(self, job: JobRow, true: float | None) -> JobRow:
        """Walk down by halves, then bisect in logs, against a true N* (None: nothing ever succeeds)."""
        lo, hi, n = 0, None, job.n_max
        steps = 99 if job.state == "done" else self.rng.randint(4, 6)
        k = 0
        while k < steps:
            ok = true is not None and n >= true
            self._probe(job, k, n, ok, done=True)
            k += 1
            if ok:
                hi = n
            else:
                lo = n
            if true is None and k >= 4:
                break
            if hi is not None and (hi <= 1 or (lo and (hi - lo <= 1 or hi / lo <= 1.1))):
                break
            n = n // 2 if (lo == 0 or hi is None) else min(hi - 1, max(lo + 1, round(math.sqrt(lo * hi))))
            n = max(1, n)
        finished = job.state == "done"
        status: Status = ("bracket" if hi is not None else "censored") if finished else "open"
        progress = 0.0
        if not finished:
            progress = round(self.rng.uniform(0.15, 0.85), 2)
            self._probe(job, k, n, None, done=False, progress=progress, paused=job.state == "paused")
        return replace(
            job, lo=0 if status == "censored" else lo, hi=hi, status=status, candidates=k, wall_s=k * 2.3,
            device_s=k * 2.1, member_steps=k * 1800, current_n=None if finished else n, progress=progress,
            device="cpu", started_at=T0, finished_at=T0 + 60 * job.id if finished else None,
            best_loss=2.1e-3 if status == "censored" else 6.2e-4,
        )  # fmt: skip

    def _probe(
        self,
        job: JobRow,
        ordinal: int,
        n: int,
        verdict: bool | None,
        *,
        done: bool,
        progress: float = 1.0,
        paused: bool = False,
    ) -> None:
        id = len(self.lab.probe_rows) + 1
        grid = [(lr, seed) for lr in (1e-2, 3e-3) for seed in (10, 20)]
        step = round(job.steps * progress / 25) * 25
        winner = self.rng.randrange(len(grid)) if verdict else None
        for i, (lr, seed) in enumerate(grid):
            tid = len(self.lab.trial_rows) + 1
            outcome: TrialOutcome
            if not done:
                outcome, best = "running", 10 ** self.rng.uniform(-2.6, -0.5)
            elif verdict:
                outcome = "success" if i == winner else "superseded"
                best = job.eps * 0.7 if i == winner else 10 ** self.rng.uniform(-2.8, -1)
            else:
                outcome, best = "failure", 10 ** self.rng.uniform(-2.7, 0)
            self.lab.trial_rows.append(
                TrialRow(tid, id, job.id, n, lr, seed, outcome, best, step, best, step, 0.6, None)
            )
            xs = tuple(range(25, max(50, step) + 1, max(25, step // 20 // 25 * 25 or 25)))
            va = tuple(best * 10 ** (1.6 * (1 - x / xs[-1])) * self.rng.uniform(0.85, 1.2) for x in xs)
            self.lab.curve_rows[tid] = Curve(xs, tuple(v * 0.8 for v in va), va)
        state: ProbeState = "done" if done else ("interrupted" if paused else "running")
        best = min(t.best_loss or 9 for t in self.lab.trial_rows[-len(grid) :])
        self.lab.probe_rows.append(
            ProbeRow(
                id, job.id, ordinal, n, state, verdict, False, 1, "cpu", "cpu.0", self.at,
                self.at + 2.3 if done else None, 2.3 if done else 1.2, step * 4, len(grid),
                len(grid) if done else 0, step, best, "{}", 0, 0,
            )
        )  # fmt: skip
        self.at += 2.3


TRUE = {
    ("dense_ssm", "acot"): lambda L: 900 / (L + 3), ("dense_ssm", "outcome"): lambda L: 60 * L,
    ("dense_ssm", "cot"): None, ("lstm", "acot"): lambda L: 180 + 10 * L,
    ("lstm", "outcome"): lambda L: 110 * L, ("lstm", "cot"): None, ("transformer", "cot"): lambda L: 260 * L,
    ("transformer", "acot"): lambda L: 900 * L, ("transformer", "outcome"): lambda L: 3000 * L,
}  # fmt: skip
"""A story like the paper's: recurrent models share over lengths, transformers do not."""


def small_lab(seed: int = 3) -> FakeLab:
    """Two studies, every state, cells with every kind of kappa."""
    lab = FakeLab()
    make = _Maker(random.Random(seed), lab)
    cells: list[CellRow] = []
    for model, label in MODELS:
        for fmt in ("outcome", "cot", "acot"):
            law = TRUE[model, fmt]
            parts = {}
            state = (
                "done" if (model, fmt) not in {("transformer", "outcome"), ("lstm", "outcome")} else "open"
            )
            for n in range(4, 9):
                value = (
                    None
                    if law is None or (model == "lstm" and n == 4)
                    else law(n) * make.rng.uniform(0.8, 1.2)
                )
                kind = "done" if state == "done" else ("running" if n == 6 else "done" if n < 6 else "queued")
                known = {"true": value} if kind != "queued" else {}
                parts[n] = make.job(
                    kind,
                    model=model,
                    model_label=label,
                    format=fmt,
                    distribution="fixed",
                    length=n,
                    min_length=n,
                    n_max=16_000,
                    **known,
                )
            for L in (6, 7, 8):
                joint_true = None
                if law is not None:
                    factor = {"dense_ssm": 1.1, "lstm": 1.4, "transformer": 5.5}[model]
                    joint_true = law(L) * factor * make.rng.uniform(0.8, 1.2)
                kind = (
                    "done"
                    if state == "done" and L < 8
                    else "paused"
                    if model == "dense_ssm" and L == 8
                    else "queued"
                )
                extra = {"true": joint_true} if kind != "queued" else {}
                joint = make.job(
                    kind,
                    model=model,
                    model_label=label,
                    format=fmt,
                    length=L,
                    min_length=4,
                    n_max=16_000,
                    **extra,
                )
                cells.append(
                    CellRow(
                        len(cells) + 1, 1, "Z3", 3, model, label, fmt, "uniform", L, 4,
                        _star(joint, None), tuple(_star(parts[n], n) for n in range(4, L + 1)),
                    )
                )  # fmt: skip
    lab.cell_rows = cells
    failed = make.job(
        "failed", model="lstm", model_label="lstm 768", format="cot", length=20, reason="out of memory"
    )
    make.job(
        "cancelled",
        model="transformer",
        model_label="transformer 6x256",
        format="cot",
        length=30,
        task="S5",
        m=None,
    )
    make.job(
        "queued",
        priority=3,
        task="S5",
        m=None,
        name="by night",
        notes="ask Ada",
        n_max=16_000_000,
        trials_per_probe=15,
    )
    counts: dict[str, int] = {}
    for r in lab.rows[:-3]:
        counts[r.state] = counts.get(r.state, 0) + 1
    lab.study_rows = [
        StudyRow(1, "quick", "", ("demo",), T0, False, counts, "{}"),
        StudyRow(2, "nights", "", (), T0, False, {"failed": 1, "cancelled": 1, "queued": 1}, "{}"),
    ]
    for i, row in enumerate(r for r in lab.rows if r.state == "done"):
        lab.event_rows.append(
            EventRow(
                i + 1,
                T0 + 30 * i,
                "done",
                "info",
                row.id,
                None,
                f"job {row.id} done: N* = {row.hi or 'censored'}",
                "{}",
            )
        )
    lab.event_rows.append(
        EventRow(
            len(lab.event_rows) + 1,
            T0 + 4000,
            "failed",
            "error",
            failed.id,
            None,
            "job failed: out of memory",
            "{}",
        )
    )
    lab.supervisor_row = SupervisorRow(1, 4242, T0, "host", "boot", "0.1.0", T0, T0, "running", "", True)
    return lab


def _star(job: JobRow, n: int | None) -> NStar:
    return NStar(job.id, n, job.state, job.status, job.lo, job.hi, job.n_max, job.flags)
