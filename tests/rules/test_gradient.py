"""Gradients, family by family: the work of a function's gradient by all of its inputs, worked out by hand.

x has 2 x 3 = 6 elements unless it is said otherwise. Where the gradient only moves, nothing is computed.
"""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402, N812 - its usual name

import macsim  # noqa: E402

X = (2, 3)
ROW = (3,)
IMAGE = (1, 2, 4, 4)

CASES: dict[str, tuple[Any, list[Any], dict[str, int]]] = {
    # Element by element: dy times the derivative.
    "relu": (torch.relu, [X], {"compare": 6}),
    "sigmoid": (torch.sigmoid, [X], {"add": 6, "mul": 12}),  # dy y (1 - y)
    "tanh": (torch.tanh, [X], {"add": 6, "mul": 12}),  # dy (1 - y y)
    "exp": (torch.exp, [X], {"mul": 6}),
    "log": (torch.log, [X], {"div": 6}),
    "sqrt": (torch.sqrt, [X], {"mul": 6, "div": 6}),  # dy / (2 y)
    "sin": (torch.sin, [X], {"trig": 6, "mul": 6}),
    "abs": (torch.abs, [X], {"logic": 6, "mul": 6}),
    "silu": (F.silu, [X], {"exp": 6, "add": 18, "div": 6, "mul": 18}),  # s = 1/(1 + e^-x); dy s (1 + x (1 - s))
    "floor": (torch.floor, [X], {}),
    # Two inputs; what was spread over 2 rows is summed: 3 additions.
    "add": (torch.add, [X, X], {}),
    "add a row": (torch.add, [X, ROW], {"add": 3}),
    "sub": (torch.sub, [X, X], {"logic": 6}),  # the second gets -dy
    "mul": (torch.mul, [X, X], {"mul": 12}),
    "mul a row": (torch.mul, [X, ROW], {"mul": 12, "add": 3}),
    "div": (torch.div, [X, X], {"div": 18, "mul": 6, "logic": 6}),  # dy/b; -dy (a/b)/b
    "square": (lambda x: x**2, [X], {"mul": 12}),  # 2 x dy
    "cube": (lambda x: x**3, [X], {"mul": 18}),  # 3 x^2 dy
    "where": (lambda x, y: torch.where(x > y, x, y), [X, X], {"logic": 12}),
    "clamp": (lambda x: x.clamp(0, 1), [X], {"compare": 12}),
    "to half": (lambda x: x.half(), [X], {"convert": 6}),
    # Sums over axes are spread again; a mean is divided, too.
    "sum": (torch.sum, [X], {}),
    "mean": (lambda x: x.mean(1), [X], {"div": 6}),
    "amax": (lambda x: x.amax(1), [X], {"compare": 6, "add": 4, "div": 2, "mul": 6}),
    "max": (lambda x: x.max(1)[0], [X], {}),
    "var": (lambda x: x.var(1), [X], {"add": 10, "div": 2, "mul": 8}),  # 2/(n-1) dy (x - mean)
    "cumsum": (lambda x: x.cumsum(1), [X], {"add": 4}),
    "softmax": (lambda x: x.softmax(-1), [X], {"mul": 12, "add": 10}),  # y (dy - sum(dy y)), rows of 3
    "log_softmax": (lambda x: x.log_softmax(-1), [X], {"exp": 6, "mul": 6, "add": 10}),
    # Views, moves, and what is spread.
    "reshape": (lambda x: x.reshape(6), [X], {}),
    "transpose": (lambda x: x.t(), [X], {}),
    "expand": (lambda x: x[None].expand(4, -1, -1), [X], {"add": 18}),
    "cat": (lambda x, y: torch.cat([x, y]), [X, X], {}),
    "slice": (lambda x: x[:, 1:], [X], {}),
    "repeat": (lambda x: x.repeat(3, 1), [X], {"add": 12}),
    "pad": (lambda x: F.pad(x, (1, 1)), [X], {}),
    # 2 x 2 windows of 16 elements: 4 means of each of 2 channels, a quarter for each element.
    "avg_pool": (lambda x: F.avg_pool2d(x, 2), [IMAGE], {"div": 8, "add": 32}),
    "max_pool": (lambda x: F.max_pool2d(x, 2), [IMAGE], {"add": 8}),
    # 2 rows of 3: dy w; summed with and without x^, 2 * 2 additions each; both taken off, 6 each; by 1/sd.
    # dw sums dy x^ over 2 rows, db sums dy: 3 additions each.
    "layer_norm": (
        lambda x, w, b: F.layer_norm(x, (3,), w, b),
        [X, ROW, ROW],
        {"mul": 4 * 6 + 6, "add": 2 * (4 + 6) + 3 + 3, "div": 4},
    ),
    "rms_norm": (lambda x, w: F.rms_norm(x, (3,), w), [X, ROW], {"mul": 4 * 6 + 6, "add": 4 + 6 + 3, "div": 2}),
    # By known statistics: dy times w/sd, of 2 channels; dw and db sum 16 elements of each channel.
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, torch.zeros(2), torch.ones(2), w, b),
        [IMAGE, (2,), (2,)],
        {"mul": 32 + 2 + 32, "add": 30 + 30},
    ),
    # Products: as many for each operand; a vector that meets 2 batches of 5 rows is summed.
    "matmul": (torch.matmul, [(2, 5, 3), (3, 4)], {"mac": 2 * 2 * 5 * 3 * 4}),
    "bmm": (torch.bmm, [(2, 5, 3), (2, 3, 4)], {"mac": 2 * 120}),
    "matmul spread": (torch.matmul, [(2, 5, 3), (1, 3, 4)], {"mac": 2 * 120, "add": 12}),
    "addmm": (torch.addmm, [(4,), (5, 3), (3, 4)], {"mac": 2 * 60, "add": 16}),
    "einsum": (lambda x, y: torch.einsum("ij,kj->ik", x, y), [X, (4, 3)], {"mac": 2 * 24}),
    "outer": (torch.outer, [(5,), (4,)], {"mac": 2 * 20}),
}


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    function, shapes, want = CASES[name]
    got = macsim.count(function, *shapes, training=macsim.Training(inputs=["*"])).training.backward
    assert {kind: n for kind, n in got.work.items() if n} == want
    assert got.trust == "exact"


@pytest.mark.parametrize(
    ("function", "index", "bytes_"),
    [
        # 5 indices of rows of 3: dy and the indices are read, the whole of the table's gradient is written.
        (lambda x, at: x[at], 5, (5 * 3 * 4 + 5 * 8, 12 * 4)),
        (lambda x, at: F.embedding(at, x), 5, (5 * 3 * 4 + 5 * 8, 12 * 4)),
    ],
)
def test_picked(function: Any, index: int, bytes_: tuple[int, int]) -> None:
    at = torch.zeros(index, dtype=torch.int64)
    got = macsim.count(function, (4, 3), at, training=macsim.Training(inputs=["*"])).training.backward
    assert (got.work["add"], (got.read, got.written)) == (15, bytes_)


def test_bytes() -> None:
    """relu reads dy and y, mul dy and the other factor for each; a sum and a view nothing. 24 bytes each."""

    def moved(function: Any, *shapes: Any) -> list[tuple[int, int]]:
        got = macsim.count(function, *shapes, training=macsim.Training(inputs=["*"])).training.backward
        return [(row.read, row.written) for row in got.rows]

    assert moved(torch.relu, X) == [(48, 24)]
    assert moved(torch.mul, X, X) == [(72, 48)]
    assert moved(torch.add, X, X) == [(0, 0)]
    assert moved(lambda x: x.view(6), X) == [(0, 0)]
