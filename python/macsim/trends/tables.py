# The tables: models, chips, throughputs and counts.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Typed tables of models, chips, throughputs and counts. Each row says how sure it is and where it comes from."""

from __future__ import annotations

import datetime
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any, TypeVar

from macsim.errors import RequestError
from macsim.trends.rows import Chip, Count, Energy, ModelRow, Throughput
from macsim.trends.schema import (
    CONFIDENCE,
    Column,
    TableError,
    date,
    graded,
    integer,
    number,
    one_of,
    optional,
    percent,
    read_rows,
    text,
    whole,
)

__all__ = ["CONFIDENCE", "DOMAINS", "Data", "TableError", "load"]

DOMAINS = ("vision", "language")
KINDS = ("ngc_throughput", "adapted_efficiency_recomputed", "paper_speedup_recalled", "figure_reading", "mlperf_v1.0")
TASKS = {"CV": "vision", "NLP": "language"}


# schema ---------------------------------------------------------------------------------------------------------------

VISION = {
    "model": Column(text, required=True),
    "date": Column(date, required=True),
    "top1": Column(percent, required=True),
    "params_M": Column(number),
    "gflops": Column(number, required=True),
    "extra_data": Column(one_of("yes", "no"), default="no"),
    "extra_data_name": Column(text, default=""),
    "architecture": Column(one_of("CNN", "Transformer", "Hybrid"), default="CNN"),
    "input_res": Column(whole),
    "confidence": Column(one_of(*CONFIDENCE), default="high"),
    "value_basis": Column(text, default=""),
    "independent_gflops": Column(number),
    "independent_source": Column(text, default=""),
    "note": Column(text, default=""),
}
LANGUAGE = {
    "model": Column(text, required=True),
    "input_tokens": Column(whole, required=True),
    "gflops": Column(number, required=True),
    "params_M": Column(number),
    "date": Column(date, required=True),
    "glue_test": Column(percent),
    "architecture": Column(one_of("Transformer", "Recurrent"), default="Transformer"),
    "source": Column(text, default=""),
    "confidence": Column(one_of(*CONFIDENCE), default="high"),
    "note": Column(text, default=""),
}
CHIPS = {
    "gpu": Column(text, required=True),
    "precision": Column(one_of("FP32", "TF32", "FP16", "FP16/FP32 Tensor", "BF16", "FP8", "INT8"), required=True),
    "tflops": Column(number, required=True),
    "watts": Column(number, required=True),
    "launch_date": Column(date, required=True),
    "type": Column(one_of("Desktop", "Server"), default="Server"),
    "gflops_per_watt": Column(number),
    "confidence": Column(one_of(*CONFIDENCE), default="high"),
    "source": Column(text, default=""),
    "note": Column(text, default=""),
}
THROUGHPUT = {
    "kind": Column(one_of(*KINDS), required=True),
    "gpu": Column(text, required=True),
    "precision": Column(text, required=True),
    "task": Column(text, required=True),
    "model": Column(text, default=""),
    "framework": Column(text, default=""),
    "batch": Column(whole),
    "throughput": Column(number),
    "unit": Column(text, default=""),
    "power_W": Column(number),
    "power_scope": Column(text, default=""),
    "speedup_vs_fp32": Column(number),
    "gflops_per_inference": Column(number),
    "gflops_per_watt": Column(number),
    "confidence": Column(graded, required=True),
    "source": Column(text, default=""),
    "note": Column(text, default=""),
}
COUNTS = {
    "model": Column(text, required=True),
    "domain": Column(one_of(*DOMAINS), required=True),
    "architecture": Column(text, required=True),
    "size": Column(whole, required=True),
    "macs": Column(integer, required=True),
    "parameters": Column(integer, required=True),
    "chip": Column(text, default=""),
    "devices": Column(whole),
    "dtype": Column(text, default=""),
    "joules": Column(number),
    "joules_low": Column(number),
    "joules_high": Column(number),
}
CAUSES = {"model": Column(text, required=True), "cause": Column(text, required=True)}


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
        architecture=row["architecture"],
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


