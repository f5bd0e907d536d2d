"""CUDA graphs: the whole training step and the whole evaluation as one launch each, no host in between.

The step reads its batch from the block that the loader has laid out, at a counter on the device that moves
on by
itself; so one captured step serves all steps, and the host only launches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from runners.engine.device import is_out_of_memory
from runners.interrupt import Interrupted, Listener

WARM_UP = 3
"""Steps before a step is captured: libraries make their handles and work space in them."""


class CaptureRefusedError(RuntimeError):
    """This driver, device or model cannot be captured; ``str(error)`` says what the library said.

    The allocator may take the capture to be under way for ever after, so the process should train no more.
    """


class CudaGraphs:
    """The graphs of one fused batch; made on first use, valid as long as the buffers that they point into.

    They know nothing of the batch: what is captured is passed at each call, so that no circle keeps a batch
    alive.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._counter = torch.zeros(1, dtype=torch.int64, device=device)
        self._train: torch.cuda.CUDAGraph | None = None
        self._evaluate: torch.cuda.CUDAGraph | None = None
        self._losses: Tensor | None = None

    def rewind(self) -> None:
        """The loader has laid out a new block: the next step is its first."""
        self._counter.zero_()

    def train(self, count: int, step: Callable[[Tensor], None], state: Sequence[Tensor]) -> None:
        """Train the next ``count`` steps of the block.

        Args:
            step: trains on the batch at the place that it is given, int64 [1].
            state: all that a step changes.

        Raises:
            CaptureRefusedError: at the first call.
            Interrupted: at the first call, before the capture; nothing has changed.
        """
        if self._train is None:
            self._train = self._capture_training(step, state)
        for _ in range(count):
            self._train.replay()

    def evaluate(self, losses: Callable[[], Tensor]) -> Tensor:
        """What ``losses`` computes, float64 [E]; the same buffer at every call.

        Raises:
            CaptureRefusedError: at the first call.
            Interrupted: at the first call, before the capture.
        """
        if self._evaluate is None or self._losses is None:
            out: list[Tensor] = []
            # One time is enough: the libraries are warm from training.
            losses()
            self._evaluate = self._capture(lambda: out.append(losses()))
            self._losses = out[0]
        self._evaluate.replay()
        return self._losses

    def _capture_training(
        self, step: Callable[[Tensor], None], state: Sequence[Tensor]
    ) -> torch.cuda.CUDAGraph:
        state = [self._counter, *state]
        before = [t.clone() for t in state]
        graph = None
        with suppress(Interrupted):
            for _ in range(WARM_UP):
                step(self._counter)
            graph = self._capture(lambda: self._next(step))
        # The warm-up trained for real: put everything back, in place, for the graph knows the addresses.
        for tensor, old in zip(state, before, strict=True):
            tensor.copy_(old)
        if graph is None:
            raise Interrupted
        return graph

    def _next(self, step: Callable[[Tensor], None]) -> None:
        step(self._counter)
        self._counter.add_(1)

    def _capture(self, body: Callable[[], None]) -> torch.cuda.CUDAGraph:
        stream = torch.cuda.current_stream()
        graph = torch.cuda.CUDAGraph()
        try:
            stream.synchronize()
            # A capture is not broken off.
            with Listener(None), torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                body()
        except RuntimeError as error:
            # Ending a capture that an allocation broke raises an error of its own: look behind it.
            behind: BaseException | None = error
            while behind is not None:
                if is_out_of_memory(behind, self._device):
                    raise torch.OutOfMemoryError(str(behind)) from error
                behind = behind.__context__
            raise CaptureRefusedError(str(error).strip().splitlines()[0]) from error
        return graph
