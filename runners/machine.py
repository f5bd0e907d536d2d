"""One look at the machine: processor and memory by psutil, each card by NVML, and which processes use a card.

Neither library is imported before the first look (psutil 15 ms);
without NVML, driver or card there are simply no cards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CardUser:
    """A process that computes on a card."""

    pid: int
    user: str
    program: str
    memory: float | None
    """Bytes on the card; None where the driver does not tell."""
    ours: bool
    """The supervisor of this lab or a process that it started."""


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
    users: tuple[CardUser, ...] = ()

    @property
    def others(self) -> tuple[CardUser, ...]:
        """Those that are not this lab's, the largest first."""
        return tuple(sorted((u for u in self.users if not u.ours), key=lambda u: -(u.memory or 0.0)))


@dataclass(frozen=True)
class Reading:
    """One look."""

    cpu: float
    """0..1, over all cores."""
    cores: int
    ram_used: float
    ram_total: float
    """In bytes."""
    gpus: tuple[Gpu, ...] = ()


_first = True
_no_nvml = False


def look(supervisor: int | None = None) -> Reading:
    """Look at the machine; never raises for a card.

    Args:
        supervisor: the process id of this lab's living supervisor on this machine;
            it and its children are "ours".
    """
    import psutil

    global _first
    cpu = (
        psutil.cpu_percent(0.1 if _first else None) / 100
    )  # the first answer without a span of time is always 0
    _first = False
    memory = psutil.virtual_memory()
    used, total = float(memory.total - memory.available), float(memory.total)
    return Reading(cpu, psutil.cpu_count() or 1, used, total, _cards(supervisor))


def _cards(supervisor: int | None) -> tuple[Gpu, ...]:
    global _no_nvml
    if _no_nvml:
        return ()
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except Exception:  # no library or no driver: not asked again
        _no_nvml = True
        return ()
    try:
        return tuple(_card(nvml, i, supervisor) for i in range(nvml.nvmlDeviceGetCount()))
    except Exception:  # a card that fell off the bus: perhaps the next look finds it
        return ()


def _card(nvml: Any, index: int, supervisor: int | None) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    name = nvml.nvmlDeviceGetName(handle)
    milliwatts = _maybe(nvml.nvmlDeviceGetPowerUsage, handle)
    usage = _maybe(nvml.nvmlDeviceGetUtilizationRates, handle)
    found = {p.pid: p for p in _maybe(nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()}
    ours = _family(supervisor) if found and supervisor is not None else frozenset()
    return Gpu(
        index,
        name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name),
        usage.gpu / 100 if usage else 0.0,
        float(memory.used),
        float(memory.total),
        _maybe(nvml.nvmlDeviceGetTemperature, handle, 0),
        milliwatts / 1000 if milliwatts is not None else None,
        tuple(_user(process, float(memory.total), process.pid in ours) for process in found.values()),
    )


def _user(process: Any, total: float, ours: bool) -> CardUser:
    """Who a process is; one of another container or of a user that hides it has no name here."""
    import psutil

    user, program = "?", "?"
    try:
        about = psutil.Process(process.pid)
        program = about.name()
        user = about.username()
    except (psutil.Error, OSError, KeyError):
        pass
    memory = getattr(process, "usedGpuMemory", None)
    if memory is not None and not 0 <= memory <= total:
        memory = None  # NVML's "not available" is a number beyond all memory
    return CardUser(process.pid, user, program, None if memory is None else float(memory), ours)


def _family(pid: int) -> frozenset[int]:
    import psutil

    try:
        root = psutil.Process(pid)
        return frozenset({pid, *(child.pid for child in root.children(recursive=True))})
    except (psutil.Error, OSError):
        return frozenset({pid})


def _maybe(function: Any, *args: Any) -> Any:
    try:
        return function(*args)
    except Exception:  # a card that does not tell this
        return None
