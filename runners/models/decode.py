"""The transformer read forward only, with a cache of keys and values,
so that greedy decoding reads each position once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import gelu

from runners.interrupt import check_interrupt
from runners.models import norm

Views = dict[str, Tensor]
Cache = list[tuple[Tensor, Tensor]]
"""For each layer the keys and values so far, [E, B, heads, T, d / heads]."""


def advance(views: Views, blocks: Sequence[Views], heads: int, tokens: Tensor, cache: Cache) -> Tensor:
    """Read tokens int64 [E, B, T] after what is in the cache (which grows by T);
    returns logits [E, B, T, n_outputs].
    """
    E, B, T = tokens.shape
    past = cache[0][0].shape[3] if cache else 0
    wte, wpe = views["wte"], views["wpe"]
    d = wte.shape[-1]
    index = tokens.reshape(E, B * T, 1).expand(-1, -1, d)
    x = wte.gather(1, index).view(E, B, T, d) + wpe[:, None, past : past + T]
    x = x.view(E, B * T, d)
    for layer, w in enumerate(blocks):
        check_interrupt()
        a, _ = norm.forward(x, w["ln_1.weight"], w["ln_1.bias"])
        qkv = torch.baddbmm(w["attn.c_attn.bias"].unsqueeze(1), a, w["attn.c_attn.weight"])
        q, k, v = qkv.view(E, B, T, 3, heads, d // heads).permute(3, 0, 1, 4, 2, 5)
        if layer < len(cache):
            k, v = torch.cat([cache[layer][0], k], 3), torch.cat([cache[layer][1], v], 3)
            cache[layer] = (k, v)
        else:
            cache.append((k, v))
        scores = (q @ k.transpose(-1, -2)) / sqrt(d // heads)
        hidden = torch.ones(T, past + T, dtype=torch.bool, device=x.device).triu_(past + 1)
        p = scores.masked_fill_(hidden, float("-inf")).softmax(-1)
        read = (p @ v).transpose(2, 3).reshape(E, B * T, d)
        x = x + torch.baddbmm(w["attn.c_proj.bias"].unsqueeze(1), read, w["attn.c_proj.weight"])
        b, _ = norm.forward(x, w["ln_2.weight"], w["ln_2.bias"])
        inner = gelu(
            torch.baddbmm(w["mlp.c_fc.bias"].unsqueeze(1), b, w["mlp.c_fc.weight"]), approximate="tanh"
        )
        x = x + torch.baddbmm(w["mlp.c_proj.bias"].unsqueeze(1), inner, w["mlp.c_proj.weight"])
    x, _ = norm.forward(x, views["ln_f.weight"], views["ln_f.bias"])
    return torch.bmm(x, views["head"].transpose(1, 2)).view(E, B, T, -1)
