"""Control flow and functions: bodies run and counted as often as they run. Every expected number is worked out by hand.

The unit of work is a MatMul of [2, 3] @ [3, 3]: 2 * 3 * 3 = 18 MACs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import macsim

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
UNIT = 18


def value(name: str, kind: int = FLOAT, shape: Any = (2, 3)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def const(name: str, data: Any, dtype: Any = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(data, dtype=dtype), name)


WEIGHT = const("w", np.ones((3, 3)), np.float32)


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[str],
    stored: list[onnx.TensorProto] | None = None,
    functions: list[onnx.FunctionProto] | None = None,
    opset: int = 17,
    extra: tuple[str, ...] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", inputs, [onnx.ValueInfoProto(name=o) for o in outputs], [WEIGHT, *(stored or [])]
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in extra)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions or [], ir_version=10)


def body(
    nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: list[str], **kw: Any
) -> onnx.GraphProto:
    return helper.make_graph(nodes, "body", inputs, [onnx.ValueInfoProto(name=o) for o in outputs], **kw)


def branches(then_units: int, else_units: int) -> dict[str, onnx.GraphProto]:
    """Two bodies that capture x and w: so many matmuls in a row each."""

    def chain(tag: str, units: int) -> onnx.GraphProto:
        nodes, last = [], "x"
        for i in range(units):
            nodes.append(helper.make_node("MatMul", [last, "w"], [f"{tag}{i}"]))
            last = f"{tag}{i}"
        nodes.append(helper.make_node("Identity", [last], [f"{tag}_out"]))
        return body(nodes, [], [f"{tag}_out"])

    return {"then_branch": chain("t", then_units), "else_branch": chain("e", else_units)}


@pytest.mark.parametrize(("condition", "units"), [(True, 1), (False, 2)])
def test_if_with_a_known_condition_counts_that_branch(condition: bool, units: int) -> None:
    proto = model([helper.make_node("If", ["c"], ["y"], **branches(1, 2))], [value("x"), value("c", BOOL, ())], ["y"])
    report = macsim.count(proto, values={"c": condition})
    assert report.macs == units * UNIT
    assert report.trust == "exact"
    assert tuple(report.outputs[0].shape) == (2, 3)


@pytest.mark.parametrize(("then_units", "else_units"), [(1, 3), (3, 1)])
def test_if_with_an_unknown_condition_counts_the_larger_branch_as_a_bound(then_units: int, else_units: int) -> None:
    proto = model(
        [helper.make_node("If", ["c"], ["y"], **branches(then_units, else_units))],
        [value("x"), value("c", BOOL, ())],
        ["y"],
    )
    report = macsim.count(proto)
    assert report.macs == 3 * UNIT
    assert report.trust == "bound"
    assert [d.code for d in report.diagnostics] == ["MS401"]


# What a branch needs of sizes -----------------------------------------------------------------------------------------


def _either(then: str, other: str, shape: str = "[n, 4]") -> macsim.Report:
    """One of two bodies, and nobody knows which; both capture x, a w of [4, 4] and a k of [1, 1, 3]."""
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    g (float{shape} x, bool c, float[4, 4] w, float[1, 1, 3] k) => (y) {{
        y = If (c) <then_branch = a () => (p) {{ {then} }}, else_branch = b () => (q) {{ {other} }}>
    }}"""
    return macsim.count(onnx.parser.parse_model(text))


SEVEN_ROWS = "s = Constant <value_ints = [7, 4]> () r = Reshape (x, s)"


def test_sizes_that_only_a_branch_refuses_are_not_refused() -> None:
    # 7 rows of [4] @ [4, 4] in the branch that needs n to be 7; a sum to a scalar ends both.
    report = _either(
        f"{SEVEN_ROWS} m = MatMul (r, w) p = ReduceSum <keepdims = 0> (m)", "q = ReduceSum <keepdims = 0> (x)"
    )
    assert report.bind(n=9).macs == 7 * 16
    assert report.bind(n=9).trust == "bound"


def test_what_a_branch_takes_for_granted_is_asked_when_its_result_goes_on() -> None:
    # The larger branch makes n rows one; were it the other branch that ran, n rows would go on.
    first = "z = Constant <value_ints = [0]> () m = MatMul (x, w) p = Squeeze (m, z)"
    report = _either(first, "q = Identity (x)")
    assert report.bind(n=1).macs == 16
    with pytest.raises(macsim.RequestError, match="n"):
        report.bind(n=2)


