"""Quantisation: every row worked out by hand.

Quantising an element takes a div, a rounding, an add for the zero point and two compares to saturate; dequantising a
conversion, an add for the zero point and a mul; requantising a mul in the place of the div.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from truth import Case, T, case, check, const, f32, t, weight

import macsim

MS = "com.microsoft"
ONE = const("f32", 0.5)
ZERO = const("u8", 3)

LINEAR = [
    case(
        "QuantizeLinear",
        [f32(2, 3), ONE, ZERO],
        t("u8", 2, 3),
        work={"div": 6, "convert": 6, "add": 6, "compare": 12},
        read=24,
        weights=5,
        written=6,
        version=10,
    ),
    # Without a zero point to u8, or to what is stated.
    case(
        "QuantizeLinear", [f32("n"), ONE], t("u8", "n"), work={"div": "n", "convert": "n", "compare": "2*n"}, version=13
    ),
    case(
        "QuantizeLinear",
        [t("f16", 4, 6), weight("f16", 4, 3)],
        t("i4", 4, 6),
        attrs={"output_dtype": TensorProto.INT4, "block_size": 2, "axis": 1},
        work={"div": 24, "convert": 24, "compare": 48},
        weights=24,
        written=12,
        version=21,
    ),
    # To 8-bit floats: the zero point is nothing to add; saturation is an option.
    case(
        "QuantizeLinear",
        [f32(6), ONE, weight("f8e4m3fn")],
        t("f8e4m3fn", 6),
        work={"div": 6, "convert": 6, "compare": 12},
        version=19,
    ),
    case(
        "QuantizeLinear",
        [f32(6), ONE, weight("f8e5m2")],
        t("f8e5m2", 6),
        attrs={"saturate": 0},
        work={"div": 6, "convert": 6},
        version=23,
    ),
    case(
        "QuantizeLinear",
        [f32(2, 3), weight("f32", 3), weight("i8", 3)],
        t("i8", 2, 3),
        attrs={"axis": 1},
        domain=MS,
        work={"div": 6, "convert": 6, "add": 6, "compare": 12},
    ),
    case(
        "DequantizeLinear",
        [t("u8", 2, 3), ONE, ZERO],
        f32(2, 3),
        work={"convert": 6, "add": 6, "mul": 6},
        read=6,
        written=24,
        version=10,
    ),
    # 4-bit weights in blocks of 32: half a byte each, and scales of 16 bits.
    case(
        "DequantizeLinear",
        [weight("i4", 8, 64), weight("f16", 8, 2)],
        t("f16", 8, 64),
        attrs={"axis": 1, "block_size": 32},
        work={"convert": 512, "mul": 512},
        read=0,
        weights=256 + 32,
        version=21,
    ),
    # The result has the type of the scale, or (23) the stated one.
    case(
        "DequantizeLinear",
        [t("i8", "n"), const("f16", 0.5)],
        t("f16", "n"),
        work={"convert": "n", "mul": "n"},
        version=19,
    ),
    case(
        "DequantizeLinear",
        [t("i8", 4), ONE],
        t("bf16", 4),
        attrs={"output_dtype": TensorProto.BFLOAT16},
        work={"convert": 4, "mul": 4},
        version=23,
    ),
    case("DequantizeLinear", [t("i32", 4), ONE], f32(4), work={"convert": 4, "mul": 4}, version=13),
    case("DequantizeLinear", [t("u8", 2, 3), ONE, ZERO], f32(2, 3), domain=MS, work={"convert": 6, "add": 6, "mul": 6}),
    # Least and greatest of 6 (with 0): 12 compares; scale: add, div; zero: div, add, convert, 2 compares; 6 elements.
    case(
        "DynamicQuantizeLinear",
        [f32(2, 3)],
        [t("u8", 2, 3), f32(), t("u8")],
        work={"compare": 12 + 2 + 12, "add": 2 + 6, "div": 2 + 6, "convert": 1 + 6},
        written=6 + 4 + 1,
    ),
]

ODD = [
    case(
        "QuantizeBFP",
        [f32(4, 8)],
        [t("u8", "node.bytes"), t("i64", 2), t("i64", 2)],
        attrs={"bfp_type": 1},
        domain=MS,
        work={"compare": 32, "logic": 32, "convert": 32},
        trust="estimate",
    ),
    case(
        "DequantizeBFP",
        [t("u8", 40), const("i64", [4, 8]), const("i64", [8, 1])],
        f32(4, 8),
        attrs={"bfp_type": 1},
        domain=MS,
        work={"logic": 32, "convert": 32},
        read=40,
        trust="estimate",
    ),
    case(
        "QuantizeWithOrder",
        [f32(2, 4, 8), ONE],
        t("i8", 2, 4, 8),
        attrs={"order_input": 1, "order_output": 2},
        domain=MS,
        work={"div": 64, "convert": 64, "compare": 128},
    ),
    case(
        "DequantizeWithOrder",
        [t("i8", 4, 8), ONE],
        t("f16", 4, 8),
        attrs={"order_input": 2, "order_output": 1, "to": TensorProto.FLOAT16},
        domain=MS,
        work={"convert": 32, "mul": 32},
    ),
    # 3 rows of 64 numbers of 4 bits, two to a byte; blocks of 32: 2 scales a row. u8 has a zero point even when none is
    # given.
    case(
        "GatherBlockQuantized",
        [weight("u8", 1000, 32), t("i64", 3), weight("f16", 1000, 2)],
        t("f16", 3, 64),
        attrs={"bits": 4, "block_size": 32},
        domain=MS,
        work={"convert": 192, "add": 192, "mul": 192},
        read=24,
        weights=96 + 6 * 2,
    ),
    case(
        "GatherBlockQuantized",
        [weight("i4", 1000, 64), t("i32", "b", 3), weight("f32", 1000, 4), weight("i4", 1000, 4)],
        f32("b", 3, 64),
        attrs={"block_size": 16},
        domain=MS,
        work={"convert": "192*b", "add": "192*b", "mul": "192*b"},
        read="12*b",
        weights="96*b + 48*b + 6*b",
        id="GatherBlockQuantized-i4",
    ),
    # Floats of 8 bits with one scale a row: no zero points.
    case(
        "GatherBlockQuantized",
        [weight("f8e4m3fn", 1000, 64), t("i64", 3), weight("f32", 1000, 1)],
        f32(3, 64),
        attrs={"block_size": 0},
        domain=MS,
        work={"convert": 192, "mul": 192},
        weights=192 + 12,
        id="GatherBlockQuantized-f8",
    ),
    case(
        "GatherPacked",
        [weight("u8", 1000, 34), t("i64", 2, 3)],
        t("f16", 2, 3, 64),
        attrs={"packed_type": 1, "K": 64, "output_dtype": TensorProto.FLOAT16},
        domain=MS,
        work={"convert": 384, "mul": 384},
        weights=204,
        trust="estimate",
    ),
]


def q(*shape: int | str) -> T:
    return t("u8", *shape)


ELEMENTWISE = [
    # In: 6 + 3 elements of convert, add, mul; 6 sums; out: mul, convert, add, 2 compares.
    case(
        "QLinearAdd",
        [q(2, 3), ONE, ZERO, q(3), ONE, ZERO, ONE, ZERO],
        q(2, 3),
        domain=MS,
        work={"convert": 9 + 6, "add": 9 + 6 + 6, "mul": 9 + 6, "compare": 12},
    ),
    case(
        "QLinearAdd",
        [q("n"), ONE, None, q("n"), ONE, None, ONE],
        q("n"),
        domain=MS,
        work={"convert": "3*n", "add": "n", "mul": "3*n", "compare": "2*n"},
        id="QLinearAdd-symmetric",
    ),
    # Zero points off (9 adds), 6 products, requantised.
    case(
        "QLinearMul",
        [q(2, 3), ONE, ZERO, q(3), ONE, ZERO, ONE, ZERO],
        q(2, 3),
        domain=MS,
        work={"add": 9 + 6, "mul": 6 + 6, "convert": 6, "compare": 12},
    ),
    # Sigmoid: exp, add, div between the two.
    case(
        "QLinearSigmoid",
        [q(5), ONE, ZERO, ONE, ZERO],
        q(5),
        domain=MS,
        work={"convert": 10, "add": 10 + 5, "mul": 10, "exp": 5, "div": 5, "compare": 10},
    ),
    # Leaky: a compare and a mul.
    case(
        "QLinearLeakyRelu",
        [q(5), ONE, ZERO, ONE, ZERO],
        q(5),
        domain=MS,
        work={"convert": 10, "add": 10, "mul": 10 + 5, "compare": 10 + 5},
    ),
    case(
        "QOrderedGelu",
        [t("i8", 5), ONE, ONE],
        t("i8", 5),
        domain=MS,
        attrs={"order_X": 1, "order_Y": 1},
        work={"convert": 10, "add": 5, "mul": 10 + 15, "exp": 5, "compare": 10},
    ),
    # 2 rows of 3: 4 compares, 6 + 4 adds, 6 exp, 6 div. Old: one row of everything from axis 1 on.
    case(
        "QLinearSoftmax",
        [q(2, 3), ONE, ZERO, ONE, ZERO],
        q(2, 3),
        domain=MS,
        attrs={"opset": 13, "axis": -1},
        work={"convert": 12, "add": 12 + 10, "mul": 12, "compare": 12 + 4, "exp": 6, "div": 6},
    ),
    case(
        "QLinearSoftmax",
        [q(2, 3, 4), ONE, ZERO, ONE, ZERO],
        q(2, 3, 4),
        domain=MS,
        attrs={"opset": 12, "axis": 1},
        work={"convert": 48, "add": 48 + 46, "mul": 48, "compare": 48 + 22, "exp": 24, "div": 24},
        id="QLinearSoftmax-12",
    ),
    # Over axis 1 of 2 x 3 x 4: 24 elements in, 16 adds and 8 divs, 8 out.
    case(
        "QLinearReduceMean",
        [q(2, 3, 4), ONE, ZERO, ONE, ZERO],
        q(2, 4),
        domain=MS,
        attrs={"axes": [1], "keepdims": 0},
        work={"convert": 32, "add": 24 + 16 + 8, "mul": 32, "div": 8, "compare": 16},
    ),
    case(
        "QLinearWhere",
        [t("bool", 2, 3), q(3), ONE, ZERO, q(), ONE, ZERO, ONE, ZERO],
        q(2, 3),
        domain=MS,
        work={"convert": 4 + 6, "add": 4 + 6, "mul": 4 + 6, "logic": 6, "compare": 12},
    ),
    case(
        "QLinearConcat",
        [ONE, ZERO, q(2, 3), ONE, ZERO, q(2, 5), ONE, ZERO],
        q(2, 8),
        domain=MS,
        attrs={"axis": 1},
        work={"convert": 32, "add": 32, "mul": 32, "compare": 32},
    ),
]


@pytest.mark.parametrize("c", LINEAR + ODD + ELEMENTWISE, ids=str)
def test_truth(c: Case) -> None:
    check(c)


def test_contents() -> None:
    """Sizes that were quantised and dequantised are known, also what saturates and what is rounded to even."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["real", "scale", "zero"], ["few"]),
        helper.make_node("DequantizeLinear", ["few", "scale", "zero"], ["back"]),
        helper.make_node("Cast", ["back"], ["sizes"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["sizes"], ["y"], name="y"),
    ]
    stored = [
        numpy_helper.from_array(np.array(v), n) for n, v in {"scale": np.float32(2), "zero": np.uint8(10)}.items()
    ]
    x: Any = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 5, 7, 1000])
    y: Any = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    opset = [helper.make_opsetid("", onnx.defs.onnx_opset_version())]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], stored), opset_imports=opset)
    row = next(row for row in macsim.count(model).rows if row.name == "y")
    # 2, 2.5 -> 2, 3.5 -> 4, 500 -> 245 (255 with the zero point); times 2.
    assert list(row.outputs[0].shape) == [4, 4, 8, 490]
