"""What is valid, spoilt: bytes cut, flipped and moved about;
trees with wrong leaves, missing and strange branches.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

OPS = ("flip", "set", "insert", "delete", "double", "move", "cut", "zero")
Edit = tuple[str, int, int, int, bytes]


def spoilt(seeds: Sequence[bytes], words: Sequence[bytes] = (), most: int = 6) -> st.SearchStrategy[bytes]:
    """One of the seeds with up to ``most`` edits; ``words`` are tokens of its language to insert."""
    longest = max(map(len, seeds))
    payload = st.binary(min_size=1, max_size=8)
    edit = st.tuples(
        st.sampled_from(OPS),
        st.integers(0, longest),
        st.integers(0, longest),
        st.sampled_from((1, 2, 4, 16, 512, 4096)),
        st.sampled_from(list(words)) | payload if words else payload,
    )
    return st.builds(_edited, st.sampled_from(list(seeds)), st.lists(edit, min_size=1, max_size=most))


def _edited(seed: bytes, edits: list[Edit]) -> bytes:
    data = bytearray(seed)
    for op, at, other, width, word in edits:
        at %= len(data) + 1
        if op == "insert":
            data[at:at] = word
        elif op == "set":
            data[at : at + len(word)] = word
        elif op == "cut" and other % 4 == 0:
            del data[at:]
        elif not data:
            continue
        elif op == "flip":
            data[at % len(data)] ^= 1 << other % 8
        elif op == "delete":
            del data[at : at + width]
        elif op == "double":
            data[at:at] = data[at : at + width]
        elif op == "move":  # aligned: one page, one pointer, one record over another
            source, target = other % len(data) // width * width, at // width * width
            data[target : target + width] = data[source : source + width]
        elif op == "zero":
            data[at : at + width] = bytes(len(data[at : at + width]))
    return bytes(data)


LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [None, True, False, "", 0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400]
    ),
    st.sampled_from([0.5, -0.0, 1e308, 5e-324, math.inf, -math.inf, math.nan, [], {}, [[]], {"": {}}]),
    st.sampled_from(
        [
            "\x1b[2J\x07",
            "\u202e\u2066",
            "a\nb\r\v",
            "[red]",
            "=1+1",
            "../../etc/passwd",
            "\ud800",
            "x" * 5_000,
        ]
    ),
    st.sampled_from(
        [
            "kind",
            "automaton",
            "plugin",
            "product",
            "lstm",
            "scan",
            "fixed",
            "__class__",
            "{0.__init__}",
            "%s%n",
        ]
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@dataclass(frozen=True)
class Deep:
    """A list in a list, so many of them; written out only as text, because Python's own stack bears less."""

    depth: int

    def __str__(self) -> str:
        return "[" * self.depth + "]" * self.depth


DEPTHS = st.sampled_from((1, 30, 70, 500, 900, 3_000)).map(Deep)
_TREE_OPS = ("put", "drop", "rename", "add", "swap", "wrap", "repeat", "deep")
TreeEdit = tuple[str, int, int, Any, Deep]


def spoilt_tree(seeds: Sequence[Any], most: int = 3) -> st.SearchStrategy[Any]:
    """One of the seeds (dicts, lists and leaves) with up to ``most`` edits."""
    place = st.integers(0, 1_000)
    edit = st.tuples(st.sampled_from(_TREE_OPS), place, place, VALUES, DEPTHS)
    return st.builds(_changed, st.sampled_from(list(seeds)), st.lists(edit, min_size=1, max_size=most))


def _changed(seed: Any, edits: list[TreeEdit]) -> Any:
    root = [copy.deepcopy(seed)]
    for op, at, other, value, bomb in edits:
        places = list(_places(root, 6))
        holder, key = places[at % len(places)]
        there, there_key = places[other % len(places)]
        if op == "put":
            holder[key] = value
        elif op == "drop" and holder is not root:
            del holder[key]
        elif op == "rename" and isinstance(holder, dict):
            holder[str(value)[:40]] = holder.pop(key)
        elif op == "add" and isinstance(holder, dict):
            holder[str(there_key)] = value
        elif op == "swap":
            holder[key], there[there_key] = copy.deepcopy(there[there_key]), copy.deepcopy(holder[key])
        elif op == "wrap":
            holder[key] = [holder[key]] if other % 2 else {str(there_key): holder[key]}
        elif op == "repeat":
            holder[key] = [copy.deepcopy(holder[key]) for _ in range(2 + other % 40)]
        elif op == "deep":
            holder[key] = bomb
    return root[0]


def _places(value: Any, depth: int) -> Any:
    if depth and isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from _places(inner, depth - 1)


def toml(value: Any) -> str:
    """A tree as TOML, each table inline but the outermost; what TOML cannot say is said wrongly."""
    if not isinstance(value, dict):
        return f"x = {_inline(value)}"
    return "\n".join(f"{_text(key)} = {_inline(inner)}" for key, inner in value.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(k)} = {_inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    return (
        {None: '""', True: "true", False: "false"}[value]
        if value is None or isinstance(value, bool)
        else str(value)
    )


def as_json(value: Any) -> bytes:
    """A tree as JSON, with NaN and lone surrogates where it holds them."""
    bombs: list[Deep] = []

    def bomb(found: Deep) -> str:
        bombs.append(found)
        return f"bomb {len(bombs) - 1}"

    text = json.dumps(value, default=bomb)
    for number, found in enumerate(bombs):
        text = text.replace(f'"bomb {number}"', str(found))
    return text.encode()


def _text(value: Any) -> str:
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
