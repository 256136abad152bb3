# What stands for tensors that are no plain arrays: quantised and sparse ones.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Tensors without storage for those that a program is given, whatever their layout."""

from __future__ import annotations

import torch

__all__ = ["META", "PLAIN", "nonzeros", "without_storage"]

META = torch.device("meta")
PLAIN = {torch.quint8: torch.uint8, torch.qint8: torch.int8, torch.qint32: torch.int32, torch.quint4x2: torch.uint4}


def without_storage(given: torch.Tensor) -> torch.Tensor:
    """Return what stands for a tensor: of one that is quantised its whole numbers, of a sparse one all elements."""
    dtype = PLAIN.get(given.dtype, given.dtype)
    if given.layout is not torch.strided:
        return torch.empty(given.shape, dtype=dtype, device=META)
    return torch.empty_strided(given.shape, given.stride(), dtype=dtype, device=META)


def nonzeros(tensor: torch.Tensor) -> int:
    """Return how many elements of a sparse tensor are stored."""
    return int((tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()).numel())
