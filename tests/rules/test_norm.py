"""Normalisation: every row worked out by hand.

Rows of n elements: the mean takes n - 1 adds and a div, centring n adds, the variance n muls, n - 1 adds and a div,
eps an add, then a sqrt and a reciprocal; normalising n muls. Together, on R rows: add 3Rn - R, mul 2Rn, div 3R, sqrt R.
By the root of the mean square: squares n muls, n - 1 adds and a div, eps an add, sqrt, reciprocal, n muls: add Rn,
mul 2Rn, div 2R, sqrt R. A scale that differs inside a row takes n more muls, a bias n more adds.
"""

from __future__ import annotations

import pytest
from truth import Case, T, case, check, const, f32, t, weight

MS = "com.microsoft"
NHWC = "com.ms.internal.nhwc"


def vector(n: int) -> T:
    return weight("f32", n)


BATCH = [
    # alpha and beta once a channel, alpha * x + beta: |x| = 2*3*4*4 = 96, 3 channels.
    case(
        "BatchNormalization",
        [f32(2, 3, 4, 4), vector(3), vector(3), vector(3), vector(3)],
        f32(2, 3, 4, 4),
        work={"mul": 96 + 3, "add": 96 + 6, "sqrt": 3, "div": 3},
        read=384,
        weights=48,
        written=384,
    ),
    case(
        "BatchNormalization",
        [f32("n", 64, "h", "w"), vector(64), vector(64), vector(64), vector(64)],
        f32("n", 64, "h", "w"),
        version=9,
        work={"mul": "64*n*h*w + 64", "add": "64*n*h*w + 128", "sqrt": 64, "div": 64},
    ),
    # Channels are the last axis; the work is the same.
    case(
        "BatchNormalization",
        [f32(2, 4, 4, 3), vector(3), vector(3), vector(3), vector(3)],
        f32(2, 4, 4, 3),
        domain=NHWC,
        version=15,
        work={"mul": 99, "add": 102, "sqrt": 3, "div": 3},
    ),
    # Training, 3 channels of 32: mean add 93, div 3; centring add 96; variance mul 96, add 93, div 3; eps add 3,
    # sqrt 3; scale / deviation div 3; times alpha mul 96, plus b add 96; running means: 2 * 3 * (2 mul, 1 add).
    case(
        "BatchNormalization",
        [f32(2, 3, 4, 4), vector(3), vector(3), vector(3), vector(3)],
        [f32(2, 3, 4, 4), f32(3), f32(3)],
        attrs={"training_mode": 1},
        version=14,
        work={"mul": 96 + 96 + 12, "add": 93 + 96 + 93 + 3 + 96 + 6, "sqrt": 3, "div": 9},
    ),
    # Up to 13 further outputs mean training; before 7 it is the default.
    case(
        "BatchNormalization",
        [f32(2, 3, 4, 4), vector(3), vector(3), vector(3), vector(3)],
        [f32(2, 3, 4, 4), f32(3), f32(3), f32(3), f32(3)],
        version=7,
        work={"mul": 204, "add": 387, "sqrt": 3, "div": 9},
    ),
    case(
        "BatchNormalization",
        [f32(2, 3, 4, 4), vector(3), vector(3), vector(3), vector(3)],
        f32(2, 3, 4, 4),
        attrs={"is_test": 1},
        version=6,
        work={"mul": 99, "add": 102, "sqrt": 3, "div": 3},
    ),
    case(
        "BatchNormalization",
        [f32(2, 3, 4, 4), vector(3), vector(3), vector(3), vector(3)],
        f32(2, 3, 4, 4),
        attrs={"consumed_inputs": [0, 0, 0, 1, 1]},
        version=1,
        work={"mul": 204, "add": 387, "sqrt": 3, "div": 9},
    ),
    # Statistics of another type (mixed precision), and a batch without channels.
    case(
        "BatchNormalization",
        [t("f16", 4, 2), weight("f16", 2), weight("f16", 2), vector(2), vector(2)],
        [t("f16", 4, 2), f32(2), f32(2)],
        attrs={"training_mode": 1},
        work={"mul": 8 + 8 + 8, "add": 6 + 8 + 6 + 2 + 8 + 4, "sqrt": 2, "div": 6},
        id="BatchNormalization-mixed",
    ),
]

