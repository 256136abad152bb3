"""Resampling: every row worked out by hand.

A coordinate of a resized axis: its place in the input takes a mul (and two adds where pixels have centres, half_pixel),
a rounding, and for weights linear two adds, cubic twelve muls and fourteen adds. A value is then the weighted sum of k
pixels, k muls and k - 1 adds; products of the weights of two axes take k muls a position, for all channels.
"""

from __future__ import annotations

from typing import Any

import pytest
from truth import Case, T, case, check, const, f32, model_of, t, weight

import macsim

MS = "com.microsoft"
NHWC = "com.ms.internal.nhwc"
NCHWC = "com.microsoft.nchwc"


def scales(*values: float) -> T:
    return const("f32", list(values))


def sizes(*values: int) -> T:
    return const("i64", list(values))


NEAREST = [
    # 8 + 12 coordinates: half_pixel, so mul 1, add 2, convert 1 each.
    case(
        "Resize",
        [f32(1, 3, 4, 6), None, scales(1, 1, 2, 2)],
        f32(1, 3, 8, 12),
        work={"mul": 20, "add": 40, "convert": 20},
        read=288,
        written=1152,
        version=13,
    ),
    # Version 10 and Upsample have no half pixels: mul and convert only.
    case(
        "Resize", [f32(1, 3, 4, 6), scales(1, 1, 2, 0.5)], f32(1, 3, 8, 3), work={"mul": 11, "convert": 11}, version=10
    ),
    case(
        "Upsample",
        [f32("n", 3, 4, 6), scales(1, 1, 2, 2)],
        f32("n", 3, 8, 12),
        work={"mul": 20, "convert": 20},
        version=9,
    ),
    case(
        "Upsample",
        [f32(1, 3, 4, 6)],
        f32(1, 3, 8, 12),
        attrs={"scales": [1.0, 1.0, 2.0, 2.0]},
        work={"mul": 20, "convert": 20},
        version=7,
    ),
    case(
        "Upsample",
        [f32(1, 3, 4, 6)],
        f32(1, 3, 8, 9),
        attrs={"height_scale": 2.0, "width_scale": 1.5},
        work={"mul": 17, "convert": 17},
        version=1,
    ),
    case(
        "Upsample",
        [f32(1, 8, 4, 6)],
        f32(1, 8, 8, 12),
        attrs={"scales": [1, 1, 2, 2]},
        domain=NCHWC,
        work={"mul": 20, "convert": 20},
    ),
    # 0.7 in 32 bits is 0.699999988, yet ten times that is 7; 10/3 of 9 is 30.
    case(
        "Resize",
        [f32(10, 9), None, scales(0.7, 10 / 3)],
        f32(7, 30),
        work={"mul": 37, "add": 74, "convert": 37},
        id="Resize-fractions",
    ),
    # A scale of a symbol, exact: floor(3 * h / 2).
    case(
        "Resize",
        [f32(1, 1, "h", "w"), None, scales(1, 1, 1.5, 2)],
        f32(1, 1, "floor(3*h/2)", "2*w"),
        work={"mul": "floor(3*h/2) + 2*w", "add": "2*floor(3*h/2) + 4*w", "convert": "floor(3*h/2) + 2*w"},
        id="Resize-symbol",
    ),
    # Sizes of two chosen axes; one of them stays.
    case(
        "Resize",
        [f32("n", 5, 7, 3), None, None, sizes(14, 3)],
        f32("n", 5, 14, 3),
        attrs={"axes": [2, 3], "coordinate_transformation_mode": "asymmetric"},
        work={"mul": 14, "convert": 14},
        version=18,
    ),
    # An empty list of scales beside sizes, as version 11 wants it.
    case(
        "Resize",
        [f32(1, 2, 3, 3), weight("f32", 0), const("f32", []), sizes(1, 2, 6, 6)],
        f32(1, 2, 6, 6),
        attrs={"coordinate_transformation_mode": "align_corners"},
        work={"mul": 12, "convert": 12},
        version=11,
    ),
    # Half of the image is cropped first: floor(8 * 0.5 * 2) = 8, which changes nothing of the size.
    case(
        "Resize",
        [f32(8, 8), const("f32", [0.0, 0.25, 0.5, 1.0]), scales(2, 2)],
        f32(8, 12),
        attrs={"coordinate_transformation_mode": "tf_crop_and_resize"},
        work={"mul": 12, "add": 12, "convert": 12},
        id="Resize-crop",
    ),
    # 4 x 6 into 8 x 9 keeping its shape: factors 2 and 3/2. Not larger: 3/2, 6 x 9. Not smaller: 2, 8 x 12.
    case(
        "Resize",
        [f32(4, 6), None, None, sizes(8, 9)],
        f32(6, 9),
        attrs={"keep_aspect_ratio_policy": "not_larger", "coordinate_transformation_mode": "asymmetric"},
        work={"mul": 15, "convert": 15},
        id="Resize-not-larger",
    ),
    case(
        "Resize",
        [f32(4, 6), None, None, sizes(8, 9)],
        f32(8, 12),
        attrs={"keep_aspect_ratio_policy": "not_smaller", "coordinate_transformation_mode": "asymmetric"},
        work={"mul": 20, "convert": 20},
        id="Resize-not-smaller",
    ),
    # 7 to 5 of 10: round(5 * 3 / 10) = round(1.5) = 2, halves up.
    case(
        "Resize",
        [f32(10, 3), None, None, sizes(5, 3)],
        f32(5, 2),
        attrs={"keep_aspect_ratio_policy": "not_larger", "coordinate_transformation_mode": "asymmetric"},
        work={"mul": 7, "convert": 7},
        id="Resize-halves-up",
    ),
    case(
        "Resize",
        [f32(1, 4, 6, 3), None, scales(1, 2, 2, 1)],
        f32(1, 8, 12, 3),
        domain=NHWC,
        version=19,
        work={"mul": 20, "add": 40, "convert": 20},
    ),
    # Nothing changes: nothing is computed.
    case("Resize", [f32(2, 3), None, scales(1, 1)], f32(2, 3), id="Resize-identity"),
    case(
        "Resize",
        [f32(2, 4), None, None, t("i64", 2)],
        f32("node.axis0", "node.axis1"),
        work={
            "mul": "`node.axis0` + `node.axis1`",
            "add": "2*`node.axis0` + 2*`node.axis1`",
            "convert": "`node.axis0` + `node.axis1`",
        },
        id="Resize-data",
    ),
]

