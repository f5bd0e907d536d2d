"""The Paper screen: does it hold? Each statement with its verdict, and the comparisons behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labtui.text import clean, wrap
from labtui.views.lines import Line, Span, cell, crop, text_line

if TYPE_CHECKING:
    from labtui.analysis.paper import Comparison, Row

SIGNS = {
    "confirmed": ("✓", "ok"),
    "contradicted": ("✗", "bad"),
    "open": ("?", "warn"),
    "not measured": ("·", "dim"),
}
"""Of each verdict: sign and style."""
_NUMBER, _VERDICT = 6, 14


def summary(rows: Sequence[Row], *, short: bool = False) -> str:
    """``6 confirmed, 2 contradicted, 2 open, 1 not measured; at reduced settings``; ``short``: by signs."""
    found = {word: sum(r.verdict == word for r in rows) for word in SIGNS}
    counted = [(n, f"{SIGNS[word][0]} {n}" if short else f"{n} {word}") for word, n in found.items()]
    told = ", ".join(text for n, text in counted if n)
    measured = {r.settings for r in rows if r.comparisons}
    where = {"paper": "at the paper's settings", "reduced": "at reduced settings"}
    words = [where[s] for s in ("paper", "reduced") if s in measured]
    return "; ".join([told, " and ".join(words)]) if words else told


def row_line(row: Row, width: int) -> Line:
    """A statement in one line: number, verdict with its sign, text, how many comparisons say so."""
    sign, style = SIGNS[row.verdict]
    counted = tally(row.comparisons)
    text = clean(row.statement.text)
    room = width - _NUMBER - _VERDICT - 2
    tail: Span = (f"  {counted}", "dim")
    line: Line = (
        cell(row.statement.number, _NUMBER, "dim"),
        cell(f"{sign} {row.verdict}", _VERDICT + 2, style),
        (text, ""),
    )
    return crop((*line, tail) if len(text) + len(tail[0]) <= room else line, width)


def full_text(row: Row, width: int) -> list[Line]:
    """The statement in full, where :func:`row_line` had to cut it."""
    text = clean(row.statement.text)
    return _wrapped(text, width, "strong") if len(text) > width - _NUMBER - _VERDICT - 2 else []


def tally(comparisons: Sequence[Comparison]) -> str:
    """``5 hold, 1 does not, 2 undecided``."""
    counts = [
        (sum(c.holds is True for c in comparisons), "holds", "hold"),
        (sum(c.holds is False for c in comparisons), "does not", "do not"),
        (sum(c.holds is None for c in comparisons), "undecided", "undecided"),
    ]
    return ", ".join(f"{n} {one if n == 1 else many}" for n, one, many in counts if n)


def detail_lines(row: Row, width: int) -> list[Line]:
    """What is behind a verdict: the rule, each comparison with its numbers and jobs, what is missing."""
    s = row.statement
    out: list[Line] = [
        *_wrapped(f"decided by {s.rule}", width, "dim"),
        *(_wrapped(f"the paper tells {s.told}", width, "dim") if s.told else ()),
    ]
    for c in row.comparisons:
        sign, style = {True: SIGNS["confirmed"], False: SIGNS["contradicted"], None: SIGNS["open"]}[c.holds]
        out.append(crop(((f"{sign} ", style), (clean(c.part), "strong"), (f"  {clean(c.where)}", "")), width))
        jobs = f"jobs {job_numbers(c.jobs)}" if len(c.jobs) > 1 else f"job {c.jobs[0]}"
        told = "; ".join(filter(None, (c.measured, f"{c.word}: {c.why}" if c.why else c.word, jobs)))
        out += _wrapped(told, width, "", indent=2)
    for part in row.missing:
        out += _wrapped(f"· {part}: nothing here, or nothing at equal settings", width, "dim")
    if row.differences:
        out += _wrapped("reduced: " + ", ".join(row.differences), width, "dim")
    elif row.comparisons:
        at = "at the paper's settings" if row.settings == "paper" else "settings not known: specs are missing"
        out.append(text_line(at, "dim"))
    return out


def paper_lines(rows: Sequence[Row], width: int) -> list[Line]:
    """The whole as one text: the summary, the statements, then what is behind each."""
    out = [text_line(summary(rows), "strong"), (), *(row_line(row, width) for row in rows)]
    for row in rows:
        sign, style = SIGNS[row.verdict]
        head: Line = ((f"{row.statement.number}  ", "dim"), (clean(row.statement.text), "strong"))
        out += [(), crop((*head, (f"  {sign} {row.verdict}", style)), width)]
        out += [((" " * 2, ""), *line) for line in detail_lines(row, width - 2)]
    return out


def job_numbers(jobs: Sequence[int]) -> str:
    """Job numbers, runs of them by their ends: ``3..7 12``."""
    out: list[list[int]] = []
    for i in sorted(jobs):
        if out and i == out[-1][-1] + 1:
            out[-1].append(i)
        else:
            out.append([i])
    return " ".join(f"{run[0]}..{run[-1]}" if len(run) > 2 else " ".join(map(str, run)) for run in out)


def _wrapped(text: str, width: int, style: str, *, indent: int = 0) -> list[Line]:
    """``text`` on as many lines as it takes, those after the first two cells further in."""
    lines = wrap(clean(text), max(20, width - indent - 2))
    return [text_line(" " * (indent + (2 if i else 0)) + line, style) for i, line in enumerate(lines)]
