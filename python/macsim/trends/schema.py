# How tables are read: columns, what their cells may hold, and errors that name the cell.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Reading of CSV tables: columns, what their cells may hold, and errors that name the cell."""

from __future__ import annotations

import csv
import datetime
import io
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from macsim.errors import RequestError

CONFIDENCE = ("high", "medium", "low")


class TableError(RequestError):
    r"""A table does not fit its schema; the message names file, row and column, and what is allowed there.

    Examples
    --------
    >>> import io
    >>> from macsim import trends
    >>> try:
    ...     trends.load().extended(vision=io.StringIO("model,date,top1,gflops\nMine,soon,80,4\n"))
    ... except trends.TableError as error:
    ...     print(error)
    <table>, row 2, column 'date': 'soon' is not a date; write YYYY-MM-DD
    """


def text(text: str) -> str:
    """Read text as it is."""
    return text


def date(text: str) -> datetime.date:
    """Read YYYY-MM-DD."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a date; write YYYY-MM-DD") from None


def number(text: str) -> float:
    """Read a number above 0."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError("is not a number") from None
    if not math.isfinite(value) or value <= 0:
        raise ValueError("is not allowed; write a number above 0")
    return value


def percent(text: str) -> float:
    """Read a percentage above 0."""
    value = number(text)
    if value > 100:
        raise ValueError("is not allowed; write a percentage, above 0 and up to 100")
    return value


def whole(text: str) -> int:
    """Read a whole number above 0."""
    value = number(text)
    if value != int(value):
        raise ValueError("is not a whole number")
    return int(value)


def integer(text: str) -> int:
    """Read an integer of any size."""
    try:
        return int(text)
    except ValueError:
        raise ValueError("is not a whole number") from None


def one_of(*allowed: str) -> Callable[[str], str]:
    """Return a reader of one of some words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"is not allowed; one of {', '.join(allowed)}")
        return text

    return read


def graded(text: str) -> str:
    """Read the grade that begins a longer remark: ``high (value); row recalled``."""
    for grade in CONFIDENCE:
        if text.startswith(grade):
            return grade
    raise ValueError(f"is not allowed; one of {', '.join(CONFIDENCE)}")


@dataclass(frozen=True)
class Column:
    """A column of a table: how its cells are read, and whether they may be left empty."""

    read: Callable[[str], Any]
    required: bool = False
    default: Any = None


def optional(schema: Mapping[str, Column], name: str) -> dict[str, Column]:
    """Return a schema in which one column may be left empty."""
    return {column: replace(rule, required=rule.required and column != name) for column, rule in schema.items()}


def read_rows(file: Any, schema: Mapping[str, Column], name: str = "") -> list[tuple[dict[str, Any], str]]:
    r"""Read a table: for each line the values by column, and where it stands.

    Parameters
    ----------
    file : path or text file
    schema : mapping
        The columns that there may be.
    name : str, optional
        What messages call the file.

    Examples
    --------
    >>> import io
    >>> read_rows(io.StringIO("model,n\na,3\n"), {"model": Column(text), "n": Column(number)})
    [({'model': 'a', 'n': 3.0}, '<table>:2')]
    """
    if isinstance(file, str | os.PathLike):
        with open(file, encoding="utf-8-sig", newline="") as opened:
            return read_rows(io.StringIO(opened.read()), schema, name or os.fspath(file))
    name = name or getattr(file, "name", "") or "<table>"
    reader = csv.reader(file)
    head = [column.strip() for column in next(reader, [])]
    for column in head:
        if column not in schema:
            raise TableError(
                f"{name}, row 1, column {column!r}: there is no such column; there are {', '.join(schema)}"
            )
        if head.count(column) > 1:
            raise TableError(f"{name}, row 1, column {column!r}: it is there twice")
    for column, rule in schema.items():
        if rule.required and column not in head:
            raise TableError(f"{name}, row 1: the column {column!r} is missing")
    rows = []
    for cells in reader:
        line = reader.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(head):
            raise TableError(f"{name}, row {line}: {len(cells)} cells under {len(head)} columns")
        given = dict(zip(head, (cell.strip() for cell in cells), strict=True))
        row = {column: _cell(given.get(column, ""), rule, name, line, column) for column, rule in schema.items()}
        rows.append((row, f"{name}:{line}"))
    return rows


def _cell(text: str, rule: Column, name: str, line: int, column: str) -> Any:
    where = f"{name}, row {line}, column {column!r}"
    if not text:
        if rule.required:
            raise TableError(f"{where}: it is empty; every row needs one")
        return rule.default
    try:
        return rule.read(text)
    except ValueError as error:
        raise TableError(f"{where}: {text!r} {error}") from None
