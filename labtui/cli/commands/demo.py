"""``labtui demo``: the preset quick by real training;
the screen where there is a terminal, else lines, then the tables.

The screens where there is a terminal, else progress lines and then the tables. On a lab that is done: the
tables at once.
"""

from __future__ import annotations

from labtui.analysis.kappa import kappa
from labtui.cli import supervise, writing
from labtui.cli.arguments import Parser, add_devices
from labtui.cli.commands.kappa import kappa_text
from labtui.cli.commands.plot import scaling_text
from labtui.cli.commands.screen import on_terminal, show
from labtui.cli.commands.submit import queue
from labtui.cli.context import Context
from labtui.cli.follow import Follower
from runners.spec import load

PRESET = "quick"


def arguments(parser: Parser) -> None:
    """Take the devices."""
    add_devices(parser)
    parser.runs(run, writes=True)


def run(context: Context) -> int:
    """Queue the study, see that a supervisor runs, show it.

    A second demo on a finished lab shows the tables at once.
    """
    path = context.lab_path
    study = load(PRESET)
    hashes = {job.hash for job in study.jobs()}  # type: ignore[union-attr]
    finished = False
    if path.exists():
        states = {row.hash: row.state for row in context.lab.jobs() if row.hash in hashes}
        finished = set(states) == hashes and set(states.values()) == {"done"}
    code = 0
    if not finished:
        writing.require_torch()
        supervise.options(context)
        context.say(f"{PRESET}: {len(hashes)} searches for N*, by real training, into {path}")
        silent, context.args.json = context.args.json, False
        ids = queue(context, study)
        context.args.json = silent
        context.close()
        supervise.start(context)
        if on_terminal() and not context.json:
            return show(context, study=_study_id(context))
        code = Follower(context, ids, lambda: supervise.alive(path)).run()
    elif on_terminal() and not context.json and not context.args.plain:
        return show(context, screen="kappa", study=_study_id(context))
    study_id = _study_id(context)
    if context.json:
        context.emit([kappa(cell).to_dict() for cell in context.lab.cells(study_id)])
    else:
        context.lines(kappa_text(context, study_id))
        context.line()
        context.lines(scaling_text(context, study_id))
    return code


def _study_id(context: Context) -> int | None:
    found = [s.id for s in context.lab.studies() if s.name == PRESET]
    return found[-1] if found else None
