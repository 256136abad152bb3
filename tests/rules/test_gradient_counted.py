# Gradients written out in numbers that count: of element-wise functions, reductions and normalisations.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gradient_truth import Case, X, check  # noqa: E402
from oracle.counted import (  # noqa: E402
    again,
    cosh,
    counted,
    erf,
    exp,
    floor,
    log,
    numbers,
    sigmoid,
    sign,
    sin,
    sinh,
    spread,
    sqrt,
    tanh,
    where,
    zeros,
)  # fmt: skip
from torch.nn import functional as F  # noqa: E402, N812 - its usual name

# Element by element. --------------------------------------------------------------------------------------------------


def gelu(x: Any) -> Any:
    """Phi(x) + x phi(x)."""
    return 0.5 * (1 + erf(x * 0.5**0.5)) + x * ((2 * np.pi) ** -0.5 * exp(-0.5 * (x * x)))


def gelu_by_tanh(x: Any) -> Any:
    k, c = (2 / np.pi) ** 0.5, 0.044715
    square = x * x
    t = tanh(k * (x + c * (square * x)))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (k * (1 + 3 * c * square))


def mish(x: Any) -> Any:
    t = tanh(log(1 + exp(x)))
    return t + x * sigmoid(x) * (1 - t * t)


def swish(x: Any) -> Any:
    s = sigmoid(x)
    return s * (1 + x * (1 - s))