def test_what_the_smaller_branch_takes_for_granted_is_not_asked() -> None:
    report = _either("p = MatMul (x, w)", f"{SEVEN_ROWS} q = Identity (r)")
    assert report.bind(n=9).macs == 9 * 16


def test_a_window_in_a_branch_may_be_larger_than_its_input() -> None:
    # n - 2 places of 3 products each, and none where n is 1.
    report = _either(
        "v = Conv (x, k) p = ReduceSum <keepdims = 0> (v)", "q = ReduceSum <keepdims = 0> (x)", "[1, 1, n]"
    )
    assert report.bind(n=5).macs == 9
    assert report.bind(n=1).macs == 0


def test_if_whose_condition_is_a_stored_constant() -> None:
    proto = model(
        [helper.make_node("If", ["c"], ["y"], **branches(1, 2))], [value("x")], ["y"], [const("c", False, np.bool_)]
    )
    assert macsim.count(proto).macs == 2 * UNIT


def loop_body(extra: list[onnx.NodeProto] | None = None, going: str = "going_in") -> onnx.GraphProto:
    nodes = [
        *(extra or []),
        helper.make_node("MatMul", ["state", "w"], ["next"]),
        helper.make_node("Identity", [going], ["going"]),
    ]
    inputs = [value("i", INT, ()), value("going_in", BOOL, ()), value("state")]
    return body(nodes, inputs, ["going", "next", "next"])


def test_loop_with_constant_trips_multiplies_its_body_and_stacks_scan_outputs() -> None:
    node = helper.make_node("Loop", ["m", "c", "x"], ["y", "ys"], body=loop_body())
    proto = model([node], [value("x")], ["y", "ys"], [const("m", 7), const("c", True, np.bool_)])
    report = macsim.count(proto)
    assert report.macs == 7 * UNIT
    assert report.trust == "exact"
    assert tuple(report.outputs[0].shape) == (2, 3)
    assert tuple(report.outputs[1].shape) == (7, 2, 3)


def test_loop_with_absent_condition_and_trips_from_an_input_value() -> None:
    node = helper.make_node("Loop", ["m", "", "x"], ["y", "ys"], body=loop_body())
    proto = model([node], [value("x"), value("m", INT, ())], ["y", "ys"])
    assert macsim.count(proto, values={"m": 5}).macs == 5 * UNIT
    symbolic = macsim.count(proto)
    assert len(symbolic.unbound) == 1
    (trips,) = (u.name for u in symbolic.unbound)
    assert symbolic.bind({trips: 11}).macs == 11 * UNIT
    assert "MS402" in [d.code for d in symbolic.diagnostics]


