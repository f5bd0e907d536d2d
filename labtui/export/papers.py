"""kappa and N* as tables for papers: LaTeX (booktabs) and Markdown, what qualifies a number as a footnote."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labtui.analysis.kappa import Kappa
from labtui.text import clean
from labtui.views import numbers
from labtui.views.paper import job_numbers, tally
from runners.verdict import FLAGS
from store.rows import JobRow

if TYPE_CHECKING:
    from labtui.analysis.paper import Row
    from labtui.analysis.table import KappaTable

_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_",
    "%": r"\%", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$",
    "|": r"$|$", "[": "{[}", "]": "{]}", '"': "''", "≤": r"$\leq$", "≥": r"$\geq$",
    "≈": r"$\approx$", "∞": r"$\infty$", "κ": r"$\kappa$", "×": r"$\times$", "→": r"$\rightarrow$",
    "–": "--", "…": r"\dots{}", "*": r"$^{*}$", "∘": r"$\circ$",
    "“": "``", "”": "''", "‘": "`", "’": "'", "—": "---",
}  # fmt: skip
_LETTERS = set("ÆØßæøŁłŒœı")
_ACCENTS = set("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327")
_MARKDOWN = set("\\`*_{}[]<>#|~$&")


@dataclass
class PaperTable:
    """A table with a heading, rows and footnotes; cells are plain text."""

    title: str
    heads: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Footnotes, in the order of their marks."""
    right: tuple[int, ...] = ()
    """Columns of numbers, aligned on the right."""
    marks: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    """(row, column) -> the footnotes of that cell."""

    def note(self, text: str) -> int:
        """The number of a footnote; one that is there already is not written twice."""
        text = clean(text, limit=400)
        if text not in self.notes:
            self.notes.append(text)
        return self.notes.index(text)


def kappa_tables(pages: Iterable[KappaTable]) -> list[PaperTable]:
    """One table for each page of kappa, intervals and bounds in the cells."""
    found = []
    for page in pages:
        table = PaperTable(
            f"The sharing factor kappa{', ' if page.title else ''}{page.title}",
            [
                " / ".join("model" if a == "model_label" else a for a in page.row_axes),
                *(numbers.values(key) for key in page.columns),
            ],
        )
        for i, row in enumerate(page.rows):
            cells = [page.at(row, column) for column in page.columns]
            table.rows.append(
                [numbers.values(row), *(" / ".join(k.text() for k in ks) or numbers.NONE for ks in cells)]
            )
            for j, ks in enumerate(cells, 1):
                table.marks[i, j] = sorted({table.note(n) for k in ks for n in k.notes})
        _tell_intervals(table, [k for ks in page.cells.values() for k in ks])
        found.append(table)
    return found


def _tell_intervals(table: PaperTable, kappas: Sequence[Kappa]) -> None:
    kinds = {k.interval for k in kappas}
    if "resolution" in kinds:
        table.title += "; in brackets what one bisection each leaves open, scatter unknown"
    if kinds & {"credible", "mixed"}:
        table.title += "; in brackets 90 % intervals"


def nstar_table(jobs: Iterable[JobRow]) -> PaperTable:
    """N* of every search with its bracket, or its 90 % interval, and its flags as footnotes."""
    table = PaperTable(
        "N*, the smallest training set that works, in sequences; (lo, hi] is one bisection, scatter unknown",
        ["model", "task", "format", "lengths", "N*", "N* lies in", "N_max", "eps"],
        right=(4, 5, 6, 7),
    )
    for i, job in enumerate(jobs):
        table.rows.append(
            [
                clean(job.model_label),
                clean(job.task),
                clean(job.format),
                numbers.lengths(job.distribution, job.length, job.min_length),
                numbers.nstar_exact(job),
                numbers.known(job) or numbers.NONE,
                numbers.exact(job.n_max),
                numbers.rate(job.eps),
            ]
        )
        table.marks[i, 4] = [table.note(FLAGS[f]) for f in FLAGS if f in job.flags and f != "capped"]
        if job.state != "done":
            table.marks[i, 4].append(table.note(f"its search is {clean(job.state)}"))
    return table


