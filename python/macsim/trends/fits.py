# Straight lines of logarithms over time, with their bands, and how much they hang on single rows.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Log-linear fits over time: slope, doubling time, R², confidence bands, and the bootstrap over rows."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bootstrap", "Date", "LogLine", "bootstrap", "day_of", "fit", "year_of"]

Date: TypeAlias = "float | str | datetime.date"
Floats: TypeAlias = "NDArray[np.float64]"


def year_of(date: Date) -> float:
    """Return a date as a year with its fraction.

    Parameters
    ----------
    date : datetime.date, str or float
        A string is ``YYYY-MM-DD``, ``YYYY-MM`` or ``YYYY``: what is left out is 1. A number is given back as it is.

    Examples
    --------
    >>> year_of("2012-07-02"), year_of(2020), year_of("2018-01")
    (2012.5, 2020.0, 2018.0)
    """
    if isinstance(date, int | float):
        return float(date)
    date = day_of(date)
    start = datetime.date(date.year, 1, 1)
    days = (datetime.date(date.year + 1, 1, 1) - start).days
    return date.year + (date - start).days / days


def day_of(date: str | datetime.date) -> datetime.date:
    """Return a date that may be a string: ``YYYY-MM-DD``, ``YYYY-MM`` or ``YYYY``.

    Examples
    --------
    >>> day_of("2018-01")
    datetime.date(2018, 1, 1)
    """
    if isinstance(date, str):
        parts = [int(part) for part in date.split("-")]
        date = datetime.date(*[*parts, 1, 1][:3])
    return date


@dataclass(frozen=True)
class LogLine:
    """A straight line of ``log10(value)`` over the date, by least squares.

    Attributes
    ----------
    slope : float
        Decades (powers of ten) per year.
    middle : float
        The mean date, where the line is surest.
    level : float
        ``log10`` of the line at the mean date.
    r2 : float
        The part of the variance of the logarithms that the line explains.
    scatter : float
        Standard deviation of the residuals, in decades; `nan` for two points.
    spread : float
        Sum of squared distances of the dates from their mean, in years².
    points : int
        How many rows it goes through.
    first, last : float
        The dates of the first and the last row.

    Examples
    --------
    >>> line = fit([2012, 2014, 2016], [1, 4, 16])
    >>> line.doubling, line.per_year, line.r2, line.at(2018)
    (1.0, 2.0, 1.0, 64.0)
    """

    slope: float
    middle: float
    level: float
    r2: float
    scatter: float
    spread: float
    points: int
    first: float
    last: float

    @property
    def per_year(self) -> float:
        """The factor from one year to the next."""
        return _rounded(10**self.slope)

    @property
    def doubling(self) -> float:
        """Years until the value has doubled; negative where it falls."""
        return _rounded(math.log10(2) / self.slope) if self.slope else math.inf

    def at(self, date: Date) -> float:
        """Return the value of the line at a date."""
        return _rounded(10 ** (self.level + self.slope * (year_of(date) - self.middle)))

    def band(self, date: Date, level: float = 0.95, *, of: str = "line") -> tuple[float, float]:
        """Return the confidence band at a date.

        Parameters
        ----------
        date : Date
        level : float
            How sure.
        of : {'line', 'row'}
            Where the line may be, or where one more row may be.

        Notes
        -----
        Residuals are taken to be normal, of equal width and independent. Models of one family share an architecture and
        a date, so that the true band is wider: `bootstrap` over families says how much.

        Examples
        --------
        >>> line = fit([2012, 2013, 2014, 2015], [1, 3, 3, 9])
        >>> low, high = line.band(2015)
        >>> bool(low < line.at(2015) < high)
        True
        """
        if of not in ("line", "row"):
            raise ValueError(f"of={of!r}: write 'line' or 'row'")
        years = year_of(date) - self.middle
        own = 1.0 if of == "row" else 0.0
        deviation = self.scatter * math.sqrt(own + 1 / self.points + years**2 / self.spread)
        reach = student_quantile(0.5 + level / 2, self.points - 2) * deviation if self.points > 2 else math.nan
        centre = self.level + self.slope * years
        return 10 ** (centre - reach), 10 ** (centre + reach)

    def slope_band(self, level: float = 0.95) -> tuple[float, float]:
        """Return the confidence interval of the factor per year.

        Examples
        --------
        >>> low, high = fit([2012, 2013, 2014, 2015], [1, 3, 3, 9]).slope_band()
        >>> bool(low < 1.9 < high)
        True
        """
        if self.points <= 2:
            return math.nan, math.nan
        reach = student_quantile(0.5 + level / 2, self.points - 2) * self.scatter / math.sqrt(self.spread)
        return 10 ** (self.slope - reach), 10 ** (self.slope + reach)


def _rounded(value: float) -> float:
    """Drop the last bits, which are rounding errors of the sums."""
    return float(f"{value:.13g}")


