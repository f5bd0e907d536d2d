"""How long searches take: one estimator for a spec before it is submitted, a search and the whole queue.

A search is expected to take (grids trained) x (trials) x (budget) x (seconds of a step). How many grids, and
how long a step, is first assumed, then corrected by what searches really took in this lab: each correction is
a sum of effects of model, format, task, strategy, joint task and length, which are shrunk towards none
(:mod:`labtui.analysis.effects`), so that one search that ran says much of its own kind and something of all.
A running search is told by its own pace and bracket as well. Everything is in device-seconds; the queue's are
divided by how many of them this lab got done in a second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from labtui.analysis.effects import Effects, Observation, Traits
from labtui.views import numbers
from runners.strategies import STRATEGIES, WALKING_DOWN
from runners.verdict import WALK_DOWN
from store.json import mapping
from store.rows import JobRow
from store.states import LIVE_STATES

if TYPE_CHECKING:
    from runners.spec import Job

RTOL, BATCH, WIDTH = 0.10, 64, 0.5
STEP_OVERHEAD, STEP_FLOPS = 3e-5, 2e11
"""Seconds of a member's step beside its arithmetic, and operations per second of one core, as the labs of
docs/labs were trained; what is assumed where nothing was measured."""
PER_SQUARE = {
    "lstm": 8, "slstm": 8, "gru": 6, "rnn": 2, "dense_ssm": 2, "diagonal": 2, "pd_ssm": 2, "deltanet": 48,
    "mamba": 48,
}  # fmt: skip
"""Operations of a layer for one position, forward, over the square of its width: those of the arithmetic
where that is nearly all, else as it was measured at a width of 64."""
SHARE = 0.5
"""Part of a candidate's grid that is trained, where nothing was measured: failing ones train all of it."""
STEPS_NOISE, PACE_NOISE = 0.45, 0.2
"""Standard deviations of the logs of one search's steps and seconds per step around those of its kind."""
START_S, START_UP_S = 0.3, 1.0
"""Seconds that are no step: by how many whole searches differ, and how many one that runs may have had."""
SCATTER = 0.6
"""Standard deviation of the log of searches of a model of which nothing else is known."""
Z80 = 1.2816
FAINT = 12.0
"""An adaptive search's interval that is so many times as wide as asked for tells next to nothing."""
FAINTLY = 3.0
"""Standard deviation of the log of what is told from next to nothing."""
HISTORY, QUEUE, EVIDENT = 200, 100, 16
"""Finished searches that are read, queued ones that stand for all (evenly spaced), and running ones that tell
of those that wait."""


class Kind(NamedTuple):
    """What makes two searches alike."""

    model: str
    label: str
    format: str
    task: str
    distribution: str
    length: int
    strategy: str
    width: float = WIDTH
    """``adaptive``: the relative width at which it stops."""


class Design(NamedTuple):
    """What a stored search's spec says of its work, and its row does not."""

    rtol: float = RTOL
    multiplier: int = 1000
    most: int | None = None
    rungs: int = 0
    width: float = WIDTH
    budget: int = 200
    seeds: int = 5
    batch: int = BATCH
    generalisation: bool = False

    @classmethod
    def read(cls, spec: str) -> Design | None:
        """Read it from the JSON of a spec; None where that holds something else."""
        job = mapping(spec)
        try:
            search = job["search"]
            return cls(
                float(search["rtol"]), int(search["multiplier"]), search["max_candidates"],
                len(search["ladder"]), float(search["relative_width"]), int(search["seed_budget"]),
                len(job["grid"]["seeds"]), int(job["training"]["batch_size"]), bool(job["generalisation"]),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError):
            return None


class Work(NamedTuple):
    """A search before it is run."""

    kind: Kind
    candidates: float
    """Expected ones; of ``adaptive`` grids of fresh seeds."""
    grids: float
    """Whole grids' worth of training, where nothing was measured."""
    once: float
    """Those of them that the probe for generalisation takes at N_max, beyond what its success would."""
    trials: int
    steps: int
    step_s: float | None
    """Assumed seconds of one member's step; None where nothing can be said of the model (a plugin)."""

    @property
    def assumed_steps(self) -> float:
        """Member-steps, where nothing was measured."""
        return self.grids * self.trials * self.steps

    @property
    def assumed_s(self) -> float | None:
        """Device-seconds, where nothing was measured; None where nothing can be said."""
        return None if self.step_s is None else self.assumed_steps * self.step_s or None


