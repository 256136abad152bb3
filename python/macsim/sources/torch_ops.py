# How calls of ATen operators are read: which argument is an input, which a size, which only says where.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""How calls of torch's operators are read, from their schemas."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch._ops import OpOverload

from macsim import _core
from macsim.custom import Registry

__all__ = [
    "Operator",
    "is_factory",
    "is_placed",
    "is_placed_by_name",
    "only_asks",
    "operator_of",
    "plain_plan",
    "tape_of",
]

# In-place operators that change the shape of their tensor: torch itself must run them.
_RESHAPING = frozenset({"resize_", "resize_as_", "t_", "transpose_", "swapdims_", "swapaxes_", "squeeze_", "unsqueeze_",
                        "as_strided_", "set_", "rename_", "addbmm_", "prims::as_strided", "prims::resize"})  # fmt: skip
# Of a sparse tensor the result stores the same elements.
_STORING = frozenset({"t", "transpose", "coalesce", "clone", "detach", "alias", "contiguous", "numpy_T", "mT", "mH",
                      "matrix_H", "adjoint", "neg", "abs", "relu", "sparse_sampled_addmm"})  # fmt: skip
# Attention whose kernels write a token's heads side by side: turned back, its result is in order.
_TURNED = frozenset({"scaled_dot_product_attention"})
# Those that are methods of tensors in C++, with the same arguments in the same order.
_METHODS = frozenset({"add", "bitwise_and", "bitwise_or", "chunk", "contiguous", "detach", "eq", "expand",
                      "ge", "gt", "le", "logical_and", "logical_not", "logical_or", "lt", "masked_fill", "mul", "ne",
                      "permute", "reshape", "select", "squeeze", "sub", "t", "transpose", "unbind",
                      "unsqueeze", "view"})  # fmt: skip
# Views, unless strides do not allow it.
_COPYING = frozenset({"reshape", "flatten", "reshape_as", "ravel"})
# What torch can do on tensors without storage in no time, strides and all.
_NATIVE = frozenset(
    [
        "view",
        "reshape",
        "transpose",
        "permute",
        "expand",
        "slice",
        "select",
        "unsqueeze",
        "squeeze",
        "t",
        "unbind",
        "chunk",
        "split",
        "split_with_sizes",
        "narrow",
        "detach",
        "alias",
        "as_strided",
        "unfold",
        "flatten",
        "unflatten",
        "expand_as",
        "view_as",
        "movedim",
        "swapaxes",
        "swapdims",
        "mT",
        "mH",
        "diagonal",
        "contiguous",
        "numpy_T",
        "matrix_H",
        "adjoint",
        "tensor_split",
        "real",
        "imag",
        "view_as_real",
        "view_as_complex",
        "ravel",
        "reshape_as",
        "moveaxis",
        "hsplit",
        "vsplit",
        "_unsafe_view",
        "lift_fresh",
        "unsafe_chunk",
        "unsafe_split",
        "_reshape_alias",
        "positive",
        "resolve_conj",
        "resolve_neg",
        "conj",
        "atleast_1d",
        "atleast_2d",
        "atleast_3d",
    ]
)


