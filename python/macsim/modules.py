# What a report knows of the modules of a torch program, besides their rows.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Modules as a report knows them: their class, how often they are called, their own parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Called", "note_parameters"]


@dataclass(slots=True)
class Called:
    """A module: the name of its class, how often it is called, elements of its own parameters."""

    kind: str = ""
    calls: int = 0
    parameters: int = 0


def note_parameters(modules: dict[str, Called], parameters: Iterable[tuple[str, int]]) -> None:
    """Add the elements of parameters to the modules that hold them, called or not."""
    for path, elements in parameters:
        modules.setdefault(path.rpartition(".")[0], Called()).parameters += elements
