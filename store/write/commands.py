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
from sqlalchemy import update

from runners.spec import NamedJob
from runners.spec import Study as StudySpec
from store.errors import LabError
from store.json import mapping
from store.locks import supervisor_alive
from store.paths import LabPaths
from store.rows import JobState
from store.write import edit, jobs, lab, submit
from store.write.create import create_or_open
from store.write.tx import COMMAND, Tx
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
    rows = tx.rows("SELECT id, at, kind, payload FROM command WHERE state = 'pending' ORDER BY id")
    found = [(row, mapping(row.payload) if isinstance(row.payload, str) else {}) for row in rows]
    return [Command(row.id, row.at, str(row.kind), payload) for row, payload in found]


def finish(tx: Tx, command_id: int, ok: bool, text: str) -> None:
    """A command is over, with its sentence."""
    tx.c.execute(
        update(COMMAND)
        .where(COMMAND.c.id == command_id)
        .values(state="done" if ok else "refused", result=text[:2000], finished_at=tx.now)
    )


def apply(tx: Tx, command: Command, *, live: bool = True) -> Applied:
    """Carry out a verb, and finish its row: done, or refused with the reason and nothing changed.

    Args:
        live: a supervisor does this: a running job is really running, and it must act on the actions.
            False: no supervisor lives, and a job that says "running" was left behind by a dead one.
    """
    savepoint = tx.c.begin_nested()
    try:
        text, actions = _carry_out(tx, command, live)
        savepoint.commit()
        applied = Applied(command.id, command.kind, True, text, tuple(actions))
    except (_RefusalError, LabError) as refusal:
        savepoint.rollback()
        applied = Applied(command.id, command.kind, False, str(refusal))
        tx.event("command.refused", f"{command.kind}: {refusal}", level="warning")
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
        "priority": lambda: edit._priority(tx, _ids(p), p.get("value")),
        "move": lambda: edit._move(tx, _ids(p), p.get("before")),
        "note": lambda: edit._note(tx, _ids(p), p.get("text")),
        "tag": lambda: edit._tag(tx, _ids(p), p.get("tags")),
        "edit": lambda: edit._edit(tx, p),
        "study": lambda: edit._edit_study(tx, p),
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
    states = edit.states_of(tx, ids)
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
        edit.those_where(tx, ids, "state = 'cancelled' AND cancelled_from = 'paused' AND deleted_at IS NULL")
    )
    rest = [i for i in ids if i not in was_paused]
    to_pause = len(was_paused)
    if was_paused:
        _change(tx, list(was_paused), "paused again", {"cancelled": "paused"})
    return _change(tx, rest, "brought back", {"cancelled": "queued"}, also=to_pause + withdrawn)


def _delete(tx: Tx, ids: Sequence[int]) -> _Result:
    states = edit.states_of(tx, ids)
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
    states = edit.states_of(tx, ids)
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
    found = edit.those_where(tx, ids, where)
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
        made = submit.queue_spec(tx, found)
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
