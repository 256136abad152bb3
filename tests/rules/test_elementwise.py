"""Element-wise operators: work for each element, in every version; broadcasting, old and new; casts; fused kinds."""

from __future__ import annotations

import onnx
import pytest
from truth import Case, T, case, check, const, f32, t, weight

MS = "com.microsoft"


def versions_of(op: str) -> list[int]:
    history = onnx.defs.get_all_schemas_with_history()
    return sorted(schema.since_version for schema in history if schema.name == op and schema.domain == "")


# Work of one element, from the definition of each function: exp stands for exp, tanh, erf and their kin, convert for
# rounding, logic for work on the sign bit.
UNARY: dict[str, dict[str, int]] = {
    "Abs": {"logic": 1},
    "Neg": {"logic": 1},
    "Sign": {"logic": 1},
    "Not": {"logic": 1},
    "BitwiseNot": {"logic": 1},
    "IsNaN": {"compare": 1},
    "IsInf": {"compare": 1},
    "Ceil": {"convert": 1},
    "Floor": {"convert": 1},
    "Round": {"convert": 1},
    "Reciprocal": {"div": 1},
    "Sqrt": {"sqrt": 1},
    "Exp": {"exp": 1},
    "Log": {"log": 1},
    "Erf": {"exp": 1},
    **{op: {"trig": 1} for op in ("Sin", "Cos", "Tan", "Asin", "Acos", "Atan")},
    **{op: {"exp": 1} for op in ("Sinh", "Cosh", "Tanh")},
    **{op: {"log": 1} for op in ("Asinh", "Acosh", "Atanh")},
    "Relu": {"compare": 1},  # max(x, 0)
    "LeakyRelu": {"compare": 1, "mul": 1},  # x < 0 ? alpha*x : x
    "ThresholdedRelu": {"compare": 1},  # x > alpha ? x : 0
    "Elu": {"compare": 1, "exp": 1, "add": 1, "mul": 1},  # x < 0 ? alpha*(exp(x) - 1) : x
    "Selu": {"compare": 1, "exp": 1, "add": 1, "mul": 2},  # gamma * (x < 0 ? alpha*exp(x) - alpha : x)
    "Celu": {"compare": 2, "div": 1, "exp": 1, "mul": 1, "add": 2},  # max(0,x) + min(0, alpha*(exp(x/alpha) - 1))
    "Sigmoid": {"exp": 1, "add": 1, "div": 1},  # 1/(1 + exp(-x))
    "HardSigmoid": {"mul": 1, "add": 1, "compare": 2},  # max(0, min(1, alpha*x + beta))
    "HardSwish": {"mul": 2, "add": 1, "compare": 2},  # x * max(0, min(1, x/6 + 0.5))
    "Softplus": {"exp": 1, "add": 1, "log": 1},  # ln(exp(x) + 1)
    "Softsign": {"logic": 1, "add": 1, "div": 1},  # x/(1 + |x|)
    "Mish": {"exp": 2, "add": 1, "log": 1, "mul": 1},  # x * tanh(ln(1 + exp(x)))
    "Shrink": {"compare": 2, "add": 1},  # x < -lambd ? x + bias : x > lambd ? x - bias : 0
    "Swish": {"exp": 1, "add": 1, "div": 1, "mul": 1},  # x * sigmoid(x)
    "Gelu": {"exp": 1, "add": 1, "mul": 3},  # 0.5 * x * (1 + erf(x * 1/sqrt(2)))
}
OF_BOOLS, TO_BOOLS, OF_INTEGERS = {"Not"}, {"Not", "IsNaN", "IsInf"}, {"BitwiseNot"}

BINARY = {
    "Add": "add",
    "Sub": "add",
    "Mul": "mul",
    "Div": "div",
    "Mod": "div",
    "Equal": "compare",
    "Less": "compare",
    "LessOrEqual": "compare",
    "Greater": "compare",
    "GreaterOrEqual": "compare",
    "And": "logic",
    "Or": "logic",
    "Xor": "logic",
    "BitwiseAnd": "logic",
    "BitwiseOr": "logic",
    "BitwiseXor": "logic",
    "BitShift": "logic",
}
COMPARISONS = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"}
OLD = {"Add", "Sub", "Mul", "Div", "And", "Or", "Xor", "Equal", "Less", "Greater"}  # there before version 7


def unary_case(op: str, version: int) -> Case:
    """12*n elements, each with the work of UNARY."""
    dtype = "bool" if op in OF_BOOLS else "i32" if op in OF_INTEGERS else "f32"
    size = {"bool": 1}.get(dtype, 4)
    to = "bool" if op in TO_BOOLS else dtype
    work = {kind: f"{12 * times}*n" for kind, times in UNARY[op].items()}
    read, written = f"{12 * size}*n", f"{12 if to == 'bool' else 12 * size}*n"
    return case(op, [t(dtype, "n", 3, 4)], t(to, "n", 3, 4), version=version, work=work, read=read, written=written)


