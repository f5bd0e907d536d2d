"""The pipe: what is sent arrives; whatever else arrives is one sentence, never a crash."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runners.engine.types import Ended, Member, Plan
from runners.pool import protocol as m
from runners.pool.protocol import MAX_LINE, MessageError, encode, from_json, to_json
from runners.verdict import Outcome

text = st.text(max_size=30)
integer = st.integers(-(2**63), 2**63 - 1)
number = st.floats()
tag = st.builds(m.Tag, text, integer, integer)
member = st.builds(
    Member, text, integer, number, integer, number, st.sampled_from(["probe", "seed", "never"]), st.booleans()
)
plan = st.builds(Plan, text, integer, integer, st.booleans(), text, integer, text)
ended = st.builds(
    Ended, integer, st.sampled_from(Outcome), integer, number, integer, number, st.none() | number
)
curve = st.lists(st.tuples(integer, number, number), max_size=5)


def column(rows: list[Any], k: int) -> tuple[Any, ...]:
    return tuple(r[k] for r in rows)


down = st.one_of(
    st.builds(
        m.Train,
        tag,
        text,
        st.lists(member, max_size=3).map(tuple),
        text,
        st.none() | plan,
        text,
        st.booleans(),
        st.just(("7",)),
    ),
    st.builds(m.Prepare, text, st.lists(member, max_size=3).map(tuple), text),
    st.builds(m.Drop, tag, st.lists(text, max_size=3).map(tuple)),
    st.builds(m.Stop, tag, st.sampled_from(["checkpoint", "discard"])),
    st.builds(m.Hold, st.booleans()),
    st.just(m.Quit()),
)
up = st.one_of(
    st.builds(m.Ready, integer, text, text, text),
    st.builds(m.Beat, text, number, integer),
    st.builds(
        m.Progress, tag, st.lists(st.builds(m.Point, integer, integer, number, number), max_size=3).map(tuple)
    ),
    st.builds(
        lambda t, e, c, w: m.TrialEnded(
            t, e, column(c, 0), column(c, 1), column(c, 2), tuple(p[0] > 5 for p in c), w
        ),
        tag,
        ended,
        curve,
        number,
    ),
    st.builds(m.Planned, tag, plan),
    st.builds(m.Saved, tag, integer, number),
    st.builds(m.Noted, tag, text, st.sampled_from(["info", "warning"])),
    st.builds(m.Halted, tag, st.booleans()),
    st.builds(m.Finished, tag, number, number, number),
    st.builds(m.Failed, tag, st.sampled_from(["failed", "out_of_memory", "device"]), text, text),
)


@given(down)
def test_what_goes_down_arrives(message: m.Down) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert repr(m.decode_down(line)) == repr(message)  # repr: nan equals nan there


@given(up)
def test_what_goes_up_arrives(message: m.Up) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert repr(m.decode_up(line)) == repr(message)


def test_every_message_can_be_sent() -> None:
    for kind in (*get_args(m.Down), *get_args(m.Up)):
        assert kind.__dataclass_fields__["kind"].default == kind.__name__


def test_half_a_character_does_not_stop_a_message() -> None:
    """The text of an error may hold a file name that is not UTF-8."""
    back = m.decode_up(encode(m.Failed(m.Tag("1", 1, 1), "failed", "no \udcff", "trace")))
    assert isinstance(back, m.Failed)
    assert back.text == "no ?"


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(up, st.data())
def test_a_spoilt_field_is_a_sentence_or_a_message(message: m.Up, data: st.DataObject) -> None:
    body = json.loads(encode(message))
    key = data.draw(st.sampled_from(sorted(body)))
    if data.draw(st.booleans()):
        del body[key]
    else:
        body[data.draw(st.just(key) | text)] = data.draw(json_value)
    try:
        again = m.decode_up(json.dumps(body).encode())
    except MessageError as error:
        sentence = str(error)
    else:
        _assert_typed(again)
        return
    assert "\n" not in sentence
    assert len(sentence) < 300


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_any_bytes(line: bytes) -> None:
    for decode in (m.decode_up, m.decode_down):
        with pytest.raises(MessageError):
            decode(line)


@settings(max_examples=300)
@given(up, st.integers(0, 10_000), st.integers(0, 255))
def test_flipped_and_cut_lines(message: m.Up, place: int, byte: int) -> None:
    line = bytearray(encode(message))
    line[place % len(line)] = byte
    for spoilt in (bytes(line), bytes(line[: place % len(line)])):
        with contextlib.suppress(MessageError):
            _assert_typed(m.decode_up(spoilt))


def _assert_typed(message: Any) -> None:
    for f in dataclasses.fields(message):
        value = getattr(message, f.name)
        assert not isinstance(value, dict | list)


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'{"kind":"Beat","assignment":"","silent_s":0,"rss":' + b"9" * 5000 + b"}",
        b'{"kind":"Beat","assignment":"","silent_s":0,"rss":99999999999999999999}',
        b'{"kind":"Beat","assignment":"","silent_s":true,"rss":1}',
        b'{"kind":"__class__"}',
        b'{"kind":["Beat"]}',
        b'{"kind":"Train"}',  # the wrong way
        b"null",
        b"",
        b"\xff\xfe",
    ],
)
def test_bombs_and_nonsense(line: bytes) -> None:
    with pytest.raises(MessageError):
        m.decode_up(line)


def test_a_line_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(MessageError, match="at most"):
        m.decode_up(b" " * (MAX_LINE + 1))


def test_curves_of_unequal_length_are_refused() -> None:
    end = Ended(0, Outcome.SUCCESS, 1, 0.0, 1, 0.0)
    line = encode(m.TrialEnded(m.Tag("1", 1, 1), end, (1, 2), (0.1,), (0.1,), (True,), 0.0))
    with pytest.raises(MessageError, match="different lengths"):
        m.decode_up(line)


def test_losses_that_are_not_finite_travel() -> None:
    point = m.Point(0, 1, math.inf, math.nan, True)
    back = m.decode_up(encode(m.Progress(m.Tag("1", 1, 1), (point,))))
    assert isinstance(back, m.Progress)
    assert back.points[0].train == math.inf
    assert math.isnan(back.points[0].validation)


@given(plan)
def test_a_stored_plan_reads_back(value: Plan) -> None:
    assert from_json(to_json(value), Plan) == value


@given(text)
def test_a_spoilt_plan_is_a_sentence(value: str) -> None:
    with pytest.raises(MessageError):
        from_json(value, Plan)
