"""Experts: every row worked out by hand.

T tokens visit k of E experts: T * k times the matrices of one. The router: softmax of T rows of E (compare E - 1, add
2 E - 1, exp and div E), and the k largest, one after the other: (E - 1) + (E - 2) + ... compares. What the experts
say is weighted (T k D mul) and added up (T (k - 1) D add).
"""

from __future__ import annotations

import pytest
from truth import Case, case, check, f32, model_of, t, weight

import macsim

MS = "com.microsoft"

# 6 tokens of 16, 8 experts with 32 inside, 2 for each: 12 visits of 2 * 512. Router: 6 rows of 8; 7 + 6 compares.
_ROUTER = {"compare": 6 * 7 + 6 * 13, "add": 6 * 15, "exp": 48, "div": 48}

CASES = [
    case(
        "MoE",
        [f32(2, 3, 16), f32(6, 8), weight("f32", 8, 32, 16), None, weight("f32", 8, 16, 32)],
        f32(2, 3, 16),
        domain=MS,
        attrs={"k": 2},
        work={
            "mac": 12 * 1024,
            "compare": _ROUTER["compare"] + 12 * 32,
            "add": _ROUTER["add"] + 6 * 16,
            "exp": 48,
            "div": 48,
            "mul": 12 * 16,
        },
        weights=8 * 1024 * 4,
    ),
    # One token reads 2 experts, not 8. Gate and up in one matrix (64 rows), biases 64 and 16; swiglu on 2 * 32: 2 mul,
    # exp, add, div; weights normalised: 1 add, 2 div.
    case(
        "MoE",
        [
            f32(1, 16),
            f32(1, 8),
            weight("f32", 8, 64, 16),
            weight("f32", 8, 64),
            weight("f32", 8, 16, 32),
            weight("f32", 8, 16),
        ],
        f32(1, 16),
        domain=MS,
        attrs={"k": 2, "activation_type": "swiglu", "swiglu_fusion": 1, "normalize_routing_weights": 1},
        work={
            "mac": 2 * (1024 + 512),
            "compare": 7 + 13,
            "add": 15 + 1 + 128 + 32 + 64 + 16,
            "exp": 8 + 64,
            "div": 8 + 2 + 64,
            "mul": 128 + 32,
        },
        weights=2 * (1024 + 64 + 512 + 16) * 4,
        id="MoE-swiglu",
    ),
    # Mixtral's way: a third matrix, silu(gate) * up: 2 mul, exp, add, div on 2 t * 32. At most all 8 experts are read.
    case(
        "MoE",
        [
            f32("t", 16),
            f32("t", 8),
            weight("f32", 8, 32, 16),
            None,
            weight("f32", 8, 16, 32),
            None,
            weight("f32", 8, 32, 16),
        ],
        f32("t", 16),
        domain=MS,
        attrs={"k": 2, "activation_type": "silu"},
        work={
            "mac": "3072*t",
            "compare": "20*t",
            "add": "15*t + 64*t + 16*t",
            "exp": "72*t",
            "div": "72*t",
            "mul": "128*t + 32*t",
        },
        weights="6144*min(8, 2*t)",
        id="MoE-gated",
    ),
    # Hidden 8, inner 16: 6 tokens visit one expert of 2 * 8 * 16. The matrices lie as [hidden, inner], [inner, hidden];
    # ONNX Runtime reads them the other way round, and takes both.
    case(
        "MoE",
        [f32(6, 8), f32(6, 4), weight("f32", 4, 8, 16), weight("f32", 4, 16), weight("f32", 4, 16, 8)],
        f32(6, 8),
        domain=MS,
        attrs={"k": 1},
        work={
            "mac": 6 * 256,
            "compare": 6 * 3 + 6 * 3 + 6 * 16,
            "add": 6 * 7 + 6 * 16,
            "exp": 24,
            "div": 24,
            "mul": 6 * 8,
        },
        weights=4 * (2 * 8 * 16 + 16) * 4,
        id="MoE-turned",
    ),
    # Mixtral's sizes, turned: 2 experts of 3 * 4096 * 14336. silu(gate) * up: 2 mul, exp, add, div on 2 * 14336.
    case(
        "MoE",
        [
            f32(1, 4096),
            f32(1, 8),
            weight("f32", 8, 4096, 14336),
            None,
            weight("f32", 8, 14336, 4096),
            None,
            weight("f32", 8, 4096, 14336),
        ],
        f32(1, 4096),
        domain=MS,
        attrs={"k": 2, "activation_type": "silu"},
        work={
            "mac": 352_321_536,
            "compare": 7 + 13,
            "add": 15 + 2 * 14336 + 4096,
            "exp": 8 + 2 * 14336,
            "div": 8 + 2 * 14336,
            "mul": 4 * 14336 + 2 * 4096,
        },
        id="MoE-gated-turned",
    ),
    # Neither size is that of the tokens.
    case(
        "MoE",
        [f32(6, 8), f32(6, 4), weight("f32", 4, 16, 9), None, weight("f32", 4, 8, 16)],
        f32(6, 8),
        domain=MS,
        trust="unknown",
        id="MoE-misfit",
    ),
    # 4-bit weights: 16 and 32 columns in 8 and 16 bytes. Those of 8 experts widened: 8 * 1024 of add, convert, mul.
    case(
        "QMoE",
        [
            f32(6, 16),
            f32(6, 8),
            weight("u8", 8, 32, 8),
            weight("f32", 8, 32),
            None,
            weight("u8", 8, 16, 16),
            weight("f32", 8, 16),
        ],
        f32(6, 16),
        domain=MS,
        attrs={"k": 2, "expert_weight_bits": 4},
        work={
            "mac": 12 * 1024,
            "compare": _ROUTER["compare"] + 12 * 32,
            "add": _ROUTER["add"] + 6 * 16 + 8192,
            "exp": 48,
            "div": 48,
            "mul": 12 * 16 + 8192,
            "convert": 8192,
        },
        weights=8 * (32 * 8 + 16 * 16) + 8 * 48 * 4,
    ),
    # The same turned: 32 and 16 columns in 16 and 8 bytes.
    case(
        "QMoE",
        [
            f32(6, 16),
            f32(6, 8),
            weight("u8", 8, 16, 16),
            weight("f32", 8, 32),
            None,
            weight("u8", 8, 32, 8),
            weight("f32", 8, 16),
        ],
        f32(6, 16),
        domain=MS,
        attrs={"k": 2, "expert_weight_bits": 4},
        work={
            "mac": 12 * 1024,
            "compare": _ROUTER["compare"] + 12 * 32,
            "add": _ROUTER["add"] + 6 * 16 + 8192,
            "exp": 48,
            "div": 48,
            "mul": 12 * 16 + 8192,
            "convert": 8192,
        },
        id="QMoE-turned",
    ),
    # Mixing weights of their own: no softmax; normalised 6 add, 12 div; swiglu on 12 * 32; three matrices, packed.
    case(
        "MoEPacked",
        [
            t("f16", 6, 16),
            f32(6, 8),
            weight("u8", 8, 32, 9),
            weight("u8", 8, 32, 9),
            weight("u8", 8, 16, 18),
            f32(6, 8),
        ],
        t("f16", 6, 16),
        domain=MS,
        attrs={"k": 2, "gate_type": 2, "up_type": 2, "down_type": 2},
        work={
            "mac": 12 * 1536,
            "compare": 6 * 13,
            "add": 6 + 384 + 96,
            "div": 12 + 384,
            "exp": 384,
            "mul": 768 + 192 + 8 * 1536,
            "convert": 8 * 1536,
        },
        trust="estimate",
    ),
    # 6 tokens, 8 experts in 4 groups of 2, the 2 best summed (1 compare + 0, an add), 2 groups (3 + 2), 2 of 4 experts
    # (3 + 2), and their logarithms after a compare: 6 * (4 + 5 + 5 + 2).
    case(
        "MoEGroupRouter",
        [f32(2, 3, 8), f32(8)],
        f32(6, 8),
        domain=MS,
        attrs={"top_k": 2, "n_group": 4, "topk_group": 2},
        work={"exp": 48, "add": 96 + 24, "div": 48, "compare": 96, "log": 12},
    ),
    # All scores, from activations: 48 dot products of 256.
    case(
        "MoEGroupRouter",
        [t("f16", 6, 256), f32(8), t("f16", 8, 256)],
        [None, f32(6, 8), f32(6, 8)],
        domain=MS,
        attrs={"top_k": 2},
        work={"mac": 48 * 256, "exp": 48, "add": 96, "div": 48},
        id="MoEGroupRouter-full",
    ),
    # 8 scores and a gate of 32 from 16: 6 rows of 16 * 72; swiglu on 6 * 32, clamped by 3 compares.
    case(
        "RouterGateUpProj",
        [f32(2, 3, 16), f32(16, 72)],
        [f32(2, 3, 8), f32(2, 3, 32)],
        domain=MS,
        attrs={"router_size": 8, "limit": 7.0},
        work={"mac": 6 * 16 * 72, "exp": 192, "add": 192, "div": 192, "mul": 384, "compare": 576},
    ),
]


@pytest.mark.parametrize("c", CASES, ids=str)
def test_moe(c: Case) -> None:
    check(c)


def test_a_hidden_size_that_is_a_symbol_is_that_of_the_experts() -> None:
    """[4, 8, 16] is read as [experts, inner, hidden]: 6 tokens of 2 * 8 * 16. A hidden size of 8 would be the other."""
    inputs = [f32(6, "h"), f32(6, 4), weight("f32", 4, 8, 16), None, weight("f32", 4, 16, 8)]
    report = macsim.count(model_of(case("MoE", inputs, f32(6, "h"), domain=MS)))
    assert report.bind(h=16).macs == 1536
    with pytest.raises(macsim.RequestError, match=r"the hidden sizes of the experts and the tokens, .* 16 and 8$"):
        report.bind(h=8)
