# Plain spellings, and whether every spelling of the registry stands in some truth row.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The rest of torch's spellings, called by their names: worked out by hand. None may be without a row."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from truth import Program, check_program, f32, program, t

torch = pytest.importorskip("torch")
importlib.import_module("torch.ao.quantization.fx._decomposed")
pytestmark = pytest.mark.filterwarnings("ignore")
A, P, D = torch.ops.aten, torch.ops.prims, torch.ops.quantized_decomposed
META = torch.device("meta")


def op(name: str) -> Any:
    library, _, packet = name.rpartition("::")
    return getattr(getattr(torch.ops, library or "aten"), packet)


X, L, B = f32(4, 8), t("i64", 4, 8), t("bool", 4, 8)
# What one element takes, of one operand.
OF_ONE: list[tuple[str, dict[str, int]]] = [
    ("abs neg sign prims::abs prims::sign", {"logic": 1}),
    ("ceil floor round prims::ceil prims::floor prims::round prims::trunc", {"convert": 1}),
    ("reciprocal prims::reciprocal", {"div": 1}),
    ("sqrt prims::sqrt", {"sqrt": 1}),
    ("prims::rsqrt", {"sqrt": 1, "div": 1}),
    ("exp erf tanh prims::exp prims::exp2 prims::erf prims::tanh", {"exp": 1}),
    ("prims::expm1 prims::erfc", {"exp": 1, "add": 1}),
    ("log prims::log prims::log2 prims::log10", {"log": 1}),
    ("prims::log1p", {"log": 1, "add": 1}),
    ("sin cos prims::sin prims::cos", {"trig": 1}),
    ("relu", {"compare": 1}),
    ("leaky_relu rrelu", {"compare": 1, "mul": 1}),
    # alpha (exp(x) - 1) where x is negative; scaled again.
    ("elu", {"compare": 1, "exp": 1, "add": 1, "mul": 1}),
    ("selu", {"compare": 1, "exp": 1, "add": 1, "mul": 2}),
    # max(0, x) + min(0, alpha (exp(x / alpha) - 1)).
    ("celu", {"compare": 2, "add": 2, "exp": 1, "mul": 1, "div": 1}),
    ("sigmoid", {"exp": 1, "add": 1, "div": 1}),
    # x / 6 + 1 / 2 between 0 and 1; times x.
    ("hardsigmoid", {"mul": 1, "add": 1, "compare": 2}),
    ("hardswish", {"mul": 2, "add": 1, "compare": 2}),
    # log(1 + exp(x)); x tanh of that.
    ("softplus", {"exp": 1, "add": 1, "log": 1}),
    ("mish", {"exp": 2, "add": 1, "log": 1, "mul": 1}),
    ("softshrink", {"compare": 2, "add": 1}),
]
OF_TWO: list[tuple[str, dict[str, int]]] = [
    ("prims::sub", {"add": 1}),
    ("mul prims::mul", {"mul": 1}),
    ("prims::div", {"div": 1}),
    ("prims::pow", {"log": 1, "mul": 1, "exp": 1}),
    ("maximum prims::maximum", {"compare": 1}),
    ("prims::atan2", {"trig": 1}),
    ("prims::hypot", {"mul": 2, "add": 1, "sqrt": 1}),
]


def elements() -> Iterator[Program]:
    for inputs, table in (([X], OF_ONE), ([X, X], OF_TWO)):
        for names, work in table:
            for name in names.split():
                yield program(name, op(name), inputs, X, **{kind: 32 * n for kind, n in work.items()})
    for name in ("ne", "lt", "gt", "prims::ne", "prims::lt", "prims::gt"):
        yield program(name, op(name), [X, X], B, compare=32)
    yield program("isnan", A.isnan, [X], B, compare=32)
    yield program("prims::signbit", P.signbit, [X], X, logic=32)  # without storage torch says f32
    yield program("threshold", lambda x: A.threshold(x, 0.5, 0.0), [X], X, compare=32)
    yield program("clip", lambda x: A.clip(x, 0.0, 1.0), [X], X, compare=64)
    yield program("prelu", A.prelu, [X, f32(8)], X, compare=32, mul=32)
    yield program("prims::where", P.where, [B, X, X], X, logic=32)
    yield program("type_as", A.type_as, [L, X], X, convert=32)
    # 7/12 of 64 bits are 37 steps.
    yield program("prims::gcd", P.gcd, [L, L], L, "estimate", div=32 * 37)
    for name in ("prims::lgamma", "prims::bessel_j0"):
        yield program(name, op(name), [X], X, "estimate", exp=32)
    yield program("alpha_dropout", lambda x: A.alpha_dropout(x, 0.5, False), [X], X)


