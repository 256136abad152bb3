# What torch's packed weights hold: quantised layers keep theirs in objects that only their operators look into.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Arguments that are packed: weights, biases and attributes of quantised layers in one object."""

from __future__ import annotations

import re
from typing import Any

import torch

from macsim.sources.torch_values import META, PLAIN

__all__ = ["STORED", "parts_of", "unpacked"]

_WEIGHTS = [("weight", "tensor"), ("weight_scale", "tensor"), ("weight_zero", "tensor"), ("bias", "tensor")]
STORED = [name for name, _ in _WEIGHTS]  # scales and zero points are bytes, but no parameters
_WINDOW = [(name, "value") for name in ("stride", "padding", "output_padding", "dilation", "groups")]
_PARTS = {
    "quantized.LinearPackedParamsBase": _WEIGHTS,
    "quantized.Conv2dPackedParamsBase": _WEIGHTS + _WINDOW,
    "quantized.Conv3dPackedParamsBase": _WEIGHTS + _WINDOW,
    "quantized.EmbeddingPackedParamsBase": _WEIGHTS[:3],
}
_CELLS = "rnn.CellParamsBase"


def parts_of(kind: str, name: str) -> list[tuple[str, str]] | None:
    """Return what stands in the place of an argument of this type, each with its use; None: it is not packed."""
    _, found, bare = kind.partition("__torch__.torch.classes.")
    if not found:
        return None
    if bare == f"{_CELLS}[]":
        return [(name, "tensors")]
    return _PARTS.get(bare)


def unpacked(packet: str, given: Any) -> list[Any]:
    """Return the parts of a packed argument of an operator, tensors without storage for its weights."""
    if isinstance(given, list | tuple):
        return [[one for cell in given for one in _cell(cell)]]
    if packet.startswith("embedding"):
        return _weights(torch.ops.quantized.embedding_bag_unpack(given), None)[:3]
    if packet.startswith("linear"):
        return _weights(*torch.ops.quantized.linear_unpack(given))
    kind = re.match(r"conv(_transpose)?\dd", packet)
    weight, bias = getattr(torch.ops.quantized, f"{kind[0] if kind else packet}_unpack")(given)
    spatial = weight.dim() - 2  # of one axis it is kept as two
    window = [
        list(one)[-spatial:] for one in (given.stride(), given.padding(), given.output_padding(), given.dilation())
    ]
    return [*_weights(weight, bias), *window, given.groups()]


# The weights of one layer and direction: of the inputs, of the state, and their biases.
def _cell(given: Any) -> list[Any]:
    (_, biases, _, _, packed), _ = given.__getstate__()
    halves = [_weights(*torch.ops.quantized.linear_unpack(one)) for one in packed]
    return [half[0] for half in halves] + ([_bare(one) for one in biases] or [half[3] for half in halves])


def _weights(weight: torch.Tensor, bias: torch.Tensor | None) -> list[Any]:
    scale = zero = None
    if weight.is_quantized:
        each = weight.qscheme() not in (torch.per_tensor_affine, torch.per_tensor_symmetric)
        scale = _bare(weight.q_per_channel_scales()) if each else torch.empty((), device=META)
        zeros = weight.q_per_channel_zero_points() if each else torch.tensor(weight.q_zero_point())
        zero = _bare(zeros) if bool(zeros.any()) else None
    return [_bare(weight), scale, zero, None if bias is None else _bare(bias)]


def _bare(given: torch.Tensor) -> torch.Tensor:
    return torch.empty(given.shape, dtype=PLAIN.get(given.dtype, given.dtype), device=META)
