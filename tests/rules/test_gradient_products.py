# Gradients written out in numbers that count: of products, deformable convolutions, recurrences, fused functions.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gradient_truth import Case, X, check  # noqa: E402
from oracle.counted import (  # noqa: E402
    Counted,
    again,
    counted,
    erf,
    exp,
    numbers,
    product,
    sigmoid,
    spread,
    tanh,
    where,
    zeros,
)  # fmt: skip
from torch.nn import functional as F  # noqa: E402, N812 - its usual name

# Products. ------------------------------------------------------------------------------------------------------------


def matmul(dy: Any, a: Any, b: Any) -> tuple[Any, Any]:
    return product("mn,kn->mk", dy, b), product("mk,mn->kn", a, dy)


def gemm(dy: Any, y: Any, a: Any, b: Any, c: Any) -> Any:
    """alpha a^T b + beta c, a column."""
    scaled = dy * 0.5
    return product("mn,kn->km", scaled, b), product("km,mn->kn", a, scaled), spread(dy, (2, 1)) * 2.0


def bilinear(dy: Any, y: Any, a: Any, b: Any, w: Any, c: Any) -> Any:
    """Each by two products, as the run: w with the other input first."""
    da = product("nk,nki->ni", dy, product("kij,nj->nki", w, b))
    db = product("nk,nkj->nj", dy, product("kij,ni->nkj", w, a))
    dw = product("nki,nj->kij", product("nk,ni->nki", dy, a), b)
    return da, db, dw, dy.sum(0)


PRODUCTS: dict[str, Case] = {
    "Gemm": Case(
        lambda a, b, c: 0.5 * a.t() @ b + 2 * c, gemm, [(4, 2), (4, 3), (2, 1)], "Gemm",
        {"transA": 1, "alpha": 0.5, "beta": 2.0},
    ),
    "FusedGemm": Case(
        lambda a, b, c: F.relu(a @ b + c),
        lambda dy, y, a, b, c: (*matmul(d := where(y > 0, dy, 0), a, b), d.sum(0)),
        [(2, 4), (4, 3), (3,)], "FusedGemm", {"activation": "Relu"}, "com.microsoft",
    ),
    "bilinear": Case(F.bilinear, bilinear, [(2, 3), (2, 5), (4, 3, 5), (4,)]),
    "baddbmm": Case(
        lambda c, a, b: torch.baddbmm(c, a, b, alpha=0.5),
        lambda dy, y, c, a, b: (
            spread(dy, (1, 3)), product("bmn,bkn->bmk", d := dy * 0.5, b), product("bmk,bmn->bkn", a, d)
        ), [(1, 3), (2, 4, 5), (2, 5, 3)],
    ),
    "addbmm": Case(
        torch.addbmm,
        lambda dy, y, c, a, b: (dy, product("mn,bkn->bmk", dy, b), product("bmk,mn->bkn", a, dy)),
        [(4, 3), (2, 4, 5), (2, 5, 3)],
    ),
    "addmv": Case(
        torch.addmv, lambda dy, y, c, a, b: (dy, product("m,k->mk", dy, b), product("mk,m->k", a, dy)),
        [(4,), (4, 3), (3,)],
    ),
    "addr": Case(
        torch.addr, lambda dy, y, c, a, b: (dy, product("mn,n->m", dy, b), product("m,mn->n", a, dy)),
        [(4, 3), (4,), (3,)],
    ),
    "mv": Case(
        torch.mv, lambda dy, y, a, b: (product("m,k->mk", dy, b), product("mk,m->k", a, dy)), [(4, 3), (3,)]
    ),
    "ConvTranspose": Case(
        lambda x, w: F.conv_transpose1d(x, w, stride=2),
        lambda dy, y, x, w: (
            product("nlok,iok->nil", taps := sliding(dy, 3, 2), w), product("nil,nlok->iok", x, taps)
        ),
        [(2, 3, 4), (3, 5, 3)], "ConvTranspose", {"strides": [2]},
    ),
    "conv3d": Case(
        lambda x, w: F.conv3d(x[..., None, None], w[..., None, None])[..., 0, 0],
        lambda dy, y, x, w: (
            unslid(product("nol,oik->nilk", dy, w), 6),
            product("nol,nlik->oik", dy, sliding(x, 3, 1)),
        ), [(2, 3, 6), (5, 3, 3)],
    ),
}  # fmt: skip


