# What of torch's can be counted.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Tells programs and graphs of torch's apart, without what counts either."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["is_program", "may_be_graph"]


def is_program(model: Any) -> bool:
    """Whether it is something that torch runs."""
    programs = torch.nn.Module | torch.jit.ScriptFunction
    return isinstance(model, programs) or (callable(model) and not isinstance(model, type))


def may_be_graph(model: Any) -> bool:
    """Whether it is of a class whose objects hold a graph."""
    return isinstance(model, torch.fx.GraphModule | torch.export.ExportedProgram)
