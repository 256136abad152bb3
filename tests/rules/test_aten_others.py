# Windows, draws by rejection, histograms, copies of views, parts of sparse and quantised tensors.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Spellings of ATen that make tensors or only look at them another way: worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from truth import Program, check_program, f32, program, t

import macsim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")
A = torch.ops.aten
META = torch.device("meta")
X, L, C = f32(4, 8), t("i64", 4, 8), t("c64", 4, 8)
ROW = t("i64", 8)


def windows() -> Iterator[Program]:
    made = {"device": META}
    # 16 numbers: a cosine of a product, weighed and added; Blackman has two.
    for name in ("hann_window", "hamming_window"):
        yield program(name, lambda name=name: getattr(torch, name)(16, **made), [], f32(16), trig=16, mul=32, add=16)
    yield program("blackman_window", lambda: torch.blackman_window(16, **made), [], f32(16), trig=32, mul=64, add=32)
    # 1 - |2 i / 15 - 1|.
    yield program("bartlett_window", lambda: torch.bartlett_window(16, **made), [], f32(16), mul=16, add=32, logic=16)
    # The Bessel function of 12 sqrt(1 - (2 i / 15 - 1)^2), an exponential, over that of 12.
    work = {"mul": 48, "add": 32, "sqrt": 16, "exp": 16, "div": 16}
    yield program("kaiser_window", lambda: torch.kaiser_window(16, **made), [], f32(16), "estimate", **work)
    yield program("range", lambda: torch.range(0, 7, **made), [], f32(8), add=8, mul=8)
    yield program("fft_fftfreq", lambda: torch.fft.fftfreq(9, **made), [], f32(9), add=9, mul=9)
    yield program("fft_rfftfreq", lambda: torch.fft.rfftfreq(9, **made), [], f32(5), add=5, mul=5)


def philox(n: int, **more: int) -> dict[str, int]:
    """Work of n even numbers, and more."""
    work = {"mul": 5 * n, "add": 5 * n, "logic": 10 * n, "convert": n}
    return {kind: work.get(kind, 0) + more.get(kind, 0) for kind in work | more}


def draws() -> Iterator[Program]:
    yield program("random", lambda x: x.clone().random_(), [L], L, "estimate", **philox(32))
    normal = {"log": 16, "sqrt": 16, "trig": 32, "mul": 64}
    moved = {**normal, "mul": 96, "add": 32}
    yield program(
        "normal_functional", lambda x: A.normal_functional(x, 1.0, 2.0), [X], X, "estimate", **philox(32, **moved)
    )
    # Two even numbers each; by the rate: sqrt, mul 2, add 2 and two quotients of sums 2 and 2; the try: add 1, logic,
    # a quotient, mul 2, add 3, convert, compare 2.
    tried = {"mul": 4 * 32, "add": 10 * 32, "div": 3 * 32, "sqrt": 32, "logic": 32, "convert": 32, "compare": 64}
    yield program("poisson", torch.poisson, [X], X, "estimate", **philox(64, **tried, log=32))
    more = {**tried, "mul": 7 * 32, "add": 11 * 32}
    yield program("binomial", torch.binomial, [X, f32(8)], X, "estimate", **philox(64, **more))
    # A normal and an even number; d = a - 1/3, c = 1 / sqrt(9 d), v = (1 + c x)^3, and d v where
    # log(u) < x^2 / 2 + d (1 - v + log(v)).
    gamma = {**normal, "sqrt": 48, "log": 80, "mul": 64 + 7 * 32, "add": 6 * 32, "div": 32, "compare": 64}
    yield program("_standard_gamma", torch._standard_gamma, [X], X, "estimate", **philox(64, **gamma))
    # Four sums of 8, and a division each.
    whole = {**gamma, "add": 6 * 32 + 28, "div": 64}
    yield program("_sample_dirichlet", torch._sample_dirichlet, [X], X, "estimate", **philox(64, **whole))


