"""Pooling: every row worked out by hand.

A window of k elements takes k - 1 compares (max) or adds and one div (average); windows that hang over the edge are
counted whole, as in a convolution.
"""

from __future__ import annotations

import pytest
from truth import Case, T, case, check, const, f32, model_of, t

import macsim

MS = "com.microsoft"
NHWC = "com.ms.internal.nhwc"
NCHWC = "com.microsoft.nchwc"


def k(*sizes: int, **more: object) -> dict[str, object]:
    return {"kernel_shape": list(sizes), **more}


MAX = [
    # (8 - 2)/2 + 1 = 4 on both axes: 1*3*4*4 = 48 windows of 4, 3 compares each.
    case(
        "MaxPool",
        [f32(1, 3, 8, 8)],
        f32(1, 3, 4, 4),
        attrs=k(2, 2, strides=[2, 2]),
        work={"compare": 48 * 3},
        read=768,
        written=192,
        version=1,
    ),
    # ResNet's: (112 + 2 - 3)/2 + 1 = 56; free batch.
    case(
        "MaxPool",
        [f32("n", 64, 112, 112)],
        f32("n", 64, 56, 56),
        attrs=k(3, 3, strides=[2, 2], pads=[1, 1, 1, 1]),
        work={"compare": f"{64 * 56 * 56 * 8}*n"},
    ),
    # Where each maximum was, as well: 8-byte indices of the same shape.
    case(
        "MaxPool",
        [f32(1, 1, 6)],
        [f32(1, 1, 4), t("i64", 1, 1, 4)],
        attrs=k(3),
        work={"compare": 8},
        written=16 + 32,
        version=8,
    ),
    # Dilation 2 spreads 3 taps over 5: 9 - 5 + 1 = 5. Stride 2, ceil: ceil(4 / 2) + 1 = 3.
    case("MaxPool", [f32(1, 1, 9)], f32(1, 1, 5), attrs=k(3, dilations=[2]), work={"compare": 10}, version=10),
    case(
        "MaxPool",
        [f32(1, 1, 8)],
        f32(1, 1, 3),
        attrs=k(3, dilations=[2], strides=[2], ceil_mode=1),
        work={"compare": 6},
        version=11,
    ),
    # ceil((5 - 2)/2) + 1 = 3; the third window starts at 4, inside.
    case(
        "MaxPool", [f32(1, 1, 5)], f32(1, 1, 3), attrs=k(2, strides=[2], ceil_mode=1), work={"compare": 3}, version=12
    ),
    # ceil((4 + 2 - 1)/3) + 1 = 3, but the third window would start at 5 of 1 + 4: only 2 remain.
    case(
        "MaxPool",
        [f32(1, 1, 4)],
        f32(1, 1, 2),
        attrs=k(1, strides=[3], pads=[1, 1], ceil_mode=1),
        id="MaxPool-ceil-outside",
    ),
    # SAME: ceil(n / 2), whatever the window.
    case(
        "MaxPool",
        [t("f16", 1, 2, "n")],
        t("f16", 1, 2, "ceil(n/2)"),
        attrs=k(3, strides=[2], auto_pad="SAME_LOWER"),
        work={"compare": "4*ceil(n/2)"},
        version=12,
    ),
    case(
        "MaxPool",
        [t("u8", 1, 1, 7, 7, 7)],
        t("u8", 1, 1, 3, 3, 3),
        attrs=k(3, 3, 3, strides=[2, 2, 2], auto_pad="VALID"),
        work={"compare": 27 * 26},
        id="MaxPool-3d",
    ),
    # Channels last: axes 1 and 2 are pooled.
    case(
        "NhwcMaxPool",
        [t("i8", 1, 4, 4, 3)],
        t("i8", 1, 2, 2, 3),
        attrs=k(2, 2, strides=[2, 2]),
        domain=MS,
        work={"compare": 36},
    ),
    case(
        "MaxPool",
        [f32(1, 4, 4, 3)],
        f32(1, 2, 2, 3),
        attrs=k(2, 2, strides=[2, 2]),
        domain=NHWC,
        version=12,
        work={"compare": 36},
    ),
    # An activation in the node: a rectifier takes one more compare an element.
    case(
        "MaxPool",
        [f32(1, 4, 4, 3)],
        f32(1, 2, 2, 3),
        attrs=k(2, 2, strides=[2, 2], activation="Relu"),
        domain=NHWC,
        version=12,
        work={"compare": 36 + 12},
        id="MaxPool-nhwc-relu",
    ),
    case(
        "MaxPool",
        [f32(1, 16, 4, 4)],
        f32(1, 16, 2, 2),
        attrs=k(2, 2, strides=[2, 2]),
        domain=NCHWC,
        work={"compare": 192},
    ),
    case(
        "MaxpoolWithMask",
        [f32(1, 1, 4, 4), t("i32", 1, 1, 4, 4)],
        f32(1, 1, 2, 2),
        attrs=k(2, 2, strides=[2, 2]),
        domain=MS,
        work={"compare": 12, "logic": 16},
    ),
    case("GlobalMaxPool", [f32("n", 8, "h", "w")], f32("n", 8, 1, 1), work={"compare": "8*n*h*w - 8*n"}, version=1),
    case("GlobalMaxPool", [f32(1, 5, 5, 3)], f32(1, 1, 1, 3), domain=NHWC, version=1, work={"compare": 72}),
    case("GlobalMaxPool", [f32(1, 16, 3)], f32(1, 16, 1), domain=NCHWC, work={"compare": 32}),
]

