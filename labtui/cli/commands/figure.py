"""``labtui figure``: a figure for a paper, as PDF, SVG or PNG, and what it shows as CSV.

Fonts are embedded; ``--data`` writes what was drawn. Needs matplotlib: the extra ``figures``. Each kind is in
the gallery (docs/gallery.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from labtui.analysis.fits import fit_all
from labtui.analysis.kappa import kappa
from labtui.analysis.scan import success_curve
from labtui.cli.arguments import STUDY, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput, WorkFailed
from labtui.cli.new_file import into, require_new
from labtui.cli.output import write_csv
from labtui.cli.selection import measured_points, study_id
from labtui.cli.waiting import waiting
from labtui.export import figures
from labtui.views.bracket import Endings

if TYPE_CHECKING:
    from store.rows import JobRow

KINDS = ("kappa", "scaling", "bracket", "curves", "scan")
OF_A_JOB = KINDS[2:]


def arguments(parser: Parser) -> None:
    """Take what to draw, where to, and how it looks."""
    parser.add_argument("what", choices=KINDS, metavar="WHAT", help=", ".join(KINDS))
    parser.add_argument("out", metavar="OUT", help="a new .pdf, .svg or .png file")
    parser.add_argument("--study", **STUDY)
    parser.add_argument("--job", metavar="JOB", help="of bracket, curves and scan")
    parser.add_argument(
        "--x", metavar="AXIS", help="of scaling: L, m, n or a program's axis (else what varies)"
    )
    parser.add_argument("--n", type=int, metavar="N", help="the candidate of curves (else N*)")
    parser.add_argument(
        "--width", type=float, default=figures.COLUMN, metavar="IN", help="3.25 or 6.75 inches"
    )
    looks = parser.add_mutually_exclusive_group()
    looks.add_argument("--light", action="store_true", help="dark letters on white (the default)")
    looks.add_argument("--dark", action="store_true", help="light letters on a dark ground")
    parser.add_argument("--data", metavar="FILE", help="write what was drawn, as CSV")
    parser.runs(run, example="kappa kappa.pdf --data kappa.csv")


def run(context: Context) -> None:
    """Draw it into a new file."""
    args = context.args
    kind = Path(args.out).suffix.lower().removeprefix(".")
    if kind not in figures.FORMATS:
        raise BadInput(f"{args.out} has no ending of a figure; expected .pdf, .svg or .png")
    if not 1 <= args.width <= 40:
        raise BadInput(f"--width is {args.width:g}; expected 1 to 40 inches")
    if (args.job is None) == (args.what in OF_A_JOB):
        expected = "one with --job JOB" if args.job is None else "no --job: it shows a study"
        raise BadInput(
            f"{args.what} shows {'one search' if args.job is None else 'many'}; expected {expected}"
        )
    for name in ("out", "data"):
        if getattr(args, name) is not None:
            require_new(Path(getattr(args, name)))
    if args.data is not None and Path(args.data).absolute() == Path(args.out).absolute():
        raise BadInput(f"--data {args.data} is the figure itself; expected another file")
    if figures.missing():
        raise WorkFailed(figures.missing())
    with waiting(context, "drawing"):
        found = picture(context, figures.Look(args.width, args.dark))

        def draw(path: Path) -> None:
            found.save(str(path), kind)
            if args.data is not None:  # both are there, or none
                into(Path(args.data), lambda data: _write_data(found, data))

        into(Path(args.out), draw)
    context.say(f"wrote {args.out}")
    if args.data is not None:
        context.say(f"wrote {args.data}")


def picture(context: Context, look: figures.Look) -> figures.Picture:
    """The figure that was asked for."""
    args = context.args
    if args.what in OF_A_JOB:
        return _of_a_job(context, context.job(args.job), look)
    study = study_id(context, args.study)
    if args.what == "kappa":
        return figures.kappa_figure([kappa(cell) for cell in context.lab.cells(study)], look)
    found = measured_points(context, study, args.x)
    return figures.scaling_figure(found.points, fit_all(found.points), look, found.x)


def _of_a_job(context: Context, job: JobRow, look: figures.Look) -> figures.Picture:
    probes = context.lab.probes(job.id)
    if context.args.what == "bracket":
        return figures.bracket_figure(job, probes, look, Endings.of(context.lab.trials(job.id)))
    if context.args.what == "scan":
        found = success_curve(probes)
        if not found.points:
            raise BadInput(f"job {job.id} has no success curve: {found.reason or 'no candidate has ended'}")
        return figures.scan_figure(job, found, look)
    wanted = context.args.n if context.args.n is not None else job.hi
    chosen = [p for p in probes if p.n == wanted] or (probes[-1:] if context.args.n is None else [])
    if not chosen:
        known = ", ".join(str(n) for n in sorted({p.n for p in probes})) or "none yet"
        raise BadInput(f"job {job.id} has no candidate N = {wanted}; expected one of: {known}")
    trials = {t.id: t for t in context.lab.trials(probe_id=chosen[-1].id)}
    curves = context.lab.curves(chosen[-1].id)
    drawn = [(trials[i], curve) for i, curve in curves.items() if i in trials]
    return figures.curves_figure(job, chosen[-1].n, drawn, look)


def _write_data(found: figures.Picture, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        write_csv(found.rows, file, found.columns)
