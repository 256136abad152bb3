# What cannot be counted is unknown, with a remark that says why; it is never a zero that looks exact.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import models
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import macsim
from macsim import Cost, Expr, Registry

INT, BOOL = TensorProto.INT64, TensorProto.BOOL


def node_model(op: str, shapes: list[tuple[int | str, ...]], domain: str = "", **attrs: object) -> onnx.ModelProto:
    """One node, called "node", over inputs of these shapes."""
    names = [f"x{i}" for i in range(len(shapes))]
    return models.model(
        [helper.make_node(op, names, ["y"], name="node", domain=domain, **attrs)],
        [models.feed(name, *shape) for name, shape in zip(names, shapes, strict=True)],
        [onnx.ValueInfoProto(name="y")],
        domains=[domain] if domain else [],
    )


def graph(nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], *outputs: str) -> onnx.GraphProto:
    return helper.make_graph(nodes, "body", inputs, [onnx.ValueInfoProto(name=name) for name in outputs])


def assert_unknown(report: macsim.Report, code: str, row: int = 0) -> None:
    """Every kind of work of the row is unknown, and a remark on that node says why."""
    assert report.rows[row].trust == "unknown"
    assert {str(amount) for amount in report.rows[row].work.values()} == {"?"}
    assert report.rows[row].because
    assert report.trust == "unknown"
    assert [d.code for d in report.diagnostics if report.rows[row].path in d.where] == [code], report.diagnostics


# Counts past 128 bits -------------------------------------------------------------------------------------------------


def nested(depth: int, trips: int, make_innermost: list[onnx.NodeProto]) -> onnx.ModelProto:
    """Loops around each other, each `trips` times; all see x, w and m of the graph around."""
    body = graph([*make_innermost, helper.make_node("Identity", ["c_in"], ["c"])], [*loop_inputs()], "c")
    for _ in range(depth - 1):
        loop = helper.make_node("Loop", ["m", ""], [], body=body)
        body = graph([loop, helper.make_node("Identity", ["c_in"], ["c"])], [*loop_inputs()], "c")
    return models.model(
        [helper.make_node("Loop", ["m", ""], [], body=body)],
        [models.feed("x", 4, 4)],
        [],
        [models.weight("w", 4, 4), numpy_helper.from_array(np.asarray(trips, np.int64), "m")],
    )


def loop_inputs() -> list[onnx.ValueInfoProto]:
    return [models.feed("i", kind=INT), models.feed("c_in", kind=BOOL)]


def test_loops_whose_product_does_not_fit() -> None:
    """4 * 4 * 4 macs a trip: 64 * 10^9^4 fits 128 bits, 64 * 10^9^5 does not."""
    matmul = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    fits = macsim.count(nested(4, 10**9, matmul))
    assert (fits.macs, fits.trust) == (64 * 10**36, "exact")
    report = macsim.count(nested(5, 10**9, matmul))
    (row,) = (i for i, row in enumerate(report.rows) if row.op == "MatMul")
    assert str(report.rows[row].macs) == "?"
    assert report.rows[row].trust == "unknown"
    assert (report.trust, report.total.sign("macs")) == ("unknown", ">=")
    assert [d.code for d in report.diagnostics if "MatMul" in d.where] == ["MS301"]
    with pytest.raises(macsim.UnknownWorkError):
        macsim.count(nested(5, 10**9, matmul), strict=True)


def test_a_product_that_does_not_fit() -> None:
    """2^50 * 2^50 * 2^50 macs."""
    report = macsim.count(node_model("MatMul", [(2**50, 2**50), (2**50, 2**50)]))
    assert str(report.rows[0].macs) == "?"
    assert report.rows[0].trust == "unknown"
    assert [d.code for d in report.diagnostics] == ["MS301"]


def test_binding_sizes_that_do_not_fit() -> None:
    """a * 2^84 macs, and a * 2^42 * 4 bytes written: with a = 2^45 the macs pass 128 bits, the bytes do not."""
    symbolic = macsim.count(node_model("MatMul", [("a", 2**42), (2**42, 2**42)]))
    assert symbolic.macs == Expr("a") * 2**84
    assert symbolic.bind(a=2**42).macs == 2**126
    report = symbolic.bind(a=2**45)
    row = report.rows[0]
    assert (str(row.macs), row.trust, row.written) == ("?", "unknown", 2**89)
    assert (report.trust, report.total.unknown, report.total.sign("macs")) == ("unknown", 1, ">=")
    assert [d.code for d in report.diagnostics] == ["MS301"]
    assert "node" in report.diagnostics[0].where
    assert report.by("op")[0].trust == "unknown"
    assert (symbolic.trust, symbolic.diagnostics) == ("exact", [])


