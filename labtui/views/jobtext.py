"""The words that belong to a job: its spec with every default, its events, its worker's log."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labtui.text import clean, clean_lines
from labtui.views import numbers as figures
from labtui.views.lines import Line, text_line
from store.json import mapping
from store.rows import EventRow, JobRow, ProbeRow

LOG_BYTES = 64_000
LEVELS = {"info": "dim", "warning": "warn", "error": "bad"}


def spec_lines(spec: str, job: JobRow, provenance: Sequence[tuple[str, str]] = ()) -> list[Line]:
    """The stored spec, one key per line, in the order of the file."""
    data = mapping(spec)
    lines: list[Line] = []
    plain = {k: v for k, v in data.items() if not isinstance(v, dict)}
    for key, value in plain.items():
        lines.append(_pair(key, value))
    for section, values in data.items():
        if isinstance(values, dict):
            lines.append(text_line(f" {clean(section)}", "heading"))
            lines += [_pair(key, value, "   ") for key, value in values.items() if value not in (None, [])]
    lines.append(text_line(" job", "heading"))
    for key, value in (
        ("hash", job.hash[:16]),
        ("n_max", figures.exact(job.n_max)),
        ("attempt", f"{job.attempt}"),
        ("created", figures.date(job.created_at)),
        ("device_s", f"{job.device_s:.1f}"),
        ("member_steps", figures.exact(job.member_steps)),
        ("notes", job.notes),
        ("tags", " ".join(job.tags)),
    ):
        if value:
            lines.append(_pair(key, value, "   "))
    if provenance:
        lines.append(text_line(" made with", "heading"))
        lines += [_pair(key, value, "   ") for key, value in provenance]
    return lines


def _pair(key: str, value: Any, indent: str = " ") -> Line:
    return ((f"{indent}{clean(str(key)):<16} ", "dim"), (clean(literal(value)), ""))


def literal(value: Any) -> str:
    """A value as the spec file writes it, lists without brackets."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(map(literal, value))
    return json.dumps(value) if isinstance(value, dict) else str(value)


def event_lines(events: Sequence[EventRow]) -> list[Line]:
    """Events, oldest first."""
    return [((f" {figures.clock(e.at)} ", "dim"), (clean(e.text), LEVELS.get(e.level, ""))) for e in events]


def log_lines(lines: Sequence[str]) -> list[Line]:
    """A log as it stands in its file, made harmless."""
    if not lines:
        return [text_line(" no log yet", "dim")]
    return [text_line(f" {line}", "dim" if not _loud(line) else "bad") for line in lines]


def _loud(line: str) -> bool:
    return line.startswith(("Traceback", "Error", "ERROR")) or "Error:" in line


def read_log(lab_path: str | os.PathLike[str], job: JobRow, probe: ProbeRow | None) -> list[str]:
    """The end of the worker's log that has to do with a job: that of its slot, else the newest;
    at most 64 kB.
    """
    from store.paths import LabPaths

    paths = LabPaths(Path(lab_path))
    own = paths.worker_log((probe.slot or "") if probe else "")
    files = paths.worker_logs()
    try:
        chosen = own if own in files else max(files, key=lambda p: p.stat().st_mtime, default=None)
        if chosen is None:
            return []
        with chosen.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = clean_lines(text)
    return lines[1:] if size > LOG_BYTES else lines[:-1] if lines and not lines[-1] else lines