CHANNELS = [
    # 2 * 3 rows of 16; scale and bias do not change in a row, so scale / deviation is one number: mul 2Rn, bias add Rn.
    case(
        "InstanceNormalization",
        [f32(2, 3, 4, 4), vector(3), vector(3)],
        f32(2, 3, 4, 4),
        version=6,
        work={"mul": 192, "add": 3 * 96 - 6 + 96, "div": 18, "sqrt": 6},
    ),
    case(
        "InstanceNormalization",
        [f32("n", 4, 4, 3), vector(3), vector(3)],
        f32("n", 4, 4, 3),
        domain=NHWC,
        version=6,
        work={"mul": "96*n", "add": "189*n", "div": "9*n", "sqrt": "3*n"},
    ),
    # 2 images of 2 groups of 24; scale and bias by group (18), or by channel (21): one more mul an element.
    case(
        "GroupNormalization",
        [f32(2, 4, 3, 4), vector(2), vector(2)],
        f32(2, 4, 3, 4),
        attrs={"num_groups": 2},
        version=18,
        work={"mul": 192, "add": 3 * 96 - 4 + 96, "div": 12, "sqrt": 4},
    ),
    case(
        "GroupNormalization",
        [f32(2, 4, 3, 4), vector(4), vector(4)],
        f32(2, 4, 3, 4),
        attrs={"num_groups": 2},
        version=21,
        work={"mul": 288, "add": 380, "div": 12, "sqrt": 4},
    ),
    # Channels last does not matter; SiLU takes exp, add, div and mul of each element.
    case(
        "GroupNorm",
        [f32(2, 3, 4, 4), vector(4), vector(4)],
        f32(2, 3, 4, 4),
        attrs={"groups": 2, "activation": 1},
        domain=MS,
        work={"mul": 288 + 96, "add": 380 + 96, "div": 12 + 96, "sqrt": 4, "exp": 96},
    ),
    # x + skip + bias first: two more adds an element; the sum is an output.
    case(
        "SkipGroupNorm",
        [f32(2, 3, 4, 4), vector(4), vector(4), f32(2, 1, 1, 4), vector(4)],
        [f32(2, 3, 4, 4), f32(2, 3, 4, 4)],
        attrs={"groups": 2, "activation": 0},
        domain=MS,
        work={"mul": 288, "add": 380 + 192, "div": 12, "sqrt": 4},
    ),
]

ROWS = [
    # b * s rows of 8 with scale and bias: add 3Rn - R + Rn = 31R, mul 24R.
    case(
        "LayerNormalization",
        [f32("b", "s", 8), vector(8), vector(8)],
        f32("b", "s", 8),
        work={"add": "31*b*s", "mul": "24*b*s", "div": "3*b*s", "sqrt": "b*s"},
        read="32*b*s",
        weights=64,
    ),
    # Over two axes, without a bias; the mean and reciprocal deviation of 2 rows of 12 are outputs, in 32 bits.
    case(
        "LayerNormalization",
        [t("f16", 2, 3, 4), weight("f16", 3, 4)],
        [t("f16", 2, 3, 4), f32(2, 1, 1), f32(2, 1, 1)],
        attrs={"axis": 1},
        work={"add": 72 - 2, "mul": 72, "div": 6, "sqrt": 2},
        written=48 + 16,
        id="LayerNormalization-statistics",
    ),
    # 6 rows of 4 and a scale: add 24, mul 3 * 24, div 2 * 6.
    case(
        "RMSNormalization", [f32(2, 3, 4), vector(4)], f32(2, 3, 4), work={"add": 24, "mul": 72, "div": 12, "sqrt": 6}
    ),
    # The result has the type of the scale.
    case(
        "SimplifiedLayerNormalization",
        [f32(2, 3, 4), weight("f16", 4)],
        [t("f16", 2, 3, 4), f32(2, 3, 1)],
        version=17,
        work={"add": 24, "mul": 72, "div": 12, "sqrt": 6},
    ),
    # One add an element for the skip, one for the bias.
    case(
        "SkipLayerNormalization",
        [f32(2, 3, 4), f32(2, 3, 4), vector(4), vector(4), vector(4)],
        [f32(2, 3, 4), f32(2, 3, 1), f32(2, 3, 1), f32(2, 3, 4)],
        domain=MS,
        work={"add": 48 + 72 - 6 + 24, "mul": 72, "div": 18, "sqrt": 6},
    ),
    case(
        "SkipLayerNormalization",
        [t("f16", "n", 8), t("f16", "n", 8), weight("f16", 8)],
        t("f16", "n", 8),
        domain=MS,
        work={"add": "31*n", "mul": "24*n", "div": "3*n", "sqrt": "n"},
        id="SkipLayerNormalization-plain",
    ),
    case(
        "SkipSimplifiedLayerNormalization",
        [f32(2, 3, 4), f32(2, 3, 4), vector(4), vector(4)],
        [f32(2, 3, 4), None, None, f32(2, 3, 4)],
        domain=MS,
        work={"add": 48 + 24, "mul": 72, "div": 12, "sqrt": 6},
    ),
    # 5 of 64 neighbours' squares: mul 1, add 4; alpha / size mul, bias add, power log, mul, exp, division.
    case(
        "LRN",
        [f32(1, 64, 2, 2)],
        f32(1, 64, 2, 2),
        attrs={"size": 5},
        version=1,
        work={"mul": 768, "add": 1280, "div": 256, "log": 256, "exp": 256},
    ),
    case(
        "LRN",
        [f32("n", 2, 2, 64)],
        f32("n", 2, 2, 64),
        attrs={"size": 3, "beta": 0.5},
        domain=NHWC,
        version=13,
        work={"mul": "512*n", "add": "768*n", "div": "256*n", "sqrt": "256*n"},
    ),
    # 3 columns of 4: sums add 9; p = 2: 12 squares, 3 roots.
    case(
        "LpNormalization",
        [f32(4, 3)],
        f32(4, 3),
        attrs={"axis": 0},
        version=1,
        work={"mul": 12, "add": 9, "sqrt": 3, "div": 12},
    ),
    case(
        "LpNormalization", [f32(4, 3)], f32(4, 3), attrs={"p": 1}, version=22, work={"logic": 12, "add": 8, "div": 12}
    ),
    # Axes 0, 2, 3 by default: 3 rows of 32.
    case(
        "MeanVarianceNormalization",
        [f32(2, 3, 4, 4)],
        f32(2, 3, 4, 4),
        version=9,
        work={"mul": 192, "add": 288 - 3, "div": 9, "sqrt": 3},
    ),
    case(
        "MeanVarianceNormalization",
        [f32(2, 3, "n")],
        f32(2, 3, "n"),
        attrs={"axes": [-1]},
        work={"mul": "12*n", "add": "18*n - 6", "div": 18, "sqrt": 6},
    ),
]