def statement_table(rows: Iterable[Row]) -> PaperTable:
    """The paper's statements with their verdicts; the comparisons behind each as footnotes."""
    table = PaperTable("The paper, statement by statement", ["statement", "", "here", "comparisons"])
    for i, row in enumerate(rows):
        s = row.statement
        table.rows.append([s.number, s.text, row.verdict, tally(row.comparisons) or numbers.NONE])
        told = [
            f"{c.part}, {c.where}: {c.measured}; {c.word}{f' ({c.why})' if c.why else ''}; "
            f"jobs {job_numbers(c.jobs)}"
            for c in row.comparisons
        ]
        missing = [f"{part}: nothing here, or nothing at equal settings" for part in row.missing]
        table.marks[i, 3] = [table.note(note) for note in (*told, *missing)]
        if row.differences:
            table.marks[i, 2] = [table.note("reduced: " + ", ".join(row.differences))]
    return table


def latex(tables: Sequence[PaperTable]) -> str:
    """LaTeX with ``\\usepackage{booktabs}``; footnotes stand below each table."""
    out = ["% needs \\usepackage{booktabs}"]
    for table in tables:
        kinds = "".join("r" if i in table.right else "l" for i in range(len(table.heads)))
        out += [r"\begin{table}", r"  \centering", f"  \\caption{{{tex(table.title)}.}}"]
        out += [f"  \\begin{{tabular}}{{{kinds}}}", r"    \toprule"]
        out += [_tex_row(map(tex, table.heads)), r"    \midrule"]
        out += [_tex_row(row) for row in marked(table, tex, lambda m: f"\\textsuperscript{{{m}}}")]
        out += [r"    \bottomrule", r"  \end{tabular}"]
        if table.notes:
            out += ["", r"  \smallskip", r"  {\footnotesize\raggedright"]
            out += [
                f"  \\textsuperscript{{{letter(i)}}}~{tex(note)}.\\par" for i, note in enumerate(table.notes)
            ]
            out.append("  }")
        out += [r"\end{table}", ""]
    return "\n".join(out)


def markdown(tables: Sequence[PaperTable]) -> str:
    """GitHub's Markdown; footnotes stand below each table."""
    out = []
    for table in tables:
        out += [f"**{md(table.title)}**", "", _md_row(map(md, table.heads))]
        out.append(_md_row("---:" if i in table.right else "---" for i in range(len(table.heads))))
        out += [_md_row(row) for row in marked(table, md, lambda m: f"<sup>{m}</sup>")]
        out.append("")
        for i, note in enumerate(table.notes):
            out += [f"<sup>{letter(i)}</sup> {md(note)}", ""]
    return "\n".join(out)


def tex(text: str) -> str:
    """``text`` as LaTeX letters; what has no letter there becomes a question mark."""
    text = unicodedata.normalize("NFC", clean(text, limit=400))
    return "".join(_TEX.get(c) or (c if c.isascii() or _latin(c) else "?") for c in text)


def _latin(char: str) -> bool:
    """A letter that LaTeX has in its fonts of old (OT1) as in those of today (T1)."""
    letter, *accents = list(unicodedata.normalize("NFD", char))
    known = len(accents) == 1 and letter.isascii() and accents[0] in _ACCENTS and ord(char) < 0x180
    return known or char in _LETTERS


def md(text: str) -> str:
    """``text`` as Markdown letters: nothing in it is markup."""
    return "".join(f"\\{c}" if c in _MARKDOWN else c for c in clean(text, limit=400))


def marked(
    table: PaperTable, letters: Callable[[str], str], mark: Callable[[str], str]
) -> Iterable[list[str]]:
    """The rows with their cells as ``letters`` writes them, each with the marks of its footnotes."""
    for i, row in enumerate(table.rows):
        yield [
            letters(cell)
            + (mark(",".join(letter(n) for n in table.marks[i, j])) if table.marks.get((i, j)) else "")
            for j, cell in enumerate(row)
        ]


def letter(i: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    return (letter(i // 26 - 1) if i >= 26 else "") + chr(ord("a") + i % 26)


def _tex_row(cells: Iterable[str]) -> str:
    return "    " + " & ".join(cells) + r" \\"


def _md_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
