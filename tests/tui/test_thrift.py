"""What is sent to the terminal: the difference paints the same picture as everything painted anew."""

from __future__ import annotations

import sys

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual._compositor import Compositor
from textual.strip import Strip

from labtui.tui.actions import SCREENS
from labtui.tui.terminal.cell_diff import Terminal
from labtui.tui.terminal.compositor import ThriftyCompositor
from labtui.tui.terminal.screen import LabScreen
from labtui.tui.terminal.sgr import Ink, ink, paint, turn
from tests.tui.conftest import Opened, seen, until

WIDTH, HEIGHT = 16, 3
STYLES = tuple(map(Style.parse, (
    "", "bold", "red on blue", "#102030 on #405060", "#a02030 on #405060", "underline on #405060", "reverse",
    "dim green", "on blue",
)))  # fmt: skip
texts = st.text(st.sampled_from("ab  │▁κ日é"), max_size=6)
segments = st.tuples(texts, st.sampled_from(STYLES)).map(lambda x: Segment(*x))


@st.composite
def updates(draw: st.DrawFn) -> tuple[int, int, Strip]:
    """A strip somewhere on the screen, often a whole row."""
    x = draw(st.sampled_from((0, 0, 3, 9)))
    width = draw(st.integers(1, WIDTH - x)) if x else draw(st.sampled_from((WIDTH, 5)))
    strip = Strip(draw(st.lists(segments, max_size=5))).adjust_cell_length(
        width, draw(st.sampled_from(STYLES))
    )
    return x, draw(st.integers(0, HEIGHT - 1)), strip


class Screen:
    """A terminal that understands what is sent."""

    def __init__(self) -> None:
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self.stream = pyte.Stream(self.screen)

    def picture(self) -> list[list[tuple[object, ...]]]:
        """What a person sees of each cell: on a blank the ink is not among it."""
        return [[_seen(self.screen.buffer[y][x]) for x in range(WIDTH)] for y in range(HEIGHT)]


def _seen(char: pyte.screens.Char) -> tuple[object, ...]:
    plain = char.data == " " and not (char.underscore or char.reverse)
    ink = () if plain else (char.fg, char.bold, char.underscore, char.reverse)
    return (char.data, char.bg, *ink)


@settings(max_examples=60)
@pytest.mark.parametrize("much", [0, 1000])
@given(frames=st.lists(st.lists(updates(), min_size=1, max_size=4), min_size=1, max_size=6))
def test_the_difference_paints_the_same_picture(
    frames: list[list[tuple[int, int, Strip]]], much: int
) -> None:
    ours, plain, terminal = Screen(), Screen(), Terminal()
    terminal.resize(WIDTH, HEIGHT)
    for frame in frames:
        runs, rows = terminal.compare(frame)
        ours.stream.feed(paint(runs, ColorSystem.TRUECOLOR, much))
        terminal.stands(rows)
        for x, y, strip in frame:
            text = "".join((style or Style()).render(text) for text, style, _ in strip)
            plain.stream.feed(f"\x1b[{y + 1};{x + 1}H{text}")
        assert ours.picture() == plain.picture()


@settings(max_examples=60)
@given(updates())
def test_the_same_again_is_nothing(update: tuple[int, int, Strip]) -> None:
    terminal = Terminal()
    terminal.resize(WIDTH, HEIGHT)
    terminal.stands({y: [(" ", None)] * WIDTH for y in range(HEIGHT)})
    _, rows = terminal.compare([update])
    terminal.stands(rows)
    again, _ = terminal.compare([update])
    narrow = all(len(t) == Strip([Segment(t)]).cell_length and "日" not in t for t, _, _ in update[2])
    assert not (narrow and again)
    terminal.forget()
    terminal.resize(WIDTH, HEIGHT)
    assert terminal.compare([update])[0] == [(*update[:2], list(update[2]))]


def test_a_colour_is_named_when_it_changes() -> None:
    dim, loud = Style.parse("#808080 on #101010"), Style.parse("#ff0000 on #101010")
    text = paint(
        [(0, 0, [Segment("a", dim), Segment("  ", loud), Segment("b", dim), Segment("c", loud)])],
        ColorSystem.TRUECOLOR,
    )
    assert text == "\x1b[1;1H\x1b[38;2;128;128;128;48;2;16;16;16ma  b\x1b[38;2;255;0;0mc\x1b[0m"


def test_few_colours_are_enough() -> None:
    style = Style.parse("bold #ff0000 on #000000")
    assert ink(style, ColorSystem.STANDARD) == ("1", "31", "40")
    assert ink(style, ColorSystem.EIGHT_BIT) == ("1", "38;5;196", "48;5;16")
    assert ink(Style.parse("default on default"), ColorSystem.STANDARD) == ("", "", "")


async def test_the_app_is_thrifty(opened: Opened) -> None:
    async with opened() as (app, _, __):
        assert isinstance(app.screen, LabScreen)
        compositor = app.screen._compositor
        assert isinstance(compositor, ThriftyCompositor)
        everything = compositor.size.region
        compositor._dirty_regions.add(everything)
        compositor.render_update().render_segments(app.console)
        compositor._dirty_regions.add(everything)
        assert compositor.render_update() is None
        app.screen.terminal.forget()
        compositor._dirty_regions.add(everything)
        assert len(compositor.render_update().rows) == everything.height
        assert "running" in app.export_screenshot()


async def test_another_textual_costs_bytes_not_the_app(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "labtui.tui.terminal.compositor", None)
    async with opened() as (app, pilot, _):
        assert type(app.screen._compositor) is Compositor
        for screen in SCREENS:
            app.show_screen(screen)
            await until(pilot, lambda: not app.front.fresh)
            assert app.front.text().strip() in seen(app)
        await pilot.press("question_mark")
        assert "Paper: keys" in seen(app)
        app.repaint()


def test_after_a_wide_character_the_place_is_named() -> None:
    """Terminals differ on where the next one stands."""
    text = paint([(0, 0, [Segment("ab日")]), (4, 0, [Segment("over")])], ColorSystem.TRUECOLOR)
    assert text == "\x1b[1;1Hab日\x1b[5Gover"


def test_what_takes_an_underline_away_takes_a_double_one_too() -> None:
    assert turn(Ink("4;21", "31"), Ink("21", "31")) == "\x1b[24;21m"
    assert turn(Ink("1", "31"), Ink("", "31")) == "\x1b[22m"
    assert turn(Ink("1", "31"), Ink()) == "\x1b[0m"
