"""Views, transpositions and expansions: every row worked out by hand. A view moves no byte."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from truth import Case, T, case, check, const, f32, t

import macsim

MS = "com.microsoft"
FREE: dict[str, Any] = {"read": 0, "weights": 0, "written": 0}


def versions_of(op: str) -> list[int]:
    history = onnx.defs.get_all_schemas_with_history()
    return sorted(schema.since_version for schema in history if schema.name == op and schema.domain == "")


def i64(*values: int) -> T:
    return const("i64", list(values))


def reshape(x: T, sizes: list[int], y: tuple[Any, ...], name: str, **attrs: int) -> Case:
    return case("Reshape", [x, i64(*sizes)], T(x.dtype, y), attrs=attrs, id=f"Reshape-{name}", **FREE)


RESHAPE = [
    case("Reshape", [f32(2, 6)], f32(3, 4), version=1, attrs={"shape": [3, -1]}, **FREE),
    *[case("Reshape", [f32(2, 6), i64(0, 3, -1)], f32(2, 3, 2), version=v, **FREE) for v in versions_of("Reshape")[1:]],
    # 0 copies, -1 is what is left: 768 = 12 * 64 stays a matter of constants.
    reshape(f32("batch", "seq", 768), [0, 0, 12, 64], ("batch", "seq", 12, 64), "heads"),
    reshape(f32("batch", "seq", 768), [0, -1, 12, 64], ("batch", "seq", 12, 64), "rest-in-the-middle"),
    reshape(f32("batch", "seq", 12, 64), [0, 0, -1], ("batch", "seq", 768), "merged"),
    reshape(f32("batch", "seq", 768), [-1, 768], ("batch*seq", 768), "rows"),
    reshape(f32("batch", "c", "h", "w"), [0, 0, -1], ("batch", "c", "h*w"), "pixels"),
    reshape(f32("n", 4), [-1], ("4*n",), "flat"),
    reshape(f32("n", 6), [-1, 4], ("floor(3*n/2)", 4), "not-a-multiple"),
    reshape(f32("n", 4), [2, -1], (2, "2*n"), "half"),
    # Nothing to divide: no elements.
    reshape(f32(0, 3, 4), [3, 4, 0], (3, 4, 0), "allowzero", allowzero=1),
    reshape(f32(0, 3, 4), [-1, 12], (0, 12), "no-elements"),
    reshape(f32(), [1, 1], (1, 1), "scalar"),
    reshape(f32(1), [], (), "to-scalar"),
    # What cannot be: 6 elements into 4, two -1, a 0 that copies nothing. The type is known all the same.
    case("Reshape", [f32(2, 3), i64(4)], T("f32", None), trust="unknown", id="Reshape-misfit"),
    case("Reshape", [f32(2, 3), i64(-1, -1)], T("f32", None), trust="unknown", id="Reshape-two-holes"),
    case("Reshape", [f32(2), i64(2, 0)], T("f32", None), trust="unknown", id="Reshape-no-axis"),
    case("Reshape", [f32(2), i64(-2)], T("f32", None), trust="unknown", id="Reshape-negative"),
    # Sizes from data: of one, it is all elements; of more, one follows from the others.
    case("Reshape", [f32("n", 4), t("i64", 1)], f32("4*n"), id="Reshape-unknown-1"),
    case("Reshape", [f32(6, 4), t("i64", 2)], f32("floor(24/node.shape1)", "node.shape1"), id="Reshape-unknown-2"),
    case("Reshape", [f32(6, 4), t("i64", "k")], T("f32", None), id="Reshape-unknown-rank"),
    case("Reshape", [T("f32", None), i64(2, 3)], f32(2, 3), id="Reshape-of-unknown"),
]

SQUEEZE = [
    *[case("Squeeze", [f32(1, "n", 1, 3)], f32("n", 1, 3), version=v, attrs={"axes": [0]}, **FREE) for v in (1, 11)],
    *[
        case("Squeeze", [f32(1, "n", 1, 3), i64(-2, 0)], f32("n", 3), version=v, **FREE)
        for v in versions_of("Squeeze")[2:]
    ],
    case("Squeeze", [f32(1, 2, 1)], f32(2), id="Squeeze-all"),
    # Sizes that can never be 1 stay; one that may be 1 leaves the rank open.
    case("Squeeze", [f32("n + 2", 1, 3)], f32("n + 2", 3), id="Squeeze-all-symbol"),
    case("Squeeze", [f32("n", 1, 3)], T("f32", None), id="Squeeze-all-open"),
    case("Squeeze", [f32(1, 2), i64(1)], T("f32", None), trust="unknown", id="Squeeze-not-1"),
    case("Squeeze", [f32(1, 2), t("i64", 1)], T("f32", None), id="Squeeze-unknown-axes"),
    *[case("Unsqueeze", [f32("n", 3)], f32(1, "n", 3, 1), version=v, attrs={"axes": [0, 3]}, **FREE) for v in (1, 11)],
    *[
        case("Unsqueeze", [f32("n", 3), i64(-1, 0)], f32(1, "n", 3, 1), version=v, **FREE)
        for v in versions_of("Unsqueeze")[2:]
    ],
    case("Unsqueeze", [f32(), i64(0)], f32(1), id="Unsqueeze-scalar"),
    case("Unsqueeze", [f32(2), i64(3)], T("f32", None), trust="unknown", id="Unsqueeze-bad-axis"),
    case("ExpandDims", [f32("n", 3), const("i32", -1)], f32("n", 3, 1), domain=MS, **FREE),
]

FLATTEN = [
    *[case("Flatten", [f32("n", 3, 4)], f32("n", 12), version=v, **FREE) for v in versions_of("Flatten")],
    case("Flatten", [f32("n", 3, 4)], f32(1, "12*n"), attrs={"axis": 0}, id="Flatten-0"),
    case("Flatten", [f32("n", 3, 4)], f32("12*n", 1), attrs={"axis": 3}, id="Flatten-3"),
    case("Flatten", [f32("n", 3, 4)], f32("3*n", 4), attrs={"axis": -1}, id="Flatten-negative"),
    case("Flatten", [f32(2, 3)], T("f32", None), attrs={"axis": 3}, trust="unknown", id="Flatten-bad-axis"),
    *[case("Identity", [t("i8", "n", 3)], t("i8", "n", 3), version=v, **FREE) for v in versions_of("Identity")],
]

MOVED = [
    # 24*n elements of 2 bytes are read and written.
    *[
        case(
            "Transpose",
            [t("f16", "n", 3, 8)],
            t("f16", 3, 8, "n"),
            version=v,
            attrs={"perm": [1, 2, 0]},
            read="48*n",
            written="48*n",
        )
        for v in versions_of("Transpose")
    ],
    case("Transpose", [f32(2, 3, 4)], f32(4, 3, 2), read=96, written=96, id="Transpose-reversed"),
    # Only axes of 1 change places: nothing moves.
    case("Transpose", [f32("n", 1, 4)], f32(1, "n", 4), attrs={"perm": [1, 0, 2]}, id="Transpose-view", **FREE),
    case("Transpose", [f32(1, 5)], f32(5, 1), id="Transpose-row", **FREE),
    case("Transpose", [f32(2, 3)], T("f32", None), attrs={"perm": [0, 0]}, trust="unknown", id="Transpose-misfit"),
    *[
        case("Expand", [f32(3, 1), i64(2, 1, 6)], f32(2, 3, 6), version=v, read=12, written=144)
        for v in versions_of("Expand")
    ],
    case("Expand", [f32("n", 1), i64(1, 5)], f32("n", 5), read="4*n", written="20*n", id="Expand-symbol"),
    case("Expand", [f32(3), t("i64", 2)], f32("node.shape0", 3), written="12*node.shape0", id="Expand-unknown"),
    case("Expand", [f32(2), i64(3)], T("f32", None), trust="unknown", id="Expand-misfit"),
]


@pytest.mark.parametrize("row", RESHAPE + SQUEEZE + FLATTEN, ids=str)
def test_views(row: Case) -> None:
    check(row)


@pytest.mark.parametrize("row", MOVED, ids=str)
def test_copies(row: Case) -> None:
    check(row)


def test_what_a_view_took_for_granted_is_checked_when_sizes_are_given() -> None:
    # [n, 4] to [n/2, 8]: squeezing the first axis of [n, 4] takes n to be 1.
    text = """<ir_version: 10, opset_import: ["" : 21]> g (float[n, 4] x) => (float[4] y) {
        axes = Constant <value_ints = [0]> ()
        y = Squeeze (x, axes)
    }"""
    report = macsim.count(onnx.parser.parse_model(text))
    assert report.bind(n=1) is not None
    with pytest.raises(macsim.RequestError, match="n"):
        report.bind(n=2)


def _reshaped(shape: str, to: str) -> macsim.Report:
    """x reshaped to rows of 4, and each multiplied by a [4, 4]: 16 MACs a row."""
    text = f"""<ir_version: 10, opset_import: ["" : 21]> g (float{shape} x, float[4, 4] w) => (y) {{
        to = Constant <value_ints = {to}> ()
        rows = Reshape (x, to)
        y = MatMul (rows, w)
    }}"""
    return macsim.count(onnx.parser.parse_model(text))


def test_a_reshape_keeps_its_elements() -> None:
    report = _reshaped("[b, 4]", "[7, 4]")
    assert report.bind(b=7).macs == 7 * 16
    with pytest.raises(macsim.RequestError, match=r"elements, 4\*b and 28, must be the same and would be 36 and 28$"):
        report.bind(b=9)


def test_the_rest_of_a_reshape_leaves_nothing() -> None:
    # [b, s, 4] to [7, -1, 4]: b * s / 7 for -1. 14 rows are two for each of 7; 11 rows are 44 elements, 7 rows 28.
    report = _reshaped("[b, s, 4]", "[7, -1, 4]")
    assert report.bind(b=2, s=7).macs == 14 * 16
    assert report.bind(b=1).bind(s=14).macs == 14 * 16
    for sizes in ({"b": 1, "s": 11}, {"b": 11, "s": 1}):
        with pytest.raises(macsim.RequestError, match=r"must be the same and would be 44 and 28$"):
            report.bind(sizes)
    with pytest.raises(macsim.RequestError, match=r"would be 44 and 28$"):
        report.bind(b=1).bind(s=11)


def test_sizes_that_cancel_are_not_asked_about() -> None:
    # [b, s, 4] to [b, -1, 2, 4]: s / 2 pairs of rows; then any b will do.
    report = _reshaped("[b, s, 4]", "[0, -1, 2, 4]")
    assert report.bind(b=3, s=10).macs == 30 * 16
    with pytest.raises(macsim.RequestError, match=r"would be 12 and 8$"):
        report.bind(b=1, s=3)


def test_equal_parts_leave_nothing() -> None:
    # Gated channels are split in two: Split of opset 13 has equal parts.
    text = """<ir_version: 10, opset_import: ["" : 13]> g (float[3, n] x) => (a, b) { a, b = Split <axis = 1> (x) }"""
    report = macsim.count(onnx.parser.parse_model(text))
    assert report.bind(n=8).outputs[0].shape == (3, 4)
    with pytest.raises(macsim.RequestError, match=r"a size and what its equal parts hold, .* would be 9 and 8$"):
        report.bind(n=9)
