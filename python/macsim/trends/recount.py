# Counts the models of the tables by macsim, and sets the counts beside the published values.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The models of the tables, counted by macsim, beside what was published."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from macsim.errors import RequestError
from macsim.trends.fits import Date, year_of
from macsim.trends.rows import Count, Energy, ModelRow
from macsim.trends.tables import COUNTS, Data, load

if TYPE_CHECKING:
    from macsim.hardware_types import Hardware
    from macsim.report import Report

__all__ = ["CHIPS", "NEAR", "Comparison", "chip_of", "compare", "energy_on", "everything", "recount", "write_counts"]

NEAR = 0.03  # a difference up to this needs no cause
CHIPS = ("k80", "p100-sxm2", "v100-sxm2", "a100-sxm-40gb", "h100-sxm", "b200-sxm")
"""What inferences are estimated on: the newest that had been launched when a model was released."""

ROOM = 0.9  # of a chip's memory, for weights; the rest is for what is computed


def recount(rows: Sequence[ModelRow], progress: Callable[[str, int, int], None] | None = None) -> Iterator[Count]:
    """Build and count the models that have a definition, batch 1, without storage.

    Language models are counted over a whole prompt; the layer that gives words, over its last token. The energy is that
    of `macsim.Report.estimate` on the newest of `CHIPS` at the model's release, in floats of 16 bits where it has
    tensor units for them, on as many devices as hold the weights.

    Parameters
    ----------
    rows : sequence of ModelRow
    progress : callable, optional
        Called before each model with its name, how many are done, and how many there are.

    Examples
    --------
    >>> from macsim import trends
    >>> [count] = recount([trends.load().model("AlexNet")])
    >>> count.macs, count.parameters
    (714188480, 61100840)
    """
    import torch

    import macsim
    from macsim.trends.architectures.registry import DEFINITIONS

    known = [row for row in rows if row.name in DEFINITIONS]
    done: dict[tuple[str, int, str], tuple[int, int, Energy | None]] = {}
    for index, row in enumerate(known):
        definition = DEFINITIONS[row.name]
        size = row.size or definition.size
        chip = chip_of(row.date)
        key = (str(definition), size, chip.name if chip else "")
        if progress is not None:
            progress(row.name, index, len(known))
        if key not in done:
            with torch.device("meta"):
                model = definition.make().eval()
                image = (1, 3, size, size)
                given = torch.zeros(1, size, dtype=torch.int64) if definition.takes_tokens else torch.zeros(image)
            report = macsim.count(model, given, strict=True)
            parameters = sum(one.numel() for one in model.parameters())
            done[key] = int(report.macs), parameters, energy_on(chip, report) if chip else None
        yield Count(row.name, row.domain, key[0], size, *done[key])
    if progress is not None:
        progress("", len(known), len(known))


def chip_of(date: Date) -> Hardware | None:
    """Return the newest of `CHIPS` at a date; None before the first.

    Examples
    --------
    >>> chip_of("2019-05-28").name
    'v100-sxm2'
    """
    from macsim.hardware_tables import hardware

    launched = {chip: year_of(chip.launch or "9999") for chip in map(hardware, CHIPS)}
    there = [chip for chip, when in launched.items() if when <= year_of(date)]
    return max(there, key=launched.__getitem__, default=None)


def energy_on(chip: Hardware, report: Report) -> Energy:
    """Estimate one inference on a chip, or on so many that the weights find room: a power of two.

    Examples
    --------
    >>> import macsim
    >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
    >>> str(energy_on(chip_of("2019-05-28"), report))
    'v100-sxm2, f16'
    """
    units = {peak.dtype for peak in chip.peaks if peak.unit == "tensor"}
    dtype = next((name for name in ("bf16", "f16") if name in units), "f32")
    memory = chip.memory()
    if memory is None or memory.capacity is None:
        raise RequestError(f"the table of {chip.name} does not say how much memory it has")
    devices, weights = 1, int(report.parameters) * (4 if dtype == "f32" else 2)
    while weights > ROOM * devices * memory.capacity.si.typical:
        devices *= 2
    estimate = report.estimate(chip, dtype=dtype, devices=devices, parallel="tensor")
    if estimate.missing:
        raise RequestError(f"the table of {chip.name} lacks {', '.join(estimate.missing)}")
    joules = estimate.joules
    return Energy(chip.name, devices, dtype, float(joules.typical), float(joules.low), float(joules.high))


def write_counts(counts: Sequence[Count], path: str | os.PathLike[str]) -> None:
    """Write counts as the table that `macsim.trends.load` reads."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COUNTS)
        for count in counts:
            row = [count.name, count.domain, count.architecture, count.size, count.macs, count.parameters]
            if energy := count.energy:
                joules = (f"{value:.4g}" for value in (energy.joules, energy.low, energy.high))
                row += [energy.chip, energy.devices, energy.dtype, *joules]
            writer.writerow(row + [""] * (len(COUNTS) - len(row)))


def everything() -> list[ModelRow]:
    """Return every model of the tables, those after the study too, whether it has been counted or not.

    Examples
    --------
    >>> len(everything()) > 150
    True
    """
    return list(load(later=True, uncounted=True).models)


@dataclass(frozen=True)
class Comparison:
    """A model's published compute beside macsim's count.

    Attributes
    ----------
    row : ModelRow
    count : Count
    ratio : float
        macsim's over the published value.
    independent : float or None
        macsim's over the second source's.
    cause : str
        Why one of the two is more than 3 % away; ``"not explained"`` where it is not known; else empty.
    """

    row: ModelRow
    count: Count
    ratio: float
    independent: float | None
    cause: str


def compare(data: Data) -> list[Comparison]:
    """Set the counts beside the published values, for every row that has both.

    Examples
    --------
    >>> from macsim import trends
    >>> beside = {one.row.name: one for one in compare(trends.load())}
    >>> round(beside["VGG-16"].ratio, 3), beside["VGG-16"].cause
    (0.998, '')
    """
    found = []
    for row in data.models:
        count = data.count(row.name)
        if count is None or row.is_counted:
            continue
        ratio = count.gflops / row.gflops
        independent = count.gflops / row.independent if row.independent else None
        far = any(abs(one - 1) > NEAR for one in (ratio, independent) if one is not None)
        found.append(
            Comparison(row, count, ratio, independent, data.causes.get(row.name, "not explained") if far else "")
        )
    return found
