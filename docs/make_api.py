"""Write docs/api.md from the docstrings of labtui.api and labtui.export.records: ``python docs/make_api.py``.

With ``--check`` nothing is written: exit 1 where the page is not what the docstrings say.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from labtui import api  # noqa: E402
from labtui.export import records  # noqa: E402

WIDTH = 100
PAGE = HERE / "api.md"
MADE = "<!-- made from docstrings: python docs/make_api.py -->"
ROWS = (
    records.JobRecord,
    records.ProbeRecord,
    records.TrialRecord,
    records.CurveRecord,
    records.KappaRecord,
    records.PartRecord,
    records.FitRecord,
    records.EventRecord,
)


def page() -> str:
    """The page as text."""
    out = ["# The Python API", "", MADE, "", _doc(api), "", "## `Lab`", ""]
    out += [f"`{_signature('Lab', api.Lab.__init__)}`", "", _doc(api.Lab), ""]
    for name, method in vars(api.Lab).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            out += [*_heading(name, _signature(name, method)), "", _doc(method), ""]
    out += ["## Columns", "", _doc(records), ""]
    for row in ROWS:
        out += [f"### `{row.__name__}`", "", _doc(row), ""]
        out += ["| column | type |", "|---|---|"]
        out += [f"| `{f.name}` | {str(f.type).replace('|', 'or')} |" for f in fields(row)]
        out.append("")
    return "\n".join(out)


def _heading(name: str, signature: str) -> list[str]:
    """The signature as a heading; one that is longer than a line stands below its name."""
    if len(signature) <= WIDTH:
        return [f"### `{signature}`"]
    lines = textwrap.wrap(signature, WIDTH, subsequent_indent="    ")
    return [f"### `{name}`", "", "```python", *lines, "```"]


def _doc(thing: object) -> str:
    """A docstring with its sections as lists."""
    lines = []
    for line in (inspect.getdoc(thing) or "").splitlines():
        word = line.strip()
        if word in ("Args:", "Raises:", "Returns:"):
            lines.append(f"{word}\n")
        elif line.startswith("    ") and not line.startswith("     ") and lines and not _in_code(lines):
            lines.append(f"- {word}")
        elif line.startswith("     ") and not _in_code(lines):
            lines.append(f"  {word}")
        else:
            lines.append(line)
    return _outside_code("\n".join(lines))


def _in_code(lines: list[str]) -> bool:
    return sum(line.startswith("```") for line in lines) % 2 == 1


def _outside_code(text: str) -> str:
    parts = text.split("```")
    parts[::2] = [p.replace("N*", "N\\*").replace("``", "`") for p in parts[::2]]
    return "```".join(parts)


def _signature(name: str, function: Callable[..., object]) -> str:
    words, bare = [], False
    for p in list(inspect.signature(function).parameters.values())[1:]:
        if p.kind is p.KEYWORD_ONLY and not bare:
            words.append("*")
            bare = True
        default = "" if p.default is p.empty else f" = {p.default!r}"
        words.append(f"{p.name}: {p.annotation}{default}")
    returns = inspect.signature(function).return_annotation
    return f"{name}({', '.join(words)})" + ("" if returns == "None" else f" -> {returns}")


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(0 if PAGE.exists() and PAGE.read_text("utf-8") == page() else 1)
    PAGE.write_text(page(), "utf-8")
