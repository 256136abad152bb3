# Operators whose results have as many elements as the data says.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Results whose sizes depend on contents that are not known: a symbol stands for such a size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["is_by_data", "results_by_data", "with_positions", "with_sizes"]

_UNIQUE = frozenset({"_unique", "_unique2", "unique_dim", "unique_dim_consecutive", "unique_consecutive"})
_BY_DATA = _UNIQUE | {"argwhere", "masked_select", "nms", "nonzero", "nonzero_numpy"}

_PADDED = "_padded_dense_to_jagged_forward"  # less its padding

# Parts of sparse tensors, of which as many elements are stored as the data says.
_PARTS = frozenset({"values", "_values", "indices", "_indices", "crow_indices", "col_indices", "ccol_indices",
                    "row_indices"})  # fmt: skip


def is_by_data(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the shape of the results depends on contents, which are not known."""
    if name == "where":
        return len(args) == 1
    if name == "repeat_interleave":
        told = len(args) > 3 or kwargs.get("output_size") is not None
        return not told and _is_unknown(args[-1] if len(args) == 1 else args[1])
    if name == "bincount":
        return _is_unknown(args[0])
    if name == _PADDED:
        return len(args) < 3 and kwargs.get("total_L") is None
    if name in _PARTS:
        return args[0].layout is torch.strided  # what stands for a sparse tensor
    return name in _BY_DATA or (name == "index" and any(map(_is_mask, args[1])))


def with_sizes(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments, with the size of the result where it follows from known contents."""
    if name != "repeat_interleave" or len(args) > 3 or kwargs.get("output_size") is not None:
        return kwargs
    repeats = args[-1] if len(args) == 1 else args[1]
    if not isinstance(repeats, torch.Tensor) or repeats.is_meta:
        return kwargs
    dim = kwargs.get("dim", args[2] if len(args) > 2 else None)
    of_one = len(args) > 1 and repeats.numel() == 1
    each = (args[0].numel() if dim is None else args[0].shape[dim]) if of_one else 1
    return {**kwargs, "output_size": int(repeats.sum()) * each}


def _is_unknown(one: Any) -> bool:
    return isinstance(one, torch.Tensor) and one.is_meta


def _is_mask(one: Any) -> bool:
    return isinstance(one, torch.Tensor) and one.is_meta and one.dtype in (torch.bool, torch.uint8)


def results_by_data(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], count: Callable[[Any], Any], index: Callable[..., Any]
) -> Any:
    """Return the results; ``count(most)`` is a size from 0 to ``most``, any where it is None; ``index`` gathers."""
    name = func._schema.name.partition("::")[2]
    x = args[0]
    if name in ("where", "nonzero_numpy"):
        found = count(x.numel())
        return [_like(x, [found], torch.int64) for _ in range(x.dim())]
    if name in ("argwhere", "nonzero"):
        return _like(x, [count(x.numel()), x.dim()], torch.int64)
    if name in _PARTS:
        return _part(name.strip("_"), x, count)
    if name == _PADDED:
        return _like(x, [count(x.shape[0] * x.shape[1]), *x.shape[2:]])
    if name == "nms":  # of boxes
        return _like(x, [count(x.shape[0])], torch.int64)
    if name == "bincount":  # one more than the largest, and no less than is asked for
        least = args[2] if len(args) > 2 else kwargs.get("minlength", 0)
        weights = args[1] if len(args) > 1 else kwargs.get("weights")
        return _like(x, [torch.sym_max(count(None), least)], torch.int64 if weights is None else weights.dtype)
    if name == "repeat_interleave":
        return _repeated(args, kwargs.get("dim", args[2] if len(args) > 2 else None), count(None))
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


def _part(name: str, x: torch.Tensor, count: Callable[[Any], Any]) -> torch.Tensor:
    if name in ("crow_indices", "ccol_indices"):
        return _like(x, [x.shape[-2 if name == "crow_indices" else -1] + 1], torch.int64)
    found = count(x.numel())
    if name == "indices":
        return _like(x, [x.dim(), found], torch.int64)
    return _like(x, [found], None if name == "values" else torch.int64)


def _repeated(args: tuple[Any, ...], dim: int | None, found: Any) -> Any:
    if len(args) == 1 or dim is None:
        return _like(args[0], [found], torch.int64 if len(args) == 1 else None)
    shape = list(args[0].shape)
    shape[dim] = found
    return _like(args[0], shape)


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


def with_positions(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Turn known masks among the indices into positions, whose number is then known too."""
    if len(args) < 2 or not any(
        isinstance(one, torch.Tensor) and one.dtype == torch.bool and not one.is_meta for one in args[1]
    ):
        return args
    indices: list[Any] = []
    for one in args[1]:
        if isinstance(one, torch.Tensor) and one.dtype == torch.bool and not one.is_meta:
            indices += one.nonzero(as_tuple=True)
        else:
            indices.append(one)
    return (args[0], indices, *args[2:])
