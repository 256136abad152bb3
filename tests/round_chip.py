# A chip of round numbers, for estimates that are worked out by hand.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import macsim
from macsim.hardware_types import Hardware

# 100 TFLOP/s and 1 TB/s, of which half is reached; 100 pJ a byte, 50 W and 1 us.
CHIP = """
title = "A chip of round numbers"
kind = "gpu"
launch_overhead = { typical = 1, unit = "us", SOURCE }
peak = [
  { unit = "tensor", dtype = "bf16", sparse = false, rate = { typical = 100, unit = "TFLOP/s", SOURCE } },
  PEAKS
]
energy = [
  ENERGY
]
[[memory]]
name = "dram"
bandwidth = { typical = 1, unit = "TB/s", SOURCE }
path = { typical = 100, unit = "pJ/B", SOURCE }
TABLES
[power]
static = { typical = 50, unit = "W", SOURCE }
tdp = { typical = 1000, unit = "W", SOURCE }
[efficiency]
compute = { typical = 0.5, unit = "1", SOURCE }
memory = { typical = 0.5, unit = "1", SOURCE }
[sources]
us = "made up"
"""


def round_chip(folder: Path, peaks: str, energy: str, tables: str) -> Hardware:
    """Return the chip with further peaks, prices, memories and links, in TOML."""
    path = folder / "round.toml"
    text = CHIP.replace("PEAKS", peaks).replace("ENERGY", energy).replace("TABLES", tables)
    path.write_text(text.replace("SOURCE", 'source = "us", confidence = "high"'))
    return macsim.hardware(path)
