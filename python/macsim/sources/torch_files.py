# Torch programs: how they are known, and those in files, exported programs and TorchScript.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Knows torch programs, and reads them from files without running code that a file holds; torch is not imported."""

from __future__ import annotations

import os
from typing import Any

from macsim.errors import ReadError

__all__ = ["INSTALL", "is_program", "is_torch_file", "may_be_graph", "read_program"]

INSTALL = "pip install 'macsim[torch]'"
SUFFIXES = (".pt2", ".pt", ".pth", ".ckpt", ".torchscript")


def is_torch_file(path: Any) -> bool:
    """Whether a path looks like that of a torch program."""
    return isinstance(path, str | os.PathLike) and os.fsdecode(path).lower().endswith(SUFFIXES)


def read_program(path: str | os.PathLike[str]) -> Any:
    """Return the exported program or the TorchScript module that a file holds."""
    name = os.fsdecode(path)
    if not os.path.isfile(name):
        raise ReadError(f"{name}: there is no such file", "MS101")
    try:
        import torch
    except ImportError as error:
        raise ReadError(f"{name} is a file of torch's, and torch is not installed: {INSTALL}", "MS101") from error
    if name.lower().endswith(".pt2"):
        import zipfile  # here: it takes long

        unread = f"{name} is no exported program that this torch ({torch.__version__}) reads"
        if not zipfile.is_zipfile(name):  # of which torch would write what it thinks to the terminal
            raise ReadError(f"{unread}: it is no zip archive")
        try:
            return torch.export.load(name)
        except Exception as error:  # torch raises what it meets
            raise ReadError(f"{unread}: {error}") from error
    try:
        return torch.jit.load(name, map_location="meta")
    except Exception as error:  # torch raises what it meets
        raise ReadError(
            f"{name} is neither an exported program nor TorchScript. A file of weights says nothing of the work: build "
            "the module and give that, or save it with torch.export.save"
        ) from error


def is_program(model: Any) -> bool:
    """Whether it is something that torch runs."""
    import torch

    programs = torch.nn.Module | torch.jit.ScriptFunction
    return isinstance(model, programs) or (callable(model) and not isinstance(model, type))


def may_be_graph(model: Any) -> bool:
    """Whether it is of a class whose objects hold a graph."""
    import torch

    return isinstance(model, torch.fx.GraphModule | torch.export.ExportedProgram)
