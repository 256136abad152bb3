"""Attention: every row worked out by hand.

S = batch * heads * queries * keys scores, R = S / keys rows: S * (size + value size) multiply-adds, S mul for the
scale, S add for each mask; softmax: S - R compare, 2 S - R add, S exp, S div; S logic for a causal mask. All queries
meet all keys.
"""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from truth import Case, case, check, const, f32, t, weight

import macsim

MS = "com.microsoft"
F = TensorProto.FLOAT


def attention(scores: int, rows: int, sizes: int, **more: int) -> dict[str, Any]:
    """The work above for numbers; `more` is added to it."""
    work = {
        "mac": scores * sizes,
        "mul": scores,
        "compare": scores - rows,
        "add": 2 * scores - rows,
        "exp": scores,
        "div": scores,
    }
    for kind, amount in more.items():
        work[kind] = work.get(kind, 0) + amount
    return work


# 2 batches, 4 heads of 8, 5 queries, 7 keys: S = 280, R = 40.
_S, _R = 280, 40
PLAIN = [
    case("Attention", [f32(2, 4, 5, 8), f32(2, 4, 7, 8), f32(2, 4, 7, 8)], f32(2, 4, 5, 8), work=attention(_S, _R, 16)),
    # Heads side by side; 4 heads share 2 of keys and values; values are narrower; a mask.
    case(
        "Attention",
        [f32(2, 5, 32), f32(2, 7, 16), f32(2, 7, 6), t("bool", 5, 7)],
        f32(2, 5, 12),
        version=23,
        attrs={"q_num_heads": 4, "kv_num_heads": 2},
        work=attention(_S, _R, 11, add=_S),
    ),
    # 7 past keys and 5 new ones: 480 scores, causal. In place only 5 new rows of 2 heads are written.
    case(
        "Attention",
        [f32(2, 4, 5, 8), f32(2, 2, 5, 8), f32(2, 2, 5, 8), None, f32(2, 2, 7, 8), f32(2, 2, 7, 8)],
        [f32(2, 4, 5, 8), f32(2, 2, 12, 8), f32(2, 2, 12, 8), f32(2, 4, 5, 12)],
        version=24,
        attrs={"is_causal": 1, "qk_matmul_output_mode": 1},
        work=attention(480, 40, 16, logic=480),
        read=(320 + 160 + 160 + 224 + 224) * 4,
        written=(320 + 160 + 160 + 480) * 4,
    ),
    # softcap: div, tanh, mul; the softmax in another precision: there and back.
    case(
        "Attention",
        [t("f16", 2, 4, 5, 8), t("f16", 2, 4, 7, 8), t("f16", 2, 4, 7, 8)],
        t("f16", 2, 4, 5, 8),
        attrs={"softcap": 30.0, "softmax_precision": 1},
        work=attention(_S, _R, 16, div=_S, exp=_S, mul=_S, convert=2 * _S),
        id="Attention-softcap",
    ),
    # A causal window of 2 before and itself: 3 keys a query at most, 120 scores.
    case(
        "Attention",
        [f32(2, 4, 5, 8), f32(2, 4, 7, 8), f32(2, 4, 7, 8)],
        f32(2, 4, 5, 8),
        attrs={"is_causal": 1, "left_window_size": 2},
        work=attention(120, 40, 16, logic=120),
        trust="bound",
        id="Attention-window",
    ),
    # Lengths without padding are data.
    case(
        "Attention",
        [f32(2, 4, 5, 8), f32(2, 4, 7, 8), f32(2, 4, 7, 8), None, None, None, t("i64", 2)],
        f32(2, 4, 5, 8),
        version=24,
        work=attention(_S, _R, 16, logic=_S),
        trust="bound",
        id="Attention-padded",
    ),
    # A cache of free length: total = past + new.
    case(
        "Attention",
        [
            f32("b", 32, "s", 128),
            f32("b", 8, "s", 128),
            f32("b", 8, "s", 128),
            None,
            f32("b", 8, "past", 128),
            f32("b", 8, "past", 128),
        ],
        [f32("b", 32, "s", 128), f32("b", 8, "past + s", 128), f32("b", 8, "past + s", 128)],
        work={
            "mac": "32*256*b*s*(past + s)",
            "mul": "32*b*s*(past + s)",
            "compare": "32*b*s*(past + s) - 32*b*s",
            "add": "64*b*s*(past + s) - 32*b*s",
            "exp": "32*b*s*(past + s)",
            "div": "32*b*s*(past + s)",
        },
        id="Attention-symbolic",
    ),
]

