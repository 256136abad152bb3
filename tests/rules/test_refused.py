"""Texts that an operator does not know: nothing is counted by a word that says neither the shape nor the work."""

from __future__ import annotations

import pytest
from truth import Case, T, case, const, f32, model_of, t, weight

import macsim

ROWS = T("f32", None)
IMAGE = f32(1, 2, 8, 8)
KERNEL = weight("f32", 4, 2, 3, 3)


def refused(op: str, inputs: list, attrs: dict, output: T = ROWS, **more: object) -> Case:
    word = "-".join(str(value) for value in attrs.values() if isinstance(value, str))
    return case(op, inputs, output, attrs=attrs, trust="unknown", id=f"{op}-{word}", **more)


CASES = [
    *[
        refused(op, [f32(20, 4, 16), weight("f32", 1, n, 16), weight("f32", 1, n, 32)], {"direction": "sideways"})
        for op, n in (("RNN", 32), ("GRU", 96), ("LSTM", 128))
    ],
    refused("Conv", [IMAGE, KERNEL], {"auto_pad": "SAME"}),
    refused("ConvTranspose", [IMAGE, weight("f32", 2, 4, 3, 3)], {"auto_pad": "SAME"}),
    refused("MaxPool", [IMAGE], {"kernel_shape": [2, 2], "auto_pad": "same_upper"}),
    refused("Pad", [f32(2, 3), const("i64", [0, 1, 0, 1])], {"mode": "mirror"}),
    refused("Resize", [IMAGE, None, const("f32", [1.0, 1.0, 2.0, 2.0])], {"mode": "area"}),
    refused(
        "Resize",
        [IMAGE, None, const("f32", [1.0, 1.0, 2.0, 2.0])],
        {"coordinate_transformation_mode": "centre"},
    ),
    refused("Resize", [IMAGE, None, None, const("i64", [1, 2, 9, 9])], {"keep_aspect_ratio_policy": "larger"}),
    refused("GridSample", [IMAGE, f32(1, 4, 4, 2)], {"mode": "area"}, f32(1, 2, 4, 4)),
    refused("ScatterND", [f32(4, 6), t("i64", 2, 1), f32(2, 6)], {"reduction": "sum"}, f32(4, 6)),
    refused("RoiAlign", [IMAGE, f32(5, 4), t("i64", 5)], {"mode": "median"}, f32(5, 2, 1, 1)),
    refused("NegativeLogLikelihoodLoss", [f32(3, 5), t("i64", 3)], {"reduction": "total"}),
    refused("Normalizer", [f32(3, 4)], {"norm": "L3"}, f32(3, 4), domain="ai.onnx.ml", version=1),
]


@pytest.mark.parametrize("c", CASES, ids=str)
def test_refused(c: Case) -> None:
    report = macsim.count(model_of(c))
    assert [row.trust for row in report.rows] == ["unknown"]
    (note,) = [d for d in report.diagnostics if d.code == "MS202"]
    ((attribute, word),) = [(name, value) for name, value in c.attrs.items() if isinstance(value, str)]
    assert note.text.startswith(f"{attribute} is '{word}', and can be ")


def test_what_is_possible_is_said() -> None:
    inputs = [f32(2, 1, 4), weight("f32", 1, 12, 4), weight("f32", 1, 12, 3)]
    report = macsim.count(model_of(refused("LSTM", inputs, {"direction": "sideways"})))
    assert report.rows[0].trust == "unknown"
    (note,) = [d for d in report.diagnostics if d.code == "MS202"]
    assert note.text == "direction is 'sideways', and can be forward, reverse, bidirectional"