def histograms() -> Iterator[Program]:
    # 32 numbers into 5 bins of one width: which, and one more there.
    yield program("histogram", lambda x: torch.histogram(x, 5), [X], [f32(5), f32(6)], add=32, div=32, convert=32)
    # As densities: 4 sums, and each by the sum and by its width.
    yield program(
        "histogram",
        lambda x: torch.histogram(x, 5, range=(0.0, 1.0), density=True),
        [X],
        [f32(5), f32(6)],
        add=36,
        div=42,
        convert=32,
    )
    # Among 6 edges: 3 halvings.
    yield program("histogram", torch.histogram, [X, f32(6)], [f32(5), f32(6)], add=32, compare=96)
    # 9 points with 2 numbers.
    yield program(
        "_histogramdd_from_bin_cts",
        lambda x: A._histogramdd_from_bin_cts(x, [3, 4], range=[0.0, 1.0, 0.0, 1.0]),
        [f32(9, 2)],
        f32(3, 4),
        add=9,
        div=18,
        convert=18,
    )
    # Among 4 and 9 edges: 3 and 4 halvings.
    yield program(
        "_histogramdd_from_bin_tensors",
        lambda x, a, b: A._histogramdd_from_bin_tensors(x, [a, b]),
        [f32(9, 2), f32(4), f32(9)],
        f32(3, 8),
        add=9,
        compare=63,
    )
    yield program("hash_tensor", torch.hash_tensor, [X], t("u64"), logic=31)
    yield program("hash_tensor", lambda x: torch.hash_tensor(x, 1), [X], t("u64", 4), logic=28)
    # 2 rows of 8 numbers: squares and their sum, a root, against the greatest, a quotient; times that.
    yield program(
        "embedding_renorm",
        lambda x, i: A.embedding_renorm_(x.clone(), i, 1.0, 2.0),
        [X, t("i64", 2)],
        X,
        "bound",
        mul=32,
        add=14,
        sqrt=2,
        compare=2,
        div=2,
    )


def smoothed() -> Iterator[Program]:
    # From 8 x 8 to 4 x 4 each axis has 4 linear weights, 4 x 4 pixels an element: x and y 4 each: mul 1, add 2, convert
    # 1; 16 weights of add 3 and mul 1, their sum, which is divided by; products of weights 16 a position; blended.
    taps, y = 4 * 4, 16
    coordinates = {"mul": 8, "add": 16, "convert": 8}
    weighed = {"add": 2 * (3 * 16 - 4), "mul": 2 * 16, "div": 2 * 16}
    blended = {"mul": taps * 16 + taps * y * 3, "add": (taps - 1) * y * 3}
    parts = (coordinates, weighed, blended)
    work = {kind: sum(part.get(kind, 0) for part in parts) for kind in ("mul", "add", "div", "convert")}
    image, out = f32(1, 3, 8, 8), f32(1, 3, 4, 4)
    yield program(
        "_upsample_bilinear2d_aa", lambda x: A._upsample_bilinear2d_aa(x, [4, 4], False), [image], out, "bound", **work
    )
    # Cubic: 8 weights an axis, each add 5 and mul 4.
    taps = 8 * 8
    weighed = {"add": 2 * (5 * 32 - 4), "mul": 2 * 4 * 32, "div": 2 * 32}
    blended = {"mul": taps * 16 + taps * y * 3, "add": (taps - 1) * y * 3}
    parts = (coordinates, weighed, blended)
    work = {kind: sum(part.get(kind, 0) for part in parts) for kind in ("mul", "add", "div", "convert")}
    yield program(
        "_upsample_bicubic2d_aa", lambda x: A._upsample_bicubic2d_aa(x, [4, 4], False), [image], out, "bound", **work
    )


def moved() -> Iterator[Program]:
    yield program("fill_diagonal", lambda x: x.clone().fill_diagonal_(1.0), [X], X)
    yield program("select_copy", lambda x: torch.select_copy(x, 0, 1), [X], f32(8))
    yield program("slice_copy", lambda x: torch.slice_copy(x, 1, 2, 5), [X], f32(4, 3))
    yield program("split_copy", lambda x: torch.split_copy(x, 5, 1), [X], [f32(4, 5), f32(4, 3)])
    yield program("detach_copy", torch.detach_copy, [X], X)
    yield program("view_as_real_copy", torch.view_as_real_copy, [C], f32(4, 8, 2))
    yield program("view_as_complex_copy", torch.view_as_complex_copy, [f32(4, 2)], t("c64", 4))
    yield program("_reshape_copy", lambda x: A._reshape_copy(x, [8, 4]), [X], f32(8, 4))
    yield program("_reshape_alias_copy", lambda x: A._reshape_alias_copy(x, [8, 4], [4, 1]), [X], f32(8, 4))
    yield program("slice_inverse", lambda x, y: torch.slice_inverse(x[:2], y, 0, 0, 2), [X, X], X)
    yield program("_neg_view", torch._neg_view, [X], X)
    yield program("_lazy_clone", A._lazy_clone, [X], X)
    yield program("to_mkldnn", lambda x: x.to_mkldnn().to_dense(), [X], X)