# One of Philox's numbers: 5 mul, 5 add, 10 logic, 1 convert.
DRAWN = {"mul": 5 * 32, "add": 5 * 32, "logic": 10 * 32, "convert": 32}


def moved() -> Iterator[Program]:
    """Views, copies, new tensors: no work."""
    index, meta = t("i64", 3), {"device": META}
    for name, call, inputs, made in (
        *((name, op(name), [X], X) for name in ("detach", "alias", "lift_fresh", "positive", "contiguous", "coalesce",
                                                "prims::clone", "zeros_like", "ones_like", "empty_like", "zero",
                                                "triu", "tril", "to_dense")),
        *((name, op(name), [X], f32(8, 4)) for name in ("t", "mT")),
        *((name, op(name), [X], f32(32)) for name in ("flatten", "ravel")),
        *((name, lambda x, name=name: op(name)(x, [2, 16]), [X], f32(2, 16)) for name in ("view", "reshape", "resize")),
        *((name, lambda x, name=name: op(name)(x, [3, 4, 8]), [X], f32(3, 4, 8))
          for name in ("expand", "broadcast_to")),
        *((name, lambda x, name=name: op(name)(x, 2), [X], [f32(2, 8)] * 2) for name in ("split", "chunk")),
        *((name, lambda *x, name=name: op(name)(x, 1), [X, f32(4, 3)], f32(4, 11))
          for name in ("concat", "prims::cat")),
        ("requires_grad", A.requires_grad_, [X], X),
        ("set", lambda x, y: x.set_(y), [X, f32(3)], f32(3)),
        ("resize_as", A.resize_as, [X, f32(2, 16)], f32(2, 16)),
        ("real", A.real, [t("c64", 4, 8)], X),
        ("unflatten", lambda x: A.unflatten(x, 1, [2, 4]), [X], f32(4, 2, 4)),
        ("squeeze", lambda x: A.squeeze(x, 1), [f32(4, 1, 8)], X),
        ("unsqueeze", lambda x: A.unsqueeze(x, 1), [X], f32(4, 1, 8)),
        ("unfold", lambda x: A.unfold(x, 1, 3, 2), [X], f32(4, 3, 3)),
        ("diagonal", A.diagonal, [X], f32(4)),
        ("transpose", lambda x: A.transpose(x, 0, 1), [X], f32(8, 4)),
        ("permute", lambda x: A.permute(x, [1, 0]), [X], f32(8, 4)),
        ("copy", A.copy, [X, X], X),
        ("tile", lambda x: A.tile(x, [2, 3]), [X], f32(8, 24)),
        ("pixel_unshuffle", lambda x: A.pixel_unshuffle(x, 2), [f32(1, 2, 6, 6)], f32(1, 8, 3, 3)),
        ("channel_shuffle", lambda x: A.channel_shuffle(x, 2), [f32(1, 4, 3, 3)], f32(1, 4, 3, 3)),
        ("slice", lambda x: A.slice(x, 1, 1, 8, 2), [X], f32(4, 4)),
        ("select", lambda x: A.select(x, 1, 2), [X], f32(4)),
        ("narrow", lambda x: A.narrow(x, 1, 2, 3), [X], f32(4, 3)),
        ("unbind", A.unbind, [f32(2, 8)], [f32(8)] * 2),
        ("take", A.take, [X, index], f32(3)),
        ("index", lambda x, i: A.index(x, [i]), [X, index], f32(3, 8)),
        ("masked_select", A.masked_select, [X, B], f32("masked_select.nonzeros")),
        ("scatter", lambda x, i, y: A.scatter(x, 1, i, y), [X, L, X], X),
        *((name, lambda name=name: op(name)([4, 8], **meta), [], X) for name in ("zeros", "ones", "empty")),
        ("full", lambda: A.full([4, 8], 2.0, **meta), [], X),
        ("prims::full", lambda: P.full([4, 8], 2.0, dtype=torch.float32, requires_grad=False, **meta), [], X),
        *((name, lambda x, name=name: op(name)(x, 2.0), [X], X) for name in ("fill", "prims::fill")),
        ("new_zeros", lambda x: A.new_zeros(x, [3]), [X], f32(3)),
        ("scalar_tensor", lambda: A.scalar_tensor(2.0, **meta), [], f32()),
        ("prims::scalar_tensor", lambda: P.scalar_tensor(2.0, dtype=torch.float32, **meta), [], f32()),
    ):  # fmt: skip
        yield program(name, call, inputs, made)
    for name in ("scatter_add", "index_add"):
        many = [X, L, X] if name == "scatter_add" else [X, t("i64", 4), X]
        yield program(name, lambda x, i, y, name=name: op(name)(x, 1 if name == "scatter_add" else 0, i, y), many, X,
                      add=32)  # fmt: skip


