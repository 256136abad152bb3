"""Traffic behind a memory against memories that are simulated access by access, and against known lower bounds."""

from __future__ import annotations

import math

import cache_simulator as simulator
import pytest
from onnx_text import count, floats

import macsim

FLOAT = 4  # bytes; the simulator counts elements


def moved(report: macsim.Report, room: int) -> float:
    """Elements that move, behind a memory of so many."""
    value = report.traffic("cached", room * FLOAT).bytes
    assert isinstance(value, int)
    return value / FLOAT


def tiles(room: int) -> list[int]:
    side = max(1, math.isqrt(room))
    return sorted({1, max(1, side // 2), max(1, side - 2), side})


def product(m: int, n: int, k: int) -> macsim.Report:
    text = f"g (float[{m},{k}] a, float[{k},{n}] b) => (float[{m},{n}] c) {{ c = MatMul(a, b) }}"
    return count(text)


@pytest.mark.parametrize(("m", "n", "k"), [(16, 16, 16), (32, 6, 12), (5, 24, 12)])
@pytest.mark.parametrize("room", [20, 70, 200])
def test_product(m: int, n: int, k: int, room: int) -> None:
    report = product(m, n, k)
    got = moved(report, room)
    traces = [simulator.product(m, n, k, i, j) for i in {*tiles(room), m} for j in {*tiles(room), n} if i * j <= room]
    for policy in (simulator.lru, simulator.belady):
        best = simulator.best(iter(traces), room, policy)
        assert best / 2 <= got <= 2 * best, (policy.__name__, got, best)
    (kernel,) = report.traffic("cached", room * FLOAT).kernels
    assert kernel.io_bound <= kernel.bytes
    assert (
        kernel.io_bound
        >= 2 * m * n * k / math.sqrt(room) * FLOAT - 2 * (room + 1) * FLOAT - 2 * m * n * k * FLOAT / room
    )


@pytest.mark.parametrize("room", [30, 90, 300])
def test_convolution(room: int) -> None:
    size, channels, filters, kernel = 9, 3, 6, 3
    text = (
        f"g (float[1,{channels},{size},{size}] x, float[{filters},{channels},{kernel},{kernel}] w) =>"
        f" (float[1,{filters},{size - kernel + 1},{size - kernel + 1}] y) {{ y = Conv(x, w) }}"
    )
    report = count(text)
    got = moved(report, room)
    traces = [
        simulator.convolution(size, channels, filters, kernel, tile, some)
        for tile in (1, 2, 4, 7)
        for some in (1, 3, 6)
        if tile * tile * some <= room
    ]
    for policy in (simulator.lru, simulator.belady):
        best = simulator.best(iter(traces), room, policy)
        assert best / 2 <= got <= 2 * best, (policy.__name__, got, best)
    (one,) = report.traffic("cached", room * FLOAT).kernels
    assert one.io_bound <= one.bytes


@pytest.mark.parametrize("room", [40, 120, 400])
def test_attention(room: int) -> None:
    queries, keys, size = 24, 20, 4
    text = (
        f"g (float[{queries},{size}] q, float[{size},{keys}] k, float[{keys},{size}] v) => (float[{queries},{size}] o)"
        " { s = MatMul(q, k)\n t = Mul(s, half)\n p = Softmax(t)\n o = MatMul(p, v) }"
    )
    report = count(text, half=floats())
    assert len(report.traffic("fused").kernels) == 1
    got = moved(report, room)
    traces = [simulator.attention(queries, keys, size, tile) for tile in (1, 2, 4, 8, 24) if 2 * tile * size <= room]
    for policy in (simulator.lru, simulator.belady):
        best = simulator.best(iter(traces), room, policy)
        assert best / 2 <= got <= 2 * best, (policy.__name__, got, best)


def test_attention_of_one_operator_is_that_of_its_pieces() -> None:
    torch = pytest.importorskip("torch")
    attend = torch.nn.functional.scaled_dot_product_attention
    whole = macsim.count(attend, *[(1, 2, 64, 16)] * 3)

    def pieces(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return torch.softmax(q @ k.transpose(-1, -2) * 0.25, -1) @ v

    apart = macsim.count(pieces, *[(1, 2, 64, 16)] * 3)
    for capacity in (1_000, 4_000, 16_000, 1_000_000):
        assert whole.traffic("cached", capacity).bytes == apart.traffic("cached", capacity).bytes


def test_results_stay_until_as_much_was_touched() -> None:
    """Two kernels of one result each, 400 bytes, which a third reads."""
    text = """g (float[100] x, float[100] z) => (float[200] y) {
        a = Relu(x)
        b = Softmax(z)
        c = Softmax(a)
        y = Concat <axis=0> (b, c)
    }"""
    report = count(text)
    assert [kernel.ops for kernel in report.traffic("fused").kernels] == [["Relu", "Softmax"], ["Softmax"], ["Concat"]]
    # x and z are read, y is written; with little room what passes between kernels is written and read as well.
    assert report.traffic("cached", 10**6).bytes == 400 + 400 + 800
    assert report.traffic("cached", 1).bytes == 400 + 400 + 800 + 4 * 400
