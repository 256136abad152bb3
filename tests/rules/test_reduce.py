"""Reductions over x of [2, 3, 4]: a sum of n numbers takes n - 1 additions, so |x| - |y| in all."""

from __future__ import annotations

import pytest
from truth import Case, T, case, check, const, f32, model_of, t

import macsim

X = f32(2, 3, 4)


def along_last(op: str, work: dict[str, int]) -> Case:
    """24 elements to 6, the axis kept as 1; axes as an input, as in version 18 and later."""
    return case(op, [X, const("i64", [-1])], f32(2, 3, 1), work=work)


REDUCE = [
    along_last("ReduceSum", {"add": 18}),
    along_last("ReduceMean", {"add": 18, "div": 6}),
    along_last("ReduceMax", {"compare": 18}),
    along_last("ReduceMin", {"compare": 18}),
    along_last("ReduceProd", {"mul": 18}),
    along_last("ReduceL1", {"logic": 24, "add": 18}),
    along_last("ReduceL2", {"mul": 24, "add": 18, "sqrt": 6}),
    along_last("ReduceSumSquare", {"mul": 24, "add": 18}),
    along_last("ReduceLogSum", {"add": 18, "log": 6}),
    # the largest, the differences, the exponentials, their sum, its logarithm, and the largest added back
    along_last("ReduceLogSumExp", {"compare": 18, "add": 24 + 18 + 6, "exp": 24, "log": 6}),
    case("ReduceSum", [X], f32(1, 1, 1), work={"add": 23}, id="ReduceSum-all"),
    case("ReduceSum", [X], f32(), attrs={"keepdims": 0}, work={"add": 23}, id="ReduceSum-scalar"),
    case("ReduceSum", [X], X, attrs={"noop_with_empty_axes": 1}, read=0, written=0, id="ReduceSum-noop"),
    case("ReduceMean", [X], f32(2, 4), version=13, attrs={"axes": [1], "keepdims": 0}, work={"add": 16, "div": 8}),
    case(
        "ReduceMax",
        [f32("n", 5), const("i64", [0])],
        f32(1, 5),
        work={"compare": "5*n - 5"},
        id="ReduceMax-symbol",
    ),
    case("ReduceSum", [f32(4, 1), const("i64", [1])], f32(4, 1), id="ReduceSum-rows-of-one"),
    case("ArgMax", [X], t("i64", 2, 1, 4), attrs={"axis": 1}, work={"compare": 16}),
    case("ArgMin", [X], t("i64", 3, 4), attrs={"axis": 0, "keepdims": 0}, work={"compare": 12}),
    case("CumSum", [X, const("i64", 1)], X, work={"add": 16}),  # two of three elements of each row add
    case("CumProd", [X, const("i64", 2)], X, version=26, work={"mul": 18}),
    # a heap of k = 2: each of 24 elements is compared once and may sink two levels of two compares
    case("TopK", [X, const("i64", [2])], [f32(2, 3, 2), t("i64", 2, 3, 2)], trust="bound", work={"compare": 24 * 5}),
    case("TopK", [X], [f32(2, 2, 4), t("i64", 2, 2, 4)], version=1, attrs={"k": 2, "axis": 1}, trust="bound",
         work={"compare": 120}),
    case("ReduceSumInteger", [t("i8", 2, 8)], t("i32", 2, 1), domain="com.microsoft", attrs={"axes": [1]},
         work={"add": 14}),
]  # fmt: skip

SOFTMAX = [
    # 6 rows of 4: 3 compares to find the largest, 4 differences, 4 exponentials, 3 additions, 4 quotients
    case("Softmax", [X], X, work={"compare": 18, "add": 24 + 18, "exp": 24, "div": 24}),
    # along axis 1: 8 rows of 3
    case("Softmax", [X], X, attrs={"axis": 1}, work={"compare": 16, "add": 24 + 16, "exp": 24, "div": 24}, id="axis 1"),
    # before version 13 all axes from 1 on were one row: 2 rows of 12
    case("Softmax", [X], X, version=11, work={"compare": 22, "add": 24 + 22, "exp": 24, "div": 24}),
    case("LogSoftmax", [X], X, work={"compare": 18, "add": 24 + 18 + 24, "exp": 24, "log": 6}),
    case("Hardmax", [X], X, work={"compare": 18}),
    case(
        "Softmax",
        [f32("b", "s", "s")],
        f32("b", "s", "s"),
        work={"compare": "b*s*s - b*s", "add": "2*b*s*s - b*s", "exp": "b*s*s", "div": "b*s*s"},
        id="Softmax-symbols",
    ),
    case("BiasSoftmax", [f32(2, 3, 4), f32(2, 1, 4)], X, domain="com.microsoft",
         attrs={"axis": 2, "is_inner_broadcast": 0}, work={"compare": 18, "add": 24 + 24 + 18, "exp": 24, "div": 24}),
]  # fmt: skip

SCORES, TARGET = f32(5, 7), t("i64", 5)
LOSSES = [
    # five targets: five signs, four additions, one quotient
    case("NegativeLogLikelihoodLoss", [SCORES, TARGET], f32(), work={"logic": 5, "add": 4, "div": 1}),
    case("NegativeLogLikelihoodLoss", [SCORES, TARGET], t("f32", 5), attrs={"reduction": "none"}, work={"logic": 5},
         id="NLL-none"),
    case("NegativeLogLikelihoodLoss", [SCORES, TARGET, f32(7)], f32(), work={"logic": 5, "mul": 5, "add": 8, "div": 1},
         id="NLL-weights"),
    # log softmax of 5 rows of 7, then the loss as above
    case("SoftmaxCrossEntropyLoss", [SCORES, TARGET], [f32(), SCORES],
         work={"compare": 30, "add": 35 + 30 + 35 + 4, "exp": 35, "log": 5, "logic": 5, "div": 1}),
]  # fmt: skip

CASES = REDUCE + SOFTMAX + LOSSES


@pytest.mark.parametrize("c", CASES, ids=str)
def test_truth(c: Case) -> None:
    check(c)


def test_unknown_axes_leave_the_rank_when_it_is_kept() -> None:
    report = macsim.count(model_of(case("ReduceSum", [X, t("i64", 1)], T("f32", None))))
    (output,) = report.outputs
    assert [str(d) for d in output.shape or ()] == ["?", "?", "?"]
    assert report.trust == "unknown"
