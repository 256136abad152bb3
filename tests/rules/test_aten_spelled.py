# Spellings that programs seldom write themselves: those of backends, of decompositions, of exported graphs.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Every other spelling of torch's operators, called by its name: worked out by hand."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from truth import Program, check_program, f32, program, t

import macsim

torch = pytest.importorskip("torch")
importlib.import_module("torch.ao.quantization.fx._decomposed")
pytestmark = pytest.mark.filterwarnings("ignore")
A, P, Q, D = torch.ops.aten, torch.ops.prims, torch.ops.quantized, torch.ops.quantized_decomposed
META = torch.device("meta")


def op(name: str) -> Any:
    library, _, packet = name.rpartition("::")
    return getattr(getattr(torch.ops, library or "aten"), packet)


def words(text: str) -> list[str]:
    return text.split()


X, L, B = f32(4, 8), t("i64", 4, 8), t("bool", 4, 8)
# One of Philox's numbers: 5 mul, 5 add, 10 logic, 1 convert.
DRAWN = {"mul": 5 * 32, "add": 5 * 32, "logic": 10 * 32, "convert": 32}
# One for each of 32 elements.
TRIG = words("""acos asin atan tan prims::acos prims::asin prims::atan prims::tan""")
LOG = words("""acosh asinh atanh prims::acosh prims::asinh prims::atanh""")
EXP = words("""cosh sinh prims::cosh prims::sinh""")
# Series, taken for an exponential.
SERIES = words("""digamma erfinv i0 special_airy_ai special_bessel_j1 special_bessel_y0 special_bessel_y1 special_erfcx
    special_i0 special_i0e special_i1 special_i1e special_modified_bessel_i0 special_modified_bessel_i1
    special_modified_bessel_k0 special_modified_bessel_k1 special_ndtri special_scaled_modified_bessel_k0
    special_scaled_modified_bessel_k1 special_spherical_bessel_j0 prims::bessel_i0 prims::bessel_i0e
    prims::bessel_i1 prims::bessel_i1e prims::bessel_j1 prims::digamma prims::erf_inv prims::erfcx
    prims::ndtri prims::spherical_bessel_j0""")
SERIES_OF_TWO = words("""igamma igammac special_gammainc special_gammaincc special_zeta prims::igamma
    prims::igammac prims::zeta
    special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v
    special_chebyshev_polynomial_w special_hermite_polynomial_h special_hermite_polynomial_he
    special_laguerre_polynomial_l special_legendre_polynomial_p special_shifted_chebyshev_polynomial_t
    special_shifted_chebyshev_polynomial_u special_shifted_chebyshev_polynomial_v
    special_shifted_chebyshev_polynomial_w""")
SAME = ["fmax", "fmin", "minimum", "prims::fmax", "prims::fmin", "prims::minimum"]
ORDER = ["eq", "ge", "le", "prims::eq", "prims::ge", "prims::le"]
RATIO = ["fmod", "remainder", "floor_divide", "prims::fmod", "prims::remainder"]
BITS = words("""__and__ __or__ __xor__ __lshift__ __rshift__ __iand__ __ior__ __ixor__ __ilshift__ __irshift__
    bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift prims::bitwise_and
    prims::bitwise_or prims::bitwise_xor""")


def elements() -> Iterator[Program]:
    for names, kind in ((TRIG, "trig"), (LOG, "log"), (EXP, "exp")):
        for name in names:
            yield program(name, op(name), [X], X, **{kind: 32})
    for name in SERIES:
        yield program(name, op(name), [X], X, "estimate", exp=32)
    for name in SERIES_OF_TWO:
        yield program(name, op(name), [X, X], X, "estimate", exp=32)
    for name in ("polygamma", "special_polygamma"):
        yield program(name, lambda x, name=name: op(name)(2, x), [X], X, "estimate", exp=32)
    for name in SAME:
        yield program(name, op(name), [X, X], X, compare=32)
    for name in ORDER:
        yield program(name, op(name), [X, X], B, compare=32)
    for name in RATIO:
        yield program(name, op(name), [X, X], X, div=32)
    for name in BITS:
        yield program(name, op(name), [L, L], L, logic=32)
    for name in ("bitwise_not", "prims::bitwise_not"):
        yield program(name, op(name), [L], L, logic=32)
    for name in ("logical_and", "logical_or", "logical_xor"):
        yield program(name, op(name), [X, X], B, logic=32)
    yield program("logical_not", A.logical_not, [X], B, logic=32)
    yield program("isinf", A.isinf, [X], B, compare=32)
    yield program("signbit", A.signbit, [X], B, logic=32)
    for name in ("nextafter", "prims::nextafter"):
        yield program(name, op(name), [X, X], X, logic=32)
    for name in ("frexp", "prims::frexp"):
        yield program(name, op(name), [X], [X, t("i32", 4, 8)], logic=32)
    for name in ("conj_physical", "_conj_physical", "prims::conj_physical"):
        yield program(name, op(name), [t("c64", 4, 8)], t("c64", 4, 8), logic=32)
    yield program("arctan2", A.arctan2, [X, X], X, trig=32)
    # max + log2(1 + 2^-|a - b|): a difference, its size, a larger one, two sums.
    yield program("logaddexp2", A.logaddexp2, [X, X], X, compare=32, add=96, logic=32, exp=32, log=32)
    yield program("_to_copy", lambda x: A._to_copy(x, dtype=torch.float16), [X], t("f16", 4, 8), convert=32)
    yield program(
        "prims::convert_element_type",
        lambda x: P.convert_element_type(x, torch.float16),
        [X],
        t("f16", 4, 8),
        convert=32,
    )
    yield program("rrelu_with_noise", A.rrelu_with_noise, [X, X], X, mul=32, compare=32)