def test_loop_whose_trips_are_a_size_stays_symbolic() -> None:
    nodes = [
        helper.make_node("Shape", ["z"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["m"]),
        helper.make_node("Loop", ["m", "", "x"], ["y", "ys"], body=loop_body()),
    ]
    proto = model(nodes, [value("x"), value("z", FLOAT, ("steps", 4))], ["y", "ys"], [const("zero", 0)])
    report = macsim.count(proto)
    assert report.macs == UNIT * macsim.Expr("steps")
    assert report.bind(steps=9).macs == 9 * UNIT
    assert [str(d) for d in report.outputs[1].shape] == ["steps", "2", "3"]


def test_zero_trips_do_nothing_and_pass_the_state_through() -> None:
    node = helper.make_node("Loop", ["m", "", "x"], ["y", "ys"], body=loop_body())
    report = macsim.count(model([node], [value("x")], ["y", "ys"], [const("m", 0)]))
    assert report.macs == 0
    assert tuple(report.outputs[0].shape) == (2, 3)
    assert tuple(report.outputs[1].shape) == (0, 2, 3)


def test_loop_that_stops_itself_by_counting() -> None:
    # going = i < 3 after iteration i: iterations 0, 1, 2, 3 run.
    extra = [helper.make_node("Less", ["i", "three"], ["again"])]
    node = helper.make_node("Loop", ["", "c", "x"], ["y", "ys"], body=loop_body(extra, "again"))
    proto = model([node], [value("x")], ["y", "ys"], [const("three", 3), const("c", True, np.bool_)])
    report = macsim.count(proto)
    assert report.macs == 4 * UNIT
    assert tuple(report.outputs[1].shape) == (4, 2, 3)


def test_loop_whose_state_grows_is_counted_iteration_by_iteration() -> None:
    # state [n, 3] starts at n = 2 and is concatenated with itself: matmuls of 2, 4, 8 rows.
    nodes = [
        helper.make_node("MatMul", ["state", "w"], ["mm"]),
        helper.make_node("Concat", ["mm", "mm"], ["next"], axis=0),
        helper.make_node("Identity", ["going_in"], ["going"]),
    ]
    grow = body(
        nodes, [value("i", INT, ()), value("going_in", BOOL, ()), value("state", FLOAT, (None, 3))], ["going", "next"]
    )
    node = helper.make_node("Loop", ["m", "", "x"], ["y"], body=grow)
    report = macsim.count(model([node], [value("x")], ["y"], [const("m", 3)]))
    assert report.macs == (2 + 4 + 8) * 3 * 3
    assert tuple(report.outputs[0].shape) == (16, 3)
    assert report.trust == "exact"


def test_growing_state_with_unknown_trips_is_not_claimed_exact() -> None:
    nodes = [
        helper.make_node("MatMul", ["state", "w"], ["mm"]),
        helper.make_node("Concat", ["mm", "mm"], ["next"], axis=0),
        helper.make_node("Identity", ["going_in"], ["going"]),
    ]
    grow = body(
        nodes, [value("i", INT, ()), value("going_in", BOOL, ()), value("state", FLOAT, (None, 3))], ["going", "next"]
    )
    node = helper.make_node("Loop", ["m", "", "x"], ["y"], body=grow)
    report = macsim.count(model([node], [value("x"), value("m", INT, ())], ["y"]))
    assert report.trust != "exact"
    assert report.outputs[0].shape is not None
    assert str(report.outputs[0].shape[0]) != "2"


def test_nested_loops_multiply() -> None:
    inner = helper.make_node("Loop", ["n", "", "state"], ["next"], body=body(
        [helper.make_node("MatMul", ["s2", "w"], ["n2"]), helper.make_node("Identity", ["c2"], ["g2"])],
        [value("i2", INT, ()), value("c2", BOOL, ()), value("s2")], ["g2", "n2"]))  # fmt: skip
    outer = body(
        [inner, helper.make_node("Identity", ["going_in"], ["going"])],
        [value("i", INT, ()), value("going_in", BOOL, ()), value("state")],
        ["going", "next"],
    )
    proto = model(
        [helper.make_node("Loop", ["m", "", "x"], ["y"], body=outer)],
        [value("x")],
        ["y"],
        [const("m", 4), const("n", 5)],
    )
    report = macsim.count(proto)
    assert report.macs == 20 * UNIT
    assert [row.times for row in report.rows if row.op == "MatMul"] == [20]


def test_scan_runs_its_body_for_every_slice() -> None:
    nodes = [helper.make_node("MatMul", ["h", "w"], ["hw"]), helper.make_node("Add", ["hw", "slice"], ["h_out"])]
    inner = body(nodes, [value("h"), value("slice")], ["h_out", "h_out"])
    node = helper.make_node("Scan", ["x", "seq"], ["y", "ys"], body=inner, num_scan_inputs=1)
    report = macsim.count(model([node], [value("x"), value("seq", FLOAT, ("steps", 2, 3))], ["y", "ys"]))
    assert report.macs == UNIT * macsim.Expr("steps")
    assert report.work["add"] == 6 * macsim.Expr("steps")
    assert [str(d) for d in report.outputs[1].shape] == ["steps", "2", "3"]


def test_scan_over_other_axes() -> None:
    nodes = [helper.make_node("MatMul", ["h", "w"], ["hw"]), helper.make_node("Add", ["hw", "slice"], ["h_out"])]
    inner = body(nodes, [value("h"), value("slice")], ["h_out", "h_out"])
    node = helper.make_node(
        "Scan", ["x", "seq"], ["y", "ys"], body=inner, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[-1]
    )
    report = macsim.count(model([node], [value("x"), value("seq", FLOAT, (2, 6, 3))], ["y", "ys"]))
    assert report.macs == 6 * UNIT
    assert tuple(report.outputs[1].shape) == (2, 3, 6)


def test_scan_8_has_a_batch_axis() -> None:
    nodes = [helper.make_node("MatMul", ["h", "w"], ["hw"]), helper.make_node("Add", ["hw", "slice"], ["h_out"])]
    inner = body(nodes, [value("h"), value("slice")], ["h_out", "h_out"])
    node = helper.make_node("Scan", ["", "x", "seq"], ["y", "ys"], body=inner, num_scan_inputs=1)
    proto = model([node], [value("x", FLOAT, (5, 2, 3)), value("seq", FLOAT, (5, 4, 2, 3))], ["y", "ys"], opset=8)
    report = macsim.count(proto)
    assert report.macs == 5 * 4 * UNIT
    assert tuple(report.outputs[0].shape) == (5, 2, 3)
    assert tuple(report.outputs[1].shape) == (5, 4, 2, 3)


def test_sequence_map_runs_its_body_for_every_element() -> None:
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "z"], ["seq"]),
        helper.make_node(
            "SequenceMap",
            ["seq"],
            ["out"],
            body=body([helper.make_node("MatMul", ["e", "w"], ["o"])], [value("e", FLOAT, None)], ["o"]),
        ),
        helper.make_node("SequenceAt", ["out", "one"], ["y"]),
    ]
    report = macsim.count(model(nodes, [value("x"), value("z", FLOAT, (5, 3))], ["y"], [const("one", 1)]))
    assert report.macs == (2 + 5) * 3 * 3
    assert tuple(report.outputs[0].shape) == (5, 3)


