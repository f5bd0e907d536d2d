"""Merge two labs into a new one: a search that both have stands there once, by its content hash.

Standard library only. Both labs stay as they are. Where both have finished a search with different answers,
or have the same candidate with different verdicts, that is a conflict and nothing is written.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from store.connect import SCHEMA
from store.errors import LabError, from_os, from_sqlite
from store.snapshot import snapshot

Row = dict[str, Any]
_RESTING = (
    "UPDATE {}job SET state = 'queued', wanted = NULL, current_n = NULL, progress = 0, epoch = NULL "
    "WHERE state = 'running'",
    "UPDATE {}trial SET outcome = 'lost' WHERE outcome = 'running'",
    "UPDATE {}probe SET state = 'lost', turn = NULL, checkpoint = NULL, checkpoint_step = 0 "
    "WHERE state IN ('running', 'interrupted')",
)
"""What trains in a copy trains there no more: its checkpoints stay with the lab that it was copied from."""


@dataclass
class Merged:
    """What became of the second lab's searches."""

    new: int = 0
    """Searches that the first lab had not."""
    known: int = 0
    """Searches that both had."""
    replaced: int = 0
    """Of these, where the second lab's was farther along and stands there now."""
    candidates: int = 0
    """Finished candidates that one of the two had alone and that were added to the other's."""
    conflicts: list[str] = field(default_factory=list)


def merge(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    out: Path,
    progress: Callable[[float, float], None] | None = None,
) -> Merged:
    """Write both labs as one into ``out``, which is there whole or not at all.

    Args:
        progress: told how many searches of the second are taken over, of how many.

    Raises:
        LabError: a lab cannot be read or is of another schema, or ``out`` is there already.
    """
    if os.path.lexists(out):
        raise LabError(f"{out} is there already; expected a new file")
    made = Merged()
    try:
        with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=".merge-") as folder:
            base, other = Path(folder) / "first.db", Path(folder) / "second.db"
            snapshot(first, base, read_only=True)
            snapshot(second, other, read_only=True)
            for path, named in ((base, first), (other, second)):
                _require_schema(path, named)
            with closing(sqlite3.connect(base, isolation_level=None)) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("ATTACH ? AS other", (str(other),))
                connection.execute("BEGIN IMMEDIATE")
                for statement in _RESTING:
                    for schema in ("main.", "other."):
                        connection.execute(statement.format(schema))
                _Merge(connection, made).run(progress)
                connection.execute("COMMIT")
                connection.execute("DETACH other")
            if not made.conflicts:
                os.link(base, out)  # never over a file that came meanwhile
    except OSError as error:
        raise from_os(error, out) from None
    except sqlite3.Error as error:
        raise from_sqlite(error, out) from None
    return made


