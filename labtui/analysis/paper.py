"""The paper, statement by statement: what a lab's cells confirm, contradict or leave open.

A statement has parts, and a part comparisons: one for each place (task, lengths, size of model, settings)
where the lab has what it needs. A comparison holds or does not hold only where 90 % intervals decide it. One
that does not hold contradicts its statement; where none does and every part has one that holds it is
confirmed.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from labtui.analysis import intervals
from labtui.analysis.fits import Refusal, fit
from labtui.analysis.intervals import Interval
from labtui.analysis.kappa import ABOUT_ONE, Kappa, kappa
from labtui.analysis.length import rank_correlation
from labtui.analysis.points import Point, Series
from labtui.analysis.published import FORMATS, RECURRENT, SOURCE, STATEMENTS, TRANSFORMER, Statement
from labtui.analysis.settings import differences
from labtui.text import spelled
from labtui.views import numbers
from runners.spec import Job
from runners.verdict import diverged
from store.rows import CellRow, NStar

Verdict = Literal["confirmed", "contradicted", "open", "not measured"]
VERDICTS: tuple[Verdict, ...] = ("confirmed", "contradicted", "open", "not measured")
Settings = Literal["paper", "reduced", "unknown"]

MUCH = 2.0
"""kappa is ">> 1" from here, and "<< 1" below its inverse."""
GENERALISES, FAILS = 0.8, 0.2
"""An accuracy at 2L (chance at 0) is "about 1.00" from the one, and none at all up to the other."""
TEST_SEQUENCES = 2_000
"""Of the test at 2L (docs/science.md, Length generalisation)."""
SIGNIFICANT = 0.10
"""Of the rank correlation's p, two-sided."""
LEAST_LENGTHS = 3
"""Values of L that an exponent needs."""
_HOW = (
    "strategy", "n_max", "multiplier", "max_candidates", "rtol", "stop_rule", "relative_width", "seed_budget",
    "ladder",
)  # fmt: skip
"""How N* is searched: what two searches that are compared may have otherwise."""


@dataclass(frozen=True)
class Comparison:
    """One place where the lab can hold a part of a statement against the paper."""

    part: str
    where: str
    """``lstm 32 Z3 6..8``."""
    measured: str
    holds: bool | None
    """None: the intervals do not decide."""
    why: str
    """Of one that is undecided."""
    jobs: tuple[int, ...]
    """The searches behind it."""

    @property
    def word(self) -> str:
        return "undecided" if self.holds is None else "holds" if self.holds else "does not hold"

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        told = {"part": self.part, "where": self.where, "measured": self.measured, "why": self.why}
        return {k: spelled(v) for k, v in told.items()} | {"holds": self.holds, "jobs": list(self.jobs)}


@dataclass(frozen=True)
class Row:
    """One statement beside what the lab holds."""

    statement: Statement
    verdict: Verdict
    comparisons: tuple[Comparison, ...]
    missing: tuple[str, ...]
    """Parts of the statement for which the lab has nothing, or nothing at equal settings."""
    settings: Settings
    differences: tuple[str, ...]
    """What is not as in the paper, with every value that occurs."""

    @property
    def jobs(self) -> tuple[int, ...]:
        return tuple(sorted({i for c in self.comparisons for i in c.jobs}))

    def to_dict(self) -> dict[str, Any]:
        """JSON form; what is published stands under ``published`` alone."""
        s = self.statement
        return {
            "published": {"number": s.number, "text": s.text, "told": s.told, "source": SOURCE},
            "rule": s.rule,
            "verdict": self.verdict,
            "comparisons": [c.to_dict() for c in self.comparisons],
            "missing": [spelled(m) for m in self.missing],
            "settings": self.settings,
            "differences": list(self.differences),
            "jobs": list(self.jobs),
        }


class Found(NamedTuple):
    """One N* with what it is of."""

    task: str
    m: int | None
    model: str
    label: str
    format: str
    distribution: str
    low: int
    L: int
    part: NStar
    job: Job | None


