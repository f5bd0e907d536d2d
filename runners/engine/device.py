"""What a device is called, which kind it is, and how it is set up for results that can be repeated."""

from __future__ import annotations

import os

import torch

GPU = "cuda"


def is_gpu(device: str | torch.device) -> bool:
    """Whether work there is queued on streams and may be captured."""
    return torch.device(device).type == GPU


def kind(device: str) -> str:
    """``cpu``, or ``cuda:`` and the GPU's name: a probe begun on one kind is begun afresh on another."""
    if is_gpu(device):
        return f"cuda:{torch.cuda.get_device_name(torch.device(device))}"
    return "cpu"


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
        _set_matmul("tf32")

    def __exit__(self, *_: object) -> None:
        _set_matmul("ieee")


def _set_matmul(precision: str) -> None:
    matmul = torch.backends.cuda.matmul
    if hasattr(matmul, "fp32_precision"):  # torch >= 2.9
        matmul.fp32_precision = precision
    else:
        matmul.allow_tf32 = precision == "tf32"


def new_stream(device: str | torch.device) -> torch.cuda.Stream:
    """A stream of its own on a GPU."""
    return torch.cuda.Stream(device)


def new_event() -> torch.cuda.Event:
    """An event to wait for."""
    return torch.cuda.Event()
