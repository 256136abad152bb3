"""Data movement: shapes, bytes and known contents; every row worked out by hand.

Bytes: concat and tile read all inputs once; slice, split, gather read what they keep; a result is written once. What is
known of contents is checked by putting it into a shape, against the reference implementation of ONNX.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from truth import Case, T, case, check, const, f32, model_of, t, weight

import macsim

MS = "com.microsoft"
NHWC = "com.ms.internal.nhwc"
FAR32, FAR64 = 2**31 - 1, 2**63 - 1


def i64(*values: Any) -> T:
    return const("i64", list(values))


CONCAT = [
    # 3 + 5 along axis 1; 16 elements in, 16 out.
    case("Concat", [f32(2, 3), f32(2, 5)], f32(2, 8), attrs={"axis": 1}, read=64, weights=0, written=64),
    case("Concat", [f32(2, 3), f32(2, "n"), f32(2, "m")], f32(2, "n + m + 3"), attrs={"axis": -1}, version=11),
    # Version 1: axis 1 when not stated.
    case("Concat", [f32(2, 3), f32(2, 5)], f32(2, 8), version=1, id="Concat-1-default-axis"),
    case("Concat", [f32("b", 4)], f32("b", 4), attrs={"axis": 0}, version=4, written="16*b", id="Concat-4-single"),
    # One side is of the model: half the bytes are weights.
    case("Concat", [f32(2, 3), weight("f32", 2, 3)], f32(4, 3), attrs={"axis": 0}, read=24, weights=24, written=48),
    # A size that only one input knows.
    case("Concat", [t("i8", "n", 1), t("i8", 7, 1)], t("i8", 7, 2), attrs={"axis": 1}, id="Concat-unify"),
]

SLICE = [
    # [1:3) of 4 and [2:5) of 6: 2 * 3 elements of 4 bytes are read and written.
    case("Slice", [f32(4, 6), i64(1, 2), i64(3, 5), i64(0, 1)], f32(2, 3), read=24, weights=0, written=24, version=10),
    case("Slice", [f32(4, 6)], f32(4, 4), attrs={"starts": [1], "ends": [5], "axes": [1]}, version=1),
    case("Slice", [f32(4, 6)], f32(2, 6), attrs={"starts": [2], "ends": [FAR64]}, version=1, id="Slice-1-no-axes"),
    # To the end, in both ways of writing it; of a symbol.
    case("Slice", [f32("n", 8), i64(0), i64(FAR64), i64(0)], f32("n", 8), id="Slice-all"),
    case("Slice", [f32(2, "n"), i64(0), i64(FAR32), i64(-1)], f32(2, "n"), id="Slice-all-32"),
    case("Slice", [f32("n", 8), i64(1), i64(FAR64), i64(0)], f32("n - 1", 8), id="Slice-tail"),
    # The last one; all but the last.
    case("Slice", [f32(2, "n"), i64(-1), i64(FAR64), i64(1)], f32(2, 1), id="Slice-last"),
    case("Slice", [f32(2, "n"), i64(0), i64(-1), i64(1)], f32(2, "n - 1"), id="Slice-but-last"),
    # Every other: ceil(n / 2) from 0, ceil((n - 1) / 2) from 1.
    case("Slice", [f32("n"), i64(0), i64(FAR64), i64(0), i64(2)], f32("ceil(n/2)"), id="Slice-even"),
    case("Slice", [f32("n"), i64(1), i64(FAR64), i64(0), i64(2)], f32("floor(n/2)"), id="Slice-odd"),
    # Backwards: all of 7; 5, 3 of 7 (start 5, down to 1 exclusive); a symbol's all.
    case("Slice", [f32(7), i64(-1), i64(-FAR64), i64(0), i64(-1)], f32(7), id="Slice-reverse"),
    case("Slice", [f32(7), i64(5), i64(1), i64(0), i64(-2)], f32(2), id="Slice-back-by-2"),
    case("Slice", [f32("n"), i64(FAR64), i64(-FAR64), i64(0), i64(-1)], f32("n"), id="Slice-reverse-symbol"),
    # Out of range: clamped; empty when the start is behind the end.
    case("Slice", [f32(5), i64(-9), i64(99), i64(0)], f32(5), id="Slice-clamped"),
    case("Slice", [f32(5), i64(4), i64(2), i64(0)], f32(0), id="Slice-empty"),
    # At most 10 of n.
    case("Slice", [f32("n"), i64(0), i64(10), i64(0)], f32("min(n, 10)"), id="Slice-at-most"),
    case("Slice", [f32("n"), i64(-10), i64(FAR64), i64(0)], f32("n - max(n - 10, 0)"), id="Slice-last-10"),
    # "To the end", as 10^9 of a free size.
    case("Slice", [f32("n"), i64(2), i64(10**9), i64(0)], f32("max(n - 2, 0)"), id="Slice-generous"),
    # Bounds from data: a size of its own, on the sliced axes only.
    case("Slice", [f32(4, 6), t("i64", 1), i64(6), i64(1)], f32(4, "node.axis1"), id="Slice-data"),
]

SPLIT = [
    case("Split", [f32(6, 2)], [f32(3, 2), f32(3, 2)], version=11, read=48, written=48),
    case("Split", [f32(6, "n"), i64(1, 5)], [f32(1, "n"), f32(5, "n")], version=13),
    case("Split", [f32(2, 6)], [f32(2, 4), f32(2, 2)], attrs={"axis": 1, "split": [4, 2]}, version=2),
    case("Split", [f32(2, 6), const("f32", [4, 2])], [f32(2, 4), f32(2, 2)], attrs={"axis": 1}, version=1),
    # 7 in 3: 3, 3 and the rest.
    case("Split", [f32(7)], [f32(3), f32(3), f32(1)], attrs={"num_outputs": 3}, version=18),
    case("Split", [f32("3*n")], [f32("n"), f32("n"), f32("n")], attrs={"num_outputs": 3}, id="Split-symbol"),
    case("Split", [f32("n")], [f32("ceil(n/2)"), f32("n - ceil(n/2)")], attrs={"num_outputs": 2}, id="Split-odd"),
    # An output that nobody takes is not read.
    case("Split", [f32(6)], [f32(2), None, f32(2)], attrs={"num_outputs": 3}, read=16, written=16, id="Split-partly"),
    case("Split", [f32(6), t("i64", 2)], [f32("node.part0"), f32("node.part1")], id="Split-data"),
]

PAD = [
    # 2 + 0 + 1 by 3 + 2 + 2.
    case("Pad", [f32(2, 3), i64(0, 2, 1, 2)], f32(3, 7), read=24, written=84, version=13),
    case("Pad", [f32(2, 3)], f32(3, 7), attrs={"pads": [0, 2, 1, 2], "mode": "edge"}, version=2),
    case("Pad", [f32(2, 3)], f32(3, 7), attrs={"paddings": [0, 2, 1, 2]}, version=1),
    case("Pad", [f32(2, "n"), i64(1, 1), const("f32", 0.0), i64(-1)], f32(2, "n + 2"), version=18),
    # Cropping by 1 and 2: 3 of 6 columns are read.
    case("Pad", [f32(2, 6), i64(0, -1, 0, -2)], f32(2, 3), read=24, written=24, id="Pad-crop"),
    case("Pad", [f32(2, 6), t("i64", 4)], f32("node.axis0", "node.axis1"), read=48, id="Pad-data"),
    case("Pad", [f32(1, 3), const("i64", [[0, 1, 0, 1]]), const("f32", [5.0])], f32(1, 5), domain=MS),
]

REPEAT = [
    case("Tile", [f32(2, 3), i64(2, 4)], f32(4, 12), read=24, written=192, version=6),
    case("Tile", [f32("n", 3), i64(1, 2)], f32("n", 6), version=13),
    # Version 1: so many tiles along one axis.
    case("Tile", [f32(2, 3), const("f32", 5.0), const("f32", 1.0)], f32(2, 15), version=1),
    case("Tile", [f32(2), t("i64", 1)], f32("node.axis0"), id="Tile-data"),
    # 3 indices of 5 classes: every element of the result is a comparison.
    case("OneHot", [t("i64", 3), i64(5), weight("f32", 2)], f32(3, 5), work={"compare": 15}, version=9),
    case(
        "OneHot",
        [t("i32", "b", 2), const("i32", 10), weight("f16", 2)],
        t("f16", "b", 10, 2),
        attrs={"axis": 1},
        work={"compare": "20*b"},
        version=11,
    ),
    case(
        "OneHot",
        [t("i64", 3), t("i64"), f32(2)],
        f32(3, "node.depth"),
        work={"compare": "3*`node.depth`"},
        id="OneHot-data",
    ),
    case("ReverseSequence", [f32(4, "b", 3), t("i64", "b")], f32(4, "b", 3), read="56*b", written="48*b", version=10),
]

BLOCKS = [
    # 2 x 2 blocks: a quarter of the channels, twice the sides.
    case("DepthToSpace", [f32(1, 8, 2, 3)], f32(1, 2, 4, 6), attrs={"blocksize": 2}, read=192, written=192, version=1),
    case("DepthToSpace", [f32("n", 12, "h", "w")], f32("n", 3, "2*h", "2*w"), attrs={"blocksize": 2, "mode": "CRD"}),
    case("SpaceToDepth", [f32(1, 2, 4, 6)], f32(1, 8, 2, 3), attrs={"blocksize": 2}, version=13),
    case(
        "SpaceToDepth", [f32(1, "c", "2*h", 6)], f32(1, "4*c", "h", 3), attrs={"blocksize": 2}, id="SpaceToDepth-symbol"
    ),
    case("DepthToSpace", [f32(1, 2, 3, 8)], f32(1, 4, 6, 2), attrs={"blocksize": 2}, domain=NHWC, version=13),
    case("SpaceToDepth", [f32(1, 4, 6, 2)], f32(1, 2, 3, 8), attrs={"blocksize": 2}, domain=NHWC, version=13),
]

GATHER = [
    # An embedding: 2 * 3 rows of 8 numbers are read of a table in the model, and 6 indices of 8 bytes.
    case(
        "Gather", [weight("f32", 1000, 8), t("i64", 2, 3)], f32(2, 3, 8), read=48, weights=192, written=192, version=11
    ),
    case("Gather", [f32(5, "n", 7), t("i32")], f32(5, 7), attrs={"axis": 1}, read=144, version=1),
    case("Gather", [f32(5, 6), t("i64", "k")], f32(5, "k"), attrs={"axis": -1}),
    case(
        "GatherElements",
        [f32(3, 9), t("i64", 3, 2)],
        f32(3, 2),
        attrs={"axis": 1},
        read=24 + 48,
        written=24,
        version=11,
    ),
    # Tuples of 2 into rank 3: rows of 7; with a batch axis: tuples of 1, the same.
    case("GatherND", [f32(5, 6, 7), t("i64", 4, 2)], f32(4, 7), read=112 + 64, version=11),
    case("GatherND", [f32("b", 6, 7), t("i64", "b", 4, 1)], f32("b", 4, 7), attrs={"batch_dims": 1}, version=12),
    case("GatherND", [f32(5, 6), t("i32", 3, 1)], f32(3, 6), domain=MS),
    # A matrix of 12 columns; looked up as Gather does.
    case("TorchEmbedding", [weight("f32", 50, 12), t("i64", 7)], f32(7, 12), domain=MS, weights=336, read=56),
    # A mask of the model keeps columns 0 and 2: 2 * 2 elements, and 3 tests.
    case(
        "Compress",
        [f32(2, 3), const("bool", [True, False, True])],
        f32(2, 2),
        attrs={"axis": 1},
        work={"compare": 3},
        read=16,
        weights=3,
        version=9,
    ),
    case("Compress", [f32(2, 3), t("bool", 6)], f32("node.n"), work={"compare": 6}, read="4*`node.n` + 6", version=11),
]

SCATTER = [
    # Everything is read and written: 24 elements in and out, 6 indices, 6 updates.
    case(
        "ScatterElements", [f32(4, 6), t("i64", 2, 3), f32(2, 3)], f32(4, 6), read=96 + 48 + 24, written=96, version=11
    ),
    case(
        "ScatterElements",
        [f32(4, 6), t("i64", 2, 3), f32(2, 3)],
        f32(4, 6),
        attrs={"reduction": "add"},
        work={"add": 6},
        version=16,
    ),
    case("Scatter", [f32(4, 6), t("i64", 2, 3), f32(2, 3)], f32(4, 6), version=9),
    case(
        "ScatterND",
        [f32("n", 6), t("i64", 2, 1), f32(2, 6)],
        f32("n", 6),
        attrs={"reduction": "max"},
        work={"compare": 12},
        version=18,
    ),
    case(
        "ScatterND", [f32(5), t("i64", 2, 1), f32(2)], f32(5), attrs={"reduction": "mul"}, work={"mul": 2}, version=16
    ),
    case("ScatterND", [f32(5, 6), t("i64", 2, 1), f32(2, 6)], f32(5, 6), version=11),
    # A cache of 128 positions takes 1 more: only that is written.
    case(
        "TensorScatter",
        [t("f16", "b", 8, 128, 64), t("f16", "b", 8, 1, 64), t("i64", "b")],
        t("f16", "b", 8, 128, 64),
        read="1024*b + 8*b",
        written="1024*b",
    ),
]


@pytest.mark.parametrize("c", CONCAT + SLICE + SPLIT + PAD + REPEAT + BLOCKS + GATHER + SCATTER, ids=str)
def test_truth(c: Case) -> None:
    check(c)


# Contents. -----------------------------------------------------------------------------------------------------------

X = np.arange(12, dtype=np.int64).reshape(3, 4)
KNOWN: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Concat", [X, X[:, :1]], {"axis": 1}),
    ("Concat", [X[0], X[2, :3]], {"axis": 0}),
    ("Slice", [X, [1, 0], [3, 4], [0, 1], [1, 2]], {}),
    ("Slice", [X, [-1], [-FAR64], [1], [-1]], {}),
    ("Slice", [X[0], [3], [0], [0], [-2]], {}),
    ("Split", [X, [1, 3]], {"axis": 1}),
    ("Split", [X[0]], {"axis": 0, "num_outputs": 2}),
    ("Pad", [X, [1, 0, 0, 2], np.int64(7)], {}),
    ("Pad", [X, [0, 2, 0, 3]], {"mode": "edge"}),
    ("Pad", [X, [2, 0, 1, 3]], {"mode": "reflect"}),
    ("Pad", [X, [4, 1, 0, 5]], {"mode": "wrap"}),
    ("Tile", [X, [2, 1]], {}),
    ("Tile", [X[1], [3]], {}),
    ("OneHot", [np.array([0, 2, -1]), np.int64(3), np.array([5, 6])], {}),
    ("OneHot", [np.array([0, 2, 9]), np.int64(3), np.array([5, 6])], {"axis": 0}),
    ("Compress", [X, np.array([True, False, True])], {"axis": 0}),
    ("Compress", [X, np.array([False, True, True])], {}),
    ("Gather", [X, np.int64(1)], {"axis": 1}),
    ("Gather", [X, np.array([[0, -1], [1, 1]])], {"axis": 0}),
    ("GatherElements", [X, np.array([[0, -1], [1, 1], [3, 0]])], {"axis": 1}),
    ("GatherND", [X, np.array([[0, 1], [2, -1]])], {}),
    ("GatherND", [X, np.array([[2], [0]])], {}),
    ("GatherND", [X, np.array([[1], [0], [-1]])], {"batch_dims": 1}),
    ("ScatterElements", [X, np.array([[1, 0, 2, 0]]), np.array([[20, 21, 22, 23]])], {"axis": 0}),
    ("ScatterElements", [X[0], np.array([1, 1]), np.array([20, 21])], {"axis": 0, "reduction": "add"}),
    ("ScatterND", [X, np.array([[1], [2]]), X[:2] + 30], {}),
    ("ScatterND", [X[0], np.array([[1], [1]]), np.array([5, 6])], {"reduction": "max"}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "inputs", "attrs"), KNOWN, ids=[f"{op}-{i}" for i, (op, *_) in enumerate(KNOWN)])
def test_contents(op: str, inputs: list[Any], attrs: dict[str, Any]) -> None:
    """What an operator computes from known numbers is known: it becomes the shape of a tensor."""
    arrays = [np.asarray(a) for a in inputs]
    names = [f"in{i}" for i in range(len(arrays))]
    outs = ["y0", "y1"] if op == "Split" else ["y0"]
    nodes = [helper.make_node(op, names, outs, **attrs)]
    for out in outs:
        nodes.append(helper.make_node("Reshape", [out, "flat"], [out + "f"]))
        nodes.append(helper.make_node("ConstantOfShape", [out + "f"], [out + "s"], name=out))
    stored = [numpy_helper.from_array(a, n) for a, n in zip(arrays, names, strict=True)]
    stored.append(numpy_helper.from_array(np.array([-1]), "flat"))
    values = [helper.make_tensor_value_info(o, TensorProto.INT64, None) for o in outs]
    shaped = [helper.make_tensor_value_info(o + "s", TensorProto.FLOAT, None) for o in outs]
    opset = [helper.make_opsetid("", onnx.defs.onnx_opset_version())]
    truth = ReferenceEvaluator(
        helper.make_model(helper.make_graph(nodes[:1], "g", [], values, stored[:-1]), opset_imports=opset)
    ).run(None, {})
    report = macsim.count(helper.make_model(helper.make_graph(nodes, "g", [], shaped, stored), opset_imports=opset))
    rows = {row.name: row for row in report.rows}
    for out, want in zip(outs, truth, strict=True):
        assert list(rows[out].outputs[0].shape) == want.reshape(-1).tolist()


def test_contents_symbolic() -> None:
    """Sizes of an input go through the operators that exporters use on shapes, as symbols."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Split", ["shape"], ["b", "rest"], axis=0),
        helper.make_node("Slice", ["rest", "zero", "one"], ["n"]),
        helper.make_node("Gather", ["shape", "two"], ["m"], axis=0),
        helper.make_node("Concat", ["m", "b", "n", "n"], ["joined"], axis=0),
        helper.make_node("Tile", ["joined", "one"], ["tiled"]),
        helper.make_node("Pad", ["tiled", "pads", "fill"], ["padded"]),
        helper.make_node("Pad", ["padded", "crop"], ["cropped"]),
        helper.make_node("ScatterND", ["cropped", "at", "fills"], ["put"]),
        helper.make_node("ConstantOfShape", ["put"], ["y"], name="y"),
    ]
    stored = [
        numpy_helper.from_array(np.array(v, dtype=np.int64), n)
        for n, v in {
            "zero": [0], "one": [1], "two": [2], "pads": [0, 1], "fill": 9, "crop": [-1, 0], "at": [[2]],
            "fills": [8], "split": [1, 3]
        }.items()
    ]  # fmt: skip
    nodes[1].input.append("split")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", "n", "m", "k"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], stored), opset_imports=[helper.make_opsetid("", 20)]
    )
    row = next(row for row in macsim.count(model).rows if row.name == "y")
    b, n = macsim.Expr("b"), macsim.Expr("n")
    assert list(row.outputs[0].shape) == [b, n, 8, 9]