@dataclass(frozen=True)
class Eta:
    """A guess: seconds from now, as likely more as less; what they may be (80 %); the basis in words. None
    where nothing is known.
    """

    seconds: float | None
    basis: str = ""
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    """Its part in a sum over many, where that is another."""

    def times(self, by: float) -> Eta:
        """So much of it."""
        return self._each(lambda seconds: seconds * by)

    def less(self, seconds: float) -> Eta:
        """What is left of it once so many are over."""
        return self._each(lambda told: max(0.0, told - seconds))

    def _each(self, change: Callable[[float], float]) -> Eta:
        told = (self.seconds, self.low, self.high, self.mean)
        seconds, low, high, mean = (None if one is None else change(one) for one in told)
        return Eta(seconds, self.basis, low, high, mean)

    @property
    def part(self) -> float:
        """Its part in a sum over many."""
        return (self.mean if self.mean is not None else self.seconds) or 0.0

    @property
    def variance(self) -> float:
        """Of the seconds, read off the interval."""
        return (((self.high or 0.0) - (self.low or 0.0)) / 2 / Z80) ** 2

    @property
    def text(self) -> str:
        """``~3m04``, or ``1m30-5m00`` where it is wide."""
        return numbers.about(self.seconds, self.low, self.high)


def work_of(job: JobRow, design: Design | None = None) -> Work:
    """The work of a stored search, by what its row and its spec hold."""
    d = design or Design()
    kind = Kind(
        job.model, job.model_label, job.format, job.task, job.distribution, job.length, job.strategy,
        d.width if job.strategy == "adaptive" else WIDTH,
    )  # fmt: skip
    expected = expected_candidates(
        job.strategy, job.n_max, rtol=d.rtol, multiplier=d.multiplier,
        most=d.most or MOST.get(job.strategy, 60), rungs=d.rungs, width=d.width, budget=d.budget,
        seeds=d.seeds,
    )  # fmt: skip
    positions = job.length * (2 if job.format in ("cot", "icot") else 1)
    step_s = _step_s(job.model, job.model_label, positions, d.batch)
    once = (1 - SHARE) * d.generalisation
    return Work(
        kind, expected, _grids(expected, job.strategy) + once, once, job.trials_per_probe, job.steps, step_s
    )


def work_of_spec(job: Job) -> Work:
    """The work of a search that is not stored yet, by its spec."""
    search, label = job.search, job.model.label
    kind = Kind(
        job.model.kind if job.model.kind != "plugin" else label, label, job.format, job.task.label,
        job.lengths.distribution, job.lengths.length, search.strategy,
        search.relative_width if search.strategy == "adaptive" else WIDTH,
    )  # fmt: skip
    expected = expected_candidates(
        search.strategy, job.n_max, rtol=search.rtol, multiplier=search.multiplier, most=search.candidates,
        rungs=len(search.ladder), width=search.relative_width, budget=search.seed_budget,
        seeds=len(job.grid.seeds),
    )  # fmt: skip
    once = (1 - SHARE) * job.generalisation
    return Work(
        kind,
        expected,
        _grids(expected, search.strategy) + once,
        once,
        len(job.grid.members),
        job.training.steps,
        _step_s(kind.model, label, job.longest_input, job.training.batch_size),
    )


MOST: dict[str, int] = {name: strategy.candidates for name, strategy in STRATEGIES.items()}
"""Candidates at most, where a spec does not say."""


def _grids(candidates: float, strategy: str) -> float:
    """Whole grids' worth of the candidates; a scan trains all of each rung."""
    return candidates * (1.0 if strategy == "scan" else SHARE)


def _step_s(model: str, label: str, positions: int, batch: int = BATCH) -> float | None:
    """Assumed seconds of a member's step on one core, from the sizes that a model's label tells."""
    found = re.search(r"(\d+)x(\d+)", label) or re.search(r"()(\d+)", label)
    if found is None or (model != "transformer" and model not in PER_SQUARE):
        return None
    layers, width = float(found[1] or 1), int(found[2])
    repeated = re.search(r"loops (\d+)|deltaproduct (\d+)", label)
    if repeated is not None:  # of a delta product only the projections are
        layers *= int(repeated[1]) if repeated[1] else (5 + int(repeated[2])) / 6
    tokens = positions * batch
    if model == "transformer":
        forward = tokens * layers * (24 * width**2 + 4 * positions * width)
    else:
        forward = tokens * layers * PER_SQUARE[model] * width**2
    return STEP_OVERHEAD + 3 * forward / STEP_FLOPS


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


