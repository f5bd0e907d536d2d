"""From a spec to rows: every distinct job once, each study once, kappa's cells tied to their jobs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from runners.spec import Job as JobSpec
from runners.spec import ModularAddition, NamedJob, PluginModel
from runners.spec import Study as StudySpec
from runners.spec.program import Program
from store.write.lab import create_or_open
from store.write.tx import Tx, listed
from store.write.writer import Writer

NEW_JOB: dict[str, Any] = {
    "state": "queued",
    "wanted": None,
    "cancelled_from": None,
    "priority": 0,
    "position": 0.0,
    "attempt": 1,
    "crashes": 0,
    "max_attempts": 5,
    "not_before": 0.0,
    "epoch": None,
    "lo": 0,
    "hi": None,
    "status": "open",
    "best_loss": None,
    "candidates": 0,
    "current_n": None,
    "progress": 0.0,
    "device": None,
    "started_at": None,
    "finished_at": None,
    "deleted_at": None,
    "archived": False,
    "wall_s": 0.0,
    "device_s": 0.0,
    "member_steps": 0,
    "estimate": None,
    "n50": None,
    "generalisation": None,
    "reason": None,
    "tags": "[]",
    "notes": "",
}
"""What its row begins with, as ``store.schema`` says (a test holds them together)."""
NO_LENGTH = {"length": 0, "min_length": 0}
"""Of a program: it has no input lengths."""


@dataclass(frozen=True)
class Submitted:
    """What a submission came to."""

    study_id: int | None
    new: int
    """Jobs that were not known."""
    reused: int
    """Known ones, left as they are: running, waiting, or done."""
    requeued: int
    """Known ones that were failed, cancelled or deleted: queued again, their finished probes kept."""
    jobs: tuple[int, ...]
    """Their ids in the order of the spec."""


def queue_spec(
    tx: Tx, spec: StudySpec | NamedJob, *, jobs_only: bool = False, only: frozenset[str] | None = None
) -> Submitted:
    """Queue a study or a job; an identical job is reused, whatever its state.

    Args:
        jobs_only: no study row and no cells.
        only: hashes of the jobs that are to train here; new ones beside these are paused. None: all.
    """
    if isinstance(spec, NamedJob):
        found = _jobs(
            tx, [spec.job], priority=spec.priority, name=spec.name, notes=spec.notes, tags=spec.tags
        )
        return Submitted(None, *found[1:], tuple(found[0].values()))
    cells = spec.cells()
    distinct = list({job.hash: job for cell in cells for job in cell.jobs}.values())
    ids, new, reused, requeued = _jobs(tx, distinct, priority=spec.priority, only=only)
    study_id = None if jobs_only else _study(tx, spec, cells, ids)
    if study_id is not None:
        tx.event(
            "study.submitted",
            f"{spec.name}: {new} new jobs, {reused} reused, {requeued} queued again",
            data={"study": study_id, "new": new, "reused": reused, "requeued": requeued},
        )
    return Submitted(study_id, new, reused, requeued, tuple(ids[job.hash] for job in distinct))


def _jobs(
    tx: Tx,
    jobs: Sequence[JobSpec],
    *,
    priority: int,
    name: str = "",
    notes: str = "",
    tags: Sequence[str] = (),
    only: frozenset[str] | None = None,
) -> tuple[dict[str, int], int, int, int]:
    known = _known(tx, [job.hash for job in jobs])
    again = [
        row
        for row in known.values()
        if row["state"] in ("failed", "cancelled") or row["deleted_at"] is not None
    ]
    for row in again:
        _requeue_known(tx, row)
    raised = [r["id"] for r in known.values() if r["state"] != "done" and r["priority"] < priority]
    tx.each("UPDATE job SET priority = :priority WHERE id = :id", raised, priority=priority)
    for job in jobs:  # of a program much is no part of the hash: its folder, its time, its slots
        if job.program is not None and job.hash in known and known[job.hash]["state"] != "done":
            tx.run(
                "UPDATE job_text SET spec = :spec WHERE job_id = :job AND spec <> :spec",
                spec=job.to_json(),
                job=known[job.hash]["id"],
            )
    fresh = [job for job in jobs if job.hash not in known]
    ids = {digest: int(row["id"]) for digest, row in known.items()}
    if fresh:
        position = float(tx.rows("SELECT COALESCE(max(position), 0) FROM job")[0][0])
        first = int(tx.rows("SELECT COALESCE(max(id), 0) + 1 FROM job")[0][0])
        rows, texts = [], []
        for i, job in enumerate(fresh):
            row = job_row(job, now=tx.now)
            row |= {"id": first + i, "position": position + i + 1, "priority": priority, "notes": notes}
            row |= {"tags": json.dumps(list(tags))} | ({"name": name} if name else {})
            row |= {"state": "paused"} if only is not None and job.hash not in only else {}
            rows.append(row)
            texts.append({"job_id": first + i, "spec": job.to_json(), "provenance": "{}"})
            ids[job.hash] = first + i
        tx.put("job", *rows)
        tx.put("job_text", *texts)
        tx.run(
            "INSERT INTO event (at, kind, level, job_id, text, data) SELECT :now, 'job.queued', 'info', "
            "id, "
            "name || ': ' || state, '{}' FROM job WHERE id >= :first",
            now=tx.now,
            first=first,
        )
    return ids, len(fresh), len(known) - len(again), len(again)


def _known(tx: Tx, hashes: Iterable[str]) -> dict[str, dict[str, Any]]:
    found = tx.rows(
        "SELECT hash, id, state, deleted_at, priority, name FROM job "
        "WHERE hash IN (SELECT value FROM json_each(:hashes))",
        hashes=listed(hashes),
    )
    return {row.hash: row._asdict() for row in found}


def _requeue_known(tx: Tx, row: dict[str, Any]) -> None:
    was = "deleted" if row["deleted_at"] is not None else row["state"]
    if row["state"] == "done":
        tx.run("UPDATE job SET deleted_at = NULL WHERE id = :job", job=row["id"])
    else:
        tx.run(
            "UPDATE job SET state = 'queued', deleted_at = NULL, archived = 0, crashes = 0, "
            "reason = NULL, "
            "finished_at = NULL, cancelled_from = NULL, not_before = 0, "
            "position = (SELECT max(position) + 1 FROM job) WHERE id = :job",
            job=row["id"],
        )
    tx.event("job.queued", f"{row['name']}: {was} to queued, submitted again", job_id=row["id"])


def _study(tx: Tx, spec: StudySpec, cells: Sequence[Any], ids: dict[str, int]) -> int:
    shape = [[c.task.label, c.format, c.L, c.joint.job.hash, [p.job.hash for p in c.parts]] for c in cells]
    digest = hashlib.sha256(json.dumps([spec.name, shape]).encode()).hexdigest()[:32]
    found = tx.rows("SELECT id FROM study WHERE hash = :hash", hash=digest)
    if found:
        tx.run("UPDATE study SET archived = 0 WHERE id = :id", id=found[0][0])
        return int(found[0][0])
    study = {
        "hash": digest,
        "name": spec.name,
        "notes": spec.notes,
        "tags": json.dumps(list(spec.tags)),
        "priority": spec.priority,
        "created_at": tx.now,
        "archived": False,
        "spec": spec.model_dump_json(),
    }
    study_id = tx.put("study", study)
    asked = ({"study_id": study_id, "job_id": job, "ordinal": i} for i, job in enumerate(ids.values()))
    tx.put("study_job", *asked)
    first = int(tx.rows("SELECT COALESCE(max(id), 0) + 1 FROM cell")[0][0])
    rows, parts = [], []
    for i, cell in enumerate(cells):
        lengths = {"length": cell.L, "min_length": cell.min_length, "distribution": cell.distribution}
        lengths = lengths if cell.joint.job.program is None else {}
        place = {"id": first + i, "study_id": study_id, "ordinal": i}
        joint = {"joint_job_id": ids[cell.joint.job.hash]}
        rows.append(place | axes_row(cell.joint.job) | lengths | joint)
        parts += [{"cell_id": first + i, "n": part.n, "job_id": ids[part.job.hash]} for part in cell.parts]
    if rows:
        tx.put("cell", *rows)
    if parts:
        tx.put("cell_part", *parts)
    return study_id


def modulus(task: object) -> int | None:
    """m, where the task is modular addition."""
    return task.m if isinstance(task, ModularAddition) else None


def model_kind(model: Any) -> str:
    """transformer, lstm, dense_ssm, or a plugin's or program's name."""
    return str(model.name if isinstance(model, PluginModel | Program) else model.kind)


def axes_row(job: JobSpec) -> dict[str, Any]:
    """What tells a job from others in lists; of a program metric and goal stand for format and lengths."""
    row: dict[str, Any] = {"task": job.task.label, "m": modulus(job.task)}
    row |= {"model": model_kind(job.model), "model_label": job.model.label}
    if job.program is not None:
        return row | {"format": job.program.metric, "distribution": job.program.goal} | NO_LENGTH
    return row | {
        "format": job.format,
        "distribution": job.lengths.distribution,
        "length": job.lengths.length,
        "min_length": job.lengths.min_length,
    }


def job_row(job: JobSpec, *, now: float) -> dict[str, Any]:
    """The summary columns of a new job, without its id."""
    flags = [
        *(["capped"] if job.capped else []),
        *([job.training.precision] if job.training.precision != "fp32" else []),
        *(["accuracy"] if job.search.criterion == "accuracy" else []),
    ]
    made = {
        "hash": job.hash,
        "name": job.label,
        "strategy": job.search.strategy,
        "eps": job.bound if job.program is None else job.program.threshold,
        "n_max": job.n_max,
        "trials_per_probe": len(job.grid.members),
        "steps": job.budget,
        "flags": json.dumps(flags),
        "created_at": now,
    }
    return NEW_JOB | axes_row(job) | made


def submit(
    path: str | os.PathLike[str],
    spec: StudySpec | NamedJob,
    *,
    jobs_only: bool = False,
    only: frozenset[str] | None = None,
) -> Submitted:
    """Queue a study or a job in the lab at ``path``, which is made where there is none.

    Args:
        jobs_only, only: see :func:`queue_spec`.

    Raises:
        LabError: the lab cannot be written; nothing was.
    """
    create_or_open(path)
    with Writer(path) as writer, writer.transaction() as tx:
        return queue_spec(tx, spec, jobs_only=jobs_only, only=only)
