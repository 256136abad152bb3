"""Random numbers and dropout: every row worked out by hand.

A number of the generator Philox 4x32-10 takes a quarter of ten rounds of 2 mul, 2 add, 4 xor, and a conversion: mul 5,
add 5, logic 10, convert 1. Two normal numbers come of two of them: log, sqrt, 2 trig, 4 mul.
"""

from __future__ import annotations

from typing import Any

import pytest
from truth import Case, case, check, const, f32, model_of, t, weight

import macsim

MS = "com.microsoft"


def philox(n: int, **more: int) -> dict[str, Any]:
    """Work of n numbers, and more."""
    work = {"mul": 5 * n, "add": 5 * n, "logic": 10 * n, "convert": n}
    return {kind: work.get(kind, 0) + more.get(kind, 0) for kind in work | more}


GENERATORS = [
    # 6 numbers between -1 and 1: times 2, minus 1.
    case(
        "RandomUniform",
        [],
        f32(2, 3),
        attrs={"shape": [2, 3], "low": -1.0, "high": 1.0},
        work=philox(6, mul=6, add=6),
        read=0,
        written=24,
        trust="estimate",
        version=1,
    ),
    case(
        "RandomUniform",
        [],
        t("f64", 4),
        attrs={"shape": [4], "dtype": 11},
        work=philox(4),
        written=32,
        trust="estimate",
    ),
    case(
        "RandomUniformLike", [t("i32", 2, 3)], f32(2, 3), attrs={"dtype": 1}, work=philox(6), read=0, trust="estimate"
    ),
    # 3 pairs for 5 numbers, and a deviation of 2.
    case(
        "RandomNormal",
        [],
        f32(5),
        attrs={"shape": [5], "scale": 2.0},
        work=philox(5, mul=12 + 5, log=3, sqrt=3, trig=6),
        trust="estimate",
        version=22,
    ),
    case(
        "RandomNormalLike",
        [t("f16", "n", 2)],
        t("f16", "n", 2),
        work={"mul": "14*n", "add": "10*n", "logic": "20*n", "convert": "2*n", "log": "n", "sqrt": "n", "trig": "2*n"},
        trust="estimate",
        version=1,
    ),
    # A number and a comparison with the probability.
    case("Bernoulli", [f32(2, 3)], f32(2, 3), work=philox(6, compare=6), read=24, trust="estimate", version=15),
    case("Bernoulli", [t("f64", 4)], t("bool", 4), attrs={"dtype": 9}, work=philox(4, compare=4), trust="estimate"),
    # 2 rows of 10 classes: the largest (18 compares), less it (20 adds), exp (20), running sums (18); 2 * 5 samples,
    # each times the total and through 10 sums.
    case(
        "Multinomial",
        [f32(2, 10)],
        t("i32", 2, 5),
        attrs={"sample_size": 5},
        work=philox(10, mul=10, add=38, exp=20, compare=18 + 100),
        trust="estimate",
        version=7,
    ),
    case(
        "Multinomial",
        [t("f16", 1, 4)],
        t("i64", 1, 1),
        attrs={"dtype": 7},
        work=philox(1, mul=1, add=7, exp=4, compare=3 + 4),
        trust="estimate",
        version=22,
    ),
]

ON, OFF = const("bool", True), const("bool", False)

DROPOUT = [
    # At inference nothing happens; a mask of ones is written when it is asked for.
    case("Dropout", [f32(4, 8)], f32(4, 8), version=7, read=0, written=0),
    case("Dropout", [f32(4, 8)], [f32(4, 8), f32(4, 8)], version=7, read=0, written=128, id="Dropout-7-mask"),
    case("Dropout", [f32(4, 8)], [f32(4, 8), t("bool", 4, 8)], version=10, read=0, written=32),
    case("Dropout", [f32("n")], f32("n"), attrs={"is_test": 1}, version=6, read=0, written=0),
    case("Dropout", [f32("n"), const("f32", 0.5), OFF], f32("n"), version=13, written=0),
    # Training: a number, a comparison and two muls an element. Before 7 it is the default.
    case(
        "Dropout",
        [f32(4), const("f32", 0.5), ON],
        [f32(4), t("bool", 4)],
        work=philox(4, compare=4, mul=8),
        trust="estimate",
        version=12,
    ),
    case(
        "Dropout", [f32(4)], f32(4), attrs={"ratio": 0.3}, work=philox(4, compare=4, mul=8), trust="estimate", version=1
    ),
    # Nothing is dropped at a ratio of 0; whether it trains may be data.
    case("Dropout", [f32(4), const("f32", 0.0), ON], f32(4), written=0, id="Dropout-ratio-0"),
    case(
        "Dropout",
        [f32(4), None, t("bool")],
        f32(4),
        work=philox(4, compare=4, mul=8),
        trust="bound",
        id="Dropout-data",
    ),
    # A bias and a residual are added; masks of bits, 32 to a word.
    case(
        "BiasDropout",
        [f32("n", 8), weight("f32", 8), f32("n", 8)],
        [f32("n", 8), t("bool", "n", 8)],
        domain=MS,
        work={"add": "16*n"},
    ),
    case(
        "BitmaskBiasDropout",
        [f32(5, 8), weight("f32", 8), None, const("f32", 0.1), ON],
        [f32(5, 8), t("u32", 2)],
        domain=MS,
        work=philox(40, compare=40, mul=80, add=40),
        trust="estimate",
    ),
    case("BitmaskDropout", [f32(5, 8)], [f32(5, 8), t("u32", 2)], domain=MS, written=8),
]


@pytest.mark.parametrize("c", GENERATORS + DROPOUT, ids=str)
def test_truth(c: Case) -> None:
    check(c)


def test_negative_sizes_are_told() -> None:
    """A size that an attribute makes negative is not known; the others stand."""
    report = macsim.count(model_of(case("RandomNormal", [], f32(2, 3), attrs={"shape": [2, -3]})))
    shape = report.rows[0].outputs[0].shape
    assert shape is not None
    assert shape[0] == 2
    assert str(shape[1]) == "?"
    assert report.rows[0].trust == "unknown"
    assert any("negative" in note.text for note in report.diagnostics)
