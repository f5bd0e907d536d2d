"""Numbers as a person reads them: short, of one width, never lying about what is unknown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from labtui.text import clean

if TYPE_CHECKING:
    from store.rows import JobRow

NONE = "–"


def count(n: float | None) -> str:
    """A sample size or other count in at most five cells: ``7``, ``312``, ``2.94k``, ``16M``."""
    from labtui.analysis import format  # not before the first paint: it loads the rows

    return NONE if n is None else format.count(n)


def exact(n: int | None) -> str:
    """A count in full, thousands apart: ``16,000,000``."""
    return NONE if n is None else f"{n:,}"


def loss(value: float | None) -> str:
    """A loss in at most seven cells: ``0.0321``, ``3.2e-5``, ``0``."""
    if value is None:
        return NONE
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "∞"
    if value == 0:
        return "0"
    if 0.001 <= value < 1000:
        return f"{value:.4f}" if value < 1 else f"{value:.3f}" if value < 10 else f"{value:.1f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def rate(value: float) -> str:
    """A learning rate: ``1e-3``, ``0.02``."""
    if value <= 0 or not math.isfinite(value):
        return str(value)
    exponent = math.floor(math.log10(value) + 1e-9)
    mantissa = value / 10**exponent
    if exponent >= -1:
        return f"{value:g}"
    return f"{mantissa:.3g}e{exponent}"


def duration(seconds: float | None) -> str:
    """A time in at most six cells: ``0.4s``, ``12s``, ``3m04``, ``5h12``, ``2d03h``."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return NONE
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    if seconds < 99.5:
        return f"{seconds:.0f}s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes}m{int(seconds % 60):02d}"
    hours = minutes // 60
    if hours < 48:
        return f"{hours}h{minutes % 60:02d}"
    days = hours // 24
    return f"{days}d{hours % 24:02d}h" if days < 100 else f"{days}d"


def clock(at: float | None) -> str:
    """A time of day in local time: ``14:03:09``."""
    return _local(at, "%H:%M:%S")


def date(at: float | None) -> str:
    """Date and time: ``2026-02-18 14:03``."""
    return _local(at, "%Y-%m-%d %H:%M")


def _local(at: float | None, form: str) -> str:
    import time

    try:
        return NONE if at is None else time.strftime(form, time.localtime(at))
    except (OverflowError, OSError, ValueError):  # no time that this machine knows
        return NONE


def size_bytes(n: float) -> str:
    """Bytes in at most five cells: ``512M``, ``7.6G``."""
    for unit in ("B", "K", "M", "G"):
        if n < 999.5:
            return f"{n:.0f}{unit}" if n >= 10 or unit == "B" else f"{n:.1f}{unit}"
        n /= 1024
    return f"{n:.1f}T" if n < 10 else f"{n:.0f}T"


def bracket(lo: int, hi: int | None, n_max: int, status: str) -> str:
    """N* as a table shows it: ``240``, ``> 16M``, or what is known of an open one: ``120–240``, ``≤ 240``."""
    if status == "censored":
        return f"> {count(n_max)}"
    if status == "bracket" and hi is not None:
        return count(hi)
    if hi is None:
        return NONE
    return f"≤ {count(hi)}" if lo == 0 else f"{count(lo)}–{count(hi)}"


def own_name(job: JobRow) -> str:
    """The name that a person gave a job, made harmless; empty where it is only the label made of its axes."""
    name = clean(job.name)
    return "" if job.model_label in name and name.startswith(f"{job.task} {job.format}") else name


def why(job: JobRow) -> str:
    """What ended a job's last run, and the last line that was said of it:
    ``out of memory: CUDA out of memory. Tried ...``.
    """
    kind, *rest = (job.reason or "").strip().split("\n")
    return clean(": ".join(filter(None, (job.failure or kind, *rest[-1:]))))


def flags(found: tuple[str, ...]) -> str:
    """The flags that need a second look; that N_max is the whole space of sequences is no such thing."""
    return " ".join(flag for flag in found if flag != "capped")


def lengths(distribution: str, length: int, min_length: int) -> str:
    """Which input lengths: ``n=5``, ``2..7``, ``2..7 s2l``."""
    if distribution == "fixed":
        return f"n={length}"
    return f"{min_length}..{length}" + (" s2l" if distribution == "short_to_long" else "")