@pytest.mark.parametrize("step", [1, 2, -1, -3])
@pytest.mark.parametrize("end", [FAR64, -FAR64, 3, -2])
def test_slice_of_any_sign(step: int, end: int) -> None:
    """A start of a - b, of which nobody knows the sign: right for all sizes."""
    nodes = [
        helper.make_node("Shape", ["a"], ["as"]),
        helper.make_node("Shape", ["b"], ["bs"]),
        helper.make_node("Sub", ["as", "bs"], ["start"]),
        helper.make_node("Slice", ["x", "start", "end", "axis", "step"], ["y"], name="y"),
    ]
    stored = [numpy_helper.from_array(np.array([v]), n) for n, v in {"end": end, "axis": 0, "step": step}.items()]
    inputs = [
        helper.make_tensor_value_info(i, TensorProto.FLOAT, [s]) for i, s in {"x": "n", "a": "a", "b": "b"}.items()
    ]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, [out], stored))
    report = macsim.count(model)
    for n in (1, 4, 9):
        for a, b in ((1, 1), (1, 5), (3, 1), (5, 4), (9, 2), (2, 9), (12, 1)):
            start = max(a - b, -n) if step < 0 else a - b  # below the first, ONNX starts at the first
            size = report.at(n=n, a=a, b=b).rows[-1].outputs[0].shape[0]
            assert size == len(range(n)[start : None if end == -FAR64 and step < 0 else end : step]), (n, a, b)


