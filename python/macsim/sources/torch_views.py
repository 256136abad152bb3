# Views of tensors whose sizes are symbols: their shapes, without the questions that torch asks about strides.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Shapes of views over symbolic sizes.

Torch asks of every size whether it is 1, and more, to see whether a view needs a copy. Counts do not depend on that:
here only what decides the shape is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import torch

from macsim import _core
from macsim._core import Expr
from macsim.sources.torch_symbol_nodes import Answer
from macsim.sources.torch_symbols import Sizes, expr_of, name_quoted
from macsim.sources.torch_values import of_symbols

__all__ = ["VIEWS", "copies", "hides_ones"]


def _made(sizes: Sizes, shape: Sequence[Any], like: torch.Tensor, strides: Sequence[Any] | None = None) -> torch.Tensor:
    if strides is None:
        strides = _in_rows(sizes, shape)
    return of_symbols(shape, strides, like.dtype, like.is_inference())  # views of parameters are no inference tensors


def _in_rows(sizes: Sizes, shape: Sequence[Any]) -> list[Any]:
    return [sizes.size(step) for step in _steps([expr_of(size) for size in shape])]


def _steps(shape: Sequence[Any]) -> list[Any]:
    """Return the strides of elements that lie in row-major order."""
    steps: list[Any] = []
    step: Any = 1
    for size in reversed(shape):
        steps.insert(0, step)
        step = step if isinstance(size, int) and size == 0 else step * size
    return steps


# As ATen's computeStride, for sizes that are no special numbers; None: the elements have to be copied.
def _strides(sizes: Sizes, shape: Sequence[Any], strides: Sequence[Any], asked: Sequence[Any]) -> list[Any] | None:
    if not shape or strides == _steps(shape):
        return _steps(asked)
    out: list[Any] = [1] * len(asked)
    at, base = len(asked) - 1, strides[-1]
    held: Any = 1
    given: Any = 1
    for axis in range(len(shape) - 1, -1, -1):
        held = held * shape[axis]
        if axis > 0 and (shape[axis - 1] == 1 or strides[axis - 1] == held * base):
            continue
        while at >= 0 and (sizes.hint(given, sizes.usual) < sizes.hint(held, sizes.usual) or asked[at] == 1):
            out[at] = given * base
            given = given * asked[at]
            at -= 1
        if given != held:
            return None
        if axis > 0:
            base, held, given = strides[axis - 1], 1, 1
    return out if at < 0 else None


def _viewed(sizes: Sizes, x: torch.Tensor, shape: Sequence[Any]) -> torch.Tensor:
    steps = _strides(sizes, *_laid(x), [expr_of(size) for size in shape])
    return _made(sizes, shape, x, None if steps is None else [sizes.size(step) for step in steps])


def _laid(x: torch.Tensor) -> tuple[list[Any], list[Any]]:
    return [expr_of(size) for size in x.shape], [expr_of(step) for step in x.stride()]


def copies(sizes: Sizes, x: torch.Tensor, new: Sequence[Any] | None = None) -> Any:
    """Return 1 where ``x.contiguous()`` copies, and 0 where some sizes are 1 and nothing has to be moved.

    The same of ``x.reshape(new)``, which is asked for the hints of the other sizes.
    """
    shape, strides = _laid(x)
    asked = None if new is None else [expr_of(size) for size in new]

    def stays(ones: dict[str, int]) -> bool:
        if asked is None:
            return _packed([_at(size, ones) for size in shape], [_at(step, ones) for step in strides])
        laid = ([sizes.hint(_at(one, ones), sizes.usual) for one in some] for some in (shape, strides, asked))
        return _strides(sizes, *laid) is not None

    if asked is not None and stays({}):
        return 0
    names = sorted({name for size in shape if not isinstance(size, int) for name in size.symbols})
    if asked is None and any(not isinstance(size, int) and str(size) not in names for size in shape):
        return _core.min(1, _apart(shape, strides))
    out: Any = 1
    found: list[set[str]] = []
    for count in range(1, min(len(names), 3) + 1):
        for some in combinations(names, count):
            if any(one <= set(some) for one in found):
                continue
            ones = dict.fromkeys(some, 1)
            if stays(ones):
                found.append(set(some))
                above: Any = 0
                for name in some:
                    above = above + (Expr(name_quoted(name)) - 1)
                out = out * _core.min(1, above)
    return out


