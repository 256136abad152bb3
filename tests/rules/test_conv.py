"""Convolutions: every row worked out by hand.

One output element is a dot product with one filter, |w[1:]| multiply-adds; taps on padding are counted too. Transposed,
one input element is spread by one filter. Requantised: mul, convert, add (zero) and 2 compare an element.
"""

from __future__ import annotations

import pytest
from truth import Case, case, check, const, f32, t, weight

MS = "com.microsoft"
NHWC = "com.ms.internal.nhwc"

CONV = [
    # (8 + 2 - 3)/2 + 1 = 4: |y| = 2*16*4*4 = 512, |w[1:]| = 3*3*3 = 27.
    case(
        "Conv",
        [f32(2, 3, 8, 8), weight("f32", 16, 3, 3, 3), weight("f32", 16)],
        f32(2, 16, 4, 4),
        attrs={"strides": [2, 2], "pads": [1, 1, 1, 1]},
        work={"mac": 512 * 27, "add": 512},
        read=2 * 3 * 64 * 4,
        weights=(16 * 27 + 16) * 4,
        written=512 * 4,
    ),
    # Depthwise: 8 groups of one channel, 9 taps; kernel_shape says what W says.
    case(
        "Conv",
        [f32(1, 8, 6, 6), f32(8, 1, 3, 3)],
        f32(1, 8, 4, 4),
        version=1,
        attrs={"group": 8, "kernel_shape": [3, 3]},
        work={"mac": 128 * 9},
        id="Conv-depthwise",
    ),
    # Dilation 3 spreads 3 taps over 7: 10 - 7 + 1 = 4 positions.
    case("Conv", [f32(1, 2, 10), f32(4, 2, 3)], f32(1, 4, 4), version=11, attrs={"dilations": [3]}, work={"mac": 96}),
    # SAME: ceil(7 / 2) = 4 on each of three axes.
    case(
        "Conv",
        [f32(1, 1, 7, 7, 7), f32(2, 1, 3, 3, 3)],
        f32(1, 2, 4, 4, 4),
        attrs={"auto_pad": "SAME_UPPER", "strides": [2, 2, 2]},
        work={"mac": 128 * 27},
        id="Conv-same-3d",
    ),
    case(
        "Conv",
        [f32(1, 1, 7, 7), f32(2, 1, 3, 3)],
        f32(1, 2, 3, 3),
        attrs={"auto_pad": "VALID", "strides": [2, 2]},
        work={"mac": 18 * 9},
        id="Conv-valid",
    ),
    # ResNet's first layer with free sizes: (h + 6 - 7)/2 + 1 = floor((h - 1)/2) + 1.
    case(
        "Conv",
        [f32("n", 3, "h", "w"), weight("f32", 64, 3, 7, 7)],
        f32("n", 64, "floor((h + 1)/2)", "floor((w + 1)/2)"),
        attrs={"strides": [2, 2], "pads": [3, 3, 3, 3]},
        work={"mac": "9408*n*floor((h + 1)/2)*floor((w + 1)/2)"},
        id="Conv-symbolic",
    ),
    # An addend and relu: 128 each.
    case(
        "FusedConv",
        [f32(1, 2, 10, 10), f32(2, 2, 3, 3), f32(2), f32(1, 2, 8, 8)],
        f32(1, 2, 8, 8),
        domain=MS,
        attrs={"activation": "Relu"},
        work={"mac": 128 * 18, "add": 256, "compare": 128},
    ),
    case(
        "FusedConv",
        [f32(1, 2, 10, 10), f32(2, 2, 3, 3)],
        f32(1, 2, 8, 8),
        domain=MS,
        attrs={"activation": "Mystery"},
        work={"mac": 128 * 18, "exp": 128},
        trust="estimate",
        id="FusedConv-unknown",
    ),
    # Channels last; weights stay [M, C, k, k].
    case(
        "NhwcConv",
        [t("f16", 1, 10, 12, 2), t("f16", 4, 2, 3, 3), t("f16", 4)],
        t("f16", 1, 8, 10, 4),
        domain=MS,
        work={"mac": 320 * 18, "add": 320},
    ),
    case(
        "NhwcFusedConv",
        [t("f16", 1, 10, 12, 2), t("f16", 4, 2, 3, 3), t("f16", 4), t("f16", 1, 8, 10, 4)],
        t("f16", 1, 8, 10, 4),
        domain=MS,
        attrs={"activation": "Relu"},
        work={"mac": 320 * 18, "add": 640, "compare": 320},
    ),
    case(
        "Conv", [f32(1, 10, 12, 2), f32(4, 2, 3, 3)], f32(1, 8, 10, 4), domain=NHWC, version=11, work={"mac": 320 * 18}
    ),
    case(
        "Conv",
        [f32(1, 8, 10, 10), f32(16, 8, 3, 3), f32(16), f32(1, 16, 8, 8)],
        f32(1, 16, 8, 8),
        domain="com.microsoft.nchwc",
        work={"mac": 1024 * 72, "add": 2048},
    ),
    # Zero points are taken off 200 inputs and 36 weights.
    case(
        "ConvInteger",
        [t("u8", 1, 2, 10, 10), t("u8", 2, 2, 3, 3), t("u8"), t("u8", 2)],
        t("i32", 1, 2, 8, 8),
        work={"mac": 128 * 18, "add": 236},
    ),
    # Zeros 200 + 36 + 128, bias 128; a factor for each of 2 channels (mul, div); 128 requantised.
    case(
        "QLinearConv",
        [t("u8", 1, 2, 10, 10), f32(), t("u8"), t("i8", 2, 2, 3, 3), f32(2), t("i8", 2), f32(), t("u8"), t("i32", 2)],
        t("u8", 1, 2, 8, 8),
        work={"mac": 128 * 18, "add": 492, "mul": 130, "div": 2, "convert": 128, "compare": 256},
    ),
    case(
        "QLinearConv",
        [t("u8", 1, 10, 10, 2), f32(), t("u8"), t("i8", 2, 2, 3, 3), f32(), t("i8"), f32(), t("i8")],
        t("i8", 1, 8, 8, 2),
        domain=MS,
        attrs={"channels_last": 1},
        work={"mac": 128 * 18, "add": 364, "mul": 129, "div": 1, "convert": 128, "compare": 256},
    ),
    case(
        "QLinearConv",
        [t("u8", 1, 10, 10, 2), f32(), t("u8"), t("i8", 2, 2, 3, 3), f32(), t("i8"), f32(), t("u8")],
        t("u8", 1, 8, 8, 2),
        domain=NHWC,
        version=10,
        work={"mac": 128 * 18, "add": 364, "mul": 129, "div": 1, "convert": 128, "compare": 256},
    ),
]

