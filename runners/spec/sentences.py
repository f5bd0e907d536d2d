"""From a pydantic error to one sentence with a key and a line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Keys = tuple[str | int, ...]

_EXPECTED = {
    "int_type": "expected an integer",
    "int_from_float": "expected an integer",
    "int_parsing_size": "expected a smaller integer",
    "float_type": "expected a number",
    "string_type": "expected a text in quotes",
    "bool_type": "expected true or false",
    "tuple_type": "expected a list",
    "dict_type": "expected a table",
    "model_type": "expected a table",
    "model_attributes_type": "expected a table",
    "finite_number": "expected a finite number",
    "none_required": "expected nothing",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_COUNTS = {
    "too_short": ("at least", "min_length"),
    "too_long": ("at most", "max_length"),
    "string_too_short": ("at least", "min_length"),
    "string_too_long": ("at most", "max_length"),
}


def first_problem(
    error: ValidationError, model: type[BaseModel], origin: Callable[[Keys], Keys] = lambda keys: keys
) -> tuple[str, Keys]:
    """(sentence, key path) of the problem to tell first.

    A misspelt key is told before the missing one that it causes, and the item of a list before the list.

    Args:
        error: what pydantic found.
        model: the model that was validated.
        origin: from a path in the validated data to the path that the person wrote (sugar undone).
    """
    found = error.errors(include_url=False)
    locations = [tuple(e["loc"]) for e in found]
    outer = {loc[:length] for loc in locations for length in range(len(loc))}
    inner = [e for e, loc in zip(found, locations, strict=True) if loc not in outer]
    rank = {"extra_forbidden": 0, "union_tag_invalid": 1, "missing": 3, "union_tag_not_found": 3}
    return _sentence(min(inner, key=lambda e: rank.get(e["type"], 2)), model, origin)


def _sentence(found: Any, model: type[BaseModel], origin: Callable[[Keys], Keys]) -> tuple[str, Keys]:
    loc, parent = _walk(model, found["loc"])
    keys = origin(loc)
    kind, ctx, name = found["type"], found.get("ctx", {}), dotted(keys)
    if kind == "extra_forbidden":
        known = tuple(parent.model_fields) if parent else ()
        close = get_close_matches(str(loc[-1]), known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of: {', '.join(known)}"
        return f"unknown key {name}; {hint}", keys
    if kind == "missing":
        return f"{name} is missing; expected a value", keys[:-1]
    if kind == "value_error":
        return _own_words(str(ctx["error"]), keys, parent)
    shown = f"{name} is {_shown(found['input'])}"
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"{shown}; expected {word} {_bound(ctx[key])}", keys
    if kind in _COUNTS:
        word, key = _COUNTS[kind]
        unit = "characters" if kind.startswith("string") else "values"
        many = "no" if not found["input"] else str(len(found["input"]))
        return f"{name} has {many} {unit}; expected {word} {ctx[key]}", keys
    if kind == "literal_error":
        return f"{shown}; expected {ctx['expected']}", keys
    if kind == "union_tag_invalid":
        return (
            f"{name}.kind is {_shown(found['input'].get('kind'))}; expected one of {ctx['expected_tags']}",
            (*keys, "kind"),
        )
    if kind == "union_tag_not_found":
        return f"{name}.kind is missing; expected a table with a kind", keys
    expected = _EXPECTED.get(kind) or "expected another value: " + found["msg"][:1].lower() + found["msg"][1:]
    return f"{shown}; {expected}", keys


def _own_words(text: str, keys: Keys, model: type[BaseModel] | None) -> tuple[str, Keys]:
    """A validator's own sentence; where it begins with a key of the model or of a section in it,
    the key gets its path.
    """
    first = re.match(r"[A-Za-z_]+", text)
    word = first.group() if first else ""
    fields = model.model_fields if model else {}
    sections = {name: _as_model(f.annotation) for name, f in fields.items()}
    holder = next(
        (name for name, section in sections.items() if section and word in section.model_fields), None
    )
    if word in fields or holder:
        keys = (*keys, word) if word in fields else (*keys, str(holder), word)
        return dotted(keys) + text[len(word) :], keys
    return (f"{dotted(keys)}: {text}" if keys else text), keys


def dotted(keys: Keys) -> str:
    """``sweep[1].grid.seeds`` of a key path; a key that is no bare TOML key stands in quotes."""
    out = ""
    for key in keys:
        if isinstance(key, int):
            out += f"[{key}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]{1,60}", key)
            out += "." + (key if bare else _shown(key))
    return out.lstrip(".") or "the file"


def _bound(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _walk(model: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[Keys, type[BaseModel] | None]:
    """The path without pydantic's names of union branches, and the model that holds (or is) its end."""
    annotation: Any = model
    holder: type[BaseModel] | None = model
    keys: list[str | int] = []
    for key in loc:
        branch = _branch(annotation, key)
        if branch is not None:
            annotation = holder = branch
            continue
        keys.append(key)
        annotation = _inside(annotation, key)
        holder = _as_model(annotation) or holder
    return tuple(keys), holder


def _options(annotation: Any) -> tuple[Any, ...]:
    """The types an annotation allows, with Annotated and Optional taken off."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return tuple(o for a in get_args(annotation) for o in _options(a) if o is not type(None))
    return (annotation,)


def _as_model(annotation: Any) -> type[BaseModel] | None:
    found = [o for o in _options(annotation) if isinstance(o, type) and issubclass(o, BaseModel)]
    return found[0] if len(found) == 1 else None


def _branch(annotation: Any, key: str | int) -> type[BaseModel] | None:
    """The member of a tagged union whose tag is ``key``."""
    options = _options(annotation)
    if len(options) < 2:
        return None
    for option in options:
        fields = option.model_fields if isinstance(option, type) and issubclass(option, BaseModel) else {}
        if "kind" in fields and fields["kind"].default == key:
            return _as_model(option)
    return None


def _inside(annotation: Any, key: str | int) -> Any:
    for option in _options(annotation):
        if isinstance(option, type) and issubclass(option, BaseModel):
            if key in option.model_fields:
                field = option.model_fields[str(key)]
                return field.annotation
        elif isinstance(key, int) and get_args(option):
            return get_args(option)[0]
    return None


def line_of(text: str, keys: Sequence[str | int]) -> int | None:
    """The line of ``text`` (TOML, from 1) where the key path stands, or of its nearest parent;
    None if nowhere.
    """
    names = [k for k in keys if isinstance(k, str)]
    index = next((k for k in keys if isinstance(k, int)), 0)
    best: tuple[int, int | None] = (0, None)
    prefix: list[str] = []
    seen: dict[str, int] = {}
    ordinal = 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        head = re.match(r"^(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$", line)
        if head:
            prefix = [p.strip().strip("\"'") for p in head.group(2).split(".")]
            if head.group(1) == "[[":
                seen[prefix[0]] = seen.get(prefix[0], -1) + 1
            ordinal = seen.get(prefix[0], 0)
            path = prefix
        else:
            key = re.match(r"^([A-Za-z0-9_\-.\"' ]+?)\s*=", line)
            if not key:
                continue
            path = prefix + [p.strip().strip("\"'") for p in key.group(1).split(".")]
        if ordinal != index and path[0] in seen:
            continue
        match = 0
        while match < min(len(path), len(names)) and path[match] == names[match]:
            match += 1
        if match == len(path) and match > best[0]:
            best = (match, number)
    return best[1]
