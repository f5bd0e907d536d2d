"""The alternative that a competent researcher has: one model after another in eager PyTorch.

Library modules, fused kernels where the library has them (nn.LSTM, scaled_dot_product_attention, F.embedding,
fused Adam), data on the device, no needless synchronisation. The tests hold runners.models against the same
modules.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional


class LSTM(nn.Module):
    def __init__(self, V: int, S: int, h: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, h)
        self.lstm = nn.LSTM(h, h, batch_first=True)
        self.head = nn.Linear(h, S)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.lstm(self.embedding(x))[0])
        return logits


class Recurrent(nn.Module):
    """torch.nn.RNN (tanh) or GRU with an embedding and a linear head."""

    def __init__(self, cell: type[nn.RNN] | type[nn.GRU], V: int, S: int, h: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(V, h)
        self.cell = cell(h, h, batch_first=True)
        self.head = nn.Linear(h, S)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.cell(self.embedding(x))[0])
        return logits


class DenseSSM(nn.Module):
    """Transitions once per token of the vocabulary, then gathered: for all steps at once, or step by step."""

    def __init__(self, V: int, S: int, h: int, *, all_at_once: bool = True) -> None:
        super().__init__()
        self.h = h
        self.all_at_once = all_at_once
        self.embedding = nn.Parameter(torch.randn(V, h))
        self.transition = nn.Parameter(torch.randn(h, h * h) / h)
        self.h0 = nn.Parameter(torch.randn(h))
        self.head = nn.Linear(h, S)

    def forward(self, x: Tensor) -> Tensor:
        B, T = x.shape
        A = self.embedding @ self.transition
        state = self.h0.expand(B, 1, self.h)
        states = []
        gathered = (
            functional.embedding(x, A).view(B, T, self.h, self.h).unbind(1) if self.all_at_once else None
        )
        for t in range(T):
            A_t = (
                gathered[t]
                if gathered is not None
                else functional.embedding(x[:, t], A).view(B, self.h, self.h)
            )
            state = torch.bmm(state, A_t)
            states.append(state)
        logits: Tensor = self.head(torch.cat(states, 1))
        return logits


class Block(nn.Module):
    def __init__(self, d: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.p = heads, dropout
        self.ln_1, self.ln_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.c_attn, self.c_proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(
            nn.Linear(d, 4 * d), nn.GELU(approximate="tanh"), nn.Linear(4 * d, d), nn.Dropout(dropout)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        B, T, d = x.shape
        q, k, v = self.c_attn(self.ln_1(x)).view(B, T, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=self.p)
        x = x + self.drop(self.c_proj(y.transpose(1, 2).reshape(B, T, d)))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Transformer(nn.Module):
    def __init__(
        self, V: int, S: int, positions: int, layers: int, d: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(V, d), nn.Embedding(positions, d)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(d, heads, dropout) for _ in range(layers))
        self.ln_f, self.head = nn.LayerNorm(d), nn.Linear(d, S, bias=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02 / (sqrt(2 * layers) if name.endswith("c_proj.weight") else 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.wte(x) + self.wpe.weight[: x.shape[1]])
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self.ln_f(x))
        return out


class Loop:
    """One training step after another of one model."""

    def __init__(self, model: nn.Module, batches: list[tuple[Tensor, Tensor]], lr: float = 1e-3) -> None:
        self.model = model.to(batches[0][0].device)
        self.batches = batches
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=lr, fused=True)

    def run(self, steps: int) -> None:
        for i in range(steps):
            x, y = self.batches[i % len(self.batches)]
            self.optimiser.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(self.model(x).flatten(0, 1), y.flatten(), ignore_index=-1)
            loss.backward()
            self.optimiser.step()
