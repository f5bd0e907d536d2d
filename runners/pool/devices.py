"""Which devices there are and what is free on them, told without torch (NVML),
so that the supervisor stays light.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

MIB = 1 << 20
CPU_WORKER = 500 * MIB
"""Resident memory of a worker before its data: torch itself and some room."""
CUDA_WORKER = 3000 * MIB
"""Host memory of a worker with a CUDA context."""
CUDA_FREE = 1500 * MIB
"""Device memory that must be free before a worker starts there: the context and a small model."""


@dataclass(frozen=True)
class Device:
    """A device that the supervisor may use."""

    id: str
    """cpu, cuda:0."""
    name: str

    @property
    def kind(self) -> str:
        return self.id.partition(":")[0]


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


def cpu() -> Device:
    """The CPU with its name."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return Device("cpu", name)


def cuda() -> list[Device]:
    """CUDA devices in torch's order (CUDA_VISIBLE_DEVICES respected); empty without a driver."""
    nvml = _nvml()
    if nvml is None:
        return []
    out = []
    with contextlib.suppress(nvml.NVMLError):
        for index, handle in enumerate(_visible(nvml)):
            name = nvml.nvmlDeviceGetName(handle)
            out.append(Device(f"cuda:{index}", name.decode() if isinstance(name, bytes) else str(name)))
    return out


def detect(wanted: tuple[str, ...]) -> list[Device]:
    """The devices to use.

    Args:
        wanted: ids; empty: every CUDA device, or the CPU where there is none.

    Raises:
        ValueError: a device that is not there.
    """
    if not wanted:
        return cuda() or [cpu()]
    there = {d.id: d for d in (cpu(), *cuda())}
    for name in wanted:
        if name not in there:
            raise ValueError(f"the device {name!r} is not there; expected one of {', '.join(there)}")
    return [there[name] for name in dict.fromkeys(wanted)]


def available_memory() -> int:
    """Host memory in bytes that new processes can take, the control group's limit counted."""
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


def device_free(device_id: str) -> int | None:
    """Free memory of a CUDA device in bytes; None if NVML tells nothing.

    Raises:
        LookupError: the device has gone (fallen off the bus).
    """
    nvml = _nvml()
    if nvml is None or not device_id.startswith("cuda:"):
        return None
    try:
        handle = _visible(nvml)[int(device_id.partition(":")[2])]
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).free)
    except IndexError:
        raise LookupError(f"{device_id} is not there any more") from None
    except nvml.NVMLError as error:
        gone = (getattr(nvml, "NVML_ERROR_GPU_IS_LOST", 15), getattr(nvml, "NVML_ERROR_NOT_FOUND", 6))
        if getattr(error, "value", None) in gone:
            raise LookupError(f"{device_id} is lost: {error}") from None
        return None


def shortage(device: Device, need: int, reserve: float) -> str:
    """Why a worker does not fit on a device now, in words; empty if it fits.

    Args:
        need: host memory of the worker in bytes.
        reserve: share of the machine's memory that is left alone.
    """
    left = available_memory() - int(reserve * psutil.virtual_memory().total)
    if left < need:
        return f"a worker needs {need // MIB} MiB of memory, {max(0, left) // MIB} MiB can be taken"
    free = device_free(device.id)
    if free is not None and free < CUDA_FREE:
        return f"{device.id} has {free // MIB} MiB free, a worker needs {CUDA_FREE // MIB} MiB"
    return ""


_loaded: list[Any] = []


def _nvml() -> Any:
    """pynvml, initialised once; None where it or the driver is missing."""
    if not _loaded:
        try:
            import pynvml

            pynvml.nvmlInit()
            _loaded.append(pynvml)
        except Exception:  # no module, no driver, no right: then there is no CUDA device
            _loaded.append(None)
    return _loaded[0]


def _visible(nvml: Any) -> list[Any]:
    every = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    if setting is None:
        return every
    out = []
    for entry in (e.strip() for e in setting.split(",")):
        if entry.isdigit() and int(entry) < len(every):
            out.append(every[int(entry)])
        elif entry.startswith(("GPU-", "MIG-")):
            out.append(nvml.nvmlDeviceGetHandleByUUID(entry.encode()))
        else:  # CUDA ignores everything from the first invalid entry on
            break
    return out
