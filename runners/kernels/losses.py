"""The linear head with softmax and cross-entropy, forward and backward, over rows of states."""

from __future__ import annotations

import numpy as np

from runners.kernels import codes
from runners.kernels.codes import EVALUATE
from runners.kernels.vector import NOTHING, WIDE, at, exp, gemm, inlined, kept, log, transpose_padded

padded = inlined(codes.padded)


@kept
def turn_head(weight, S, h, turned):
    """The head's weight [S, h] as [h, padded(S)]."""
    transpose_padded(weight, S, h, turned, padded(S))


@kept
def logits_of(x, rows, h, turned, bias, biased, S, out):
    """out [rows, padded(S)] = x [rows, h] times the turned head, plus bias [S] where ``biased`` is 1;
    NOTHING in columns that are no class.
    """
    wide = padded(S)
    for r in range(rows):
        for s in range(S):
            out[r * wide + s] = bias[s] if biased == 1 else np.float32(0.0)
        for s in range(S, wide):
            out[r * wide + s] = NOTHING
    gemm(x, h, 1, turned, wide, WIDE, out, wide, rows, wide, h, 1)


@kept
def cross_entropy(logits, wanted, rows, S, scratch):
    """Logits [rows, padded(S)] become their exponentials; scratch [3, rows] gets each row's cross-entropy
    (0 where ``wanted`` [rows] is below 0) and one over the sum of its exponentials.
    """
    wide = padded(S)
    for r in range(rows):
        largest = logits[r * wide]
        for s in range(1, S):
            here = logits[r * wide + s]
            largest = here if here > largest else largest
        target = wanted[r]
        if target >= 0:
            scratch[2 * rows + r] = logits[r * wide + target] - largest
        else:
            scratch[2 * rows + r] = np.float32(0.0)
        for s in range(wide):
            logits[r * wide + s] -= largest
    for i in range(rows * wide):
        logits[i] = exp(logits[i])
    for r in range(rows):
        total = np.float32(0.0)
        for s in range(S):
            total += logits[r * wide + s]
        scratch[rows + r] = total
    for r in range(rows):
        total = scratch[rows + r]
        scratch[r] = log(total) - scratch[2 * rows + r]
        scratch[rows + r] = np.float32(1.0) / total
    for r in range(rows):
        if wanted[r] < 0:
            scratch[r] = np.float32(0.0)


@kept
def supervised(wanted, rows):
    """How many rows have a target."""
    count = 0
    for r in range(rows):
        count += 1 if wanted[r] >= 0 else 0
    return count


@kept
def cross_entropy_sum(logits, wanted, rows, S, scratch):
    """The summed cross-entropy in float64."""
    cross_entropy(logits, wanted, rows, S, scratch)
    total = 0.0
    for r in range(rows):
        total += scratch[r]
    return total


@kept
def gradient(logits, wanted, rows, S, scratch, share):
    """The summed cross-entropy; logits become the gradient of ``share`` times it."""
    wide = padded(S)
    total = cross_entropy_sum(logits, wanted, rows, S, scratch)
    for r in range(rows):
        target = wanted[r]
        factor = scratch[rows + r] * share
        for s in range(wide):
            # What is not supervised counts for nothing even where it is not finite.
            logits[r * wide + s] = logits[r * wide + s] * factor if target >= 0 else np.float32(0.0)
        if target >= 0:
            logits[r * wide + target] -= share
    return total


@kept
def head_back(d_logits, rows, h, x, weight, S, d_weight, d_bias, biased, d_x, add):
    """Gradients of weight [S, h], bias [S] where ``biased`` is 1, and x [rows, h] from that of the logits;
    those of the head are added to what stands there if ``add`` is 1.
    """
    wide = padded(S)
    gemm(d_logits, 1, wide, x, h, WIDE, d_weight, h, S, h, rows, add)
    if biased == 1:
        for s in range(S):
            total = np.float64(d_bias[s]) if add == 1 else 0.0
            for r in range(rows):
                total += d_logits[r * wide + s]
            d_bias[s] = np.float32(total)
    gemm(d_logits, wide, 1, weight, h, WIDE, d_x, h, rows, h, S, 0)


@kept
def head_of(
    what, e, w, grad, to_head, seen, rows, h, S, turned, logits, wanted, scratch, losses, totals, counts, d
):
    """The head at ``to_head`` of member e's parameters over what is seen [rows, h]: its loss, or in training
    that, the head's gradients, and d, that of what is seen.
    """
    head = at(w, to_head)
    turn_head(head, S, h, turned)
    logits_of(seen, rows, h, turned, at(head, S * h), 1, S, logits)
    count = supervised(wanted, rows)
    if what == EVALUATE:
        totals[e] += cross_entropy_sum(logits, wanted, rows, S, scratch)
        counts[e] += np.float64(count)
    else:
        share = np.float32(1.0 / count) if count > 0 else np.float32(1.0)
        losses[e] = np.float32(gradient(logits, wanted, rows, S, scratch, share) * share)
        d_head = at(grad, to_head)
        head_back(logits, rows, h, seen, head, S, d_head, at(d_head, S * h), 1, d, 0)