def candidates_left(job: JobRow, rtol: float = RTOL) -> int | None:
    """How many more candidates the search will need, the running one included; None before its first
    failure.
    """
    if job.status != "open":
        return 0
    if job.strategy == "scan":
        return None
    if job.hi is None and job.lo >= job.n_max:  # N_max failed: the walk down, at whose end N* is censored
        tops = [d for d in WALK_DOWN if job.n_max >= d] if job.strategy in WALKING_DOWN else []
        return max(0, len(tops) + 1 - job.candidates)
    if job.strategy == "adaptive" or job.hi is None:
        return None
    if job.lo == 0:
        return None if job.hi > 1 else 0
    if job.hi - job.lo <= 1:
        return 0
    if job.strategy == "paper":
        return math.ceil(math.log2(job.hi - job.lo))
    width = math.log(job.hi / job.lo) / math.log1p(rtol) if rtol > 0 else math.inf
    if width == math.inf:
        return max(1, math.ceil(math.log2(job.hi - job.lo)))
    return min(max(1, math.ceil(math.log2(width))) if width > 1 else 1, job.hi - job.lo - 1)


def _steps_traits(kind: Kind) -> Traits:
    """What the number of member-steps over the assumed one depends on, and how far each trait may move its
    log: a factor of 1.2 to 1.5, and of 1.5 to 2 for all traits of a search together.
    """
    length = math.log(max(1, kind.length) / 8)
    own = (kind.label, kind.format, kind.task)
    traits: dict[object, tuple[float, float]] = {
        "all": (1.0, 0.3),
        ("model", kind.model): (1.0, 0.3),
        ("format", kind.format): (1.0, 0.3),
        ("model and format", kind.model, kind.format): (1.0, 0.3),
        ("task", kind.task): (1.0, 0.2),
        ("joint", kind.distribution != "fixed"): (1.0, 0.2),
        ("strategy", kind.strategy): (1.0, 0.4),
        ("kind", *own): (1.0, 0.3),
        ("kind and lengths", *own, kind.distribution): (1.0, 0.25),
        "length": (length, 0.3),
        ("length", kind.label, kind.format): (length, 0.3),
    }
    if kind.strategy == "adaptive":
        traits["width"] = (math.log(kind.width / WIDTH), 0.4)
    return traits


def _pace_traits(kind: Kind) -> Traits:
    """The same for the seconds of a step over the assumed ones: the machine, then model and size."""
    length = math.log(max(1, kind.length) / 8)
    return {
        "all": (1.0, 0.8),
        ("model", kind.model): (1.0, 0.5),
        ("label", kind.label): (1.0, 0.5),
        ("format", kind.format): (1.0, 0.3),
        ("model and format", kind.model, kind.format): (1.0, 0.3),
        ("kind", kind.label, kind.format, kind.task): (1.0, 0.2),
        "length": (length, 0.3),
        ("length", kind.label): (length, 0.3),
    }


class _Guess(NamedTuple):
    """Device-seconds of a whole search: their log is normal."""

    mean: float
    variance: float
    noise: float
    """The part of the variance that is this search's own. It evens out over many, in whose sum the mean
    counts therefore; what is not known of them all at once does not, and of that the median counts."""
    basis: str

    def eta(self) -> Eta:
        off = Z80 * math.sqrt(self.variance)
        mean = math.exp(self.mean + self.noise / 2)
        return Eta(
            math.exp(self.mean), self.basis, math.exp(self.mean - off), math.exp(self.mean + off), mean
        )

    def and_seen(self, other: _Guess) -> _Guess:
        """Both this and a second, independent opinion."""
        both = 1 / (1 / self.variance + 1 / other.variance)
        mean = both * (self.mean / self.variance + other.mean / other.variance)
        return _Guess(mean, both, min(self.noise, both), other.basis)


