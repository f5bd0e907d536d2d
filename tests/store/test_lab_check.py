"""``labtui db check``: each rule speaks exactly where it is broken, and only then."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from store.check import RULES, check
from store.write import Writer, jobs, probes
from tests.store.lab_steps import by_search, sql
from tests.support.fakelab import small_lab

IDLE = (
    "(SELECT id FROM job WHERE state = 'queued' AND id NOT IN (SELECT job_id FROM probe) ORDER BY id LIMIT 1)"
)
AHEAD = "(SELECT id FROM probe WHERE speculative AND state = 'done' ORDER BY id LIMIT 1)"
RUNNING = "(SELECT id FROM probe WHERE state = 'running' ORDER BY id LIMIT 1)"
HELD_UP = "(SELECT id FROM probe WHERE state IN ('running', 'interrupted') ORDER BY id LIMIT 1)"
DONE = "(SELECT id FROM job WHERE state = 'done' AND status = 'bracket' AND lo > 1 ORDER BY id LIMIT 1)"
FAILED = (
    "(SELECT id FROM probe WHERE state = 'done' AND NOT verdict AND turn IS NOT NULL ORDER BY id LIMIT 1)"
)
LAST = f"(SELECT id FROM probe WHERE job_id = {DONE} ORDER BY turn DESC LIMIT 1)"
PART = "(SELECT min(n) FROM cell_part WHERE cell_id = 1)"

BREAKAGES: dict[str, str] = {
    "job state": f"UPDATE job SET state = 'odd' WHERE id = {IDLE}",
    "job status": f"UPDATE job SET status = 'odd' WHERE id = {IDLE}",
    "probe state": f"UPDATE probe SET state = 'odd', verdict = NULL WHERE id = {AHEAD}",
    "trial outcome": f"UPDATE trial SET outcome = 'odd' WHERE probe_id = {FAILED}",
    "job attempts": f"UPDATE job SET crashes = max_attempts + 1 WHERE id = {IDLE}",
    "job supervisor": f"UPDATE job SET state = 'running', epoch = 99 WHERE id = {IDLE}",
    "job wanted": f"UPDATE job SET wanted = 'paused' WHERE id = {IDLE}",
    "probe running": f"UPDATE probe SET attempt = attempt + 1 WHERE id = {RUNNING}",
    "probe interrupted": f"UPDATE probe SET state = 'interrupted', verdict = NULL WHERE id = {AHEAD}",
    "probe trials": f"UPDATE probe SET trials = trials + 1 WHERE id = {AHEAD}",
    "probe trials ended": f"UPDATE probe SET trials_ended = trials_ended + 1 WHERE id = {AHEAD}",
    "trial running": f"UPDATE trial SET outcome = 'running' WHERE probe_id = {AHEAD}; "
    f"UPDATE probe SET state = 'cancelled', verdict = NULL WHERE id = {AHEAD}",
    "trial of its probe": f"UPDATE trial SET n = n + 1000000 WHERE probe_id = {AHEAD}",
    "probe verdict": f"UPDATE probe SET verdict = 1 WHERE id = {AHEAD}",
    "probe cut short": f"UPDATE trial SET outcome = 'superseded' WHERE probe_id = {FAILED}",
    "verdict unfinished": f"UPDATE probe SET verdict = 0 WHERE id = {RUNNING}",
    "trial once": "DROP INDEX trial_once; DROP INDEX trial_probe; "
    f"UPDATE trial SET lr = 1, seed = 1 WHERE probe_id = {FAILED}",
    "probe once": f"DROP INDEX probe_once; CREATE TEMP TABLE t AS SELECT p.id, (SELECT q.n FROM probe q "
    f"WHERE q.job_id = p.job_id AND q.state = 'done') AS n FROM probe p WHERE p.id = {HELD_UP}; "
    "UPDATE probe SET n = (SELECT n FROM t) WHERE id = (SELECT id FROM t); "
    "UPDATE trial SET n = (SELECT n FROM t) WHERE probe_id = (SELECT id FROM t)",
    "probe turn": f"UPDATE probe SET speculative = 1 WHERE id = {FAILED}",
    "turns in order": f"UPDATE probe SET turn = turn + 1 WHERE id = {LAST}",
    "job candidates": f"UPDATE job SET candidates = candidates + 1 WHERE id = {DONE}",
    "bracket order": f"UPDATE job SET lo = 5, hi = 4 WHERE id = {IDLE}",
    "done and open": f"UPDATE job SET status = 'open' WHERE id = {DONE}",
    "status and N*": f"UPDATE job SET status = 'bracket' WHERE id = {IDLE}",
    "smallest success": f"UPDATE job SET hi = hi + 1 WHERE id = {DONE}",
    "largest failure": f"UPDATE job SET lo = lo - 1 WHERE id = {DONE}",
    "cell part": "UPDATE cell_part SET job_id = (SELECT joint_job_id FROM cell WHERE id = 1) "
    f"WHERE cell_id = 1 AND n = {PART}",
    "cell lengths": f"DELETE FROM cell_part WHERE cell_id = 1 AND n = {PART}",
    "cell joint": "UPDATE cell SET joint_job_id = "
    f"(SELECT job_id FROM cell_part WHERE cell_id = 1 AND n = {PART}) WHERE id = 1",
    "job text": f"DELETE FROM job_text WHERE job_id = {IDLE}",
    "job hash": "DROP INDEX job_hash; "
    f"UPDATE job SET hash = (SELECT max(hash) FROM job WHERE id != {IDLE}) WHERE id = {IDLE}",
}
OTHERS: dict[str, tuple[str, str]] = {
    "a reference": (
        "PRAGMA foreign_keys = OFF; INSERT INTO job_text VALUES (999, '{}', '{}')",
        "refers to a row of job that",
    ),
    "a curve": ("UPDATE curve SET points = x'00' WHERE trial_id = 1", "the curve of trial 1 cannot be read"),
    "a long curve": (
        "UPDATE curve SET points = zeroblob(4) WHERE trial_id = 2",
        "the curve of trial 2 cannot be read",
    ),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A lab with jobs in every state, and one verdict reached ahead of its turn that nobody asked for."""
    path = small_lab(tmp_path_factory.mktemp("good") / "lab.db", alive=True)
    with Writer(path) as writer:
        writer.epoch = 1
        with writer.transaction() as tx:
            job, attempt = tx.rows(
                "SELECT id, attempt FROM job WHERE state = 'done' AND lo > 2 ORDER BY id LIMIT 1"
            )[0]
            tx.run("UPDATE job SET state = 'running', epoch = 1 WHERE id = :id", id=job)
            begun = probes.begin_probe(
                tx, job, 1, [(1e-2, 10)], device="cpu", slot="cpu.0", attempt=attempt, speculative=True
            )
            probes.end_trial(
                tx,
                begun.trial_ids[0],
                "failure",
                attempt=attempt,
                steps=9,
                best_loss=0.5,
                best_step=9,
                last_loss=0.5,
            )
            probes.end_probe(tx, begun.probe_id, attempt=attempt)
            jobs.set_job(tx, job, "done")
    assert check(path, replay=by_search) == []
    return path.read_bytes()


