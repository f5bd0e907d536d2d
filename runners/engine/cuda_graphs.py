"""CUDA graphs of a lane: the whole training step and the whole evaluation as one launch each,
no host in between.

The step reads its batch from the block that the feed has laid out, at a counter on the device that it
advances itself; so one captured step serves all steps, and the host only launches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from runners.engine.memory import is_out_of_memory
from runners.interrupt import Listener

if TYPE_CHECKING:
    from runners.engine.fused_batch import FusedBatch

WARM_UP = 3


class CaptureRefusedError(RuntimeError):
    """This driver, device or model cannot be captured; ``str(error)`` says what the library said."""


class Graphs:
    """The graphs of one lane; made on first use, valid as long as the lane's buffers."""

    def __init__(self, lane: FusedBatch) -> None:
        self._lane = lane
        self._counter = torch.zeros(1, dtype=torch.int64, device=lane.shape.device)
        self._train: torch.cuda.CUDAGraph | None = None
        self._evaluate: torch.cuda.CUDAGraph | None = None
        self._losses: Tensor | None = None

    def rewind(self) -> None:
        """The feed has laid out a new block: the next step is its first."""
        self._counter.zero_()

    def train(self, count: int) -> None:
        """The next ``count`` steps of the block.

        Raises:
            CaptureRefusedError: at the first call; the lane must be made anew.
        """
        if self._train is None:
            self._train = self._capture_training()
        for _ in range(count):
            self._train.replay()

    def evaluate(self) -> Tensor:
        """float64 [E]: mean validation losses; the same buffer at every call."""
        if self._evaluate is None or self._losses is None:
            self._evaluate, self._losses = self._capture_evaluation()
        self._evaluate.replay()
        return self._losses

    def one(self) -> None:
        """The step that is captured."""
        lane = self._lane
        tokens = lane.feed.tokens.index_select(0, self._counter)[0]
        targets = lane.feed.targets.index_select(0, self._counter)[0]
        lane.one(tokens, targets)
        self._counter.add_(1)

    def _capture_training(self) -> torch.cuda.CUDAGraph:
        lane = self._lane
        state = [self._counter, lane.params, lane.adam.mean, lane.adam.square, lane.adam.steps, lane.loss]
        if lane.dropout is not None:
            state.append(lane.dropout.step)
        before = [t.clone() for t in state]

        def warm_up() -> None:
            self.one()
            self._counter.zero_()

        with Listener(None):  # a capture is not broken off, and a warm-up's steps must not count
            graph = self._capture(warm_up, self.one)
        # The warm-up trained for real: put everything back, in place, for the graph knows the addresses.
        for tensor, old in zip(state, before, strict=True):
            tensor.copy_(old)
        return graph

    def _capture_evaluation(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        lane = self._lane
        out: list[Tensor] = []

        def run() -> None:
            out[:] = [lane.validation.full(lane.shape.model, lane.params, lane.sets)]

        with Listener(None):
            graph = self._capture(run, run)
        return graph, out[0]

    def _capture(self, warm_up: Callable[[], None], body: Callable[[], None]) -> torch.cuda.CUDAGraph:
        stream = torch.cuda.current_stream()
        graph = torch.cuda.CUDAGraph()
        try:
            for _ in range(WARM_UP):
                warm_up()
            stream.synchronize()
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                body()
        except RuntimeError as error:
            # Ending a capture that an allocation broke raises an error of its own:
            # look at what was behind it.
            behind: BaseException | None = error
            while behind is not None:
                if is_out_of_memory(behind):
                    raise torch.OutOfMemoryError(str(behind)) from error
                behind = behind.__context__
            raise CaptureRefusedError(str(error).strip().splitlines()[0]) from error
        return graph
