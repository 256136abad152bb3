# Time, energy and power of a report on a chip: what Report.estimate gives.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Estimates: what a run takes on a chip, with a 90 % interval, and what it is spent on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from macsim.errors import RequestError
from macsim.estimate_loads import Counted, loads_of, machine_of, sent_by
from macsim.estimate_physics import Machine, Outcome, Range, simulate
from macsim.estimate_types import Asked, Roof, Roofline, RowEstimate, Wall, plain
from macsim.hardware_tables import hardware

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from rich.console import RenderableType

    from macsim.groups import Key
    from macsim.hardware_types import Hardware
    from macsim.report import Report

__all__ = ["Asked", "Estimate", "RowEstimate", "Wall"]

BOUNDS = ("compute", "memory", "launch")


class Estimate:
    """What a run takes on a chip: time, energy and power of the device, each with a typical value and a 90 % interval.

    `Report.estimate` makes it. Numbers are floats, or arrays over the sizes that were given as arrays.

    Attributes
    ----------
    report : Report
    hardware : Hardware
    devices : int
        How many.
    asked : Asked
        How it was asked for.
    assumed : tuple of str
        What was taken where the table says nothing.

    Examples
    --------
    >>> import macsim
    >>> report = macsim.count("examples/resnet50.onnx", dims={"height": 224, "width": 224})
    >>> estimate = report.estimate("a100", batch=64, dtype="f16")
    >>> 1e-3 < estimate.seconds.typical < 30e-3
    True
    >>> estimate.bound
    'memory'
    >>> estimate.joules.low < estimate.joules.typical < estimate.joules.high
    True
    """

    def __init__(
        self,
        report: Report,
        chip: Hardware,
        machine: Machine,
        counted: Counted,
        asked: Asked,
        assumed: Sequence[str] = (),
    ) -> None:
        self.report = report
        self.hardware = chip
        self.devices = asked.devices
        self.asked = asked
        self.assumed = tuple(assumed)
        self._machine = machine
        self._loads, self._shape, self._heads = counted
        self._outcome = self._simulated()

    def _simulated(self, groups: NDArray[Any] | None = None) -> Outcome:
        how = self.asked
        return simulate(
            self._loads,
            self._machine,
            devices=how.devices,
            link=how.link,
            sent=how.sent,
            seconds=how.seconds,
            groups=groups,
        )

    # Totals -----------------------------------------------------------------------------------------------------------

    def _shaped(self, values: NDArray[Any]) -> Any:
        return float(values.ravel()[0]) if not self._shape else values.reshape(self._shape)

    def _range(self, draws: NDArray[Any]) -> Range:
        return Range(*(self._shaped(np.asarray(values)) for values in self._outcome.range(draws)))

    @property
    def seconds(self) -> Range:
        """The time of a run."""
        return self._range(self._outcome.seconds)

    @property
    def joules(self) -> Range:
        """The energy of a run: of the devices alone. See `wall`."""
        return self._range(self._outcome.joules)

    @property
    def watts(self) -> Range:
        """The mean power of all devices in a run."""
        return self._range(self._outcome.joules / np.maximum(self._outcome.seconds, 1e-300))

    @property
    def edp(self) -> Range:
        """The energy-delay product, in joule-seconds."""
        return self._range(self._outcome.joules * self._outcome.seconds)

    @property
    def energy(self) -> dict[str, Range]:
        """The joules by what they go to: ``compute``, the levels of memory, ``link``, ``static`` and ``launch``.

        Tables price a byte all the way from the main memory to the arithmetic: that is ``memory.path``. Where a table
        prices the levels on the chip too, the path is shown by its levels, ``memory.l1`` and ``memory.l2`` at their own
        prices and ``memory.dram`` as the rest of it; the sum is the same. Three tables do: nobody has measured the
        others. With the traffic ``"cached"``, what is found in the cache goes the rest of the way. What arithmetic
        reads again from caches, tile by tile, is in its price, and so in ``compute``.

        ``launch`` is static power while kernels start and hosts are waited for, ``static`` the rest of it; of a CPU
        that is the package at work, arithmetic included.
        """
        return {name: self._range(draws) for name, draws in self._by_level(self._outcome.energy).items()}

    def _by_level(self, parts: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Split what bytes take over the levels of memory, by typical prices, where the table has them."""
        near = {level: price.typical for level, price in self._machine.near.items()}
        path = self._machine.values.get("memory.dram.path")
        rest = path.typical - sum(near.values()) if path is not None else 0.0
        if not near or rest <= 0:
            return dict(parts)
        levels = {"memory.path": {"dram": rest, **near}, "memory.cache": near}
        out: dict[str, NDArray[Any]] = {}
        for name, joules in parts.items():
            split = levels.get(name, {})
            for level, price in split.items():
                key = f"memory.{level}"
                out[key] = out.get(key, 0.0) + joules * (price / sum(split.values()))
            if not split:
                out[name] = joules
        return out

    @property
    def time(self) -> dict[str, Any]:
        """The typical seconds by what bounds the nodes: ``compute``, ``memory``; and ``launch``."""
        out = self._outcome
        body = np.maximum(out.row_seconds - self._starting(), 0)
        arithmetic = out.row_compute >= out.row_memory
        rest = out.seconds[0] - (body.sum(0))
        parts = ((body * arithmetic).sum(0), (body * ~arithmetic).sum(0), rest)
        return {name: self._shaped(part) for name, part in zip(BOUNDS, parts, strict=True)}

    def _starting(self) -> NDArray[Any]:
        """Launches' part of each row's time, which is stretched with it."""
        out = self._outcome
        least: NDArray[Any] = np.minimum(out.row_launch, out.row_seconds)
        return least

    @property
    def bound(self) -> Any:
        """What takes most of the time: ``compute``, ``memory`` or ``launch``."""
        parts = np.stack([np.asarray(part).reshape(-1) for part in self.time.values()])
        names = np.array(BOUNDS)[np.argmax(parts, 0)]
        return str(names[0]) if not self._shape else names.reshape(self._shape)

    @property
    def capped(self) -> Any:
        """Whether the power limit decides: time is stretched until the chip draws no more than it may."""
        capped = self._outcome.capped[0]
        return bool(capped[0]) if not self._shape else capped.reshape(self._shape)

    @property
    def missing(self) -> list[str]:
        """What the table has no number for, and the nodes whose work is unknown; all numbers are bounds then."""
        unknown = self.report.total.unknown
        return [*self._outcome.missing, *([f"the work of {unknown} nodes"] if unknown else [])]

    @property
    def sign(self) -> str:
        """``">="`` when something is missing."""
        return ">=" if self.missing else ""

    @property
    def roofline(self) -> Roofline:
        """Where the run lies under the roofline; of one set of sizes."""
        self._single("roofline")
        flops, moved = float(self._loads.flops.sum()), float(self._loads.bytes.sum())
        peak = flops / max(self._ideal(), 1e-300)
        known = self._machine.get("memory.dram.bandwidth")
        bandwidth = float("inf") if known is None else known.typical
        intensity = flops / moved if moved else float("inf")
        reached = flops / max(float(self._outcome.seconds[0, 0]), 1e-300)
        return Roofline(intensity, peak / bandwidth, reached, min(peak, intensity * bandwidth))

    @property
    def roofs(self) -> tuple[dict[str, Roof], dict[str, float]]:
        """The peaks, by unit and dtypes, and the bandwidths of the levels of memory: what a roofline is made of.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(8, 3, 224, 224))
        >>> peaks, bandwidths = report.estimate("a100", dtype="f16").roofs
        >>> peaks["tensor f16, bf16"].rate, peaks["tensor i8"].is_used, bandwidths["dram"]
        (312000000000000.0, False, 2039000000000.0)
        """
        machine = self._machine
        at_work = 1.0 if machine.cores is None else machine.cores[0] / machine.cores[1]
        done: dict[str, float] = {}
        for (kind, dtype), amounts in self._loads.work.items():
            if (peak := machine.peak(kind, dtype)) is not None:
                done[peak[0]] = done.get(peak[0], 0.0) + float(amounts.sum()) * (2.0 if kind == "mac" else 1.0)
        same: dict[tuple[str, float], list[str]] = {}
        bandwidths = {}
        for name, spread in machine.values.items():
            match name.split("."):
                case ["peak", unit, dtype]:
                    same.setdefault((unit, spread.typical * at_work), []).append(dtype)
                case ["memory", level, "bandwidth"]:
                    bandwidths[level] = spread.typical
        peaks = {
            f"{unit} {', '.join(dtypes)}": Roof(rate, sum(done.get(f"peak.{unit}.{dtype}", 0.0) for dtype in dtypes))
            for (unit, rate), dtypes in same.items()
        }
        return peaks, bandwidths

    @property
    def efficiencies(self) -> tuple[float, float]:
        """The shares of the peak and of the bandwidth of the main memory that good kernels reach, typically."""
        found = (self._machine.get(f"efficiency.{what}") for what in ("compute", "memory"))
        compute, memory = (1.0 if spread is None else spread.typical for spread in found)
        return compute, memory

    @property
    def dtypes(self) -> list[str]:
        """What products are made in, the dtype with most of them first."""
        products = {dtype: float(n.sum()) for (kind, dtype), n in self._loads.work.items() if kind == "mac"}
        return sorted(products, key=lambda dtype: -products[dtype])

    @property
    def is_package(self) -> bool:
        """Whether power is that of a CPU's package at work, in which arithmetic is included."""
        return self._machine.package

    def _ideal(self) -> float:
        """Seconds of the arithmetic at its peaks."""
        efficiency = self._machine.values["efficiency.compute"].typical
        return float(self._outcome.row_compute.sum()) * efficiency

    def _single(self, what: str) -> None:
        if self._shape:
            raise RequestError(f"{what} is of one set of sizes, not of arrays")

    # Parts ------------------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> list[RowEstimate]:
        """What each kernel takes, in the order of execution: a node, or several that are fused; of one set of sizes."""
        self._single("rows")
        out = self._outcome
        columns = (self.report.columns[column][self._heads] for column in ("path", "name", "op"))
        names = [(str(path or name), str(op)) for path, name, op in zip(*columns, strict=True)]
        bounds = self._bounds(out.row_compute[:, 0], out.row_memory[:, 0], out.row_launch[:, 0])
        of = (out.row_seconds[:, 0], out.row_joules[:, 0], self._loads.flops[:, 0], self._loads.bytes[:, 0])
        energy = {part: joules[:, 0] for part, joules in self._by_level(out.row_energy).items()}
        return self._parts(names, bounds, of, energy, out.row_ranges)

    def _parts(
        self,
        names: Sequence[tuple[str, str]],
        bounds: Sequence[str],
        of: Sequence[NDArray[Any]],
        energy: Mapping[str, NDArray[Any]],
        ranges: Mapping[str, tuple[NDArray[Any], NDArray[Any]]],
    ) -> list[RowEstimate]:
        """Put rows or groups together: names and operators; seconds, joules, operations and bytes."""
        seconds, joules, flops, moved = of
        (s_low, s_high), (j_low, j_high) = ranges["seconds"], ranges["joules"]
        return [
            RowEstimate(
                name,
                Range(float(s_low[at, 0]), float(seconds[at]), float(s_high[at, 0])),
                Range(float(j_low[at, 0]), float(joules[at]), float(j_high[at, 0])),
                bounds[at],
                float(flops[at]),
                float(moved[at]),
                op,
                {part: float(joules[at]) for part, joules in energy.items()},
            )
            for at, (name, op) in enumerate(names)
        ]

    def _bounds(self, *sides: NDArray[Any]) -> list[str]:
        stacked = np.stack(sides)
        return [
            BOUNDS[int(best)] if top > 0 else "" for best, top in zip(stacked.argmax(0), stacked.max(0), strict=True)
        ]

    def by(self, key: Key, depth: int | None = None) -> list[RowEstimate]:
        """Return what groups of nodes take; of one set of sizes.

        Parameters
        ----------
        key : {"op", "node", "scope", "dtype", "rule"}
            What the nodes of a group have in common.
        depth : int, optional
            Of scopes: how many levels of modules to tell apart.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
        >>> groups = report.estimate("a100").by("op")
        >>> max(groups, key=lambda group: group.joules.typical).name
        'Conv'
        """
        if key == "node":
            return self.rows
        self._single("by")
        out = self._outcome
        column = {"op": "op", "scope": "scope", "rule": "rule", "dtype": "compute"}.get(key)
        if column is None:
            raise RequestError(f"there are no groups by {key!r}; there are op, node, scope, dtype, rule")
        names = [str(text) for text in self.report.columns[column][self._heads]]
        if key == "scope" and depth is not None:
            names = [".".join(name.split(".")[:depth]) for name in names]
        index: dict[str, int] = {}
        where = np.array([index.setdefault(name, len(index)) for name in names], int)

        def summed(values: NDArray[Any]) -> NDArray[Any]:
            return np.bincount(where, values[:, 0], len(index)) if len(where) else np.zeros(0)

        of = (out.row_seconds, out.row_joules, self._loads.flops, self._loads.bytes)
        arithmetic = out.row_compute >= out.row_memory
        sides = [summed(out.row_compute * arithmetic), summed(out.row_memory * ~arithmetic), summed(out.row_launch)]
        again = self._simulated(groups=where)  # for the doubt of sums
        return self._parts(
            [(name, name if key == "op" else "") for name in index],
            self._bounds(*sides),
            [summed(values) for values in of],
            {part: summed(joules) for part, joules in self._by_level(out.row_energy).items()},
            again.row_ranges,
        )

    # What follows -----------------------------------------------------------------------------------------------------

    def per(self, count: float) -> Range:
        """Return the joules of one of so many inferences, tokens or images that a run has.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(8, 3, 224, 224))
        >>> estimate = report.estimate("a100")
        >>> estimate.per(8).typical == estimate.joules.typical / 8
        True
        """
        if count <= 0:
            raise RequestError(f"a run has more than 0 of them, not {count}")
        return self.joules.scaled(1 / count)

    def wall(
        self,
        *,
        host_watts: float = 0.0,
        supply: float = 1.0,
        pue: float = 1.0,
        grams_per_kwh: float | None = None,
        price_per_kwh: float | None = None,
    ) -> Wall:
        """Return the energy at the wall. Nothing is assumed: what is not given is not added.

        Parameters
        ----------
        host_watts : float
            What the host draws while the devices work.
        supply : float
            The efficiency of the power supplies: 0.92.
        pue : float
            Power usage effectiveness of the building: 1.2.
        grams_per_kwh : float, optional
            Carbon intensity of the grid.
        price_per_kwh : float, optional

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(8, 3, 224, 224))
        >>> estimate = report.estimate("a100")
        >>> estimate.wall(pue=2.0).joules.typical == 2 * estimate.joules.typical
        True
        """
        if not 0 < supply <= 1 or pue < 1 or host_watts < 0:
            raise RequestError("supply is above 0 and at most 1, pue at least 1, and host_watts at least 0")
        out = self._outcome
        draws = (out.joules + host_watts * out.seconds) / supply * pue
        joules = self._range(draws)
        kwh = joules.scaled(1 / 3.6e6)
        return Wall(
            joules,
            self._range(draws / np.maximum(out.seconds, 1e-300)),
            None if grams_per_kwh is None else kwh.scaled(grams_per_kwh),
            None if price_per_kwh is None else kwh.scaled(price_per_kwh),
        )

    def runs_on(self, watt_hours: float) -> Range:
        """Return how many runs a battery of so many watt-hours lasts."""
        if watt_hours <= 0:
            raise RequestError(f"a battery has more than 0 Wh, not {watt_hours}")
        low, typical, high = self.joules
        return Range(*(watt_hours * 3600 / joules for joules in (high, typical, low)))

    def table(self, by: Key = "op", *, depth: int | None = None, top: int | None = 15) -> RenderableType:
        """Return the estimate as a table that rich can print."""
        from macsim.estimate_show import estimate_table

        return estimate_table(self, by, depth, top)

    def plot(
        self,
        kind: Literal["page", "roofline", "energy", "sizes"] | None = None,
        *,
        by: Key = "op",
        depth: int | None = None,
        path: str | os.PathLike[str] | None = None,
    ) -> Any:
        """Draw the estimate with matplotlib.

        Parameters
        ----------
        kind : {"page", "roofline", "energy", "sizes"}, optional
            ``"roofline"``: kernels as points under the chip's roofs. ``"energy"``: what the energy goes to, of the
            run and of its largest parts. ``"page"``: both, which is what one set of sizes gets. ``"sizes"``: energy
            over the size that was given as an array, such as the batch.
        by : {"op", "node", "scope", "dtype", "rule"}
            The parts of ``"energy"``.
        depth : int, optional
            Of scopes: how many levels of modules.
        path : str or path, optional
            A file to write; what it ends in says the format.

        Returns
        -------
        matplotlib.figure.Figure
            One that no window shows.

        Raises
        ------
        RequestError
            When matplotlib is not installed, or the kind does not fit the sizes.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(8, 3, 224, 224))
        >>> figure = report.estimate("a100", dtype="f16").plot("roofline")  # doctest: +SKIP
        """
        from macsim.estimate_plots import plotted

        return plotted([self], kind or ("sizes" if self._shape else "page"), by=by, depth=depth, path=path)

    def to_dict(self) -> dict[str, Any]:
        """Return the totals as plain data.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(8, 3, 224, 224))
        >>> sorted(report.estimate("a100").to_dict()["joules"])
        ['high', 'low', 'typical']
        """
        return {
            "hardware": self.hardware.name,
            "sizes": {name: np.asarray(size).ravel().tolist() for name, size in self.asked.sizes.items()},
            "devices": self.devices,
            "traffic": self.asked.traffic,
            "dtypes": self.dtypes,
            **{name: plain(getattr(self, name)) for name in ("seconds", "joules", "watts", "bound", "capped")},
            "energy": {name: plain(value) for name, value in self.energy.items()},
            "time": {name: plain(value) for name, value in self.time.items()},
            "missing": self.missing,
            "assumed": list(self.assumed),
        }

    def __rich__(self) -> RenderableType:
        return self.table()

    def __repr__(self) -> str:
        if self._shape:
            return f"<Estimate on {self.hardware.name} of {int(np.prod(self._shape))} sets of sizes>"
        sign = f"{self.sign} " if self.sign else ""
        words = (f"{sign}{self.seconds} s", f"{sign}{self.joules} J", f"{self.watts} W")
        return f"<Estimate on {self.hardware.name}: {', '.join(words)}, bound by {self.bound}>"


