"""The verbs of people: each call leaves one row that the supervisor obeys within a second.

Standard library only.

Every function returns the command's id; ``store.read.Lab.command`` tells what became of it. Where no
supervisor runs, ``store.write.apply_pending`` carries the rows out. A verb that makes no sense for a job is
refused there, not here.

Raises (all of them):
    LabError: there is no lab, it cannot be written here, or the call itself is wrong; nothing was written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from store.connect import writing
from store.errors import LabError
from store.json import document

Path = str | os.PathLike[str]
MAX_PAYLOAD = 16 << 20


def pause(lab_path: Path, job_ids: Sequence[int]) -> int:
    """Stop these jobs with a checkpoint and keep them out of the queue until they are resumed."""
    return _jobs(lab_path, "pause", job_ids)


def resume(lab_path: Path, job_ids: Sequence[int]) -> int:
    """Put paused jobs back into the queue."""
    return _jobs(lab_path, "resume", job_ids)


def cancel(lab_path: Path, job_ids: Sequence[int]) -> int:
    """Stop these jobs for good; :func:`undo_cancel` brings them back, with all that they had."""
    return _jobs(lab_path, "cancel", job_ids)


def undo_cancel(lab_path: Path, job_ids: Sequence[int]) -> int:
    """Bring cancelled jobs back to where they were: queued or paused."""
    return _jobs(lab_path, "undo_cancel", job_ids)


def retry(lab_path: Path, job_ids: Sequence[int]) -> int:
    """Queue failed or cancelled jobs again; their finished probes are kept."""
    return _jobs(lab_path, "retry", job_ids)


def archive(lab_path: Path, job_ids: Sequence[int]) -> int:
    """Hide finished jobs from lists."""
    return _jobs(lab_path, "archive", job_ids)


def unarchive(lab_path: Path, job_ids: Sequence[int]) -> int:
    """Take jobs out of the archive."""
    return _jobs(lab_path, "unarchive", job_ids)


def delete(lab_path: Path, job_ids: Sequence[int]) -> int:
    """Remove jobs from every list (what waits is cancelled, what runs is refused);
    :func:`restore` brings them back.
    """
    return _jobs(lab_path, "delete", job_ids)


def restore(lab_path: Path, job_ids: Sequence[int]) -> int:
    """Bring deleted jobs back."""
    return _jobs(lab_path, "restore", job_ids)


def priority(lab_path: Path, job_ids: Sequence[int], value: int) -> int:
    """Set the priority, -1000 to 1000; higher runs first."""
    return _jobs(lab_path, "priority", job_ids, value=value)


def move(lab_path: Path, job_ids: Sequence[int], before: int | None = None) -> int:
    """Put jobs, in this order, right before another one (taking over its priority),
    or at the end of the queue.
    """
    return _jobs(lab_path, "move", job_ids, before=before)


def note(lab_path: Path, job_ids: Sequence[int], text: str) -> int:
    """Replace the note of these jobs."""
    return _jobs(lab_path, "note", job_ids, text=text)


def tag(lab_path: Path, job_ids: Sequence[int], tags: Sequence[str]) -> int:
    """Replace the tags of these jobs."""
    return _jobs(lab_path, "tag", job_ids, tags=list(tags))


def edit(lab_path: Path, job_id: int, patch_json: str) -> int:
    """Change a job: a JSON object with any of name, notes, tags, priority, max_attempts,
    spec (an RFC 7396 merge patch).

    The spec only before the job has begun anything, and only of a job that no kappa cell needs.
    """
    return _leave(lab_path, "edit", {"job": int(job_id), "patch": _object(patch_json, "the patch")})


def study(lab_path: Path, study_id: int, patch_json: str) -> int:
    """Change a study: a JSON object with any of name, notes, tags, archived."""
    return _leave(lab_path, "study", {"study": int(study_id), "patch": _object(patch_json, "the patch")})


def enqueue(lab_path: Path, spec_json: str) -> int:
    """Queue a study or a named job, given as JSON of ``runners.spec.Study`` or ``NamedJob``."""
    return _leave(lab_path, "enqueue", {"spec": _object(spec_json, "the spec")})


def hold(lab_path: Path) -> int:
    """Start nothing new; what runs goes on."""
    return _leave(lab_path, "hold", {})


def release(lab_path: Path) -> int:
    """Go on after :func:`hold`."""
    return _leave(lab_path, "release", {})


def drain(lab_path: Path) -> int:
    """Start nothing new, and end the supervisor when the running probes have ended."""
    return _leave(lab_path, "drain", {})


def device(lab_path: Path, device_id: str, state: str | None = None, slots: int | None = None) -> int:
    """Change a device: state (active, excluded, reserved) or its number of slots."""
    return _leave(lab_path, "device", {"id": device_id, "state": state, "slots": slots})


def _jobs(lab_path: Path, kind: str, job_ids: Sequence[int], **more: object) -> int:
    ids = [int(i) for i in job_ids]
    if not ids:
        raise LabError(f"{kind} names no jobs; expected at least one id")
    return _leave(lab_path, kind, {"jobs": ids, **more})


def _object(text: str, what: str) -> dict[str, Any]:
    found = document(text)
    if not isinstance(found, dict):
        raise LabError(f"{what} is no JSON object; expected one")
    return found


def _leave(lab_path: Path, kind: str, payload: Mapping[str, object]) -> int:
    text = json.dumps(payload)
    try:
        json.dumps(payload, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which no row could hold
        raise LabError(f"{kind} has a text that is not UTF-8; expected text in UTF-8") from None
    if len(text) > MAX_PAYLOAD:
        raise LabError(f"{kind} has {len(text)} characters of content; expected at most {MAX_PAYLOAD}")
    with writing(lab_path) as connection:
        cursor = connection.execute(
            "INSERT INTO command (at, kind, payload, state, result) VALUES (?, ?, ?, 'pending', '')",
            (time.time(), kind, text),
        )
        return int(cursor.lastrowid or 0)
