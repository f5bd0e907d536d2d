"""From a pydantic error to one sentence with a key and a line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

_EXPECTED = {
    "missing": "expected a value",
    "int_type": "expected an integer",
    "float_type": "expected a number",
    "string_type": "expected a text in quotes",
    "bool_type": "expected true or false",
    "tuple_type": "expected a list",
    "dict_type": "expected a table",
    "model_type": "expected a table",
    "model_attributes_type": "expected a table",
    "finite_number": "expected a finite number",
}
_MARKERS = re.compile(r"^(function-|tagged-union|nullable|constrained-)")


def first_problem(error: ValidationError, model: type[BaseModel]) -> tuple[str, tuple[str | int, ...]]:
    """(sentence, key path) of the first problem in ``error``; the path has no names of union branches."""
    found = min(error.errors(include_url=False), key=lambda e: len(e["loc"]) * (e["type"] == "extra_forbidden"))
    kinds = {"modular_addition", "permutation_composition", "dihedral", "automaton", "product", "plugin"}
    kinds |= {"transformer", "lstm", "dense_ssm"}
    loc = tuple(k for k in found["loc"] if k not in kinds and not (isinstance(k, str) and _MARKERS.match(k)))
    dotted = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in loc).lstrip(".") or model.__name__.lower()
    kind, ctx = found["type"], found.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key {dotted}; expected one of the keys in docs/specs.md", loc
    if kind == "missing":
        return f"{dotted} is missing; expected a value", loc
    if kind == "value_error":
        return f"{dotted}: {ctx['error']}", loc
    if kind in ("greater_than_equal", "greater_than", "less_than_equal", "less_than"):
        sign = {"greater_than_equal": "at least", "greater_than": "more than", "less_than_equal": "at most"}
        limit = next(iter(ctx.values()))
        return f"{dotted} is {_shown(error, found['loc'])}; expected {sign.get(kind, 'less than')} {limit}", loc
    if kind in ("literal_error", "union_tag_invalid"):
        wanted = ctx.get("expected") or ctx.get("expected_tags")
        return f"{dotted} is {_shown(error, found['loc'])}; expected {wanted}", loc
    if kind == "union_tag_not_found":
        return f"{dotted}.kind is missing; expected a table with a kind", loc
    expected = _EXPECTED.get(kind, found["msg"])
    return f"{dotted} is {_shown(error, found['loc'])}; {expected}", loc


def _shown(error: ValidationError, loc: tuple[str | int, ...]) -> str:
    for item in error.errors(include_url=False, include_context=False):
        if item["loc"] == loc:
            text = repr(item["input"])
            return text if len(text) <= 60 else text[:57] + "..."
    return "wrong"


def line_of(text: str, keys: Sequence[str | int]) -> int | None:
    """The line of ``text`` (TOML, from 1) where the key path stands, or of its nearest parent; None if nowhere."""
    names = [k for k in keys if isinstance(k, str)]
    index = next((k for k in keys if isinstance(k, int)), 0)
    best: tuple[int, int | None] = (0, None)
    prefix: list[str] = []
    seen: dict[str, int] = {}
    ordinal = 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        head = re.match(r"^(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$", line)
        if head:
            prefix = [p.strip().strip("\"'") for p in head.group(2).split(".")]
            if head.group(1) == "[[":
                seen[prefix[0]] = seen.get(prefix[0], -1) + 1
            ordinal = seen.get(prefix[0], 0)
            path = prefix
        else:
            key = re.match(r"^([A-Za-z0-9_\-.\"']+)\s*=", line)
            if not key:
                continue
            path = prefix + [p.strip("\"'") for p in key.group(1).split(".")]
        if ordinal != index and path[0] in seen:
            continue
        match = 0
        while match < min(len(path), len(names)) and path[match] == names[match]:
            match += 1
        if match == len(path) and match > best[0]:
            best = (match, number)
    return best[1]
