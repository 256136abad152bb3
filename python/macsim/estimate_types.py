# What an estimate consists of: rows, roofs, the energy at the wall, and how it was asked for.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The parts of an `Estimate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from macsim.estimate_physics import Range

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Asked", "Roof", "Roofline", "RowEstimate", "Wall", "plain"]


class RowEstimate(NamedTuple):
    """What one node, or a group of them, takes.

    Attributes
    ----------
    name : str
        The node's path, or the group's name.
    seconds, joules : Range
    bound : str
        ``compute``, ``memory`` or ``launch``: what takes most of its time; empty when it takes none.
    flops, bytes : float
        Operations, two for a multiply-accumulate, and bytes of the main memory.
    op : str
        The operator that does most of the work; of groups by something else, empty.
    energy : mapping of str to float
        The typical joules by what they go to: as `Estimate.energy`.
    """

    name: str
    seconds: Range
    joules: Range
    bound: str
    flops: float
    bytes: float
    op: str = ""
    energy: Mapping[str, float] = MappingProxyType({})

    @property
    def intensity(self) -> float:
        """Operations for each byte."""
        return self.flops / self.bytes if self.bytes else float("inf")

    @property
    def reached(self) -> float:
        """Operations for each second."""
        return self.flops / self.seconds.typical if self.seconds.typical else 0.0


@dataclass(frozen=True)
class Asked:
    """How an estimate was asked for: what `Report.estimate` takes.

    Attributes
    ----------
    sizes : mapping of str to int or array of int
    dtype : str or None
    tf32 : bool
    traffic : str
    capacity, cores : int or None
    devices : int
    parallel, link : str
        Of several devices: how they share the work, and the link that was taken.
    sent : ndarray
        Bytes that each device sends, by sets of sizes.
    seconds : ndarray or None
        Times that were measured.
    """

    sizes: Mapping[str, Any]
    dtype: str | None
    tf32: bool
    traffic: str
    capacity: int | None
    cores: int | None
    devices: int
    parallel: str
    link: str
    sent: NDArray[Any]
    seconds: NDArray[Any] | None


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


def plain(value: Any) -> Any:
    """Return a range, an array or a number as plain data."""
    if isinstance(value, Range):
        return {name: plain(one) for name, one in value._asdict().items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


class Roof(NamedTuple):
    """A peak.

    Attributes
    ----------
    rate : float
        Operations a second.
    work : float
        The operations of the run that it does, two for a multiply-accumulate.
    """

    rate: float
    work: float

    @property
    def is_used(self) -> bool:
        """Whether the run uses it."""
        return self.work > 0


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

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, without what was not asked for."""
        return {name: plain(value) for name, value in vars(self).items() if value is not None}
