# Runs a torch program over tensors without storage and hands every ATen call to the core.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Runs torch programs over tensors without storage, and records every operator that they call.

In inference mode composite operators reach a dispatch mode whole: `linear` and `scaled_dot_product_attention` arrive
as such, whatever the device, the training flag or the attention backend.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from macsim import _core
from macsim._core import Expr
from macsim.errors import TraceError
from macsim.sources.torch_ops import (
    Operator,
    is_factory,
    is_placed,
    is_placed_by_name,
    only_asks,
    operator_of,
)
from macsim.sources.torch_values import (
    DTYPES,
    META,
    SCALES,
    NestedError,
    nonzeros,
    of_symbols,
    scale_of,
    without_storage,
)

if TYPE_CHECKING:
    from macsim.sources.torch_training import Follower

__all__ = ["LOOKS", "DataSizeError", "Recorder", "is_named_shape", "mapped", "small", "torch_facts"]

CPU = torch.device("cpu")
_CLONE = torch.ops.aten.clone.default
MOST_VALUES = 65536  # elements of a tensor whose contents are followed
# Lengths of packed sequences stay where they are: torch reads them on the way to a shape.
_READS = frozenset({"_pack_padded_sequence", "_pad_packed_sequence", "lstm", "gru", "rnn_tanh", "rnn_relu"})
# Attention over sequences one after the other: where they begin is told by what is in a tensor.
_BEGINS = frozenset({"_flash_attention_forward", "_flash_attention_forward_no_dropout_inplace", "_varlen_attn",
                     "_flash_attention_backward", "_efficient_attention_forward", "_efficient_attention_backward",
                     "_varlen_attn_out", "_varlen_attn_backward"})  # fmt: skip
# Tensors that are made sparse, and which argument has the elements that they store.
_MAKES_SPARSE = {"sparse_coo_tensor": 1, "_sparse_coo_tensor_with_dims_and_tensors": 4, "sparse_compressed_tensor": 2}
_LOOKS = frozenset({"item", "_local_scalar_dense", "is_nonzero", "equal", "allclose"})
# Whether nn.TransformerEncoder may cut the padding off in evaluation: counts are those of training, which does not.
_MAY_CUT = "_nested_tensor_from_mask_left_aligned"


