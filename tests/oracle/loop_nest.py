"""Contractions as the loops that define them: a multiply-add is a trip through the innermost loop, and counted there.

Nothing here knows a formula. The nests compute the actual results as well, so that a test can compare those with a
trusted implementation: a nest that computes the right thing cannot have counted something else. For small sizes only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass
class Tally:
    """What was counted: multiply-adds, and how many of them met padding, or a place that padding cut away."""

    macs: int = 0
    on_padding: int = 0


def _points(*sizes: int) -> Iterator[tuple[int, ...]]:
    return itertools.product(*(range(size) for size in sizes))


def _inside(at: Sequence[int], sizes: Sequence[int]) -> bool:
    return all(0 <= i < size for i, size in zip(at, sizes, strict=True))


def conv(
    x: Array,
    w: Array,
    tally: Tally,
    *,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    group: int = 1,
) -> Array:
    """Convolution of x [N, C, ...] with w [M, C/group, ...]; a tap on padding multiplies a zero."""
    axes = x.ndim - 2
    kernel = w.shape[2:]
    out = tuple(
        (x.shape[i + 2] + pads[i] + pads[i + axes] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i in range(axes)
    )
    y = np.zeros((x.shape[0], w.shape[0], *out))
    for n, m, *place in _points(*y.shape):
        first = m // (w.shape[0] // group) * w.shape[1]
        for c, *tap in _points(*w.shape[1:]):
            at = [place[i] * strides[i] + tap[i] * dilations[i] - pads[i] for i in range(axes)]
            tally.macs += 1
            if _inside(at, x.shape[2:]):
                y[n, m, *place] += x[n, first + c, *at] * w[m, c, *tap]
            else:
                tally.on_padding += 1
    return y


def conv_transposed(
    x: Array,
    w: Array,
    tally: Tally,
    *,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    output_padding: Sequence[int],
    group: int = 1,
) -> Array:
    """Transposed convolution of x [N, C, ...] with w [C, M/group, ...]; what falls outside is computed and dropped."""
    axes = x.ndim - 2
    out = tuple(
        strides[i] * (x.shape[i + 2] - 1)
        + output_padding[i]
        + (w.shape[i + 2] - 1) * dilations[i]
        + 1
        - pads[i]
        - pads[i + axes]
        for i in range(axes)
    )
    y = np.zeros((x.shape[0], w.shape[1] * group, *out))
    for n, c, *place in _points(*x.shape):
        first = c // (x.shape[1] // group) * w.shape[1]
        for m, *tap in _points(*w.shape[1:]):
            at = [place[i] * strides[i] + tap[i] * dilations[i] - pads[i] for i in range(axes)]
            tally.macs += 1
            if _inside(at, out):
                y[n, first + m, *at] += x[n, c, *place] * w[c, m, *tap]
            else:
                tally.on_padding += 1
    return y


def matmul(a: Array, b: Array, tally: Tally) -> Array:
    """Matrix product with numpy's rules for vectors and batches."""
    left = a[np.newaxis, :] if a.ndim == 1 else a
    right = b[:, np.newaxis] if b.ndim == 1 else b
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = np.broadcast_to(left, (*batch, *left.shape[-2:]))
    right = np.broadcast_to(right, (*batch, *right.shape[-2:]))
    y = np.zeros((*batch, left.shape[-2], right.shape[-1]))
    for *at, i, j in _points(*y.shape):
        for k in range(left.shape[-1]):
            tally.macs += 1
            y[*at, i, j] += left[*at, i, k] * right[*at, k, j]
    if a.ndim == 1:
        y = y[..., 0, :]
    if b.ndim == 1:
        y = y[..., 0]
    return y


