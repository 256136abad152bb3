# What torch's fused encoder kernels and others are made of: for these it has no decomposition that can be followed.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Fused operators of torch's, written out in its others."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

__all__ = ["FUSED"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


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


def _lstm_cell(of_input: Any, of_state: Any, cell: Any, input_bias: Any = None, state_bias: Any = None) -> Any:
    """From what an input and a state give for four gates, side by side."""
    gates = _biased(of_input, input_bias) + _biased(of_state, state_bias)
    i, f, g, o = gates.chunk(4, 1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cell = f * cell + i * g
    return o * cell.tanh(), cell, torch.empty_like(gates)


def _gru_cell(of_input: Any, of_state: Any, state: Any, input_bias: Any = None, state_bias: Any = None) -> Any:
    (r, z, n), (sr, sz, sn) = (
        _biased(one, bias).chunk(3, 1) for one, bias in ((of_input, input_bias), (of_state, state_bias))
    )
    r, z = (r + sr).sigmoid(), (z + sz).sigmoid()
    n = (n + r * sn).tanh()
    return (state - n) * z + n, state.new_empty(state.shape[0], 5 * state.shape[1])


def _biased(x: Any, bias: Any) -> Any:
    return x if bias is None else x + bias


# cuDNN's and MIOpen's numbers of recurrent networks.
_NETWORKS = (torch.ops.aten.rnn_relu, torch.ops.aten.rnn_tanh, torch.ops.aten.lstm, torch.ops.aten.gru)


def _network(
    x: Any, weight: Any, each: int, states: Any, mode: int, layers: int, first: bool, both: bool, lengths: Any
) -> tuple[Any, Any, Any]:
    """Run a recurrent network as ATen has it; ``each``: weights of a layer and direction, 3 or 5 with a projection."""
    packed, biased = len(lengths) > 0, each > 3
    states = list(states) if mode == 2 else states[0]
    rest = (list(weight), biased, layers, 0.0, False, both)
    network = _NETWORKS[mode]
    out = network.data(x, torch.tensor(lengths), states, *rest) if packed else network.input(x, states, *rest, first)
    return (*out, x.new_empty(0)) if mode != 2 else out


def _cudnn_network(
    x: Any, weight: Any, each: int, _buffer: Any, h: Any, c: Any, mode: int, _hidden: Any, _projected: Any, layers: int,
    first: bool, _dropout: float, _train: bool, both: bool, lengths: Any, _state: Any,
) -> Any:  # fmt: skip
    made = _network(x, weight, each, (h, c), mode, layers, first, both, lengths)
    return *made, x.new_empty(0, dtype=torch.uint8), x.new_empty(sum(one.numel() for one in weight))


def _miopen_network(
    x: Any, weight: Any, each: int, h: Any, c: Any, mode: int, _hidden: int, layers: int, first: bool, _dropout: float,
    _train: bool, both: bool, lengths: Any, _state: Any,
) -> Any:  # fmt: skip
    made = _network(x, weight, each, (h, c), mode, layers, first, both, lengths)
    return *made, x.new_empty(0, dtype=torch.uint8), x.new_empty(sum(one.numel() for one in weight))


def _onednn_layer(
    x: Any, w: Any, r: Any, b: Any, rb: Any, h: Any, c: Any, _reverse: bool, lengths: Any, mode: int, _hidden: int,
    layers: int, biased: bool, both: bool, first: bool, _train: bool,
) -> Any:  # fmt: skip
    weight = [w, r, b, rb] if biased else [w, r]
    made = _network(x, weight, len(weight), (h, c), mode, layers, first, both, lengths)
    return *made, x.new_empty(0, dtype=torch.uint8)


def _metal_lstm(
    x: Any, states: Any, weight: Any, biased: bool, layers: int, _dropout: float, _train: bool, both: bool, first: bool
) -> Any:
    made = _network(x, weight, 4 if biased else 2, states, 2, layers, first, both, [])
    return *made, *(x.new_empty(0) for _ in range(3))


def _cudnn_attention(
    q: Any, k: Any, v: Any, bias: Any, begins: Any, key_begins: Any, longest: Any, longest_keys: Any, sums: bool,
    dropout: float = 0.0, causal: bool = False, debug: bool = False, *, scale: float | None = None,
) -> Any:  # fmt: skip
    if begins is None and key_begins is None:
        return torch.ops.aten._scaled_dot_product_cudnn_attention(
            q, k, v, bias, sums, dropout, causal, debug, scale=scale
        )
    made, logs, seed, offset, mask = torch.ops.aten._flash_attention_forward(
        q, k, v, begins, key_begins, longest, longest_keys, dropout, causal, debug, scale=scale
    )
    return made, logs, begins, key_begins, longest, longest_keys, seed, offset, mask


def _triton_attention(q: Any, k: Any, v: Any, dropout: float = 0.0) -> Any:
    return functional.scaled_dot_product_attention(q, k, v)


def _triton_layer(
    q: Any, k: Any, v: Any, width: int, heads: int, weight: Any, bias: Any, out: Any, out_bias: Any, mask: Any = None
) -> Any:
    return _attention(q, k, v, width, heads, weight, bias, out, out_bias, mask, False)[0]


def _along_channels(x: Any, of_each: Any) -> Any:
    return of_each.view(1, -1, *[1] * (x.dim() - 2))


def _channel_moments(x: Any, eps: float) -> Any:
    variance, mean = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
    return mean, (variance + eps).rsqrt()


def _by_moments(x: Any, scale: Any, shift: Any, mean: Any, inverse: Any, eps: float) -> Any:
    factor = inverse if scale is None else inverse * scale
    y = (x - _along_channels(x, mean)) * _along_channels(x, factor)
    return y if shift is None else y + _along_channels(x, shift)


def _covariance(x: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """Of observations with weights, which torch's own looks at, to check them."""
    if fweights is None and aweights is None:
        if not _is_open(x):
            return NotImplemented
        freedom = torch.scalar_tensor(x.shape[1] - correction, dtype=x.dtype, device=x.device)
        freedom.le(0)
        x = x - x.mean(1, keepdim=True)
        return ((x @ x.t().conj()) / freedom).squeeze()
    x = x.reshape(1, -1) if x.dim() < 2 else x
    weights = aweights if fweights is None else fweights if aweights is None else fweights * aweights
    whole = weights.sum()
    less = correction if aweights is None else (weights * aweights).sum() / whole * correction
    x = x - ((x * weights).sum(1) / whole).unsqueeze(1)
    return ((x @ (x * weights).t().conj()) / (whole - less)).squeeze()


def _is_open(x: Any) -> bool:
    """Whether a matrix has sizes that are symbols, which some of torch's decompositions do not take."""
    return x.dim() == 2 and not all(isinstance(size, int) for size in x.shape)


def _correlation(x: Any) -> Any:
    if not _is_open(x):
        return NotImplemented
    c = torch.cov(x)
    deviation = c.diagonal().sqrt()
    return (c / deviation.unsqueeze(1) / deviation.unsqueeze(0)).clip(-1, 1)


def _kronecker(a: Any, b: Any) -> Any:
    if not (_is_open(a) or _is_open(b)) or a.dim() != b.dim():
        return NotImplemented
    (m, n), (p, q) = a.shape, b.shape
    return (a.view(m, 1, n, 1) * b.view(1, p, 1, q)).reshape(m * p, n * q)


def _heads(qkv: Any, bias: Any, heads: int) -> tuple[Any, Any, Any]:
    """Split the projections that a layer of attention makes at once, with their bias, queries scaled."""
    q, k, v = (one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (qkv + bias).chunk(3, -1))
    return q * q.shape[-1] ** -0.5, k, v


def _trilinear(
    a: Any, b: Any, c: Any, expand1: Any, expand2: Any, expand3: Any, sumdim: Any, unroll_dim: int = 1
) -> Any:
    """Of three tensors that lack the axes ``expand``: their products, summed over the axes ``sumdim``."""
    axes = range(a.dim() + len(expand1))
    given = ["".join(_LETTERS[i] for i in axes if i not in gone) for gone in (expand1, expand2, expand3)]
    kept = "".join(_LETTERS[i] for i in axes if i not in sumdim)
    return torch.einsum(f"{','.join(given)}->{kept}", a, b, c)


def _bin_edges(x: Any, bins: Any, *, range: Any = None, weight: Any = None, density: bool = False) -> list[Any]:
    if range is None:
        torch.aminmax(x, dim=0)
    return [torch.linspace(0, 1, count + 1, dtype=x.dtype, device=x.device) for count in bins]


FUSED: dict[Any, Any] = {
    torch.ops.aten.cov.default: _covariance,
    torch.ops.aten.corrcoef.default: _correlation,
    torch.ops.aten.kron.default: _kronecker,
    torch.ops.aten._trilinear.default: _trilinear,
    torch.ops.aten._transform_bias_rescale_qkv.default: _heads,
    torch.ops.aten._aminmax.default: lambda x: (x.amin(), x.amax()),
    torch.ops.aten._aminmax.dim: lambda x, dim, keepdim=False: (x.amin(dim, keepdim), x.amax(dim, keepdim)),
    torch.ops.aten._histogramdd_bin_edges.default: _bin_edges,
    torch.ops.aten._native_multi_head_attention.default: _attention,
    torch.ops.aten._transformer_encoder_layer_fwd.default: _encoder_layer,
    torch.ops.aten._thnn_fused_lstm_cell.default: _lstm_cell,
    torch.ops.aten._thnn_fused_gru_cell.default: _gru_cell,
    torch.ops.aten._cudnn_rnn.default: _cudnn_network,
    torch.ops.aten.miopen_rnn.default: _miopen_network,
    torch.ops.aten.mkldnn_rnn_layer.default: _onednn_layer,
    torch.ops.aten._lstm_mps.default: _metal_lstm,
    torch.ops.aten._triton_scaled_dot_attention.default: _triton_attention,
    torch.ops.aten._triton_multi_head_attention.default: _triton_layer,
    torch.ops.aten.batch_norm_stats.default: _channel_moments,
    torch.ops.aten.batch_norm_elemt.default: _by_moments,
}
if hasattr(torch.ops.aten, "_cudnn_attention_forward"):  # not in torch 2.6
    FUSED[torch.ops.aten._cudnn_attention_forward.default] = _cudnn_attention
