"""Contractions: every row worked out by hand.

R rows of length K against N columns are R * N * K multiply-adds. Dequantised: q - zero (add), to float (convert), times
the scale (mul). Requantised: times a factor (mul), rounded (convert), zero added (add), clipped (2 compare).
"""

from __future__ import annotations

import pytest
from truth import Case, case, check, const, f32, t, weight

MS = "com.microsoft"

MATMUL = [
    # |y| * K for every pair of ranks: (2)(2)->0-d, and vectors against matrices and batches.
    case("MatMul", [f32(8), f32(8)], f32(), work={"mac": 8}),
    case("MatMul", [f32(4, 8), f32(8)], f32(4), work={"mac": 32}),
    case("MatMul", [f32(8), f32(8, 5)], f32(5), work={"mac": 40}),
    case("MatMul", [f32(2, 4, 8), f32(8)], f32(2, 4), work={"mac": 64}),
    case("MatMul", [f32(8), f32(2, 8, 5)], f32(2, 5), work={"mac": 80}),
    case("MatMul", [f32(4, 8), f32(8, 5)], f32(4, 5), work={"mac": 160}),
    # Both batches stretch: (2, 1) and (3) give (2, 3), so 6 * 4 * 5 * 8.
    case("MatMul", [f32(2, 1, 4, 8), f32(3, 8, 5)], f32(2, 3, 4, 5), work={"mac": 960}),
    case("MatMul", [f32(4, 8), f32(3, 8, 5)], f32(3, 4, 5), work={"mac": 480}),
    # An empty inner size is no work; an empty result neither.
    case("MatMul", [f32(4, 0), f32(0, 5)], f32(4, 5), work={}, trust="exact", id="MatMul-no-inner"),
    case(
        "MatMul",
        [f32("batch", "seq", 64), weight("f32", 64, 128)],
        f32("batch", "seq", 128),
        work={"mac": "batch*seq*8192"},
        read="256*batch*seq",
        weights=64 * 128 * 4,
        written="512*batch*seq",
    ),
    case(
        "MatMul", [f32("b", "h", "q", "d"), f32("b", "h", "d", "k")], f32("b", "h", "q", "k"), work={"mac": "b*h*q*k*d"}
    ),
    case("MatMul", [f32(4, 8), f32(8, 5)], f32(4, 5), version=1, work={"mac": 160}),
    case("MatMul", [t("f64", 4, 8), t("f64", 8, 5)], t("f64", 4, 5), version=9, work={"mac": 160}),
    # Transposed: A is 8 x 4 read as 4 x 8. alpha scales 20 results.
    case(
        "FusedMatMul",
        [f32(3, 8, 4), f32(3, 5, 8)],
        f32(3, 4, 5),
        domain=MS,
        attrs={"transA": 1, "transB": 1, "alpha": 0.5},
        work={"mac": 480, "mul": 60},
    ),
    # transBatchA: [rows, batch, inner] is read as [batch, rows, inner].
    case(
        "FusedMatMul",
        [f32(4, 3, 8), f32(3, 8, 5)],
        f32(3, 4, 5),
        domain=MS,
        attrs={"transBatchA": 1},
        work={"mac": 480},
        id="FusedMatMul-batch",
    ),
    case("TransposeMatMul", [f32(8, 4), f32(8, 5)], f32(4, 5), domain=MS, attrs={"transA": 1}, work={"mac": 160}),
    case(
        "FusedMatMulActivation",
        [f32(4, 8), f32(8, 5)],
        f32(4, 5),
        domain=MS,
        attrs={"activation": "Sigmoid"},
        work={"mac": 160, "exp": 20, "add": 20, "div": 20},
    ),
    # Softmax along axis 0: 5 columns of 4. Largest 5 * 3; subtract 20 and sum 5 * 3; exp and div 20.
    case(
        "FusedMatMulActivation",
        [f32(4, 8), f32(8, 5)],
        f32(4, 5),
        domain=MS,
        attrs={"activation": "Softmax", "activation_axis": 0},
        work={"mac": 160, "compare": 15, "add": 35, "exp": 20, "div": 20},
        id="FusedMatMulActivation-softmax",
    ),
    # Log-softmax: a logarithm for each of 5 columns, and a subtraction in place of each division.
    case(
        "FusedMatMulActivation",
        [f32(4, 8), f32(8, 5)],
        f32(4, 5),
        domain=MS,
        attrs={"activation": "LogSoftmax", "activation_axis": 0},
        work={"mac": 160, "compare": 15, "add": 55, "exp": 20, "log": 5},
        id="FusedMatMulActivation-log-softmax",
    ),
    # tanh GELU on 20: 0.5 x (1 + tanh(c (x + a x^3))): 6 mul, 2 add, 1 exp; bias 20.
    case(
        "GemmFastGelu",
        [f32(4, 8), f32(8, 5), f32(5)],
        f32(4, 5),
        domain=MS,
        work={"mac": 160, "add": 60, "mul": 120, "exp": 20},
    ),
]