def binary_case(op: str, version: int) -> Case:
    """Since version 7, [3, 1] spreads over [n, 3, 4]; before, [3, 4] lies along axes 1 and 2 of it."""
    dtype = "bool" if op in ("And", "Or", "Xor") else "i32" if op.startswith("Bit") else "f32"
    to = "bool" if op in COMPARISONS else dtype
    attrs = {"direction": "LEFT"} if op == "BitShift" else {}
    second = (3, 1)
    if version < 7:
        attrs, second = {"broadcast": 1, "axis": 1}, (3, 4)
    inputs = [t(dtype, "n", 3, 4), t(dtype, *second)]
    return case(op, inputs, t(to, "n", 3, 4), version=version, attrs=attrs, work={BINARY[op]: "12*n"})


EVERY_VERSION = [unary_case(op, version) for op in UNARY for version in versions_of(op)]
EVERY_VERSION += [binary_case(op, version) for op in BINARY for version in versions_of(op)]

SPREAD = [
    # Both spread: [2, 1, 4] with [3, 1] is [2, 3, 4], 24 elements; 8 + 3 elements are read.
    case("Add", [f32(2, 1, 4), f32(3, 1)], f32(2, 3, 4), work={"add": 24}, read=44, weights=0, written=96),
    case("Mul", [f32("n", 1), f32("m")], f32("n", "m"), work={"mul": "n*m"}),
    # Two sizes that nothing says are equal: the larger, which is what every legal spreading gives.
    case("Sub", [f32("n"), f32("m")], f32("max(m, n)"), work={"add": "max(m, n)"}),
    # A constant above 1 wins over a symbol.
    case("Div", [f32("n", 5), f32(8, 5)], f32(8, 5), work={"div": 40}),
    case("Add", [f32(0, 3), f32(1, 3)], f32(0, 3), id="Add-empty", trust="exact"),
    case("Add", [f32("b", 64, 7), weight("f32", 64, 1)], f32("b", 64, 7), work={"add": "448*b"}, weights=256),
    case("Add", [f32(), f32()], f32(), work={"add": 1}, id="Add-scalars"),
    case("Relu", [T("f32", None)], T("f32", None), trust="unknown", id="Relu-unranked"),
    case("Less", [t("i8", 2, 3), t("i8", 3)], t("bool", 2, 3), work={"compare": 6}, read=9, written=6),
    # Sizes that cannot be spread: nothing is said of the result.
    case("Add", [f32(2, 3), f32(2, 4)], T("f32", None), trust="unknown", id="Add-misfit"),
    # Version 6 without broadcast: two of one shape. With it, the second lies along the last axes, or from an axis on.
    case("Add", [f32(2, 3), f32(2, 3)], f32(2, 3), version=6, work={"add": 6}, id="Add-6-same"),
    case("Add", [f32(2, 3, 4, 5), f32(4, 5)], f32(2, 3, 4, 5), version=6, attrs={"broadcast": 1}, work={"add": 120}),
    case(
        "Mul",
        [f32(2, 3, 4, 5), f32(3)],
        f32(2, 3, 4, 5),
        version=1,
        attrs={"broadcast": 1, "axis": 1},
        work={"mul": 120},
    ),
    case(
        "Pow",
        [f32(2, 3), f32(2)],
        f32(2, 3),
        version=1,
        attrs={"broadcast": 1, "axis": 0},
        work={"log": 6, "mul": 6, "exp": 6},
    ),
]

POW = [
    case("Pow", [f32("n"), f32("n")], f32("n"), work={"log": "n", "mul": "n", "exp": "n"}, read="8*n"),
    case("Pow", [f32("n"), const("f32", 2.0)], f32("n"), work={"mul": "n"}, version=7, id="Pow-square"),
    case("Pow", [f32("n"), const("i64", [3])], f32("n"), work={"mul": "2*n"}, version=12, id="Pow-cube"),
    case("Pow", [f32("n"), const("f32", 0.5)], f32("n"), work={"sqrt": "n"}, version=13, id="Pow-root"),
    case("Pow", [f32("n"), const("f32", -1.0)], f32("n"), work={"div": "n"}, id="Pow-inverse"),
    case("Pow", [f32("n"), const("f32", 1.0)], f32("n"), id="Pow-one"),
    case("Pow", [f32("n"), const("f32", 2.5)], f32("n"), work={"log": "n", "mul": "n", "exp": "n"}, id="Pow-odd"),
    # One base, many exponents.
    case("Pow", [const("f32", 2.0), f32("n")], f32("n"), work={"log": "n", "mul": "n", "exp": "n"}, id="Pow-spread"),
]