class Operator:
    """How calls of one operator are read.

    Attributes
    ----------
    func : OpOverload
        The operator.
    plan : _core.Plan
        The same for the core.
    known : bool
        A row answers to it.
    infers : bool
        The row tells the results' shapes.
    native : bool
        A view: torch tells the results' shapes in no time.
    writes : int or None
        The position of the argument that it changes in place and gives back.
    reshapes : bool
        It changes the shape of that argument.
    random : bool
        Its results are drawn.
    packed : tuple of (int, str)
        Where arguments are packed, and their names.
    fast : bool
        Calls go straight to the core.
    view : bool
        It takes a tensor first, and torch tells the results' shapes in no time.
    way : str
        How the core takes calls that need nothing else; empty: all of them need more.
    copies : bool
        A view, unless strides do not allow it: then a copy.
    turned : bool
        The second and the third axis of its result lie the other way round.
    method : callable or None
        What makes its results sooner than the operator itself, which asks its schema.
    hosts : frozenset of str
        Arguments that the row takes as numbers that may be symbols.
    runs : bool
        Of known contents it is run as it stands, and gives one tensor.
    """

    __slots__ = (
        "copies", "fast", "func", "hosts", "infers", "known", "method", "native", "packed", "plan", "random",
        "reshapes", "runs", "turned", "view", "way", "writes",
    )  # fmt: skip

    def __init__(self, func: Any, plan: _core.Plan, said: _Reading) -> None:
        self.func = func
        self.plan = plan
        self.known, self.infers, self.hosts = plan.known, plan.infers, frozenset(plan.hosts)
        self.native, self.writes, self.reshapes = said.native, said.writes, said.reshapes
        self.random, self.packed = said.random, tuple(said.packed)
        self.fast = plan.infers and not said.native and said.writes is None and not said.packed and said.takes
        self.method = said.method
        self.view = said.makes and said.writes is None and said.first
        self.copies = said.native and said.name in _COPYING
        self.turned = said.name in _TURNED
        changes = plan.known and said.writes == 0 and said.plain and said.outputs == 1
        self.way = ""
        self.runs = said.runs
        if self.fast:
            self.way = "turned" if self.turned else "call"
        elif said.founds and plan.infers:
            self.way = "makes"
        elif changes:
            self.way = "changes"
        elif self.view:
            self.way = "reshape" if self.copies else "orders" if said.name == "contiguous" else "view"


def _parts_of(kind: str, name: str) -> list[tuple[str, str]] | None:
    """Return what stands in the place of an argument that is packed, each with its use; None: it is not."""
    if "__torch__" not in kind:
        return None
    from macsim.sources.torch_packed import parts_of

    return parts_of(kind, name)


class _Reading:
    """What the schema says, the same for every count."""

    def __init__(self, func: Any, schema: tuple[Any, ...]) -> None:
        name, overload, arguments, results = schema
        self.dialect, _, packet = name.partition("::")
        self.writes: int | str | None = None
        self.packed: list[tuple[int, str]] = []
        parameters = self._parameters(func, arguments)
        returns = [kind for kind, _ in results]
        if returns and not any(alias for _, alias in results):
            self.writes = None  # statistics on the side: what it gives back is new
        if self.dialect == "mkldnn" and overload:  # which takes its tensors in another order
            packet = f"{packet}.{overload}"
        inward = self.writes is not None and packet.endswith("_") and not packet.endswith("__")
        tensors = all(one in ("Tensor", "Tensor[]") for one in returns)
        self.reshapes = (name if self.dialect == "prims" else packet) in _RESHAPING
        changes = self.writes == 0 and returns == ["Tensor"] and not self.reshapes
        self.name = packet[:-1] if inward else packet
        self.signature = _core.Signature(parameters)
        self.outputs = len(returns) if returns and all(one == "Tensor" for one in returns) else 0
        self.native = self.dialect == "aten" and packet in _NATIVE
        self.random = torch.Tag.nondeterministic_seeded in func.tags
        self.plain = self.dialect == "aten" and bool(returns) and (tensors if self.writes is None else changes)
        self.first = bool(parameters) and parameters[0][1] == "tensor"
        self.takes = any(use in ("tensor", "tensors") for _, use, _ in parameters)
        self.stores = (
            "some" if packet.startswith(("to_sparse", "_spdiags")) else "same" if packet in _STORING else "all"
        )
        aten, single = self.dialect == "aten", len(returns) == 1
        where = [keyword and called == "device" for called, kind, _, _, keyword, _ in arguments if "Device" in kind]
        given = self.takes or self.packed or self.writes is not None
        self.makes = self.native or func is torch.ops.aten.to.dtype  # torch makes its results in no time
        # It makes a tensor out of numbers, and is told by name where that lies.
        self.founds = aten and where == [True] and single and not self.random and not given
        self.runs = single and not self.random and not where
        self.method = getattr(torch.Tensor, packet) if aten and packet in _METHODS else None

    def _parameters(self, func: Any, arguments: list[Any]) -> list[tuple[str, str, Any]]:
        parameters: list[tuple[str, str, Any]] = []
        for position, (name, kind, use, written, keyword, default) in enumerate(arguments):
            if written:
                self.writes = name if keyword else position if self.writes is None else self.writes
            parts = _parts_of(kind, name)
            if parts is not None:
                self.packed.append((position, name))
                parameters += [(part, used, None) for part, used in parts]
                continue
            if default is NotImplemented:  # its text does not say it
                default = func._schema.arguments[position].default_value
            parameters.append((name, use, default))
        return parameters


