"""The reader against the onnx package: stored tensors of every type, in every encoding that onnx can write."""

# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import macsim

Seen = tuple[str, tuple[int, ...], list[float] | None]
Look = Callable[[onnx.NodeProto | TensorProto | onnx.SparseTensorProto], Seen]

STRINGS_AND_COMPLEX = {TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128}
TYPES = {
    name: number
    for name, number in TensorProto.DataType.items()
    if number != TensorProto.UNDEFINED and number not in STRINGS_AND_COMPLEX
}
VALUES = [0, 1, 1, 0, 3, -1, 2, -2, 0.5, 6.0, -0.25, 100.0, 0.3]


@pytest.fixture
def look() -> Look:
    """Shows what the core makes of a stored tensor: dtype, shape and elements."""
    registry = macsim.Registry()
    seen: list[Seen] = []

    @registry.op("look::Look", slots="x")
    class _Look:
        """Looks at its input.

        Shapes: x is anything.
        Formula: mac = 0
        Reference: https://onnx.ai
        """

        @staticmethod
        def infer(call: macsim.Call) -> macsim.Tensor:
            seen.append((str(call.x.dtype), tuple(map(int, call.x.shape)), call.values("x")))
            return call.x

        @staticmethod
        def cost(call: macsim.Call) -> macsim.Cost:
            return macsim.Cost(mac=1)

    def look_at(stored: onnx.NodeProto | TensorProto | onnx.SparseTensorProto) -> Seen:
        nodes = [helper.make_node("Look", ["t"], ["y"], domain="look")]
        graph = helper.make_graph(nodes, "g", [], [onnx.ValueInfoProto(name="y")])
        if isinstance(stored, onnx.NodeProto):
            graph.node.insert(0, stored)
        elif isinstance(stored, TensorProto):
            graph.initializer.append(stored)
        else:
            graph.sparse_initializer.append(stored)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("look", 1)]
        macsim.count(helper.make_model(graph, opset_imports=opsets), registry=registry)
        return seen.pop()

    return look_at


def numbers(tensor: TensorProto) -> list[float]:
    """What onnx reads, widened."""
    array = numpy_helper.to_array(tensor)
    wide = np.int64 if array.dtype.kind in "iub" or "int" in array.dtype.name else np.float64
    return array.astype(wide).ravel().tolist()


def values_for(number: int) -> list[float]:
    """Values that the type can hold, more or less."""
    name = TensorProto.DataType.Name(number)
    if name == "BOOL":
        return [0, 1, 1, 0, 1]
    if name == "FLOAT8E8M0":
        return [1, 2, 0.5, 4, 1024]
    if "INT" in name:
        low = 0 if name.startswith("U") else -2
        return [min(max(int(value), low), 1 if name == "INT2" else 3) for value in VALUES]
    return list(VALUES)


@pytest.mark.parametrize("raw", [False, True], ids=["typed", "raw"])
@pytest.mark.parametrize("name", TYPES)
def test_every_type(look: Look, name: str, raw: bool) -> None:
    number = TYPES[name]
    values = values_for(number)
    tensor = helper.make_tensor("t", number, [len(values)], values)
    if raw:
        array = numpy_helper.to_array(tensor)
        tensor = numpy_helper.from_array(array, "t")
        assert tensor.HasField("raw_data")
        assert tensor.data_type == number
    dtype, shape, found = look(tensor)
    assert shape == (len(values),)
    assert dtype != "?"
    assert found == numbers(tensor)


@pytest.mark.parametrize("dims", [(), (1,), (2, 3), (0,), (2, 0, 3)])
def test_shapes(look: Look, dims: tuple[int, ...]) -> None:
    array = np.arange(np.prod(dims, dtype=int), dtype=np.int64).reshape(dims)
    assert look(numpy_helper.from_array(array, "t")) == ("i64", dims, array.ravel().tolist())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_special_values(look: Look, dtype: type) -> None:
    array = np.array([np.inf, -np.inf, np.nan, np.finfo(dtype).max, np.finfo(dtype).tiny, -0.0], dtype)
    found = look(numpy_helper.from_array(array, "t"))[2]
    assert found is not None
    np.testing.assert_array_equal(np.array(found, dtype), array)