def without_work() -> Iterator[Program]:
    """Views, copies, new tensors, and what is free in evaluation."""
    complex_, index, meta = t("c64", 4, 8), t("i64", 3), {"dtype": torch.float32, "device": META}
    plain = {**meta, "requires_grad": False}
    for name, call, inputs, made in (
        *((name, op(name), [X], X) for name in ("resolve_conj", "resolve_neg", "conj", "lift", "fliplr", "flipud",
                                                "atleast_1d", "atleast_2d", "_to_dense", "prims::view_of")),
        *((name, op(name), [X], f32(8, 4)) for name in ("adjoint", "mH", "numpy_T", "matrix_H", "rot90")),
        ("_conj", A._conj, [complex_], complex_),
        ("imag", A.imag, [complex_], X),
        ("view_as_real", A.view_as_real, [complex_], f32(4, 8, 2)),
        ("view_as_complex", A.view_as_complex, [f32(4, 2)], t("c64", 4)),
        ("atleast_3d", A.atleast_3d, [X], f32(4, 8, 1)),
        *((name, op(name), [X, X], X) for name in ("expand_as", "view_as", "reshape_as", "prims::copy_to")),
        *((name, lambda x, name=name: op(name)(x, 0, 1), [X], f32(8, 4)) for name in ("swapaxes", "swapdims")),
        *((name, lambda x, name=name: op(name)(x, [0], [1]), [X], f32(8, 4)) for name in ("movedim", "moveaxis")),
        ("_unsafe_view", lambda x: A._unsafe_view(x, [32]), [X], f32(32)),
        ("_reshape_alias", lambda x: A._reshape_alias(x, [32], [1]), [X], f32(32)),
        ("as_strided", lambda x: A.as_strided(x, [2, 2], [8, 1]), [X], f32(2, 2)),
        *((name, lambda x, name=name: op(name)(x, 2), [X], [f32(2, 8)] * 2) for name in ("unsafe_chunk", "vsplit")),
        *((name, lambda x, name=name: op(name)(x, 4, 1), [X], [f32(4, 4)] * 2) for name in ("unsafe_split",)),
        ("hsplit", lambda x: A.hsplit(x, 2), [X], [f32(4, 4)] * 2),
        ("tensor_split", lambda x: A.tensor_split(x, 2), [X], [f32(2, 8)] * 2),
        ("split_with_sizes", lambda x: A.split_with_sizes(x, [1, 3]), [X], [f32(1, 8), f32(3, 8)]),
        ("vstack", lambda x: A.vstack([x, x]), [X], f32(8, 8)),
        ("dstack", lambda x: A.dstack([x, x]), [X], f32(4, 8, 2)),
        ("prims::copy_strided", lambda x: P.copy_strided(x, [1, 4]), [X], X),
        ("prims::device_put", lambda x: P.device_put(x, META), [X], X),
        ("prims::rev", lambda x: P.rev(x, [1]), [X], X),
        ("new_empty", lambda x: A.new_empty(x, [3]), [X], f32(3)),
        ("new_ones", lambda x: A.new_ones(x, [3]), [X], f32(3)),
        ("new_full", lambda x: A.new_full(x, [3], 2.0), [X], f32(3)),
        ("new_empty_strided", lambda x: A.new_empty_strided(x, [3], [1]), [X], f32(3)),
        ("full_like", lambda x: A.full_like(x, 1.0), [X], X),
        ("prims::full_like", lambda x: P.full_like(x, 1.0, **plain), [X], X),
        ("empty_strided", lambda: A.empty_strided([2, 3], [3, 1], **meta), [], f32(2, 3)),
        ("empty_permuted", lambda: A.empty_permuted([2, 3], [0, 1], **meta), [], f32(2, 3)),
        ("prims::empty_strided", lambda: P.empty_strided([2, 3], [3, 1], **plain), [], f32(2, 3)),
        ("prims::empty_permuted", lambda: P.empty_permuted([2, 3], [0, 1], **plain), [], f32(2, 3)),
        ("eye", lambda: A.eye(3, **meta), [], f32(3, 3)),
        *((name, lambda x, name=name: op(name)(3, 3, device=META), [X], t("i64", 2, 6))
          for name in ("tril_indices", "triu_indices")),
        ("as_strided_scatter", lambda x, y: A.as_strided_scatter(x, y, [2, 2], [8, 1]), [X, f32(2, 2)], X),
        ("prims::as_strided_scatter", lambda x, y: P.as_strided_scatter(x, y, [2, 2], [8, 1], 0), [X, f32(2, 2)], X),
        ("select_scatter", lambda x, y: A.select_scatter(x, y, 0, 1), [X, f32(8)], X),
        ("slice_scatter", lambda x, y: A.slice_scatter(x, y, 0, 1, 3), [X, f32(2, 8)], X),
        ("diagonal_scatter", A.diagonal_scatter, [X, f32(4)], X),
        ("put", A.put, [X, index, f32(3)], X),
        ("index_copy", lambda x, i, y: A.index_copy(x, 0, i, y), [X, index, f32(3, 8)], X),
        ("index_fill", lambda x, i: A.index_fill(x, 0, i, 1.0), [X, index], X),
        ("index_put", lambda x, i, y: A.index_put(x, [i], y), [X, index, f32(3, 8)], X),
        ("_index_put_impl", lambda x, i, y: A._index_put_impl(x, [i], y), [X, index, f32(3, 8)], X),
        ("masked_scatter", A.masked_scatter, [X, B, f32(32)], X),
        ("_unsafe_index", lambda x, i: A._unsafe_index(x, [i]), [X, index], f32(3, 8)),
        ("take_along_dim", lambda x, i: A.take_along_dim(x, i, 1), [X, L], X),
        ("repeat_interleave", lambda n: A.repeat_interleave(n, output_size=5), [index], t("i64", 5)),
        ("constant_pad_nd", lambda x: A.constant_pad_nd(x, [1, 1]), [X], f32(4, 10)),
        ("_pad_circular", lambda x: A._pad_circular(x, [1, 1]), [f32(2, 3, 8)], f32(2, 3, 10)),
        *((f"{kind}_pad{n}d", lambda x, kind=kind, n=n: op(f"{kind}_pad{n}d")(x, [1, 1] * n),
           [f32(2, 3, *[4] * n)], f32(2, 3, *[6] * n)) for kind in ("reflection", "replication") for n in (1, 2, 3)),
        ("native_dropout", lambda x: A.native_dropout(x, 0.5, True), [X], [X, B]),
        ("feature_dropout", lambda x: A.feature_dropout(x, 0.5, True), [X], X),
        ("lu_unpack", A.lu_unpack, [f32(2, 4, 4), t("i32", 2, 4)], [f32(2, 4, 4)] * 3),
    ):  # fmt: skip
        yield program(name, call, inputs, made)


