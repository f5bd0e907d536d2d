"""Numbers as the screens and tables show them; ``ascii=True`` for terminals without the signs."""

from __future__ import annotations

import math
from typing import Protocol

from store.rows import Status

MISSING = "–"
_ASCII = str.maketrans(
    {"≤": "<=", "≥": ">=", "–": "-", "×": "x", "κ": "kappa", "≈": "~", "…": "...", "∞": "inf"}
)
_SUFFIXES = ("", "k", "M", "G", "T", "P")


class Bracketed(Protocol):
    """What :func:`nstar` reads: a JobRow or an NStar."""

    @property
    def status(self) -> Status: ...
    @property
    def lo(self) -> int: ...
    @property
    def hi(self) -> int | None: ...
    @property
    def n_max(self) -> int: ...
    @property
    def estimate(self) -> tuple[float, float, float] | None: ...


def plain(text: str, ascii: bool = True) -> str:
    """``text`` with its signs spelled in ASCII, where asked for."""
    return text.translate(_ASCII) if ascii else text


def count(n: float | None, ascii: bool = False, digits: int = 3) -> str:
    """A number of sequences: exact below 1,000, else ``digits`` significant ones: 312, 1.3k, 2.94k, 16M."""
    if n is None or math.isnan(n):
        return plain(MISSING, ascii)
    if math.isinf(n):
        return plain("∞", ascii)
    if n < 0:
        return "-" + count(-n, ascii, digits)
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


def ratio(x: float | None, ascii: bool = False) -> str:
    """A kappa: two significant digits below 10 (0.28, 3.1), whole numbers to 999, then 1.3k."""
    if x is None or math.isnan(x):
        return plain(MISSING, ascii)
    if math.isinf(x):
        return plain("∞", ascii)
    if x >= 99.5:
        return count(x, ascii)
    if x >= 9.95:
        return f"{x:.0f}"
    if x >= 0.995:
        return f"{x:.1f}"
    if x >= 0.0095:
        return f"{x:.2f}"
    return f"{x:.1g}"


def bracket(lo: int, hi: int | None, ascii: bool = False) -> str:
    """What is known of an N*: ``(1.2k, 1.3k]``, ``(0, 1]``, ``> 16M`` without a success."""
    if hi is None:
        return f"> {count(lo, ascii)}" if lo else plain(MISSING, ascii)
    return f"({count(lo, ascii)}, {count(hi, ascii)}]"


def nstar(row: Bracketed, ascii: bool = False) -> str:
    """N* in a table: ``1.3k``; ``> 16M`` where censored; ``…`` while open."""
    if row.status == "censored":
        return f"> {count(row.n_max, ascii)}"
    if row.status == "open":
        return plain("…", ascii)
    if row.estimate is not None:
        return count(row.estimate[0], ascii)
    return count(row.hi, ascii)


def interval(value: float | None, low: float | None, high: float | None, ascii: bool = False) -> str:
    """A kappa with its interval: ``3.1 [2.9, 3.4]``."""
    if value is None:
        return plain(MISSING, ascii)
    if low is None or high is None:
        return ratio(value, ascii)
    return f"{ratio(value, ascii)} [{ratio(low, ascii)}, {ratio(high, ascii)}]"


def count_interval(estimate: tuple[float, float, float] | None, ascii: bool = False) -> str:
    """An N* with its 90 % interval: ``1.3k [1.1k, 1.6k]``."""
    if estimate is None:
        return plain(MISSING, ascii)
    value, low, high = estimate
    return f"{count(value, ascii)} [{count(low, ascii)}, {count(high, ascii)}]"


def bound(sign: str, x: float, ascii: bool = False) -> str:
    """A one-sided kappa: ``≤ 0.4``, ``<= 0.4`` in ASCII; ``sign`` in either spelling."""
    signs = {"<=": "≤", ">=": "≥"}
    return plain(f"{signs.get(sign, sign)} {ratio(x)}", ascii)


def seconds(s: float | None, ascii: bool = False) -> str:
    """A duration in its two largest units: ``12 s``, ``3 m 20 s``, ``2 h 05 m``, ``3 d 4 h``."""
    if s is None or not math.isfinite(s):
        return plain(MISSING, ascii)
    if 0 < s < 9.95:
        return f"{s:.1f} s"
    total = max(0, round(s))
    if total < 60:
        return f"{total} s"
    minutes, sec = divmod(total, 60)
    if minutes < 60:
        return f"{minutes} m {sec:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02d} m"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"
