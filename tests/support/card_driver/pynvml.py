"""NVML of cards that a test believes in, for real processes: put this folder on PYTHONPATH.

The file named by CARDS holds {"cards": [{"name", "uuid", "total", "mode", "lost", "users": [[pid, bytes]],
"slices": [{"name", "uuid", "total"}]}]}, sizes in bytes, and is read at each call; so a test takes memory,
loses a card or changes its mode under a supervisor that runs. Beside it, ``PID.json`` [uuid, bytes] is what a
process of the trainer (tests/support/simulated.py) has on a card.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

NVML_ERROR_GPU_IS_LOST = 15
NVML_ERROR_NOT_FOUND = 6
NVML_ERROR_NOT_SUPPORTED = 3


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class NVMLError_DriverNotLoaded(NVMLError):  # noqa: N801, N818 - NVML's own name
    """No file, no driver."""


def _file() -> Path:
    return Path(os.environ["CARDS"])


def _cards() -> list[dict[str, Any]]:
    return list(json.loads(_file().read_text())["cards"])


def _of(handle: str) -> dict[str, Any]:
    """A card or a slice by its UUID."""
    one: dict[str, Any]
    for card in _cards():
        if card.get("lost") and handle in (card["uuid"], *(s["uuid"] for s in card.get("slices", ()))):
            raise NVMLError(NVML_ERROR_GPU_IS_LOST)
        for one in (card, *card.get("slices", ())):
            if one["uuid"] == handle:
                return one
    raise NVMLError(NVML_ERROR_NOT_FOUND)


def users(handle: str) -> list[tuple[int, int]]:
    """(process, bytes) of all that compute there and live."""
    out = [(int(pid), int(size)) for pid, size in _of(handle).get("users", ())]
    for file in _file().parent.glob("*.json"):
        if file.stem.isdecimal() and Path("/proc", file.stem).exists():
            uuid, size = json.loads(file.read_text())
            if uuid == handle:
                out.append((int(file.stem), int(size)))
    return out


def nvmlInit() -> None:
    if "CARDS" not in os.environ:
        raise NVMLError_DriverNotLoaded(9)


def nvmlSystemGetDriverVersion() -> str:
    return "999.1"


def nvmlDeviceGetCount() -> int:
    return len(_cards())


def nvmlDeviceGetHandleByIndex(index: int) -> str:
    return str(_cards()[index]["uuid"])


def nvmlDeviceGetHandleByUUID(uuid: bytes) -> str:
    _of(uuid.decode())
    return uuid.decode()


def nvmlDeviceGetUUID(handle: str) -> str:
    return handle


def nvmlDeviceGetName(handle: str) -> str:
    for card in _cards():
        for one in (card, *card.get("slices", ())):
            if one["uuid"] == handle:
                return str(one["name"])
    raise NVMLError(NVML_ERROR_NOT_FOUND)


def nvmlDeviceGetMemoryInfo(handle: str) -> SimpleNamespace:
    total = int(_of(handle)["total"])
    used = sum(size for _, size in users(handle))
    return SimpleNamespace(total=total, used=used, free=total - used)


def nvmlDeviceGetComputeRunningProcesses(handle: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in users(handle)]


def nvmlDeviceGetComputeMode(handle: str) -> int:
    return int(_of(handle).get("mode", 0))


def nvmlDeviceGetMigMode(handle: str) -> list[int]:
    if handle.startswith("MIG-"):
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    cut = int("slices" in _of(handle))
    return [cut, cut]


def nvmlDeviceGetMaxMigDeviceCount(handle: str) -> int:
    return 7


def nvmlDeviceGetMigDeviceHandleByIndex(handle: str, index: int) -> str:
    try:
        return str(_of(handle)["slices"][index]["uuid"])
    except IndexError:
        raise NVMLError(NVML_ERROR_NOT_FOUND) from None


def nvmlDeviceGetUtilizationRates(handle: str) -> SimpleNamespace:
    if handle.startswith("MIG-"):
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return SimpleNamespace(gpu=50)


def nvmlDeviceGetTemperature(handle: str, sensor: int) -> int:
    return 50


def nvmlDeviceGetPowerUsage(handle: str) -> int:
    if handle.startswith("MIG-"):
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return 300_000
