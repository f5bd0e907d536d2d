"""Buffers that live from one step to the next, so that a step allocates nothing of weight."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor

KEPT_ON_CPU = 6
"""Shapes whose buffers are kept on the CPU. On CUDA all are: a captured graph points into them."""


Views = TypeVar("Views")


class Workspace:
    """Zero-initialised buffers by name and shape, grouped by the shape of the batch that they serve."""

    def __init__(self) -> None:
        self._groups: OrderedDict[Hashable, dict[Hashable, Any]] = OrderedDict()

    def group(self, key: Hashable, like: Tensor) -> Buffers:
        """The buffers of one batch shape, in the dtype and on the device of ``like``."""
        full = (key, like.dtype, like.device)
        held = self._groups.pop(full, {})
        self._groups[full] = held
        if like.device.type == "cpu" and len(self._groups) > KEPT_ON_CPU:
            self._groups.popitem(last=False)
        return Buffers(held, like)

    def clear(self) -> None:
        self._groups.clear()


class Buffers:
    def __init__(self, held: dict[Hashable, Any], like: Tensor) -> None:
        self._held = held
        self._like = like

    def views(self, name: str, make: Callable[[], Views]) -> Views:
        """Views of these buffers, made once: one per time step costs as much as the arithmetic of a
        small model.
        """
        key = f"views of {name}"
        if key not in self._held:
            self._held[key] = make()
        found: Views = self._held[key]
        return found

    def put(self, name: str, value: object) -> None:
        """Leave something for the backward pass."""
        self._held[f"left: {name}"] = value

    def get(self, name: str) -> Any:
        return self._held[f"left: {name}"]

    def __call__(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """The buffer of that name and shape; its content is what was written last, zeros at first."""
        found: Tensor | None = self._held.get((name, shape))
        if found is None:
            found = torch.zeros(shape, dtype=dtype or self._like.dtype, device=self._like.device)
            self._held[name, shape] = found
        return found
