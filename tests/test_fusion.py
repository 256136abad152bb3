"""Which operators run as one kernel: what exporters write in several, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import count, floats, parsed

import macsim

LAST = np.array([-1])


def kernels(report: macsim.Report) -> list[str]:
    return [" ".join(kernel.ops) for kernel in report.traffic("fused").kernels]


def fused(report: macsim.Report) -> tuple[Any, ...]:
    traffic = report.traffic("fused")
    return traffic.read, traffic.weights, traffic.cache, traffic.written


SCORES = "g (float[2,5,4] q, float[2,4,7] k, float[2,7,4] v) => (float[2,5,4] y{more}) {{\n s = MatMul(q, k)\n"
SAFE = " m = ReduceMax(t, last)\n d = Sub(t, m)\n e = Exp(d)\n z = ReduceSum(e, last)\n p = Div(e, z)\n"
BARE = " e = Exp(t)\n z = ReduceSum(e, last)\n i = Reciprocal(z)\n p = Mul(i, e)\n"


@pytest.mark.parametrize("steps", [SAFE, BARE, " p = Softmax(t)\n"])
def test_a_softmax_between_products_in_steps_is_one_as_a_whole(steps: str) -> None:
    """Only queries, keys and values are read, of 160, 224 and 224 bytes, and the scale; the result is written."""
    text = SCORES.format(more="") + " t = Mul(s, half)\n" + steps + " y = MatMul(p, v) }"
    report = count(text, half=floats(), last=LAST)
    assert len(kernels(report)) == 1
    assert fused(report) == (160 + 224 + 224, 4, 0, 160)
    for capacity in (100, 300, 1000):
        whole = count(SCORES.format(more="") + " t = Mul(s, half)\n p = Softmax(t)\n y = MatMul(p, v) }", half=floats())
        assert report.traffic("cached", capacity).bytes == whole.traffic("cached", capacity).bytes


def test_scores_that_others_take_are_written_too() -> None:
    text = SCORES.format(more=", float[2,5,7] t") + " t = Mul(s, half)\n" + SAFE + " y = MatMul(p, v) }"
    report = count(text, half=floats(), last=LAST)
    assert len(kernels(report)) == 1
    assert fused(report) == (160 + 224 + 224, 4, 0, 160 + 280)


def test_probabilities_that_others_take_end_the_kernel() -> None:
    """Scores are written and read again for the softmax, a kernel of its own, and its result for the product."""
    text = SCORES.format(more=", float[2,5,7] p") + " t = Mul(s, half)\n" + SAFE + " y = MatMul(p, v) }"
    report = count(text, half=floats(), last=LAST)
    assert kernels(report) == ["MatMul Mul", "ReduceMax Sub Exp ReduceSum Div", "MatMul"]
    assert fused(report) == (160 + 224 + 280 + 280 + 224, 4, 0, 280 + 280 + 160)


def test_a_norm_between_products_is_a_kernel_of_its_own() -> None:
    """It needs whole rows before the next product may start, and no compiler joins these."""
    report = count(
        "g (float[6,8] x) => (float[6,8] y) { a = MatMul(x, w)\n q = Mul(a, a)\n v = ReduceMean(q, last)\n"
        " e = Add(v, eps)\n r = Sqrt(e)\n n = Div(a, r)\n y = MatMul(n, w) }",
        w=floats(8, 8), last=LAST, eps=floats(),
    )  # fmt: skip
    assert kernels(report) == ["MatMul Mul", "ReduceMean Add Sqrt Div", "MatMul"]


NORMS = {
    "layer norm": "m = ReduceMean(x, last)\n c = Sub(x, m)\n q = Pow(c, two)\n v = ReduceMean(q, last)\n"
    " e = Add(v, eps)\n r = Sqrt(e)\n n = Div(c, r)\n s = Mul(n, g)\n y = Add(s, b)",
    "root mean square": "q = Pow(x, two)\n v = ReduceMean(q, last)\n e = Add(v, eps)\n"
    " r = Sqrt(e)\n i = Reciprocal(r)\n n = Mul(x, i)\n y = Mul(g, n)",
    "in half precision": "h = Cast <to=1> (x)\n q = Mul(h, h)\n v = ReduceMean(q, last)\n e = Add(v, eps)\n"
    " r = Sqrt(e)\n n = Div(h, r)\n c = Cast <to=1> (n)\n y = Mul(g, c)",
    "gelu": "d = Div(x, two)\n e = Erf(d)\n p = Add(e, eps)\n m = Mul(x, p)\n y = Mul(m, two)",
    "gelu by tanh": "c = Pow(x, two)\n m = Mul(c, eps)\n a = Add(x, m)\n s = Mul(a, two)\n t = Tanh(s)\n"
    " p = Add(t, eps)\n h = Mul(x, two)\n y = Mul(h, p)",
    "silu": "s = Sigmoid(x)\n y = Mul(x, s)",
}


@pytest.mark.parametrize("name", NORMS)
def test_one_kernel_reads_once_and_writes_once(name: str) -> None:
    text = f"g (float[6,8] x) => (float[6,8] y) {{ {NORMS[name]} }}"
    given = {"last": LAST, "two": floats(), "eps": floats(), "g": floats(8), "b": floats(8)}
    report = count(text, **{key: value for key, value in given.items() if f" {key})" in text or f"({key}," in text})
    assert len(kernels(report)) == 1
    traffic = report.traffic("fused")
    assert (traffic.read, traffic.written) == (192, 192)


def test_a_residual_goes_with_the_norm_and_is_written() -> None:
    report = count(
        "g (float[6,8] x, float[6,8] h) => (float[6,8] y, float[6,8] r) { r = Add(x, h)\n q = Mul(r, r)\n"
        " v = ReduceMean(q, last)\n e = Add(v, eps)\n i = Sqrt(e)\n y = Div(r, i) }",
        last=LAST, eps=floats(),
    )  # fmt: skip
    assert len(kernels(report)) == 1
    assert fused(report) == (2 * 192, 4, 0, 2 * 192)


@pytest.mark.parametrize("name", [name for name in NORMS if "gelu" in name or name == "silu"])
def test_bias_and_activation_go_with_the_product(name: str) -> None:
    text = f"g (float[6,4] k) => (float[6,8] y) {{ o = MatMul(k, w)\n x = Add(o, b)\n {NORMS[name]} }}"
    given = {"two": floats(), "eps": floats()}
    report = count(
        text, w=floats(4, 8), b=floats(8), **{key: value for key, value in given.items() if f" {key})" in text}
    )
    assert len(kernels(report)) == 1
    traffic = report.traffic("fused")
    assert (traffic.read, traffic.written) == (96, 192)


def test_loops_beside_each_other_become_one() -> None:
    """What is added is worked out of x and z in one go; of a product and a loop, after the product."""
    report = count("g (float[6,8] x, float[6,8] z) => (float[6,8] y) { a = Relu(x)\n b = Tanh(z)\n y = Add(a, b) }")
    assert kernels(report) == ["Relu Tanh Add"]
    report = count(
        "g (float[6,8] x, float[6,8] z) => (float[6,8] y) { a = MatMul(x, w)\n b = Tanh(z)\n y = Add(a, b) }",
        w=floats(8, 8),
    )
    assert kernels(report) == ["MatMul Tanh Add"]
    assert fused(report) == (2 * 192, 256, 0, 192)


def test_loops_that_hang_on_each_other_do_not_become_one() -> None:
    """The product needs a, and b the product: the sum of a and b goes with the product, which a comes before."""
    report = count(
        "g (float[8,8] x) => (float[8,8] y) { a = Relu(x)\n p = MatMul(a, w)\n b = Softmax(p)\n y = Add(a, b) }",
        w=floats(8, 8),
    )
    assert kernels(report) == ["Relu", "MatMul", "Softmax Add"]


def test_products_read_turned_operands_as_they_are() -> None:
    """Keys [7, 4] are read, of 112 bytes; nobody writes them as [4, 7]. A convolution wants its own order."""
    product = count(
        "g (float[5,4] q, float[7,4] k) => (float[5,7] y) { t = Transpose <perm=[1,0]> (k)\n y = MatMul(q, t) }"
    )
    assert fused(product) == (80 + 112, 0, 0, 140)
    assert kernels(product) == ["Transpose MatMul"]
    convolution = count(
        "g (float[1,6,6,3] x) => (float[1,4,4,4] y) { t = Transpose <perm=[0,3,1,2]> (x)\n y = Conv(t, w) }",
        w=floats(4, 3, 3, 3),
    )
    assert fused(convolution) == (432 + 432, 432, 0, 432 + 256)


def test_parts_are_taken_while_reading() -> None:
    """A gated unit: each half of the 192 bytes that the product writes is read once."""
    report = count(
        "g (float[6,4] x) => (float[6,4] y) { a = MatMul(x, w)\n b, c = Split <axis=1, num_outputs=2> (a)\n"
        " d = Sigmoid(b)\n y = Mul(d, c) }",
        w=floats(4, 8),
    )
    assert kernels(report) == ["MatMul", "Split Sigmoid Mul"]
    assert fused(report) == (96 + 192, 128, 0, 192 + 96)


def test_rotated_halves() -> None:
    """Rotary positions: the halves, one negated, change places; both factors go on point by point."""
    report = count(
        "g (float[6,8] x, float[6,8] c, float[6,8] s) => (float[6,8] y) { a = Slice(x, zero, four, one)\n"
        " b = Slice(x, four, eight, one)\n n = Neg(b)\n r = Concat <axis=1> (n, a)\n t = Mul(r, s)\n u = Mul(x, c)\n"
        " y = Add(t, u) }",
        zero=np.array([0]), one=np.array([1]), four=np.array([4]), eight=np.array([8]),
    )  # fmt: skip
    assert kernels(report) == ["Slice Slice Neg Concat Mul Mul Add"]
    assert fused(report) == (3 * 192, 0, 0, 192)  # x, s and c


def test_parts_are_made_in_their_place() -> None:
    """Two products write next to each other what a third reads: nothing is copied."""
    report = count(
        "g (float[6,4] x) => (float[6,4] y) { a = MatMul(x, w)\n b = MatMul(x, w)\n c = Concat <axis=1> (a, b)\n"
        " y = MatMul(c, v) }",
        w=floats(4, 4), v=floats(8, 4),
    )  # fmt: skip
    assert fused(report) == (96 + 96 + 192, 64 + 64 + 128, 0, 96 + 96 + 96)
    assert report.traffic("unfused").written == 96 + 96 + 192 + 96


def test_what_is_given_is_copied_to_its_place() -> None:
    report = count(
        "g (float[6,4] x) => (float[6,8] c, float[6,4] b) { a = MatMul(x, w)\n b = MatMul(x, w)\n"
        " d = MatMul(x, w)\n c = Concat <axis=1> (a, x)\n }".replace(" d = MatMul(x, w)\n", ""),
        w=floats(4, 4),
    )
    # a is in its place; x is read a third time and copied there.
    assert fused(report) == (96 + 96 + 96, 64 + 64, 0, 96 + 96 + 96)


def test_what_is_put_together_goes_on_point_by_point() -> None:
    """Nobody writes c: it is worked out of its parts."""
    report = count(
        "g (float[6,4] x, float[6,4] z) => (float[6,8] y) { a = Relu(x)\n c = Concat <axis=1> (a, z)\n y = Tanh(c) }"
    )
    assert kernels(report) == ["Relu Concat Tanh"]
    assert fused(report) == (96 + 96, 0, 0, 192)


def test_twice_the_same_is_copied_once() -> None:
    """One of the two is made in its place, and read for the other."""
    report = count("g (float[6,4] x) => (float[6,8] y) { a = MatMul(x, w)\n y = Concat <axis=1> (a, a) }",
                   w=floats(4, 4))  # fmt: skip
    assert report.traffic("fused").written >= 96 + 96


def test_a_cache_that_is_named() -> None:
    """Names tell which bytes are of earlier tokens; by default those that exporters use."""
    text = (
        "g (float[1,4] q, float[6,4] k0, float[1,4] k) => (float[1,7] y, float[7,4] k1) {\n"
        " k1 = Concat <axis=0> (k0, k)\n t = Transpose <perm=[1,0]> (k1)\n y = MatMul(q, t) }"
    )
    model = parsed(text)
    assert macsim.count(model).traffic("fused").cache == 0
    named = macsim.count(model, cache=("k0", "k1"))
    assert fused(named) == (16 + 16, 0, 96 + 112, 112 + 28)
    assert named.traffic("minimum").roles["cache"] == 96 + 112
    assert {held.name: held.role for held in named.memory().alive}["k0"] == "cache"
    past = parsed(text.replace("k0", "past_k").replace("k1", "present_k"))
    assert fused(macsim.count(past)) == fused(named)
    assert macsim.count(past, cache=()).traffic("fused").cache == 0
    with pytest.raises(macsim.RequestError, match="neither input nor output: q, k0, k, y, k1"):
        macsim.count(model, cache="k2")


def test_a_named_cache_of_symbols() -> None:
    text = (
        "g (float[1,4] q, float[past,4] k0, float[1,4] k) => (float[1,n] y, float[n,4] k1) {\n"
        " k1 = Concat <axis=0> (k0, k)\n t = Transpose <perm=[1,0]> (k1)\n y = MatMul(q, t) }"
    )
    report = macsim.count(parsed(text), cache=["k0", "k1"])
    assert str(report.traffic("minimum").cache) == "16*past"
    assert report.bind(past=6).traffic("minimum").cache == 96