ELEMENTS: dict[str, Case] = {
    "reciprocal": Case(torch.reciprocal, lambda dy, y, x: -dy * y * y),
    "erf": Case(torch.erf, lambda dy, y, x: dy * (2 / np.pi**0.5) * exp(-(x * x))),
    "erfc": Case(torch.erfc, lambda dy, y, x: dy * (-2 / np.pi**0.5) * exp(-(x * x))),
    "cos": Case(torch.cos, lambda dy, y, x: -dy * sin(x)),
    "tan": Case(torch.tan, lambda dy, y, x: dy * (1 + y * y)),
    "asin": Case(torch.asin, lambda dy, y, x: dy * (1 / sqrt(1 - x * x))),
    "acos": Case(torch.acos, lambda dy, y, x: -dy * (1 / sqrt(1 - x * x))),
    "atan": Case(torch.atan, lambda dy, y, x: dy / (1 + x * x)),
    "sinh": Case(torch.sinh, lambda dy, y, x: dy * cosh(x)),
    "cosh": Case(torch.cosh, lambda dy, y, x: dy * sinh(x)),
    "asinh": Case(torch.asinh, lambda dy, y, x: dy * (1 / sqrt(x * x + 1))),
    "acosh": Case(torch.acosh, lambda dy, y, x: dy * (1 / sqrt(x * x - 1)), range=(1.5, 2)),
    "atanh": Case(torch.atanh, lambda dy, y, x: dy / (1 - x * x)),
    "rsqrt": Case(torch.rsqrt, lambda dy, y, x: -0.5 * dy * (y * y * y)),
    "square": Case(torch.square, lambda dy, y, x: 2 * x * dy),
    "log2": Case(torch.log2, lambda dy, y, x: dy / (x * np.log(2))),
    "log10": Case(torch.log10, lambda dy, y, x: dy / (x * np.log(10))),
    "log1p": Case(torch.log1p, lambda dy, y, x: dy / (1 + x)),
    "exp2": Case(torch.exp2, lambda dy, y, x: dy * y * np.log(2)),
    "expm1": Case(torch.expm1, lambda dy, y, x: dy * (y + 1)),
    "frac": Case(torch.frac, lambda dy, y, x: dy),
    "gelu": Case(F.gelu, lambda dy, y, x: dy * gelu(x)),
    "gelu by tanh": Case(lambda x: F.gelu(x, approximate="tanh"), lambda dy, y, x: dy * gelu_by_tanh(x)),
    "leaky_relu": Case(F.leaky_relu, lambda dy, y, x: where(x > 0, dy, 0.01 * dy), range=(-1, 1)),
    "threshold": Case(lambda x: F.threshold(x, 0.5, 0), lambda dy, y, x: where(x > 0.5, dy, 0 * np.ones(X))),
    "elu": Case(lambda x: F.elu(x, 0.7), lambda dy, y, x: where(x > 0, dy, dy * (0.7 * exp(x))), range=(-1, 1)),
    "selu": Case(
        F.selu, lambda dy, y, x: dy * where(x > 0, 1.0507009873554805, 1.7580993408473766 * exp(x)), range=(-1, 1)
    ),
    "celu": Case(
        lambda x: F.celu(x, 0.7), lambda dy, y, x: where(x > 0, dy, dy * exp(x / 0.7)), range=(-1, 1),
        node="Celu", attributes={"alpha": 0.7},
    ),
    "softplus": Case(F.softplus, lambda dy, y, x: (z := exp(x)) is not None and dy * z / (1 + z)),
    "softsign": Case(lambda x: x / (1 + x.abs()), lambda dy, y, x: dy / ((d := 1 + abs(x)) * d), node="Softsign"),
    "mish": Case(F.mish, lambda dy, y, x: dy * mish(x)),
    "softshrink": Case(
        F.softshrink, lambda dy, y, x: where((x > 0.5) | (x < -0.5), dy, np.zeros(X)), range=(-1, 1)
    ),
    "hardshrink": Case(
        F.hardshrink, lambda dy, y, x: where((x > 0.5) | (x < -0.5), dy, np.zeros(X)), range=(-1, 1)
    ),
    "hardtanh": Case(F.hardtanh, lambda dy, y, x: where((x > -1) & (x < 1), dy, np.zeros(X)), range=(-2, 2)),
    "relu6": Case(F.relu6, lambda dy, y, x: where((x > 0) & (x < 6), dy, np.zeros(X)), range=(-2, 8)),
    "hardsigmoid": Case(
        F.hardsigmoid, lambda dy, y, x: where((x > -3) & (x < 3), dy * (1 / 6), np.zeros(X)), range=(-4, 4)
    ),
    "hardswish": Case(
        F.hardswish,
        lambda dy, y, x: where(x < -3, np.zeros(X), where(x > 3, dy, dy * (x * (1 / 3) + 0.5))),
        range=(-4, 4),
    ),
    "log_sigmoid": Case(F.logsigmoid, lambda dy, y, x: dy * sigmoid(-x)),
    "silu": Case(F.silu, lambda dy, y, x: dy * swish(x)),
    # Several inputs; what was spread is summed.
    "maximum": Case(
        torch.maximum, lambda dy, y, a, b: (dy * (a > b), spread(dy * (b > a), (3,))), [X, (3,)]
    ),
    "minimum": Case(torch.minimum, lambda dy, y, a, b: (dy * (a < b), dy * (b < a)), [X, X]),
    "remainder": Case(
        torch.remainder, lambda dy, y, a, b: (dy, spread(-dy * floor(a / b), (3,))), [X, (3,)]
    ),
    "copysign": Case(
        torch.copysign,
        lambda dy, y, a, b: (dy * where(numbers(sign(a)) == numbers(sign(b)), 1, -1), zeros(*X)), [X, X], range=(-1, 1),
    ),
    "prelu": Case(
        F.prelu,
        lambda dy, y, x, w: (lambda up: (where(up, dy, dy * w), spread(dy * where(up, 0, x), (1,))))(x > 0),
        [X, (1,)], range=(-1, 1),
    ),
    "Sum": Case(lambda a, b: a + b, lambda dy, y, a, b: (dy, spread(dy, (3,))), [X, (3,)], "Sum"),
    "Mean": Case(
        lambda a, b: (a + b) / 2, lambda dy, y, a, b: (d := dy / 2, spread(d, (3,))), [X, (3,)], "Mean"
    ),
    "pow by a tensor": Case(
        torch.pow, lambda dy, y, a, b: (dy * (b * exp(log(a) * (b - 1))), dy * (y * log(a))), [X, X]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTS)
def test_elements(name: str) -> None:
    check(ELEMENTS[name])


# Reductions, softmax and losses. --------------------------------------------------------------------------------------


def picked(shape: tuple[int, ...], at: Any, values: Any) -> Any:
    """Add the values to zeros at their places."""
    dx = zeros(*shape)
    np.add.at(dx, at, values)
    return dx


def cross_entropy(dy: Any, y: Any, x: Any, target: Any, weight: Any = None) -> Any:
    """(softmax - 1 at the target) times its share of dy, by the logarithms of the softmax, which are kept."""
    kept = counted(torch.log_softmax(torch.tensor(numbers(x)), 1).numpy())
    dx = exp(kept)
    rows = np.arange(len(target))
    for at in rows:
        dx[at, target[at]] = dx[at, target[at]] - 1
    if weight is None:
        return dx * (dy / len(target))
    share = counted(weight)[target] * (dy / float(weight[target].sum()))
    return dx * share[:, None]


TARGET = np.array([2, 0])
WEIGHT = np.array([0.5, 1.5, 2.0])
REDUCTIONS: dict[str, Case] = {
    "prod": Case(lambda x: x.prod(1), lambda dy, y, x: (dy * y)[:, None] / x),
    "ReduceL1": Case(
        lambda x: x.abs().sum(1, keepdim=True), lambda dy, y, x: dy * sign(x), [X], "ReduceL1", {"axes": [1]},
        range=(-1, 1),
    ),
    "ReduceL2": Case(
        lambda x: x.norm(dim=1, keepdim=True), lambda dy, y, x: dy / y * x, [X], "ReduceL2", {"axes": [1]}
    ),
    "ReduceSumSquare": Case(
        lambda x: (x * x).sum(1, keepdim=True), lambda dy, y, x: 2 * x * dy, [X], "ReduceSumSquare", {"axes": [1]}
    ),
    "ReduceLogSum": Case(
        lambda x: x.sum(1, keepdim=True).log(), lambda dy, y, x: np.broadcast_to(dy / exp(y), X), [X], "ReduceLogSum",
        {"axes": [1]},
    ),
    "logsumexp": Case(lambda x: x.logsumexp(1), lambda dy, y, x: dy[:, None] * exp(x - y[:, None])),
    "std": Case(
        lambda x: x.std(1),
        lambda dy, y, x: ((2 / 2) * (dy / (2 * y)))[:, None] * (x - x.sum(1, keepdims=True) / 3),
    ),
    "norm": Case(lambda x: torch.linalg.vector_norm(x, dim=1), lambda dy, y, x: (dy / y)[:, None] * x),
    "cumprod": Case(
        lambda x: x.cumprod(1), lambda dy, y, x: (dy * y)[:, ::-1].cumsum(1)[:, ::-1] / x, trust="estimate"
    ),
    "logcumsumexp": Case(
        lambda x: x.logcumsumexp(1), lambda dy, y, x: exp(x) * (dy * exp(-y))[:, ::-1].cumsum(1)[:, ::-1],
        trust="estimate",
    ),
    "sort": Case(
        lambda x: x.sort(1)[0], lambda dy, y, x: np.take_along_axis(dy, numbers(x).argsort(1).argsort(1), 1)
    ),
    "LogSoftmax": Case(
        lambda x: x.log_softmax(1), lambda dy, y, x: dy - exp(y) * dy.sum(1, keepdims=True), [X], "LogSoftmax"
    ),
    "BiasSoftmax": Case(
        lambda x, b: (x + b).softmax(1),
        lambda dy, y, x, b: (dz := y * (dy - (dy * y).sum(1, keepdims=True)), spread(dz, (1, 3))), [X, (1, 3)],
        "BiasSoftmax", {"axis": 1, "is_inner_broadcast": 0}, "com.microsoft",
    ),
    "nll": Case(
        lambda x, at: F.nll_loss(x, at),
        lambda dy, y, x, at: picked_first(X, (np.arange(2), at), -np.array([dy / 2.0 for _ in at])), [X, TARGET],
        "NegativeLogLikelihoodLoss",
    ),
    "cross entropy": Case(F.cross_entropy, cross_entropy, [X, TARGET], "SoftmaxCrossEntropyLoss"),
    "cross entropy by class": Case(
        F.cross_entropy, cross_entropy, [X, TARGET, WEIGHT], "SoftmaxCrossEntropyLoss"
    ),
}  # fmt: skip


def picked_first(shape: tuple[int, ...], at: Any, values: Any) -> Any:
    """Put the values at places of their own."""
    dx = zeros(*shape)
    dx[at] = values
    return dx


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str) -> None:
    check(REDUCTIONS[name])


