# Multiply-accumulates of the gradients of single nodes of ONNX and of onnxruntime, by hand.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""A product has one gradient for each of its operands that need one, of as many multiply-accumulates as itself; codes
need none. So the counts below are of the products, times 2 where nothing else is said."""

from __future__ import annotations

from typing import Any

import pytest
from truth import T, case, const, f32, model_of, t, weight

import macsim
from macsim import Training

MS = "com.microsoft"
ANY = f32()  # nobody compares it


def node(op: str, inputs: list[T | None], macs: int, trust: str = "exact", outputs: int = 1, domain: str = MS,
         **attrs: Any) -> Any:  # fmt: skip
    return pytest.param(case(op, inputs, [ANY] * outputs, attrs=attrs, domain=domain), macs, trust, id=op)


NODES = [
    # 15 cells in each of 2 directions, 4 gates of 5: dx and dW of 4, dR of 5; back from all steps but the first.
    node("LSTM", [f32(5, 3, 4), f32(2, 20, 4), f32(2, 20, 5), f32(2, 40), None, None, None, f32(2, 15)],
         2 * (2 * 15 * 20 * 4 + (15 + 12) * 20 * 5), domain="", direction="bidirectional", hidden_size=5),
    node("RNN", [f32(5, 3, 4), f32(1, 5, 4), f32(1, 5, 5)], 2 * 15 * 20 + 27 * 25, domain="", hidden_size=5),
    # With a first state that needs one the first step goes back, too.
    node("GRU", [f32(5, 3, 4), f32(1, 15, 4), f32(1, 15, 5), f32(1, 30), None, f32(1, 3, 5)],
         2 * 15 * 60 + 2 * 15 * 75, domain="", hidden_size=5, linear_before_reset=1),
    # 2 heads of 4, 3 queries, 5 keys: scores of 4, sums of 6.
    node("Attention", [f32(1, 2, 3, 4), f32(1, 2, 5, 4), f32(1, 2, 5, 6)], 2 * 2 * 15 * (4 + 6), domain=""),
    # 7 rows of 12 to 16 for each of q, k, v; 2 sequences of 5 at most, 2 heads of 8.
    node("PackedAttention", [f32(7, 12), f32(12, 48), f32(48), t("i32", 2, 5), t("i32", 3)],
         2 * (7 * 12 * 48 + 2 * 7 * 5 * 16), "bound", num_heads=2),
    node("PackedMultiHeadAttention", [f32(7, 16), f32(7, 16), f32(7, 16), None, t("i32", 2, 5), t("i32", 3)],
         2 * 2 * 7 * 5 * 16, "bound", num_heads=2),
    # 10 tokens of 4 heads, states of 8 x 6: k v^T is added to each state of 2 heads, q meets it.
    node("LinearAttention", [f32(2, 5, 32), f32(2, 5, 16), f32(2, 5, 12)], 2 * 10 * (2 + 4) * 48, "estimate", domain="",
         q_num_heads=4, kv_num_heads=2, update_rule="linear"),
    # 6 tokens, 2 of 8 experts each: 16 x 32 and back.
    node("MoE", [f32(6, 16), f32(6, 8), weight("f32", 8, 32, 16), None, weight("f32", 8, 16, 32)], 2 * 12 * 2 * 512,
         "estimate", k=2),
    # The same with weights of 4 bits: dx alone.
    node("QMoE", [f32(6, 16), f32(6, 8), weight("u8", 8, 32, 8), weight("f32", 8, 32), None, weight("u8", 8, 16, 16),
                  weight("f32", 8, 16)], 12 * 2 * 512, "estimate", k=2, expert_weight_bits=4),
    # 3 rows of 32 to 5, weights of 4 bits.
    node("MatMulBnb4", [f32(3, 32), weight("u8", 80), weight("f32", 5)], 480, K=32, N=5, block_size=32, quant_type=1),
    node("MatMulNBitsMlp", [f32(3, 32), None, f32(32), weight("u8", 5, 1, 16), weight("f32", 5, 1), None,
                            weight("u8", 5, 1, 16), weight("f32", 5, 1)], 2 * 480, "estimate", K=32, N=5, bits=4,
         block_size=32, activation="silu"),
    node("MatMulNBitsQLoRA", [f32(3, 32), weight("u8", 5, 1, 16), weight("f32", 5, 1), weight("u8", 4, 1, 32),
                              weight("f32", 4, 1), weight("u8", 5, 1, 32), weight("f32", 5, 1)],
         3 * (32 * 5 + 32 * 4 + 4 * 5), "estimate", K=32, N=5),
    node("MatMulBlockQuantizedFp8Weight", [f32(3, 32), weight("f8e4m3fn", 5, 32), weight("f32", 5, 1)], 480,
         block_size=32),
    # Codes that an activation follows.
    node("MatMulPacked", [f32(3, 32), weight("u8", 5, 18)], 480, "estimate", K=32, N=5, packed_type=2,
         activation_type="relu2"),
    node("SparseToDenseMatMul", [f32(4, 8), f32(8, 5)], 2 * 160),
    # 4 rows of 8 to 5; the product goes into Gelu and is made again.
    node("GemmFastGelu", [f32(4, 8), f32(8, 5), f32(5)], 2 * 160),
    # 2 rows of 8 channels, 5 steps of 4 taps.
    node("CausalConvWithState", [f32(2, 8, 5), weight("f32", 8, 1, 4), weight("f32", 8)], 2 * 320),
    # 6 words of 10 letters, 5 windows of 3 letters of 16: 8 places. Letters are looked up in a table that is trained.
    node("WordConvEmbedding", [t("i32", 6, 10), f32(5, 1, 3, 16), f32(5), f32(100, 16)], 2 * 6 * 5 * 8 * 48,
         "estimate"),
    node("HyperConnectionPreMix", [f32(5, 3, 4), f32(5, 3)], 2 * 60),
    # 3 rows of 4 each, a product of 4 for each row's gate.
    node("GatedAdd", [f32(3, 4), f32(3, 4), f32(3, 4), f32(4)], 2 * 12),
    # 4 rows of 3 features to 2 targets; the coefficients are attributes.
    node("LinearRegressor", [f32(4, 3)], 24, "estimate", domain="ai.onnx.ml", coefficients=[1.0] * 6, targets=2),
]  # fmt: skip


@pytest.mark.parametrize(("truth", "macs", "trust"), NODES)
def test_macs(truth: Any, macs: int, trust: str) -> None:
    got = macsim.count(model_of(truth), training=Training(inputs=["*"])).training.backward
    assert (got.macs, got.trust) == (macs, trust)


# Of linear functions the gradient is the function again, from the other end: a transform of n numbers is one of n.
TRANSFORMS = [
    case("DFT", [f32(3, 8, 2)], f32(3, 8, 2)),
    case("STFT", [f32(2, 100, 1), const("i64", 8), const("f32", [1.0] * 16)], f32(2, 11, 9, 2)),
    case("Rfft", [f32(3, 16)], ANY, attrs={"signal_ndim": 1, "normalized": 0, "onesided": 1}, domain=MS),
]


@pytest.mark.parametrize("truth", TRANSFORMS, ids=str)
def test_transforms(truth: Any) -> None:
    """As much work as the run. Of the second, 2 signals of 11 frames of 16: their elements are added where they lie.

    The window, which is trained, gets them times the gradients of the frames, summed to 16.
    """
    report = macsim.count(model_of(truth), training=Training(inputs=["*"]))
    elements = 2 * 11 * 16 if truth.op == "STFT" else 0
    more = {"mul": elements, "add": elements + elements - 16 if elements else 0}
    for kind in ("mul", "add"):
        assert report.training.backward.work[kind] == report.work[kind] + more[kind]


def test_regions() -> None:
    """5 regions of 2 x 2 cells, 4 samples of 4 pixels each, 4 channels: dy / 4 times weights that are made again."""
    regions = case("RoiAlign", [f32(1, 4, 8, 8), f32(5, 4), t("i64", 5)], ANY,
                   attrs={"output_height": 2, "output_width": 2, "sampling_ratio": 2})  # fmt: skip
    got = macsim.count(model_of(regions), training=Training(inputs=["*"])).training
    samples = 5 * 4 * 4
    assert got.backward.work["div"] == 5 * 4 * 4
    assert (got.backward.work["mul"], got.backward.work["add"]) == (4 * 4 * samples, 4 * 4 * samples)
    # Of a sample its place 2 mul and 2 add, distances 4 add, weights 4 mul, for all channels.
    assert (got.recompute.work["mul"], got.recompute.work["add"]) == (6 * samples, 6 * samples)
