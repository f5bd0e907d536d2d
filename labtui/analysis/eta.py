"""How long searches take: one estimator for a spec before it is submitted, a search and the whole queue.

A search is expected to take (expected candidates) x (trials) x (budget) x (share of it that is trained) x
(seconds
of a step). What such searches really took in this lab corrects that product: searches of the same model,
format
and task count most, others a little, so that one that ran says something of all. A running search is told
by its
own bracket and pace as well. Everything is in device-seconds; the queue's are divided by how many of them
this
lab got done in a second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from labtui.views import numbers
from runners.verdict import WALK_DOWN

if TYPE_CHECKING:
    from runners.spec import Job
    from store.rows import JobRow

RTOL = 0.10
STEP_OVERHEAD, FLOPS = 1.2e-4, 2e10
"""Seconds of a member's step beside its arithmetic, and operations per second of one core: what is assumed
where
nothing was measured (the searches of docs/labs/demo.db, within a factor of 3)."""
SHARE = 0.5
"""Part of all candidates' budgets that is trained, where nothing was measured: 0.2 to 1.0 in
docs/labs/demo.db.
"""
DOUBT = 0.9
"""Standard deviation of the log of an estimate that rests on no search of its kind."""
OWN_DOUBT = 0.35
"""The same of one that rests on searches of its kind alone."""
HISTORY, QUEUE = 200, 100
"""Finished searches that are read, and queued ones that stand for all (evenly spaced)."""


class Kind(NamedTuple):
    """What makes two searches alike."""

    model: str
    label: str
    format: str
    task: str
    distribution: str
    length: int
    strategy: str


class Work(NamedTuple):
    """A search before it is run."""

    kind: Kind
    candidates: float
    """Expected ones; of ``adaptive`` grids of fresh seeds."""
    trials: int
    steps: int
    step_s: float | None
    """Assumed seconds of one member's step; None where nothing can be said of the model (a plugin)."""

    @property
    def assumed_s(self) -> float | None:
        """Device-seconds, where nothing was measured."""
        if self.step_s is None:
            return None
        return self.candidates * self.trials * self.steps * SHARE * self.step_s


@dataclass(frozen=True)
class Eta:
    """A guess: seconds from now, what they may be (80 %), and the basis in words; None where nothing is
    known.
    """

    seconds: float | None
    basis: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def text(self) -> str:
        """``~3m04``, or ``1m30-5m00`` where it is wide."""
        return numbers.about(self.seconds, self.low, self.high)


def work_of(job: JobRow) -> Work:
    """The work of a stored search, by what its row holds."""
    positions = job.length * (2 if job.format in ("cot", "icot") else 1)
    kind = Kind(job.model, job.model_label, job.format, job.task, job.distribution, job.length, job.strategy)
    expected = expected_candidates(job.strategy, job.n_max)
    return Work(
        kind, expected, job.trials_per_probe, job.steps, _step_s(job.model, job.model_label, positions)
    )


def work_of_spec(job: Job) -> Work:
    """The work of a search that is not stored yet, by its spec."""
    search, label = job.search, job.model.label
    kind = Kind(
        job.model.kind if job.model.kind != "plugin" else label, label, job.format, job.task.label,
        job.lengths.distribution, job.lengths.length, search.strategy,
    )  # fmt: skip
    expected = expected_candidates(
        search.strategy, job.n_max, rtol=search.rtol, multiplier=search.multiplier, most=search.candidates,
        rungs=len(search.ladder), width=search.relative_width, budget=search.seed_budget,
        seeds=len(job.grid.seeds),
    )  # fmt: skip
    return Work(
        kind,
        expected,
        len(job.grid.members),
        job.training.steps,
        _step_s(kind.model, label, job.longest_input),
    )


def _step_s(model: str, label: str, positions: int, batch: int = 64) -> float | None:
    """Assumed seconds of a member's step on one core, from the sizes that a model's label tells."""
    sizes = [int(x) for x in re.findall(r"\d+", label)]
    tokens = positions * batch
    if model == "transformer" and len(sizes) == 2:
        layers, d = sizes
        forward = tokens * layers * (24 * d * d + 4 * positions * d)
    elif model == "lstm" and sizes:
        forward = tokens * 16 * sizes[0] ** 2
    elif model in ("dense_ssm", "diagonal", "pd_ssm") and sizes:
        forward = tokens * 2 * sizes[-1] ** 2
    elif model in ("rnn", "gru", "slstm", "deltanet", "mamba") and sizes:
        forward = tokens * 12 * sizes[-1] ** 2
    else:
        return None
    return STEP_OVERHEAD + 3 * forward / FLOPS


