# Fits the few constants of a machine to measured times and energies, and tells how good that is on what was left out.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Fitting a machine's constants to measurements: robust least squares in logarithms, held near what tables say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from macsim.estimate_physics import NINETY, Loads, Machine, Range, Spread, simulate

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Case", "Fitted", "fit", "leave_out"]

ERROR = 0.1  # of a measurement that the model explains: residuals are in units of it
TIME = ("efficiency.compute", "efficiency.memory", "launch.overhead")
ENERGY = ("energy", "memory.dram.path", "power.static")
LAUNCH = Spread(1e-7, 5e-6, 2.5e-4)  # seconds of a launch where a table says nothing
WAIT = Spread(1e-8, 1e-5, 1e-2)
HOST = Spread(100.0, 300.0, 900.0)  # watts of a server without its accelerators
STEPS = 40
FEW = 12  # steps from each start, before the best one is followed


@dataclass(frozen=True)
class Case:
    """A measurement: what ran, and what it took.

    Attributes
    ----------
    group : str
        What is left out together, when the fit is tested: the name of the model.
    loads : Loads
        Of one set of sizes.
    seconds : float
    joules : float, optional
        None where only the time is known.
    waits : mapping of str to float
        What the chip waits for besides: how many of each, such as sequences whose next token the host samples.
    host : float
        The chip's share of a host whose power was measured with it: 1/8 for one of eight. What is fitted for the host
        is its whole power.
    machine : Machine, optional
        Where it ran, if not on the machine that the fit is given.
    """

    group: str
    loads: Loads
    seconds: float
    joules: float | None = None
    waits: Mapping[str, float] = field(default_factory=dict)
    host: float = 0.0
    machine: Machine | None = None


@dataclass(frozen=True)
class Fitted:
    """What was fitted. It can be put on the machine that it was fitted on, or on another.

    Attributes
    ----------
    machine : Machine
        What the fit started from.
    shares : dict of str to float
        The shares of peak and bandwidth that are reached, and the launch overhead.
    factors : dict of str to float
        On what tables say: on all prices of operations (``energy``), on that of a byte, and on static power.
    waits : dict of str to float
        Seconds of one of each that is waited for.
    host : float
        The power of a host.
    cost : float
        What was minimised.
    """

    machine: Machine
    shares: dict[str, float]
    factors: dict[str, float]
    waits: dict[str, float]
    host: float = 0.0
    cost: float = 0.0

    def on(self, machine: Machine | None = None) -> Machine:
        """Return a machine with the constants that were fitted. Its ranges stay as wide as they were."""
        base = machine or self.machine
        values = dict(base.values)
        if self.shares:  # what is left is in the ranges of what was fitted, once they are widened
            values = {name: spread for name, spread in values.items() if not name.startswith("misfit.")}
        for name, value in self.shares.items():
            spread = values.get(name, LAUNCH)
            values[name] = spread.scaled(value / spread.typical)
        for name, spread in list(values.items()):
            factor = self.factors.get("energy" if name.startswith("energy.") else name)
            if factor is not None:
                values[name] = spread.scaled(factor)
        return replace(base, values=values)

    def machine_for(self, case: Case) -> Machine:
        """Return the machine with what it waits for in a case, and with its share of the host's power."""
        machine = self.on(case.machine)
        waited = sum(self.waits.get(name, 0.0) * amount for name, amount in case.waits.items())
        values = {**machine.values, "overhead": Spread.exact(waited)}
        if case.host and self.host:
            more = self.host * case.host
            static = values["power.static"]
            values["power.static"] = Spread(static.low + more, static.typical + more, static.high + more)
            for name in ("power.tdp", "power.limit"):
                if name in values:
                    values[name] = Spread.exact(values[name].typical + more)
        return replace(machine, values=values)

    def seconds(self, case: Case) -> Range:
        """Return the time that a case should take."""
        return _first(simulate(case.loads, self.machine_for(case)), "seconds")

    def joules(self, case: Case, *, given_time: bool = False) -> Range:
        """Return the energy that a case should take; with its time as it was measured, when so asked."""
        seconds = np.array([case.seconds]) if given_time else None
        return _first(simulate(case.loads, self.machine_for(case), seconds=seconds), "joules")


def _first(outcome: Any, what: str) -> Range:
    found = outcome.range(getattr(outcome, what))
    return Range(float(found.low[0]), float(found.typical[0]), float(found.high[0]))


