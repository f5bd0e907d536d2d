"""Is a lab sound? SQLite's own checks, references, and what must hold between its rows.

Standard library; writes nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial

from runners.strategies import FRESH_SEEDS
from store import curves
from store.connect import open_for_reading, require_schema
from store.errors import LabError, NotALab, from_sqlite

Replay = Callable[[str, Sequence[tuple[int, bool, int, int, float | None]]], tuple[int, int | None, str]]
"""(a job's JSON, its evidence in order: N, success, seeds, successes, best loss) -> lo, hi, status."""
MOST = 20
"""Sentences of one kind."""
_BY_VERDICTS = f"job.strategy NOT IN ({', '.join(map(repr, FRESH_SEEDS))})"
"""A search whose answer is the bracket of its verdicts; an estimate's, the replay alone can check."""

RULES: dict[str, tuple[str, str]] = {
    "job state": (
        "job {0} has the state {1!r}; expected queued, running, paused, done, failed or cancelled",
        "SELECT id, state FROM job WHERE state NOT IN ('queued', 'running', 'paused', 'done', 'failed', "
        "'cancelled')",
    ),
    "job status": (
        "job {0} has the status {1!r}; expected open, bracket or censored",
        "SELECT id, status FROM job WHERE status NOT IN ('open', 'bracket', 'censored')",
    ),
    "probe state": (
        "probe {0} has the state {1!r}; expected running, done, cancelled, lost or interrupted",
        "SELECT id, state FROM probe WHERE state NOT IN ('running', 'done', 'cancelled', 'lost', "
        "'interrupted')",
    ),
    "trial outcome": (
        "trial {0} has the outcome {1!r}; expected running, success, failure, diverged, superseded or lost",
        "SELECT id, outcome FROM trial "
        "WHERE outcome NOT IN ('running', 'success', 'failure', 'diverged', 'superseded', 'lost')",
    ),
    "job attempts": (
        "job {0} has attempt {1} and {2} of {3} crashes; expected attempt >= 1 and no more crashes than that",
        "SELECT id, attempt, crashes, max_attempts FROM job WHERE attempt < 1 OR crashes < 0 OR crashes > "
        "max_attempts",
    ),
    "job supervisor": (
        "job {0} runs under supervisor {1}, the newest is {2}; expected the newest",
        "SELECT id, epoch, (SELECT max(epoch) FROM supervisor) FROM job "
        "WHERE state = 'running' AND epoch IS NOT (SELECT max(epoch) FROM supervisor)",
    ),
    "job wanted": (
        "job {0} is {1} but {2!r} is still wanted of it; expected that of running jobs only",
        "SELECT id, state, wanted FROM job WHERE wanted IS NOT NULL AND state <> 'running'",
    ),
    "probe running": (
        "probe {0} runs, its job {1} is {2}; expected a running job of the same attempt",
        "SELECT probe.id, job.id, job.state FROM probe JOIN job ON job.id = probe.job_id WHERE probe.state = "
        "'running' "
        "AND (job.state <> 'running' OR job.attempt <> probe.attempt OR job.epoch IS NOT probe.epoch)",
    ),
    "probe interrupted": (
        "probe {0} is interrupted, its job {1} is done; expected it to be over",
        "SELECT probe.id, job.id FROM probe JOIN job ON job.id = probe.job_id "
        "WHERE probe.state = 'interrupted' AND job.state = 'done'",
    ),
    "probe trials": (
        "probe {0} has {1} trials, {2} were begun; expected as many",
        "SELECT probe.id, count(trial.id), probe.trials FROM probe LEFT JOIN trial ON trial.probe_id = "
        "probe.id "
        "GROUP BY probe.id HAVING count(trial.id) <> probe.trials",
    ),
    "probe trials ended": (
        "probe {0} says that {1} of its trials have ended, {2} have",
        "SELECT probe.id, probe.trials_ended, count(trial.id) "
        "FROM probe LEFT JOIN trial ON trial.probe_id = probe.id "
        "AND trial.outcome <> 'running' WHERE probe.state IN ('running', 'interrupted', 'done') "
        "GROUP BY probe.id HAVING count(trial.id) <> probe.trials_ended",
    ),
    "trial running": (
        "trial {0} runs in probe {1}, which is {2}; expected one that is running or interrupted",
        "SELECT trial.id, probe.id, probe.state FROM trial JOIN probe ON probe.id = trial.probe_id "
        "WHERE trial.outcome = 'running' AND probe.state NOT IN ('running', 'interrupted')",
    ),
    "trial of its probe": (
        "trial {0} is of job {1} and N = {2}, its probe of job {3} and N = {4}",
        "SELECT trial.id, trial.job_id, trial.n, probe.job_id, "
        "probe.n FROM trial JOIN probe ON probe.id = trial.probe_id "
        "WHERE trial.job_id <> probe.job_id OR trial.n <> probe.n",
    ),
    "probe verdict": (
        "probe {0} has the verdict {1}, its trials say {2}",
        "SELECT probe.id, probe.verdict, max(trial.outcome = 'success') "
        "FROM probe JOIN trial ON trial.probe_id = probe.id "
        "WHERE probe.state = 'done' GROUP BY probe.id HAVING probe.verdict IS NOT max(trial.outcome = "
        "'success')",
    ),
    "probe cut short": (
        "probe {0} failed, yet {1} of its trials were cut short",
        "SELECT probe.id, count(*) FROM probe JOIN trial ON trial.probe_id = probe.id WHERE probe.state = "
        "'done' "
        "AND NOT probe.verdict AND trial.outcome IN ('superseded', 'lost') GROUP BY probe.id",
    ),
    "verdict unfinished": (
        "probe {0} is {1} and has a verdict; expected that of finished ones only",
        "SELECT id, state FROM probe WHERE state <> 'done' AND verdict IS NOT NULL",
    ),
    "trial once": (
        "job {0} has the trial N = {1}, learning rate {2}, seed {3} in {4} rows that count; expected one",
        "SELECT job_id, n, lr, seed, count(*) FROM trial WHERE outcome IN ('success', 'failure', 'diverged') "
        "GROUP BY job_id, n, lr, seed HAVING count(*) > 1",
    ),
    "probe once": (
        "job {0} has {2} unfinished or finished probes of N = {1} with the same members; expected one",
        "SELECT job_id, n, count(*) FROM probe WHERE state IN ('running', 'interrupted', 'done') "
        "GROUP BY job_id, n, members HAVING count(*) > 1",
    ),
    "probe turn": (
        "probe {0} is {1}, speculative {2}, with place {3} in the evidence; "
        "expected a place exactly where it is evidence",
        "SELECT id, state, speculative, turn FROM probe WHERE (turn IS NOT NULL) "
        "<> (state = 'done' AND NOT speculative)",
    ),
    "turns in order": (
        "job {0} has {1} pieces of evidence with places up to {2}; expected 1, 2, 3 and so on",
        "SELECT job_id, count(*), max(turn) FROM probe WHERE turn IS NOT NULL "
        "GROUP BY job_id HAVING count(DISTINCT turn) <> max(turn) OR count(*) <> max(turn) OR min(turn) <> 1",
    ),
    "job candidates": (
        "job {0} says that it has {1} candidates, it has {2}",
        "SELECT job.id, job.candidates, count(probe.id) FROM job LEFT JOIN probe ON probe.job_id = job.id "
        "AND probe.turn IS NOT NULL GROUP BY job.id HAVING job.candidates <> count(probe.id)",
    ),
    "bracket order": (
        "job {0} has the bracket ({1}, {2}]; expected lo below hi, and hi at most N_max",
        "SELECT id, lo, hi FROM job WHERE lo < 0 OR lo >= hi OR hi > n_max",
    ),
    "done and open": (
        "job {0} is done and its status is {1}; expected a bracket or censored",
        f"SELECT id, status FROM job WHERE state = 'done' AND status = 'open' AND {_BY_VERDICTS}",
    ),
    "status and N*": (
        "job {0} is {1} with N* = {2}; expected one exactly where it is a bracket",
        f"SELECT id, status, hi FROM job WHERE {_BY_VERDICTS} "
        "AND (status = 'bracket' AND hi IS NULL OR status = 'censored' AND hi IS NOT NULL)",
    ),
    "smallest success": (
        "job {0} reports N* = {1}, the smallest N that succeeded is {2}",
        "SELECT job.id, job.hi, min(probe.n) FROM job LEFT JOIN probe ON probe.job_id = job.id AND "
        "probe.turn IS NOT NULL "
        f"AND probe.verdict WHERE {_BY_VERDICTS} AND job.status <> 'open' "
        "GROUP BY job.id HAVING job.hi IS NOT min(probe.n)",
    ),
    "largest failure": (
        "job {0} has the bracket ({1}, {2}], the largest failing N below it is {3}",
        "SELECT job.id, job.lo, job.hi, max(probe.n) FROM job LEFT JOIN probe ON probe.job_id = job.id "
        "AND probe.turn IS NOT NULL AND NOT probe.verdict AND probe.n < job.hi "
        f"WHERE {_BY_VERDICTS} AND job.status = 'bracket' "
        "GROUP BY job.id HAVING job.lo <> COALESCE(max(probe.n), 0)",
    ),
    "cell part": (
        "cell {0} has the length {1} from job {2}, which has the length {3}; "
        "expected the same, and a fixed one",
        "SELECT cell_part.cell_id, cell_part.n, job.id, job.length FROM cell_part JOIN job ON job.id = "
        "cell_part.job_id "
        "WHERE job.distribution NOT IN ('min', 'max') AND (job.length <> cell_part.n OR job.distribution "
        "<> 'fixed')",
    ),
    "cell lengths": (
        "cell {0} has {1} of the {2} lengths of its sum; expected all or none",
        "SELECT cell.id, count(cell_part.n), cell.length - cell.min_length + 1 FROM cell JOIN cell_part "
        "ON cell_part.cell_id = cell.id WHERE cell.distribution NOT IN ('min', 'max') "
        "GROUP BY cell.id HAVING count(cell_part.n) "
        "<> cell.length - cell.min_length + 1",
    ),
    "cell joint": (
        "cell {0} has the joint job {1}, which is of another task, model, format or lengths",
        "SELECT cell.id, job.id FROM cell JOIN job ON job.id = cell.joint_job_id WHERE job.task <> cell.task "
        "OR job.model_label <> cell.model_label OR job.format <> cell.format OR job.distribution <> "
        "cell.distribution "
        "OR job.length <> cell.length OR job.min_length <> cell.min_length",
    ),
    "job text": (
        "job {0} has no spec",
        "SELECT job.id FROM job LEFT JOIN job_text ON job_text.job_id = job.id WHERE job_text.job_id IS NULL",
    ),
    "job hash": (
        "two jobs have the hash {0}",
        "SELECT hash FROM job GROUP BY hash HAVING count(*) > 1",
    ),
}
"""What must hold between rows: name -> (sentence, query for the rows that break it)."""


def check(
    path: str | os.PathLike[str],
    *,
    replay: Replay | None = None,
    read_only: bool = False,
    progress: Callable[[float, float], None] | None = None,
) -> list[str]:
    """Say what is wrong with a lab; an empty list where nothing is.

    Args:
        replay: the search itself (``runners.search``, which this room does not know):
            feeding it the stored evidence must give the stored bracket of every job.
        read_only: as in :func:`store.read.open_lab`.
        progress: told how many of the checks are done, of how many.

    Raises:
        NotALab: it cannot even be opened as one.
        LabError: it is of another schema.
    """
    opened = open_for_reading(path, read_only=read_only)
    try:
        require_schema(opened.schema, opened.paths.lab)
        connection = opened.connection
        connection.execute("BEGIN")  # one state, however long it takes; readers stop nobody
        parts: list[Callable[[], list[str]]] = [
            partial(part, connection) for part in (_file, _references, _curves)
        ]
        parts[2:2] = [partial(_broken, connection, *rule) for rule in RULES.values()]
        if replay is not None:
            parts.append(partial(_replayed, connection, replay))
        problems: list[str] = []
        # Where one meets a damaged page, the others still have something to say.
        for done, part in enumerate(parts):
            if progress is not None:
                progress(done, len(parts))
            try:
                problems += part()
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                found = from_sqlite(error, opened.paths.lab)
                if not isinstance(found, NotALab):
                    raise found from None
                problems.append(f"the file is damaged: {error}")
        return list(dict.fromkeys(problems))
    finally:
        opened.close()


def _few(found: list[str]) -> list[str]:
    return found if len(found) <= MOST else [*found[:MOST], f"... and {len(found) - MOST} more like this"]


def _file(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("PRAGMA integrity_check(20)").fetchall()
    return [f"the file is damaged: {row[0]}" for row in rows if row[0] != "ok"]


def _references(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("PRAGMA foreign_key_check").fetchmany(10 * MOST)
    return _few(
        [f"{table} {row} refers to a row of {other} that is not there" for table, row, other, _ in rows]
    )


def _broken(connection: sqlite3.Connection, sentence: str, sql: str) -> list[str]:
    return _few([sentence.format(*row) for row in connection.execute(sql).fetchmany(10 * MOST)])


def _curves(connection: sqlite3.Connection) -> list[str]:
    wrong = []
    for trial, blob in connection.execute("SELECT trial_id, points FROM curve"):
        curve = curves.decode(blob)
        if curve is None or len(curve.steps) > curves.LIMIT:
            wrong.append(f"the curve of trial {trial} cannot be read")
            if len(wrong) > 10 * MOST:
                break
    return _few(wrong)


def _replayed(connection: sqlite3.Connection, replay: Replay) -> list[str]:
    evidence: dict[int, list[tuple[int, bool, int, int, float | None]]] = {}
    query = (
        "SELECT job_id, n, verdict, seeds, successes, best_loss FROM probe WHERE turn IS NOT NULL AND state "
        "= 'done' "
        "ORDER BY job_id, turn"
    )
    for job_id, n, verdict, seeds, successes, loss in connection.execute(query):
        evidence.setdefault(job_id, []).append((n, bool(verdict), seeds, successes, loss))
    jobs = (
        "SELECT job.id, spec, lo, hi, status FROM job JOIN job_text ON job_text.job_id = job.id ORDER BY "
        "job.id"
    )
    wrong = []
    for job_id, spec, lo, hi, status in connection.execute(jobs):
        have = (lo, hi, status)
        try:
            want = replay(spec, evidence.get(job_id, []))
        except (ValueError, LabError) as error:
            wrong.append(f"the search of job {job_id} cannot be replayed: {str(error)[:200]}")
            continue
        if want != have and (evidence.get(job_id) or status != "open"):
            wrong.append(f"job {job_id} is stored as {_bracket(*have)}, its evidence gives {_bracket(*want)}")
    return _few(wrong)


def _bracket(lo: int, hi: int | None, status: str) -> str:
    return f"({lo}, {hi}] {status}" if hi is not None else f"> {lo} {status}"