def fit(dates: Sequence[Date], values: Sequence[float]) -> LogLine:
    """Fit a straight line to ``log10(values)`` over the dates.

    Parameters
    ----------
    dates : sequence of Date
    values : sequence of float
        All positive.

    Returns
    -------
    LogLine

    Raises
    ------
    ValueError
        When there are not two dates that differ, or a value is not positive.

    Examples
    --------
    >>> fit(["2012-01-01", "2014-01-01"], [1, 100]).per_year
    10.0
    """
    if len(dates) != len(values):
        raise ValueError(f"{len(dates)} dates and {len(values)} values")
    if any(not value > 0 for value in values):
        raise ValueError("a logarithm needs values above 0")
    t = np.array([year_of(date) for date in dates], dtype=np.float64)
    y = np.log10(np.array(values, dtype=np.float64))
    if len(t) < 2 or t.min() == t.max():
        raise ValueError("a line needs rows of two dates at least")
    middle, level = float(t.mean()), float(y.mean())
    spread = float(((t - middle) ** 2).sum())
    slope = float(((t - middle) * (y - level)).sum()) / spread
    left = float(((y - level - slope * (t - middle)) ** 2).sum())
    whole = float(((y - level) ** 2).sum())
    scatter = math.sqrt(left / (len(t) - 2)) if len(t) > 2 else math.nan
    r2 = _rounded(1 - left / whole) if whole > 0 else 1.0
    return LogLine(slope, middle, level, r2, scatter, spread, len(t), float(t.min()), float(t.max()))


def student_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t distribution.

    With ``t = sqrt(freedom) * tan(angle)`` the density is a power of the cosine, which a sum over angles integrates.

    Examples
    --------
    >>> round(student_quantile(0.975, 10), 3), round(student_quantile(0.975, 1), 2)
    (2.228, 12.71)
    """
    if not 0 < probability < 1 or freedom < 1:
        raise ValueError("a probability between 0 and 1, and one degree of freedom at least")
    angles = np.linspace(-math.pi / 2, math.pi / 2, 20001)
    middles = (angles[1:] + angles[:-1]) / 2
    mass = np.concatenate([[0.0], np.cumsum(np.cos(middles) ** (freedom - 1))])
    return math.sqrt(freedom) * math.tan(float(np.interp(probability, mass / mass[-1], angles)))


@dataclass(frozen=True)
class Bootstrap:
    """What a fit gives when its rows are drawn again, with replacement.

    Attributes
    ----------
    draws : int
    per_year : tuple of float
        Low, median and high factor per year.
    doubling : tuple of float
        Low, median and high doubling time, in years. Where the interval of the slope holds 0, the doubling time is
        unbounded and the high end is infinite.
    r2 : tuple of float
        Low, median and high R².
    at : tuple of float
        Low, median and high value at the last date.
    level : float
        How much of the draws lie between low and high.
    """

    draws: int
    per_year: tuple[float, float, float]
    doubling: tuple[float, float, float]
    r2: tuple[float, float, float]
    at: tuple[float, float, float]
    level: float


def bootstrap(
    dates: Sequence[Date],
    values: Sequence[float],
    families: Sequence[object] | None = None,
    *,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    measure: Callable[[Sequence[float], Sequence[float]], LogLine] = fit,
) -> Bootstrap:
    """Fit again and again to rows drawn with replacement: how much the line hangs on which rows are in it.

    Parameters
    ----------
    dates, values
        As for `fit`.
    families : sequence, optional
        What each row belongs to: whole families are drawn then, as eight sizes of one network are not eight witnesses.
    draws, level, seed
        How many draws, how much of them the interval holds, and where the random numbers start.
    measure : callable
        What is fitted to each draw.

    Returns
    -------
    Bootstrap

    Examples
    --------
    >>> result = bootstrap([2012, 2014, 2016, 2018], [1, 4, 16, 64], draws=200)
    >>> result.per_year
    (2.0, 2.0, 2.0)
    """
    t = np.array([year_of(date) for date in dates], dtype=np.float64)
    y = np.array(values, dtype=np.float64)
    keys = list(range(len(t))) if families is None else list(families)
    members: dict[object, list[int]] = {}
    for index, key in enumerate(keys):
        members.setdefault(key, []).append(index)
    groups = [np.array(rows) for rows in members.values()]
    random = np.random.default_rng(seed)
    found: list[LogLine] = []
    last = float(t.max())
    for _ in range(draws):
        rows = np.concatenate([groups[choice] for choice in random.integers(0, len(groups), len(groups))])
        if t[rows].min() < t[rows].max():
            found.append(measure(t[rows].tolist(), y[rows].tolist()))
    if not found:
        raise ValueError("no draw has rows of two dates")
    shares = [(1 - level) / 2, 0.5, (1 + level) / 2]

    def three(numbers: list[float]) -> tuple[float, float, float]:
        low, median, high = (_rounded(float(number)) for number in np.quantile(numbers, shares))
        return low, median, high

    slopes = three([line.slope for line in found])
    years = [math.log10(2) / slope if slope > 0 else math.inf for slope in reversed(slopes)]
    return Bootstrap(
        len(found),
        three([line.per_year for line in found]),
        (_rounded(years[0]), _rounded(years[1]), _rounded(years[2])),
        three([line.r2 for line in found]),
        three([line.at(last) for line in found]),
        level,
    )
