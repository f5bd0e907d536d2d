"""Conditions on jobs and trials, from an allow-list, compiled to SQL with bound values.

Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from store.errors import LabError
from store.states import FAILURES

Op = Literal["=", "!=", "<", "<=", ">", ">=", "~"]
OPS: tuple[Op, ...] = ("=", "!=", "<", "<=", ">", ">=", "~")
Scalar = str | int | float


@dataclass(frozen=True)
class Condition:
    """``field op value``; a tuple of values with = or != means any of them, none of them."""

    field: str
    op: str
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True)
class _Field:
    sql: str
    kind: Literal["number", "text"]
    many: bool = False
    """A JSON list: = asks for an element."""
    member: bool = False
    """Of a study: ``sql`` is the job's id."""


def _number(sql: str) -> _Field:
    return _Field(sql, "number")


def _text(sql: str) -> _Field:
    return _Field(sql, "text")


_KINDS = " ".join(f"WHEN '{word}' THEN '{kind}'" for word, kind in FAILURES.items())
_FIRST_LINE = "substr(job.reason, 1, instr(job.reason || char(10), char(10)) - 1)"
_FAILURE = f"CASE replace({_FIRST_LINE}, ' ', '_') {_KINDS} END"
JOB_FIELDS: dict[str, _Field] = {
    "id": _number("job.id"),
    "hash": _text("job.hash"),
    "name": _text("job.name"),
    "state": _text("job.state"),
    "status": _text("job.status"),
    "priority": _number("job.priority"),
    "attempt": _number("job.attempt"),
    "task": _text("job.task"),
    "m": _number("job.m"),
    "model": _text("job.model"),
    "label": _text("job.model_label"),
    "format": _text("job.format"),
    "distribution": _text("job.distribution"),
    "L": _number("job.length"),
    "length": _number("job.length"),
    "min_length": _number("job.min_length"),
    "strategy": _text("job.strategy"),
    "eps": _number("job.eps"),
    "n": _number("job.hi"),
    "hi": _number("job.hi"),
    "lo": _number("job.lo"),
    "n_max": _number("job.n_max"),
    "steps": _number("job.steps"),
    "candidates": _number("job.candidates"),
    "flag": _Field("job.flags", "text", many=True),
    "device": _text("job.device"),
    "reason": _text("job.reason"),
    "failure": _text(_FAILURE),
    "tag": _Field("job.tags", "text", many=True),
    "notes": _text("job.notes"),
    "best_loss": _number("job.best_loss"),
    "progress": _number("job.progress"),
    "created": _number("job.created_at"),
    "started": _number("job.started_at"),
    "finished": _number("job.finished_at"),
    "wall": _number("job.wall_s"),
    "member_steps": _number("job.member_steps"),
    "study": _Field("job.id", "number", member=True),
}
TRIAL_FIELDS: dict[str, _Field] = {
    **JOB_FIELDS,
    "outcome": _text("trial.outcome"),
    "lr": _number("trial.lr"),
    "seed": _number("trial.seed"),
    "trial": _number("trial.id"),
    "probe": _number("trial.probe_id"),
    "n": _number("trial.n"),
    "loss": _number("trial.best_loss"),
    "steps": _number("trial.steps"),
    "wall": _number("trial.wall_s"),
    "job": _number("trial.job_id"),
    "study": _Field("trial.job_id", "number", member=True),
}

JOB_ORDERS: dict[str, str] = {
    "queue": "",
    "id": "job.id",
    "name": "job.name",
    "state": "job.state",
    "priority": "job.priority",
    "n": "job.hi",
    "L": "job.length",
    "m": "job.m",
    "model": "job.model_label",
    "format": "job.format",
    "created": "job.created_at",
    "started": "job.started_at",
    "finished": "job.finished_at",
    "progress": "job.progress",
    "best_loss": "job.best_loss",
    "wall": "job.wall_s",
}
TRIAL_ORDERS: dict[str, str] = {
    "id": "trial.id",
    "job": "trial.job_id",
    "n": "trial.n",
    "lr": "trial.lr",
    "seed": "trial.seed",
    "outcome": "trial.outcome",
    "best_loss": "trial.best_loss",
    "loss": "trial.best_loss",
    "steps": "trial.steps",
    "wall_s": "trial.wall_s",
}
_QUEUE = (
    "CASE job.state WHEN 'running' THEN 0 WHEN 'failed' THEN 1 WHEN 'queued' THEN 2 WHEN 'paused' THEN 3 "
    "ELSE 4 END, "
    "CASE WHEN job.state IN ('queued', 'paused', 'running') THEN -job.priority ELSE 0 END, "
    "CASE WHEN job.state IN ('queued', 'paused', 'running') "
    "THEN job.position ELSE -COALESCE(job.finished_at, 0) END, job.id"
)