GEMM = [
    case("Gemm", [f32(4, 8), f32(8, 5)], f32(4, 5), work={"mac": 160}),
    case("Gemm", [f32(4, 8), f32(8, 5), f32(5)], f32(4, 5), work={"mac": 160, "add": 20}),
    # A is K x M, B is N x K. alpha scales 20 results, beta the 5 elements of C before they stretch.
    case(
        "Gemm",
        [f32(8, 4), f32(5, 8), f32(1, 5)],
        f32(4, 5),
        attrs={"transA": 1, "transB": 1, "alpha": 2.0, "beta": 0.5},
        work={"mac": 160, "add": 20, "mul": 25},
    ),
    case("Gemm", [f32(4, 8), f32(8, 5), f32(5)], f32(4, 5), attrs={"beta": 0.0}, work={"mac": 160}, id="Gemm-beta0"),
    case(
        "Gemm",
        [f32(4, 8), f32(8, 5), f32(5)],
        f32(4, 5),
        version=1,
        attrs={"broadcast": 1},
        work={"mac": 160, "add": 20},
    ),
    case(
        "Gemm",
        [f32(4, 8), f32(8, 5), f32(5)],
        f32(4, 5),
        version=6,
        attrs={"broadcast": 1},
        work={"mac": 160, "add": 20},
    ),
    case("Gemm", [f32(4, 8), f32(8, 5), f32(4, 5)], f32(4, 5), version=7, work={"mac": 160, "add": 20}),
    case(
        "Gemm",
        [f32("n", 2048), weight("f32", 1000, 2048), weight("f32", 1000)],
        f32("n", 1000),
        attrs={"transB": 1},
        version=9,
        work={"mac": "2048000*n", "add": "1000*n"},
        weights=(1000 * 2048 + 1000) * 4,
    ),
    case("Gemm", [t("f16", 4, 8), t("f16", 8, 5)], t("f16", 4, 5), version=11, work={"mac": 160}),
    case(
        "FusedGemm",
        [f32(4, 8), f32(8, 5), f32(5)],
        f32(4, 5),
        domain=MS,
        attrs={"activation": "LeakyRelu", "activation_alpha": 0.1},
        work={"mac": 160, "add": 20, "compare": 20, "mul": 20},
    ),
    # scaleA * scaleB: one product of scalars, then 20 results; scaleY 20 more. beta is 0 unless stated: C is not used.
    case(
        "GemmFloat8",
        [t("f8e4m3fn", 4, 8), t("f8e4m3fn", 5, 8), None, f32(1), f32(1), f32(1)],
        t("f16", 4, 5),
        domain=MS,
        attrs={"transB": 1, "dtype": 10, "activation": "RELU"},
        work={"mac": 160, "mul": 41, "compare": 20},
    ),
]