def drawn() -> Iterator[Program]:
    yield program("rand_like", A.rand_like, [X], X, "estimate", **DRAWN)
    yield program("bernoulli", A.bernoulli, [X], X, "estimate", **DRAWN, compare=32)
    yield program("randint_like", lambda x: A.randint_like(x, 5), [X], X, "estimate", **{**DRAWN, "mul": 6 * 32})
    # Two of them make two normal ones: a logarithm, a root, a sine and a cosine, 4 products.
    normal = {**DRAWN, "mul": 5 * 32 + 64, "log": 16, "sqrt": 16, "trig": 32}
    yield program("randn_like", A.randn_like, [X], X, "estimate", **normal)
    yield program("log_normal", A.log_normal, [X], X, "estimate",
                  **{**normal, "mul": normal["mul"] + 32, "add": 6 * 32, "exp": 32})  # fmt: skip
    # log(u) / log(1 - p), rounded up.
    yield program("geometric", lambda x: A.geometric(x, 0.5), [X], X, "estimate",
                  **{**DRAWN, "convert": 64}, log=32, div=32)  # fmt: skip


def folded() -> Iterator[Program]:
    """Rows of 8, 4 of them."""
    index = t("i64", 3)
    along: Callable[[str], Any] = lambda name: lambda x: op(name)(x, 1)  # noqa: E731
    yield program("amin", lambda x: A.amin(x, [1]), [X], f32(4), compare=28)
    yield program("argmin", along("argmin"), [X], t("i64", 4), compare=28)
    yield program("cummin", along("cummin"), [X], [X, L], compare=28)
    yield program("nansum", along("nansum"), [X], f32(4), add=28)
    yield program("std_mean", lambda x: A.std_mean(x, [1]), [X], [f32(4)] * 2, add=28 + 32 + 28, mul=32, div=8, sqrt=4)
    yield program("frobenius_norm", lambda x: A.frobenius_norm(x, [1]), [X], f32(4), mul=32, add=28, sqrt=4)
    yield program("_logcumsumexp", along("_logcumsumexp"), [X], X, compare=28, exp=28, log=28, logic=28, add=84)
    for name in ("_softmax", "_safe_softmax"):
        call = (lambda x: A._softmax(x, 1, False)) if name == "_softmax" else along(name)
        yield program(name, call, [X], X, compare=28, add=32 + 28, exp=32, div=32)
    yield program("_log_softmax", lambda x: A._log_softmax(x, 1, False), [X], X,
                  compare=28, add=32 + 28 + 32, exp=32, log=4)  # fmt: skip
    yield program("msort", A.msort, [f32(8, 4)], f32(8, 4), "bound", compare=32 * 3)
    yield program("nanmedian", A.nanmedian, [f32(10)], f32(), "estimate", compare=33)
    yield program("nonzero_static", lambda x: A.nonzero_static(x, size=5), [X], t("i64", 5, 2), compare=32)
    for kind, work in {"amax": {"compare": 24}, "prod": {"mul": 24}, "mean": {"add": 24, "div": 32}}.items():
        call = lambda x, i, y, kind=kind: A.index_reduce(x, 0, i, y, kind)  # noqa: E731
        yield program("index_reduce", call, [X, index, f32(3, 8)], X, **work)
    for kind, more in {"sum": {}, "mean": {"div": 32}}.items():
        call = lambda x, i, y, kind=kind: A.scatter_reduce(x, 1, i, y, kind)  # noqa: E731
        yield program("scatter_reduce", call, [X, L, X], X, add=32, **more)
    yield program("index_put", lambda x, i, y: A.index_put(x, [i], y, True), [X, index, f32(3, 8)], X, add=24)
    # A bag of one row and one of two: 8 sums at most.
    bags = [X, index, t("i64", 2)]
    made = [f32(2, 8), t("i64", 3), t("i64", 2), t("i64", 0)]
    for name in ("_embedding_bag", "_embedding_bag_forward_only"):
        yield program(name, op(name), bags, made, add=8)
    yield program("prims::iota", lambda: P.iota(8, start=0, step=1, dtype=torch.int64, device=META,
                                               requires_grad=False), [], t("i64", 8), mul=8, add=8)  # fmt: skip
    # 20 pairs: 8 differences, squares, 7 sums, a root.
    yield program("_cdist_forward", lambda a, b: A._cdist_forward(a, b, 2.0, None), [X, f32(5, 8)], f32(4, 5),
                  add=160 + 140, mul=160, sqrt=20)  # fmt: skip
    yield program("_pdist_forward", lambda a: A._pdist_forward(a, 2.0), [X], f32(6), add=48 + 42, mul=48, sqrt=6)


# Convolutions of 4 channels to 6 by 3 x 3 filters: 36 products for each of 2 * 6 * 36 results. Transposed: each of
# 2 * 4 * 64 elements meets 6 * 9 weights. By depth: 9 products for each of 2 * 4 * 36 results.
IMAGE, FILTERS, BIAS, MADE = f32(2, 4, 8, 8), f32(6, 4, 3, 3), f32(6), f32(2, 6, 6, 6)
SOLID, CUBES, MADE_3 = f32(2, 4, 5, 5, 5), f32(6, 4, 3, 3, 3), f32(2, 6, 3, 3, 3)
PLAIN, UP, DEEP, IN_3 = {"mac": 432 * 36}, {"mac": 512 * 54}, {"mac": 288 * 9}, {"mac": 324 * 108}
NO, ONE, ONE_3 = [0, 0], [1, 1], [1, 1, 1]


