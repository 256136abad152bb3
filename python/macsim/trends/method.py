# The steps of the study: efficiency of chips, energy of models, lines over the years, what use multiplies.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The steps of the study, from chips and models to energy, lines and forecasts."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from macsim.errors import RequestError
from macsim.trends.fits import Date, LogLine, fit, year_of
from macsim.trends.rows import Chip, ModelRow
from macsim.trends.tables import Data

__all__ = [
    "HUMAN_POWER",
    "Efficiency",
    "Forecast",
    "Lines",
    "SpeedUp",
    "efficiencies",
    "efficiency_line",
    "energy",
    "energy_of",
    "forecast",
    "lines",
    "speed_up",
    "theoretical_efficiency",
]

HUMAN_POWER = {"internal": 100.0, "external": 10_000.0}
"""Joules per second of a human being, rounded as the paper rounds them.

Internal is the body's, 2000 kcal a day or 97 W; external what a person uses, 79,897 kWh in the USA of 2019 or 9,121 W.
"""

TENSOR = "FP16/FP32 Tensor"
REFERENCES = {"A100": "Tesla V100"}  # whose FP32 a gain is relative to, where that is not the chip's own
NAMES = {"V100": "Tesla V100", "T4": "Tesla T4", "A100": "A100"}  # of the throughput tables, in the chips' table
GAINS = (("V100", "Mixed"), ("A100", "TF32"), ("A100", "Mixed"), ("T4", "Mixed"))


def theoretical_efficiency(chip: Chip) -> float:
    """Return peak rate over thermal design power, in GFLOPS/W.

    Examples
    --------
    >>> from macsim import trends
    >>> chip = next(chip for chip in trends.load().chips if chip.name == "GeForce GTX 580")
    >>> round(theoretical_efficiency(chip), 2)
    6.48
    """
    return chip.tflops * 1000 / chip.watts


@dataclass(frozen=True)
class SpeedUp:
    """How much faster inference is than in FP32, by published throughputs.

    Attributes
    ----------
    chip, precision, domain : str
    gain : float
        The mean over the models, each model weighing the same.
    models : tuple of str
        The models, with their frameworks.
    gains : tuple of float
        Of each model.
    """

    chip: str
    precision: str
    domain: str
    gain: float
    models: tuple[str, ...]
    gains: tuple[float, ...]


def speed_up(data: Data, chip: str, precision: str, domain: str) -> SpeedUp:
    """Return the mean speed-up over FP32 in the published throughput tables.

    For the A100 it is relative to the V100's FP32, as no FP32 of its own is published.

    Parameters
    ----------
    data : Data
    chip, precision : str
        As the throughput tables write them: ``"V100"``, ``"Mixed"``.
    domain : {'vision', 'language'}

    Examples
    --------
    >>> from macsim import trends
    >>> data = trends.load()
    >>> keys = (("V100", "Mixed"), ("A100", "TF32"), ("T4", "Mixed"))
    >>> [round(speed_up(data, *key, "vision").gain, 2) for key in keys]
    [2.26, 1.75, 2.7]
    """
    rows = [row for row in data.throughputs if row.kind == "ngc_throughput" and row.domain == domain]

    def rates(name: str, at: str) -> dict[tuple[str, str], float]:
        found = {(row.model, row.framework): row.rate for row in rows if (row.chip, row.precision) == (name, at)}
        return {key: rate for key, rate in found.items() if rate is not None}

    reference = rates("V100" if chip in REFERENCES else chip, "FP32")
    gains = {key: rate / reference[key] for key, rate in rates(chip, precision).items() if key in reference}
    if not gains:
        raise RequestError(f"no throughput of {chip} at {precision} for {domain} in the tables")
    names = tuple(f"{model} ({framework})" for model, framework in gains)
    values = tuple(gains.values())
    return SpeedUp(chip, precision, domain, sum(values) / len(values), names, values)


