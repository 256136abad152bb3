"""Truth rows: one node in, the output types and the work that it must have, worked out by hand.

A row is a `case(...)`; `check(case)` builds a one-node ONNX model, counts it, and compares all that the row states.
Shapes are tuples of ints and names. `values` gives the contents of an input (then it becomes an initializer).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import macsim

Dim = int | str
_NAMES = {
    "f64": "DOUBLE", "f32": "FLOAT", "f16": "FLOAT16", "bf16": "BFLOAT16",
    "i64": "INT64", "i32": "INT32", "i16": "INT16", "i8": "INT8", "i4": "INT4",
    "u64": "UINT64", "u32": "UINT32", "u16": "UINT16", "u8": "UINT8", "u4": "UINT4",
    "bool": "BOOL", "c64": "COMPLEX64", "c128": "COMPLEX128", "string": "STRING",
    "f8e4m3fn": "FLOAT8E4M3FN", "f8e5m2": "FLOAT8E5M2", "f4e2m1": "FLOAT4E2M1",
}  # fmt: skip


@dataclass(frozen=True)
class T:
    """A tensor: dtype, shape, and whether it is stored in the model (a weight) with these values.

    Of another kind ("sequence", "optional", "map" with `key`), the dtype and shape are those of what it holds.
    """

    dtype: str
    shape: tuple[Dim, ...] | None
    weight: bool = False
    values: Any = None
    kind: str = "tensor"
    key: str = "i64"


def f32(*shape: Dim) -> T:
    return T("f32", shape)


def t(dtype: str, *shape: Dim) -> T:
    return T(dtype, shape)


def weight(dtype: str, *shape: int) -> T:
    """A tensor stored in the model whose contents do not matter."""
    return T(dtype, shape, weight=True)


def const(dtype: str, values: Any) -> T:
    """A small tensor stored in the model whose contents matter (a shape, axes, a ratio)."""
    return T(dtype, tuple(np.shape(values)), weight=True, values=values)


def sequence(dtype: str, *shape: Dim) -> T:
    """A sequence of tensors; their rank is not known when `shape` is left out."""
    return T(dtype, shape or None, kind="sequence")


def optional(dtype: str, *shape: Dim) -> T:
    return T(dtype, shape, kind="optional")


def mapping(key: str, dtype: str) -> T:
    return T(dtype, (), kind="map", key=key)


@dataclass(frozen=True)
class Case:
    op: str
    inputs: list[T | None]
    outputs: list[T | None]
    attrs: dict[str, Any] = field(default_factory=dict)
    domain: str = ""
    version: int | None = None
    work: dict[str, Any] = field(default_factory=dict)
    read: Any = None
    weights: Any = None
    written: Any = None
    trust: str = "exact"
    id: str = ""

    def __str__(self) -> str:
        return self.id or f"{self.domain + '::' if self.domain else ''}{self.op}-{self.version or 'latest'}"

    @property
    def spelled(self) -> str:
        return f"{self.domain or 'onnx'}::{self.op}"


def case(
    op: str, inputs: list[T | None], outputs: list[T | None] | T, *, work: dict[str, Any] | None = None, **kw: Any
) -> Case:
    """A truth row. `work` lists every kind of work that is not zero: numbers, or text such as "batch*64"."""
    return Case(op, inputs, outputs if isinstance(outputs, list) else [outputs], work=work or {}, **kw)


def _type_of(tensor: T) -> onnx.TypeProto:
    number = getattr(TensorProto, _NAMES[tensor.dtype])
    element = helper.make_tensor_type_proto(number, tensor.shape)
    if tensor.kind == "sequence":
        return helper.make_sequence_type_proto(element)
    if tensor.kind == "optional":
        return helper.make_optional_type_proto(element)
    if tensor.kind == "map":
        return helper.make_map_type_proto(getattr(TensorProto, _NAMES[tensor.key]), element)
    return element


def model_of(c: Case) -> onnx.ModelProto:
    """The one-node model of a row."""
    feeds, stored, names = [], [], []
    for i, tensor in enumerate(c.inputs):
        if tensor is None:
            names.append("")
            continue
        names.append(f"in{i}")
        kind = getattr(TensorProto, _NAMES[tensor.dtype])
        if tensor.values is not None:
            array = np.asarray(tensor.values, dtype=helper.tensor_dtype_to_np_dtype(kind))
            stored.append(numpy_helper.from_array(array, f"in{i}"))
        elif tensor.weight:
            proto = TensorProto(name=f"in{i}", data_type=kind, dims=[int(d) for d in tensor.shape or ()])
            proto.data_location = TensorProto.EXTERNAL
            proto.external_data.add(key="location", value="absent.bin")
            stored.append(proto)
        else:
            feeds.append(helper.make_value_info(f"in{i}", _type_of(tensor)))
    outs = [f"out{i}" if tensor is not None else "" for i, tensor in enumerate(c.outputs)]
    node = helper.make_node(c.op, names, outs, name="node", domain=c.domain, **c.attrs)
    declared = [onnx.ValueInfoProto(name=o) for o in outs if o]
    graph = helper.make_graph([node], "g", feeds, declared, stored)
    version = c.version or (onnx.defs.onnx_opset_version() if not c.domain else 1)
    opsets = [helper.make_opsetid(c.domain, version)]
    if c.domain:
        opsets.append(helper.make_opsetid("", onnx.defs.onnx_opset_version()))
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _expr(value: Any) -> Any:
    return macsim.Expr(value) if isinstance(value, str) else value


def check(c: Case) -> None:
    """Counts the row's model and compares types, work, traffic and trust with what the row states."""
    report = macsim.count(model_of(c))
    rows = [row for row in report.rows if row.name == "node"]
    assert len(rows) == 1, [row.name for row in report.rows]
    row = rows[0]
    wanted = [tensor for tensor in c.outputs if tensor is not None]
    assert len(row.outputs) == len(wanted)
    for got, want in zip(row.outputs, wanted, strict=True):
        assert got.kind == want.kind, (got.name, got.kind, want.kind)
        if want.kind in ("sequence", "optional"):
            got = got.element
        assert got.dtype == want.dtype, (got.name, got.dtype, want.dtype)
        if want.kind == "map":
            continue
        if want.shape is None:
            assert got.shape is None
        else:
            assert got.shape is not None, f"{got.name}: rank unknown"
            assert [_expr(d) for d in got.shape] == [_expr(d) for d in want.shape], (got.name, got.shape, want.shape)
    if c.trust == "unknown":
        assert {str(amount) for amount in row.work.values()} == {"?"}, row.work
        assert row.trust == "unknown"
        assert row.because, "an unknown needs a stated reason"
        return
    work = {kind: amount for kind, amount in row.work.items() if amount != 0}
    assert work == {kind: _expr(amount) for kind, amount in c.work.items()}, (work, c.work)
    assert row.trust == c.trust, (row.trust, row.because, [str(d) for d in report.diagnostics])
    for column in ("read", "weights", "written"):
        want = getattr(c, column)
        if want is not None:
            assert getattr(row, column) == _expr(want), (column, getattr(row, column), want)
    if not work and row.trust == "exact":
        assert row.because, "a zero needs a stated reason"


