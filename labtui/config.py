"""Settings: a TOML file in the user's config folder, and environment variables that win over it.

``~/.config/labtui/config.toml`` (or ``$LABTUI_CONFIG``)::

    theme = "labtui-light"    # LABTUI_THEME: auto, labtui-dark, labtui-light, labtui-ansi or one of Textual's
    glyphs = "ascii"          # LABTUI_GLYPHS: auto, unicode, blocks (no braille), ascii
    mouse = false             # LABTUI_MOUSE=0
    slow = true               # LABTUI_SLOW=1: at most one update in two seconds
    notify = "bell"           # LABTUI_NOTIFY: off, bell, desktop (OSC 9)

    [keys]
    pause = ["P"]             # LABTUI_KEY_PAUSE=P,ctrl+y
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from runners.programs.consent import config_folder, home

Glyphs = Literal["unicode", "blocks", "ascii"]


@dataclass(frozen=True)
class Settings:
    """What a person has chosen."""

    theme: str = "auto"
    glyphs: str = "auto"
    mouse: bool = True
    slow: bool = False
    notify: str = "off"
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    """Sentences about what in the file or the environment was not understood; the rest holds."""


_CHOICES = {"glyphs": ("auto", "unicode", "blocks", "ascii"), "notify": ("off", "bell", "desktop")}


def config_file(env: Mapping[str, str]) -> Path:
    """Where the settings are: ``$LABTUI_CONFIG``, else below ``$XDG_CONFIG_HOME`` or ``~/.config``."""
    if env.get("LABTUI_CONFIG"):
        return Path(env["LABTUI_CONFIG"])
    return config_folder(env) / "config.toml"


def state_folder(env: Mapping[str, str]) -> Path:
    """Where labtui remembers what was seen last: below ``$XDG_STATE_HOME`` or ``~/.local/state``."""
    return Path(env.get("XDG_STATE_HOME") or home(env) / ".local" / "state") / "labtui"


def read_settings(env: Mapping[str, str] | None = None) -> Settings:
    """File, then environment. Never raises: what is wrong becomes a sentence in ``problems``."""
    env = os.environ if env is None else env
    problems: list[str] = []
    data: dict[str, Any] = {}
    path = config_file(env)
    try:
        text = path.read_text("utf-8-sig")
        import tomllib  # 2 ms that only those pay who have a file

        data = tomllib.loads(text)
    except FileNotFoundError:
        pass
    except RecursionError:
        problems.append(f"{path} cannot be read (it is nested too deeply); the defaults hold")
    except (OSError, ValueError) as error:
        problems.append(f"{path} cannot be read ({error}); the defaults hold")
    for name in ("theme", "glyphs", "mouse", "slow", "notify"):
        value = env.get(f"LABTUI_{name.upper()}")
        if value is not None:
            data[name] = (
                value.lower() not in ("0", "false", "no", "off", "") if name in ("mouse", "slow") else value
            )
    keys = data.pop("keys", {})
    keys = dict(keys) if isinstance(keys, dict) else {}
    for name, value in env.items():
        if name.startswith("LABTUI_KEY_"):
            keys[name.removeprefix("LABTUI_KEY_").lower()] = value.split(",")
    settings = Settings()
    for name, value in data.items():
        expected = getattr(settings, name, None) if name not in ("keys", "problems") else None
        if expected is None:
            problems.append(
                f"{path}: unknown key {_shown(name)}; expected theme, glyphs, mouse, slow, notify or [keys]"
            )
        elif type(value) is not type(expected) or (name in _CHOICES and value not in _CHOICES[name]):
            wanted = (
                ", ".join(_CHOICES[name])
                if name in _CHOICES
                else "true or false"
                if expected in (True, False)
                else "a text"
            )
            problems.append(f"{name} is {_shown(value)}; expected {wanted}")
        elif name == "theme" and value not in themes():
            problems.append(f"theme is {_shown(value)}; expected auto or one of {', '.join(themes()[1:])}")
        else:
            settings = replace(settings, **{name: value})
    return replace(settings, keys=_keys(keys, problems), problems=tuple(problems))


def themes() -> tuple[str, ...]:
    """The themes that may be chosen: ours, then Textual's own."""
    from textual.theme import BUILTIN_THEMES  # a name is looked up only where one was chosen

    return ("auto", "labtui-dark", "labtui-light", "labtui-ansi", *sorted(BUILTIN_THEMES))


def _shown(value: object) -> str:
    text = value if isinstance(value, str) and value.isidentifier() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys(raw: Mapping[str, Any], problems: list[str]) -> dict[str, tuple[str, ...]]:
    from labtui.tui.actions import BY_ID, apart, key_problem

    out: dict[str, tuple[str, ...]] = {}
    for name, value in raw.items():
        values = [value] if isinstance(value, str) else value
        if name not in BY_ID:
            problems.append(
                f"keys.{_shown(name)} is no action; expected one of those that ? shows, "
                "such as pause or show_queue"
            )
        elif not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            problems.append(f"keys.{name} is {_shown(value)}; expected a key or a list of keys")
        else:
            found = tuple(v.strip() for v in values if v.strip())
            for key in found:
                told = key_problem(key)
                if told:
                    problems.append(f"keys.{name} has {_shown(key)}, {told}")
                problems += [
                    f"{_shown(key)} is given to both keys.{other} and keys.{name}; expected one"
                    for other, keys in out.items()
                    if key in keys and not apart(other, name)
                ]
            out[name] = tuple(key for key in found if not key_problem(key))
    return out


def choose_glyphs(wanted: str, env: Mapping[str, str]) -> Glyphs:
    """``auto``: ASCII where the locale says C or POSIX or a non-UTF-8 encoding,
    or the terminal is the Linux console's.
    """
    if wanted == "unicode" or wanted == "blocks" or wanted == "ascii":
        return wanted  # type: ignore[return-value]
    # Python sets LC_CTYPE itself under LANG=C (PEP 538), so LANG goes before a bare C.UTF-8 there.
    ctype = env.get("LC_CTYPE", "")
    locale = (
        env.get("LC_ALL")
        or (ctype if ctype not in ("C.UTF-8", "C.utf8", "UTF-8") else "")
        or env.get("LANG")
        or ctype
    )
    if locale and "utf" not in locale.lower():
        return "ascii"
    return "blocks" if env.get("TERM") == "linux" else "unicode"


def choose_theme(wanted: str, env: Mapping[str, str]) -> str:
    """``auto``: ANSI with NO_COLOR or 16 colours, light where the terminal says that its background is,
    else dark.
    """
    if wanted != "auto":
        return wanted
    term = env.get("TERM", "")
    many = (
        env.get("COLORTERM") in ("truecolor", "24bit")
        or "256" in term
        or "kitty" in term
        or "ghostty" in term
    )
    if "NO_COLOR" in env or not many:
        return "labtui-ansi"
    background = env.get("COLORFGBG", "").rsplit(";", 1)[-1]
    return "labtui-light" if background in ("7", "15") else "labtui-dark"
