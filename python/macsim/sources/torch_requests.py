# What a torch program takes, and what to say when it is given something else.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Checks the arguments of a torch program before it is run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from macsim.errors import RequestError

__all__ = ["check_arguments"]

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