def convolutions() -> Iterator[Program]:
    biased, up = [IMAGE, FILTERS, BIAS], [IMAGE, f32(4, 6, 3, 3), BIAS]
    kernel, kernel_3 = [3, 3], [3, 3, 3]
    in_3 = [SOLID, CUBES, BIAS]
    deep = [IMAGE, f32(4, 1, 3, 3), f32(4)]
    plain, transposed = {**PLAIN, "add": 432}, {**UP, "add": 1200}
    for name, call, inputs, made, work in (
        ("cudnn_convolution", lambda x, w: A.cudnn_convolution(x, w, NO, ONE, ONE, 1, False, False, True),
         [IMAGE, FILTERS], MADE, PLAIN),
        ("cudnn_convolution_transpose",
         lambda x, w: A.cudnn_convolution_transpose(x, w, NO, NO, ONE, ONE, 1, False, False, True),
         up[:2], f32(2, 6, 10, 10), UP),
        ("miopen_convolution", lambda x, w, b: A.miopen_convolution(x, w, b, NO, ONE, ONE, 1, False, False),
         biased, MADE, plain),
        ("miopen_convolution_transpose",
         lambda x, w, b: A.miopen_convolution_transpose(x, w, b, NO, NO, ONE, ONE, 1, False, False),
         up, f32(2, 6, 10, 10), transposed),
        ("miopen_depthwise_convolution",
         lambda x, w, b: A.miopen_depthwise_convolution(x, w, b, NO, ONE, ONE, 4, False, False),
         deep, f32(2, 4, 6, 6), {**DEEP, "add": 288}),
        ("mkldnn_convolution", lambda x, w, b: A.mkldnn_convolution(x, w, b, NO, ONE, ONE, 1), biased, MADE, plain),
        ("convolution_overrideable",
         lambda x, w, b: A.convolution_overrideable(x, w, b, ONE, NO, ONE, False, NO, 1), biased, MADE, plain),
        ("_convolution", lambda x, w, b: A._convolution(x, w, b, ONE, NO, ONE, False, NO, 1, False, False, False),
         biased, MADE, plain),
        ("_conv_depthwise2d", lambda x, w, b: A._conv_depthwise2d(x, w, kernel, b, ONE, NO, ONE),
         deep, f32(2, 4, 6, 6), {**DEEP, "add": 288}),
        ("conv_depthwise3d", lambda x, w, b: A.conv_depthwise3d(x, w, kernel_3, b, ONE_3, [0] * 3, ONE_3),
         [SOLID, f32(4, 1, 3, 3, 3), f32(4)], f32(2, 4, 3, 3, 3), {"mac": 216 * 27, "add": 216}),
        ("thnn_conv2d", lambda x, w, b: A.thnn_conv2d(x, w, kernel, b), biased, MADE, plain),
        ("_slow_conv2d_forward", lambda x, w, b: A._slow_conv2d_forward(x, w, kernel, b, ONE, NO), biased, MADE, plain),
        ("slow_conv_dilated2d", lambda x, w, b: A.slow_conv_dilated2d(x, w, kernel, b), biased, MADE, plain),
        ("slow_conv3d", lambda x, w, b: A.slow_conv3d(x, w, kernel_3, b), in_3, MADE_3, {**IN_3, "add": 324}),
        ("slow_conv3d_forward", lambda x, w, b: A.slow_conv3d_forward(x, w, kernel_3, b, ONE_3, [0] * 3),
         in_3, MADE_3, {**IN_3, "add": 324}),
        ("slow_conv_dilated3d", lambda x, w, b: A.slow_conv_dilated3d(x, w, kernel_3, b),
         in_3, MADE_3, {**IN_3, "add": 324}),
        ("slow_conv_transpose2d", lambda x, w, b: A.slow_conv_transpose2d(x, w, kernel, b),
         up, f32(2, 6, 10, 10), transposed),
        ("slow_conv_transpose3d", lambda x, w, b: A.slow_conv_transpose3d(x, w, kernel_3, b),
         [SOLID, f32(4, 6, 3, 3, 3), BIAS], f32(2, 6, 7, 7, 7), {"mac": 1000 * 162, "add": 4116}),
    ):  # fmt: skip
        yield program(name, call, inputs, made, **work)
    if hasattr(torch.ops.mkldnn, "_convolution_pointwise"):  # with a rectifier
        fused = lambda x, w, b: torch.ops.mkldnn._convolution_pointwise(  # noqa: E731
            x, w, b, NO, ONE, ONE, 1, "relu", [], "")  # fmt: skip
        yield program("mkldnn::_convolution_pointwise", fused, biased, MADE, **plain, compare=432)


def normalisations() -> Iterator[Program]:
    """4 channels of 128: scale and shift once a channel, then a product and a sum an element."""
    c, none = f32(4), f32(0)
    work = {"mul": 512 + 4, "add": 512 + 8, "sqrt": 4, "div": 4}
    statistics = lambda name, *rest: lambda x, w, b, m, v: op(name)(x, w, b, m, v, *rest, 1e-5)  # noqa: E731
    for name, rest, made in (
        ("cudnn_batch_norm", (False, 0.1), [IMAGE, none, none, t("u8", 0)]),
        ("miopen_batch_norm", (False, 0.1), [IMAGE, none, none]),
        ("_batch_norm_no_update", (0.1,), [IMAGE, c, c, t("u8", 0)]),
        ("_native_batch_norm_legit_no_training", (0.1,), [IMAGE, c, c]),
    ):
        yield program(name, statistics(name, *rest), [IMAGE, c, c, c, c], made, **work)
    # 4 groups of 128: mean 127 adds and a quotient, 128 less it, squares, 127 adds, a quotient, eps, a root, a
    # quotient, 128 products; then scaled and moved by channel.
    yield program(
        "native_group_norm",
        lambda x, w, b: A.native_group_norm(x, w, b, 2, 4, 64, 2, 1e-5),
        [IMAGE, c, c],
        [IMAGE, f32(2, 2), f32(2, 2)],
        add=4 * (127 + 128 + 127 + 1 + 128),
        mul=4 * 3 * 128,
        div=12,
        sqrt=4,
    )
    yield program(
        "native_layer_norm",
        lambda x, w, b: A.native_layer_norm(x, [8], w, b, 1e-5),
        [X, f32(8), f32(8)],
        [X, f32(4, 1), f32(4, 1)],
        add=4 * (7 + 8 + 7 + 1 + 8),
        mul=4 * 24,
        div=12,
        sqrt=4,
    )
    if hasattr(
        A, "_fused_rms_norm"
    ):  # squares, 7 adds, a quotient, eps, a root, a quotient, 8 products; 8 by the scale
        yield program("_fused_rms_norm", lambda x, w: A._fused_rms_norm(x, [8], w, 1e-5), [X, f32(8)], [X, f32(4, 1)],
                      mul=4 * 24, add=4 * 8, div=8, sqrt=4)  # fmt: skip


