"""What the machine does: CPU, memory and each GPU, as short bars with their last minute behind them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from labtui.text import clean
from labtui.widgets import figures
from labtui.widgets.lines import Line, Span, crop, size, sparkline, thin_bar

HISTORY = 60


@dataclass(frozen=True)
class Gpu:
    """One card."""

    index: int
    name: str
    use: float
    """0..1"""
    used: float
    total: float
    """Memory in bytes."""
    celsius: int | None
    watts: float | None
    others: int
    """Processes of other users or programs on it."""


@dataclass(frozen=True)
class Reading:
    """One look at the machine."""

    cpu: float
    cores: int
    ram_used: float
    ram_total: float
    gpus: tuple[Gpu, ...] = ()


@dataclass
class Gauges:
    """The last reading and the last minute."""

    last: Reading | None = None
    cpu: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    gpu: dict[int, deque[float]] = field(default_factory=dict)

    def add(self, reading: Reading) -> None:
        self.last = reading
        self.cpu.append(reading.cpu)
        for card in reading.gpus:
            self.gpu.setdefault(card.index, deque(maxlen=HISTORY)).append(card.use)


def read(ours: frozenset[int] = frozenset()) -> Reading:
    """Look at the machine. Imports psutil (15 ms) and, where there is one, NVML at the first call; never raises for a card."""
    import psutil

    memory = psutil.virtual_memory()
    return Reading(
        psutil.cpu_percent(None) / 100, psutil.cpu_count() or 1, float(memory.total - memory.available), float(memory.total),
        _gpus(ours),
    )  # fmt: skip


_no_nvml = False


def _gpus(ours: frozenset[int]) -> tuple[Gpu, ...]:
    global _no_nvml
    if _no_nvml:
        return ()
    try:
        import pynvml as nvml

        nvml.nvmlInit()
        cards = []
        for i in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(i)
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            name = nvml.nvmlDeviceGetName(handle)
            pids = {p.pid for p in _maybe(nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()}
            milliwatts = _maybe(nvml.nvmlDeviceGetPowerUsage, handle)
            usage = _maybe(nvml.nvmlDeviceGetUtilizationRates, handle)
            cards.append(
                Gpu(
                    i,
                    name.decode() if isinstance(name, bytes) else str(name),
                    usage.gpu / 100 if usage else 0.0,
                    float(memory.used),
                    float(memory.total),
                    _maybe(nvml.nvmlDeviceGetTemperature, handle, 0),
                    milliwatts / 1000 if milliwatts is not None else None,
                    len(pids - ours),
                )
            )
        return tuple(cards)
    except Exception:  # no driver, no card, no library: the gauges go without
        _no_nvml = True
        return ()


def _maybe(function: Any, *args: Any) -> Any:
    try:
        return function(*args)
    except Exception:  # a card that does not tell this
        return None


def _heat(use: float) -> str:
    return "accent" if use < 0.95 else "warn"


def gauge_lines(gauges: Gauges, width: int, *, short: bool = False) -> list[Line]:
    """One line for the processor and the memory, and one for each card; the columns stand under each other."""
    reading = gauges.last
    if reading is None:
        return [((" cpu", "dim"),)]
    lines = [
        _gauge("cpu", reading.cpu, list(gauges.cpu), reading.ram_used, reading.ram_total, f"{reading.cores} cores", short)
    ]
    for card in reading.gpus[:4]:
        tail = [
            f"{card.celsius}°C" if card.celsius is not None else "",
            f"{card.watts:.0f}W" if card.watts is not None else "",
        ]
        tail += [f"{card.others} other" if card.others else "", "" if short else clean(card.name)]
        told = "  ".join(t for t in tail if t)
        history = list(gauges.gpu.get(card.index, ()))
        lines.append(_gauge(f"gpu{card.index}", card.use, history, card.used, card.total, told, short))
    if len(reading.gpus) > 4:
        lines.append(((f" and {len(reading.gpus) - 4} more cards", "dim"),))
    return [crop(line, width) if size(line) > width else line for line in lines]


def _gauge(name: str, use: float, history: list[float], used: float, total: float, told: str, short: bool) -> Line:
    room = 8 if short else 12
    spans: list[Span] = [(f" {name:<5}", "dim"), *thin_bar(use, room, _heat(use)), (f" {use:>4.0%} ", "")]
    if not short:
        spans += sparkline(history, 20, "accent")
    share = used / total if total else 0.0
    spans += [("   mem ", "dim"), *thin_bar(share, room, _heat(share)), (f" {figures.size_bytes(used):>5}", "")]
    spans += [(f" / {figures.size_bytes(total):<5}", "dim"), (f"  {told}", "dim")]
    return tuple(spans)