def test_halves_bit_by_bit(look: Look) -> None:
    array = np.arange(65536, dtype=np.uint16).view(np.float16)
    found = look(numpy_helper.from_array(array, "t"))[2]
    assert found is not None
    np.testing.assert_array_equal(np.array(found, np.float64), array.astype(np.float64))


@pytest.mark.parametrize("name", [name for name in TYPES if name.startswith("FLOAT") and TYPES[name] in range(17, 29)])
def test_small_floats_bit_by_bit(look: Look, name: str) -> None:
    """All codes of the types of eight bits and fewer."""
    width = 4 if "FLOAT4" in name else 6 if "FLOAT6" in name else 8
    codes = np.arange(1 << width, dtype=np.uint32)
    stream = sum(int(code) << (width * i) for i, code in enumerate(codes))
    raw = stream.to_bytes(width * len(codes) // 8, "little")
    tensor = TensorProto(name="t", data_type=TYPES[name], dims=[len(codes)], raw_data=raw)
    found = look(tensor)[2]
    assert found is not None
    np.testing.assert_array_equal(np.array(found, np.float64), numpy_helper.to_array(tensor).astype(np.float64))


def test_constants(look: Look) -> None:
    def constant(**attribute: object) -> onnx.NodeProto:
        return helper.make_node("Constant", [], ["t"], **attribute)

    assert look(constant(value_int=-7)) == ("i64", (), [-7])
    assert look(constant(value_ints=[1, 2, 300])) == ("i64", (3,), [1, 2, 300])
    assert look(constant(value_float=0.5)) == ("f32", (), [0.5])
    assert look(constant(value_floats=[0.5, -2.0])) == ("f32", (2,), [0.5, -2.0])
    assert look(constant(value_string="a"))[:2] == ("string", ())
    assert look(constant(value_strings=["a", "b"]))[:2] == ("string", (2,))
    assert look(constant(value=numpy_helper.from_array(np.arange(4)))) == ("i64", (4,), [0, 1, 2, 3])


def test_sparse(look: Look) -> None:
    values = numpy_helper.from_array(np.array([5, -6], np.int64), "t")
    flat = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1, 5])), [2, 3])
    assert look(flat) == ("i64", (2, 3), [0, 5, 0, 0, 0, -6])
    pairs = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([[0, 1], [1, 2]])), [2, 3])
    assert look(pairs) == ("i64", (2, 3), [0, 5, 0, 0, 0, -6])
    constant = helper.make_node("Constant", [], ["t"], sparse_value=flat)
    assert look(constant) == ("i64", (2, 3), [0, 5, 0, 0, 0, -6])


def test_external_contents_are_not_known(look: Look) -> None:
    tensor = TensorProto(name="t", data_type=TensorProto.INT64, dims=[3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="nowhere.bin")
    assert look(tensor) == ("i64", (3,), None)


def test_a_report_outlives_the_file_being_written_anew(tmp_path: Path) -> None:
    """Names are copies, and contents are left alone once the file has changed: no byte of it is looked at any more."""
    shape = numpy_helper.from_array(np.array([2, -1]), "shape")
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], name="/block/Reshape")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    x.type.tensor_type.shape.dim.add().dim_value = 6
    path = tmp_path / "live.onnx"
    onnx.save(helper.make_model(helper.make_graph([node], "live", [x], [y], [shape])), path)
    report, again = macsim.count(path), macsim.load(path)
    assert report.rows[0].outputs[0].shape == (2, 3)
    path.write_bytes(b"")
    assert report.rows[0].name == "/block/Reshape"
    assert [group.name for group in report.by("scope")] == ["block"]
    assert "Reshape" in repr(report)
    assert "/block/Reshape" in report.to_csv()
    late = macsim.analyze(again)
    assert "MS110" in [remark.code for remark in late.diagnostics]
    assert late.rows[0].outputs[0].shape != (2, 3)


def test_a_file_that_another_one_replaces_stays_as_it_was(tmp_path: Path) -> None:
    path, other = tmp_path / "model.onnx", tmp_path / "other"
    shape = numpy_helper.from_array(np.array([2, -1]), "shape")
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in (("x", [6]), ("y", None)))
    onnx.save(helper.make_model(helper.make_graph([node], "g", [x], [y], [shape])), path)
    model = macsim.load(path)
    other.write_bytes(b"")
    other.replace(path)
    assert macsim.analyze(model).rows[0].outputs[0].shape == (2, 3)