QUANTISED = [
    # Zero points are taken off 32 elements of A and 40 of B.
    case(
        "MatMulInteger",
        [t("u8", 4, 8), t("i8", 8, 5), t("u8"), t("i8", 5)],
        t("i32", 4, 5),
        work={"mac": 160, "add": 72},
    ),
    case("MatMulInteger", [t("u8", 4, 8), t("i8", 8, 5)], t("i32", 4, 5), work={"mac": 160}, id="MatMulInteger-plain"),
    case("MatMulInteger16", [t("i16", 4, 8), t("i16", 8, 5)], t("i32", 4, 5), domain=MS, work={"mac": 160}),
    # Zero points 32 + 40 + 20; factor: one mul and one div; requantised 20.
    case(
        "QLinearMatMul",
        [t("u8", 4, 8), f32(), t("u8"), t("i8", 8, 5), f32(), t("i8"), f32(), t("u8")],
        t("u8", 4, 5),
        work={"mac": 160, "add": 92, "mul": 21, "div": 1, "convert": 20, "compare": 40},
    ),
    # One scale for each of 5 columns.
    case(
        "QLinearMatMul",
        [t("u8", 4, 8), f32(), t("u8"), t("i8", 8, 5), f32(5), t("i8", 5), f32(), t("i8")],
        t("i8", 4, 5),
        version=10,
        work={"mac": 160, "add": 92, "mul": 25, "div": 5, "convert": 20, "compare": 40},
    ),
    # Float result: C 20, zero points 72, one factor, 20 converted and scaled.
    case(
        "QGemm",
        [t("u8", 4, 8), f32(), t("u8"), t("i8", 8, 5), f32(), t("i8"), t("i32", 5)],
        f32(4, 5),
        domain=MS,
        work={"mac": 160, "add": 92, "mul": 21, "convert": 20},
    ),
    # 8-bit result, a scale for each of 5 columns, with alpha: 2 * 5 mul and 5 div for the factors.
    case(
        "QGemm",
        [t("u8", 4, 8), f32(), t("u8"), t("i8", 5, 8), f32(5), t("i8", 5), None, f32(), t("u8")],
        t("u8", 4, 5),
        domain=MS,
        attrs={"transB": 1, "alpha": 2.0},
        work={"mac": 160, "add": 92, "mul": 30, "div": 5, "convert": 20, "compare": 40},
        id="QGemm-quantised",
    ),
    # No zero points: bias 60, C scaled (60) and added (60), factor 1 mul 1 div, requantised 60 without a zero.
    case(
        "QOrderedMatMul",
        [t("i8", 3, 4, 8), f32(), t("i8", 8, 5), f32(), f32(), f32(5), t("i8", 3, 4, 5), f32()],
        t("i8", 3, 4, 5),
        domain=MS,
        attrs={"order_A": 1, "order_B": 0, "order_Y": 1},
        work={"mac": 480, "add": 120, "mul": 121, "div": 1, "convert": 60, "compare": 120},
    ),
    case(
        "MatMulIntegerToFloat",
        [t("u8", 4, 8), t("i8", 8, 5), f32(), f32(5), t("u8"), None, f32(5)],
        f32(4, 5),
        domain=MS,
        work={"mac": 160, "add": 52, "mul": 25, "convert": 20},
    ),
    # A quantised (32): range 2 * 32, clip 2 * 32 + 2 compares; 32 + 2 adds, divs; 33 converts. Zeros: A 32, B 40,
    # bias 20 adds; 5 factors and 20 products; 20 converts.
    case(
        "DynamicQuantizeMatMul",
        [f32(4, 8), t("i8", 8, 5), f32(5), t("i8", 5), f32(5)],
        f32(4, 5),
        domain=MS,
        work={"mac": 160, "compare": 130, "add": 126, "div": 34, "convert": 53, "mul": 25},
    ),
]

