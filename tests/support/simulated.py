"""A trainer on a card that a test believes in (card_driver/pynvml.py), and the cards themselves.

It computes what the stand-in computes and behaves as CUDA does: a process takes memory where it first works,
an exclusive card takes one process, a lost one fails whatever is asked of it, and what others took is gone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runners import machine
from runners.engine.types import Control, EngineEvent
from tests.support import standin

GIB = 1 << 30
DRIVER = Path(__file__).with_name("card_driver")
TRAINER = "tests.support.simulated:Trainer"


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class Trainer(standin.Trainer):
    """A stand-in that needs its card. SIMULATED_BYTES: what it takes there (default 1 GiB)."""

    def run(self, control: Control) -> Iterator[EngineEvent]:
        if self.device == "cpu":
            yield from super().run(control)
            return
        self._context()
        for event in super().run(control):
            yield event
            self._work()

    def _context(self) -> None:
        """The process's place on the card, made at its first work."""
        import pynvml

        handle = machine._visible(pynvml)[int(self.device.partition(":")[2])]
        self._handle = handle
        size = int(os.environ.get("SIMULATED_BYTES", str(GIB)))
        mine = Path(os.environ["CARDS"]).with_name(f"{os.getpid()}.json")
        if mine.exists():
            return
        try:
            others = pynvml.users(handle)
        except pynvml.NVMLError:
            raise RuntimeError("CUDA error: no CUDA-capable device is detected") from None
        if pynvml.nvmlDeviceGetComputeMode(handle) == 3 and others:
            raise RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")
        if pynvml.nvmlDeviceGetMemoryInfo(handle).free < size:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        aside = mine.with_suffix(".new")
        aside.write_text(json.dumps([handle, size]))
        aside.replace(mine)

    def _work(self) -> None:
        import pynvml

        try:
            free = pynvml.nvmlDeviceGetMemoryInfo(self._handle).free
        except pynvml.NVMLError:
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered") from None
        if free < 0:
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


class Cards:
    """The cards of a test, changed while processes look at them."""

    def __init__(self, folder: Path, *cards: dict[str, Any]) -> None:
        folder.mkdir()
        self.file = folder / "cards.json"
        self.cards = list(cards)
        self.write()

    def write(self) -> None:
        aside = self.file.with_suffix(".new")
        aside.write_text(json.dumps({"cards": self.cards}))
        aside.replace(self.file)

    def set(self, index: int, **values: Any) -> None:
        self.cards[index].update(values)
        self.write()

    @property
    def env(self) -> dict[str, str]:
        """For a supervisor, its workers and whoever looks."""
        return {"CARDS": str(self.file), "PYTHONPATH": str(DRIVER), "STANDIN_AT_ONCE": "64"}

    def workers_on(self, index: int) -> list[int]:
        """Processes that compute there, as their own files say."""
        uuids = {self.cards[index]["uuid"], *(s["uuid"] for s in self.cards[index].get("slices", ()))}
        return [
            int(file.stem)
            for file in self.file.parent.glob("[0-9]*.json")
            if json.loads(file.read_text())[0] in uuids and Path("/proc", file.stem).exists()
        ]


def card(index: int, **more: Any) -> dict[str, Any]:
    return {"name": f"Test card {index}", "uuid": f"GPU-{index}", "total": 80 * GIB, **more}


def slices(*sizes: int) -> list[dict[str, Any]]:
    return [{"name": f"Test card MIG {i}", "uuid": f"MIG-{i}", "total": size} for i, size in enumerate(sizes)]
