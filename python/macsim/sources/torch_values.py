# What torch's values are to a count: dtypes, tensors without storage, nests of results.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Dtypes by our names, tensors without storage for those of any layout, and what nests of results hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch.utils._pytree import tree_flatten_with_path, tree_leaves

from macsim.errors import RequestError, TraceError

__all__ = [
    "DTYPES",
    "META",
    "PLAIN",
    "SCALES",
    "NestedError",
    "nonzeros",
    "of_symbols",
    "placed",
    "scale_of",
    "without_storage",
]

DTYPES: dict[torch.dtype, str] = {
    torch.float64: "f64",
    torch.float32: "f32",
    torch.float16: "f16",
    torch.bfloat16: "bf16",
    torch.int64: "i64",
    torch.int32: "i32",
    torch.int16: "i16",
    torch.int8: "i8",
    torch.uint8: "u8",
    torch.bool: "bool",
    torch.complex32: "c32",
    torch.complex64: "c64",
    torch.complex128: "c128",
} | {
    getattr(torch, name): ours
    for name, ours in (
        ("uint64", "u64"),
        ("uint32", "u32"),
        ("uint16", "u16"),
        ("float8_e4m3fn", "f8e4m3fn"),
        ("float8_e4m3fnuz", "f8e4m3fnuz"),
        ("float8_e5m2", "f8e5m2"),
        ("float8_e5m2fnuz", "f8e5m2fnuz"),
        ("float8_e8m0fnu", "f8e8m0"),
        ("float4_e2m1fn_x2", "u8"),
        ("quint8", "u8"),
        ("qint8", "i8"),
        ("qint32", "i32"),
        ("uint4", "u4"),
    )
    if hasattr(torch, name)
}

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


def placed(nest: Any, kind: type) -> list[tuple[str, Any]]:
    """Return what a nest holds of a kind, in order, and where: ``logits``, ``0``, ``hidden.1``.

    Examples
    --------
    >>> placed({"loss": 1, "hidden": (2, [3, "four"])}, int)
    [('loss', 1), ('hidden.0', 2), ('hidden.1.0', 3)]
    >>> placed(1, int)
    [('', 1)]
    """
    held = dict(nest.items()) if isinstance(nest, Mapping) else nest
    try:
        leaves, _ = tree_flatten_with_path(held)
    except ValueError:  # of a class whose parts have no names
        return [(str(i), one) for i, one in enumerate(tree_leaves(held)) if isinstance(one, kind)]
    return [(".".join(map(_step, path)), one) for path, one in leaves if isinstance(one, kind)]


def _step(key: Any) -> str:
    """Return a part of the way to a leaf."""
    return str(next(getattr(key, name) for name in ("key", "idx", "name") if hasattr(key, name)))
