"""Colours and signs: our themes, and the palette that turns style names into styles.

Drawing functions name styles by meaning (``ok``, ``model.lstm``, ``kappa.+2``); a palette gives each a colour
in the present theme. Several names may be joined by spaces, later ones win. Meaning never rests on colour
alone: each state, verdict and model also has a sign of its own.
"""

from __future__ import annotations

from functools import cached_property

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from labtui.views.signs import MODEL_SIGN, RATES

_DARK = {
    "bg": "#0f1216", "panel": "#171c22", "fg": "#cfd6de", "strong": "#f2f5f8", "dim": "#94a1b0",
    "quiet": "#8d9aa8", "faint": "#5c6874", "track": "#232b34", "cursor": "#1f3147", "mark": "#ffd479",
    "accent": "#6fcbe6", "ok": "#86cc7c", "warn": "#e8c65c", "bad": "#f5857d", "tab": "#233245",
    "shade": "#5a6773", "less": "#f0a35e", "more": "#6cb0ff",
    "transformer": "#45c9a8", "lstm": "#c79bf2", "dense_ssm": "#b4bd55",
    "plugin0": "#f58fb4", "plugin1": "#a9b6f0", "plugin2": "#d9b8a0", "plugin3": "#8cc9c9",
}  # fmt: skip
_LIGHT = {
    "bg": "#fbfbf9", "panel": "#f0f1ee", "fg": "#2b333b", "strong": "#0b1116", "dim": "#515c66",
    "quiet": "#5c6670", "faint": "#818a93", "track": "#e4e7e6", "cursor": "#dce9f7", "mark": "#7d5300",
    "accent": "#00617f", "ok": "#1b6b33", "warn": "#765000", "bad": "#a8221a", "tab": "#dbe7f3",
    "shade": "#868f98", "less": "#a04a00", "more": "#0b5fb0",
    "transformer": "#08695a", "lstm": "#7a3db8", "dense_ssm": "#5a6000",
    "plugin0": "#a52558", "plugin1": "#4a4fae", "plugin2": "#7a4a2a", "plugin3": "#1a6666",
}  # fmt: skip
_KAPPA_DARK = {
    -3: "#b25505", -2: "#9f5c22", -1: "#8f6036", 0: "#171c22", 1: "#3e6ca2", 2: "#286ebd", 3: "#066ce0",
}  # fmt: skip
_KAPPA_LIGHT = {
    -3: "#c7620a", -2: "#be712d", -1: "#b37c4d", 0: "#eceeed", 1: "#608bbb", 2: "#4286d3", 3: "#137bf3",
}  # fmt: skip
"""Grounds of kappa: either side of 1 has 3:1 against 1 itself; how far, the arrows beside the number say, as
no seven grounds can have 3:1 each."""
_HEAT_DARK = ("#4caa63", "#2c4c5b", "#2a4354", "#273a4e", "#243046", "#1f273a")
_RATES_DARK = ("#f2cf63", "#8fcf6a", "#45b39d", "#5b9bd1", "#a58be0")
_RATES_LIGHT = ("#856300", "#3f7514", "#0c7463", "#1f62a8", "#6a48b0")
_HEAT_LIGHT = ("#21723c", "#96c2d7", "#b0cce1", "#c6d6e9", "#d7dff0", "#e6e9f4")
"""Grounds of losses: learned has 3:1 against all others; how far the others are, the cell writes."""
_ANSI = {
    "strong": "default bold", "dim": "dim", "quiet": "dim", "faint": "bright_black", "track": "bright_black",
    "cursor": "reverse", "mark": "bold underline", "accent": "bright_blue", "ok": "green", "warn": "yellow",
    "bad": "red", "less": "yellow", "more": "cyan", "transformer": "bright_green", "lstm": "magenta",
    "dense_ssm": "default", "plugin0": "bright_magenta", "plugin1": "bright_red", "plugin2": "bright_white",
    "plugin3": "bright_cyan",
}  # fmt: skip
"""Text that is less than the rest is SGR 2 (dim): bright black is the background itself in some palettes
(Solarized), so that it draws rules alone."""


_ANSI_RATES = ("default", "bright_green", "bright_cyan", "bright_blue", "bright_magenta")