SEVERAL = [
    *[
        case("Max", [f32("n"), f32("n"), f32("n")], f32("n"), version=v, work={"compare": "2*n"})
        for v in versions_of("Max")
    ],
    *[case("Min", [f32("n"), f32("n")], f32("n"), version=v, work={"compare": "n"}) for v in versions_of("Min")],
    *[case("Sum", [f32(4), f32(4), f32(4)], f32(4), version=v, work={"add": 8}) for v in versions_of("Sum")],
    *[
        case("Mean", [f32(4), f32(4), f32(4)], f32(4), version=v, work={"add": 8, "div": 4})
        for v in versions_of("Mean")
    ],
    case("Max", [f32(2, 1), f32(3), f32()], f32(2, 3), work={"compare": 12}, id="Max-spread"),
    case("Sum", [f32("n", 2)], f32("n", 2), read="8*n", written="8*n", id="Sum-one"),
    case("Mean", [f32(3)], f32(3), work={"div": 3}, id="Mean-one"),
    case("Where", [t("bool", 3, 1), f32(4), f32()], f32(3, 4), work={"logic": 12}, version=9, read=3 + 16 + 4),
    case("Where", [t("bool", "n"), t("f16", "n"), t("f16", 1)], t("f16", "n"), work={"logic": "n"}, version=16),
    # Each bound that is given is one comparison.
    case("Clip", [f32("n")], f32("n"), version=1, attrs={"min": 0.0, "max": 6.0}, work={"compare": "2*n"}),
    case("Clip", [f32("n")], f32("n"), version=6, attrs={"max": 6.0}, work={"compare": "n"}),
    case("Clip", [f32("n"), None, const("f32", 6.0)], f32("n"), version=11, work={"compare": "n"}, read="4*n"),
    case("Clip", [t("i8", "n"), const("i8", 0), const("i8", 6)], t("i8", "n"), version=12, work={"compare": "2*n"}),
    case("Clip", [f32("n")], f32("n"), version=13, read="4*n", written="4*n"),
    *[
        case(
            "PRelu",
            [f32("n", 8, 5), weight("f32", 8, 1)],
            f32("n", 8, 5),
            version=v,
            work={"compare": "40*n", "mul": "40*n"},
            weights=32,
        )
        for v in versions_of("PRelu")
    ],
]

CASTS = [
    case("Cast", [f32("n", 2)], t("i64", "n", 2), version=1, attrs={"to": "INT64"}, work={"convert": "2*n"}),
    case("Cast", [t("i64", 5)], f32(5), version=1, attrs={"to": "FLOAT"}, work={"convert": 5}, id="Cast-1-float"),
    case(
        "Cast", [t("i64", 5)], t("f64", 5), version=1, attrs={"to": "DOUBLE"}, work={"convert": 5}, id="Cast-1-double"
    ),
    *[
        case("Cast", [f32(6)], t("f16", 6), version=v, attrs={"to": 10}, work={"convert": 6}, read=24, written=12)
        for v in versions_of("Cast")[1:]
    ],
    case("Cast", [f32(6)], f32(6), attrs={"to": 1}, read=0, written=0, id="Cast-same"),
    case("Cast", [f32(6)], t("bool", 6), attrs={"to": 9}, work={"convert": 6}, written=6, id="Cast-bool"),
    *[
        case("CastLike", [f32(6), t("bf16", 3)], t("bf16", 6), version=v, work={"convert": 6}, read=24)
        for v in versions_of("CastLike")
    ],
    case("CastLike", [f32(6), f32(3)], f32(6), read=0, written=0, id="CastLike-same"),
    case("BitCast", [f32("n", 3)], t("i32", "n", 3), attrs={"to": 6}, version=26, read=0, written=0),
]