class Outlook:
    """What the lab's own past says of searches to come."""

    def __init__(
        self,
        finished: Iterable[JobRow] = (),
        slots: int = 1,
        speed: Mapping[tuple[str, int], float] | None = None,
        designs: Mapping[int, Design] | None = None,
    ) -> None:
        """``finished``: done searches; ``slots``: of all active devices; ``speed``: member-steps per second
        by (model label, length), as ``Lab.speed()`` gives it; ``designs``: what the specs say, by job id.
        """
        self.designs: dict[int, Design] = dict(designs or {})
        self.devices: set[str] = set()
        """Kinds of device that searches of this lab ran on: cpu, cuda."""
        self._slots = max(1, slots)
        self._done: list[Kind] = []
        self._labels: dict[str, list[float]] = {}
        steps: list[Observation] = []
        pace: list[Observation] = []
        spans = []
        for job in sorted(finished, key=lambda j: j.finished_at or 0.0, reverse=True):
            if job.state != "done" or job.device_s <= 0:
                continue
            self.devices.add((job.device or "cpu").split(":")[0])
            work = self.work(job)
            self._done.append(work.kind)
            self._labels.setdefault(job.model_label, []).append(job.device_s)
            if job.started_at is not None and job.finished_at is not None:
                spans.append((job.started_at, job.finished_at, job.device_s))
            if work.assumed_s:
                if job.member_steps:
                    steps.append(_steps_seen(work, job.member_steps, 0.0))
                pace.append(_pace_seen(work, job.member_steps or work.assumed_steps, job.device_s))
        measured = {label: step for (label, _), step in (speed or {}).items() if step > 0}
        self._measured = {
            label: [(length, v) for (name, length), v in (speed or {}).items() if name == label and v > 0]
            for label in measured
            if label not in self._labels
        }
        """Speeds of models of which no search has ended."""
        self._steps, self._pace = Effects(steps), Effects(pace, robust=True)
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

    def work(self, job: JobRow) -> Work:
        """The work of a stored search."""
        return work_of(job, self.designs.get(job.id))

    def read_designs(self, lab: Any, ids: Sequence[int]) -> None:
        """Take from the lab what the specs of these jobs say."""
        wanted = [i for i in ids if i not in self.designs]
        if wanted:
            self.designs |= designs(lab, wanted)

    def search(self, work: Work) -> Eta:
        """Device-seconds of one whole search."""
        guess = self._guess(work)
        return guess.eta() if guess else Eta(None, "unknown: no search of this model was measured")

    def _guess(self, work: Work) -> _Guess | None:
        """Device-seconds of a search before it is begun; None where nothing can be said."""
        kind = work.kind
        measured = self._measured.get(kind.label)
        step_s = work.step_s
        if measured and work.assumed_steps:
            step_s = 1 / min(measured, key=lambda x: abs(math.log(max(1, x[0]) / max(1, kind.length))))[1]
            basis, pace, pace_v = "speed measured here, no search of its kind yet", 0.0, 0.3**2
        elif work.assumed_s is None:
            same = self._labels.get(kind.label)
            if not same:
                return None
            middle = sum(map(math.log, same)) / len(same)
            basis = f"{len(same)} search{'es' if len(same) > 1 else ''} of this model"
            seen = sum((math.log(x) - middle) ** 2 for x in same)
            noise = (2 * SCATTER**2 + seen) / (2 + len(same))  # what is assumed of it counts as two of them
            return _Guess(middle, noise * (1 + 2 / len(same)), noise, basis)
        else:
            pace, pace_v = self._pace_of(kind)
            alike = sum(k[1:4] == kind[1:4] for k in self._done)
            basis = (
                f"{alike} search{'es' if alike > 1 else ''} of its kind"
                if alike
                else f"{len(self._done)} searches of other kinds"
                if self._done
                else "assumed speed of one core: nothing was measured here"
            )
        traits = _steps_traits(kind)
        mean = math.log(work.assumed_steps * (step_s or 1.0)) + self._steps.mean(traits) + pace
        noise = self._steps.scale * STEPS_NOISE**2
        return _Guess(mean, self._steps.variance(traits) + noise + pace_v, noise, basis)

    def _pace_of(self, kind: Kind) -> tuple[float, float]:
        """The log of a step's seconds over the assumed ones, and its variance."""
        traits = _pace_traits(kind)
        noise = self._pace.scale * PACE_NOISE**2
        return self._pace.mean(traits), self._pace.variance(traits) + noise

    def left(self, job: JobRow) -> Eta:
        """Device-seconds that a search still needs: by what such searches took, its own pace and its
        bracket.
        """
        if job.state not in LIVE_STATES:
            return Eta(None)
        work = self.work(job)
        guess = self._guess(work)
        spent = job.device_s or job.wall_s
        if not job.candidates or spent <= 0:
            if guess is None:
                return Eta(None, "unknown: no search of this model was measured")
            part = 1 - job.progress / max(1.0, work.candidates)
            return guess.eta().times(part)
        left = candidates_left(job, self._design(job).rtol)
        if left is not None and job.hi is None:  # each has failed so far: the next ones take as long
            return _more(left, spent / job.candidates, job.progress)
        own = self._own_pace(job, work, spent)
        grid_s = spent / job.candidates / SHARE
        if own is not None:
            # By the steps that are done: what it took to begin is not taken again.
            step_s = (work.step_s or 0.0) * math.exp(own[0])
            spent, grid_s = job.member_steps * step_s, work.trials * work.steps * step_s
            if guess is not None and work.kind.label not in self._measured:
                pace, variance = self._pace_of(work.kind)
                guess = guess._replace(
                    mean=guess.mean - pace + own[0], variance=max(1e-4, guess.variance - variance + own[1])
                )
        course_s, doubt, words = self._course(job, work, spent, grid_s)
        seen = _Guess(math.log(course_s), doubt**2, doubt**2, words)
        rest = remaining(guess.and_seen(seen) if guess else seen, spent)
        # Within a candidate the time that it takes at most goes by, whatever comes after it.
        over = job.progress * min(spent / job.candidates, rest.part)
        return replace(rest.less(over), basis=words)

    def _design(self, job: JobRow) -> Design:
        return self.designs.get(job.id) or Design()

    def _own_pace(self, job: JobRow, work: Work, spent: float) -> tuple[float, float] | None:
        """The pace of a search in training by its kind's and its own, as :meth:`_pace_of`."""
        if not (job.member_steps and work.assumed_s):
            return None
        pace, variance = self._pace_of(work.kind)
        seen = _pace_seen(work, job.member_steps, spent, START_UP_S)
        both = 1 / (1 / variance + 1 / seen.noise)
        return both * (pace / variance + seen.value / seen.noise), both

    def _course(self, job: JobRow, work: Work, spent: float, grid_s: float) -> tuple[float, float, str]:
        """(seconds of the whole by how far the search has come, standard deviation of their log, words)."""
        done = job.candidates
        if job.strategy == "adaptive":
            if job.estimate is None or job.estimate[0] <= 0:
                words = f"{work.candidates:.0f} candidates expected, its own pace"
                return spent * max(1.5, 2 * work.candidates / done), 1.0, words
            value, low, high = job.estimate
            wider = max(1.0, (high - low) / value / work.kind.width)
            if wider > FAINT:
                return spent * FAINT, FAINTLY, "such searches: its interval tells nothing yet"
            # The interval narrows as 1 / work; it ends with the first candidate that makes it narrow enough.
            once = min(spent / 2, work.once * grid_s)
            whole = once + (spent - once) * 1.1 * wider
            return whole, 0.15 + 0.35 * math.log(wider), f"an interval {wider:.1f} x as wide as asked for"
        if job.strategy == "scan":
            rungs = max(work.candidates, done + 1.0)
            words = f"{done} of {rungs:.0f} rungs, its own pace"
            return spent * rungs / done, 0.05 + 0.4 * (1 - done / rungs), words
        failed = min(done - 1, int(spent / grid_s)) if job.lo else 0
        good = (spent - failed * grid_s + 2 * 0.3 * grid_s) / (done - failed + 2)  # of one that succeeds
        each = (min(good, grid_s) + grid_s) / 2  # half of what a bisection still tries fails
        left = candidates_left(job, self._design(job).rtol)
        if left is not None:
            more, doubt = left * each, 0.5
            words = (
                f"{left} more candidate{'s' if left != 1 else ''} at {numbers.duration(each)}, its own pace"
            )
        else:
            down = max(0.0, work.candidates - 4 - done)
            more, doubt, words = down * min(good, grid_s) + grid_s + 3 * each, 0.6, "no candidate failed yet"
        whole = spent + more
        return whole, 0.02 + doubt * more / whole, words

    def _knowing(self, running: Sequence[JobRow]) -> Outlook:
        """The same, which also takes running searches for what they tell, as far as they are over."""
        out = Outlook.__new__(Outlook)
        out.__dict__.update(self.__dict__)
        out._steps, out._pace = self._steps.copy(), self._pace.copy()
        for job in sorted(running, key=lambda j: -j.candidates)[:EVIDENT]:
            spent, work = job.device_s or job.wall_s, self.work(job)
            if not (job.candidates and spent > 0 and job.member_steps and work.assumed_s):
                continue
            out._pace.learn(_pace_seen(work, job.member_steps, spent, START_UP_S))
            rest = self.left(job)
            if rest.seconds is not None and rest.high is not None:
                whole = spent + rest.seconds
                doubt = math.log((spent + rest.high) / whole) / Z80
                out._steps.learn(_steps_seen(work, job.member_steps * whole / spent, 2 * doubt + 0.1))
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
        knowing = self._knowing(running) if queued else self
        waiting = [knowing.left(job) for job in queued if job.candidates]
        fresh = knowing._sum([self.work(job) for job in queued if not job.candidates])
        if not (running or queued):
            return Eta(None)
        if fresh is None or any(guess.seconds is None for guess in (*now, *waiting)):
            return Eta(None, "unknown: a search's model was never measured")
        begun = sum(g.variance for g in now) + times * sum(g.variance for g in waiting)
        total = sum(g.part for g in now) + times * (fresh.mean + sum(g.part for g in waiting))
        own = begun + times * fresh.own
        whole = _Sum(total, own, own + times**2 * (fresh.variance - fresh.own)).eta()
        seconds, low, high = ((x or 0.0) / self.parallel for x in (whole.seconds, whole.low, whole.high))
        many = len(queued) if count is None else count
        basis = f"{many:,} queued, {len(running)} running, {self.parallel:.1f} device-seconds in a second"
        for one in now:  # the longest is not over before it is, however many slots there are
            seconds = max(seconds, one.seconds or 0.0)
            low, high = max(low, one.low or 0.0), max(high, one.high or 0.0)
        return Eta(seconds, basis, low, high)

    def total(self, works: Sequence[Work]) -> Eta:
        """Device-seconds of searches that are not begun."""
        found = self._sum(works)
        return found.eta() if found else Eta(None, "unknown: a search's model was never measured")

    def _sum(self, works: Sequence[Work]) -> _Sum | None:
        """Device-seconds of searches that are not begun. What is not known of an effect is not known of all
        searches that have it at once; the rest evens out.
        """
        shared: tuple[dict[object, tuple[float, float]], ...] = ({}, {})
        seconds = alone = together = 0.0
        for work in works:
            guess = self._guess(work)
            if guess is None:
                return None
            part = guess.eta().part
            seconds += part
            if work.assumed_s is None or work.kind.label in self._measured:
                alone += part**2 * guess.noise
                together += part * math.sqrt(max(0.0, guess.variance - guess.noise))
                continue
            noise = self._steps.scale * STEPS_NOISE**2 + self._pace.scale * PACE_NOISE**2
            alone += part**2 * noise
            for sums, traits in zip(shared, (_steps_traits(work.kind), _pace_traits(work.kind)), strict=True):
                for level, (value, sd) in traits.items():
                    sums[level] = (sums.get(level, (0.0, sd))[0] + part * value, sd)
        variance = self._steps.variance(shared[0]) + self._pace.variance(shared[1]) + alone + together**2
        return _Sum(seconds, alone, variance)