def hides_ones(x: torch.Tensor) -> bool:
    """Whether sizes that follow from others may be 1 where those are not: `copies` of a shape does not see these."""
    for size in (expr_of(one) for one in x.shape):
        names = [] if isinstance(size, int) else size.symbols
        if any(str(size) != name and str(size) != name_quoted(name) for name in names):
            least, next_ = (_at(size, dict.fromkeys(names, number)) for number in (1, 2))
            if least < 1 or next_ <= 1:
                return True
    return False


def _apart(shape: Sequence[Any], strides: Sequence[Any]) -> Any:
    """Return 0 where elements lie in row-major order, and otherwise more."""
    out: Any = 0
    for size, step, full in zip(shape, strides, _steps(shape), strict=True):
        if size == 1 or step == full:
            continue
        apart = _core.max(step - full, full - step)
        out = _core.max(out, apart if isinstance(size, int) else _core.min(apart, _core.max(size - 1, 1 - size)))
    return out


def _at(size: Any, sizes: dict[str, int]) -> Any:
    return size if isinstance(size, int) else size.bind(sizes)


def _packed(shape: Sequence[Any], strides: Sequence[Any]) -> bool:
    return all(size == 1 or step == full for size, step, full in zip(shape, strides, _steps(shape), strict=True))


def _product(values: Sequence[Any]) -> Any:
    out: Any = 1
    for value in values:
        out = out * expr_of(value)
    return out


def _filled(sizes: Sizes, given: Sequence[Any], asked: Sequence[Any], what: str) -> list[Any]:
    """Return the sizes asked for, that which is -1 told by the others."""
    holes = [i for i, size in enumerate(asked) if isinstance(size, int) and size == -1]
    if len(holes) > 1 or any(isinstance(size, int) and size < -1 for size in asked):
        raise RuntimeError(f"invalid shape {list(asked)}")
    out = list(asked)
    if holes:
        left, divisor = [expr_of(size) for size in given], []
        for size in (expr_of(size) for i, size in enumerate(asked) if i != holes[0]):
            if size in left and not (isinstance(size, int) and size == 0):
                left.remove(size)
                if not isinstance(size, int):  # of no elements nobody can tell the rest
                    sizes.take(size - 1, f"{what}: {size} was taken to be at least 1")
            else:
                divisor.append(size)
        rest = sizes.divide(_product(left), _product(divisor)) if divisor else _product(left)
        out[holes[0]] = sizes.size(rest)
    before, after = _product(given), _product(out)
    if before != after:
        if isinstance(before, int) and isinstance(after, int):
            raise RuntimeError(f"shape {list(asked)} is invalid for input of size {before}")
        sizes.equal(sizes.size(before), sizes.size(after), f"{what}: the numbers of elements")
    return out


def _reshape(sizes: Sizes, x: torch.Tensor, shape: Sequence[Any]) -> Any:
    if not isinstance(shape, list | tuple):
        return NotImplemented  # view(dtype)
    return _viewed(sizes, x, _filled(sizes, x.shape, shape, "view"))


def _reshape_as(sizes: Sizes, x: torch.Tensor, other: torch.Tensor) -> Any:
    return _reshape(sizes, x, tuple(other.shape))