@dataclass(frozen=True)
class Efficiency:
    """A chip on the efficiency chart.

    Attributes
    ----------
    chip, precision : str
    date : datetime.date
    gflops_per_watt : float
    basis : str
        How the value comes about, and from what.
    """

    chip: str
    precision: str
    date: datetime.date
    gflops_per_watt: float
    basis: str


def efficiencies(data: Data, domain: str | None = None) -> list[Efficiency]:
    """Return the efficiencies of the chips.

    Parameters
    ----------
    data : Data
    domain : {'vision', 'language'}, optional
        Adapted to this domain. Tensor units do not reach their peak in inference, so that a server chip which has them
        counts with its measured speed-up over FP32 times the FP32 peak of the reference chip, and not at all where no
        throughput is published (A30). All others count with their FP32 peak; chips after the study, for which no such
        throughputs are in the tables, do not. Without a domain, theoretical: every chip's peak at every precision.

    Examples
    --------
    >>> from macsim import trends
    >>> data = trends.load()
    >>> len(efficiencies(data)), len(efficiencies(data, "vision"))
    (47, 30)
    >>> adapted = {(e.chip, e.precision): round(e.gflops_per_watt, 1) for e in efficiencies(data, "vision")}
    >>> adapted["Tesla V100", "Mixed"], adapted["A100", "TF32"]
    (118.5, 68.6)
    """
    if domain is None:
        return [
            Efficiency(chip.name, chip.precision, chip.date, theoretical_efficiency(chip), chip.basis)
            for chip in data.chips
        ]
    chips = [chip for chip in data.chips if not chip.is_later]
    tensor = {chip.name for chip in chips if chip.kind == "Server" and chip.precision == TENSOR}
    single = {chip.name: chip for chip in chips if chip.precision == "FP32"}
    found = [
        Efficiency(chip.name, chip.precision, chip.date, theoretical_efficiency(chip), f"FP32 peak / TDP; {chip.basis}")
        for chip in single.values()
        if chip.name not in tensor
    ]
    for name, precision in GAINS:
        chip = single[NAMES[name]]
        reference = single[REFERENCES.get(name, chip.name)]
        gain = speed_up(data, name, precision, domain)
        basis = f"{gain.gain:.2f} x FP32 of {reference.name} / TDP; throughputs of {len(gain.models)} models"
        value = gain.gain * reference.tflops * 1000 / chip.watts
        found.append(Efficiency(chip.name, precision, chip.date, value, basis))
    return sorted(found, key=lambda one: one.date)


def efficiency_line(data: Data, domain: str) -> LogLine:
    """Fit the line of adapted efficiency over launch dates, in GFLOPS/W.

    Examples
    --------
    >>> from macsim import trends
    >>> line = efficiency_line(trends.load(), "vision")
    >>> round(line.at(2011), 1), round(line.at(2021)), round(line.doubling, 1), round(line.r2, 2)
    (9.7, 135, 2.6, 0.8)
    """
    chips = efficiencies(data, domain)
    return fit([chip.date for chip in chips], [chip.gflops_per_watt for chip in chips])


def energy(gflops: float, date: Date, line: LogLine) -> float:
    """Return the joules of one inference on a chip of the date: GFLOPs over the line's GFLOPS/W.

    The chip is taken to draw its thermal design power and to be used fully, as the line assumes.

    Examples
    --------
    >>> from macsim import trends
    >>> line = efficiency_line(trends.load(), "language")
    >>> round(energy(79, "2018-10-11", line), 2)  # BERT-Large, 128 tokens
    0.95
    """
    return gflops / line.at(date)


def energy_of(data: Data, domain: str) -> Callable[[ModelRow], float]:
    """Return a function that gives the joules of a model on a chip of its release date.

    Examples
    --------
    >>> from macsim import trends
    >>> data = trends.load()
    >>> round(energy_of(data, "vision")(data.model("AlexNet")), 3)
    0.101
    """
    line = efficiency_line(data, domain)
    return lambda row: energy(row.gflops, row.date, line)