AVERAGE = [
    # 1*2*3*3 = 18 windows of 4: 3 adds and one div each.
    case("AveragePool", [f32(1, 2, 4, 4)], f32(1, 2, 3, 3), attrs=k(2, 2), work={"add": 54, "div": 18}, version=7),
    # Dilated since 19: 3 taps over 5.
    case(
        "AveragePool",
        [f32(1, 2, "n")],
        f32(1, 2, "n - 4"),
        attrs=k(3, dilations=[2], count_include_pad=1),
        work={"add": "4*(n - 4)", "div": "2*(n - 4)"},
        version=19,
    ),
    case(
        "AveragePool",
        [f32(1, 2, 5)],
        f32(1, 2, 3),
        attrs=k(2, strides=[2], ceil_mode=1),
        work={"add": 6, "div": 6},
        version=10,
    ),
    case(
        "AveragePool",
        [f32(1, 4, 4, 2)],
        f32(1, 3, 3, 2),
        attrs=k(2, 2),
        domain=NHWC,
        version=11,
        work={"add": 54, "div": 18},
    ),
    case("AveragePool", [f32(1, 8, 4, 4)], f32(1, 8, 3, 3), attrs=k(2, 2), domain=NCHWC, work={"add": 216, "div": 72}),
    case(
        "GlobalAveragePool",
        [f32("n", 512, 7, 7)],
        f32("n", 512, 1, 1),
        work={"add": "24576*n", "div": "512*n"},
        version=1,
    ),
    case("GlobalAveragePool", [f32(2, 3)], f32(2, 3), work={"div": 6}, id="GlobalAveragePool-no-space"),
    # Sums over nothing take no adds.
    case("GlobalAveragePool", [f32(2, 3, 0)], f32(2, 3, 1), work={"div": 6}, id="GlobalAveragePool-empty"),
    case("GlobalAveragePool", [f32(1, 2, 2, 3)], f32(1, 1, 1, 3), domain=NHWC, version=1, work={"add": 9, "div": 3}),
    case("GlobalAveragePool", [f32(1, 8, 2, 2)], f32(1, 8, 1, 1), domain=NCHWC, work={"add": 24, "div": 8}),
    # Whole numbers are added; per result two zero points, one factor, one rounding, two clips.
    case(
        "QLinearAveragePool",
        [t("u8", 1, 2, 4, 4), const("f32", 0.1), const("u8", 3), const("f32", 0.2), const("u8", 5)],
        t("u8", 1, 2, 3, 3),
        attrs=k(2, 2),
        domain=MS,
        work={"add": 54 + 36, "mul": 18, "convert": 18, "compare": 36},
    ),
    case(
        "QLinearAveragePool",
        [t("i8", 1, 4, 4, 2), const("f32", 0.1), None, const("f32", 0.2)],
        t("i8", 1, 3, 3, 2),
        attrs=k(2, 2, channels_last=1),
        domain=NHWC,
        work={"add": 54, "mul": 18, "convert": 18, "compare": 36},
    ),
    case(
        "QLinearGlobalAveragePool",
        [t("u8", 1, 7, 7, 8), const("f32", 0.1), const("u8", 3), const("f32", 0.2), const("u8", 5)],
        t("u8", 1, 1, 1, 8),
        attrs={"channels_last": 1},
        domain=MS,
        work={"add": 384 + 16, "mul": 8, "convert": 8, "compare": 16},
    ),
]