def counted() -> Iterator[Program]:
    """Reductions, what is found, numbers in a row and at random."""
    for name in ("any", "all"):
        yield program(name, op(name), [B], t("bool"), compare=31)
    yield program("min", A.min, [X], f32(), compare=31)
    yield program("norm", A.norm, [X], f32(), mul=32, add=31, sqrt=1)
    # One more where each falls; as many places as the largest says, and no fewer than asked for.
    yield program("bincount", lambda x: A.bincount(x, minlength=8), [t("i64", 32)], t("i64", "max(bincount.length, 8)"),
                  add=32)  # fmt: skip
    for name in ("nonzero", "argwhere"):
        yield program(name, op(name), [X], t("i64", f"{name}.nonzeros", 2), compare=32)
    yield program("one_hot", lambda x: A.one_hot(x, 8), [t("i64", 4)], L, compare=32)
    # 32 sorted: 5 levels; then neighbours.
    few, none = "nonzeros", t("i64", 0)
    yield program("_unique", A._unique, [X], [f32(f"unique.{few}"), none], "bound", compare=32 * 6)
    yield program("_unique2", lambda x: A._unique2(x, True, True, True), [X],
                  [f32(f"unique2.{few}"), L, t("i64", f"unique2.{few}")], "bound", compare=32 * 6)  # fmt: skip
    # 4 rows sorted, where two are compared by 8 elements each: 2 levels.
    yield program("unique_dim", lambda x: A.unique_dim(x, 0, True, True, True), [X],
                  [f32(f"unique_dim.{few}", 8), t("i64", 4), t("i64", f"unique_dim.{few}")], "bound",
                  compare=32 * 3)  # fmt: skip
    # Neighbours alone.
    yield program("unique_consecutive", A.unique_consecutive, [X], [f32(f"unique_consecutive.{few}"), none, none],
                  "bound", compare=32)  # fmt: skip
    yield program("unique_dim_consecutive", lambda x: A.unique_dim_consecutive(x, 0), [X],
                  [f32(f"unique_dim_consecutive.{few}", 8), none, none], "bound", compare=32)  # fmt: skip
    for name in ("_cummax_helper", "_cummin_helper"):  # 4 rows of 8, into tensors that are there

        def into(x: Any, values: Any, places: Any, name: str = name) -> Any:
            op(name)(x, values, places, 1)
            return values, places

        yield program(name, into, [X, X, L], [X, L], compare=28)
    yield program("arange", lambda: A.arange(8, device=META), [], t("i64", 8), mul=8, add=8)
    yield program("linspace", lambda: A.linspace(0.0, 1.0, 8, device=META), [], f32(8), mul=8, add=8)
    for name in ("rand", "uniform"):
        call = A.uniform if name == "uniform" else lambda x: A.rand([4, 8], device=META)
        yield program(name, call, [X], X, "estimate", **DRAWN)
    # Times how many there are to choose from.
    yield program("randint", lambda: A.randint(5, [4, 8], device=META), [], L, "estimate", **{**DRAWN, "mul": 6 * 32})
    # Two of them make two normal ones: a logarithm, a root, a sine and a cosine, 4 products.
    normal = {**DRAWN, "mul": 5 * 32 + 64, "log": 16, "sqrt": 16, "trig": 32}
    yield program("randn", lambda: A.randn([4, 8], device=META), [], X, "estimate", **normal)
    # Times a deviation, around a mean: of all, or of each; between ends that are 4 apart.
    spread = {"mul": normal["mul"] + 32, "add": normal["add"] + 32}
    yield program("normal", lambda x: x.normal_(1.0, 0.02), [X], X, "estimate", **{**normal, **spread})
    yield program("normal", A.normal, [X, X], X, "estimate", **{**normal, **spread})
    yield program("uniform", lambda x: x.uniform_(-1.0, 3.0), [X], X, "estimate", **{**DRAWN, "mul": 192, "add": 192})


# 4 channels to 6 by 3 x 3 filters: 36 products for each of 2 * 6 * 36 results; 6 queries and keys in 2 x 3 heads of 8.
STEPS, PAIRS = t("f16", 2, 6, 3, 8), 6 * 36
ATTENDED = {"mac": 2 * PAIRS * 8, "mul": PAIRS, "compare": 36 * 5, "add": PAIRS + 36 * 5, "exp": PAIRS, "div": PAIRS}
C = f32(4)


