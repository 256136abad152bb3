# From a report to loads, and from a hardware table to a machine: what estimates are made of.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""What an estimate takes: the loads of a report, and a machine made of a hardware table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from macsim.errors import HardwareError, RequestError
from macsim.estimate_physics import Loads, Machine, Spread
from macsim.hardware_quantity import table_dtype
from macsim.hardware_tables import hardware
from macsim.rows import WORK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from macsim.hardware_types import Hardware
    from macsim.report import Report
    from macsim.traffic import Level

BITS = {"f64": 64, "f32": 32, "tf32": 32, "i64": 64, "i32": 32, "f16": 16, "bf16": 16, "i16": 16}
BITS |= {"f8": 8, "i8": 8, "bool": 8, "f6": 6, "f4": 4, "i4": 4, "i2": 2, "i1": 1}
LEVELS = ("fused", "unfused", "minimum", "cached")
NO_KERNEL = 2**32 - 1  # of rows that move nothing

# What tables of CPUs, boards and accelerators mostly do not say: a wide range stands for it, and the estimate says so.
ASSUMED = {
    "efficiency.compute": (Spread(0.2, 0.5, 0.85), "of the peak, 0.5 (0.2 to 0.85) is reached"),
    "efficiency.memory": (Spread(0.4, 0.7, 0.9), "of the bandwidth, 0.7 (0.4 to 0.9) is reached"),
}


class Counted(NamedTuple):
    """The loads of a report.

    Attributes
    ----------
    loads : Loads
        One for each kernel.
    shape : tuple of int
        Of the sizes.
    heads : ndarray
        The row of the report that a kernel is named after.
    """

    loads: Loads
    shape: tuple[int, ...]
    heads: NDArray[Any]


# What is left when a chip's constants are those of documents and of other machines: how kernels are written, what a
# framework does between them, which at batch 1 takes two to four times as long as kernels alone. Of 1,113 measurements
# to which nothing was fitted, 85 % are in the intervals that this gives (benchmarks/validate_energy.py).
# A table that states all of CALIBRATED itself has been calibrated: its ranges have it.
CALIBRATED = ("efficiency.compute", "efficiency.memory", "launch.overhead")
MISFIT = {"misfit.time": Spread(0.7, 1.0, 3.0), "misfit.energy": Spread(0.7, 1.0, 1.6)}
CPU_MISFIT = {"misfit.time": Spread(0.4, 1.0, 3.0), "misfit.energy": Spread(0.5, 1.0, 2.0)}


def machine_of(chip: str | Hardware, cores: int | None = None) -> tuple[Machine, list[str]]:
    """Return a chip as the estimator sees it, and what is assumed where its table says nothing."""
    found = hardware(chip)
    values: dict[str, Spread] = {}
    stated = set()
    for name, quantity in found.numbers():
        base = quantity.si
        values[name] = Spread(base.low, base.typical, base.high)
        if quantity.status == "stated":
            stated.add(name)
    if not stated.issuperset(CALIBRATED):
        values.update(CPU_MISFIT if found.kind in ("cpu", "soc") else MISFIT)
    assumed = []
    for name, (spread, words) in ASSUMED.items():
        if name not in values:
            values[name] = spread
            assumed.append(words)
    priced = any(name.startswith("energy.mac.") for name in values)
    package = not priced and ("power.active" in values or bool(found.power.by_cores))
    share = None
    if cores is not None:
        if not found.cores:
            raise RequestError(f"{found.name}: its table does not say how many cores it has")
        if cores < 1:
            raise RequestError(f"cores at work are at least 1, not {cores}")
        share = (cores, found.cores)
        power = found.package_power(cores)
        if power is None and cores < found.cores:
            assumed.append("the package draws as much as with all of its cores at work")
        elif power is not None:
            values["power.active"] = Spread(power.si.low, power.si.typical, power.si.high)
    return Machine(found.name, values, overlap=found.kind != "cpu", package=package, cores=share), assumed