def expected_candidates(
    strategy: str,
    n_max: int,
    *,
    rtol: float = RTOL,
    multiplier: int = 1000,
    most: int = 60,
    rungs: int = 0,
    width: float = 0.5,
    budget: int = 200,
    seeds: int = 5,
) -> float:
    """Candidates of a search whose N* lies at the geometric middle of 1..n_max, by its strategy's own
    formula.

    Of ``adaptive``: its fresh seeds, 53 at a relative width of 0.5 (docs/science.md), in grids of ``seeds``.
    """
    if strategy == "scan":
        return float(min(rungs or n_max.bit_length(), most))
    if strategy == "adaptive":
        return min(float(budget), max(10.0, 53 * math.pow(0.5 / width, 1.5))) / seeds
    middle = max(1.0, n_max**0.5)
    if strategy == "paper":
        down = math.ceil(math.log(max(2.0, n_max / middle)) / math.log(multiplier))
        halvings = math.ceil(math.log2(max(2.0, n_max / float(multiplier) ** (down - 1))))
        return float(min(most, 20, 1 + down + halvings))
    down = math.ceil(math.log2(max(2.0, n_max / middle)))
    halvings = math.ceil(math.log2(max(1.0, math.log(2) / math.log1p(rtol)))) if rtol > 0 else 60
    return float(min(most, 1 + down + min(halvings, math.ceil(math.log2(middle + 1)))))


def candidates_left(job: JobRow) -> int | None:
    """How many more candidates the search will need, the running one included; None before its first
    failure.
    """
    if job.status != "open":
        return 0
    if job.strategy == "scan":
        return None
    if job.hi is None and job.lo >= job.n_max:  # N_max failed: the walk down, at whose end N* is censored
        tops = [d for d in WALK_DOWN if job.n_max >= d] if job.strategy != "paper" else []
        return max(0, len(tops) + 1 - job.candidates)
    if job.strategy == "adaptive" or job.hi is None:
        return None
    if job.lo == 0:
        return None if job.hi > 1 else 0
    if job.hi - job.lo <= 1:
        return 0
    if job.strategy == "paper":
        return math.ceil(math.log2(job.hi - job.lo))
    width = math.log(job.hi / job.lo) / math.log1p(RTOL)
    return min(max(1, math.ceil(math.log2(width))) if width > 1 else 1, job.hi - job.lo - 1)