# Normalisations. ------------------------------------------------------------------------------------------------------


def of_rows(dy: Any, x: Any, scale: Any = None, centred: bool = True, eps: float = 1e-5) -> tuple[Any, Any]:
    """Return dx and the normalised elements. Means and deviations of rows are kept."""
    values = numbers(x)
    mean = values.mean(-1, keepdims=True) if centred else 0
    by = counted(1 / np.sqrt(((values - mean) ** 2).mean(-1, keepdims=True) + eps))
    with again():
        normal = ((x - counted(mean)) if centred else x) * by
    d = dy if scale is None else dy * scale
    n = x.shape[-1]
    dx = d - normal * ((d * normal).sum(-1, keepdims=True) / n)
    if centred:
        dx = dx - d.sum(-1, keepdims=True) / n
    return dx * by, normal


def lp_norm(dy: Any, y: Any, x: Any) -> Any:
    with again():
        norm = sqrt((x * x).sum(-1, keepdims=True))
    return (dy - y * (dy * y).sum(-1, keepdims=True)) / norm


def lp_norm_1(dy: Any, y: Any, x: Any) -> Any:
    with again():
        norm = abs(x).sum(-1, keepdims=True)
    return (dy - sign(x) * (dy * y).sum(-1, keepdims=True)) / norm


