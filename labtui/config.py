"""Settings: one declared table, and where each value comes from.

A value is taken from the environment (``LABTUI_SLOTS``), else from the file beside the lab
(``lab.db.toml``), else from the user's own file (``labtui config`` names it), else it is the default. The
file beside a lab may have come with the lab: it is data, so what names code, a network address or a key is
taken from a person's own file and environment alone.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_config_path, user_state_path

from store.files import open_own
from store.paths import LabPaths

Glyphs = Literal["unicode", "blocks", "ascii"]
PREFIX = "LABTUI_"
KEY_PREFIX = "LABTUI_KEY_"
MAX_BYTES = 1 << 20
"""A settings file that is larger is none."""
_FLAGS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off", ""), False),
}


@dataclass(frozen=True)
class About:
    """What is known of a setting but its value."""

    text: str
    kind: Literal["text", "flag", "whole", "number", "words"]
    choices: tuple[str, ...] = ()
    between: tuple[float, float] = (0.0, 0.0)
    personal: bool = False
    """Never taken from a file beside a lab."""
    check: Callable[[str], str] | None = None
    """What was expected instead of a text, empty where it is right."""


def themes() -> tuple[str, ...]:
    """The themes that may be chosen: ours, then Textual's own."""
    from textual.theme import BUILTIN_THEMES  # a name is looked up only where one was chosen

    return ("auto", "labtui-dark", "labtui-light", "labtui-ansi", *sorted(BUILTIN_THEMES))


def _a_theme(name: str) -> str:
    return "" if name in themes() else f"auto or one of {', '.join(themes()[1:])}"


DEVICE = re.compile(r"cpu|cuda:[0-9]+")
NODE_DEVICE = re.compile(r"([A-Za-z0-9_-]+/)?(cpu|cuda(:[0-9]+)?)")
"""How a device is named, here and on the nodes of a cluster."""


def devices_expected(text: str, engine: str = "ray") -> str:
    """What was expected in the place of a list of devices; empty where it is one."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    on_nodes = engine == "ray"
    if names and all((NODE_DEVICE if on_nodes else DEVICE).fullmatch(name) for name in names):
        return ""
    return "cpu or cuda:0, by commas" + (", on a cluster also node-3/cuda:1" if on_nodes else "")


def address_expected(text: str) -> str:
    """What was expected in the place of a Ray cluster's address; empty where it is one."""
    host, colon, port = text.rpartition(":")
    plain = text in ("auto", "local") or (colon and host and "/" not in host and port.isdecimal())
    return "" if plain and text.isprintable() else "auto, local or HOST:PORT"


ENGINES = ("local", "ray")


def _setting(default: Any, kind: Any, text: str, **more: Any) -> Any:
    return field(default=default, metadata={"about": About(text, kind, **more)})


@dataclass(frozen=True)
class Settings:
    """What a person has chosen; each field is a key of the files and an environment variable."""

    lab: str = _setting("", "text", "the lab where --lab names none (else ./lab.db)", personal=True)
    theme: str = _setting(
        "auto", "text", "auto, labtui-dark, -light, -ansi, or one of Textual's", check=_a_theme, personal=True
    )
    glyphs: str = _setting(
        "auto",
        "text",
        "signs: auto, unicode, blocks (no braille), ascii",
        choices=("auto", "unicode", "blocks", "ascii"),
        personal=True,
    )
    mouse: bool = _setting(True, "flag", "the screens take the mouse", personal=True)
    slow: bool = _setting(False, "flag", "at most one update in two seconds", personal=True)
    poll_s: float = _setting(0.2, "number", "seconds between looks at the lab", between=(0.05, 60.0))
    notify: str = _setting(
        "off",
        "text",
        "when something ends: off, bell, desktop (OSC 9)",
        choices=("off", "bell", "desktop"),
        personal=True,
    )
    notify_command: tuple[str, ...] = _setting(
        (), "words", "run when something ends, with JSON on stdin", personal=True
    )
    devices: str = _setting(
        "", "text", "cpu or cuda:0,cuda:1 (else every CUDA device, or the CPU)", check=devices_expected
    )
    slots: int | None = _setting(None, "whole", "workers on the CPU (else one a core)", between=(1, 1024))
    threads: int | None = _setting(None, "whole", "threads of each worker (else 1)", between=(1, 1024))
    engine: str = _setting("local", "text", "what runs the workers: local, ray", choices=ENGINES)
    address: str = _setting(
        "auto",
        "text",
        "of the Ray cluster: auto, local, HOST:PORT",
        check=address_expected,
        personal=True,
    )
    trainer: str = _setting("", "text", "another engine, module:Class", personal=True)
    keep_checkpoints_days: float | None = _setting(
        None,
        "number",
        "checkpoints of failed and cancelled work (else for ever)",
        between=(0.0, 36_500.0),
    )
    keep_logs_mb: float = _setting(
        2.0, "number", "size of each log before its older half goes", between=(0.1, 1000.0)
    )
    keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Action -> its keys: the table ``[keys]``, ``LABTUI_KEY_PAUSE=P,ctrl+y``."""
    problems: tuple[str, ...] = ()
    """Sentences about what in the files or the environment was not understood; the rest holds."""
    sources: dict[str, str] = field(default_factory=dict)
    """Setting (``keys.pause`` too) -> the variable or the file that gave its value; defaults are not in it.
    """


TABLE: dict[str, About] = {f.name: f.metadata["about"] for f in fields(Settings) if "about" in f.metadata}
"""Every setting but ``[keys]``."""


def variable(name: str) -> str:
    """The environment variable of a setting (``keys.pause`` too)."""
    first, dot, action = name.partition(".")
    return KEY_PREFIX + action.upper() if dot and first == "keys" else PREFIX + name.upper()


def config_file(env: Mapping[str, str]) -> Path:
    """The user's own file: ``$LABTUI_CONFIG``, else ``config.toml`` in the platform's config folder."""
    if env.get("LABTUI_CONFIG"):
        return Path(env["LABTUI_CONFIG"])
    return _whole(user_config_path("labtui")) / "config.toml"


def state_folder() -> Path:
    """Where labtui remembers what was seen last: the platform's state folder."""
    return _whole(user_state_path("labtui"))


