"""The filter language of Queue and Trials: ``state:running model:lstm L>=10 kappa<1 "a name"``.

Each word is ``field OP value`` (``:`` or ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``~`` contains), or a
bare word that is looked for where it fits. ``a,b`` is any of; ``-`` before a word turns it round. All words
must hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labtui.text import clean

if TYPE_CHECKING:
    from store.filters import Condition

_WORD = re.compile(
    r'(?P<not>-?)(?:(?P<field>[A-Za-z_]+)(?P<op>!=|<=|>=|[:=<>~]))?(?P<value>"[^"]*"|[^\s"]+)(?=\s|$)'
)
_NEGATED = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_STATES = ("queued", "running", "paused", "done", "failed", "cancelled")
_FAILURES = {
    "oom": "out of memory",
    "out of memory": "out of memory",
    "device lost": "device lost",
    "lost": "lost",
    "stale": "stale",
}
_FORMATS = ("outcome", "cot", "acot")
_ALIAS = {
    "l": "L",
    "dist": "distribution",
    "lengths": "L",
    "prio": "priority",
    "nstar": "hi",
    "learning_rate": "lr",
}
_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9}
EXAMPLES = "state:running  model:lstm  L>=10  kappa<1  tag:night  note~redo"


@dataclass(frozen=True)
class Query:
    """A filter, read."""

    text: str = ""
    where: tuple[Condition, ...] = ()
    kappa: tuple[tuple[str, float], ...] = ()
    """Conditions on kappa, which is no field of a row: (op, value)."""
    problem: str = ""
    """Why it cannot be read, in a sentence; then nothing else holds."""


EVERYTHING = Query()


def parse(text: str, fields: frozenset[str] | set[str]) -> Query:
    """Read a filter; ``fields`` are the names that the store allows."""
    from store.filters import Condition

    where: list[Condition] = []
    kappa: list[tuple[str, float]] = []
    rest = text.strip()
    while rest:
        match = _WORD.match(rest)
        if match is None:
            return Query(
                text, problem=f"{clean(rest.split()[0])!r} is no filter; expected words like {EXAMPLES}"
            )
        rest = rest[match.end() :].lstrip()
        negated, field, op, value = match["not"], match["field"], match["op"], match["value"].strip('"')
        if field is None:
            field, op, value = _bare(value, fields)
        field = _ALIAS.get(field.lower(), field)
        op = "=" if op == ":" else op
        if negated:
            if op not in _NEGATED:
                return Query(
                    text,
                    problem=f"-{field}~ cannot be turned round; expected one of : != < <= > >= after {field}",
                )
            op = _NEGATED[op]
        if field in ("kappa", "κ"):
            number = _number(value)
            if number is None or op == "~":
                return Query(
                    text, problem=f"kappa{op}{clean(value)} needs a number; expected something like kappa<1"
                )
            kappa.append((op, float(number)))
            continue
        if field not in fields:
            near = (
                ", ".join(sorted(f for f in fields if f[:1].lower() == field[:1].lower()))
                or "state, model, task, L, hi"
            )
            return Query(text, problem=f"there is no field {clean(field)}; expected one such as {near}")
        if field == "failure":
            value = value.replace("_", " ")  # out_of_memory needs no quotation marks
        where.append(Condition(field, _operator(op, field, value), _value(value, op)))
    return Query(text, tuple(where), tuple(kappa))


def _bare(value: str, fields: frozenset[str] | set[str]) -> tuple[str, str, str]:
    word = value.lower()
    if word in _STATES:
        return "state", "=", word
    if word in _FAILURES:
        return "failure", "=", _FAILURES[word]
    if word in _FORMATS:
        return "format", "=", word
    if word in ("censored", "bracket", "open") and "status" in fields:
        return "status", "=", word
    if re.fullmatch(r"[zsd]\d+", word):
        return "task", "=", value.upper()
    if word in ("transformer", "lstm", "dense_ssm"):
        return "model", "=", word
    if word.isdecimal():
        return "id", "=", word
    return ("label" if "label" in fields else "name"), "~", value


def _operator(op: str, field: str, value: str) -> Any:
    if op == "=" and field in ("notes", "name", "reason", "label") and "," not in value:
        return "~"
    return op


def _number(text: str) -> int | float | None:
    match = re.fullmatch(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)([kMGm]?)", text)
    if match is None:
        return None
    value = float(match[1]) * _UNITS.get(match[2].lower(), 1)
    return int(value) if value == int(value) and abs(value) < 1e15 else value


def _value(text: str, op: str) -> Any:
    parts = tuple(_one(part) for part in text.split(",") if part) if op in ("=", "!=") and "," in text else ()
    return parts if len(parts) > 1 else _one(text)


def _one(text: str) -> Any:
    number = _number(text)
    return text if number is None else number


def holds(value: float | None, conditions: tuple[tuple[str, float], ...]) -> bool:
    """Whether a number meets all conditions; an unknown one meets none."""
    if value is None:
        return not conditions
    compare = {
        "=": value.__eq__, "!=": value.__ne__, "<": value.__lt__, "<=": value.__le__, ">": value.__gt__,
        ">=": value.__ge__,
    }  # fmt: skip
    return all(compare[op](bound) for op, bound in conditions)