def sliding(x: Any, kernel: int, stride: int) -> Any:
    """[n, places, channels, kernel]."""
    starts = range(0, x.shape[-1] - kernel + 1, stride)
    return np.stack([x[..., start : start + kernel] for start in starts], 1)


def unslid(taps: Any, size: int) -> Any:
    """Sum [n, channels, places, kernel] where they lie; these additions are of the products."""
    values = numbers(taps)
    dx = np.zeros((*values.shape[:2], size))
    for place in range(values.shape[2]):
        dx[..., place : place + values.shape[3]] += values[:, :, place]
    return counted(dx)


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name: str) -> None:
    check(PRODUCTS[name])


# Deformable convolution. ----------------------------------------------------------------------------------------------

# One image of 2 channels, 7 x 7, kernels of 2 x 2, every other place: 3 x 3 places of 4 taps. Offsets keep inside.
TAPS = list(itertools.product(range(3), range(3), range(2), range(2)))


def deformed(x: Any, w: Any, offset: Any, bias: Any, mask: Any) -> Any:
    columns = []
    for i, j, a, b in TAPS:
        tap = 2 * (2 * a + b)
        top, left = 2 * i + a + offset[0, tap, i, j], 2 * j + b + offset[0, tap + 1, i, j]
        row, column = int(top), int(left)
        u, v = top - row, left - column
        sample = ((1 - u) * (1 - v) * x[0, :, row, column] + (1 - u) * v * x[0, :, row, column + 1]
                  + u * (1 - v) * x[0, :, row + 1, column] + u * v * x[0, :, row + 1, column + 1])  # fmt: skip
        columns.append(sample * mask[0, tap // 2, i, j])
    taken = torch.stack(columns).reshape(3, 3, 4, 2)
    return torch.einsum("ijtc,oct->oij", taken, w.flatten(2))[None] + bias[:, None, None]


def deformed_gradient(dy: Any, y: Any, x: Any, w: Any, offset: Any, bias: Any, mask: Any) -> Any:
    dx, doffset, dmask = zeros(*x.shape), zeros(*offset.shape), zeros(*mask.shape)
    dsamples = product("oij,oct->ijtc", dy[0], w.reshape(3, 2, 4))
    columns = zeros(3, 3, 4, 2)
    for i, j, a, b in TAPS:
        tap = 2 * a + b
        with again():
            places = [start + offset[0, 2 * tap + axis, i, j] for axis, start in enumerate((2 * i + a, 2 * j + b))]
            row, column = (int(place) for place in places)
            weights = [[1 - ahead, ahead] for ahead in (places[0] - row, places[1] - column)]
            corners = list(itertools.product(range(2), repeat=2))
            joint = {(p, q): weights[0][p] * weights[1][q] for p, q in corners}
            pixels = {(p, q): x[0, :, row + p, column + q] for p, q in corners}
            sample = sum(pixels[at] * joint[at] for at in corners[1:]) + pixels[0, 0] * joint[0, 0] - zeros(2)
            # The sum began at a plain 0, and was brought to numbers that count: two additions for each channel.
            Counted.work["add"] -= 4
            columns[i, j, tap] = sample * mask[0, tap, i, j]
        d = dsamples[i, j, tap]
        for channel in range(2):
            dmask[0, tap, i, j] = dmask[0, tap, i, j] + d[channel] * sample[channel]
            of = d[channel] * mask[0, tap, i, j]
            along = [Counted(0), Counted(0)]
            for p, q in corners:
                at = (0, channel, row + p, column + q)
                dx[at] = dx[at] + of * joint[p, q]
                for axis, term in enumerate((pixels[p, q][channel] * weights[1][q],
                                             pixels[p, q][channel] * weights[0][p])):  # fmt: skip
                    along[axis] = along[axis] + term if (p, q)[axis] else along[axis] - term
            for axis in range(2):
                # The first of the four sums above was to zero; this one is over the channels.
                Counted.work["add"] -= 1
                place = (0, 2 * tap + axis, i, j)
                doffset[place] = doffset[place] + along[axis] * of
    dw = product("oij,ijtc->oct", dy[0], columns).reshape(w.shape)
    return dx, dw, doffset, dy[0].sum((1, 2)), dmask


def test_deformable_convolution() -> None:
    check(
        Case(
            deformed, deformed_gradient, [(1, 2, 7, 7), (3, 2, 2, 2), (1, 8, 3, 3), (3,), (1, 4, 3, 3)], "DeformConv",
            {"kernel_shape": [2, 2], "strides": [2, 2]},
        )
    )  # fmt: skip


# Recurrent networks: 3 steps of 2 rows of 4, 5 hidden; the first state is 0. ------------------------------------------

STEPS, ROWS, IN, HIDDEN = 3, 2, 4, 5
CELLS = {"rnn": 1, "gru": 3, "lstm": 4}


def recurrent(kind: str) -> Any:
    def run(x: Any, w: Any, r: Any, b: Any, c: Any) -> Any:
        first = torch.zeros(1, ROWS, HIDDEN, dtype=x.dtype, device=x.device)
        function = {"rnn": torch.rnn_tanh, "gru": torch.gru, "lstm": torch.lstm}[kind]
        state = [first, first] if kind == "lstm" else first
        return function(x, state, [w, r, b, c], True, 1, 0.0, False, False, False)[0]

    return run


def plain_states(kind: str, x: Any, w: Any, r: Any, b: Any, c: Any) -> dict[str, Any]:
    """What the run kept, step by step: gates and states; it is no work of the gradient's."""
    x, w, r, b, c = (numbers(one) for one in (x, w, r, b, c))
    h, cell = np.zeros((ROWS, HIDDEN)), np.zeros((ROWS, HIDDEN))
    kept: dict[str, Any] = {name: [] for name in ("h", "c", "i", "f", "g", "o", "tc", "hn")}

    def logistic(z: Any) -> Any:
        return 1 / (1 + np.exp(-z))

    for t in range(STEPS):
        kept["h"].append(h)
        kept["c"].append(cell)
        into, round_ = x[t] @ w.T + b, h @ r.T + c
        if kind == "rnn":
            h = np.tanh(into + round_)
        elif kind == "gru":
            reset, z = (logistic((into + round_)[:, at * HIDDEN : (at + 1) * HIDDEN]) for at in range(2))
            hn = round_[:, 2 * HIDDEN :]
            new = np.tanh(into[:, 2 * HIDDEN :] + reset * hn)
            h = (1 - z) * new + z * h
            for name, one in zip(("i", "f", "g", "hn"), (reset, z, new, hn), strict=True):
                kept[name].append(one)
        else:
            i, f, g, o = np.split(into + round_, 4, 1)
            i, f, g, o = logistic(i), logistic(f), np.tanh(g), logistic(o)
            cell = f * cell + i * g
            h = o * np.tanh(cell)
            for name, one in zip(("i", "f", "g", "o", "tc"), (i, f, g, o, np.tanh(cell)), strict=True):
                kept[name].append(one)
    return {name: [counted(one) for one in steps] for name, steps in kept.items()}


def recurrent_gradient(kind: str) -> Any:
    def gradient(dy: Any, y: Any, x: Any, w: Any, r: Any, b: Any, c: Any) -> Any:
        s = plain_states(kind, x, w, r, b, c)
        gates, hidden_gates = [], []
        through: Any = None  # by the products of the step after: they add to dy as they are summed
        beside, dcell = zeros(ROWS, HIDDEN), zeros(ROWS, HIDDEN)
        for t in reversed(range(STEPS)):
            dh = dy[t] if through is None else counted(numbers(dy[t]) + numbers(through))
            if kind == "rnn":
                own = others = dh * (1 - y[t] * y[t])
            elif kind == "gru":
                dh = dh + beside
                reset, z, new, before = s["i"][t], s["f"][t], s["g"][t], s["h"][t]
                dnew, dz, beside = dh * (1 - z), dh * (before - new), dh * z
                dnew = dnew * (1 - new * new)
                dreset, dhn = dnew * s["hn"][t], dnew * reset
                dz, dreset = dz * (z * (1 - z)), dreset * (reset * (1 - reset))
                own = np.concatenate([dreset, dz, dnew], 1)
                others = np.concatenate([dreset, dz, dhn], 1)
            else:
                i, f, g, o, tc = (s[name][t] for name in ("i", "f", "g", "o", "tc"))
                do, dcell = dh * tc, dcell + dh * o * (1 - tc * tc)
                di, dg, df = dcell * g, dcell * i, dcell * s["c"][t]
                dcell = dcell * f
                parts = [d * (gate * (1 - gate)) for d, gate in ((di, i), (df, f), (do, o))]
                own = others = np.concatenate([*parts[:2], dg * (1 - g * g), parts[2]], 1)
            gates.append(own)
            hidden_gates.append(others)
            if t:
                through = product("ng,gh->nh", others, r)
        own, others = np.stack(gates[::-1]), np.stack(hidden_gates[::-1])
        wide = len(w)
        db = own.reshape(-1, wide).sum(0)
        dc = db if kind != "gru" else np.concatenate(
            [db[: 2 * HIDDEN], others.reshape(-1, wide)[:, 2 * HIDDEN :].sum(0)]
        )  # fmt: skip
        return (
            product("tng,gi->tni", own, w), product("tng,tni->gi", own, x),
            product("tng,tnh->gh", others, np.stack(s["h"])), db, dc,
        )  # fmt: skip

    return gradient


@pytest.mark.parametrize("kind", CELLS)
def test_recurrent(kind: str) -> None:
    wide = CELLS[kind] * HIDDEN
    shapes = [(STEPS, ROWS, IN), (wide, IN), (wide, HIDDEN), (wide,), (wide,)]
    check(Case(recurrent(kind), recurrent_gradient(kind), shapes))


# Fused functions. -----------------------------------------------------------------------------------------------------


def gelu(z: Any) -> tuple[Any, Any]:
    """Phi(z), and Phi(z) + z phi(z)."""
    phi = 0.5 * (1 + erf(z * 0.5**0.5))
    return phi, phi + z * ((2 * np.pi) ** -0.5 * exp(-0.5 * z * z))


def bias_gelu(dy: Any, y: Any, x: Any, b: Any) -> Any:
    with again():
        z = x + b
    d = dy * gelu(z)[1]
    return d, spread(d, (3,))


def fast_gelu(dy: Any, y: Any, x: Any) -> Any:
    k, c = (2 / np.pi) ** 0.5, 0.044715
    square = x * x
    t = tanh(k * (x + c * (square * x)))
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (k * (1 + 3 * c * square)))


def swish(dy: Any, y: Any, x: Any, alpha: float = 0.5) -> Any:
    """x sigmoid(alpha x)."""
    z = alpha * x
    s = sigmoid(z)
    return dy * (s * (1 + z * (1 - s)))


def scaled_silu(dy: Any, y: Any, x: Any, scale: Any) -> Any:
    z = scale * x
    s = sigmoid(z)
    dz = dy * (s * (1 + z * (1 - s)))
    return dz * scale, np.array((dz * x).sum())


def swiglu(dy: Any, y: Any, gate: Any, up: Any) -> Any:
    s = sigmoid(gate)
    return dy * up * (s * (1 + gate * (1 - s))), dy * (gate * s)


def complex_product(dy: Any, y: Any, a: Any, b: Any) -> Any:
    def times_conjugate(d: Any, z: Any) -> Any:
        return np.stack([d[..., 0] * z[..., 0] + d[..., 1] * z[..., 1],
                         d[..., 1] * z[..., 0] - d[..., 0] * z[..., 1]], -1)  # fmt: skip

    return times_conjugate(dy, b), times_conjugate(dy, a)


FUSED: dict[str, Case] = {
    "BiasGelu": Case(lambda x, b: F.gelu(x + b), bias_gelu, [X, (3,)], "BiasGelu", {}, "com.microsoft"),
    "FastGelu": Case(lambda x: F.gelu(x, approximate="tanh"), fast_gelu, [X], "FastGelu", {}, "com.microsoft"),
    "QuickGelu": Case(
        lambda x: x * torch.sigmoid(1.702 * x), lambda dy, y, x: swish(dy, y, x, 1.702), [X], "QuickGelu",
        {"alpha": 1.702}, "com.microsoft",
    ),
    "ScaledSiLU": Case(
        lambda x, scale: F.silu(scale * x), scaled_silu, [X, ()], "ScaledSiLU", {}, "com.microsoft"
    ),
    "Swish": Case(lambda x: x * torch.sigmoid(0.5 * x), swish, [X], "Swish", {"alpha": 0.5}),
    "SwiGLU": Case(lambda gate, up: F.silu(gate) * up, swiglu, [X, X], "SwiGLU", {}, "com.microsoft"),
    "BiasAdd": Case(
        lambda x, b, skip: x + b + skip, lambda dy, y, x, b, skip: (dy, dy.sum((0, 1)), dy),
        [(1, 4, 3), (3,), (1, 4, 3)], "BiasAdd", {}, "com.microsoft",
    ),
    "ComplexMul": Case(
        lambda a, b: torch.view_as_real(torch.view_as_complex(a) * torch.view_as_complex(b)), complex_product,
        [(3, 2), (3, 2)], "ComplexMul", {}, "com.microsoft",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUSED)
def test_fused(name: str) -> None:
    check(FUSED[name])
