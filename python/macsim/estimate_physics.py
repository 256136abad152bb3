# What a chip does with loads: time by the roofline of each, energy by prices, and how sure that is. Plain arrays.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The physics of estimates: loads and constants in, times and energies with their doubt out.

For each load, ``T = max(F / (u_c peak), B / (u_m BW)) + t_launch``; in sum ``E = F e_op + B e_byte + P_static T``.
Where that draws more than the chip may, time is stretched until it does not. Constants are random variables which all
loads of a chip share: 5 of 100 draws are below low, 5 above high. Draw 0 has every constant at its typical value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Loads", "Machine", "Outcome", "Range", "Spread", "simulate"]

DRAWS = 400
NINETY = 1.6448536269514722  # the normal distribution's 95th percentile
SIMPLE = frozenset(("add", "mul", "compare", "logic", "convert"))
# A peak counts two operations for a multiply-add: one of another kind takes the same lane for the same time. Special
# functions run at a quarter to an eighth of the lanes' rate.
SIMPLE_SLOTS, SPECIAL_SLOTS = 2.0, 12.0


class Range(NamedTuple):
    """A typical value and the 90 % interval around it: floats, or arrays over the sizes that were asked for.

    Examples
    --------
    >>> print(Range(0.9e-3, 1.0e-3, 1.25e-3))
    0.001 (0.0009 to 0.00125)
    """

    low: Any
    typical: Any
    high: Any

    def scaled(self, factor: float) -> Range:
        """Return it times a number."""
        return Range(self.low * factor, self.typical * factor, self.high * factor)

    def __str__(self) -> str:
        if np.ndim(self.typical):
            return f"{self.typical} ({self.low} to {self.high})"
        return f"{self.typical:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True)
class Spread:
    """A constant and its doubt: a log-normal distribution, with a width of its own on either side of the typical value.

    Examples
    --------
    >>> half = Spread(0.5, 1.0, 4.0).draw(np.array([-NINETY, 0.0, NINETY]))
    >>> [round(float(value), 12) for value in half]
    [0.5, 1.0, 4.0]
    """

    low: float
    typical: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Spread:
        """Return a constant that is known."""
        return cls(value, value, value)

    def draw(self, z: NDArray[Any]) -> NDArray[Any]:
        """Return its values for draws of a normal distribution."""
        if self.low == self.high or self.typical <= 0:
            return np.full(z.shape, float(self.typical))
        low = max(self.low, self.typical / 100)  # a range that reaches 0 has no logarithm
        down, up = math.log(self.typical / low) / NINETY, math.log(self.high / self.typical) / NINETY
        values: NDArray[Any] = self.typical * np.exp(np.where(z < 0, down, up) * z)
        return values

    def widened(self, factor: float) -> Spread:
        """Return it with a range so many times as wide, in logarithms."""
        if self.typical <= 0:
            return self
        low = max(self.low, self.typical / 100)
        return Spread(
            self.typical * (low / self.typical) ** factor,
            self.typical,
            self.typical * (self.high / self.typical) ** factor,
        )

    def scaled(self, factor: float) -> Spread:
        """Return it times a number."""
        return Spread(self.low * factor, self.typical * factor, self.high * factor)


@cache
def normal(name: str) -> NDArray[Any]:
    """Return the draws of a constant: 0 first, then one from each of equally likely strata, shuffled by its name."""
    inverse = NormalDist().inv_cdf
    strata = np.array([0.0, *(inverse((i + 0.5) / DRAWS) for i in range(DRAWS))])
    np.random.default_rng(crc32(name.encode())).shuffle(strata[1:])
    strata.flags.writeable = False
    return strata