WEIGHTED = [
    # 8 + 8 coordinates: mul 1, add 2 + 2, convert 1. 64 positions: 4 products. 192 values of 4 pixels.
    case(
        "Resize",
        [f32(1, 3, 4, 4), None, scales(1, 1, 2, 2)],
        f32(1, 3, 8, 8),
        attrs={"mode": "linear"},
        work={"mul": 16 + 256 + 768, "add": 64 + 576, "convert": 16},
        id="Resize-linear",
    ),
    # One axis: no products. 8 coordinates, 24 values of 2 pixels; align_corners: no adds for the place.
    case(
        "Resize",
        [f32(1, 3, 4), None, None, sizes(1, 3, 8)],
        f32(1, 3, 8),
        attrs={"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        work={"mul": 8 + 48, "add": 16 + 24, "convert": 8},
        id="Resize-linear-1d",
    ),
    # Cubic: 16 coordinates of mul 1 + 12, add 2 + 14; 64 positions of 16 products; 64 values of 16 pixels.
    case(
        "Resize",
        [f32(1, 1, 4, 4), None, scales(1, 1, 2, 2)],
        f32(1, 1, 8, 8),
        attrs={"mode": "cubic"},
        work={"mul": 208 + 1024 + 1024, "add": 256 + 960, "convert": 16},
        id="Resize-cubic",
    ),
    # Weights outside are left out and the rest divided by their sum: 1 add and 2 div for each coordinate.
    case(
        "Resize",
        [f32(1, 3, 4), None, scales(1, 1, 2)],
        f32(1, 3, 8),
        attrs={"mode": "linear", "exclude_outside": 1},
        work={"mul": 8 + 48, "add": 32 + 24 + 8, "convert": 8, "div": 16},
        id="Resize-exclude-outside",
    ),
    # Half as large with antialiasing: the filter is twice as wide, 4 pixels. By coordinate (4): place mul 1, add 2,
    # rounding; by pixel (16): distance, weight (two adds, one mul), sum and division; 12 values of 4 pixels.
    case(
        "Resize",
        [f32(1, 3, 8), None, scales(1, 1, 0.5)],
        f32(1, 3, 4),
        attrs={"mode": "linear", "antialias": 1},
        work={"mul": 4 + 16 + 48, "add": 8 + 3 * 16 - 4 + 36, "convert": 4, "div": 16},
        trust="bound",
        version=18,
        id="Resize-antialias",
    ),
    case(
        "Upsample",
        [f32(1, 3, 4, 4)],
        f32(1, 3, 8, 8),
        attrs={"mode": "bilinear", "height_scale": 2.0, "width_scale": 2.0},
        work={"mul": 16 + 256 + 768, "add": 32 + 576, "convert": 16},
        version=1,
        id="Upsample-bilinear",
    ),
]

SAMPLED = [
    # 2 * 5 * 7 places of 2 coordinates: mul 1, add 1 + 2, compare 4, convert 1 each; 4 products a place; 210 values.
    case(
        "GridSample",
        [f32(2, 3, 8, 8), f32(2, 5, 7, 2)],
        f32(2, 3, 5, 7),
        version=16,
        attrs={"mode": "bilinear"},
        work={"mul": 140 + 280 + 840, "add": 420 + 630, "compare": 560, "convert": 140},
    ),
    # Nearest in three dimensions: 3 coordinates a place, one pixel.
    case(
        "GridSample",
        [f32("n", 3, 4, 4, 4), f32("n", 2, 2, 2, 3)],
        f32("n", 3, 2, 2, 2),
        attrs={"mode": "nearest"},
        version=20,
        work={"mul": "24*n", "add": "24*n", "compare": "48*n", "convert": "24*n"},
    ),
    # Cubic: 70 coordinates of mul 1 + 12, add 1 + 14, compare 8; 35 places of 16 products; 35 values of 16 pixels.
    case(
        "GridSample",
        [f32(1, 1, 8, 8), f32(1, 5, 7, 2)],
        f32(1, 1, 5, 7),
        attrs={"mode": "bicubic"},
        domain=MS,
        work={"mul": 910 + 560 + 560, "add": 1050 + 525, "compare": 560, "convert": 70},
    ),
    case(
        "GridSample",
        [f32(2, 8, 8, 3), f32(2, 5, 7, 2)],
        f32(2, 5, 7, 3),
        attrs={"mode": "nearest"},
        domain=NHWC,
        version=16,
        work={"mul": 140, "add": 140, "compare": 280, "convert": 140},
    ),
    # 2 * 5 * 7 places, 2 sums of 3 products each; 12 coordinates of the plain grid.
    case(
        "AffineGrid",
        [f32(2, 2, 3), sizes(2, 3, 5, 7)],
        f32(2, 5, 7, 2),
        work={"mac": 420, "mul": 12, "add": 12},
    ),
    case(
        "AffineGrid",
        [f32("n", 3, 4), t("i64", 5)],
        f32("n", "node.axis1", "node.axis2", "node.axis3", 3),
        work={
            "mac": "12*n*`node.axis1`*`node.axis2`*`node.axis3`",
            "mul": "`node.axis1` + `node.axis2` + `node.axis3`",
            "add": "`node.axis1` + `node.axis2` + `node.axis3`",
        },
        id="AffineGrid-data",
    ),
    # 10 x 7 to 6 x 9: of the first axis 6 rows are read, of the second all 7.
    case("CenterCropPad", [f32(10, 7, 3), sizes(6, 9)], f32(6, 9, 3), attrs={"axes": [0, 1]}, read=504, written=648),
    case("CenterCropPad", [f32("n", 3), t("i64", 2)], f32("node.axis0", "node.axis1"), id="CenterCropPad-data"),
    # 5 regions of 2 + 3 coordinates: mul 1, add 1 + 2, compare 2, convert 1; 30 places of 4 products; 120 values.
    case(
        "CropAndResize",
        [f32(1, 4, 8, 8), f32(5, 4), t("i32", 5), const("i32", [2, 3])],
        f32(5, 4, 2, 3),
        domain=MS,
        work={"mul": 25 + 120 + 480, "add": 75 + 360, "compare": 50, "convert": 25},
    ),
    case(
        "CropAndResize",
        [f32(1, 4, 8, 8), f32("r", 4), t("i32", "r"), const("i32", [2, 3])],
        f32("r", 4, 2, 3),
        attrs={"mode": "nearest"},
        domain=MS,
        work={"mul": "5*r", "add": "5*r", "compare": "10*r", "convert": "5*r"},
        id="CropAndResize-nearest",
    ),
    # One grey element: 1 + 16 muls, 14 adds.
    case(
        "ImageDecoder",
        [t("u8", 1000)],
        t("u8", "node.height", "node.width", 1),
        attrs={"pixel_format": "Grayscale"},
        work={
            "mul": "17*`node.height`*`node.width`",
            "add": "14*`node.height`*`node.width`",
            "convert": "`node.height`*`node.width`",
            "compare": "2*`node.height`*`node.width`",
        },
        trust="estimate",
    ),
]


@pytest.mark.parametrize("c", NEAREST + WEIGHTED + SAMPLED, ids=str)
def test_truth(c: Case) -> None:
    check(c)


@pytest.mark.parametrize("scale", [0.3, 0.6, 0.7, 1.1, 1.7, 2.1, 7 / 3, 1 / 3])
def test_scaled_sizes_are_those_of_exact_fractions(scale: float) -> None:
    """Also where the product of a rounded scale falls just below a whole number."""
    from fractions import Fraction

    exact = Fraction(scale).limit_denominator(100)
    for size in range(1, 60):
        report = macsim.count(model_of(case("Resize", [f32(size), None, scales(scale)], f32(1))))
        assert list(report.rows[0].outputs[0].shape) == [size * exact // 1]
    free: Any = macsim.count(model_of(case("Resize", [f32("n"), None, scales(scale)], f32(1))))
    assert [free.at(n=n).rows[0].outputs[0].shape[0] for n in (1, 9, 40)] == [n * exact // 1 for n in (1, 9, 40)]
