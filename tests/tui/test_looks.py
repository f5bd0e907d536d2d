"""Looks that hold everywhere: signs that every terminal has, colours that say one thing."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest
from textual.theme import BUILTIN_THEMES, Theme

import labtui
from labtui.text import REPLACEMENT, to_ascii
from labtui.tui.actions import SCREENS
from labtui.tui.app import LabApp
from labtui.tui.pane import Pane
from labtui.tui.theme import ANSI, DARK, LIGHT, THEMES, Palette
from labtui.views.scaling import FILLS
from labtui.views.signs import MODEL_SIGN, PLUGIN_HUES, RATES, arrows, model_sign, model_style
from tests.tui.conftest import Opened, until


def test_every_sign_of_ours_has_a_look_alike_in_ascii() -> None:
    root = Path(labtui.__file__).parent
    signs = {
        char
        for file in root.rglob("*.py")
        if file.name != "papers.py"  # letters that LaTeX has are drawn nowhere
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for char in node.value
        if not char.isascii() and not "\ud800" <= char <= "\udfff"  # half a pair is no sign
    }
    assert {c for c in signs - {REPLACEMENT} if to_ascii(c) == "?"} == set()


@pytest.mark.parametrize("theme", THEMES, ids=lambda t: t.name)
def test_models_and_learning_rates_share_no_colour(theme) -> None:  # type: ignore[no-untyped-def]
    palette = Palette(theme)
    models = {palette.style(model_style(kind)).color for kind in MODEL_SIGN}
    assert len(models) == 3
    if theme is not ANSI:  # sixteen colours do not go round
        assert not models & {palette.style(name).color for name in RATES}
    assert len({palette.style(name).color for name in RATES}) == len(RATES)


def test_a_reversed_row_is_one_ground_on_sixteen_colours() -> None:
    for palette in (Palette(ANSI), Palette(DARK, no_color=True)):
        row = {palette.style(f"cursor {name}") for name in ("", "dim", "ok", "state.running", "model.lstm")}
        assert {(s.color, s.bgcolor, s.reverse) for s in row} == {
            (palette.base.color, palette.base.bgcolor, True)
        }


_GROUNDS = ("fg", "cursor", "panel", "tab", "track")


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda t: t.name)
def test_what_is_meant_to_be_read_can_be_read(theme) -> None:  # type: ignore[no-untyped-def]
    """Contrast by WCAG's formula: 4.5 for text, 3 for what is dim and for signs,
    on each ground that they stand on.
    """
    palette = Palette(theme)
    words = ["dim", "quiet", "ok", "warn", "bad", "accent", "mark", "less", "more", *PLUGIN_HUES]
    words += [f"model.{kind}" for kind in MODEL_SIGN]
    pairs = [(word, ground, 4.5) for word in words for ground in _GROUNDS]
    pairs += [("strong", ground, 7.0) for ground in ("fg", "cursor", "panel", "tab")]
    pairs += [(name, ground, 4.5) for name in RATES for ground in ("fg", "panel")]
    pairs += [("faint", ground, 3.0) for ground in ("fg", "panel")]
    pairs += [("fg", ground, 4.5) for ground in ("fg", "cursor", "panel", "track")]
    for name, ground, least in pairs:
        style = palette.style(f"{ground} {name}")
        back = palette.style(ground).bgcolor
        assert style.color is not None
        assert back is not None
        assert _contrast(style.color.triplet, back.triplet) >= least, (name, ground)
    for name in ("faint", "shade"):  # frames and ticks, and the ground that says where N* can be
        style = palette.style(name)
        drawn = style.color if name == "faint" else style.bgcolor
        assert drawn is not None
        assert palette.base.bgcolor is not None
        assert _contrast(drawn.triplet, palette.base.bgcolor.triplet) >= 3, name
    for step in (*(f"kappa.{i:+d}" for i in range(-3, 4)), *(f"heat.{i}" for i in range(6))):
        style = palette.style(step)
        assert style.color is not None
        assert style.bgcolor is not None
        assert _contrast(style.color.triplet, style.bgcolor.triplet) >= 4.5, step


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda t: t.name)
def test_a_ground_that_says_something_can_be_told_from_its_neighbour(theme: Theme) -> None:
    """3:1 between a side of kappa and 1, and between learned and not; the steps within a side, which no
    ground can tell, are told by what stands beside the number.
    """
    palette = Palette(theme)

    def apart(one: str, other: str) -> float:
        first, second = palette.style(one).bgcolor, palette.style(other).bgcolor
        assert first is not None
        assert second is not None
        return _contrast(first.triplet, second.triplet)

    for step in (-3, -2, -1, 1, 2, 3):
        assert apart(f"kappa.{step:+d}", "kappa.+0") >= 3
        assert apart(f"kappa.{step:+d}", "fg") >= 3
    assert min(apart("heat.0", f"heat.{i}") for i in range(1, 6)) >= 3
    assert len({arrows(k) for k in range(-3, 4)}) == 7


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda t: t.name)
async def test_whatever_is_drawn_can_be_read(opened: Opened, theme: Theme) -> None:
    """Each text that stands on any screen or dialog against its own ground: 4.5; signs and lines: 3."""
    poor = set()
    for size in ((120, 40), (80, 24), (200, 50)):
        async with opened(size, theme=theme.name) as (app, pilot, _):
            for screen in SCREENS:
                app.show_screen(screen)
                await until(pilot, lambda: not app.front.fresh and app.poller._free.is_set())
                for key in ("question_mark", "ctrl+p") if screen == "queue" else ("",):
                    if key:
                        await pilot.press(key)
                        await until(pilot, lambda: bool(app.overlays) and bool(app.overlays[0]._lines))
                    for pane in app.query(Pane):
                        for line in pane._lines if pane.display else ():
                            poor |= {
                                (screen, text.strip(), key, round(got, 2))
                                for text, key in line
                                if text.strip() and (got := _seen(app, key)) < (4.5 if _read(text) else 3)
                            }
                    if key:
                        await pilot.press("escape")
                        await until(pilot, lambda: not app.overlays)
    assert not poor


def _read(text: str) -> bool:
    """Whether it is read, not only seen."""
    return any(c.isalnum() for c in text)


def _seen(app: LabApp, key: str) -> float:
    style = app.palette.style(key)
    assert style.color is not None
    assert style.bgcolor is not None
    return _contrast(style.color.triplet, style.bgcolor.triplet)


def test_the_themes_of_textual_can_be_read_too() -> None:
    for name, theme in BUILTIN_THEMES.items():
        if theme.ansi or "ansi" in name:
            continue
        palette = Palette(theme)
        back = palette.base.bgcolor
        assert back is not None
        own = _contrast(palette.base.color.triplet, back.triplet) if palette.base.color else 0.0
        for word, least in (
            ("dim", 2.4),
            ("model.lstm", 2.4),
            ("model.transformer", 2.4),
            ("model.dense_ssm", 2.4),
        ):
            colour = palette.style(word).color
            assert colour is not None
            assert _contrast(colour.triplet, back.triplet) >= min(least, own), (name, word)


def _contrast(a: Iterable[int] | None, b: Iterable[int] | None) -> float:
    assert a is not None
    assert b is not None

    def light(colour: Iterable[int]) -> float:
        parts = [c / 255 for c in colour]
        red, green, blue = (c / 12.92 if c <= 0.04045 else float(((c + 0.055) / 1.055) ** 2.4) for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, bright = sorted((light(a), light(b)))
    return (bright + 0.05) / (dark + 0.05)


def test_no_two_lines_of_a_plot_have_one_sign_in_ascii() -> None:
    kinds = ("gru", "rnn", "slstm", "diagonal")
    signs = {sign for fill in FILLS.values() for sign in fill.values()} | set(map(model_sign, kinds))
    assert len({to_ascii(sign) for sign in signs}) == len(signs)


async def test_what_is_blank_has_no_line_under_it(opened: Opened) -> None:
    """On sixteen colours a mark is underlined: the frame of a kappa's cell is, what is beside it is not."""
    async with opened(screen="kappa") as (app, _, _):
        lines = app.front._lines
        assert any("mark" in style for line in lines for _, style in line)
        assert not [
            text for line in lines for text, style in line if "mark" in style and text != text.strip()
        ]
