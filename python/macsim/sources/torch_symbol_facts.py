# What is asked of a symbolic size, whoever holds it.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Facts of expressions: whether one is a number, what symbols it has, and whether it is 0 or more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from macsim.rows import Number

__all__ = ["at_least_0", "plain", "symbols_of"]


def plain(expr: Number) -> Number:
    """Return an int where an expression is one."""
    return expr if isinstance(expr, int) or expr.symbols or not expr.defined else int(expr)


def symbols_of(expr: Number) -> tuple[str, ...]:
    """Return the names of the symbols in a size."""
    return () if isinstance(expr, int) else expr.symbols


def at_least_0(expr: Number) -> bool | None:
    """Whether it is 0 or more for all sizes, or for none; None when that depends."""
    try:
        return bool(expr >= 0)
    except ValueError:
        return None
