# What stands for the tensors, sizes and modules of a graph that torch made.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Values of graphs, as the tape knows them, and names as torch's graphs spell them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves

from macsim.errors import TraceError
from macsim.sources.torch_ops import DTYPES
from macsim.sources.torch_sizes import Sizes

__all__ = [
    "Value",
    "class_name",
    "facts",
    "identity_of",
    "name_of",
    "named",
    "path_of",
    "plain",
    "stored_of",
    "user_inputs",
    "user_results",
    "values",
]


_GETATTR = re.compile(r"getattr\(([^()]*), '([^']*)'\)")


class Value:
    """A tensor of a graph, as the tape knows it: by its type alone.

    Inside a `vmap` it is one of many: `lanes` are the maps that it differs along, by their numbers.
    """

    __slots__ = ("dtype", "lanes", "shape")

    def __init__(self, dtype: torch.dtype, shape: tuple[Any, ...], lanes: frozenset[int] = frozenset()) -> None:
        self.dtype = dtype
        self.shape = shape
        self.lanes = lanes


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
    while (inner := _GETATTR.search(where)) is not None:
        where = f"{where[: inner.start()]}{inner[1]}.{inner[2]}{where[inner.end() :]}"
    text = where.replace("['", ".").replace("']", "").replace('["', ".").replace('"]', "")
    for prefix in ("L.self", "L.fn", "self", "_export_root"):
        if text == prefix or text.startswith(prefix + "."):
            text = text[len(prefix) :]
    return ".".join(part.partition("@")[0] for part in text.replace("_modules.", "").split(".") if part)


def class_name(kind: Any) -> str:
    """Return the name of a module's class, as a stack spells it."""
    name = kind.__qualname__ if isinstance(kind, type) else str(kind)
    return name.rpartition(".")[2]


def name_of(model: Any) -> str:
    """Return the name of the class that was exported, or of the graph."""
    if not isinstance(model, torch.export.ExportedProgram):
        name = type(model).__name__
        return name if name.isidentifier() else "graph"
    for node in model.graph.nodes:
        for key, (where, kind) in (node.meta.get("nn_module_stack") or {}).items():
            if not key.startswith("_empty_nn_module_stack") and not path_of(where):
                return class_name(kind)
    return "exported"


# Exported programs. ---------------------------------------------------------------------------------------------------


def stored_of(exported: torch.export.ExportedProgram) -> dict[str, tuple[str, str]]:
    """Return the kind and the qualified name of every tensor of the model's, by the placeholder's name."""
    return {
        spec.arg.name: (spec.kind.name, spec.target)
        for spec in exported.graph_signature.input_specs
        if spec.target is not None and spec.kind.name in ("PARAMETER", "BUFFER", "CONSTANT_TENSOR")
    }


def user_inputs(exported: torch.export.ExportedProgram, nodes: list[fx.Node]) -> dict[str, Any]:
    """Return what an exported program says of its inputs, by name."""
    named = {node.name: node for node in nodes}
    specs = [one for one in exported.graph_signature.input_specs if one.kind.name == "USER_INPUT"]
    return {one.arg.name: named[one.arg.name].meta.get("val") for one in specs if one.arg.name in named}


def named(nodes: list[fx.Node]) -> dict[str, Any]:
    """Return what a graph says of its inputs, by name."""
    return {str(node.target): node.meta.get("val") for node in nodes}


def user_results(exported: torch.export.ExportedProgram, results: Any) -> list[Any]:
    """Return those of an exported program's results that its caller gets."""
    kinds = [spec.kind.name for spec in exported.graph_signature.output_specs]
    flat = list(results) if isinstance(results, list | tuple) else [results]
    return [one for one, kind in zip(flat, kinds, strict=False) if kind == "USER_OUTPUT"]


def identity_of(exported: torch.export.ExportedProgram, name: str) -> Any:
    """Tell tensors of the model apart: tied weights have one identity."""
    tensor = exported.state_dict.get(name)
    if not isinstance(tensor, torch.Tensor):
        return name
    try:
        start = tensor.data_ptr()
    except (RuntimeError, NotImplementedError):
        start = 0
    return (start, tensor.shape, tensor.dtype) if start else id(tensor)
