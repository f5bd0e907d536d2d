"""Several processes at once, and processes that are killed: nothing is lost, nothing is half there."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from store.errors import Busy, LabError
from store.locks import SupervisorLock, holder, supervisor_alive, write_lock
from store.paths import LabPaths
from store.read import open_lab
from store.write import Writer, apply_pending, commands, jobs
from store.write import lab as lab_rows
from tests.store.lab_steps import IDENTITY, assert_sound, begin, finish, sql, start

ROOT = Path(__file__).resolve().parents[2]


def child(code: str, *args: object) -> subprocess.Popen[str]:
    """A Python of its own, in the project's folder, with the lab's path and more in sys.argv."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'store'}"},
    )


def test_a_look_inside_the_writers_process_drops_none_of_its_locks(writer: Writer, lab: Path) -> None:
    # POSIX drops all locks of a process on a file when it closes any descriptor of it
    with writer.transaction() as tx:
        tx.event("before", "")
    for read_only in (False, True):
        open_lab(lab, read_only=read_only).close()
    from store.header import check_header

    check_header(lab)
    LabPaths(lab).require_file()
    other = child("import sys; from store import commands; commands.hold(sys.argv[1])", lab)
    assert other.wait(30) == 0
    with writer.transaction() as tx:
        tx.event("after", "")
        assert len(commands.pending(tx)) == 1
    seen = child(
        "import sys; from store.read import open_lab; print([e.kind for e in "
        "open_lab(sys.argv[1]).events()][-1])",
        lab,
    )
    assert seen.communicate(timeout=30)[0].strip() == "after"


