"""The same elements in other shapes. Views move nothing; a transpose that changes the order reads and writes all."""

from __future__ import annotations

from typing import Any

import pytest
from truth import Case, T, case, check, const, f32, t


def view(op: str, inputs: list[T | None], out: T, **kw: Any) -> Case:
    return case(op, inputs, out, read=0, weights=0, written=0, **kw)


CASES = [
    view("Reshape", [f32(2, 3, 4), const("i64", [4, 6])], f32(4, 6)),
    view("Reshape", [f32(2, 3, 4), const("i64", [0, -1])], f32(2, 12), id="Reshape-copy-and-rest"),
    view("Reshape", [f32("b", "s", 768), const("i64", [0, 0, 12, 64])], f32("b", "s", 12, 64), id="Reshape-heads"),
    view("Reshape", [f32("b", "s", 12, 64), const("i64", [0, 0, -1])], f32("b", "s", 768), id="Reshape-merge"),
    view("Reshape", [f32("b", "s", 768), const("i64", [-1, 768])], f32("b*s", 768), id="Reshape-flat"),
    view("Reshape", [f32("b", 6, "w"), const("i64", [0, -1])], f32("b", "6*w"), id="Reshape-symbols"),
    view("Reshape", [f32(2, 3)], f32(3, 2), version=1, attrs={"shape": [3, 2]}),
    view("Reshape", [f32(0, 3), const("i64", [0, 5])], f32(0, 5), attrs={"allowzero": 1}, id="Reshape-zero"),
    view("Squeeze", [f32(1, 3, 1, 5), const("i64", [0, -2])], f32(3, 5)),
    view("Squeeze", [f32(1, 3, 1, 5)], f32(3, 5), id="Squeeze-all"),
    view("Squeeze", [f32(1, "n", 1)], f32("n"), version=11, attrs={"axes": [0, 2]}),
    view("Unsqueeze", [f32(3, 5), const("i64", [0, -1])], f32(1, 3, 5, 1)),
    view("Unsqueeze", [f32("n")], f32("n", 1), version=11, attrs={"axes": [1]}),
    view("Flatten", [f32(2, 3, 4)], f32(2, 12)),
    view("Flatten", [f32("b", "c", 4)], f32("b*c", 4), attrs={"axis": -1}, id="Flatten-last"),
    view("Flatten", [f32(2, 3)], f32(1, 6), attrs={"axis": 0}, id="Flatten-0"),
    view("Identity", [f32(2, "n")], f32(2, "n")),
    case("Transpose", [f32(2, 3, 4)], f32(4, 3, 2), read=96, written=96),
    case("Transpose", [f32("b", 3, 4)], f32("b", 4, 3), attrs={"perm": [0, 2, 1]}, read="48*b", written="48*b"),
    # only axes of size 1 change place: the elements stay in order
    view("Transpose", [f32(1, 3, 4)], f32(3, 1, 4), attrs={"perm": [1, 0, 2]}, id="Transpose-of-ones"),
    case("Expand", [f32(3, 1), const("i64", [2, 1, 4])], f32(2, 3, 4), read=12, written=96),
    case(
        "Expand", [t("i8", "n", 1), const("i64", [1, 4])], t("i8", "n", 4), read="n", written="4*n", id="Expand-symbol"
    ),
]


@pytest.mark.parametrize("c", CASES, ids=str)
def test_truth(c: Case) -> None:
    check(c)