PROJECTED = [
    # 10 tokens of 12 projected to 3 * 16 with a bias; 2 heads of 8, 5 by 5: S = 100, R = 20; a mask.
    case(
        "Attention",
        [f32(2, 5, 12), weight("f32", 12, 48), weight("f32", 48), t("i32", 2, 5)],
        f32(2, 5, 16),
        domain=MS,
        attrs={"num_heads": 2},
        work=attention(100, 20, 16, mac=480 * 12, add=480 + 100),
        weights=(12 * 48 + 48) * 4,
    ),
    # Values of another size, 3 past positions (S = 160), causal; rotation of 10 tokens of 2 heads of 8, queries and
    # keys: 320 elements. Written in place: 10 rows of keys and values.
    case(
        "Attention",
        [f32(2, 5, 12), f32(12, 40), f32(40), None, f32(2, 2, 2, 3, 8)],
        [f32(2, 5, 8), f32(2, 2, 2, 8, 8)],
        domain=MS,
        attrs={"num_heads": 2, "qkv_hidden_sizes": [16, 16, 8], "unidirectional": 1, "do_rotary": 1},
        work=attention(160, 20, 12, mac=400 * 12, add=400 + 320, logic=160, mul=640),
        written=(80 + 10 * 24) * 4,
        id="Attention-past",
    ),
    # One buffer of 20; 3 of it are filled: 4 keys. One query of one batch, 2 heads of 8.
    case(
        "DecoderMaskedSelfAttention",
        [f32(1, 1, 12), f32(12, 48), f32(48), None, f32(2, 1, 2, 20, 8), None, const("i32", [3])],
        [f32(1, 1, 16), f32(2, 1, 2, 20, 8)],
        domain=MS,
        attrs={"num_heads": 2, "past_present_share_buffer": 1},
        work=attention(8, 2, 16, mac=48 * 12, add=48),
    ),
    # How much is filled is data: at most all 20.
    case(
        "DecoderMaskedSelfAttention",
        [f32(1, 1, 12), f32(12, 48), f32(48), None, f32(2, 1, 2, 20, 8), None, t("i32", 1)],
        [f32(1, 1, 16), f32(2, 1, 2, 20, 8)],
        domain=MS,
        attrs={"num_heads": 2, "past_present_share_buffer": 1},
        work=attention(40, 2, 16, mac=48 * 12, add=48),
        trust="bound",
        id="DecoderMaskedSelfAttention-unknown",
    ),
    # Zeros off 120 inputs and 576 weights; a factor for each of 48 columns; 480 results converted, scaled, biased.
    case(
        "QAttention",
        [t("u8", 2, 5, 12), t("i8", 12, 48), f32(48), f32(), f32(48), None, t("u8"), t("i8", 48)],
        f32(2, 5, 16),
        domain=MS,
        attrs={"num_heads": 2},
        work=attention(100, 20, 16, mac=480 * 12, add=120 + 576 + 480, mul=48 + 480, convert=480),
    ),
    # 7 tokens of 2 sequences of up to 5: at most 5 keys each: S = 2 * 7 * 5.
    case(
        "PackedAttention",
        [f32(7, 12), f32(12, 48), f32(48), t("i32", 2, 5), t("i32", 3)],
        f32(7, 16),
        domain=MS,
        attrs={"num_heads": 2},
        work=attention(70, 14, 16, mac=7 * 48 * 12, add=7 * 48),
        trust="bound",
    ),
    # 5 tokens of 2 batches, 16 wide, 2 heads, 3 cached positions: queries 10 * 16 * 16, keys and values twice that.
    case(
        "DecoderAttention",
        [
            f32(5, 2, 16),
            f32(7, 2, 16),
            f32(16, 16),
            f32(16, 32),
            f32(48),
            None,
            f32(2, 2, 3, 8),
            f32(2, 2, 3, 8),
            const("bool", [False]),
            const("bool", [True]),
            const("bool", [True]),
            const("bool", [False]),
        ],
        [f32(5, 2, 16), f32(2, 2, 8, 8), f32(2, 2, 8, 8)],
        domain=MS,
        attrs={"num_heads": 2},
        work=attention(160, 20, 16, mac=7680, add=480),
    ),
    # Cross attention without a cache: keys and values from 14 other tokens.
    case(
        "DecoderAttention",
        [
            f32(5, 2, 16),
            f32(7, 2, 16),
            f32(16, 16),
            f32(16, 32),
            f32(48),
            t("bool", 2, 7),
            None,
            None,
            const("bool", [True]),
            const("bool", [False]),
            const("bool", [False]),
            const("bool", [True]),
        ],
        [f32(5, 2, 16), f32(2, 2, 7, 8), f32(2, 2, 7, 8)],
        domain=MS,
        attrs={"num_heads": 2},
        work=attention(140, 20, 16, mac=2560 + 14 * 512, add=160 + 14 * 32 + 140),
        id="DecoderAttention-cross",
    ),
    # Flags that are data: the longer keys, 3 + 5 against 7, and 14 tokens projected.
    case(
        "DecoderAttention",
        [
            f32(5, 2, 16),
            f32(7, 2, 16),
            f32(16, 16),
            f32(16, 32),
            f32(48),
            None,
            f32(2, 2, 3, 8),
            f32(2, 2, 3, 8),
            t("bool", 1),
            t("bool", 1),
            t("bool", 1),
            t("bool", 1),
        ],
        [f32(5, 2, 16), f32(2, 2, "node.keys", 8), f32(2, 2, "node.keys", 8)],
        domain=MS,
        attrs={"num_heads": 2},
        work=attention(160, 20, 16, mac=2560 + 14 * 512, add=160 + 14 * 32),
        trust="bound",
        id="DecoderAttention-unknown",
    ),
    # 12 tokens of 16 projected twice to 48; a window of 2 each side: 5 keys of 2 heads: S = 120, R = 24; a mask.
    case(
        "LongformerAttention",
        [f32(1, 12, 16), f32(16, 48), f32(48), f32(1, 12), f32(16, 48), f32(48), t("i32", 1, 12)],
        f32(1, 12, 16),
        domain=MS,
        attrs={"num_heads": 2, "window": 2},
        work=attention(120, 24, 16, mac=2 * 576 * 16, add=1152 + 120),
        trust="estimate",
    ),
    # The same in 8 bits: 1152 projections back to floats, 192 results requantised.
    case(
        "QOrderedLongformerAttention",
        [
            t("i8", 1, 12, 16),
            f32(),
            t("i8", 16, 48),
            f32(),
            f32(48),
            f32(),
            f32(),
            f32(1, 12),
            t("i8", 16, 48),
            f32(),
            f32(48),
            f32(),
            t("i32", 1, 12),
            f32(),
        ],
        t("i8", 1, 12, 16),
        domain=MS,
        attrs={
            "num_heads": 2,
            "window": 2,
            "order_input": 1,
            "order_weight": 0,
            "order_global_weight": 0,
            "order_output": 1,
        },
        work=attention(
            120, 24, 16, mac=2 * 576 * 16, add=1152 + 120, mul=1152 + 192, convert=1152 + 192, compare=2 * 192
        ),
        trust="estimate",
    ),
    # 10 tokens of 12 to three of 16: 480, three factors; 480 requantised; scores to floats, probabilities and result to
    # 8 bits: 100 + 100 + 160.
    case(
        "QOrderedAttention",
        [
            t("i8", 2, 5, 12),
            f32(),
            f32(),
            f32(),
            f32(),
            t("i8", 12, 16),
            t("i8", 12, 16),
            t("i8", 12, 16),
            f32(),
            f32(),
            f32(),
            f32(16),
            f32(16),
            f32(16),
            f32(),
            f32(),
            f32(),
        ],
        t("i8", 2, 5, 16),
        domain=MS,
        attrs={"num_heads": 2, "order_input": 1, "order_weight": 0, "order_output": 1},
        work=attention(
            100,
            20,
            16,
            mac=480 * 12,
            add=480,
            mul=3 + 480 + 100 + 100 + 160,
            div=3,
            convert=480 + 100 + 100 + 160,
            compare=2 * (480 + 100 + 160),
        ),
    ),
]

