"""A whole step of a stack of residual blocks, one member after another: forward, loss, backward.

Parameters are the embedding [V, d], learned positions where there are any, the blocks, a last norm, the head.
Only what a supervised position can see is computed: sequences lie ragged, row after row of [rows, d], without
padding, and the last block puts out the supervised rows alone. A chunk of sequences goes forward and back
before the next one, so that its activations stay in the cache; gradients add up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from runners.kernels import codes
from runners.kernels.codes import EVALUATE, TRAIN
from runners.kernels.losses import cross_entropy_sum, gradient, head_back, logits_of, supervised, turn_head
from runners.kernels.vector import at, copy, doubles, floats, inlined, integers, kept, zero

padded = inlined(codes.padded)


@dataclass(frozen=True)
class Block:
    """One block, and the norm that follows the last one.

    ``forward`` is (x, w, packed, N, M, own, last, starts, outs, places, all places, sequences, d, about,
    table, room, kept, scratch, out): x [N, d] -> out, the M rows of ``own`` that it puts out.

    - w: its parameters; packed: what ``pack`` (w, d, about, packed) has laid out of them.
    - own: int64 [M]; last: 1 where these are not all rows, else 0.
    - starts, outs: int64 [sequences + 1], where each sequence's rows, and its own, begin.
    - places, all places: int64 [M] and [N], the position of a row in its sequence.
    - about, table: int64 and float32, what the model's kind has to say.
    - room: rows of a buffer; kept: the block's activations; scratch: nobody else's.

    ``backward`` is (d_out, x, w, g, the same from ``packed`` to scratch, d_x): d(x) [N, d] into d_x from
    d_out [M, d], which is used up; gradients are added to g.
    """

    forward: Any
    backward: Any
    pack: Any
    norm_forward: Any
    """(x, rows, d, parameters, out, statistics [rows, 2])"""
    norm_backward: Any
    """(dy, x, statistics, parameters, rows, d, d_parameters, dx, scratch [2, d]): adds to the d of both."""
    norm_rows: int
    """Parameters of a norm, in rows of d."""
    biased: int
    """1 where the head has a bias."""


@kept
def lay_out_rows(all_tokens, all_targets, e, first, B, T, limit, rows, starts, outs, counts):
    """The sequences of part e from ``first`` on, as many as fit into ``limit`` rows, at least one.

    rows: int64 [5, room]: token and position of each row, then own row, position, and target of each that is
    supervised. Returns the sequence after the last; counts gets sequences, N and M.
    """
    room = counts[3]
    tokens, places, own, own_places, wanted = (
        rows,
        at(rows, room),
        at(rows, 2 * room),
        at(rows, 3 * room),
        at(rows, 4 * room),
    )
    N, M, sequences = 0, 0, 0
    starts[0] = 0
    outs[0] = 0
    sequence = first
    while sequence < B:
        begin = (e * B + sequence) * T
        length = T
        while length > 0 and all_targets[begin + length - 1] < 0:
            length -= 1
        if sequences > 0 and N + length > limit:
            break
        for t in range(length):
            tokens[N + t] = all_tokens[begin + t]
            places[N + t] = t
            if all_targets[begin + t] >= 0:
                own[M] = N + t
                own_places[M] = t
                wanted[M] = all_targets[begin + t]
                M += 1
        if length > 0:
            N += length
            sequences += 1
            starts[sequences] = N
            outs[sequences] = M
        sequence += 1
    counts[0], counts[1], counts[2] = sequences, N, M
    return sequence


# Long: the walk through a batch, of which the compiler knows the block.
def step_of(block: Block) -> Callable[[Any], None]:
    """The kernel of a stack of such blocks, applied ``loops`` times."""
    forward, backward, pack = block.forward, block.backward, block.pack
    norm_forward, norm_backward = block.norm_forward, block.norm_backward
    norm_rows, biased = block.norm_rows, block.biased

    # Long: a list of what stands where in the table of arguments, then the walk through a chunk.
    def run(args):
        """A training step of members first..last-1 or their evaluation."""
        what, first, last, B, T, V, S, d, layers, loops, positions, fixed, members, stride = (
            args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7], args[8], args[9],
            args[10], args[11], args[12], args[13],
        )  # fmt: skip
        limit, room, size, kept_size, panels = args[14], args[15], args[16], args[17], args[18]
        params, grads, losses, counts_ = (
            floats(args, 19),
            floats(args, 20),
            floats(args, 21),
            doubles(args, 22),
        )
        totals, all_tokens, all_targets = doubles(args, 21), integers(args, 23), integers(args, 24)
        rows, starts, outs, counts = (
            integers(args, 25), integers(args, 26), integers(args, 27), integers(args, 28),
        )  # fmt: skip
        about, table, packed, activations, s = (
            integers(args, 29), floats(args, 30), floats(args, 31), floats(args, 32), floats(args, 33),
        )  # fmt: skip
        head_turned, logits, scratch, d_a, d_b = (
            floats(args, 34), floats(args, 35), floats(args, 36), floats(args, 37), floats(args, 38),
        )  # fmt: skip
        counts[3] = room
        applied = layers * loops
        for e in range(first, last):
            w, grad = at(params, e * stride), at(grads, e * stride)
            own_part = e if members > 1 else 0
            blocks, d_blocks = at(w, (V + positions) * d), at(grad, (V + positions) * d)
            tail, d_tail = at(blocks, layers * size), at(d_blocks, layers * size)
            head, d_head = at(tail, norm_rows * d), at(d_tail, norm_rows * d)
            for layer in range(layers):
                pack(at(blocks, layer * size), d, about, at(packed, layer * panels))
            turn_head(head, S, d, head_turned)
            count = supervised(at(all_targets, own_part * B * T), B * T)
            share = np.float32(1.0 / count) if count > 0 else np.float32(1.0)
            if what == TRAIN:
                zero(grad, stride)
            total = 0.0
            sequence = 0
            while sequence < B:
                sequence = lay_out_rows(
                    all_tokens, all_targets, own_part, sequence, B, T, limit, rows, starts, outs, counts
                )
                sequences, N, M = counts[0], counts[1], counts[2]
                if N == 0:
                    continue
                places, own, own_places, wanted = (
                    at(rows, room), at(rows, 2 * room), at(rows, 3 * room), at(rows, 4 * room),
                )  # fmt: skip
                for r in range(N):
                    token, into = at(w, rows[r] * d), at(activations, r * d)
                    if positions > 0 or fixed == 1:
                        place = at(w, (V + places[r]) * d)
                        if fixed == 1:
                            place = at(table, places[r] * d)
                        for j in range(d):
                            into[j] = token[j] + place[j]
                    else:
                        copy(token, d, into)
                for i in range(applied):
                    layer = i % layers
                    x, here = at(activations, i * kept_size), at(activations, i * kept_size + room * d)
                    final = 1 if i == applied - 1 else 0
                    forward(
                        x, at(blocks, layer * size), at(packed, layer * panels), N, M if final == 1 else N,
                        own, final, starts, outs if final == 1 else starts,
                        own_places if final == 1 else places, places, sequences, d, about, table, room,
                        here, s, at(activations, (i + 1) * kept_size),
                    )  # fmt: skip
                y = at(activations, applied * kept_size)
                normed, stats = at(y, room * d), at(y, 2 * room * d)
                norm_forward(y, M, d, tail, normed, stats)
                logits_of(normed, M, d, head_turned, at(head, S * d), biased, S, logits)
                if what == EVALUATE:
                    total += cross_entropy_sum(logits, wanted, M, S, scratch)
                    continue
                total += gradient(logits, wanted, M, S, scratch, share)
                head_back(logits, M, d, normed, head, S, d_head, at(d_head, S * d), biased, d_b, 1)
                zero(d_a, M * d)
                norm_backward(d_b, y, stats, tail, M, d, d_tail, d_a, scratch)
                for i in range(applied - 1, -1, -1):
                    layer = i % layers
                    x, here = at(activations, i * kept_size), at(activations, i * kept_size + room * d)
                    final = 1 if i == applied - 1 else 0
                    backward(
                        d_a, x, at(blocks, layer * size), at(d_blocks, layer * size),
                        at(packed, layer * panels), N, M if final == 1 else N, own, final, starts,
                        outs if final == 1 else starts, own_places if final == 1 else places, places,
                        sequences, d, about, table, room, here, s, d_b,
                    )  # fmt: skip
                    copy(d_b, N * d, d_a)
                for r in range(N):
                    row, token = at(d_a, r * d), at(grad, rows[r] * d)
                    for j in range(d):
                        token[j] += row[j]
                    if positions > 0:
                        place = at(grad, (V + places[r]) * d)
                        for j in range(d):
                            place[j] += row[j]
            if what == EVALUATE:
                totals[e] += total
                counts_[e] += np.float64(count)
            else:
                losses[e] = np.float32(total / count) if count > 0 else np.float32(0.0)

    return run