@dataclass(frozen=True)
class Loads:
    """What is to be done: for each load (a node, or a fused group) and each set of sizes.

    Attributes
    ----------
    work : mapping of (str, str) to ndarray
        By kind of work and dtype: scalar operations, multiply-accumulates for ``mac``. Arrays are (loads, sizes).
    moved : mapping of str to ndarray
        Bytes. ``path`` are those that go all the way from the main memory to the arithmetic; ``cache`` those that are
        found on the chip, and go the rest of the way.
    launches : ndarray
        Kernels that are started.
    """

    work: Mapping[tuple[str, str], NDArray[Any]]
    moved: Mapping[str, NDArray[Any]]
    launches: NDArray[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """How many loads, and how many sets of sizes."""
        loads, sizes = self.launches.shape
        return loads, sizes

    @property
    def flops(self) -> NDArray[Any]:
        """Operations of each load, two for a multiply-accumulate."""
        total = np.zeros(self.launches.shape)
        for (kind, _), count in self.work.items():
            total = total + count * (2.0 if kind == "mac" else 1.0)
        return total

    @property
    def bytes(self) -> NDArray[Any]:
        """Bytes of each load that come from or go to the main memory."""
        return np.asarray(self.moved["path"], float)

    def scaled(self, work: float, moved: float) -> Loads:
        """Return loads with shares of the work and of the bytes."""
        return replace(
            self,
            work={key: count * work for key, count in self.work.items()},
            moved={key: count * moved for key, count in self.moved.items()},
        )


@dataclass(frozen=True)
class Machine:
    """A chip as the estimator sees it: constants by the names of `Hardware.numbers`, in base units.

    Attributes
    ----------
    values : mapping of str to Spread
        ``efficiency.compute``, ``power.static``, ``memory.dram.path``, ``energy.mac.bf16`` and the like. Keys that
        `Hardware` has not: ``overhead``, seconds of a run in which nothing else happens; ``misfit.time`` and
        ``misfit.energy``, factors for what no constant covers.
    overlap : bool
        Whether arithmetic and memory go on at the same time: on GPUs; on CPUs at batch 1 times add up.
    package : bool
        Whether power is that of a package whose cores are at work, whatever they do, and arithmetic has no price.
    cores : tuple of (int, int), optional
        Of how many cores how many are at work.
    """

    name: str
    values: Mapping[str, Spread]
    overlap: bool = True
    package: bool = False
    cores: tuple[int, int] | None = None

    def get(self, name: str) -> Spread | None:
        """Return a constant, or None."""
        return self.values.get(name)

    def peak(self, kind: str, dtype: str) -> tuple[str, Spread] | None:
        """Return the name and the rate of what does a kind of work on a dtype, or None.

        Multiply-accumulates go to the tensor unit, if it takes the dtype. Other work on dtypes that vector units have
        no rate for goes at the rate of f32, which is what their lanes are.
        """
        wanted = [f"peak.tensor.{dtype}", f"peak.vector.{dtype}"] if kind == "mac" else [f"peak.vector.{dtype}"]
        if kind != "mac" and dtype != "f64":
            wanted.append("peak.vector.f32")
        for name in wanted:
            if (found := self.values.get(name)) is not None:
                return name, found
        return None

    def price(self, kind: str, dtype: str) -> Spread | None:
        """Return the energy of one operation, or None."""
        return self.values.get(f"energy.{kind}.{dtype}") or self.values.get(f"energy.{kind}.*")

    @property
    def near(self) -> dict[str, Spread]:
        """What a byte takes that crosses a level on the chip, by level, as far as the table prices them."""
        parts = {name: name.split(".") for name in self.values}
        return {
            part[1]: self.values[name]
            for name, part in parts.items()
            if part[0] == "memory" and part[1] != "dram" and part[2] == "energy"
        }

    def draw(self, name: str, count: int = DRAWS + 1, absent: float = 0.0) -> NDArray[Any]:
        """Return draws of a constant. Those of all prices of operations go together, and those of all rates."""
        if name not in self.values:
            return np.full(count, absent)
        family = name.split(".")[0] if name.startswith(("energy.", "peak.")) else name
        return self.values[name].draw(normal(family)[:count])

    def with_values(self, **values: Spread) -> Machine:
        """Return it with other constants; dots in names are written ``__``."""
        return replace(
            self, values={**self.values, **{name.replace("__", "."): value for name, value in values.items()}}
        )


@dataclass
class Outcome:
    """What came of loads on a machine. Arrays are (draws, sizes), and (loads, sizes) where they are of each load.

    Attributes
    ----------
    seconds, joules : ndarray
        Of the whole, on all devices.
    energy : dict of str to ndarray
        Its parts: ``compute``, ``memory.path`` (and ``memory.cache``), ``link``, ``static`` and ``launch``.
    row_seconds, row_joules, row_compute, row_memory, row_launch : ndarray
        Typical values of each load: its time and energy, and in seconds the two sides of its roofline and its launches.
    row_energy : dict of str to ndarray
        Typical values of the parts of each load's energy, as in `energy`; a link and waits are nobody's.
    capped : ndarray
        Whether time was stretched for power.
    row_ranges : dict of str to (ndarray, ndarray)
        Low and high of ``seconds`` and ``joules`` of each load, where there is one set of sizes.
    missing : list of str
        What has no price or rate; without it the numbers are too low.
    """

    seconds: NDArray[Any]
    joules: NDArray[Any]
    energy: dict[str, NDArray[Any]]
    row_seconds: NDArray[Any]
    row_joules: NDArray[Any]
    row_compute: NDArray[Any]
    row_memory: NDArray[Any]
    row_launch: NDArray[Any]
    row_energy: dict[str, NDArray[Any]]
    capped: NDArray[Any]
    missing: list[str] = field(default_factory=list)
    row_ranges: dict[str, tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=dict)

    def range(self, values: NDArray[Any]) -> Range:
        """Return the typical values and the 90 % interval of draws."""
        low, high = np.quantile(values[1:], (0.05, 0.95), axis=0)
        typical = values[0]
        return Range(np.minimum(low, typical), typical, np.maximum(high, typical))


def simulate(
    loads: Loads,
    machine: Machine,
    *,
    devices: int = 1,
    link: str = "",
    sent: NDArray[Any] | None = None,
    seconds: NDArray[Any] | None = None,
    draws: bool = True,
    groups: NDArray[Any] | None = None,
) -> Outcome:
    """Return what loads take. They are those of one device; ``devices`` do as much at the same time.

    Parameters
    ----------
    loads : Loads
    machine : Machine
    devices : int
        How many devices; energies are of all.
    link : str
        What joins them: ``nvlink``.
    sent : ndarray, optional
        Bytes that each device sends, for each set of sizes.
    seconds : ndarray, optional
        Times that were measured, for each set of sizes: they are taken as they are.
    draws : bool
        Whether the doubt is wanted; else there is one draw, the typical one.
    groups : ndarray, optional
        Of one set of sizes: the group of each load, from 0. `Outcome.row_ranges` are then of groups.
    """
    rows, sizes = loads.shape
    prices = _Prices(loads, machine, DRAWS + 1 if draws else 1)
    linked, link_price = prices.link(link, sent, sizes)
    out = _blank(rows, sizes, prices.count, loads.moved, prices.missing)
    starts, waits = machine.draw("launch.overhead", prices.count), machine.draw("overhead", prices.count)
    static, cap = prices.power()
    bytes_ = loads.bytes
    if draws and groups is None and sizes == 1:  # nobody looks at each load of each of many sets
        groups = np.arange(rows)
    for at in range(sizes):
        counts = np.stack([np.asarray(n[:, at], float) for n in loads.work.values()] or [np.zeros(rows)], 1)
        counts = counts[:, : len(loads.work)]
        arithmetic, moving = counts @ prices.seconds, np.outer(bytes_[:, at], prices.byte_seconds)
        starting = np.outer(loads.launches[:, at], starts)
        each = (roofline(arithmetic, moving, machine.overlap) + starting) * prices.misfit_time
        took = each.sum(0) + waits + linked[:, at]
        parts = {"compute": counts.sum(0) @ prices.joules}
        parts |= {f"memory.{level}": loads.moved[level][:, at].sum() * price for level, price in prices.levels.items()}
        parts["link"] = (sent[at] if sent is not None else 0.0) * link_price
        dynamic = sum(parts.values())
        held = np.ones(prices.count)
        stretched = np.maximum(took, dynamic / np.maximum(cap - static, 1e-9))
        out.capped[:, at] = stretched > took * (1 + 1e-12)
        if seconds is not None:
            stretched = np.full(prices.count, float(seconds[at]))
            room = (cap - static) * stretched
            held = np.minimum(1, np.divide(room, dynamic, out=np.ones_like(room), where=dynamic > 0))
            parts = {name: joules * held for name, joules in parts.items()}
            dynamic = sum(parts.values())
        idle = np.minimum(starting.sum(0) + waits, stretched)
        parts |= {"static": static * (stretched - idle), "launch": static * idle}
        for name, joules in parts.items():
            out.energy[name][:, at] = devices * joules
        out.seconds[:, at], out.joules[:, at] = stretched, devices * (dynamic + static * stretched)
        out.row_compute[:, at], out.row_memory[:, at] = arithmetic[:, 0], moving[:, 0]
        out.row_launch[:, at] = starting[:, 0]
        few = slice(1 if groups is None else prices.count)  # the draws that are wanted of each load
        each = each[:, few] * np.divide(stretched, took, out=np.ones_like(took), where=took > 0)[few]
        starting = np.minimum(starting[:, few], each)
        own = {"compute": counts @ (prices.joules * held)[:, few]}
        for level, price in prices.levels.items():
            own[f"memory.{level}"] = np.outer(loads.moved[level][:, at], (price * held)[few])
        own |= {"static": static[few] * (each - starting), "launch": static[few] * starting}
        _fill_rows(out, at, each, {name: devices * joules for name, joules in own.items()}, groups)
    return out


def _fill_rows(
    out: Outcome, at: int, seconds: NDArray[Any], parts: Mapping[str, NDArray[Any]], groups: NDArray[Any] | None
) -> None:
    """Note what each load takes at a set of sizes: typical values, and the ranges of groups of loads."""
    joules = sum(parts.values(), np.zeros_like(seconds))
    for name, part in parts.items():
        out.row_energy[name][:, at] = part[:, 0]
    out.row_seconds[:, at], out.row_joules[:, at] = seconds[:, 0], joules[:, 0]
    if groups is None:
        return
    shape = (int(groups.max(initial=-1)) + 1, out.seconds.shape[1])
    for name, values in (("seconds", seconds), ("joules", joules)):
        total = np.zeros((shape[0], values.shape[1]))
        np.add.at(total, groups, values)
        low, high = out.row_ranges.setdefault(name, (np.zeros(shape), np.zeros(shape)))
        low[:, at], high[:, at] = np.quantile(total[:, 1:], (0.05, 0.95), axis=1)


def roofline(arithmetic: NDArray[Any], moving: NDArray[Any], overlap: bool) -> NDArray[Any]:
    """Return the time of loads whose arithmetic and whose bytes take so long."""
    both: NDArray[Any] = np.maximum(arithmetic, moving) if overlap else arithmetic + moving
    return both


def _blank(rows: int, sizes: int, count: int, levels: Iterable[str], missing: list[str]) -> Outcome:
    names = ("compute", *(f"memory.{level}" for level in levels), "link", "static", "launch")
    return Outcome(
        seconds=np.zeros((count, sizes)),
        joules=np.zeros((count, sizes)),
        energy={name: np.zeros((count, sizes)) for name in names},
        row_seconds=np.zeros((rows, sizes)),
        row_joules=np.zeros((rows, sizes)),
        row_compute=np.zeros((rows, sizes)),
        row_memory=np.zeros((rows, sizes)),
        row_launch=np.zeros((rows, sizes)),
        row_energy={name: np.zeros((rows, sizes)) for name in names if name != "link"},
        capped=np.zeros((count, sizes), bool),
        missing=missing,
    )


class _Prices:
    """What a machine takes for one of everything, for each draw; and what it has no number for."""

    def __init__(self, loads: Loads, machine: Machine, count: int) -> None:
        self.machine, self.count = machine, count
        self.missing: list[str] = []
        self.misfit_time = machine.draw("misfit.time", count, 1.0)
        self.misfit_energy = machine.draw("misfit.energy", count, 1.0)
        self.seconds, self.joules = self._work(loads)
        self.byte_seconds = np.zeros(count)
        if self._has("memory.dram.bandwidth", "a bandwidth of the main memory"):
            bandwidth = machine.draw("memory.dram.bandwidth", count)
            self.byte_seconds = 1 / (bandwidth * machine.draw("efficiency.memory", count, 1.0))
        self.levels = {}
        for level in loads.moved:
            self.levels[level] = self._byte(level) * self.misfit_energy

    def _byte(self, level: str) -> NDArray[Any]:
        """Joules of a byte from the main memory, or from a cache."""
        if level == "path":
            self._has("memory.dram.path", "a price of a byte (path)")
            return self.machine.draw("memory.dram.path", self.count)
        near = [f"memory.{name}.energy" for name in self.machine.near]
        if not near:
            self.missing.append("a price of a byte (cache)")
        return sum((self.machine.draw(name, self.count) for name in near), np.zeros(self.count))

    def _has(self, name: str, what: str) -> bool:
        if name not in self.machine.values:
            self.missing.append(what)
        return name in self.machine.values

    def _work(self, loads: Loads) -> tuple[NDArray[Any], NDArray[Any]]:
        """Seconds and joules of an operation of each kind and dtype."""
        machine, count = self.machine, self.count
        seconds, joules = np.zeros((len(loads.work), count)), np.zeros((len(loads.work), count))
        at_work = 1.0 if machine.cores is None else machine.cores[0] / machine.cores[1]
        for at, ((kind, dtype), amounts) in enumerate(loads.work.items()):
            if not np.any(amounts):
                continue
            rate = machine.peak(kind, dtype)
            if rate is None:
                self.missing.append(f"a rate of {kind} on {dtype}")
            else:
                slots = 2.0 if kind == "mac" else SIMPLE_SLOTS if kind in SIMPLE else SPECIAL_SLOTS
                reached = machine.draw(rate[0], count) * machine.draw("efficiency.compute", count, 1.0)
                seconds[at] = slots / (reached * at_work)
            price = machine.price(kind, dtype)
            if price is not None:
                joules[at] = price.draw(normal("energy")[:count]) * self.misfit_energy
            elif not machine.package:
                self.missing.append(f"a price of {kind} on {dtype}")
        return seconds, joules

    def power(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Static power, and what may be drawn in all."""
        machine = self.machine
        name = "power.active" if machine.package else "power.static"
        self._has(name, "a static power")
        static = machine.draw(name, self.count)
        limit = machine.get("power.limit") or machine.get("power.tdp")
        if machine.package or limit is None:
            return static, np.full(self.count, np.inf)
        cap = np.full(self.count, limit.typical)
        return np.minimum(static, 0.9 * cap), cap

    def link(self, link: str, sent: NDArray[Any] | None, sizes: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Seconds on a link for each draw and set of sizes, and joules of a byte on it."""
        seconds, price = np.zeros((self.count, sizes)), np.zeros(self.count)
        if sent is None or not np.any(sent):
            return seconds, price
        if self._has(f"link.{link}.bandwidth", f"a bandwidth of the link {link}"):
            # A table's bandwidth is both directions together; what is sent goes one way.
            seconds = np.outer(2 / self.machine.draw(f"link.{link}.bandwidth", self.count), sent)
        if self._has(f"link.{link}.energy", f"a price of a byte on the link {link}"):
            price = self.machine.draw(f"link.{link}.energy", self.count)
        return seconds, price


def joined(parts: Sequence[Loads]) -> Loads:
    """Return loads one after the other."""
    sizes = parts[0].shape[1]
    keys = dict.fromkeys(key for part in parts for key in part.work)
    levels = dict.fromkeys(level for part in parts for level in part.moved)

    def stacked(of: str, key: Any) -> NDArray[Any]:
        return np.concatenate([getattr(p, of).get(key, np.zeros((p.shape[0], sizes))) for p in parts])

    return Loads(
        {key: stacked("work", key) for key in keys},
        {level: stacked("moved", level) for level in levels},
        np.concatenate([part.launches for part in parts]),
    )