CHANNELS = (1, 3, 2, 2)


def by_channel(v: Any) -> Any:
    return v[None, :, None, None]


def instance_norm(dy: Any, y: Any, x: Any, w: Any, b: Any) -> Any:
    rows = dy.reshape(3, 4)
    dx, normal = of_rows(rows, x.reshape(3, 4), w[:, None])
    return dx.reshape(x.shape), (rows * normal).sum(1), rows.sum(1)


def skip_norm(x: Any, skip: Any, w: Any, centred: bool = True) -> Any:
    z = x + skip
    return F.layer_norm(z, (3,), w) if centred else F.rms_norm(z, (3,), w, 1e-5)


def skip_group_norm(x: Any, w: Any, b: Any, skip: Any) -> Any:
    """Channels come last."""
    return F.group_norm((x + skip).movedim(-1, 1), 2, w, b).movedim(1, -1)


def skip_group_norm_gradient(dy: Any, y: Any, x: Any, w: Any, b: Any, skip: Any) -> Any:
    def rows(v: Any) -> Any:
        return np.moveaxis(v, -1, 1).reshape(1, 2, 8)

    scale = np.repeat(w, 4).reshape(2, 8)
    dz, normal = of_rows(rows(dy), rows(counted(numbers(x) + numbers(skip))), scale)
    dz = np.moveaxis(dz.reshape(1, 4, 2, 2), 1, -1)
    by_place = (rows(dy) * normal).reshape(4, 4)
    return dz, by_place.sum(1), rows(dy).reshape(4, 4).sum(1), dz


def gated_rms_norm(x: Any, w: Any, gate: Any) -> Any:
    return F.rms_norm(x, (3,), w, 1e-5) * F.silu(gate)


def gated_rms_norm_gradient(dy: Any, y: Any, x: Any, w: Any, gate: Any) -> Any:
    with again():
        s = sigmoid(gate)
        gated = gate * s
    d = dy * gated
    dx, normal = of_rows(d, x, w, centred=False)
    with again():
        scaled = normal * w
    dgate = dy * scaled * (s * (1 + gate * (1 - s)))
    return dx, (d * normal).sum(0), dgate


def lrn(dy: Any, y: Any, x: Any) -> Any:
    """Windows of 3 of 3 channels, with zeros around: the sums of windows take 2 additions everywhere."""
    size, alpha, beta, bias = 3, 0.1, 0.75, 1.0

    def window(v: Any) -> Any:
        wide = np.concatenate([zeros(1, 1, 2, 2), v, zeros(1, 1, 2, 2)], 1)
        return wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]

    with again():
        b = bias + (alpha / size) * window(x * x)
        power = exp(log(b) * beta)
    return dy / power - x * ((2 * alpha * beta / size) * window(dy * y / b))


NORMS: dict[str, Case] = {
    "instance norm": Case(
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b), instance_norm, [CHANNELS, (3,), (3,)],
        "InstanceNormalization",
    ),
    "LpNormalization": Case(lambda x: F.normalize(x, dim=1), lp_norm, [X], "LpNormalization"),
    "LpNormalization of 1": Case(
        lambda x: F.normalize(x, p=1, dim=1), lp_norm_1, [X], "LpNormalization", {"p": 1}
    ),
    "MeanVarianceNormalization": Case(
        lambda x: F.layer_norm(x, (3,), eps=1e-9), lambda dy, y, x: of_rows(dy, x, eps=1e-9)[0], [X],
        "MeanVarianceNormalization", {"axes": [1]},
    ),
    "LRN": Case(
        lambda x: F.local_response_norm(x, 3, 0.1), lrn, [CHANNELS], "LRN", {"size": 3, "alpha": 0.1, "bias": 1.0}
    ),
    "SkipGroupNorm": Case(
        skip_group_norm, skip_group_norm_gradient, [(1, 2, 2, 4), (4,), (4,), (1, 2, 2, 4)], "SkipGroupNorm",
        {"groups": 2, "activation": 0, "channels_last": 1}, "com.microsoft",
    ),
    "GatedRMSNorm": Case(
        gated_rms_norm, gated_rms_norm_gradient, [X, (3,), X], "GatedRMSNorm", {}, "com.microsoft"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_norms(name: str) -> None:
    check(NORMS[name])