TRANSPOSED = [
    # ConvTranspose2d(3, 1, 2, stride 2) on 2 x 2: 12 inputs spread by 4 weights; 16 results with a bias.
    case(
        "ConvTranspose",
        [f32(1, 3, 2, 2), f32(3, 1, 2, 2), f32(1)],
        f32(1, 1, 4, 4),
        attrs={"strides": [2, 2]},
        work={"mac": 48, "add": 16},
    ),
    # (4 - 1) * 2 + 3 + 1 - 2 = 8; every input meets 3 output channels of its group.
    case(
        "ConvTranspose",
        [f32(2, 4, 4, 4), f32(4, 3, 3, 3)],
        f32(2, 6, 8, 8),
        version=1,
        attrs={"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1], "group": 2},
        work={"mac": 2 * 4 * 16 * 27},
    ),
    # Dilation 2: three taps reach over 5; 3 + 5 = 8 (stride 1).
    case(
        "ConvTranspose",
        [f32(1, 1, 4), f32(1, 1, 3)],
        f32(1, 1, 8),
        version=11,
        attrs={"dilations": [2]},
        work={"mac": 12},
    ),
    case(
        "ConvTranspose",
        [f32(1, 1, 4), f32(1, 1, 3)],
        f32(1, 1, 9),
        attrs={"strides": [2], "output_shape": [9]},
        work={"mac": 12},
        id="ConvTranspose-output-shape",
    ),
    # Old models state batch and channels as well.
    case(
        "ConvTranspose",
        [f32(1, 1, 4), f32(1, 1, 3)],
        f32(1, 1, 9),
        version=1,
        attrs={"strides": [2], "output_shape": [1, 1, 9]},
        work={"mac": 12},
        id="ConvTranspose-full-output-shape",
    ),
    # SAME: input times stride.
    case(
        "ConvTranspose",
        [f32(1, 1, 3, 3), f32(1, 2, 3, 3)],
        f32(1, 2, 6, 6),
        attrs={"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        work={"mac": 9 * 18},
        id="ConvTranspose-same",
    ),
    # VALID: nothing is cut off, (3 - 1) * 2 + 3 = 7.
    case(
        "ConvTranspose",
        [f32(1, 1, 3), f32(1, 1, 3)],
        f32(1, 1, 7),
        attrs={"auto_pad": "VALID", "strides": [2]},
        work={"mac": 9},
        id="ConvTranspose-valid",
    ),
    case(
        "ConvTranspose",
        [f32("n", 8, "h"), weight("f32", 8, 4, 4)],
        f32("n", 4, "2*h"),
        attrs={"strides": [2], "pads": [1, 1]},
        work={"mac": "128*n*h"},
        id="ConvTranspose-symbolic",
    ),
    case(
        "ConvTransposeWithDynamicPads",
        [f32(1, 3, 4, 4), f32(3, 2, 3, 3), const("i64", [1, 1, 1, 1])],
        f32(1, 2, 7, 7),
        domain=MS,
        attrs={"strides": [2, 2]},
        work={"mac": 48 * 18},
    ),
    # Padding that is data is a symbol: 9 - padding.
    case(
        "ConvTransposeWithDynamicPads",
        [f32(1, 3, 4), f32(3, 2, 3), t("i64", 2)],
        f32(1, 2, "max(0, 9 - node.padding0)"),
        domain=MS,
        attrs={"strides": [2]},
        work={"mac": 72},
        id="ConvTransposeWithDynamicPads-unknown",
    ),
    case(
        "ConvTranspose",
        [f32(1, 2, 2, 3), f32(3, 1, 2, 2)],
        f32(1, 4, 4, 1),
        domain=NHWC,
        version=11,
        attrs={"strides": [2, 2]},
        work={"mac": 48},
    ),
    # Zeros 12 + 12 + 16, one factor, 16 requantised.
    case(
        "QLinearConvTranspose",
        [t("u8", 1, 2, 2, 3), f32(), t("u8"), t("i8", 3, 1, 2, 2), f32(), t("i8"), f32(), t("u8")],
        t("u8", 1, 4, 4, 1),
        domain=NHWC,
        attrs={"strides": [2, 2]},
        work={"mac": 48, "add": 40, "mul": 17, "div": 1, "convert": 16, "compare": 32},
    ),
]

ODD = [
    # 2 axes, 2 x 2 taps, 4 x 4 positions, 2 offset groups: 4 * 16 * 2 = 128 places; each axis: position, fraction,
    # complement (3 add) and a floor; 4 corners of one product each. 64 taps in 4 channels: 256 samples of 4 mul and
    # 3 add, and the mask 256 mul. |y| = 3 * 16 = 48 times |w[1:]| = 16; bias 48.
    case(
        "DeformConv",
        [f32(1, 4, 5, 5), f32(3, 4, 2, 2), f32(1, 16, 4, 4), f32(3), f32(1, 8, 4, 4)],
        f32(1, 3, 4, 4),
        attrs={"offset_group": 2},
        work={"mac": 48 * 16, "add": 48 + 6 * 128 + 3 * 256, "convert": 2 * 128, "mul": 4 * 128 + 4 * 256 + 256},
    ),
    case(
        "DeformConv",
        [f32(1, 1, 3, 3), f32(1, 1, 2, 2), f32(1, 8, 2, 2)],
        f32(1, 1, 2, 2),
        version=19,
        work={"mac": 16, "add": 6 * 16 + 3 * 16, "convert": 32, "mul": 4 * 16 + 4 * 16},
    ),
    # 5 x 5 image from 2 x 2 blocks: every element of the columns is added once.
    case(
        "Col2Im",
        [f32(1, 12, 16), const("i64", [5, 5]), const("i64", [2, 2])],
        f32(1, 3, 5, 5),
        work={"add": 192},
        read=192 * 4,
    ),
    # The new inputs after 3 carried ones: 4 taps each; silu is exp, add, div, mul.
    case(
        "CausalConvWithState",
        [f32(2, 8, 5), weight("f32", 8, 1, 4), weight("f32", 8), f32(2, 8, 3)],
        [f32(2, 8, 5), f32(2, 8, 3)],
        attrs={"activation": "silu"},
        work={"mac": 80 * 4, "add": 160, "exp": 80, "div": 80, "mul": 80},
    ),
    # Channels last, dilation 2: (4 - 1) * 2 = 6 carried; a window of 2 states in front.
    case(
        "CausalConvWithState",
        [f32("b", "s", 8), weight("f32", 8, 1, 4)],
        [f32("b", "s", 8), f32(2, "b", 6, 8)],
        domain=MS,
        attrs={"channels_last": 1, "dilation": 2, "state_window": 2},
        work={"mac": "32*b*s"},
    ),
    case(
        "CausalConvWithState",
        [f32(1, 3, 6, 5), weight("f32", 3, 1, 3, 4)],
        [f32(1, 3, 6, 5), f32(1, 3, 6, 3)],
        domain=MS,
        attrs={"ndim": 2},
        work={"mac": 90 * 12},
        id="CausalConvWithState-2d",
    ),
    # 10 tokens of 8 channels, 4 taps; bias 80.
    case(
        "VarlenCausalConvWithState",
        [f32(10, 8), f32(8, 1, 4), t("i32", 3), f32(8), f32(2, 8, 3)],
        [f32(10, 8), f32(2, 8, 3)],
        domain=MS,
        work={"mac": 320, "add": 80},
    ),
    # Two taps, each with a correction of its own; the older product times a mask.
    case(
        "VarlenCausalConvWithState",
        [f32(10, 8), f32(8, 1, 2), t("i32", 3), None, f32(2, 8, 1), None, f32(10, 2, 8), f32(10, 1)],
        [f32(10, 8), f32(2, 8, 1)],
        domain=MS,
        work={"mac": 160, "add": 160, "mul": 80},
        id="VarlenCausalConvWithState-dynamic",
    ),
    # 2 * 3 * 4 numbers of history are copied.
    case(
        "ConvStateReplay",
        [f32(100), f32(100), f32(90), const("i64", [0, 0, 0, 2, 3, 4, 8, 5])],
        f32(90),
        domain=MS,
        read=96,
        written=96,
    ),
    case(
        "ConvStateReplay",
        [f32(100), f32(100), f32(90), t("i64", 8)],
        f32(90),
        domain=MS,
        trust="bound",
        id="Replay-unknown",
    ),
    # floor((10 - 4)/3) + 1 = 3 slices of 4.
    case("UnfoldTensor", [f32(2, 10)], f32(2, 3, 4), domain=MS, attrs={"size": 4, "step": 3}),
    # 6 words of up to 10 letters; 8 positions of 3 letters, 16 numbers each; 5 filters: 6 * 5 * 8 hits of 48.
    case(
        "WordConvEmbedding",
        [t("i32", 6, 10), f32(5, 1, 3, 16), f32(5), f32(100, 16)],
        f32(6, 5),
        domain=MS,
        work={"mac": 240 * 48, "add": 240, "exp": 240, "compare": 240 - 30},
        read=60 * 4 + 240 * 4 + 5 * 4 + 60 * 16 * 4,
        trust="bound",
    ),
]


@pytest.mark.parametrize("c", [*CONV, *TRANSPOSED, *ODD], ids=str)
def test_conv(c: Case) -> None:
    check(c)
