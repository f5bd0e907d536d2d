"""The coverage floor: after how many sequences a table of transitions would do (docs/science.md).

With acot every pair (state, token) that a training sequence passes through tells where it leads, so a learner
that only tabulates is right on a sequence as long as every pair on its way was seen. A model above that
number wastes data, one below it uses structure. Standard library alone: the screens come here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import log
from typing import TYPE_CHECKING

from labtui.analysis.stored import stored_job

if TYPE_CHECKING:
    from runners.spec import Job
    from store.read import Lab

Table = tuple[tuple[int, ...], ...]
RUNS = 31
"""Simulated training streams; the median is told."""
WORK = 40_000_000
"""Steps of a simulation at most; a task that would take more has no floor."""


def floors(lab: Lab, jobs: Iterable[int]) -> dict[int, float]:
    """The floor of each of these jobs that has one, in sequences."""
    found = {}
    for i in dict.fromkeys(jobs):
        if (floor := _of_text(lab.job_spec(i))) is not None:
            found[i] = floor
    return found


@lru_cache(maxsize=4096)
def _of_text(text: str) -> float | None:
    job = stored_job(text) if '"acot"' in text else None
    return coverage_floor(job) if job is not None else None


def coverage_floor(job: Job) -> float | None:
    """Sequences after which a table of transitions would meet the search's criterion; None where that is not
    defined: another format, a stream ordered by length, labels that do not tell the state, too large a
    table.

    The criterion is expected: the loss of a learner that knows a position, or guesses once it has met a pair
    that it never saw, is below eps.
    """
    if job.program is not None or job.format != "acot" or job.lengths.distribution == "short_to_long":
        return None
    from runners.spec import Automaton, Product

    lengths = tuple(job.lengths.range)
    task = job.task
    if isinstance(task, Automaton):
        if task.output:
            return None
        met = _criterion(job, lengths, len(_reached(task.table, task.start)))
        if _is_uniform(task.table, task.start):
            return uniform(task.n_states * task.n_tokens, lengths, met)
        return simulated(task.table, task.start, lengths, met)
    factors = task.factors if isinstance(task, Product) else (task,)
    if any(f.kind not in ("modular_addition", "permutation_composition", "dihedral") for f in factors):
        return None
    return uniform(task.n_states * task.n_tokens, lengths, _criterion(job, lengths, task.n_states))


Criterion = Callable[[Sequence[float]], bool]
"""Whether it is met; the i-th number is the chance that the first i + 1 pairs of a sequence are known."""


def _criterion(job: Job, lengths: Sequence[int], states: int) -> Criterion:
    if job.search.criterion == "accuracy":
        return accuracy_at_least(job.search.accuracy, lengths)
    positions = sum(lengths)

    def met(known: Sequence[float]) -> bool:
        lost = sum(1 - known[i] for n in lengths for i in range(n))
        return log(max(2, states)) * lost / positions < job.search.eps

    return met


def accuracy_at_least(q: float, lengths: Sequence[int]) -> Criterion:
    """The mean chance over the lengths that a whole sequence is right."""
    return lambda known: sum(known[n - 1] for n in lengths) / len(lengths) >= q


def uniform(pairs: int, lengths: Sequence[int], met: Criterion) -> float:
    """The floor where every pair is as likely as every other.

    A pair is unseen after T transitions with the chance u = exp(-T / pairs), and i pairs are all seen with
    (1 - u)^i: so T = pairs ln(1 / u) at the largest u that meets the criterion. For one length n and
    accuracy q that is pairs ln(1 / (1 - q^(1/n))). That all sequences begin at one state is neglected.
    """
    low, high = -60.0, 0.0  # ln u
    longest = max(lengths)
    for _ in range(60):
        middle = (low + high) / 2
        u = 2.718281828459045**middle
        if met([(1 - u) ** (i + 1) for i in range(longest)]):
            low = middle
        else:
            high = middle
    return pairs * -low * len(lengths) / sum(lengths)


@lru_cache(maxsize=256)
def _reached(table: Table, start: int) -> frozenset[int]:
    seen, new = {start}, [start]
    while new:
        for state in set(table[new.pop()]) - seen:
            seen.add(state)
            new.append(state)
    return frozenset(seen)


def _is_uniform(table: Table, start: int) -> bool:
    """From every state the tokens lead to every state equally often: from the first token on each state, and
    so each pair, is as likely as every other."""
    n = len(table)
    if len(_reached(table, start)) < n or len(table[0]) % n:
        return False
    return all(sorted(row) == sorted(list(range(n)) * (len(row) // n)) for row in table)


def simulated(table: Table, start: int, lengths: Sequence[int], met: Criterion) -> float | None:
    """The floor by simulation: random streams, and for each the exact chances of the learner that has seen
    its first N sequences; the median over the streams of the smallest N that meets the criterion.
    """
    cost = len(table) * len(table[0]) * max(lengths) * 12
    runs = min(RUNS, WORK // cost)
    found = sorted(_one_stream(table, start, lengths, met, random.Random(run)) for run in range(runs))  # noqa: S311
    return float(found[len(found) // 2]) if found else None


def _one_stream(
    table: Table, start: int, lengths: Sequence[int], met: Criterion, source: random.Random
) -> int:
    first: dict[tuple[int, int], int] = {}
    drawn, tokens, longest = 0, len(table[0]), max(lengths)
    low, high = 0, 16
    while True:
        while drawn < high:
            drawn += 1
            state = start
            for _ in range(source.choice(lengths)):
                token = source.randrange(tokens)
                first.setdefault((state, token), drawn)
                state = table[state][token]
        if met(_known(table, start, longest, first, high)):
            break
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if met(_known(table, start, longest, first, middle)):
            high = middle
        else:
            low = middle
    return high


def _known(table: Table, start: int, longest: int, first: dict[tuple[int, int], int], n: int) -> list[float]:
    """The chance that the first 1, 2, ... pairs of a random sequence were all seen in the first n."""
    at = {start: 1.0}
    seen: dict[int, list[int]] = {}
    for (state, token), when in first.items():
        if when <= n:
            seen.setdefault(state, []).append(table[state][token])
    share = 1 / len(table[0])
    out = []
    for _ in range(longest):
        after: dict[int, float] = {}
        for state, chance in at.items():
            for target in seen.get(state, ()):
                after[target] = after.get(target, 0.0) + chance * share
        at = after
        out.append(sum(at.values()))
    return out