def loads_of(
    report: Report,
    sizes: Mapping[str, Any] | None = None,
    *,
    traffic: str = "fused",
    capacity: int | None = None,
    dtype: str | None = None,
    tf32: bool = False,
    share: float = 1.0,
    weight_share: float = 1.0,
) -> Counted:
    """Return the loads of a report on one device.

    Parameters
    ----------
    report : Report
    sizes : mapping of str to array of int, optional
        Sizes of the symbols that are free; they broadcast against each other.
    traffic : {"fused", "unfused", "minimum", "cached"}
        The level of `Report.traffic` whose bytes count, and whose kernels are loads.
    capacity : int, optional
        Of ``"cached"``.
    dtype : str, optional
        What floats are taken as, in arithmetic and in memory.
    tf32 : bool
        Whether products of f32 go to tensor units as tf32.
    share, weight_share : float
        What one device has of the work and the activations, and of the weights.
    """
    given = dict(sizes or {})
    free = [symbol.name for symbol in report.unbound if symbol.name not in given]
    if free:
        raise RequestError(f"an estimate takes numbers: bind {', '.join(free)}, or give sizes")
    shape = np.broadcast_shapes(*(np.shape(size) for size in given.values()))

    def column(name: str, values: Any = None) -> NDArray[Any]:
        found = report.evaluate(report.columns[name] if values is None else values, given)
        numbers = _numbers(found).reshape(len(report.rows), -1)
        return numbers * (weight_share if name == "weights" else 1.0 if name == "times" else share)

    operands, computes, narrow = _dtypes(report, dtype, tf32)
    work: dict[tuple[str, str], NDArray[Any]] = {}
    for kind in WORK:
        amounts = column(kind)
        if not np.any(amounts):
            continue
        dtypes = operands if kind == "mac" else computes
        for name in dict.fromkeys(dtypes):
            mine = amounts * np.array([other == name for other in dtypes])[:, None]
            if np.any(mine):
                work[(kind, name)] = mine
    weights = column("weights")
    # Weights of fewer bits than what they are multiplied with are converted as they are read; rules of operators that
    # are made for them have counted that.
    bare = weights * (column("convert") == 0)
    for name in dict.fromkeys(one for _, one in narrow if one):
        per_byte = np.array([8 / BITS[bits] if one == name else 0.0 for bits, one in narrow])
        key = ("convert", name)
        work[key] = work.get(key, 0) + bare * per_byte[:, None]
    if traffic not in LEVELS:
        raise RequestError(f"there is no traffic {traffic!r}; there are {', '.join(LEVELS)}")
    kernels = np.arange(len(report.rows))
    moving = {name: report.columns[name] for name in ("read", "weights", "written")}
    if traffic != "unfused":
        found = report.traffic(cast("Level", traffic), capacity)
        moving = found.columns
        if traffic != "minimum":
            kernels = _kernels(found._core.kernel)

    shrink = _shrink(report, dtype)[:, None]

    def bytes_of(columns: Mapping[str, Any]) -> NDArray[Any]:
        total = np.zeros_like(weights)
        for name, values in columns.items():
            total += column(name, values) * shrink
        return total

    moved = {"path": bytes_of(moving)}
    if traffic == "cached":  # what does not come from the main memory then comes from the cache
        moved["cache"] = bytes_of(report.traffic("fused").columns) - moved["path"]
    busy = (moved["path"] > 0) | (moved.get("cache", 0) > 0)
    for amounts in work.values():
        busy = busy | (amounts > 0)
    return _joined(Loads(work, moved, column("times") * busy), kernels, shape)


