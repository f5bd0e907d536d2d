"""What holds for every page: lines that a terminal shows whole, and no name of a page that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 110
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
STILL_LONG = {"docs/architecture.md"}
"""Pages whose signatures are still longer; the set may only shrink."""
OTHER_PAGES = {
    "gpu.md": "benchmarks/gpu.py writes it beside its numbers",
    "demo.md": "benchmarks/study.py writes docs/labs/demo.md",
}
"""Pages that code names and that are not kept here, each with its reason."""


def source_lines(page: Path) -> list[tuple[int, str]]:
    """(number, line) of prose and source; not of tables, nor of what a command printed (a bare fence)."""
    kept, fence = [], None
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = line.strip().lstrip("`") if fence is None else None
        elif fence != "" and not line.lstrip().startswith("|"):
            kept.append((number, line))
    return kept


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_hold_110_columns(page: Path) -> None:
    long = [f"{page.name}:{number}: {len(line)}" for number, line in source_lines(page) if len(line) > WIDTH]
    if str(page.relative_to(ROOT)) in STILL_LONG:
        assert long, f"{page.name} holds {WIDTH} columns: strike it off STILL_LONG"
    else:
        assert not long, "\n".join(long)


def test_every_page_that_is_named_exists() -> None:
    """``x.md`` in code, tests and pages is a file from the root, from docs, or beside who names it."""
    folders = ("labtui", "runners", "store", "tests", "benchmarks")
    code = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    lost = []
    for file in [*code, *PAGES, ROOT / "pyproject.toml", ROOT / "Makefile"]:
        if file == Path(__file__):
            continue
        name = file.relative_to(ROOT)
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            for found in re.findall(r"(?<![\w/.*{}-])[\w./-]*\w\.md\b", line):
                places = (ROOT / found, ROOT / "docs" / found, file.parent / found)
                if found not in OTHER_PAGES and not any(place.is_file() for place in places):
                    lost.append(f"{name}:{number}: {found}")
    assert not lost, "\n".join(lost)
