"""Numbers as a person reads them, on screens, in tables and in texts alike: short, and never lying about what
is unknown.

One writer for each kind of number. Signs beyond ASCII are spelled by :func:`labtui.text.to_ascii` where a
terminal has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Protocol

from labtui.text import clean
from runners.verdict import Result, diverged
from store.states import GOALS

if TYPE_CHECKING:
    from store.rows import JobRow

NONE = "–"
SCATTER = "scatter unknown"
"""Of a number from one bisection: other seeds give another one, and how far off is not known."""
DIVERGED = "all trials diverged"
"""In the place of an N* of which nothing is known."""
_SUFFIXES = ("", "k", "M", "G", "T", "P")


def count(n: float | None, digits: int = 3) -> str:
    """A number of sequences in at most five cells: exact below 1,000, else ``digits`` significant ones: 312,
    2.94k, 16M.
    """
    if n is None or math.isnan(n):
        return NONE
    if math.isinf(n):
        return "∞"
    if n < 0:
        return "-" + count(-n, digits)
    if n < 999.5:
        return _short(n, digits)
    scale = 0
    while n >= 999.5 and scale < len(_SUFFIXES) - 1:
        n /= 1000
        scale += 1
    return _short(n, digits) + _SUFFIXES[scale]


def _short(x: float, digits: int) -> str:
    if x == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(x))))
    text = f"{x:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def exact(n: float | None) -> str:
    """A count in full, thousands apart: ``16,000,000``."""
    return NONE if n is None or not math.isfinite(n) else f"{round(n):,}"


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
    """A learning rate or an eps: ``1e-3``, ``0.02``."""
    if value <= 0 or not math.isfinite(value):
        return str(value)
    exponent = math.floor(math.log10(value) + 1e-9)
    mantissa = value / 10**exponent
    if exponent >= -1:
        return f"{value:g}"
    return f"{mantissa:.3g}e{exponent}"


def share(x: float | None) -> str:
    """An accuracy: ``0.12``; what is rounded to nothing has no sign."""
    return NONE if x is None else f"{round(x, 2) + 0.0:.2f}"


def exponent(value: float, low: float, high: float, places: int = 2) -> str:
    """Write an exponent of a law with its interval, whose ends have so many decimals: ``1.91 [1.7, 2.1]``."""

    def end(x: float) -> str:
        return f"{x:.{places}f}" if math.isfinite(x) else "∞" if x > 0 else "-∞"

    return f"{value:.2f} [{end(low)}, {end(high)}]"


# kappa


def ratio(x: float | None) -> str:
    """A kappa: two significant digits below 10 (0.28, 3.1), whole numbers to 999, then 1.3k."""
    if x is None or math.isnan(x):
        return NONE
    return "∞" if math.isinf(x) else _digits(x, 2, round)


def _digits(x: float, digits: int, whole: Callable[[float], int]) -> str:
    """``x`` (not negative) with ``digits`` significant digits, its last one rounded by ``whole``."""
    if x <= 0:
        return "0"
    if x >= 99.5:
        scale = 10.0 ** (math.floor(math.log10(x) + 1e-12) - 2)
        return count(whole(x / scale - _slack(whole)) * scale)
    places = max(0, digits - 1 - math.floor(math.log10(x * 1.0051)))
    places = min(places, digits if x >= 0.0095 else -math.floor(math.log10(x)))
    if places > 9:  # nothing that N* makes; bounds stay true
        return "1e-9" if whole is math.ceil else "0"
    return f"{whole(x * 10**places - _slack(whole)) / 10**places:.{places}f}"


def _slack(whole: Callable[[float], int]) -> float:
    """What a product may be beside a whole number without being rounded on: 0.29 * 100 is 28.999..."""
    return 1e-9 if whole is math.ceil else -1e-9 if whole is math.floor else 0.0


def bound(sign: str, x: float) -> str:
    """A one-sided kappa, rounded outward so that it stays true: 0.2046 is ``≤ 0.21``, 4.571 is ``≥ 4.5``.

    ``sign`` in either spelling.
    """
    sign = {"<=": "≤", ">=": "≥"}.get(sign, sign)
    if math.isnan(x):
        return f"{sign} {NONE}"
    return f"{sign} " + ("∞" if math.isinf(x) else _digits(x, 2, math.ceil if sign == "≤" else math.floor))


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A kappa with its interval, the ends rounded outward: ``3.1 [2.9, 3.4]``.

    The point and its ends get a third digit where two do not tell them apart; where three do not either,
    there is no interval:
    brackets of one sequence say nothing of how N* scatters over seeds.
    """
    if value is None or low is None or high is None:
        return ratio(value)
    if not all(map(math.isfinite, (value, low, high))):
        return f"{ratio(value)} [{ratio(low)}, {ratio(high)}]"
    for digits in (2, 3):
        text = _digits(value, digits, round)
        ends = _digits(low, digits, math.floor), _digits(high, digits, math.ceil)
        if text not in ends:
            return f"{text} [{ends[0]}, {ends[1]}]"
    return ratio(value)


