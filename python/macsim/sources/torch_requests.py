# What a torch program takes, and what to say when it is given something else.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Checks the arguments of a torch program before it is run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from macsim._core import Expr
from macsim.errors import RequestError
from macsim.sources.torch_trace import is_named_shape

__all__ = ["at_sizes", "check_arguments", "has_symbols"]

MOST_SHOWN = 12


def check_arguments(name: str, call: Any, positional: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Raise when a call does not take these arguments, and say what it takes."""
    wanted = _parameters(call)
    if wanted is None:
        return
    try:
        wanted.bind(*positional, **named)
    except TypeError as error:
        raise RequestError(f"{name}: {error}; {_how(wanted)}") from error


def _parameters(call: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(call)
    except (TypeError, ValueError):
        pass
    schema = getattr(call, "schema", None)  # of TorchScript
    if schema is None:
        return None
    kinds = inspect.Parameter
    return inspect.Signature([
        kinds(
            one.name,
            kinds.KEYWORD_ONLY if one.kwarg_only else kinds.POSITIONAL_OR_KEYWORD,
            default=one.default_value if one.has_default_value() else kinds.empty,
        )
        for one in schema.arguments
        if one.name != "self"
    ])  # fmt: skip


def _how(wanted: inspect.Signature) -> str:
    """Say what a call takes, and how it is given."""
    shown = [_spelled(one) for one in wanted.parameters.values()]
    listed = ", ".join(shown[:MOST_SHOWN]) + (", ..." if len(shown) > MOST_SHOWN else "")
    needed = [
        one.name
        for one in wanted.parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    named = ", ".join(f"{name!r}: (1, ...)" for name in needed[:3]) + (", ..." if len(needed) > 3 else "")
    return (
        f"it takes ({listed}). Give tensors or shapes, in order or by name: shapes={{{named}}}; "
        "a name as a size is a symbol: ('batch', 3, 224, 224)"
    )


def _spelled(one: inspect.Parameter) -> str:
    stars = "*" if one.kind is one.VAR_POSITIONAL else "**" if one.kind is one.VAR_KEYWORD else ""
    default = "" if one.default is one.empty else f"={one.default!r}"
    return f"{stars}{one.name}{default if len(default) < 20 else '=...'}"


# Sizes with names. ----------------------------------------------------------------------------------------------------


def has_symbols(given: Any) -> bool:
    """Whether a shape somewhere in a nest of arguments names sizes."""
    if isinstance(given, Mapping):
        return any(has_symbols(one) for one in given.values())
    return isinstance(given, tuple | list) and (is_named_shape(given) or any(has_symbols(one) for one in given))


def at_sizes(given: Any, dims: Mapping[str, int], met: dict[str, int]) -> Any:
    """Put sizes in the place of symbols in the shapes of a nest of arguments; add those that were there to ``met``."""
    if not dims:
        return given
    if is_named_shape(given):
        return tuple(one if isinstance(one, int) else _size_at(one, dims, met) for one in given)
    if type(given) is dict:
        return {name: at_sizes(tuple(one) if _is_list(one) else one, dims, met) for name, one in given.items()}
    if type(given) in (list, tuple):
        return type(given)(at_sizes(one, dims, met) for one in given)
    return given


def _is_list(given: Any) -> bool:
    return type(given) is list and is_named_shape(tuple(given))


def _size_at(given: str | Expr, dims: Mapping[str, int], met: dict[str, int]) -> Any:
    try:
        expr = Expr(given)
    except ValueError:
        return given  # it is refused where the shape is read
    met.update((name, dims[name]) for name in expr.symbols if name in dims)
    return expr.bind(dict(dims))
