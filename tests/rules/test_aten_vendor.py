# Kernels of vendors, as graphs that were made on their devices have them, and others that only few builds of torch run.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Spellings of cuDNN's, MIOpen's, Metal's, oneDNN's and CUTLASS's kernels: worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from truth import Program, check_program, f32, program, t

import macsim

torch = pytest.importorskip("torch")
pytest.importorskip("torch.nn.attention.varlen", reason="of later versions of torch")
pytestmark = pytest.mark.filterwarnings("ignore")
A, M = torch.ops.aten, torch.ops.mkldnn
META = torch.device("meta")
# 4 channels to 6 by filters of 3 x 3: 36 products for each of 2 * 6 * 36 results.
X, W, B, Y = f32(2, 4, 8, 8), f32(6, 4, 3, 3), f32(6), f32(2, 6, 6, 6)
NO, ONE = [0, 0], [1, 1]
PLAIN = {"mac": 432 * 36}


def there(library: Any, *names: str) -> Iterator[str]:
    """Names that this version of torch has."""
    return (name for name in names if hasattr(library, name))


def convolutions() -> Iterator[Program]:
    for name in there(A, "cudnn_convolution_relu", "miopen_convolution_relu"):
        call = lambda x, w, b, f=name: getattr(A, f)(x, w, b, ONE, NO, ONE, 1)  # noqa: E731
        yield program(name, call, [X, W, B], Y, **PLAIN, add=432, compare=432)
    for name in there(A, "cudnn_convolution_add_relu", "miopen_convolution_add_relu"):  # and z, half of it
        call = lambda x, w, z, b, f=name: getattr(A, f)(x, w, z, 0.5, b, ONE, NO, ONE, 1)  # noqa: E731
        yield program(name, call, [X, W, Y, B], Y, **PLAIN, add=864, mul=432, compare=432)
    yield program("_mps_convolution", lambda x, w, b: A._mps_convolution(x, w, b, NO, ONE, ONE, 1), [X, W, B], Y,
                  **PLAIN, add=432)  # fmt: skip
    # Each of 2 * 4 * 64 elements meets 6 * 9 weights.
    yield program("_mps_convolution_transpose", lambda x, w: A._mps_convolution_transpose(x, w, NO, NO, ONE, ONE, 1),
                  [X, f32(4, 6, 3, 3)], f32(2, 6, 10, 10), mac=512 * 54)  # fmt: skip
    yield program("_nnpack_spatial_convolution", lambda x, w, b: A._nnpack_spatial_convolution(x, w, b, NO), [X, W, B],
                  Y, **PLAIN, add=432)  # fmt: skip
    if hasattr(M, "_convolution_pointwise"):  # times another, then rectified
        call = lambda x, z, w, b: M._convolution_pointwise.binary(  # noqa: E731
            x, z, w, b, NO, ONE, ONE, 1, "mul", None, "relu", [], None)  # fmt: skip
        yield program("mkldnn::_convolution_pointwise.binary", call, [X, Y, W, B], Y, **PLAIN, add=432, mul=432,
                      compare=432)  # fmt: skip


