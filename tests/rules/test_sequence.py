"""Sequences and optionals: lists of references are no work; only cutting and joining move bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from truth import Case, case, check, const, f32, optional, sequence, t

import macsim

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL

CASES = [
    # Parts that agree give their shape; sizes that differ are unknown in the element's type, ranks that differ too.
    case("SequenceConstruct", [f32(2, 3), f32(2, 3)], sequence("f32", 2, 3), read=0, written=0),
    case("SequenceConstruct", [t("i64", "n")], sequence("i64", "n")),
    case("SequenceConstruct", [f32(3), f32(2, 3)], sequence("f32")),
    case("SequenceEmpty", [], sequence("f32")),
    case("SequenceEmpty", [], sequence("i64"), attrs={"dtype": INT}),
    case("SequenceAt", [sequence("f16", 2, "n"), const("i64", 0)], t("f16", 2, "n"), read=0, written=0),
    case("SequenceInsert", [sequence("f32", 2, 3), f32(2, 3)], sequence("f32", 2, 3)),
    case("SequenceInsert", [sequence("f32", 2, 3), f32(2), const("i64", 0)], sequence("f32")),
    case("SequenceErase", [sequence("f32", 2, 3)], sequence("f32", 2, 3)),
    case("SequenceLength", [sequence("f32", 2, 3)], t("i64")),
    # Without lengths every part is 1 long, and loses the axis when it is not kept. |x| bytes are read and written.
    case("SplitToSequence", [f32(4, "n")], sequence("f32", 1, "n"), read="16*n", written="16*n"),
    case("SplitToSequence", [f32(4, 6)], sequence("f32", 4), attrs={"axis": -1, "keepdims": 0}, read=96, written=96),
    # 6 in parts of 3: all alike. keepdims counts only without lengths.
    case("SplitToSequence", [f32(6, 2), const("i64", 3)], sequence("f32", 3, 2), attrs={"keepdims": 0}),
    case("SplitToSequence", [f32("2*n", 2), const("i64", 2)], sequence("f32", 2, 2)),
    case("SplitToSequence", [f32(6), const("i64", [3, 3])], sequence("f32", 3)),
    # How many elements there are is data: the joined size is a symbol. It is as much as is read and written.
    case(
        "ConcatFromSequence",
        [sequence("f32", 2, 3)],
        f32("node.n", 3),
        attrs={"axis": 0},
        read="12*node.n",
        written="12*node.n",
    ),
    case("ConcatFromSequence", [sequence("f32", 2, 3)], f32(2, 3, "node.n"), attrs={"axis": -1, "new_axis": 1}),
    case("Optional", [f32(2, 3)], optional("f32", 2, 3), read=0, written=0),
    case("OptionalGetElement", [optional("f32", 2, 3)], f32(2, 3), read=0, written=0),
    case("OptionalGetElement", [f32(2, 3)], f32(2, 3)),
    case("OptionalGetElement", [sequence("f32", 2)], sequence("f32", 2)),
    case("OptionalHasElement", [optional("f32", 2, 3)], t("bool")),
    case("OptionalHasElement", [f32(2, 3)], t("bool")),
]


@pytest.mark.parametrize("c", CASES, ids=str)
def test_truth(c: Case) -> None:
    check(c)


# Chains: what is known of the parts comes out at the end. -------------------------------------------------------------


def shapes(nodes: list[onnx.NodeProto], inputs: dict[str, Any], outputs: list[str], opset: int = 20) -> list[Any]:
    feeds = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()]
    graph = helper.make_graph(nodes, "g", feeds, [onnx.ValueInfoProto(name=name) for name in outputs])
    report = macsim.count(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10))
    assert not [note for note in report.diagnostics if note.severity != "note"], report.diagnostics
    return [tensor.shape for tensor in report.outputs]


def node(op: str, inputs: list[str], output: str, **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], **attrs)


def number(name: str, value: int) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value_int=value)


THREE = [node("SequenceConstruct", ["a", "b", "c"], "s")]
SIZES = {"a": (1, 4), "b": ("n", 4), "c": (3, 4)}


@pytest.mark.parametrize(("at", "rows"), [(0, 1), (1, "n"), (2, 3), (-1, 3), (-3, 1)])
def test_at_a_known_position(at: int, rows: Any) -> None:
    nodes = [*THREE, number("i", at), node("SequenceAt", ["s", "i"], "y")]
    assert [str(d) for d in shapes(nodes, SIZES, ["y"])[0]] == [str(rows), "4"]


def test_parts_are_summed_when_joined() -> None:
    nodes = [*THREE, node("ConcatFromSequence", ["s"], "y", axis=0)]
    assert shapes(nodes, SIZES, ["y"]) == [(macsim.Expr("n + 4"), 4)]


def test_insert_and_erase_move_the_parts() -> None:
    # [a, b, c] -> d goes to position 1 -> [a, d, b, c] -> the second last goes -> [a, d, c].
    nodes = [
        *THREE,
        number("one", 1),
        number("minus2", -2),
        node("SequenceInsert", ["s", "d", "one"], "s2"),
        node("SequenceErase", ["s2", "minus2"], "s3"),
        node("ConcatFromSequence", ["s3"], "y", axis=0),
        node("SequenceLength", ["s3"], "n3"),
        node("ConstantOfShape", ["n3x"], "z"),
        node("Unsqueeze", ["n3", "zero"], "n3x"),
        helper.make_node("Constant", [], ["zero"], value_ints=[0]),
    ]
    order = [0, 1, 2, 3, 4, 5, 6, 9, 8, 7]
    joined, length = shapes([nodes[i] for i in order], SIZES | {"d": (10, 4)}, ["y", "z"])
    assert joined == (1 + 10 + 3, 4)
    assert length == (3,)


def test_an_unknown_position_keeps_the_number_of_parts() -> None:
    # Whichever goes, one of three [?, 4] is left two times: 2 parts in all, of 4 columns.
    nodes = [
        *THREE,
        node("Cast", ["where"], "i", to=INT),
        node("SequenceErase", ["s", "i"], "s2"),
        number("one", 1),
        node("SequenceAt", ["s2", "one"], "y"),
    ]
    rows, columns = shapes(nodes, SIZES | {"where": ()}, ["y"])[0]
    assert not isinstance(rows, int)
    assert columns == 4


def test_split_and_join_is_the_whole_again() -> None:
    nodes = [
        number("three", 3),
        node("SplitToSequence", ["x", "three"], "s", axis=1),
        node("ConcatFromSequence", ["s"], "y", axis=1),
        number("last", -1),
        node("SequenceAt", ["s", "last"], "z"),
    ]
    # 7 in parts of 3: 3, 3 and 1.
    assert shapes(nodes, {"x": (2, 7)}, ["y", "z"]) == [(2, 7), (2, 1)]


def test_shapes_pass_through_sequences() -> None:
    # The sizes of x, cut up and joined in another order, are a shape again.
    nodes = [
        node("Shape", ["x"], "sizes"),
        node("SplitToSequence", ["sizes"], "s", keepdims=1),
        number("zero", 0),
        number("one", 1),
        node("SequenceAt", ["s", "one"], "columns"),
        node("SequenceAt", ["s", "zero"], "rows"),
        node("SequenceConstruct", ["columns", "rows"], "swapped"),
        node("ConcatFromSequence", ["swapped"], "shape", axis=0),
        node("Reshape", ["x", "shape"], "y"),
    ]
    assert shapes(nodes, {"x": ("n", 5)}, ["y"]) == [(5, macsim.Expr("n"))]


def test_optionals_remember_what_they_hold() -> None:
    nodes = [
        node("Optional", ["x"], "o"),
        node("OptionalHasElement", ["o"], "has"),
        node("OptionalGetElement", ["o"], "it"),
        helper.make_node(
            "If",
            ["has"],
            ["y"],
            then_branch=helper.make_graph(
                [node("Identity", ["it"], "t")], "t", [], [helper.make_tensor_value_info("t", FLOAT, None)]
            ),
            else_branch=helper.make_graph(
                [node("Transpose", ["x"], "e")], "e", [], [helper.make_tensor_value_info("e", FLOAT, None)]
            ),
        ),
    ]
    assert shapes(nodes, {"x": (2, 5)}, ["y"]) == [(2, 5)]


def test_an_empty_optional_is_known_to_be_empty() -> None:
    held = helper.make_tensor_type_proto(FLOAT, (2, 5))
    nodes = [
        node("Optional", [], "o", type=held),
        node("OptionalHasElement", ["o"], "has"),
        node("Cast", ["has"], "n", to=INT),
        helper.make_node("Constant", [], ["zero"], value_ints=[0]),
        node("Unsqueeze", ["n", "zero"], "shape"),
        node("ConstantOfShape", ["shape"], "y"),
    ]
    assert shapes(nodes, {}, ["y"]) == [(0,)]


def grown(trips: Any) -> onnx.ModelProto:
    """A loop that puts x at the end of a sequence, and joins it afterwards."""
    value = helper.make_tensor_value_info
    list_of = helper.make_tensor_sequence_value_info
    body = helper.make_graph(
        [node("Identity", ["go"], "go_on"), node("SequenceInsert", ["held", "x"], "longer")],
        "body",
        [value("i", INT, ()), value("go", BOOL, ()), list_of("held", FLOAT, None)],
        [value("go_on", BOOL, ()), list_of("longer", FLOAT, None)],
    )
    nodes = [
        node("SequenceEmpty", [], "none"),
        helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", BOOL, (), [True])),
        helper.make_node("Loop", ["trips", "yes", "none"], ["all"], body=body),
        node("ConcatFromSequence", ["all"], "y", axis=0),
    ]
    inputs = [value("x", FLOAT, (2, 3))]
    if trips is None:
        inputs.append(value("trips", INT, ()))
    else:
        nodes.insert(0, number("trips", trips))
    graph = helper.make_graph(nodes, "g", inputs, [onnx.ValueInfoProto(name="y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_sequence_grows_in_a_loop() -> None:
    assert macsim.count(grown(5)).outputs[0].shape == (10, 3)
    rows, columns = macsim.count(grown(None)).outputs[0].shape
    assert not isinstance(rows, int)
    assert columns == 3


def test_a_position_outside_is_told() -> None:
    nodes = [*THREE, number("i", 3), node("SequenceAt", ["s", "i"], "y")]
    feeds = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in SIZES.items()]
    graph = helper.make_graph(nodes, "g", feeds, [onnx.ValueInfoProto(name="y")])
    report = macsim.count(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10))
    assert [note.code for note in report.diagnostics] == ["MS202"]


# Lists as inputs. -----------------------------------------------------------------------------------------------------

ELEMENT = helper.make_tensor_type_proto(FLOAT, ("n", 3))


def taking(kind: onnx.TypeProto, op: str, **attrs: Any) -> onnx.ModelProto:
    nodes = [helper.make_node(op, ["s"], ["y"], name="node", **attrs)]
    graph = helper.make_graph(nodes, "g", [helper.make_value_info("s", kind)], [onnx.ValueInfoProto(name="y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


JOIN = taking(helper.make_sequence_type_proto(ELEMENT), "ConcatFromSequence", axis=0)
OPEN = taking(helper.make_optional_type_proto(ELEMENT), "OptionalGetElement")


def given(model: onnx.ModelProto, **kw: Any) -> list[str]:
    report = macsim.count(model, **kw)
    assert not report.diagnostics, report.diagnostics
    assert report.outputs[0].dtype == "f32"
    return [str(size) for size in report.outputs[0].shape]


def test_a_sequence_is_given_as_a_list() -> None:
    assert given(JOIN) == ["node.n", "3"]
    assert given(JOIN, values={"s": [np.zeros((2, 3), np.float32), np.zeros((4, 3), np.float32)]}) == ["6", "3"]
    assert given(JOIN, shapes={"s": [(2, 3), ("k", 3), (1, 3)]}) == ["k + 3", "3"]
    # One shape is that of every element; how many there are is still open.
    assert given(JOIN, shapes={"s": (2, 3)}) == ["node.n", "3"]


def test_an_optional_is_given_as_what_it_holds() -> None:
    assert given(OPEN) == ["n", "3"]
    assert given(OPEN, dims={"n": 5}) == ["5", "3"]
    assert given(OPEN, shapes={"s": (2, 3)}) == ["2", "3"]
    assert given(OPEN, values={"s": np.zeros((2, 3), np.float32)}) == ["2", "3"]
    assert [note.code for note in macsim.count(OPEN, values={"s": None}).diagnostics] == ["MS202"]


@pytest.mark.parametrize("wrong", [{"values": {"s": 3}}, {"shapes": {"s": (2,)}}, {"shapes": {"s": [(2, 3), (2,)]}}])
def test_lists_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(macsim.RequestError, match="s"):
        macsim.count(JOIN, **wrong)
