# What a count needs of nn.Module: where in the tree a call is, and that the tree is left as it was found.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Paths of modules while they run, and their state before and after."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from macsim import _core

if TYPE_CHECKING:
    from macsim.modules import Called

__all__ = [
    "SHARDED",
    "called",
    "class_name",
    "is_script",
    "is_wrapped",
    "left_as_found",
    "loaded",
    "noted",
    "unwrapped",
    "watching",
]

_WRAPPERS = [("torch._dynamo.eval_frame", "OptimizedModule"), ("torch.distributed.fsdp", "FullyShardedDataParallel")]
SHARDED = [("torch.distributed.tensor", "DTensor")]


def class_name(module: nn.Module) -> str:
    """Return the name of a module's class, of TorchScript that of the class it was made from."""
    made_from = getattr(module, "original_name", "") if is_script(module) else ""
    return str(made_from) or type(module).__name__


def noted(modules: _core.CalledModules, root: nn.Module | None) -> dict[str, Called] | _core.CalledModules:
    """Return what was called. What TorchScript calls is not seen: that is one module."""
    if root is None or not is_script(root):
        return modules
    from macsim.modules import Called

    return {"": Called(class_name(root), 1, sum(own for *_, own in modules.told()))}


def is_script(program: Any) -> bool:
    """Whether it is TorchScript, which torch's own interpreter runs."""
    return isinstance(program, torch.jit.ScriptModule | torch.jit.ScriptFunction)


# Wrappers. -----------------------------------------------------------------------------------------------------------


def called(model: Any) -> Any:
    """Return the wrapper whose ``forward`` it is, other programs as they are."""
    owner = getattr(model, "__self__", None)
    is_forward = isinstance(owner, nn.Module) and getattr(model, "__name__", None) == "forward"
    return owner if is_forward and _inside(owner) is not None else model


def unwrapped(model: Any) -> Any:
    """Return the module inside a compiled or a distributed one."""
    while True:
        inner = _inside(model) if isinstance(model, nn.Module) else None
        if inner is not None:
            model = inner
        elif hasattr(model, "_torchdynamo_orig_callable"):
            model = model._torchdynamo_orig_callable
        else:
            return model


def _inside(module: nn.Module) -> nn.Module | None:
    """Return what a wrapper wraps; None: it is none."""
    children = module._modules
    for name in ("_orig_mod", "_fsdp_wrapped_module"):
        if name in children:
            return children[name]
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return children["module"]
    return None


def is_wrapped(classes: Iterable[type]) -> bool:
    """Whether there are wrappers among the classes of modules and parameters, or such as hold only a part of one."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel, *loaded([*_WRAPPERS, *SHARDED]))
    return any(issubclass(kind, wrappers) for kind in classes)


def loaded(classes: Iterable[tuple[str, str]]) -> tuple[Any, ...]:
    """Return those of these classes whose modules somebody imported."""
    found = (getattr(sys.modules.get(module), name, None) for module, name in classes)
    return tuple(one for one in found if one is not None)


# State. ---------------------------------------------------------------------------------------------------------------

_states = _core.ModuleStates(vars(nn.Module()))
_states_lock = threading.Lock()
_under_way = 0
_drawn: list[Callable[[], None]] = []  # what puts the random numbers back


@contextmanager
def left_as_found(modules: list[nn.Module], evaluate: bool = True) -> Iterator[None]:
    """Run in evaluation mode, or in the mode that each module is in, and put back all that they hold.

    Where several threads count the same modules, the last of them puts back what the first one found; so it is with
    the random numbers of torch, of numpy and of Python, which programs may draw and seed.
    """
    global _drawn, _under_way
    classes = {kind for kind in set(map(type, modules)) if issubclass(kind, torch.jit.ScriptModule)}
    scripts = [m for m in modules if type(m) in classes] if classes else []
    plain = [m for m in modules if type(m) not in classes] if classes else modules
    with _states_lock:
        if _under_way == 0:
            _drawn = [partial(put, state) for put, state in _random_states()]
        _under_way += 1
        _states.enter(plain, evaluate)
    try:
        with _scripts_as_found(scripts, evaluate):
            yield
    finally:
        with _states_lock:
            _states.leave(plain)
            _under_way -= 1
            if _under_way == 0:
                for put_back in _drawn:
                    put_back()


def _random_states() -> Iterator[tuple[Callable[[Any], Any], Any]]:
    """Yield the states of the generators that programs draw from unasked, each with what sets it.

    That is torch's of the devices in use, Python's, and numpy's where it was ever imported.
    """
    yield random.setstate, random.getstate()
    cuda = torch.cuda.default_generators if torch.cuda.is_initialized() else ()
    for one in (torch.default_generator, *cuda):
        yield one.set_state, one.get_state()
    numpys = sys.modules.get("numpy.random")
    if numpys is not None:
        yield numpys.set_state, numpys.get_state()


@contextmanager
def _scripts_as_found(modules: list[Any], evaluate: bool) -> Iterator[None]:
    """The same of TorchScript, whose state is not Python's; the interpreter is to learn nothing from the run."""
    with torch.jit.optimized_execution(False):  # of this thread
        training = [
            (m, m.training) for m in modules if evaluate and hasattr(m, "training")
        ]  # frozen ones have no such flag
        for module, was in training:
            if was:
                module.training = False
        try:
            yield
        finally:
            for module, was in training:
                if was:
                    module.training = True


# Module._call_impl, to which every call comes, is exchanged while at least one count is under way; threads that count
# nothing pass through. (Exchanging __call__ itself would make Python go through every class of modules there is.)
# Compiled functions run as they were written meanwhile. Both are the process's: the first count to begin changes them,
# the last to end puts them back.
_lock = threading.Lock()
_counts = 0
_stance: Any = None
_original: Callable[..., Any] | None = None
_compile: Callable[..., Any] | None = None


def _run_eagerly() -> None:
    global _stance
    _stance = torch.compiler.set_stance("force_eager")
    _stance.__enter__()


def _compiled(*args: Any, **kwargs: Any) -> Any:
    with _lock:
        if _stance is None and _counts:
            _run_eagerly()
    original = _compile or torch.compile
    return original(*args, **kwargs)


@contextmanager
def watching(calls: _core.ModuleCalls) -> Iterator[None]:
    """Tell ``calls`` of every module that this thread calls."""
    global _compile, _counts, _original, _stance
    with _lock:
        if _counts == 0:
            _original = nn.Module._call_impl
            nn.Module._call_impl = _core.watched_call(_original)
            if "torch._dynamo" in sys.modules:
                _run_eagerly()
            else:  # it takes seconds to load, and only then is anything compiled
                _compile = torch.compile
                torch.compile = _compiled
        _counts += 1
    outer = _core.exchange_calls(calls)
    try:
        yield
    finally:
        _core.exchange_calls(outer)
        with _lock:
            _counts -= 1
            if _counts == 0:
                if _stance is not None:
                    _stance.__exit__(None, None, None)
                    _stance = None
                if _compile is not None:
                    torch.compile = _compile
                    _compile = None
                nn.Module._call_impl = _original
