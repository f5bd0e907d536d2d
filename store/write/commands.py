"""What people asked for, carried out: each command row ends done or refused,
in one transaction with all that it changes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from runners.spec import Job as JobSpec
from runners.spec import NamedJob
from runners.spec import Study as StudySpec
from store.errors import LabError
from store.json import mapping
from store.locks import supervisor_alive
from store.paths import LabPaths
from store.states import JobState
from store.write import jobs, lab
from store.write.lab import create_or_open
from store.write.submit import job_row, queue_spec
from store.write.tx import ONE_OF, Tx, listed
from store.write.writer import Writer

MAX_IDS = 1_000_000


@dataclass(frozen=True)
class Command:
    """A verb that waits."""

    id: int
    at: float
    kind: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Action:
    """What the supervisor has to do for a command beyond what is written already."""

    kind: Literal["stop", "hold", "release", "drain", "device", "wake"]
    """stop: checkpoint the job's run and then ``set_job(job_id, then)``; wake:
    something may be runnable now.
    """
    job_id: int | None = None
    then: JobState | None = None
    device: str | None = None


@dataclass(frozen=True)
class Applied:
    """What became of a command."""

    id: int
    kind: str
    ok: bool
    text: str
    """One sentence."""
    actions: tuple[Action, ...] = ()


class _RefusalError(Exception):
    """The verb cannot be carried out; the sentence is its text."""


_Result = tuple[str, list[Action]]


def pending(tx: Tx) -> list[Command]:
    """The verbs that wait, oldest first."""
    # As bytes: a text that is not UTF-8 is a command that is refused, not one that blocks all behind it.
    rows = tx.rows(
        "SELECT id, at, CAST(kind AS BLOB) AS kind, CAST(payload AS BLOB) AS payload FROM command "
        "WHERE state = 'pending' ORDER BY id"
    )
    return [
        Command(row.id, row.at, (row.kind or b"").decode(errors="replace"), mapping(row.payload or b""))
        for row in rows
    ]


def finish(tx: Tx, command_id: int, ok: bool, text: str) -> None:
    """A command is over, with its sentence."""
    state = "done" if ok else "refused"
    tx.change("command", command_id, state=state, result=text[:2000], finished_at=tx.now)


def apply(tx: Tx, command: Command, *, live: bool = True) -> Applied:
    """Carry out a verb, and finish its row: done, or refused with the reason and nothing changed.

    Args:
        live: a supervisor does this: a running job is really running, and it must act on the actions.
            False: no supervisor lives, and a job that says "running" was left behind by a dead one.
    """
    try:
        json.dumps(command.payload, ensure_ascii=False).encode()  # half a surrogate pair stops here
        with tx.undone_if_refused():
            text, actions = _carry_out(tx, command, live)
        applied = Applied(command.id, command.kind, True, text, tuple(actions))
    except (_RefusalError, LabError, UnicodeError, OverflowError) as refusal:
        why = str(refusal)
        if isinstance(refusal, UnicodeError):
            why = "it holds a character that is none; expected text in UTF-8"
        elif isinstance(refusal, OverflowError):
            why = "it holds an integer beyond 64 bits; expected one that SQLite can keep"
        applied = Applied(command.id, command.kind, False, why)
        tx.event("command.refused", f"{command.kind}: {why}", level="warning")
    finish(tx, command.id, applied.ok, applied.text)
    return applied


def _carry_out(tx: Tx, command: Command, live: bool) -> _Result:
    p = command.payload
    verbs: dict[str, Callable[[], _Result]] = {
        "pause": lambda: _stop_jobs(tx, _ids(p), "paused", live),
        "cancel": lambda: _stop_jobs(tx, _ids(p), "cancelled", live),
        "resume": lambda: _resume(tx, _ids(p)),
        "retry": lambda: _change(
            tx, _ids(p), "retried", {"failed": "queued", "cancelled": "queued"}, "crashes = 0, "
        ),
        "undo_cancel": lambda: _undo_cancel(tx, _ids(p)),
        "archive": lambda: _set_flag(
            tx, _ids(p), "archived", 1, "archived", "state IN ('done', 'failed', 'cancelled')"
        ),
        "unarchive": lambda: _set_flag(
            tx, _ids(p), "archived", 0, "taken out of the archive", "archived = 1"
        ),
        "delete": lambda: _delete(tx, _ids(p)),
        "restore": lambda: _set_flag(tx, _ids(p), "deleted_at", None, "restored", "deleted_at IS NOT NULL"),
        "priority": lambda: _priority(tx, _ids(p), p.get("value")),
        "move": lambda: _move(tx, _ids(p), p.get("before")),
        "note": lambda: _note(tx, _ids(p), p.get("text")),
        "tag": lambda: _tag(tx, _ids(p), p.get("tags")),
        "edit": lambda: _edit(tx, p),
        "study": lambda: _edit_study(tx, p),
        "hold": lambda: _hold(tx, True),
        "release": lambda: _hold(tx, False),
        "drain": lambda: (
            "no new work is started, and the supervisor ends after what runs",
            [Action("drain")],
        ),
        "enqueue": lambda: _enqueue(tx, p),
        "device": lambda: _device(tx, p),
    }
    verb = verbs.get(command.kind)
    if verb is None:
        raise _RefusalError(f"there is no verb {command.kind!r}; expected one of: {', '.join(verbs)}")
    return verb()


# verbs on jobs


def _stop_jobs(tx: Tx, ids: Sequence[int], then: JobState, live: bool) -> _Result:
    word = "paused" if then == "paused" else "cancelled"
    allowed: dict[str, str] = {"queued": then}
    if then == "cancelled":
        allowed["paused"] = then
    states = states_of(tx, ids)
    actions: list[Action] = []
    running = [i for i, state in states.items() if state == "running"]
    if not live:
        for i in running:
            jobs.set_job(tx, i, then, reason="lost", text="its supervisor was gone")
    elif running:
        tx.each("UPDATE job SET wanted = :then WHERE id = :id AND state = 'running'", running, then=then)
        actions = [Action("stop", i, then) for i in running]
    note = f", {len(running)} of them as soon as their checkpoints are written" if actions else ""
    text, _ = _change(
        tx, ids, word, allowed, "cancelled_from = state, " if then == "cancelled" else "", also=len(running)
    )
    return text + note, actions


def _resume(tx: Tx, ids: Sequence[int]) -> _Result:
    withdrawn = tx.each(
        "UPDATE job SET wanted = NULL WHERE id = :id AND state = 'running' AND wanted = 'paused'", ids
    )
    # the run may be stopping already; then it is put back to queued at once,
    # because nothing else is wanted any more
    return _change(tx, ids, "resumed", {"paused": "queued"}, also=withdrawn)


def _undo_cancel(tx: Tx, ids: Sequence[int]) -> _Result:
    withdrawn = tx.each(
        "UPDATE job SET wanted = NULL WHERE id = :id AND state = 'running' AND wanted = 'cancelled'", ids
    )
    was_paused = set(
        those_where(tx, ids, "state = 'cancelled' AND cancelled_from = 'paused' AND deleted_at IS NULL")
    )
    rest = [i for i in ids if i not in was_paused]
    to_pause = len(was_paused)
    if was_paused:
        _change(tx, list(was_paused), "paused again", {"cancelled": "paused"})
    return _change(tx, rest, "brought back", {"cancelled": "queued"}, also=to_pause + withdrawn)


def _delete(tx: Tx, ids: Sequence[int]) -> _Result:
    states = states_of(tx, ids)
    running = sum(state == "running" for state in states.values())
    if running:
        raise _RefusalError(f"{running} of these jobs run; expected none: cancel them first")
    waiting = [i for i, state in states.items() if state in ("queued", "paused")]
    if waiting:
        _change(
            tx,
            waiting,
            "cancelled",
            {"queued": "cancelled", "paused": "cancelled"},
            "cancelled_from = state, ",
        )
    return _set_flag(tx, ids, "deleted_at", tx.now, "deleted", "deleted_at IS NULL")


def _change(
    tx: Tx, ids: Sequence[int], word: str, allowed: dict[str, str], also_set: str = "", *, also: int = 0
) -> _Result:
    """Move many jobs at once, each with its event; the sentence says how many,
    and what the others were.
    """
    states = states_of(tx, ids)
    finished = "CASE WHEN :new = 'cancelled' THEN :now END"
    for old, new in allowed.items():
        moved = [i for i, state in states.items() if state == old]
        tx.each(
            f"UPDATE job SET {also_set}state = :new, wanted = NULL, not_before = 0, "
            f"finished_at = {finished}, "
            "reason = NULL WHERE id = :id AND state = :old",
            moved,
            new=new,
            old=old,
            now=tx.now,
        )
        tx.each(
            "INSERT INTO event (at, kind, level, job_id, text, data) SELECT :now, 'job.' || :new, "
            ":level, id, "
            "name || ': ' || :old || ' to ' || :new, :data FROM job WHERE id = :id",
            moved,
            now=tx.now,
            old=old,
            new=new,
            data=json.dumps({"from": old, "to": new}),
            level="warning" if new == "cancelled" else "info",
        )
    done = sum(state in allowed for state in states.values()) + also
    others = Counter(
        state for state in states.values() if state not in allowed and not (also and state == "running")
    )
    if not done:
        found = ", ".join(f"{n} {state}" for state, n in sorted(others.items())) or "no such job"
        raise _RefusalError(f"nothing was {word}: {found}; expected a job that is {' or '.join(allowed)}")
    left = "".join(f"; {n} {state} left alone" for state, n in sorted(others.items()))
    return f"{done} {'job' if done == 1 else 'jobs'} {word}{left}", [Action("wake")]


def _set_flag(tx: Tx, ids: Sequence[int], column: str, value: object, word: str, where: str) -> _Result:
    found = those_where(tx, ids, where)
    if not found:
        raise _RefusalError(f"nothing was {word}: none of these {len(ids)} jobs is such that {where}")
    tx.each(f"UPDATE job SET {column} = :value WHERE id = :id", found, value=value)
    tx.each(
        "INSERT INTO event (at, kind, level, job_id, text, data) "
        "SELECT :now, 'job.changed', 'info', id, name || ': ' || :word, '{}' FROM job WHERE id = :id",
        found,
        now=tx.now,
        word=word,
    )
    return f"{len(found)} {'job' if len(found) == 1 else 'jobs'} {word}", []


# verbs on the bench


def _hold(tx: Tx, hold: bool) -> _Result:
    lab.set_fact(tx, "hold", "1" if hold else "0")
    tx.event("bench.hold" if hold else "bench.release", "the queue is held" if hold else "the queue goes on")
    if hold:
        return "the queue is held: what runs goes on, nothing new begins", [Action("hold")]
    return "the queue goes on", [Action("release"), Action("wake")]


def _device(tx: Tx, p: dict[str, Any]) -> _Result:
    device, state, slots = p.get("id"), p.get("state"), p.get("slots")
    if not isinstance(device, str) or not tx.rows("SELECT 1 FROM device WHERE id = :id", id=device):
        raise _RefusalError(f"there is no device {str(device)[:40]!r} here")
    if state is not None and state not in ("active", "excluded", "reserved"):
        raise _RefusalError(f"state is {state!r}; expected active, excluded or reserved")
    if slots is not None and not (type(slots) is int and 0 <= slots <= 1024):
        raise _RefusalError(f"slots is {slots!r}; expected an integer 0 to 1024")
    tx.run(
        "UPDATE device SET state = COALESCE(:state, state), slots = COALESCE(:slots, slots) WHERE id = :id",
        state=state,
        slots=slots,
        id=device,
    )
    said = [f"is {state}"] * (state is not None) + [f"has {slots} slots"] * (slots is not None)
    text = f"{device} {' and '.join(said) or 'is as it was'}"
    tx.event("device.set", text)
    return text, [Action("device", device=device), Action("wake")]


def _enqueue(tx: Tx, p: dict[str, Any]) -> _Result:
    spec = p.get("spec")
    model: type[StudySpec] | type[NamedJob] = (
        StudySpec if isinstance(spec, dict) and "sweep" in spec else NamedJob
    )
    try:
        found = model.model_validate_json(json.dumps(spec))
        made = queue_spec(tx, found)
    except (ValidationError, ValueError, RecursionError) as error:
        raise _RefusalError(f"the spec is not valid: {first_line(error)}") from None
    text = f"{made.new} new jobs, {made.reused} reused, {made.requeued} queued again"
    return text, [Action("wake")]


def first_line(error: Exception) -> str:
    """One line of a validation error."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:400]
    return (str(error).splitlines() or [type(error).__name__])[0][:400]


