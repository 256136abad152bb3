# Puts a model among its contemporaries: where it stands against the lines of its year.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""A counted model among its contemporaries."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from macsim.trends.fits import Date, year_of
from macsim.trends.method import efficiency_line, energy, energy_of, lines
from macsim.trends.rows import ModelRow
from macsim.trends.tables import Data

__all__ = ["Placement", "place"]


@dataclass(frozen=True)
class Placement:
    """Where a model stands.

    Attributes
    ----------
    name, domain : str
    date : float
    gflops, joules : float
        Of one forward pass; joules are those of a chip of the date, on the efficiency line.
    score : float or None
    line_gflops, line_joules : float
        What the line through all models says for the date.
    best_gflops, best_joules : float
        What the line through the best of each year says.
    beyond : float
        Years between the last model of the lines and the date: how far they are extended.
    contemporaries : tuple of ModelRow
        The models within a year of the date, or the latest ones where there are none.
    cheaper : int
        How many of these take less compute.
    rivals : tuple of ModelRow
        The models up to the date that score as well or better, the ones with the least compute first.
    """

    name: str
    domain: str
    date: float
    gflops: float
    joules: float
    score: float | None
    line_gflops: float
    line_joules: float
    best_gflops: float
    best_joules: float
    beyond: float
    contemporaries: tuple[ModelRow, ...]
    cheaper: int
    rivals: tuple[ModelRow, ...]

    def lines(self) -> list[str]:
        """Return what is found, in sentences."""
        said = [
            f"{self.name}: {short(self.gflops)} GFLOPs, {short(self.joules)} J on a chip of {self.date:.1f}",
            _against("compute", self.gflops, self.line_gflops, self.best_gflops, "GFLOPs"),
            _against("energy", self.joules, self.line_joules, self.best_joules, "J"),
        ]
        if self.beyond > 0.5:
            said.append(f"the lines end {self.beyond:.1f} years before: what they say of {self.date:.1f} is extended")
        years = sorted(row.date.year for row in self.contemporaries)
        if years:
            span = f"{years[0]}" if years[0] == years[-1] else f"{years[0]} to {years[-1]}"
            many = "contemporaries" if len(years) > 1 else "contemporary"
            said.append(f"of {len(years)} {many} ({span}), {self.cheaper} take less compute")
        if self.score is not None:
            what = "top-1" if self.domain == "vision" else "GLUE"
            least = self.rivals[0] if self.rivals else None
            if least is None:
                said.append(f"no model of the tables has {self.score:g} % {what} or more by then")
            else:
                name = f"{least.name}, trained on {least.extra_data} too" if least.extra_data else least.name
                said.append(
                    f"the least compute for {self.score:g} % {what} or more by then: {name}, {least.score:g} % "
                    f"with {short(least.gflops)} GFLOPs; this takes {short(self.gflops / least.gflops, 2)} x as much"
                )
        return said


def short(value: float, digits: int = 3) -> str:
    """Write a number in so many digits, from a thousand on in whole ones unless two digits are all that is wanted.

    Examples
    --------
    >>> short(3343.6), short(0.00412), short(22.1234, 4)
    ('3,344', '0.00412', '22.12')
    >>> short(156.2, 2), short(343361956, 2)
    ('160', '340,000,000')
    """
    if value >= 1000 and digits > 2:
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if "e+" in text else text


def _against(what: str, value: float, line: float, best: float, unit: str) -> str:
    return (
        f"{what}: {_times(value / line)} the line of all models ({short(line)} {unit}), "
        f"{_times(value / best)} that of the best of each year ({short(best)} {unit})"
    )


def _times(ratio: float) -> str:
    """Say how often: where it is little, how little.

    Examples
    --------
    >>> _times(1.24), _times(0.0000243)
    ('1.2 x', '1/41,000 of')
    """
    return f"{short(ratio, 2)} x" if ratio >= 0.001 else f"1/{short(1 / ratio, 2)} of"


def place(
    data: Data,
    gflops: float,
    *,
    score: float | None = None,
    date: Date | None = None,
    domain: str = "vision",
    name: str = "this model",
) -> Placement:
    """Put a model among its contemporaries.

    Parameters
    ----------
    data : Data
        The lines go through the models of the study; contemporaries and rivals are all there are.
    gflops : float
        Of one forward pass, batch 1: ``2 * report.macs / 1e9``.
    score : float, optional
        Top-1 accuracy on ImageNet, or GLUE.
    date : Date, optional
        Today when left out.
    domain : {'vision', 'language'}
    name : str

    Examples
    --------
    >>> from macsim import trends
    >>> data = trends.load(later=True)
    >>> found = place(data, 8.2, score=76.1, date="2016-01-01", name="mine")
    >>> for line in found.lines()[1:3]:
    ...     print(line)
    compute: 1.2 x the line of all models (6.74 GFLOPs), 0.27 x that of the best of each year (30.6 GFLOPs)
    energy: 1.2 x the line of all models (0.186 J), 0.27 x that of the best of each year (0.844 J)
    """
    when = year_of(datetime.date.today() if date is None else date)
    rows = data.of(domain)
    study = [row for row in rows if not row.is_later]
    compute, joules = lines(study), lines(study, energy_of(data, domain))
    near = [row for row in rows if abs(year_of(row.date) - when) <= 1]
    if not near:
        last = max(year_of(row.date) for row in rows)
        near = [row for row in rows if last - year_of(row.date) <= 1]
    rivals = [row for row in rows if score is not None and row.score is not None and row.score >= score]
    rivals = sorted((row for row in rivals if year_of(row.date) <= when), key=lambda row: row.gflops)
    return Placement(
        name,
        domain,
        when,
        gflops,
        energy(gflops, when, efficiency_line(data, domain)),
        score,
        compute.all.at(when),
        joules.all.at(when),
        compute.best.at(when),
        joules.best.at(when),
        max(0.0, when - compute.all.last),
        tuple(near),
        sum(row.gflops < gflops for row in near),
        tuple(rivals),
    )
