"""Reductions, and operators along one axis: every row worked out by hand.

Folding n elements into one takes n - 1 operations, so |x| elements into |y| rows take |x| - |y|.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from truth import Case, T, case, check, const, f32, model_of, t, weight

import macsim

MS = "com.microsoft"


def versions_of(op: str) -> list[int]:
    history = onnx.defs.get_all_schemas_with_history()
    return sorted(schema.since_version for schema in history if schema.name == op and schema.domain == "")


# [n, 3, 4] over the last two axes: 12*n elements into n. By operator: work of each element, of folding, of each result.
REDUCTIONS: dict[str, tuple[dict[str, int], str, dict[str, int]]] = {
    "ReduceSum": ({}, "add", {}),
    "ReduceMean": ({}, "add", {"div": 1}),
    "ReduceMax": ({}, "compare", {}),
    "ReduceMin": ({}, "compare", {}),
    "ReduceProd": ({}, "mul", {}),
    "ReduceL1": ({"logic": 1}, "add", {}),
    "ReduceL2": ({"mul": 1}, "add", {"sqrt": 1}),
    "ReduceSumSquare": ({"mul": 1}, "add", {}),
    "ReduceLogSum": ({}, "add", {"log": 1}),
}
AXES_INPUT = {"ReduceSum": 13}  # the others: 18


def reduction_case(op: str, version: int) -> Case:
    each, fold, last = REDUCTIONS[op]
    work = {fold: "11*n"}
    for kind, times in each.items():
        work[kind] = f"{12 * times}*n"
    for kind in last:
        work[kind] = "n"
    if version < AXES_INPUT.get(op, 18):
        return case(op, [f32("n", 3, 4)], f32("n", 1, 1), version=version, attrs={"axes": [1, 2]}, work=work)
    inputs = [f32("n", 3, 4), const("i64", [-1, 1])]
    return case(op, inputs, f32("n"), version=version, attrs={"keepdims": 0}, work=work, read="48*n", weights=0)


EVERY_VERSION = [reduction_case(op, version) for op in REDUCTIONS for version in versions_of(op)]

ODD = [
    # Without axes, all of them: 24 elements into one.
    case("ReduceSum", [f32(2, 3, 4)], f32(1, 1, 1), work={"add": 23}, version=1, id="ReduceSum-1-all"),
    case("ReduceSum", [f32(2, 3, 4)], f32(), attrs={"keepdims": 0}, work={"add": 23}, id="ReduceSum-all"),
    case("ReduceSum", [f32(2, 3), const("i64", np.zeros(0))], f32(1, 1), work={"add": 5}, id="ReduceSum-empty-axes"),
    # Or none, where the model says so: then only the work of each element is left.
    case(
        "ReduceSum", [f32(2, 3)], f32(2, 3), attrs={"noop_with_empty_axes": 1}, read=0, written=0, id="ReduceSum-noop"
    ),
    case(
        "ReduceSumSquare",
        [f32(2, 3), const("i64", np.zeros(0))],
        f32(2, 3),
        attrs={"noop_with_empty_axes": 1},
        work={"mul": 6},
        id="ReduceSumSquare-noop",
    ),
    case("ReduceMean", [f32(2, 3)], f32(2, 3), attrs={"noop_with_empty_axes": 1}, read=0, id="ReduceMean-noop"),
    case("ReduceSum", [f32()], f32(), read=0, written=0, id="ReduceSum-scalar"),
    # No elements: nothing is added, the result is the three zeros.
    case("ReduceSum", [f32(0, 3), const("i64", [0])], f32(1, 3), written=12, id="ReduceSum-empty"),
    case("ReduceMax", [f32(2, 3), const("i64", [2])], T("f32", None), trust="unknown", id="ReduceMax-bad-axis"),
    # log(sum(exp(x - max))) + max: of 6 elements into 2: 4 compares, 6 - , 4 + and 2 + , 6 exp, 2 log.
    *[
        case(
            "ReduceLogSumExp",
            [f32(2, 3)],
            f32(2, 1),
            version=v,
            attrs={"axes": [1]},
            work={"compare": 4, "add": 12, "exp": 6, "log": 2},
        )
        for v in versions_of("ReduceLogSumExp")
        if v < 18
    ],
    *[
        case(
            "ReduceLogSumExp",
            [f32(2, 3), const("i64", [1])],
            f32(2, 1),
            version=v,
            work={"compare": 4, "add": 12, "exp": 6, "log": 2},
        )
        for v in versions_of("ReduceLogSumExp")
        if v >= 18
    ],
    case(
        "ReduceSumInteger",
        [t("u8", 4, "n")],
        t("u32", 4),
        domain=MS,
        attrs={"axes": [1], "keepdims": 0},
        work={"add": "4*n - 4"},
    ),
    case(
        "ReduceSumInteger",
        [t("i8", 4, 5)],
        t("i32", 4, 1),
        domain=MS,
        attrs={"axes": [1]},
        work={"add": 16},
        id="ReduceSumInteger-i8",
    ),
]

ALONG = [
    *[
        case("ArgMax", [f32("n", 5)], t("i64", 1, 5), version=v, work={"compare": "5*n - 5"}, written=40)
        for v in versions_of("ArgMax")
    ],
    *[
        case(
            "ArgMin",
            [f32("n", 5)],
            t("i64", "n"),
            version=v,
            attrs={"axis": -1, "keepdims": 0},
            work={"compare": "4*n"},
        )
        for v in versions_of("ArgMin")
    ],
    # 6 rows of 4: 3 sums each; exclusive: the first result is 0, the second the first element, 2 sums remain.
    *[
        case("CumSum", [f32(2, 4, 3), const("i32", 1)], f32(2, 4, 3), version=v, work={"add": 18})
        for v in versions_of("CumSum")
    ],
    case(
        "CumSum",
        [f32(2, 4, 3), const("i64", [-2])],
        f32(2, 4, 3),
        attrs={"exclusive": 1, "reverse": 1},
        work={"add": 12},
    ),
    case("CumSum", [f32("n", 3), const("i64", 0)], f32("n", 3), work={"add": "3*n - 3"}, id="CumSum-symbol"),
    case("CumSum", [f32(2, 4), t("i64")], f32(2, 4), work={"add": 8}, trust="bound", id="CumSum-axis-unknown"),
    case("CumProd", [f32(2, 4), const("i64", 1)], f32(2, 4), version=26, work={"mul": 6}),
    # The 2 largest of 5, one after the other: 4 + 3 compares in each of 3 rows.
    case(
        "TopK", [f32(3, 5)], [f32(3, 2), t("i64", 3, 2)], version=1, attrs={"k": 2}, work={"compare": 21}, trust="bound"
    ),
    *[
        case(
            "TopK",
            [f32(3, 5), const("i64", [2])],
            [f32(3, 2), t("i64", 3, 2)],
            version=v,
            work={"compare": 21},
            trust="bound",
            read=60,
            written=72,
        )
        for v in versions_of("TopK")[1:]
    ],
    case(
        "TopK",
        [f32("n", 5), const("i64", [1])],
        [f32(1, 5), t("i64", 1, 5)],
        attrs={"axis": 0},
        work={"compare": "5*n - 5"},
        trust="bound",
    ),
    # 100 of 8400: a heap of 100 has 7 levels: at most 2 + 2*7 compares an element.
    case(
        "TopK",
        [f32(8400), const("i64", [100])],
        [f32(100), t("i64", 100)],
        work={"compare": 8400 * 16},
        trust="bound",
        id="TopK-many",
    ),
    # How many is data: a symbol. k of 5 one after the other: 4 + 3 + ... = 5*k - k*(k + 1)/2.
    case(
        "TopK",
        [f32(5), t("i64", 1)],
        [f32("node.k"), t("i64", "node.k")],
        work={"compare": "5*node.k - (node.k*node.k + node.k)//2"},
        trust="bound",
        id="TopK-symbol",
    ),
    case("TopK", [f32(3), const("i64", [4])], [T("f32", None), T("i64", None)], trust="unknown", id="TopK-too-many"),
]

# r rows of n: r*(n - 1) compares, r*n subtractions, r*(n - 1) sums, r*n exponentials, r*n quotients.
SOFTMAX = [
    case(
        "Softmax",
        [f32("b", 12, 64)],
        f32("b", 12, 64),
        work={"compare": "756*b", "add": "1524*b", "exp": "768*b", "div": "768*b"},
        version=13,
    ),
    case(
        "Softmax",
        [f32(2, 3, 4)],
        f32(2, 3, 4),
        attrs={"axis": 1},
        work={"compare": 16, "add": 40, "exp": 24, "div": 24},
    ),
    # Before version 13 all axes from the first on are one row: 2 rows of 12; from axis 2 on: 6 rows of 4.
    *[
        case("Softmax", [f32(2, 3, 4)], f32(2, 3, 4), version=v, work={"compare": 22, "add": 46, "exp": 24, "div": 24})
        for v in (1, 11)
    ],
    case(
        "Softmax",
        [f32(2, 3, 4)],
        f32(2, 3, 4),
        version=11,
        attrs={"axis": -1},
        work={"compare": 18, "add": 42, "exp": 24, "div": 24},
    ),
    # x - max - log(sum): two subtractions an element, one logarithm a row, no quotient.
    case("LogSoftmax", [f32(2, 3, 4)], f32(2, 3, 4), version=13, work={"compare": 18, "add": 66, "exp": 24, "log": 6}),
    *[
        case(
            "LogSoftmax", [f32(2, 3, 4)], f32(2, 3, 4), version=v, work={"compare": 22, "add": 70, "exp": 24, "log": 2}
        )
        for v in (1, 11)
    ],
    case("Hardmax", [f32(2, 3, 4)], f32(2, 3, 4), version=13, work={"compare": 18}),
    *[case("Hardmax", [f32(2, 3, 4)], f32(2, 3, 4), version=v, work={"compare": 22}) for v in (1, 11)],
    # A bias: one more sum an element; axes from 1 on are one row.
    case(
        "BiasSoftmax",
        [f32(2, 3, 4), f32(2, 3, 4)],
        f32(2, 3, 4),
        domain=MS,
        attrs={"axis": 1},
        work={"compare": 22, "add": 70, "exp": 24, "div": 24},
    ),
    case(
        "Softmax",
        [f32("b", "s", "s")],
        f32("b", "s", "s"),
        work={"compare": "b*s*s - b*s", "add": "2*b*s*s - b*s", "exp": "b*s*s", "div": "b*s*s"},
        id="Softmax-symbols",
    ),
    case("Softmax", [f32(2, 3)], f32(2, 3), attrs={"axis": 2}, trust="unknown", id="Softmax-bad-axis"),
]

TARGET = t("i64", "n", 7)
# 7*n targets: a sign turned for each; the sum takes 7*n - 1, the mean one quotient.
LOSSES = [
    case(
        "NegativeLogLikelihoodLoss",
        [f32("n", 5, 7), TARGET],
        f32("n", 7),
        version=12,
        attrs={"reduction": "none"},
        work={"logic": "7*n"},
        read="84*n",
    ),
    case(
        "NegativeLogLikelihoodLoss",
        [f32("n", 5, 7), TARGET],
        f32(),
        version=13,
        attrs={"reduction": "sum"},
        work={"logic": "7*n", "add": "7*n - 1"},
    ),
    # Weights of classes: a product for each target; the mean divides by the sum of their weights.
    case(
        "NegativeLogLikelihoodLoss",
        [f32("n", 5, 7), TARGET, weight("f32", 5)],
        f32(),
        version=22,
        work={"logic": "7*n", "mul": "7*n", "add": "14*n - 2", "div": 1},
        weights=20,
    ),
    # A class to be ignored: each target is compared with it and left out; the mean counts the others.
    case(
        "NegativeLogLikelihoodLoss",
        [f32("n", 5, 7), TARGET],
        f32(),
        attrs={"ignore_index": 1},
        work={"logic": "14*n", "compare": "7*n", "add": "14*n - 2", "div": 1},
        id="NegativeLogLikelihoodLoss-ignore",
    ),
    # 7*n rows of 5 classes: log softmax has 28*n compares, 35*n + 28*n + 35*n sums, 35*n exp, 7*n log.
    *[
        case(
            "SoftmaxCrossEntropyLoss",
            [f32("n", 5, 7), TARGET],
            [f32(), f32("n", 5, 7)],
            version=v,
            work={"compare": "28*n", "add": "105*n - 1", "exp": "35*n", "log": "7*n", "logic": "7*n", "div": 1},
        )
        for v in (12, 13)
    ],
    case(
        "SoftmaxCrossEntropyLoss",
        [f32(3, 5), t("i32", 3)],
        f32(3),
        attrs={"reduction": "none"},
        work={"compare": 12, "add": 42, "exp": 15, "log": 3, "logic": 3},
    ),
]


@pytest.mark.parametrize("row", EVERY_VERSION + ODD, ids=str)
def test_reductions(row: Case) -> None:
    check(row)


@pytest.mark.parametrize("row", ALONG + SOFTMAX + LOSSES, ids=str)
def test_along_an_axis(row: Case) -> None:
    check(row)


def test_axes_from_data_leave_the_rank_when_it_is_kept() -> None:
    report = macsim.count(model_of(case("ReduceMax", [f32("n", 4, 8), t("i64", 2)], f32())))
    assert [str(dim) for dim in report.outputs[0].shape or ()] == ["?", "?", "?"]
    assert report.rows[0].work["compare"] == macsim.Expr("?")
    assert report.trust == "unknown"
