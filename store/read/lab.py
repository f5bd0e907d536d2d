"""The lab as the screens see it: small questions, answered in milliseconds at any size."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from store import curves, wal
from store import decode as d
from store.connect import SCHEMA, TABLES, Opened, open_for_reading
from store.decode import COMMANDS, DEVICES, EVENTS, JOBS, NODES, PROBES, STUDIES, SUPERVISORS, TRIALS
from store.errors import LabError, NotALab, from_sqlite
from store.filters import (
    JOB_FIELDS,
    JOB_ORDERS,
    TRIAL_FIELDS,
    TRIAL_ORDERS,
    Condition,
    Scalar,
    compile_conditions,
    compile_order,
)
from store.json import document
from store.locks import last_holder, supervisor_alive
from store.read.kappa import KappaCells, axes_of
from store.rows import (
    CellRow,
    CommandRow,
    Curve,
    DeviceRow,
    EventRow,
    JobRow,
    NodeRow,
    ProbeRow,
    StudyRow,
    SupervisorRow,
    TrialRow,
)
from store.states import GOALS, LIVE_STATES, word_needed

Bound = Sequence[str | int | float | None]
_INT64 = 1 << 63
CHUNK = 500
"""Values bound in one statement: older SQLite allows 999."""
SILENT_S = 20.0
"""A living supervisor that has written nothing for so long cannot (it writes every two seconds)."""


class Consent(Protocol):
    """Who knows which programs this user has allowed on this machine."""

    def allowed_spec(self, spec: str) -> bool:
        """Whether what a stored spec runs is among them."""

    def changed_at(self) -> float:
        """A number that moves when an answer is given."""


def open_lab(path: str | os.PathLike[str], *, read_only: bool = False, consent: Consent | None = None) -> Lab:
    """Open an existing lab to read it; never creates or changes one.

    Args:
        read_only: write not a byte beside the file (a snapshot, a lab on another machine's disk).
            Without it, a lab that cannot be written here is opened so all the same, and ``notice`` says why.
        consent: asked for each queued search of a program, so that it is known to need a word before a
            supervisor has seen it; None: what the lab says.

    Raises:
        NotALab: there is none, or the file is something else or damaged.
        LabError: it cannot be read.
    """
    opened = open_for_reading(path, read_only=read_only)
    try:
        return Lab(opened, consent)
    except BaseException:
        opened.close()
        raise


class Lab:
    """A lab, open for reading: one connection, usable from several threads, one call at a time.

    Rows are frozen; ids outlive them. Every failure is a LabError, and no transaction outlives a call.
    """

    def __init__(self, opened: Opened, consent: Consent | None = None) -> None:
        self._opened = opened
        self._consent = consent
        self._answers = (consent.changed_at() if consent is not None else 0.0, 0)
        """When a program was last allowed, and how often that has moved since."""
        self._connection = opened.connection
        self._lock = threading.RLock()
        self._depth = 0
        self.path: Path = opened.paths.lab
        self.read_only: bool = opened.read_only
        self.notice: str = opened.notice
        self.schema: int = opened.schema
        self.no_room: bool = opened.no_room
        self.outdated: bool = opened.schema < SCHEMA
        self._place, self._written = self._look()
        self._wal = wal.identity(opened.paths.wal)
        self._origin = wal.marks(self._rows(wal.MARKS))
        self._kappa = KappaCells(self._rows)
        self._columns = {name: self._columns_of(name) for name in TABLES}

    def close(self) -> None:
        """Close the connection, and forget a private copy."""
        with self._lock:
            self._opened.close()

    def data_version(self) -> int:
        """A number that moves whenever another connection has committed, or a program was allowed
        (10 microseconds).

        Raises:
            LabError: the file was moved, deleted or replaced,
            or is not what was opened where that is all that is seen.
        """
        place, written = self._look()
        there = wal.identity(self._opened.paths.wal)
        if place != self._place or (self._wal and there and there != self._wal and not self._opened.still):
            raise NotALab(
                f"{self.path} was moved or replaced; expected the file that was opened: open it again"
            )
        self._wal = self._wal or there
        if written != self._written:
            if self._opened.still:
                raise LabError(f"{self.path} has been written since it was opened; open it again")
            # the WAL was folded in, or another lab was copied over the file, which SQLite does not notice
            now = wal.origin(self._opened.paths)
            if (now and now != self._origin) or wal.foreign(self._opened.paths):
                raise NotALab(
                    f"{self.path} was overwritten with another lab while it was open; open it again"
                )
            if now:
                self._written = written
        if self._consent is not None and (at := self._consent.changed_at()) != self._answers[0]:
            self._answers = at, self._answers[1] + 1
        return int(self._rows("PRAGMA data_version")[0][0]) + self._answers[1]

    @contextmanager
    def consistent(self) -> Iterator[None]:
        """Several calls that see one state. Keep it short: while it is open the WAL cannot be reset."""
        with self._lock:
            outermost = self._depth == 0
            if outermost:
                self._rows("BEGIN")
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if outermost:
                    self._rows("COMMIT")

    def _look(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Which file lies at the path, and what tells that it was written."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - on every tick of the screen
        except OSError:
            return (), ()
        more = self._opened.wal_now() if self._opened.still else ()
        return (found.st_dev, found.st_ino), (found.st_mtime_ns, found.st_size, *more)

    def _columns_of(self, table: str) -> frozenset[str]:
        return frozenset(
            row[1] for row in self._rows(f"PRAGMA table_info({table})") if isinstance(row[1], str)
        )

    def _rows(self, sql: str, values: Bound = ()) -> list[Any]:
        """All rows of a statement; text that is not UTF-8 is read again with replacements."""
        with self._lock:
            try:
                return self._fetch(sql, values)
            except sqlite3.OperationalError as error:
                if "decode" not in str(error):
                    raise from_sqlite(error, self.path) from None
                self._connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
                return self._again(sql, values)
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise from_sqlite(error, self.path) from None

    def _fetch(self, sql: str, values: Bound) -> list[Any]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except OverflowError:
            return []  # a number beyond 64 bits names no row

    def _again(self, sql: str, values: Bound) -> list[Any]:
        try:
            return self._fetch(sql, values)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise from_sqlite(error, self.path) from None

    def _ids(self, sql: str, values: Bound) -> array[int]:
        try:
            return array("q", chain.from_iterable(self._rows(sql, values)))
        except (TypeError, OverflowError):
            raise NotALab(f"{self.path} is damaged: an id is no integer; run `labtui db check`") from None

    def _chunks(self, sql: str, ids: Iterable[int]) -> Iterator[Any]:
        """Rows of ``sql``, whose ``{}`` becomes the placeholders, over ids in any number."""
        wanted = [int(i) for i in ids if -_INT64 <= i < _INT64]  # a number beyond 64 bits names no row
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            yield from self._rows(sql.format(",".join("?" * len(part))), part)

    def _missing(self, what: str, reference: object) -> LabError:
        return LabError(f"there is no {what} {str(reference)[:80]!r} in {self.path}")

    # what is asked

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # studies

    def cells(self, study_id: int | None = None, *, every: bool = False) -> list[CellRow]:
        """The kappa cells of one study, or of all, in the order of submission.

        An N*_n that several cells share is one object. Of all studies, cells of the very same searches are
        one kappa: the first stands for them, unless ``every`` is asked for.
        A cell whose job is missing from a damaged file is left out.
        """
        with self.consistent():
            found = self._kappa.read(study_id, self._columns["job"])
        if study_id is not None or every:
            return found
        first: dict[tuple[int, ...], CellRow] = {}
        for cell in found:
            first.setdefault((cell.joint.job_id, *(part.job_id for part in cell.parts)), cell)
        return list(first.values())

    def studies(self) -> list[StudyRow]:
        """All studies, the newest last, archived ones too."""
        return self._studies("", ())

    def study(self, study_id: int) -> StudyRow:
        """One study.

        Raises:
            LabError: there is none.
        """
        found = self._studies(" WHERE study.id = ?", (study_id,))
        if not found:
            raise self._missing("study", study_id)
        return found[0]

    def _studies(self, where: str, values: Sequence[int]) -> list[StudyRow]:
        join = "study_job JOIN job ON job.id = study_job.job_id AND job.deleted_at IS NULL"
        only = " WHERE study_job.study_id = ?" if values else ""
        with self.consistent():
            rows = self._rows(
                f"SELECT {STUDIES.select(self._columns['study'])} FROM study{where} ORDER BY study.id", values
            )
            counted = self._rows(
                "SELECT study_job.study_id, job.state, count(*) "
                f"FROM {join}{only} GROUP BY study_job.study_id, job.state",
                values,
            )
        counts: dict[object, dict[str, int]] = {}
        for study_id, state, count in counted:
            counts.setdefault(study_id, {})[d.text(state)] = d.integer(count)
        studies = STUDIES.make(rows)
        for study in studies:
            study.__dict__["counts"] = counts.get(study.id, {})
        return studies

    def studies_of(self, job_id: int) -> list[int]:
        """The studies that asked for a job."""
        return [
            d.integer(r[0])
            for r in self._rows("SELECT study_id FROM study_job WHERE job_id = ? ORDER BY 1", (job_id,))
        ]

    # jobs

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state (deleted ones left out)."""
        rows = self._rows("SELECT state, count(*) FROM job WHERE deleted_at IS NULL GROUP BY state")
        return {d.text(state): d.integer(count) for state, count in rows}

    def programs_alone(self) -> bool:
        """Whether every search that is still to do runs a program; False where there is none."""
        states, goals = (", ".join(f"'{word}'" for word in words) for words in (LIVE_STATES, GOALS))
        [(jobs, programs)] = self._rows(
            f"SELECT count(*), sum(distribution IN ({goals})) FROM job "
            f"WHERE state IN ({states}) AND deleted_at IS NULL"
        )
        return bool(jobs > 0 and jobs == programs)

    def job_ids(
        self,
        where: Sequence[Condition] = (),
        order: str = "queue",
        study: int | None = None,
        archived: bool | None = False,
    ) -> array[int]:
        """Ids of the jobs that meet all conditions, in an order of ``store.filters.JOB_ORDERS``;
        deleted ones never.

        Args:
            study: only the jobs of this study.
            archived: False: not those in the archive, True: only those, None: both.

        Raises:
            LabError: an unknown field, operator or order.
        """
        conditions = [*where, *([Condition("study", "=", study)] if study is not None else [])]
        sql, values = compile_conditions(conditions, JOB_FIELDS)
        ordering = compile_order(order, JOB_ORDERS, "job.id")
        parts = ["job.deleted_at IS NULL"]
        if archived is not None:
            parts.append(f"job.archived = {int(archived)}")
        if sql:
            parts.append(sql)
        return self._ids(f"SELECT job.id FROM job WHERE {' AND '.join(parts)} ORDER BY {ordering}", values)

    def jobs(self, ids: Sequence[int] | None = None) -> list[JobRow]:
        """The jobs of these ids, in their order, missing ones left out;
        all that are not deleted where None.
        """
        columns = JOBS.select(self._columns["job"])
        if ids is None:
            rows = self._rows(f"SELECT {columns} FROM job WHERE deleted_at IS NULL ORDER BY id")
            return [*self._answered(JOBS.make(rows)).values()]
        found = self._answered(JOBS.make(self._chunks(f"SELECT {columns} FROM job WHERE id IN ({{}})", ids)))
        return [found[i] for i in ids if i in found]

    def _answered(self, jobs: list[JobRow]) -> dict[int, JobRow]:
        """The jobs by their ids; queued ones that run a program need a word where there is none yet."""
        out = {job.id: job for job in jobs}
        asked = [job.id for job in jobs if job.program and job.state == "queued"]
        if self._consent is not None and asked:
            for i, spec in self._chunks("SELECT job_id, spec FROM job_text WHERE job_id IN ({})", asked):
                if not self._consent.allowed_spec(d.spec(spec)):
                    reason = word_needed(i)
                    out[i] = replace(out[i], reason=reason, failure=d.failure(reason))
                elif out[i].needs_word:
                    out[i] = replace(out[i], reason=None, failure=None)
        return out

    def job(self, reference: str | int) -> JobRow:
        """A job by its id or the beginning of its hash (at least 4 digits).

        Raises:
            LabError: none or several have it.
        """
        word = str(reference).strip().lower()
        if word.isascii() and word.isdigit() and len(word) < 19:
            found = self.jobs([int(word)])
            if found:
                return found[0]
        if not 4 <= len(word) <= 64 or any(c not in "0123456789abcdef" for c in word):
            raise LabError(
                f"there is no job {word[:80]!r} in {self.path}; expected an id, or 4 or more digits of a hash"
            )
        rows = self._rows("SELECT id FROM job WHERE hash >= ? AND hash < ? LIMIT 2", (word, word + "g"))
        if not rows:
            raise self._missing("job", word)
        if len(rows) > 1:
            raise LabError(f"several jobs have a hash that begins with {word!r}; expected more digits")
        return self.jobs([rows[0][0]])[0]

    def job_spec(self, job_id: int) -> str:
        """JSON of the job's spec, every default resolved.

        Raises:
            LabError: there is no such job.
        """
        rows = self._rows("SELECT spec FROM job_text WHERE job_id = ?", (job_id,))
        if not rows:
            raise self._missing("job", job_id)
        return d.spec(rows[0][0])

    def job_specs(self, ids: Sequence[int]) -> dict[int, str]:
        """JSON of these jobs' specs by id; missing ones are left out."""
        found = self._chunks("SELECT job_id, spec FROM job_text WHERE job_id IN ({})", ids)
        return {i: d.spec(spec) for i, spec in found}

    def axes(self, ids: Iterable[int]) -> dict[int, dict[str, str]]:
        """Of the jobs that run programs the values of their axes as texts, by id; others are left out."""
        return axes_of(self._rows, ids)

    def provenance(self, job_id: int) -> dict[str, Any]:
        """Versions, commit, device, precision and times that a job ran with; empty before it ran."""
        rows = self._rows("SELECT provenance FROM job_text WHERE job_id = ?", (job_id,))
        found = d.document(rows[0][0]) if rows else None
        return found if isinstance(found, dict) else {}

    # probes and trials

    def probes(self, job_id: int) -> list[ProbeRow]:
        """The candidates of a job in the order in which they were begun."""
        columns = PROBES.select(self._columns["probe"])
        return PROBES.make(
            self._rows(f"SELECT {columns} FROM probe WHERE job_id = ? ORDER BY ordinal", (job_id,))
        )

    def resumable(self) -> set[str]:
        """The names of the checkpoint folders that queued, running and paused searches go on from."""
        states = ", ".join(f"'{state}'" for state in LIVE_STATES)
        rows = self._rows(
            "SELECT probe.id, probe.checkpoint FROM probe JOIN job ON job.id = probe.job_id "
            f"WHERE job.state IN ({states}) AND job.deleted_at IS NULL"
        )
        return {str(d.integer(row[0])) for row in rows} | {Path(d.text(row[1])).name for row in rows}

    def trials(self, job_id: int | None = None, probe_id: int | None = None) -> list[TrialRow]:
        """The trials of a job (through its probes) or of a probe, by id."""
        columns = TRIALS.select(self._columns["trial"])
        if probe_id is not None:
            return TRIALS.make(
                self._rows(f"SELECT {columns} FROM trial WHERE probe_id = ? ORDER BY id", (probe_id,))
            )
        if job_id is None:
            raise LabError("trials of what? expected a job or a probe; use trial_ids for all")
        inner = "SELECT id FROM probe WHERE job_id = ?"
        return TRIALS.make(
            self._rows(f"SELECT {columns} FROM trial WHERE probe_id IN ({inner}) ORDER BY id", (job_id,))
        )

    def trial_ids(
        self, where: Sequence[Condition] = (), order: str = "id", study: int | None = None
    ) -> array[int]:
        """Ids of the trials that meet all conditions (on trials and on their jobs), as :meth:`job_ids`."""
        conditions = [*where, *([Condition("study", "=", study)] if study is not None else [])]
        sql, values = compile_conditions(conditions, TRIAL_FIELDS)
        ordering = compile_order(order, TRIAL_ORDERS, "trial.id")
        join = " JOIN job ON job.id = trial.job_id" if "job." in sql else ""
        return self._ids(
            f"SELECT trial.id FROM trial{join}{' WHERE ' + sql if sql else ''} ORDER BY {ordering}", values
        )

    def trials_by_id(self, ids: Sequence[int]) -> list[TrialRow]:
        """The trials of these ids, in their order, missing ones left out."""
        columns = TRIALS.select(self._columns["trial"])
        found = {
            t.id: t for t in TRIALS.make(self._chunks(f"SELECT {columns} FROM trial WHERE id IN ({{}})", ids))
        }
        return [found[i] for i in ids if i in found]

    def curve(self, trial_id: int) -> Curve | None:
        """A trial's losses; None where none are stored."""
        rows = self._rows("SELECT points FROM curve WHERE trial_id = ?", (trial_id,))
        return curves.decode(rows[0][0]) if rows else None

    def curves(self, probe_id: int) -> dict[int, Curve]:
        """The losses of all trials of a probe, by trial."""
        inner = "SELECT id FROM trial WHERE probe_id = ?"
        rows = self._rows(
            f"SELECT trial_id, points FROM curve WHERE trial_id IN ({inner}) ORDER BY 1", (probe_id,)
        )
        return {d.integer(i): curve for i, blob in rows if (curve := curves.decode(blob)) is not None}

    # what happens

    def accuracies(self) -> dict[int, tuple[float, ...]]:
        """Job id -> accuracy at 2L of each seed tested at N_max: that of its trial with the lowest loss."""
        rows = self._rows(
            "SELECT trial.job_id, trial.seed, trial.best_loss, trial.generalisation FROM trial "
            "JOIN job ON job.id = trial.job_id AND job.n_max = trial.n "
            "WHERE trial.generalisation IS NOT NULL AND trial.best_loss IS NOT NULL ORDER BY trial.id"
        )
        best: dict[int, dict[int, tuple[float, float]]] = {}
        for job_id, seed, loss, accuracy in rows:
            found = d.maybe_real(loss), d.maybe_real(accuracy)
            if found[0] is not None and found[1] is not None:
                of_job, key = best.setdefault(d.integer(job_id), {}), d.integer(seed)
                of_job[key] = min(of_job.get(key, (math.inf, 0.0)), (found[0], found[1]))
        return {job_id: tuple(a for _, a in seeds.values()) for job_id, seeds in best.items()}

    def events(self, after: int = 0, job_id: int | None = None, limit: int = 200) -> list[EventRow]:
        """The newest ``limit`` events after an id, the newest last."""
        columns = EVENTS.select(self._columns["event"])
        values: list[Scalar] = [after, *([] if job_id is None else [job_id]), max(0, int(limit))]
        only = "" if job_id is None else " AND job_id = ?"
        sql = f"SELECT {columns} FROM event WHERE id > ?{only} ORDER BY id DESC LIMIT ?"
        return EVENTS.make(self._rows(sql, values))[::-1]

    def last_event_id(self) -> int:
        """The newest event's id; 0 where there is none."""
        return d.integer(self._rows("SELECT max(id) FROM event")[0][0])

    def devices(self) -> list[DeviceRow]:
        """The devices that the supervisor found."""
        return DEVICES.make(
            self._rows(f"SELECT {DEVICES.select(self._columns['device'])} FROM device ORDER BY id")
        )

    def nodes(self) -> list[NodeRow]:
        """The machines of the cluster that trains it, or did last; none: it is one machine."""
        found = self._rows("SELECT value FROM lab WHERE key = 'nodes'")
        rows = document(str(found[0][0])) if found else None
        kept = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return NODES.make([[row.get(name) for name in NODES.fields] for row in kept])

    def supervisor(self) -> SupervisorRow | None:
        """The supervisor that has the lab, or had it last; None where none ever did."""
        columns = SUPERVISORS.select(self._columns["supervisor"])
        found = SUPERVISORS.make(self._rows(f"SELECT {columns} FROM supervisor ORDER BY epoch DESC LIMIT 1"))
        if not found:
            return None
        row = found[0]
        alive = supervisor_alive(self._opened.paths)
        if alive and (starting := self._starting(row.pid)) is not None:
            return starting
        row.__dict__["alive"] = alive
        word = self._word(row.heartbeat_at) if alive else ""
        return replace(row, state="waiting", message=word) if word else row

    def _starting(self, told_pid: int) -> SupervisorRow | None:
        """A supervisor that holds the lab and has not written its row yet; None where the row is its own."""
        holder = last_holder(self._opened.paths)
        pid = holder.get("pid")
        if type(pid) is not int or pid == told_pid:
            return None
        now = time.time()
        return SupervisorRow(
            epoch=0,
            pid=pid,
            process_started=0.0,
            host=d.text(str(holder.get("host", "")))[:200],
            boot_id="",
            version=d.text(str(holder.get("version", "")))[:40],
            started_at=now,
            heartbeat_at=now,
            state="waiting" if holder.get("message") else "running",
            message=d.text(str(holder.get("message", "")))[:1000].removeprefix("waiting: "),
            alive=True,
        )

    def _word(self, heartbeat_at: float) -> str:
        """What a living supervisor says beside its row,
        which it cannot write where the disk is full or failed.
        """
        told = d.text(str(last_holder(self._opened.paths).get("message", "")))[:1000]
        if told or time.time() - heartbeat_at < SILENT_S:
            return told.removeprefix("waiting: ")
        return (
            f"nothing was written for more than {SILENT_S:.0f} s; "
            f"is the disk of {self.path} read-only or failing?"
        )

    def pending_commands(self) -> int:
        """How many verbs wait for the supervisor."""
        return d.integer(self._rows("SELECT count(*) FROM command WHERE state = 'pending'")[0][0])

    def command(self, command_id: int) -> CommandRow | None:
        """What became of a verb."""
        columns = COMMANDS.select(self._columns["command"])
        found = COMMANDS.make(self._rows(f"SELECT {columns} FROM command WHERE id = ?", (command_id,)))
        return found[0] if found else None

    def holding(self) -> bool:
        """The queue is held: nothing new is started."""
        return bool(self._rows("SELECT 1 FROM lab WHERE key = 'hold' AND value = '1'"))

    def speed(self) -> dict[tuple[str, int], float]:
        """Measured member-steps per second by (model label, input positions);
        of several devices the fastest.
        """
        rows = self._rows("SELECT model_label, positions, max(member_steps_per_s) FROM speed GROUP BY 1, 2")
        return {(d.text(label), d.integer(T)): d.real(speed) for label, T, speed in rows}