CACHED = [
    # 2 heads of 8, 5 queries, 7 keys of 2 batches: S = 140, R = 20; biases 160 + 224 + 224; attention bias.
    case(
        "MultiHeadAttention",
        [f32(2, 5, 16), f32(2, 7, 16), f32(2, 7, 16), f32(48), None, f32(1, 2, 5, 7)],
        f32(2, 5, 16),
        domain=MS,
        attrs={"num_heads": 2},
        work=attention(140, 20, 16, add=608 + 140),
    ),
    # Queries, keys and values packed in one.
    case(
        "MultiHeadAttention",
        [f32(2, 5, 2, 3, 8)],
        f32(2, 5, 16),
        domain=MS,
        attrs={"num_heads": 2},
        work=attention(100, 20, 16),
        id="MultiHeadAttention-packed",
    ),
    # Keys and values packed; 7 keys.
    case(
        "MultiHeadAttention",
        [f32(2, 5, 16), f32(2, 7, 2, 2, 8)],
        f32(2, 5, 16),
        domain=MS,
        attrs={"num_heads": 2},
        work=attention(140, 20, 16),
        id="MultiHeadAttention-packed-kv",
    ),
    # A past of 3 grows by 5: S = 160; the scores come out too. Written: result, 5 new rows of keys and values, scores.
    case(
        "MultiHeadAttention",
        [f32(2, 5, 16), f32(2, 5, 16), f32(2, 5, 16), None, None, None, f32(2, 2, 3, 8), f32(2, 2, 3, 8)],
        [f32(2, 5, 16), f32(2, 2, 8, 8), f32(2, 2, 8, 8), f32(2, 2, 5, 8)],
        domain=MS,
        attrs={"num_heads": 2, "unidirectional": 1},
        work=attention(160, 20, 16, logic=160),
        written=(160 + 160 + 160 + 160) * 4,
        id="MultiHeadAttention-past",
    ),
    # Keys and values from a cache of four axes: nothing is appended.
    case(
        "DecoderMaskedMultiHeadAttention",
        [f32(2, 1, 16), f32(2, 2, 7, 8), f32(2, 2, 7, 8), t("i32", 2, 7)],
        f32(2, 1, 16),
        domain=MS,
        attrs={"num_heads": 2},
        work=attention(28, 4, 16, add=28),
        id="DecoderMaskedMultiHeadAttention-cross",
    ),
    # A buffer of 20 with 3 filled: 4 keys; a bias of 3 * 32.
    case(
        "DecoderMaskedMultiHeadAttention",
        [
            f32(2, 1, 16),
            f32(2, 1, 16),
            f32(2, 1, 16),
            None,
            None,
            f32(2, 2, 20, 8),
            f32(2, 2, 20, 8),
            const("i32", [3]),
            None,
            None,
            f32(48),
        ],
        [f32(2, 1, 16), f32(2, 2, 20, 8), f32(2, 2, 20, 8)],
        domain=MS,
        attrs={"num_heads": 2, "past_present_share_buffer": 1},
        work=attention(16, 4, 16, add=96),
    ),
    # 8 heads of 16 share 2; a buffer of 64 with 10 filled after 1 new token: S = 2 * 8 * 10. Rotation of 2 tokens' 8 +
    # 2 heads of 16: 320. Read of the cache: 9 rows; of the tables one row of 8 each; written: 1 new row.
    case(
        "GroupQueryAttention",
        [
            f32(2, 1, 128),
            f32(2, 1, 32),
            f32(2, 1, 32),
            f32(2, 2, 64, 16),
            f32(2, 2, 64, 16),
            t("i32", 2),
            const("i32", 10),
            f32(64, 8),
            f32(64, 8),
        ],
        [f32(2, 1, 128), f32(2, 2, 64, 16), f32(2, 2, 64, 16)],
        domain=MS,
        attrs={"num_heads": 8, "kv_num_heads": 2, "do_rotary": 1},
        work=attention(160, 16, 32, logic=160, mul=640, add=320),
        read=(256 + 64 + 64 + 2 * 2 * 2 * 9 * 16 + 2 * 2 * 8) * 4,
        written=(256 + 64 + 64) * 4,
    ),
    # Prompt of free length: the total is known to be it. Packed input: (8 + 2 * 2) * 16 wide.
    case(
        "GroupQueryAttention",
        [f32(1, 5, 192), None, None, f32(1, 2, 0, 16), f32(1, 2, 0, 16), t("i32", 1), const("i32", 5)],
        [f32(1, 5, 128), f32(1, 2, 5, 16), f32(1, 2, 5, 16)],
        domain=MS,
        attrs={"num_heads": 8, "kv_num_heads": 2},
        work=attention(200, 40, 32, logic=200),
        id="GroupQueryAttention-packed",
    ),
    # The total is data: past and new at most. A sink: one more compare, exp and two adds a row; softcap.
    case(
        "GroupQueryAttention",
        [
            f32(1, 5, 128),
            f32(1, 5, 32),
            f32(1, 5, 32),
            f32(1, 2, 7, 16),
            f32(1, 2, 7, 16),
            t("i32", 1),
            t("i32"),
            None,
            None,
            None,
            None,
            f32(8),
        ],
        [f32(1, 5, 128), f32(1, 2, 12, 16), f32(1, 2, 12, 16)],
        domain=MS,
        attrs={"num_heads": 8, "kv_num_heads": 2, "softcap": 50.0},
        work=attention(480, 40, 32, logic=480, compare=40, exp=40 + 480, add=80, div=480, mul=480),
        trust="bound",
        id="GroupQueryAttention-sink",
    ),
    # 4-bit keys and values (8 bytes for 16): 5 * 2 * 16 new ones requantised and 12 * 2 * 16 widened, both twice. A
    # window of 4 keys: 8 * 5 * 4 scores and 4 * 2 * 16 widened.
    case(
        "GroupQueryAttention",
        [
            f32(1, 5, 128),
            f32(1, 5, 32),
            f32(1, 5, 32),
            t("u8", 1, 2, 7, 8),
            t("u8", 1, 2, 7, 8),
            t("i32", 1),
            const("i32", 12),
            None,
            None,
            None,
            None,
            None,
            f32(1),
            f32(1),
        ],
        [f32(1, 5, 128), t("u8", 1, 2, 12, 8), t("u8", 1, 2, 12, 8)],
        domain=MS,
        attrs={"num_heads": 8, "kv_num_heads": 2, "kv_cache_bit_width": 4, "local_window_size": 4},
        work=attention(160, 40, 32, logic=160, mul=2 * (160 + 128), convert=2 * (160 + 128), compare=4 * 160),
        read=(640 + 160 + 160 + 2) * 4 + 2 * 2 * 3 * 8,
        written=640 * 4 + 2 * 5 * 2 * 8,
        trust="bound",
        id="GroupQueryAttention-quantised",
    ),
    # All 10 keys are counted; blocks that are left out are data.
    case(
        "SparseAttention",
        [
            f32(1, 5, 128),
            f32(1, 5, 32),
            f32(1, 5, 32),
            f32(1, 2, 64, 16),
            f32(1, 2, 64, 16),
            t("i32", 1, 5),
            t("i32", 1, 10),
            const("i32", 10),
            t("i32", 1),
        ],
        [f32(1, 5, 128), f32(1, 2, 64, 16), f32(1, 2, 64, 16)],
        domain=MS,
        attrs={"num_heads": 8, "kv_num_heads": 2, "sparse_block_size": 16},
        work=attention(400, 40, 32, logic=400),
        trust="bound",
    ),
    # 7 tokens of sequences of up to 5.
    case(
        "PackedMultiHeadAttention",
        [f32(7, 16), f32(7, 16), f32(7, 16), f32(48), t("i32", 2, 5), t("i32", 3)],
        f32(7, 16),
        domain=MS,
        attrs={"num_heads": 2},
        work=attention(70, 14, 16, add=336),
        trust="bound",
    ),
    # 3 pages of 16 a sequence: 48 keys for 6 tokens of 8 heads; causal.
    case(
        "PagedAttention",
        [
            t("f16", 6, 128),
            t("f16", 6, 32),
            t("f16", 6, 32),
            t("f16", 10, 16, 2, 16),
            t("f16", 10, 16, 2, 16),
            t("i32", 3),
            t("i32", 2),
            t("i32", 2, 3),
        ],
        [t("f16", 6, 128), t("f16", 10, 16, 2, 16), t("f16", 10, 16, 2, 16)],
        domain=MS,
        attrs={"num_heads": 8, "kv_num_heads": 2},
        work=attention(6 * 8 * 48, 48, 32, logic=6 * 8 * 48),
        trust="bound",
        written=(768 + 2 * 6 * 32) * 2,
    ),
]

