# Counts the models of the tables by macsim, and sets the counts beside the published values.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The models of the tables, counted by macsim, beside what was published."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from macsim.trends.tables import Count, Data, ModelRow, load

__all__ = ["NEAR", "Comparison", "compare", "everything", "recount", "write_counts"]

NEAR = 0.03  # a difference up to this needs no cause
HEAD = ("model", "domain", "architecture", "size", "macs", "parameters")


def recount(rows: Sequence[ModelRow], progress: Callable[[str, int, int], None] | None = None) -> Iterator[Count]:
    """Build and count the models that have a definition, batch 1, without storage.

    Language models are counted over a whole prompt; the layer that gives words, over its last token.

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
    done: dict[tuple[str, int], tuple[int, int]] = {}
    for index, row in enumerate(known):
        definition = DEFINITIONS[row.name]
        size = row.size or definition.size
        key = (str(definition), size)
        if progress is not None:
            progress(row.name, index, len(known))
        if key not in done:
            with torch.device("meta"):
                model = definition.make().eval()
                image = (1, 3, size, size)
                given = torch.zeros(1, size, dtype=torch.int64) if definition.takes_tokens else torch.zeros(image)
            report = macsim.count(model, given, strict=True)
            done[key] = int(report.macs), sum(one.numel() for one in model.parameters())
        yield Count(row.name, row.domain, key[0], size, *done[key], "")
    if progress is not None:
        progress("", len(known), len(known))


def write_counts(counts: Sequence[Count], path: str | os.PathLike[str]) -> None:
    """Write counts as the table that `macsim.trends.load` reads."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        for count in counts:
            writer.writerow((count.name, count.domain, count.architecture, count.size, count.macs, count.parameters))


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
        found.append(Comparison(row, count, ratio, independent, (count.cause or "not explained") if far else ""))
    return found
