# The tables: models, chips, throughputs and counts, each row with where it comes from.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Typed tables of models, chips, throughputs and counts. Each row says how sure it is and where it comes from."""

from __future__ import annotations

import csv
import datetime
import io
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any, TypeVar

from macsim.errors import RequestError

__all__ = ["CONFIDENCE", "DOMAINS", "Chip", "Count", "Data", "ModelRow", "TableError", "Throughput", "load"]

CONFIDENCE = ("high", "medium", "low")
DOMAINS = ("vision", "language")
KINDS = ("ngc_throughput", "adapted_efficiency_recomputed", "paper_speedup_recalled", "figure_reading", "mlperf_v1.0")
TASKS = {"CV": "vision", "NLP": "language"}


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


@dataclass(frozen=True)
class ModelRow:
    """A model as it was published.

    Attributes
    ----------
    name, domain : str
        The domain is ``"vision"`` or ``"language"``.
    date : datetime.date
        When it was first released.
    gflops : float
        GFLOPs of one forward pass, batch 1; a multiply-accumulate is 2.
    params : float or None
        Millions of parameters.
    score : float or None
        Top-1 accuracy on ImageNet, or the GLUE score; in percent.
    size : int or None
        Pixels of the input's side, or tokens.
    extra_data : str
        What it was trained on beyond ImageNet; empty for nothing.
    architecture : str
        CNN, Transformer or Hybrid.
    confidence : {'high', 'medium', 'low'}
    basis : str
        What the value of `gflops` rests on.
    independent : float or None
        GFLOPs from a second public source, which `independent_source` names.
    note : str
    origin : str
        The file and line of the row.
    """

    name: str
    domain: str
    date: datetime.date
    gflops: float
    params: float | None
    score: float | None
    size: int | None
    extra_data: str
    architecture: str
    confidence: str
    basis: str
    independent: float | None
    independent_source: str
    note: str
    origin: str

    @property
    def is_of_paper(self) -> bool:
        """Whether the row's source says that the value is transcribed from the paper's table."""
        return self.basis == "the paper's table, transcribed"


@dataclass(frozen=True)
class Chip:
    """What a chip promises at one precision.

    Attributes
    ----------
    name, precision, kind : str
        The kind is Desktop or Server.
    tflops, watts : float
        The peak rate and the thermal design power.
    date : datetime.date
        When it was launched.
    confidence, basis, note, origin : str
        As of `ModelRow`.
    """

    name: str
    precision: str
    kind: str
    tflops: float
    watts: float
    date: datetime.date
    confidence: str
    basis: str
    note: str
    origin: str


@dataclass(frozen=True)
class Throughput:
    """One measured throughput, a speed-up, or what was read off a figure.

    Attributes
    ----------
    kind : str
        ``ngc_throughput`` rows are the published tables; ``mlperf_v1.0`` rows are a supplement.
    chip, precision, domain, model, framework : str
    rate : float or None
        In `unit`, ``samples/s`` or ``tokens/s``.
    watts : float or None
    gain : float or None
        Speed-up over FP32.
    gflops_per_watt : float or None
    confidence, basis, note, origin : str
        As of `ModelRow`.
    """

    kind: str
    chip: str
    precision: str
    domain: str
    model: str
    framework: str
    rate: float | None
    unit: str
    watts: float | None
    gain: float | None
    gflops_per_watt: float | None
    confidence: str
    basis: str
    note: str
    origin: str


@dataclass(frozen=True)
class Count:
    """What macsim counts for a model of the tables.

    Attributes
    ----------
    name, domain, architecture : str
        The row of the models' table, and the definition that was counted.
    size : int
        Pixels of the input's side, or tokens.
    macs, parameters : int
    gflops : float
        2 x multiply-accumulates, in billions.
    cause : str
        Where the published value differs by more than 3 %: why, or ``"not explained"``.
    """

    name: str
    domain: str
    architecture: str
    size: int
    macs: int
    parameters: int
    cause: str

    @property
    def gflops(self) -> float:
        """2 x multiply-accumulates, in billions."""
        return 2 * self.macs / 1e9


# schema ---------------------------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    return text


