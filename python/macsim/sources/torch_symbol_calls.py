# Functions of torch that take plain numbers, called with sizes that are symbols.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Calls that torch refuses a symbol: indices, and lengths of what is made.

They are met before torch reads their arguments, which costs a step at every call of torch's; so a program is run this
way only when it was refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from macsim.errors import TraceError
from macsim.sources.torch_symbols import NeedsNumberError, is_symbolic
from macsim.sources.torch_values import META

if TYPE_CHECKING:
    from macsim.sources.torch_symbolic import SymbolicRecorder

__all__ = ["SizedCalls", "was_refused"]

_A = torch.ops.aten


def was_refused(error: TraceError) -> bool:
    """Whether a program failed because torch wanted a number for a size."""
    return isinstance(error, NeedsNumberError) or (
        isinstance(error.__cause__, IndexError) and "SymInt" in str(error.__cause__)
    )


class SizedCalls(TorchFunctionMode):
    """Takes calls with symbols that torch takes with numbers only."""

    def __init__(self, recorder: SymbolicRecorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__getitem__:
            return _indexed(*args)
        if func is torch.Tensor.__setitem__:
            return _set(*args)
        made = _MAKES.get(func)
        if made is not None and any(is_symbolic(one) for one in (*args, *(kwargs or {}).values())):
            operator, named = made
            given = dict(zip(named, args, strict=False)) | (kwargs or {})
            if "input" in given:
                given["self"] = given.pop("input")
            if given.get("dtype") is None and named is not _CORNER:
                given["dtype"] = torch.get_default_dtype()
            return self.recorder.make(operator, given)
        return func(*args, **(kwargs or {}))


# Indices. -------------------------------------------------------------------------------------------------------------


def _selected(x: Any, index: Any) -> tuple[Any, Any]:
    """Return a tensor at the symbols among its indices, and the indices that are left."""
    places = index if isinstance(index, tuple) else (index,)
    if not any(is_symbolic(one) for one in places):
        return x, index
    taken = [_axes_of(one) for one in places]
    rest: list[Any] = []
    for at in range(len(places) - 1, -1, -1):
        one = places[at]
        if not is_symbolic(one):
            rest.insert(0, one)
            continue
        behind = any(before is Ellipsis for before in places[:at])
        x = x.select(-1 - sum(taken[at + 1 :]) if behind else sum(taken[:at]), one)
        taken[at] = 0
    return x, tuple(rest)


def _axes_of(index: Any) -> int:
    """Return how many axes an index is for."""
    if index is None or index is Ellipsis or isinstance(index, bool):
        return 0
    return index.dim() if isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8) else 1


def _indexed(x: Any, index: Any) -> Any:
    x, rest = _selected(x, index)
    return x if isinstance(rest, tuple) and not rest and index != () else x[rest]


def _set(x: Any, index: Any, value: Any) -> None:
    x, rest = _selected(x, index)
    x[rest if not isinstance(rest, tuple) or rest else ...] = value


# What is made. --------------------------------------------------------------------------------------------------------

# By function: the operator, whose row tells its result, and the names of its arguments.
_SPACED = ("start", "end", "steps")
_WINDOW = ("window_length", "periodic")
_CORNER = ("row", "col", "offset")
_MAKES: dict[Any, tuple[Any, tuple[str, ...]]] = {
    torch.linspace: (_A.linspace.default, _SPACED),
    torch.logspace: (_A.logspace.default, (*_SPACED, "base")),
    torch.hann_window: (_A.hann_window.default, _WINDOW),
    torch.hamming_window: (_A.hamming_window.default, _WINDOW),
    torch.blackman_window: (_A.blackman_window.default, _WINDOW),
    torch.bartlett_window: (_A.bartlett_window.default, _WINDOW),
    torch.kaiser_window: (_A.kaiser_window.default, (*_WINDOW, "beta")),
    torch.fft.fftfreq: (_A.fft_fftfreq.default, ("n", "d")),
    torch.fft.rfftfreq: (_A.fft_rfftfreq.default, ("n", "d")),
    torch.tril_indices: (_A.tril_indices.default, _CORNER),
    torch.triu_indices: (_A.triu_indices.default, _CORNER),
    torch.nn.functional.one_hot: (_A.one_hot.default, ("self", "num_classes")),
    torch.Tensor.unfold: (_A.unfold.default, ("self", "dimension", "size", "step")),
}