SPARSE = [
    # 10 chosen keys for each of 10 queries of 8 heads.
    case(
        "DynamicSparseAttention",
        [
            f32(2, 5, 128),
            f32(2, 5, 32),
            f32(2, 5, 32),
            f32(2, 2, 64, 16),
            f32(2, 2, 64, 16),
            None,
            None,
            t("i32", 10, 10),
            t("i32", 10),
            t("i32", 2),
            const("i32", 20),
        ],
        [f32(2, 5, 128), f32(2, 2, 64, 16), f32(2, 2, 64, 16)],
        domain=MS,
        attrs={"num_heads": 8, "kv_num_heads": 2},
        work=attention(800, 80, 32),
        trust="bound",
    ),
    # And 6 in a window before: 16 keys.
    case(
        "SparsePagedAttention",
        [
            f32(6, 128),
            f32(6, 32),
            f32(6, 32),
            f32(10, 16, 2, 16),
            f32(10, 16, 2, 16),
            t("i32", 3),
            t("i32", 2),
            t("i32", 2, 3),
            None,
            t("i32", 6, 10),
            t("i32", 6),
        ],
        [f32(6, 128), f32(10, 16, 2, 16), f32(10, 16, 2, 16)],
        domain=MS,
        attrs={
            "num_heads": 8,
            "kv_num_heads": 2,
            "attention_mode": "local_plus_selected",
            "local_window_size": 6,
        },
        work=attention(6 * 8 * 16, 48, 32),
        trust="bound",
    ),
    # 5 queries of 3 heads of 8; 12 keys in 3 blocks of 4: 45 scores of 8. Norms: 15 + 3 rows of 8 (mul 3, add 1 each, 2
    # div and a sqrt a row); rotation of 4 channels: 72; means: 96 adds. Scale 45, relu 45, heads summed 45 - 15; the 2
    # best of 3 for 5: 3 each.
    case(
        "SparseAttentionIndexer",
        [f32(1, 5, 24), f32(1, 5, 8), f32(8), f32(8), f32(32, 2), f32(32, 2), None, f32(1, 7, 8)],
        [t("i32", 1, 5, 11), f32(1, 12, 8)],
        domain=MS,
        attrs={"policy_mode": "qsa", "compress_ratio": 4, "token_budget": 8},
        work={
            "mac": 360,
            "mul": 3 * 144 + 2 * 72 + 45,
            "add": 144 + 72 + 96 + 30,
            "div": 36,
            "sqrt": 18,
            "compare": 45 + 15,
        },
        trust="bound",
    ),
    # Compressed: 3 buffered and 5 new projections make 2 windows of 4, and the last one is kept: 4 left. 6 + 2 entries:
    # 120 scores of 8, weighted by head. Pooling: 10 * 8 slots of 5 tokens with a bias, softmax over 8 for 1 * 8
    # channels (all windows of the new tokens: floor(5/4) = 1), weighted. The 4 best of 8: 7 + 6 + 5 + 4.
    case(
        "SparseAttentionIndexer",
        [
            f32(1, 5, 24),
            f32(1, 5, 16),
            f32(8),
            f32(8),
            f32(32, 2),
            f32(32, 2),
            None,
            f32(1, 6, 8),
            f32(1, 5, 16),
            f32(4, 16),
            f32(1, 5, 3),
            t("i64", 1, 5),
            None,
            f32(2, 1, 3, 16),
        ],
        [t("i32", 1, 5, 4), f32(1, 8, 8), f32(2, 1, 4, 16)],
        domain=MS,
        attrs={"policy_mode": "csa", "compress_ratio": 4, "index_topk": 4},
        work={
            "mac": 120 * 8 + 80,
            "mul": 3 * (15 + 2) * 8 + 2 * (15 + 2) * 4 + 240,
            "add": (15 + 2) * 8 + (15 + 2) * 4 + 80 + (2 * 64 - 8) + 120 - 40,
            "div": 2 * 17 + 64,
            "sqrt": 17,
            "exp": 64,
            "compare": 56 + 120 + 5 * 22,
        },
        trust="bound",
        id="SparseAttentionIndexer-csa",
    ),
    # The same by tokens on packed sequences: 16 entries of each state, 2 blocks of 5 new tokens.
    case(
        "PackedSparseAttentionIndexer",
        [
            f32(5, 24),
            f32(5, 8),
            f32(8),
            f32(8),
            f32(32, 2),
            f32(32, 2),
            t("i32", 3),
            t("i32", 2),
            None,
            None,
            None,
            None,
            f32(2, 16, 8),
            f32(2, 7, 8),
            None,
            t("i32", 2, 2),
        ],
        [t("i32", 5, 11), t("i32", 5), f32(2, 16, 8), f32(2, 7, 8), None, t("i32", 2, 2)],
        domain=MS,
        attrs={"policy_mode": "qsa", "compress_ratio": 4, "token_budget": 8, "state_capacity": 16},
        work={
            "mac": 240 * 8,
            "mul": 3 * 17 * 8 + 2 * 17 * 4 + 240,
            "add": 17 * 8 + 17 * 4 + 40 + 240 - 80,
            "div": 34,
            "sqrt": 17,
            "compare": 240 + 5 * (15 + 14),
        },
        trust="bound",
    ),
    # 3 rows of 8 entries, each compared with those before it: 3 * 28.
    case(
        "PackedSparseAttentionIndexerMerge",
        [t("i32", 4, 5), t("i32", 4), t("i32", 3), t("i32", 3), t("i32", 3)],
        [t("i32", 3, 8), t("i32", 3), t("i32", 3)],
        domain=MS,
        attrs={"max_output_entries": 8, "policy_mode": "append_range"},
        work={"compare": 84},
        trust="bound",
    ),
]