class Findings:
    """Every N* and kappa of a lab that the statements can be held against."""

    def __init__(
        self,
        cells: Sequence[CellRow],
        specs: Mapping[int, Job],
        accuracies: Mapping[int, tuple[float, ...]],
    ) -> None:
        self.specs = specs
        self.accuracies = accuracies
        known = [c for c in cells if states(c) >= 2]
        self.cells = [c for c in known if c.model in (TRANSFORMER, *RECURRENT) and c.format in FORMATS]

    @cached_property
    def found(self) -> tuple[Found, ...]:
        """Each job's N* that is in, once: of every cell's own task, and of each single length in a sum."""
        out: dict[int, Found] = {}
        for c in self.cells:
            axes = (c.task, c.m, c.model, c.model_label, c.format)
            low = c.L if c.distribution == "fixed" else c.min_length
            own = Found(*axes, c.distribution, low, c.L, c.joint, self.specs.get(c.joint.job_id))
            out[c.joint.job_id] = own
            for p in c.parts:
                if p.n is not None:
                    out[p.job_id] = Found(*axes, "fixed", p.n, p.n, p, self.specs.get(p.job_id))
        return tuple(f for f in out.values() if f.part.state == "done" and f.part.status != "open")

    @cached_property
    def kappas(self) -> tuple[Kappa, ...]:
        """Those whose parts are all in."""
        found = [kappa(c) for c in self.cells if c.parts and c.distribution == "uniform"]
        return tuple(k for k in found if k.status not in ("pending", "incomplete"))

    def nstar(self, model: str, fmt: str, distribution: str = "uniform") -> list[Found]:
        return [f for f in self.found if (f.model, f.format, f.distribution) == (model, fmt, distribution)]

    def interval(self, f: Found) -> Interval:
        return intervals.of_nstar(f.part, f.job)

    def text(self, f: Found) -> str:
        """``12 [10, 15]``, ``> 1.5k``; what has no interval as the bare number."""
        if f.part.estimate is not None and f.part.status == "bracket":
            return numbers.count_interval(f.part.estimate)
        return numbers.nstar(f.part)


def states(c: CellRow) -> int:
    """How many states a task has that the paper could have asked: addition modulo m, S_k; 0: another task."""
    if c.m is not None:
        return c.m
    return math.factorial(int(c.task[1:])) if re.fullmatch("S[2-8]", c.task) else 0


def conditions(job: Job) -> str:
    """What two searches must share to be compared: training, eps and all of the criterion, the rates, k."""
    search = {k: v for k, v in job.search.model_dump(mode="json").items() if k not in _HOW}
    grid = job.grid.model_dump(mode="json") | {"seeds": len(job.grid.seeds)}
    return json.dumps([job.training.model_dump(mode="json"), search, grid], sort_keys=True)


def compare_paper(
    cells: Sequence[CellRow],
    specs: Mapping[int, Job] | None = None,
    accuracies: Mapping[int, tuple[float, ...]] | None = None,
) -> tuple[Row, ...]:
    """Hold each statement of the paper against what these cells hold.

    Args:
        cells: those over modular addition or S_k, of the paper's three models, can be compared.
        specs: job id -> its spec. Searches are compared with one another only where their specs are at hand
            and equal in task, lengths, training, criterion and grid.
        accuracies: job id -> accuracy at 2L of each seed that was tested.
    """
    findings = Findings(cells, specs or {}, accuracies or {})
    return tuple(_row(s, _RULES[s.number](findings), findings) for s in STATEMENTS)


def counts(rows: Iterable[Row]) -> dict[Verdict, int]:
    """How many statements have each verdict."""
    found = Counter(row.verdict for row in rows)
    return {v: found[v] for v in VERDICTS}


def _row(statement: Statement, comparisons: list[Comparison], findings: Findings) -> Row:
    order = {part: i for i, part in enumerate(statement.parts)}
    comparisons.sort(key=lambda c: order[c.part])
    held = {c.part for c in comparisons if c.holds}
    verdict: Verdict
    if not comparisons:
        verdict = "not measured"
    elif any(c.holds is False for c in comparisons):
        verdict = "contradicted"
    else:
        verdict = "confirmed" if held == set(statement.parts) else "open"
    measured = {c.part for c in comparisons}
    missing = tuple(part for part in statement.parts if part not in measured)
    settings, differing = _settings({i for c in comparisons for i in c.jobs}, findings.specs)
    return Row(statement, verdict, tuple(comparisons), missing, settings, differing)


# N* beside N*


def _pairs(
    findings: Findings,
    part: str,
    first: Sequence[Found],
    second: Sequence[Found],
    names: tuple[str, str],
    place: Callable[[Found], Hashable],
) -> list[Comparison]:
    """``part`` for every two searches at one place with equal conditions: the first's N* is the smaller."""
    out = []
    there: dict[Hashable, list[Found]] = {}
    for f in second:
        if f.job is not None:
            there.setdefault((place(f), conditions(f.job)), []).append(f)
    for a in first:
        for b in there.get((place(a), conditions(a.job)), ()) if a.job is not None else ():
            one, two = findings.interval(a), findings.interval(b)
            holds = intervals.below(one, two)
            why = one.why or two.why or "the intervals touch"
            measured = f"{names[0]} {findings.text(a)}, {names[1]} {findings.text(b)}"
            models = a.label if a.label == b.label else f"{a.label}, {b.label}"
            where = f"{models} {a.task} {max(a, b, key=lambda f: f.L - f.low).low}..{a.L}"
            jobs = (a.part.job_id, b.part.job_id)
            out.append(Comparison(part, where, measured, holds, "" if holds is not None else why, jobs))
    return out


