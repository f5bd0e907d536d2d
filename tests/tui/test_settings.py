"""Settings, keys, themes: what a person may choose, and what the terminal can."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.binding import BindingsMap
from textual.theme import BUILTIN_THEMES

from labtui.config import choose_glyphs, choose_theme, read_settings
from labtui.tui.actions import ACTIONS, RESERVED, SCREENS, Keymap, bindings, on_pane
from labtui.tui.theme import ANSI, DARK, LIGHT, Palette


def test_file_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('theme = "nord"\nmouse = false\nslow = 3\n[keys]\npause = ["P"]\nfly = "f"\n')
    found = read_settings(
        {"LABTUI_CONFIG": str(file), "LABTUI_THEME": "labtui-light", "LABTUI_KEY_QUIT": "Q,ctrl+q"}
    )
    assert (found.theme, found.mouse, found.slow) == ("labtui-light", False, False)
    assert found.keys == {"pause": ("P",), "quit": ("Q", "ctrl+q")}
    assert any("slow is 3" in p for p in found.problems)
    assert any("keys.fly is no action" in p for p in found.problems)


def test_broken_file_leaves_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("theme = [")
    found = read_settings({"LABTUI_CONFIG": str(file)})
    assert found.theme == "auto"
    assert len(found.problems) == 1


def test_no_key_means_two_things() -> None:
    keymap = Keymap()
    for pane in SCREENS:
        seen: dict[str, str] = {}
        for action in on_pane(pane):
            for key in keymap.keys[action.id]:
                assert key not in RESERVED
                assert key not in seen or not (action.panes and on_pane_of(seen[key])), (
                    pane,
                    key,
                    action.id,
                    seen[key],
                )
                seen[key] = action.id


def on_pane_of(action_id: str) -> tuple[str, ...]:
    return next(a.panes for a in ACTIONS if a.id == action_id)


def bound(keymap: Keymap, key: str, pane: str) -> str | None:
    """The action that Textual finds for a key on a screen."""
    found = BindingsMap(bindings(keymap)).key_to_bindings.get(key, [])
    here = {a.id for a in on_pane(pane)}
    return next((b.id for b in found if b.id in here), None)


def test_one_key_on_two_screens_and_signs_as_keys() -> None:
    keymap = Keymap({"pause": [",", "é"]})
    assert bound(keymap, "v", "kappa") == "axes"
    assert bound(keymap, "v", "events") == "all_events"
    assert bound(keymap, "comma", "queue") == "pause"
    assert bound(keymap, "é", "queue") == "pause"
    assert bound(keymap, "p", "queue") is None
    assert bound(keymap, "question_mark", "trials") == "help"


def test_own_keys_take_the_place_of_given_ones() -> None:
    keymap = Keymap({"cancel": ["p"], "pause": ["P"]})
    assert bound(keymap, "p", "queue") == "cancel"
    assert bound(keymap, "P", "queue") == "pause"
    assert bound(keymap, "x", "queue") is None
    assert bound(keymap, "p", "kappa") is None
    with pytest.raises(ValueError, match="no action"):
        Keymap({"fly": ["f"]})


@pytest.mark.parametrize(
    ("env", "glyphs"),
    [
        ({"LANG": "C"}, "ascii"),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, "ascii"),  # what Python makes of LANG=C
        ({"LANG": "de_DE.UTF-8"}, "unicode"),
        ({}, "unicode"),
        ({"LANG": "de_DE.UTF-8", "TERM": "linux"}, "blocks"),
        ({"LC_ALL": "de_DE.ISO-8859-1"}, "ascii"),
    ],
)
def test_glyphs(env: dict[str, str], glyphs: str) -> None:
    assert choose_glyphs("auto", env) == glyphs


def test_themes_by_terminal() -> None:
    many = {"TERM": "xterm-256color"}
    assert choose_theme("auto", many) == "labtui-dark"
    assert choose_theme("auto", many | {"COLORFGBG": "0;15"}) == "labtui-light"
    assert choose_theme("auto", many | {"NO_COLOR": "1"}) == "labtui-ansi"
    assert choose_theme("auto", {"TERM": "xterm"}) == "labtui-ansi"


def luminance(hex_colour: str) -> float:
    parts = [int(hex_colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [DARK, LIGHT], ids=lambda t: t.name)
def test_text_is_readable_on_its_ground(theme: object) -> None:
    palette = Palette(theme)  # type: ignore[arg-type]
    readable = ["", "dim", "ok", "warn", "bad", "accent", "strong", "cursor", "cursor dim", "tab", "head"]
    readable += [f"model.{m}" for m in ("lstm", "transformer", "dense_ssm")] + [
        f"state.{s}" for s in ("running", "paused", "failed")
    ]
    readable += [f"kappa.{k:+d}" for k in range(-3, 4)] + [f"heat.{k}" for k in range(6)]
    for key in readable:
        style = palette.style(key)
        assert style.color is not None
        assert style.bgcolor is not None
        pair = sorted((luminance(style.color.name), luminance(style.bgcolor.name)), reverse=True)
        assert (pair[0] + 0.05) / (pair[1] + 0.05) >= 3.5, key


def test_no_color_has_none_and_ansi_only_sixteen() -> None:
    for key in ("", "ok", "bad", "cursor", "kappa.+3", "heat.0", "model.lstm", "state.failed"):
        style = Palette(ANSI, no_color=True).style(key)
        assert all(c is None or c.is_default for c in (style.color, style.bgcolor))
        ansi = Palette(ANSI).style(key)
        assert all(
            c is None or c.is_default or (c.number is not None and c.number < 16)
            for c in (ansi.color, ansi.bgcolor)
        )


@pytest.mark.parametrize("name", sorted(BUILTIN_THEMES))
def test_textuals_themes_work_too(name: str) -> None:
    assert Palette(BUILTIN_THEMES[name]).style("cursor strong") is not None
