"""``labtui config``: every setting with its value and where that comes from; set and unset one.

Files, variables and every setting: docs/settings.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labtui import config
from labtui.cli.arguments import Options, Parser, did_you_mean
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.text import clean
from labtui.tui.actions import BY_ID, key_problem
from store import files
from store.errors import LabError
from store.paths import LabPaths

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

SETTING: Options = {"metavar": "KEY", "help": "a setting, such as slots or keys.pause"}
BESIDE: Options = {"action": "store_true", "help": "in the file beside the lab, not in your own"}


def arguments(parser: Parser) -> None:
    """Take set or unset; without either every setting is shown."""
    part = parser.part("set", "change one; comments in the file stay")
    part.add_argument("key", **SETTING)
    part.add_argument("value", metavar="VALUE", help="its value; of keys: by commas")
    part.add_argument("--beside-lab", **BESIDE)
    part.runs(set_one, writes=True, example="slots 2")
    part = parser.part("unset", "let its default hold again")
    part.add_argument("key", **SETTING)
    part.add_argument("--beside-lab", **BESIDE)
    part.runs(unset, writes=True, example="slots")
    assert parser.parts is not None
    parser.parts.required = False
    parser.runs(show)


def show(context: Context) -> None:
    """Show every setting, its value, its source, and what is wrong with the files."""
    settings = context.settings
    own, beside = config.config_file(context.env), LabPaths(context.lab_path).settings
    rows = [
        {
            "key": name,
            "value": getattr(settings, name),
            "source": settings.sources.get(name, "default"),
            "variable": config.variable(name),
            "about": about.text,
        }
        for name, about in config.TABLE.items()
    ]
    rows += [
        {
            "key": f"keys.{action}",
            "value": list(keys),
            "source": settings.sources.get(f"keys.{action}", "default"),
            "variable": config.variable(f"keys.{action}"),
            "about": BY_ID[action].label,
        }
        for action, keys in settings.keys.items()
    ]
    if context.json:
        context.emit(
            {"own": str(own), "beside_lab": str(beside), "settings": rows, "problems": settings.problems}
        )
        return
    for problem in settings.problems:
        context.say(problem)
    shown = [(row["key"], _text(row["value"]), row["source"], row["about"]) for row in rows]
    # No grid: that cuts a cell for a narrow terminal, and half a path or half a sentence says nothing.
    widths = [max(len(row[i]) for row in shown) for i in range(3)]
    context.lines(
        "  ".join([*(clean(cell).ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]]).rstrip()
        for row in shown
    )
    context.say(f"your own: {own}; beside the lab: {beside}; keys by labtui config set keys.ACTION KEY,KEY")


def _text(value: Any) -> str:
    """A value as it stands in TOML; ``-`` where there is none."""
    if value is None or value in ("", (), []):
        return "-"
    return value if isinstance(value, str) else json.dumps(value)


def set_one(context: Context) -> None:
    """Write one setting into a file; all else in it, comments too, stays as it is."""
    args = context.args
    value = _value(args.key, args.value)
    path = _target(context)
    document = _read(path)
    if args.key.startswith("keys."):
        document.setdefault("keys", {})[args.key.partition(".")[2]] = value
    else:
        document[args.key] = value
    _write(path, document)
    context.say(f"{path}: {args.key} = {_text(value)}")
    source = context.settings.sources.get(args.key, "")
    if source.startswith("$") or (source and Path(source).resolve() != path.resolve()):
        context.say(f"{source} sets it too, and is what holds")


def unset(context: Context) -> None:
    """Take one setting out of a file."""
    key = context.args.key
    _known(key)
    path = _target(context)
    document = _read(path)
    first, dot, action = key.partition(".")
    table: Any = document.get("keys", {}) if dot else document
    name = action if dot else first
    if name not in table:
        raise BadInput(f"{path} does not set {key}; labtui config tells what does")
    del table[name]
    _write(path, document)
    context.say(f"{path}: {key} is as it was")


def _known(key: str) -> None:
    if key in config.TABLE or key.removeprefix("keys.") in BY_ID:
        return
    names = [*config.TABLE, *(f"keys.{action}" for action in BY_ID)]
    raise BadInput(f"there is no setting {key!r}{did_you_mean(key, names)}; labtui config shows them all")


def _value(key: str, text: str) -> Any:
    """A value as TOML has it.

    Raises:
        BadInput: there is no such setting, or it cannot be this.
    """
    _known(key)
    if key.startswith("keys."):
        keys = [k.strip() for k in text.split(",") if k.strip()]
        for name in keys:
            if told := key_problem(name):
                raise BadInput(f"{key} has {name!r}, {told}")
        return keys
    value = config.from_text(key, text)
    if wanted := config.expected(key, value) or config.words_expected(key, value):
        raise BadInput(f"{key} is {text!r}; expected {wanted}")
    return value


def _target(context: Context) -> Path:
    """The file that is written; a link to one's own file is followed, beside a lab none is.

    Raises:
        BadInput: the setting counts in one's own file alone.
    """
    key = context.args.key
    if not context.args.beside_lab:
        return config.config_file(context.env).resolve()
    if key.startswith("keys.") or config.TABLE[key].personal:
        raise BadInput(f"{key} counts in your own settings alone; expected it without --beside-lab")
    path = LabPaths(context.lab_path).settings
    if not context.lab_path.exists():
        raise BadInput(f"there is no lab at {context.lab_path} yet; expected one")
    return path


def _read(path: Path) -> TOMLDocument:
    import tomlkit  # loaded by what writes settings alone

    if path.exists() and not path.is_file():  # it would be replaced: /dev/null too
        raise BadInput(f"{path} is no file; expected one for settings")
    try:
        text = config.text_of(path) if not path.is_symlink() else ""
    except FileNotFoundError:
        text = ""
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    try:
        return tomlkit.parse(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is no TOML ({error}); mend it first") from None


def _write(path: Path, document: TOMLDocument) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, document.as_string().encode())
    except OSError as error:
        raise LabError(f"{path} cannot be written: {error.strerror}") from None
