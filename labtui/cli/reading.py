"""Commands that read rows: queue, jobs, studies, trials, events."""

from __future__ import annotations

import time
from array import array

from labtui.cli.context import Context
from labtui.cli.entry import BadInput
from labtui.cli.rows import pages, plain
from store.filters import JOB_FIELDS, TRIAL_FIELDS, Condition
from store.json import document


def study_of(context: Context, reference: str | None) -> int | None:
    """A study's id from its id or name; of several with one name the newest."""
    if reference is None:
        return None
    studies = context.lab.studies()
    found = [s.id for s in studies if str(s.id) == reference] or [
        s.id for s in studies if s.name == reference
    ]
    if not found:
        known = ", ".join(s.name for s in studies[-8:]) or "none in this lab"
        raise BadInput(f"there is no study {reference!r}; expected an id or one of: {known}")
    return found[-1]


def conditions(words: list[str], fields: frozenset[str]) -> tuple[Condition, ...]:
    """The filter language of the screens."""
    from labtui.filters import parse

    query = parse(" ".join(words), fields)
    if query.problem:
        raise BadInput(query.problem)
    if query.kappa:
        raise BadInput("kappa is no field of a job or trial; see labtui kappa")
    return query.where


def _limited(ids: array[int], limit: int | None) -> array[int]:
    if limit is not None and limit < 0:
        raise BadInput(f"--limit is {limit}; expected 0 or more")
    return ids if limit is None else ids[:limit]


def _cut(context: Context, ids: array[int], limit: int | None) -> None:
    if limit is not None and len(ids) > limit:
        context.say(f"{limit} of {len(ids)} shown")


def queue(context: Context) -> None:
    """Running, next, recently finished; devices; the supervisor."""
    from labtui.analysis.eta import measured
    from labtui.views import queue as text

    lab, study = context.lab, study_of(context, context.args.study)
    live = lab.job_ids([Condition("state", "=", ("running", "queued", "paused"))], study=study)
    ended = lab.job_ids(
        [Condition("state", "=", ("done", "failed", "cancelled"))], order="-finished", study=study
    )
    limit = 20 if context.args.limit is None else context.args.limit
    shown, recent = lab.jobs(_limited(live, limit)), lab.jobs(_limited(ended, min(limit, 10)))
    studies = [s for s in lab.studies() if not s.archived and (study is None or s.id == study)]
    if context.json:
        context.emit(
            {
                "counts": lab.counts(),
                "supervisor": lab.supervisor(),
                "holding": lab.holding(),
                "devices": lab.devices(),
                "studies": studies,
                "live": lab.jobs(live),
            }
        )
        return
    context.line(f"{context.lab_path}: {text.count_line(lab.counts())}")
    context.line(text.supervisor_line(lab.supervisor(), lab.holding()))
    if lab.devices():
        context.lines(["", *text.device_lines(lab.devices())])
    if studies:
        context.lines(["", *text.study_lines(studies[-10:])])
    if shown:
        pace, row = measured(recent), lab.supervisor()
        alive = row is not None and row.alive
        context.lines(["", *text.job_lines(shown, pace=pace, supervised=alive)])
        _cut(context, live, limit)
    if recent:
        context.lines(["", *text.job_lines(recent, ended=True)])
        _cut(context, ended, min(limit, 10))
    if not shown and not recent:
        context.line("nothing is queued; begin with: labtui submit quick --start")


def jobs(context: Context) -> None:
    """All jobs that a filter leaves."""
    args = context.args
    where = conditions(args.filter, frozenset(JOB_FIELDS))
    study = study_of(context, args.study)
    ids = context.lab.job_ids(where, order=args.order, study=study, archived=bool(args.archived))
    rows = pages(context.lab.jobs, _limited(ids, args.limit))
    if context.json:
        context.emit(rows)
        return
    from labtui.views.queue import job_lines

    row = context.lab.supervisor()
    context.lines(job_lines(list(rows), supervised=row is not None and row.alive))
    _cut(context, ids, args.limit)


def studies(context: Context) -> None:
    """All studies."""
    rows = context.lab.studies()
    if context.json:
        context.emit([plain(s) | {"spec": document(s.spec)} for s in rows])
        return
    from labtui.views.queue import study_lines

    context.lines(study_lines(rows))


def trials(context: Context) -> None:
    """Trials of a job, or of all that a filter leaves."""
    args = context.args
    words = list(args.filter)
    where: tuple[Condition, ...] = ()
    if args.job is not None and (any(c in args.job for c in ":=<>~") or not _is_reference(args.job)):
        words.insert(0, args.job)
    elif args.job is not None:
        where = (Condition("job", "=", context.job(args.job).id),)
    where += conditions(words, frozenset(TRIAL_FIELDS))
    ids = context.lab.trial_ids(where, order=args.order, study=study_of(context, args.study))
    rows = pages(context.lab.trials_by_id, _limited(ids, args.limit))
    if context.json:
        context.emit(
            (vars(row) | {"curve": context.lab.curve(row.id)} for row in rows) if args.curves else rows
        )
        return
    from labtui.views.job import trial_lines

    context.lines(trial_lines(list(rows)))
    _cut(context, ids, args.limit)


def _is_reference(word: str) -> bool:
    return word.isdecimal() or (len(word) >= 4 and all(c in "0123456789abcdef" for c in word.lower()))


def events(context: Context) -> None:
    """What happened, newest last; with --follow until interrupted."""
    from labtui.views.events import event_line

    args = context.args
    job = context.job(args.job).id if args.job else None
    last = args.after
    rows = context.lab.events(after=last, job_id=job, limit=args.limit)
    if context.json and not args.follow:
        context.emit([plain(e) | {"data": document(e.data)} for e in rows])
        return
    while True:
        for event in rows:
            context.line(event_line(event))
        context.out.flush()
        if not args.follow:
            return
        last = max([last, *(e.id for e in rows)])
        version = context.lab.data_version()
        while context.lab.data_version() == version:
            time.sleep(0.2)
        rows = context.lab.events(after=last, job_id=job, limit=10_000)