def broken(good: bytes, path: Path, script: str) -> Path:
    path.write_bytes(good)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        before = connection.total_changes
        connection.executescript(script)
        assert connection.total_changes > before, "the breakage changed nothing"
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def pattern(sentence: str) -> str:
    return "".join(
        ".*" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\d[^}]*\})", sentence)
    )


@pytest.mark.parametrize("rule", sorted(set(RULES) | set(BREAKAGES)))
def test_each_rule_speaks_where_it_is_broken_and_no_other_does(
    rule: str, good: bytes, lab_path: Path
) -> None:
    assert rule in RULES, f"there is no rule {rule!r} any more"
    assert rule in BREAKAGES, f"no lab breaks the rule {rule!r}: add one"
    problems = check(broken(good, lab_path, BREAKAGES[rule]))
    assert problems, "nothing was found"
    assert [p for p in problems if not re.fullmatch(pattern(RULES[rule][0]), p)] == []


@pytest.mark.parametrize("what", sorted(OTHERS))
def test_what_is_no_rule_between_rows_is_found_too(what: str, good: bytes, lab_path: Path) -> None:
    script, sentence = OTHERS[what]
    problems = check(broken(good, lab_path, script))
    assert problems
    assert [p for p in problems if sentence not in p] == []


def test_a_bracket_that_its_evidence_does_not_give_is_found_by_replay(good: bytes, lab_path: Path) -> None:
    # a whole probe is gone, with everything that counts it: only the search itself can know
    script = (
        f"PRAGMA foreign_keys = OFF; CREATE TEMP TABLE t AS SELECT {LAST} AS id, {DONE} AS job; "
        "DELETE FROM curve WHERE trial_id IN (SELECT id FROM trial WHERE probe_id = (SELECT id FROM t)); "
        "DELETE FROM trial WHERE probe_id = (SELECT id FROM t); "
        "DELETE FROM probe WHERE id = (SELECT id FROM t); "
        "UPDATE job SET candidates = candidates - 1, hi = (SELECT min(n) "
        "FROM probe WHERE job_id = job.id AND verdict "
        "AND turn IS NOT NULL) WHERE id = (SELECT job FROM t); "
        "UPDATE job SET lo = COALESCE((SELECT max(n) FROM probe "
        "WHERE job_id = job.id AND NOT verdict AND turn IS NOT NULL AND n < hi), "
        "0) WHERE id = (SELECT job FROM t)"
    )
    path = broken(good, lab_path, script)
    assert check(path) == []
    assert [re.sub(r"\d+", "#", p) for p in check(path, replay=by_search)] == [
        "job # is stored as (#, #] bracket, its evidence gives (#, #] open"
    ]


def test_a_torn_page_is_found(good: bytes, lab_path: Path) -> None:
    lab_path.write_bytes(good)
    root = sql(lab_path, "SELECT rootpage FROM sqlite_master WHERE name = 'trial_once'")[0][0]
    size = sql(lab_path, "PRAGMA page_size")[0][0]
    data = bytearray(lab_path.read_bytes())
    data[(root - 1) * size + 100 : root * size - 8] = bytes(size - 108)
    lab_path.write_bytes(bytes(data))
    problems = check(lab_path, replay=by_search)
    assert any("trial_once" in p for p in problems)
    assert [p for p in problems if not p.startswith("the file is damaged: ")] == []
