"""Counts against loop nests that literally multiply and add, over seeded random small configurations.

Each test also compares the nest's result with the operator's reference implementation: then it is the operator's nest.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from oracle import loop_nest
from oracle.loop_nest import Array, Tally

import macsim

SEEDS = range(25)


def model_of(op: str, inputs: list[Array], **attributes: Any) -> onnx.ModelProto:
    """A model of one node on inputs of these shapes."""
    names = [f"in{i}" for i in range(len(inputs))]
    feeds = [
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, x.shape) for name, x in zip(names, inputs, strict=True)
    ]
    node = helper.make_node(op, names, ["y"], **attributes)
    graph = helper.make_graph([node], "g", feeds, [onnx.ValueInfoProto(name="y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])


def reference(op: str, inputs: list[Array], **attributes: Any) -> Array:
    feeds = {f"in{i}": x for i, x in enumerate(inputs)}
    return np.asarray(ReferenceEvaluator(model_of(op, inputs, **attributes)).run(None, feeds)[0])


def same(
    op: str, inputs: list[Array], y: Array, tally: Tally, *, result: Array | None = None, **attributes: Any
) -> None:
    """The node's count and shape are the nest's, and the nest's result is the operator's."""
    model = model_of(op, inputs, **attributes)
    (row,) = macsim.count(model).rows
    assert row.work["mac"] == tally.macs
    assert row.trust == "exact"
    assert tuple(row.outputs[0].shape or ()) == y.shape
    if result is None:
        result = reference(op, inputs, **attributes)
    np.testing.assert_allclose(y, result, rtol=1e-6, atol=1e-9)


def numbers(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("seed", SEEDS)
def test_conv(seed: int) -> None:
    dice = random.Random(seed)
    axes = dice.choice([1, 2, 2, 3])
    group = dice.choice([1, 1, 2, 3])
    kernel = [dice.randint(1, 3) for _ in range(axes)]
    how: dict[str, Any] = {
        "strides": [dice.randint(1, 3) for _ in range(axes)],
        "dilations": [dice.randint(1, 2) for _ in range(axes)],
        "pads": [dice.randint(0, 2) for _ in range(2 * axes)],
        "group": group,
    }
    x = numbers(seed, dice.randint(1, 2), group * dice.randint(1, 2), *(dice.randint(5, 6) for _ in range(axes)))
    w = numbers(seed + 1, group * dice.randint(1, 2), x.shape[1] // group, *kernel)
    tally = Tally()
    y = loop_nest.conv(x, w, tally, **how)
    same("Conv", [x, w], y, tally, **how)


def test_taps_on_padding_are_counted() -> None:
    """3 taps at 5 places are 15, of which the first and the last one fall on padding."""
    how: dict[str, Any] = {"strides": [1], "dilations": [1], "pads": [1, 1]}
    x, w = numbers(0, 1, 1, 5), numbers(1, 1, 1, 3)
    tally = Tally()
    y = loop_nest.conv(x, w, tally, **how)
    assert (tally.macs, tally.on_padding) == (15, 2)
    same("Conv", [x, w], y, tally, **how)


@pytest.mark.parametrize("seed", SEEDS)
def test_conv_transposed(seed: int) -> None:
    dice = random.Random(seed)
    axes = dice.choice([1, 2, 2])
    group = dice.choice([1, 1, 2])
    strides = [dice.randint(1, 3) for _ in range(axes)]
    how: dict[str, Any] = {
        "strides": strides,
        "dilations": [dice.randint(1, 2) for _ in range(axes)],
        "pads": [dice.randint(0, 1) for _ in range(2 * axes)],
        "output_padding": [dice.randint(0, stride - 1) for stride in strides],
        "group": group,
    }
    x = numbers(seed, dice.randint(1, 2), group * dice.randint(1, 2), *(dice.randint(3, 4) for _ in range(axes)))
    w = numbers(seed + 1, x.shape[1], dice.randint(1, 3), *(dice.randint(2, 3) for _ in range(axes)))
    tally = Tally()
    y = loop_nest.conv_transposed(x, w, tally, **how)
    # The reference implementation fails with groups; they are convolutions side by side.
    parts = zip(np.split(x, group, axis=1), np.split(w, group), strict=True)
    result = np.concatenate([reference("ConvTranspose", [*part], **{**how, "group": 1}) for part in parts], axis=1)
    same("ConvTranspose", [x, w], y, tally, result=result, **how)


@pytest.mark.parametrize("seed", SEEDS)
def test_matmul(seed: int) -> None:
    dice = random.Random(seed)
    inner = dice.randint(1, 5)
    batch = [dice.randint(1, 3) for _ in range(dice.randint(0, 2))]

    def stretched() -> list[int]:
        kept = batch[dice.randint(0, len(batch)) :]
        return [dice.choice([1, size]) for size in kept]

    a = numbers(seed, inner) if dice.random() < 0.2 else numbers(seed, *stretched(), dice.randint(1, 4), inner)
    b = numbers(seed + 1, inner) if dice.random() < 0.2 else numbers(seed + 1, *stretched(), inner, dice.randint(1, 4))
    tally = Tally()
    y = loop_nest.matmul(a, b, tally)
    same("MatMul", [a, b], y, tally)


@pytest.mark.parametrize("seed", SEEDS)
def test_einsum(seed: int) -> None:
    """Two operands of random letters, each perhaps summed; repeated ones take a diagonal."""
    dice = random.Random(seed)
    sizes = {letter: dice.randint(1, 4) for letter in "abcd"}
    terms = ["".join(dice.choice("abcd") for _ in range(dice.randint(1, 3))) for _ in range(2)]
    used = sorted(set("".join(terms)))
    result = "".join(dice.sample(used, dice.randint(0, len(used))))
    operands = [numbers(seed + i, *(sizes[letter] for letter in term)) for i, term in enumerate(terms)]
    tally = Tally()
    y = loop_nest.einsum(terms, result, operands, tally)
    same("Einsum", operands, y, tally, equation=f"{terms[0]},{terms[1]}->{result}")


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_attention(seed: int, causal: bool) -> None:
    dice = random.Random(seed)
    batch, kv_heads, share = dice.randint(1, 2), dice.randint(1, 2), dice.randint(1, 2)
    queries = dice.randint(1, 4)
    keys = queries if causal else dice.randint(1, 5)
    size, value_size = dice.randint(1, 4), dice.randint(1, 4)
    q = numbers(seed, batch, kv_heads * share, queries, size)
    k = numbers(seed + 1, batch, kv_heads, keys, size)
    v = numbers(seed + 2, batch, kv_heads, keys, value_size)
    tally = Tally()
    y = loop_nest.attention(q, k, v, tally, causal=causal)
    same("Attention", [q, k, v], y, tally, is_causal=int(causal))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("seed", range(6))
def test_recurrent(seed: int, kind: str) -> None:
    dice = random.Random(seed)
    steps, batch, size, hidden = (dice.randint(1, 3) for _ in range(4))
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    x = numbers(seed, steps, batch, size)
    w = numbers(seed + 1, 1, gates * hidden, size)
    r = numbers(seed + 2, 1, gates * hidden, hidden)
    tally = Tally()
    y = loop_nest.recurrent(kind, x, w, r, tally)
    same(kind, [x, w, r], y, tally, hidden_size=hidden)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_recurrent_both_ways(kind: str) -> None:
    """The reference implementation runs one direction only: counts and shapes alone."""
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    x, w, r = numbers(0, 3, 2, 4), numbers(1, 2, gates * 3, 4), numbers(2, 2, gates * 3, 3)
    tally = Tally()
    y = loop_nest.recurrent(kind, x, w, r, tally)
    (row,) = macsim.count(model_of(kind, [x, w, r], hidden_size=3, direction="bidirectional")).rows
    assert row.work["mac"] == tally.macs
    assert tuple(row.outputs[0].shape or ()) == y.shape
