# Counts graphs of torch.fx whose nodes say nothing of their results, such as torch.fx.symbolic_trace makes.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Walks traced graphs: calls that are operators go to the core as they are, and only what is none of these is run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import fx
from torch.nn import functional as F  # noqa: N812 - as everybody calls it
from torch.nn.modules import module as torch_modules

from macsim import _core
from macsim.sources.torch_trace import Recorder
from macsim.sources.torch_traced_calls import FUNCTIONS, MODULES, OPERATORS, SPELLINGS, Way

__all__ = ["is_traced", "walked"]


def is_traced(program: Any) -> bool:
    """Whether it is a graph to be walked: it does what its nodes say, and nobody looks on while it runs."""
    if not isinstance(program, fx.GraphModule) or type(program.graph._codegen) is not fx.graph.CodeGen:
        return False
    hooked = program._forward_hooks or program._forward_pre_hooks or "forward" in vars(program)
    modes = torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack()
    cast = torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda")
    return not (hooked or _has_global_hook() or modes or cast)


# Those that are called around calls of any module.
_HOOKS = ("_global_forward_pre_hooks", "_global_forward_hooks")


def _has_global_hook() -> bool:
    return any(getattr(torch_modules, name) for name in _HOOKS)


def walked(
    program: fx.GraphModule, recorder: Recorder, running: Callable[[], None], /, *args: Any, **kwargs: Any
) -> Any:
    """Walk a graph on these inputs, and return what it gives back; ``running`` prepares for parts that have to run."""
    began = False

    def run(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nonlocal began
        if not began:
            running()
            began = True
        with recorder:
            return function(*args, **kwargs)

    def ways(target: Any) -> tuple[list[tuple[Any, ...]], bool]:
        out: list[tuple[Any, ...]] = []
        for calling, func, ranks in _callings(target):
            if func is None:
                out.append((calling, None, "same", None, ranks))
                continue
            operator = recorder._operator(func)
            way = "view" if operator.way == "reshape" else operator.way
            if way in ("call", "turned", "changes", "view", "orders"):
                out.append((calling, operator.plan, way, func, ranks))
        return out, getattr(target, "__module__", None) in _PYTHONS

    walk = _core.TracedWalk(
        recorder.tape,
        recorder.calls,
        recorder._short,
        {
            "node": fx.Node,
            "args": "_args" if hasattr(fx.Node, "_args") else "args",  # the others are Python's properties
            "kwargs": "_kwargs" if hasattr(fx.Node, "_kwargs") else "kwargs",
            "ways": ways,
            "run": run,
            "compare": getattr(recorder, "_compare", None),
            "looks": _LOOKS,
            "getattr": getattr,
        },
    )
    nodes = list(program.graph.nodes)
    return walk.walk(program, nodes, _placed(nodes, args, kwargs))


def _placed(nodes: list[fx.Node], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Return the inputs in the order of the placeholders."""
    given = iter(args)
    places = [node for node in nodes if node.op == "placeholder"]
    return [
        kwargs[node.target] if node.target in kwargs else next(given, node.args[0] if node.args else None)
        for node in places
    ]


# Names of attributes and methods that say something of a tensor.
_LOOKS = frozenset({"shape", "size", "dim", "ndim", "ndimension", "numel", "nelement", "dtype", "device", "layout",
                    "is_floating_point", "is_complex", "element_size", "itemsize"})  # fmt: skip


@cache
def _callings(target: Any) -> list[tuple[_core.Calling, Any, tuple[int, ...]]]:
    """Return as which operators a function, a method (by its name) or a module (by its class) may be called.

    Each comes with the numbers of axes that torch lets the input have; empty: any.
    """
    if isinstance(target, torch._ops.OpOverload):
        return [(_calling(target), target, ())]
    if isinstance(target, type):
        return [_picked(None, way) for way in MODULES.get(target, ())]
    for functions in (FUNCTIONS, OPERATORS):
        if target in functions:
            return [_picked(target, way) for way in functions[target]]
    if isinstance(target, str):
        names: tuple[str, ...] = SPELLINGS.get(target, ())
    else:
        name = getattr(target, "__name__", "")
        torchs = target in (getattr(torch, name, None), getattr(torch._C._nn, name, None))
        names = SPELLINGS.get(name, ()) if torchs and inspect.isbuiltin(target) else ()
    found = [_operator(name) for name in names]
    return [(_calling(func, spread=isinstance(target, str)), func, ()) for func in found]


def _operator(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def _picked(function: Any, way: Way) -> tuple[_core.Calling, Any, tuple[int, ...]]:
    name, gives, when, ranks = way
    if not name:
        return _core.Calling([("input", "tensor", False, 0, None)], None, list(gives), when, 1, False), None, ranks
    own = None
    if function is not None:
        said = inspect.signature(_BEHIND.get(function, function)).parameters.values()
        own = [(one.name, None if one.default is one.empty else (one.default,)) for one in said]
    func = _operator(name)
    return _calling(func, own, list(gives), when), func, ranks


def _calling(func: Any, own: Any = None, picks: Any = None, when: Any = None, spread: bool = False) -> _core.Calling:
    """Return how arguments become those of an operator; ``spread``: a method may take integers one by one."""
    takes, positional = [], 0
    for one in func._schema.arguments:
        kind = str(one.type)
        optional = kind.startswith("Optional[")
        bare = kind[len("Optional[") : -1] if optional else kind
        used: Any = _KINDS.get(bare, type(None))
        if bare == "Tensor" and one.name == "other" and func._schema.name.removesuffix("_") in _NUMBERS:
            used = "operand"
        if one.name in _CLASSES:
            used = _CLASSES[one.name]
        positional += not one.kwarg_only
        takes.append((one.name, used, optional, one.N or 0, (one.default_value,) if one.has_default_value() else None))
    alone = positional == 2 and takes[1][1] == "integers"
    return _core.Calling(takes, own, picks, when or {}, positional, spread and alone)


_KINDS = {"Tensor": "tensor", "List[Tensor]": "tensors", "int": "integer", "List[int]": "integers", "number": "number",
          "float": "number", "bool": "flag", "str": str}  # fmt: skip
_CLASSES = {"dtype": torch.dtype}  # torch says that these are integers
_NUMBERS = frozenset({"aten::add", "aten::sub", "aten::mul", "aten::div"})  # which take numbers for tensors
_PYTHONS = ("_operator", "builtins", "math")  # modules of functions that are not torch's
_BEHIND = {F.max_pool2d: vars(F)["_max_pool2d"]}  # what is called depends on a flag; this one's arguments are the same