def layers() -> Iterator[Program]:
    yield program("convolution", lambda x, w, b: A.convolution(x, w, b, [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
                  [f32(2, 4, 8, 8), f32(6, 4, 3, 3), f32(6)], f32(2, 6, 6, 6), mac=432 * 36, add=432)  # fmt: skip
    # 7 steps of 2, 4 channels to 6 over 3 steps: 5 * 2 * 6 results.
    yield program("conv_tbc", A.conv_tbc, [f32(7, 2, 4), f32(3, 4, 6), f32(6)], f32(5, 2, 6), mac=60 * 12, add=60)
    yield program("_flash_attention_forward",
                  lambda q, k, v: A._flash_attention_forward(q, k, v, None, None, 6, 6, 0.0, False, False), [STEPS] * 3,
                  [STEPS, f32(2, 3, 6), t("u64", 2), t("u64"), t("f16", 0)], **ATTENDED)  # fmt: skip
    # In evaluation: scale and shift once for each of 4 channels, then a product and a sum for each of 512.
    yield program("native_batch_norm", lambda x, w, b, m, v: A.native_batch_norm(x, w, b, m, v, False, 0.1, 1e-5),
                  [f32(2, 4, 8, 8), C, C, C, C], [f32(2, 4, 8, 8), C, C], mul=516, add=520, sqrt=4,
                  div=4)  # fmt: skip
    # Windows of 2.
    yield program("adaptive_max_pool1d", lambda x: A.adaptive_max_pool1d(x, 4), [X], [f32(4, 4), t("i64", 4, 4)],
                  compare=16)  # fmt: skip
    # 12 coordinates: 2 adds for the centres, 2 for the weights; at 64 places 4 products of two weights and 8 with the
    # third; 128 results of 8 products and 7 sums.
    yield program("upsample_trilinear3d", lambda x: A.upsample_trilinear3d(x, [4] * 3, False), [f32(1, 2, 2, 2, 2)],
                  f32(1, 2, 4, 4, 4), mul=12 + 64 * 12 + 128 * 8, add=4 * 12 + 128 * 7, convert=12)  # fmt: skip
    # 16 coordinates, 4 distances to each: 2 inner cubics (3 mul, 2 add) and 2 outer ones (3 mul, 3 add), and 4 adds for
    # the distances; at 64 places 16 products of two weights; 128 results of 16 products and 15 sums.
    yield program("upsample_bicubic2d", lambda x: A.upsample_bicubic2d(x, [8, 8], False), [f32(1, 2, 4, 4)],
                  f32(1, 2, 8, 8), mul=16 * 13 + 64 * 16 + 128 * 16, add=16 * (2 + 10 + 4) + 128 * 15,
                  convert=16)  # fmt: skip
    # 24 coordinates; at 8 places 4 products and 8 with the third; 24 results.
    yield program("grid_sampler_3d", lambda x, g: A.grid_sampler_3d(x, g, 0, 0, False),
                  [f32(1, 3, 5, 5, 5), f32(1, 2, 2, 2, 3)], f32(1, 3, 2, 2, 2), mul=24 + 8 * 12 + 24 * 8,
                  add=24 + 48 + 24 * 7, compare=96, convert=24)  # fmt: skip
    # Without a pattern of zeros: all of it.
    yield program("_sparse_mm", A._sparse_mm, [X, f32(8, 3)], f32(4, 3), mac=96)
    yield program("_sparse_addmm", A._sparse_addmm, [f32(4, 3), X, f32(8, 3)], f32(4, 3), mac=96, add=12)
    for name in ("to_sparse_csr", "to_sparse_csc"):
        yield program(name, op(name), [X], X, compare=32)
    for name in ("to_sparse_bsr", "to_sparse_bsc"):
        yield program(name, lambda x, name=name: op(name)(x, [2, 2]), [X], X, compare=32)


def ranges() -> Iterator[Program]:
    """Rows of 8, 4 of them, or 32 numbers at once."""
    scales = [t("f64", 4, 1), t("i64", 4, 1)]
    # The largest magnitude and a least one for it, over how many steps there are.
    yield program("quantized_decomposed::choose_qparams_symmetric",
                  lambda x: D.choose_qparams_symmetric(x, -127, 127, 1e-5, torch.int8), [X],
                  [t("f64", 1), t("i64", 1)], logic=32, compare=31 + 1, div=1)  # fmt: skip
    yield program("quantized_decomposed::choose_qparams_per_token", lambda x: D.choose_qparams_per_token(x, torch.int8),
                  [X], scales, logic=32, compare=28 + 4, div=4)  # fmt: skip
    # The smallest and the largest of 0 and 8 numbers, their difference over the steps; how many steps 0 is above the
    # lower end, rounded and kept in bounds.
    yield program("quantized_decomposed::choose_qparams_per_token_asymmetric",
                  lambda x: D.choose_qparams_per_token_asymmetric(x, torch.int8), [X], scales,
                  compare=4 * (16 + 2), add=8, div=8, convert=4)  # fmt: skip


ROWS = [*elements(), *moved(), *counted(), *layers(), *ranges()]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rows(row: Program) -> None:
    check_program(row)
