"""The same functions from implementations that are not ours:
differentiable in one member's parameters [P].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from runners.models.lstm import TORCH_GATES
from runners.spec import GRU, PDSSM, RNN, SLSTM, DeltaNet, DenseSSM, Diagonal, Mamba, Model, Transformer


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
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
    )  # fmt: skip
    config._attn_implementation = "eager"
    model: Any = GPT2Model(config)
    model = model.to(p["wte"].dtype).eval()
    weights = {
        f"{name}.weight" if name in ("wte", "wpe") else name: v for name, v in p.items() if name != "head"
    }
    hidden = functional_call(model, weights, (tokens,), strict=False).last_hidden_state
    logits: Tensor = hidden @ p["head"].T
    return logits


def recurrent(cell: type[nn.RNN] | type[nn.GRU], p: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """torch.nn.RNN or GRU with our weights, and the head."""
    h = p["w_hh"].shape[1]
    names = {"weight_ih_l0": "w_ih", "weight_hh_l0": "w_hh", "bias_ih_l0": "b_ih", "bias_hh_l0": "b_hh"}
    weights = {theirs: p[ours] for theirs, ours in names.items()}
    model = cell(h, h, batch_first=True).to(p["w_hh"].dtype)
    states, _ = functional_call(model, weights, (p["embedding"][tokens],))
    return head(p, states)


def slstm(p: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """xlstm's pointwise step, one position after another."""
    from xlstm.blocks.slstm.src.vanilla.slstm import slstm_forward_pointwise

    B, h = tokens.shape[0], p["w_hh"].shape[1]
    states, out = p["w_hh"].new_zeros(4, B, h), []
    for x in tokens.unbind(1):
        read = p["embedding"][x] @ p["w_ih"].T
        states, _ = slstm_forward_pointwise(read, states[0] @ p["w_hh"].T, p["b_ih"][None], states, {})
        out.append(states[0])
    return head(p, torch.stack(out, 1))


