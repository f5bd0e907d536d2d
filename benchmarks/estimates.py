"""How far off the estimates are: of each search when it is submitted, and of what is left of the whole queue.

Replays the past of a lab search by search: what is told of one rests on those that ended before it.
Nothing is
trained.

    python -m benchmarks.estimates LAB...
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from labtui.analysis.eta import Outlook, work_of
from store.read import open_lab
from store.rows import JobRow


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


def of_the_queue(jobs: Sequence[JobRow]) -> list[tuple[float, float]]:
    """(share of the queue's device-seconds that is done, predicted / actual of the rest), after each end."""
    order = in_order(jobs)
    whole = sum(job.device_s for job in order)
    out = []
    for i in range(1, len(order)):
        rest = sum(job.device_s for job in order[i:])
        guess = Outlook(order[:i]).queue([], [as_queued(job) for job in order[i:]])
        if guess.seconds is not None and rest > 0:
            # the share of one device: how many run at once is no part of this
            out.append((1 - rest / whole, guess.seconds * Outlook(order[:i]).parallel / rest))
    return out


def summary(jobs: Sequence[JobRow]) -> tuple[float, float, int]:
    """(share of searches within 0.5 to 2 once one of their kind was measured, share of the moments from a
    quarter
    of the queue on at which the rest is within 30 %, searches).
    """
    known = [ratio for _, measured, ratio in at_submit(jobs) if measured]
    late = [ratio for share, ratio in of_the_queue(jobs) if 0.25 <= share <= 0.95]
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
        if args.each:
            for job, known, ratio in at_submit(jobs):
                out(
                    f"  {job.id:>5} {job.model_label} {job.format} L={job.length} {known!s:>5} {ratio:6.2f}\n"
                )
            for share, ratio in of_the_queue(jobs):
                out(f"  {share:5.0%} done: rest {ratio:5.2f}\n")
        within, rest, count = summary(jobs)
        out(
            f"{path}: {within:.0%} of {count} searches within 0.5 to 2 at submit once one of their kind was "
            f"measured; the rest of the queue within 30 % at {rest:.0%} of the moments "
            "from a quarter of it on\n"
        )


if __name__ == "__main__":
    main()