# Of a matrix of 4 x 5 three elements: rows and columns, or where rows (columns) begin.
PLACES, BEGINS, STORED = t("i64", 2, 3), t("i64", 5), f32(3)
AT = t("i64", 3)


def coo(i: Any, v: Any) -> Any:
    return torch.sparse_coo_tensor(i, v, (4, 5), is_coalesced=True)


def csr(a: Any, b: Any, v: Any) -> Any:
    return torch.sparse_csr_tensor(a, b, v, (4, 5))


def csc(a: Any, b: Any, v: Any) -> Any:
    return torch.sparse_csc_tensor(a, b, v, (5, 4))


def sparse_parts() -> Iterator[Program]:
    made, compressed, whole = [PLACES, STORED], [BEGINS, AT, STORED], f32(4, 5)
    yield program("sparse_coo_tensor", coo, made, whole)
    yield program(
        "_sparse_coo_tensor_with_dims_and_tensors",
        lambda i, v: A._sparse_coo_tensor_with_dims_and_tensors(
            2, 0, [4, 5], i, v, layout=torch.sparse_coo, device=META, dtype=torch.float32
        ),
        made,
        whole,
    )
    yield program("sparse_compressed_tensor", csr, compressed, whole)
    yield program("sparse_coo_tensor", lambda: torch.sparse_coo_tensor((4, 5), device=META), [], whole)
    for name, shape in (("values", STORED), ("_values", STORED), ("indices", PLACES), ("_indices", PLACES)):
        yield program(name, lambda i, v, name=name: getattr(A, name)(coo(i, v)), made, shape)
    for name, shape in (("values", STORED), ("crow_indices", BEGINS), ("col_indices", AT)):
        for copied in ("", "_copy"):
            called = getattr(A, name + copied)
            yield program(name + copied, lambda a, b, v, f=called: f(csr(a, b, v)), compressed, shape)
    for name, shape in (("ccol_indices", BEGINS), ("row_indices", AT)):
        for copied in ("", "_copy"):
            called = getattr(A, name + copied)
            yield program(name + copied, lambda a, b, v, f=called: f(csc(a, b, v)), compressed, shape)
    yield program("_coalesced", lambda i, v: A._coalesced_(coo(i, v), True), made, whole)
    yield program("_coalesce", lambda i, v: A._coalesce(torch.sparse_coo_tensor(i, v, (4, 5))), made, whole)
    yield program("copy_sparse_to_sparse", lambda x, y: A.copy_sparse_to_sparse_(x, y), [whole, whole], whole)
    yield program("resize_as_sparse", lambda x, y: A.resize_as_sparse_(x, y), [whole, whole], whole)
    yield program(
        "_sparse_coo_tensor_with_dims",
        lambda: A._sparse_coo_tensor_with_dims(2, 0, [4, 5], layout=torch.sparse_coo, device=META, dtype=torch.float32),
        [],
        whole,
    )
    yield program("sparse_mask", lambda x, i, v: x.sparse_mask(coo(i, v)), [whole, *made], whole)
    # 4 rows of 5, as if all were stored: the largest, less it, exponentials, their sum, and a division or a logarithm.
    work = {"compare": 16, "add": 36, "exp": 20}
    yield program(
        "_sparse_softmax", lambda i, v: torch.sparse.softmax(coo(i, v), 1), made, whole, "bound", **work, div=20
    )
    work["add"] += 20
    yield program(
        "_sparse_log_softmax", lambda i, v: torch.sparse.log_softmax(coo(i, v), 1), made, whole, "bound", **work, log=4
    )
    for name in ("_to_sparse", "_to_sparse_csr", "_to_sparse_csc"):
        yield program(name, getattr(A, name), [whole], whole, compare=20)
    for name in ("_to_sparse_bsr", "_to_sparse_bsc"):
        yield program(name, lambda x, name=name: getattr(A, name)(x, [2, 5]), [whole], whole, compare=20)