def compile_conditions(
    conditions: Sequence[Condition], fields: dict[str, _Field]
) -> tuple[str, list[Scalar]]:
    """Write the conditions as SQL joined by AND ("" for none), with the values to bind.

    Raises:
        LabError: an unknown field or operator, or a value of the wrong kind.
    """
    parts: list[str] = []
    values: list[Scalar] = []
    for condition in conditions:
        field = fields.get(condition.field)
        if field is None:
            raise LabError(
                f"there is no field {condition.field!r} to filter by; expected one of: {', '.join(fields)}"
            )
        if condition.op not in OPS:
            raise LabError(f"there is no comparison {condition.op!r}; expected one of: {' '.join(OPS)}")
        several = condition.value if isinstance(condition.value, tuple) else (condition.value,)
        if len(several) != 1 and condition.op not in ("=", "!="):
            raise LabError(f"{condition.field} {condition.op} has {len(several)} values; expected one")
        if not 1 <= len(several) <= 500:
            raise LabError(f"{condition.field} {condition.op} has {len(several)} values; expected 1 to 500")
        made = [_one(condition, field, value, values) for value in several]
        joined = (" AND " if condition.op == "!=" else " OR ").join(made)
        parts.append(f"({joined})")
    return " AND ".join(parts), values


def _one(condition: Condition, field: _Field, value: Scalar, values: list[Scalar]) -> str:
    op = condition.op
    if field.member:
        if op not in ("=", "!="):
            raise LabError(f"{condition.field} is an id; expected = or !=, not {op}")
        values.append(_as_number(condition, value))
        return (
            f"{field.sql} {'NOT ' if op == '!=' else ''}IN (SELECT job_id FROM study_job WHERE study_id = ?)"
        )
    if op == "~":
        values.append(str(value).lower())
        return f"instr(lower(COALESCE({field.sql}, '')), ?) > 0"
    if field.kind == "number":
        values.append(_as_number(condition, value))
        if op == "!=":
            return f"{field.sql} IS NOT ?"
        return f"{field.sql} {op} ?"
    values.append(str(value))
    if field.many:
        if op not in ("=", "!="):
            raise LabError(f"{condition.field} is a list of words; expected =, != or ~, not {op}")
        has = f"EXISTS (SELECT 1 FROM json_each({field.sql}) WHERE json_each.value = ?)"
        has = f"(json_valid({field.sql}) AND {has})"
        return has if op == "=" else f"NOT {has}"
    if op in ("=", "!="):
        return f"{field.sql} IS {'NOT ' if op == '!=' else ''}? COLLATE NOCASE"
    return f"{field.sql} {op} ? COLLATE NOCASE"


def _as_number(condition: Condition, value: Scalar) -> int | float:
    found: int | float
    if isinstance(value, str):
        try:
            found = int(value)
        except ValueError:
            try:
                found = float(value)
            except ValueError:
                raise LabError(f"{condition.field} {condition.op} {value!r}; expected a number") from None
    else:
        found = value
    if isinstance(found, float) and math.isnan(found):
        raise LabError(f"{condition.field} {condition.op} NaN; expected a number")
    if isinstance(found, int) and abs(found) >= 1 << 63:
        return float(found) if abs(found) < 10**300 else math.copysign(math.inf, found)
    return found


def compile_order(order: str, orders: dict[str, str], tie: str) -> str:
    """Write the ORDER BY of an allowed order; "-" in front is descending; rows without a value come last.

    Raises:
        LabError: an unknown order.
    """
    name, descending = order.removeprefix("-"), order.startswith("-")
    if name not in orders:
        raise LabError(
            f"there is no order {order!r}; expected one of: {', '.join(orders)}, "
            "with - in front for descending"
        )
    if name == "queue":
        return _QUEUE
    sql = orders[name]
    if sql == tie:
        return f"{sql} {'DESC' if descending else 'ASC'}"
    return f"{sql} {'DESC' if descending else 'ASC'} NULLS LAST, {tie}"