class _Sum(NamedTuple):
    """Device-seconds of several searches."""

    mean: float
    own: float
    """The part of the variance that is each search's own, whose mean counts."""
    variance: float

    def eta(self) -> Eta:
        """Tell it: of few searches the sum is as skewed as one is, and most often below its mean."""
        off = Z80 * math.sqrt(self.variance) / max(self.mean, 1e-9)
        spread = math.exp(math.asinh(off / 2) * 2)  # mean + off where it is small, and never below 0
        middle = self.mean / math.sqrt(1 + self.own / max(self.mean, 1e-9) ** 2)
        return Eta(middle, "", middle / spread, middle * spread, self.mean)


def _steps_seen(work: Work, member_steps: float, doubt: float) -> Observation:
    """What a search tells of the steps of others; ``doubt``: standard deviation of the log of its own."""
    value = math.log(max(1.0, member_steps) / work.assumed_steps)
    return Observation(_steps_traits(work.kind), value, STEPS_NOISE**2 + doubt**2)


def _pace_seen(work: Work, member_steps: float, seconds: float, start: float = START_S) -> Observation:
    """What a search tells of the seconds of a step, where so many were none."""
    value = math.log(seconds / member_steps / (work.step_s or 1.0))
    noise = PACE_NOISE**2 + min(3.0, start / seconds) ** 2
    return Observation(_pace_traits(work.kind), value, noise)


