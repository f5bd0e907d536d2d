"""The one reader of psutil and NVML: processor, memory, each card, who computes on it, and what is free.

For the app, ``labtui doctor`` and the pool. Neither library is imported before the first look (psutil takes
15 ms). Names come from the system as they are: who shows them cleans them.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEVICE_FILES = Path("/dev")
"""Where the NVIDIA driver's device files lie; a container that was given no card has none."""


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
    """Its place in torch's order: that of ``cuda:N``."""
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
    gpu_problem: str = ""
    """Why cards that are there cannot be used, in words; empty where there is none, or all is well."""


_first = True


def look(supervisor: int | None = None) -> Reading:
    """Look at the machine; never raises for a card.

    Args:
        supervisor: the process id of this lab's living supervisor on this machine; it and its children are
            "ours".
    """
    import psutil

    global _first
    # the first answer without a span of time is always 0
    cpu = psutil.cpu_percent(0.1 if _first else None) / 100
    _first = False
    memory = psutil.virtual_memory()
    used, total = float(memory.total - memory.available), float(memory.total)
    return Reading(cpu, psutil.cpu_count() or 1, used, total, _gpus(supervisor), gpu_problem())


# Processor and memory


def cores() -> int:
    """Cores that this process may use: affinity and the control group's quota counted."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, max(1, math.floor(int(quota) / int(period))))
    return max(1, count)


def processor_name() -> str:
    """What the processor calls itself."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def total_memory() -> int:
    """Of the machine, in bytes."""
    import psutil

    return int(psutil.virtual_memory().total)


def available_memory() -> int:
    """Host memory in bytes that new processes can take, the control group's limit counted."""
    import psutil

    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            used = int((group / "memory.current").read_text())
            cached = 0
            for line in (group / "memory.stat").read_text().splitlines():
                if line.startswith("inactive_file "):
                    cached = int(line.split()[1])
            free = min(free, int(limit) - used + cached)
    return free


# Cards


@dataclass
class _Driver:
    """NVML, initialised once in a process."""

    nvml: Any = None
    problem: str = ""


_driver: _Driver | None = None


def forget_driver() -> None:
    """Ask for NVML anew at the next look."""
    global _driver
    _driver = None


def _nvml() -> Any:
    """pynvml, initialised; None where it or the driver is missing or fails."""
    global _driver
    if _driver is None:
        try:
            import pynvml

            pynvml.nvmlInit()
            _driver = _Driver(pynvml)
        except Exception as error:  # no module, no driver, no right, another version of it
            _driver = _Driver(problem=_why(error))
    return _driver.nvml


def _why(error: Exception) -> str:
    """Why NVML cannot be used although there are cards; empty where there are none.

    Without module, library or driver there is no card for us unless the driver's device files are there.
    Any other error (another version of library and driver, no permission) comes from a driver that is there.
    """
    cards = any(DEVICE_FILES.glob("nvidia[0-9]*")) or (DEVICE_FILES / "nvidiactl").exists()
    missing = isinstance(error, ImportError) or type(error).__name__ in (
        "NVMLError_LibraryNotFound",
        "NVMLError_DriverNotLoaded",
    )
    if missing and not cards:
        return ""
    if isinstance(error, ImportError):
        return "the package nvidia-ml-py is not installed"
    return _failure(error)


def gpu_problem() -> str:
    """Why cards that are there cannot be used, in words; empty where there is none, or all is well."""
    nvml = _nvml()
    if nvml is None:
        return _driver.problem if _driver is not None else ""
    try:
        _visible(
            nvml
        )  # one that counts its cards may still not give them away: no permission, a card that hangs
    except Exception as error:
        return _failure(error)
    return ""


def _failure(error: Exception) -> str:
    return f"NVML fails: {str(error) or type(error).__name__}"


def driver_version() -> str:
    """Of the NVIDIA driver; empty where there is none or it does not tell."""
    nvml = _nvml()
    return _text(_maybe(nvml.nvmlSystemGetDriverVersion) or "") if nvml is not None else ""