def _flatten(sizes: Sizes, x: torch.Tensor, start: int = 0, end: int = -1) -> Any:
    rank = max(x.dim(), 1)
    if not isinstance(start, int) or not -rank <= start < rank or not -rank <= end < rank or x.dim() == 0:
        return NotImplemented
    a, b = start % rank, end % rank
    middle = sizes.size(_product(x.shape[a : b + 1]))
    return _viewed(sizes, x, [*x.shape[:a], middle, *x.shape[b + 1 :]])


def _unflatten(sizes: Sizes, x: torch.Tensor, dim: int, shape: Sequence[Any]) -> Any:
    if not isinstance(dim, int) or not -x.dim() <= dim < x.dim():
        return NotImplemented
    axis = dim % x.dim()
    middle = _filled(sizes, [x.shape[axis]], shape, "unflatten")
    return _viewed(sizes, x, [*x.shape[:axis], *middle, *x.shape[axis + 1 :]])


def _contiguous(sizes: Sizes, x: torch.Tensor, **_: Any) -> Any:
    return _made(sizes, x.shape, x)


def _expand(sizes: Sizes, x: torch.Tensor, shape: Sequence[Any], **_: Any) -> Any:
    lead = len(shape) - x.dim()
    if lead < 0:
        return NotImplemented
    out: list[Any] = []
    strides: list[Any] = []
    for i, asked in enumerate(shape):
        own = x.shape[i - lead] if i >= lead else 1
        stride = x.stride(i - lead) if i >= lead else 0
        if isinstance(asked, int) and asked == -1:
            if i < lead:
                raise RuntimeError("expand: -1 for an axis that is new")
            asked = own
        if isinstance(own, int) and own == 1:
            out.append(asked)
            strides.append(stride if isinstance(asked, int) and asked == 1 else 0)
            continue
        if isinstance(own, int) and isinstance(asked, int) and own != asked:
            raise RuntimeError(f"expand: {list(x.shape)} does not expand to {list(shape)}")
        sizes.equal(own, asked, "expand")
        out.append(own)
        strides.append(stride)
    return _made(sizes, out, x, strides)


def _expand_as(sizes: Sizes, x: torch.Tensor, other: torch.Tensor) -> Any:
    return _expand(sizes, x, tuple(other.shape))


def _unsqueeze(sizes: Sizes, x: torch.Tensor, dim: int) -> Any:
    rank = x.dim() + 1
    if not isinstance(dim, int) or not -rank <= dim < rank:
        return NotImplemented
    axis = dim % rank
    shape, strides = list(x.shape), list(x.stride())
    stride = shape[axis] * strides[axis] if axis < len(shape) else 1
    return _made(sizes, [*shape[:axis], 1, *shape[axis:]], x, [*strides[:axis], stride, *strides[axis:]])


# Slices of sizes that are numbers, and whole ones: of others torch tells what it takes for granted.
def _slice(sizes: Sizes, x: torch.Tensor, dim: int = 0, start: Any = None, end: Any = None, step: Any = 1) -> Any:
    if x.dim() == 0 or type(step) is not int or step < 1:
        return NotImplemented
    axis = dim % x.dim()
    shape, strides = list(x.shape), list(x.stride())
    own = shape[axis]
    if type(own) is int and all(one is None or type(one) is int for one in (start, end)):
        shape[axis] = len(range(*slice(start, end, step).indices(own)))
    elif start not in (None, 0) or step != 1 or not (end is None or _is_end(end) or expr_of(end) == expr_of(own)):
        return NotImplemented
    strides[axis] = strides[axis] * step
    return _made(sizes, shape, x, strides)


def _is_end(place: Any) -> bool:
    return type(place) is int and place >= sys.maxsize