# 6 queries and keys in 2 x 3 heads of 8: 36 scores each, of 8 products, scaled; as many for the values; rows of 6.
HEADS, STEPS, PAIRS = f32(2, 3, 6, 8), f32(2, 6, 3, 8), 6 * 36
ATTENDED = {"mac": 2 * PAIRS * 8, "mul": PAIRS, "compare": 36 * 5, "add": PAIRS + 36 * 5, "exp": PAIRS, "div": PAIRS}
SEED, RNG = t("i64"), [t("u64", 2), t("u64"), f32(0)]


def attention() -> Iterator[Program]:
    for name, made, rest in (
        ("_scaled_dot_product_attention_math", [HEADS, f32(2, 3, 6, 6)], ()),
        ("_scaled_dot_product_attention_math_for_mps", [HEADS, f32(2, 3, 6, 6)], ()),
        ("_scaled_dot_product_flash_attention", [HEADS, f32(2, 3, 6), *RNG], ()),
        ("_scaled_dot_product_flash_attention_for_cpu", [HEADS, f32(2, 3, 6)], ()),
        ("_scaled_dot_product_fused_attention_overrideable", [HEADS, f32(2, 3, 6), SEED, SEED], ()),
        ("_scaled_dot_product_efficient_attention", [HEADS, f32(2, 3, 0), SEED, SEED], (None, False)),
        ("_scaled_dot_product_cudnn_attention", [HEADS, f32(2, 3, 6, 1), SEED, SEED], (None, False)),
    ):
        call = lambda q, k, v, name=name, rest=rest: op(name)(q, k, v, *rest)  # noqa: E731
        yield program(name, call, [HEADS] * 3, made, **ATTENDED)
    made = [STEPS, f32(2, 3, 0), SEED, SEED]
    for hides, more in ((0, {}), (1, {"logic": PAIRS}), (2, {"logic": PAIRS})):
        call = lambda q, k, v, hides=hides: A._efficient_attention_forward(  # noqa: E731
            q, k, v, None, None, None, None, None, 0.0, hides)  # fmt: skip
        yield program("_efficient_attention_forward", call, [STEPS] * 3, made, **ATTENDED, **more)


# 16 x 32 by 32 x 16.
F8, FEW = t("f8e4m3fn", 16, 32), t("bf16", 16, 16)


def products() -> Iterator[Program]:
    if hasattr(A, "_scaled_mm_v2"):  # the product of two scales, and each result times it
        call = lambda a, b, s: A._scaled_mm_v2(  # noqa: E731
            a, b.t(), [s], [0], [0], [s], [0], [0], None, torch.bfloat16)  # fmt: skip
        yield program("_scaled_mm_v2", call, [F8, F8, f32()], FEW, mac=16 * 16 * 32, mul=257)
    # 16 rows, each by a matrix of its own; each result by two scales.
    grouped = lambda a, b, s, r, n: A._scaled_grouped_mm(  # noqa: E731
        a, b.transpose(1, 2), s, r, n, None, None, torch.bfloat16)  # fmt: skip
    yield program("_scaled_grouped_mm", grouped, [F8, t("f8e4m3fn", 4, 16, 32), f32(16), f32(4, 16), t("i32", 4)], FEW,
                  mac=16 * 16 * 32, mul=512)  # fmt: skip
    # 8 rows by 64 x 16 weights of 4 bits: each widened, scaled and moved once.
    few = {"mac": 8 * 16 * 64, "convert": 1024, "mul": 1024, "add": 1024}
    yield program(
        "_weight_int4pack_mm",
        lambda a, b, s: A._weight_int4pack_mm(a, b, 32, s),
        [t("bf16", 8, 64), t("i32", 2, 1, 32, 4), t("bf16", 2, 16, 2)],
        t("bf16", 8, 16),
        **few,
    )
    yield program(
        "_weight_int4pack_mm_for_cpu",
        lambda a, b, s: A._weight_int4pack_mm_for_cpu(a, b, 32, s),
        [f32(8, 64), t("u8", 16, 32), f32(2, 16, 2)],
        f32(8, 16),
        **few,
    )
    if hasattr(A, "_weight_int4pack_mm_with_scales_and_zeros"):
        call = lambda a, b, s, z: A._weight_int4pack_mm_with_scales_and_zeros(a, b, 32, s, z)  # noqa: E731
        yield program(
            "_weight_int4pack_mm_with_scales_and_zeros",
            call,
            [t("f16", 8, 64), t("i32", 16, 8), t("f16", 2, 16), t("f16", 2, 16)],
            t("f16", 8, 16),
            **few,
        )
    yield program("ger", A.ger, [f32(4), f32(3)], f32(4, 3), mac=12)


