"""Numbers about tensors, and tensors made of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from truth import Case, case, check, const, f32, t

import macsim

CASES = [
    case("Shape", [f32(2, "n", 4)], t("i64", 3), read=0, written=0),
    case("Shape", [f32(2, "n", 4)], t("i64", 2), attrs={"start": 1}, read=0, written=0, id="Shape-from-1"),
    case("Shape", [f32(2, "n", 4)], t("i64", 1), attrs={"start": -2, "end": -1}, read=0, written=0, id="Shape-slice"),
    case("Size", [f32(2, "n", 4)], t("i64"), read=0, written=0),
    case("Constant", [], t("i64", 2), attrs={"value_ints": [3, 4]}, written=0),
    case("ConstantOfShape", [const("i64", [2, 3])], f32(2, 3), read=0, written=24),
    case("EyeLike", [f32("n", 4)], f32("n", 4), read=0, written="16*n"),
    case("EyeLike", [f32(3, 4)], t("i64", 3, 4), attrs={"dtype": 7}, written=96, id="EyeLike-dtype"),
    # start + i * delta: 3, 5, 7, 9
    case("Range", [const("i64", 3), const("i64", 10), const("i64", 2)], t("i64", 4), work={"add": 4, "mul": 4}),
    case("NonZero", [const("i64", [[0, 5], [7, 0]])], t("i64", 2, 2), work={"compare": 4}),
    case("NonZero", [f32(3, 4)], t("i64", 2, "node.n"), work={"compare": 12}, id="NonZero-of-data"),
    # sorting 8 numbers: 8 * 3 compares at most
    case(
        "Unique",
        [f32(8)],
        [f32("node.n"), t("i64", "node.n"), t("i64", 8), t("i64", "node.n")],
        work={"compare": 24},
        trust="bound",
    ),
    case("Trilu", [f32("b", 4, 4)], f32("b", 4, 4), read="64*b", written="64*b"),
]


@pytest.mark.parametrize("c", CASES, ids=str)
def test_truth(c: Case) -> None:
    check(c)


# Shapes as exporters compute them. ------------------------------------------------------------------------------------


def shape_of(nodes: list[onnx.NodeProto], stored: dict[str, Any], x: tuple[Any, ...]) -> list[str]:
    """The shape of y, which the nodes make from x, symbols as text."""
    arrays = [
        numpy_helper.from_array(np.asarray(v, np.float32 if isinstance(v, float) else np.int64), k)
        for k, v in stored.items()
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)], [onnx.ValueInfoProto(name="y")], arrays
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    (output,) = macsim.count(proto).outputs
    assert output.shape is not None
    return [str(dim) for dim in output.shape]


def test_heads_are_split_by_a_computed_shape() -> None:
    """x.view(x.shape[0], -1, 12, x.shape[2] // 12)."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["b"]),
        helper.make_node("Gather", ["s", "two"], ["w"]),
        helper.make_node("Div", ["w", "twelve"], ["d"]),
        helper.make_node("Unsqueeze", ["b", "first"], ["b1"]),
        helper.make_node("Unsqueeze", ["d", "first"], ["d1"]),
        helper.make_node("Concat", ["b1", "minus", "heads", "d1"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["y"]),
    ]
    stored = {"zero": 0, "two": 2, "twelve": 12, "first": [0], "minus": [-1], "heads": [12]}
    assert shape_of(nodes, stored, ("batch", "seq", 768)) == ["batch", "seq", "12", "64"]


def test_a_size_times_a_fraction() -> None:
    """floor(height * 0.7), through floats: 7/10 exactly."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["h"]),
        helper.make_node("Cast", ["h"], ["hf"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["hf", "scale"], ["scaled"]),
        helper.make_node("Floor", ["scaled"], ["down"]),
        helper.make_node("Cast", ["down"], ["hi"], to=TensorProto.INT64),
        helper.make_node("Unsqueeze", ["hi", "first"], ["to"]),
        helper.make_node("ConstantOfShape", ["to"], ["y"]),
    ]
    stored = {"zero": 0, "first": [0], "scale": 0.7}
    assert shape_of(nodes, stored, ("height", 3)) == [str(macsim.Expr("floor(7*height/10)"))]


def test_expand_through_where_and_equal() -> None:
    """torch writes expand(-1, 4) as where(shape == -1, 1, shape)."""
    nodes = [
        helper.make_node("Shape", ["asked"], ["n"]),
        helper.make_node("ConstantOfShape", ["n"], ["ones"], value=numpy_helper.from_array(np.array([1], np.int64))),
        helper.make_node("Mul", ["ones", "minus"], ["minuses"]),
        helper.make_node("Equal", ["asked", "minuses"], ["same"]),
        helper.make_node("Where", ["same", "ones", "asked"], ["to"]),
        helper.make_node("Expand", ["x", "to"], ["y"]),
    ]
    assert shape_of(nodes, {"asked": [-1, 4], "minus": -1}, ("n", 1)) == ["n", "4"]


def test_positions_up_to_a_symbolic_length() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "one"], ["n"]),
        helper.make_node("Range", ["zero", "n", "one"], ["y"]),
    ]
    assert shape_of(nodes, {"zero": 0, "one": 1}, ("batch", "seq")) == ["seq"]