def remaining(whole: _Guess, spent: float) -> Eta:
    """What is left of a search of which this much is over."""
    sd = math.sqrt(whole.variance)
    at = (math.log(spent) - whole.mean) / sd
    if at > 5:  # far beyond what was expected: the tail falls like a power of what is over
        mean = spent * sd / at
        return Eta(mean * math.log(2), "", mean * 0.1, mean * 2.3, mean)
    beyond = _above(at)
    low, middle, high = (math.exp(whole.mean + sd * _quantile(beyond * p)) - spent for p in (0.9, 0.5, 0.1))
    return Eta(middle, "", max(0.0, low), high, min(high, middle * math.exp(whole.noise / 2)))


def _above(z: float) -> float:
    """P(a standard normal is above z)."""
    return math.erfc(z / math.sqrt(2)) / 2


def _quantile(above: float) -> float:
    """The z above which a standard normal lies with this probability."""
    low, high = -9.0, 9.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _above(middle) > above else (low, middle)
    return low


def _more(candidates: int, each: float, progress: float) -> Eta:
    """So many candidates that take as long as the ones before them."""
    seconds = max(0.0, candidates - progress) * each
    basis = f"{candidates} more candidates at {numbers.duration(each)}, its own pace"
    return Eta(seconds, basis, seconds * math.exp(-0.5), seconds * math.exp(0.5))


