"""Cases that any counter must get right, as ONNX: each number is from a public report, or worked out here."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import macsim

F = TensorProto.FLOAT


def one_node(
    op: str,
    shapes: list[tuple[Any, ...] | None],
    weights: tuple[int, ...] = (),
    opset: int = 24,
    outputs: int = 1,
    **attrs: Any,
) -> onnx.ModelProto:
    """A model of one operator; inputs at the positions of `weights` are stored, with no payload at hand."""
    names = ["" if s is None else f"x{i}" for i, s in enumerate(shapes)]
    feeds, stored = [], []
    for i, shape in enumerate(shapes):
        if shape is None:
            continue
        if i in weights:
            proto = TensorProto(name=f"x{i}", data_type=F, dims=list(shape), data_location=TensorProto.EXTERNAL)
            proto.external_data.add(key="location", value="absent")
            stored.append(proto)
        else:
            feeds.append(helper.make_tensor_value_info(f"x{i}", F, shape))
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], **attrs)
    graph = helper.make_graph([node], "g", feeds, [onnx.ValueInfoProto(name="y0")], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def test_attention_is_counted_in_full() -> None:
    # 12 heads, 64 x 64 positions, 64 wide, two contractions: 2 * 12 * 64**3
    assert macsim.count(one_node("Attention", [(1, 12, 64, 64)] * 3)).macs == 6_291_456


def test_lstm_and_gru_over_all_steps() -> None:
    # steps * batch * gates * hidden * (input + hidden)
    lstm = one_node("LSTM", [(5, 3, 10), (1, 80, 10), (1, 80, 20)], (1, 2), hidden_size=20)
    assert macsim.count(lstm).macs == 5 * 3 * 4 * 20 * (10 + 20) == 36_000
    gru = one_node("GRU", [(5, 3, 10), (1, 60, 10), (1, 60, 20)], (1, 2), hidden_size=20)
    assert macsim.count(gru).macs == 27_000
    long = one_node("LSTM", [(100, 1, 64), (1, 256, 64), (1, 256, 64)], (1, 2), hidden_size=64)
    assert macsim.count(long).macs == 3_276_800


def test_transposed_convolution_multiplies_by_input_positions() -> None:
    proto = one_node("ConvTranspose", [(1, 3, 2, 2), (3, 1, 2, 2), (1,)], (1, 2), strides=[2, 2])
    report = macsim.count(proto)
    assert report.macs == 48
    assert report.work["add"] == 16


@pytest.mark.parametrize(
    ("a", "b", "macs"),
    [((8,), (8,), 8), ((4, 8), (8,), 32), ((2, 1, 4, 8), (3, 8, 5), 960)],
    ids=["dot", "mv", "broadcast"],
)
def test_matmul_of_every_rank(a: tuple[int, ...], b: tuple[int, ...], macs: int) -> None:
    assert macsim.count(one_node("MatMul", [a, b])).macs == macs


def test_addition_is_no_mac_and_one_flop_an_element() -> None:
    report = macsim.count(one_node("Add", [(2, 3, 4), (2, 3, 4)]))
    assert report.macs == 0
    assert report.flops == 24


@pytest.mark.parametrize(("shape", "macs"), [((5, 10, 3), 1_200), ((5, 100, 100, 3), 1_200_000)])
def test_linear_layers_count_every_row(shape: tuple[int, ...], macs: int) -> None:
    assert macsim.count(one_node("MatMul", [shape, (3, 8)], (1,))).macs == macs


def test_a_weight_shared_by_three_calls_is_three_times_the_work_and_once_the_parameters() -> None:
    proto = one_node("Gemm", [(1, 100), (100, 100), (100,)], (1, 2))
    again = [helper.make_node("Gemm", [f"y{i}", "x1", "x2"], [f"y{i + 1}"]) for i in range(2)]
    proto.graph.node.extend(again)
    report = macsim.count(proto)
    assert report.macs == 30_000
    assert report.parameters == 10_100


def test_work_goes_with_the_square_of_the_image_side() -> None:
    proto = one_node("Conv", [("n", 3, "h", "w"), (16, 3, 3, 3)], (1,), pads=[1, 1, 1, 1])
    report = macsim.count(proto)
    at = [report.bind(n=1, h=side, w=side).macs for side in (320, 640, 1280)]
    assert at[0] * 4 == at[1]
    assert at[1] * 4 == at[2]
    assert report.macs == macsim.Expr("432*n*h*w")


def test_attention_at_twice_the_sequence_is_four_times_the_work() -> None:
    report = macsim.count(one_node("Attention", [("batch", 12, "seq", 64)] * 3))
    assert report.bind(batch=1, seq=256).macs == 4 * report.bind(batch=1, seq=128).macs


def test_element_wise_work_of_broadcast_operands() -> None:
    report = macsim.count(one_node("Add", [(3, 1), (1, 4)]))
    assert tuple(report.outputs[0].shape) == (3, 4)
    assert report.flops == 12


def test_counts_beyond_64_bits_are_exact() -> None:
    side = 3_000_000
    report = macsim.count(one_node("MatMul", [(side, side), (side, side)]))
    assert report.macs == side**3 > 2**63


def test_an_unknown_operator_is_never_zero() -> None:
    proto = one_node("Relu", [(2, 3)])
    proto.graph.node[0].op_type, proto.graph.node[0].domain = "Mystery", "acme"
    proto.opset_import.append(helper.make_opsetid("acme", 1))
    report = macsim.count(proto)
    assert report.trust == "unknown"
    assert [d.code for d in report.diagnostics] == ["MS201"]
    assert ">=" in repr(report)
    with pytest.raises(macsim.UnknownWorkError, match="Mystery"):
        macsim.count(proto, strict=True)


def test_a_static_model_counts_at_another_size() -> None:
    proto = one_node("Conv", [(1, 3, 8, 8), (4, 3, 3, 3)], (1,), pads=[1, 1, 1, 1])
    assert macsim.count(proto, shapes={"x0": (2, 3, 16, 16)}).macs == 8 * macsim.count(proto).macs
    assert macsim.count(proto, shapes={"x0": ("n", 3, "s", "s")}).macs == macsim.Expr("108*n*s*s")


def test_numpy_values_are_taken_as_contents() -> None:
    shape = helper.make_tensor_value_info("s", TensorProto.INT64, (2,))
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", F, (4, 6)), shape], [onnx.ValueInfoProto(name="y")]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    report = macsim.count(proto, values={"s": np.array([8, -1])})
    assert tuple(report.outputs[0].shape) == (8, 3)