def _select(sizes: Sizes, x: torch.Tensor, dim: int, index: Any) -> Any:
    shape, strides = list(x.shape), list(x.stride())
    axis = dim % max(x.dim(), 1)
    if x.dim() == 0 or type(index) is not int:
        return NotImplemented
    own = expr_of(shape[axis])
    least = own - index - 1 if index >= 0 else own + index
    inside = least >= 0 if isinstance(least, int) else sizes.decide(Answer(sizes, least, f"{index} in {own}"))
    if not inside:
        raise IndexError(f"select(): index {index} out of range for a dimension of size {own}")
    del shape[axis], strides[axis]
    return _made(sizes, shape, x, strides)


def _permute(sizes: Sizes, x: torch.Tensor, axes: Sequence[int]) -> Any:
    if sorted(axis % max(x.dim(), 1) for axis in axes) != list(range(x.dim())):
        return NotImplemented
    return _made(sizes, [x.shape[axis] for axis in axes], x, [x.stride(axis) for axis in axes])


def _unbind(sizes: Sizes, x: torch.Tensor, dim: int = 0) -> Any:
    if x.dim() == 0 or type(x.shape[dim]) is not int:
        return NotImplemented
    return tuple(_select(sizes, x, dim, i) for i in range(x.shape[dim]))


def _split_with_sizes(sizes: Sizes, x: torch.Tensor, parts: Sequence[Any], dim: int = 0) -> Any:
    axis = dim % max(x.dim(), 1)
    if x.dim() == 0 or type(x.shape[axis]) is not int or any(type(one) is not int or one < 0 for one in parts):
        return NotImplemented
    if sum(parts) != x.shape[axis]:
        raise RuntimeError(f"split: the parts {list(parts)} are not the {x.shape[axis]} that there are")
    return [_made(sizes, [*x.shape[:axis], one, *x.shape[axis + 1 :]], x, x.stride()) for one in parts]