def _reading(func: Any) -> _Reading:
    known = _READ.get(id(func))
    if known is None:
        known = _READ[id(func)] = (func, _read(func))
    return known[1]


def _read(func: Any) -> _Reading:
    schema = _core.read_schema(str(func._schema))
    other = _SAME.get(schema[:2])
    return _Reading(func, schema) if other is None else _reading(getattr(torch.ops.aten, other).default)


def operator_of(func: Any, tape: _core.Tape) -> Operator:
    """Return how calls of ``func``, an ``OpOverload``, are read."""
    said = _reading(func)
    return Operator(func, _plan(said, tape), said)


def _plan(said: _Reading, tape: _core.Tape) -> _core.Plan:
    return tape.plan(said.dialect, said.name, said.signature, said.outputs, said.stores)


def plain_plan(tape: _core.Tape, target: Any) -> tuple[_core.Plan, bool] | None:
    """Return how calls in a graph are read, and whether they change their first argument; None: they are not plain.

    Plain calls are those of ATen that give back tensors and nothing else, and that are counted as they stand.
    """
    if not isinstance(target, OpOverload):
        return None
    said = _reading(target)
    if not said.plain:
        return None
    plan = _plan(said, tape)
    return (plan, said.writes is not None) if plan.known or (said.native and said.writes is None) else None


_READ: dict[int, tuple[OpOverload, _Reading]] = {}  # by identity: to hash an operator is work
# Calls that are read as those of another operator.
_SAME = {
    ("aten::lift_fresh_copy", ""): "clone",
    ("aten::max", "other"): "maximum",
    ("aten::min", "other"): "minimum",
}


# Rules. ---------------------------------------------------------------------------------------------------------------


def tape_of(registry: Registry, name: str, facts: dict[str, Any]) -> _core.Tape:
    """Return a tape that knows the rules, and the formulas of operators that have none."""
    formulas = _registered(registry) if "torch.utils.flop_counter" in sys.modules else {}
    if not formulas:
        return _core.Tape(registry.table, name, facts)
    from macsim.sources.torch_formulas import FormulaTape  # few programs have operators of their own

    return FormulaTape(registry, name, facts, formulas)


def _registered(registry: Registry) -> dict[str, Callable[..., Any]]:
    """Return the formulas that users registered with torch's own counter, by operators that have no row here."""
    counter = sys.modules.get("torch.utils.flop_counter")
    found = {}
    for operator, formula in dict(getattr(counter, "flop_registry", {})).items():
        if id(operator) in _ATEN:
            continue
        name = getattr(operator, "_qualified_op_name", None)
        if isinstance(name, str) and name.startswith("aten::"):
            _ATEN[id(operator)] = operator
        elif isinstance(name, str) and registry.find(name) is None:
            found[name] = formula
    return found


_ATEN: dict[int, Any] = {}  # torch's own operators that have formulas, by identity: to hash one is work


# What operators are told and give. ------------------------------------------------------------------------------------


@cache
def is_placed(func: Any) -> bool:
    """Whether it is told where its results lie."""
    return any("Device" in str(one.type) for one in func._schema.arguments)


@cache
def only_asks(func: Any) -> bool:
    """Whether it is one of torch's own that says something about tensors, and neither makes nor changes one."""
    gives = any("Tensor" in str(one.type) for one in func._schema.returns)
    return func.namespace in ("aten", "prim", "prims", "profiler") and not gives and not func._schema.is_mutable


@cache
def is_placed_by_name(func: Any) -> bool:
    """Whether it is told by name where its results lie."""
    return any(one.name == "device" and one.kwarg_only for one in func._schema.arguments)


@cache
def is_factory(func: Any) -> bool:
    """Whether it makes tensors of numbers."""
    return any(one.name == "device" for one in func._schema.arguments) or func._schema.name == "aten::lift_fresh"
