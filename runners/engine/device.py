"""A device: its kind, how it is set up for results that can be repeated, its streams, and its memory."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import torch

from runners.kernels import library

GPU = "cuda"


def is_gpu(device: str | torch.device) -> bool:
    """Whether work there is queued on streams and may be captured."""
    return torch.device(device).type == GPU


def kind(device: str) -> str:
    """``cpu``, or ``cuda:`` and the GPU's name: a probe begun on one kind is begun afresh on another."""
    if is_gpu(device):
        return f"cuda:{torch.cuda.get_device_name(torch.device(device))}"
    return "cpu"


def kernels(device: str, threads: int) -> str:
    """The signature of the compiled kernels that serve there; empty where torch does it all."""
    return "" if is_gpu(device) or threads > 1 else library.signature()


def set_up(device: str, threads: int) -> None:
    """Set this process up to train on ``device``; call it before the first work there.

    On a GPU this asks for kernels whose sums have a fixed order,
    so that the same plan gives the same bits again.
    """
    torch.set_num_threads(threads)
    if is_gpu(device):
        # cuBLAS reads it when its first handle is made;
        # with several streams its default workspace is not deterministic.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Only for finding faults, and it costs a pass over every fresh buffer.
        setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010  (torch's stubs lack it)
        torch.cuda.set_device(torch.device(device))


class tf32:  # noqa: N801  (used like contextlib's own)
    """A context in which float32 matrix products on a GPU may use TF32; it may be entered again and again."""

    def __enter__(self) -> None:
        matmul = torch.backends.cuda.matmul
        if hasattr(matmul, "fp32_precision"):  # torch >= 2.9
            self._before: str | bool = matmul.fp32_precision
            matmul.fp32_precision = "tf32"
        else:
            self._before = matmul.allow_tf32
            matmul.allow_tf32 = True

    def __exit__(self, *_: object) -> None:
        matmul = torch.backends.cuda.matmul
        if hasattr(matmul, "fp32_precision"):
            matmul.fp32_precision = self._before
        else:
            matmul.allow_tf32 = bool(self._before)


_free_streams: dict[str, list[torch.cuda.Stream]] = {}


def take_stream(device: str | torch.device) -> torch.cuda.Stream:
    """A stream of a GPU that nobody else uses: one that was given back, for the allocator and cuBLAS keep
    memory of
    every stream that there was."""
    free = _free_streams.setdefault(str(device), [])
    return free.pop() if free else torch.cuda.Stream(device)  # type: ignore[no-untyped-call, unused-ignore]


def give_stream(device: str | torch.device, stream: torch.cuda.Stream) -> None:
    """Hand back a stream on which nothing is under way."""
    _free_streams.setdefault(str(device), []).append(stream)


def new_event() -> torch.cuda.Event:
    """An event to wait for; who waits leaves the processor to others."""
    return torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call, unused-ignore]


_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "alloc_failed",
)


_PERHAPS = (
    "previous error during capture",
    "cublas_status_not_initialized",
    "cublas_status_internal_error",
)
"""What a GPU's libraries say among other things when memory has run out."""
LOW_SHARE = 0.02
"""A GPU with less than this share of its memory free is taken to be full."""


def is_out_of_memory(error: BaseException, device: str = "cpu") -> bool:
    """Whether an error says that memory ran out, on the host or on a GPU.

    Args:
        device: where the work ran: a text that can mean anything means memory where next to none is free.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    text = str(error).lower()
    if any(word in text for word in _WORDS):
        return True
    return is_gpu(device) and any(word in text for word in _PERHAPS) and free_share(device) < LOW_SHARE


def free_share(device: str) -> float:
    """The share of a GPU's memory that can be allocated now."""
    return free_bytes(device) / total_bytes(device)


def total_bytes(device: str) -> int:
    """A GPU's memory."""
    return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)


def free_bytes(device: str) -> int:
    """Bytes that can be allocated now: of the GPU, or of the host within this process's control group."""
    if is_gpu(device):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    found = [_available(), _group_rest()]
    return min(value for value in found if value is not None)


def release(device: str) -> None:
    """Give back what nobody uses any more, after an allocation failed."""
    if is_gpu(device):
        # What was queued before the failure still writes to memory that is about to be free.
        torch.cuda.synchronize(torch.device(device))
    gc.collect()
    if is_gpu(device):
        torch.cuda.empty_cache()


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _group_rest() -> int | None:
    group = Path("/sys/fs/cgroup")
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int((group / limit).read_text()) - int((group / used).read_text()))
        except (OSError, ValueError):
            continue
    return None
