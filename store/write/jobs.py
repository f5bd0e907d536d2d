"""The supervisor's writes on jobs: states, brackets, what is queued, what is put back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, cast

from store.errors import Illegal, LabError
from store.states import ENDED_STATES, JobState, word_needed
from store.write.tx import MAX_REASON, QueuedJob, Requeued, Tx, Verdict, finite, tail

LEGAL: dict[JobState, frozenset[JobState]] = {
    "queued": frozenset({"running", "paused", "cancelled"}),
    "running": frozenset({"queued", "paused", "done", "failed", "cancelled"}),
    "paused": frozenset({"queued", "cancelled"}),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset({"queued", "paused"}),
    "done": frozenset(),
}
"""From a cancelled job only its undo leads to ``paused``; nothing leads out of ``done``."""


def require_legal(job_id: int, old: str, new: str) -> None:
    """Raises Illegal unless a job may go from ``old`` to ``new``."""
    allowed = LEGAL.get(old, frozenset())  # type: ignore[call-overload]
    if new not in allowed:
        expected = ", ".join(sorted(allowed)) or "no change at all"
        raise Illegal(f"job {job_id} is {old} and cannot become {new}; expected {expected}")


LONGEST_BACKOFF_S = 600.0
WORD_S = 10.0
"""Until a job that needs a person's word is looked at again, where none was given."""
_QUEUED = (
    f"SELECT {', '.join('spec' if f.name == 'spec_json' else f.name for f in fields(QueuedJob))} "
    "FROM job JOIN job_text ON job_text.job_id = job.id "
    # a clock that was set back must not make a short backoff a long one
    "WHERE state = 'queued' AND (not_before <= :now OR not_before > :now + :longest) "
    "ORDER BY priority DESC, position LIMIT :most"
)
_LEVEL = {"failed": "error", "cancelled": "warning"}
_VERDICTS = (
    "SELECT p.id, p.n, p.verdict, p.seeds, p.successes, p.best_loss, "
    "(SELECT group_concat(DISTINCT t.seed) FROM trial t WHERE t.probe_id = p.id), "
    "(SELECT min(t.outcome = 'diverged') FROM trial t WHERE t.probe_id = p.id) FROM probe p "
    "WHERE p.job_id = :job AND p.state = 'done' AND p.verdict IS NOT NULL AND p.turn IS {} "
    "ORDER BY p.turn, p.ordinal"
)


def queued(tx: Tx, limit: int = 100, after: Sequence[int] = ()) -> list[QueuedJob]:
    """The jobs that may start now, in queue order.

    Args:
        after: ids to pass over (those that the caller already holds).
    """
    passed = set(after)
    found = tx.rows(_QUEUED, now=tx.now, longest=LONGEST_BACKOFF_S, most=limit + len(after))
    return [QueuedJob(*row) for row in found if row.id not in passed][:limit]


def running(tx: Tx) -> list[tuple[int, int]]:
    """(id, priority) of the jobs that are running, by priority and position."""
    sql = "SELECT id, priority FROM job WHERE state = 'running' ORDER BY priority DESC, position"
    return [(job_id, priority) for job_id, priority in tx.rows(sql)]


def evidence(tx: Tx, job_id: int) -> list[Verdict]:
    """The verdicts that the search has consumed, in its order;
    feeding them to ``replay`` gives where it stands.
    """
    return [_verdict(row) for row in tx.rows(_VERDICTS.format("NOT NULL"), job=job_id)]


def speculated(tx: Tx, job_id: int) -> list[Verdict]:
    """Verdicts that were reached ahead of their turn and are no evidence yet."""
    return [_verdict(row) for row in tx.rows(_VERDICTS.format("NULL"), job=job_id)]


# Long: every column that a change of state sets stands in one place, half of it is the contract.
def set_job(
    tx: Tx,
    job_id: int,
    state: JobState,
    *,
    reason: str | None = None,
    text: str = "",
    device: str | None = None,
) -> int:
    """Change a job's state, with its event.

    Leaving ``running`` interrupts its running probes (they are continued later);
    ``done`` ends what is left of them.

    Args:
        reason: a short word for why: a key of ``store.states.FAILURES``, or another.
        text: more of it, for instance a traceback; its end is kept.

    Returns:
        The job's attempt: the token of the run that begins, or of the next one.

    Raises:
        Illegal: the job cannot go there from where it is.
    """
    old, name, attempt = _head(tx, job_id)
    require_legal(job_id, old, state)
    values: dict[str, Any] = {"state": state, "wanted": None}
    if state == "running":
        values |= {
            "epoch": tx.epoch,
            "device": device,
            "reason": None,
            "progress": 0.0,
            "not_before": 0.0,
        }
        tx.run(
            "UPDATE job SET started_at = COALESCE(started_at, :now) WHERE id = :id",
            now=tx.now,
            id=job_id,
        )
    else:
        values |= {"epoch": None, "device": None, "current_n": None, "progress": 0.0}
    if old == "running" and state in ("queued", "paused", "failed", "cancelled"):
        attempt += 1
        values["attempt"] = attempt
        interrupt(tx, job_id)
    if state == "done":
        _end_leftovers(tx, job_id)
        values["progress"] = 1.0
    if state in ENDED_STATES:
        values["finished_at"] = tx.now
    if old in ENDED_STATES:
        values["finished_at"] = None
    if state == "cancelled":
        values["cancelled_from"] = old
    why = f"{reason or ''}\n{tail(text)}".strip() if state in ("failed", "queued", "cancelled") else None
    if state != "running":
        values["reason"] = why or None
    tx.change("job", job_id, **values)
    tx.event(
        f"job.{state}",
        f"{name}: {old} to {state}" + (f" ({reason})" if reason else ""),
        level=_LEVEL.get(state, "warning" if reason else "info"),
        job_id=job_id,
        data={
            "from": old,
            "to": state,
            "attempt": attempt,
            "reason": reason or "",
            "text": text[-MAX_REASON:],
        },
    )
    return attempt


