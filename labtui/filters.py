"""The filter language of Queue and Trials: ``state:running model:lstm L>=10 kappa<1 "a name"``.

Each word is ``field OP value`` (``:`` or ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``~`` contains), or a
bare word that is looked for where it fits. ``a,b`` is any of; ``-`` before a word turns it round. All words
must hold.
"""

from __future__ import annotations

import math
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
_FORMATS = ("outcome", "cot", "acot", "icot")
_CLOSED = {
    "state": _STATES,
    "status": ("open", "bracket", "censored"),
    "format": _FORMATS,
    "outcome": ("running", "success", "failure", "diverged", "superseded", "lost", "interrupted"),
}
"""Fields whose words are known: another one is a slip, not an empty list."""
_ALIAS = {
    "l": "L",
    "dist": "distribution",
    "lengths": "L",
    "prio": "priority",
    "nstar": "hi",
    "learning_rate": "lr",
}
_NUMBER = re.compile(r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)([kMGm]?)")
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
    from store.errors import LabError
    from store.filters import TRIAL_FIELDS, compile_conditions

    if any("\ud800" <= c <= "\udfff" for c in text):
        return Query(
            text, problem=f"{clean(text)!r} holds bytes that are no text; expected words like {EXAMPLES}"
        )
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
        condition = _condition(field, op, value)
        if isinstance(condition, str):
            return Query(text, problem=condition)
        where.append(condition)
    try:
        compile_conditions(where, TRIAL_FIELDS)
    except LabError as error:  # what the store takes, it says itself: a list of words knows no <
        return Query(text, problem=str(error))
    return Query(text, tuple(where), tuple(kappa))


def _condition(field: str, op: str, value: str) -> Condition | str:
    """One condition on a field of a row, or why there is none, in a sentence."""
    from store.filters import TRIAL_FIELDS, Condition

    if field == "failure":
        value = value.replace("_", " ")  # out_of_memory needs no quotation marks
    kind = TRIAL_FIELDS[field].kind if field in TRIAL_FIELDS else "text"
    several = [part for part in value.split(",") if part] if op in ("=", "!=") else []
    read = [_typed(part, kind, op) for part in several or [value]]
    values = tuple(v for v in read if v is not None)
    if len(values) < len(read):
        return f"{field}{op}{clean(value)} needs a number; expected something like {field}>=10"
    words = _CLOSED.get(field, ())
    strange = [v for v in values if words and op in ("=", "!=") and str(v).lower() not in words]
    if strange:
        told = f"{', '.join(words[:-1])} or {words[-1]}"
        return f"{field}:{clean(str(strange[0]))} fits nothing; expected {told}"
    return Condition(field, _operator(op, field, value), values if len(values) > 1 else values[0])


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
    if word.isdecimal() and _number(word) is not None:
        return "id", "=", word
    return ("label" if "label" in fields else "name"), "~", value


def _operator(op: str, field: str, value: str) -> Any:
    if op == "=" and field in ("notes", "name", "reason", "label") and "," not in value:
        return "~"
    return op


def _number(text: str) -> int | float | None:
    """What a person types for a finite number (1e-3, 16M); None for anything else, however like a number it
    looks.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > 40:
        return None
    value = float(match[1]) * _UNITS.get(match[2].lower(), 1)
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 1e15 else value


def _typed(text: str, kind: str, op: str) -> str | int | float | None:
    """A value as its field compares it: text fields text, number fields numbers; None: it is no number."""
    return _number(text) if kind == "number" and op != "~" else text


def holds(value: float | None, conditions: tuple[tuple[str, float], ...]) -> bool:
    """Whether a number meets all conditions; an unknown one meets none."""
    if value is None:
        return not conditions
    compare = {
        "=": value.__eq__, "!=": value.__ne__, "<": value.__lt__, "<=": value.__le__, ">": value.__gt__,
        ">=": value.__ge__,
    }  # fmt: skip
    return all(compare[op](bound) for op, bound in conditions)
