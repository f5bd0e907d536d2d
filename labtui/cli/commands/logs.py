"""``labtui logs``: what workers and the supervisor wrote, harmless to the terminal, with follow."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from labtui.cli.arguments import FOLLOW, Parser
from labtui.cli.context import Context
from labtui.text import clean_lines
from store.paths import LabPaths

TAIL_BYTES = 1 << 20


def arguments(parser: Parser) -> None:
    """Take JOB, and how much."""
    parser.add_argument("job", metavar="JOB", nargs="?", help="its workers (else the supervisor)")
    parser.add_argument("-f", "--follow", **FOLLOW)
    parser.add_argument("-n", "--lines", type=int, default=40, metavar="N", help="the last so many (else 40)")
    parser.runs(run, example="7 --follow")


def _files(context: Context) -> list[Path]:
    """The log files to read, the oldest first."""
    paths = LabPaths(context.lab_path)
    if context.args.job is None:
        return [p for p in (paths.supervisor_log,) if p.is_file()]
    job = context.job(context.args.job)
    wanted = {paths.worker_log(p.slot) for p in context.lab.probes(job.id) if p.slot}
    found = [p for p in paths.worker_logs() if p in wanted]
    return sorted(found, key=lambda p: p.stat().st_mtime)


def _tail(path: Path, lines: int) -> tuple[list[str], int]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    return list(deque(clean_lines(text.rstrip("\n")), maxlen=max(0, lines))) if text else [], size


def run(context: Context) -> None:
    """Print the end of the logs; with --follow what is added, until interrupted."""
    args = context.args
    _ = context.lab
    files = _files(context)
    if not any(p.stat().st_size for p in files) and not args.follow:
        what = f"the workers of job {args.job} wrote nothing" if args.job else "no supervisor has run here"
        context.say(f"{what}; what happened: labtui events {args.job or ''}".rstrip())
        if context.json:
            context.emit([])
        return
    offsets: dict[Path, int] = {}
    entries = []
    for path in files:
        lines, offsets[path] = _tail(path, args.lines)
        entries.append({"file": path.name, "lines": lines})
        if not context.json:
            context.lines([f"==> {path.name} <=="] if len(files) > 1 else [])
            context.lines(lines)
    if context.json and not args.follow:
        context.emit(entries)
        return
    while args.follow:
        context.out.flush()
        time.sleep(0.3)
        for path in _files(context):
            size, seen = path.stat().st_size, offsets.get(path, 0)
            if size < seen:
                seen = 0
            if size > seen:
                with path.open("rb") as file:
                    file.seek(seen)
                    added = file.read(size - seen)
                whole = added.rfind(b"\n") + 1 or (len(added) if len(added) > TAIL_BYTES else 0)
                context.lines(
                    clean_lines(added[:whole].decode("utf-8", "replace").rstrip("\n")) if whole else []
                )
                offsets[path] = seen + whole