LP = [
    # 18 windows of 4. p = 2: 4 squares, 3 adds, one root. p = 1: 4 magnitudes. p = 3: 4 powers and the root, log,
    # mul, exp each.
    case(
        "LpPool", [f32(1, 2, 4, 4)], f32(1, 2, 3, 3), attrs=k(2, 2), work={"mul": 72, "add": 54, "sqrt": 18}, version=1
    ),
    case("LpPool", [f32(1, 2, 4, 4)], f32(1, 2, 3, 3), attrs=k(2, 2, p=1), work={"logic": 72, "add": 54}, version=2),
    case(
        "LpPool",
        [f32(1, 2, 4, 4)],
        f32(1, 2, 3, 3),
        attrs=k(2, 2, p=3),
        work={"logic": 72, "add": 54, "log": 90, "mul": 90, "exp": 90},
        version=18,
    ),
    case(
        "LpPool",
        [f32(1, 4, 4, 2)],
        f32(1, 3, 3, 2),
        attrs=k(2, 2),
        domain=NHWC,
        version=11,
        work={"mul": 72, "add": 54, "sqrt": 18},
    ),
    case("GlobalLpPool", [f32(1, 2, 5)], f32(1, 2, 1), work={"mul": 10, "add": 8, "sqrt": 2}, version=2),
    case("GlobalLpPool", [f32(1, 2, 5)], f32(1, 2, 1), attrs={"p": 1.0}, work={"logic": 10, "add": 8}, version=1),
    case("GlobalLpPool", [f32(1, 5, 2)], f32(1, 1, 2), domain=NHWC, version=2, work={"mul": 10, "add": 8, "sqrt": 2}),
]

UNPOOL = [
    # (2 - 1)*2 + 2 = 4 on both axes.
    case(
        "MaxUnpool",
        [f32(1, 1, 2, 2), t("i64", 1, 1, 2, 2)],
        f32(1, 1, 4, 4),
        attrs=k(2, 2, strides=[2, 2]),
        read=16 + 32,
        written=64,
        version=9,
    ),
    # 2*(n - 1) + 3 - 1 - 1.
    case(
        "MaxUnpool", [f32(1, 1, "n"), t("i64", 1, 1, "n")], f32(1, 1, "2*n - 1"), attrs=k(3, strides=[2], pads=[1, 1])
    ),
    case(
        "MaxUnpool",
        [f32(1, 1, 2, 2), t("i64", 1, 1, 2, 2), const("i64", [1, 1, 5, 5])],
        f32(1, 1, 5, 5),
        attrs=k(2, 2, strides=[2, 2]),
        version=11,
    ),
    case("MaxUnpool", [f32(1, 2, 1), t("i64", 1, 2, 1)], f32(1, 4, 1), attrs=k(2, strides=[2]), domain=NHWC, version=9),
    case("ReorderInput", [f32(1, 32, 7, 7)], f32(1, 32, 7, 7), domain=NCHWC, read=6272, written=6272),
    case("ReorderInput", [f32(1, 7, 6, 20)], f32(1, 24, 7, 6), attrs={"channels_last": 1}, domain=NCHWC),
    case("ReorderOutput", [f32(1, 24, 7, 6)], f32(1, 20, 7, 6), attrs={"channels": 20}, domain=NCHWC),
    case(
        "ReorderOutput", [f32(1, 24, 7, 6)], f32(1, 7, 6, 20), attrs={"channels": 20, "channels_last": 1}, domain=NCHWC
    ),
]

