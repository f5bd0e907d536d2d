"""What happened, in words: the same on the Events screen, beside a job and in ``labtui events``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from labtui.text import clean
from labtui.views import numbers as figures
from labtui.views.lines import Line, Span, plain
from labtui.views.signs import STATE_SIGN, state_style
from store.rows import EventRow, JobRow

LEVELS = {"info": "dim", "warning": "warn", "error": "bad"}
SIGNS = {"info": (" ", "dim"), "warning": ("!", "warn"), "error": ("✗", "bad")}
_CHANGE = re.compile(r"^(?P<name>.*): \w+ to \w+\b(?P<rest>.*)$", re.DOTALL)
_N = re.compile(r"\bN = (\d+)")
_WORDS = {
    "supervisor.started": "supervisor started",
    "supervisor.stopped": "supervisor stopped",
    "command.refused": "refused",
    "device.lost": "device lost",
}


def kind_of(event: EventRow) -> str:
    """What happened, in a word or two: ``done``, ``supervisor started``, ``study submitted``."""
    return _WORDS.get(event.kind) or clean(event.kind.removeprefix("job.")).replace(".", " ")


def level_sign(event: EventRow) -> Span:
    """Give the sign of a warning or an error; a blank where the state's own sign says the same."""
    subject, _, state = event.kind.partition(".")
    sign, style = SIGNS.get(event.level, SIGNS["info"])
    return (" ", "dim") if subject == "job" and STATE_SIGN.get(state) == sign else (sign, style)


def words(event: EventRow) -> str:
    """The text of an event as a person reads it, numbers of sequences with their thousands apart."""
    return _N.sub(lambda found: f"N = {int(found[1]):,}", clean(event.text or event.kind))


def what(event: EventRow, job: JobRow | None = None, *, named: bool = True) -> Line:
    """Sign and words: ``✓ done  N* 1,118  transformer 2x32 Z3 outcome 6..7  took 64s``.

    Args:
        event: what happened.
        job: the job that it belongs to, where it is known: gives its label and what came out of it.
        named: tell which job; False beside the job itself.
    """
    subject, _, state = event.kind.partition(".")
    if subject != "job" or state not in STATE_SIGN:
        told, style = words(event), LEVELS.get(event.level, "")
        if event.kind in _WORDS and not told.startswith(_WORDS[event.kind]):
            told = f"{_WORDS[event.kind]}: {told}"
        return ((f"  {told}", "" if style == "dim" else style),)
    found = _CHANGE.match(clean(event.text))
    name = figures.name(job) if job is not None else found["name"] if found else words(event)
    rest = found["rest"].strip() if found else ""
    spans: list[Span] = [(f"{STATE_SIGN[state]} {state}", state_style(state))]
    ended = state == "done" and job is not None and job.state == "done"
    if ended and job is not None:
        spans.append((f"  N* {figures.nstar_exact(job)}", "strong"))
        spans += [("!", "warn")] if "fails_above" in job.flags else []
    if named:
        spans.append((f"  {name}", ""))
    if ended and job is not None:
        spans.append((f"  took {figures.duration(job.wall_s)}" if job.wall_s else "", "dim"))
    elif state == "failed" and job is not None and job.state == "failed":
        used_up = f", crash {job.crashes} of {job.max_attempts}" if job.crashes >= job.max_attempts else ""
        spans.append((f"{used_up}: {figures.why(job)}", "bad"))
    elif rest:
        spans.append((f"  {rest.removeprefix('(').removesuffix(')')}", LEVELS.get(event.level, "dim")))
    return tuple(spans)


def event_lines(events: Sequence[EventRow], job: JobRow) -> list[Line]:
    """The events of one job beside it, oldest first."""
    return [((f" {figures.clock(e.at)}  ", "dim"), *what(e, job, named=False)) for e in events]


def event_text(events: Sequence[EventRow], jobs: Iterable[JobRow]) -> list[str]:
    """Write events as lines of text, in the words and signs of the screen: ``2026-02-01 12:00:03  7  job 12
    ✓ done  N* 312  lstm 32 Z3 acot n=5  took 64s``.

    Args:
        events: in order.
        jobs: theirs as they are now.
    """
    known = {job.id: job for job in jobs}
    lines = []
    for event in events:
        job = f"job {event.job_id}" if event.job_id is not None else ""
        told = plain(what(event, known.get(event.job_id or 0)))
        sign, _ = level_sign(event)
        lines.append(f"{figures.when(event.at)}  {event.id:>6}  {job:<9} {sign} {told}".rstrip())
    return lines