def gradients() -> Iterator[Program]:
    # Those of x and w, each as many products; 6 sums of 72 for a bias.
    both, made = {"mac": 2 * 432 * 36, "add": 432 - 6}, [X, W, B]
    mask = [True] * 3
    yield program(
        "convolution_backward_overrideable",
        lambda d, x, w: A.convolution_backward_overrideable(d, x, w, ONE, NO, ONE, False, NO, 1, mask),
        [Y, X, W], made, **both)  # fmt: skip
    yield program("_slow_conv2d_backward",
                  lambda d, x, w: A._slow_conv2d_backward.output_mask(d, x, w, [3, 3], ONE, NO, mask), [Y, X, W], made,
                  **both)  # fmt: skip
    yield program("mps_convolution_backward",
                  lambda x, d, w: A.mps_convolution_backward(x, d, w, NO, ONE, ONE, 1, mask), [X, Y, W], made,
                  **both)  # fmt: skip
    yield program("mps_convolution_transpose_backward",
                  lambda x, d, w: A.mps_convolution_transpose_backward(x, d, w, NO, NO, ONE, ONE, 1, mask[:2])[:2],
                  [X, f32(2, 6, 10, 10), f32(4, 6, 3, 3)], [X, f32(4, 6, 3, 3)], mac=2 * 512 * 54,
                  add=1200 - 6)  # fmt: skip
    # 4 rows of 8 by 3 columns.
    x, d, w = f32(4, 8), f32(4, 3), f32(3, 8)
    for name in ("linear_backward", "mkldnn_linear_backward"):
        yield program(name, lambda x, d, w, f=name: getattr(A, f)(x, d, w, mask), [x, d, w], [x, w, f32(3)], mac=192,
                      add=9)  # fmt: skip
    yield program("mkldnn_linear_backward_input", lambda d, w: A.mkldnn_linear_backward_input([4, 8], d, w), [d, w], x,
                  mac=96)  # fmt: skip
    yield program("mkldnn_linear_backward_weights",
                  lambda d, x, w: A.mkldnn_linear_backward_weights(d, x, w, True), [d, x, w], [w, f32(3)], mac=96,
                  add=9)  # fmt: skip
    # 5 batches with one matrix: as many of its gradients, which are summed.
    yield program("matmul_backward", lambda d, a, b: A.matmul_backward(d, a, b, [True, True]),
                  [f32(5, 4, 3), f32(5, 4, 8), f32(1, 8, 3)], [f32(5, 4, 8), f32(1, 8, 3)], mac=2 * 5 * 96,
                  add=4 * 24)  # fmt: skip


def pools() -> Iterator[Program]:
    small, solid, less = f32(2, 4, 4, 4), f32(2, 4, 4, 4, 4), f32(2, 4, 2, 2, 2)
    yield program("mkldnn_max_pool2d", lambda x: A.mkldnn_max_pool2d(x, [2, 2]), [X], small, compare=128 * 3)
    yield program("mkldnn_max_pool3d", lambda x: A.mkldnn_max_pool3d(x, [2] * 3), [solid], less, compare=64 * 7)
    yield program("mkldnn_adaptive_avg_pool2d", lambda x: A.mkldnn_adaptive_avg_pool2d(x, [2, 2]), [X],
                  f32(2, 4, 2, 2), add=32 * 15, div=32)  # fmt: skip
    yield program("mkldnn_adaptive_avg_pool2d_backward", A.mkldnn_adaptive_avg_pool2d_backward,
                  [f32(2, 4, 2, 2), X], X, "estimate", div=32, add=512)  # fmt: skip
    # Each to where it was.
    yield program("mkldnn_max_pool2d_backward", lambda d, y, x: A.mkldnn_max_pool2d_backward(d, y, x, [2, 2]),
                  [small, small, X], X, add=128)  # fmt: skip
    yield program("mkldnn_max_pool3d_backward", lambda d, y, x: A.mkldnn_max_pool3d_backward(d, y, x, [2] * 3),
                  [less, less, solid], solid, add=64)  # fmt: skip
    yield program("max_pool2d_backward", lambda d, x: A.max_pool2d_backward(d, x, [2, 2]), [small, X], X, add=128)
    yield program("max_pool2d_with_indices_backward",
                  lambda d, x, i: A.max_pool2d_with_indices_backward(d, x, [2, 2], [2, 2], NO, ONE, False, i),
                  [small, X, t("i64", 2, 4, 4, 4)], X, add=128)  # fmt: skip


def resampled() -> Iterator[Program]:
    # From 8 x 8 to 4 x 4 twice 6 pixels an axis and coordinate: each add 2, mul 4, div 3, trig 2, less a sum for each
    # coordinate; see the other filters. 144 products of weights at 16 places, 48 results of 144 pixels.
    filters = 2 * 4 * 12
    mul, add = 8 + 4 * filters + 144 * 16 + 144 * 48, 16 + 2 * filters - 8 + 143 * 48
    rest = {"div": 3 * filters, "trig": 2 * filters, "convert": 8}
    image, less = f32(1, 3, 8, 8), f32(1, 3, 4, 4)
    for name in there(A, "_upsample_lanczos2d_aa"):
        yield program(name, lambda x, f=name: getattr(A, f)(x, [4, 4], False), [image], less, "bound", mul=mul, add=add,
                      **rest)  # fmt: skip
        yield program(f"{name}_backward",
                      lambda d, f=f"{name}_backward": getattr(A, f)(d, [4, 4], [1, 3, 8, 8], False), [less], image,
                      "bound", mul=mul, add=add + 48, **rest)  # fmt: skip


