"""Signal processing and small linear algebra: every row worked out by hand.

A complex transform of length n is counted as 5 n log2 n operations (2 n log2 n muls, 3 n log2 n adds), half of that for
a real signal; of a free length by its definition, n terms for each result.
"""

from __future__ import annotations

import math

import pytest
from truth import Case, case, check, const, f32, t, weight

MS = "com.microsoft"


def i64(value: int) -> object:
    return const("i64", value)


FOURIER = [
    # 3 complex signals of 8: 8 * 3 = 24 steps, mul 2 and add 3 each.
    case("DFT", [f32(3, 8, 2)], f32(3, 8, 2), work={"mul": 144, "add": 216}, trust="estimate", version=17),
    # One side of a real one: half the work, 8/2 + 1 results.
    case(
        "DFT",
        [f32(3, 8, 1), None, i64(1)],
        f32(3, 5, 2),
        attrs={"onesided": 1},
        work={"mul": 72, "add": 108},
        trust="estimate",
        version=20,
    ),
    # Back, onesided: 2 * (5 - 1) real results, each divided by 8.
    case(
        "DFT",
        [f32(3, 5, 2)],
        f32(3, 8, 1),
        attrs={"onesided": 1, "inverse": 1},
        work={"mul": 72 + 24, "add": 108},
        trust="estimate",
        version=20,
        id="DFT-inverse",
    ),
    # Padded to 16, along the first axis: 16 * 4 = 64 steps for each of 8 columns.
    case(
        "DFT",
        [f32(3, 8, 2), i64(16), i64(0)],
        f32(16, 8, 2),
        work={"mul": 1024, "add": 1536},
        trust="estimate",
        id="DFT-length",
    ),
    # Not a power of two: 12 log2 12 = 43.02, times 2 and 3, rounded.
    case(
        "DFT",
        [f32(1, 12, 2)],
        f32(1, 12, 2),
        attrs={"axis": 1},
        work={"mul": round(2 * 12 * math.log2(12)), "add": round(3 * 12 * math.log2(12))},
        trust="estimate",
        version=17,
        id="DFT-12",
    ),
    # n terms for each of n results, a complex product and sum each.
    case(
        "DFT", [f32(1, "n", 2)], f32(1, "n", 2), work={"mul": "4*n^2", "add": "4*n^2"}, trust="bound", id="DFT-symbol"
    ),
    # floor((100 - 16)/8) + 1 = 11 frames of 16: half of 2 * 64, 3 * 64 steps; windowed: 16 muls.
    case(
        "STFT",
        [f32(2, 100, 1), i64(8), weight("f32", 16)],
        f32(2, 11, 9, 2),
        work={"mul": 22 * (64 + 16), "add": 22 * 96},
        trust="estimate",
    ),
    # Both sides of a complex signal: all the work; the length of a frame is stated.
    case(
        "STFT",
        [f32(1, 20, 2), i64(4), None, i64(8)],
        f32(1, 4, 8, 2),
        attrs={"onesided": 0},
        work={"mul": 4 * 48, "add": 4 * 72},
        trust="estimate",
        id="STFT-complex",
    ),
    # A free length: floor((n - 16)/8) + 1 frames.
    case(
        "STFT",
        [f32(1, "n", 1), i64(8), weight("f32", 16)],
        f32(1, "floor((n - 8)/8)", 9, 2),
        work={"mul": "80*floor((n - 8)/8)", "add": "96*floor((n - 8)/8)"},
        trust="estimate",
        id="STFT-symbol",
    ),
    case(
        "Rfft",
        [f32(3, 16)],
        f32(3, 9, 2),
        attrs={"signal_ndim": 1},
        domain=MS,
        work={"mul": 192, "add": 288},
        trust="estimate",
    ),
    case(
        "Irfft",
        [f32(3, 9, 2)],
        f32(3, 16),
        attrs={"signal_ndim": 1},
        domain=MS,
        work={"mul": 192 + 48, "add": 288},
        trust="estimate",
    ),
    # Over two axes: 4 * 8 = 32 numbers, 32 * 5 = 160 steps.
    case(
        "Rfft",
        [f32(3, 4, 8)],
        f32(3, 4, 5, 2),
        attrs={"signal_ndim": 2},
        domain=MS,
        work={"mul": 480, "add": 720},
        trust="estimate",
        id="Rfft-2d",
    ),
]

WINDOWS = [
    # A term: the angle (mul), cos, times its factor (mul), added.
    case("HannWindow", [i64(10)], f32(10), work={"trig": 10, "mul": 20, "add": 10}),
    case(
        "HammingWindow",
        [const("i32", 10)],
        t("f64", 10),
        attrs={"output_datatype": 11},
        work={"trig": 10, "mul": 20, "add": 10},
    ),
    case("BlackmanWindow", [i64(10)], f32(10), work={"trig": 20, "mul": 40, "add": 20}),
    case(
        "HannWindow",
        [t("i64")],
        f32("node.size"),
        work={"trig": "`node.size`", "mul": "2*`node.size`", "add": "`node.size`"},
        id="HannWindow-data",
    ),
    # 16/2 + 1 = 9 bins, 4 bands, 6 edges.
    case(
        "MelWeightMatrix",
        [i64(4), i64(16), i64(8000), const("f32", 0.0), const("f32", 4000.0)],
        f32(9, 4),
        work={"log": 2, "exp": 6, "mul": 18, "convert": 6, "div": 12 + 18, "add": 12 + 18},
        trust="bound",
    ),
]

MATRICES = [
    # 5 matrices of 3 x 3. Step 1: 2 factors, 4 updates; step 2: 1 and 1; then 2 products: mul 5 + 2, add 5, div 3, and
    # the largest of 3 and of 2 as pivots: 3 compares.
    case("Det", [f32(5, 3, 3)], f32(5), work={"mul": 35, "add": 25, "div": 15, "compare": 15}, version=11),
    case(
        "Det",
        [f32("b", "n", "n")],
        f32("b"),
        work={
            "mul": "b*floor((2*n^3 - 3*n^2 + n)/6) + b*n - b",
            "add": "b*floor((2*n^3 - 3*n^2 + n)/6)",
            "div": "b*floor((n^2 - n)/2)",
            "compare": "b*floor((n^2 - n)/2)",
        },
        version=22,
    ),
    # 3 steps: a reciprocal, 2 products in the row, and 3 products and 2 sums in each of 2 other rows.
    case(
        "Inverse",
        [f32(2, 3, 3)],
        f32(2, 3, 3),
        domain=MS,
        work={"mul": 2 * 3 * (2 + 6), "add": 2 * 3 * 4, "div": 6, "compare": 6},
    ),
    # Each cell adds its cost to the least of three.
    case("DynamicTimeWarping", [f32(4, 6)], t("i32", 2, "node.steps"), domain=MS, work={"compare": 48, "add": 24}),
]


@pytest.mark.parametrize("c", FOURIER + WINDOWS + MATRICES, ids=str)
def test_truth(c: Case) -> None:
    check(c)
