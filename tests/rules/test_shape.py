"""Numbers about tensors, tensors made of numbers, and the arithmetic on them with which exporters compute shapes."""

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


UNIQUE = [f32("node.n"), t("i64", "node.n"), t("i64", 8), t("i64", "node.n")]

ROWS = [
    # A number about a tensor needs none of its elements; the number itself is written.
    *[case("Shape", [f32(2, "n", 4)], t("i64", 3), version=v, read=0, written=0) for v in versions_of("Shape")],
    case("Shape", [f32(2, "n", 4)], t("i64", 2), attrs={"start": 1}, read=0, id="Shape-from-1"),
    case("Shape", [f32(2, "n", 4)], t("i64", 1), attrs={"start": -2, "end": -1}, id="Shape-slice"),
    case("Shape", [f32(2, "n", 4)], t("i64", 0), attrs={"start": 2, "end": 1}, id="Shape-none"),
    case("Shape", [f32(2, "n", 4)], t("i64", 3), attrs={"start": -9, "end": 9}, id="Shape-clamped"),
    *[case("Size", [f32(2, "n", 4)], t("i64"), version=v, read=0) for v in versions_of("Size")],
    case("Constant", [], t("i64", 2), attrs={"value_ints": [3, 4]}, **FREE),
    case("Constant", [], f32(), attrs={"value_float": 0.5}, **FREE),
    case("Constant", [], f32(3), attrs={"value_floats": [0.5, 1.0, 2.0]}, id="Constant-floats", **FREE),
    case("Constant", [], t("i64"), attrs={"value_int": 7}, id="Constant-int", **FREE),
    case("Constant", [], t("string", 2), attrs={"value_strings": ["a", "b"]}, id="Constant-strings"),
    # Filled: |y| elements are written, nothing is read.
    *[
        case("ConstantOfShape", [const("i64", [2, 3])], f32(2, 3), version=v, read=0, written=24)
        for v in versions_of("ConstantOfShape")
    ],
    case("ConstantOfShape", [t("i64", 2)], f32("node.shape0", "node.shape1"), id="ConstantOfShape-of-data"),
    case("ConstantOfShape", [const("i64", [-1])], T("f32", None), trust="unknown", id="ConstantOfShape-negative"),
    *[case("EyeLike", [f32("n", 4)], f32("n", 4), version=v, read=0, written="16*n") for v in versions_of("EyeLike")],
    case("EyeLike", [f32(3, 4)], t("i64", 3, 4), attrs={"dtype": 7, "k": 1}, written=96, id="EyeLike-dtype"),
    # start + i*delta: 3, 5, 7, 9; downwards 10, 8, 6; 0, 0.4, 0.8 of reals; none at all.
    *[
        case(
            "Range",
            [const("i64", 3), const("i64", 10), const("i64", 2)],
            t("i64", 4),
            version=v,
            work={"add": 4, "mul": 4},
        )
        for v in versions_of("Range")
    ],
    case(
        "Range",
        [const("i64", 10), const("i64", 4), const("i64", -2)],
        t("i64", 3),
        work={"add": 3, "mul": 3},
        id="Range-down",
    ),
    case(
        "Range",
        [const("f32", 0.0), const("f32", 1.0), const("f32", 0.4)],
        f32(3),
        work={"add": 3, "mul": 3},
        id="Range-real",
    ),
    case("Range", [const("i64", 4), const("i64", 4), const("i64", 1)], t("i64", 0), id="Range-empty"),
    case(
        "Range",
        [const("i64", 4), t("i64"), const("i64", 1)],
        t("i64", "node.n"),
        work={"add": "node.n", "mul": "node.n"},
        id="Range-of-data",
    ),
    case("Range", [const("i64", [1]), const("i64", [4])], t("i64", 3), domain=MS, work={"add": 3, "mul": 3}),
    # One comparison an element; how many are not zero is data, unless the elements are known.
    *[
        case("NonZero", [f32(3, 4)], t("i64", 2, "node.n"), version=v, work={"compare": 12})
        for v in versions_of("NonZero")
    ],
    case("NonZero", [const("i64", [[0, 5], [7, 0]])], t("i64", 2, 2), work={"compare": 4}, id="NonZero-known"),
    case("NonZero", [f32()], t("i64", 0, "node.n"), work={"compare": 1}, id="NonZero-scalar"),
    # Sorting 8 numbers takes 8*3 comparisons at most.
    *[case("Unique", [f32(8)], UNIQUE, version=v, work={"compare": 24}, trust="bound") for v in versions_of("Unique")],
    case(
        "Unique",
        [f32(4, 2)],
        [f32("node.n", 2), None, t("i64", 4)],
        attrs={"axis": 0},
        work={"compare": 24},
        trust="bound",
        id="Unique-axis",
    ),
    # [2, 1, 1, 3, 4, 3] has 4 distinct elements.
    case(
        "Unique",
        [const("f32", [2, 1, 1, 3, 4, 3])],
        [f32(4), t("i64", 4), t("i64", 6), t("i64", 4)],
        work={"compare": 18},
        trust="bound",
        id="Unique-known",
    ),
    # Of the rows [1, 0], [1, 0], [2, 3] two are distinct.
    case(
        "Unique",
        [const("f32", [[1, 0], [1, 0], [2, 3]])],
        [f32(2, 2)],
        attrs={"axis": 0},
        work={"compare": 18},
        trust="bound",
        id="Unique-rows",
    ),
    case(
        "Unique",
        [f32(8)],
        [f32("node.n"), t("i64", 8), t("i64", "node.n")],
        domain=MS,
        work={"compare": 24},
        trust="bound",
    ),
    case("Trilu", [f32("b", 4, 4)], f32("b", 4, 4), read="64*b", written="64*b"),
    case("Trilu", [f32("b", 4, 4), const("i64", 1)], f32("b", 4, 4), domain=MS, read="64*b", written="64*b"),
    case("Trilu", [f32(4)], f32(4), trust="unknown", id="Trilu-misfit"),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_truth(row: Case) -> None:
    check(row)


# Shapes as exporters compute them. ------------------------------------------------------------------------------------


def shape_of(x: str, body: str) -> list[str]:
    """The shape of y, which the nodes compute from x, symbols as text."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g ({x}) => (float[1] y) {{ {body} }}')
    model.graph.output[0].ClearField("type")
    report = macsim.count(model)
    assert not report.diagnostics, report.diagnostics
    assert report.outputs[0].shape is not None
    return [str(dim) for dim in report.outputs[0].shape]


def expr(text: str) -> str:
    return str(macsim.Expr(text))


TOKENS = "float[batch, seq, 768] x"
PIXELS = "float[batch, 3, height, width] x"
# y is filled with zeros, of the shape that `to` holds.
FILL = "y = ConstantOfShape (to)"


def test_heads_are_split_by_a_computed_shape() -> None:
    """x.view(x.shape[0], -1, 12, x.shape[2] // 12)."""
    body = """
        s = Shape (x)
        zero = Constant <value_int = 0> () two = Constant <value_int = 2> () twelve = Constant <value_int = 12> ()
        first = Constant <value_ints = [0]> () rest = Constant <value_ints = [-1]> ()
        heads = Constant <value_ints = [12]> ()
        b = Gather (s, zero) w = Gather (s, two) d = Div (w, twelve)
        b1 = Unsqueeze (b, first) d1 = Unsqueeze (d, first)
        to = Concat <axis = 0> (b1, rest, heads, d1)
        y = Reshape (x, to)"""
    assert shape_of(TOKENS, body) == ["batch", "seq", "12", "64"]


def test_rows_are_merged_by_the_product_of_two_sizes() -> None:
    """x.view(x.shape[0] * x.shape[1], 768), the product taken by ReduceProd of a slice of the shape."""
    body = """
        lead = Shape <end = 2> (x)
        n = ReduceProd <keepdims = 1> (lead)
        width = Constant <value_ints = [768]> ()
        to = Concat <axis = 0> (n, width)
        y = Reshape (x, to)"""
    assert shape_of(TOKENS, body) == ["batch*seq", "768"]


def test_a_size_times_a_fraction() -> None:
    """floor(height * 0.7), through floats: 7/10 exactly."""
    body = """
        s = Shape <start = 2, end = 3> (x)
        f = Cast <to = 1> (s)
        scale = Constant <value_float = 0.7> ()
        scaled = Mul (f, scale) down = Floor (scaled)
        to = Cast <to = 7> (down)
        y = ConstantOfShape (to)"""
    assert shape_of(PIXELS, body) == [expr("floor(7*height/10)")]


def test_a_size_divided_by_a_real_and_rounded_up() -> None:
    body = """
        s = Shape <start = 2> (x)
        f = Cast <to = 1> (s)
        four = Constant <value_float = 4.0> ()
        quarter = Div (f, four) up = Ceil (quarter)
        to = Cast <to = 7> (up)
        y = ConstantOfShape (to)"""
    assert shape_of(PIXELS, body) == [expr("ceil(height/4)"), expr("ceil(width/4)")]


def test_the_padding_to_a_multiple() -> None:
    """(32 - height % 32) % 32 more rows make a multiple of 32."""
    body = """
        h = Shape <start = 2, end = 3> (x)
        n = Constant <value_ints = [32]> ()
        over = Mod (h, n) less = Sub (n, over) pad = Mod (less, n)
        to = Add (h, pad)
        y = ConstantOfShape (to)"""
    (found,) = shape_of(PIXELS, body)
    for height in (0, 1, 31, 32, 33, 500):
        assert macsim.Expr(found).bind(height=height) == -(-height // 32) * 32


def test_the_size_after_a_window_as_integers_divide() -> None:
    """(height - 7) // 2 + 1: the quotient is cut toward zero, and what it is of is taken not to be negative."""
    body = """
        h = Shape <start = 2, end = 3> (x)
        seven = Constant <value_ints = [7]> () two = Constant <value_ints = [2]> () one = Constant <value_ints = [1]> ()
        room = Sub (h, seven) half = Div (room, two)
        to = Add (half, one)
        y = ConstantOfShape (to)"""
    assert shape_of(PIXELS, body) == [expr("floor((height - 5)/2)")]


def test_what_was_taken_for_granted_is_checked_when_sizes_are_given() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]> g (float[height] x) => (float[half] y) {
        h = Shape (x)
        seven = Constant <value_ints = [7]> () two = Constant <value_ints = [2]> ()
        room = Sub (h, seven) to = Div (room, two)
        y = ConstantOfShape (to)
    }"""
    report = macsim.count(onnx.parser.parse_model(text))
    assert report.bind(height=8).outputs[0].shape == (0,)
    with pytest.raises(macsim.RequestError, match="height - 7"):
        report.bind(height=4)


def test_expand_through_where_and_equal() -> None:
    """torch writes x.expand(-1, 4) as where(sizes == -1, 1, sizes)."""
    body = """
        asked = Constant <value_ints = [-1, 4]> ()
        n = Shape (asked)
        ones = ConstantOfShape <value = int64[1] {1}> (n)
        minus = Constant <value_int = -1> ()
        minuses = Mul (ones, minus)
        same = Equal (asked, minuses)
        to = Where (same, ones, asked)
        y = Expand (x, to)"""
    assert shape_of("float[n, 1] x", body) == ["n", "4"]


def test_a_size_that_is_never_minus_one() -> None:
    """where(sizes == -1, x.shape, sizes) of sizes that are symbols: no symbol is -1."""
    body = """
        s = Shape (x)
        minus = Constant <value_ints = [-1]> () one = Constant <value_ints = [1]> ()
        same = Equal (s, minus)
        to = Where (same, one, s)
        y = ConstantOfShape (to)"""
    assert shape_of("float[n, m] x", body) == ["n", "m"]


def test_positions_after_a_cache() -> None:
    """range(past, past + seq) has seq elements, whatever the cache holds."""
    body = """
        zero = Constant <value_int = 0> () one = Constant <value_int = 1> ()
        p = Shape (past) past_n = Gather (p, one)
        s = Shape (x) n = Gather (s, one)
        end = Add (past_n, n)
        y = Range (past_n, end, one)"""
    assert shape_of("float[batch, past, 64] past, float[batch, seq, 64] x", body) == ["seq"]


def test_positions_counted_by_a_running_sum() -> None:
    """The last element of cumsum(ones(n)) is n."""
    body = """
        asked = Constant <value_ints = [5]> () first = Constant <value_int = 0> ()
        ones = ConstantOfShape <value = int64[1] {1}> (asked)
        sums = CumSum (ones, first)
        last = Constant <value_ints = [-1]> ()
        to = Gather (sums, last)
        y = ConstantOfShape (to)"""
    assert shape_of("float[n] x", body) == ["5"]


def test_the_smaller_of_a_symbol_and_a_number() -> None:
    body = """
        s = Shape (x)
        most = Constant <value_ints = [512]> ()
        to = Min (s, most)
        y = ConstantOfShape (to)"""
    assert shape_of("float[seq] x", body) == [expr("min(seq, 512)")]


def test_a_condition_that_holds_for_all_sizes() -> None:
    """seq + 1 > 0, so the first branch is taken; seq > 4 is not known, and the size becomes a symbol."""
    body = """
        s = Shape (x)
        one = Constant <value_ints = [1]> () zero = Constant <value_ints = [0]> () four = Constant <value_ints = [4]> ()
        more = Add (s, one) always = Greater (more, zero)
        to = Where (always, more, four)
        y = ConstantOfShape (to)"""
    assert shape_of("float[seq] x", body) == ["seq + 1"]
    open_body = body.replace("Greater (more, zero)", "Greater (more, four)")
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g (float[seq] x) => (float[k] y) {{ {open_body} }}'
    )
    model.graph.output[0].ClearField("type")
    report = macsim.count(model)
    (size,) = report.outputs[0].shape or ()
    assert [unbound.name for unbound in report.unbound if unbound.name == str(size)]


def test_numbers_are_rounded_as_at_run_time() -> None:
    """log2(8) = log(8)/log(2) in 32 bits is 3, and its ceiling 3, though doubles would make it 3.0000000000000004."""
    body = """
        eight = Constant <value_floats = [8.0]> () two = Constant <value_floats = [2.0]> ()
        p = Log (eight) q = Log (two)
        r = Div (p, q) up = Ceil (r)
        to = Cast <to = 7> (up)
        y = ConstantOfShape (to)"""
    assert shape_of("float[n] x", body) == ["3"]
