"""What is read and what is supervised: outcome, cot, acot, icot (docs/science.md, Formats)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from runners.spec import Format, Job
from runners.tasks.tables import TransitionTable

IGNORE = -1
"""The target of a position that is not supervised."""


class Batch(NamedTuple):
    """Sequences ready for a model; they start at position 0 and are padded on the right with token 0,
    target -1.
    """

    tokens: Tensor
    """int64 [.., B, T], input ids."""
    targets: Tensor
    """int64 [.., B, T], states, -1 where not supervised."""
    lengths: Tensor
    """int64 [.., B], the number n of tokens x_1..x_n (not the number of input positions)."""


@dataclass(frozen=True)
class Vocabulary:
    """Input ids: the tokens 0..K-1; in cot also a separator, K, and the states.

    The head has one logit per state; of a model with ``head = "tokens"`` one per id.
    """

    n_inputs: int
    n_outputs: int
    separator: int | None
    """Input id between the tokens and the states (cot only)."""
    state_offset: int
    """The state s as an input has the id ``state_offset + s`` (cot, icot):
    0 where the states are the tokens, else behind the tokens and the separator.
    """
    label_offset: int = 0
    """The state s is the class ``label_offset + s`` of the head: 0 where the head has the states alone."""

    @property
    def feed(self) -> torch.Tensor:
        """int64 [n_outputs]: the input id of each class of the head."""
        return torch.arange(self.n_outputs) + (self.state_offset - self.label_offset)

    @classmethod
    def of(cls, job: Job) -> Vocabulary:
        """The ids of a job: they depend on its task and format only."""
        table = TransitionTable.of(job.task)
        tokens, states = table.n_tokens, table.n_labels
        separator = tokens if job.format == "cot" else None
        before = tokens + (separator is not None)
        offset = 0 if table.shared else before
        n_ids = before + (0 if table.shared else states)
        n_inputs = n_ids if job.format in ("cot", "icot") else tokens
        if getattr(job.model, "head", "states") == "tokens":
            return cls(n_inputs, n_ids, separator, offset, offset)
        return cls(n_inputs, states, separator, offset if n_inputs == n_ids else 0)

    @property
    def dtype(self) -> torch.dtype:
        """The smallest integer type that holds every input id, every state and -1."""
        return torch.int8 if max(self.n_inputs, self.n_outputs) <= 128 else torch.int16


class Formatter:
    """Turns token sequences into inputs and targets on the device, a whole block of sequences at a time."""

    def __init__(self, job: Job, device: torch.device) -> None:
        table = TransitionTable.of(job.task)
        self.vocabulary = Vocabulary.of(job)
        self.format: Format = job.format
        self.length = job.lengths.length
        self.positions = job.longest_input
        self._n_tokens = table.n_tokens
        self._start = table.start
        self._table = torch.from_numpy(table.table.copy()).reshape(-1).to(device)
        self._output = None if table.output is None else torch.from_numpy(table.output.copy()).to(device)

    def states(self, x: Tensor) -> Tensor:
        """s_1..s_L after each token (their labels, with an output map): int64 [R, L] for ``x`` integer
        [R, L]; what follows a sequence's end has no meaning.
        """
        out = torch.empty(x.shape, dtype=torch.int64, device=x.device)
        state = torch.full(x.shape[:1], self._start, dtype=torch.int64, device=x.device)
        for i in range(x.shape[1]):
            state = self._table.index_select(0, state * self._n_tokens + x[:, i])
            out[:, i] = state
        return out if self._output is None else self._output[out]

    def __call__(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(tokens, targets), both int64 [R, T].

        Args:
            x: integer [R, L], 0 beyond a sequence's end.
            lengths: int64 [R].
        """
        states = self.states(x)
        rows, n = x.shape[0], lengths[:, None]
        place = torch.arange(self.length, device=x.device)
        label = states + self.vocabulary.label_offset
        if self.format == "acot":
            return x.long(), torch.where(place < n, label, IGNORE)
        if self.format == "outcome":
            return x.long(), torch.where(place == n - 1, label, IGNORE)
        if self.format == "icot":  # x_1 s_1 x_2 s_2 .. x_n; s_i is the target at x_i
            tokens = torch.zeros(rows, self.positions, dtype=torch.int64, device=x.device)
            targets = torch.full((rows, self.positions), IGNORE, dtype=torch.int64, device=x.device)
            tokens[:, ::2] = x
            read = torch.where(place < n - 1, states + self.vocabulary.state_offset, 0)
            tokens[:, 1::2] = read[:, :-1]
            targets[:, ::2] = torch.where(place < n, label, IGNORE)
            return tokens, targets
        # cot: x_1..x_n, the separator, s_1..s_{n-1}; s_1 is the target at the separator,
        # s_n at the last position
        tokens = torch.zeros(rows, self.positions, dtype=torch.int64, device=x.device)
        targets = torch.full((rows, self.positions), IGNORE, dtype=torch.int64, device=x.device)
        tokens[:, : self.length] = x
        separator = self.vocabulary.separator
        assert separator is not None
        tokens.scatter_(1, n, separator)
        position = torch.arange(self.positions, device=x.device)
        behind = position - n
        states_due = states.gather(1, behind.clamp(0, self.length - 1))
        supervised = (behind >= 0) & (behind < n)
        targets = torch.where(supervised, states_due + self.vocabulary.label_offset, IGNORE)
        ids = self.vocabulary.state_offset + states_due[:, :-1]
        tokens[:, 1:] = torch.where(supervised[:, :-1] & (behind[:, 1:] < n), ids, tokens[:, 1:])
        return tokens, targets
