# What stands for the tensors, sizes and modules of a graph that torch made.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Values of graphs, as the tape knows them, and names as torch's graphs spell them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import torch
from torch import fx
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_leaves, tree_unflatten

from macsim import _core
from macsim.errors import TraceError
from macsim.sources.torch_sizes import Sizes
from macsim.sources.torch_values import DTYPES, placed

__all__ = [
    "STORED",
    "Value",
    "class_name",
    "elements_of",
    "facts",
    "name_of",
    "named_results",
    "path_of",
    "plain",
    "user_inputs",
    "values",
]


class Value:
    """A tensor of a graph, as the tape knows it: by its type alone.

    Inside a `vmap` it is one of many: `lanes` are the maps that it differs along, by their numbers;
    `weight_lanes`, of a part of a weight, those that go over the weight.
    """

    __slots__ = ("dtype", "lanes", "shape", "weight_lanes")

    def __init__(self, dtype: torch.dtype, shape: tuple[Any, ...], lanes: frozenset[int] = frozenset()) -> None:
        self.dtype = dtype
        self.shape = shape
        self.lanes = lanes
        self.weight_lanes: frozenset[int] = frozenset()


def _no_tensor(*_: Any) -> Any:
    raise TraceError("results of graphs are those that the graph states")


def facts(sizes: Sizes) -> dict[str, Any]:
    """What the core has to know of the values of graphs."""
    return {
        "tensor": Value,
        "node": fx.Node,
        "make": _no_tensor,
        "dtypes": DTYPES,
        "expr_of": lambda size: sizes.size(size) if isinstance(size, torch.SymInt) else size,
        "size_of": lambda e: e,
    }


def values(nest: Any) -> list[Value]:
    """Return the tensors in a nest."""
    return [one for one in tree_leaves(nest) if isinstance(one, Value)]


def plain(nest: Any) -> Any:
    """Return arguments in tuples and lists of Python's: those of fx are its own."""
    if isinstance(nest, dict):
        return {key: plain(one) for key, one in nest.items()}
    if isinstance(nest, tuple):
        return tuple(plain(one) for one in nest)
    if isinstance(nest, list):
        return [plain(one) for one in nest]
    return nest


@lru_cache(65536)
def path_of(where: str) -> str:
    """Return the path of a module from how a stack spells it: ``L['self'].layers.0``, ``layers.0``, by getattr()."""
    while "getattr(" in where and (inner := re.search(r"getattr\(([^()]*), '([^']*)'\)", where)) is not None:
        where = f"{where[: inner.start()]}{inner[1]}.{inner[2]}{where[inner.end() :]}"
    text = where.replace("['", ".").replace("']", "").replace('["', ".").replace('"]', "")
    for prefix in ("L.self", "L.fn", "self", "_export_root"):
        if text == prefix or text.startswith(prefix + "."):
            text = text[len(prefix) :]
    return ".".join(part.partition("@")[0] for part in text.replace("_modules.", "").split(".") if part)


def class_name(kind: Any) -> str:
    """Return the name of a module's class, as a stack spells it."""
    return _last(kind.__qualname__ if isinstance(kind, type) else str(kind))


@lru_cache(4096)
def _last(name: str) -> str:
    return name.rpartition(".")[2]


def name_of(model: Any, first: fx.Node | None) -> str:
    """Return the name of the class that was exported, or of the graph; ``first``: the first node that is no input."""
    if not isinstance(model, torch.export.ExportedProgram):
        name = type(model).__name__
        return name if name.isidentifier() else "graph"
    node = first
    while node is not None and node.op != "root":
        stack = node.meta.get("nn_module_stack") if node.op != "placeholder" else None
        for key, (where, kind) in (stack or {}).items():
            if not key.startswith("_empty_nn_module_stack") and not path_of(where):
                return class_name(kind)
        node = node.next
    return "exported"


# Exported programs. ---------------------------------------------------------------------------------------------------


# What an exported program says of inputs that are its model's: parameters, and what are no parameters.
STORED = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


def user_inputs(model: Any, nodes: list[fx.Node], kinds: list[Any]) -> dict[fx.Node, str]:
    """Return the inputs of an exported program, of placeholders that are of these kinds, and their names.

    Those in nests are named by their places, as a module's own are: ``x.a``, ``x.b[0]``.
    """
    given = [node for node, kind in zip(nodes, kinds, strict=True) if kind is InputKind.USER_INPUT]
    calls = model.module_call_graph
    signature = calls[0].signature if calls else None
    spec = getattr(signature, "in_spec", None)
    if spec is not None and spec.num_leaves == len(given):
        args, kwargs = spec.children() if hasattr(spec, "children") else spec.children_specs
        if args.num_children + kwargs.num_children != len(given):
            return _in_nests(given, spec, list(getattr(signature, "forward_arg_names", None) or ()))
    return {node: node.name for node in given}


def _in_nests(nodes: list[fx.Node], spec: Any, parameters: list[str]) -> dict[fx.Node, str]:
    args, kwargs = tree_unflatten(nodes, spec)
    names: dict[fx.Node, str] = {}

    def name(at: str, held: Any) -> None:
        if isinstance(held, fx.Node):
            names[held] = at
        elif isinstance(held, dict):
            for key, one in held.items():
                name(f"{at}.{key}", one)
        elif isinstance(held, tuple) and hasattr(held, "_fields"):
            for field in held._fields:
                name(f"{at}.{field}", getattr(held, field))
        elif isinstance(held, list | tuple):
            for i, one in enumerate(held):
                name(f"{at}[{i}]", one)

    for at, one in [*zip(parameters, args, strict=False), *kwargs.items()]:
        name(at, one)
    return {node: names.get(node, node.name) for node in nodes}


def named_results(model: Any, results: Any) -> list[tuple[str, Any]]:
    """Return the tensors that a graph gives to its caller, and where each is in what the program returned."""
    if not isinstance(model, torch.export.ExportedProgram):
        return placed(results, Value)
    flat = user_results(model, results)
    calls = model.module_call_graph  # call_spec, which says the same, makes a class at every use
    spec = calls[0].signature.out_spec if calls and calls[0].signature is not None else None
    if spec is None or spec.num_leaves != len(flat):
        return placed(flat, Value)
    return placed(tree_unflatten(flat, spec), Value)


def user_results(exported: torch.export.ExportedProgram, results: Any) -> list[Any]:
    """Return those of an exported program's results that its caller gets."""
    kinds = [spec.kind.name for spec in exported.graph_signature.output_specs]
    flat = list(results) if isinstance(results, list | tuple) else [results]
    return [one for one, kind in zip(flat, kinds, strict=False) if kind == "USER_OUTPUT"]


def elements_of(module: torch.nn.Module) -> dict[str, int]:
    """Return how many elements the parameters of a graph's modules have, by the paths of these; each counts once."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    for inner, path in _core.module_paths(module)[0].items():
        for one in inner._parameters.values():
            if one is not None and id(one) not in seen:
                seen.add(id(one))
                found[path] = found.get(path, 0) + one.numel()
    return found
