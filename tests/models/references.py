"""The same functions from implementations that are not ours:
differentiable in one member's parameters [P].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from runners.models.lstm import TORCH_GATES
from runners.spec import Model, Transformer


def torch_gates(weight: Tensor) -> Tensor:
    """Our gate rows in the order of torch.nn.LSTM."""
    back = [TORCH_GATES.index(gate) for gate in range(4)]
    return torch.cat([weight.chunk(4)[gate] for gate in back])


def lstm(p: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """torch.nn.Embedding, LSTM and Linear with our weights: logits [B, T, S]."""
    (V, h), S = p["embedding"].shape, p["head.weight"].shape[0]
    model = nn.LSTM(h, h, batch_first=True).to(p["embedding"].dtype)
    weights = {
        "weight_ih_l0": torch_gates(p["w_ih"]),
        "weight_hh_l0": torch_gates(p["w_hh"]),
        "bias_ih_l0": torch_gates(p["b_ih"]),
        "bias_hh_l0": torch_gates(p["b_hh"]),
    }
    embedded = functional_call(nn.Embedding(V, h), {"weight": p["embedding"]}, (tokens,))
    states, _ = functional_call(model, weights, (embedded,))
    logits: Tensor = functional_call(
        nn.Linear(h, S), {"weight": p["head.weight"], "bias": p["head.bias"]}, (states,)
    )
    return logits


def dense_ssm(p: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """A product of matrices for every sequence, one after another: logits [B, T, S]."""
    out = []
    for sequence in tokens.tolist():
        h, row = p["h0"], []
        for x in sequence:
            A = torch.einsum("k,kio->oi", p["embedding"][x], p["transition"])
            h = A @ h
            row.append(p["head.weight"] @ h + p["head.bias"])
        out.append(torch.stack(row))
    return torch.stack(out)


def gpt2(p: dict[str, Tensor], tokens: Tensor, heads: int) -> Tensor:
    """transformers' GPT2Model with our weights, and the head: logits [B, T, S]."""
    from transformers import GPT2Config, GPT2Model

    (V, d), positions = p["wte"].shape, p["wpe"].shape[0]
    layers = len({name.split(".")[1] for name in p if name.startswith("h.")})
    config = GPT2Config(
        vocab_size=V, n_positions=positions, n_embd=d, n_layer=layers, n_head=heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, attn_implementation="eager", use_cache=False,
    )  # fmt: skip
    model = GPT2Model(config).to(p["wte"].dtype).eval()
    weights = {
        f"{name}.weight" if name in ("wte", "wpe") else name: v for name, v in p.items() if name != "head"
    }
    hidden = functional_call(model, weights, (tokens,), strict=False).last_hidden_state
    logits: Tensor = hidden @ p["head"].T
    return logits


def reference(model: Model, p: dict[str, Tensor], tokens: Tensor) -> Tensor:
    if isinstance(model, Transformer):
        return gpt2(p, tokens, model.heads)
    return {"lstm": lstm, "dense_ssm": dense_ssm}[model.kind](p, tokens)
