# What nests of tuples, lists and mappings hold, and where.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Things in nests, with their places, as results are named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils._pytree import tree_flatten_with_path, tree_leaves

__all__ = ["placed"]


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
