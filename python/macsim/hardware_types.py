# What is known of a chip: the classes that hold the numbers of its table.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The classes of the hardware tables: `Hardware` and what it consists of. All of them are frozen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from macsim.errors import HardwareError
from macsim.hardware_quantity import UNITS, WORKS, tidy
from macsim.hardware_quantity import Quantity as Quantity
from macsim.hardware_quantity import table_dtype as table_dtype


@dataclass(frozen=True)
class Peak:
    """A peak rate: of a dtype, on a kind of unit. A multiply-accumulate is two operations.

    Attributes
    ----------
    unit : {"tensor", "vector"}
        ``tensor`` units do matrix products; ``vector`` units everything.
    dtype : str
        Of the operands.
    sparse : bool
        Whether only operands with 2:4 sparsity reach it.
    rate : Quantity
        In FLOP/s for floats and OP/s for integers.
    """

    unit: str
    dtype: str
    sparse: bool
    rate: Quantity


@dataclass(frozen=True)
class Price:
    """The energy of one piece of work: of one multiply-accumulate, or of one scalar operation of another kind.

    Attributes
    ----------
    kind : str
        ``mac``, ``add``, ``mul``, ``div``, ``compare``, ``exp``, ``log``, ``sqrt``, ``trig``, ``logic`` or ``convert``.
    dtype : str
        Of the operands; ``*`` for every dtype that has no price of its own.
    energy : Quantity
        In pJ/MAC for a mac, in pJ/op for the others.
    """

    kind: str
    dtype: str
    energy: Quantity


@dataclass(frozen=True)
class MemoryLevel:
    """A level of memory, or a cache.

    Attributes
    ----------
    name : str
        ``dram`` is the main memory, whatever its kind; then ``l3``, ``l2``, ``l1`` and the like.
    technology : str
        Of the main memory: ``hbm3``, ``ddr5``; the name of a table. Empty when there is none.
    capacity, bandwidth : Quantity or None
        Of the whole chip.
    energy : Quantity or None
        Of a byte that crosses this level alone.
    path : Quantity or None
        Of a byte that goes from this level to the arithmetic, through all the levels between.
    """

    name: str
    technology: str = ""
    capacity: Quantity | None = None
    bandwidth: Quantity | None = None
    energy: Quantity | None = None
    path: Quantity | None = None


@dataclass(frozen=True)
class Link:
    """A link to other chips.

    Attributes
    ----------
    name : str
        ``nvlink``, ``pcie``, ``ici``.
    technology : str
        The name of a table, or empty.
    bandwidth : Quantity or None
        Of the chip's links together, both directions added.
    energy : Quantity or None
        Of a byte that crosses.
    """

    name: str
    technology: str = ""
    bandwidth: Quantity | None = None
    energy: Quantity | None = None


@dataclass(frozen=True)
class Power:
    """What a chip draws.

    Attributes
    ----------
    tdp : Quantity or None
        What it is built to draw, and what a board's firmware holds it to unless `limit` says otherwise.
    limit : Quantity or None
        What it may draw for as long as it is cooled, where that is another number than the TDP.
    idle : Quantity or None
        With nothing loaded.
    static : Quantity or None
        Ready to work: clocks up, memory open, programs loaded, nothing to do.
    active : Quantity or None
        Of a CPU's package: with all cores at work, whatever they do.
    by_cores : tuple of (int, Quantity)
        Of a CPU's package: with so many cores at work, where it was measured.
    """

    tdp: Quantity | None = None
    limit: Quantity | None = None
    idle: Quantity | None = None
    static: Quantity | None = None
    active: Quantity | None = None
    by_cores: tuple[tuple[int, Quantity], ...] = ()

    @property
    def cap(self) -> Quantity | None:
        """What it cannot exceed for long: `limit`, else `tdp`."""
        return self.limit or self.tdp


@dataclass(frozen=True)
class Fit:
    """Constants that were fitted to measurements of a whole: ``energy = mac * macs + byte * bytes + constant``.

    Static power is folded into them, so they go with nothing else of the table.

    Attributes
    ----------
    name : str
        What ran: ``TFLite``.
    dtype : str
        Of the models.
    scope : str
        What was measured: ``wall``, ``board``, ``device``.
    mac, byte, constant : Quantity
        In pJ/MAC, pJ/B and mJ.
    power : Quantity or None
        The mean of the measurements.
    """

    name: str
    dtype: str
    scope: str
    mac: Quantity
    byte: Quantity
    constant: Quantity
    power: Quantity | None = None