@dataclass(frozen=True)
class Lines:
    """The three lines of a quantity over the years.

    Attributes
    ----------
    all : LogLine
        Through all rows.
    best : LogLine
        Through the best row of each year.
    mean : LogLine
        Through the mean of each year, at the mean date of its rows.
    winners : tuple of ModelRow
        The best row of each year.
    """

    all: LogLine
    best: LogLine
    mean: LogLine
    winners: tuple[ModelRow, ...]


def lines(rows: Sequence[ModelRow], value: Callable[[ModelRow], float] | None = None) -> Lines:
    """Fit the three lines: all rows, the best of each year, the mean of each year.

    Parameters
    ----------
    rows : sequence of ModelRow
        Of one domain. The best is the highest accuracy in vision, and the most GFLOPs in language.
    value : callable, optional
        What is fitted; GFLOPs when left out.

    Examples
    --------
    >>> from macsim import trends
    >>> data = trends.load()
    >>> three = lines(data.of("vision"))
    >>> round(three.all.per_year, 2), round(three.best.per_year, 2), round(three.all.r2, 2), round(three.best.r2, 2)
    (1.47, 2.35, 0.14, 0.93)
    """
    measure = value or (lambda row: row.gflops)
    years: dict[int, list[ModelRow]] = {}
    for row in rows:
        years.setdefault(row.date.year, []).append(row)
    winners = tuple(max(group, key=_merit) for _, group in sorted(years.items()))
    means = [
        (sum(year_of(row.date) for row in group) / len(group), sum(measure(row) for row in group) / len(group))
        for _, group in sorted(years.items())
    ]
    return Lines(
        fit([row.date for row in rows], [measure(row) for row in rows]),
        fit([row.date for row in winners], [measure(row) for row in winners]),
        fit([date for date, _ in means], [mean for _, mean in means]),
        winners,
    )


def _merit(row: ModelRow) -> float:
    return (row.score or 0.0) if row.domain == "vision" else row.gflops


@dataclass(frozen=True)
class Forecast:
    """What use makes of a line.

    Attributes
    ----------
    date : float
    joules : float
        Of one inference, on the line.
    low, high : float
        The band of one more row at that date.
    watts : float
        Of all inferences, on average.
    per_person : float
        `watts` over the persons who share it.
    of_internal, of_external : float
        `per_person` over the power of a human body, and over what a person uses.
    """

    date: float
    joules: float
    low: float
    high: float
    watts: float
    per_person: float
    of_internal: float
    of_external: float


def forecast(line: LogLine, date: Date, *, inferences: float, persons: float = 1, level: float = 0.95) -> Forecast:
    """Follow a line of joules to a date, and multiply it by use.

    One inference says little: energy grows with the multiplicative factor, inferences per person.

    Parameters
    ----------
    line : LogLine
        Of joules over the date.
    date : Date
    inferences : float
        Of each person, in a day.
    persons : float
        Who make them.
    level : float
        How sure the band is.

    Examples
    --------
    >>> from macsim import trends
    >>> data = trends.load()
    >>> best = trends.lines(data.of("vision"), trends.energy_of(data, "vision")).best
    >>> ahead = forecast(best, 2024, inferences=1000)
    >>> bool(ahead.low < ahead.joules < ahead.high), round(ahead.watts / (1000 * ahead.joules / 86400), 6)
    (True, 1.0)
    """
    if inferences < 0 or persons <= 0:
        raise RequestError("inferences cannot be negative, and there is one person at least")
    joules = line.at(date)
    low, high = line.band(date, level, of="row")
    each = inferences * joules / 86_400
    return Forecast(
        year_of(date),
        joules,
        low,
        high,
        each * persons,
        each,
        each / HUMAN_POWER["internal"],
        each / HUMAN_POWER["external"],
    )
