# Torch programs by name, for the command line: package.module:factory.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Finds a torch program by the name of what makes it, ``package.module:factory``."""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
from typing import Any

from macsim.errors import RequestError
from macsim.sources.torch_files import INSTALL

__all__ = ["is_program_name", "made"]

_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_program_name(text: str) -> bool:
    """Whether a text reads ``package.module:attribute``, and is not the name of a file."""
    return _NAME.fullmatch(text) is not None and not os.path.exists(text)


def made(text: str) -> Any:
    """Import what ``package.module:attribute`` names, and return the program: itself, or what it returns when called.

    Raises
    ------
    RequestError
        There is no such thing, or it is no program; the message says what to do.
    """
    name, _, attribute = text.partition(":")
    found = _imported(name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, [one for one in dir(found) if one[0] != "_"], n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise RequestError(f"{name} has no attribute {attribute!r}{hint}")
        found = getattr(found, part)
    _torch()
    if _is_program(found):
        return found
    if not callable(found):
        raise RequestError(
            f"{text} is of type {type(found).__name__}: name a module, its class, or a function that makes one"
        )
    _check_no_arguments(text, found)
    try:
        program = found()
    except Exception as error:  # the user's code raises what it likes
        raise RequestError(f"{text}() raised {type(error).__name__}: {error}") from error
    if not _is_program(program):
        raise RequestError(f"{text}() returned {type(program).__name__}, which is no torch.nn.Module")
    return program


def _imported(name: str) -> Any:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as python -m does
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if missing.partition(".")[0] == "torch" and not name.startswith("torch"):
            raise RequestError(f"{name} needs torch, which is not installed: {INSTALL}") from error
        if name == missing or name.startswith(missing + "."):
            raise RequestError(f"there is no module {missing!r}, neither installed nor in {os.getcwd()}") from error
        raise RequestError(f"importing {name} failed: {error}") from error
    except Exception as error:  # the user's code raises what it likes
        raise RequestError(f"importing {name} raised {type(error).__name__}: {error}") from error


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise RequestError(f"torch is not installed: {INSTALL}") from error


def _is_program(found: Any) -> bool:
    torch = _torch()
    return isinstance(found, torch.nn.Module | torch.export.ExportedProgram | torch.jit.ScriptFunction)


def _check_no_arguments(text: str, call: Any) -> None:
    import inspect

    try:
        wanted = inspect.signature(call)
    except (TypeError, ValueError):
        return
    try:
        wanted.bind()
    except TypeError as error:
        names = ", ".join(name for name, one in wanted.parameters.items() if one.default is one.empty)
        raise RequestError(
            f"{text} needs arguments ({names}): name a function without any that returns the module"
        ) from error