def job_eta(job: JobRow, outlook: Outlook | None = None) -> Eta:
    """The time that a job still needs in training; by its own pace alone where the lab's past is not at
    hand.
    """
    if outlook is None and not job.candidates:
        return Eta(None)
    return (outlook or Outlook()).left(job)


def designs(lab: Any, ids: Sequence[int]) -> dict[int, Design]:
    """What the specs of these jobs say of their work; ``lab`` is a store.read Lab."""
    found = {i: Design.read(text) for i, text in lab.job_specs(ids).items()}
    return {i: design for i, design in found.items() if design is not None}


@dataclass(frozen=True)
class QueueOutlook:
    """The past of a lab, and when its queue will be done."""

    outlook: Outlook
    eta: Eta


def read_outlook(lab: Any, shown: Sequence[int] = ()) -> QueueOutlook:
    """What Queue, ``labtui queue`` and ``labtui watch`` all answer from; ``lab`` is a store.read Lab and
    ``shown`` further jobs whose time will be asked for.
    """
    from store.filters import Condition

    def ids(state: str, order: str) -> Sequence[int]:
        found: Sequence[int] = lab.job_ids((Condition("state", "=", state),), order, None)
        return found

    done = ids("done", "-finished")
    step = max(1, len(done) // HISTORY)
    past = [*dict.fromkeys([*done[: HISTORY // 2], *done[HISTORY // 2 :: step]])]
    waiting = ids("queued", "queue")
    sample = [*waiting[:: max(1, len(waiting) // QUEUE)]]
    slots = sum(device.slots for device in lab.devices() if device.state == "active")
    running = lab.jobs(ids("running", "queue"))
    known = designs(lab, [*past, *sample, *(job.id for job in running), *shown])
    outlook = Outlook(lab.jobs(past) if past else (), slots, lab.speed(), known)
    queued = lab.jobs(sample) if sample else []
    return QueueOutlook(outlook, outlook.queue(running, queued, len(waiting)))
