"""The field study's counts beside those that others published: python -m benchmarks.field [LAB].

For every search of docs/labs/field.toml that measures given N with fresh seeds: how many seeds of how many
learned at each N, what the published table has there, and the accuracy at twice the length where that was
measured (the best seed's and the median one's; 0 is chance, 1 perfection).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from labtui import Lab

LAB = Path(__file__).resolve().parents[1] / "docs" / "labs" / "field.db"
PUBLISHED = {
    ("Z8", "pd_ssm 16"): {60: "0/10", 92: "1/10", 141: "5/10", 217: "8/10", 333: "10/10"},
    ("Z12", "pd_ssm 24"): {189: "0/10", 317: "4/10", 533: "9/10", 895: "10/10"},
    ("Z16", "pd_ssm 32"): {311: "0/10", 556: "6/10", 993: "10/10"},
    ("Z16", "lstm 32"): {993: "0/3", 1774: "2/3"},
    ("Z16", "gru 32"): {993: "0/3", 1774: "2/3"},
    ("random 8 seed 1", "lstm 16"): {8872: "0/3"},
    ("random 8 seed 1", "gru 16"): {8872: "0/3"},
    ("random 16 seed 1", "lstm 32"): {8872: "0/3"},
}
"""(task, model) -> N -> seeds that learned, of seeds (yashmahe2020/state-tracking-complexity, 2026-07)."""
Row = tuple[str, str, str, str, str, str, str]
HEAD: Row = ("task", "model", "n", "N", "learned", "published", "at 2n: best, median")


def rows(path: Path) -> list[Row]:
    """One for every N that is done, of every search."""
    lab = Lab(path, frames="rows")
    jobs = [job for job in lab.jobs() if job.strategy == "scan" and job.state == "done"]
    tested: dict[int, list[float]] = {}
    for trial in lab.trials():
        if trial.generalisation is not None:
            tested.setdefault(trial.job_id, []).append(trial.generalisation)
    probes = [probe for probe in lab.probes() if probe.state == "done"]
    found = []
    for job in sorted(jobs, key=lambda job: job.id):
        for probe in sorted((p for p in probes if p.job_id == job.id), key=lambda p: p.n):
            theirs = PUBLISHED.get((job.task, job.model_label), {}).get(probe.n, "")
            far = tested.get(job.id, [])
            shown = f"{max(far):.2f}, {median(far):.2f}" if far and probe.n == job.n_max else ""
            learned = f"{probe.successes}/{probe.seeds}"
            found.append((job.task, job.model_label, str(job.length), f"{probe.n:,}", learned, theirs, shown))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lab", nargs="?", type=Path, default=LAB)
    table = [HEAD, *rows(parser.parse_args().lab)]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEAD))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