def test_the_word_of_a_supervisor_that_cannot_write_its_row(
    writer: Writer, lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writer.transaction() as tx:
        tx.run("UPDATE supervisor SET pid = :pid", pid=os.getpid())
    with open_lab(lab) as opened:

        def seen() -> tuple[str, str, bool]:
            row = opened.supervisor()
            assert row is not None
            return row.state, row.message, row.alive

        assert seen() == ("running", "", False)
        lock = SupervisorLock.acquire(LabPaths(lab))
        lock.tell("waiting: no room")
        assert seen() == ("waiting", "no room", True)
        lock.tell("")
        assert seen() == ("running", "", True)
        late = time.time() + 25.0
        monkeypatch.setattr(time, "time", lambda: late)  # not even the lock file can be written
        state, message, _ = seen()
        assert state == "waiting"
        assert "read-only or failing" in message
        lock.release()
        assert seen() == ("running", "", False)


@pytest.mark.parametrize("kept", [0, 1, 7])
def test_a_fold_of_the_wal_that_was_cut_short(writer: Writer, lab: Path, tmp_path: Path, kept: int) -> None:
    """Killed, or out of room, while the WAL goes into a file that has to grow:
    the first page is new, the last not there.
    """
    for turn in range(40):
        with writer.transaction() as tx:
            tx.event("filler", f"{turn}" * 2000)
    paths, cut = LabPaths(lab), LabPaths(tmp_path / "cut.db")
    before, wal = paths.lab.stat().st_size, paths.wal.read_bytes()
    writer.checkpoint()
    folded = paths.lab.read_bytes()
    assert len(folded) > before + kept * 4096
    cut.lab.write_bytes(folded[: before + kept * 4096])
    cut.wal.write_bytes(wal)
    for read_only in (True, False):
        with open_lab(cut.lab, read_only=read_only) as opened:
            assert sum(e.kind == "filler" for e in opened.events(limit=1000)) == 40
    with Writer(cut.lab) as again, again.transaction() as tx:
        tx.event("after", "")
    assert_sound(cut.lab)


def test_many_processes_write_at_once(lab: Path) -> None:
    code = """
import sys
from store import commands
from store.write import Writer, lab
path, me = sys.argv[1], int(sys.argv[2])
with Writer(path) as writer:
    for k in range(30):
        if me % 2:
            commands.note(path, [1 + k % 6], f"{me} {k}")
        else:
            with writer.transaction() as tx:
                before = int(lab.fact(tx, "count") or 0)
                lab.set_fact(tx, "count", str(before + 1))
                tx.event("count", f"{me} {k}")
"""
    writers = [child(code, lab, me) for me in range(4)]
    with open_lab(lab) as reader:
        while any(w.poll() is None for w in writers):
            with reader.consistent():
                counted = sum(e.kind == "count" for e in reader.events(limit=1000))
                stored = reader._rows("SELECT value FROM lab WHERE key = 'count'")
                assert counted == (int(stored[0][0]) if stored else 0)
    assert [w.wait() for w in writers] == [0] * 4
    assert sql(lab, "SELECT value FROM lab WHERE key = 'count'") == [("60",)]
    assert len(apply_pending(lab)) == 60
    assert_sound(lab)


def test_no_reader_stops_the_writer_however_long_it_reads(writer: Writer, lab: Path) -> None:
    with open_lab(lab) as reader, reader.consistent():
        before = reader.last_event_id()
        for k in range(200):
            with writer.transaction(durable=False) as tx:
                tx.event("count", str(k))
        writer.checkpoint()
        assert reader.last_event_id() == before
    with open_lab(lab) as reader:
        assert reader.last_event_id() == before + 200


def test_data_version_moves_when_another_process_commits_and_only_then(lab: Path) -> None:
    with open_lab(lab) as reader:
        seen = reader.data_version()
        assert reader.data_version() == seen
        other = child("import sys; from store import commands; commands.hold(sys.argv[1])", lab)
        assert other.wait(30) == 0
        assert reader.data_version() != seen


def test_a_lab_in_use_is_read_where_it_lies_even_read_only(lab: Path) -> None:
    code = """
import sys
from store.write import Writer
with Writer(sys.argv[1]) as writer:
    for line in sys.stdin:
        with writer.transaction() as tx:
            tx.event("word", line.strip())
        print("written", flush=True)
"""
    other = child(code, lab)
    assert other.stdin is not None
    assert other.stdout is not None

    def say(word: str) -> None:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(word + "\n")
        other.stdin.flush()
        assert other.stdout.readline() == "written\n"

    say("one")
    with open_lab(lab, read_only=True) as reader:
        seen = reader.data_version()
        assert reader.events()[-1].text == "one"
        say("two")
        assert reader.data_version() != seen
        assert reader.events()[-1].text == "two"
    other.stdin.close()
    assert other.wait(30) == 0


@pytest.mark.parametrize("durable", [True, False])
def test_killed_in_the_middle_of_a_transaction(writer: Writer, lab: Path, durable: bool) -> None:
    start(writer)
    with writer.transaction() as tx:
        finish(tx, begin(tx, 1, 8), True)
    code = """
import sys
from tests.store.lab_steps import IDENTITY, begin, end_trial
from store.write import Writer, jobs, lab, probes
writer = Writer(sys.argv[1])
with writer.transaction() as tx:
    lab.claim(tx, IDENTITY)
    jobs.take_over(tx)
    jobs.set_job(tx, 1, "running")
with writer.transaction(durable=sys.argv[2] == "True") as tx:
    begun = begin(tx, 1, 4, attempt=2)
    for trial in begun.trial_ids:
        end_trial(tx, trial, "failure", attempt=2)
    probes.end_probe(tx, begun.probe_id, attempt=2)
    print("inside", flush=True)
    sys.stdin.read()
"""
    other = child(code, lab, durable)
    assert other.stdout is not None
    assert other.stdout.readline() == "inside\n"
    with pytest.raises(Busy, match=f"process {other.pid}"), writer.transaction(lock_timeout_s=0.05) as tx:
        tx.event("never", "")
    other.send_signal(signal.SIGKILL)
    other.wait()
    with Writer(lab) as newest:
        with newest.transaction() as tx:
            assert lab_rows.claim(tx, IDENTITY) == 3
            assert [r.state for r in jobs.take_over(tx)] == ["queued"]
            assert [v.n for v in jobs.evidence(tx, 1)] == [8]
            assert jobs.set_job(tx, 1, "running") == 3
            finish(tx, begin(tx, 1, 4, attempt=3), False, attempt=3)
        with open_lab(lab) as reader:
            assert [(p.n, p.state, p.ordinal) for p in reader.probes(1)] == [(8, "done", 1), (4, "done", 2)]
    assert_sound(lab)


def test_killed_at_random_times_while_writing(lab: Path) -> None:
    code = """
import sys
from tests.store.lab_steps import IDENTITY, begin, finish
from store.write import Writer, jobs, lab
with Writer(sys.argv[1]) as writer:
    with writer.transaction() as tx:
        lab.claim(tx, IDENTITY)
        jobs.take_over(tx)
        attempt = jobs.set_job(tx, 1, "running")
    print("begun", flush=True)
    while True:
        with writer.transaction() as tx:
            known = {v.n for v in jobs.evidence(tx, 1)}
            n = next(k for k in range(1, 10**6) if k not in known)
            begun = begin(tx, 1, n, attempt=attempt)
        with writer.transaction() as tx:
            finish(tx, begun, True, attempt=attempt)
        print(n, flush=True)
"""
    finished = 0
    for life in range(6):
        other = child(code, lab)
        assert other.stdout is not None
        assert other.stdout.readline() == "begun\n"
        told = [other.stdout.readline() for _ in range(2 + life)]
        other.send_signal(signal.SIGKILL)
        told += other.stdout.read().split()
        other.wait()
        ns = [int(t) for t in told if t.strip()]
        with Writer(lab) as writer, writer.transaction() as tx:
            evidence = [v.n for v in jobs.evidence(tx, 1)]
        assert evidence == list(range(1, len(evidence) + 1))
        assert len(evidence) >= max(ns)  # what was told is there
        assert max(ns) > finished
        finished = max(ns)
    with Writer(lab) as writer, writer.transaction() as tx:
        lab_rows.claim(tx, IDENTITY)
        jobs.take_over(tx)
    assert [p for p in _problems(lab) if "smallest N" not in p and "largest failing" not in p] == []


def _problems(lab: Path) -> list[str]:
    from store.check import check

    return check(lab)


def test_two_supervisors_cannot_hold_one_lab(lab: Path) -> None:
    paths = LabPaths(lab)
    assert not supervisor_alive(paths)
    held = SupervisorLock.acquire(paths, version="0.1.0")
    try:
        assert supervisor_alive(paths)
        assert holder(paths)["pid"] == os.getpid()
        assert holder(paths)["version"] == "0.1.0"
        with pytest.raises(LabError, match=f"process {os.getpid()} on"):
            SupervisorLock.acquire(paths, wait_s=0.0)
        code = (
            "import sys; from store.locks import SupervisorLock; from store.paths import LabPaths\n"
            "try: SupervisorLock.acquire(LabPaths(sys.argv[1]), wait_s=0.1)\n"
            "except Exception as e: print(e)"
        )
        assert "already has a supervisor" in child(code, lab).communicate(timeout=30)[0]
    finally:
        held.release()
    assert not supervisor_alive(paths)
    assert holder(paths) == {}
    SupervisorLock.acquire(paths, wait_s=0.0).release()


def test_asking_whether_one_lives_never_keeps_one_from_starting(lab: Path) -> None:
    paths = LabPaths(lab)
    paths.make_folder()
    paths.supervisor_lock.touch()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            supervisor_alive(paths)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            SupervisorLock.acquire(paths, wait_s=10.0).release()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_write_lock_is_free_again_when_its_holder_dies(lab: Path) -> None:
    code = (
        "import sys; from store.locks import write_lock; from store.paths import LabPaths\n"
        "with write_lock(LabPaths(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    other = child(code, lab)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(Busy, match=r"for more than 0\.05 s"), write_lock(LabPaths(lab), 0.05):
        pass
    with pytest.raises(Busy), Writer(lab, lock_timeout_s=0.05):
        pass
    other.kill()
    other.wait()
    with write_lock(LabPaths(lab), 30):
        pass


def test_locked_by_a_foreign_program(writer: Writer, lab: Path) -> None:
    foreign = sqlite3.connect(lab, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    writer._connection.execute("PRAGMA busy_timeout = 50")
    with pytest.raises(Busy, match="is locked by another process"), writer.transaction() as tx:
        tx.event("never", "")
    foreign.execute("ROLLBACK")
    foreign.close()
    with writer.transaction() as tx:
        tx.event("now", "")
