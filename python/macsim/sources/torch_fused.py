# What torch's fused encoder kernels are made of: for these it has no decomposition of its own.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Fused operators of torch's, written out in its others."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

__all__ = ["FUSED"]


def _attention(
    query: Any,
    key: Any,
    value: Any,
    width: int,
    heads: int,
    weight: Any,
    bias: Any,
    out_weight: Any,
    out_bias: Any,
    mask: Any = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Any, Any]:
    if query is key and key is value:
        q, k, v = functional.linear(query, weight, bias).chunk(3, -1)
    else:
        q, k, v = (
            functional.linear(*one) for one in zip((query, key, value), weight.chunk(3), bias.chunk(3), strict=True)
        )
    q, k, v = (one.unflatten(-1, (heads, width // heads)).transpose(1, 2) for one in (q, k, v))
    allowed = None
    if mask is not None:
        lead = {0: (1, 1), 1: (mask.shape[0], 1, 1)}.get(mask_type if mask_type is not None else 2)
        allowed = mask.view(*lead, *mask.shape[-2 if mask_type == 0 else -1 :]) if lead else mask
    if not need_weights:
        y, weights = functional.scaled_dot_product_attention(q, k, v, allowed), None
    else:
        scores = (q * (width // heads) ** -0.5) @ k.transpose(-2, -1)
        weights = (scores if allowed is None else scores.masked_fill(allowed, -torch.inf)).softmax(-1)
        y = weights @ v
        weights = weights.mean(1) if average_attn_weights else weights
    return functional.linear(y.transpose(1, 2).flatten(2), out_weight, out_bias), weights


def _encoder_layer(
    x: Any,
    width: int,
    heads: int,
    weight: Any,
    bias: Any,
    out_weight: Any,
    out_bias: Any,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm1: Any,
    norm1_bias: Any,
    norm2: Any,
    norm2_bias: Any,
    up: Any,
    up_bias: Any,
    down: Any,
    down_bias: Any,
    mask: Any = None,
    mask_type: int | None = None,
) -> Any:
    def attended(y: Any) -> Any:
        return _attention(y, y, y, width, heads, weight, bias, out_weight, out_bias, mask, False, True, mask_type)[0]

    def fed_forward(y: Any) -> Any:
        y = functional.linear(y, up, up_bias)
        return functional.linear(functional.gelu(y) if use_gelu else functional.relu(y), down, down_bias)

    def normed(y: Any, scale: Any, shift: Any) -> Any:
        return functional.layer_norm(y, (width,), scale, shift, eps)

    if norm_first:
        x = x + attended(normed(x, norm1, norm1_bias))
        return x + fed_forward(normed(x, norm2, norm2_bias))
    x = normed(x + attended(x), norm1, norm1_bias)
    return normed(x + fed_forward(x), norm2, norm2_bias)


FUSED: dict[Any, Any] = {
    torch.ops.aten._native_multi_head_attention.default: _attention,
    torch.ops.aten._transformer_encoder_layer_fwd.default: _encoder_layer,
}
