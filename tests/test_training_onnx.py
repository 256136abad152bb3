# Training of ONNX models: what is trained, bodies and functions, symbols, the command line.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import onnx
import pytest
from models import chain, custom, feed, linear, model, weight
from onnx import TensorProto, helper

import macsim
from macsim import Training, cli


def step(proto: onnx.ModelProto, training: bool | Training = True, **more: Any) -> Any:
    return macsim.count(proto, training=training, **more).training


def test_weights_are_trained() -> None:
    got = step(linear())
    assert str(got.backward.macs) == "15*batch"
    assert [(one.name, one.elements) for one in got.parameters] == [("w", 15)]
    assert got.memory.optimizer == 2 * 60
    assert str(got.memory.saved) == "12*batch"  # x
    assert step(linear(), Training(frozen=["w"])).parameters == []
    bound = macsim.count(linear(), training=True).bind(batch=4).training
    assert (bound.backward.macs, bound.memory.saved, bound.total.macs) == (60, 48, 120)


def test_statistics_are_not() -> None:
    """Conv, normalisation, a product: of the normalisation scale and bias."""
    proto = model(
        [
            helper.make_node("Conv", ["x", "w", "c"], ["y"]),
            helper.make_node("BatchNormalization", ["y", "scale", "bias", "mean", "var"], ["z"]),
            helper.make_node("Relu", ["z"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", "v", "d"], ["out"], transB=1),
        ],
        [feed("x", 2, 3, 8, 8)],
        [feed("out", 2, 5)],
        [weight("w", 4, 3, 3, 3), weight("c", 4), *(weight(name, 4) for name in ("scale", "bias", "mean", "var")),
         weight("v", 5, 4), weight("d", 5)],
    )  # fmt: skip
    got = step(proto)
    assert got.backward.trust == "exact"
    # dw: 2*4*6*6 elements of dy, 27 products each; dv and df: 2*5*4 each.
    assert [row.macs for row in got.backward.rows] == [288 * 27, 0, 0, 0, 0, 80]
    assert {one.name for one in got.parameters} == {"w", "c", "scale", "bias", "v", "d"}
    frozen = step(proto, Training(frozen=["w", "c", "scale", "bias"]))
    assert [row.macs for row in frozen.backward.rows] == [0, 0, 0, 0, 0, 40]


def product(x: str, w: str, y: str) -> onnx.NodeProto:
    return helper.make_node("MatMul", [x, w], [y])


def test_function() -> None:
    """Two layers that are one function: 2 rows of 3 by 3, of the first dw alone."""
    layer = helper.make_function(
        "mine", "Layer", ["a", "b"], ["c"], [product("a", "b", "m"), helper.make_node("Relu", ["m"], ["c"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    nodes = [helper.make_node("Layer", ["x", "v"], ["h"], domain="mine"),
             helper.make_node("Layer", ["h", "w"], ["y"], domain="mine")]  # fmt: skip
    proto = model(nodes, [feed("x", 2, 3)], [feed("y", 2, 3)], [weight("v", 3, 3), weight("w", 3, 3)], ["mine"])
    proto.functions.append(layer)
    got = step(proto)
    assert [row.macs for row in got.backward.rows] == [18, 0, 36, 0]
    assert [one.name for one in got.parameters] == ["v", "w"]


def test_branch() -> None:
    body = helper.make_graph([product("x", "w", "t")], "then", [], [feed("t", 2, 3)])
    other = helper.make_graph([helper.make_node("Identity", ["x"], ["e"])], "else", [], [feed("e", 2, 3)])
    proto = model(
        [product("given", "v", "x"), helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=other)],
        [feed("given", 2, 3), feed("c", kind=TensorProto.BOOL)],
        [feed("y", 2, 3)],
        [weight("v", 3, 3), weight("w", 3, 3)],
    )
    assert step(proto, values={"c": True}).backward.macs == 18 + 2 * 18
    assert step(proto, values={"c": False}).backward.macs == 18


def test_loop() -> None:
    """4 trips of h = h @ w from x: dw each time, and the gradient of h, which may be that of the trip before."""
    body = helper.make_graph(
        [product("h", "w", "next"), helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [feed("i", kind=TensorProto.INT64), feed("go", kind=TensorProto.BOOL), feed("h", 2, 3)],
        [feed("on", kind=TensorProto.BOOL), feed("next", 2, 3)],
    )
    trips = helper.make_tensor("n", TensorProto.INT64, [], [4])
    proto = model(
        [helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)],
        [feed("x", 2, 3)],
        [feed("y", 2, 3)],
        [weight("w", 3, 3), trips],
    )
    got = step(proto)
    assert got.backward.macs == 4 * 2 * 18
    assert got.backward.total.sign("mac") == "<="  # the first trip's is that of x, which is not wanted


def test_sequence_map() -> None:
    """h of 2 rows and z of 5, each times w: dw of both, dh, and dv; what is joined is cut apart again, 84 bytes."""
    body = helper.make_graph([product("e", "w", "o")], "body", [feed("e")], [feed("o")])
    proto = model(
        [product("x", "v", "h"), helper.make_node("SequenceConstruct", ["h", "z"], ["s"]),
         helper.make_node("SequenceMap", ["s"], ["t"], body=body),
         helper.make_node("ConcatFromSequence", ["t"], ["y"], axis=0)],
        [feed("x", 2, 3), feed("z", 5, 3)],
        [feed("y", 7, 3)],
        [weight("w", 3, 3), weight("v", 3, 3)],
    )  # fmt: skip
    got = step(proto).backward
    assert [row.macs for row in got.rows if row.op == "MatMul"] == [18, 2 * 18, 45]
    assert [(row.read, row.written) for row in got.rows if row.op == "ConcatFromSequence"] == [(84, 84)]
    assert got.trust == "exact"


def test_unknown_operators() -> None:
    got = step(custom())
    assert got.backward.trust == "unknown"
    assert [row.trust for row in got.backward.rows] == ["exact", "unknown"]
    assert str(got.backward.macs) == "15*batch"


def test_nothing_to_train() -> None:
    got = step(chain(3))
    assert (got.backward.flops, got.optimizer.flops, got.memory.saved) == (0, 0, 0)
    assert {row.because for row in got.backward.rows} == {"no gradient goes through it"}


def test_recompute_by_scope() -> None:
    """A layer is a product and Relu; of it the input is kept, of the last layer, which is not named, x and y."""
    nodes = []
    for at in range(3):
        nodes.append(helper.make_node("MatMul", [f"h{at}", f"w{at}"], [f"m{at}"], name=f"/layers/layers.{at}/MatMul"))
        nodes.append(helper.make_node("Relu", [f"m{at}"], [f"h{at + 1}"], name=f"/layers/layers.{at}/Relu"))
    proto = model(nodes, [feed("h0", 2, 4)], [feed("h3", 2, 4)], [weight(f"w{at}", 4, 4) for at in range(3)])
    plain = step(proto)
    again = step(proto, Training(recompute=["layers.0", "layers.1"]))
    assert plain.memory.saved == 4 * 32  # h0 to h3
    assert again.recompute.macs == 2 * 32
    assert again.memory.saved == 4 * 32
    assert step(proto, Training(recompute=["layers"])).memory.saved == 32
    assert step(proto, Training(recompute=["layers"])).memory.recomputed == 3 * 32


def test_command_line(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(linear(batch=4).SerializeToString())
    assert cli.main(["count", str(path), "--training"]) == 0
    shown = capsys.readouterr().out
    assert "backward MACs" in shown
    assert "optimizer FLOPs (adamw)" in shown
    assert cli.main(["count", str(path), "--training", "--optimizer", "sgd", "--frozen", "w", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)["training"]
    assert (data["backward"]["macs"], data["memory"]["optimizer"], data["parameters"]) == (0, 0, [])
    assert cli.main(["count", str(path), "--optimizer", "sgd"]) == 2