# 3 rows of 32 against 5 columns: mac 480; 160 weights widened: add, convert, mul 160.
_N_BITS = [f32(3, 32), weight("u8", 5, 1, 16), weight("f32", 5, 1)]
LOW_BIT = [
    case(
        "MatMulNBits",
        _N_BITS,
        f32(3, 5),
        domain=MS,
        attrs={"K": 32, "N": 5, "block_size": 32, "bits": 4},
        work={"mac": 480, "add": 160, "convert": 160, "mul": 160},
        read=3 * 32 * 4,
        weights=5 * 16 + 5 * 4,
        written=60,
    ),
    case(
        "MatMulNBits",
        [*_N_BITS, weight("u8", 5, 1), None, f32(5)],
        f32(3, 5),
        domain=MS,
        attrs={"K": 32, "N": 5, "block_size": 32},
        work={"mac": 480, "add": 175, "convert": 160, "mul": 160},
        id="MatMulNBits-zero-and-bias",
    ),
    # Weights of no size stand for a projection that is left out.
    case(
        "MatMulNBits",
        [f32(3, 32), weight("u8", 0, 1, 16), weight("f32", 0, 1)],
        f32(3, 5),
        domain=MS,
        attrs={"K": 32, "N": 5, "block_size": 32},
        work={},
        id="MatMulNBits-omitted",
    ),
    # Two products, the activation silu on 15 (exp add mul div), times up 15, biases 15 each, RMS norm of 3 rows of 32:
    # mul 3 * 96, add 96, div 2 * 3, sqrt 3; skip 96.
    case(
        "MatMulNBitsMlp",
        [
            f32(3, 32),
            f32(3, 32),
            f32(32),
            weight("u8", 5, 1, 16),
            weight("f32", 5, 1),
            f32(5),
            weight("u8", 5, 1, 16),
            weight("f32", 5, 1),
            f32(5),
        ],
        [f32(3, 5), f32(3, 32)],
        domain=MS,
        attrs={"K": 32, "N": 5, "block_size": 32, "bits": 4, "activation": "silu"},
        work={
            "mac": 960,
            "add": 320 + 30 + 15 + 96 + 96,
            "convert": 320,
            "mul": 320 + 15 + 15 + 288,
            "exp": 15,
            "div": 15 + 6,
            "sqrt": 3,
        },
    ),
    # N = 5 + 2 * 2 columns of 32 for 3 rows; norm as above; a bias for Q only (15).
    case(
        "MatMulNBitsQkv",
        [
            f32(3, 32),
            None,
            f32(32),
            weight("u8", 5, 1, 16),
            weight("f32", 5, 1),
            f32(5),
            weight("u8", 2, 1, 16),
            weight("f32", 2, 1),
            None,
            weight("u8", 2, 1, 16),
            weight("f32", 2, 1),
        ],
        [f32(3, 5), f32(3, 2), f32(3, 2)],
        domain=MS,
        attrs={"K": 32, "Nq": 5, "Nkv": 2, "block_size": 32},
        work={"mac": 864, "add": 288 + 96 + 15, "convert": 288, "mul": 288 + 288, "div": 6, "sqrt": 3},
    ),
    # Base 3 * 5 * 32, down 3 * 4 * 32, up 3 * 5 * 4; weights 160 + 128 + 20; the two results added: 15.
    case(
        "MatMulNBitsQLoRA",
        [
            f32(3, 32),
            weight("u8", 5, 1, 16),
            weight("f32", 5, 1),
            weight("u8", 4, 1, 32),
            weight("f32", 4, 1),
            weight("u8", 5, 1, 32),
            weight("f32", 5, 1),
        ],
        f32(3, 5),
        domain=MS,
        attrs={"K": 32, "N": 5},
        work={"mac": 480 + 384 + 60, "add": 308 + 15, "convert": 308, "mul": 308},
    ),
    # Codes looked up and scaled: no zero point.
    case(
        "MatMulBnb4",
        [f32(3, 32), weight("u8", 80), weight("f32", 5)],
        f32(3, 5),
        domain=MS,
        attrs={"K": 32, "N": 5, "block_size": 32, "quant_type": 1},
        work={"mac": 480, "convert": 160, "mul": 160},
    ),
    case(
        "MatMulBnb4",
        [f32(3, 5), weight("u8", 80), weight("f32", 5)],
        f32(3, 32),
        domain=MS,
        attrs={"K": 32, "N": 5, "block_size": 32, "quant_type": 0, "transB": 0},
        work={"mac": 480, "convert": 160, "mul": 160},
        id="MatMulBnb4-backward",
    ),
    # Type 1 has offsets: 160 adds. The matrix is told by an input.
    case(
        "MatMulFpQ4",
        [f32(3, 32), weight("u8", 100), const("i64", [32, 5])],
        f32(3, 5),
        domain=MS,
        work={"mac": 480, "add": 160, "convert": 160, "mul": 160},
        weights=100,
    ),
    # 160 weights and 10 block scales widened; bias 15.
    case(
        "MatMulBlockQuantizedFp4Weight",
        [t("f16", 3, 32), weight("u8", 5, 16), weight("u8", 5, 2), weight("f32", 1), None, t("f16", 5)],
        t("f16", 3, 5),
        domain=MS,
        work={"mac": 480, "convert": 170, "mul": 170, "add": 15},
    ),
    case(
        "MatMulBlockQuantizedFp8Weight",
        [t("bf16", 3, 32), weight("f8e4m3fn", 5, 32), weight("f32", 5, 1)],
        t("bf16", 3, 5),
        domain=MS,
        work={"mac": 480, "convert": 160, "mul": 160},
    ),
    # A to 8 bits (div, convert) and back (convert, mul): 96 each.
    case(
        "MatMulBlockQuantizedFp8Weight",
        [t("bf16", 3, 32), weight("f8e4m3fn", 5, 32), weight("f32", 5, 1), f32()],
        t("bf16", 3, 5),
        domain=MS,
        work={"mac": 480, "convert": 160 + 192, "mul": 160 + 96, "div": 96},
        id="Fp8Weight-W8A8",
    ),
    case(
        "MatMulPacked",
        [t("f16", 3, 32), weight("u8", 5, 18)],
        t("f16", 3, 5),
        domain=MS,
        attrs={"K": 32, "N": 5, "packed_type": 2, "activation_type": "relu2"},
        trust="estimate",
        work={"mac": 480, "convert": 160, "mul": 160 + 15, "compare": 15},
    ),
]