class Outlook:
    """What the lab's own past says of searches to come."""

    def __init__(
        self,
        finished: Iterable[JobRow] = (),
        slots: int = 1,
        speed: Mapping[tuple[str, int], float] | None = None,
    ) -> None:
        """``finished``: done searches; ``slots``: of all active devices; ``speed``: member-steps per
        second by
        (model label, length), as ``Lab.speed()`` gives it.
        """
        self._speed = dict(speed or {})
        self.devices: set[str] = set()
        """Kinds of device that searches of this lab ran on: cpu, cuda."""
        self._slots = max(1, slots)
        self._past: list[tuple[Work, float, float]] = []
        """(work, log of what it took over what was assumed, how much of it is over)."""
        self._labels: dict[str, list[float]] = {}
        spans = []
        for job in finished:
            if job.state != "done" or job.device_s <= 0:
                continue
            self.devices.add((job.device or "cpu").split(":")[0])
            work = work_of(job)
            if work.assumed_s:
                self._past.append((work, math.log(job.device_s / work.assumed_s), 1.0))
            self._labels.setdefault(job.model_label, []).append(job.device_s)
            if job.started_at is not None and job.finished_at is not None:
                spans.append((job.started_at, job.finished_at, job.device_s))
        self._parallel = self._measured_parallel(spans)

    def _measured_parallel(self, spans: list[tuple[float, float, float]]) -> float | None:
        """Device-seconds done per second of the time in which anything was searched; None before the first
        end.
        """
        busy, end = 0.0, -math.inf
        for start, stop, _ in sorted(spans):
            busy += max(0.0, stop - max(start, end))
            end = max(end, stop)
        work = sum(seconds for *_, seconds in spans)
        return min(max(work / busy, 0.1), float(self._slots)) if busy > 0 and work > 0 else None

    @property
    def parallel(self) -> float:
        """Device-seconds that are done in a second."""
        return self._parallel if self._parallel is not None else float(self._slots)

    def search(self, work: Work) -> Eta:
        """Device-seconds of one whole search."""
        measured = self._measured(work.kind)
        if measured is not None and work.kind.label not in self._labels:
            seconds = work._replace(step_s=measured).assumed_s or 0.0
            return Eta(seconds, "speed measured here, no search of its kind yet", seconds / 2, seconds * 2)
        assumed = work.assumed_s
        if assumed is None:
            same = self._labels.get(work.kind.label)
            if not same:
                return Eta(None, "unknown: no search of this model was measured")
            mean = sum(same) / len(same)
            return Eta(mean, f"the mean of {len(same)} of this model", mean / 3, mean * 3)
        weights = [_likeness(work.kind, past.kind) * over for past, _, over in self._past]
        total = sum(weights)
        mean = sum(w * r for w, (_, r, _) in zip(weights, self._past, strict=True)) / (total + 0.02)
        scatter = sum(w * (r - mean) ** 2 for w, (_, r, _) in zip(weights, self._past, strict=True))
        spread = math.sqrt((scatter + 0.02 * DOUBT**2 + OWN_DOUBT**2 * min(total, 1.0)) / (total + 0.02))
        alike = sum(
            (p.kind.label, p.kind.format, p.kind.task) == (work.kind.label, work.kind.format, work.kind.task)
            for p, *_ in self._past
        )
        spread = min(spread, DOUBT) if alike else max(spread, 0.6)
        seconds = assumed * math.exp(mean + min(spread, 0.6) ** 2 / 2)
        basis = (
            f"{alike} search{'es' if alike > 1 else ''} of its kind"
            if alike
            else f"{len(self._past)} searches of other kinds"
            if self._past
            else "assumed speed of one core: nothing was measured here"
        )
        return Eta(seconds, basis, seconds * math.exp(-1.28 * spread), seconds * math.exp(1.28 * spread))

    def _measured(self, kind: Kind) -> float | None:
        """Seconds of a member's step of this model at the nearest length that was measured."""
        found = [
            (abs(math.log(T / kind.length)), v)
            for (label, T), v in self._speed.items()
            if label == kind.label
        ]
        return 1 / min(found)[1] if found and min(found)[1] > 0 else None

    def left(self, job: JobRow) -> Eta:
        """Device-seconds that a search still needs: by what such searches took, its own pace and its
        bracket.
        """
        if job.state not in ("running", "queued", "paused"):
            return Eta(None)
        work = work_of(job)
        whole = self.search(work)
        spent = job.device_s or job.wall_s
        if not job.candidates or spent <= 0:
            if whole.seconds is None:
                return whole
            part = 1 - job.progress / max(1.0, work.candidates)
            return Eta(whole.seconds * part, whole.basis, _times(whole.low, part), _times(whole.high, part))
        left = candidates_left(job)
        expected = work.candidates * (2.0 if job.strategy == "adaptive" else 1.0)  # its probes are half grids
        more = float(left) if left is not None else max(1.0, expected - job.candidates)
        own = spent / job.candidates
        if whole.seconds is None or not self._past or (job.hi is None and left is not None):
            each, doubt = own, 0.4  # in a walk down each has failed so far: the next ones take as long
        else:
            each = (spent + 2 * whole.seconds / expected) / (job.candidates + 2)
            doubt = 0.5 / math.sqrt(1 + job.candidates / 2)
        seconds = max(0.0, more - job.progress) * each
        basis = f"{more:.0f} more candidates at {numbers.duration(each)}, its own pace"
        return Eta(seconds, basis, seconds * math.exp(-1.28 * doubt), seconds * math.exp(1.28 * doubt))

    def _knowing(self, running: Sequence[JobRow]) -> Outlook:
        """The same, which also takes running searches for what they tell, as far as they are over."""
        out = copy(self)
        out._past = list(self._past)
        for job in running:
            spent, work = job.device_s or job.wall_s, work_of(job)
            guess = self.left(job).seconds
            if job.candidates and spent > 0 and guess is not None and work.assumed_s:
                whole = spent + guess
                out._past.append((work, math.log(whole / work.assumed_s), 0.5 * (spent / whole) ** 2))
        return out

    def queue(self, running: Sequence[JobRow], queued: Sequence[JobRow], count: int | None = None) -> Eta:
        """Seconds until nothing runs or waits.

        Args:
            running: the searches in training.
            queued: those that wait, or a sample of them.
            count: how many wait in all.
        """
        times = count / len(queued) if count is not None and queued else 1.0
        now = [self.left(job) for job in running]
        knowing = self._knowing(running)
        waiting = [knowing.left(job) for job in queued]
        if not (now or waiting) or any(guess.seconds is None for guess in (*now, *waiting)):
            return Eta(None, "unknown: a search's model was never measured" if now or waiting else "")
        total = sum(g.seconds or 0.0 for g in now) + times * sum(g.seconds or 0.0 for g in waiting)
        # What is not known of a kind is not known of all its searches at once; the rest evens out.
        groups: dict[str, float] = {}
        for weight, jobs, guesses in ((1.0, running, now), (times, queued, waiting)):
            for job, guess in zip(jobs, guesses, strict=True):
                own = (guess.high or 0.0) - (guess.seconds or 0.0)
                groups[job.model_label] = groups.get(job.model_label, 0.0) + weight * own
        slack = math.sqrt(sum(x * x for x in groups.values())) / math.sqrt(max(1.0, len(self._past) / 4))
        longest = max((g.seconds or 0.0 for g in now), default=0.0)
        seconds = max(longest, total / self.parallel)
        off = slack / self.parallel
        many = len(queued) if count is None else count
        basis = f"{many:,} queued, {len(running)} running, {self.parallel:.1f} device-seconds in a second"
        return Eta(seconds, basis, max(longest / 2, seconds / (1 + off / max(seconds, 1e-9))), seconds + off)