def _kernels(numbers: NDArray[Any]) -> NDArray[Any]:
    """The kernel of each row, in the order of their first rows; a row that moves nothing is one of its own."""
    own = np.where(numbers == NO_KERNEL, NO_KERNEL + 1 + np.arange(len(numbers)), numbers.astype(np.int64))
    _, first, index = np.unique(own, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[index]


def _joined(loads: Loads, kernels: NDArray[Any], shape: tuple[int, ...]) -> Counted:
    """Add up the rows of each kernel. Its head is the row with the most work, else the first."""
    count = int(kernels.max(initial=-1)) + 1
    weight = loads.flops.sum(1)
    order = np.lexsort((np.arange(len(kernels)), -weight, kernels))
    heads = order[np.unique(kernels[order], return_index=True)[1]]

    def summed(values: NDArray[Any]) -> NDArray[Any]:
        total = np.zeros((count, values.shape[1]))
        np.add.at(total, kernels, values)
        return total

    launches = np.zeros((count, loads.launches.shape[1]))
    np.maximum.at(launches, kernels, loads.launches)
    work = {key: summed(values) for key, values in loads.work.items()}
    # A product that is tiled reads more than it needs: nothing of that is from the cache.
    moved = {level: np.maximum(summed(bytes_), 0) for level, bytes_ in loads.moved.items()}
    return Counted(Loads(work, moved, launches), shape, heads)


def sent_by(report: Report, sizes: Mapping[str, Any], devices: int, dtype: str | None) -> NDArray[Any]:
    """Return the bytes that each device sends when products are split over devices, for each set of sizes.

    Products go in pairs, the first split by columns and the second by rows, whose results are summed over all devices.
    Taken as seconds are those with weights whose results are no larger than what they read; a ring sends them
    ``2 (n - 1) / n`` times. Where queries, keys and values are products of their own, this is up to twice too much.
    """
    written = _numbers(report.evaluate(report.columns["written"], sizes)).reshape(len(report.rows), -1)
    read = _numbers(report.evaluate(report.columns["read"], sizes)).reshape(len(report.rows), -1)
    weights = _numbers(report.evaluate(report.columns["weights"], sizes)).reshape(len(report.rows), -1)
    macs = _numbers(report.evaluate(report.columns["mac"], sizes)).reshape(len(report.rows), -1)
    second = (macs > 0) & (weights > 0) & (written <= read)
    sums: NDArray[Any] = (written * second * _shrink(report, dtype)[:, None]).sum(0)
    return sums * 2 * (devices - 1) / devices


def _numbers(values: NDArray[Any]) -> NDArray[Any]:
    """Counts as floats; what is not known is left out, and the report says so."""
    if values.dtype != object:
        return values.astype(float)
    return np.array([float(one) if isinstance(one, int) else 0.0 for one in values.ravel()]).reshape(values.shape)


def _known(dtype: str) -> str:
    """The name by which tables know a dtype, or its own."""
    try:
        return table_dtype(dtype)
    except HardwareError:
        return dtype


def _dtypes(report: Report, dtype: str | None, tf32: bool) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Of each row: what its products are made in, what its other work is, and narrow weights with what they become."""
    wanted = None if dtype is None else table_dtype(dtype)

    def taken(name: str) -> str:
        return wanted if wanted is not None and name[0] in "fb" and name != "bool" else name

    ledger = report._ledger
    operands, computes, narrow = [], [], []
    for row in range(len(report.rows)):
        left, right = (taken(_known(name)) for name in ledger.mac_dtypes(row)[:2])
        product, thin = _product(left, right)
        operands.append("tf32" if tf32 and product == "f32" else product)
        narrow.append((thin, product if thin else ""))
        computes.append(taken(_known(ledger.compute(row))))
    return operands, computes, narrow


def _product(left: str, right: str) -> tuple[str, str]:
    """What a product of two dtypes is made in, and which of them has to be converted first."""
    if left == right or left not in BITS or right not in BITS:
        return left, ""
    ints = [name for name in (left, right) if name[0] == "i"]
    if len(ints) == 1:
        other = right if ints[0] == left else left
        return other, ints[0]
    wide, thin = sorted((left, right), key=lambda name: BITS[name], reverse=True)
    return wide, thin if BITS[thin] < BITS[wide] else ""


def _shrink(report: Report, dtype: str | None) -> NDArray[Any]:
    """How many bytes of each row are left when floats are taken as another dtype."""
    count = len(report.rows)
    if dtype is None:
        return np.ones(count)
    bits = BITS[table_dtype(dtype)]
    ledger = report._ledger
    factors = np.ones(count)
    for row in range(count):
        name = _known(ledger.compute(row))
        if name in BITS and name[0] in "fb" and name != "bool":
            factors[row] = bits / BITS[name]
    return factors