def test_a_sum_that_does_not_fit() -> None:
    """Two products of 2^126 macs: each fits, their sum of 2^127 does not."""
    nodes = [helper.make_node("MatMul", ["x", "x"], [y]) for y in ("y", "z")]
    report = macsim.count(models.model(nodes, [models.feed("x", 2**42, 2**42)], []))
    assert [row.macs for row in report.rows] == [2**126, 2**126]
    assert [row.trust for row in report.rows] == ["exact", "exact"]
    for total in (report.total, report.by("op")[0]):
        assert (str(total.macs), total.trust, total.unknown) == ("?", "unknown", 0)
    assert "| MACs | ? |" in report.to_markdown()
    assert "A sum does not fit 128 bits" in report.to_markdown()
    with pytest.raises(macsim.UnknownWorkError, match="a sum does not fit 128 bits"):
        macsim.analyze(report.model, strict=True)


# Inputs that do not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "shapes", "attrs"),
    [
        ("MatMul", [(2, 3), (4, 5)], {}),  # K of 3 and of 4
        ("Conv", [(1, 3, 8, 8), (4, 5, 3, 3)], {}),  # 3 channels and 5
        ("Conv", [(1, 3, 2, 2), (4, 3, 5, 5)], {}),  # 5 taps over 2 positions
        ("Conv", [(0, 3, 4, 4), (4, 3, 5, 5)], {}),  # the same in an empty batch: 4 - 5 + 1 = 0 positions
        ("Conv", [(1, 3, 2, 2), (4, 3, 5, 5)], {"strides": [4, 4]}),  # floor(-3/4) + 1 = 0
        ("Conv", [(1, 3, 8, 8), (4, 3, 3, 3)], {"kernel_shape": [5, 5]}),
        ("MaxPool", [(1, 3, 2, 2)], {"kernel_shape": [3, 3]}),
        ("Relu", [], {}),
        ("Conv", [], {}),
    ],
)
def test_inputs_that_do_not_fit(op: str, shapes: list[tuple[int, ...]], attrs: dict) -> None:
    report = macsim.count(node_model(op, shapes, **attrs))
    assert report.rows[0].trust == "unknown"
    assert {str(amount) for amount in report.rows[0].work.values()} == {"?"}
    assert {d.code for d in report.diagnostics} == {"MS202"}


def test_a_window_that_fits_for_some_sizes() -> None:
    """5 taps: from h = 5 on there are h - 4 positions; 4 * 75 macs each. A last window may be cut with ceil_mode."""
    report = macsim.count(node_model("Conv", [(1, 3, "h", 5), (4, 3, 5, 5)]))
    assert report.bind(h=5).macs == 4 * 75
    assert report.evaluate("macs", h=[5, 6]).tolist() == [4 * 75, 2 * 4 * 75]
    with pytest.raises(macsim.RequestError):
        report.bind(h=4)
    with pytest.raises(macsim.RequestError, match="h - 5 would be -1"):
        report.evaluate("macs", h=[6, 4, 5])
    with pytest.raises(macsim.RequestError, match="h - 5 would be -2"):
        report.evaluate("macs", h=3)
    pool = macsim.count(node_model("MaxPool", [(1, 3, 2, 2)], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1))
    assert (pool.outputs[0].shape, pool.trust) == ((1, 3, 1, 1), "exact")


def test_nothing_is_a_size() -> None:
    """An empty batch has no work; a window over an empty image gives an empty image."""
    batch = macsim.count(node_model("Conv", [(0, 3, 8, 8), (4, 3, 5, 5)]))
    image = macsim.count(node_model("MaxPool", [(1, 3, 0, 0)], kernel_shape=[1, 1]))
    for report, shape in ((batch, (0, 4, 4, 4)), (image, (1, 3, 0, 0))):
        assert (report.macs, report.trust, report.diagnostics) == (0, "exact", [])
        assert report.outputs[0].shape == shape


