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

from runners.spec import PDSSM, DenseSSM, Diagonal


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


class FullSSM(nn.Module):
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


class LinearState(nn.Module):
    """A recurrence that is linear in its state, written as its paper has it: the transition of each token of
    the vocabulary once, gathered, and one step after another."""

    def __init__(self, spec: DenseSSM | Diagonal | PDSSM, V: int, S: int) -> None:
        super().__init__()
        self.spec = spec
        h = spec.hidden
        width = 2 * h if isinstance(spec, Diagonal) and spec.range == "complex" else h
        if isinstance(spec, PDSSM):
            self.permutation = nn.Parameter(3 * torch.eye(h) + 0.1 * torch.randn(V, h, h))
            self.diagonal = nn.Parameter(0.1 * torch.randn(V, h))
        else:
            numbers = {"block": h * getattr(spec, "block", 1), "rotation": h // 2, "full": h * h}
            made = h if isinstance(spec, Diagonal) else numbers.get(spec.structure, h)
            self.embedding = nn.Embedding(V, spec.embedding)
            self.transition = nn.Linear(spec.embedding, made)
            self.angle = nn.Linear(spec.embedding, h) if width > h else None
            self.read = nn.Parameter(torch.randn(h, h) / sqrt(h))
            self.write = nn.Parameter(torch.randn(h, h) / sqrt(h))
        self.h0 = nn.Parameter(torch.randn(width))
        self.head = nn.Linear(width, S)

    def table(self) -> tuple[Tensor, ...]:
        """What a step needs of each token."""
        if isinstance(self.spec, PDSSM):
            return ((self.permutation.softmax(-1) * self.diagonal.tanh().unsqueeze(1)).mT,)
        made = self.transition(self.embedding.weight)
        if isinstance(self.spec, Diagonal):
            a = 2 * made.sigmoid() - 1 if self.spec.range == "[-1,1]" else made.sigmoid()
            if self.angle is None:
                return (a,)
            theta = self.angle(self.embedding.weight)
            return a * theta.cos(), a * theta.sin()
        if self.spec.structure == "rotation":
            return made.cos(), made.sin()
        b = {"block": self.spec.block, "full": self.spec.hidden}.get(self.spec.structure)
        return (made if b is None else made.view(len(made), -1, b, b),)

    def step(self, h: Tensor, now: tuple[Tensor, ...]) -> Tensor:
        if len(now) == 2:
            real, imaginary = h.chunk(2, -1)
            cosine, sine = now
            return torch.cat((real * cosine - imaginary * sine, real * sine + imaginary * cosine), -1)
        (A,) = now
        if isinstance(self.spec, DenseSSM) and self.spec.structure == "factored":
            return h @ self.read * A @ self.write
        if A.dim() == 2:
            return h * A
        if A.dim() == 3:
            return torch.bmm(h.unsqueeze(1), A).squeeze(1)
        return torch.einsum("bni,bnij->bnj", h.view(*A.shape[:3]), A).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        table = self.table()
        each = [functional.embedding(x, part.flatten(1)) for part in table]
        steps = [e.view(*x.shape, *part.shape[1:]).unbind(1) for e, part in zip(each, table, strict=True)]
        h, states = self.h0.expand(len(x), -1), []
        for now in zip(*steps, strict=True):
            h = self.step(h, now)
            states.append(h)
        logits: Tensor = self.head(torch.stack(states, 1))
        return logits


class SLSTM(nn.Module):
    """xlstm's own step (its vanilla backend), one position after another."""

    def __init__(self, V: int, S: int, h: int) -> None:
        super().__init__()
        self.h = h
        self.embedding = nn.Embedding(V, h)
        self.read = nn.Linear(h, 4 * h)
        self.recurrent = nn.Linear(h, 4 * h, bias=False)
        self.head = nn.Linear(h, S)

    def forward(self, x: Tensor) -> Tensor:
        from xlstm.blocks.slstm.src.vanilla.slstm import slstm_forward_pointwise

        states = x.new_zeros(4, len(x), self.h, dtype=torch.float32)
        out, none = [], torch.zeros(1, 4 * self.h, device=x.device)
        for read in self.read(self.embedding(x)).unbind(1):
            states, _ = slstm_forward_pointwise(read, self.recurrent(states[0]), none, states, {})
            out.append(states[0])
        logits: Tensor = self.head(torch.stack(out, 1))
        return logits


class DeltaNet(nn.Module):
    """One block around the loop of transformers' Qwen3-Next; its gate is open."""

    def __init__(self, V: int, S: int, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.embedding = nn.Embedding(V, d)
        self.norm, self.mlp_norm, self.last = nn.RMSNorm(d), nn.RMSNorm(d), nn.RMSNorm(d)
        self.out_norm = nn.RMSNorm(d // heads)
        self.qkv, self.beta = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, heads, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d, bias=False), nn.SiLU(), nn.Linear(4 * d, d, bias=False))
        self.head = nn.Linear(d, S)

    def forward(self, tokens: Tensor) -> Tensor:
        from transformers.models.qwen3_next.modeling_qwen3_next import torch_recurrent_gated_delta_rule

        x = self.embedding(tokens)
        y = self.norm(x)
        q, k, v = functional.silu(self.qkv(y)).view(*tokens.shape, 3, self.heads, -1).unbind(2)
        beta = 2 * self.beta(y).sigmoid()
        read, _ = torch_recurrent_gated_delta_rule(
            q, k, v, torch.zeros_like(beta), beta, use_qk_l2norm_in_kernel=True
        )
        x = x + self.out(self.out_norm(read).flatten(2))
        logits: Tensor = self.head(self.last(x + self.mlp(self.mlp_norm(x))))
        return logits


class Mamba(nn.Module):
    """mambapy, with its parallel scan or with its loop."""

    def __init__(self, V: int, S: int, d: int, states: int, *, scan: bool) -> None:
        super().__init__()
        from mambapy.mamba import Mamba as Blocks
        from mambapy.mamba import MambaConfig

        self.embedding = nn.Embedding(V, d)
        self.blocks = Blocks(MambaConfig(d_model=d, n_layers=1, d_state=states, pscan=scan))
        self.norm, self.head = nn.RMSNorm(d), nn.Linear(d, S)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.blocks(self.embedding(x))))
        return logits


class XTransformer(nn.Module):
    """x-transformers' decoder with rotary positions, ALiBi, a fixed table or none."""

    def __init__(
        self, V: int, S: int, positions: int, layers: int, d: int, heads: int, position: str
    ) -> None:
        super().__init__()
        from x_transformers import Decoder, TransformerWrapper

        blocks = Decoder(
            dim=d,
            depth=layers,
            heads=heads,
            attn_dim_head=d // heads,
            attn_flash=position != "alibi",
            rotary_pos_emb=position == "rope",
            alibi_pos_bias=position == "alibi",
        )
        self.model = TransformerWrapper(
            num_tokens=V,
            logits_dim=S,
            max_seq_len=positions,
            attn_layers=blocks,
            use_abs_pos_emb=position == "sinusoidal",
            scaled_sinu_pos_emb=position == "sinusoidal",
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits


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
