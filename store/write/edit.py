"""Verbs that change what a job or a study says rather than its state:
priority, place, notes, tags, the spec itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import bindparam, text

from runners.spec import Job as JobSpec
from store.errors import LabError
from store.json import mapping
from store.write.submit import job_row
from store.write.tx import CHUNK, Tx

_DEFINING = (
    "hash", "task", "m", "model", "model_label", "format", "distribution", "length", "min_length", "strategy",
    "eps", "n_max", "trials_per_probe", "steps", "flags",
)  # fmt: skip
EDITABLE = ("name", "notes", "tags", "priority", "max_attempts", "spec")


def states_of(tx: Tx, ids: Sequence[int]) -> dict[int, str]:
    """The states of those jobs that exist and are not deleted."""
    found: dict[int, str] = {}
    for start in range(0, len(ids), CHUNK):
        query = text("SELECT id, state FROM job WHERE deleted_at IS NULL AND id IN :ids").bindparams(
            bindparam("ids", expanding=True)
        )
        found |= {row[0]: row[1] for row in tx.c.execute(query, {"ids": list(ids[start : start + CHUNK])})}
    return {i: found[i] for i in ids if i in found}


def those_where(tx: Tx, ids: Sequence[int], condition: str) -> list[int]:
    """Those of the jobs that meet a condition (a constant of ours)."""
    found: set[int] = set()
    for start in range(0, len(ids), CHUNK):
        query = text(f"SELECT id FROM job WHERE ({condition}) AND id IN :ids").bindparams(
            bindparam("ids", expanding=True)
        )
        found |= {row[0] for row in tx.c.execute(query, {"ids": list(ids[start : start + CHUNK])})}
    return [i for i in ids if i in found]


def _known_ids(tx: Tx, ids: Sequence[int]) -> list[int]:
    found = list(states_of(tx, ids))
    if not found:
        raise LabError(
            f"there is no job {ids[0]}" if len(ids) == 1 else f"none of these {len(ids)} jobs is there"
        )
    return found


def _priority(tx: Tx, ids: Sequence[int], value: object) -> tuple[str, list[Any]]:
    if type(value) is not int or not -1000 <= value <= 1000:
        raise LabError(f"priority is {str(value)[:40]}; expected an integer -1000 to 1000")
    found = _known_ids(tx, ids)
    tx.each("UPDATE job SET priority = :value WHERE id = :id", found, value=value)
    tx.event(
        "job.priority",
        f"{len(found)} jobs have priority {value}",
        job_id=found[0] if len(found) == 1 else None,
    )
    return f"{len(found)} {'job has' if len(found) == 1 else 'jobs have'} priority {value}", []


def _move(tx: Tx, ids: Sequence[int], before: object) -> tuple[str, list[Any]]:
    """Put jobs, in the given order, right before another one (with its priority), or at the very end."""
    found = _known_ids(tx, ids)
    if before is None:
        row = tx.rows("SELECT COALESCE(max(position), 0) FROM job")[0]
        lowest = tx.rows(
            "SELECT COALESCE(min(priority), 0) FROM job WHERE state IN ('queued', 'paused', 'running')"
        )[0][0]
        places = [(float(row[0]) + 1 + k, lowest) for k in range(len(found))]
    else:
        if type(before) is not int or before in found:
            raise LabError(
                "before is no other job's id; expected the job to go in front of, or none for the end"
            )
        target = tx.rows(
            "SELECT position, priority FROM job WHERE id = :id AND deleted_at IS NULL", id=before
        )
        if not target:
            raise LabError(f"there is no job {before} to go in front of")
        position, priority = float(target[0][0]), int(target[0][1])
        places = _gap(tx, found, before, position, priority)
    values = [
        {"id": i, "position": at, "priority": priority}
        for i, (at, priority) in zip(found, places, strict=True)
    ]
    tx.c.exec_driver_sql("UPDATE job SET position = :position, priority = :priority WHERE id = :id", values)
    tx.event(
        "job.moved", f"{len(found)} jobs moved in the queue", job_id=found[0] if len(found) == 1 else None
    )
    return f"{len(found)} {'job' if len(found) == 1 else 'jobs'} moved", []


def _gap(tx: Tx, ids: Sequence[int], before: int, position: float, priority: int) -> list[tuple[float, int]]:
    moved = set(ids)
    below = [
        r[0]
        for r in tx.rows(
            "SELECT position, id FROM job WHERE priority = :priority AND position < :position "
            "AND state IN ('queued', 'paused', 'running') ORDER BY position DESC LIMIT :most",
            priority=priority,
            position=position,
            most=len(moved) + 1,
        )
        if r[1] not in moved
    ]
    floor = float(below[0]) if below else position - len(ids) - 1
    step = (position - floor) / (len(ids) + 1)
    places = [floor + step * (k + 1) for k in range(len(ids))]
    if len({floor, position, *places}) < len(ids) + 2:
        # the numbers between two neighbours are used up: number the queue anew, then there is room again
        tx.run(
            "UPDATE job SET position = 1.0 * "
            "(SELECT count(*) FROM job AS j WHERE (j.position, j.id) < (job.position, job.id)) "
            "WHERE state IN ('queued', 'paused', 'running')"
        )
        row = tx.rows("SELECT position FROM job WHERE id = :id", id=before)[0]
        return _gap(tx, ids, before, float(row[0]), priority)
    return [(place, priority) for place in places]


def _note(tx: Tx, ids: Sequence[int], note: object) -> tuple[str, list[Any]]:
    if not isinstance(note, str) or len(note) > 10_000:
        raise LabError("the note is no text of at most 10000 characters")
    found = _known_ids(tx, ids)
    tx.each("UPDATE job SET notes = :note WHERE id = :id", found, note=note)
    return f"{len(found)} {'job' if len(found) == 1 else 'jobs'} noted", []


def _tag(tx: Tx, ids: Sequence[int], tags: object) -> tuple[str, list[Any]]:
    words = _tags(tags)
    found = _known_ids(tx, ids)
    tx.each("UPDATE job SET tags = :tags WHERE id = :id", found, tags=json.dumps(words))
    return f"{len(found)} {'job' if len(found) == 1 else 'jobs'} tagged", []


def _edit(tx: Tx, p: dict[str, Any]) -> tuple[str, list[Any]]:
    job_id, patch = p.get("job"), p.get("patch")
    if type(job_id) is not int or not isinstance(patch, dict) or not patch:
        raise LabError(
            "an edit needs a job and a patch; expected an id and an object with one of: "
            + ", ".join(EDITABLE)
        )
    unknown = set(patch) - set(EDITABLE)
    if unknown:
        raise LabError(f"{sorted(unknown)[0]!r} cannot be edited; expected one of: {', '.join(EDITABLE)}")
    _known_ids(tx, [job_id])
    if "name" in patch:
        name = patch["name"]
        if not isinstance(name, str) or not 1 <= len(name) <= 80:
            raise LabError("name is no text of 1 to 80 characters")
        tx.run("UPDATE job SET name = :name WHERE id = :id", name=name, id=job_id)
    if "notes" in patch:
        _note(tx, [job_id], patch["notes"])
    if "tags" in patch:
        _tag(tx, [job_id], patch["tags"])
    if "priority" in patch:
        _priority(tx, [job_id], patch["priority"])
    if "max_attempts" in patch:
        most = patch["max_attempts"]
        if type(most) is not int or not 1 <= most <= 1000:
            raise LabError(f"max_attempts is {str(most)[:40]}; expected an integer 1 to 1000")
        tx.run("UPDATE job SET max_attempts = :most WHERE id = :id", most=most, id=job_id)
    if "spec" in patch:
        _edit_spec(tx, job_id, patch["spec"])
    tx.event("job.edited", f"job {job_id}: {', '.join(sorted(patch))} edited", job_id=job_id)
    return f"job {job_id} edited: {', '.join(sorted(patch))}", []


def _edit_spec(tx: Tx, job_id: int, patch: object) -> None:
    row = tx.rows(
        "SELECT state, spec, (SELECT count(*) FROM probe WHERE job_id = job.id) AS probes, "
        "(SELECT study_id FROM study_job WHERE job_id = job.id LIMIT 1) AS study "
        "FROM job JOIN job_text ON job_text.job_id = job.id WHERE job.id = :id",
        id=job_id,
    )[0]
    if row.state not in ("queued", "paused"):
        raise LabError(f"job {job_id} is {row.state}; expected a queued or paused one to edit its spec")
    if row.probes:
        raise LabError(
            f"job {job_id} has results that its spec explains; "
            "expected one that has not begun: submit a new one"
        )
    if row.study is not None:
        raise LabError(
            f"job {job_id} belongs to study {row.study}, whose cells need it as it is; "
            "expected a job of its own"
        )
    try:
        job = JobSpec.model_validate_json(json.dumps(merge_patch(mapping(row.spec), patch)))
        values = job_row(job, now=tx.now)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise LabError(
            f"the edited spec is not valid: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise LabError(f"the edited spec is not valid: {str(error)[:300]}") from None
    twin = tx.rows("SELECT id FROM job WHERE hash = :hash AND id <> :id", hash=job.hash, id=job_id)
    if twin:
        raise LabError(f"job {twin[0][0]} is that very search already; expected a spec that is not there yet")
    sets = ", ".join(f"{name} = :{name}" for name in _DEFINING)
    tx.run(f"UPDATE job SET {sets} WHERE id = :id", id=job_id, **{name: values[name] for name in _DEFINING})
    tx.run("UPDATE job_text SET spec = :spec WHERE job_id = :id", spec=job.to_json(), id=job_id)


def _edit_study(tx: Tx, p: dict[str, Any]) -> tuple[str, list[Any]]:
    study_id, patch = p.get("study"), p.get("patch")
    if type(study_id) is not int or not tx.rows("SELECT 1 FROM study WHERE id = :id", id=study_id):
        raise LabError(f"there is no study {str(study_id)[:40]}")
    if not isinstance(patch, dict) or not patch or set(patch) - {"name", "notes", "tags", "archived"}:
        raise LabError("a study's patch has something else; expected name, notes, tags or archived")
    checked: dict[str, object] = {}
    if "name" in patch:
        if not isinstance(patch["name"], str) or not 1 <= len(patch["name"]) <= 80:
            raise LabError("name is no text of 1 to 80 characters")
        checked["name"] = patch["name"]
    if "notes" in patch:
        if not isinstance(patch["notes"], str) or len(patch["notes"]) > 10_000:
            raise LabError("the note is no text of at most 10000 characters")
        checked["notes"] = patch["notes"]
    if "tags" in patch:
        checked["tags"] = json.dumps(_tags(patch["tags"]))
    if "archived" in patch:
        if not isinstance(patch["archived"], bool):
            raise LabError("archived is neither true nor false")
        checked["archived"] = int(patch["archived"])
    tx.run(
        f"UPDATE study SET {', '.join(f'{k} = :{k}' for k in checked)} WHERE id = :id",
        id=study_id,
        **checked,
    )
    return f"study {study_id} edited: {', '.join(checked)}", []


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: objects merge, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _tags(tags: object) -> list[str]:
    if (
        not isinstance(tags, list)
        or len(tags) > 50
        or not all(isinstance(t, str) and 1 <= len(t) <= 40 for t in tags)
    ):
        raise LabError("the tags are no list of at most 50 words of 1 to 40 characters")
    return list(dict.fromkeys(tags))