F16, F8 = "f16", "f8e4m3fn"


def products() -> Iterator[Program]:
    x, w, b, y = f32(4, 8), f32(3, 8), f32(3), f32(4, 3)
    yield program("mkldnn_linear", A.mkldnn_linear, [x, w, b], y, mac=96, add=12)
    if hasattr(M, "_linear_pointwise"):
        yield program("mkldnn::_linear_pointwise", lambda x, w, b: M._linear_pointwise(x, w, b, "relu", [], ""),
                      [x, w, b], y, mac=96, add=12, compare=12)  # fmt: skip
        yield program("mkldnn::_linear_pointwise.binary",
                      lambda x, z, w, b: M._linear_pointwise.binary(x, z, w, b, "mul"), [x, y, w, b], y, mac=96, add=12,
                      mul=12)  # fmt: skip
    # 64 inputs to 16, of which 32 are stored for each.
    half, meta, rows, made = t(F16, 16, 32), t("i16", 16, 4), t(F16, 8, 64), t(F16, 8, 16)
    columns, turned = t(F16, 64, 8), t(F16, 16, 8)
    yield program("_sparse_semi_structured_linear",
                  lambda x, w, m, b: A._sparse_semi_structured_linear(x, w, m, bias=b, activation="relu"),
                  [rows, half, meta, t(F16, 16)], made, mac=8 * 16 * 32, add=128, compare=128)  # fmt: skip
    yield program("_sparse_semi_structured_mm", A._sparse_semi_structured_mm, [half, meta, columns], turned,
                  mac=8 * 16 * 32)  # fmt: skip
    yield program("_sparse_semi_structured_addmm",
                  lambda c, w, m, x: A._sparse_semi_structured_addmm(c, w, m, x, alpha=2, beta=3),
                  [t(F16, 16), half, meta, columns], turned, mac=8 * 16 * 32, add=128, mul=128 + 16)  # fmt: skip
    yield program("_cslt_sparse_mm", A._cslt_sparse_mm, [t(F16, 16, 36), columns, t(F16, 16)], turned, mac=8 * 16 * 32,
                  add=128)  # fmt: skip
    yield program("_cslt_compress", A._cslt_compress, [t(F16, 16, 64)], t(F16, 16, 36))
    yield program("_to_sparse_semi_structured", A._to_sparse_semi_structured, [t(F16, 32, 64)],
                  [t(F16, 32, 32), t("i16", 32, 4)])  # fmt: skip
    # 8-bit floats of 4 experts, 16 rows of 32 in all; scales of rows and columns.
    if hasattr(A, "_scaled_grouped_mm_v2"):
        call = lambda a, b, p, q, n: A._scaled_grouped_mm_v2(  # noqa: E731
            a, b.transpose(1, 2), [p], [1], [0], [q], [1], [0], n, None, torch.bfloat16)  # fmt: skip
        yield program("_scaled_grouped_mm_v2", call,
                      [t(F8, 16, 32), t(F8, 4, 16, 32), f32(16), f32(4, 16), t("i32", 4)], t("bf16", 16, 16),
                      mac=16 * 16 * 32, mul=512)  # fmt: skip