def einsum(terms: Sequence[str], result: str, operands: Sequence[Array], tally: Tally) -> Array:
    """Einstein summation of two operands: one loop for each letter."""
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        sizes.update(zip(term, operand.shape, strict=True))
    y = np.zeros([sizes[letter] for letter in result])
    for point in _points(*sizes.values()):
        at = dict(zip(sizes, point, strict=True))
        product = 1.0
        for term, operand in zip(terms, operands, strict=True):
            product *= operand[tuple(at[letter] for letter in term)]
        tally.macs += 1
        y[tuple(at[letter] for letter in result)] += product
    return y


def attention(q: Array, k: Array, v: Array, tally: Tally, *, causal: bool = False) -> Array:
    """softmax(q k^T / sqrt(size)) v for [batch, heads, length, size]; heads of q share those of k and v in groups.

    A masked score is computed like any other, then replaced; its probability is 0, and multiplies a value all the same.
    """
    batch, heads, queries, size = q.shape
    keys = k.shape[2]
    share = heads // k.shape[1]
    y = np.zeros((batch, heads, queries, v.shape[3]))
    for n, h, i in _points(batch, heads, queries):
        scores = np.zeros(keys)
        for j, d in _points(keys, size):
            tally.macs += 1
            scores[j] += q[n, h, i, d] * k[n, h // share, j, d]
        scores /= np.sqrt(size)
        if causal:
            scores[i + 1 :] = -np.inf
        probabilities = np.exp(scores - scores.max())
        probabilities /= probabilities.sum()
        for j, d in _points(keys, v.shape[3]):
            tally.macs += 1
            y[n, h, i, d] += probabilities[j] * v[n, h // share, j, d]
    return y


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _rows(w: Array, x: Array, tally: Tally) -> Array:
    """A matrix times a vector."""
    y = np.zeros(w.shape[0])
    for i, j in _points(*w.shape):
        tally.macs += 1
        y[i] += w[i, j] * x[j]
    return y


def _rnn_step(w: Array, r: Array, x: Array, h: Array, c: Array, tally: Tally) -> tuple[Array, Array]:
    return np.tanh(_rows(w, x, tally) + _rows(r, h, tally)), c


def _gru_step(w: Array, r: Array, x: Array, h: Array, c: Array, tally: Tally) -> tuple[Array, Array]:
    wz, wr, wh = np.split(w, 3)
    rz, rr, rh = np.split(r, 3)
    z = _sigmoid(_rows(wz, x, tally) + _rows(rz, h, tally))
    reset = _sigmoid(_rows(wr, x, tally) + _rows(rr, h, tally))
    fresh = np.tanh(_rows(wh, x, tally) + _rows(rh, reset * h, tally))
    return (1 - z) * fresh + z * h, c


def _lstm_step(w: Array, r: Array, x: Array, h: Array, c: Array, tally: Tally) -> tuple[Array, Array]:
    wi, wo, wf, wc = np.split(w, 4)
    ri, ro, rf, rc = np.split(r, 4)
    i = _sigmoid(_rows(wi, x, tally) + _rows(ri, h, tally))
    o = _sigmoid(_rows(wo, x, tally) + _rows(ro, h, tally))
    f = _sigmoid(_rows(wf, x, tally) + _rows(rf, h, tally))
    c = f * c + i * np.tanh(_rows(wc, x, tally) + _rows(rc, h, tally))
    return o * np.tanh(c), c


_STEPS: dict[str, Any] = {"RNN": _rnn_step, "GRU": _gru_step, "LSTM": _lstm_step}


def recurrent(kind: str, x: Array, w: Array, r: Array, tally: Tally) -> Array:
    """Y of an RNN, GRU or LSTM without biases, from x [steps, batch, input]; the second direction runs backwards."""
    steps, batch, _ = x.shape
    directions, _, hidden = r.shape
    y = np.zeros((steps, directions, batch, hidden))
    for d, n in _points(directions, batch):
        h = np.zeros(hidden)
        c = np.zeros(hidden)
        for t in range(steps) if d == 0 else reversed(range(steps)):
            h, c = _STEPS[kind](w[d], r[d], x[t, n], h, c, tally)
            y[t, d, n] = h
    return y