# 2 batches of 5 tokens, 4 heads that read, 2 states of 8 x 6: a token's state work is 2 * 48 = 96, 960 in all; reading
# 4 * 48 is 1920; the scale 10 * 4 * 6 = 240.
LINEAR = [
    case(
        "LinearAttention",
        [f32(2, 5, 32), f32(2, 5, 16), f32(2, 5, 12)],
        [f32(2, 5, 24), f32(2, 2, 8, 6)],
        attrs={"q_num_heads": 4, "kv_num_heads": 2, "update_rule": "linear"},
        work={"mac": 960 + 1920, "mul": 240},
    ),
    # Gated: an exponential for each of 20 heads of tokens, the state decays (960 mul). Delta: taken back by another
    # product of 960; the difference and beta, 120 each.
    case(
        "LinearAttention",
        [f32(2, 5, 32), f32(2, 5, 16), f32(2, 5, 12), f32(2, 2, 8, 6), f32(2, 5, 2), f32(2, 5, 2)],
        [f32(2, 5, 24), f32(2, 2, 8, 6)],
        attrs={"q_num_heads": 4, "kv_num_heads": 2},
        work={"mac": 2 * 960 + 1920, "mul": 240 + 960 + 120, "exp": 20, "add": 120},
        id="LinearAttention-gated-delta",
    ),
    # More states than readers: all 4 states are read. A window of 3 states in front; the state has its own type.
    case(
        "LinearAttention",
        [
            t("f16", "b", "t", 16),
            t("f16", "b", "t", 32),
            t("f16", "b", "t", 24),
            f32(3, "b", 4, 8, 6),
            t("f16", "b", "t", 32),
        ],
        [t("f16", "b", "t", 24), f32(3, "b", 4, 8, 6)],
        domain=MS,
        attrs={"q_num_heads": 2, "kv_num_heads": 4, "update_rule": "gated", "state_window": 3},
        work={"mac": "384*b*t", "mul": "24*b*t + 192*b*t", "exp": "32*b*t"},
    ),
    # softplus(a + bias) * scale on 30: 2 add, exp, log, mul; sigmoid of b.
    case(
        "LinearAttentionGate",
        [t("f16", 2, 5, 3), f32(3), f32(3), t("f16", 2, 5, 3)],
        [t("f16", 2, 5, 3), t("f16", 2, 5, 3)],
        domain=MS,
        work={"add": 60 + 30, "exp": 60, "log": 30, "mul": 30, "div": 30},
    ),
    # 10 tokens, 2 heads of queries, 4 of values: state 10 * 4 * 48 = 1920 three times; decays and beta 40 each; value
    # steps 240. Raw gates: 4 exp of a_log and its sign, bias 40, softplus 40, mul 40; sigmoid of beta 40; 40 rows of 8
    # normalised.
    case(
        "GatedDeltaNet",
        [
            f32(10, 2, 8),
            f32(10, 2, 8),
            f32(10, 4, 6),
            None,
            f32(10, 4),
            f32(10, 4),
            f32(2, 4, 6, 8),
            f32(4),
            f32(4),
        ],
        [f32(10, 4, 6), f32(2, 4, 6, 8)],
        domain=MS,
        attrs={"gate_activation": "softplus", "beta_activation": "sigmoid", "qk_l2_norm": 1},
        work={
            "mac": 3 * 1920,
            "mul": 240 + 1920 + 240 + 40 + 640,
            "exp": 40 + 4 + 40 + 40,
            "log": 40,
            "logic": 4,
            "add": 240 + 40 + 40 + 40 + 320,
            "div": 40 + 40,
            "sqrt": 40,
        },
    ),
    # Packed: 2 * 2 * 8 + 4 * 6 = 56 wide; captured: 3 * (4 + 16 + 24).
    case(
        "GatedDeltaNet",
        [f32(2, 5, 56), None, None, None, None, None, f32(2, 4, 6, 8), None, None, t("i32", 2)],
        [f32(2, 5, 4, 6), f32(2, 4, 6, 8), f32(2, 132)],
        domain=MS,
        attrs={"update_rule": "linear", "state_update_capacity": 3},
        work={"mac": 2 * 1920, "mul": 240},
        id="GatedDeltaNet-packed",
    ),
    # 3 transitions of 4 states of 6 x 8: a decay and a product each.
    case(
        "GatedDeltaNetStateReplay",
        [f32(1000), f32(1000), f32(900), const("i64", [0, 0, 0, 20, 100, 4, 6, 8, 2, 5, 3])],
        f32(900),
        domain=MS,
        work={"mac": 576, "mul": 576},
        read=(192 + 3 * (4 + 16 + 24)) * 4,
        written=192 * 4,
    ),
    case(
        "GatedDeltaNetStateReplay",
        [f32(1000), f32(1000), f32(900), t("i64", 11)],
        f32(900),
        domain=MS,
        trust="unknown",
        id="GatedDeltaNetStateReplay-unknown",
    ),
    # 3 rows, 2 heads of 64 (128), one group of 128: 128 + 256 = 384 channels. Convolution 4 * 1152, biased, silu. dt on
    # 6: add, softplus, compare, mul, exp. State 3 * 128 * 128 = 49152: decay mul, in and out mac; dt * x, D * x and its
    # add: 384. Gate: silu and a product on 384; norm: mul 3 * 384, add 384, div 6, sqrt 3.
    case(
        "Mamba2Verify",
        [
            t("bf16", 3, 514),
            t("bf16", 2, 384, 3),
            f32(2, 2, 128, 64),
            t("bf16", 384, 4),
            t("bf16", 384),
            f32(2),
            f32(2),
            f32(2),
            f32(128),
            t("i32", 1),
        ],
        [t("bf16", 3, 128), t("bf16", 2, 384, 3), f32(2, 2, 128, 64), t("bf16", 3, 384), f32(3, 128)],
        domain=MS,
        attrs={"heads": 2, "n_groups": 1},
        work={
            "mac": 4608 + 2 * 49152,
            "add": 1152 + 1152 + 6 + 6 + 384 + 384 + 384,
            "exp": 1152 + 6 + 6 + 384,
            "div": 1152 + 384 + 6,
            "log": 6,
            "compare": 6,
            "mul": 1152 + 6 + 49152 + 384 + 384 + 384 + 384 + 3 * 384,
            "sqrt": 3,
        },
    ),
]

