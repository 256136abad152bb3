# What a torch program takes, and what to say when it is given something else.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Checks the arguments of a torch program before it is run."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Mapping
from typing import Any

import torch

from macsim._core import Expr
from macsim.errors import RequestError
from macsim.sources.torch_trace import LOOKS, is_named_shape

__all__ = ["at_sizes", "by_schema", "check_names", "not_taken", "why_it_failed"]

MOST_SHOWN = 12
# What torch says where there is no storage to look into.
_LOOKING = ("unallocated storage", "can't convert meta device", "Cannot copy out of meta", "from meta to ")
# What torch says where nested and masked tensors meet ones without storage.
_NESTED = ("values and offsets must be on the same device", "NestedTensorImpl storage", "NestedIntNode", "prim::layout",
           "_masked_data", "_nested_tensor_from_mask")  # fmt: skip
_GRAPH_ONLY = ("FlexAttention", "HigherOrderOperator")


def not_taken(name: str, error: TypeError, wanted: inspect.Signature, named: Mapping[str, Any]) -> RequestError:
    """Say that a call does not take what it is given, and what it takes."""
    return RequestError(f"{name}: {error}; {_meant(wanted, named)}{_how(wanted)}")


def _meant(wanted: inspect.Signature, named: Mapping[str, Any]) -> str:
    """Say which of the names that are given is none, and what it may have been."""
    names = list(wanted.parameters)
    if any(one.kind is one.VAR_KEYWORD for one in wanted.parameters.values()):
        return ""
    for name in named:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            return f"there is no {name!r}" + (f": did you mean {near[0]!r}? " if near else "; ")
    return ""


def by_schema(call: Any) -> inspect.Signature | None:
    """Return what TorchScript says that a call takes; None: nothing."""
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
        for one in schema.arguments[not isinstance(call, torch.jit.ScriptFunction) :]  # of methods without the module
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


def check_names(
    dtypes: Mapping[str, Any] | None, hints: Mapping[str, int] | None, used: set[str], symbols: set[str]
) -> None:
    """Raise when a dtype is given for what is given as no shape, or a hint for what is no size among symbols."""
    for name, hint in (hints or {}).items():
        if not isinstance(hint, int) or isinstance(hint, bool) or hint < 0:
            raise RequestError(f"hints: {name!r} is given {hint!r}: a hint is a size, an int of 0 or more")
    sizes = [name for name in hints or () if symbols and "." not in name]  # with a dot: one that depends on data
    for what, given, known in (("dtypes", list(dtypes or ()), used), ("hints", sizes, symbols)):
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3)
                listed = ", ".join(sorted(filter(None, known))[:MOST_SHOWN]) or "none"
                kind = "inputs that are given as shapes" if what == "dtypes" else "symbols in the shapes"
                raise RequestError(
                    f"{what}: nothing is called {name!r}; "
                    + (f"did you mean {' or '.join(near)}?" if near else f"{kind}: {listed}")
                )


def why_it_failed(error: Exception, given: Mapping[str, Any]) -> str:
    """Say why a program did not run, what it was called with, and what to do."""
    said = str(error)
    if any(text in said for text in _GRAPH_ONLY):
        return (
            "the program holds a cond, a scan, a loop or a flex_attention of torch's, which is counted as a graph: "
            "give torch.export.export(module, inputs)"
        )
    if any(text in said for text in _NESTED):
        return (
            "the program makes a nested or a masked tensor, which torch does not without storage: give a jagged one as "
            f"an input, or count the program with padded ones ({said.partition('. ')[0]})"
        )
    if "does not require grad" in said:
        return (
            "the program takes derivatives with autograd, which is off while it is counted: take them with "
            f"torch.func.grad or torch.func.vjp ({said})"
        )
    if any(text in said for text in _LOOKING):
        return f"{LOOKS} ({said.partition('. ')[0]})"
    places = re.findall(r'File "([^"]*)", line (\d+)', said) if "TorchScript" in said else []
    if places:
        said = f"a call failed in the TorchScript interpreter, at {places[-1][0]}, line {places[-1][1]}"
    listed = ", ".join(f"{name}: {_shown(one)}" for name, one in list(given.items())[:MOST_SHOWN])
    return f"the program raised {type(error).__name__}: {said.rstrip('.')}; it was called with {listed or 'nothing'}"


def _shown(one: Any) -> str:
    if isinstance(one, torch.Tensor):
        return f"{str(one.dtype).removeprefix('torch.')} {list(one.shape)}"
    if isinstance(one, Mapping):
        return f"{{{', '.join(f'{key}: {_shown(part)}' for key, part in list(one.items())[:MOST_SHOWN])}}}"
    if isinstance(one, list | tuple) and any(isinstance(part, torch.Tensor | Mapping) for part in one):
        return f"[{', '.join(map(_shown, one[:MOST_SHOWN]))}]"
    text = " ".join(repr(one).split())
    how = " (a shape is a tuple of ints, names and expressions)" if isinstance(one, list | tuple) else ""
    return f"{type(one).__name__} {text if len(text) <= 40 else text[:37] + '...'}{how}"


# Sizes with names. ----------------------------------------------------------------------------------------------------


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