def few_bits() -> Iterator[Program]:
    x = f32(8, 64)
    if hasattr(A, "_dyn_quant_matmul_4bit"):
        # 64 inputs in 2 blocks to 16 outputs. Each of 8 rows is quantised: compare 4 * 64 + 2, add and div 64 + 2,
        # convert 64 + 1; 256 sums of a block to floats and scaled, added in pairs; then the row's scale.
        yield program("_dyn_quant_matmul_4bit", lambda x, w: A._dyn_quant_matmul_4bit(x, w, 32, 64, 16),
                      [x, t("u8", 700)], f32(8, 16), "estimate", mac=8 * 16 * 64, compare=8 * 258, div=8 * 66,
                      convert=8 * 65 + 256, mul=256 + 128, add=8 * 66 + 128)  # fmt: skip
        yield program("_dyn_quant_pack_4bit_weight",
                      lambda w, s: A._dyn_quant_pack_4bit_weight(w, s, None, 64, 64, 16),
                      [t("u8", 16, 32), f32(16)], f32(16 * 32 + 16))  # fmt: skip
    # 64 x 16 weights widened and scaled by column.
    yield program("_mixed_dtypes_linear",
                  lambda x, w, s, b: A._mixed_dtypes_linear(x, w, s, bias=b, activation="relu"),
                  [t(F16, 8, 64), t("u8", 64, 16), t(F16, 16), t(F16, 16)], t(F16, 8, 16), mac=8 * 16 * 64,
                  convert=1024, mul=1024, add=128, compare=128)  # fmt: skip
    yield program("_convert_weight_to_int4pack", lambda w: A._convert_weight_to_int4pack(w, 2), [t("u8", 16, 32)],
                  t("i32", 2, 2, 32, 1))  # fmt: skip
    yield program("_convert_weight_to_int4pack_for_cpu", lambda w: A._convert_weight_to_int4pack_for_cpu(w, 2),
                  [t("i32", 16, 64)], t("u8", 16, 32))  # fmt: skip


def moved() -> Iterator[Program]:
    x, begins = f32(11, 8), t("i64", 3)
    yield program("_jagged_to_padded_dense_forward", lambda v, o: A._jagged_to_padded_dense_forward(v, [o], [7]),
                  [x, begins], f32(2, 7, 8))  # fmt: skip
    yield program("_padded_dense_to_jagged_forward", lambda v, o: A._padded_dense_to_jagged_forward(v, [o], 11),
                  [f32(2, 7, 8), begins], x)  # fmt: skip
    yield program("_padded_dense_to_jagged_forward", lambda v, o: A._padded_dense_to_jagged_forward(v, [o]),
                  [f32(2, 7, 8), begins], f32("padded_dense_to_jagged_forward.nonzeros", 8))  # fmt: skip
    yield program("_spdiags", lambda d, o: torch.sparse.spdiags(d, o, (4, 4)), [f32(2, 4), t("i64", 2)], f32(4, 4))
    # Of the 8 elements in each of 4 rows all may be stored.
    yield program("_sparse_sum", lambda i, v: torch.sparse.sum(torch.sparse_coo_tensor(i, v, (4, 8)), 1),
                  [t("i64", 2, 6), f32(6)], f32(4), "bound", add=6)  # fmt: skip
    yield program("_sparse_sum", lambda i, v: torch.sparse.sum(torch.sparse_coo_tensor(i, v, (4, 8))),
                  [t("i64", 2, 6), f32(6)], f32(), add=5)  # fmt: skip
    yield program("_sparse_csr_sum", lambda a, b, v: A._sparse_csr_sum(torch.sparse_csr_tensor(a, b, v, (4, 8)), [1]),
                  [t("i64", 5), t("i64", 6), f32(6)], f32(4), "bound", add=6)  # fmt: skip
    yield program("smm", torch.smm, [f32(4, 8), f32(8, 3)], f32(4, 3), mac=96)


P, L, C = torch.ops.prims, t("i32", 4, 8), t("c64", 4, 8)