def visible_cards() -> list[str]:
    """The cards' names in torch's order, CUDA_VISIBLE_DEVICES respected; empty where none can be used.

    One that does not tell its name keeps its place: it is lost when it is used, and the others are not.
    """
    nvml = _nvml()
    if nvml is None:
        return []
    try:
        handles = _visible(nvml)
    except Exception:  # gpu_problem says which
        return []
    return [_text(_maybe(nvml.nvmlDeviceGetName, handle) or "GPU without a name") for handle in handles]


def cards_are_hidden() -> bool:
    """CUDA_VISIBLE_DEVICES names no card: whoever set it wants the CPU."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles")


def card_free(index: int) -> int | None:
    """Free memory in bytes of the card with this place in torch's order; None if NVML tells nothing.

    Raises:
        LookupError: the card has gone (fallen off the bus).
    """
    nvml = _nvml()
    if nvml is None:
        return None
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(_visible(nvml)[index]).free)
    except IndexError:
        raise LookupError(f"cuda:{index} is not there any more") from None
    except nvml.NVMLError as error:
        gone = (getattr(nvml, "NVML_ERROR_GPU_IS_LOST", 15), getattr(nvml, "NVML_ERROR_NOT_FOUND", 6))
        if getattr(error, "value", None) in gone:
            raise LookupError(f"cuda:{index} is lost: {error}") from None
        return None


def card_refusal(index: int) -> str:
    """Why no new process can compute on a card (its place in torch's order), in words; empty where one can.

    A card in exclusive mode takes one process: this process and its children are no hindrance to themselves.
    """
    nvml = _nvml()
    if nvml is None or (handle := _at(nvml, index)) is None:
        return ""
    mode = _maybe(lambda: nvml.nvmlDeviceGetComputeMode(handle))
    if mode == _PROHIBITED:
        return f"cuda:{index} is in the compute mode 'prohibited'"
    if mode not in _EXCLUSIVE:
        return ""
    users = _users(nvml, handle, 0.0, os.getpid())
    others = [u for u in users if not u.ours]
    if not others:
        return ""
    return f"cuda:{index} is in exclusive mode and process {others[0].pid} computes on it"


def card_is_exclusive(index: int) -> bool:
    """Whether a card (its place in torch's order) takes one process at a time."""
    nvml = _nvml()
    if nvml is None or (handle := _at(nvml, index)) is None:
        return False
    return _maybe(lambda: nvml.nvmlDeviceGetComputeMode(handle)) in _EXCLUSIVE


_EXCLUSIVE, _PROHIBITED = (1, 3), 2
"""NVML's compute modes: one thread, one process; none."""


def card_share(index: int, pids: Collection[int]) -> tuple[float, float]:
    """What these processes take of a card (its place in torch's order): bytes, and its time, 0..1; nan where
    the driver does not tell.

    Where it tells no process's time, that of the card is theirs if nobody else computes there.
    """
    nvml = _nvml()
    if nvml is None or (handle := _at(nvml, index)) is None:
        return math.nan, math.nan
    every = {p.pid: p for p in _maybe(nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()}
    mine = {pid for pid in every if pid in pids}
    if not mine:
        return math.nan, math.nan
    total = _maybe(lambda: float(nvml.nvmlDeviceGetMemoryInfo(handle).total)) or math.inf
    sizes = [getattr(every[pid], "usedGpuMemory", None) for pid in mine]
    memory = sum(float(size) if size is not None and 0 <= size <= total else math.nan for size in sizes)
    times = _maybe(lambda: nvml.nvmlDeviceGetProcessUtilization(handle, 0))
    if times is not None:
        newest = {one.pid: one.smUtil for one in sorted(times, key=lambda one: one.timeStamp)}
        return memory, sum(newest.get(pid, 0) for pid in mine) / 100
    rates = _maybe(nvml.nvmlDeviceGetUtilizationRates, handle) if len(mine) == len(every) else None
    return memory, rates.gpu / 100 if rates is not None else math.nan


def _at(nvml: Any, index: int) -> Any:
    """The handle of a card by its place in torch's order; None if NVML tells nothing of it."""
    try:
        return _visible(nvml)[index]
    except (IndexError, nvml.NVMLError):
        return None


def _visible(nvml: Any) -> list[Any]:
    """Handles of the cards that CUDA shows, in its order.

    Where a card among them is cut into slices (MIG), CUDA shows a process the first slice and nothing else.
    """
    named = _named(nvml)
    for handle in named:
        if slices := _slices(nvml, handle):
            return slices[:1]
    return [handle for handle in named if not _is_cut(nvml, handle)]


def _is_cut(nvml: Any, handle: Any) -> bool:
    mode = _maybe(lambda: nvml.nvmlDeviceGetMigMode(handle))
    return mode is not None and mode[0] == 1


def _slices(nvml: Any, handle: Any) -> list[Any]:
    """The slices of a card in NVML's order; none where it is whole."""
    if not _is_cut(nvml, handle):
        return []
    most = _maybe(lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0
    found = [_maybe(lambda i=i: nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, i)) for i in range(most)]
    return [one for one in found if one is not None]


def _named(nvml: Any) -> list[Any]:
    """Handles of the cards that CUDA_VISIBLE_DEVICES names, in its order.

    As CUDA reads it: nothing counts from the first entry on that names no card, a UUID may be cut short as
    long as one card alone begins so, and where a card is named twice there is none.
    """
    every = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    if setting is None:
        return every
    entries = [e.strip() for e in setting.split(",")]
    if entries[0].startswith("MIG-"):  # a process sees one slice
        return _slice(nvml, entries[0], every)
    uuids = [_text(nvml.nvmlDeviceGetUUID(h)) for h in every] if entries[0].startswith("GPU-") else None
    out: list[int] = []
    for entry in entries:
        at = _card_named(entry, len(every), uuids)
        if at is None:
            break
        if at in out:
            return []
        out.append(at)
    return [every[i] for i in out]


def _card_named(entry: str, count: int, uuids: list[str] | None) -> int | None:
    """Which card an entry names: by the beginning of its UUID where the first entry does so, else by its
    number, whose end is the first sign that is no digit.
    """
    if uuids is not None:
        found = [i for i, uuid in enumerate(uuids) if entry.startswith("GPU-") and uuid.startswith(entry)]
        return found[0] if len(found) == 1 else None
    number = re.match(r"\+?([0-9]{1,9})", entry)
    return int(number[1]) if number is not None and int(number[1]) < count else None


def _slice(nvml: Any, entry: str, every: list[Any]) -> list[Any]:
    """The handle of a slice ``MIG-UUID``, or of the card of one with the older name
    ``MIG-GPU-UUID/gi/ci``.
    """
    with contextlib.suppress(nvml.NVMLError):
        return [nvml.nvmlDeviceGetHandleByUUID(entry.encode())]
    card = entry.removeprefix("MIG-").partition("/")[0]
    uuids = [_text(nvml.nvmlDeviceGetUUID(h)) for h in every]
    at = _card_named(card, len(every), uuids) if card.startswith("GPU-") and "/" in entry else None
    return [] if at is None else [every[at]]


def _gpus(supervisor: int | None) -> tuple[Gpu, ...]:
    nvml = _nvml()
    if nvml is None:
        return ()
    handles = _maybe(_visible, nvml) or ()
    # a card that fell off the bus: perhaps the next look finds it
    found = (_maybe(_card, nvml, i, handle, supervisor) for i, handle in enumerate(handles))
    return tuple(card for card in found if card is not None)


def _card(nvml: Any, index: int, handle: Any, supervisor: int | None) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    milliwatts = _maybe(nvml.nvmlDeviceGetPowerUsage, handle)
    usage = _maybe(nvml.nvmlDeviceGetUtilizationRates, handle)
    return Gpu(
        index,
        _text(nvml.nvmlDeviceGetName(handle)),
        usage.gpu / 100 if usage else 0.0,
        float(memory.used),
        float(memory.total),
        _maybe(nvml.nvmlDeviceGetTemperature, handle, 0),
        milliwatts / 1000 if milliwatts is not None else None,
        _users(nvml, handle, float(memory.total), supervisor),
    )


def _users(nvml: Any, handle: Any, total: float, supervisor: int | None) -> tuple[CardUser, ...]:
    found = {p.pid: p for p in _maybe(nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()}
    ours = _family(supervisor) if found and supervisor is not None else frozenset()
    return tuple(_user(process, total, process.pid in ours) for process in found.values())


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


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _maybe(function: Any, *args: Any) -> Any:
    try:
        return function(*args)
    except Exception:  # a card that does not tell this
        return None
