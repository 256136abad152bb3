# What a report knows of the modules of a torch program, besides their rows.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Modules as a report knows them: their class, how often they are called, their own parameters."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Called"]


@dataclass(slots=True)
class Called:
    """A module: the name of its class, how often it is called, elements of its own parameters."""

    kind: str = ""
    calls: int = 0
    parameters: int = 0