def _make(sizes: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty_strided(sizes, strides, dtype=dtype, device=META)


def _make_symbolic(sizes: tuple[Any, ...], strides: tuple[Any, ...], dtype: torch.dtype) -> torch.Tensor:
    if all(type(one) is int for one in sizes):
        return _make(sizes, strides, dtype)
    return of_symbols(sizes, strides, dtype, torch.is_inference_mode_enabled())


LOOKS = (
    "the program looks at the contents of a tensor that is not known, to decide what to do next; contents are followed "
    "from tensors of integers and booleans that are given, not from shapes, nor through floats: give such an input as "
    "a tensor, take the decision out of the program, or write it with torch.cond and give "
    "torch.export.export(module, inputs)"
)


class DataSizeError(TraceError):
    """A size depends on data, and the sizes of the run are numbers."""


# What few calls need is imported when there is one: unpacking, recipes, sizes by data, checks of contents.


class Recorder(TorchDispatchMode):
    """Records calls on a tape. Tensors are torch's own, on the meta device; small known ones keep their contents."""

    def __init__(self, tape: _core.Tape, paths: dict[Any, str]) -> None:
        super().__init__()
        self.tape = tape
        self.calls = _core.ModuleCalls(tape, paths)
        self._operators: dict[int, Operator] = {}  # by identity: to hash one is work
        self._twins: dict[int, torch.Tensor] = {}  # of tensors with storage, by identity
        self._packed: dict[tuple[int, ...], tuple[Any, list[Any]]] = {}  # weights, by the identity of what packs them
        self._known: dict[int, torch.Tensor] = {}  # those whose contents may be looked at, by identity
        self._copies: dict[int, torch.Tensor | None] = {}  # of the user's among them, made when they are first used
        self._call = tape.call
        self._record = tape.record
        self._short = _core.Dispatcher(tape, self.calls, self._known, self._copies, CPU)
        self._dispatch = self._short.dispatch
        self._expanding: list[Any] = []
        self.named: set[str] = set()  # symbols in the shapes of inputs

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled while a count is under way; keeping the compiler out would cost more than a call."""
        return False

    @property
    def scope(self) -> int:
        """The number of the scope of the module that the program is in."""
        return self.calls.scope

    @property
    def _path(self) -> str:
        return self.calls.path

    def follow(self, follower: Follower) -> None:
        """Let a follower look before each call: the program is to be trained."""
        self._short.follower = follower

    def size(self, given: Any, name: str) -> Any:
        """Return the size that a name or an expression in the shape of an input stands for."""
        raise TraceError(f"the shape of {name!r} has a symbol, {given!r}, where there are none")

    def run_under(self, stack: ExitStack) -> None:
        """Enter what has to be on while the program runs, before the recorder itself."""

    def inside(self, result: Any) -> Any:
        """Return the tensor that a result is, or that it is made of."""
        return result

    def nested(self, name: str, given: torch.Tensor) -> torch.Tensor:
        """Return what stands for an input of sequences with lengths of their own."""
        raise NestedError(given.layout is torch.jagged, name)

    # Calls ------------------------------------------------------------------------------------------------------------

    __torch_dispatch__ = _core.torch_dispatch  # what it does not take comes to _otherwise

    def _otherwise(self, func: Any, args: tuple[Any, ...], kwargs: Any, out: Any) -> Any:
        """Record a call that is not taken as it stands: ``out`` is what the core said of it."""
        operator = self._operators.get(id(func))
        if operator is None:
            operator = self._operator(func)
            out = self._dispatch(func, args, kwargs)
        if out is NotImplemented:
            out = self._at_hand(func, operator, args, kwargs or {})
        elif out is None and operator.view and id(args[0]) in self._known:
            out = func(self._held(args[0]), *args[1:], **(kwargs or {}))
            self._viewed(operator, args, kwargs, out)
            self._know_all(out)
            return out
        if out is None or out is NotImplemented:
            return self._slow(func, operator, args, kwargs or {})
        return out

    def _operator(self, func: Any) -> Operator:
        """Say how calls of an operator are read, and have the core take those that need nothing else."""
        operator = self._operators.get(id(func))
        if operator is None:
            operator = self._operators[id(func)] = operator_of(func, self.tape)
            if operator.way:
                copying = self._operator(_CLONE).plan if operator.copies else None
                runs = operator.way == "makes" or (operator.way == "call" and operator.runs)
                self._short.add(func, operator.plan, operator.way, operator.method, copying, MOST_VALUES if runs else 0)
        return operator

    def _viewed(self, operator: Operator, args: tuple[Any, ...], kwargs: Any, out: Any) -> None:
        """Record a view, or the copy that torch makes where strides do not allow one."""
        if operator.copies and self._held(args[0]).untyped_storage()._cdata != out.untyped_storage()._cdata:
            operator, (args, kwargs) = self._copying(args[0])
        self._record(operator.plan, args, kwargs, self.scope, out)

    def _copying(self, tensor: torch.Tensor) -> tuple[Operator, tuple[tuple[Any, ...], dict[str, Any]]]:
        return self._operator(_CLONE), ((tensor,), {})

    def know(self, tensor: torch.Tensor, ours: bool = True) -> None:
        """Follow the contents of a tensor; one of the user's is never written to: the program has a copy."""
        self._known[id(tensor)] = tensor
        if not ours:
            self._copies[id(tensor)] = None
        self.tape.know(tensor, True)

    def _know_all(self, results: Any) -> None:
        if isinstance(results, torch.Tensor):
            self.know(results)
        else:
            for one in _gather(results, []):
                self.know(one)

    def _held(self, value: Any) -> Any:
        """Return the tensor that has the contents of a known one; other things as they are."""
        if id(value) not in self._copies:
            return value
        held = self._copies[id(value)]
        if held is None:
            with torch.inference_mode(False):  # of views of it torch asks what it asks of views of the user's
                held = self._copies[id(value)] = value.detach().clone()
        return held

    def _forget(self, tensor: torch.Tensor) -> None:
        """Follow the contents of a tensor no more, and of those that share them."""
        if id(tensor) not in self._known:
            return
        shared = self._held(tensor).untyped_storage().data_ptr()
        for one in list(self._known.values()):
            if one is tensor or self._held(one).untyped_storage().data_ptr() == shared:
                del self._known[id(one)]
                self._copies.pop(id(one), None)
                self.tape.know(one, False)

    def _slow(self, func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = func._schema.name.partition("::")[2]
        if name in _LOOKS:
            return self._look(func, args, kwargs)
        if name == _MAY_CUT:
            return False
        if name in SCALES:
            return scale_of(func, args[0], self._twins, self._path)
        if operator.packed and operator.infers:
            args, kwargs = self._unpacked(name, operator, args, kwargs)
            out = self._call(operator.plan, args, kwargs, self.scope, False)
            if out is None:
                raise TraceError(f"{func._schema.name}: nobody knows the shape of its results", self._path)
            return out
        tensors: list[torch.Tensor] = []
        _gather(args, tensors)
        _gather(kwargs.values(), tensors)
        for one in tensors:  # small tables that the program made or keeps
            if not one.is_meta and id(one) not in self._known and not self.tape.knows(one) and small(one):
                self.know(one, ours=False)
        if name == "lift_fresh" and not args[0].is_meta and args[0].numel() <= MOST_VALUES:
            self.know(args[0])  # written in the program as numbers
        if not operator.random and all(id(one) in self._known for one in tensors):
            if tensors and not operator.known and not operator.native and operator.writes is None:
                out = self._expanded(func, operator, args, kwargs)
                if out is not NotImplemented:
                    return out
            out = self._followed(func, operator, args, kwargs, bool(tensors))
            if out is not NotImplemented:
                return out
        if operator.fast:
            out = self._call(operator.plan, args, kwargs, self.scope, False, operator.turned)
            if out is not None:
                return out
        if name.startswith("_foreach_") and not operator.known:
            return self._each(func, name.removeprefix("_foreach_"), args, kwargs)
        if operator.writes is not None and not operator.reshapes:
            return self._in_place(func, operator, args, kwargs)
        if not operator.known and not operator.native:
            out = self._expanded(func, operator, args, kwargs)
            if out is not NotImplemented:
                return out
        if not operator.native:
            out = self._on_meta(func, args, kwargs)
        elif all(one.layout is torch.strided for one in tensors):
            out = func(*args, **kwargs)
        else:  # torch makes the result a view of what it is given, which is no inference tensor
            with torch.inference_mode(False):
                out = self._on_meta(func, args, kwargs)
        if not operator.known and only_asks(func):
            return out
        if name in _BEGINS:
            args, kwargs = mapped(self._read, (args, kwargs))
        self._viewed(operator, args, kwargs, out)
        if name in _MAKES_SPARSE:
            values = next((one for one in args[_MAKES_SPARSE[name] :] if isinstance(one, torch.Tensor)), None)
            stored = 0 if values is None else values.numel()
            self.tape.sparse(out, stored if isinstance(stored, int) else None)
        if name in _READS:
            for one in _gather([out], []):
                if not one.is_meta:
                    self.know(one)
        return out

    # Lists of tensors: an operator for each.
    def _each(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        one = getattr(torch.ops.aten, name)
        keywords = dict(kwargs)
        if name.startswith("addc") and len(args) > 3:
            args, keywords = args[:3], {**keywords, "value": args[3]}
        with self:
            results = [
                one(*(_of(value, i) for value in args), **{key: _of(value, i) for key, value in keywords.items()})
                for i in range(len(args[0]))
            ]
        return results if func._schema.returns else None

    # Packed weights: their parts take their place, the same ones at every call.
    def _unpacked(
        self, name: str, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        out: list[Any] = list(args)
        for at, key in reversed(operator.packed):
            given = args[at] if at < len(args) else kwargs[key]
            identity = (at, *map(hash, given)) if isinstance(given, list | tuple) else (hash(given),)
            held = self._packed.get(identity)
            if held is None:
                from macsim.sources.torch_packed import STORED, unpacked

                held = self._packed[identity] = (given, unpacked(name, given))
                prefix = f"{self._path}." if self._path else ""
                for part, parameter in zip(held[1], STORED, strict=False):
                    for one in _gather([part], []):
                        self.tape.stored(one, prefix + parameter, parameter.startswith("weight_"), True)
            out[at : at + 1] = held[1]
        return tuple(out), kwargs

    def _in_place(self, func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        changed = kwargs[operator.writes] if isinstance(operator.writes, str) else args[operator.writes or 0]
        for one in changed if isinstance(changed, list | tuple) else [changed]:
            self._forget(one)
        back = changed if func._schema.returns else None
        if isinstance(operator.writes, str) and isinstance(changed, torch.Tensor) and changed.numel() == 0:
            plain = _without_writing(func)
            if plain is not None:  # torch makes it as large as it has to be
                with self:
                    made = plain(*args, **{name: one for name, one in kwargs.items() if name != operator.writes})
                if changed.is_meta and changed.is_inference():  # made in this run: nobody else's
                    changed.resize_(made.shape)
                self.tape.same(changed, made)
                return back
        if not operator.known:
            plain = _without_writing(func)
            if plain is not None:  # counted by what it computes
                with self:
                    made = plain(*args, **{name: one for name, one in kwargs.items() if name != operator.writes})
                if (
                    self._short.follower is not None
                    and isinstance(made, torch.Tensor)
                    and isinstance(changed, torch.Tensor)
                ):
                    self.tape.same(changed, made)  # gradients go this way
                return back
        self.tape.record(operator.plan, args, kwargs, self.scope, changed)
        return back

    # Shapes by torch itself.
    def _on_meta(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from macsim.sources.torch_data_sizes import is_by_data, with_positions, with_sizes

        name = func._schema.name.partition("::")[2]
        if is_by_data(name, args, kwargs):
            raise DataSizeError(f"{func._schema.name}: the shape of its results depends on data", self._path)
        kwargs = with_sizes(name, args, kwargs)
        bare = self._without_lengths if name in _READS else self._bare
        args, kwargs = mapped(bare, (with_positions(args) if name == "index" else args, kwargs))
        if is_placed_by_name(func) and (kwargs.get("device") is not None or not _gather(args, [])):
            kwargs = {**kwargs, "device": META}
        try:
            return func(*args, **kwargs)
        except NotImplementedError as error:
            raise TraceError(
                f"{func._schema.name}: torch cannot tell the shape of its results without running it: register them "
                f"with torch.library.register_fake, or a row that infers them with macsim.op ({error})",
                self._path,
            ) from error
        except RuntimeError as error:
            said = str(error).lower()
            if ("meta" not in said and "data-dependent" not in said) or "nestedtensorimpl" in said:
                raise
            raise TraceError(
                f"{func._schema.name}: the shape of its results depends on data that is not known ({error})", self._path
            ) from error

    def _read(self, value: Any) -> Any:
        """Return the numbers in a row of known ones, other things as they are."""
        is_row = isinstance(value, torch.Tensor) and id(value) in self._known and value.dim() == 1
        return self._held(value).tolist() if is_row else value

    def _without_lengths(self, value: Any) -> Any:
        lengths = isinstance(value, torch.Tensor) and value.dtype == torch.int64 and not value.is_meta
        return value if lengths else self._bare(value)

    def _bare(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if value.is_meta and type(value) in (torch.Tensor, torch.nn.Parameter):
                return value
            twin = self._twins.get(id(value))
            if twin is None:
                twin = without_storage(value)
                self._twins[id(value)] = twin
                self._twins[id(twin)] = value  # both stay alive
            return twin
        return META if isinstance(value, torch.device) else value

    def _same_on_meta(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.is_meta:
            return value
        twin = self._bare(value)
        self.tape.same(twin, value)
        return twin

    # Contents that follow from known contents.
    def _followed(
        self, func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], takes: bool
    ) -> Any:
        if not takes and not is_factory(func) and func.namespace != "aten":
            return NotImplemented  # of numbers alone aten's results are known
        if not operator.known and not operator.native and operator.writes is None and func._can_decompose():
            return NotImplemented  # what it is made of is followed
        if not takes and self._expanding and kwargs.get("device") == META:
            made = kwargs.get("dtype") or torch.get_default_dtype()
            if made.is_floating_point or "empty" in func._schema.name:
                return NotImplemented  # torch's own operators want what they make to lie where their inputs do
        changed = None
        if operator.writes is not None:
            changed = kwargs.get(operator.writes) if isinstance(operator.writes, str) else args[operator.writes]
            if not isinstance(changed, torch.Tensor) or id(changed) not in self._known:
                return NotImplemented
        elif not operator.native:
            if operator.infers and (takes or is_factory(func)):
                out = self._at_hand(func, operator, args, kwargs, takes)
                if out is not NotImplemented:
                    return out
            if self._too_large(func, args, kwargs):
                return NotImplemented
        plain = _without_writing(func) if changed is not None and not operator.known else None
        if plain is not None:  # counted by what it computes, before it is written
            with self:
                plain(*args, **{name: one for name, one in kwargs.items() if name != operator.writes})
        out = self._on_cpu(func, args, kwargs, takes)
        results = _gather([out], [])
        if any(one.is_meta for one in results):
            return NotImplemented
        if plain is None and (takes or is_factory(func)):  # of numbers alone it is the program's own arithmetic
            self.tape.record(operator.plan, args, kwargs, self.scope, changed if changed is not None else out)
        for one in results:
            self.know(one)
        return changed if changed is not None else out

    def _at_hand(
        self, func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], takes: bool = True
    ) -> Any:
        """Record a call on known contents; return its results with theirs, if they are small."""
        told = self._call(operator.plan, args, kwargs, self.scope, False, operator.turned)
        if told is None:
            return NotImplemented
        shapes = _gather([told], [])
        if operator.random or any(one.numel() > MOST_VALUES for one in shapes):
            return told
        out = self._on_cpu(func, args, kwargs, takes)
        for one, like in zip(_gather([out], []), shapes, strict=True):
            self.tape.same(one, like)
            self.know(one)
        return out

    def _on_cpu(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], takes: bool) -> Any:
        """Call an operator where contents are; ``takes``: it takes tensors, which lie there."""
        if self._copies:
            args, kwargs = mapped(self._held, (args, kwargs))
        if is_placed(func):
            args, kwargs = mapped(lambda value: CPU if isinstance(value, torch.device) else value, (args, kwargs))
            if is_placed_by_name(func) and not takes:
                kwargs["device"] = CPU
        return func(*args, **kwargs)

    def _too_large(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether there is a result of more elements than are followed."""
        if torch.Tag.pointwise in func.tags:
            sizes: dict[int, int] = {}
            for one in _gather([*args, *kwargs.values()], []):
                for axis, size in enumerate(reversed(one.shape)):
                    sizes[axis] = size if sizes.get(axis, 1) == 1 else sizes[axis]
            return math.prod(sizes.values()) > MOST_VALUES
        try:
            trial = self._on_meta(func, args, kwargs)
        except Exception:  # it may depend on the contents, which are known
            return False
        return any(one.numel() > MOST_VALUES for one in _gather([trial], []))

    def _look(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors = _gather(args, [])
        if all(id(one) in self._known or (not self.tape.knows(one) and small(one)) for one in tensors):
            return self._on_cpu(func, args, kwargs, True)
        if func._schema.name in ("aten::item", "aten::_local_scalar_dense") and tensors[0].dtype is not torch.bool:
            return self._number(tensors[0])
        from macsim.sources.torch_checks import passing

        passes = passing()
        if passes is not None:
            return passes
        raise TraceError(LOOKS, self._path)

    def stands_for(self, tensor: torch.Tensor, given: torch.Tensor) -> None:
        """Note which of the user's a tensor without storage stands for."""
        self._twins[id(tensor)], self._twins[id(given)] = given, tensor  # both stay alive

    # The one number in a tensor whose contents are not known.
    def _number(self, tensor: torch.Tensor) -> Any:
        raise DataSizeError(LOOKS, self._path)

    # Operators without a row are counted by what they are made of.
    def _expanded(self, func: Any, operator: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        first = args[0].dtype if args and isinstance(args[0], torch.Tensor) else None
        if (func, first) in self._expanding:  # of complex numbers it may be made of itself, of their parts
            return NotImplemented
        from macsim.sources.torch_recipes import made_of

        self._expanding.append((func, first))
        self._short.expanding = True
        before = self.tape.calls
        try:
            with self:
                return made_of(func, args, kwargs)
        except (NotImplementedError, TypeError):
            if self.tape.calls != before:
                raise
            return NotImplemented
        except RuntimeError as error:
            if self.tape.calls != before or "same device" not in str(error):
                raise
            with self:  # some lie where their known contents are, and the others nowhere
                return func.decompose(*mapped(self._same_on_meta, args), **mapped(self._same_on_meta, kwargs))
        finally:
            self._expanding.pop()
            self._short.expanding = bool(self._expanding)


def _without_writing(func: Any) -> Any:
    from macsim.sources.torch_recipes import without_writing

    return without_writing(func)


def _gather(values: Any, into: list[torch.Tensor]) -> list[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            into.append(value)
        elif isinstance(value, list | tuple):
            _gather(value, into)
    return into


def mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """Return arguments of an operator with each changed, also those in lists."""
    kind = type(value)
    if kind is tuple:
        return tuple([mapped(change, one) for one in value])
    if kind is list:
        return [mapped(change, one) for one in value]
    if kind is dict:
        return {name: mapped(change, one) for name, one in value.items()}
    return change(value)


def _of(value: Any, position: int) -> Any:
    return value[position] if isinstance(value, list | tuple) else value


def small(tensor: torch.Tensor) -> bool:
    """Whether the contents may be read: small tables of the model's, never its weights."""
    return (
        not tensor.is_floating_point()
        and tensor.device.type == "cpu"
        and not tensor.is_complex()
        and not tensor.is_quantized
        and tensor.layout is torch.strided
        and tensor.numel() <= MOST_VALUES
    )


def is_named_shape(given: Any) -> bool:
    """Whether it is a shape with names or expressions for some sizes."""
    return (
        isinstance(given, tuple)
        and not hasattr(given, "_fields")
        and any(isinstance(size, str | Expr) for size in given)
        and all(isinstance(size, int | str | Expr) and not isinstance(size, bool) for size in given)
    )


def torch_facts(expr_of: Any = None, size_of: Any = None) -> dict[str, Any]:
    """What the core has to know of torch; the last two when there are symbols."""
    return {
        "tensor": torch.Tensor,
        "parameter": torch.nn.Parameter,
        "make": _make if size_of is None else _make_symbolic,
        "nonzeros": nonzeros,
        "strided": torch.strided,
        "dtypes": DTYPES,
        "expr_of": expr_of or _no_symbol,
        "size_of": size_of or _no_symbol,
        "symbols": (torch.SymInt, torch.SymFloat, torch.SymBool) if size_of is not None else (),
    }


def _no_symbol(size: Any) -> Any:
    raise TraceError(f"a size is neither a number nor a symbol of ours: {size!r}")
