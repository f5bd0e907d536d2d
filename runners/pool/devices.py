"""The devices that a supervisor may use, and whether a worker fits on one; told without torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from runners import machine

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
    """cpu, cuda:0; on a cluster with its node before it: node-3/cuda:1."""
    name: str

    @property
    def node(self) -> str:
        """Of a cluster; empty: this machine."""
        return self.id.rpartition("/")[0]

    @property
    def local(self) -> str:
        """What its node calls it."""
        return self.id.rpartition("/")[2]

    @cached_property
    def kind(self) -> str:
        """cpu or cuda; asked for every slot in every turn."""
        return self.local.partition(":")[0]


def cpu() -> Device:
    """The CPU with its name."""
    return Device("cpu", machine.processor_name())


def cuda() -> list[Device]:
    """CUDA devices in torch's order; empty where none can be used."""
    return [Device(f"cuda:{index}", name) for index, name in enumerate(machine.visible_cards())]


def detect(wanted: tuple[str, ...]) -> list[Device]:
    """The devices to use.

    Args:
        wanted: ids; empty: every CUDA device, or the CPU where there is none.

    Raises:
        ValueError: a device that is not there, or none is named and the cards that are there cannot be used.
    """
    if not wanted:
        found = [] if machine.cards_are_hidden() else cuda()
        if not found and not machine.cards_are_hidden() and (problem := machine.gpu_problem()):
            raise ValueError(
                f"the GPUs of this machine cannot be used: {problem}; mend the driver, or train on the CPU "
                f"with --devices cpu"
            )
        return found or [cpu()]
    there = {d.id: d for d in (cpu(), *cuda())}
    for name in wanted:
        if name not in there:
            why = f" ({problem})" if (problem := machine.gpu_problem()) and name.startswith("cuda") else ""
            raise ValueError(f"the device {name!r} is not there{why}; expected one of {', '.join(there)}")
    return [there[name] for name in dict.fromkeys(wanted)]


def shortage(device: Device, need: int, reserve: float) -> str:
    """Why a worker does not fit on a device now, in words; empty if it fits.

    Args:
        need: host memory of the worker in bytes.
        reserve: share of the machine's memory that is left alone.

    Raises:
        LookupError: the device has gone.
    """
    left = machine.available_memory() - int(reserve * machine.total_memory())
    if left < need:
        return f"a worker needs {need // MIB} MiB of memory, {max(0, left) // MIB} MiB can be taken"
    if device.kind != "cuda":
        return ""
    index = int(device.id.partition(":")[2])
    free = machine.card_free(index)
    if free is not None and free < CUDA_FREE:
        return f"{device.id} has {free // MIB} MiB free, a worker needs {CUDA_FREE // MIB} MiB"
    return machine.card_refusal(index)


def most_slots(device: Device) -> int | None:
    """How many slots a device of this machine may have; None: as many as somebody likes."""
    if device.kind != "cuda" or device.node:
        return None
    return 1 if machine.card_is_exclusive(int(device.id.partition(":")[2])) else None