REGIONS = [
    # Cells of a 2 x 3 grid hold at most (8 + 2) * (9 + 3) elements of one channel of one region.
    case(
        "MaxRoiPool",
        [f32(1, 4, 8, 9), f32("r", 5)],
        f32("r", 4, 2, 3),
        attrs={"pooled_shape": [2, 3]},
        work={"compare": "480*r"},
        trust="bound",
        version=1,
    ),
    # 5 regions of 2 x 2 cells with 2 x 2 samples: 80 samples; 80 * 4 blends, 4 channels.
    case(
        "RoiAlign",
        [f32(1, 4, 8, 8), f32(5, 4), t("i64", 5)],
        f32(5, 4, 2, 2),
        attrs={"output_height": 2, "output_width": 2, "sampling_ratio": 2},
        work={
            "mul": 6 * 80 + 4 * 320,
            "add": 6 * 80 + 3 * 320 + (320 - 80),
            "compare": 4 * 80,
            "convert": 2 * 80,
            "div": 80,
        },
        version=10,
    ),
    # The same, the largest instead of the mean; and with as many samples as the whole image has pixels, 4 * 4 a cell.
    case(
        "RoiAlign",
        [f32(1, 4, 8, 8), f32(5, 4), t("i64", 5)],
        f32(5, 4, 2, 2),
        attrs={"output_height": 2, "output_width": 2, "sampling_ratio": 2, "mode": "max"},
        work={"mul": 6 * 80 + 4 * 320, "add": 6 * 80 + 3 * 320, "compare": 4 * 80 + 240, "convert": 160},
        version=16,
    ),
    case(
        "RoiAlign",
        [f32(1, 1, 8, 8), f32(1, 4), t("i64", 1)],
        f32(1, 1, 2, 2),
        attrs={"output_height": 2, "output_width": 2},
        work={"mul": 10 * 64, "add": 9 * 64 + 60, "compare": 256, "convert": 128, "div": 4},
        trust="bound",
        id="RoiAlign-adaptive",
    ),
    # 2 images, 3 classes, at most 4 of 10 boxes: 24 rounds over 10 boxes = 240 pairs; areas of 20 boxes; 60 scores.
    case(
        "NonMaxSuppression",
        [f32(2, 10, 4), f32(2, 3, 10), const("i64", [4]), const("f32", [0.5]), const("f32", [0.1])],
        t("i64", "node.n", 3),
        work={"compare": 8 * 240 + 60, "add": 4 * 240 + 40, "mul": 240 + 20, "div": 240},
        trust="bound",
        version=10,
    ),
    # The most is data: every box may be kept. Boxes by their centres: two halves and four corners each.
    case(
        "NonMaxSuppression",
        [f32(1, "n", 4), f32(1, 1, "n"), t("i64", 1)],
        t("i64", "node.n", 3),
        attrs={"center_point_box": 1},
        work={"compare": "8*n^2", "add": "4*n^2 + 6*n", "mul": "n^2 + 3*n", "div": "n^2"},
        trust="bound",
        version=11,
    ),
    # No limit stated means none are kept.
    case(
        "NonMaxSuppression",
        [f32(1, 5, 4), f32(1, 1, 5)],
        t("i64", 0, 3),
        work={"add": 10, "mul": 5},
        trust="bound",
        id="Nms-none",
    ),
]


@pytest.mark.parametrize("c", MAX + AVERAGE + LP + UNPOOL + REGIONS, ids=str)
def test_truth(c: Case) -> None:
    check(c)


def test_wrong_window() -> None:
    """A window that does not fit the rank gives a remark and no shape."""
    for c in (
        case("MaxPool", [f32(1, 1, 4, 4)], T("f32", None), attrs=k(2)),
        case("AveragePool", [f32(1, 1, 4)], T("f32", None), attrs=k(2, strides=[0])),
        case("GlobalMaxPool", [f32(4)], T("f32", None)),
    ):
        report = macsim.count(model_of(c))
        assert report.diagnostics
        assert report.rows[0].outputs[0].shape is None
        assert report.rows[0].trust == "unknown"