def test_bad_inputs_are_told() -> None:
    """Inputs that cannot fit give a remark, and no shape."""
    for c in (
        case("Concat", [f32(2, 3), f32(2)], T("f32", None), attrs={"axis": 0}),
        case("Gather", [f32(2), t("i64", 1)], T("f32", None), attrs={"axis": 3}),
        case("Slice", [f32(2), i64(0), i64(1), i64(0), i64(0)], T("f32", None)),
        case("Split", [f32(2)], [T("f32", None)] * 2, attrs={"axis": 1, "num_outputs": 2}),
        case("Split", [f32(7)], [T("f32", None)] * 2, version=13),
        case("Pad", [f32(2), i64(0, 1, 1)], T("f32", None)),
        case("Tile", [f32(2), i64(1, 1)], T("f32", None)),
        case("DepthToSpace", [f32(2, 3)], T("f32", None), attrs={"blocksize": 2}),
        case("ScatterND", [f32(2), t("i64", 1, 3), f32(1)], f32(2)),
        case("GatherND", [f32(2), t("i64", 1, 3)], T("f32", None)),
    ):
        report = macsim.count(model_of(c))
        assert any("MS" in d.code for d in report.diagnostics), c.op
        assert [None if x.shape is None else list(x.shape) for x in report.rows[0].outputs] == [
            None if x.shape is None else list(x.shape) for x in c.outputs if x is not None
        ]


def test_absurd_parts_do_not_overflow() -> None:
    """Known contents cut by sizes whose sum passes 64 bits: nothing is known, nothing breaks."""
    parts = [const("i64", [1, 2, 3]), const("i64", [0, FAR64, 7])]
    report = macsim.count(model_of(case("Split", parts, [T("i64", None)] * 3)))
    assert [list(out.shape or ()) for out in report.rows[0].outputs] == [[0], [FAR64], [7]]
    pads = [const("i64", [1, 2]), i64(-FAR64, FAR64)]
    report = macsim.count(model_of(case("Pad", pads, t("i64", 2))))
    assert list(report.rows[0].outputs[0].shape or ()) == [2]
    # An index into nothing.
    into = [const("i64", np.zeros(0, dtype=np.int64)), i64(1, 2), i64(3, 4)]
    report = macsim.count(model_of(case("ScatterElements", into, t("i64", 0))))
    assert report.rows[0].outputs[0].shape == (0,)
