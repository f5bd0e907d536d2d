"""The Kappa screen as text: who shares, who doesn't."""

from __future__ import annotations

from collections.abc import Sequence

from labtui.analysis.kappa import Kappa, Term, kappa
from labtui.analysis.table import AXES, KappaTable, tables, varying
from labtui.text import clean
from labtui.views import numbers
from labtui.views.grid import grid
from store.rows import CellRow, NStar

MARKS = {"shared": "▲", "separate": "●", "interference": "▼"}
LEGEND = (
    "▲ shared (kappa > 1)  ● one solution per length (about 1)  ▼ interference (kappa < 1)   "
    "[ , ]: what the brackets leave open   * see the notes"
)


def choose_axes(
    cells: Sequence[CellRow], rows: str | None, columns: str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(row axes, column axes): those asked for, else models against formats, else what varies.

    Raises:
        ValueError: an axis that does not exist.
    """
    chosen_rows = tuple(w.strip() for w in rows.split(",") if w.strip()) if rows else ()
    chosen_columns = tuple(w.strip() for w in columns.split(",") if w.strip()) if columns else ()
    for axis in chosen_rows + chosen_columns:
        if axis not in AXES:
            raise ValueError(f"the axis {axis!r} does not exist; expected one of {', '.join(AXES)}")
    free = [a for a in varying([c for c in cells if c.parts]) if a not in chosen_rows + chosen_columns]
    model = "model_label" if "model_label" in free else "model"
    if not chosen_rows:
        first = [a for a in (model, "m", "task", "L") if a in free] or [
            a for a in ("model_label",) if a not in chosen_columns
        ]
        chosen_rows = (first[0],) if first else ("task",)
    free = [
        a
        for a in free
        if a not in chosen_rows and not (a in ("model", "model_label") and "model" in chosen_rows[0])
    ]
    if not chosen_columns:
        second = [a for a in ("format", "L", "m", "task", "distribution", "min_length") if a in free]
        second = second or [a for a in ("format", "L") if a not in chosen_rows]
        chosen_columns = (second[0],)
    return chosen_rows, chosen_columns


def kappa_lines(
    cells: Sequence[CellRow], rows: str | None = None, columns: str | None = None, *, details: bool = False
) -> list[str]:
    """The tables, a legend, the notes that qualify a cell, and with ``details`` every N*_n."""
    with_sum = [c for c in cells if c.parts]
    if not with_sum:
        return ["no kappa here: the study has no cell with a sum over lengths"]
    row_axes, column_axes = choose_axes(with_sum, rows, columns)
    lines: list[str] = []
    for page in tables(with_sum, row_axes, column_axes):
        lines += [*_heading(with_sum, page), *page_lines(page), ""]
    lines.append(LEGEND)
    lines += _notes([kappa(c) for c in with_sum])
    if details:
        for cell in with_sum:
            lines += ["", *cell_lines(kappa(cell))]
    return lines


def _heading(cells: Sequence[CellRow], page: KappaTable) -> list[str]:
    """What all cells of a page have in common."""
    told = {*page.row_axes, *page.column_axes, *page.fixed}
    common = [f"{axis} {getattr(cells[0], axis)}" for axis in AXES if axis not in told and _same(cells, axis)]
    common = [
        word for word in common if not word.startswith(("m ", "model ")) or word.startswith("model_label")
    ]
    words = [f"{axis} {'-' if value is None else value}" for axis, value in page.fixed.items()]
    return [clean("kappa, " + ", ".join([*words, *common]))]


def _same(cells: Sequence[CellRow], axis: str) -> bool:
    return len({getattr(c, axis) for c in cells}) == 1


def page_lines(page: KappaTable) -> list[str]:
    """One table."""
    heads = [" / ".join(page.row_axes), *(" ".join(map(str, key)) for key in page.columns)]
    body = [
        [" ".join(map(str, row)), *(entry(page.at(row, column)) for column in page.columns)]
        for row in page.rows
    ]
    return grid([clean(h) for h in heads], body)


def entry(kappas: Sequence[Kappa]) -> str:
    """One place of the table: mark, kappa, interval, ``*`` where a note belongs to it."""
    texts = []
    for k in kappas:
        mark = MARKS.get(k.regime or "", "")
        star = "*" if k.notes else ""
        texts.append(f"{mark} {k.text()}{star}".strip())
    return " / ".join(texts)


def _notes(kappas: Sequence[Kappa]) -> list[str]:
    """Each note once, with the cells it qualifies."""
    found: dict[str, list[str]] = {}
    for k in kappas:
        for note in k.notes:
            found.setdefault(note, []).append(name(k.cell))
    return [
        clean(f"* {note}: {'; '.join(cells[:6])}{' ...' if len(cells) > 6 else ''}", limit=400)
        for note, cells in found.items()
    ]


def name(cell: CellRow) -> str:
    """``Z3 acot 2..7 dense_ssm 16``."""
    tail = " s2l" if cell.distribution == "short_to_long" else ""
    return f"{cell.task} {cell.format} {cell.min_length}..{cell.L}{tail} {cell.model_label}"


def cell_lines(k: Kappa) -> list[str]:
    """The drill-down: every N*_n, their sum, N*_joint."""
    heads = ["n", "N*_n", "bracket", "N_max", "state", "job", "flags"]
    rows = [[t.n, *_row(t)] for t in k.terms]
    rows.append(["joint", *_row(k.cell.joint)])
    head = f"cell {k.cell.id}: {name(k.cell)}, kappa {k.text()}"
    if k.cell.joint.generalisation is not None:
        head += f", accuracy at 2L {k.cell.joint.generalisation:.2f}"
    return [clean(head), *grid(heads, rows, right="N*_n N_max job")]


def _row(part: NStar | Term) -> list[object]:
    return [
        numbers.nstar(part),
        numbers.left_open(part).removeprefix("in "),
        numbers.exact(part.n_max),
        part.state,
        part.job_id,
        " ".join(part.flags),
    ]


def terms_lines(k: Kappa, width: int = 96) -> list[str]:
    """N*_n of every length as bars on a log axis, N*_joint below."""
    from math import log

    parts: list[tuple[str, NStar | Term]] = [(str(t.n), t) for t in k.terms]
    parts.append(("joint", k.cell.joint))
    top = max([2, *(p.hi or p.n_max for _, p in parts)])
    room = max(10, width - 26)
    lines = []
    for head, part in parts:
        value = part.hi if part.status == "bracket" else part.n_max if part.status == "censored" else None
        size = round(room * log(value + 1) / log(top + 1)) if value else 0
        bar = "█" * size + ("→" if part.status == "censored" else "")
        lines.append(f"{head:>6} {numbers.nstar(part):>8}  {bar}")
    return [clean(f"{name(k.cell)}: kappa {k.text()}"), *lines]
