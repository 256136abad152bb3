"""Nodes like earlier ones get their row without asking the rule again: each must get what it would get alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import macsim

F32, I64 = TensorProto.FLOAT, TensorProto.INT64


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[Any, ...]],
    stored: dict[str, np.ndarray[Any, Any]],
    dtypes: dict[str, int],
) -> onnx.ModelProto:
    used = {name for node in nodes for name in node.input}
    outputs = [name for node in nodes for name in node.output if name]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, dtypes.get(n, F32), s) for n, s in inputs.items() if n in used],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in stored.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def facts(report: macsim.Report) -> list[str]:
    """All that a report says of its rows, but for names."""
    own = {"name", "path", "scope", "inputs", "outputs"}
    return [
        repr({key: value for key, value in row.to_dict().items() if key not in own})
        + repr([(tensor.dtype, str(tensor.shape)) for tensor in row.outputs])
        for row in report.rows
    ]


def node(op: str, inputs: str, /, **attributes: Any) -> tuple[str, list[str], dict[str, Any]]:
    return op, ["" if name == "-" else name for name in inputs.split()], attributes


INPUTS = {
    "x": (2, 4, 8, 8), "y": (2, 4, 8, 8), "z": (3, 4, 8, 8), "w": (4, 4, 3, 3), "v": (4, 4, 3, 3), "u": (4, 4, 1, 1),
    "b": (4,), "h": (2, 4, 8, 8), "i": (2, 4, 8, 8), "s": ("n", 4, 8, 8), "t": ("n", 4, 8, 8), "r": ("m", 4, 8, 8),
}  # fmt: skip
DTYPES = {"h": TensorProto.FLOAT16, "i": I64}
STORED = {
    "W": np.zeros((4, 4, 3, 3), np.float32),
    "V": np.zeros((4, 4, 3, 3), np.float32),
    "two": np.array(2, np.float32),
    "three": np.array(3, np.float32),
    "a": np.array([2, 256], np.int64),
    "c": np.array([8, 64], np.int64),
    "half": np.array([0, 0, 0, 0], np.int64),
    "less": np.array([1, 0, 0, 0], np.int64),
    "ends": np.array([2, 4, 8, 8], np.int64),
}
# Nodes that are alike, and nodes that differ in one thing only.
RUNS = {
    "weights": [node("Conv", "x W"), node("Conv", "y V"), node("Conv", "x W"), node("Conv", "x w"),
                node("Conv", "y v")],
    "bias": [node("Conv", "x w"), node("Conv", "x w b"), node("Conv", "x w -"), node("Conv", "y v b")],
    "shapes": [node("Conv", "x w"), node("Conv", "z w"), node("Conv", "x u"), node("Conv", "x v")],
    "integers": [node("Softmax", "x", axis=1), node("Softmax", "y", axis=2), node("Softmax", "y"),
                 node("Softmax", "x")],
    "lists": [node("Conv", "x w", pads=[1, 1, 1, 1]), node("Conv", "y w", pads=[1, 1, 1, 0]), node("Conv", "y w"),
              node("Conv", "y w", pads=[1, 1, 1, 1]), node("Conv", "y w", strides=[1, 1])],
    "texts": [node("Conv", "x w", auto_pad="VALID"), node("Conv", "x w", auto_pad="SAME_UPPER"), node("Conv", "y w")],
    "reals": [node("Gemm", "two two", alpha=1.0), node("Gemm", "two two", alpha=2.0)],
    "dtypes": [node("Add", "x y"), node("Add", "h h"), node("Add", "i i"), node("Add", "y x"), node("Add", "h h")],
    "contents": [node("Pow", "x two"), node("Pow", "x three"), node("Pow", "y two"), node("Pow", "x y")],
    "sizes": [node("Reshape", "x a"), node("Reshape", "y c"), node("Reshape", "y a"), node("Reshape", "x c")],
    "slices": [node("Slice", "x half ends"), node("Slice", "x less ends"), node("Slice", "y half ends")],
    "symbols": [node("Add", "s t"), node("Add", "s r"), node("Add", "r s"), node("Add", "t s"), node("Add", "r t")],
    "followed": [node("Shape", "x"), node("Shape", "z"), node("Shape", "y"), node("Shape", "s"), node("Shape", "r")],
    "unknown": [node("NonZero", "x"), node("NonZero", "y"), node("Nobody", "x"), node("Nobody", "y")],
    "refused": [node("MatMul", "x w"), node("MatMul", "x w"), node("MatMul", "x x")],
}  # fmt: skip


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_each_node_gets_what_it_gets_alone(run: list[tuple[str, list[str], dict[str, Any]]]) -> None:
    made = [helper.make_node(op, ins, [f"o{i}"], f"n{i}", **attrs) for i, (op, ins, attrs) in enumerate(run)]
    together = facts(macsim.count(model(made, INPUTS, STORED, DTYPES)))
    alone = [facts(macsim.count(model([one], INPUTS, STORED, DTYPES)))[0] for one in made]

    assert together == alone


def test_outputs_that_nobody_named() -> None:
    x = {"x": (2, 4)}
    made = [
        helper.make_node("MaxPool", ["p"], ["a"], kernel_shape=[2, 2]),
        helper.make_node("MaxPool", ["p"], ["b", "c"], kernel_shape=[2, 2]),
        helper.make_node("MaxPool", ["p"], ["d", ""], kernel_shape=[2, 2]),
    ]
    rows = macsim.count(model(made, x | {"p": (1, 1, 4, 4)}, {}, {})).rows
    # 3 x 3 windows of f32; c are positions of 8 bytes
    assert [int(row.written) for row in rows] == [36, 36 + 72, 36]


def test_every_weight_is_a_parameter_once() -> None:
    weights = {f"w{i}": np.zeros((8, 8), np.float32) for i in range(5)}
    made = [helper.make_node("MatMul", ["x" if i == 0 else f"y{i}", f"w{i}"], [f"y{i + 1}"]) for i in range(5)]
    made.append(helper.make_node("MatMul", ["y5", "w0"], ["y6"]))
    report = macsim.count(model(made, {"x": (3, 8)}, weights, {}))
    assert int(report.parameters) == 5 * 64
    assert int(report.macs) == 6 * 3 * 64
    assert [int(row.weights) for row in report.rows] == [256] * 6


def test_many_kinds_of_one_operator() -> None:
    # More shapes than are kept, twice over, and then one that comes again and again.
    shapes = [(1, i + 1) for i in range(100)] * 2 + [(5, 7)] * 300
    inputs = {f"x{i}": shape for i, shape in enumerate(shapes)}
    made = [helper.make_node("Exp", [f"x{i}"], [f"y{i}"]) for i in range(len(shapes))]
    report = macsim.count(model(made, inputs, {}, {}))
    assert [int(row.work["exp"]) for row in report.rows] == [a * b for a, b in shapes]


def test_what_a_node_needs_of_sizes_is_asked_for_every_kind() -> None:
    # n and m meet in an Add: both must be the same or 1. The second of the alike notes nothing new, and is bound alike.
    made = [helper.make_node("Add", ["s", "r"], ["a"]), helper.make_node("Add", ["s", "r"], ["b"])]
    report = macsim.count(model(made, INPUTS, {}, {}))
    bound = report.bind(n=4, m=4)
    assert [int(row.work["add"]) for row in bound.rows] == [4 * 256] * 2


def test_functions_with_attributes_of_their_call() -> None:
    axis = onnx.AttributeProto(name="axis", ref_attr_name="over", type=onnx.AttributeProto.INT)
    flat = helper.make_node("Flatten", ["y"], ["z"])
    flat.attribute.append(axis)
    function = helper.make_function(
        "my", "F", ["x"], ["z"], [helper.make_node("Identity", ["x"], ["y"]), flat],
        [helper.make_opsetid("", 21)], ["over"],
    )  # fmt: skip
    calls = [helper.make_node("F", ["x"], [f"o{i}"], domain="my", over=over) for i, over in enumerate((1, 2, 1, 3))]
    graph = helper.make_graph(
        calls, "g", [helper.make_tensor_value_info("x", F32, (2, 3, 4, 5))],
        [helper.make_empty_tensor_value_info(name) for call in calls for name in call.output],
    )  # fmt: skip
    whole = helper.make_model(
        graph, functions=[function], opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("my", 1)]
    )
    shapes = [row.outputs[0].shape for row in macsim.count(whole).rows if row.op == "Flatten"]
    assert [tuple(map(int, shape)) for shape in shapes] == [(2, 60), (6, 20), (2, 60), (24, 5)]