# N*


def bracket(row: Result) -> str:
    """What a search leaves open, as every place writes it: ``(940, 1,118]``; ``[21, 34]`` where it makes an
    estimate; ``> 16M`` where nothing was learned.
    """
    if diverged(row):
        return DIVERGED
    if row.estimate is not None and row.status != "censored":
        return count_ends(row.estimate)
    if row.hi is None:
        return (
            f"> {count(row.n_max)}" if row.status == "censored" else f"> {exact(row.lo)}" if row.lo else NONE
        )
    return f"({exact(row.lo)}, {exact(row.hi)}]"


def short_bracket(row: Result, width: int = 13) -> str:
    """The bracket in at most ``width`` cells (13 hold any): ``(940, 1.12k]``, tighter where it must be."""
    if diverged(row):
        return "diverged"
    if row.hi is None or row.estimate is not None:
        return bracket(row)
    text = f"({count(row.lo)}, {count(row.hi)}]"
    return text if len(text) <= width else text.replace(", ", ",")


def nstar(row: Result) -> str:
    """N* in a table: ``1.3k``; ``≈ 28`` where it is an estimate; ``> 16M`` where censored; an open one by its
    bracket.
    """
    if diverged(row):
        return "diverged"
    if row.status == "censored":
        return f"> {count(row.n_max)}"
    if row.estimate is not None:
        return f"≈ {count(_rounded(row.estimate[0]))}"
    return count(row.hi) if row.status == "bracket" else short_bracket(row)


def nstar_exact(row: Result) -> str:
    """N* in full: ``1,118``, ``≈ 28``, ``> 16,000,000``, ``?`` while open."""
    if diverged(row):
        return f"unknown: {DIVERGED}"
    if row.status == "censored":
        return f"> {exact(row.n_max)}"
    if row.estimate is not None:
        return f"≈ {exact(row.estimate[0])}"
    return exact(row.hi) if row.status == "bracket" else "?"


def left_open(row: Result) -> str:
    """What is known around N*: ``in (940, 1,118], scatter unknown`` from one bisection, ``90 % in [21, 34]``
    from the posterior of its seeds.
    """
    if row.status == "censored" or row.hi is None:
        return known(row)
    tail = f", {SCATTER}" if row.status == "bracket" and row.estimate is None else ""
    return ("in " if row.estimate is None else "") + known(row) + tail


def result(row: Result) -> str:
    """Write N* and what is known around it: ``1,118 in (940, 1,118], scatter unknown``."""
    return f"{nstar_exact(row)} {left_open(row)}".rstrip()


def known(row: Result) -> str:
    """The same in a table's cell: ``(940, 1,118]``, ``90 % in [21, 34]``."""
    if row.status == "censored":
        return ""
    if row.estimate is not None:
        return f"90 % in {count_ends(row.estimate)}"
    return bracket(row) if row.hi is not None else ""


class Bracketed(Protocol):
    """What :func:`drawn` reads of a job, a part of a kappa or a point of a law."""

    @property
    def lo(self) -> int: ...
    @property
    def hi(self) -> int | None: ...
    @property
    def estimate(self) -> tuple[float, float, float] | None: ...


def drawn(row: Bracketed) -> tuple[float, float, float] | None:
    """(N*, its smallest, its largest) as every picture draws it: the estimate with its 90 % interval, else
    the smallest N that was learned over its bracket, as the numbers beside it say; None: nothing is known.
    """
    if row.estimate is not None:
        return row.estimate
    return None if row.hi is None else (float(row.hi), float(row.lo + 1), float(row.hi))


def count_interval(estimate: tuple[float, float, float] | None) -> str:
    """An estimate of N* with its 90 % interval: ``1.3k [1.1k, 1.6k]``."""
    return NONE if estimate is None else f"{count(_rounded(estimate[0]))} {count_ends(estimate)}"


def count_ends(estimate: tuple[float, float, float]) -> str:
    """The 90 % interval alone, its ends rounded outward: ``[1.1k, 1.6k]``."""
    return f"[{count(_outward(estimate[1], math.floor))}, {count(_outward(estimate[2], math.ceil))}]"


