# Meters of energy that a machine has: counters of GPUs through NVML, of CPU packages through RAPL, and recordings.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Meters: what a machine itself says of the energy that it takes.

A meter is a counter of joules that only grows. NVML's is of a GPU's board, RAPL's of a CPU's package: neither is the
wall.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from macsim.errors import MeterError

__all__ = ["Meter", "NvmlMeter", "RaplMeter", "Reading", "RecordedMeter", "find_meter", "measured"]

POWERCAP = Path("/sys/class/powercap")


class Meter(Protocol):
    """A counter of joules.

    Attributes
    ----------
    name : str
        What is metered.
    """

    name: str

    def joules(self) -> float:
        """Return the joules since some time in the past."""


@dataclass
class Reading:
    """What a run took. Joules are None where there is no meter."""

    seconds: float = 0.0
    joules: float | None = None


@contextmanager
def measured(meter: Meter | None, clock: Callable[[], float] = time.perf_counter) -> Iterator[Reading]:
    """Measure what happens inside.

    Examples
    --------
    >>> with measured(None) as reading:
    ...     _ = sum(range(1000))
    >>> reading.seconds > 0, reading.joules
    (True, None)
    """
    reading = Reading()
    before = meter.joules() if meter is not None else 0.0
    start = clock()
    try:
        yield reading
    finally:
        reading.seconds = clock() - start
        if meter is not None:
            reading.joules = meter.joules() - before


class RaplMeter:
    """The packages of a CPU, as the Linux kernel tells them: all of them together.

    Parameters
    ----------
    root : path
        Where the kernel's counters are.
    """

    def __init__(self, root: str | os.PathLike[str] = POWERCAP) -> None:
        self._zones = [zone for zone in sorted(Path(root).glob("*rapl:*")) if _is_package(zone)]
        if not self._zones:
            raise MeterError(f"there are no RAPL packages in {root}: the kernel has none, or it is a virtual machine")
        self.name = f"RAPL, {len(self._zones)} package{'s' if len(self._zones) > 1 else ''}"
        self._limits = [_microjoules(zone / "max_energy_range_uj") for zone in self._zones]
        self._last = [_microjoules(zone / "energy_uj") for zone in self._zones]
        self._total = 0

    def joules(self) -> float:
        """Return the joules since the meter was made. A counter that ran over once since the last call is followed."""
        for at, zone in enumerate(self._zones):
            now = _microjoules(zone / "energy_uj")
            grown = now - self._last[at]
            self._total += grown if grown >= 0 else grown + self._limits[at] + 1
            self._last[at] = now
        return self._total * 1e-6


def _is_package(zone: Path) -> bool:
    name = zone / "name"
    return name.exists() and _read(name).startswith("package")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except PermissionError as error:
        raise MeterError(f"{path} is not for you to read: ask an administrator for it") from error
    except OSError as error:
        raise MeterError(f"{path} cannot be read: {error}") from error


def _microjoules(path: Path) -> int:
    text = _read(path)
    if not text.isdecimal():
        raise MeterError(f"{path} says {text!r}, which is no energy")
    return int(text)


class NvmlMeter:
    """The board of an NVIDIA GPU.

    Parameters
    ----------
    index : int
        Which GPU.
    nvml : module, optional
        What answers to pynvml's functions.
    """

    def __init__(self, index: int = 0, nvml: Any = None) -> None:
        self._nvml = nvml or _pynvml()
        try:
            self._nvml.nvmlInit()
            self._handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            self.name = str(_text(self._nvml.nvmlDeviceGetName(self._handle)))
        except self._nvml.NVMLError as error:
            raise MeterError(f"there is no GPU {index} to meter: {error}") from error
        self.joules()

    def joules(self) -> float:
        """Return the joules since the driver was loaded."""
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) * 1e-3
        except self._nvml.NVMLError as error:
            raise MeterError(f"{self.name}: its counter of energy cannot be read: {error}") from error


def _pynvml() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise MeterError("reading a GPU's counter takes nvidia-ml-py: pip install nvidia-ml-py") from error
    return pynvml


def _text(name: Any) -> Any:
    return name.decode() if isinstance(name, bytes) else name


class RecordedMeter:
    """A meter that plays back what one said before: a CSV file with a column ``joules``, one reading a line."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = f"recorded in {path}"
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if not rows or "joules" not in rows[0]:
            raise MeterError(f"{path}: a recording has a column joules, and a reading on each line")
        try:
            self._readings = iter([float(row["joules"]) for row in rows])
        except (TypeError, ValueError) as error:
            raise MeterError(f"{path}: a reading is a number of joules: {error}") from error

    def joules(self) -> float:
        """Return the next reading."""
        try:
            return next(self._readings)
        except StopIteration:
            raise MeterError(f"the readings {self.name} are at their end") from None


def find_meter(device: str) -> tuple[Meter | None, str]:
    """Return the meter of a device, ``cpu`` or ``cuda``, or None with the reason why there is none."""
    try:
        return (NvmlMeter() if device == "cuda" else RaplMeter()), ""
    except MeterError as error:
        return None, str(error)