@dataclass(frozen=True, repr=False)
class Hardware:
    """What is known of a chip. What is not known is ``None``, never a default.

    `macsim.hardware` makes it of a table; `Quantity` is what its numbers are.

    Attributes
    ----------
    name : str
        The table's name.
    title : str
        The chip's.
    kind : {"gpu", "cpu", "soc", "tpu", "accelerator", "technology"}
        A ``technology`` is no chip: a process node, a kind of memory or a family, which chips inherit from.
    vendor, launch : str
        Who makes it, and since when: ``2022-10``.
    aliases, inherits, notes : tuple of str
        Other names; the tables it inherits from, nearest first; remarks.
    process : Quantity or None
        The process node.
    cores : int or None
        Of a CPU, or of the CPU of a system on a chip.
    clock : Quantity or None
        The clock that the vector peaks are of.
    peaks : tuple of Peak
        See `peak`.
    prices : tuple of Price
        See `energy`.
    levels : tuple of MemoryLevel
        See `memory`; from the main memory inwards.
    links : tuple of Link
        To other chips.
    power : Power
        What it draws.
    launch_overhead : Quantity or None
        The time that starting a kernel takes.
    compute_efficiency, memory_efficiency : Quantity or None
        How much of the peak, and of the bandwidth of the main memory, good kernels reach.
    fits : tuple of Fit
        Constants of whole systems.
    path : str
        The file of the table.

    Examples
    --------
    >>> import macsim
    >>> h100 = macsim.hardware("h100")
    >>> h100
    <Hardware h100-sxm: NVIDIA H100 SXM5 80GB>
    >>> print(h100.peak("bf16"), h100.peak("bf16", sparse=True), h100.peak("f32", "vector"), sep=", ")
    989.4 TFLOP/s, 1979 TFLOP/s, 66.9 TFLOP/s
    >>> print(h100.peak("i4"))
    None
    """

    name: str
    title: str
    kind: str
    vendor: str = ""
    launch: str = ""
    aliases: tuple[str, ...] = ()
    inherits: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    process: Quantity | None = None
    cores: int | None = None
    clock: Quantity | None = None
    peaks: tuple[Peak, ...] = ()
    prices: tuple[Price, ...] = ()
    levels: tuple[MemoryLevel, ...] = ()
    links: tuple[Link, ...] = ()
    power: Power = field(default_factory=Power)
    launch_overhead: Quantity | None = None
    compute_efficiency: Quantity | None = None
    memory_efficiency: Quantity | None = None
    fits: tuple[Fit, ...] = ()
    path: str = ""

    def __repr__(self) -> str:
        return f"<Hardware {self.name}: {self.title}>"

    def peak(self, dtype: str, unit: str | None = None, *, sparse: bool = False) -> Quantity | None:
        """Return the peak rate of a dtype.

        Parameters
        ----------
        dtype : str
            ``bf16``, ``float16``, ``i8``, ``tf32``: any spelling.
        unit : {"tensor", "vector"}, optional
            Which kind of unit; by default tensor units, and vector units where these do not take the dtype.
        sparse : bool, optional
            The peak for operands with 2:4 sparsity.

        Returns
        -------
        Quantity or None
            In FLOP/s or OP/s, two for a multiply-accumulate. None when it is not known or there is none.

        Examples
        --------
        >>> import macsim
        >>> print(macsim.hardware("a100").peak("tf32"))
        156 TFLOP/s
        """
        name = table_dtype(dtype)
        if unit is not None and unit not in UNITS:
            raise HardwareError(f"there is no unit {unit!r}; there are {', '.join(UNITS)}")
        for wanted in UNITS if unit is None else (unit,):
            for peak in self.peaks:
                if (peak.unit, peak.dtype, peak.sparse) == (wanted, name, sparse):
                    return peak.rate
        return None

    def energy(self, kind: str, dtype: str) -> Quantity | None:
        """Return the energy of one piece of work.

        Parameters
        ----------
        kind : str
            A kind of work: ``mac``, ``add``, ``mul``, ``exp``.
        dtype : str
            Of the operands, in any spelling.

        Returns
        -------
        Quantity or None
            In pJ/MAC for ``mac`` and pJ/op for the others; None when it is not known.

        Examples
        --------
        >>> import macsim
        >>> print(macsim.hardware("45nm").energy("add", "f32"))
        0.9 pJ/op
        """
        name = table_dtype(dtype)
        if kind not in WORKS:
            raise HardwareError(f"there is no kind of work {kind!r}; there are {', '.join(WORKS)}")
        for dtypes in (name, "*"):
            for price in self.prices:
                if (price.kind, price.dtype) == (kind, dtypes):
                    return price.energy
        return None

    def memory(self, name: str = "dram") -> MemoryLevel | None:
        """Return a level of memory, or None."""
        return next((level for level in self.levels if level.name == name), None)

    def bytes_price(self, level: str = "path") -> Quantity | None:
        """Return the energy of a byte.

        Parameters
        ----------
        level : str, optional
            ``path`` for a byte that goes from the main memory to the arithmetic, through all the levels; else the
            name of a level, for what a byte takes that crosses this level alone.

        Returns
        -------
        Quantity or None
            In pJ/B; None when it is not known.

        Examples
        --------
        >>> import macsim
        >>> print(macsim.hardware("h100-sxm").bytes_price())
        108.3 (100 to 120) pJ/B
        """
        if level == "path":
            main = self.memory("dram")
            return main.path if main else None
        found = self.memory(level)
        return found.energy if found else None

    def link(self, name: str) -> Link | None:
        """Return a link to other chips, or None."""
        return next((link for link in self.links if link.name == name), None)

    def package_power(self, cores: int) -> Quantity | None:
        """Return what a CPU's package draws with so many cores at work.

        Between numbers that are known (idle is 0 cores, `Power.active` all of them) it is on a straight line.

        Returns
        -------
        Quantity or None
            In W; None where nothing is known on both sides.

        Examples
        --------
        >>> import macsim
        >>> pi = macsim.hardware("raspberry-pi-4")
        >>> pi.package_power(4) == pi.power.active
        True
        """
        if cores < 0 or (self.cores is not None and cores > self.cores):
            raise HardwareError(f"{self.name} has {self.cores} cores, not {cores}")
        points = dict(self.power.by_cores)
        if self.power.idle is not None:
            points.setdefault(0, self.power.idle)
        if self.power.active is not None and self.cores is not None:
            points.setdefault(self.cores, self.power.active)
        below = max((n for n in points if n <= cores), default=None)
        above = min((n for n in points if n >= cores), default=None)
        if below is None or above is None:
            return None
        if below == above:
            return points[below]
        first, last = points[below].to("W"), points[above].to("W")
        share = (cores - below) / (above - below)
        return Quantity(
            tidy((1 - share) * first.low + share * last.low),
            tidy((1 - share) * first.typical + share * last.typical),
            tidy((1 - share) * first.high + share * last.high),
            unit="W",
            source=first.source if first.source == last.source else f"{first.source}; {last.source}",
            confidence="low",
            status="derived",
            origin="between-cores",
            note=f"on a straight line between {below} and {above} cores at work",
        )

    def numbers(self) -> Iterator[tuple[str, Quantity]]:
        """Yield every number with its name: ``peak.tensor.bf16``, ``memory.dram.bandwidth``.

        Examples
        --------
        >>> import macsim
        >>> dict(macsim.hardware("h100-sxm").numbers())["memory.dram.capacity"].typical
        80.0
        """
        for name, value in (("process", self.process), ("clock", self.clock)):
            if value is not None:
                yield name, value
        for peak in self.peaks:
            yield f"peak.{peak.unit}.{peak.dtype}{'.sparse' if peak.sparse else ''}", peak.rate
        for where, parts in (("memory", self.levels), ("link", self.links)):
            for part in parts:
                for name in ("capacity", "bandwidth", "energy", "path"):
                    if (value := getattr(part, name, None)) is not None:
                        yield f"{where}.{part.name}.{name}", value
        for price in self.prices:
            yield f"energy.{price.kind}.{price.dtype}", price.energy
        for name in ("tdp", "limit", "idle", "static", "active"):
            if (value := getattr(self.power, name)) is not None:
                yield f"power.{name}", value
        for cores, value in self.power.by_cores:
            yield f"power.cores.{cores}", value
        for name, value in (
            ("launch.overhead", self.launch_overhead),
            ("efficiency.compute", self.compute_efficiency),
            ("efficiency.memory", self.memory_efficiency),
        ):
            if value is not None:
                yield name, value
        for fit in self.fits:
            for name in ("mac", "byte", "constant", "power"):
                if (value := getattr(fit, name)) is not None:
                    yield f"fit.{fit.name}.{fit.dtype}.{name}", value

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data: texts, and every number by its name.

        Examples
        --------
        >>> import macsim
        >>> macsim.hardware("h100").to_dict()["numbers"]["power.tdp"]["typical"]
        700.0
        """
        texts = ("name", "title", "kind", "vendor", "launch", "aliases", "inherits", "notes", "cores", "path")
        data = {name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in texts}
        return {**data, "numbers": {name: value.to_dict() for name, value in self.numbers()}}
