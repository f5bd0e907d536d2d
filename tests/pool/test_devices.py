"""Devices and memory, with a driver that is not there."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from runners.pool import devices
from runners.pool.devices import Device


class FakeError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(f"error {value}")
        self.value = value


class Fake(types.ModuleType):
    """pynvml with three cards."""

    NVMLError = FakeError
    NVML_ERROR_GPU_IS_LOST = 15
    NVML_ERROR_NOT_FOUND = 6

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.free = [10 << 30, 1 << 30, 5 << 30]
        self.lost: set[int] = set()

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> int:
        return {b"GPU-b": 1}[uuid]

    def nvmlDeviceGetName(self, handle: int) -> str:
        return f"card {handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        if handle in self.lost:
            raise FakeError(15)
        return types.SimpleNamespace(free=self.free[handle])


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    fake = Fake()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    devices._loaded.clear()
    yield fake
    devices._loaded.clear()


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    devices._loaded.clear()
    yield
    devices._loaded.clear()


@pytest.mark.usefixtures("no_driver")
def test_without_a_driver_there_is_the_cpu() -> None:
    assert [d.id for d in devices.detect(())] == ["cpu"]
    with pytest.raises(ValueError, match=r"'cuda:0' is not there; expected one of cpu$"):
        devices.detect(("cuda:0",))
    assert devices.device_free("cuda:0") is None


@pytest.mark.usefixtures("nvml")
def test_every_card_by_default_and_those_asked_for() -> None:
    assert [d.id for d in devices.detect(())] == ["cuda:0", "cuda:1", "cuda:2"]
    assert [d.id for d in devices.detect(("cpu", "cuda:1", "cpu"))] == ["cpu", "cuda:1"]


@pytest.mark.parametrize(
    ("setting", "names"),
    [("2,0", ["card 2", "card 0"]), ("GPU-b", ["card 1"]), ("", []), ("1,x,0", ["card 1"]), ("7", [])],
)
def test_visible_devices_are_numbered_as_torch_does(
    nvml: Fake, monkeypatch: pytest.MonkeyPatch, setting: str, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", setting)
    assert [d.name for d in devices.cuda()] == names


def test_what_does_not_fit_is_said_in_words(nvml: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available_memory", lambda: 8 << 30)
    monkeypatch.setattr(devices.psutil, "virtual_memory", lambda: types.SimpleNamespace(total=16 << 30))
    assert devices.shortage(Device("cuda:0", ""), 3 << 30, 0.05) == ""
    assert "cuda:1 has 1024 MiB free" in devices.shortage(Device("cuda:1", ""), 3 << 30, 0.05)
    assert "a worker needs 8192 MiB" in devices.shortage(Device("cuda:0", ""), 8 << 30, 0.05)
    nvml.lost.add(2)
    with pytest.raises(LookupError, match="cuda:2 is lost"):
        devices.shortage(Device("cuda:2", ""), 1, 0.05)


def test_memory_and_cores_of_this_machine_are_sane() -> None:
    assert devices.available_memory() > 0
    assert devices.cores() >= 1
    assert devices.cpu().name