def _likeness(a: Kind, b: Kind) -> float:
    """How much one search says of another: 1 for the same kind at the same length."""
    weight = 1.0 if a.label == b.label else 0.05 if a.model == b.model else 0.005
    weight *= 1.0 if a.format == b.format else 0.1
    weight *= 1.0 if a.task == b.task else 0.3
    weight *= 1.0 if a.strategy == b.strategy else 0.3
    weight *= 1.0 if a.distribution == b.distribution else 0.5
    return weight * math.exp(-abs(math.log(a.length / b.length)) / 0.25)


def _times(value: float | None, by: float) -> float | None:
    return None if value is None else value * by


def job_eta(job: JobRow, outlook: Outlook | None = None) -> Eta:
    """The time that a job still needs in training; by its own pace alone where the lab's past is not at
    hand.
    """
    if outlook is None and not job.candidates:
        return Eta(None)
    return (outlook or Outlook()).left(job)


@dataclass(frozen=True)
class QueueOutlook:
    """The past of a lab, and when its queue will be done."""

    outlook: Outlook
    eta: Eta


def read_outlook(lab: Any) -> QueueOutlook:
    """What Queue, ``labtui queue`` and ``labtui watch`` all answer from; ``lab`` is a store.read Lab."""
    from store.filters import Condition

    def ids(state: str, order: str) -> Sequence[int]:
        found: Sequence[int] = lab.job_ids((Condition("state", "=", state),), order, None)
        return found

    done = ids("done", "-finished")
    step = max(1, len(done) // HISTORY)
    past = [*done[: HISTORY // 2], *done[HISTORY // 2 :: step]]
    waiting = ids("queued", "queue")
    sample = waiting[:: max(1, len(waiting) // QUEUE)]
    slots = sum(device.slots for device in lab.devices() if device.state == "active")
    outlook = Outlook(lab.jobs(past) if len(past) else (), slots, lab.speed())
    running = lab.jobs(ids("running", "queue"))
    queued = lab.jobs(sample) if len(sample) else []
    return QueueOutlook(outlook, outlook.queue(running, queued, len(waiting)))
