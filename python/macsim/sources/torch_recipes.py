# What operators without a row are made of, as torch says.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Operators in terms of others: torch's own decompositions, and what writes as what gives back."""

from __future__ import annotations

import threading
from typing import Any

import torch

__all__ = ["made_of", "without_writing"]


def without_writing(func: Any) -> Any:
    """Return the operator that computes the same and writes nowhere, where torch has one."""
    packet, overload = func._schema.name.partition("::")[2], func._overloadname
    if packet.endswith("_") and not packet.endswith("__"):
        packet = packet[:-1]
    elif overload == "out" or overload.endswith("_out"):
        overload = overload[:-4] or "default"
    else:
        return None
    plain = getattr(getattr(torch.ops, func.namespace), packet, None)
    found = getattr(plain, overload, None)
    if found is not None and _takes_alike(found, func):
        return found
    if plain is None:
        return None
    others = (getattr(plain, name) for name in plain.overloads())
    return next((one for one in others if _takes_alike(one, func)), None)


def _takes_alike(one: Any, other: Any) -> bool:
    """Whether two operators take arguments of the same types, in the same order."""
    taken, wanted = ([str(given.type) for given in func._schema.arguments if not given.is_out] for func in (one, other))
    return taken == wanted


_table: dict[Any, Any] = {}
_table_lock = threading.Lock()


def _recipes() -> dict[Any, Any]:
    """Torch's own decompositions, loaded on first use."""
    if not _table:
        with _table_lock:
            if not _table:
                from torch._decomp import decomposition_table

                _table.update(decomposition_table)
    return _table


def made_of(func: Any, args: Any, kwargs: Any) -> Any:
    """Compute an operator by others; NotImplemented: nobody says how."""
    from macsim.sources.torch_fused import FUSED  # most programs need none of it

    own = FUSED.get(func)
    out = NotImplemented if own is None else own(*args, **kwargs)
    if out is not NotImplemented:
        return out
    if func._can_decompose():
        return func.decompose(*args, **kwargs)
    recipe = _recipes().get(func) if func.namespace != "torch_nn" else _written_in_python(func)
    return NotImplemented if recipe is None else recipe(*args, **kwargs)


def _written_in_python(func: Any) -> Any:
    """Return the function that torch's own operators outside of ATen are made of, if they are."""
    from torch._library.custom_ops import OPDEFS

    made = OPDEFS.get(func._schema.name)
    return None if made is None else made._init_fn
