"""How far off the estimates are: of each search when it is submitted, and of what is left of the whole queue.

Replays the past of a lab: what is told at a moment rests on what had ended by then, and on how far the
running searches had come. Nothing is trained.

    python -m benchmarks.estimates LAB...
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from labtui.analysis.eta import Outlook, work_of
from store.read import open_lab
from store.rows import JobRow, ProbeRow


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
        progress=0.0,
    )


def in_order(jobs: Sequence[JobRow]) -> list[JobRow]:
    """Done searches in the order in which they ended."""
    return sorted(
        (j for j in jobs if j.state == "done" and j.device_s > 0), key=lambda j: j.finished_at or 0.0
    )


def at_submit(jobs: Sequence[JobRow]) -> list[tuple[JobRow, bool, float]]:
    """(search, whether one of its kind was measured before, predicted / actual)."""
    done: list[JobRow] = []
    out = []
    for job in in_order(jobs):
        guess = Outlook(done).search(work_of(as_queued(job)))
        known = any(
            (p.model_label, p.format, p.task) == (job.model_label, job.format, job.task) for p in done
        )
        if guess.seconds is not None:
            out.append((job, known, guess.seconds / job.device_s))
        done.append(job)
    return out


def as_it_stood(job: JobRow, probes: Sequence[ProbeRow], now: float) -> tuple[JobRow, float]:
    """(the search as its row was at that time, the device-seconds that it still needed)."""
    if (job.finished_at or math.inf) <= now:
        return job, 0.0
    whole = sum(p.wall_s for p in probes) or 1.0
    ended = [p for p in probes if (p.ended_at or math.inf) <= now]
    part = progress = 0.0
    for p in probes:
        if p.ended_at is not None and p.started_at < now < p.ended_at:
            progress = (now - p.started_at) / (p.ended_at - p.started_at)
            part = progress * p.wall_s
    rest = job.device_s * (1 - (sum(p.wall_s for p in ended) + part) / whole)
    if (job.started_at or math.inf) > now:
        return as_queued(job), job.device_s
    hi = min((p.n for p in ended if p.verdict), default=None)
    lo = max((p.n for p in ended if not p.verdict and (hi is None or p.n < hi)), default=0)
    row = replace(
        job,
        state="running",
        status="open",
        lo=lo,
        hi=hi,
        candidates=len(ended),
        device_s=job.device_s * sum(p.wall_s for p in ended) / whole,
        wall_s=sum(p.wall_s for p in ended),
        progress=progress,
        finished_at=None,
    )
    return row, max(0.0, rest)


def of_the_queue(
    jobs: Sequence[JobRow], probes: Mapping[int, Sequence[ProbeRow]], earlier: Sequence[JobRow] = ()
) -> list[tuple[float, float]]:
    """(share of the queue's device-seconds that is done, predicted / actual of the rest), after each
    candidate's end; ``earlier``: searches of the lab that were done before this queue began.
    """
    order = in_order(jobs)
    whole = sum(job.device_s for job in order)
    moments = sorted(p.ended_at for job in order for p in probes[job.id] if p.ended_at is not None)
    out = []
    for now in moments[:-1]:
        stood = [as_it_stood(job, probes[job.id], now) for job in order]
        rest = sum(seconds for _, seconds in stood)
        rows = [row for row, _ in stood]
        outlook = Outlook([*earlier, *(row for row in rows if row.state == "done")])
        guess = outlook.queue(
            [row for row in rows if row.state == "running"], [row for row in rows if row.state == "queued"]
        )
        if guess.seconds is not None and rest > 0:
            # the share of one device: how many run at once is no part of this
            out.append((1 - rest / whole, guess.seconds * outlook.parallel / rest))
    return out


def summary(jobs: Sequence[JobRow], probes: Mapping[int, Sequence[ProbeRow]]) -> tuple[float, float, int]:
    """(share of searches within 0.5 to 2 once one of their kind was measured, share of the moments from a
    quarter of the queue on at which the rest is within 30 %, searches).
    """
    known = [ratio for _, measured, ratio in at_submit(jobs) if measured]
    late = [ratio for share, ratio in of_the_queue(jobs, probes) if 0.25 <= share <= 0.95]
    return (
        sum(0.5 <= r <= 2 for r in known) / max(1, len(known)),
        sum(1 / 1.3 <= r <= 1.3 for r in late) / max(1, len(late)),
        len(known),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labs", nargs="+", metavar="LAB")
    parser.add_argument("--each", action="store_true", help="every search and every moment")
    args = parser.parse_args()
    out = sys.stdout.write
    for path in args.labs:
        with open_lab(path, read_only=True) as lab:
            jobs = lab.jobs()
            probes = {
                j.id: [p for p in lab.probes(j.id) if p.state == "done" and not p.speculative] for j in jobs
            }
        if args.each:
            for job, known, ratio in at_submit(jobs):
                out(
                    f"  {job.id:>5} {job.model_label} {job.format} L={job.length} {known!s:>5} {ratio:6.2f}\n"
                )
            for share, ratio in of_the_queue(jobs, probes):
                out(f"  {share:5.0%} done: rest {ratio:5.2f}\n")
        within, rest, count = summary(jobs, probes)
        out(
            f"{path}: {within:.0%} of {count} searches within 0.5 to 2 at submit once one of their kind was "
            f"measured; the rest of the queue within 30 % at {rest:.0%} of the moments "
            "from a quarter of it on\n"
        )


if __name__ == "__main__":
    main()
