# What stands for tensors that are no plain arrays: quantised and sparse ones.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Tensors without storage for those that a program is given, whatever their layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch

from macsim.errors import RequestError, TraceError

__all__ = ["META", "PLAIN", "SCALES", "NestedError", "nonzeros", "of_symbols", "scale_of", "without_storage"]

META = torch.device("meta")
PLAIN = {torch.quint8: torch.uint8, torch.qint8: torch.int8, torch.qint32: torch.int32, torch.quint4x2: torch.uint4}
# What a quantised tensor says of its scales.
SCALES = frozenset({"q_scale", "q_zero_point", "qscheme", "q_per_channel_axis", "q_per_channel_scales",
                    "q_per_channel_zero_points"})  # fmt: skip


class NestedError(RequestError):
    """An input is made of tensors; `jagged`: a recorder of such can take it."""

    def __init__(self, jagged: bool, name: str) -> None:
        self.jagged = jagged
        what = (
            "a jagged tensor, which is counted neither with symbols nor for training: give a padded one, or its values"
            if jagged
            else "a nested tensor of no one shape: give one with layout=torch.jagged, a padded one, or its values"
        )
        super().__init__(f"{name!r} is {what}")


def without_storage(given: torch.Tensor) -> torch.Tensor:
    """Return what stands for a tensor: of one that is quantised its whole numbers, of a sparse one all elements."""
    dtype = PLAIN.get(given.dtype, given.dtype)
    if given.layout is not torch.strided:
        return torch.empty(given.shape, dtype=dtype, device=META)
    return torch.empty_strided(given.shape, given.stride(), dtype=dtype, device=META)


def of_symbols(sizes: Sequence[Any], strides: Sequence[Any], dtype: torch.dtype, inference: bool) -> torch.Tensor:
    """Return a tensor without storage of sizes among which are symbols.

    It is a view of an empty one: of a new one torch asks how much it stores, which is two hundred questions of symbols.
    """
    return _nothing(dtype, inference).as_strided(sizes, strides)


@cache
def _nothing(dtype: torch.dtype, inference: bool) -> torch.Tensor:
    with torch.inference_mode(inference):
        return torch.empty((), dtype=dtype, device=META)


def nonzeros(tensor: torch.Tensor) -> int:
    """Return how many elements of a sparse tensor are stored."""
    return int((tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()).numel())


def scale_of(func: Any, tensor: torch.Tensor, twins: Mapping[int, torch.Tensor], path: str) -> Any:
    """Ask a quantised tensor, or the one that it stands for, about its scale."""
    given = tensor if tensor.is_quantized else twins.get(id(tensor))
    if given is None:
        raise TraceError(
            f"{func._schema.name} asks for the scale of a tensor that the program quantised, or of a view, which is "
            "not kept: ask the input or the parameter that it was made of, or hand the scale on",
            path,
        )
    said = func(given)
    return without_storage(said) if isinstance(said, torch.Tensor) else said
