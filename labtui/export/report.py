"""One page of HTML about a lab or a study that needs nothing else: no network, no script, no font.

Texts of the lab are letters. The figures are inline SVG; readable on a phone and on paper.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from labtui.analysis.fits import fit_all
from labtui.analysis.kappa import kappa
from labtui.analysis.paper import Row, compare_paper
from labtui.analysis.points import Point, points
from labtui.analysis.stored import measured
from labtui.analysis.table import tables
from labtui.export import figures, papers
from labtui.text import clean
from labtui.views import numbers
from labtui.views.kappa import choose_axes
from labtui.views.paper import summary
from store.errors import LabError
from store.json import mapping

if TYPE_CHECKING:
    from store.read import Lab
    from store.rows import CellRow, JobRow, StudyRow

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #2b333b; background: #fff; margin: 0 auto;
  max-width: 60rem; padding: 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2rem; border-bottom: 1px solid #d5d9dc; }
.wide, figure { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.875rem; }
th, td { text-align: left; padding: 0.25rem 0.75rem 0.25rem 0; vertical-align: top; white-space: nowrap; }
thead th { border-bottom: 1px solid #636e78; }
tbody tr:nth-child(even) { background: #f4f5f4; }
td.text { white-space: normal; min-width: 14rem; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; font-size: 0.875rem; }
dd { margin: 0; overflow-wrap: anywhere; }
dt { color: #515c66; }
figure { margin: 1rem 0; }
svg { width: 100%; min-width: 36rem; height: auto; }
figcaption, .note { font-size: 0.8125rem; color: #515c66; }
@media print { body { max-width: none; font-size: 10pt; padding: 0; } .wide, figure { overflow: visible; }
  h2 { break-after: avoid; } figure, tr { break-inside: avoid; } table { font-size: 8pt; }
  th, td { white-space: normal; } td.text, svg { min-width: 0; } }
"""
LONG = 32
"""Characters of a cell that may be broken into lines."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def report(lab: Lab, study: StudyRow | None, version: str) -> str:
    """The page of one study, or of the whole lab.

    Args:
        version: labtui's own.
    """
    with lab.consistent():
        cells, specs, tested = measured(lab, study.id if study else None)
        jobs = lab.jobs(lab.job_ids(order="id", study=study.id if study else None, archived=None))
        axes = lab.axes(job.id for job in jobs if job.program)
        settings = _settings(lab, jobs)
        origin = _provenance(lab, jobs)
    title = study.name if study else "a lab"
    body = [
        f"<h1>{_letters(title)}</h1>",
        *_about(study, jobs),
        *_kappa(cells),
        *_plots(cells, points(jobs, axes)),
    ]
    body += _paper(compare_paper(cells, specs, tested))
    body += ["<h2>N*</h2>", _table(papers.nstar_table(jobs))]
    body += ["<h2>Settings</h2>", _facts(settings), "<h2>Provenance</h2>", _facts(origin)]
    body.append(f'<p class="note">Made by labtui {_letters(version)}.</p>')
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{_letters(title)}: N* and kappa</title><style>{STYLE}</style>"
    )
    inside = "\n".join(body)
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{inside}\n</body>\n</html>\n'


def _letters(text: object) -> str:
    return escape(clean(str(text)))


def _about(study: StudyRow | None, jobs: Sequence[JobRow]) -> list[str]:
    states: dict[str, int] = {}
    for job in jobs:
        states[job.state] = states.get(job.state, 0) + 1
    facts: list[tuple[str, object]] = [("searches", ", ".join(f"{n} {s}" for s, n in sorted(states.items())))]
    if study is not None:
        facts += [("submitted", numbers.date(study.created_at)), ("tags", ", ".join(study.tags) or "none")]
    ends = [job.finished_at for job in jobs if job.finished_at is not None]
    if ends:
        facts.append(("last result", numbers.date(max(ends))))
    notes = [f"<p>{_letters(study.notes)}</p>"] if study is not None and study.notes else []
    return [*notes, _facts(facts)]


def _kappa(cells: Sequence[CellRow]) -> list[str]:
    with_sum = [c for c in cells if c.parts]
    if not with_sum:
        return []
    pages = papers.kappa_tables(tables(with_sum, *choose_axes(with_sum, None, None)))
    told = "kappa = (sum of N*_n over n) / N*_joint. Above 1: learning is shared between lengths; about 1 "
    told += "(0.8 to 1.25): one solution per length; below 1: the lengths interfere."
    return ["<h2>Sharing factor</h2>", f"<p>{escape(told)}</p>", *map(_table, pages)]


def _plots(cells: Sequence[CellRow], measured: Sequence[Point]) -> list[str]:
    """kappa and scaling as inline SVG; without matplotlib the reason why there are none."""
    if figures.missing():
        return [f'<p class="note">No plots: {escape(figures.missing())}</p>']
    look = figures.Look(figures.PAGE)
    found = [("The sharing factor of every cell", figures.kappa_figure([kappa(c) for c in cells], look))]
    law = "N* with its laws; a band holds 90 % of single N* about the law"
    found.append((law, figures.scaling_figure(measured, fit_all(measured), look)))
    out = ["<h2>Plots</h2>"]
    for i, (caption, picture) in enumerate(found):
        if picture.rows:
            out.append(
                f"<figure>{_svg(picture, i, caption)}<figcaption>{escape(caption)}.</figcaption></figure>"
            )
    return out if len(out) > 1 else []


def _paper(rows: Sequence[Row]) -> list[str]:
    """The paper's statements, where the cells say anything of one."""
    if not any(row.comparisons for row in rows):
        return []
    return ["<h2>The paper</h2>", f"<p>{_letters(summary(rows))}.</p>", _table(papers.statement_table(rows))]


