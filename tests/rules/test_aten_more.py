"""Other ATen spellings, quantisation, and torch's other libraries: worked out by hand."""

from __future__ import annotations

import importlib

import pytest
from truth import Program, check_program, f32, program, t

torch = pytest.importorskip("torch")
importlib.import_module("torch.ao.quantization.fx._decomposed")
A, F = torch.ops.aten, torch.nn.functional
Q = torch.ops.quantized_decomposed

# One of Philox's numbers: 5 mul, 5 add, 10 logic, 1 convert.
PHILOX = {"mul": 5, "add": 5, "logic": 10, "convert": 1}


def drawn(n: int, **more: int) -> dict[str, int]:
    return {kind: n * PHILOX.get(kind, 0) + more.get(kind, 0) for kind in PHILOX | more}


X = f32(4, 8)
ELEMENTS = [
    program("atan2", torch.atan2, [X, f32(8)], X, trig=32),
    program("hypot", torch.hypot, [X, X], X, mul=64, add=32, sqrt=32),
    program("copysign", torch.copysign, [X, X], X, logic=32),
    program("lerp", torch.lerp, [X, X, X], X, add=64, mul=32),
    program("logaddexp", torch.logaddexp, [X, X], X, compare=32, exp=32, log=32, logic=32, add=96),
    program("angle", torch.angle, [t("c64", 4)], f32(4), trig=4),
    program("angle", torch.angle, [X], X, compare=32),
    # 7/12 of 64 bits are 37 steps; a product divided by the divisor.
    program("gcd", torch.gcd, [t("i64", 3), t("i64", 3)], t("i64", 3), "estimate", div=3 * 37),
    program("lcm", torch.lcm, [t("i64", 3), t("i64", 3)], t("i64", 3), "estimate", div=3 * 38, mul=3),
    program("lgamma", torch.lgamma, [X], X, "estimate", exp=32),
    program("special_bessel_j0", torch.special.bessel_j0, [X], X, "estimate", exp=32),
    program("prims::neg", torch.ops.prims.neg, [X], X, logic=32),
    program("prims::add", torch.ops.prims.add, [X, X], X, add=32),
    program("prims::cbrt", torch.ops.prims.cbrt, [X], X, exp=32),
]

SELECTIONS = [
    # 2 (1 + ln 2) = 3.39 comparisons an element.
    program("median", torch.median, [f32(10)], f32(), "estimate", compare=33),
    program("kthvalue", lambda x: x.kthvalue(3), [f32(2, 10)], [f32(2), t("i64", 2)], "estimate", compare=67),
    # Rows of 8: 3 levels of a sort, then neighbours.
    program("mode", torch.mode, [X], [f32(4), t("i64", 4)], "bound", compare=32 * 4),
    # 7 in order: 3 halvings.
    program("searchsorted", torch.searchsorted, [f32(7), f32(4, 5)], t("i64", 4, 5), compare=60),
    program("bucketize", torch.bucketize, [f32(4, 5), f32(7)], t("i64", 4, 5), compare=60),
    program("cummax", lambda x: x.cummax(1), [X], [X, t("i64", 4, 8)], compare=28),
    program("logcumsumexp", lambda x: x.logcumsumexp(1), [X], X, compare=28, exp=28, log=28, logic=28, add=84),
    program(
        "segment_reduce",
        lambda x, n: torch.segment_reduce(x, "sum", lengths=n, unsafe=True),
        [f32(6, 4), t("i64", 2)],
        f32(2, 4),
        "bound",
        add=24,
    ),
    # 5 steps of batch 2, 3 labels and 4 blanks.
    program(
        "_ctc_loss",
        lambda x, y: A._ctc_loss(x, y, [5, 5], [3, 3])[0],
        [f32(5, 2, 6), t("i64", 2, 3)],
        f32(2),
        "bound",
        compare=140,
        exp=210,
        log=70,
        add=490,
    ),
]

DRAWN = [
    program("exponential", lambda x: x.clone().exponential_(), [X], X, "estimate", **drawn(32, log=32, div=32)),
    program(
        "cauchy",
        lambda x: x.clone().cauchy_(),
        [X],
        X,
        "estimate",
        **drawn(32, trig=32, mul=32, add=32),
    ),
    # 3 of 8 classes: 7 running sums a row, each sample scaled and put against 8.
    program(
        "multinomial",
        lambda x: x.multinomial(3, replacement=True),
        [X],
        t("i64", 4, 3),
        "estimate",
        **drawn(12, add=28, mul=12, compare=96),
    ),
]

DISTANCES = [
    # 6 pairs of rows of 5: differences 5 and sums 4.
    program("pdist", F.pdist, [f32(4, 5)], f32(6), add=54, mul=30, sqrt=6),
    # |d|^3 each and a root at the end.
    program(
        "cdist",
        lambda a, b: torch.cdist(a, b, p=3),
        [f32(3, 4), f32(5, 4)],
        f32(3, 5),
        add=105,
        logic=60,
        log=75,
        mul=75,
        exp=75,
    ),
    program(
        "cdist",
        lambda a, b: torch.cdist(a, b, p=float("inf")),
        [f32(3, 4), f32(5, 4)],
        f32(3, 5),
        add=60,
        logic=60,
        compare=45,
    ),
    program("cdist", lambda a, b: torch.cdist(a, b, p=0), [f32(3, 4), f32(5, 4)], f32(3, 5), add=45, compare=60),
]