def _theme(name: str, colours: dict[str, str], *, dark: bool) -> Theme:
    return Theme(
        name=name,
        primary=colours["accent"],
        secondary=colours["dim"],
        accent=colours["accent"],
        foreground=colours["fg"],
        background=colours["bg"],
        surface=colours["bg"],
        panel=colours["panel"],
        success=colours["ok"],
        warning=colours["warn"],
        error=colours["bad"],
        dark=dark,
    )


DARK = _theme("labtui-dark", _DARK, dark=True)
LIGHT = _theme("labtui-light", _LIGHT, dark=False)
ANSI = Theme(
    name="labtui-ansi",
    primary="ansi_blue",
    secondary="ansi_bright_black",
    accent="ansi_blue",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_red",
    boost="ansi_default",
    dark=True,
    ansi=True,
    variables={
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "border-blurred": "ansi_black",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_white",
        "input-cursor-background": "ansi_black",
        "input-cursor-foreground": "ansi_bright_white",
        "input-cursor-text-style": "none",
        "input-selection-background": "ansi_bright_blue",
        "input-selection-foreground": "ansi_black",
        "screen-selection-background": "ansi_bright_blue",
        "screen-selection-foreground": "ansi_black",
    },
)
THEMES = (DARK, LIGHT, ANSI)


class Palette:
    """Style names to rich styles, for one theme."""

    def __init__(self, theme: Theme, *, no_color: bool = False) -> None:
        self._cache: dict[str, Style] = {}
        self._flat_cursor = no_color or theme.ansi or "ansi" in theme.name
        if no_color:
            self._names = _mono()
        elif theme.ansi or "ansi" in theme.name:
            self._names = _ansi()
        else:
            own = {"labtui-dark": _DARK, "labtui-light": _LIGHT}.get(theme.name)
            self._names = _colours(own or _borrowed(theme), dark=theme.dark)

    @cached_property
    def base(self) -> Style:
        """What every cell has: foreground and background."""
        return self._names["fg"]

    def style(self, key: str) -> Style:
        """The style of one or more names joined by spaces; unknown names count for nothing."""
        found = self._cache.get(key)
        if found is None:
            found = self.base
            names = key.split()
            for name in names:
                if name == "faint" and "cursor" in names:
                    name = "quiet"  # frames and dots are faint against the plain ground alone
                found += self._names.get(name, Style.null())
            if self._flat_cursor and found.reverse:
                # Turned round, each colour would be a ground of its own: a row in patches.
                found = self.base + Style(reverse=True, bold=found.bold)
            self._cache[key] = found
        return found


def _colours(c: dict[str, str], *, dark: bool) -> dict[str, Style]:
    def on(fg: str, bg: str | None = None, **more: bool) -> Style:
        return Style(color=fg, bgcolor=bg, **more)  # type: ignore[arg-type]

    names = {
        "fg": on(c["fg"], c["bg"]),
        "strong": on(c["strong"], bold=True),
        "dim": on(c["dim"]),
        "quiet": on(c["quiet"]),
        "faint": on(c["faint"]),
        "less": on(c["less"]),
        "more": on(c["more"]),
        "track": Style(bgcolor=c["track"]),
        "panel": Style(bgcolor=c["panel"]),
        "heading": on(c["dim"]),
        "title": on(c["strong"], bold=True),
        "head": on(c["dim"], c["panel"]),
        "accent": on(c["accent"]),
        "key": on(c["accent"]),
        "ok": on(c["ok"]),
        "warn": on(c["warn"]),
        "bad": on(c["bad"]),
        "mark": on(c["mark"]),
        "cursor": Style(bgcolor=c["cursor"]),
        "tab": on(c["strong"], c["tab"], bold=True),
        "caret": on(c["bg"], c["accent"]),
        "banner": on(c["bg"], c["warn"]),
        "alarm": on(c["bg"], c["bad"]),
        "bold": Style(bold=True),
        "under": Style(underline=True),
        "reverse": Style(reverse=True),
        "shade": Style(bgcolor=c["shade"]),
        "state.queued": on(c["dim"]),
        "state.running": on(c["accent"]),
        "state.paused": on(c["warn"]),
        "state.done": on(c["ok"]),
        "state.failed": on(c["bad"]),
        "state.cancelled": on(c["dim"]),
        "state.success": on(c["ok"]),
        "state.failure": on(c["dim"]),
        "state.diverged": on(c["warn"]),
        "state.superseded": on(c["dim"]),
        "state.lost": on(c["bad"]),
        "state.interrupted": on(c["warn"]),
    }
    names |= {f"model.{kind}": on(c[kind]) for kind in MODEL_SIGN}
    names |= {f"plugin.{i}": on(c[f"plugin{i}"]) for i in range(4)}
    names |= {name: on(hue) for name, hue in zip(RATES, _RATES_DARK if dark else _RATES_LIGHT, strict=True)}
    ink = c["strong"]
    kappa = _KAPPA_DARK if dark else _KAPPA_LIGHT
    names |= {f"kappa.{k:+d}": on(ink, bg) for k, bg in kappa.items()}
    names |= {
        f"heat.{i}": on(c["bg"] if i == 0 else ink, bg)
        for i, bg in enumerate(_HEAT_DARK if dark else _HEAT_LIGHT)
    }
    return names