def _model(f: Found) -> str:
    return f.job.model.model_dump_json() if f.job is not None else f.label


def _formats(findings: Findings, model: str, small: str, large: str) -> list[Comparison]:
    def place(f: Found) -> Hashable:
        return _model(f), f.task, f.low, f.L

    first, second = findings.nstar(model, small), findings.nstar(model, large)
    return _pairs(findings, f"{model}: {small} < {large}", first, second, (small, large), place)


def _distributions(findings: Findings, model: str, fmt: str, small: str, large: str) -> list[Comparison]:
    def place(f: Found) -> Hashable:  # a single length has no shortest one
        return _model(f), f.task, f.L, f.low if "fixed" not in (small, large) else None

    first, second = findings.nstar(model, fmt, small), findings.nstar(model, fmt, large)
    return _pairs(findings, f"{model}: {small} < {large}", first, second, (small, large), place)


def _models(findings: Findings) -> list[Comparison]:
    def place(f: Found) -> Hashable:
        return f.task, f.low, f.L

    second = findings.nstar(TRANSFORMER, "outcome")
    return [
        c
        for model in RECURRENT
        for c in _pairs(
            findings,
            f"outcome: {model} < {TRANSFORMER}",
            findings.nstar(model, "outcome"),
            second,
            (model, TRANSFORMER),
            place,
        )
    ]


def _orders(findings: Findings) -> list[Comparison]:
    pairs = (("fixed", "uniform"), ("uniform", "short_to_long"))
    return [
        c for pair in pairs for model in RECURRENT for c in _distributions(findings, model, "acot", *pair)
    ]


# Exponents of L


def _slopes(findings: Findings, model: str, fmt: str, part: str, *, falls: bool) -> list[Comparison]:
    """N*_joint against L, one law for each model's size, kind of task, shortest length and conditions."""
    groups: dict[Hashable, list[Found]] = {}
    for f in findings.nstar(model, fmt):
        if f.job is not None and not diverged(f.part):
            family = "Z_m" if f.m is not None else f.task
            groups.setdefault((_model(f), family, f.low, conditions(f.job)), []).append(f)
    out = []
    for group in groups.values():
        lengths = sorted({f.L for f in group})
        if len(lengths) < 2:
            continue
        holds, measured, why = _slope(group, lengths, falls)
        tasks = "/".join(dict.fromkeys(f.task for f in sorted(group, key=lambda f: (f.m or 0, f.task))))
        where = f"{group[0].label} {tasks} {group[0].low}..{'/'.join(map(str, lengths))}"
        jobs = tuple(sorted(f.part.job_id for f in group))
        out.append(Comparison(part, where, measured, holds, why, jobs))
    return out


def _slope(group: Sequence[Found], lengths: Sequence[int], falls: bool) -> tuple[bool | None, str, str]:
    first = group[0]
    family = "Z_m" if first.m is not None else first.task
    series = Series(first.label, first.format, first.distribution, family)
    points = []
    for f in group:
        p = f.part
        hi = None if p.status == "censored" else p.hi
        points.append(Point(series, f.L, f.m, p.lo, hi, p.n_max, p.estimate, p.job_id, p.flags))
    law = fit(points)
    if isinstance(law, Refusal):
        return None, f"{len(points)} N*", law.reason
    if law.a is None:
        return None, f"{len(points)} N*", "one length alone"
    ends = Interval(law.a.low, law.a.high)
    told = numbers.exponent(law.a.value, ends.low, ends.high)
    measured = f"exponent of L {told} from {len(points)} N*"
    if len(lengths) < LEAST_LENGTHS:
        return None, measured, f"{len(lengths)} lengths; an exponent needs {LEAST_LENGTHS}"
    if ends.low <= 0.0 <= ends.high:
        return None, measured, "the interval holds 0"
    return (ends.high < 0.0) == falls, measured, ""


# kappa and the accuracy at 2L


def _kappas(
    findings: Findings, models: Iterable[str], fmt: str, word: str, low: float, high: float
) -> list[Comparison]:
    """kappa of every cell of these models in a format: all of its interval in [low, high]."""
    out = []
    for k in findings.kappas:
        if k.cell.model not in models or k.cell.format != fmt:
            continue
        ends = intervals.of_kappa(k, findings.specs)
        holds = ends.inside(low, high)
        across = "the interval reaches across " + " and ".join(
            numbers.ratio(x) for x in (low, high) if ends.low < x < ends.high
        )
        why = "" if holds is not None else ends.why or across
        jobs = tuple(p.job_id for p in (*k.cell.parts, k.cell.joint))
        out.append(Comparison(f"{k.cell.model}: {word}", _where(k.cell), k.text(), holds, why, jobs))
    return out