def primitives() -> Iterator[Program]:
    """What decompositions into torch's own primitives end in."""
    x, rows = f32(4, 8), f32(4)
    for name, kind in (("sum", "add"), ("prod", "mul"), ("amax", "compare"), ("amin", "compare")):
        yield program(f"prims::{name}", lambda x, f=name: getattr(P, f)(x, [1]), [x], rows, **{kind: 28})
    yield program("prims::var", lambda x: P.var(x, [1], 1.0), [x], rows, add=28 + 32 + 28, mul=32, div=8)
    yield program("prims::xor_sum", lambda x: P.xor_sum(x, [1]), [L], t("i32", 4), logic=28)
    yield program("prims::isfinite", P.isfinite, [x], t("bool", 4, 8), compare=32)
    for name in ("shift_left", "shift_right_arithmetic"):
        yield program(f"prims::{name}", getattr(P, name), [L, L], L, logic=32)
    for name, call, given, made in (
        ("transpose", lambda x: P.transpose(x, [1, 0]), x, f32(8, 4)),
        ("broadcast_in_dim", lambda x: P.broadcast_in_dim(x, [3, 4], [1]), rows, f32(3, 4)),
        ("reshape", lambda x: P.reshape(x, [32]), x, f32(32)),
        ("collapse", lambda x: P.collapse(x, 0, 1), x, f32(32)),
        ("collapse_view", lambda x: P.collapse_view(x, 0, 1), x, f32(32)),
        ("split_dim", lambda x: P.split_dim(x, 1, 2), x, f32(4, 2, 4)),
        ("squeeze", lambda x: P.squeeze(x, [0]), f32(1, 8), f32(8)),
        ("as_strided", lambda x: P.as_strided(x, [2, 2], [8, 1], 0), x, f32(2, 2)),
        ("resize", lambda x: P.resize(x, [2, 2]), x, f32(2, 2)),
        ("view_of_dtype", lambda x: P.view_of_dtype(x, torch.int32), x, L),
        ("conj", P.conj, C, C),
        ("real", P.real, C, x),
        ("imag", P.imag, C, x),
    ):
        yield program(f"prims::{name}", call, [given], made)
    drawn = {"mul": 5 * 32, "add": 5 * 32, "logic": 10 * 32, "convert": 32}  # of Philox
    made = {"dtype": torch.float32, "device": META}
    yield program("prims::uniform", lambda: P.uniform([4, 8], low=0.0, high=1.0, stride=[8, 1], **made), [], x,
                  "estimate", **drawn)  # fmt: skip
    # Two make two normal ones: a logarithm, a root, a sine and a cosine, 4 products.
    yield program("prims::normal", lambda: P.normal([4, 8], mean=0.0, std=1.0, requires_grad=False, **made), [], x,
                  "estimate", **{**drawn, "mul": 5 * 32 + 64}, log=16, sqrt=16, trig=32)  # fmt: skip


def kernels_of_attention() -> Iterator[Program]:
    # 11 queries in 3 heads meet at most 7 keys each: 231 pairs of 8, and rows of 7; back five products, once more
    # exponentials and their factor, y dy for 33 rows, p (dp - sum), a scale.
    q, begins, sums, seed = t(F16, 11, 3, 8), t("i32", 3), f32(3, 11), t("u64", 2)
    work = {"mac": 231 * 16, "mul": 231, "compare": 33 * 6, "add": 231 + 33 * 6, "exp": 231, "div": 231}
    back = {"mac": 5 * 231 * 8, "mul": 3 * 231 + 33 * 8, "add": 2 * 231 + 33 * 7, "exp": 231}
    attn = torch.ops.torch_attn

    def into(x: Any, n: Any, library: Any, name: str, *rest: Any) -> Any:
        getattr(library, name)(x, x, x, x, n, n, 7, 7, *rest)
        return x

    for name in there(attn, "_varlen_attn"):
        yield program(f"torch_attn::{name}", lambda x, n: attn._varlen_attn(x, x, x, n, n, 7, 7)[0], [q, begins], q,
                      "bound", **work)  # fmt: skip
    for name in there(attn, "_varlen_attn_backward"):
        yield program(f"torch_attn::{name}",
                      lambda x, n, s, z: attn._varlen_attn_backward(x, x, x, x, x, s, n, n, 7, 7, False, z),
                      [q, begins, sums, seed], [q, q, q], "bound", **back)  # fmt: skip
    for name in there(attn, "_varlen_attn_out"):
        yield program(f"torch_attn::{name}", lambda x, n: into(x, n, attn, "_varlen_attn_out"), [q, begins], q, "bound",
                      **work)  # fmt: skip
    for name in there(A, "_flash_attention_forward_no_dropout_inplace"):
        yield program(name, lambda x, n, f=name: into(x, n, A, f, 0.0, False, False), [q, begins], q, "bound",
                      **work)  # fmt: skip