# 2 x 4 pixels of 3 channels, 2 neighbours on each of 2 axes: 16 coordinates, each mul, add, compare 4, convert, weights
# 2 adds; at 8 places 4 products of weights; 24 results of 4 products and 3 sums.
SAMPLES = [
    program(
        "grid_sampler",
        lambda x, g: F.grid_sample(x, g, align_corners=False),
        [f32(1, 3, 5, 5), f32(1, 2, 4, 2)],
        f32(1, 3, 2, 4),
        mul=16 + 4 * 8 + 96,
        add=16 + 32 + 72,
        compare=64,
        convert=16,
    ),
    # 24 coordinates with two neighbours each; at 8 places the weights of two axes make
    # 4 products, with the third 8; 24 results of 8 products, 7 sums.
    program(
        "grid_sampler",
        lambda x, g: F.grid_sample(x, g, align_corners=False),
        [f32(1, 3, 5, 5, 5), f32(1, 2, 2, 2, 3)],
        f32(1, 3, 2, 2, 2),
        mul=24 + 8 * (4 + 8) + 8 * 24,
        add=24 + 48 + 7 * 24,
        compare=96,
        convert=24,
    ),
]

PRODUCTS = [
    # x (2, 4, 8, 8), 3 x 3 filters to 6 channels: the forward takes 2 * 6 * 36 * 36 products.
    program(
        "convolution_backward",
        lambda dy, x, w: A.convolution_backward(
            dy, x, w, [6], [1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, True, True]
        ),
        [f32(2, 6, 6, 6), f32(2, 4, 8, 8), f32(6, 4, 3, 3)],
        [f32(2, 4, 8, 8), f32(6, 4, 3, 3), f32(6)],
        mac=2 * 2 * 6 * 36 * 36,
        add=2 * 6 * 36 - 6,
    ),
    program(
        "_scaled_mm",
        lambda a, b, s, z: torch._scaled_mm(a, b.t(), s, z, out_dtype=torch.float32),
        [t("f8e4m3fn", 16, 32), t("f8e4m3fn", 48, 32), f32(), f32()],
        f32(16, 48),
        mac=16 * 48 * 32,
        mul=16 * 48 + 1,
    ),
    program(
        "_weight_int8pack_mm",
        torch._weight_int8pack_mm,
        [t("bf16", 2, 4), t("i8", 8, 4), t("bf16", 8)],
        t("bf16", 2, 8),
        mac=64,
        mul=16,
        convert=32,
    ),
    # 18 gradients shared among 4 elements each.
    program(
        "avg_pool2d_backward",
        lambda dy, x: A.avg_pool2d_backward(dy, x, [2, 2], [2, 2], [0, 0], False, True, None),
        [f32(1, 2, 3, 3), f32(1, 2, 6, 6)],
        f32(1, 2, 6, 6),
        div=18,
        add=72,
    ),
    program(
        "fractional_max_pool2d",
        lambda x, r: torch._C._nn.fractional_max_pool2d(x, [2, 2], [3, 3], r)[0],
        [f32(1, 2, 7, 7), f32(1, 2, 2)],
        f32(1, 2, 3, 3),
        compare=18 * 3,
    ),
]

U8 = t("u8", 4, 8)
QUANTISED = [
    program("quantize_per_tensor", lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8), [X], U8,
            div=32, convert=32, add=32, compare=64),
    program("dequantize", torch.dequantize, [U8], X, add=32, convert=32, mul=32),
    program("fake_quantize_per_tensor_affine",
            lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255), [X], X,
            div=32, convert=32, mul=32, add=64, compare=64),
    program("quantized_decomposed::quantize_per_tensor",
            lambda x: Q.quantize_per_tensor(x, 0.1, 0, 0, 255, torch.uint8), [X], U8,
            div=32, convert=32, add=32, compare=64),
    program("quantized_decomposed::dequantize_per_tensor",
            lambda x: Q.dequantize_per_tensor(x, 0.1, 0, 0, 255, torch.uint8), [U8], X, add=32, convert=32, mul=32),
    program("quantized_decomposed::choose_qparams",
            lambda x: Q.choose_qparams(x, 0, 255, 1e-5, torch.uint8), [X], [t("f64", 1), t("i64", 1)],
            compare=66, add=2, div=2, convert=1),
]  # fmt: skip

# Without inputs.
MADE = [
    program("logspace", lambda: torch.logspace(0, 1, 8, device="meta"), [], f32(8), mul=8, add=8, exp=8),
    program("_efficientzerotensor", lambda: torch._efficientzerotensor((2, 4), device="meta"), [], f32(2, 4), "bound"),
    program("randperm", lambda: torch.randperm(8, device="meta"), [], t("i64", 8), "estimate", **drawn(8)),
]

ROWS = ELEMENTS + SELECTIONS + DRAWN + DISTANCES + SAMPLES + PRODUCTS + QUANTISED + MADE


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rows(row: Program) -> None:
    check_program(row)