POSITIONS = [
    # Every element is turned: 2 mul and an add each. A row of 4 of both tables for each of 10 tokens.
    case(
        "RotaryEmbedding",
        [f32(2, 3, 5, 8), f32(50, 4), f32(50, 4), t("i64", 2, 5)],
        f32(2, 3, 5, 8),
        work={"mul": 480, "add": 240},
        read=(240 + 80) * 4 + 80,
    ),
    # Only the first 4 of each head of 8.
    case(
        "RotaryEmbedding",
        [f32(2, 5, 24), f32(2, 5, 2), f32(2, 5, 2)],
        f32(2, 5, 24),
        attrs={"num_heads": 3, "rotary_embedding_dim": 4},
        work={"mul": 240, "add": 120},
        id="RotaryEmbedding-partial",
    ),
    case(
        "RotaryEmbedding",
        [f32("b", "s", 64), t("i64", "b", "s"), weight("f32", 2048, 16), weight("f32", 2048, 16)],
        f32("b", "s", 64),
        domain=MS,
        attrs={"scale": 2.0},
        work={"mul": "192*b*s", "add": "64*b*s"},
        weights="128*b*s",
    ),
    case(
        "MRotaryEmbedding",
        [f32(2, 5, 24), t("i64", 3, 2, 5), f32(50, 4), f32(50, 4)],
        f32(2, 5, 24),
        domain=MS,
        attrs={"mrope_section": [2, 1, 1]},
        work={"mul": 480, "add": 240},
    ),
    # Sine and cosine of 80 angles, to half precision; 240 + 240 turned.
    case(
        "GemmaRotaryEmbedding",
        [f32(2, 5, 8), t("f16", 2, 3, 5, 8), t("f16", 2, 3, 5, 8), t("f16", 2, 3, 5, 8), t("f16", 2, 3, 5, 8)],
        [t("f16", 2, 3, 5, 8), t("f16", 2, 3, 5, 8)],
        domain=MS,
        work={"trig": 160, "convert": 160, "mul": 960, "add": 480},
    ),
    # 30 heads of 8 normalised: 720 mul, 240 add, 60 div, 30 sqrt; 4 of 8 turned: 120.
    case(
        "RMSNormRotary",
        [t("bf16", 2, 5, 3, 8), f32(8), t("i64", 2, 5), f32(50, 2), f32(50, 2)],
        [t("bf16", 2, 5, 24), f32(2, 5, 3, 8)],
        domain=MS,
        attrs={"rotary_embedding_dim": 4},
        work={"mul": 720 + 240, "add": 240 + 120, "div": 60, "sqrt": 30},
    ),
    # 5 x 7 pairs.
    case(
        "RelativePositionBias",
        [f32(32, 4), const("i64", 5), const("i64", 7)],
        f32(1, 4, 5, 7),
        domain=MS,
        attrs={"max_distance": 128},
        work={"add": 70, "logic": 70, "compare": 70, "log": 35, "mul": 35, "convert": 35},
        trust="estimate",
    ),
    # 2 batches of 5 tokens of 3 heads of 4: 30 rows times 4 x 6. Query bias 120; bias 6 and sums 4 a row; sigmoid of
    # 60; u * (r * eco - 1) + 2: 2 mul and 2 add a row; times 2 * 3 * 25.
    case(
        "GatedRelativePositionBias",
        [f32(2, 5, 12), f32(12), f32(1, 3, 5, 5), f32(4, 6), f32(6), f32(1, 3, 1, 1)],
        f32(2, 3, 5, 5),
        domain=MS,
        attrs={"num_heads": 3},
        work={"mac": 720, "add": 120 + 300 + 60 + 60, "exp": 60, "div": 60, "mul": 60 + 150},
    ),
]


