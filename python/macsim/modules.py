# What a report knows of the modules of a torch program, besides their rows.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Modules as a report knows them: their class, how often they are called, their own parameters."""

from __future__ import annotations

__all__ = ["Called"]


class Called:
    """A module: the name of its class, how often it is called, elements of its own parameters."""

    __slots__ = ("calls", "kind", "parameters")

    def __init__(self, kind: str = "", calls: int = 0, parameters: int = 0) -> None:
        self.kind = kind
        self.calls = calls
        self.parameters = parameters
