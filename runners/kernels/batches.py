"""A batch as a recurrent kernel reads it: time first, the supervised positions at the end.

As ``runners.models.batch.frame`` does it in torch, and the reason is told there.
"""

from __future__ import annotations

from runners.kernels.codes import ALL, FIXED, SHIFTED
from runners.kernels.vector import kept


@kept
def lay_out(all_tokens, all_targets, e, B, T, W, how, tokens, wanted):
    """Part e of tokens and targets [., B, T] -> tokens [T, B] and targets of the last W steps [W, B];
    -1 where there is none.
    """
    for b in range(B):
        row = (e * B + b) * T
        last = T - 1
        if how == SHIFTED:
            while last > 0 and all_targets[row + last] < 0:
                last -= 1
        present = all_targets[row + T - 1] >= 0
        for t in range(T):
            source = t - (T - 1 - last)
            if how == ALL:
                there = all_targets[row + t] >= 0
            elif how == FIXED:
                there = present
            else:
                there = source >= 0
            place = source if source > 0 else 0
            tokens[t * B + b] = all_tokens[row + place] if there else -1
            if t >= T - W:
                supervised = source >= 0
                wanted[(t - (T - W)) * B + b] = all_targets[row + place] if supervised else -1
