"""Recurrent layers: every row worked out by hand.

T steps of a batch of B, hidden size H, input size I: mac = T * B * (|W| + |R|), with E = T * B * H elements a
direction. Joining the two products is an add for each gate, a bias another one; Wb + Rb is done once, H for each
gate. Sigmoid is exp, add and div; tanh is exp.
"""

from __future__ import annotations

import pytest
from truth import Case, case, check, const, f32, t, weight

MS = "com.microsoft"

CASES = [
    # 5 steps of 3, E = 5 * 3 * 4 = 60: |W| = 4 * 6, |R| = 4 * 4.
    case(
        "RNN",
        [f32(5, 3, 6), f32(1, 4, 6), f32(1, 4, 4)],
        [f32(5, 1, 3, 4), f32(1, 3, 4)],
        work={"mac": 15 * 40, "add": 60, "exp": 60},
    ),
    # Both ways, with a bias (E more, and 4 once each way), clipped (2 each), relu and a hard sigmoid (mul, add, 2
    # compare).
    case(
        "RNN",
        [f32(5, 3, 6), f32(2, 4, 6), f32(2, 4, 4), f32(2, 8)],
        [f32(5, 2, 3, 4), f32(2, 3, 4)],
        version=7,
        attrs={"direction": "bidirectional", "activations": ["Relu", "HardSigmoid"], "clip": 3.0, "hidden_size": 4},
        work={"mac": 15 * 80, "add": 2 * 60 + 2 * 64 + 60, "compare": 240 + 60 + 120, "mul": 60},
    ),
    case(
        "RNN",
        [f32(5, 3, 6), f32(1, 4, 6), f32(1, 4, 4)],
        [None, f32(1, 3, 4)],
        version=1,
        work={"mac": 600, "add": 60, "exp": 60},
    ),
    # Batch first.
    case(
        "RNN",
        [f32(3, 5, 6), f32(1, 4, 6), f32(1, 4, 4)],
        [f32(3, 5, 1, 4), f32(3, 1, 4)],
        version=14,
        attrs={"layout": 1},
        work={"mac": 600, "add": 60, "exp": 60},
    ),
    # nn.GRU(10, 20), 5 steps of 3: 15 * 3 * 20 * 30 = 27000. E = 300: gates 3 E joined, 3 E bias, 60 once; two sigmoids
    # and a tanh; r * H, (1 - z) * h, z * H: 3 E mul; 1 - z and the sum: 2 E add.
    case(
        "GRU",
        [f32(5, 3, 10), weight("f32", 1, 60, 10), weight("f32", 1, 60, 20), weight("f32", 1, 120)],
        [f32(5, 1, 3, 20), f32(1, 3, 20)],
        work={
            "mac": 27000,
            "add": 900 + 900 + 60 + 600 + 600,
            "exp": 900,
            "div": 600,
            "mul": 900,
        },
        weights=(600 + 1200 + 120) * 4,
    ),
    # Reset after the product: the hidden gate's two biases are added apart (4 E), those of two gates once (40).
    case(
        "GRU",
        [f32(5, 3, 10), f32(1, 60, 10), f32(1, 60, 20), f32(1, 120)],
        [f32(5, 1, 3, 20), f32(1, 3, 20)],
        version=3,
        attrs={"linear_before_reset": 1},
        work={"mac": 27000, "add": 900 + 1200 + 40 + 600 + 600, "exp": 900, "div": 600, "mul": 900},
    ),
    # Symbols: without a bias.
    case(
        "GRU",
        [f32("t", "b", 10), f32(1, 60, 10), f32(1, 60, 20)],
        [f32("t", 1, "b", 20), f32(1, "b", 20)],
        version=7,
        work={"mac": "1800*t*b", "add": "140*t*b", "exp": "60*t*b", "div": "40*t*b", "mul": "60*t*b"},
    ),
    # The length of every sequence is known: 5 + 2 + 0 steps of 60 * 30.
    case(
        "GRU",
        [f32(5, 3, 10), f32(1, 60, 10), f32(1, 60, 20), None, const("i32", [5, 2, 0])],
        [f32(5, 1, 3, 20), f32(1, 3, 20)],
        version=1,
        work={"mac": 7 * 1800, "add": 140 * 7, "exp": 60 * 7, "div": 40 * 7, "mul": 60 * 7},
    ),
    # LSTM 64-64, 100 steps: 100 * 4 * 64 * 128. E = 6400: 4 E joined, 4 E bias, 256 once, C: 2 mul and an add, H: a
    # mul; three sigmoids and two tanh.
    case(
        "LSTM",
        [f32(100, 1, 64), weight("f32", 1, 256, 64), weight("f32", 1, 256, 64), weight("f32", 1, 512)],
        [f32(100, 1, 1, 64), f32(1, 1, 64), f32(1, 1, 64)],
        work={
            "mac": 3276800,
            "add": 25600 + 25600 + 256 + 6400 + 19200,
            "exp": 32000,
            "div": 19200,
            "mul": 19200,
        },
    ),
    # nn.LSTM(10, 20): 15 * 4 * 20 * 30 = 36000; peepholes: three more mul and add; E = 300.
    case(
        "LSTM",
        [f32(5, 3, 10), f32(1, 80, 10), f32(1, 80, 20), None, None, None, None, f32(1, 60)],
        [f32(5, 1, 3, 20), f32(1, 3, 20), f32(1, 3, 20)],
        version=1,
        work={"mac": 36000, "add": 1200 + 300 + 900 + 900, "exp": 1500, "div": 900, "mul": 1800},
    ),
    # Coupled: the forget gate is 1 - i, an add in place of a sigmoid.
    case(
        "LSTM",
        [f32(5, 3, 10), f32(1, 80, 10), f32(1, 80, 20)],
        [f32(5, 1, 3, 20)],
        version=7,
        attrs={"input_forget": 1},
        work={"mac": 36000, "add": 1200 + 300 + 300 + 600, "exp": 1200, "div": 600, "mul": 900},
    ),
    # Lengths that are data: at most all steps. Batch first, both ways.
    case(
        "LSTM",
        [f32("b", "t", 10), f32(2, 80, 10), f32(2, 80, 20), None, t("i32", "b")],
        [f32("b", "t", 2, 20), f32("b", 2, 20), f32("b", 2, 20)],
        version=14,
        attrs={"layout": 1, "direction": "bidirectional"},
        work={"mac": "4800*b*t", "add": "320*b*t", "exp": "200*b*t", "div": "120*b*t", "mul": "120*b*t"},
        trust="bound",
    ),
    # 5 steps of 3, sizes 10 and 20, E = 300. X quantised once (150 elements), H at each of 5 steps (60): compare
    # 4 n + 2, add and div n + 2, convert n + 1. Zero points off X and H (15 * 30) and off W and R (800 + 1600). Factors
    # 1 and 5; 8 E results converted and scaled. Then as an LSTM without a bias.
    case(
        "DynamicQuantizeLSTM",
        [
            f32(5, 3, 10),
            t("i8", 1, 10, 80),
            t("i8", 1, 20, 80),
            None,
            None,
            None,
            None,
            None,
            f32(1),
            t("i8", 1),
            f32(1),
            t("i8", 1),
        ],
        [f32(5, 1, 3, 20), f32(1, 3, 20), f32(1, 3, 20)],
        domain=MS,
        work={
            "mac": 36000,
            "compare": 602 + 5 * 242,
            "add": 152 + 5 * 62 + 450 + 2400 + 1200 + 300 + 900,
            "div": 152 + 5 * 62 + 900,
            "convert": 151 + 5 * 61 + 2400,
            "mul": 1 + 5 + 2400 + 900,
            "exp": 1500,
        },
    ),
    # 2 steps of 3, input 4 with an attention of 6 beside it, H = 5, memory of 7 places of depth 8, attention size 9.
    # E = 30: LSTM 6 * 20 * (10 + 5). Keys 168 * 9, queries 6 * 5 * 9, scores 6 * 7 * 9, context 6 * 7 * 8, layer
    # 6 * 13 * 6. keys + query and tanh: 378; softmax of 6 rows of 7.
    case(
        "AttnLSTM",
        [
            f32(2, 3, 4),
            f32(1, 20, 10),
            f32(1, 20, 5),
            None,
            None,
            None,
            None,
            None,
            f32(1, 5, 9),
            f32(1, 8, 9),
            f32(1, 9),
            f32(3, 7, 8),
            None,
            f32(1, 13, 6),
        ],
        [f32(2, 1, 3, 5), f32(1, 3, 5), f32(1, 3, 5)],
        domain=MS,
        work={
            "mac": 1800 + 1512 + 270 + 378 + 336 + 468,
            "add": 120 + 30 + 90 + 378 + 42 + 36,
            "exp": 150 + 378 + 42,
            "div": 90 + 42,
            "mul": 90,
            "compare": 36,
        },
    ),
]


@pytest.mark.parametrize("c", CASES, ids=str)
def test_rnn(c: Case) -> None:
    check(c)
