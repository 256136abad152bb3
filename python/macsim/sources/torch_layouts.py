# What stands for tensors that are no plain arrays: quantised and sparse ones.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Tensors without storage for those that a program is given, whatever their layout."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

__all__ = ["META", "PLAIN", "nonzeros", "of_symbols", "without_storage"]

META = torch.device("meta")
PLAIN = {torch.quint8: torch.uint8, torch.qint8: torch.int8, torch.qint32: torch.int32, torch.quint4x2: torch.uint4}


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