def _svg(picture: figures.Picture, number: int, caption: str) -> str:
    """A picture as an SVG element whose ids are its own."""
    file = io.BytesIO()
    picture.save(file, "svg")
    text = file.getvalue().decode("utf-8")
    text = text[text.index("<svg") :].rstrip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\bid="', f'id="f{number}-', text)
    text = re.sub(r'xlink:href="#', f'xlink:href="#f{number}-', text)
    text = re.sub(r"url\(#", f"url(#f{number}-", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)


def _table(table: papers.PaperTable) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        kinds = (
            "number" if i in table.right else "text" if len(cell) > LONG else ""
            for i, cell in enumerate(cells)
        )
        inside = (
            f'<{tag} class="{kind}">{cell}</{tag}>' if kind else f"<{tag}>{cell}</{tag}>"
            for kind, cell in zip(kinds, cells, strict=True)
        )
        return f"<tr>{''.join(inside)}</tr>"

    body = [row(cells, "td") for cells in papers.marked(table, _letters, lambda m: f"<sup>{m}</sup>")]
    notes = "".join(
        f'<p class="note"><sup>{papers.letter(i)}</sup> {_letters(note)}</p>'
        for i, note in enumerate(table.notes)
    )
    title, heads = _letters(table.title), row(list(map(_letters, table.heads)), "th")
    # Not a caption: that is as wide as the table, which a phone has to scroll.
    inside = f'<table aria-label="{title}"><thead>{heads}</thead><tbody>{"".join(body)}</tbody></table>'
    return f'<p class="note">{title}.</p><div class="wide">{inside}</div>{notes}'


def _facts(facts: Iterable[tuple[str, object]]) -> str:
    return "<dl>" + "".join(f"<dt>{_letters(k)}</dt><dd>{_letters(v)}</dd>" for k, v in facts) + "</dl>"


def _settings(lab: Lab, jobs: Sequence[JobRow]) -> list[tuple[str, object]]:
    """What the specs say, each key with the values that occur."""
    found: dict[str, dict[str, None]] = {}
    for job in jobs:
        try:
            spec = mapping(lab.job_spec(job.id))
        except LabError:
            continue
        for part in ("model", "lengths", "grid", "training", "search"):
            inner = spec.get(part)
            for key, value in inner.items() if isinstance(inner, dict) else ():
                found.setdefault(f"{part}.{key}", {})[json.dumps(value)[:200]] = None
    return [(key, _some(values)) for key, values in found.items()]


def _provenance(lab: Lab, jobs: Sequence[JobRow]) -> list[tuple[str, object]]:
    """Versions, devices and commits that the searches ran with, each with the values that occur."""
    found: dict[str, dict[str, None]] = {"lab id": {}}
    for job in jobs:
        for key, value in _flat(lab.provenance(job.id)):
            found.setdefault(key, {})[str(value)[:200]] = None
    return [(key, _some(values)) for key, values in found.items() if values]


def _flat(values: dict[str, Any], before: str = "") -> Iterable[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _some(values: Iterable[str]) -> str:
    listed = list(values)
    return "; ".join(listed[:8]) + (f"; and {len(listed) - 8} more" if len(listed) > 8 else "")