def _count(row: dict[str, Any]) -> Count:
    energy = None
    if row["chip"]:
        joules = (row["joules"], row["joules_low"], row["joules_high"])
        energy = Energy(row["chip"], row["devices"], row["dtype"], *joules)
    size, macs, parameters = row["size"], row["macs"], row["parameters"]
    return Count(row["model"], row["domain"], row["architecture"], size, macs, parameters, energy)


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
    causes : mapping of str to str
        By the model's name: why its count and a published value differ by more than 3 %, or why there is no count.

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
    causes: Mapping[str, str] = field(default_factory=dict)

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

    def recounted(self, counts: Sequence[Count]) -> Data:
        """Return these tables with other counts, which are the compute of the models after the study, too."""
        gflops = {count.name: count.gflops for count in counts}
        models = [
            replace(row, gflops=gflops[row.name]) if row.is_counted and row.name in gflops else row
            for row in self.models
        ]
        return replace(self, models=tuple(models), counts=tuple(counts))

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
                models = _joined(models, [replace(make(*row), given=True) for row in read_rows(table, schema)])
        more = [] if chips is None else [replace(_chip(*row), given=True) for row in read_rows(chips, CHIPS)]
        return replace(self, models=tuple(models), chips=tuple(_joined(list(self.chips), more)))


def _key(row: ModelRow | Chip | Throughput) -> tuple[str, str]:
    return (row.name, row.domain) if isinstance(row, ModelRow) else (getattr(row, "name", ""), row.precision)


def _joined(rows: list[Row], more: Iterable[Row]) -> list[Row]:
    new = {_key(row): row for row in more}
    return [new.pop(_key(row), row) for row in rows] + list(new.values())


PRECISIONS = {
    ("vector", "f32"): "FP32",
    ("vector", "f16"): "FP16",
    ("tensor", "f16"): "FP16/FP32 Tensor",
    ("tensor", "f8"): "FP8",
}
TERA = {"GFLOP/s": 1e-3, "TFLOP/s": 1.0, "PFLOP/s": 1e3}


def _later_chips() -> list[Chip]:
    """Return the GPUs of the hardware tables that are launched after the study, at the rates of dense operands."""
    from macsim.hardware_tables import hardware, hardware_names

    found = []
    for table in map(hardware, hardware_names()):
        power = table.power.tdp if table.power else None
        if table.kind != "gpu" or power is None or not table.launch or table.launch < "2021-07":
            continue
        date = datetime.date.fromisoformat(f"{table.launch}-01" if len(table.launch) == 7 else table.launch)
        for peak in table.peaks:
            precision = PRECISIONS.get((peak.unit, peak.dtype))
            if precision and not peak.sparse and peak.rate.unit in TERA:
                tera = peak.rate.typical * TERA[peak.rate.unit]
                sure = max(peak.rate.confidence, power.confidence, key=CONFIDENCE.index)  # the less sure of the two
                found.append(
                    Chip(
                        name=table.title,
                        precision=precision,
                        kind="Server",
                        tflops=tera,
                        watts=power.typical,
                        date=date,
                        confidence=sure,
                        basis=peak.rate.source,
                        note="",
                        origin=f"macsim.hardware:{table.name}",
                    )
                )
    return found


def load(*, later: bool = False, uncounted: bool = False) -> Data:
    """Return the tables that come with macsim.

    Parameters
    ----------
    later : bool
        With the models and chips after 2021; the models' compute is macsim's stored count.
    uncounted : bool
        With the models after 2021 that have no stored count, too; their compute is not a number.

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

    causes = {row["model"]: row["cause"] for row, _ in rows("causes.csv", CAUSES)}
    counts = {row["model"]: _count(row) for row, _ in rows("counts.csv", COUNTS)}
    models = [_vision(*row) for row in rows("vision.csv", VISION)]
    models += [_language(*row) for row in rows("language.csv", LANGUAGE)]
    if later:
        for name, schema, make in (("vision_later.csv", VISION, _vision), ("language_later.csv", LANGUAGE, _language)):
            for row, origin in rows(name, optional(schema, "gflops")):
                if uncounted or row["model"] in counts:
                    gflops = counts[row["model"]].gflops if row["model"] in counts else math.nan
                    models.append(make({**row, "gflops": gflops}, origin))
    chips = [_chip(*row) for row in rows("chips.csv", CHIPS)]
    return Data(
        tuple(models),
        (*chips, *_later_chips()) if later else tuple(chips),
        tuple(_throughput(*row) for row in rows("throughput.csv", THROUGHPUT)),
        tuple(counts.values()),
        causes,
    )