def _rounded(n: float) -> float:
    return round(n) if math.isfinite(n) else n


def _outward(n: float, whole: Callable[[float], int]) -> float:
    """``n`` as a number of three digits, or whole below 1,000, on its outer side."""
    if not math.isfinite(n) or n <= 0:
        return n
    scale = 10.0 ** max(0, math.floor(math.log10(n)) - 2)
    return whole(n / scale - _slack(whole)) * scale


# Times


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


def about(seconds: float | None, low: float | None = None, high: float | None = None) -> str:
    """A guess at a time: ``~3m04``, or ``1m30-5m00`` where it may be twice the one end or more."""
    if seconds is None or low is None or high is None or high < 2 * max(low, 1.0):
        return NONE if seconds is None else f"~{duration(seconds)}"
    ends = duration(low), duration(high)
    return f"~{ends[0]}" if ends[0] == ends[1] else f"{ends[0]}–{ends[1]}"


def clock(at: float | None) -> str:
    """A time of day in local time: ``14:03:09``."""
    return _local(at, "%H:%M:%S")


def date(at: float | None) -> str:
    """Date and time: ``2026-02-18 14:03``."""
    return _local(at, "%Y-%m-%d %H:%M")


def day(at: float | None) -> str:
    """The date alone: ``2026-02-18``."""
    return _local(at, "%Y-%m-%d")


def when(at: float | None) -> str:
    """Date and time to the second: ``2026-02-18 14:03:09``."""
    return _local(at, "%Y-%m-%d %H:%M:%S")


def iso(at: float | None) -> str | None:
    """Date and time for other programs, ISO 8601 in UTC: ``2026-02-18T14:03:09.120Z``."""
    from datetime import UTC, datetime

    try:
        found = None if at is None else datetime.fromtimestamp(at, UTC)
    except (OverflowError, OSError, ValueError):  # no time that a calendar has
        return None
    return found.isoformat(timespec="milliseconds").replace("+00:00", "Z") if found else None


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


def volume(n: float) -> str:
    """Write bytes in a sentence, which has room for a digit more: ``38.2 MiB``, ``12.3 GiB``."""
    return f"{n / 2**30:.1f} GiB" if n >= 2**30 else f"{n / 2**20:.1f} MiB"


def values(key: Iterable[object]) -> str:
    """Values on several axes: ``transformer 7``; one that there is none of is a dash."""
    return " ".join(NONE if v is None else clean(str(v)) for v in key)


# A search by its name


def lengths(distribution: str, length: int, min_length: int) -> str:
    """Which input lengths: ``n=5``, ``2..7``, ``2..7 s2l``; a program has none."""
    if distribution in GOALS:
        return ""
    if distribution == "fixed":
        return f"n={length}"
    return f"{min_length}..{length}" + (" s2l" if distribution == "short_to_long" else "")


def label(job: JobRow) -> str:
    """A search by its axes, in the one order that every place has: ``dense_ssm 16 Z3 acot 2..7``."""
    told = lengths(job.distribution, job.length, job.min_length)
    return clean(" ".join(filter(None, (job.model_label, job.task, job.format, told))))


def own_name(job: JobRow) -> str:
    """The name that a person gave a job, made harmless; empty where it is only the label made of its axes."""
    name = clean(job.name)
    if job.program and name == clean(f"{job.model_label} {job.task}").rstrip():
        return ""
    return "" if job.model_label in name and name.startswith(f"{job.task} {job.format}") else name


def name(job: JobRow) -> str:
    """What a job is called where there is room for one thing: the name a person gave it, else its label."""
    return own_name(job) or label(job)


def why(job: JobRow) -> str:
    """What ended a job's last run, and the last line that was said of it:
    ``out of memory: CUDA out of memory. Tried ...``; an error of its own by its words alone.
    """
    kind, *rest = (job.reason or "").strip().split("\n")
    first = job.failure or kind
    return clean(": ".join(filter(None, ("" if first == "failed" and rest else first, *rest[-1:]))))


def flags(found: tuple[str, ...]) -> str:
    """The flags that need a second look; that N_max is the whole space of sequences is no such thing."""
    return " ".join(flag for flag in found if flag != "capped")


def marked(text: str, found: tuple[str, ...]) -> str:
    """Put the flags of a result behind it: ``1.3k !fails_above``."""
    return " !".join((text, *flags(found).split()))


def training(job: JobRow) -> str:
    """Write the candidate in training and how far it is: ``N = 1,118, 40%``; empty where there is none."""
    if job.current_n is None or job.state != "running":
        return ""
    return f"N = {exact(job.current_n)}, {job.progress:.0%}"