ROWS = [*convolutions(), *gradients(), *pools(), *resampled(), *products(), *few_bits(), *moved(), *primitives(),
        *kernels_of_attention()]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rows(row: Program) -> None:
    check_program(row)


# Sequences of 4 and 7 steps, one after the other, in 3 heads of 8: 16 + 49 pairs, or 1 + .. + 4 and 1 + .. + 7 of them
# under a causal mask, in full all the same. Where lengths are not known, each of 11 queries meets 7 keys.
PAIRS, MOST = 3 * (16 + 49), 3 * 11 * 7
IN_A_ROW = (11, 3, 8)


def in_a_row(way: str, q: Any, begins: Any, causal: bool = False) -> Any:
    if way == "flash":
        return A._flash_attention_forward(q, q, q, begins, begins, 7, 7, 0.0, causal, False)[0]
    if way == "efficient":
        q = q.unsqueeze(0)
        return A._efficient_attention_forward(q, q, q, None, begins, begins, 7, 7, 0.0, int(causal))[0]
    if way == "written":
        A._flash_attention_forward_no_dropout_inplace(q, q, q, q, begins, begins, 7, 7, 0.0, causal, False)
        return q
    window = (-1, 0 if causal else -1)
    return torch.nn.attention.varlen.varlen_attn(q, q, q, begins, begins, 7, 7, window_size=window)


@pytest.mark.parametrize("way", ["flash", "efficient", "varlen", "written"])
def test_attention_over_sequences_in_a_row(way: str) -> None:
    if way == "written" and not hasattr(A, "_flash_attention_forward_no_dropout_inplace"):
        pytest.skip("of later versions of torch")
    q = torch.empty(IN_A_ROW, dtype=torch.float16, device=META)
    begins = torch.tensor([0, 4, 11], dtype=torch.int32)
    told = macsim.count(lambda x, n: in_a_row(way, x, n), q, begins)
    assert (told.macs, told.trust) == (PAIRS * 16, "exact")
    assert told.work["exp"] == PAIRS
    causal = macsim.count(lambda x, n: in_a_row(way, x, n, True), q, begins)
    assert causal.macs == PAIRS * 16
    assert causal.macs_unmasked == 3 * (10 + 28) * 16
    unknown = macsim.count(lambda x, n: in_a_row(way, x, n), q, begins.to(META))
    assert (unknown.macs, unknown.trust) == (MOST * 16, "bound")


def test_gradients_of_attention_over_sequences_in_a_row() -> None:
    """Five products of 8 for each pair."""
    q, sums = torch.empty(IN_A_ROW, dtype=torch.float16, device=META), torch.empty(3, 11, device=META)

    def back(q: Any, sums: Any, begins: Any) -> Any:
        seed = torch.empty(2, dtype=torch.uint64, device=META)
        return A._flash_attention_backward(q, q, q, q, q, sums, begins, begins, 7, 7, 0.0, False, seed, seed)

    report = macsim.count(back, q, sums, torch.tensor([0, 4, 11], dtype=torch.int32))
    assert (report.macs, report.trust) == (PAIRS * 40, "exact")