def matrices() -> Iterator[Program]:
    """Two of 4 x 4, with 3 right sides. In triangles: 6 products and sums of 4 a column."""
    m, y, pivots, info = f32(2, 4, 4), f32(2, 4, 3), t("i32", 2, 4), t("i32", 2)
    triangle = {"mul": 6 * 6, "add": 6 * 6}
    # LU: 3 + 2 + 1 quotients, 9 + 4 + 1 products and differences, 3 + 2 + 1 comparisons for the pivots.
    lu = {"div": 12, "mul": 28, "add": 28, "compare": 12}
    solved = {"div": 12 + 24, "mul": 28 + 72, "add": 28 + 72, "compare": 12}
    for name in ("linalg_lu_factor_ex", "_lu_with_info"):
        yield program(name, op(name), [m], [m, pivots, info], **lu)
    yield program("linalg_lu", A.linalg_lu, [m], [m, m, m], **lu)
    yield program("linalg_solve_ex", A.linalg_solve_ex, [m, y], [y, info], **solved)
    yield program("_linalg_solve_ex", A._linalg_solve_ex, [m, y], [y, m, pivots, info], **solved)
    yield program("_linalg_det", A._linalg_det, [m], [f32(2), m, pivots], **{**lu, "mul": 28 + 2 * 3})
    yield program("_linalg_slogdet", A._linalg_slogdet, [m], [f32(2), f32(2), m, pivots],
                  **{**lu, "add": 28 + 2 * 3}, log=8, logic=16)  # fmt: skip
    yield program("triangular_solve", A.triangular_solve, [y, m], [y, m], **triangle, div=24)
    # Two triangles.
    yield program("_cholesky_solve_helper", lambda y, m: A._cholesky_solve_helper(y, m, False), [y, m], y,
                  mul=72, add=72, div=48)  # fmt: skip
    # Two triangles with ones on the diagonal, and the diagonal between them.
    yield program("linalg_ldl_solve", A.linalg_ldl_solve, [m, pivots, y], y, mul=72, add=72, div=24)
    yield program("_linalg_check_errors", lambda i: A._linalg_check_errors(i, "x", is_matrix=False), [info], [])


def samples(n: int, k: int, places: int, linear: int) -> dict[str, int]:
    """N coordinates of places in images of 4 channels, k pixels each."""
    made = places * 4
    return {
        "mul": n + k * made + k * places * linear,
        "add": n + 2 * n + (k - 1) * made,
        "compare": 4 * n,
        "convert": n,
    }


def resampled() -> Iterator[Program]:
    # By axis: where each of 16 results is (a product), and which element that is.
    for name, more in (("upsample_nearest", {}), ("_upsample_nearest_exact", {"add": 2})):
        for n, into, made, places in ((1, f32(2, 4, 8), f32(2, 4, 16), 16),
                                      (3, f32(2, 4, 3, 3, 3), f32(2, 4, 6, 6, 6), 18)):  # fmt: skip
            call = lambda x, name=f"{name}{n}d", made=made: op(name)(x, made.shape[2:])  # noqa: E731
            work = {"mul": places, "convert": places} | {kind: times * places for kind, times in more.items()}
            yield program(f"{name}{n}d", call, [into], made, **work)
    # 2 x 9 places of 2 coordinates: by coordinate unnormalised, 2 weights, 4 comparisons; 4 pixels for 4 channels.
    work = {"mul": 36 + 4 * 72 + 4 * 18, "add": 36 + 72 + 3 * 72, "compare": 144, "convert": 36}
    grid = [IMAGE, f32(2, 3, 3, 2)]
    for name in ("grid_sampler_2d", "_grid_sampler_2d_cpu_fallback"):
        call = lambda x, g, name=name: op(name)(x, g, 0, 0, False)  # noqa: E731
        yield program(name, call, grid, f32(2, 4, 3, 3), **work)
    yield program("cudnn_grid_sampler", A.cudnn_grid_sampler, grid, f32(2, 4, 3, 3), **work)
    # 30 places by a map of 2 x 3, and 5 + 6 coordinates.
    yield program("affine_grid_generator", lambda m: A.affine_grid_generator(m, [2, 4, 5, 6], False), [f32(2, 2, 3)],
                  f32(2, 5, 6, 2), mac=60 * 2 * 3, mul=11, add=11)  # fmt: skip


def pools() -> Iterator[Program]:
    # 2 x 4 images in 2 x 2 cells: sums of 16, then a quotient; in 2 x 2 x 2: of 8.
    yield program("_adaptive_avg_pool2d", lambda x: A._adaptive_avg_pool2d(x, [2, 2]), [IMAGE], f32(2, 4, 2, 2),
                  add=32 * 15, div=32)  # fmt: skip
    solid, made, places = f32(2, 4, 4, 4, 4), f32(2, 4, 2, 2, 2), t("i64", 2, 4, 2, 2, 2)
    yield program("_adaptive_avg_pool3d", lambda x: A._adaptive_avg_pool3d(x, [2] * 3), [solid], made, add=448, div=64)
    yield program("adaptive_max_pool3d", lambda x: A.adaptive_max_pool3d(x, [2] * 3), [solid], [made, places],
                  compare=64 * 7)  # fmt: skip
    yield program("max_pool3d_with_indices", lambda x: A.max_pool3d_with_indices(x, [2] * 3), [solid], [made, places],
                  compare=64 * 7)  # fmt: skip
    yield program("max_pool1d_with_indices", lambda x: A.max_pool1d_with_indices(x, [2]), [f32(2, 4, 8)],
                  [f32(2, 4, 4), t("i64", 2, 4, 4)], compare=32)  # fmt: skip
    yield program("fractional_max_pool3d", lambda x, r: A.fractional_max_pool3d(x, [2] * 3, [2] * 3, r),
                  [solid, f32(2, 4, 3)], [made, places], compare=64 * 7)  # fmt: skip
    # The share of each of 32 gradients, added where it came from.
    yield program("_adaptive_avg_pool2d_backward", A._adaptive_avg_pool2d_backward, [f32(2, 4, 2, 2), IMAGE], IMAGE,
                  "estimate", div=32, add=512)  # fmt: skip


U8, I8, SCALE = t("u8", 4, 8), t("i8", 4, 8), (0.1, 3)
QUANTISED = {"div": 32, "convert": 32, "add": 32, "compare": 64}
BACK = {"convert": 32, "mul": 32, "add": 32}