ACTIVATIONS = [
    # 0.5 * x * (1 + tanh(k * (x + c*x^3))): x*x, *x, *c, *k, 0.5*x, the last product; two sums; one tanh.
    case("Gelu", [f32("n")], f32("n"), attrs={"approximate": "tanh"}, work={"exp": "n", "mul": "6*n", "add": "2*n"}),
    case("Gelu", [f32("n")], f32("n"), domain=MS, work={"exp": "n", "mul": "3*n", "add": "n"}),
    case("Swish", [f32("n")], f32("n"), attrs={"alpha": 1.5}, work={"exp": "n", "add": "n", "div": "n", "mul": "2*n"}),
    case("SwiGLU", [f32("n"), f32("n")], f32("n"), version=28, work={"exp": "n", "add": "n", "div": "n", "mul": "2*n"}),
    case(
        "SwiGLU",
        [f32("n"), f32("n")],
        f32("n"),
        version=28,
        attrs={"alpha": 1.702},
        work={"exp": "n", "add": "n", "div": "n", "mul": "3*n"},
        id="SwiGLU-alpha",
    ),
    case(
        "SwiGLU",
        [f32("n", 8), f32("n", 8)],
        f32("n", 8),
        domain=MS,
        work={"exp": "8*n", "add": "8*n", "div": "8*n", "mul": "16*n"},
    ),
    # Both halves in one, a beta (1 add), a limit (1 compare of the gate, 2 of the other).
    case(
        "SwiGLU",
        [f32("n", 8)],
        f32("n", 4),
        domain=MS,
        attrs={"activation_alpha": 1.702, "activation_beta": 1.0, "limit": 7.0},
        work={"exp": "4*n", "add": "8*n", "div": "4*n", "mul": "12*n", "compare": "12*n"},
        id="SwiGLU-clamped",
    ),
]

FUSED = [
    # A bias (1 add) before gelu.
    case(
        "BiasGelu",
        [f32("n", 8), weight("f32", 8)],
        f32("n", 8),
        domain=MS,
        work={"exp": "8*n", "mul": "24*n", "add": "16*n"},
        weights=32,
    ),
    case("FastGelu", [f32("n", 8)], f32("n", 8), domain=MS, work={"exp": "8*n", "mul": "48*n", "add": "16*n"}),
    case(
        "FastGelu",
        [f32("n", 8), weight("f32", 8)],
        f32("n", 8),
        domain=MS,
        work={"exp": "8*n", "mul": "48*n", "add": "24*n"},
        id="FastGelu-bias",
    ),
    # 6 elements get a bias; then 3 * gelu(3): gelu 3 mul and 1 add, the product 1 mul more.
    case(
        "BiasSplitGelu", [f32(1, 1, 6), weight("f32", 6)], f32(1, 1, 3), domain=MS, work={"add": 9, "exp": 3, "mul": 12}
    ),
    case("QuickGelu", [f32("n")], f32("n"), domain=MS, work={"exp": "n", "add": "n", "div": "n", "mul": "2*n"}),
    case("ScaledSiLU", [f32(5), f32()], f32(5), domain=MS, work={"exp": 5, "add": 5, "div": 5, "mul": 10}),
    case(
        "BiasAdd", [f32("n", 4, 8), weight("f32", 8), f32("n", 4, 8)], f32("n", 4, 8), domain=MS, work={"add": "64*n"}
    ),
    case(
        "GatedAdd", [f32("n", 8), f32("n", 8), f32("n", 1)], f32("n", 8), domain=MS, work={"mul": "8*n", "add": "8*n"}
    ),
    # Each row's gate: a dot product of 16, and a sigmoid.
    case(
        "GatedAdd",
        [f32("n", 8), f32("n", 8), f32("n", 16), weight("f32", 16, 1)],
        f32("n", 8),
        domain=MS,
        work={"mac": "16*n", "mul": "8*n", "add": "9*n", "exp": "n", "div": "n"},
        id="GatedAdd-projected",
    ),
    # (a + bi)(c + di): 4 products and 2 sums for 2 numbers; 5 pairs.
    case("ComplexMul", [f32(5, 2), f32(1, 2)], f32(5, 2), domain=MS, work={"mul": 20, "add": 10}),
    case("ComplexMulConj", [f32(5, 2), f32(5, 2)], f32(5, 2), domain=MS, work={"mul": 20, "add": 10}),
    case("MulInteger", [t("u8", 2, 3), None, t("u8", 3)], t("i32", 2, 3), domain=MS, work={"mul": 6}),
    case(
        "MulInteger",
        [t("u8", 2, 3), t("u8"), t("u8", 3), t("u8")],
        t("i32", 2, 3),
        domain=MS,
        work={"mul": 6, "add": 9},
        id="MulInteger-zeros",
    ),
    # 6 + 4 elements are looked at, and 9 conjunctions made.
    case("IsAllFinite", [f32(2, 3), f32(4)], t("bool"), domain=MS, work={"compare": 10, "logic": 9}),
]


@pytest.mark.parametrize("row", EVERY_VERSION, ids=str)
def test_work_of_each_element_in_every_version(row: Case) -> None:
    check(row)


@pytest.mark.parametrize("row", SPREAD + POW + SEVERAL, ids=str)
def test_several_inputs(row: Case) -> None:
    check(row)


@pytest.mark.parametrize("row", CASTS + ACTIVATIONS + FUSED, ids=str)
def test_casts_and_activations(row: Case) -> None:
    check(row)
