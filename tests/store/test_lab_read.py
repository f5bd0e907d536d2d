"""What readers see: filters, orders, references; and that looking at a lab changes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store.connect import SCHEMA
from store.errors import LabError, NewerSchema, NotALab
from store.filters import JOB_FIELDS, JOB_ORDERS, TRIAL_FIELDS, TRIAL_ORDERS, Condition
from store.locks import SupervisorLock
from store.paths import LabPaths, network_filesystem
from store.read import Lab, open_lab
from store.write import Writer, create_or_open
from tests.store.lab_steps import sql
from tests.support.fakelab import small_lab, specs


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_lab(tmp_path_factory.mktemp("small") / "lab.db", alive=True)


@pytest.fixture
def reader(small: Path) -> Lab:
    return open_lab(small)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*")}


def test_the_fake_lab_has_every_state(reader: Lab) -> None:
    assert set(reader.counts()) >= {"queued", "running", "done", "failed", "cancelled"}
    jobs = reader.jobs()
    assert {job.status for job in jobs} == {"open", "bracket", "censored"}
    assert [job.id for job in jobs] == sorted(reader.job_ids(archived=None))
    cells = reader.cells()
    assert len(cells) == len(specs()[0].cells())
    assert all([p.n for p in c.parts] == list(range(c.min_length, c.L + 1)) for c in cells)
    outcomes = {t.outcome for job in jobs for t in reader.trials(job_id=job.id)}
    assert outcomes >= {"running", "success", "failure", "superseded"}


def test_order_of_the_queue(reader: Lab) -> None:
    jobs = reader.jobs(reader.job_ids())
    groups = [{"running": 0, "failed": 1, "queued": 2, "paused": 3}.get(job.state, 4) for job in jobs]
    assert groups == sorted(groups)
    for ended in (("failed",), ("done", "cancelled")):
        finished = [job.finished_at or 0.0 for job in jobs if job.state in ended]
        assert finished == sorted(finished, reverse=True)


@pytest.mark.parametrize(
    ("field", "op", "value"),
    [
        ("state", "=", "done"),
        ("state", "!=", "done"),
        ("state", "=", ("running", "paused")),
        ("state", "!=", ("running", "paused")),
        ("model", "=", "LSTM"),
        ("model", "~", "ssm"),
        ("name", "~", "[bold"),
        ("name", "~", "acot N=3"),
        ("L", ">=", 5),
        ("L", "<", "5"),
        ("n", ">", 10),
        ("n", "!=", 10),
        ("m", "=", 3),
        ("m", "=", 10**40),
        ("eps", "<=", 0.001),
        ("flag", "=", "capped"),
        ("flag", "!=", "capped"),
        ("tag", "=", "nothing"),
        ("study", "=", 1),
        ("study", "!=", 1),
        ("device", "=", "cpu"),
    ],
)
def test_filters_agree_with_python(reader: Lab, field: str, op: str, value: object) -> None:
    def holds(job: object) -> bool:
        fields: dict[str, Callable[[Any], Any]] = {
            "L": lambda j: j.length,
            "n": lambda j: j.hi,
            "flag": lambda j: j.flags,
            "tag": lambda j: j.tags,
            "study": lambda j: tuple(reader.studies_of(j.id)),
        }
        found = fields[field](job) if field in fields else getattr(job, field)
        wanted = value if isinstance(value, tuple) else (value,)
        one_by_one = []
        for w in wanted:
            if op == "~":
                one_by_one.append(str(w).lower() in str(found or "").lower())
            elif isinstance(found, tuple):
                one_by_one.append((w in found) == (op == "="))
            elif op in ("=", "!="):
                same = found is not None and str(found).lower() == str(w).lower()
                one_by_one.append(same == (op == "="))
            elif found is None:
                one_by_one.append(False)
            else:
                number = float(w)
                one_by_one.append(
                    {"<": found < number, "<=": found <= number, ">": found > number, ">=": found >= number}[
                        op
                    ]
                )
        return all(one_by_one) if op == "!=" else any(one_by_one)

    ids = reader.job_ids([Condition(field, op, value)], order="id")  # type: ignore[arg-type]
    assert ids.tolist() == [job.id for job in reader.jobs() if holds(job)]


def test_several_conditions_all_hold(reader: Lab) -> None:
    where = [Condition("state", "=", "done"), Condition("model", "=", "lstm"), Condition("L", ">", 4)]
    found = reader.jobs(reader.job_ids(where, study=1))
    assert found
    assert all(j.state == "done" and j.model == "lstm" and j.length > 4 for j in found)


@pytest.mark.parametrize("order", [o for o in JOB_ORDERS if o != "queue"])
def test_orders_put_unknown_last_and_break_ties_by_id(reader: Lab, order: str) -> None:
    names = {
        "n": "hi",
        "L": "length",
        "model": "model_label",
        "created": "created_at",
        "started": "started_at",
        "wall": "wall_s",
    }
    names |= {"finished": "finished_at"}
    for descending in (False, True):
        jobs = reader.jobs(reader.job_ids(order=("-" if descending else "") + order))
        values = [getattr(job, names.get(order, order)) for job in jobs]
        known = [v for v in values if v is not None]
        assert values[len(known) :] == [None] * (len(values) - len(known))
        assert known == sorted(known, reverse=descending)
        if order != "id":
            assert all(
                a.id < b.id for a, b, x, y in zip(jobs, jobs[1:], values, values[1:], strict=False) if x == y
            )


def test_trials_in_any_order_and_by_their_jobs(reader: Lab) -> None:
    everything = reader.trial_ids()
    assert everything.tolist() == sorted(everything)
    for order in TRIAL_ORDERS:
        assert sorted(reader.trial_ids(order="-" + order)) == everything.tolist()
    losses = [t.best_loss for t in reader.trials_by_id(reader.trial_ids(order="best_loss")[:50])]
    assert losses == sorted(losses)  # type: ignore[type-var]
    where = [Condition("outcome", "=", "success"), Condition("model", "=", "lstm"), Condition("n", ">", 100)]
    found = reader.trials_by_id(reader.trial_ids(where, study=1))
    assert found
    lstm = set(reader.job_ids([Condition("model", "=", "lstm")]))
    assert all(t.outcome == "success" and t.n > 100 and t.job_id in lstm for t in found)
    assert reader.trial_ids([Condition("study", "!=", 1)]).tolist() == []


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ([Condition("colour", "=", "red")], "there is no field 'colour'"),
        ([Condition("id; DROP TABLE job", "=", 1)], "there is no field"),
        ([Condition("m", "LIKE", 1)], "there is no comparison"),
        ([Condition("m", "=", "three")], "expected a number"),
        ([Condition("m", "<", (1, 2))], "has 2 values"),
        ([Condition("m", "=", ())], "has 0 values"),
        ([Condition("m", "=", float("nan"))], "NaN"),
        ([Condition("tag", "<", "a")], "list of words"),
        ([Condition("study", "<", 3)], "is an id"),
    ],
)
def test_filters_that_make_no_sense(reader: Lab, where: list[Condition], words: str) -> None:
    with pytest.raises(LabError, match=words):
        reader.job_ids(where)
    with pytest.raises(LabError, match="there is no order"):
        reader.job_ids(order="colour")


def test_every_field_can_be_asked_in_every_way(reader: Lab) -> None:
    for field in TRIAL_FIELDS:
        for op, value in (("=", "1"), ("!=", 2), ("~", "x%_'\""), ("<", 3)):
            if (field in ("tag", "flag") and op == "<") or (field == "study" and op in "<~"):
                continue
            if field in JOB_FIELDS:
                reader.job_ids([Condition(field, op, value)])
            reader.trial_ids([Condition(field, op, value)])


def test_references(reader: Lab) -> None:
    job = reader.jobs()[3]
    assert (
        reader.job(job.id)
        == reader.job(str(job.id))
        == reader.job(job.hash)
        == reader.job(job.hash[:10].upper())
        == job
    )
    for word, words in (
        ("0", "no job '0'"),
        ("zzzz", "expected an id"),
        ("9" * 30, "no job"),
        ("abc", "4 or more"),
        ("'--", ""),
    ):
        with pytest.raises(LabError, match=words):
            reader.job(word)
    with pytest.raises(LabError, match="no study '99'"):
        reader.study(99)
    with pytest.raises(LabError, match="no job"):
        reader.job_spec(10**30)
    assert reader.jobs([10**30, job.id, -5]) == [job]
    assert reader.curve(10**30) is None
    assert reader.probes(-1) == []
    assert reader.trials_by_id([]) == []
    with pytest.raises(LabError, match="expected a job or a probe"):
        reader.trials()


def test_a_hash_prefix_that_several_have(lab: Path) -> None:
    sql(lab, "UPDATE job SET hash = 'abcd' || id WHERE id < 3")
    with open_lab(lab) as reader, pytest.raises(LabError, match="several jobs"):
        reader.job("abcd")


def test_events_since(reader: Lab) -> None:
    last = reader.last_event_id()
    newest = reader.events(limit=7)
    assert [e.id for e in newest] == list(range(last - 6, last + 1))
    assert reader.events(after=last) == []
    assert [e.id for e in reader.events(after=last - 3)] == [last - 2, last - 1, last]
    assert all(e.job_id == 5 for e in reader.events(job_id=5))


def test_rows_of_any_number_of_ids_keep_their_order(reader: Lab) -> None:
    ids = list(reader.trial_ids())[::-1]
    assert len(ids) > 1100
    assert [t.id for t in reader.trials_by_id(ids)] == ids


def test_looking_writes_not_a_byte(small: Path, tmp_path: Path) -> None:
    shutil.copyfile(small, tmp_path / "copy.db")
    before = listing(tmp_path)
    (tmp_path / "copy.db").chmod(0o400)
    tmp_path.chmod(0o500)
    try:
        with open_lab(tmp_path / "copy.db", read_only=True) as reader:
            assert reader.read_only
            assert len(reader.jobs()) == len(open_lab(small).jobs())
            assert reader.notice == ""
            assert reader.supervisor() is not None
        assert listing(tmp_path) == before
    finally:
        tmp_path.chmod(0o700)


def test_a_wal_without_a_supervisor_is_read_from_a_private_copy(lab: Path, tmp_path: Path) -> None:
    source = tmp_path / "elsewhere"
    source.mkdir()
    with Writer(lab) as writer:
        with writer.transaction() as tx:
            tx.event("in the wal", "")
        assert LabPaths(lab).wal.stat().st_size > 0
        for path in (lab, LabPaths(lab).wal):  # as if copied while live, or left by a crash
            shutil.copyfile(path, source / path.name)
    before = listing(source)
    with open_lab(source / lab.name, read_only=True) as reader:
        assert reader.events()[-1].kind == "in the wal"
        folder = Path(reader._opened.copy.name)  # type: ignore[union-attr]
        assert folder.stat().st_mode & 0o777 == 0o700
    assert listing(source) == before
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_where_nothing_can_be_written_it_opens_read_only_and_says_so(lab: Path) -> None:
    lab.chmod(0o400)
    with open_lab(lab) as reader:
        assert reader.read_only
        assert "cannot be written by this user; opened read-only" in reader.notice


def test_a_newer_schema_opens_read_only_and_is_never_written(lab: Path) -> None:
    sql(lab, f"PRAGMA user_version = {SCHEMA + 1}")
    sql(lab, "ALTER TABLE job ADD COLUMN from_the_future")
    sql(lab, "ALTER TABLE job DROP COLUMN generalisation")
    with open_lab(lab) as reader:
        assert reader.read_only
        assert "newer labtui" in reader.notice
        assert len(reader.jobs()) == 6
        assert len(reader.cells()) == 2
    for write in (
        lambda: create_or_open(lab),
        lambda: Writer(lab),
        lambda: __import__("store.commands").commands.hold(lab),
    ):
        with pytest.raises(NewerSchema, match="update labtui"):
            write()


def test_files_that_are_no_labs(tmp_path: Path, lab: Path) -> None:
    with pytest.raises(NotALab, match="there is no lab at"):
        open_lab(tmp_path / "none.db")
    with pytest.raises(NotALab, match="is not a file"):
        open_lab(tmp_path)
    for content in (b"", b"hello", b"SQLite format 3\x00", os.urandom(5000)):
        (tmp_path / "x.db").write_bytes(content)
        with pytest.raises(NotALab, match=r"x\.db is (not a lab|empty)"):
            open_lab(tmp_path / "x.db")
    sql(tmp_path / "foreign.db", "CREATE TABLE job (id)")
    with pytest.raises(NotALab, match="another program's database"):
        open_lab(tmp_path / "foreign.db")
    sql(lab, "CREATE VIEW v AS SELECT 1")
    with pytest.raises(NotALab, match="holds the view"):
        open_lab(lab)


def test_a_lab_that_is_moved_away_is_noticed(lab: Path) -> None:
    with open_lab(lab) as reader:
        reader.data_version()
        lab.rename(lab.with_name("moved.db"))
        with pytest.raises(LabError, match="moved or replaced"):
            reader.data_version()
        create_or_open(lab)
        with pytest.raises(LabError, match="moved or replaced"):
            reader.data_version()


def test_the_supervisor_is_alive_while_its_lock_is_held(lab: Path, writer: Writer) -> None:
    with open_lab(lab) as reader:
        assert not reader.supervisor().alive  # type: ignore[union-attr]
        held = SupervisorLock.acquire(LabPaths(lab))
        assert reader.supervisor().alive  # type: ignore[union-attr]
        held.release()


def test_network_disks() -> None:
    mounts = (
        "/dev/sda / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n/dev/sdb /home/local xfs rw 0 0\n"
        "me@x: /mnt/my\\040disk fuse.sshfs rw 0 0\nbroken\n"
    )
    kinds = {
        "/var/lab.db": None,
        "/home/me/lab.db": "nfs4",
        "/home/local/lab.db": None,
        "/homestead/lab.db": None,
        "/mnt/my disk/lab.db": "fuse.sshfs",
    }
    assert {path: network_filesystem(path, mounts) for path in kinds} == kinds


def test_a_live_lab_on_a_network_disk_is_refused_with_the_way_out(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("store.paths", "store.connect"):
        monkeypatch.setattr(f"{module}.network_filesystem", lambda path, mounts=None: "nfs4")
    for write in (lambda: create_or_open(lab.with_name("new.db")), lambda: Writer(lab)):
        with pytest.raises(LabError, match=r"network disk \(nfs4\).*expected a local disk"):
            write()
    with open_lab(lab) as reader:
        assert reader.read_only
        assert "network disk" in reader.notice
        assert len(reader.jobs()) == 6


def test_readers_cannot_write(lab: Path) -> None:
    with open_lab(lab) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM job")