def _date(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a date; write YYYY-MM-DD") from None


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("is not a number") from None
    if not math.isfinite(value) or value <= 0:
        raise ValueError("is not allowed; write a number above 0")
    return value


def _percent(text: str) -> float:
    value = _number(text)
    if value > 100:
        raise ValueError("is not allowed; write a percentage, above 0 and up to 100")
    return value


def _whole(text: str) -> int:
    value = _number(text)
    if value != int(value):
        raise ValueError("is not a whole number")
    return int(value)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("is not a whole number") from None


def _one_of(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"is not allowed; one of {', '.join(allowed)}")
        return text

    return read


def _graded(text: str) -> str:
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
    names: tuple[str, ...] = field(default=())


VISION = {
    "model": Column(_text, required=True),
    "date": Column(_date, required=True),
    "top1": Column(_percent, required=True),
    "params_M": Column(_number),
    "gflops": Column(_number, required=True),
    "extra_data": Column(_one_of("yes", "no"), default="no"),
    "extra_data_name": Column(_text, default=""),
    "architecture": Column(_one_of("CNN", "Transformer", "Hybrid"), default="CNN"),
    "input_res": Column(_whole),
    "confidence": Column(_one_of(*CONFIDENCE), default="high"),
    "value_basis": Column(_text, default=""),
    "independent_gflops": Column(_number),
    "independent_source": Column(_text, default=""),
    "note": Column(_text, default=""),
}
LANGUAGE = {
    "model": Column(_text, required=True),
    "input_tokens": Column(_whole, required=True),
    "gflops": Column(_number, required=True),
    "params_M": Column(_number),
    "date": Column(_date, required=True),
    "glue_test": Column(_percent),
    "source": Column(_text, default=""),
    "confidence": Column(_one_of(*CONFIDENCE), default="high"),
    "note": Column(_text, default=""),
}
CHIPS = {
    "gpu": Column(_text, required=True),
    "precision": Column(_one_of("FP32", "TF32", "FP16", "FP16/FP32 Tensor", "BF16", "FP8", "INT8"), required=True),
    "tflops": Column(_number, required=True),
    "watts": Column(_number, required=True),
    "launch_date": Column(_date, required=True),
    "type": Column(_one_of("Desktop", "Server"), default="Server"),
    "gflops_per_watt": Column(_number),
    "confidence": Column(_one_of(*CONFIDENCE), default="high"),
    "source": Column(_text, default=""),
    "note": Column(_text, default=""),
}
THROUGHPUT = {
    "kind": Column(_one_of(*KINDS), required=True),
    "gpu": Column(_text, required=True),
    "precision": Column(_text, required=True),
    "task": Column(_text, required=True),
    "model": Column(_text, default=""),
    "framework": Column(_text, default=""),
    "batch": Column(_whole),
    "throughput": Column(_number),
    "unit": Column(_text, default=""),
    "power_W": Column(_number),
    "power_scope": Column(_text, default=""),
    "speedup_vs_fp32": Column(_number),
    "gflops_per_inference": Column(_number),
    "gflops_per_watt": Column(_number),
    "confidence": Column(_graded, required=True),
    "source": Column(_text, default=""),
    "note": Column(_text, default=""),
}
COUNTS = {
    "model": Column(_text, required=True),
    "domain": Column(_one_of(*DOMAINS), required=True),
    "architecture": Column(_text, required=True),
    "size": Column(_whole, required=True),
    "macs": Column(_integer, required=True),
    "parameters": Column(_integer, required=True),
    "cause": Column(_text, default=""),
}


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
    >>> read_rows(io.StringIO("model,n\na,3\n"), {"model": Column(_text), "n": Column(_number)})
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


def _vision(row: dict[str, Any], origin: str) -> ModelRow:
    return ModelRow(
        name=row["model"],
        domain="vision",
        date=row["date"],
        gflops=row["gflops"],
        params=row["params_M"],
        score=row["top1"],
        size=row["input_res"],
        extra_data=(row["extra_data_name"] or "yes") if row["extra_data"] == "yes" else "",
        architecture=row["architecture"],
        confidence=row["confidence"],
        basis=row["value_basis"] or f"given in {origin}",
        independent=row["independent_gflops"],
        independent_source=row["independent_source"],
        note=row["note"],
        origin=origin,
    )


def _language(row: dict[str, Any], origin: str) -> ModelRow:
    return ModelRow(
        name=row["model"],
        domain="language",
        date=row["date"],
        gflops=row["gflops"],
        params=row["params_M"],
        score=row["glue_test"],
        size=row["input_tokens"],
        extra_data="",
        architecture="Recurrent" if row["model"] == "ELMo" else "Transformer",
        confidence=row["confidence"],
        basis=row["source"] or f"given in {origin}",
        independent=None,
        independent_source="",
        note=row["note"],
        origin=origin,
    )


def _chip(row: dict[str, Any], origin: str) -> Chip:
    return Chip(
        name=row["gpu"],
        precision=row["precision"],
        kind=row["type"],
        tflops=row["tflops"],
        watts=row["watts"],
        date=row["launch_date"],
        confidence=row["confidence"],
        basis=row["source"] or f"given in {origin}",
        note=row["note"],
        origin=origin,
    )


def _throughput(row: dict[str, Any], origin: str) -> Throughput:
    return Throughput(
        kind=row["kind"],
        chip=row["gpu"],
        precision=row["precision"],
        domain=TASKS.get(row["task"].partition(" ")[0], row["task"]),
        model=row["model"],
        framework=row["framework"],
        rate=row["throughput"],
        unit=row["unit"],
        watts=row["power_W"],
        gain=row["speedup_vs_fp32"],
        gflops_per_watt=row["gflops_per_watt"],
        confidence=row["confidence"],
        basis=row["source"],
        note=row["note"],
        origin=origin,
    )


def _count(row: dict[str, Any], origin: str) -> Count:
    del origin
    return Count(
        row["model"], row["domain"], row["architecture"], row["size"], row["macs"], row["parameters"], row["cause"]
    )


# data -----------------------------------------------------------------------------------------------------------------

Row = TypeVar("Row", ModelRow, Chip, Throughput)


@dataclass(frozen=True)
class Data:
    """The tables.

    Attributes
    ----------
    models : tuple of ModelRow
    chips : tuple of Chip
    throughputs : tuple of Throughput
    counts : tuple of Count

    Examples
    --------
    >>> from macsim import trends
    >>> data = trends.load()
    >>> len(data.of("vision")), len(data.of("vision", confidence=("high",))), len(data.of("language"))
    (97, 51, 19)
    """

    models: tuple[ModelRow, ...]
    chips: tuple[Chip, ...]
    throughputs: tuple[Throughput, ...]
    counts: tuple[Count, ...] = ()

    def of(self, domain: str, confidence: Sequence[str] = ("high", "medium")) -> list[ModelRow]:
        """Return the models of a domain that are sure enough, by date."""
        if domain not in DOMAINS:
            raise RequestError(f"there is no domain {domain!r}; there are {', '.join(DOMAINS)}")
        rows = [row for row in self.models if row.domain == domain and row.confidence in confidence]
        return sorted(rows, key=lambda row: row.date)

    def model(self, name: str) -> ModelRow:
        """Return the model that is called so.

        Examples
        --------
        >>> from macsim import trends
        >>> trends.load().model("BERT-Large").gflops
        79.0
        """
        for row in self.models:
            if row.name == name:
                return row
        import difflib

        near = difflib.get_close_matches(name, [row.name for row in self.models])
        raise RequestError(f"no model is called {name!r}" + (f"; the nearest: {', '.join(near)}" if near else ""))

    def count(self, name: str) -> Count | None:
        """Return what macsim counts for a model; None where its architecture has no definition here."""
        return next((count for count in self.counts if count.name == name), None)

    def extended(self, *, vision: Any = None, language: Any = None, chips: Any = None) -> Data:
        r"""Return these tables with a user's rows.

        Parameters
        ----------
        vision, language, chips : path or text file, optional
            CSV tables with the columns of ``macsim/trends/data``; of those only the ones without which a row says
            nothing must be there. A row of a name that is there replaces it.

        Raises
        ------
        TableError
            When a table does not fit; the message names file, row and column, and what is allowed.

        Examples
        --------
        >>> import io
        >>> from macsim import trends
        >>> mine = io.StringIO("model,date,top1,gflops\nMine,2024-05-01,84.2,9.1\n")
        >>> trends.load().extended(vision=mine).model("Mine").basis
        'given in <table>:2'
        """
        models = list(self.models)
        for table, schema, make in ((vision, VISION, _vision), (language, LANGUAGE, _language)):
            if table is not None:
                models = _joined(models, [make(*row) for row in read_rows(table, schema)])
        more = [] if chips is None else [_chip(*row) for row in read_rows(chips, CHIPS)]
        return replace(self, models=tuple(models), chips=tuple(_joined(list(self.chips), more)))


def _key(row: ModelRow | Chip | Throughput) -> tuple[str, str]:
    return (row.name, row.domain) if isinstance(row, ModelRow) else (getattr(row, "name", ""), row.precision)


def _joined(rows: list[Row], more: Iterable[Row]) -> list[Row]:
    new = {_key(row): row for row in more}
    return [new.pop(_key(row), row) for row in rows] + list(new.values())


def load(*, later: bool = False) -> Data:
    """Return the tables that come with macsim.

    Parameters
    ----------
    later : bool
        With the models and chips after 2021, whose compute macsim counts.

    Returns
    -------
    Data

    Examples
    --------
    >>> from macsim import trends
    >>> data = trends.load()
    >>> data.model("GPT-2").basis
    "the paper's table, transcribed"
    """
    folder = resources.files("macsim.trends") / "data"

    def rows(name: str, schema: Mapping[str, Column]) -> list[tuple[dict[str, Any], str]]:
        file = folder / name
        if not file.is_file():
            return []
        return read_rows(io.StringIO(file.read_text(encoding="utf-8")), schema, name)

    models = [_vision(*row) for row in rows("vision.csv", VISION)]
    models += [_language(*row) for row in rows("language.csv", LANGUAGE)]
    chips = [_chip(*row) for row in rows("chips.csv", CHIPS)]
    if later:
        models += [_vision(*row) for row in rows("vision_later.csv", VISION)]
        models += [_language(*row) for row in rows("language_later.csv", LANGUAGE)]
    return Data(
        tuple(models),
        tuple(chips),
        tuple(_throughput(*row) for row in rows("throughput.csv", THROUGHPUT)),
        tuple(_count(*row) for row in rows("counts.csv", COUNTS)),
    )
