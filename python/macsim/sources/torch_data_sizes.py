# Operators whose results have as many elements as the data says.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Results whose sizes depend on contents that are not known: a symbol stands for such a size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from macsim.errors import TraceError

__all__ = ["DataSizeError", "is_by_data", "results_by_data"]

_UNIQUE = frozenset({"_unique", "_unique2", "unique_dim", "unique_dim_consecutive", "unique_consecutive"})
_BY_DATA = _UNIQUE | {"argwhere", "masked_select", "nms", "nonzero", "nonzero_numpy"}


class DataSizeError(TraceError):
    """A size depends on data, and the sizes of the run are numbers."""


def is_by_data(name: str, args: tuple[Any, ...]) -> bool:
    """Whether the shape of the results depends on contents, which are not known."""
    if name == "where":
        return len(args) == 1
    return name in _BY_DATA or (name == "index" and any(map(_is_mask, args[1])))


def _is_mask(one: Any) -> bool:
    return isinstance(one, torch.Tensor) and one.is_meta and one.dtype in (torch.bool, torch.uint8)


def results_by_data(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], count: Callable[[Any], Any], index: Callable[..., Any]
) -> Any:
    """Return the results; ``count(most)`` is a size from 0 to ``most``, ``index`` gathers."""
    name = func._schema.name.partition("::")[2]
    x = args[0]
    if name in ("where", "nonzero_numpy"):
        found = count(x.numel())
        return [_like(x, [found], torch.int64) for _ in range(x.dim())]
    if name in ("argwhere", "nonzero"):
        return _like(x, [count(x.numel()), x.dim()], torch.int64)
    if name == "nms":  # of boxes
        return _like(x, [count(x.shape[0])], torch.int64)
    if name == "masked_select":
        return _like(x, [count(math.prod(torch.broadcast_shapes(x.shape, args[1].shape)))])
    if name == "index":
        positions: list[Any] = []
        for one in args[1]:
            positions += [_like(x, [count(one.numel())], torch.int64)] * one.dim() if _is_mask(one) else [one]
        return index(x, positions)
    given = {one.name: one.default_value for one in func._schema.arguments if one.has_default_value()}
    given |= {one.name: value for one, value in zip(func._schema.arguments, args, strict=False)} | kwargs
    return _unique(x, given, count, len(func._schema.returns))


def _unique(x: torch.Tensor, given: dict[str, Any], count: Callable[[Any], Any], outputs: int) -> Any:
    dim = given.get("dim")
    if dim is None:
        found = count(x.numel())
        shape, places = [found], list(x.shape)
    else:
        found = count(x.shape[dim])
        shape, places = list(x.shape), [x.shape[dim]]
        shape[dim] = found
    inverse = places if given.get("return_inverse") else [0]
    counts = [found] if given.get("return_counts") else [0]
    return tuple([_like(x, shape), _like(x, inverse, torch.int64), _like(x, counts, torch.int64)][:outputs])


def _like(x: torch.Tensor, sizes: list[Any], dtype: torch.dtype | None = None) -> torch.Tensor:
    return torch.empty(sizes, dtype=dtype or x.dtype, device="meta")
