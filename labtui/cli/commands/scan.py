"""``labtui scan``: the whole success curve of a job, every N of a ladder with fresh seeds.

The same command shows the curve once it is measured.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labtui.analysis.scan import success_curve
from labtui.analysis.stored import stored_job
from labtui.cli import supervise, writing
from labtui.cli.arguments import START, Parser
from labtui.cli.context import Context
from labtui.cli.errors import BadInput
from labtui.views.scan import curve_lines
from runners.spec import Job, NamedJob, load

MAX_RUNGS = 400
SPREAD = 8
"""The default ladder reaches from bracket / SPREAD to bracket * SPREAD."""


def arguments(parser: Parser) -> None:
    """Take what to scan, and the ladder."""
    parser.add_argument("what", metavar="JOB|FILE", help="a job of the lab, or a job's TOML file")
    parser.add_argument(
        "--ladder", metavar="N,N,...", help="every N (else around the bracket, or over 1..N_max)"
    )
    parser.add_argument("--points", type=int, default=12, metavar="K", help="rungs of the default ladder")
    parser.add_argument(
        "--seeds", type=int, metavar="K", help="fresh seeds at each N (else as many as the grid has)"
    )
    parser.add_argument("--start", **START)
    parser.runs(run, example="7 --ladder 100,200,400 --seeds 10")


def geometric(low: int, high: int, points: int) -> tuple[int, ...]:
    """At most ``points`` different integers from low to high, evenly spaced in log N."""
    if points < 2 or low >= high:
        return (high,)
    ratio = (high / low) ** (1 / (points - 1))
    return tuple(sorted({min(high, max(low, round(low * ratio**i))) for i in range(points)}))


def _source(context: Context) -> tuple[Job, str, tuple[int, int | None] | None]:
    """(job, its name, its bracket where known) of a job of the lab or of a file."""
    what = context.args.what
    if Path(what).suffix == ".toml" or Path(what).is_file():
        spec = load(what)
        if not isinstance(spec, NamedJob):
            raise BadInput(f"{what} is a study; expected a file with one [job]")
        return spec.job, spec.name, None
    row = context.job(what)
    bracket = (row.lo, row.hi) if row.status == "bracket" else None
    job = stored_job(context.lab.job_spec(row.id))
    if job is None:
        raise BadInput(f"the spec of job {row.id} cannot be read; see labtui db check")
    return job, row.name, bracket


def _ladder(text: str, n_max: int) -> tuple[int, ...]:
    words = [w.strip().replace("_", "") for w in text.split(",") if w.strip()]
    if not words or not all(w.isdecimal() and len(w) < 19 for w in words):
        raise BadInput(f"--ladder is {text!r}; expected sample sizes by commas, like 100,200,400")
    rungs = tuple(sorted({int(w) for w in words}))
    if rungs[0] < 1 or rungs[-1] > n_max:
        raise BadInput(
            f"--ladder reaches from {rungs[0]} to {rungs[-1]}; expected 1 to {n_max}, this job's N_max"
        )
    if len(rungs) > MAX_RUNGS:
        raise BadInput(f"--ladder has {len(rungs)} values; expected at most {MAX_RUNGS}")
    return rungs


def _scan_job(context: Context, job: Job, bracket: tuple[int, int | None] | None) -> Job:
    """The job with strategy scan, the ladder and as many seeds as asked for."""
    args = context.args
    if args.seeds is not None and not 1 <= args.seeds <= 1024:
        raise BadInput(f"--seeds is {args.seeds}; expected 1 to 1024")
    if not 2 <= args.points <= MAX_RUNGS:
        raise BadInput(f"--points is {args.points}; expected 2 to {MAX_RUNGS}")
    if args.ladder is not None:
        ladder = _ladder(args.ladder, job.n_max)
    elif job.search.strategy == "scan":
        ladder = job.search.ladder
    else:
        low, high = bracket if bracket is not None else (0, None)
        ends = (max(1, low // SPREAD), min(job.n_max, high * SPREAD)) if high is not None else (1, job.n_max)
        ladder = geometric(*ends, args.points)
    data: dict[str, Any] = job.model_dump(mode="json")
    data["search"] |= {"strategy": "scan", "ladder": list(ladder), "max_candidates": None}
    if args.seeds is not None:
        first = job.grid.seeds[0]
        data["grid"]["seeds"] = [first, *(s for s in range(args.seeds) if s != first)][: args.seeds]
    return _job(data)


def _job(data: dict[str, Any]) -> Job:
    return Job.from_json(json.dumps(data))


def run(context: Context) -> None:
    """Queue the scan, or show its curve where the lab has it already."""
    if context.args.start:
        writing.require_torch()
    source, name, bracket = _source(context)
    job = _scan_job(context, source, bracket)
    known = {}
    if context.lab_path.exists():
        known = {row.hash: row.id for row in context.lab.jobs() if row.state == "done"}
    if job.hash in known:
        curve(context, known[job.hash])
        return
    context.will_write()
    done = writing.submit(context.lab_path, NamedJob(name=f"scan of {name or job.label}"[:80], job=job))
    context.close()
    context.say(f"job {done.jobs[0]}: {len(job.search.ladder)} N with {len(job.grid.seeds)} fresh seeds each")
    if context.args.start:
        supervise.start(context)
    if context.json:
        context.emit(
            {"job": done.jobs[0], "hash": job.hash, "ladder": job.search.ladder, "seeds": len(job.grid.seeds)}
        )
    else:
        context.say("its curve, once it is done: the same command again, or labtui show")


def curve(context: Context, job_id: int) -> None:
    """Tell the measured curve."""
    row = context.lab.jobs([job_id])[0]
    found = success_curve(context.lab.probes(job_id))
    if context.json:
        context.emit({"job": row, **found.to_dict()})
    else:
        context.lines(curve_lines(row, found))