def linear_state(model: DenseSSM | Diagonal | PDSSM, p: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """A matrix for every token, applied to every sequence one position after another."""
    if isinstance(model, PDSSM):
        A = [
            torch.softmax(P, -1) @ torch.diag(d.tanh())
            for P, d in zip(p["permutation"], p["diagonal"], strict=True)
        ]
    else:
        A = [_matrix(model, p, e) for e in p["embedding"]]
    size = len(A[0])
    out = []
    for sequence in tokens.tolist():
        h, row = p["h0"] if "h0" in p else A[0].new_zeros(size), []
        for x in sequence:
            h = A[x] @ h
            if "input" in p:
                h = h + p["input"] @ p["embedding"][x]
            row.append(h)
        out.append(torch.stack(row))
    return head(p, torch.stack(out))


def _matrix(model: DenseSSM | Diagonal, p: dict[str, Tensor], e: Tensor) -> Tensor:
    """A(x) of the embedding e, written out."""
    if isinstance(model, Diagonal):
        a = torch.sigmoid(p["gate"] @ e + p["gate_bias"])
        if model.range == "complex":
            angle = p["angle"] @ e
            c, s = torch.diag(a * angle.cos()), torch.diag(a * angle.sin())
            return torch.cat([torch.cat([c, -s], 1), torch.cat([s, c], 1)])
        return torch.diag(2 * a - 1 if model.range == "[-1,1]" else a)
    u, h = p["transition"] @ e, model.hidden
    identity = torch.eye(h, dtype=e.dtype) * (model.init == "near_identity")
    match model.structure:
        case "full":
            return u.view(h, h).T + identity
        case "block":
            blocks: Tensor = torch.block_diag(*[b.T for b in u.view(-1, model.block, model.block)])
            return blocks + identity
        case "diagonal":
            return torch.diag(u) + identity
        case "factored":
            return p["write"] @ torch.diag(u) @ p["read"] + identity
        case _:
            c, s = torch.diag(u.cos()), torch.diag(u.sin())
            return torch.cat([torch.cat([c, -s], 1), torch.cat([s, c], 1)])


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return nn.functional.rms_norm(x, x.shape[-1:], weight, 1e-5)


def layers(p: dict[str, Tensor], prefix: str) -> list[dict[str, Tensor]]:
    names = sorted({name.split(".")[1] for name in p if name.startswith(prefix + ".")}, key=int)
    return [
        {k.removeprefix(f"{prefix}.{i}."): v for k, v in p.items() if k.startswith(f"{prefix}.{i}.")}
        for i in names
    ]


def convolved(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """torch's grouped convolution over time, causal."""
    d, width = weight.shape
    y = nn.functional.conv1d(x.transpose(1, 2), weight[:, None], bias, padding=width - 1, groups=d)
    return y[..., : x.shape[1]].transpose(1, 2)


def deltanet(model: DeltaNet, p: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Matrices I - beta k k^T for every sequence, head and position."""
    x, H, n = p["embedding"][tokens], model.heads, model.householders
    size = model.d // H
    for w in layers(p, "layers"):
        y = rms(x, w["norm"])
        q, k, v = (y @ w[name].T for name in "qkv")
        if model.convolution:
            q, k, v = (convolved(z, w[f"conv_{i}"]) for i, z in (("q", q), ("k", k), ("v", v)))
        q, k, v = (nn.functional.silu(z) for z in (q, k, v))
        beta = torch.sigmoid(y @ w["beta"].T) * (2 if model.range == "[-1,1]" else 1)
        read = []
        for b in range(len(x)):
            S = [x.new_zeros(size, size) for _ in range(H)]
            row = []
            for t in range(x.shape[1]):
                heads = []
                for i in range(H):
                    part = slice(i * size, (i + 1) * size)
                    if model.gate:
                        g = nn.functional.softplus(y[b, t] @ w["a"][i] + w["dt_bias"][i])
                        S[i] = torch.exp(-w["A_log"][i].exp() * g) * S[i]
                    for j in range(n):
                        key = _unit(k[b, t].view(n, H, size)[j, i])
                        value, strength = v[b, t].view(n, H, size)[j, i], beta[b, t].view(n, H)[j, i]
                        S[i] = (torch.eye(size).to(S[i]) - strength * torch.outer(key, key)) @ S[i]
                        S[i] = S[i] + strength * torch.outer(key, value)
                    o = S[i].T @ _unit(q[b, t, part])
                    heads.append(rms(o, w["out_norm"][part]))
                row.append(torch.cat(heads))
            read.append(torch.stack(row))
        x = x + torch.stack(read) @ w["out"].T
        x = x + nn.functional.silu(rms(x, w["mlp_norm"]) @ w["mlp_in"].T) @ w["mlp_out"].T
    return head(p, rms(x, p["norm"]))


def _unit(x: Tensor) -> Tensor:
    return x / torch.sqrt(x @ x + 1e-6)


def mamba(model: Mamba, p: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """The published equations, one channel's state after another."""
    x = p["embedding"][tokens]
    for w in layers(p, "layers"):
        u, z = (rms(x, w["norm"]) @ w["in_proj"].T).chunk(2, -1)
        u = nn.functional.silu(convolved(u, w["conv"], w["conv_bias"]))
        N = w["A_log"].shape[1]
        dt, B, C = (u @ w["x_proj"].T).split([w["dt_proj"].shape[1], N, N], -1)
        dt = nn.functional.softplus(dt @ w["dt_proj"].T + w["dt_bias"])
        h, out = u.new_zeros(*u.shape[:1], u.shape[2], N), []
        for t in range(u.shape[1]):
            a = torch.exp(dt[:, t, :, None] * -w["A_log"].exp())
            a = 2 * a - 1 if model.range == "[-1,1]" else a
            h = a * h + dt[:, t, :, None] * B[:, t, None] * u[:, t, :, None]
            out.append(torch.einsum("bcn,bn->bc", h, C[:, t]) + w["D"] * u[:, t])
        x = x + (torch.stack(out, 1) * nn.functional.silu(z)) @ w["out_proj"].T
    return head(p, rms(x, p["norm"]))


def decoder(model: Transformer, p: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """The block written with torch.nn.functional; turned queries and keys by transformers' Llama."""
    x, H = p["wte"][tokens], model.heads
    B, T, d = x.shape
    at = torch.arange(T, dtype=x.dtype)
    if model.position == "sinusoidal":
        rate = 10_000 ** (-torch.arange(d // 2, dtype=x.dtype) / (d // 2))
        x = x + torch.cat([(at[:, None] * rate).sin(), (at[:, None] * rate).cos()], 1)
    bias = torch.zeros(H, T, T, dtype=x.dtype)
    if model.position == "alibi":
        slopes = torch.tensor([2 ** (-8 * (i + 1) / H) for i in range(H)], dtype=x.dtype)
        bias = -slopes[:, None, None] * (at[:, None] - at).clamp_min(0)
    bias = bias.masked_fill(torch.ones(T, T).triu(1).bool(), float("-inf"))
    for w in layers(p, "h") * model.loops:
        y = nn.functional.layer_norm(x, (d,), w["ln_1.weight"], w["ln_1.bias"])
        qkv = nn.functional.linear(y, w["attn.c_attn.weight"], w["attn.c_attn.bias"])
        q, k, v = qkv.view(B, T, 3, H, d // H).permute(2, 0, 3, 1, 4)
        if model.position == "rope":
            q, k = llama_rotary(q, k)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        y = y.transpose(1, 2).reshape(B, T, d)
        x = x + nn.functional.linear(y, w["attn.c_proj.weight"], w["attn.c_proj.bias"])
        y = nn.functional.layer_norm(x, (d,), w["ln_2.weight"], w["ln_2.bias"])
        y = nn.functional.linear(y, w["mlp.c_fc.weight"], w["mlp.c_fc.bias"])
        y = nn.functional.gelu(y, approximate="tanh")
        x = x + nn.functional.linear(y, w["mlp.c_proj.weight"], w["mlp.c_proj.bias"])
    return head(p, nn.functional.layer_norm(x, (d,), p["ln_f.weight"], p["ln_f.bias"]))


def llama_rotary(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    T, size = q.shape[-2:]
    rate = 10_000 ** (-torch.arange(0, size, 2, dtype=q.dtype) / size)
    angle = torch.cat([torch.outer(torch.arange(T, dtype=q.dtype), rate)] * 2, 1)
    turned: tuple[Tensor, Tensor] = apply_rotary_pos_emb(q, k, angle.cos()[None], angle.sin()[None])
    return turned


def head(p: dict[str, Tensor], states: Tensor) -> Tensor:
    return nn.functional.linear(states, p["head.weight"], p.get("head.bias"))


def reference(model: Model, p: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Logits [B, T, S] of tokens [B, T]."""
    match model:
        case Transformer() if model.variant:
            return decoder(model, p, tokens)
        case Transformer():
            return gpt2(p, tokens, model.heads)
        case DenseSSM() if model.plain:
            return dense_ssm(p, tokens)
        case DenseSSM() | Diagonal() | PDSSM():
            return linear_state(model, p, tokens)
        case DeltaNet():
            return deltanet(model, p, tokens)
        case Mamba():
            return mamba(model, p, tokens)
        case RNN():
            return recurrent(nn.RNN, p, tokens)
        case GRU():
            return recurrent(nn.GRU, p, tokens)
        case SLSTM():
            return slstm(p, tokens)
        case _:
            return lstm(p, tokens)