def set_bracket(
    tx: Tx,
    job_id: int,
    *,
    lo: int,
    hi: int | None,
    status: str,
    flags: Sequence[str] = (),
    best_loss: float | None = None,
    estimate: tuple[float, float, float] | None = None,
    n50: tuple[float, float, float] | None = None,
) -> None:
    """Store where the search stands (``runners.search.Progress``)."""
    if status not in ("open", "bracket", "censored"):
        raise LabError(f"status is {status!r}; expected open, bracket or censored")
    tx.change(
        "job",
        job_id,
        lo=lo,
        hi=hi,
        status=status,
        flags=json.dumps(list(flags)),
        best_loss=finite(best_loss),
        estimate=None if estimate is None else json.dumps(estimate),
        n50=None if n50 is None else json.dumps(n50),
    )


def requeue(
    tx: Tx, job_id: int, reason: str, text: str = "", *, counts: bool = True, delay_s: float = 0.0
) -> JobState:
    """Put back a job whose run ended without it, or give it up.

    Args:
        counts: it used up one of ``max_attempts``: a crash, an exception, out of memory, a lost device; not
            a supervisor that is gone.
        delay_s: backoff, at most ten minutes.

    Returns:
        The state that it has now: what was ``wanted`` of it (paused, cancelled), else failed once
        ``crashes`` reaches ``max_attempts``, else queued. A job that is not running is left as it is.
    """
    row = tx.row("SELECT state, crashes, max_attempts, wanted FROM job WHERE id = :job", job=job_id)
    if row is None:
        raise LabError(f"there is no job {job_id}")
    state, crashes, most, wanted = row
    if state != "running":
        return cast(JobState, state)
    crashes += int(counts)
    not_before = tx.now + min(delay_s, LONGEST_BACKOFF_S) if delay_s > 0 else 0.0
    tx.change("job", job_id, crashes=crashes, not_before=not_before)
    new: JobState = "queued"
    if wanted in ("paused", "cancelled"):
        new = cast(JobState, wanted)
    elif counts and crashes >= most:
        new = "failed"
    set_job(tx, job_id, new, reason=reason, text=text)
    return new


def stopped(tx: Tx, job_id: int) -> JobState:
    """The run that a verb asked to stop has stopped: the job becomes what is ``wanted`` of it by now.

    Nothing wanted any more (the verb was taken back meanwhile): it is queued again.
    Not running: left as it is.
    """
    row = tx.row("SELECT state, wanted FROM job WHERE id = :job", job=job_id)
    if row is None:
        raise LabError(f"there is no job {job_id}")
    if row.state != "running":
        return cast(JobState, row.state)
    state = cast(JobState, row.wanted if row.wanted in ("paused", "cancelled") else "queued")
    set_job(tx, job_id, state)
    return state


def needs_word(tx: Tx, job_id: int) -> None:
    """A queued job runs a program that this user has not allowed: it waits, and is looked at again later."""
    moved = tx.run(
        "UPDATE job SET reason = :reason WHERE id = :job AND reason IS NOT :reason",
        reason=word_needed(job_id),
        job=job_id,
    )
    tx.run("UPDATE job SET not_before = :at WHERE id = :job", at=tx.now + WORD_S, job=job_id)
    if moved:
        tx.event(
            "job.needs_word", f"it runs a program: labtui allow {job_id}", level="warning", job_id=job_id
        )


def due_now(tx: Tx, ids: Sequence[int]) -> None:
    """Queued jobs that wait for a time or a word may be looked at now."""
    for job_id in ids:
        tx.run("UPDATE job SET not_before = 0 WHERE id = :job AND state = 'queued'", job=job_id)


def take_over(tx: Tx) -> list[Requeued]:
    """Put back the running jobs of every supervisor but this one; their crashes are not counted."""
    ids = [
        r[0]
        for r in tx.rows("SELECT id FROM job WHERE state = 'running' AND epoch IS NOT :epoch", epoch=tx.epoch)
    ]
    return [Requeued(i, requeue(tx, i, "lost", "its supervisor is gone", counts=False)) for i in ids]


def interrupt(tx: Tx, job_id: int) -> int:
    """Mark the running probes of a job as interrupted; how many there were."""
    return tx.run(
        "UPDATE probe SET state = 'interrupted' WHERE job_id = :job AND state = 'running'", job=job_id
    )


def _end_leftovers(tx: Tx, job_id: int) -> None:
    """What still runs when the search is over was speculation."""
    unfinished = "SELECT id FROM probe WHERE job_id = :job AND state IN ('running', 'interrupted')"
    tx.run(
        f"UPDATE trial SET outcome = 'superseded' WHERE outcome = 'running' AND probe_id IN ({unfinished})",
        job=job_id,
    )
    tx.run(
        "UPDATE probe SET state = 'cancelled', speculative = 1, ended_at = :now "
        "WHERE job_id = :job AND state IN ('running', 'interrupted')",
        job=job_id,
        now=tx.now,
    )


def _head(tx: Tx, job_id: int) -> tuple[str, str, int]:
    row = tx.row("SELECT state, name, attempt FROM job WHERE id = :job", job=job_id)
    if row is None:
        raise LabError(f"there is no job {job_id}")
    return row[0], row[1], row[2]


def _verdict(row: Any) -> Verdict:
    seeds = tuple(sorted(int(s) for s in str(row[6] or "").split(",") if s))
    return Verdict(row[0], row[1], bool(row[2]), row[3], row[4], row[5], seeds, bool(row[7]))