class _Arrays:
    """The cases, laid out one after the other: seconds at full rates, and joules at the tables' prices."""

    def __init__(self, machine: Machine, cases: Sequence[Case]) -> None:
        self.names = list(dict.fromkeys(name for case in cases for name in case.waits))
        whole = {name.replace(".", "__"): Spread.exact(1.0) for name in TIME[:2]}
        machines = [case.machine or machine for case in cases]
        rates = [simulate(c.loads, m.with_values(**whole), draws=False) for c, m in zip(cases, machines, strict=True)]
        self.arithmetic = np.concatenate([rate.row_compute[:, 0] for rate in rates])
        self.moving = np.concatenate([rate.row_memory[:, 0] for rate in rates])
        self.lengths = np.array([case.loads.shape[0] for case in cases])
        self.starts = np.array([0, *np.cumsum(self.lengths)[:-1]])
        self.launches = np.array([case.loads.launches.sum() for case in cases])
        self.waits = np.array([[case.waits.get(name, 0.0) for name in self.names] for case in cases])
        self.compute = np.array([rate.energy["compute"][0, 0] for rate in rates])
        self.memory = np.array([sum(j[0, 0] for at, j in r.energy.items() if at.startswith("memory")) for r in rates])
        self.seconds = np.array([case.seconds for case in cases])
        self.joules = np.array([math.nan if case.joules is None else case.joules for case in cases])
        self.overlap = machine.overlap
        self.host = np.array([case.host for case in cases])
        self.static = np.array([one.values["power.static"].typical for one in machines])
        limits = [one.get("power.limit") or one.get("power.tdp") for one in machines]
        self.cap = np.array([math.inf if limit is None else limit.typical for limit in limits])

    def picked(self, keep: NDArray[Any]) -> _Arrays:
        """Return the cases where ``keep`` is true, and what any of them waits for."""
        found = copy(self)
        rows = np.repeat(keep, self.lengths)
        found.arithmetic, found.moving, found.lengths = self.arithmetic[rows], self.moving[rows], self.lengths[keep]
        found.starts = np.array([0, *np.cumsum(found.lengths)[:-1]])
        for name in ("launches", "compute", "memory", "seconds", "joules", "host", "static", "cap"):
            setattr(found, name, getattr(self, name)[keep])
        waited = self.waits[keep].any(0)
        found.waits = self.waits[keep][:, waited]
        found.names = [name for name, is_one in zip(self.names, waited, strict=True) if is_one]
        return found

    def times(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Seconds of each case, and their slopes, for the logarithms of the constants of `TIME` and of waits."""
        values = np.exp(x)
        arithmetic, moving = self.arithmetic / min(values[0], 1.0), self.moving / min(values[1], 1.0)
        if self.overlap:
            first = arithmetic >= moving
            arithmetic, moving = arithmetic * first, moving * ~first
        sides = [np.add.reduceat(side, self.starts) for side in (arithmetic, moving)]
        waited = self.waits * values[3:]
        slopes = [-side * (value < 1) for side, value in zip(sides, values, strict=False)]
        started = self.launches * values[2]
        return sides[0] + sides[1] + started + waited.sum(1), np.column_stack([*slopes, started, waited])

    def energies(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Joules of each case at its measured time, for the logarithms of three factors and of the host's power."""
        values = np.exp(x)
        parts = np.column_stack([self.compute, self.memory, self.static * self.seconds]) * values[:3]
        drawn, most = parts.sum(1), self.cap * self.seconds
        host = values[3] * self.host * self.seconds
        return np.minimum(drawn, most) + host, np.column_stack([parts * (drawn < most)[:, None], host])


def fit(machine: Machine, cases: Sequence[Case]) -> Fitted:
    """Fit a machine's constants to cases.

    Fitted are the shares of peak and bandwidth that are reached, the launch overhead, what is waited for, and factors
    on all prices of operations, on that of a byte and on static power. Each is held near what the machine has, as
    firmly as that is known.

    Parameters
    ----------
    machine : Machine
        Where to start from. It has a static power.
    cases : sequence of Case

    Returns
    -------
    Fitted
    """
    return _fitted(machine, _Arrays(machine, cases))


def _fitted(machine: Machine, arrays: _Arrays) -> Fitted:
    """Fit times, then energies at the times that were measured."""
    waits = arrays.names
    before = [machine.values.get(name, LAUNCH) for name in TIME] + [WAIT] * len(waits)
    x, cost = _solve(arrays.times, arrays.seconds, before)
    shares = {
        name: math.exp(min(at, 0.0) if at_most else at) for name, at, at_most in zip(TIME, x, (1, 1, 0), strict=False)
    }
    waited = {name: math.exp(at) for name, at in zip(waits, x[len(TIME) :], strict=True)}
    known = ~np.isnan(arrays.joules)
    if not known.any():
        return Fitted(machine, shares, {}, waited, 0.0, cost)
    priced = next((s for name, s in machine.values.items() if name.startswith("energy.mac.")), Spread.exact(1.0))
    start = [priced, machine.values.get("memory.dram.path", Spread.exact(1.0)), machine.values["power.static"]]
    start = [*(spread.scaled(1 / spread.typical) for spread in start), HOST]
    measured = arrays.picked(known)
    y, more = _solve(measured.energies, measured.joules, start)
    factors = {name: math.exp(at) for name, at in zip(ENERGY, y, strict=False)}
    return Fitted(machine, shares, factors, waited, math.exp(y[3]) if np.any(arrays.host) else 0.0, cost + more)


Model = Callable[["NDArray[Any]"], "tuple[NDArray[Any], NDArray[Any]]"]


def _solve(model: Model, truths: NDArray[Any], start: Sequence[Spread]) -> tuple[NDArray[Any], float]:
    """Return the logarithms of constants that explain truths best, with the start as what is believed beforehand.

    Where loads change from one side of the roofline to the other, or reach the limit of power, there are several
    minima: the search is made from the middle of what is believed and from either side of it.
    """
    middle = np.array([math.log(spread.typical) for spread in start])
    width = np.array(
        [max(math.log(max(s.high / s.typical, s.typical / max(s.low, 1e-30))) / NINETY, 0.05) for s in start]
    )
    target, count = np.log(truths), len(truths)

    def residuals(x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        values, slopes = model(x)
        data = (np.log(values) - target) / ERROR
        return np.concatenate([data, (x - middle) / width]), slopes / values[:, None] / ERROR

    found = [_descend(residuals, middle + side * width, width, count, FEW) for side in (0.0, -1.0, 1.0)]
    best = min(found, key=lambda one: one[1])
    return _descend(residuals, best[0], width, count, STEPS)


def _descend(
    residuals: Model, x: NDArray[Any], width: NDArray[Any], count: int, steps: int
) -> tuple[NDArray[Any], float]:
    """Minimise soft-L1 residuals, the first ``count`` of all, by Levenberg and Marquardt."""

    def robust(r: NDArray[Any]) -> float:
        return float(2 * (np.sqrt(1 + r[:count] ** 2) - 1).sum() + (r[count:] ** 2).sum())

    damping = 1e-2
    r, slopes = residuals(x)
    cost = robust(r)
    for _ in range(steps):
        weights = 1 / np.sqrt(1 + r[:count] ** 2)
        normal = slopes.T @ (slopes * weights[:, None]) + np.diag(width**-2)
        gradient = slopes.T @ (r[:count] * weights) + r[count:] / width
        while True:
            move = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
            after, steeper = residuals(x + move)
            lower = robust(after)
            if lower <= cost or damping > 1e8:
                break
            damping *= 4
        done = cost - lower < 1e-7 * (1 + cost)
        if lower <= cost:
            x, r, slopes, cost = x + move, after, steeper, lower
        damping = max(damping / 8, 1e-9)
        if done:
            break
    return x, cost


def leave_out(machine: Machine, cases: Sequence[Case]) -> list[Fitted]:
    """Return for each case the fit to all cases but those of its group."""
    arrays = _Arrays(machine, cases)
    groups = np.array([case.group for case in cases])
    fits = {group: _fitted(machine, arrays.picked(groups != group)) for group in dict.fromkeys(groups.tolist())}
    return [fits[case.group] for case in cases]


def widening(
    truths: NDArray[Any], ranges: Sequence[Range], groups: Sequence[str] | None = None, share: float = 0.9
) -> float:
    """Return how many times as wide ranges have to be, in logarithms, for a share of further truths to be in them.

    It is the quantile of how far off truths are, in widths of their ranges, times what Student's distribution is wider
    than the normal one by. Its degrees of freedom are how many measurements these are worth: those of a group err
    together, as far as their errors resemble each other more than those of other groups.

    Examples
    --------
    >>> alike = [Range(0.5, 1.0, 2.0)] * 40
    >>> truths = np.repeat([2.0, 0.5, 2.0, 0.5], 10)
    >>> round(widening(truths, alike), 2), round(widening(truths, alike, ["a"] * 10 + ["b"] * 10 + list("c" * 20)), 2)
    (1.04, 1.2)
    """
    sides = [found.high if truth > found.typical else found.low for truth, found in zip(truths, ranges, strict=True)]
    typical = np.array([found.typical for found in ranges])
    off = np.log(truths / typical) / np.maximum(np.abs(np.log(np.array(sides) / typical)), 1e-6)
    at = min(len(off), math.ceil(share * (len(off) + 1))) - 1
    worth = max(_worth(off, range(len(off)) if groups is None else groups), 2.0)
    return float(np.sort(np.abs(off))[at] * _student(worth) / NINETY * math.sqrt(1 + 1 / worth))


def _worth(values: NDArray[Any], groups: Sequence[Any]) -> float:
    """Return as how many independent values those of groups count, by the correlation within groups and their sizes."""
    names = {name: at for at, name in enumerate(dict.fromkeys(groups))}
    index = np.array([names[name] for name in groups])
    sizes, apart = np.bincount(index), values - values.mean()
    pairs = float((sizes * (sizes - 1)).sum())
    variance = float((apart**2).mean())
    if not pairs or not variance:
        return float(len(values))
    together = (np.bincount(index, apart) ** 2 - np.bincount(index, apart**2)).sum() / pairs
    correlation = min(max(float(together) / variance, 0.0), 1.0)
    return len(values) / (1 + (float((sizes**2).sum()) / len(values) - 1) * correlation)


def _student(freedom: float) -> float:
    """Return the 95th percentile of Student's distribution, by its expansion around the normal one."""
    z = NINETY
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + sum(term / freedom ** (at + 1) for at, term in enumerate(terms))