# Programs of torch. ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """A truth row of an ATen spelling: what torch is told to do, and the one row of work that it must give.

    `op` is the spelling ("linear") that must appear once, and `call` the function that makes torch use it. All else
    that torch does on the way must be free.
    """

    op: str
    call: Callable[..., Any]
    inputs: list[T]
    outputs: list[T]
    work: dict[str, Any] = field(default_factory=dict)
    trust: str = "exact"

    def __str__(self) -> str:
        return self.op

    @property
    def spelled(self) -> str:
        """The whole name: of ATen where it names no library."""
        return self.op if "::" in self.op else f"aten::{self.op}"


def program(
    op: str, call: Callable[..., Any], inputs: list[T], outputs: list[T] | T, trust: str = "exact", **work: int
) -> Program:
    """A truth row of an ATen spelling. `work` lists every kind of work that is not zero."""
    return Program(op, call, inputs, outputs if isinstance(outputs, list) else [outputs], work, trust)


def check_program(p: Program) -> None:
    """Counts the row's program over tensors without storage and compares types, work and trust with what it states."""
    from torch import empty

    from macsim.sources.torch_values import DTYPES

    of_name = {name: dtype for dtype, name in reversed(DTYPES.items())}
    tensors = [empty(one.shape or (), dtype=of_name[one.dtype], device="meta") for one in p.inputs]
    report = macsim.count(p.call, *tensors)
    got = [(tensor.dtype, tensor.shape) for tensor in report.outputs]
    assert got == [(tensor.dtype, tuple(map(_expr, tensor.shape or ()))) for tensor in p.outputs]
    rows = [row for row in report.rows if row.op == p.spelled]
    assert len(rows) == 1, [row.op for row in report.rows]
    work = {kind: amount for kind, amount in rows[0].work.items() if amount != 0}
    assert work == p.work, (work, p.work)
    assert rows[0].trust == p.trust, (rows[0].trust, rows[0].because)
    if not work and p.trust == "exact":
        assert rows[0].because, "a zero needs a stated reason"
    for row in report.rows:
        assert row is rows[0] or row.op == rows[0].op or not any(row.work.values()), (row.op, row.work)