def test_an_optional_without_a_value_has_no_input() -> None:
    node = helper.make_node("Optional", [], ["y"], type=helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    assert macsim.count(models.model([node], [], [onnx.ValueInfoProto(name="y")])).diagnostics == []


# Control flow that cannot run -----------------------------------------------------------------------------------------


def control_model(op: str, inputs: list[str], domain: str = "", **attrs: object) -> onnx.ModelProto:
    stored = [numpy_helper.from_array(np.asarray(3, np.int64), "m")]
    feeds = [models.feed("x", 2, 3), models.feed("c", kind=BOOL), models.feed("ids", 1, 4, kind=TensorProto.INT32)]
    node = helper.make_node(op, inputs, ["y"], name="node", domain=domain, **attrs)
    return models.model([node], feeds, [onnx.ValueInfoProto(name="y")], stored, [domain] if domain else [])


IDENTITY = graph([helper.make_node("Identity", ["x"], ["o"])], [], "o")
CARRIES = graph([helper.make_node("Identity", ["s"], ["o"])], [*loop_inputs(), models.feed("s", 2, 3)], "o")


@pytest.mark.parametrize(
    "proto",
    [
        control_model("If", ["c"], then_branch=IDENTITY),
        control_model("Scan", ["x"], body=IDENTITY, num_scan_inputs=5),
        control_model("Loop", ["m", ""]),
        control_model("Loop", ["m", "", "x"], body=CARRIES),  # gives what is carried, and no condition
        control_model("SequenceMap", ["x"]),
        control_model("BeamSearch", ["ids", "m", "m", "m", "m", "x"], "com.microsoft"),
    ],
    ids=lambda proto: proto.graph.node[0].op_type,
)
def test_control_flow_that_cannot_run_has_a_row(proto: onnx.ModelProto) -> None:
    report = macsim.count(proto)
    assert [row.name for row in report.rows] == ["node"]
    assert_unknown(report, "MS202")


# Reasons --------------------------------------------------------------------------------------------------------------


def test_an_operator_that_is_not_known_inside_a_loop_is_told() -> None:
    """Bodies are tried before they are counted: what a trial said and took back is said again."""
    odd = helper.make_node("Odd", ["x"], ["z"], domain="mylib")
    proto = nested(2, 3, [odd])
    proto.opset_import.append(helper.make_opsetid("mylib", 1))
    report = macsim.count(proto)
    assert [d.code for d in report.diagnostics] == ["MS201"]
    assert str(report.rows[0].macs) == "?"


def test_a_loop_nest_past_the_limit_is_told() -> None:
    """Eight loops of 30 whose state grows: 30^8 different iterations."""
    body = None
    for _ in range(8):
        nodes = [helper.make_node("Concat", ["s", "s"], ["next"], axis=0)]
        if body is not None:
            nodes = [helper.make_node("Loop", ["m", "", "s"], ["next"], body=body)]
        nodes.append(helper.make_node("Identity", ["c_in"], ["c"]))
        body = graph(nodes, [*loop_inputs(), models.feed("s", None, 3)], "c", "next")
    stored = [numpy_helper.from_array(np.asarray(30, np.int64), "m")]
    loop = helper.make_node("Loop", ["m", "", "x"], ["y"], body=body)
    report = macsim.count(models.model([loop], [models.feed("x", 2, 3)], [onnx.ValueInfoProto(name="y")], stored))
    assert report.trust == "unknown"
    assert "MS403" in [d.code for d in report.diagnostics]


def test_what_a_rule_does_not_count_is_told() -> None:
    """A compiled part says nothing of what it computes; nor does a rule that says so."""
    report = macsim.count(node_model("EPContext", [(2, 3)], "com.microsoft"))
    assert_unknown(report, "MS207")
    assert report.rows[0].because in report.diagnostics[0].text
    registry = Registry()
    cost = Cost(trust="unknown", because="secret")
    parts = {"infer": staticmethod(lambda call: call.q), "cost": staticmethod(lambda call: cost)}
    registry.op("mylib::Own", slots="q")(type("Own", (), parts))
    assert_unknown(macsim.count(node_model("Own", [(2, 3)], "mylib"), registry=registry), "MS207")


@pytest.mark.parametrize(
    ("infer", "cost", "says"),
    [
        (lambda call: call.q, lambda call: Cost(mac=-7), "Cost(mac=...) is below 0: -7"),
        (lambda call: call.q, lambda call: Cost(mac=1, read=-1), "Cost(read=...) is below 0: -1"),
        (lambda call: call.q, lambda call: Cost(mac=-call.q.shape[0] - 1), "is below 0: -batch - 1"),
        (lambda call: (call.q, call.q), lambda call: Cost(mac=1), "gave 2 outputs, the node has 1"),
    ],
)
def test_a_rule_of_ones_own_that_cannot_be_right(infer, cost, says: str) -> None:
    registry = Registry()
    registry.op("mylib::Own", slots="q")(type("Own", (), {"infer": staticmethod(infer), "cost": staticmethod(cost)}))
    report = macsim.count(node_model("Own", [("batch", 3)], "mylib"), registry=registry)
    assert_unknown(report, "MS501")
    assert says in report.diagnostics[0].text


def test_a_shape_that_contradicts_the_file_is_told_once() -> None:
    report = macsim.count(node_model("Relu", [(1, 3, 224, 224)]), shapes=(1, 3, 32, 32))
    assert [d.code for d in report.diagnostics] == ["MS203"]


def test_a_sum_over_nothing_takes_no_work_when_it_is_bound() -> None:
    """n terms take n - 1 additions, and none of them none: the same before and after."""
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=[helper.make_opsetid("", 13)])
    assert macsim.count(model).bind(n=5).work["add"] == 4
    assert macsim.count(model).bind(n=0).work["add"] == macsim.count(model, dims={"n": 0}).work["add"] == 0
