# The rows of the tables: models, chips, throughputs, counts.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""The rows of the tables, each of which says how sure it is and where it comes from."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

__all__ = ["Chip", "Count", "Energy", "ModelRow", "Sourced", "Throughput"]

AFTER = datetime.date(2021, 7, 1)  # the study's models are of before


@dataclass(frozen=True, kw_only=True)
class Sourced:
    """A row that says how sure it is and where it comes from.

    Attributes
    ----------
    confidence : {'high', 'medium', 'low'}
    basis : str
        What its value rests on.
    note : str
    origin : str
        The file and line of the row.
    given : bool
        Whether it is a user's.
    """

    confidence: str
    basis: str
    note: str
    origin: str
    given: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelRow(Sourced):
    """A model as it was published.

    Attributes
    ----------
    name, domain : str
        The domain is ``"vision"`` or ``"language"``.
    date : datetime.date
        When it was first released.
    gflops : float
        GFLOPs of one forward pass, batch 1; a multiply-accumulate is 2.
    params : float or None
        Millions of parameters.
    score : float or None
        Top-1 accuracy on ImageNet, or the GLUE score; in percent.
    size : int or None
        Pixels of the input's side, or tokens.
    extra_data : str
        What it was trained on beyond ImageNet; empty for nothing.
    architecture : str
        CNN, Transformer or Hybrid.
    independent : float or None
        GFLOPs from a second public source, which `independent_source` names.
    """

    name: str
    domain: str
    date: datetime.date
    gflops: float
    params: float | None
    score: float | None
    size: int | None
    extra_data: str
    architecture: str
    independent: float | None
    independent_source: str

    @property
    def is_of_paper(self) -> bool:
        """Whether the row's source says that the value is transcribed from the paper's table."""
        return self.basis == "the paper's table, transcribed"

    @property
    def is_counted(self) -> bool:
        """Whether its compute is macsim's count: a model after the study."""
        return self.basis.startswith("counted by macsim")

    @property
    def is_later(self) -> bool:
        """Whether it is a model after the study, in none of its lines."""
        return self.is_counted or (self.given and self.date >= AFTER)


@dataclass(frozen=True, kw_only=True)
class Chip(Sourced):
    """What a chip promises at one precision.

    Attributes
    ----------
    name, precision, kind : str
        The kind is Desktop or Server.
    tflops, watts : float
        The peak rate and the thermal design power.
    date : datetime.date
        When it was launched.
    """

    name: str
    precision: str
    kind: str
    tflops: float
    watts: float
    date: datetime.date

    @property
    def is_later(self) -> bool:
        """Whether it comes from macsim's hardware tables: a chip after the study, in none of its lines."""
        return self.origin.startswith("macsim.hardware")


@dataclass(frozen=True, kw_only=True)
class Throughput(Sourced):
    """One measured throughput, a speed-up, or what was read off a figure.

    Attributes
    ----------
    kind : str
        ``ngc_throughput`` rows are the published tables; ``mlperf_v1.0`` rows are a supplement.
    chip, precision, domain, model, framework : str
    rate : float or None
        In `unit`, ``samples/s`` or ``tokens/s``.
    watts : float or None
    gain : float or None
        Speed-up over FP32.
    gflops_per_watt : float or None
    """

    kind: str
    chip: str
    precision: str
    domain: str
    model: str
    framework: str
    rate: float | None
    unit: str
    watts: float | None
    gain: float | None
    gflops_per_watt: float | None


@dataclass(frozen=True)
class Energy:
    """What macsim's estimator says of one inference.

    Attributes
    ----------
    chip : str
        A table of `macsim.hardware`: the newest of `macsim.trends.recount.CHIPS` when the model was released.
    devices : int
        How many of them hold the weights.
    dtype : str
        What floats are taken as.
    joules, low, high : float
        Of all devices; 90 % lie between low and high.
    """

    chip: str
    devices: int
    dtype: str
    joules: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{f'{self.devices} x ' if self.devices > 1 else ''}{self.chip}, {self.dtype}"


@dataclass(frozen=True)
class Count:
    """What macsim counts for a model of the tables.

    Attributes
    ----------
    name, domain, architecture : str
        The row of the models' table, and the definition that was counted.
    size : int
        Pixels of the input's side, or tokens.
    macs, parameters : int
    energy : Energy or None
        None where no chip of the tables is as old as the model.
    """

    name: str
    domain: str
    architecture: str
    size: int
    macs: int
    parameters: int
    energy: Energy | None

    @property
    def gflops(self) -> float:
        """2 x multiply-accumulates, in billions."""
        return 2 * self.macs / 1e9