EINSUM = [
    # The product of all letters.
    case("Einsum", [f32(4, 8), f32(8, 5)], f32(4, 5), attrs={"equation": "ij,jk->ik"}, work={"mac": 160}),
    case("Einsum", [f32(4, 8), f32(8, 5)], f32(4, 5), attrs={"equation": "ij, jk"}, version=12, work={"mac": 160}),
    # Implicit result: letters that appear once, in ASCII order: "cB,Ba" gives (a, c).
    case(
        "Einsum",
        [f32(4, 8), f32(8, 5)],
        f32(5, 4),
        attrs={"equation": "cB,Ba"},
        work={"mac": 160},
        id="Einsum-implicit-order",
    ),
    case(
        "Einsum",
        [f32(2, 3, 4, 8), f32(3, 8, 5)],
        f32(2, 3, 4, 5),
        attrs={"equation": "...ij,...jk->...ik"},
        work={"mac": 960},
        id="Einsum-ellipsis",
    ),
    case(
        "Einsum",
        [f32("b", "q", "h", "d"), f32("b", "k", "h", "d")],
        f32("b", "h", "q", "k"),
        attrs={"equation": "bqhd,bkhd->bhqk"},
        work={"mac": "b*h*q*k*d"},
        id="Einsum-attention",
    ),
    case("Einsum", [f32(4), f32(5)], f32(4, 5), attrs={"equation": "i,j->ij"}, work={"mac": 20}, id="Einsum-outer"),
    # One operand: sums. A trace touches 4 elements: 3 adds; a row sum 32 - 4.
    case("Einsum", [f32(4, 4)], f32(), attrs={"equation": "ii->"}, work={"add": 3}, id="Einsum-trace"),
    case("Einsum", [f32(4, 4)], f32(4), attrs={"equation": "ii->i"}, work={}, id="Einsum-diagonal"),
    case("Einsum", [f32(4, 8)], f32(4), attrs={"equation": "ij->i"}, work={"add": 28}, id="Einsum-sum"),
    case("Einsum", [f32(4, 8)], f32(8, 4), attrs={"equation": "ij->ji"}, work={}, id="Einsum-transpose"),
    # Three, from the left: i, j, k, then j is summed: i, k, l.
    case(
        "Einsum",
        [f32(4, 8), f32(8, 5), f32(5, 6)],
        f32(4, 6),
        attrs={"equation": "ij,jk,kl->il"},
        work={"mac": 4 * 8 * 5 + 4 * 5 * 6},
        id="Einsum-three",
    ),
]

OTHER = [
    # 4 x 5 pairs of rows of 8: 8 differences, 8 squares, 7 sums each; a root for the Euclidean one.
    case("CDist", [f32(4, 8), f32(5, 8)], f32(4, 5), domain=MS, work={"add": 20 * 15, "mul": 160}),
    case(
        "CDist",
        [f32(4, 8), f32(5, 8)],
        f32(4, 5),
        domain=MS,
        attrs={"metric": "euclidean"},
        work={"add": 20 * 15, "mul": 160, "sqrt": 20},
        id="CDist-euclidean",
    ),
    case(
        "CDist",
        [f32(4, 8), f32(5, 8)],
        f32(4, 5),
        domain=MS,
        attrs={"metric": "cosine"},
        trust="unknown",
        id="CDist-unknown",
    ),
    # A sparse operand is an input of its own kind; here a dense one, counted as a bound.
    case("SparseToDenseMatMul", [f32(4, 8), f32(8, 5)], f32(4, 5), domain=MS, work={"mac": 160}, trust="bound"),
]


@pytest.mark.parametrize("c", [*MATMUL, *GEMM, *QUANTISED, *LOW_BIT, *EINSUM, *OTHER], ids=str)
def test_contraction(c: Case) -> None:
    check(c)
