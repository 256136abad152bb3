# Time, energy and power of a report on a chip: what Report.estimate gives.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Estimates: what a run takes on a chip, with a 90 % interval, and what it is spent on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from macsim.errors import RequestError
from macsim.estimate_loads import Counted, loads_of, machine_of, sent_by
from macsim.estimate_physics import Machine, Outcome, Range, simulate
from macsim.hardware_tables import hardware

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from macsim.groups import Key
    from macsim.hardware_types import Hardware
    from macsim.report import Report

__all__ = ["Estimate", "RowEstimate", "Wall"]

BOUNDS = ("compute", "memory", "launch")


class RowEstimate(NamedTuple):
    """What one node, or a group of them, takes.

    Attributes
    ----------
    name : str
        The node's path, or the group's name.
    seconds, joules : Range
        Groups have typical values alone; low and high are the same number.
    bound : str
        ``compute``, ``memory`` or ``launch``: what takes most of its time; empty when it takes none.
    flops, bytes : float
        Operations, two for a multiply-accumulate, and bytes of the main memory.
    """

    name: str
    seconds: Range
    joules: Range
    bound: str
    flops: float
    bytes: float

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.flops / self.bytes if self.bytes else float("inf")


class Roofline(NamedTuple):
    """Where a run lies under a chip's roofline.

    Attributes
    ----------
    intensity : float
        Operations for each byte of the main memory.
    ridge : float
        The intensity above which arithmetic decides.
    reached : float
        Operations for each second.
    roof : float
        What the peak and the bandwidth allow at that intensity.
    """

    intensity: float
    ridge: float
    reached: float
    roof: float

    @property
    def share(self) -> float:
        """How much of the roof is reached."""
        return self.reached / self.roof


@dataclass(frozen=True)
class Wall:
    """An estimate at the wall: with the host, the losses of power supplies and cooling, and what comes of it.

    Attributes
    ----------
    joules : Range
        At the meter of the building.
    watts : Range
    grams : Range or None
        Of CO2, where the carbon intensity was given.
    cost : Range or None
        In the currency of the price that was given.
    """

    joules: Range
    watts: Range
    grams: Range | None = None
    cost: Range | None = None


class Estimate:
    """What a run takes on a chip: time, energy and power of the device, each with a typical value and a 90 % interval.

    `Report.estimate` makes it. Numbers are floats, or arrays over the sizes that were given as arrays.

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
        outcome: Outcome,
        devices: int = 1,
        assumed: Sequence[str] = (),
    ) -> None:
        self.report = report
        self.hardware = chip
        self.devices = devices
        self.assumed = tuple(assumed)
        self._machine, self._outcome = machine, outcome
        self._loads, self._shape, self._heads = counted

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
        """The joules by what they go to: ``compute``, ``memory.path``, ``link``, ``static`` and ``launch``.

        ``memory.path`` is all the way from the main memory to the arithmetic; ``launch`` is static power while kernels
        start and hosts are waited for, ``static`` the rest of it.
        """
        return {name: self._range(draws) for name, draws in self._outcome.energy.items()}

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
        bandwidth = self._machine.values["memory.dram.bandwidth"].typical
        intensity = flops / moved if moved else float("inf")
        reached = flops / float(self._outcome.seconds[0, 0])
        return Roofline(intensity, peak / bandwidth, reached, min(peak, intensity * bandwidth))

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
        columns = (self.report.columns[column][self._heads] for column in ("path", "name"))
        names = [str(path or name) for path, name in zip(*columns, strict=True)]
        flops, moved = self._loads.flops[:, 0], self._loads.bytes[:, 0]
        bounds = self._bounds(out.row_compute[:, 0], out.row_memory[:, 0], out.row_launch[:, 0])
        (s_low, s_high), (j_low, j_high) = out.row_ranges["seconds"], out.row_ranges["joules"]
        return [
            RowEstimate(
                name,
                Range(float(s_low[at, 0]), float(out.row_seconds[at, 0]), float(s_high[at, 0])),
                Range(float(j_low[at, 0]), float(out.row_joules[at, 0]), float(j_high[at, 0])),
                bounds[at],
                float(flops[at]),
                float(moved[at]),
            )
            for at, name in enumerate(names)
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
        column = {"op": "op", "scope": "scope", "rule": "rule", "dtype": "compute"}[key]
        names = [str(text) for text in self.report.columns[column][self._heads]]
        if key == "scope" and depth is not None:
            names = [".".join(name.split(".")[:depth]) for name in names]
        index: dict[str, int] = {}
        where = np.array([index.setdefault(name, len(index)) for name in names], int)

        def summed(values: NDArray[Any]) -> NDArray[Any]:
            return np.bincount(where, values[:, 0], len(index)) if len(where) else np.zeros(0)

        of = (out.row_seconds, out.row_joules, self._loads.flops, self._loads.bytes)
        seconds, joules, flops, moved = (summed(values) for values in of)
        arithmetic = out.row_compute >= out.row_memory
        sides = [summed(out.row_compute * arithmetic), summed(out.row_memory * ~arithmetic), summed(out.row_launch)]
        bounds = self._bounds(*sides)
        return [
            RowEstimate(
                name,
                Range(*[float(seconds[at])] * 3),
                Range(*[float(joules[at])] * 3),
                bounds[at],
                float(flops[at]),
                float(moved[at]),
            )
            for name, at in index.items()
        ]

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
        low, typical, high = self.joules
        return Range(*(watt_hours * 3600 / joules for joules in (high, typical, low)))

    def table(self, by: Key = "op", *, depth: int | None = None, top: int | None = 15) -> RenderableType:
        """Return the estimate as a table that rich can print."""
        from macsim.estimate_show import estimate_table

        return estimate_table(self, by, depth, top)

    def to_dict(self) -> dict[str, Any]:
        """Return the totals as plain data.

        Examples
        --------
        >>> import macsim
        >>> report = macsim.count("examples/resnet50.onnx", shapes=(8, 3, 224, 224))
        >>> sorted(report.estimate("a100").to_dict()["joules"])
        ['high', 'low', 'typical']
        """

        def plain(value: Any) -> Any:
            if isinstance(value, Range):
                return {name: plain(one) for name, one in value._asdict().items()}
            return value.tolist() if isinstance(value, np.ndarray) else value

        return {
            "hardware": self.hardware.name,
            "devices": self.devices,
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
    if devices < 1:
        raise RequestError(f"devices is at least 1, not {devices}")
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
    measured = None if seconds is None else np.broadcast_to(np.asarray(seconds, float), counted.shape).reshape(-1)
    outcome = simulate(counted.loads, machine, devices=devices, link=link or "", sent=bytes_, seconds=measured)
    return Estimate(report, chip, machine, counted, outcome, devices, assumed)


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
