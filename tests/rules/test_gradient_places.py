# Gradients written out in numbers that count: of windows, samples, picked rows, and signals.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gradient_truth import Case, X, check  # noqa: E402
from oracle.counted import Counted, again, counted, numbers, product, zeros  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812 - its usual name

IMAGE = (1, 2, 5, 5)


def added(shape: tuple[int, ...], at: Any, values: Any) -> Any:
    """Add the values to zeros at their places."""
    dx = zeros(*shape)
    np.add.at(dx, at, values)
    return dx


# Windows. -------------------------------------------------------------------------------------------------------------


def windows(size: int, kernel: int, stride: int) -> list[tuple[int, int, slice, slice]]:
    starts = range(0, size - kernel + 1, stride)
    return [
        (i, j, slice(top, top + kernel), slice(left, left + kernel))
        for (i, top), (j, left) in itertools.product(enumerate(starts), repeat=2)
    ]


def average_pool(dy: Any, y: Any, x: Any) -> Any:
    dx, share = zeros(*IMAGE), dy / 9
    for i, j, rows, columns in windows(5, 3, 2):
        dx[..., rows, columns] = dx[..., rows, columns] + share[..., i, j, None, None]
    return dx


def lp_pool(dy: Any, y: Any, x: Any) -> Any:
    dx, share = zeros(*IMAGE), dy / y
    for i, j, rows, columns in windows(5, 3, 2):
        dx[..., rows, columns] = dx[..., rows, columns] + share[..., i, j, None, None] * x[..., rows, columns]
    return dx


def max_pool(dy: Any, y: Any, x: Any) -> Any:
    """Each largest element's place was kept."""
    at = F.max_pool2d(torch.tensor(numbers(x)), 3, 2, return_indices=True)[1].numpy().reshape(2, -1)
    return added((2, 25), (np.arange(2)[:, None], at), dy.reshape(2, -1)).reshape(IMAGE)


def max_of_all(dy: Any, y: Any, x: Any) -> Any:
    at = numbers(x).reshape(2, 25).argmax(1)
    return added((2, 25), (np.arange(2), at), dy.reshape(2)).reshape(IMAGE)


