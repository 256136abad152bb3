"""Optimisers: the pseudo code of their specifications, operation by operation, over all n elements of the tensors."""

from __future__ import annotations

import pytest
from truth import Case, case, check, f32, t

TRAIN = "ai.onnx.preview.training"
MOMENTUM = {"alpha": 0.9, "beta": 1.0, "mode": "standard", "norm_coefficient": 0.0}

CASES = [
    # r = R / (1 + T * decay); H' = H + G*G; X' = X - r*G / (sqrt(H') + eps): 2 mul, 3 add, sqrt, div an element.
    case(
        "Adagrad",
        [f32(), t("i64"), f32(4, "n"), f32(4, "n"), f32(4, "n")],
        [f32(4, "n"), f32(4, "n")],
        domain=TRAIN,
        work={"mul": "8*n + 1", "add": "12*n + 1", "sqrt": "4*n", "div": "4*n + 1"},
    ),
    # Two tensors, 2 + 3 elements; a regularisation is a mul and an add more.
    case(
        "Adagrad",
        [f32(), t("i64"), f32(2), f32(3), f32(2), f32(3), f32(2), f32(3)],
        [f32(2), f32(3), f32(2), f32(3)],
        attrs={"norm_coefficient": 0.1, "decay_factor": 0.1},
        domain=TRAIN,
        work={"mul": 15 + 1, "add": 20 + 1, "sqrt": 5, "div": 6},
    ),
    # V' = a*V + (1-a)*G (2 mul, add); H' = b*H + (1-b)*G*G (3 mul, add); sqrt(H') + eps (sqrt, add);
    # X' = X - r*V'/.. (mul, div, add). Once: two powers (log, mul, exp each), two subtractions, sqrt, mul, div, T > 0.
    case(
        "Adam",
        [f32(), t("i64"), f32(10), f32(10), f32(10), f32(10)],
        [f32(10), f32(10), f32(10)],
        domain=TRAIN,
        work={"mul": 60 + 3, "add": 40 + 2, "sqrt": 11, "div": 11, "log": 2, "exp": 2, "compare": 1},
    ),
    case(
        "Adam",
        [f32(), t("i64"), f32(10), f32(10), f32(10), f32(10)],
        [f32(10), f32(10), f32(10)],
        attrs={"norm_coefficient": 0.1, "norm_coefficient_post": 0.1},
        domain=TRAIN,
        work={"mul": 80 + 3, "add": 50 + 2, "sqrt": 11, "div": 11, "log": 2, "exp": 2, "compare": 1},
    ),
    # V' = a*V + b*G; X' = X - R*V': 3 mul, 2 add. Nesterov: X - R*(G + a*V'): one of each more.
    case(
        "Momentum",
        [f32(), t("i64"), f32(10), f32(10), f32(10)],
        [f32(10), f32(10)],
        attrs=MOMENTUM,
        domain=TRAIN,
        work={"mul": 30, "add": 20, "compare": 1},
    ),
    case(
        "Momentum",
        [f32(), t("i64"), f32(10), f32(10), f32(10)],
        [f32(10), f32(10)],
        attrs=MOMENTUM | {"mode": "nesterov", "norm_coefficient": 0.5},
        domain=TRAIN,
        work={"mul": 50, "add": 40, "compare": 1},
    ),
    # A gradient has the shape of what it is with respect to; its backward pass is not expanded.
    case(
        "Gradient",
        [f32(2, 3), f32("n")],
        [f32(2, 3)],
        attrs={"xs": ["a"], "zs": ["b"], "y": "c"},
        domain=TRAIN,
        trust="unknown",
    ),
]


@pytest.mark.parametrize("c", CASES, ids=str)
def test_truth(c: Case) -> None:
    check(c)
