"""How far off the estimates are: of each search when it is submitted, and of what is left of the whole queue.

Replays the past of a lab: what is told at a moment rests on what had been submitted and had ended by then,
and on how far the running searches had come, an adaptive one's interval included. Nothing is trained. A
machine that does other work besides changes its speed, which nobody can foretell; so each lab is also
replayed at an even speed, at which every candidate takes its recorded member-steps times the lab's median
seconds of such a step (of its model, format and length).

    python -m benchmarks.estimates LAB...

What hardly an estimate can do, as seeds decide how long a search takes: ``--bound`` takes labs of one study
that differ in their seeds alone, and tells how often the rest of each is within 30 % where the mean of every
search that waits is known from the other labs, and how long the running ones still take exactly or by them.

    python -m benchmarks.estimates --bound LAB LAB...
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median

from labtui.analysis.eta import Design, Eta, Outlook, designs
from store.read import open_lab
from store.rows import JobRow, ProbeRow

MOMENTS = 100
"""Moments at which the whole queue is asked for, evenly spaced in its device-seconds: a person looks at any
time, and most of the time a long search trains."""
LATE = 0.25, 0.95
"""Shares of the queue that is done, between which its rest is judged."""


@dataclass(frozen=True)
class Past:
    """What a lab holds of searches that ended."""

    jobs: Sequence[JobRow]
    probes: Mapping[int, Sequence[ProbeRow]]
    designs: Mapping[int, Design]

    def at_even_speed(self) -> Past:
        """The same, had the machine done nothing else."""
        paces: dict[tuple[str, str, int], list[float]] = defaultdict(list)
        for job in self.jobs:
            for p in self.probes[job.id]:
                if p.member_steps:
                    paces[_pace_key(job)].append(p.wall_s / p.member_steps)
        pace = {key: median(found) for key, found in paces.items()}
        probes = {
            job.id: [replace(p, wall_s=p.member_steps * pace.get(_pace_key(job), 0.0))
                     for p in self.probes[job.id]]
            for job in self.jobs
        }  # fmt: skip
        jobs = [
            replace(job, device_s=took, wall_s=took)
            for job in self.jobs
            if (took := sum(p.wall_s for p in probes[job.id])) > 0
        ]
        return replace(self, jobs=jobs, probes=probes)


def _pace_key(job: JobRow) -> tuple[str, str, int]:
    return job.model_label, job.format, job.length


@dataclass(frozen=True)
class Told:
    """One estimate beside what took place."""

    job: JobRow | None
    known: bool
    """A search of its kind (model, format, task) had ended; of the queue, one of each model that waits."""
    share: float
    """Of the queue: how much of it was done."""
    ratio: float
    """Estimate over truth."""
    held: bool
    """The truth lies in the interval, which is said to hold it in 80 of 100."""


def _told(guess: Eta, truth: float, *, by: float = 1.0, job: JobRow | None = None, known: bool = True,
          share: float = 0.0) -> Told:  # fmt: skip
    low, high = (guess.low or 0.0) * by, (guess.high or 0.0) * by
    return Told(job, known, share, (guess.seconds or 0.0) * by / truth, low <= truth <= high)


def as_queued(job: JobRow) -> JobRow:
    """The search as it stood before it began."""
    return replace(
        job,
        state="queued",
        status="open",
        lo=0,
        hi=None,
        candidates=0,
        wall_s=0.0,
        device_s=0.0,
        member_steps=0,
        progress=0.0,
        estimate=None,
        n50=None,
        started_at=None,
        finished_at=None,
    )


def in_order(jobs: Sequence[JobRow]) -> list[JobRow]:
    """Done searches in the order in which they ended."""
    return sorted(
        (j for j in jobs if j.state == "done" and j.device_s > 0), key=lambda j: j.finished_at or 0.0
    )


def at_submit(past: Past) -> list[Told]:
    """Each search, told by those that ended before it did."""
    done: list[JobRow] = []
    out = []
    for job in in_order(past.jobs):
        outlook = Outlook(done, designs=past.designs)
        guess = outlook.search(outlook.work(as_queued(job)))
        known = any(
            (p.model_label, p.format, p.task) == (job.model_label, job.format, job.task) for p in done
        )
        if guess.seconds is not None:
            out.append(_told(guess, job.device_s, job=job, known=known))
        done.append(job)
    return out


def interval_after(
    job: JobRow, ended: Sequence[ProbeRow], design: Design | None
) -> tuple[float, float, float] | None:
    """N* of an adaptive search with its interval, as its row had it after these candidates."""
    if job.strategy != "adaptive" or design is None:
        return None
    from runners.search.adaptive import opening_n, totals
    from runners.search.family import Family
    from runners.search.posterior import posterior
    from runners.verdict import Evidence

    counts = totals(Evidence(p.n, bool(p.verdict), p.seeds, p.successes) for p in ended)
    top, _ = opening_n(job.n_max, counts)
    if top is None:
        return None
    post = posterior(Family(design.seeds), {n: c for n, c in counts.items() if n <= top}, top)
    return post.n_star().as_tuple()


def as_it_stood(
    job: JobRow, probes: Sequence[ProbeRow], now: float, design: Design | None = None
) -> tuple[JobRow, float]:
    """(the search as its row was at that time, the device-seconds that it still needed)."""
    if (job.finished_at or math.inf) <= now:
        return job, 0.0
    if (job.started_at or math.inf) > now:
        return as_queued(job), job.device_s
    whole = sum(p.wall_s for p in probes) or 1.0
    ended = [p for p in probes if (p.ended_at or math.inf) <= now]
    part = progress = 0.0
    for p in probes:
        if p.ended_at is not None and p.started_at < now < p.ended_at:
            progress = (now - p.started_at) / (p.ended_at - p.started_at)
            part = progress * p.wall_s
    over = sum(p.wall_s for p in ended)
    hi = min((p.n for p in ended if p.verdict), default=None)
    lo = max((p.n for p in ended if not p.verdict and (hi is None or p.n < hi)), default=0)
    row = replace(
        as_queued(job),
        state="running",
        lo=lo,
        hi=hi,
        candidates=len(ended),
        device_s=job.device_s * over / whole,
        wall_s=over,
        member_steps=sum(p.member_steps for p in ended),
        progress=progress,
        started_at=job.started_at,
        estimate=interval_after(job, ended, design) if ended else None,
    )
    return row, max(0.0, job.device_s * (1 - (over + part) / whole))


def moments(past: Past, count: int = MOMENTS) -> Iterator[float]:
    """Ends of candidates, evenly spaced in device-seconds."""
    order = {job.id for job in in_order(past.jobs)}
    ends = sorted((p.ended_at, p.wall_s) for i in order for p in past.probes[i] if p.ended_at is not None)
    whole, done, following = sum(took for _, took in ends), 0.0, 0
    for now, took in ends[:-1]:
        done += took
        if done >= following * whole / count:
            following = int(done * count / whole) + 1
            yield now


def of_the_queue(past: Past, count: int = MOMENTS, earlier: Sequence[JobRow] = ()) -> list[Told]:
    """What is left of all that had been submitted by then; ``earlier``: searches of the lab that were done
    before this queue began.
    """
    out = []
    for now in moments(past, count):
        order = [job for job in in_order(past.jobs) if job.created_at <= now]
        stood = [as_it_stood(job, past.probes[job.id], now, past.designs.get(job.id)) for job in order]
        whole, rest = sum(job.device_s for job in order), sum(seconds for _, seconds in stood)
        rows = [row for row, _ in stood]
        outlook = Outlook(
            [*earlier, *(row for row in rows if row.state == "done")], slots=2, designs=past.designs
        )
        guess = outlook.queue(
            [row for row in rows if row.state == "running"], [row for row in rows if row.state == "queued"]
        )
        if guess.seconds is not None and rest > 0:
            # of one device: how many run at once is no part of this
            ended = {row.model_label for row in rows if row.state == "done"}
            known = all(row.model_label in ended for row in rows if row.state == "queued")
            out.append(_told(guess, rest, by=outlook.parallel, share=1 - rest / whole, known=known))
    return out


def _same_search(job: JobRow) -> tuple[str | int, ...]:
    return job.task, *_pace_key(job), job.distribution, job.strategy


def bound(past: Past, others: Sequence[Past], exact: bool) -> list[Told]:
    """What is left of the queue at the same moments by other labs' searches: of those that wait the mean, of
    those that run the truth (``exact``) or the mean of those others that took longer than this one so far.
    """
    took: dict[tuple[str | int, ...], list[float]] = defaultdict(list)
    for other in others:
        for job in other.jobs:
            took[_same_search(job)].append(job.device_s)
    whole_of = {job.id: job.device_s for job in past.jobs}

    def left(row: JobRow, seconds: float) -> float:
        same = took[_same_search(row)]
        if row.state == "queued":
            return mean(same)
        if exact or row.state != "running":
            return seconds
        spent = whole_of[row.id] - seconds
        longer = [other - spent for other in same if other > spent]
        return mean(longer) if longer else spent / 4

    out = []
    for now in moments(past):
        stood = [as_it_stood(job, past.probes[job.id], now) for job in in_order(past.jobs)]
        whole, rest = sum(job.device_s for job in past.jobs), sum(seconds for _, seconds in stood)
        if rest > 0:
            out.append(_told(Eta(sum(left(*one) for one in stood)), rest, share=1 - rest / whole))
    return out


@dataclass(frozen=True)
class Summary:
    """Shares of a lab's estimates that were right."""

    searches: int
    """Those of which one of their kind was measured before."""
    within_twice: float
    """Of these: estimate over truth within 0.5 to 2."""
    held: float
    """Of these: the interval holds the truth."""
    rest_within: float
    """Of the moments from a quarter of the queue on: its rest within 30 %."""
    rest_held: float
    """Of these: the interval holds it."""
    measured_within: float
    """The same as ``rest_within``, of the moments at which a search of every model that waits had ended."""

    @property
    def line(self) -> str:
        return (
            f"{self.within_twice:.0%} of {self.searches} searches within 0.5 to 2 at submit "
            f"(intervals hold {self.held:.0%}), the rest of the queue within 30 % at {self.rest_within:.0%} "
            f"of the moments (intervals hold {self.rest_held:.0%}), at {self.measured_within:.0%} of those "
            "where every model that waits was measured"
        )


