"""The transformer with other positions, or applied several times: weights lie as [out, in].

``runners.models.decoder`` is the same in torch, and the reference.
"""

from __future__ import annotations

from runners.kernels.layers import weight_back
from runners.kernels.stack import step_of
from runners.kernels.transformer import block_of, turned_pack, turned_part_back

run = step_of(block_of(turned_pack, weight_back, turned_part_back))
