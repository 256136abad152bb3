# Gradients that are operators of their own, as graphs of training steps and torch.func write them.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""ATen's `_backward` operators: worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from truth import Program, check_program, f32, program, t

import macsim

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")
A = torch.ops.aten
X = f32(4, 8)


def pools() -> Iterator[Program]:
    image, volume = f32(2, 3, 8, 8), f32(2, 3, 8, 8, 8)
    small, less = f32(2, 3, 4, 4), f32(2, 3, 4, 4, 4)  # 96 and 384 elements
    places, more = t("i64", 2, 3, 4, 4), t("i64", 2, 3, 4, 4, 4)
    # Each to where it was.
    yield program(
        "max_pool3d_with_indices_backward",
        lambda d, x, i: A.max_pool3d_with_indices_backward(d, x, [2] * 3, [2] * 3, [0] * 3, [1] * 3, False, i),
        [less, volume, more],
        volume,
        add=384,
    )
    yield program("adaptive_max_pool2d_backward", A.adaptive_max_pool2d_backward, [small, image, places], image, add=96)
    yield program("adaptive_max_pool3d_backward", A.adaptive_max_pool3d_backward, [less, volume, more], volume, add=384)
    yield program(
        "fractional_max_pool2d_backward",
        lambda d, x, i: A.fractional_max_pool2d_backward(d, x, [2, 2], [4, 4], i),
        [small, image, places],
        image,
        add=96,
    )
    yield program(
        "fractional_max_pool3d_backward",
        lambda d, x, i: A.fractional_max_pool3d_backward(d, x, [2] * 3, [4] * 3, i),
        [less, volume, more],
        volume,
        add=384,
    )
    # Shares of 8 elements each.
    yield program(
        "avg_pool3d_backward",
        lambda d, x: A.avg_pool3d_backward(d, x, [2] * 3, [2] * 3, [0] * 3, False, True, None),
        [less, volume],
        volume,
        div=384,
        add=3072,
    )
    yield program(
        "_adaptive_avg_pool3d_backward",
        A._adaptive_avg_pool3d_backward,
        [less, volume],
        volume,
        "estimate",
        div=384,
        add=3072,
    )


def resized() -> Iterator[Program]:
    # From sizes of 4 to 8; each coordinate of the larger image a product, linear ones two sums more for where they lie
    # and two for weights, and a conversion each; 2 pixels an axis: products of weights at 8^d places, blended, added.
    for axes, name in ((1, "linear1d"), (2, "bilinear2d"), (3, "trilinear3d")):
        count, places = 3 * 8**axes, 8**axes
        products = sum(places * 2**i for i in range(2, axes + 1))
        yield program(
            f"upsample_{name}_backward",
            lambda d, f=f"upsample_{name}_backward", n=axes: getattr(A, f)(d, [8] * n, [1, 3] + [4] * n, False),
            [f32(1, 3, *[8] * axes)],
            f32(1, 3, *[4] * axes),
            mul=8 * axes + products + 2**axes * count,
            add=4 * 8 * axes + (2**axes - 1) * count + count,
            convert=8 * axes,
        )
    for axes in (1, 2, 3):
        count = 3 * 8**axes
        for kind, where in (("upsample_nearest", 0), ("_upsample_nearest_exact", 2)):
            yield program(
                f"{kind}{axes}d_backward",
                lambda d, f=f"{kind}{axes}d_backward", n=axes: getattr(A, f)(d, [8] * n, [1, 3] + [4] * n),
                [f32(1, 3, *[8] * axes)],
                f32(1, 3, *[4] * axes),
                mul=8 * axes,
                add=where * 8 * axes + count,
                convert=8 * axes,
            )
    # 4 pixels an axis, whose weights take add 14 and mul 12 a coordinate.
    yield program(
        "upsample_bicubic2d_backward",
        lambda d: A.upsample_bicubic2d_backward(d, [8, 8], [1, 3, 4, 4], False),
        [f32(1, 3, 8, 8)],
        f32(1, 3, 4, 4),
        mul=16 + 16 * 12 + 64 * 16 + 16 * 192,
        add=32 + 16 * 14 + 15 * 192 + 192,
        convert=16,
    )
    # To 4 from 8: 4 linear weights an axis and coordinate, 8 cubic ones; see the operators themselves.
    for name, taps, (adds, muls) in (("bilinear", 4, (3, 1)), ("bicubic", 8, (5, 4))):
        yield program(
            f"_upsample_{name}2d_aa_backward",
            lambda d, f=f"_upsample_{name}2d_aa_backward": getattr(A, f)(d, [4, 4], [1, 3, 8, 8], False),
            [f32(1, 3, 4, 4)],
            f32(1, 3, 8, 8),
            "bound",
            mul=8 + 2 * muls * 4 * taps + taps * taps * 16 + taps * taps * 48,
            add=16 + 2 * (adds * 4 * taps - 4) + (taps * taps - 1) * 48 + 48,
            div=2 * 4 * taps,
            convert=8,
        )