def _whole(folder: Path) -> Path:
    """A folder that does not hang on the current one, which is data: without a home there is none."""
    return folder if folder.is_absolute() else Path("/", *folder.parts[-1:])


def read_settings(
    env: Mapping[str, str] | None = None, lab: str | os.PathLike[str] | None = None
) -> Settings:
    """Read the user's file, then the one beside ``lab``, then the environment.

    Never raises: what is wrong becomes a sentence in ``problems``.
    """
    env = os.environ if env is None else env
    reading = _Reading()
    own = config_file(env)
    reading.take_file(own, lambda: text_of(own), personal=True)
    if lab is not None:
        beside = LabPaths(lab).settings
        reading.take_file(beside, lambda: _own_text(beside), personal=False)
    reading.take_environment(env)
    return reading.settings()


def expected(name: str, value: object) -> str:
    """What was expected in the place of a setting's value, as TOML has it; empty where it is right."""
    about = TABLE[name]
    if about.kind == "flag":
        return "" if isinstance(value, bool) else "true or false"
    if about.kind in ("whole", "number"):
        low, high = about.between
        right = isinstance(value, int) or (about.kind == "number" and isinstance(value, float))
        if right and not isinstance(value, bool) and low <= value <= high:  # type: ignore[operator]
            return ""
        return f"{'a whole number' if about.kind == 'whole' else 'a number'} from {low:g} to {high:,g}"
    if about.kind == "words":
        right = isinstance(value, list) and all(isinstance(word, str) for word in value)
        return "" if right or isinstance(value, str) else "a command, or a list of its words"
    if not isinstance(value, str):
        return "a text"
    if about.choices and value not in about.choices:
        return ", ".join(about.choices)
    return about.check(value) if about.check is not None and value else ""


def words_expected(name: str, value: object) -> str:
    """What was expected in the place of a command's words; empty where they can be told apart."""
    if TABLE[name].kind == "words" and isinstance(value, str):
        try:
            shlex.split(value)
        except ValueError as error:
            return f"a command ({str(error).lower()})"
    return ""


def from_text(name: str, text: str) -> object:
    """A value as TOML would have it from a text as a person types it; the text itself where it is none."""
    kind = TABLE[name].kind
    if kind == "flag":
        return _FLAGS.get(text.strip().lower(), text)
    if kind in ("whole", "number"):
        try:
            return int(text) if kind == "whole" or text.strip().isdecimal() else float(text)
        except ValueError:
            return text
    return text


def supervisor_words(settings: Settings) -> list[str]:
    """The options of ``python -m runners`` that the settings make; what runs code goes by
    :func:`supervisor_variables`.
    """
    words: list[str] = []
    default = Settings()
    for name in ("devices", "slots", "threads", "engine", "address", "trainer"):
        value = getattr(settings, name)
        if value != getattr(default, name):
            words += [f"--{name}", str(value)]
    for name in ("keep_checkpoints_days", "keep_logs_mb"):
        value = getattr(settings, name)
        if value != getattr(default, name):
            words += [f"--{name.replace('_', '-')}", f"{value:g}"]
    return words


def supervisor_variables(settings: Settings) -> dict[str, str]:
    """The environment that a supervisor is started with: the notification command, whose words may hold a
    secret, stands in no list of processes.
    """
    return {variable("notify_command"): shlex.join(settings.notify_command)}