def _where(c: CellRow) -> str:
    return f"{c.model_label} {c.task} {c.min_length}..{c.L}"


def _sharing(findings: Findings) -> list[Comparison]:
    return [
        *_kappas(findings, RECURRENT, "outcome", "outcome >> 1", MUCH, math.inf),
        *_kappas(findings, RECURRENT, "acot", "acot >> 1", MUCH, math.inf),
        *_kappas(findings, RECURRENT, "cot", "cot about 1", *ABOUT_ONE),
    ]


def _accuracies(findings: Findings) -> list[Comparison]:
    """The rank correlation over all cells, and the accuracy of each cell of which the paper tells one."""
    found = rank_correlation(findings.kappas)
    out = []
    if found.n:
        decided = found.rho is not None and found.p is not None and found.p < SIGNIFICANT
        holds = found.rho is not None and found.rho > 0 if decided else None
        counted = {c for c, _, _ in found.points}
        behind = [k.cell for k in findings.kappas if k.cell.id in counted]
        jobs = tuple(sorted({p.job_id for c in behind for p in (*c.parts, c.joint)}))
        why = "" if decided else found.reason or f"p is not below {SIGNIFICANT}"
        measured = found.text() if found.rho is not None else numbers.NONE
        out.append(Comparison(STATEMENTS[-1].parts[0], f"{found.n} cells", measured, holds, why, jobs))
    for c in findings.cells:
        generalises = c.model in RECURRENT and c.format == "acot"
        silent = c.model in RECURRENT and c.format == "outcome"
        if c.joint.generalisation is None or silent or c.distribution != "uniform":
            continue
        region = (GENERALISES, math.inf) if generalises else (-math.inf, FAILS)
        by_seed = sorted(findings.accuracies.get(c.joint.job_id, ()))
        said = {intervals.of_accuracy(a, 1 / states(c), TEST_SEQUENCES).inside(*region) for a in by_seed}
        holds = said.pop() if len(said) == 1 and len(by_seed) > 1 else None
        measured = f"accuracy at 2L {numbers.share(c.joint.generalisation)}, by seed {_range(by_seed)}"
        lone = "one seed" if len(by_seed) == 1 else "its seeds do not agree"
        why = "" if holds is not None else lone if by_seed else "no seed's accuracy is stored"
        part = f"{c.model}: {c.format} {'generalises' if generalises else 'does not'}"
        out.append(Comparison(part, _where(c), measured, holds, why, (c.joint.job_id,)))
    return out


def _range(values: Sequence[float]) -> str:
    if not values:
        return numbers.NONE
    ends = values[:1] if len(values) == 1 else (values[0], values[-1])
    return " to ".join(map(numbers.share, ends))


_RULES: dict[str, Callable[[Findings], list[Comparison]]] = {
    "3.1": lambda e: _formats(e, TRANSFORMER, "cot", "acot"),
    "3.2": lambda e: [c for model in RECURRENT for c in _formats(e, model, "acot", "cot")],
    "3.3": _models,
    "3.4a": _orders,
    "3.4b": lambda e: [
        *(c for r in RECURRENT for c in _slopes(e, r, "acot", f"{r}: acot falls with L", falls=True)),
        *_slopes(e, TRANSFORMER, "cot", f"{TRANSFORMER}: cot does not fall with L", falls=False),
    ],
    "3.5": lambda e: [
        c for model in RECURRENT for c in _distributions(e, model, "outcome", "short_to_long", "uniform")
    ],
    "4.1": lambda e: [c for f in FORMATS for c in _kappas(e, (TRANSFORMER,), f, f, 0.0, ABOUT_ONE[1])],
    "4.2": lambda e: _kappas(e, (TRANSFORMER,), "cot", "cot", 0.0, 1 / MUCH),
    "4.3": _sharing,
    "4.4": lambda e: _slopes(e, "dense_ssm", "acot", "dense_ssm: acot falls with L", falls=True),
    "4.5": _accuracies,
}


# At whose settings


def _settings(jobs: Iterable[int], specs: Mapping[int, Job]) -> tuple[Settings, tuple[str, ...]]:
    """Paper where every job's spec is at hand and none differs; reduced where one differs; else unknown."""
    jobs = sorted(jobs)
    found: dict[str, dict[str, None]] = {}
    for i in jobs:
        for told in differences(specs[i]) if i in specs else ():
            what, _, paper = told.partition(" (")
            key, _, value = what.rpartition(" ")
            found.setdefault(f"{key}|{paper}", {})[value] = None
    if found:
        return "reduced", tuple(
            f"{key} {', '.join(values)} ({paper}"
            for (key, _, paper), values in ((k.partition("|"), v) for k, v in found.items())
        )
    return ("paper", ()) if jobs and all(i in specs for i in jobs) else ("unknown", ())