def _require_schema(path: Path, named: str | os.PathLike[str]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found != SCHEMA:
        raise LabError(f"{os.fspath(named)} has schema {found}; expected {SCHEMA}: labtui db upgrade")


class _Merge:
    """One merge, inside a transaction; ``other`` is attached."""

    def __init__(self, connection: sqlite3.Connection, made: Merged) -> None:
        self._c, self._made = connection, made
        self._jobs: dict[int, int] = {}
        self._probes: dict[int, int] = {}

    def run(self, progress: Callable[[float, float], None] | None) -> None:
        jobs = self._rows("SELECT * FROM other.job ORDER BY position, id")
        for done, job in enumerate(jobs):
            if progress is not None:
                progress(done, len(jobs))
            self._job(job)
        self._studies()
        self._events()
        for table in ("device", "calibration", "speed"):
            names = ", ".join(self._columns(table))
            self._c.execute(f"INSERT OR IGNORE INTO main.{table} ({names}) SELECT {names} FROM other.{table}")

    def _job(self, job: Row) -> None:
        known = self._rows("SELECT * FROM main.job WHERE hash = ?", job["hash"])
        if not known:
            self._made.new += 1
            number, position = (
                self._next("job"),
                self._one("SELECT COALESCE(max(position), 0) + 1 FROM main.job"),
            )
            self._jobs[job["id"]] = number
            self._insert("job", job | {"id": number, "position": position})
            for text in self._rows("SELECT * FROM other.job_text WHERE job_id = ?", job["id"]):
                self._insert("job_text", text | {"job_id": number})
            for probe in self._probes_of("other", job["id"]):
                self._add(probe, number)
            return
        self._made.known += 1
        mine = known[0]
        self._jobs[job["id"]] = mine["id"]
        if not self._differ(mine, job):
            if _rank(job) > _rank(mine):
                self._replace(mine, job)
            else:
                self._complete(mine, job)

    def _differ(self, mine: Row, job: Row) -> bool:
        """Whether the two cannot both be right; what is so is named."""
        answers = [(r["status"], r["lo"], r["hi"]) for r in (mine, job)]
        before = len(self._made.conflicts)
        if mine["state"] == job["state"] == "done" and answers[0] != answers[1]:
            told = " and ".join(f"({lo}, {hi}] {status}" for status, lo, hi in answers)
            self._made.conflicts.append(f"job {mine['hash'][:12]} ({mine['name']}): {told}")
        theirs = {(p["n"], p["members"]): p["verdict"] for p in self._done("other", job["id"])}
        for p in self._done("main", mine["id"]):
            verdict = theirs.get((p["n"], p["members"]), p["verdict"])
            if verdict != p["verdict"]:
                self._made.conflicts.append(
                    f"job {mine['hash'][:12]} ({mine['name']}): N = {p['n']} was learned in one lab alone"
                )
        return len(self._made.conflicts) > before

    def _replace(self, mine: Row, job: Row) -> None:
        """The second lab's search in the place of the first's, whose other candidates stay as speculative."""
        self._made.replaced += 1
        kept = {"id": mine["id"], "position": mine["position"], "notes": mine["notes"] or job["notes"]}
        self._update("job", job | kept)
        for text in self._rows("SELECT * FROM other.job_text WHERE job_id = ?", job["id"]):
            self._c.execute("DELETE FROM main.job_text WHERE job_id = ?", (mine["id"],))
            self._insert("job_text", text | {"job_id": mine["id"]})
        old = {(p["n"], p["members"]): p for p in self._done("main", mine["id"])}
        self._c.execute(
            "UPDATE main.probe SET ordinal = -ordinal - 1, turn = NULL WHERE job_id = ?", (mine["id"],)
        )
        self._c.execute(
            "UPDATE main.probe SET speculative = 1 WHERE job_id = ? AND state = 'done'", (mine["id"],)
        )
        for probe in self._probes_of("other", job["id"]):
            same = old.pop((probe["n"], probe["members"]), None) if probe["state"] == "done" else None
            if same is None:
                self._add(probe, mine["id"])
                continue
            self._probes[probe["id"]] = same["id"]
            self._c.execute(
                "UPDATE main.probe SET ordinal = ?, turn = ?, speculative = ? WHERE id = ?",
                (probe["ordinal"], probe["turn"], probe["speculative"], same["id"]),
            )
        self._made.candidates += len(old)
        for left in self._rows("SELECT id FROM main.probe WHERE job_id = ? AND ordinal < 0", mine["id"]):
            self._c.execute(
                "UPDATE main.probe SET ordinal = ? WHERE id = ?", (self._ordinal(mine["id"]), left["id"])
            )

    def _complete(self, mine: Row, job: Row) -> None:
        """Add the candidates that the second lab has alone, as trained ahead of their turn."""
        old = {(p["n"], p["members"]): p["id"] for p in self._done("main", mine["id"])}
        for probe in self._done("other", job["id"]):
            same = old.get((probe["n"], probe["members"]))
            if same is not None:
                self._probes[probe["id"]] = same
                continue
            self._made.candidates += 1
            changed = {"ordinal": self._ordinal(mine["id"]), "turn": None, "speculative": 1}
            self._add(probe | changed, mine["id"])

    def _add(self, probe: Row, job: int) -> None:
        """One candidate with its trials and their curves."""
        number = self._next("probe")
        self._probes[probe["id"]] = number
        if (
            probe["state"] == "done"
        ):  # its trials are the ones that count, not those of an attempt that was lost
            self._c.execute(
                "UPDATE main.trial SET outcome = 'lost' WHERE job_id = ? AND n = ? "
                "AND outcome <> 'superseded' "
                "AND probe_id IN (SELECT id FROM main.probe WHERE job_id = ? AND n = ? AND state <> 'done')",
                (job, probe["n"], job, probe["n"]),
            )
        self._insert("probe", probe | {"id": number, "job_id": job})
        for trial in self._rows("SELECT * FROM other.trial WHERE probe_id = ? ORDER BY id", probe["id"]):
            made = self._next("trial")
            self._insert("trial", trial | {"id": made, "probe_id": number, "job_id": job})
            for curve in self._rows("SELECT * FROM other.curve WHERE trial_id = ?", trial["id"]):
                self._insert("curve", curve | {"trial_id": made})

    def _studies(self) -> None:
        for study in self._rows("SELECT * FROM other.study ORDER BY id"):
            if self._rows("SELECT id FROM main.study WHERE hash = ?", study["hash"]):
                continue
            number = self._next("study")
            self._insert("study", study | {"id": number})
            for row in self._rows("SELECT * FROM other.study_job WHERE study_id = ?", study["id"]):
                self._insert("study_job", row | {"study_id": number, "job_id": self._jobs[row["job_id"]]})
            for cell in self._rows(
                "SELECT * FROM other.cell WHERE study_id = ? ORDER BY ordinal", study["id"]
            ):
                made = self._next("cell")
                joint = self._jobs[cell["joint_job_id"]]
                self._insert("cell", cell | {"id": made, "study_id": number, "joint_job_id": joint})
                for part in self._rows("SELECT * FROM other.cell_part WHERE cell_id = ?", cell["id"]):
                    self._insert("cell_part", part | {"cell_id": made, "job_id": self._jobs[part["job_id"]]})

    def _events(self) -> None:
        """What happened in the second lab alone, after what happened in the first."""
        told = "at, kind, text, data"
        seen = {tuple(r.values()) for r in self._rows(f"SELECT {told} FROM main.event")}
        for event in self._rows("SELECT * FROM other.event ORDER BY id"):
            if tuple(event[name] for name in told.split(", ")) in seen:
                continue
            job, probe = event["job_id"], event["probe_id"]
            mapped = {"job_id": self._jobs.get(job), "probe_id": self._probes.get(probe)}
            self._insert("event", event | {"id": self._next("event"), **mapped})

    def _probes_of(self, schema: str, job: int) -> list[Row]:
        return self._rows(f"SELECT * FROM {schema}.probe WHERE job_id = ? ORDER BY ordinal", job)

    def _done(self, schema: str, job: int) -> list[Row]:
        return [p for p in self._probes_of(schema, job) if p["state"] == "done"]

    def _ordinal(self, job: int) -> int:
        return int(self._one("SELECT COALESCE(max(ordinal), 0) + 1 FROM main.probe WHERE job_id = ?", job))

    def _next(self, table: str) -> int:
        return int(self._one(f"SELECT COALESCE(max(id), 0) + 1 FROM main.{table}"))

    def _one(self, sql: str, *values: object) -> Any:
        return self._c.execute(sql, values).fetchone()[0]

    def _rows(self, sql: str, *values: object) -> list[Row]:
        return [dict(row) for row in self._c.execute(sql, values).fetchall()]

    def _columns(self, table: str) -> list[str]:
        return [row[1] for row in self._c.execute(f"PRAGMA main.table_info({table})")]

    def _insert(self, table: str, row: Row) -> None:
        names = [name for name in self._columns(table) if name in row]
        marks = ", ".join("?" * len(names))
        sql = f"INSERT INTO main.{table} ({', '.join(names)}) VALUES ({marks})"
        self._c.execute(sql, [row[name] for name in names])

    def _update(self, table: str, row: Row) -> None:
        names = [name for name in self._columns(table) if name in row and name != "id"]
        sets = ", ".join(f"{name} = ?" for name in names)
        self._c.execute(f"UPDATE main.{table} SET {sets} WHERE id = ?", [*(row[n] for n in names), row["id"]])


def _rank(job: Row) -> tuple[bool, int]:
    """How far a search has come."""
    return job["state"] == "done", job["candidates"]