class _Reading:
    """Settings while they are read, the weakest source first."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._keys: dict[str, Any] = {}
        self._sources: dict[str, str] = {}
        self._problems: list[str] = []

    def take_file(self, path: Path, read: Callable[[], str], *, personal: bool) -> None:
        """Read one file; ``personal``: of this person, and not one that may have come with a lab."""
        try:
            text = read()
            import tomllib  # 2 ms that only those pay who have a file

            data = tomllib.loads(text)
        except FileNotFoundError:
            return
        except RecursionError:
            self._problems.append(f"{path} cannot be read (it is nested too deeply); the defaults hold")
            return
        except (OSError, ValueError) as error:
            told = getattr(error, "strerror", None) or str(error).replace("\n", " ")
            self._problems.append(f"{path} cannot be read ({told}); the defaults hold")
            return
        keys = data.pop("keys", {})
        for name, value in data.items():
            if name not in TABLE:
                known = ", ".join(TABLE)
                self._problems.append(f"{path}: unknown key {_shown(name)}; expected {known} or [keys]")
            elif TABLE[name].personal and not personal:
                self._problems.append(
                    f"{path}: {name} counts in your own settings alone and is left out here"
                )
            else:
                self._take(name, value, str(path))
        if keys and not personal:
            self._problems.append(f"{path}: keys count in your own settings alone and are left out here")
        elif not isinstance(keys, dict):
            self._problems.append(f"{path}: keys is {_shown(keys)}; expected a table [keys]")
        else:
            self._keys.update(keys)
            self._sources.update({f"keys.{name}": str(path) for name in keys})

    def take_environment(self, env: Mapping[str, str]) -> None:
        """Read LABTUI_... of each setting; an empty one is as good as none, but for flags."""
        for name, about in TABLE.items():
            text = env.get(variable(name))
            if text or (text is not None and about.kind == "flag"):
                self._take(name, from_text(name, text), f"${variable(name)}")
        for name, value in env.items():
            if name.startswith(KEY_PREFIX):
                action = name.removeprefix(KEY_PREFIX).lower()
                self._keys[action] = value.split(",")
                self._sources[f"keys.{action}"] = f"${name}"

    def _take(self, name: str, value: object, source: str) -> None:
        wanted = expected(name, value) or words_expected(name, value)
        if wanted:
            self._problems.append(f"{source}: {name} is {_shown(value)}; expected {wanted}")
            return
        if TABLE[name].kind == "words":
            value = tuple(shlex.split(value) if isinstance(value, str) else value)  # type: ignore[arg-type]
        self._values[name], self._sources[name] = value, source

    def settings(self) -> Settings:
        """What holds, with all that does not."""
        keys = _keys(self._keys, self._sources, self._problems) if self._keys else {}
        return Settings(
            **self._values, keys=keys, problems=tuple(self._problems), sources=dict(self._sources)
        )


def text_of(path: Path) -> str:
    """The text of a settings file; a pipe in its place is not waited for.

    Raises:
        OSError: it cannot be read.
        ValueError: it is a pipe, too large, or no UTF-8.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is a pipe")
        return _decoded(file.read(MAX_BYTES + 1))


def _own_text(path: Path) -> str:
    """The text of a file that is this user's own, and no link to another."""
    with os.fdopen(open_own(path, os.O_RDONLY), "rb") as file:
        return _decoded(file.read(MAX_BYTES + 1))


def _decoded(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise ValueError("it is larger than 1 MiB")
    return data.decode("utf-8-sig")


def _shown(value: object) -> str:
    text = value if isinstance(value, str) and value.isidentifier() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys(
    raw: Mapping[str, Any], sources: Mapping[str, str], problems: list[str]
) -> dict[str, tuple[str, ...]]:
    from labtui.tui.actions import BY_ID, apart, key_problem

    out: dict[str, tuple[str, ...]] = {}
    for name, value in raw.items():
        values = [value] if isinstance(value, str) else value
        where = sources[f"keys.{name}"]
        if name not in BY_ID:
            problems.append(
                f"{where}: keys.{_shown(name)} is no action; expected one of those that ? shows, "
                "such as pause or show_queue"
            )
        elif not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            problems.append(f"{where}: keys.{name} is {_shown(value)}; expected a key or a list of keys")
        else:
            found = tuple(v.strip() for v in values if v.strip())
            for key in found:
                told = key_problem(key)
                if told:
                    problems.append(f"{where}: keys.{name} has {_shown(key)}, {told}")
                problems += [
                    f"{where}: {_shown(key)} is given to both keys.{other} and keys.{name}; expected one"
                    for other, theirs in out.items()
                    if key in theirs and not apart(other, name)
                ]
            keys = tuple(key for key in found if not key_problem(key))
            if keys or not found:  # where none of them is one, the action keeps those that it has
                out[name] = keys
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