def quantised() -> Iterator[Program]:
    by_row = [f32(4), t("i64", 4)]
    of_rows = [f32(4, 1), t("i64", 4, 1)]
    groups = [f32(4, 2), f32(4, 2)]
    ends = (-128, 127)
    yield program(
        "quantized_decomposed::quantize_per_channel",
        lambda x, s, z: D.quantize_per_channel(x, s, z, 0, *ends, torch.int8),
        [X, *by_row],
        I8,
        **QUANTISED,
    )
    yield program(
        "quantized_decomposed::quantize_per_token",
        lambda x, s, z: D.quantize_per_token(x, s, z, *ends, torch.int8),
        [X, *of_rows],
        I8,
        **QUANTISED,
    )
    yield program("quantized_decomposed::quantize_per_channel_group",
                  lambda x, s, z: D.quantize_per_channel_group(x, s, z, *ends, torch.int8, 4), [X, *groups], I8,
                  **QUANTISED)  # fmt: skip
    yield program(
        "quantized_decomposed::dequantize_per_channel",
        lambda x, s, z: D.dequantize_per_channel(x, s, z, 0, *ends, torch.int8),
        [I8, *by_row],
        X,
        **BACK,
    )
    yield program("quantized_decomposed::dequantize_per_token",
                  lambda x, s, z: D.dequantize_per_token(x, s, z, *ends, torch.int8, torch.float32), [I8, *of_rows], X,
                  **BACK)  # fmt: skip
    yield program("quantized_decomposed::dequantize_per_channel_group",
                  lambda x, s, z: D.dequantize_per_channel_group(x, s, z, *ends, torch.int8, 4, torch.float32),
                  [I8, *groups], X, **BACK)  # fmt: skip
    both = {"div": 32, "convert": 32, "compare": 64, "mul": 32, "add": 64}  # rounded, but a float all the way
    yield program(
        "quantized_decomposed::fake_quant_per_channel",
        lambda x, s, z: D.fake_quant_per_channel(x, s, z, 0, *ends),
        [X, *by_row],
        X,
        **both,
    )
    yield program(
        "fake_quantize_per_channel_affine",
        lambda x, s, z: A.fake_quantize_per_channel_affine(x, s, z, 0, *ends),
        [X, *by_row],
        X,
        **both,
    )
    yield program("fake_quantize_per_channel_affine_cachemask",
                  lambda x, s, z: A.fake_quantize_per_channel_affine_cachemask(x, s, z, 0, *ends), [X, *by_row],
                  [X, B], **both)  # fmt: skip
    yield program(
        "fake_quantize_per_tensor_affine_cachemask",
        lambda x: A.fake_quantize_per_tensor_affine_cachemask(x, 0.1, 0, *ends),
        [X],
        [X, B],
        **both,
    )
    yield program("_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
                  lambda x, s, z, on: A._fake_quantize_per_tensor_affine_cachemask_tensor_qparams(x, s, z, on, *ends),
                  [X, f32(1), t("i32", 1), t("i64", 1)], [X, B], **both)  # fmt: skip
    yield program("_fake_quantize_learnable_per_channel_affine",
                  lambda x, s, z: A._fake_quantize_learnable_per_channel_affine(x, s, z, 0, *ends),
                  [X, f32(4), f32(4)], X, **both)  # fmt: skip
    yield program("_fake_quantize_learnable_per_tensor_affine",
                  lambda x, s, z: A._fake_quantize_learnable_per_tensor_affine(x, s, z, *ends), [X, f32(1), f32(1)], X,
                  **both)  # fmt: skip
    yield program("quantize_per_channel", lambda x, s, z: A.quantize_per_channel(x, s, z, 0, torch.qint8),
                  [X, *by_row], I8, **QUANTISED)  # fmt: skip
    # The smallest and the largest first, and a scale and a zero point from them.
    yield program("quantize_per_tensor_dynamic", lambda x: A.quantize_per_tensor_dynamic(x, torch.quint8, False), [X],
                  U8, compare=4 * 32 + 2, add=34, div=34, convert=33)  # fmt: skip
    yield program("quantized::mul_relu", lambda a, b: Q.mul_relu(a, b, *SCALE), [U8, U8], U8,
                  add=64 + 32, mul=32 + 32, convert=32, compare=64)  # fmt: skip
    yield program("quantized::cat_relu", lambda a, b: Q.cat_relu([a, b], 1, *SCALE), [U8, U8], t("u8", 4, 16),
                  add=128, mul=128, convert=128, compare=128)  # fmt: skip
    for n, shape in (("", (1, 4, 5, 5)), ("1d", (1, 4, 25)), ("2d", (1, 4, 5, 5)), ("3d", (1, 4, 1, 5, 5))):
        for relu in ("", "_relu"):  # a rectifier is the lower bound that results are kept in
            name = f"quantized::batch_norm{n}{relu}"
            call = lambda *given, name=name: op(name)(*given, 1e-5, *SCALE)  # noqa: E731
            yield program(name, call, [t("u8", *shape), *[f32(4)] * 4], t("u8", *shape), mul=104 + 200, add=108 + 200,
                          sqrt=4, div=4, convert=200, compare=200)  # fmt: skip