def _ids(p: dict[str, Any]) -> list[int]:
    found = p.get("jobs")
    if not isinstance(found, list) or not all(type(i) is int and abs(i) < 1 << 62 for i in found):
        raise _RefusalError("the command names no jobs; expected a list of ids")
    if not 1 <= len(found) <= MAX_IDS:
        raise _RefusalError(f"the command names {len(found)} jobs; expected 1 to {MAX_IDS}")
    return list(dict.fromkeys(found))


def apply_pending(path: str | os.PathLike[str]) -> list[Applied]:
    """Carry out the verbs that wait, unless a supervisor lives (it does so itself within a second):
    what became of each.

    A supervisor that starts meanwhile is no danger:
    each verb is carried out in one transaction, by whoever comes first.

    Raises:
        LabError: the lab cannot be written.
    """
    if supervisor_alive(LabPaths(path)):
        return []
    create_or_open(path)
    with Writer(path) as writer, writer.transaction() as tx:
        return [apply(tx, command, live=False) for command in pending(tx)]


_DEFINING = (
    "hash", "task", "m", "model", "model_label", "format", "distribution", "length", "min_length", "strategy",
    "eps", "n_max", "trials_per_probe", "steps", "flags",
)  # fmt: skip
EDITABLE = ("name", "notes", "tags", "priority", "max_attempts", "spec")


def states_of(tx: Tx, ids: Sequence[int]) -> dict[int, str]:
    """The states of those jobs that exist and are not deleted."""
    found = dict(tx.rows(f"SELECT id, state FROM job WHERE deleted_at IS NULL AND {ONE_OF}", ids=listed(ids)))
    return {i: found[i] for i in ids if i in found}


def those_where(tx: Tx, ids: Sequence[int], condition: str) -> list[int]:
    """Those of the jobs that meet a condition (a constant of ours)."""
    query = f"SELECT id FROM job WHERE ({condition}) AND {ONE_OF}"
    found = {row.id for row in tx.rows(query, ids=listed(ids))}
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
    for job_id, (at, priority) in zip(found, places, strict=True):
        tx.change("job", job_id, position=at, priority=priority)
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