FUSED = [
    # 2 * 6 tokens, width 8: 96 elements. Words + positions: add 96; + segments: add 96; 12 rows of 8 with scale and
    # bias: add 31 * 12, mul 24 * 12; ones of the mask: 2 * 5 adds. Read: 12 + 12 + 12 ids of 4 bytes; rows of three
    # tables (96, 6 * 8, 96 numbers), gamma and beta.
    case(
        "EmbedLayerNormalization",
        [
            t("i32", 2, 6),
            t("i32", 2, 6),
            weight("f32", 100, 8),
            weight("f32", 32, 8),
            weight("f32", 2, 8),
            vector(8),
            vector(8),
            t("i32", 2, 6),
        ],
        [f32(2, 6, 8), t("i32", 2), f32(2, 6, 8)],
        domain=MS,
        work={"add": 192 + 372 + 10, "mul": 288, "div": 36, "sqrt": 12},
        read=144,
        weights=(96 + 48 + 96 + 16) * 4,
    ),
    case(
        "EmbedLayerNormalization",
        [t("i32", "b", 6), None, weight("f16", 100, 8), weight("f16", 32, 8), None, weight("f16", 8), weight("f16", 8)],
        t("f16", "b", 6, 8),
        domain=MS,
        work={"add": "48*b + 186*b", "mul": "144*b", "div": "18*b", "sqrt": "6*b"},
        weights="96*b + 96 + 32",
        id="EmbedLayerNormalization-no-segments",
    ),
    # As the first, each number looked up (2 * 96) and gamma, beta (16) dequantised: convert, add, mul.
    case(
        "QEmbedLayerNormalization",
        [
            t("i32", 2, 6),
            None,
            weight("u8", 100, 8),
            weight("u8", 32, 8),
            None,
            weight("u8", 8),
            weight("u8", 8),
            None,
            const("f32", 0.1),
            const("f32", 0.1),
            None,
            const("f32", 0.1),
            const("f32", 0.1),
            const("u8", 1),
            const("u8", 1),
            None,
            const("u8", 1),
            const("u8", 1),
        ],
        [f32(2, 6, 8), t("i32", 2)],
        domain=MS,
        work={"convert": 208, "add": 208 + 96 + 372, "mul": 208 + 288, "div": 36, "sqrt": 12},
        weights=96 + 48 + 16 + 4 * 4 + 4,
    ),
    # 2 rows of 8: add 62, mul 48 and, for in and out, mul and convert of each element and two clips.
    case(
        "QOrderedLayerNormalization",
        [t("i8", 1, 2, 8), const("f32", 0.1), vector(8), vector(8), const("f32", 0.1)],
        t("i8", 1, 2, 8),
        attrs={"order_X": 1, "order_Y": 1},
        domain=MS,
        work={"add": 62, "mul": 48 + 32, "div": 6, "sqrt": 2, "convert": 32, "compare": 32},
    ),
    # 3 tokens of 2 heads of 4: 6 rows of 4; SiLU of the gate and its product: exp, add, div, 2 mul.
    case(
        "GatedRMSNorm",
        [f32(3, 8), vector(4), f32(3, 8)],
        f32(3, 8),
        domain=MS,
        work={"add": 24 + 24, "mul": 72 + 48, "div": 12 + 24, "sqrt": 6, "exp": 24},
    ),
    case(
        "GatedRMSNorm",
        [f32(3, 8), vector(4), f32(3, 8)],
        f32(3, 8),
        attrs={"activation": "sigmoid"},
        domain=MS,
        work={"add": 48, "mul": 72 + 24, "div": 36, "sqrt": 6, "exp": 24},
        id="GatedRMSNorm-sigmoid",
    ),
    # 5 tokens of 2 streams of 4, kept flat: 10 rows of 4.
    case(
        "BranchwiseRMSNorm",
        [f32(5, 8), vector(8)],
        f32(5, 8),
        attrs={"num_branches": 2},
        domain=MS,
        work={"add": 40, "mul": 120, "div": 20, "sqrt": 10},
    ),
    case(
        "BranchwiseRMSNorm",
        [f32(5, 2, 4)],
        f32(5, 2, 4),
        domain=MS,
        work={"add": 40, "mul": 80, "div": 20, "sqrt": 10},
        id="BranchwiseRMSNorm-grouped",
    ),
    # 5 tokens, 3 streams of 4: sums of 3 products.
    case("HyperConnectionPreMix", [f32(5, 3, 4), f32(5, 3)], f32(5, 4), domain=MS, work={"mac": 60}),
    case(
        "HyperConnectionPreMix",
        [f32(5, 12), f32(5, 12)],
        f32(5, 4),
        attrs={"num_branches": 3, "reduction_scale": 0.5},
        domain=MS,
        work={"mac": 60, "mul": 20},
        id="HyperConnectionPreMix-flat",
    ),
    # Each of 60 elements sums 3 products, and takes its part of the block's output.
    case(
        "HyperConnectionPostMix",
        [f32(5, 3, 4), f32(5, 4), f32(5, 3), f32(5, 3, 3)],
        f32(5, 3, 4),
        domain=MS,
        work={"mac": 180, "mul": 60, "add": 60},
    ),
    case(
        "HyperConnectionPostMix",
        [f32(5, 3, 4), f32(5, 4), f32(5, 3)],
        f32(5, 3, 4),
        domain=MS,
        work={"mul": 60, "add": 60},
        id="HyperConnectionPostMix-identity",
    ),
    # 5 tokens, 3 streams of 4 (width 12), rank 2. mac: down 5*12*2, up 5*2*12, inject 5*12*3, gated sum 5*12.
    # Norm: 15 rows of 4: add 60, mul 180, div 30, sqrt 15. Rank: alpha mul 10, SiLU exp, add, div, mul 10. Sigmoids of
    # 60 and 15. Scales: mul 20 + 15, div 15. Prologue: mul and add 60.
    case(
        "HyperConnectionLowRankMix",
        [
            f32(5, 12),
            vector(12),
            weight("f32", 12, 2),
            weight("f32", 2, 12),
            weight("f32", 12, 3),
            f32(5, 4),
            f32(5, 3),
        ],
        [f32(5, 4), f32(5, 3), f32(5, 12)],
        attrs={"num_branches": 3},
        domain=MS,
        work={
            "mac": 120 + 120 + 180 + 60,
            "mul": 180 + 10 + 10 + 20 + 15 + 60,
            "add": 60 + 10 + 60 + 15 + 60,
            "div": 30 + 10 + 60 + 15 + 15,
            "sqrt": 15,
            "exp": 10 + 60 + 15,
        },
    ),
]


@pytest.mark.parametrize("c", BATCH + CHANNELS + ROWS + FUSED, ids=str)
def test_truth(c: Case) -> None:
    check(c)