def function(name: str, nodes: list[onnx.NodeProto], domain: str = "mine", **kw: Any) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    return helper.make_function(domain, name, ["a", "b"], ["y"], nodes, opsets, **kw)


def test_functions_are_expanded_also_nested() -> None:
    once = function("Once", [helper.make_node("MatMul", ["a", "b"], ["y"])])
    twice = function(
        "Twice",
        [
            helper.make_node("Once", ["a", "b"], ["t"], domain="mine"),
            helper.make_node("Once", ["t", "b"], ["y"], domain="mine"),
        ],
    )
    nodes = [
        helper.make_node("Twice", ["x", "w"], ["h"], domain="mine"),
        helper.make_node("Twice", ["h", "w"], ["y"], domain="mine"),
    ]
    report = macsim.count(model(nodes, [value("x")], ["y"], functions=[once, twice], extra=("mine",)))
    assert report.macs == 4 * UNIT
    assert report.parameters == 9, "one weight, however many functions read it"
    assert tuple(report.outputs[0].shape) == (2, 3)


def test_function_attributes_come_from_the_call_or_the_default() -> None:
    concat = helper.make_node("Concat", ["a", "b"], ["y"])
    concat.attribute.append(onnx.AttributeProto(name="axis", type=onnx.AttributeProto.INT, ref_attr_name="along"))
    with_default = function("Join", [concat], attribute_protos=[helper.make_attribute("along", 0)])
    nodes = [
        helper.make_node("Join", ["x", "w"], ["y0"], domain="mine"),
        helper.make_node("Join", ["x", "x"], ["y1"], domain="mine", along=1),
    ]
    report = macsim.count(model(nodes, [value("x")], ["y0", "y1"], functions=[with_default], extra=("mine",)))
    assert tuple(report.outputs[0].shape) == (5, 3)
    assert tuple(report.outputs[1].shape) == (2, 6)


def test_a_function_that_calls_itself_is_refused() -> None:
    forever = function("Forever", [helper.make_node("Forever", ["a", "b"], ["y"], domain="mine")])
    proto = model(
        [helper.make_node("Forever", ["x", "w"], ["y"], domain="mine")],
        [value("x")],
        ["y"],
        functions=[forever],
        extra=("mine",),
    )
    with pytest.raises(macsim.ReadError, match="MS404"):
        macsim.count(proto)


def test_functions_that_double_forever_stop_at_the_limit() -> None:
    """64 functions, each calling the next twice: 2**64 matmuls. The count ends, and says that it is short."""
    functions = [function("f64", [helper.make_node("MatMul", ["a", "b"], ["y"])])]
    for i in range(64):
        call = [
            helper.make_node(f"f{i + 1}", ["a", "b"], ["t"], domain="mine"),
            helper.make_node(f"f{i + 1}", ["t", "b"], ["y"], domain="mine"),
        ]
        functions.append(function(f"f{i}", call))
    proto = model(
        [helper.make_node("f0", ["x", "w"], ["y"], domain="mine")],
        [value("x")],
        ["y"],
        functions=functions,
        extra=("mine",),
    )
    report = macsim.count(proto)
    assert report.trust == "unknown"
    assert "MS403" in [d.code for d in report.diagnostics]