# 7 steps of 2: from 4 to 5, four gates.
WEIGHTS = [torch.empty(shape, device=META) for shape in ((20, 4), (20, 5), (20,), (20,))]
STATES = [torch.empty(1, 2, 5, device=META)] * 2
NETWORKS = {
    "_cudnn_rnn": lambda x, h, c, *w: A._cudnn_rnn(
        x, list(w), 4, None, h, c, 2, 5, 0, 1, False, 0.0, False, False, [], None),
    "miopen_rnn": lambda x, h, c, *w: A.miopen_rnn(
        x, list(w), 4, h, c, 2, 5, 1, False, 0.0, False, False, [], None),
    "mkldnn_rnn_layer": lambda x, h, c, *w: A.mkldnn_rnn_layer(
        x, *w, h, c, False, [], 2, 5, 1, True, False, False, False),
    "_lstm_mps": lambda x, h, c, *w: A._lstm_mps(x, [h, c], list(w), True, 1, 0.0, False, False, False),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_recurrent_networks_of_vendors(name: str) -> None:
    report = macsim.count(lambda *given: NETWORKS[name](*given)[:3], torch.empty(7, 2, 4, device=META), *STATES,
                          *WEIGHTS)  # fmt: skip
    assert report.macs == 14 * 20 * (4 + 5)
    assert [one.shape for one in report.outputs] == [(7, 2, 5), (1, 2, 5), (1, 2, 5)]
    assert report.trust == "exact"


def test_a_recurrent_network_of_cudnn_over_packed_sequences() -> None:
    """Of 3, 2 and 1 of 3 sequences; 3 gates from 4 to 5, and as many the other way round."""
    weights = [torch.empty(shape, device=META) for shape in ((15, 4), (15, 5))] * 2

    def network(x: Any, h: Any, *w: Any) -> Any:
        return A._cudnn_rnn(x, list(w), 2, None, h, None, 3, 5, 0, 1, False, 0.0, False, True, [3, 2, 1], None)

    report = macsim.count(network, torch.empty(6, 4, device=META), torch.empty(2, 3, 5, device=META), *weights)
    assert report.macs == 2 * 6 * 15 * 9
    assert report.outputs[0].shape == (6, 10)


def test_cells_of_recurrent_networks() -> None:
    """2 states of 5. LSTM: sums of four gates, two products and a sum, one more; three sigmoids, two tanh."""
    gates, state = torch.empty(2, 20, device=META), torch.empty(2, 5, device=META)
    report = macsim.count(A._thnn_fused_lstm_cell, gates, gates, state)
    work = {kind: n for kind, n in report.work.items() if n}
    assert work == {"add": 40 + 10 + 30, "mul": 30, "exp": 50, "div": 30}
    assert [one.shape for one in report.outputs] == [(2, 5), (2, 5), (2, 20)]
    gates = torch.empty(2, 15, device=META)
    report = macsim.count(A._thnn_fused_gru_cell, gates, gates, state)
    # Sums of three gates, a difference and a sum; two products; two sigmoids, a tanh.
    work = {kind: n for kind, n in report.work.items() if n}
    assert work == {"add": 30 + 20 + 20, "mul": 20, "exp": 30, "div": 20}
    assert report.outputs[0].shape == (2, 5)


def test_other_kernels_of_attention() -> None:
    """6 queries and keys in 2 x 3 heads of 8."""
    q = torch.empty(2, 3, 6, 8, dtype=torch.float16, device=META)
    for call in (
        lambda q: A._cudnn_attention_forward(q, q, q, None, None, None, 6, 6, False)[0],
        lambda q: A._triton_scaled_dot_attention(q, q, q),
    ):
        report = macsim.count(call, q)
        assert report.macs == 2 * 3 * 36 * 16
        assert report.outputs[0].shape == (2, 3, 6, 8)


def test_parts_of_a_batch_norm_over_devices() -> None:
    """4 channels of 128: means and variances; then a difference, a product and a sum each."""
    x, c = torch.empty(2, 4, 8, 8, device=META), torch.empty(4, device=META)
    moments = macsim.count(lambda x: A.batch_norm_stats(x, 1e-5), x)
    assert [one.shape for one in moments.outputs] == [(4,), (4,)]
    assert {kind: n for kind, n in moments.work.items() if n} == {
        "add": 3 * 512 - 8 + 4, "mul": 512, "div": 8 + 4, "sqrt": 4}  # fmt: skip
    applied = macsim.count(lambda x, c: A.batch_norm_elemt(x, c, c, c, c, 1e-5), x, c)
    assert {kind: n for kind, n in applied.work.items() if n} == {"add": 1024, "mul": 512 + 4}
