"""A GPU that is the CPU: streams and events do nothing,
and a graph records every operation of its capture and does it again.

An operation is replayed on the tensors that it was captured with and its results go to where they were then,
as on a real card. So a number of the host that finds its way into a captured step, or a buffer that is
replaced between two replays, makes the training another one than without a graph, and is found.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from runners.engine import device as real
from runners.engine.loader import Loader
from runners.kernels import library
from runners.models.matmul import Matmul

HOST_READS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal"}
"""Operations whose results the host waits for: a capture refuses them."""


TOTAL = 8 << 30
"""Bytes of the stand-in's memory."""


class Patch(Protocol):
    """pytest's MonkeyPatch, or what stands in its place where there is no pytest."""

    def setattr(self, target: object, name: str, value: object, /) -> None: ...


class Memory:
    """What the blocks of batches take, which grows with the members; more than the limit is refused."""

    def __init__(self) -> None:
        self.held = self.peak = 0
        self.limit = TOTAL

    def take(self, size: int) -> None:
        if self.held + size > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate what is not there")
        self.held += size
        self.peak = max(self.peak, self.held)

    def give(self, size: int) -> None:
        self.held -= size

    def forget_peak(self) -> None:
        self.peak = self.held

    def share(self, fraction: float) -> None:
        self.limit = int(TOTAL * fraction)

    def watch(self, patch: Patch) -> None:
        """Count what loaders allocate, until it is freed."""
        allocate = Loader.allocate

        def counted(loader: Loader) -> None:
            size = 16 * torch.Size(loader._shape).numel()
            self.take(size)
            weakref.finalize(loader, self.give, size)
            allocate(loader)

        patch.setattr(Loader, "allocate", counted)


class _Tape(TorchDispatchMode):
    def __init__(self, calls: list[tuple[Any, Any, Any, Any]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self._calls = calls

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name in HOST_READS:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        out = func(*args, **(kwargs or {}))
        self._calls.append((func, args, kwargs or {}, out))
        return out


class Graph:
    """A stand-in for torch.cuda.CUDAGraph."""

    captured = 0
    replayed = 0

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def replay(self) -> None:
        Graph.replayed += 1
        for func, args, kwargs, out in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Stream:
    """A stand-in for torch.cuda.Stream and torch.cuda.Event: everything is done at once."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def synchronize(self) -> None: ...
    def record(self, *_: object) -> None: ...
    def wait_stream(self, *_: object) -> None: ...
    def wait_event(self, *_: object) -> None: ...


def install(monkeypatch: Patch, refuse: Callable[[], None] = lambda: None) -> None:
    """Make ``cpu`` a GPU for the engine; ``refuse`` is called by each capture and may raise."""

    @contextmanager
    def capture(graph: Graph, **_: object) -> Iterator[None]:
        refuse()
        Graph.captured += 1
        with _Tape(graph.calls):
            yield

    memory = Memory()
    memory.watch(monkeypatch)
    # What numpy and compiled kernels do is no operation of torch's, and no card does it.
    monkeypatch.setattr(Matmul, "_by_numpy", lambda *_: False)
    monkeypatch.setattr(library, "kernel", lambda family: None)
    monkeypatch.setattr(Graph, "captured", 0)
    monkeypatch.setattr(Graph, "replayed", 0)
    monkeypatch.setattr(real, "GPU", "cpu")
    monkeypatch.setattr(real, "_free_streams", {})
    for name, stand_in in {
        "CUDAGraph": Graph,
        "graph": capture,
        "Stream": Stream,
        "Event": Stream,
        "stream": lambda _: nullcontext(),
        "current_stream": Stream,
        "synchronize": lambda *_: None,
        "empty_cache": lambda: None,
        "set_device": lambda _: None,
        "reset_peak_memory_stats": memory.forget_peak,
        "max_memory_reserved": lambda: memory.peak,
        "set_per_process_memory_fraction": memory.share,
        "get_device_name": lambda _: "none",
        "get_device_properties": lambda _: SimpleNamespace(total_memory=TOTAL),
        "mem_get_info": lambda _: (TOTAL, TOTAL),
        "memory_reserved": lambda _: 0,
        "memory_allocated": lambda _: 0,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda *_, **__: None)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as it is wherever there is a card
