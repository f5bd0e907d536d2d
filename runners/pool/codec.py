"""JSON lines to frozen dataclasses and back, every value checked against its annotation. Never pickle.

The pipe is ours, but a worker can be a plugin's code gone wild: whatever arrives is either a message or one sentence.
"""

from __future__ import annotations

import dataclasses
import json
import types
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

MAX_LINE = 32 << 20
"""Bytes of one message; the largest honest one is an assignment with 65,536 trials."""
_INT = 1 << 63
T = TypeVar("T")


class MessageError(ValueError):
    """What came over the pipe is not a message; ``str(e)`` is one sentence."""


def encode(message: Any) -> bytes:
    """One line, newline included. Non-finite floats travel as NaN and Infinity, which :func:`decode` reads back."""
    return json.dumps({"kind": type(message).__name__, **_plain(message)}, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes, kinds: dict[str, type[T]]) -> T:
    """The message in one line.

    Args:
        line: with or without its newline.
        kinds: the messages that may come this way, by class name.

    Raises:
        MessageError: too long, no JSON, an unknown kind, a missing, unknown or wrong field.
    """
    if len(line) > MAX_LINE:
        raise MessageError(f"a message has {len(line)} bytes; expected at most {MAX_LINE}")
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"a message is not JSON ({type(error).__name__})") from None
    if not isinstance(data, dict):
        raise MessageError("a message is not an object")
    name = data.pop("kind", None)
    if not isinstance(name, str) or name not in kinds:
        raise MessageError(f"a message is of the unknown kind {str(name)[:40]!r}")
    return _build(kinds[name], data, name)


def to_json(value: Any) -> str:
    """A dataclass as JSON text without its kind (a plan in a row, an assignment in a file)."""
    return json.dumps(_plain(value), separators=(",", ":"), sort_keys=True)


def from_json(text: str, kind: type[T]) -> T:
    """The dataclass that :func:`to_json` wrote.

    Raises:
        MessageError: the text is not that.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{kind.__name__} is not JSON ({type(error).__name__})") from None
    return _build(kind, data, kind.__name__)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    return value


@lru_cache(maxsize=64)
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    hints = get_type_hints(kind)
    out = {}
    for f in dataclasses.fields(kind):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        out[f.name] = (hints[f.name], required)
    return out


def _build(kind: type[T], data: Any, where: str) -> T:
    if not isinstance(data, dict):
        raise MessageError(f"{where} is not an object")
    fields = _fields(cast(Any, kind))
    unknown = [name for name in data if name not in fields]
    if unknown:
        raise MessageError(f"{where} has the unknown field {unknown[0][:40]!r}")
    values = {}
    for name, (hint, required) in fields.items():
        if name in data:
            values[name] = _check(hint, data[name], f"{where}.{name}")
        elif required:
            raise MessageError(f"{where} lacks the field {name!r}")
    return kind(**values)


def _check(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        options = get_args(hint)
        if value is None:
            if type(None) in options:
                return None
            raise MessageError(f"{where} is null")
        return _check(next(o for o in options if o is not type(None)), value, where)
    if origin is Literal:
        if value in get_args(hint) and isinstance(value, str):
            return value
        raise MessageError(f"{where} is {str(value)[:40]!r}; expected one of {', '.join(map(repr, get_args(hint)))}")
    if origin is tuple:
        if not isinstance(value, list):
            raise MessageError(f"{where} is not a list")
        item, *rest = get_args(hint)
        if rest == [...]:
            return tuple(_check(item, v, where) for v in value)
        if len(value) != 1 + len(rest):
            raise MessageError(f"{where} has {len(value)} entries; expected {1 + len(rest)}")
        return tuple(_check(h, v, where) for h, v in zip((item, *rest), value, strict=True))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, where)
    if isinstance(hint, type) and issubclass(hint, Enum):
        try:
            return hint(value)
        except ValueError:
            raise MessageError(f"{where} is {str(value)[:40]!r}; expected a {hint.__name__}") from None
    return _scalar(hint, value, where)


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is bool:
        if isinstance(value, bool):
            return value
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool) and -_INT <= value < _INT:
            return value
    elif hint is float:
        if isinstance(value, float):
            return value
        if isinstance(value, int) and not isinstance(value, bool) and -_INT <= value < _INT:
            return float(value)
    elif hint is str and isinstance(value, str):
        return value
    raise MessageError(f"{where} is not a {getattr(hint, '__name__', hint)}")