def region_max(dy: Any, y: Any, x: Any, rois: Any) -> Any:
    at = F.max_pool2d(torch.tensor(numbers(x))[..., :4, :4], 2, return_indices=True)[1].numpy().reshape(2, -1)
    places = (np.arange(2)[:, None], at // 4, at % 4)
    return added((2, 5, 5), places, dy.reshape(2, -1)).reshape(IMAGE)


PLACES = np.array([[[[0, 7], [8, 14]], [[1, 3], [10, 12]]]])
WINDOWS = {
    "average": Case(lambda x: F.avg_pool2d(x, 3, 2), average_pool, [IMAGE]),
    "AveragePool": Case(
        lambda x: F.avg_pool2d(x, 3, 2), average_pool, [IMAGE], "AveragePool",
        {"kernel_shape": [3, 3], "strides": [2, 2]},
    ),
    "LpPool": Case(
        lambda x: F.lp_pool2d(x, 2.0, 3, 2), lp_pool, [IMAGE], "LpPool", {"kernel_shape": [3, 3], "strides": [2, 2]}
    ),
    "GlobalLpPool": Case(
        lambda x: F.lp_pool2d(x, 2.0, 5), lambda dy, y, x: zeros(*IMAGE) + dy / y * x, [IMAGE], "GlobalLpPool"
    ),
    "max": Case(lambda x: F.max_pool2d(x, 3, 2), max_pool, [IMAGE]),
    "GlobalMaxPool": Case(lambda x: x.amax((2, 3), keepdim=True), max_of_all, [IMAGE], "GlobalMaxPool"),
    "adaptive max": Case(lambda x: F.adaptive_max_pool2d(x, 1), max_of_all, [IMAGE]),
    "MaxUnpool": Case(
        lambda x, at: F.max_unpool2d(x, at, 2),
        lambda dy, y, x, at: np.take_along_axis(dy.reshape(1, 2, 16), at.reshape(1, 2, 4), 2).reshape(1, 2, 2, 2),
        [(1, 2, 2, 2), PLACES], "MaxUnpool", {"kernel_shape": [2, 2], "strides": [2, 2]},
    ),
    "MaxRoiPool": Case(
        lambda x, rois: F.max_pool2d(x[..., :4, :4], 2), region_max, [IMAGE, np.array([[0.0, 0, 0, 3, 3]])],
        "MaxRoiPool", {"pooled_shape": [2, 2]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name: str) -> None:
    check(WINDOWS[name])


# Samples. -------------------------------------------------------------------------------------------------------------


def linear_axis(size: int, out: int) -> list[tuple[int, list[Counted], Any]]:
    """Of each place the pixel before it, kept inside, and the weights of that and the next."""
    made = []
    for i in range(out):
        place = (Counted(i) + 0.5) * (size / out) - 0.5
        before = int(place)
        ahead = place - before
        made.append((before, [1 - ahead, ahead]))
    return made


def linear(dy: Any, y: Any, x: Any) -> Any:
    """By the joint weights of four pixels, each 5 x 5 image to 10 x 10."""
    dx = zeros(*IMAGE)
    axis = linear_axis(5, 10), linear_axis(5, 10)
    for (i, (top, tall)), (j, (left, wide)) in itertools.product(enumerate(axis[0]), enumerate(axis[1])):
        for a, b in itertools.product(range(2), repeat=2):
            at = (..., min(max(top + a, 0), 4), min(max(left + b, 0), 4))
            dx[at] = dx[at] + dy[..., i, j] * (tall[a] * wide[b])
    return dx


def nearest(dy: Any, y: Any, x: Any) -> Any:
    dx = zeros(*IMAGE)
    rows = [int(Counted(i) * 0.5) for i in range(10)]
    columns = [int(Counted(i) * 0.5) for i in range(10)]
    for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
        dx[..., row, column] = dx[..., row, column] + dy[..., i, j]
    return dx


def grid_sample(dy: Any, y: Any, x: Any, grid: Any) -> Any:
    """Corners are aligned, places lie inside. For each of two axes of a place: pixels times the other's weights."""
    dx, dgrid = zeros(*IMAGE), zeros(*grid.shape)
    for i, j in itertools.product(range(2), repeat=2):
        before, weights = [], []
        with again():
            for axis in (1, 0):  # places are x, y
                place = grid[0, i, j, axis] * 2 + 2  # of 5 pixels
                before.append(int(place))
                ahead = place - before[-1]
                weights.append([1 - ahead, ahead])
                _ = [before[-1] + k < Counted(5) for k in range(2)], [Counted(before[-1] + k) > -1 for k in range(2)]
            joint = {(a, b): weights[0][a] * weights[1][b] for a, b in itertools.product(range(2), repeat=2)}
        for channel in range(2):
            along = [Counted(0), Counted(0)]
            for a, b in itertools.product(range(2), repeat=2):
                at = (0, channel, before[0] + a, before[1] + b)
                dx[at] = dx[at] + dy[0, channel, i, j] * joint[a, b]
                # The weight's derivative is that of the other axis, with a sign that goes into the sum.
                term = x[at] * weights[1][b]
                along[1] = along[1] + term if a else along[1] - term
                term = x[at] * weights[0][a]
                along[0] = along[0] + term if b else along[0] - term
            for axis in range(2):
                # One of the four additions above was to zero; this is the one that sums channels.
                Counted.work["add"] -= 1
                dgrid[0, i, j, axis] = dgrid[0, i, j, axis] + along[axis] * dy[0, channel, i, j]
    return dx, dgrid * 2.0


SAMPLES = {
    "bilinear": Case(lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"), linear, [IMAGE]),
    "nearest": Case(lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest"), nearest, [IMAGE]),
    "grid_sample": Case(lambda x, at: F.grid_sample(x, at, align_corners=True), grid_sample, [IMAGE, (1, 2, 2, 2)]),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples(name: str) -> None:
    check(SAMPLES[name])


# What is picked and put in. -------------------------------------------------------------------------------------------

AT = np.array([[0, 2, 2], [1, 0, 2]])
BAGS = np.array([3, 1, 3, 0, 2])  # of rows, 2 and 3 in two bags
STARTS = np.array([0, 2])
OF = [0, 0, 1, 1, 1]


def bag(mode: str) -> Any:
    return lambda x, at, starts: F.embedding_bag(at, x, starts, mode=mode)


def largest_of_bags(dy: Any, y: Any, x: Any, at: Any, starts: Any) -> Any:
    values, dx = numbers(x), zeros(4, 3)
    for i, rows in enumerate((BAGS[:2], BAGS[2:])):
        for j in range(3):
            place = rows[values[rows, j].argmax()]
            dx[place, j] = dx[place, j] + dy[i, j]
    return dx


def weighed_bags(dy: Any, y: Any, x: Any, at: Any, starts: Any, w: Any) -> Any:
    dw = [product("d,d->", dy[bag], x[row]).item() for bag, row in zip(OF, BAGS, strict=True)]
    return added((4, 3), (BAGS,), dy[OF] * w[:, None]), np.array(dw)


PICKED = {
    "gather": Case(
        lambda x, at: x.gather(1, at), lambda dy, y, x, at: added(X, (np.arange(2)[:, None], at), dy), [X, AT]
    ),
    "GatherElements": Case(
        lambda x, at: x.gather(1, at), lambda dy, y, x, at: added(X, (np.arange(2)[:, None], at), dy), [X, AT],
        "GatherElements", {"axis": 1},
    ),
    "take": Case(torch.take, lambda dy, y, x, at: added((6,), (at,), dy).reshape(X), [X, AT]),
    "bags": Case(bag("sum"), lambda dy, y, x, at, starts: added((4, 3), (at,), dy[OF]), [(4, 3), BAGS, STARTS]),
    "means of bags": Case(
        bag("mean"),
        lambda dy, y, x, at, starts: added((4, 3), (at,), (dy / np.array([[2], [3]]))[OF]), [(4, 3), BAGS, STARTS],
    ),
    "largest of bags": Case(bag("max"), largest_of_bags, [(4, 3), BAGS, STARTS]),
    "weighed bags": Case(
        lambda x, at, starts, w: F.embedding_bag(at, x, starts, mode="sum", per_sample_weights=w), weighed_bags,
        [(4, 3), BAGS, STARTS, (5,)],
    ),
    "ScatterND": Case(
        lambda x, at, new: x.index_put((at[:, 0],), new),
        lambda dy, y, x, at, new: (np.where([[True], [False]], counted(0), dy), dy[:1]), [X, np.array([[0]]), (1, 3)],
        "ScatterND",
    ),
    "scatter_add": Case(
        lambda x, at, new: x.scatter_add(1, at, new),
        lambda dy, y, x, at, new: (dy, np.take_along_axis(dy, at, 1)), [X, AT, X],
    ),
    "Compress": Case(
        lambda x, at: x[at], lambda dy, y, x, at: np.concatenate([zeros(1, 3), dy]), [X, np.array([False, True])],
        "Compress", {"axis": 0},
    ),
    "triu": Case(torch.triu, lambda dy, y, x: np.triu(np.ones(X)) * numbers(dy), [X]),
    "DepthToSpace": Case(
        lambda x: F.pixel_shuffle(x, 2), lambda dy, y, x: counted(
            F.pixel_unshuffle(torch.tensor(numbers(dy)), 2).numpy()
        ), [(1, 4, 2, 2)], "DepthToSpace", {"blocksize": 2, "mode": "CRD"},
    ),
    "ReverseSequence": Case(
        lambda x, n: x.flip(0), lambda dy, y, x, n: dy[::-1], [X, np.array([2, 2, 2])], "ReverseSequence",
        {"time_axis": 0, "batch_axis": 1},
    ),
    "reflect": Case(
        lambda x: F.pad(x, (1, 1), "reflect"),
        lambda dy, y, x: np.stack([dy[:, 1], dy[:, 2] + dy[:, 0] + dy[:, 4], dy[:, 3]], 1), [X],
    ),
    "Col2Im": Case(
        lambda x, image, block: F.fold(x, (3, 3), (2, 2)),
        lambda dy, y, x, image, block: counted(F.unfold(torch.tensor(numbers(dy)), (2, 2)).numpy()),
        [(1, 8, 4), np.array([3, 3]), np.array([2, 2])], "Col2Im",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PICKED)
def test_picked(name: str) -> None:
    check(PICKED[name])