def parts_of_others() -> Iterator[Program]:
    yield program("int_repr", A.int_repr, [t("u8", 4, 8)], t("u8", 4, 8))
    yield program(
        "_make_per_tensor_quantized_tensor",
        lambda x: torch._make_per_tensor_quantized_tensor(x, 1.0, 0),
        [t("u8", 4, 8)],
        t("u8", 4, 8),
    )
    yield program(
        "_make_per_channel_quantized_tensor",
        lambda x, s, z: torch._make_per_channel_quantized_tensor(x, s, z, 0),
        [t("i8", 4, 8), f32(4), t("i64", 4)],
        t("i8", 4, 8),
    )
    yield program("_fw_primal", lambda x: A._fw_primal(x, 0), [X], X)
    yield program("_fw_primal_copy", lambda x: A._fw_primal_copy(x, 0), [X], X)
    yield program("_make_dual", lambda x, y: A._make_dual(x, y, 0), [X, X], X)


def seldom() -> Iterator[Program]:
    yield program("_is_all_true", A._is_all_true, [t("bool", 4, 8)], t("bool"), compare=31)
    yield program("_is_any_true", A._is_any_true, [t("bool", 4, 8)], t("bool"), compare=31)
    yield program("_stack", lambda x, y: torch._stack([x, y]), [X, X], f32(2, 4, 8))
    yield program("_add_relu", A._add_relu, [X, X], X, add=32, compare=32)
    yield program("_conj_copy", torch._conj_copy, [C], C, logic=32)
    yield program("_neg_view_copy", torch._neg_view_copy, [X], X, logic=32)
    # 4 rows of 8, and a mask.
    work = {"compare": 28, "add": 60, "exp": 32, "div": 32, "logic": 32}
    yield program("_masked_softmax", lambda x, m: torch._masked_softmax(x, m, 1, 2), [X, t("bool", 4, 8)], X, **work)
    for axes in (1, 2, 3):
        y = 2 * 3 * 4**axes
        yield program(
            f"quantized_max_pool{axes}d",
            lambda x, n=axes: getattr(A, f"quantized_max_pool{n}d")(x, [2] * n, [2] * n),
            [t("u8", 2, 3, *[8] * axes)],
            t("u8", 2, 3, *[4] * axes),
            compare=y * (2**axes - 1),
        )
    yield program(
        "_pack_padded_sequence",
        lambda x: torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor([3, 2])).data,
        [f32(3, 2, 5)],
        f32(5, 5),
    )
    yield program("hspmm", A.hspmm, [f32(4, 8), f32(8, 3)], f32(4, 3), mac=96)
    yield program("sspaddmm", A.sspaddmm, [f32(4, 3), f32(4, 8), f32(8, 3)], f32(4, 3), mac=96, add=12)
    # The range of 32 elements, its running means, the scale; then quantised and back.
    yield program(
        "_fused_moving_avg_obs_fq_helper",
        lambda x, on, low, high, s, z: A._fused_moving_avg_obs_fq_helper(
            x, on, on, low.clone(), high.clone(), s.clone(), z.clone(), 0.1, 0, 255, 0
        ),
        [X, t("i64", 1), f32(1), f32(1), f32(1), t("i32", 1)],
        [X, t("bool", 4, 8)],
        "bound",
        compare=62 + 2 + 64,
        add=6 + 64,
        mul=2 + 32,
        div=2 + 32,
        convert=1 + 32,
    )


ROWS = [*seldom(), *windows(), *draws(), *histograms(), *smoothed(), *moved(), *sparse_parts(), *parts_of_others()]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rows(row: Program) -> None:
    check_program(row)


def test_products_with_a_sparse_tensor_that_the_program_makes() -> None:
    """3 elements, each meets a row of 2."""
    given = [torch.empty(shape, dtype=dtype, device=META) for shape, dtype in (((2, 3), torch.int64), (3, None))]
    report = macsim.count(lambda i, v, x: coo(i, v) @ x, *given, torch.empty(5, 2, device=META))
    assert report.macs == 6