def summary(past: Past) -> Summary:
    """At submit once one of its kind was measured, and of the queue from a quarter of it on."""
    known = [told for told in at_submit(past) if told.known]
    late = [told for told in of_the_queue(past) if LATE[0] <= told.share <= LATE[1]]

    def share(told: Sequence[Told], good: Callable[[Told], bool]) -> float:
        return sum(map(good, told)) / max(1, len(told))

    return Summary(
        len(known),
        share(known, lambda t: 0.5 <= t.ratio <= 2),
        share(known, lambda t: t.held),
        share(late, lambda t: 1 / 1.3 <= t.ratio <= 1.3),
        share(late, lambda t: t.held),
        share([t for t in late if t.known], lambda t: 1 / 1.3 <= t.ratio <= 1.3),
    )


def print_bound(paths: Sequence[str]) -> None:
    """All labs, each by the others."""
    labs = [read(path) for path in paths]
    if len(labs) < 2 or len({frozenset(map(_same_search, lab.jobs)) for lab in labs}) > 1:
        raise SystemExit("--bound takes two or more labs in which the same searches are done")
    for exact, how in ((True, "running ones exactly"), (False, "running ones by the others too")):
        told = [t for i, lab in enumerate(labs) for t in bound(lab, [*labs[:i], *labs[i + 1 :]], exact)]
        late = [1 / 1.3 <= t.ratio <= 1.3 for t in told if LATE[0] <= t.share <= LATE[1]]
        words = f"{len(labs)} labs, {how}: the rest within 30 % at {sum(late)} of {len(late)} moments"
        sys.stdout.write(f"{words}\n")


