"""What the machine does: processor, memory and each card, as thin bars with their last minute behind them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labtui.text import clean, fit
from labtui.views import numbers as figures
from labtui.views.lines import Line, Span, crop, size, sparkline, text_line, thin_bar

if TYPE_CHECKING:
    from runners.machine import CardUser, Gpu, Reading

HISTORY = 60
CARDS = 4
"""Cards that have a line of their own."""


@dataclass
class Gauges:
    """The last reading and the last minute."""

    last: Reading | None = None
    at: float = 0.0
    """When it was taken."""
    cpu: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    gpu: dict[int, deque[float]] = field(default_factory=dict)

    def add(self, reading: Reading) -> None:
        self.last, self.at = reading, time.time()
        self.cpu.append(reading.cpu)
        for card in reading.gpus:
            self.gpu.setdefault(card.index, deque(maxlen=HISTORY)).append(card.use)


def _heat(use: float, still: bool) -> str:
    return "dim" if still else "accent" if use < 0.95 else "warn"


def gauge_lines(gauges: Gauges, width: int, *, short: bool = False, still: bool = False) -> list[Line]:
    """One line for the processor and the memory, and one for each card; the columns stand under each other.

    Args:
        gauges: what was read.
        width: of the screen.
        short: leave out history and names.
        still: nobody looks at the machine now; the last reading is shown as such, with its time.
    """
    reading = gauges.last
    if reading is None:
        return [((" cpu", "dim"),)]
    when = f"as of {figures.clock(gauges.at)[:5]}" + ("" if short else " (labtui idle)") if still else ""
    told = "  ".join(filter(None, (f"{reading.cores} cores", when)))
    lines = [
        _gauge("cpu", reading.cpu, list(gauges.cpu), reading.ram_used, reading.ram_total, told, short, still)
    ]
    for card in reading.gpus[:CARDS]:
        history = list(gauges.gpu.get(card.index, ()))
        line = _gauge(
            f"gpu{card.index}", card.use, history, card.used, card.total, _about(card), short, still
        )
        lines.append(
            (
                *line,
                (f"  {_others(card.others, short)}", "warn"),
                ("" if short else f"  {clean(card.name)}", "dim"),
            )
        )
    if reading.gpu_problem:
        lines.append(text_line(f" gpu  cannot be used: {clean(reading.gpu_problem)}", "warn"))
    if len(reading.gpus) > CARDS:
        lines.append(text_line(f" and {len(reading.gpus) - CARDS} more cards", "dim"))
    return [crop(line, width) if size(line) > width else line for line in lines]


def _about(card: Gpu) -> str:
    heat = f"{card.celsius}°C" if card.celsius is not None else ""
    power = f"{card.watts:.0f}W" if card.watts is not None else ""
    return "  ".join(word for word in (heat, power) if word)


def _others(others: Sequence[CardUser], short: bool) -> str:
    """Who else computes on a card, by user, the largest share of its memory first."""
    if not others:
        return ""
    if short:
        return f"+{len(others)} other{'s' if len(others) > 1 else ''}"
    shares: dict[str, float] = {}
    for one in others:
        shares[one.user] = shares.get(one.user, 0.0) + (one.memory or 0.0)
    told = [
        f"{clean(user)} {figures.size_bytes(used)}" if used else clean(user) for user, used in shares.items()
    ]
    return "also " + ", ".join(told[:2]) + (f", {len(told) - 2} more" if len(told) > 2 else "")


def users_lines(reading: Reading | None) -> list[Line]:
    """Each card and every process that computes on it: pid, user, memory, program."""
    if reading is not None and reading.gpu_problem:
        return [text_line(f" the GPUs cannot be used: {clean(reading.gpu_problem)}", "warn")]
    if reading is None or not reading.gpus:
        return [text_line(" no card that NVML can tell of", "dim")]
    lines: list[Line] = []
    for card in reading.gpus:
        free = figures.size_bytes(max(0.0, card.total - card.used))
        words = f"{card.use:.0%} in use  {free} of {figures.size_bytes(card.total)} free  {_about(card)}"
        lines += [((f" gpu{card.index}  ", "title"), (clean(card.name), ""), (f"   {words}", "dim"))]
        if card.users:
            lines.append(text_line(f"   {'pid':>8}  {'memory':>7}  {'user':<16} program", "dim"))
        for one in (*(u for u in card.users if u.ours), *card.others):
            memory = figures.size_bytes(one.memory) if one.memory is not None else figures.NONE
            whose: Span = ("  this lab", "ok") if one.ours else ("", "")
            lines.append(
                (
                    (f"   {one.pid:>8}  {memory:>7}  {fit(clean(one.user), 16)} {clean(one.program)}", ""),
                    whose,
                )
            )
        lines += [*([] if card.users else [text_line("   nobody computes on it", "dim")]), ()]
    return lines[:-1]


def _gauge(
    name: str,
    use: float,
    history: list[float],
    used: float,
    total: float,
    told: str,
    short: bool,
    still: bool,
) -> Line:
    room = 8 if short else 12
    ink = "dim" if still else ""
    spans: list[Span] = [
        (f" {name:<5}", "dim"),
        *thin_bar(use, room, _heat(use, still)),
        (f" {use:>4.0%} ", ink),
    ]
    if not short:
        spans += sparkline(history, 20, "dim")
    share = used / total if total else 0.0
    spans += [
        ("   mem ", "dim"),
        *thin_bar(share, room, _heat(share, still)),
        (f" {figures.size_bytes(used):>5}", ink),
    ]
    spans += [(f" / {figures.size_bytes(total):<5}", "dim"), (f"  {told}", "dim")]
    return tuple(spans)