def sampled() -> Iterator[Program]:
    # 2 x 9 places of 2 coordinates: where, 2 comparisons with either edge, 2 weights; 4 products of weights a place, by
    # which 54 elements go to 4 pixels each. Of the places, by either axis 4 products and sums, times the size.
    yield program(
        "grid_sampler_2d_backward",
        lambda d, x, g: A.grid_sampler_2d_backward(d, x, g, 0, 0, False, [True, True]),
        [f32(2, 3, 3, 3), f32(2, 3, 8, 8), f32(2, 3, 3, 2)],
        [f32(2, 3, 8, 8), f32(2, 3, 3, 2)],
        mul=36 + 4 * 18 + 4 * 54 + 2 * 5 * 54 + 36,
        add=36 + 2 * 36 + 4 * 54 + 2 * 4 * 54,
        compare=4 * 36,
        convert=36,
    )
    # Nearest: to where it was.
    yield program(
        "grid_sampler_3d_backward",
        lambda d, x, g: A.grid_sampler_3d_backward(d, x, g, 1, 0, False, [True, True]),
        [f32(1, 2, 3, 3, 3), f32(1, 2, 4, 4, 4), f32(1, 3, 3, 3, 3)],
        [f32(1, 2, 4, 4, 4), f32(1, 3, 3, 3, 3)],
        mul=81,
        add=81 + 54,
        compare=2 * 81,
        convert=81,
    )
    # 2 margins on each side of 8 are summed into the edges.
    for axes in (1, 2, 3):
        yield program(
            f"replication_pad{axes}d_backward",
            lambda d, x, f=f"replication_pad{axes}d_backward", n=axes: getattr(A, f)(d, x, [2] * 2 * n),
            [f32(1, 3, *[12] * axes), f32(1, 3, *[8] * axes)],
            f32(1, 3, *[8] * axes),
            add=3 * (12**axes - 8**axes),
        )


def others() -> Iterator[Program]:
    for name in ("hardshrink_backward", "softshrink_backward"):
        yield program(name, lambda d, x, name=name: getattr(A, name)(d, x, 0.5), [X, X], X, compare=64, logic=32)
    yield program(
        "masked_scatter_backward",
        lambda d, m: A.masked_scatter_backward(d, m, [4, 8]),
        [X, t("bool", 4, 8)],
        X,
    )
    # 3 x 5 pairs of rows of 4: a factor each, times the difference, summed for 3 rows.
    yield program(
        "_cdist_backward",
        lambda d, a, b, y: A._cdist_backward(d, a, b, 2.0, y),
        [f32(3, 5), f32(3, 4), f32(5, 4), f32(3, 5)],
        f32(3, 4),
        div=15,
        mul=60,
        add=120 - 12,
    )
    # 6 pairs of rows of 5, for both of each.
    yield program(
        "_pdist_backward",
        lambda d, x, y: A._pdist_backward(d, x, 2.0, y),
        [f32(6), f32(4, 5), f32(6)],
        f32(4, 5),
        div=6,
        mul=30,
        add=90 - 20,
    )
    yield program(
        "_segment_reduce_backward",
        lambda d, y, x, n: A._segment_reduce_backward(d, y, x, "mean", lengths=n),
        [f32(2, 4), f32(2, 4), f32(6, 4), t("i64", 2)],
        f32(6, 4),
        div=8,
    )
    # 5 steps of batch 2, 3 labels and 4 blanks; 60 scores.
    yield program(
        "_ctc_loss_backward",
        lambda d, x, y, loss, a: A._ctc_loss_backward(d, x, y, [5, 5], [3, 3], loss, a, 0),
        [f32(2), f32(5, 2, 6), t("i64", 2, 3), f32(2), f32(2, 5, 7)],
        f32(5, 2, 6),
        "bound",
        compare=140,
        exp=280 + 60,
        log=70,
        add=630 + 60,
        mul=60,
    )


def bags() -> Iterator[Program]:
    # 6 rows of 8 picked for 2 bags.
    i, o = t("i64", 6), t("i64", 2)
    yield program(
        "_embedding_bag_backward",
        lambda d, i, o, b, n, m: A._embedding_bag_backward(d, i, o, b, n, m, 10, False, 0, False, None),
        [f32(2, 8), i, o, i, o, o],
        f32(10, 8),
        add=48,
    )
    yield program(
        "_embedding_bag_dense_backward",
        lambda d, i, b, n, m: A._embedding_bag_dense_backward(d, i, b, n, m, 10, False, 1, None),
        [f32(2, 8), i, i, o, o],
        f32(10, 8),
        add=48,
        div=16,
    )
    yield program(
        "_embedding_bag_per_sample_weights_backward",
        lambda d, w, i, o, b: A._embedding_bag_per_sample_weights_backward(d, w, i, o, b, 0),
        [f32(2, 8), f32(10, 8), i, o, i],
        f32(6),
        mac=48,
    )


ROWS = [*pools(), *resized(), *sampled(), *others(), *bags()]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rows(row: Program) -> None:
    check_program(row)


def test_a_gradient_of_a_function_has_no_unknown_part() -> None:
    """torch.func on an image that is enlarged: what goes forward, and what comes back."""

    def enlarged(x: Any) -> Any:
        return torch.nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear").sum()

    report = macsim.count(torch.func.grad(enlarged), (1, 3, 4, 4))
    assert report.trust == "exact"
    assert "aten::upsample_bilinear2d_backward" in {row.op for row in report.rows}
