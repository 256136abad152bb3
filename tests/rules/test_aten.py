"""ATen spellings whose cost or shapes are their own: every row worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from truth import Program, T, check_program, f32, program, t

import macsim

torch = pytest.importorskip("torch")
F = torch.nn.functional


def c64(*shape: int) -> T:
    return t("c64", *shape)


# A product of [.., K] and [K, ..] takes K multiply-adds a result; of complex numbers four times as many.
PRODUCTS = [
    # 2 * 5 rows to 20 outputs, of 10 each; a bias is one add a result.
    program("linear", F.linear, [f32(2, 5, 10), f32(20, 10), f32(20)], f32(2, 5, 20), mac=2000, add=200),
    program("linear", F.linear, [f32(2, 5, 10), f32(20, 10)], f32(2, 5, 20), mac=2000),
    program("linear", F.linear, [f32(10), f32(20, 10)], f32(20), mac=200),
    # A weight that is a vector: one result a row.
    program("linear", F.linear, [f32(3, 10), f32(10)], f32(3), mac=30),
    program("linear", F.linear, [c64(2, 3), c64(4, 3)], c64(2, 4), mac=4 * 24),
    program("linear", F.linear, [t("f16", 2, 3), t("f16", 4, 3)], t("f16", 2, 4), mac=24),
    # By the ranks of both sides.
    program("matmul", torch.matmul, [f32(8), f32(8)], f32(), mac=8),
    program("matmul", torch.matmul, [f32(4, 8), f32(8)], f32(4), mac=32),
    program("matmul", torch.matmul, [f32(8), f32(8, 4)], f32(4), mac=32),
    program("matmul", torch.matmul, [f32(4, 8), f32(8, 5)], f32(4, 5), mac=160),
    program("matmul", torch.matmul, [f32(2, 4, 8), f32(8)], f32(2, 4), mac=64),
    program("matmul", torch.matmul, [f32(8), f32(2, 8, 5)], f32(2, 5), mac=80),
    program("matmul", torch.matmul, [f32(2, 4, 8), f32(8, 5)], f32(2, 4, 5), mac=320),
    program("matmul", torch.matmul, [f32(4, 8), f32(2, 8, 5)], f32(2, 4, 5), mac=320),
    program("matmul", torch.matmul, [f32(2, 4, 8), f32(2, 8, 5)], f32(2, 4, 5), mac=320),
    # Batches [2, 1] and [3] meet in [2, 3]: 6 * 4 * 5 results of 8.
    program("matmul", torch.matmul, [f32(2, 1, 4, 8), f32(3, 8, 5)], f32(2, 3, 4, 5), mac=960),
    program("matmul", torch.matmul, [c64(4, 8), c64(8, 5)], c64(4, 5), mac=4 * 160),
    program("mm", torch.mm, [f32(4, 8), f32(8, 5)], f32(4, 5), mac=160),
    program("bmm", torch.bmm, [f32(2, 4, 8), f32(2, 8, 5)], f32(2, 4, 5), mac=320),
    program("mv", torch.mv, [f32(4, 8), f32(8)], f32(4), mac=32),
    program("dot", torch.dot, [f32(8), f32(8)], f32(), mac=8),
    program("vdot", torch.vdot, [c64(8), c64(8)], c64(), mac=32),
    # Every row of one side with every row of the other: 2 * 3 * 4 results of 8.
    program("inner", torch.inner, [f32(2, 3, 8), f32(4, 8)], f32(2, 3, 4), mac=192),
    program("linalg_vecdot", torch.linalg.vecdot, [f32(2, 8), f32(3, 1, 8)], f32(3, 2), mac=48),
    program("_int_mm", torch._int_mm, [t("i8", 32, 8), t("i8", 8, 16)], t("i32", 32, 16), mac=32 * 8 * 16),
    program("outer", torch.outer, [f32(4), f32(5)], f32(4, 5), mac=20),
    # The last two axes of one with the first two of the other: [2, 3*4] by [3*4, 5].
    program("mm", torch.tensordot, [f32(2, 3, 4), f32(3, 4, 5)], f32(2, 5), mac=120),
    # c + a b, one add a result.
    program("addmm", torch.addmm, [f32(5), f32(2, 3), f32(3, 5)], f32(2, 5), mac=30, add=10),
    # alpha times the 10 products; beta times the 5 elements of c.
    program(
        "addmm",
        lambda c, a, b: torch.addmm(c, a, b, alpha=2, beta=0.5),
        [f32(5), f32(2, 3), f32(3, 5)],
        f32(2, 5),
        mac=30,
        add=10,
        mul=15,
    ),
    # A beta of 0 leaves c out.
    program("addmm", lambda c, a, b: torch.addmm(c, a, b, beta=0), [f32(5), f32(2, 3), f32(3, 5)], f32(2, 5), mac=30),
    program("addmv", torch.addmv, [f32(4), f32(4, 3), f32(3)], f32(4), mac=12, add=4),
    program("baddbmm", torch.baddbmm, [f32(2, 4, 5), f32(2, 4, 3), f32(2, 3, 5)], f32(2, 4, 5), mac=120, add=40),
    # The products of both batches go into one matrix: 2 * 3 multiply-adds for each of 20 results.
    program("addbmm", torch.addbmm, [f32(4, 5), f32(2, 4, 3), f32(2, 3, 5)], f32(4, 5), mac=120, add=20),
    program("addr", torch.addr, [f32(3, 4), f32(3), f32(4)], f32(3, 4), mac=12, add=12),
    # Each of 8 rows meets one of the 3 matrices.
    program(
        "_grouped_mm",
        lambda a, b, offsets: torch._grouped_mm(a, b, offsets),
        [t("bf16", 8, 16), t("bf16", 3, 16, 32), t("i32", 3)],
        t("bf16", 8, 32),
        mac=8 * 32 * 16,
    ),
    # As many matrices on both sides: two products of 4 x 16 and 16 x 8.
    program(
        "_grouped_mm",
        lambda a, b: torch._grouped_mm(a, b),
        [t("bf16", 2, 4, 16), t("bf16", 2, 16, 8)],
        t("bf16", 2, 4, 8),
        mac=2 * 4 * 8 * 16,
    ),
    # The inner axis of 16 is cut into 3 groups, each a product 4 x 8 of its own: every one of the 16 is in one of them.
    program(
        "_grouped_mm",
        lambda a, b, offsets: torch._grouped_mm(a, b, offsets),
        [t("bf16", 4, 16), t("bf16", 16, 8), t("i32", 3)],
        t("bf16", 3, 4, 8),
        mac=4 * 8 * 16,
    ),
    # 5 rows, 6 outputs: x1 W is 3 multiply-adds for each of 6 * 4, then times x2: 4 for each of 6. A bias on 5 * 6.
    program(
        "bilinear",
        F.bilinear,
        [f32(5, 3), f32(5, 4), f32(6, 3, 4), f32(6)],
        f32(5, 6),
        mac=5 * (6 * 4 * 3 + 6 * 4),
        add=30,
    ),
    # 3 x 5 distances of rows of 4: differences 4, squares 4, sums 3, a root.
    program("cdist", torch.cdist, [f32(3, 4), f32(5, 4)], f32(3, 5), add=105, mul=60, sqrt=15),
    program("cdist", lambda a, b: torch.cdist(a, b, p=1), [f32(3, 4), f32(5, 4)], f32(3, 5), add=105, logic=60),
]


def einsum(equation: str) -> Any:
    return lambda *tensors: torch.einsum(equation, *tensors)


# One multiply-add for each combination of all letters; of one operand only the sums are left.
EINSUM = [
    program("einsum", einsum("ij->i"), [f32(3, 4)], f32(3), add=12 - 3),
    program("einsum", einsum("ij->ji"), [f32(3, 4)], f32(4, 3)),
    program("einsum", einsum("ii->i"), [f32(4, 4)], f32(4)),
    program("einsum", einsum("bij,bjk->bik"), [f32(2, 3, 4), f32(2, 4, 5)], f32(2, 3, 5), mac=120),
    program("einsum", einsum("...ij,jk->...ik"), [f32(2, 7, 3, 4), f32(4, 5)], f32(2, 7, 3, 5), mac=14 * 60),
    program("einsum", einsum("...i,...i"), [f32(2, 1, 4), f32(3, 4)], f32(2, 3), mac=24),
    program("einsum", einsum("i,j->ij"), [f32(3), f32(4)], f32(3, 4), mac=12),
    # From the left: ij,jk is 2*3*4, and its result ik with kl is 2*4*5.
    program("einsum", einsum("ij,jk,kl->il"), [f32(2, 3), f32(3, 4), f32(4, 5)], f32(2, 5), mac=24 + 40),
    program("einsum", einsum("ij,jk->ik"), [c64(2, 3), c64(3, 4)], c64(2, 4), mac=4 * 24),
]


# A result of a convolution takes |w[1:]| multiply-adds; transposed, an element of x takes them.
CONVOLUTIONS = [
    program("conv1d", F.conv1d, [f32(2, 3, 10), f32(4, 3, 3), f32(4)], f32(2, 4, 8), mac=64 * 9, add=64),
    # (8 + 2 - 3) // 2 + 1 = 4.
    program(
        "conv2d",
        lambda x, w: F.conv2d(x, w, stride=2, padding=1),
        [f32(1, 3, 8, 8), f32(6, 3, 3, 3)],
        f32(1, 6, 4, 4),
        mac=96 * 27,
    ),
    # Two groups: each filter sees two of the four channels.
    program(
        "conv2d",
        lambda x, w: F.conv2d(x, w, groups=2),
        [f32(1, 4, 5, 5), f32(8, 2, 3, 3)],
        f32(1, 8, 3, 3),
        mac=72 * 18,
    ),
    # Depthwise.
    program(
        "conv2d",
        lambda x, w: F.conv2d(x, w, groups=4, padding=1),
        [f32(1, 4, 5, 5), f32(4, 1, 3, 3)],
        f32(1, 4, 5, 5),
        mac=100 * 9,
    ),
    # Dilation 2: the filter spans 5, 7 - 5 + 1 = 3; on one axis only: 7 - 3 + 1 = 5.
    program(
        "conv2d", lambda x, w: F.conv2d(x, w, dilation=2), [f32(1, 1, 7, 7), f32(1, 1, 3, 3)], f32(1, 1, 3, 3), mac=81
    ),
    program(
        "conv2d",
        lambda x, w: F.conv2d(x, w, dilation=(1, 2)),
        [f32(1, 1, 7, 7), f32(1, 1, 3, 3)],
        f32(1, 1, 5, 3),
        mac=15 * 9,
    ),
    program(
        "conv1d", lambda x, w: F.conv1d(x, w, padding="same"), [f32(1, 2, 6), f32(2, 2, 4)], f32(1, 2, 6), mac=12 * 8
    ),
    program(
        "conv1d", lambda x, w: F.conv1d(x, w, padding="valid"), [f32(1, 2, 6), f32(2, 2, 4)], f32(1, 2, 3), mac=6 * 8
    ),
    # Without a batch.
    program("conv2d", F.conv2d, [f32(3, 5, 5), f32(2, 3, 3, 3)], f32(2, 3, 3), mac=18 * 27),
    program("conv3d", F.conv3d, [f32(1, 2, 4, 5, 6), f32(3, 2, 2, 2, 2)], f32(1, 3, 3, 4, 5), mac=180 * 16),
    program("conv1d", F.conv1d, [c64(1, 2, 5), c64(3, 2, 3)], c64(1, 3, 3), mac=4 * 9 * 6),
    # (2 - 1) * 2 + 2 = 4 a side; 12 elements of x, each spread over one channel of 2 x 2. A bias on the 16 results.
    program(
        "conv_transpose2d",
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2),
        [f32(1, 3, 2, 2), f32(3, 1, 2, 2), f32(1)],
        f32(1, 1, 4, 4),
        mac=48,
        add=16,
    ),
    # (3 - 1) * 2 + 3 + 1 = 8; two groups of two channels to two each: 12 elements times 2 * 3.
    program(
        "conv_transpose1d",
        lambda x, w: F.conv_transpose1d(x, w, stride=2, output_padding=1, groups=2),
        [f32(1, 4, 3), f32(4, 2, 3)],
        f32(1, 4, 8),
        mac=72,
    ),
    # (2 - 1) - 2 * 1 + 2 * (2 - 1) + 1 = 2: padding takes results away, work is not taken off.
    program(
        "conv_transpose1d",
        lambda x, w: F.conv_transpose1d(x, w, padding=1, dilation=2),
        [f32(2, 1, 2), f32(1, 1, 2)],
        f32(2, 1, 2),
        mac=8,
    ),
    program("conv_transpose1d", F.conv_transpose1d, [f32(4, 3), f32(4, 2, 3)], f32(2, 5), mac=12 * 6),
    program(
        "conv_transpose3d", F.conv_transpose3d, [f32(1, 1, 2, 2, 2), f32(1, 2, 2, 2, 2)], f32(1, 2, 3, 3, 3), mac=8 * 16
    ),
]


# The largest of k takes k - 1 comparisons; the mean k - 1 adds and a division.
POOLS = [
    program("max_pool2d", lambda x: F.max_pool2d(x, 2), [f32(1, 2, 6, 6)], f32(1, 2, 3, 3), compare=18 * 3),
    # ceil: windows at 0, 2 and 4 of 5.
    program(
        "max_pool2d",
        lambda x: F.max_pool2d(x, 2, ceil_mode=True),
        [f32(1, 1, 5, 5)],
        f32(1, 1, 3, 3),
        compare=9 * 3,
    ),
    # ceil((2 + 2 - 2) / 3) + 1 = 2 windows, but the second would start in the padding behind: 1.
    program(
        "max_pool1d",
        lambda x: F.max_pool1d(x, 2, 3, padding=1, ceil_mode=True),
        [f32(1, 1, 2)],
        f32(1, 1, 1),
        compare=1,
    ),
    # (9 - 2 * 2 - 1) // 1 + 1 = 5, dilated; without a batch.
    program("max_pool1d", lambda x: F.max_pool1d(x, 3, 1, dilation=2), [f32(2, 9)], f32(2, 5), compare=20),
    program("max_pool3d", lambda x: F.max_pool3d(x, (1, 2, 2)), [f32(1, 1, 3, 4, 4)], f32(1, 1, 3, 2, 2), compare=36),
    program("max_pool2d", lambda x: F.max_pool2d(x, 1, 2), [f32(1, 1, 4, 4)], f32(1, 1, 2, 2)),
    program(
        "max_pool2d_with_indices",
        lambda x: F.max_pool2d(x, 2, return_indices=True),
        [f32(1, 1, 4, 4)],
        [f32(1, 1, 2, 2), t("i64", 1, 1, 2, 2)],
        compare=12,
    ),
    program("avg_pool1d", lambda x: F.avg_pool1d(x, 3), [f32(1, 2, 9)], f32(1, 2, 3), add=12, div=6),
    program(
        "avg_pool2d",
        lambda x: F.avg_pool2d(x, (3, 2), stride=(1, 2), padding=(1, 0)),
        [f32(1, 1, 4, 4)],
        f32(1, 1, 4, 2),
        add=40,
        div=8,
    ),
    program("avg_pool3d", lambda x: F.avg_pool3d(x, 2), [f32(1, 2, 4, 4, 4)], f32(1, 2, 2, 2, 2), add=112, div=16),
    # Windows of 2 x 3 that do not overlap: all 72 elements, 12 results.
    program(
        "adaptive_avg_pool2d",
        lambda x: F.adaptive_avg_pool2d(x, (3, 2)),
        [f32(1, 2, 6, 6)],
        f32(1, 2, 3, 2),
        add=60,
        div=12,
    ),
    # From floor(7 i / 3) to ceil(7 (i + 1) / 3): 0 to 3, 2 to 5, 4 to 7.
    program("adaptive_avg_pool1d", lambda x: F.adaptive_avg_pool1d(x, 3), [f32(1, 1, 7)], f32(1, 1, 3), add=6, div=3),
    # To more than there are: 0 to 1, 0 to 2, 1 to 2.
    program("adaptive_avg_pool1d", lambda x: F.adaptive_avg_pool1d(x, 3), [f32(1, 1, 2)], f32(1, 1, 3), add=1, div=3),
    # The second axis as it is: 2 windows of 2 on the first.
    program(
        "adaptive_avg_pool2d",
        lambda x: F.adaptive_avg_pool2d(x, (2, None)),
        [f32(3, 4, 5)],
        f32(3, 2, 5),
        add=30,
        div=30,
    ),
    program(
        "adaptive_avg_pool3d",
        lambda x: F.adaptive_avg_pool3d(x, 1),
        [f32(1, 2, 2, 2, 2)],
        f32(1, 2, 1, 1, 1),
        add=14,
        div=2,
    ),
    program(
        "adaptive_max_pool2d", lambda x: F.adaptive_max_pool2d(x, 2), [f32(1, 1, 4, 4)], f32(1, 1, 2, 2), compare=12
    ),
]


# Moments of R rows of n, x = R n: adds x - R for the mean, x to centre, x - R for the squares; x muls; 2 R divs. The
# deviation: eps R adds, R roots, R reciprocals.
NORMS = [
    # In evaluation, once a channel: eps add, root, scale / root, mean * alpha, bias less that; then alpha x + beta.
    program(
        "batch_norm",
        F.batch_norm,
        [f32(2, 3, 4, 4), f32(3), f32(3), f32(3), f32(3)],
        f32(2, 3, 4, 4),
        mul=96 + 3,
        add=96 + 6,
        sqrt=3,
        div=3,
    ),
    # Without scale and bias beta is the product alone.
    program(
        "batch_norm", F.batch_norm, [f32(2, 3, 4, 4), f32(3), f32(3)], f32(2, 3, 4, 4), mul=99, add=99, sqrt=3, div=3
    ),
    # No means are kept: 3 rows of 32, then centred x times a factor.
    program(
        "batch_norm",
        lambda x: F.batch_norm(x, None, None, training=True),
        [f32(2, 3, 4, 4)],
        f32(2, 3, 4, 4),
        add=3 * 96 - 6 + 3,
        mul=2 * 96,
        div=9,
        sqrt=3,
    ),
    # 6 rows of 16.
    program(
        "instance_norm",
        F.instance_norm,
        [f32(2, 3, 4, 4)],
        f32(2, 3, 4, 4),
        add=3 * 96 - 12 + 6,
        mul=192,
        div=18,
        sqrt=6,
    ),
    # The scale is part of a row's factor; a bias is one add each.
    program(
        "instance_norm",
        lambda x, w, b: F.instance_norm(x, None, None, w, b),
        [f32(2, 3, 4, 4), f32(3), f32(3)],
        f32(2, 3, 4, 4),
        add=4 * 96 - 12 + 6,
        mul=192,
        div=18,
        sqrt=6,
    ),
    # 2 * 3 groups of 32 elements: moments, normalising, scale, bias.
    program(
        "group_norm",
        lambda x, w, b: F.group_norm(x, 3, w, b),
        [f32(2, 6, 4, 4), f32(6), f32(6)],
        f32(2, 6, 4, 4),
        add=3 * 192 - 12 + 6 + 192,
        mul=3 * 192,
        div=18,
        sqrt=6,
    ),
    program(
        "group_norm",
        lambda x: F.group_norm(x, 3),
        [f32(2, 6, 4, 4)],
        f32(2, 6, 4, 4),
        add=3 * 192 - 12 + 6,
        mul=2 * 192,
        div=18,
        sqrt=6,
    ),
    # 4 rows of 8.
    program(
        "layer_norm",
        lambda x, w, b: F.layer_norm(x, (8,), w, b),
        [f32(4, 8), f32(8), f32(8)],
        f32(4, 8),
        add=3 * 32 - 8 + 4 + 32,
        mul=96,
        div=12,
        sqrt=4,
    ),
    # 2 rows of 3 * 4.
    program(
        "layer_norm", lambda x: F.layer_norm(x, (3, 4)), [f32(2, 3, 4)], f32(2, 3, 4), add=70, mul=48, div=6, sqrt=2
    ),
    # Squares 32, their sums 28 and 4 eps, 4 means and 4 reciprocals of roots; normalising and scale 32 each.
    program(
        "rms_norm", lambda x, w: F.rms_norm(x, (8,), w), [f32(4, 8), f32(8)], f32(4, 8), add=32, mul=96, div=8, sqrt=4
    ),
    program("rms_norm", lambda x: F.rms_norm(x, (8,)), [f32(4, 8)], f32(4, 8), add=32, mul=64, div=8, sqrt=4),
]


# 4 rows of 8: the largest 28, subtracted 32, exp 32, sums 28, divided 32. Its log: subtracts again, log of 4 sums.
SOFTMAX = [
    program("softmax", lambda x: x.softmax(-1), [f32(4, 8)], f32(4, 8), compare=28, add=60, exp=32, div=32),
    # 8 rows of 4.
    program("softmax", lambda x: x.softmax(0), [f32(4, 8)], f32(4, 8), compare=24, add=56, exp=32, div=32),
    program(
        "softmax",
        lambda x: F.softmax(x, 1, dtype=torch.float32),
        [t("f16", 4, 8)],
        f32(4, 8),
        compare=28,
        add=60,
        exp=32,
        div=32,
    ),
    program("log_softmax", lambda x: x.log_softmax(-1), [f32(4, 8)], f32(4, 8), compare=28, add=92, exp=32, log=4),
    # Largest 28, subtracted 32, exp 32, sums 28, log 4, the largest added again 4.
    program("logsumexp", lambda x: x.logsumexp(-1), [f32(4, 8)], f32(4), compare=28, add=64, exp=32, log=4),
]


def sdpa(**given: Any) -> Any:
    return lambda q, k, v, *mask: F.scaled_dot_product_attention(q, k, v, *mask, **given)


# With S scores: S (size + value size) multiply-adds, S muls by the scale, a softmax over R rows: compare S - R,
# add 2 S - R, exp S, div S.
_Q, _K = f32(1, 12, 64, 64), f32(2, 4, 10, 16)
ATTENTION = [
    # S = 12 * 64 * 64 = 49152, R = 12 * 64 = 768.
    program(
        "scaled_dot_product_attention",
        sdpa(),
        [_Q, _Q, _Q],
        _Q,
        mac=6291456,
        mul=49152,
        compare=49152 - 768,
        add=2 * 49152 - 768,
        exp=49152,
        div=49152,
    ),
    # Causal: all scores as they are computed, and a choice each.
    program(
        "scaled_dot_product_attention",
        sdpa(is_causal=True),
        [_Q, _Q, _Q],
        _Q,
        mac=6291456,
        mul=49152,
        compare=49152 - 768,
        add=2 * 49152 - 768,
        exp=49152,
        div=49152,
        logic=49152,
    ),
    # 6 queries, 10 keys, values of 24, a mask: S = 2 * 4 * 6 * 10 = 480, R = 48, one more add each.
    program(
        "scaled_dot_product_attention",
        sdpa(),
        [f32(2, 4, 6, 16), _K, f32(2, 4, 10, 24), f32(6, 10)],
        f32(2, 4, 6, 24),
        mac=480 * 40,
        mul=480,
        compare=432,
        add=2 * 480 - 48 + 480,
        exp=480,
        div=480,
    ),
    # 8 heads of queries share 2 of keys: S = 8 * 16 * 16 = 2048, R = 128.
    program(
        "scaled_dot_product_attention",
        sdpa(enable_gqa=True),
        [f32(1, 8, 16, 32), f32(1, 2, 16, 32), f32(1, 2, 16, 32)],
        f32(1, 8, 16, 32),
        mac=2048 * 64,
        mul=2048,
        compare=1920,
        add=2 * 2048 - 128,
        exp=2048,
        div=2048,
    ),
    # One set of queries for two of keys: S = 2 * 3 * 5 = 30, R = 6.
    program(
        "scaled_dot_product_attention",
        sdpa(),
        [f32(1, 3, 4), f32(2, 5, 4), f32(2, 5, 4)],
        f32(2, 3, 4),
        mac=30 * 8,
        mul=30,
        compare=24,
        add=54,
        exp=30,
        div=30,
    ),
]


# Recurrent layers of 5 steps of 3 sequences, 10 in, H = 20: 15 cells a layer and direction, E = 15 * 20 = 300.
def recurrent(cell: Any, *given: Any, shape: tuple[int, ...] = (5, 3, 10), **named: Any) -> Any:
    def call(*tensors: Any) -> Any:
        x, count = tensors[0], 2 if cell is torch.lstm else 1
        states = list(tensors[1 : 1 + count])
        return cell(
            x,
            states if cell is torch.lstm else states[0],
            list(tensors[1 + count :]),
            named.get("biased", True),
            named.get("layers", 1),
            0.0,
            False,
            named.get("both", False),
            named.get("first", False),
        )

    return call


def weights(gates: int, into: int, hidden: int = 20, state: int = 20) -> list[T]:
    parts = [f32(gates * hidden, into), f32(gates * hidden, state), f32(gates * hidden), f32(gates * hidden)]
    return parts if state == hidden else [*parts, f32(state, hidden)]


_X = f32(5, 3, 10)
_STATE = f32(1, 3, 20)
RECURRENT = [
    # W 80 x 10 and R 80 x 20 a cell. Adds: W x + R h 4 E; both biases together 80 once, then 4 E; f c + i g: E.
    # Sigmoids on 3 E (exp, add, div), tanh on 2 E (exp), 3 E muls.
    program(
        "lstm",
        recurrent(torch.lstm),
        [_X, _STATE, _STATE, *weights(4, 10)],
        [f32(5, 3, 20), _STATE, _STATE],
        mac=36000,
        add=1200 + 80 + 1200 + 300 + 900,
        mul=900,
        exp=1500,
        div=900,
    ),
    # Batches first, no biases.
    program(
        "lstm",
        recurrent(torch.lstm, biased=False, first=True),
        [f32(3, 5, 10), _STATE, _STATE, *weights(4, 10)[:2]],
        [f32(3, 5, 20), _STATE, _STATE],
        mac=36000,
        add=1200 + 300 + 900,
        mul=900,
        exp=1500,
        div=900,
    ),
    # Without a batch: 5 cells, E = 100.
    program(
        "lstm",
        recurrent(torch.lstm),
        [f32(5, 1, 10), f32(1, 1, 20), f32(1, 1, 20), *weights(4, 10)],
        [f32(5, 1, 20), f32(1, 1, 20), f32(1, 1, 20)],
        mac=12000,
        add=400 + 80 + 400 + 100 + 300,
        mul=300,
        exp=500,
        div=300,
    ),
    # A projection to 8: R is 80 x 8, and 8 x 20 more a cell.
    program(
        "lstm",
        recurrent(torch.lstm),
        [_X, f32(1, 3, 8), _STATE, *weights(4, 10, state=8)],
        [f32(5, 3, 8), f32(1, 3, 8), _STATE],
        mac=15 * (800 + 640 + 160),
        add=3680,
        mul=900,
        exp=1500,
        div=900,
    ),
    # Two layers in both directions: the second takes 2 * 20.
    program(
        "lstm",
        recurrent(torch.lstm, layers=2, both=True),
        [_X, f32(4, 3, 20), f32(4, 3, 20), *2 * weights(4, 10), *2 * weights(4, 40)],
        [f32(5, 3, 40), f32(4, 3, 20), f32(4, 3, 20)],
        mac=15 * 2 * (800 + 1600 + 3200 + 1600),
        add=4 * 3680,
        mul=4 * 900,
        exp=4 * 1500,
        div=4 * 900,
    ),
    # Three gates. The hidden gate resets between the products, so that its two biases stay apart: 4 E and 40 once.
    # (1 - z) n + z h: 2 E adds, with r 3 E muls. Sigmoids on 2 E, tanh on E.
    program(
        "gru",
        recurrent(torch.gru),
        [_X, _STATE, *weights(3, 10)],
        [f32(5, 3, 20), _STATE],
        mac=27000,
        add=900 + 1200 + 40 + 600 + 600,
        mul=900,
        exp=900,
        div=600,
    ),
    program(
        "rnn_tanh",
        recurrent(torch.rnn_tanh),
        [_X, _STATE, *weights(1, 10)],
        [f32(5, 3, 20), _STATE],
        mac=9000,
        add=300 + 300 + 20,
        exp=300,
    ),
    program(
        "rnn_relu",
        recurrent(torch.rnn_relu, both=True),
        [_X, f32(2, 3, 20), *2 * weights(1, 10)],
        [f32(5, 3, 40), f32(2, 3, 20)],
        mac=18000,
        add=1240,
        compare=600,
    ),
]


def on_32(op: str, call: Any, **work: int) -> Program:
    """A function of 4 x 8 elements."""
    return program(op, call, [f32(4, 8)], f32(4, 8), **work)


ELEMENTWISE = [
    on_32("rsqrt", torch.rsqrt, sqrt=32, div=32),
    on_32("square", torch.square, mul=32),
    on_32("log2", torch.log2, log=32),
    on_32("log10", torch.log10, log=32),
    on_32("log1p", torch.log1p, log=32, add=32),
    on_32("exp2", torch.exp2, exp=32),
    on_32("expm1", torch.expm1, exp=32, add=32),
    on_32("erfc", torch.erfc, exp=32, add=32),
    on_32("trunc", torch.trunc, convert=32),
    on_32("frac", torch.frac, convert=32, add=32),
    # -ln(1 + exp(-x)), by min(x, 0) - log1p(exp(-|x|)): the magnitude, exp, two steps of log1p.
    on_32("log_sigmoid", F.logsigmoid, exp=32, add=32, log=32, logic=32),
    on_32("hardtanh", F.hardtanh, compare=64),
    on_32("relu6", F.relu6, compare=64),
    on_32("hardshrink", F.hardshrink, compare=64),
    # 0.5 x (1 + erf(x / sqrt 2)); with tanh x^3 takes two muls, 0.044715, sqrt(2/pi), 0.5 and x one each.
    on_32("gelu", F.gelu, mul=96, add=32, exp=32),
    on_32("gelu", lambda x: F.gelu(x, approximate="tanh"), mul=192, add=64, exp=32),
    on_32("silu", F.silu, exp=32, add=32, div=32, mul=32),
    on_32("pow", lambda x: x**2, mul=32),
    on_32("pow", lambda x: x**3, mul=64),
    on_32("pow", lambda x: x**0.5, sqrt=32),
    on_32("pow", lambda x: x**-1, div=32),
    on_32("pow", lambda x: x**1.7, log=32, mul=32, exp=32),
    on_32("pow", lambda x: 2**x, log=32, mul=32, exp=32),
    program("pow", torch.pow, [f32(4, 1), f32(8)], f32(4, 8), log=32, mul=32, exp=32),
    # Whole numbers by a number with a point are floats.
    program("pow", lambda x: x**2.0, [t("i64", 3)], f32(3), mul=3),
    on_32("add", lambda x: x + 1, add=32),
    on_32("add", lambda x: torch.add(x, x, alpha=2), add=32, mul=32),
    program("sub", torch.sub, [t("i64", 3, 1), f32(4)], f32(3, 4), add=12),
    on_32("rsub", lambda x: 1 - x, add=32),
    program("div", lambda x: x / 2, [t("i64", 5)], f32(5), div=5),
    # One comparison for each bound.
    on_32("clamp", lambda x: x.clamp(0, 1), compare=64),
    on_32("clamp", lambda x: x.clamp(max=1), compare=32),
    on_32("clamp_min", lambda x: x.clamp_min(0), compare=32),
    program("clamp", torch.clamp, [f32(4, 8), f32(8), f32()], f32(4, 8), compare=64),
    # A bound may be larger than x, of another kind, or a number of another kind.
    program("clamp", lambda x, b: x.clamp(b), [f32(5, 1), f32(5, 5)], f32(5, 5), compare=25),
    program("clamp_min", torch.clamp_min, [f32(5, 1), f32(5, 5)], f32(5, 5), compare=25),
    program("clamp_max", torch.clamp_max, [f32(), f32(3)], f32(3), compare=3),
    program("clamp", lambda x, b: x.clamp(max=b), [t("i64", 3), f32(2, 1)], f32(2, 3), compare=6),
    program("clamp", lambda x: x.clamp(0.5), [t("i64", 3)], f32(3), compare=3),
    program("clamp", lambda x: x.clamp(1), [t("i64", 3)], t("i64", 3), compare=3),
    program("where", torch.where, [t("bool", 4, 1), f32(8), f32(1)], f32(4, 8), logic=32),
    program("masked_fill", lambda x, m: x.masked_fill(m, 0), [f32(4, 8), t("bool", 8)], f32(4, 8), logic=32),
    program("to", lambda x: x.half(), [f32(4, 8)], t("f16", 4, 8), convert=32),
    program("to", lambda x: x.float(), [f32(4, 8)], f32(4, 8)),
]


REDUCTIONS = [
    program("sum", torch.sum, [f32(4, 8)], f32(), add=31),
    program("sum", lambda x: x.sum(1, keepdim=True), [t("bool", 4, 8)], t("i64", 4, 1), add=28),
    program("mean", lambda x: x.mean((0, 2)), [f32(2, 3, 4)], f32(3), add=21, div=3),
    program("amax", lambda x: x.amax(-1), [f32(4, 8)], f32(4), compare=28),
    program("max", lambda x: x.max(0), [f32(4, 8)], [f32(8), t("i64", 8)], compare=24),
    program("prod", lambda x: x.prod(), [f32(4, 8)], f32(), mul=31),
    program(
        "linalg_vector_norm", lambda x: torch.linalg.vector_norm(x, dim=1), [f32(4, 8)], f32(4), mul=32, add=28, sqrt=4
    ),
    # Rows of 8: mean 7 adds and a div, centring 8, squares 8 muls, 7 adds and a div; a deviation takes the root.
    program("var", lambda x: x.var(1), [f32(4, 8)], f32(4), add=88, mul=32, div=8),
    program("std", lambda x: x.std(1), [f32(4, 8)], f32(4), add=88, mul=32, div=8, sqrt=4),
    program("var_mean", lambda x: torch.var_mean(x, 1), [f32(4, 8)], [f32(4), f32(4)], add=88, mul=32, div=8),
    program("argmax", lambda x: x.argmax(1), [f32(4, 8)], t("i64", 4), compare=28),
    program("cumsum", lambda x: x.cumsum(1), [f32(4, 8)], f32(4, 8), add=28),
    program("cumprod", lambda x: x.cumprod(0), [f32(4, 8)], f32(4, 8), mul=24),
    # A merge sort of 8 has 3 levels, each with 8 comparisons at most.
    program("sort", lambda x: x.sort(1), [f32(4, 8)], [f32(4, 8), t("i64", 4, 8)], "bound", compare=96),
    program("argsort", lambda x: x.argsort(0), [f32(4, 8)], t("i64", 4, 8), "bound", compare=64),
    # The 2 best of 8 one after the other: 7 + 6 comparisons a row.
    program("topk", lambda x: x.topk(2), [f32(4, 8)], [f32(4, 2), t("i64", 4, 2)], "bound", compare=52),
    # Where each of 32 falls: a division and a rounding, and one more is there.
    program("histc", lambda x: x.histc(4, 0, 1), [f32(32)], f32(4), add=32, div=32, convert=32),
]


MOVES = [
    program("clone", torch.clone, [f32(4, 8)], f32(4, 8)),
    program("roll", lambda x: x.roll(1, 0), [f32(4, 8)], f32(4, 8)),
    program("flip", lambda x: x.flip(0), [f32(4, 8)], f32(4, 8)),
    program("cat", lambda *x: torch.cat(x, 1), [f32(4, 8), f32(4, 3)], f32(4, 11)),
    program("cat", lambda *x: torch.cat(x), [f32(0), f32(4, 3), t("i64", 1, 3)], f32(5, 3)),
    program("stack", lambda *x: torch.stack(x, 1), [f32(4, 8), f32(4, 8), f32(4, 8)], f32(4, 3, 8)),
    program("stack", lambda *x: torch.stack(x, -1), [f32(4), f32(4)], f32(4, 2)),
    program("hstack", lambda *x: torch.hstack(x), [f32(4), f32(3)], f32(7)),
    program("embedding", F.embedding, [t("i64", 2, 5), f32(100, 16)], f32(2, 5, 16)),
    program("index_select", lambda x, i: x.index_select(1, i), [f32(4, 8), t("i64", 3)], f32(4, 3)),
    program("gather", lambda x, i: x.gather(1, i), [f32(4, 8), t("i64", 4, 3)], f32(4, 3)),
    program("pad", lambda x: F.pad(x, (1, 2)), [f32(4, 8)], f32(4, 11)),
    program("repeat", lambda x: x.repeat(2, 3), [f32(4, 8)], f32(8, 24)),
    program("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), [f32(1, 8, 3, 3)], f32(1, 2, 6, 6)),
    program("dropout", F.dropout, [f32(4, 8)], f32(4, 8)),
]


# Coordinates of each axis that is resized: a mul by the scale, a rounding; two adds where pixels have centres.
UPSAMPLING = [
    program(
        "upsample_nearest2d",
        lambda x: F.interpolate(x, scale_factor=2),
        [f32(1, 3, 4, 6)],
        f32(1, 3, 8, 12),
        mul=20,
        convert=20,
    ),
    program(
        "_upsample_nearest_exact2d",
        lambda x: F.interpolate(x, scale_factor=2, mode="nearest-exact"),
        [f32(1, 3, 4, 6)],
        f32(1, 3, 8, 12),
        mul=20,
        add=40,
        convert=20,
    ),
    # Linear: two adds a coordinate for its weights, then 2 muls and 1 add for each of 3 * 8 values.
    program(
        "upsample_linear1d",
        lambda x: F.interpolate(x, 8, mode="linear"),
        [f32(1, 3, 4)],
        f32(1, 3, 8),
        mul=8 + 48,
        add=16 + 16 + 24,
        convert=8,
    ),
    # Corners upon corners: no centres. 20 coordinates; the 4 products of weights at 96 places; 4 muls and 3 adds for
    # each of 288 values.
    program(
        "upsample_bilinear2d",
        lambda x: F.interpolate(x, (8, 12), mode="bilinear", align_corners=True),
        [f32(1, 3, 4, 6)],
        f32(1, 3, 8, 12),
        mul=20 + 4 * 96 + 4 * 288,
        add=40 + 3 * 288,
        convert=20,
    ),
]


@pytest.mark.parametrize("row", PRODUCTS + EINSUM, ids=str)
def test_products(row: Program) -> None:
    check_program(row)


@pytest.mark.parametrize("row", CONVOLUTIONS + POOLS + UPSAMPLING, ids=str)
def test_windows(row: Program) -> None:
    check_program(row)


@pytest.mark.parametrize("row", NORMS + SOFTMAX + ATTENTION, ids=str)
def test_norms_and_attention(row: Program) -> None:
    check_program(row)


@pytest.mark.parametrize("row", RECURRENT, ids=str)
def test_recurrent(row: Program) -> None:
    check_program(row)


@pytest.mark.parametrize("row", ELEMENTWISE + REDUCTIONS + MOVES, ids=str)
def test_elements(row: Program) -> None:
    check_program(row)


def test_packed_sequences() -> None:
    """Sequences of 3, 2 and 1 steps in one list: 6 cells of 80 x (10 + 20)."""
    lstm = torch.nn.LSTM(10, 20)

    def run(x: Any) -> Any:
        packed = torch.nn.utils.rnn.pack_padded_sequence(x, [3, 2, 1])
        out, state = lstm(packed)
        return out.data, *state

    report = macsim.count(run, (3, 3, 10))
    assert report.macs == 6 * 80 * 30
    assert [tensor.shape for tensor in report.outputs] == [(6, 20), (1, 3, 20), (1, 3, 20)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("network", "gates"), [(torch.nn.GRU, 3), (torch.nn.RNN, 1)])
def test_packed_sequences_of_other_networks(network: Any, gates: int, bias: bool) -> None:
    """Two directions of two layers, the second of which takes both: 6 cells of gates times 20 x 30 and 20 x 60."""
    made = network(10, 20, 2, bias=bias, bidirectional=True)
    report = macsim.count(lambda x: made(torch.nn.utils.rnn.pack_padded_sequence(x, [3, 2, 1]))[0].data, (3, 3, 10))
    assert report.macs == 2 * 6 * gates * 20 * (30 + 60)
    assert (report.trust, report.outputs[0].shape) == ("exact", (6, 40))


# 6 rows of 4 in 2 bags: 24 numbers to 8 results, an add or a comparison for each but the first of a bag; a weight is a
# mul for each of the 24.
def bag(mode: str) -> Any:
    return lambda i, w, at, each=None: F.embedding_bag(i, w, at, mode=mode, per_sample_weights=each)


BAGS = [
    program("embedding_bag", bag("sum"), [t("i64", 6), f32(10, 4), t("i64", 2)], f32(2, 4), add=16),
    program("embedding_bag", bag("mean"), [t("i64", 6), f32(10, 4), t("i64", 2)], f32(2, 4), add=16, div=8),
    program("embedding_bag", bag("max"), [t("i64", 6), f32(10, 4), t("i64", 2)], f32(2, 4), compare=16),
    program("embedding_bag", bag("sum"), [t("i64", 6), f32(10, 4), t("i64", 2), f32(6)], f32(2, 4), add=16, mul=24),
]


@pytest.mark.parametrize("row", BAGS, ids=str)
def test_embedding_bags(row: Program) -> None:
    check_program(row)


def test_embeddings_read_what_they_use() -> None:
    """10 rows of 16 numbers, not the whole table."""
    report = macsim.count(torch.nn.Embedding(1000, 16), torch.zeros(2, 5, dtype=torch.int64))
    assert report.rows[0].weights == 10 * 16 * 4