ROWS = [
    *elements(), *without_work(), *drawn(), *folded(), *convolutions(), *normalisations(), *attention(), *products(),
    *matrices(), *resampled(), *pools(), *quantised(),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rows(row: Program) -> None:
    check_program(row)


# Lists of tensors. ----------------------------------------------------------------------------------------------------

OF_ONE = {"neg": "logic", "exp": "exp", "sqrt": "sqrt", "abs": "logic"}
OF_TWO = {"add": "add", "sub": "add", "mul": "mul", "div": "div", "maximum": "compare"}
TIMES_SUM = {"mul": 64, "add": 32}
EACH: list[tuple[str, Callable[..., Any], dict[str, int]]] = [
    *((f"_foreach_{name}", lambda x, y, name=name: op(f"_foreach_{name}")([x, y]), {kind: 64})
      for name, kind in OF_ONE.items()),
    *((f"_foreach_{name}", lambda x, y, name=name: op(f"_foreach_{name}")([x, y], [y, x]), {kind: 64})
      for name, kind in OF_TWO.items()),
    *((f"_foreach_{name}.Scalar", lambda x, y, name=name: op(f"_foreach_{name}")([x, y], 2.0), {kind: 64})
      for name, kind in OF_TWO.items() if name != "maximum"),
    ("_foreach_add_", lambda x, y: A._foreach_add_([x, y], [y, x]), {"add": 64}),
    ("_foreach_mul.Tensor", lambda x, y: A._foreach_mul([x, y], x[0, 0]), {"mul": 64}),
    ("_foreach_zero_", lambda x, y: A._foreach_zero_([x, y]), {}),
    ("_foreach_copy_", lambda x, y: A._foreach_copy_([x], [y]), {}),
    ("_foreach_pow", lambda x, y: A._foreach_pow([x, y], 2.0), {"mul": 64}),
    ("_foreach_clamp_max", lambda x, y: A._foreach_clamp_max([x, y], 2.0), {"compare": 64}),
    ("_foreach_max", lambda x, y: A._foreach_max([x, y]), {"compare": 62}),
    ("_foreach_norm", lambda x, y: A._foreach_norm([x, y]), {"mul": 64, "add": 62, "sqrt": 2}),
    ("_foreach_lerp", lambda x, y: A._foreach_lerp([x, y], [y, x], 0.5), {"add": 128, "mul": 64}),
    ("_foreach_addcmul", lambda x, y: A._foreach_addcmul([x], [y], [y], 2.0), TIMES_SUM),
    ("_foreach_addcdiv_", lambda x, y: A._foreach_addcdiv_([x], [y], [y], [2.0]), {"mul": 32, "div": 32, "add": 32}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call", "work"), EACH, ids=lambda one: one if isinstance(one, str) else "")
def test_lists_of_tensors(name: str, call: Any, work: dict[str, int]) -> None:
    report = macsim.count(call, (4, 8), (4, 8))
    assert {kind: n for kind, n in report.work.items() if n} == work
    assert report.trust == "exact"


# Torchvision, which need not be there: its schemas are. ---------------------------------------------------------------

BOXES = "Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
VISION = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align(Tensor input, {BOXES}, int sampling_ratio, bool aligned) -> Tensor",
    f"ps_roi_align(Tensor input, {BOXES}, int sampling_ratio) -> (Tensor, Tensor)",
    f"roi_pool(Tensor input, {BOXES}) -> (Tensor, Tensor)",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, SymInt "
    "stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups, SymInt offset_groups, "
    "bool use_mask) -> Tensor",
)


@pytest.fixture(scope="module")
def vision() -> Iterator[Any]:
    if torch.library._is_defined("torchvision::nms") if hasattr(torch.library, "_is_defined") else False:
        yield torch.ops.torchvision
        return
    with torch.library._scoped_library("torchvision", "FRAGMENT") as held:
        for schema in VISION:
            if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
                held.define(schema)
        yield torch.ops.torchvision


def test_boxes_that_do_not_overlap(vision: Any) -> None:
    report = macsim.count(lambda boxes, scores: vision.nms(boxes, scores, 0.5), (10, 4), (10,))
    assert [symbol.name for symbol in report.unbound] == ["nms.nonzeros"]
    assert report.bind({"nms.nonzeros": 7}).outputs[0].shape == (7,)
    with pytest.raises(macsim.RequestError):
        report.bind({"nms.nonzeros": 11})


# 3 regions of 2 x 2 cells of 2 x 2 samples, 4 channels: 48 samples of 4 pixels.
SAMPLED = {"mul": 6 * 48 + 4 * 192, "add": 6 * 48 + 3 * 192 + 192 - 48, "div": 48, "compare": 192, "convert": 96}
# 36 places for 9 taps of 2 images: 648 moved in 2 axes, each a sample of 4 pixels for 4 channels; 432 biases.
MOVED = {"mac": 432 * 36, "add": 3 * 2 * 648 + 3 * 2592 + 432, "mul": 4 * 648 + 4 * 2592, "convert": 2 * 648}
OFFSETS = [IMAGE, FILTERS, f32(2, 18, 6, 6)]
REGIONS = [IMAGE, f32(3, 5)]
POOLED, WHERE = f32(3, 4, 2, 2), t("i32", 3, 4, 2, 2)


def seen(name: str, call: Callable[..., Any], *rest: Any, **work: int) -> Program:
    """A row of torchvision's operator of this name, which may not be there yet."""
    return program(f"torchvision::{name}", lambda *given: call(getattr(torch.ops.torchvision, name), *given), *rest,
                   **work)  # fmt: skip


MASK = f32(2, 9, 6, 6)
SEEN = [
    seen("roi_align", lambda o, x, r: o(x, r, 1.0, 2, 2, 2, True), REGIONS, POOLED, **SAMPLED),
    seen("ps_roi_align", lambda o, x, r: o(x, r, 1.0, 2, 2, 2), [f32(2, 16, 8, 8), f32(3, 5)], [POOLED, WHERE],
         **SAMPLED),
    # Cells share edges: 8 + 2 elements along each side at most.
    seen("roi_pool", lambda o, x, r: o(x, r, 1.0, 2, 2), REGIONS, [POOLED, WHERE], "bound", compare=12 * 100),
    seen("deform_conv2d", lambda o, x, w, d, m, b: o(x, w, d, m, b, 1, 1, 0, 0, 1, 1, 1, 1, True),
         [*OFFSETS, MASK, BIAS], MADE, **{**MOVED, "mul": MOVED["mul"] + 2592}),
    seen("deform_conv2d", lambda o, x, w, d, m, b: o(x, w, d, m, b, 1, 1, 0, 0, 1, 1, 1, 1, False),
         [*OFFSETS, f32(2, 0, 6, 6), BIAS], MADE, **MOVED),
    # Each of 10 boxes with each: 4 + 2 + 1 + 1 comparisons, an area and the rest of the union, a quotient.
    seen("nms", lambda o, boxes, scores: o(boxes, scores, 0.5), [f32(10, 4), f32(10)], t("i64", "nms.nonzeros"),
         "bound", compare=800, add=400 + 20, mul=100 + 10, div=100),
]  # fmt: skip


@pytest.mark.parametrize("row", SEEN, ids=str)
def test_torchvision(row: Program, vision: Any) -> None:
    check_program(row)