# Torch asks nothing of sizes for these.
def _by_torch(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda sizes, *args, **kwargs: method(*args, **kwargs)


# What is made new. ----------------------------------------------------------------------------------------------------


def _alike(sizes: Sizes, x: torch.Tensor, dtype: torch.dtype) -> Any:
    """Return a tensor like one whose elements lie side by side, in whatever order; of another one torch tells."""
    shape, strides = _laid(x)
    if strides != _steps(shape):
        order = sorted(range(len(shape)), key=lambda axis: -sizes.hint(strides[axis], sizes.usual))
        if [strides[axis] for axis in order] != _steps([shape[axis] for axis in order]):
            return NotImplemented
    return of_symbols(x.shape, x.stride(), dtype, x.is_inference())


def _like(sizes: Sizes, x: torch.Tensor, *_: Any, dtype: Any = None, memory_format: Any = None, **__: Any) -> Any:
    if memory_format not in (None, torch.preserve_format):
        return NotImplemented
    return _alike(sizes, x, dtype or x.dtype)


def _to(sizes: Sizes, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    given = [*args, *kwargs.values()]
    if any(one is True or isinstance(one, torch.memory_format) for one in given):
        return NotImplemented
    dtype = next((one for one in given if isinstance(one, torch.dtype)), None)
    if dtype is None:
        dtype = next((one.dtype for one in given if isinstance(one, torch.Tensor)), x.dtype)
    return x if dtype == x.dtype else _alike(sizes, x, dtype)


def _filled_with(sizes: Sizes, shape: Sequence[Any], value: Any = 0.0, *_: Any, dtype: Any = None, **__: Any) -> Any:
    if dtype is None and isinstance(value, complex):
        return NotImplemented
    if dtype is None:
        dtype = (
            torch.bool if value is True or value is False
            else torch.get_default_dtype() if isinstance(value, float | torch.SymFloat)
            else torch.int64
        )  # fmt: skip
    return of_symbols(shape, _in_rows(sizes, shape), dtype, torch.is_inference_mode_enabled())


def _filled_like(sizes: Sizes, x: torch.Tensor, shape: Sequence[Any], *_: Any, dtype: Any = None, **__: Any) -> Any:
    return of_symbols(shape, _in_rows(sizes, shape), dtype or x.dtype, torch.is_inference_mode_enabled())


# Sizes that are worked out. -------------------------------------------------------------------------------------------


def _upsample(sizes: Sizes, x: torch.Tensor, size: Sequence[Any] | None, *rest: Any, **named: Any) -> Any:
    axes = x.dim() - 2
    if size is None:
        factors = named.get("scale_factors", rest[-1] if rest else None)
        if not isinstance(factors, list | tuple) or len(factors) != axes:
            return NotImplemented
        size = [torch.sym_int(own * float(factor)) for own, factor in zip(x.shape[2:], factors, strict=True)]
    if len(size) != axes:
        return NotImplemented
    return _made(sizes, [*x.shape[:2], *size], x)


_UPSAMPLES = ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
              "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d",
              "upsample_trilinear3d", "upsample_bicubic2d")  # fmt: skip


def _split(sizes: Sizes, x: torch.Tensor, size: Any, dim: int = 0) -> Any:
    if isinstance(size, list | tuple) or x.dim() == 0:
        return NotImplemented
    axis = dim % x.dim()
    own, part = expr_of(x.shape[axis]), expr_of(size)
    if isinstance(own, int) and isinstance(part, int):
        return NotImplemented
    rounded_up = -sizes.divide(-own, part)
    count = sizes.hint(rounded_up)
    if count < 1:
        return NotImplemented
    if rounded_up != count:
        sizes.equal(sizes.size(rounded_up), count, "split: how many parts there are")
    parts = [part] * (count - 1) + [own - part * (count - 1)]
    return [_made(sizes, [*x.shape[:axis], sizes.size(one), *x.shape[axis + 1 :]], x, x.stride()) for one in parts]


def _chunk(sizes: Sizes, x: torch.Tensor, chunks: Any, dim: int = 0) -> Any:
    if not isinstance(chunks, int) or x.dim() == 0:
        return NotImplemented
    own = expr_of(x.shape[dim])
    if isinstance(own, int) or sizes.hint(own) == 0:
        return NotImplemented
    return _split(sizes, x, sizes.size(-sizes.divide(-own, chunks)), dim)


def _hsplit(sizes: Sizes, x: torch.Tensor, sections: Any) -> Any:
    return _chunk(sizes, x, sections, 0 if x.dim() == 1 else 1)  # they divide the axis


_BY_NAME: dict[str, Callable[..., Any]] = {
    "view": _reshape,
    "reshape": _reshape,
    "_unsafe_view": _reshape,
    "_reshape_alias": lambda sizes, x, shape, strides: _reshape(sizes, x, shape),
    "view_as": _reshape_as,
    "reshape_as": _reshape_as,
    "flatten": _flatten,
    "ravel": _flatten,
    "unflatten": _unflatten,
    "contiguous": _contiguous,
    "expand": _expand,
    "expand_as": _expand_as,
    "unsqueeze": _unsqueeze,
    "slice": _slice,
    "select": _select,
    "unbind": _unbind,
    "split_with_sizes": _split_with_sizes,
    "transpose": _by_torch(torch.Tensor.transpose),
    "permute": _permute,
    "t": _by_torch(torch.Tensor.t),
    "detach": _by_torch(torch.Tensor.detach),
    "to": _to,
    "type_as": _to,
    "_to_copy": _like,
    "clone": _like,
    "split": _split,
    "chunk": _chunk,
    "hsplit": _hsplit,
}
VIEWS = (
    _BY_NAME
    | dict.fromkeys(_UPSAMPLES, _upsample)
    | dict.fromkeys(("zeros_like", "ones_like", "full_like", "empty_like"), _like)
    | dict.fromkeys(("zeros", "ones", "empty"), lambda sizes, shape, *_, **named: _filled_with(sizes, shape, **named))
    | {"full": _filled_with}
    | dict.fromkeys(("new_zeros", "new_ones", "new_full", "new_empty"), _filled_like)
)