def read(path: str) -> Past:
    """The past of a lab's file."""
    with open_lab(path, read_only=True) as lab:
        jobs = [job for job in lab.jobs() if job.state == "done"]
        probes = {
            j.id: [p for p in lab.probes(j.id) if p.state == "done" and not p.speculative] for j in jobs
        }
        return Past(jobs, probes, designs(lab, [job.id for job in jobs]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labs", nargs="+", metavar="LAB")
    parser.add_argument("--each", action="store_true", help="every search and every moment")
    parser.add_argument("--bound", action="store_true", help="how well labs of one study tell each other")
    args = parser.parse_args()
    if args.bound:
        print_bound(args.labs)
        return
    out = sys.stdout.write
    for path in args.labs:
        recorded = read(path)
        for how, past in (("as recorded", recorded), ("at an even speed", recorded.at_even_speed())):
            if args.each:
                for t in at_submit(past):
                    job = t.job
                    assert job is not None
                    name = f"{job.model_label} {job.format} {job.task} {job.distribution} L={job.length}"
                    out(f"  {job.id:>5} {name} {t.known!s:>5} {t.ratio:6.2f}{'' if t.held else ' outside'}\n")
                for t in of_the_queue(past):
                    out(f"  {t.share:5.0%} done: rest {t.ratio:5.2f}{'' if t.held else ' outside'}\n")
            out(f"{path}, {how}: {summary(past).line}\n")


if __name__ == "__main__":
    main()
