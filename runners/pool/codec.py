"""JSON lines to frozen dataclasses and back, every value checked against its annotation. Never pickle.

The pipe is ours, but a worker can be a plugin's code gone wild:
whatever arrives is either a message or one sentence.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

MAX_LINE = 32 << 20
"""Bytes of one message; the largest honest one is an assignment with 65,536 trials."""
_INT = 1 << 63
T = TypeVar("T")
Reader = Callable[[Any], Any]


class MessageError(ValueError):
    """What came over the pipe is not a message; ``str(e)`` is one sentence."""


def encode(message: Any) -> bytes:
    """One line, newline included.

    Non-finite floats travel as NaN and Infinity, which :func:`decode` reads back.
    """
    return (
        json.dumps({"kind": type(message).__name__, **_plain(message)}, separators=(",", ":")).encode()
        + b"\n"
    )


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


@cache
def _names(kind: Any) -> tuple[str, ...] | None:
    return tuple(f.name for f in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


def _plain(value: Any) -> Any:
    names = _names(cast(Any, type(value)))
    if names is not None:
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    return value


class _Wrong(Exception):  # noqa: N818
    """A value that does not fit its annotation; its path grows on the way out,
    so that what is right costs no words.
    """

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.path = ""
        self.words = words


def _build(kind: type[T], data: Any, where: str) -> T:
    try:
        built: T = _reader(cast(Any, kind))(data)
    except _Wrong as wrong:
        raise MessageError(f"{where}{wrong.path} {wrong.words}") from None
    return built


@cache
def _reader(hint: Any) -> Reader:
    """What checks a value of this annotation and makes it what the field holds;
    derived once for each annotation.
    """
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _optional(hint)
    if origin is Literal:
        return _one_of(get_args(hint))
    if origin is tuple:
        item, *rest = get_args(hint)
        return _row(item) if rest == [...] else _fixed((item, *rest))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _object(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint)
    return _SCALARS[hint]


def _object(kind: type[Any]) -> Reader:
    hints = get_type_hints(kind)
    missing = dataclasses.MISSING
    fields = [
        (f.name, _reader(hints[f.name]), f.default is missing and f.default_factory is missing)
        for f in dataclasses.fields(kind)
    ]
    names = frozenset(name for name, _, _ in fields)

    def read(data: Any) -> Any:
        if not isinstance(data, dict):
            raise _Wrong("is not an object")
        if not names >= data.keys():
            raise _Wrong(f"has the unknown field {next(name for name in data if name not in names)[:40]!r}")
        values = {}
        for name, reader, required in fields:
            if name in data:
                try:
                    values[name] = reader(data[name])
                except _Wrong as wrong:
                    wrong.path = f".{name}{wrong.path}"
                    raise
            elif required:
                raise _Wrong(f"lacks the field {name!r}")
        return kind(**values)

    return read


def _row(item: Any) -> Reader:
    reader = _reader(item)

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _Wrong("is not a list")
        if (
            item in (int, float)
            and set(map(type, value)) == {item}
            and (item is float or _fits(min(value), max(value)))
        ):
            return tuple(value)  # a curve
        return tuple(map(reader, value))

    return read


def _fits(low: int, high: int) -> bool:
    return low >= -_INT and high < _INT


def _fixed(items: tuple[Any, ...]) -> Reader:
    readers = [_reader(item) for item in items]

    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise _Wrong("is not a list")
        if len(value) != len(readers):
            raise _Wrong(f"has {len(value)} entries; expected {len(readers)}")
        return tuple(reader(v) for reader, v in zip(readers, value, strict=True))

    return read


def _optional(hint: Any) -> Reader:
    options = get_args(hint)
    reader = _reader(next(o for o in options if o is not type(None)))
    nullable = type(None) in options

    def read(value: Any) -> Any:
        if value is not None:
            return reader(value)
        if not nullable:
            raise _Wrong("is null")
        return None

    return read


def _one_of(words: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        if isinstance(value, str) and value in words:
            return value
        raise _Wrong(f"is {str(value)[:40]!r}; expected one of {', '.join(map(repr, words))}")

    return read


def _enum(kind: type[Enum]) -> Reader:
    def read(value: Any) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise _Wrong(f"is {str(value)[:40]!r}; expected a {kind.__name__}") from None

    return read


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _Wrong("is not a bool")


def _integer(value: Any) -> int:
    if type(value) is int and _fits(value, value):
        return value
    raise _Wrong("is not a int")


def _real(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int and _fits(value, value):
        return float(value)
    raise _Wrong("is not a float")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _Wrong("is not a str")


_SCALARS: dict[Any, Reader] = {bool: _boolean, int: _integer, float: _real, str: _text}