@pytest.mark.parametrize("c", [*PLAIN, *PROJECTED, *CACHED, *SPARSE, *LINEAR, *POSITIONS], ids=str)
def test_attention(c: Case) -> None:
    check(c)


def test_flex_attention_counts_its_bodies_in_rows_of_their_own() -> None:
    """Scores of 280 doubled by a body: 280 mul beside those of the attention."""
    body = helper.make_graph(
        [helper.make_node("Add", ["scores", "scores"], ["changed"], name="twice")],
        "twice",
        [helper.make_tensor_value_info("scores", F, None)],
        [helper.make_tensor_value_info("changed", F, None)],
    )
    node = helper.make_node(
        "FlexAttention", ["q", "k", "v"], ["y"], name="node", domain="ai.onnx.preview", score_mod=body
    )
    sizes = {"q": (2, 4, 5, 8), "k": (2, 2, 7, 8), "v": (2, 2, 7, 6)}
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, F, shape) for name, shape in sizes.items()],
        [onnx.ValueInfoProto(name="y")],
    )
    opsets = [helper.make_opsetid("ai.onnx.preview", 1), helper.make_opsetid("", onnx.defs.onnx_opset_version())]
    report = macsim.count(helper.make_model(graph, opset_imports=opsets))
    rows = {row.name: row for row in report.rows}
    assert list(rows) == ["twice", "node"]
    assert rows["twice"].work["add"] == 280
    assert list(rows["node"].outputs[0].shape or ()) == [2, 4, 5, 6]
    assert {kind: amount for kind, amount in rows["node"].work.items() if amount != 0} == attention(280, 40, 14)