def _ansi() -> dict[str, Style]:
    c = _ANSI
    parse = Style.parse
    names = {
        name: parse(c[name])
        for name in (
            "strong",
            "dim",
            "quiet",
            "faint",
            "less",
            "more",
            "accent",
            "ok",
            "warn",
            "bad",
            "mark",
            "cursor",
        )
    }
    names |= {
        "fg": Style(color=RichColor.default(), bgcolor=RichColor.default()),
        "track": parse(c["track"]),
        "panel": Style.null(),
        "heading": parse("dim"),
        "title": parse("bold"),
        "head": parse("bold underline"),
        "key": parse("bold"),
        "tab": parse("reverse bold"),
        "caret": parse("reverse"),
        "banner": parse("reverse yellow"),
        "alarm": parse("reverse red"),
        "bold": parse("bold"),
        "under": parse("underline"),
        "reverse": parse("reverse"),
        "shade": parse("underline"),
    }
    for state, colour in {
        "queued": "default", "running": "bright_blue bold", "paused": "yellow", "done": "green",
        "failed": "red bold", "cancelled": "dim", "success": "green", "failure": "default",
        "diverged": "yellow", "superseded": "dim", "lost": "red", "interrupted": "yellow",
    }.items():  # fmt: skip
        names[f"state.{state}"] = parse(colour)
    names |= {f"model.{kind}": parse(c[kind]) for kind in MODEL_SIGN}
    names |= {f"plugin.{i}": parse(c[f"plugin{i}"]) for i in range(4)}
    names |= dict(zip(RATES, map(parse, _ANSI_RATES), strict=True))
    for k, colour in {
        -3: "yellow bold",
        -2: "yellow",
        -1: "yellow",
        0: "default",
        1: "cyan",
        2: "cyan",
        3: "cyan bold",
    }.items():
        names[f"kappa.{k:+d}"] = parse(colour)
    for i, colour in enumerate(("green bold", "default", "default", "default", "default", "dim")):
        names[f"heat.{i}"] = parse(colour)
    return names


def _mono() -> dict[str, Style]:
    """No colour at all (NO_COLOR): bold, underline and reverse carry what the signs do not."""
    names = {
        name: Style(bold=True)
        for name in ("strong", "title", "key", "mark", "bold", "bad", "state.running", "state.failed")
    }
    names |= {name: Style(reverse=True) for name in ("cursor", "tab", "caret", "reverse", "banner", "alarm")}
    names |= {
        "fg": Style(color=RichColor.default(), bgcolor=RichColor.default()),
        "head": Style(underline=True),
    }
    names |= {name: Style(underline=True) for name in ("under", "shade")}
    return names


def _borrowed(theme: Theme) -> dict[str, str]:
    """Our colour names from a theme that is not ours (Textual's own, or a user's)."""
    made = theme.to_color_system().generate()
    c = dict(_DARK if theme.dark else _LIGHT)
    pairs = {
        "bg": "background", "panel": "panel", "fg": "foreground", "strong": "foreground", "accent": "primary",
        "ok": "success", "warn": "warning", "bad": "error", "mark": "warning",
        "cursor": "primary-muted", "tab": "primary-muted",
    }  # fmt: skip
    for ours, theirs in pairs.items():
        value = made.get(theirs, "")
        if value.startswith("#") and len(value) >= 7:
            c[ours] = value[:7]
    ink, ground = Color.parse(c["fg"]), Color.parse(c["bg"])
    for ours, share in (("dim", 0.3), ("quiet", 0.4), ("faint", 0.6), ("track", 0.88), ("shade", 0.6)):
        c[ours] = ink.blend(ground, share).hex[:7]
    return c