def estimated(
    report: Report,
    on: str | Hardware,
    sizes: Mapping[str, Any] | None = None,
    *,
    dtype: str | None = None,
    tf32: bool = False,
    traffic: str = "fused",
    capacity: int | None = None,
    cores: int | None = None,
    devices: int = 1,
    parallel: str = "data",
    link: str | None = None,
    sent: Any = None,
    seconds: Any = None,
    machine: Machine | None = None,
) -> Estimate:
    """Return the estimate of a report on a chip; see `Report.estimate`."""
    if isinstance(devices, bool) or devices != int(devices) or devices < 1:
        raise RequestError(f"devices is a whole number of at least 1, not {devices}")
    if seconds is not None and np.any(np.asarray(seconds, float) <= 0):
        raise RequestError(f"a measured time is above 0, not {seconds}")
    if parallel not in ("data", "tensor"):
        raise RequestError(f'parallel is "data" or "tensor", not {parallel!r}')
    chip = hardware(on)
    made, assumed = machine_of(chip, cores)
    machine = machine or made
    share = 1 / devices
    if traffic == "cached" and capacity is None:
        capacity = _last_cache(chip)
    counted = loads_of(
        report,
        sizes,
        dtype=dtype,
        tf32=tf32,
        traffic=traffic,
        capacity=capacity,
        share=share,
        weight_share=share if parallel == "tensor" else 1.0,
    )
    count = counted.loads.shape[1]
    if sent is None and parallel == "tensor" and devices > 1:
        bytes_ = sent_by(report, dict(sizes or {}), devices, dtype)
    else:
        bytes_ = np.broadcast_to(np.asarray(0.0 if sent is None else sent, float).reshape(-1), count).copy()
    if link is None and np.any(bytes_):
        link = chip.links[0].name if chip.links else "link"
    elif link is not None and chip.link(link) is None:
        known = ", ".join(one.name for one in chip.links)
        raise RequestError(f"{chip.name} has no link {link!r}; {f'it has {known}' if known else 'its table has none'}")
    measured = None if seconds is None else np.broadcast_to(np.asarray(seconds, float), counted.shape).reshape(-1)
    given = dict(sizes or {})
    asked = Asked(given, dtype, tf32, traffic, capacity, cores, devices, parallel, link or "", bytes_, measured)
    return Estimate(report, chip, machine, counted, asked, assumed)


def _last_cache(chip: Hardware) -> int:
    """The capacity of the level next to the main memory."""
    for level in chip.levels:
        if level.name != "dram" and level.capacity is not None:
            return int(level.capacity.si.typical)
    raise RequestError(f"{chip.name}: its table says nothing of a cache: give its capacity")


def utilisation(
    report: Report, seconds: float, on: str | Hardware, sizes: Mapping[str, Any] | None, **how: Any
) -> float:
    """Return the share of a chip's peak that a measured time is; see `Report.mfu`."""
    loads, shape, _ = loads_of(report, sizes, **how)
    if shape:
        raise RequestError("mfu is of one set of sizes, not of arrays")
    machine, _ = machine_of(on)
    ideal = 0.0
    for (kind, dtype), count in loads.work.items():
        if kind != "mac":
            continue
        rate = machine.peak(kind, dtype)
        if rate is None:
            raise RequestError(f"{machine.name}: its table has no peak for {dtype}")
        ideal += 2 * float(count.sum()) / rate[1].typical
    if seconds <= 0:
        raise RequestError(f"a measured time is above 0, not {seconds}")
    return ideal / seconds
