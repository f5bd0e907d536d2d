"""Which columns make which row, and how each value is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from store import decode as d
from store.rows import CommandRow, DeviceRow, EventRow, JobRow, ProbeRow, StudyRow, TrialRow

Row = TypeVar("Row")
Decoder = Callable[[object], Any]
_STATE = d.one_of("queued", "running", "paused", "done", "cancelled", "failed")
_STATUS = d.one_of("bracket", "censored", "open")


class RowMap(Generic[Row]):
    """Rows of one class from the columns of one table."""

    def __init__(self, row: type[Row], table: str, fields: Mapping[str, tuple[str, Decoder]]) -> None:
        self.row = row
        self.table = table
        self.fields = tuple(fields)
        self.columns = tuple(column for column, _ in fields.values())
        self._decoders = tuple(decoder for _, decoder in fields.values())

    def select(self, have: frozenset[str]) -> str:
        """The columns of a SELECT; one that an older schema lacks reads as NULL."""
        return ", ".join(f"{self.table}.{c}" if c in have else "NULL" for c in self.columns)

    def make(self, found: Iterable[Sequence[object]]) -> list[Row]:
        # A frozen dataclass assigns each field through object.__setattr__; for thousands of rows of 50 fields
        # that is most of the time, and filling __dict__ gives the same object.
        new, row, fields, decoders = object.__new__, self.row, self.fields, self._decoders
        out: list[Row] = []
        for values in found:
            made = new(row)
            made.__dict__.update(
                zip(fields, [f(v) for f, v in zip(decoders, values, strict=True)], strict=True)
            )
            out.append(made)
        return out


def _same(**fields: Decoder) -> dict[str, tuple[str, Decoder]]:
    return {name: (name, decoder) for name, decoder in fields.items()}


JOBS: RowMap[JobRow] = RowMap(
    JobRow,
    "job",
    {"failure": ("reason", d.failure)}
    | _same(
        id=d.integer,
        hash=d.text,
        name=d.text,
        state=_STATE,
        priority=d.integer,
        position=d.real,
        attempt=d.integer,
        max_attempts=d.integer,
        task=d.text,
        m=d.maybe_integer,
        model=d.text,
        model_label=d.text,
        format=d.word,
        distribution=d.word,
        length=d.integer,
        min_length=d.integer,
        strategy=d.word,
        eps=d.real,
        n_max=d.integer,
        trials_per_probe=d.integer,
        steps=d.integer,
        lo=d.integer,
        hi=d.maybe_integer,
        status=_STATUS,
        flags=d.texts,
        best_loss=d.maybe_real,
        candidates=d.integer,
        current_n=d.maybe_integer,
        progress=d.real,
        device=d.maybe_text,
        created_at=d.real,
        started_at=d.maybe_real,
        finished_at=d.maybe_real,
        wall_s=d.real,
        device_s=d.real,
        member_steps=d.integer,
        reason=d.maybe_text,
        notes=d.text,
        tags=d.texts,
        archived=d.boolean,
        estimate=d.interval,
        n50=d.interval,
        crashes=d.integer,
        wanted=d.maybe_text,
    ),
)
PROBES: RowMap[ProbeRow] = RowMap(
    ProbeRow,
    "probe",
    _same(
        id=d.integer,
        job_id=d.integer,
        ordinal=d.integer,
        n=d.integer,
        state=d.one_of("running", "done", "cancelled", "interrupted", "lost"),
        verdict=d.maybe_boolean,
        speculative=d.boolean,
        attempt=d.integer,
        device=d.maybe_text,
        slot=d.maybe_text,
        started_at=d.real,
        ended_at=d.maybe_real,
        wall_s=d.real,
        member_steps=d.integer,
        trials=d.integer,
        trials_ended=d.integer,
        step=d.integer,
        best_loss=d.maybe_real,
        plan=d.text,
        seeds=d.integer,
        successes=d.integer,
    ),
)
TRIALS: RowMap[TrialRow] = RowMap(
    TrialRow,
    "trial",
    _same(
        id=d.integer,
        probe_id=d.integer,
        job_id=d.integer,
        n=d.integer,
        lr=d.real,
        seed=d.integer,
        outcome=d.one_of("running", "success", "failure", "diverged", "superseded", "lost"),
        best_loss=d.maybe_real,
        best_step=d.integer,
        last_loss=d.maybe_real,
        steps=d.integer,
        wall_s=d.real,
        generalisation=d.maybe_real,
    ),
)
STUDIES: RowMap[StudyRow] = RowMap(
    StudyRow,
    "study",
    _same(
        id=d.integer,
        name=d.text,
        notes=d.text,
        tags=d.texts,
        created_at=d.real,
        archived=d.boolean,
        spec=d.text,
    ),
)
EVENTS: RowMap[EventRow] = RowMap(
    EventRow,
    "event",
    _same(
        id=d.integer,
        at=d.real,
        kind=d.text,
        level=d.one_of("info", "error", "warning"),
        job_id=d.maybe_integer,
        probe_id=d.maybe_integer,
        text=d.text,
        data=d.text,
    ),
)
DEVICES: RowMap[DeviceRow] = RowMap(
    DeviceRow,
    "device",
    _same(
        id=d.text,
        name=d.text,
        slots=d.integer,
        state=d.one_of("active", "excluded", "reserved", "lost"),
        note=d.text,
    ),
)
COMMANDS: RowMap[CommandRow] = RowMap(
    CommandRow,
    "command",
    _same(
        id=d.integer,
        at=d.real,
        kind=d.text,
        payload=d.text,
        state=d.one_of("pending", "done", "refused"),
        result=d.text,
        finished_at=d.maybe_real,
    ),
)
