# What differentiation is told while a torch program runs: what is detached, what is computed again.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Follows `torch.no_grad` and `torch.utils.checkpoint` while a program runs that is to be trained."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.checkpoint

from macsim import _core

__all__ = ["Follower", "following"]


class Follower:
    """Tells the tape where gradients stop and where nothing is kept."""

    def __init__(self, tape: _core.Tape) -> None:
        self.tape = tape
        self.own = 0  # functions with a gradient of their own, in which torch turns gradients off
        self._detached = False
        self._checkpoints = 0

    def look(self) -> None:
        """Note whether the next call takes part."""
        detached = self.own == 0 and not torch.is_grad_enabled()
        if detached != self._detached:
            self._detached = detached
            self.tape.detach(detached)

    @contextmanager
    def checkpoint(self, whole: bool = False) -> Iterator[None]:
        """Let what is called be computed again; what is inside of it is so anyway.

        ``whole``: to the end, also where nothing more was kept.
        """
        self._checkpoints += 1
        if self._checkpoints == 1:
            self.tape.checkpoint(True, whole)
        try:
            yield
        finally:
            self._checkpoints -= 1
            if self._checkpoints == 0:
                self.tape.checkpoint(False)


# Two functions of torch's are exchanged while at least one count of a training step is under way; threads that count
# nothing pass through.
_lock = threading.Lock()
_counts = 0
_originals: tuple[Any, Callable[..., Any]] | None = None
_thread = threading.local()
# What a checkpoint runs through, by its name in torch of up to 2.13, and later.
_GENERATORS = ("_checkpoint_without_reentrant_generator", "_checkpoint_without_reentrant_generator_impl")
_GENERATOR = next(name for name in reversed(_GENERATORS) if hasattr(torch.utils.checkpoint, name))


def _apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
    assert _originals is not None
    original = _originals[0].__get__(None, cls)
    follower = getattr(_thread, "follower", None)
    if follower is None:
        return original(*args, **kwargs)
    follower.own += 1
    try:
        if cls.__name__ == "CheckpointFunction" and cls.__module__ == "torch.utils.checkpoint":
            function, _, *arguments = args
            with follower.checkpoint(whole=True):
                return function(*arguments, **kwargs)
        return original(*args, **kwargs)
    finally:
        follower.own -= 1


def _generator(function: Any, *args: Any, **kwargs: Any) -> Iterator[None]:
    assert _originals is not None
    follower = getattr(_thread, "follower", None)
    if follower is None:
        yield from _originals[1](function, *args, **kwargs)
        return
    with follower.checkpoint():
        yield


@contextmanager
def following(follower: Follower) -> Iterator[None]:
    """Run with gradients on, as far as the program does not turn them off, and tell the follower."""
    global _counts, _originals
    with _lock:
        if _counts == 0:
            function: Any = torch.autograd.Function
            _originals = (vars(function)["apply"], getattr(torch.utils.checkpoint, _GENERATOR))
            function.apply = classmethod(_apply)
            setattr(torch.utils.checkpoint, _GENERATOR, _generator)
        _counts += 1
    outer = getattr(_thread, "follower", None)
    _thread.follower = follower
    try:
        with torch.enable_grad():
            yield
    finally:
        _thread.follower = outer
        with _lock:
            _counts -= 1
            if _counts == 0 and _originals is not None:
                function.apply = _originals[0]
                setattr(torch.utils.checkpoint, _GENERATOR, _originals[1])
                _originals = None
