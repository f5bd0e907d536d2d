"""Which rows a command is asked for: a study, a filter, a limit."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from labtui.analysis.points import Point, numeric_axes, points, with_floors
from labtui.cli.arguments import did_you_mean
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.filters import parse
from labtui.views.scaling import AXES
from store.filters import Condition


def study_id(context: Context, reference: str | None) -> int | None:
    """A study's id from its id or name; of several with one name the newest."""
    if reference is None:
        return None
    studies = context.lab.studies()
    found = [s.id for s in studies if str(s.id) == reference] or [
        s.id for s in studies if s.name == reference
    ]
    if not found:
        known = ", ".join(s.name for s in studies[-8:]) or "none in this lab"
        near = did_you_mean(reference, [s.name for s in studies])
        raise BadInput(f"there is no study {reference!r}; expected an id or one of: {known}{near}")
    return found[-1]


def conditions(words: list[str], fields: frozenset[str]) -> tuple[Condition, ...]:
    """The filter language of the screens."""
    query = parse(" ".join(words), fields)
    if query.problem:
        raise BadInput(query.problem)
    if query.kappa:
        raise BadInput("kappa is no field of a job or trial; see labtui kappa")
    return query.where


def limited(ids: array[int], limit: int | None) -> array[int]:
    """The first ``limit`` of the ids; all of them where it is None."""
    if limit is not None and limit < 0:
        raise BadInput(f"--limit is {limit}; expected 0 or more")
    return ids if limit is None else ids[:limit]


def tell_limit(context: Context, ids: Sequence[int], limit: int | None) -> None:
    """Say how many rows there are where fewer are shown."""
    if limit is not None and len(ids) > limit:
        context.say(f"{limit} of {len(ids)} shown")


class Measured(NamedTuple):
    """The points of a lab, and how they are drawn."""

    points: tuple[Point, ...]
    x: str | None
    """The axis that was asked for; None: the one along which something varies."""
    kinds: dict[str, str]
    """The kind of model of each label."""


def measured_points(context: Context, study: int | None, x: str | None = None) -> Measured:
    """Read N* of every search of a study, or of the whole lab, the archive included.

    Args:
        x: L, m or n, or a numeric axis of programs: theirs alone then, which stand on it as others on L.

    Raises:
        BadInput: there is no such axis.
    """
    jobs = context.lab.jobs(context.lab.job_ids(study=study, archived=None))
    axes = context.lab.axes(job.id for job in jobs if job.program)
    names = numeric_axes(jobs, axes)
    own = x is not None and x in names and (x not in AXES or all(job.program for job in jobs))
    if x is not None and not own and x not in AXES:
        raise BadInput(
            f"no search has a number on the axis {x!r}; expected one of: {', '.join((*AXES, *names))}"
        )
    found = with_floors(points(jobs, axes, x if own else None), context.lab)
    return Measured(found, "L" if own else x, {job.model_label: job.model for job in jobs})
