"""Element-wise operators. x is [2, 3, 4] throughout: 24 elements; the work is the textbook formula, 24 times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from truth import Case, T, case, check, const, f32, t

X = f32(2, 3, 4)
N = 24


def unary(op: str, work: dict[str, int], out: T = X, **kw: Any) -> Case:
    return case(op, [X], out, work={kind: N * times for kind, times in work.items()}, **kw)


UNARY = [
    unary("Abs", {"logic": 1}),
    unary("Neg", {"logic": 1}),
    unary("Sign", {"logic": 1}),
    unary("Ceil", {"convert": 1}),
    unary("Floor", {"convert": 1}),
    unary("Round", {"convert": 1}),
    unary("Reciprocal", {"div": 1}),
    unary("Sqrt", {"sqrt": 1}),
    unary("Exp", {"exp": 1}),
    unary("Log", {"log": 1}),
    unary("Erf", {"exp": 1}),
    unary("Sin", {"trig": 1}),
    unary("Cos", {"trig": 1}),
    unary("Tan", {"trig": 1}),
    unary("Asin", {"trig": 1}),
    unary("Acos", {"trig": 1}),
    unary("Atan", {"trig": 1}),
    unary("Sinh", {"exp": 1}),
    unary("Cosh", {"exp": 1}),
    unary("Tanh", {"exp": 1}),
    unary("Asinh", {"log": 1, "sqrt": 1, "mul": 1, "add": 2}),  # ln(x + sqrt(x*x + 1))
    unary("Acosh", {"log": 1, "sqrt": 1, "mul": 1, "add": 2}),
    unary("Atanh", {"log": 1, "div": 1, "mul": 1, "add": 2}),  # 0.5 * ln((1 + x) / (1 - x))
    unary("IsNaN", {"compare": 1}, t("bool", 2, 3, 4)),
    unary("IsInf", {"compare": 1}, t("bool", 2, 3, 4)),
    unary("Relu", {"compare": 1}),
    unary("LeakyRelu", {"compare": 1, "mul": 1}),
    unary("ThresholdedRelu", {"compare": 1}),
    unary("Elu", {"compare": 1, "exp": 1, "add": 1, "mul": 1}),
    unary("Selu", {"compare": 1, "exp": 1, "add": 1, "mul": 2}),
    unary("Celu", {"compare": 2, "add": 2, "exp": 1, "mul": 1, "div": 1}),
    unary("Sigmoid", {"exp": 1, "add": 1, "div": 1}),
    unary("HardSigmoid", {"mul": 1, "add": 1, "compare": 2}),
    unary("HardSwish", {"mul": 2, "add": 1, "compare": 2}),
    unary("Softplus", {"exp": 1, "add": 1, "log": 1}),
    unary("Softsign", {"logic": 1, "add": 1, "div": 1}),
    unary("Mish", {"exp": 2, "add": 1, "log": 1, "mul": 1}),
    unary("Shrink", {"compare": 2, "add": 1}),
    # 0.5*x*(1 + erf(x/sqrt 2)): three products, a sum, an erf
    unary("Gelu", {"exp": 1, "mul": 3, "add": 1}),
    # 0.5*x*(1 + tanh(c*(x + d*x^3))): x^3 two products, d, c, 0.5, x one each; two sums
    unary("Gelu", {"exp": 1, "mul": 6, "add": 2}, attrs={"approximate": "tanh"}, id="Gelu-tanh"),
    unary("Swish", {"exp": 1, "add": 1, "div": 1, "mul": 1}),
    unary("Swish", {"exp": 1, "add": 1, "div": 1, "mul": 2}, attrs={"alpha": 1.5}, id="Swish-alpha"),
    case("Not", [t("bool", 2, 3)], t("bool", 2, 3), work={"logic": 6}),
    case("BitwiseNot", [t("u8", 2, 3)], t("u8", 2, 3), work={"logic": 6}),
    case("Relu", [f32("batch", 7)], f32("batch", 7), work={"compare": "7*batch"}, read="28*batch", written="28*batch"),
    case("Sigmoid", [X], X, version=1, work={"exp": N, "add": N, "div": N}),
    case("Relu", [T("f32", None)], T("f32", None), trust="unknown", work=None),
]


def pair(op: str, kind: str, dtype: str = "f32", out: str | None = None, **kw: Any) -> Case:
    """[3, 1] and [4] make [3, 4]: 12 elements."""
    return case(op, [t(dtype, 3, 1), t(dtype, 4)], t(out or dtype, 3, 4), work={kind: 12}, **kw)


BINARY = [
    pair("Add", "add"),
    pair("Sub", "add"),
    pair("Mul", "mul"),
    pair("Div", "div"),
    pair("Mod", "div", "i64"),
    pair("Equal", "compare", out="bool"),
    pair("Less", "compare", out="bool"),
    pair("Greater", "compare", out="bool"),
    pair("LessOrEqual", "compare", out="bool"),
    pair("GreaterOrEqual", "compare", out="bool"),
    pair("And", "logic", "bool"),
    pair("Or", "logic", "bool"),
    pair("Xor", "logic", "bool"),
    pair("BitShift", "logic", "u8", attrs={"direction": "LEFT"}),
    pair("BitwiseAnd", "logic", "u8"),
    pair("BitwiseOr", "logic", "u8"),
    pair("BitwiseXor", "logic", "u8"),
    # both operands are read once, however often their elements are used: 3*4 + 4*4 bytes
    case("Add", [f32(3, 1), f32(4)], f32(3, 4), work={"add": 12}, read=28, written=48, id="Add-traffic"),
    case("Add", [f32("a", 4), f32("b", 1)], f32("max(a, b)", 4), work={"add": "4*max(a, b)"}, id="Add-symbols"),
    case("Add", [f32("a", 4), f32(5, 4)], f32(5, 4), work={"add": 20}, id="Add-symbol-and-size"),
    # before version 7 the second operand was laid along the first, from an axis on
    case("Add", [f32(2, 3, 4), f32(3)], f32(2, 3, 4), version=6, attrs={"broadcast": 1, "axis": 1}, work={"add": 24}),
    case("Mul", [f32(2, 3), f32(2, 3)], f32(2, 3), version=1, work={"mul": 6}),
    case("Pow", [f32(2, 3), f32(3)], f32(2, 3), work={"log": 6, "mul": 6, "exp": 6}),
    case("Pow", [f32(2, 3), const("f32", 2.0)], f32(2, 3), work={"mul": 6}, id="Pow-square"),
    case("Pow", [f32(2, 3), const("f32", 3.0)], f32(2, 3), work={"mul": 12}, id="Pow-cube"),
    case("Pow", [f32(2, 3), const("f32", 0.5)], f32(2, 3), work={"sqrt": 6}, id="Pow-root"),
    case("Pow", [f32(2, 3), const("f32", -1.0)], f32(2, 3), work={"div": 6}, id="Pow-inverse"),
    case("Max", [f32(3, 1), f32(4), f32(1)], f32(3, 4), work={"compare": 24}),
    case("Min", [f32(3, 1), f32(4)], f32(3, 4), work={"compare": 12}),
    case("Sum", [f32(3, 1), f32(4), f32(1)], f32(3, 4), work={"add": 24}),
    case("Mean", [f32(3, 1), f32(4), f32(1)], f32(3, 4), work={"add": 24, "div": 12}),
    case("Max", [f32(3)], f32(3), id="Max-of-one"),
    case("Where", [t("bool", 3, 1), f32(4), f32(1)], f32(3, 4), work={"logic": 12}),
    case("Clip", [X, const("f32", 0.0), const("f32", 6.0)], X, work={"compare": 48}),
    case("Clip", [X, None, const("f32", 6.0)], X, work={"compare": 24}, id="Clip-above"),
    case("Clip", [X], X, version=6, attrs={"min": 0.0, "max": 6.0}, work={"compare": 48}),
    case("Clip", [X], X, id="Clip-nothing"),
    case("PRelu", [X, f32(3, 1)], X, work={"compare": N, "mul": N}),
    case("SwiGLU", [f32(2, 3), f32(2, 3)], f32(2, 3), work={"exp": 6, "add": 6, "div": 6, "mul": 12}),
]

CASTS = [
    case("Cast", [X], t("f16", 2, 3, 4), attrs={"to": 10}, work={"convert": N}, read=96, written=48),
    case("Cast", [X], X, attrs={"to": 1}, read=0, written=0, id="Cast-same"),
    case("Cast", [X], t("i64", 2, 3, 4), version=1, attrs={"to": "INT64"}, work={"convert": N}),
    case("CastLike", [X, t("i32", 1)], t("i32", 2, 3, 4), work={"convert": N}, read=96),
    case("BitCast", [X], t("i32", 2, 3, 4), version=26, attrs={"to": 6}, read=0, written=0),
]

MS = "com.microsoft"
FUSED = [
    case("BiasGelu", [f32(2, 8), f32(8)], f32(2, 8), domain=MS, work={"exp": 16, "mul": 48, "add": 32}),
    case("FastGelu", [f32(2, 8), f32(8)], f32(2, 8), domain=MS, work={"exp": 16, "mul": 96, "add": 48}),
    case("FastGelu", [f32(2, 8)], f32(2, 8), domain=MS, work={"exp": 16, "mul": 96, "add": 32}, id="FastGelu-no-bias"),
    case("Gelu", [f32(2, 8)], f32(2, 8), domain=MS, work={"exp": 16, "mul": 48, "add": 16}),
    # x + bias over 32 elements, then left * gelu(right) over 16
    case(
        "BiasSplitGelu", [f32(1, 2, 16), f32(16)], f32(1, 2, 8), domain=MS, work={"exp": 16, "mul": 64, "add": 32 + 16}
    ),
    case("QuickGelu", [f32(2, 8)], f32(2, 8), domain=MS, work={"exp": 16, "add": 16, "div": 16, "mul": 32}),
    case("ScaledSiLU", [f32(2, 8)], f32(2, 8), domain=MS, work={"exp": 16, "add": 16, "div": 16, "mul": 32}),
    case("BiasAdd", [f32(1, 2, 8), f32(8), f32(1, 2, 8)], f32(1, 2, 8), domain=MS, work={"add": 32}),
    case("GatedAdd", [f32(2, 8), f32(2, 8), f32(2, 1)], f32(2, 8), domain=MS, work={"mul": 16, "add": 16}),
    # 8 complex numbers as 16 floats: 4 products and 2 sums each
    case("ComplexMul", [f32(8, 2), f32(8, 2)], f32(8, 2), domain=MS, work={"mul": 32, "add": 16}),
    case("MulInteger", [t("u8", 3, 1), None, t("u8", 4)], t("i32", 3, 4), domain=MS, work={"mul": 12}),
    case("IsAllFinite", [f32(2, 3), f32(4)], t("bool"), domain=MS, work={"compare": 10, "logic": 10}),
]

CASES = UNARY + BINARY + CASTS + FUSED


@pytest.mark.parametrize("c", CASES, ids=str)
def test_truth(c: Case) -> None:
    check(c)


# Contents: what exporters compute shapes with. ------------------------------------------------------------------------

VALUES = [
    ("Add", [[3, 4], [1, 2]], "i64", [4, 6]),
    ("Sub", [[3, 4], [1, 2]], "i64", [2, 2]),
    ("Mul", [[3, 4], [2]], "i64", [6, 8]),
    ("Div", [[7, -7], [2]], "i64", [3, -3]),  # toward zero
    ("Mod", [[7, -7], [4]], "i64", [3, 1]),  # the divisor's sign
    ("Pow", [[3, 4], [2]], "i64", [9, 16]),
    ("Max", [[3, 4], [5, 2]], "i64", [5, 4]),
    ("Min", [[3, 4], [5, 2]], "i64", [3, 2]),
    ("Neg", [[3, 4]], "i64", [-3, -4]),
    ("Abs", [[-3, 4]], "i64", [3, 4]),
    ("Relu", [[-3, 4]], "i64", [0, 4]),
    ("Floor", [[1.5, -1.5]], "f32", [1, -2]),
    ("Ceil", [[1.5, -1.5]], "f32", [2, -1]),
    ("Round", [[2.5, 3.5]], "f32", [2, 4]),
    ("Sqrt", [[9.0, 16.0]], "f32", [3, 4]),
    ("Reciprocal", [[0.5, 0.25]], "f32", [2, 4]),
]


@pytest.mark.parametrize(("op", "inputs", "dtype", "expected"), VALUES, ids=lambda v: v if isinstance(v, str) else "")
def test_contents_become_a_shape(op: str, inputs: list[Any], dtype: str, expected: list[int]) -> None:
    """The result is the shape of a ConstantOfShape, shifted by 10 so that every size is positive."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    import macsim

    kind = np.float32 if dtype == "f32" else np.int64
    stored = [numpy_helper.from_array(np.array(v, kind), f"in{i}") for i, v in enumerate(inputs)]
    stored.append(numpy_helper.from_array(np.array([10], np.int64), "ten"))
    nodes = [
        helper.make_node(op, [f"in{i}" for i in range(len(inputs))], ["made"]),
        helper.make_node("Cast", ["made"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Add", ["whole", "ten"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [], [onnx.ValueInfoProto(name="y")], stored)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    report = macsim.count(proto)
    assert list(report.outputs[0].shape or ()) == [10 + value for value in expected]
