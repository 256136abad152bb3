# Runs a torch program over tensors whose sizes are symbols.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The recorder for programs over tensors of symbolic sizes.

Shape rules of the core work on expressions as they are. What has no such rule is run by torch on tensors without
storage whose sizes are `torch.SymInt`; what torch decides on the way is looked at afterwards: see `Sizes.settle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from macsim._core import Expr
from macsim.errors import MacsimError, TraceError
from macsim.sources.torch_data_sizes import is_by_data, results_by_data, with_positions
from macsim.sources.torch_ops import Operator, is_placed_by_name
from macsim.sources.torch_symbol_nodes import Real
from macsim.sources.torch_symbols import NeedsNumberError, Sizes, expr_of, is_symbolic
from macsim.sources.torch_trace import _LOOKS, LOOKS, Recorder, _gather, mapped
from macsim.sources.torch_values import META
from macsim.sources.torch_views import VIEWS, copies, hides_ones

if TYPE_CHECKING:
    from macsim import _core

__all__ = ["SymbolicRecorder"]

# Operators whose work does not depend on the sizes among their arguments, but on the shapes of their results.
_BY_RESULT = frozenset({
    "_fft_c2r", "_pad_circular", "_reshape_alias", "_unsafe_view", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "arange", "as_strided", "broadcast_to", "chunk",
    "constant_pad_nd", "diagonal", "empty", "empty_like", "empty_strided", "expand", "eye", "fill", "full",
    "full_like", "kthvalue", "linspace", "masked_fill", "multinomial", "narrow", "new_empty", "new_empty_strided",
    "new_full", "new_ones", "new_tensor", "new_zeros", "ones", "ones_like", "pad", "rand", "randint", "randn",
    "randperm", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "repeat", "repeat_interleave",
    "replication_pad1d", "replication_pad2d", "replication_pad3d", "reshape", "resize", "roll", "scalar_tensor",
    "select", "select_scatter", "slice", "slice_scatter", "split", "split_with_sizes", "tensor_split", "tile",
    "topk", "tril", "triu", "unflatten", "unfold", "unsafe_split", "upsample_bicubic2d", "upsample_bilinear2d",
    "upsample_linear1d", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_trilinear3d",
    "view", "zero", "zeros", "zeros_like"
})  # fmt: skip
# Operators with a number for an argument, whose value does not matter.
_BY_KIND = frozenset({
    "add", "clamp", "clamp_max", "clamp_min", "clip", "div", "eq", "floor_divide", "fmod", "ge", "gt", "le", "lt",
    "maximum", "minimum", "mul", "ne", "remainder", "rsub", "sub", "true_divide", "where"
})  # fmt: skip
# Tensors of theirs meet element by element.
_POINTWISE = _BY_KIND | frozenset({
    "__and__", "__or__", "__xor__", "addcdiv", "addcmul", "atan2", "bitwise_and", "bitwise_or", "bitwise_xor", "copy",
    "copysign", "floor_divide", "fmax", "fmin", "hypot", "lerp", "logaddexp", "logical_and", "logical_or",
    "logical_xor", "masked_fill", "pow"
})  # fmt: skip
# Arguments that are told apart by their values.
_PLAIN = (
    int, float, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format, torch._ops.OpOverload
)  # fmt: skip
_SPARED = "of sizes of 1 nothing has to be moved"
_FACTORS = frozenset({"matmul", "mm", "bmm", "mv", "linear"})


class SymbolicRecorder(Recorder):
    """Records calls whose tensors may have symbols for sizes."""

    def __init__(self, tape: _core.Tape, paths: dict[Any, str], sizes: Sizes) -> None:
        super().__init__(tape, paths)
        self.sizes = sizes
        sizes.calls = self.calls
        self._kinds: dict[Any, int] = {}  # shape, strides and dtype: a number for each
        self._kind: dict[int, int] = {}  # of tensors that the tape keeps alive, by identity
        self._told: dict[Any, Any] = {}  # what torch gave for a call; layers repeat

    def size(self, given: Any, name: str) -> Any:
        """Return the size that a name or an expression in the shape of an input stands for."""
        made = self.sizes.of(given, name)
        self.named.update(Expr(given).symbols)
        return made

    def _otherwise(self, func: Any, args: tuple[Any, ...], kwargs: Any, out: Any) -> Any:
        """Record a call that the core does not take: one of a new operator, of symbols, or of a new kind of view."""
        operator = self._operators.get(id(func)) or self._operator(func)
        name = func._schema.name.partition("::")[2]
        shown = (args, kwargs or {})
        taken = operator.fast
        if _any_symbolic(args) or (kwargs and _any_symbolic(kwargs.values())):
            shown, plain = self._shown(func, name, operator, args, kwargs or {})
            taken = plain and (taken or operator.way == "makes")
        self._check(name, args)
        if taken:
            out = self._call(operator.plan, shown[0], shown[1], self.scope, True, operator.turned)
            if out is not None and out is not NotImplemented:
                return out
        return self._slow(func, operator, args, kwargs or {}, shown)

    def _compare(self, func: Any, args: tuple[Any, ...]) -> None:
        """Look at the sizes of a call that the core took: it is the first of its kind."""
        self._check(func._schema.name.partition("::")[2], args)

    def make(self, func: Any, given: dict[str, Any]) -> Any:
        """Record a call, its arguments by name, whose row takes symbols."""
        out = self._call(self._operator(func).plan, (), given, self.scope, False)
        if out is None:
            raise TraceError(f"{func._schema.name}: nobody knows the shape of its results", self._path)
        return out

    # What the core is told of the arguments, numbers in the place of symbols where they do not matter; and whether its
    # row takes them so.
    def _shown(
        self, func: Any, name: str, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[tuple[Any, ...], dict[str, Any]], bool]:
        if not operator.known:
            return (args, kwargs), False
        if name.removesuffix("_") in _BY_KIND:
            if is_symbolic(kwargs.get("alpha")) and kwargs["alpha"] == 1:  # noted: by 1 nothing is multiplied
                kwargs = {**kwargs, "alpha": 1}
            plain = tuple(one.node.hint if is_symbolic(one) else one for one in args)
            return (plain, {key: one.node.hint if is_symbolic(one) else one for key, one in kwargs.items()}), True
        for parameter, value in [*zip(func._schema.arguments, args, strict=False), *_by_name(func, kwargs)]:
            if parameter.name not in operator.hosts and _any_symbolic((value,)):
                if name.removesuffix("_") in _BY_RESULT:
                    return (args, kwargs), False
                raise TraceError(
                    f"{func._schema.name}: its {parameter.name!r} is a size that is a symbol ({value!r}), which its "
                    "rule does not take; give a number for it in the shapes",
                    self._path,
                )
        return (args, kwargs), True

    # What must fit, and the core takes on trust.
    def _check(self, name: str, args: tuple[Any, ...]) -> None:
        name = name.removesuffix("_") if not name.endswith("__") else name
        if name in _POINTWISE:
            shapes = [one.shape for one in args if isinstance(one, torch.Tensor)]
            if len(shapes) > 1:
                self._meet(name, shapes)
        elif name in _FACTORS and len(args) > 1:
            a, b = args[0].shape, args[1].shape
            self._same(name, a[-1], b[-1] if name == "linear" or len(b) == 1 else b[-2])
            if len(a) > 2 and len(b) > 2:
                self._meet(name, [a[:-2], b[:-2]])
        elif name in ("cat", "concat") and isinstance(args[0], list | tuple):
            shapes = [one.shape for one in args[0] if isinstance(one, torch.Tensor) and one.shape != (0,)]
            dim = args[1] if len(args) > 1 else 0
            for shape in shapes[1:]:
                for axis, (mine, first) in enumerate(zip(shape, shapes[0], strict=False)):
                    if axis != dim % len(shape):
                        self._same(name, mine, first)

        elif name in ("conv1d", "conv2d", "conv3d"):
            groups = args[6] if len(args) > 6 else 1
            self._same(name, args[0].shape[1 - args[1].dim()], args[1].shape[1] * groups)
        elif name == "einsum":
            self._check_einsum(args[0], args[1])
        elif name.startswith("conv_transpose"):
            self._same(name, args[0].shape[1 - args[1].dim()], args[1].shape[0])
        elif name in ("layer_norm", "rms_norm"):
            for mine, stated in zip(reversed(args[0].shape), reversed(args[1]), strict=False):
                self._same(name, mine, stated)
        elif name == "batch_norm" and args[3] is not None:
            self._same(name, args[0].shape[1], args[3].shape[0])
        elif name == "scaled_dot_product_attention":
            q, k, v = args[0].shape, args[1].shape, args[2].shape
            self._same(name, q[-1], k[-1])
            self._same(name, k[-2], v[-2])
            if len(args) > 3 and args[3] is not None:
                self._meet(name, [(*q[:-1], k[-2]), args[3].shape])

    def _check_einsum(self, equation: str, operands: Iterable[torch.Tensor]) -> None:
        sizes: dict[str, Any] = {}
        terms = equation.replace(" ", "").partition("->")[0].split(",")
        for term, operand in zip(terms, operands, strict=False):
            before, _, after = term.partition("...")
            axes = [*enumerate(before), *((i - len(after), letter) for i, letter in enumerate(after))]
            for axis, letter in axes:
                size = operand.shape[axis]
                if not (isinstance(size, int) and size == 1):
                    self._same("einsum", sizes.setdefault(letter, size), size)

    def _meet(self, name: str, shapes: list[Any]) -> None:
        for axis in range(1, max(len(shape) for shape in shapes) + 1):
            first: Any = 1
            for shape in shapes:
                size = shape[-axis] if axis <= len(shape) else 1
                if isinstance(size, int) and size == 1:
                    continue
                if isinstance(first, int) and first == 1:
                    first = size
                else:
                    self._same(name, first, size)

    def _same(self, name: str, a: Any, b: Any) -> None:
        if a is b or (isinstance(a, int) and isinstance(b, int)):
            return
        self.sizes.equal(a, b, name)

    def _slow(
        self, func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], shown: Any = None
    ) -> Any:
        if operator.reshapes:
            self._kind.pop(id(args[0]), None)
        if func._schema.name.partition("::")[2] in _LOOKS:
            return self._look(func, args, kwargs)
        tensors: list[torch.Tensor] = []
        _gather(args, tensors)
        _gather(kwargs.values(), tensors)
        symbolic = shown is not None and _any_symbolic((*args, *kwargs.values()))
        if not symbolic and not any(_any_symbolic(one.shape) for one in tensors):
            return super()._slow(func, operator, args, kwargs)
        if shown is None:
            shown = (args, kwargs)
        if operator.writes is not None and not operator.reshapes:
            out = kwargs[operator.writes] if isinstance(operator.writes, str) else args[operator.writes or 0]
            for one in out if isinstance(out, list | tuple) else [out]:
                self._forget(one)
            self.tape.record(operator.plan, shown[0], shown[1], self.scope, out)
            return out
        if not operator.known and not operator.native:
            bare = mapped(self._same_on_meta, (args, kwargs))
            out = self._expanded(func, operator, *bare)
            if out is not NotImplemented:
                return out
        out = self._on_meta(func, args, kwargs)
        plan = operator.plan
        times: Any = 1
        trust = "exact"
        if operator.copies:
            times = copies(self.sizes, args[0], out.shape)
            if times == 0:
                times = 1  # a view
            else:
                operator, shown = self._copying(args[0])
                trust = "bound" if hides_ones(args[0]) else "exact"
        elif func._schema.name == "aten::contiguous":
            times = copies(self.sizes, args[0])
        asked, copied = args[0] if args else None, operator.plan is not plan
        special = times != 1 or trust != "exact"
        if special:
            self.tape.within(times, trust, _SPARED)
        self.tape.record(operator.plan, shown[0], shown[1], self.scope, out)
        if special:
            self.tape.within(1, "exact", "")
        if operator.view or copied:
            self._short.note_view(asked, out, copied, times, trust == "bound", _SPARED if special else "")
        return out

    # Shapes by torch itself, over symbols.
    def _on_meta(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = func._schema.name.partition("::")[2]
        if is_by_data(name, args, kwargs):
            return results_by_data(func, args, kwargs, self._counted(func), self._gathered)
        tensors = _gather([*args, *kwargs.values()], [])
        if not _any_symbolic((*args, *kwargs.values())) and not any(_any_symbolic(one.shape) for one in tensors):
            return super()._on_meta(func, args, kwargs)
        view = VIEWS.get(name)
        if view is not None:
            out = view(self.sizes, *mapped(self._bare, args), **mapped(self._bare, kwargs))
            if out is not NotImplemented:
                return out
        key = None if func._schema.is_mutable else self._key((func, args, kwargs))
        told = self._told.get(key) if key is not None else None
        if told is not None:
            return told.detach() if isinstance(told, torch.Tensor) else mapped(_view_of, told)
        out = self._on_symbols(func, args, kwargs)
        if key is not None and not any(one is other for one in _gather([out], []) for other in tensors):
            self._told[key] = out
        return out

    # A new symbol for it; of a float nothing is said.
    def _number(self, tensor: torch.Tensor) -> Any:
        if tensor.is_floating_point():
            return torch.SymFloat(Real(self.sizes, None))
        if tensor.is_complex():
            raise TraceError(LOOKS, self._path)
        name = f"{self._path}.item" if self._path else "item"
        return self.sizes.told(f"{name}.value", f"the number that {name} gives")

    # A new symbol for as many elements as the data says.
    def _counted(self, func: Any) -> Callable[[Any], Any]:
        def count(most: Any) -> Any:
            called = func._schema.name.partition("::")[2].strip("_")
            name = f"{self._path}.{called}" if self._path else called
            if most is None:
                return self.sizes.told(f"{name}.length", f"how many elements {name} makes")
            return self.sizes.counted(f"{name}.nonzeros", most, f"how many elements {name} finds")

        return count

    def _gathered(self, x: torch.Tensor, positions: list[Any]) -> Any:
        return self._on_meta(torch.ops.aten.index.Tensor, (x, positions), {})

    # What tells one call from another, as far as shapes go; None: it may be any call.
    def _key(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            kind = self._kind.get(id(value))
            return self._kind_of(value) if kind is None else kind
        if type(value) in _PLAIN:
            return (type(value), value)
        if isinstance(value, _NESTS):
            keys = [self._key(one) for one in value]
            return None if None in keys else tuple(keys)
        if isinstance(value, dict):
            return self._key([*value, *value.values()])
        if isinstance(value, torch.SymInt):
            return expr_of(value)
        return (type(value), value) if isinstance(value, _PLAIN) else None

    def _kind_of(self, tensor: torch.Tensor) -> int | None:
        looked_into = not tensor.is_meta and not tensor.is_floating_point()
        if looked_into or tensor.is_complex() or tensor.layout != torch.strided:
            return None
        shape, strides = (tuple(map(expr_of, many)) for many in (tensor.shape, tensor.stride()))
        kind = self._kinds.setdefault((shape, strides, tensor.dtype), len(self._kinds))
        if self.tape.knows(tensor):
            self._kind[id(tensor)] = kind
        return kind

    def _on_symbols(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = mapped(
            self._bare, (with_positions(args) if func._schema.name == "aten::index" else args, kwargs)
        )
        if is_placed_by_name(func) and (kwargs.get("device") is not None or not _gather(args, [])):
            kwargs = {**kwargs, "device": META}
        with self.sizes.waiting() as decisions:
            try:
                out = _run(self.sizes, func, args, kwargs)
            except NeedsNumberError as error:
                raise TraceError(f"{func._schema.name}: {error.text}", self._path) from error
            except MacsimError:
                raise
            except (NotImplementedError, RuntimeError, TypeError, AttributeError) as error:
                raise TraceError(
                    f"{func._schema.name}: torch cannot tell the shape of its results from sizes that are symbols, or "
                    f"they do not fit ({str(error)[:200]})",
                    self._path,
                ) from error

        def alike(sizes: Mapping[str, int]) -> bool:
            return self._alike(func, args, kwargs, out, sizes)

        self.sizes.settle(decisions, alike)
        return out

    def _bare(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor) and not value.is_meta and not value.is_inference():
            with torch.inference_mode(False):  # views of it are to be what views of the tensor are
                return super()._bare(value)
        return super()._bare(value)

    # Whether the results have the shapes that they are said to have, for some sizes.
    def _alike(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, sizes: Mapping[str, int]
    ) -> bool:
        def at(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                if not _any_symbolic(value.shape) and not _any_symbolic(value.stride()):
                    return value
                shape, strides = ([number(one) for one in many] for many in (value.shape, value.stride()))
                return torch.empty_strided(shape, strides, dtype=value.dtype, device=META)
            return number(value)

        def number(value: Any) -> Any:
            return self.sizes.hint(expr_of(value), sizes) if isinstance(value, torch.SymInt) else value

        try:
            real_args, real_kwargs = mapped(at, (args, kwargs))
            found = _gather([func(*real_args, **real_kwargs)], [])
            stated = [[number(size) for size in one.shape] for one in _gather([out], [])]
        except Exception:  # it does not run for these sizes
            return False
        return [list(one.shape) for one in found] == stated


def _view_of(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


def _run(sizes: Sizes, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    lenient, sizes.lenient = sizes.lenient, False
    try:
        return func(*args, **kwargs)
    except (NeedsNumberError, NotImplementedError, RuntimeError, SystemError):  # 2.6 loses what was raised inside
        from torch._dispatch.python import enable_python_dispatcher

        sizes.lenient = lenient
        with enable_python_dispatcher():  # torch's shape rules in Python
            return func(*args, **kwargs)
    finally:
        sizes.lenient = lenient


def _any_symbolic(values: Iterable[Any]) -> bool:
    for value in values:
        kind = type(value)
        if kind in _SIMPLE:
            continue
        if is_symbolic(value):
            return True
        if isinstance(value, _NESTS) and kind is not torch.Size and _any_symbolic(value):
            return True
    return False


_SIMPLE = frozenset({torch.Tensor, torch.nn.Parameter, int, float, bool, str, type(None), torch.dtype, torch.device})
_NESTS = (list, tuple)


def _by_name(func: Any, kwargs: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [(one, kwargs[one.name]) for one in func._schema.arguments if one.name in kwargs]
