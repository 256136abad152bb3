# The verbs: load a model, analyze it, or both at once.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Load a model, analyze it, or both at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from macsim import _core
from macsim.custom import Registry, rules
from macsim.errors import ReadError, RequestError, UnknownWorkError
from macsim.report import Report
from macsim.sources.torch_files import INSTALL, is_program, is_torch_file, may_be_graph, read_program
from macsim.training import Training, trained

if TYPE_CHECKING:
    from macsim._core import CalledModules, Expr, Model
    from macsim.modules import Called

__all__ = ["analyze", "count", "load"]


class _Proto(Protocol):
    """What an onnx.ModelProto is known by."""

    def SerializeToString(self) -> bytes: ...  # noqa: N802 - protobuf's name


Size: TypeAlias = "int | str | Expr | None"
Shape: TypeAlias = "Sequence[Size]"
Source: TypeAlias = (
    "str | os.PathLike[str] | os.PathLike[bytes] | bytes | bytearray | memoryview | Model | _Proto | object"
)

MOST_ELEMENTS = 65536  # of a given value: beyond that only its shape and dtype are used


def load(model: Source) -> Model:
    """Read a model.

    Files are mapped and buffers are kept, not copied; weights are never read, nor are files of external data opened.

    Parameters
    ----------
    model : path, bytes-like, onnx.ModelProto, onnx_ir.Model or Model
        The path of an ``.onnx`` file, its bytes, or an object in memory. A loaded model is given back as it is.
        A buffer must not be changed while the model is in use.

    Returns
    -------
    Model

    Raises
    ------
    ReadError
        When it is not a model that can be read; the message says where and what to do.

    Examples
    --------
    >>> import macsim
    >>> model = macsim.load("examples/resnet50.onnx")
    >>> model.nodes, model.symbols
    (175, ['batch', 'height', 'width'])
    """
    if isinstance(model, _core.Model):
        return model
    if isinstance(model, bytes | bytearray | memoryview):
        return _core.read_buffer(model)
    if isinstance(model, str | os.PathLike):
        return _core.read_file(os.fsencode(model))
    if type(model).__module__.partition(".")[0] == "onnx_ir":
        model = _proto_of(model)
    if hasattr(model, "SerializeToString"):
        return _core.read_buffer(_serialized(model))
    raise TypeError(_no_model(model))


def _no_model(model: object) -> str:
    """Say what a model is, and what may have been meant."""
    if isinstance(model, type):
        said = f"the class {model.__name__}: give an instance of it"
    elif isinstance(model, Mapping):
        said = f"{type(model).__name__}: weights say nothing of the work; give the module that they are loaded into"
    else:
        said = type(model).__name__
    return (
        "a model is a path, bytes, an onnx.ModelProto, an onnx_ir.Model, or of torch a module, a function, an exported "
        f"program or an fx graph, not {said}"
    )


def analyze(
    model: Model,
    *,
    shapes: Mapping[str, Shape] | Shape | None = None,
    dims: Mapping[str, int] | None = None,
    values: Mapping[str, Any] | None = None,
    cache: Sequence[str] | str | None = None,
    training: bool | Training = False,
    strict: bool = False,
    registry: Registry | None = None,
) -> Report:
    """Count a loaded model: see `count`, of which this is the second half.

    Examples
    --------
    >>> import macsim
    >>> model = macsim.load("examples/resnet50.onnx")
    >>> [macsim.analyze(model, shapes=(1, 3, side, side)).macs for side in (224, 256)]
    [4089184256, 5340348416]
    """
    inputs = _inputs(model, shapes, values)
    table = (rules if registry is None else registry).table
    if dims:
        _check_dims(dims, model, inputs, table)
    return _checked(Report(_core.analyze(model, table, inputs, dict(dims or {})), model), strict, training, cache)


def _checked(
    report: Report,
    strict: bool,
    training: bool | Training,
    cache: Sequence[str] | str | None,
    outputs: Sequence[str] | None = None,
) -> Report:
    if cache is not None:
        report._cache = _cache_names(report, cache)
    if training is not False:
        options = Training() if training is True else training
        names = [tensor.name for tensor in report.outputs] if outputs is None else outputs
        report._training = trained(report, options, names)
    if strict and report.trust == "unknown":
        ops: dict[str, int] = {}
        reasons: dict[str, str] = {}
        scopes: dict[str, list[str]] = {}
        for row in report.rows:
            if row.trust == "unknown":
                ops[row.op] = ops.get(row.op, 0) + 1
                reasons.setdefault(row.op, row.because)
                met = scopes.setdefault(row.op, [])
                if row.scope and row.scope not in met:
                    met.append(row.scope)
        raise UnknownWorkError(ops, report, reasons, scopes)
    return report


def _cache_names(report: Report, cache: Sequence[str] | str) -> tuple[str, ...]:
    names = (cache,) if isinstance(cache, str) else tuple(cache)
    known = [tensor.name for tensor in (*report.inputs, *report.outputs)]
    for name in names:
        if name not in known:
            raise RequestError(f"cache names {name!r}, which is neither input nor output: {', '.join(known)}")
    return names


def count(
    model: Source,
    *inputs: Any,
    kwargs: Mapping[str, Any] | None = None,
    shapes: Mapping[str, Shape] | Shape | None = None,
    dims: Mapping[str, int] | None = None,
    values: Mapping[str, Any] | None = None,
    dtypes: Mapping[str, Any] | None = None,
    hints: Mapping[str, int] | None = None,
    method: str | None = None,
    cache: Sequence[str] | str | None = None,
    training: bool | Training = False,
    strict: bool = False,
    registry: Registry | None = None,
) -> Report:
    """Count the work and the memory traffic of a model, without running it.

    What an ONNX model leaves open stays a symbol in the counts, until it is bound: nothing has to be given. A torch
    program is called over tensors without storage; it is left exactly as it was found, and counts are those of
    evaluation.

    Parameters
    ----------
    model : path, bytes-like, onnx.ModelProto, onnx_ir.Model, Model, torch.nn.Module, callable or graph
        What to count: see `load`. A module or a function of torch's needs inputs. An exported program, the path of a
        ``.pt2`` file or an fx graph whose nodes know their results needs none: sizes that it leaves open are symbols,
        which inputs or shapes may name or set. They have the names of the ``torch.export.Dim`` that they were exported
        with; a file does not keep these, so that they are torch's own there (``s77``).
    *inputs, kwargs : tensor, shape, or a nest of them
        Of a torch program: the arguments of its call. A tuple of ints, names and expressions is a shape.
    dtypes : mapping of str to dtype, optional
        Of a torch program: the dtypes of inputs that are given as shapes, by name. By default that of the first
        parameter, and int64 where the name says that it holds indices (``input_ids``).
    hints : mapping of str to int, optional
        Of a torch program with symbols in its shapes: the sizes by which it decides, where it branches on one. What is
        decided so is remarked, and binding sizes for which it would go another way is refused.
    method : str, optional
        Of a torch program: the method to call, by default the program itself.
    shapes : mapping of str to shape, or a shape, optional
        Shapes of inputs by name: ``{"input": (1, 3, "height", None)}``. A size is a number, a name, an expression such
        as ``"2*seq + 1"``, or None for what the model says. For a model with a single input the shape alone will do.
        For an input that is a sequence: the shape of all its elements, or a list of their shapes.
    dims : mapping of str to int, optional
        Sizes of the model's symbols: ``{"batch": 8}``.
    values : mapping of str to array-like, optional
        Contents of inputs, where sizes or branches depend on them: ``{"sr": 16000}``. They give the dtype and the
        shape too. A list of arrays for an input that is a sequence, None for an optional one that is left out.
    cache : sequence of str, optional
        Inputs and outputs that are keys and values of earlier tokens, by name: bytes of a cache stand apart
        (`Report.traffic`, `Report.memory`). By default those with ``past``, ``present`` or ``cache`` in their names; an
        empty sequence: none.
    training : bool or Training, default False
        Count a step of training, too: see `Report.training`. A torch module runs in the mode that it is in then, and
        what its parameters say of ``requires_grad`` is heeded; of an ONNX model all floating-point weights are trained
        that a gradient gets to. `Training` says which are not, how the optimiser works, and what is computed again.
    strict : bool, default False
        Raise when the work of any node is unknown, rather than mark it.
    registry : Registry, optional
        The rules of operators to use; by default `macsim.rules`.

    Returns
    -------
    Report

    Raises
    ------
    ReadError
        The model cannot be read.
    RequestError
        A name, shape, size or value does not fit the model.
    UnknownWorkError
        With ``strict=True``, when the work of some node is unknown.

    Examples
    --------
    >>> import macsim
    >>> report = macsim.count("examples/resnet50.onnx", shapes={"input": (1, 3, 224, 224)})
    >>> report.macs
    4089184256
    >>> macsim.count("examples/resnet50.onnx", shapes=("batch", 3, 224, 224)).macs
    Expr('4089184256*batch')
    """
    _check_kinds(registry, kwargs=kwargs, dims=dims, values=values, dtypes=dtypes, hints=hints)
    if is_torch_file(model):
        model = read_program(model)  # type: ignore[arg-type] # is_torch_file: it is a path
    if _is_torch(model):
        given = (inputs, kwargs, shapes, dims, values, dtypes, hints, method, strict, registry, training, cache)
        return _count_torch(model, *given)
    if not _is_source(model):
        raise TypeError(_no_model(model))
    if inputs or kwargs or dtypes or method or hints:
        raise RequestError(
            "inputs, kwargs, dtypes, hints and method are for torch programs; give an ONNX model shapes= or values="
        )
    loaded = load(model)
    return analyze(
        loaded,
        shapes=shapes,
        dims=dims,
        values=values,
        cache=cache,
        training=training,
        strict=strict,
        registry=registry,
    )


def _check_kinds(registry: object, **given: object) -> None:
    for name, one in given.items():
        if one is not None and not isinstance(one, Mapping):
            raise RequestError(f"{name} is a dict by name, as in {name}={{'x': ...}}, not {type(one).__name__}")
    if registry is not None and not isinstance(registry, Registry):
        raise RequestError(f"registry is a macsim.Registry, not {type(registry).__name__}")


def _is_source(model: object) -> bool:
    """Whether it is an ONNX model in some form."""
    return (
        isinstance(model, str | bytes | os.PathLike | bytearray | memoryview | _core.Model)
        or hasattr(model, "SerializeToString")
        or type(model).__module__.partition(".")[0] == "onnx_ir"
    )


def _is_torch(model: object) -> bool:
    """Whether it is a module or a function of torch's; torch is only imported for what can be nothing else."""
    import sys

    if _is_source(model):
        return False
    if "torch" not in sys.modules:
        if isinstance(model, type) or not callable(model):
            return False
        try:
            import torch  # noqa: F401 - only whether it is there
        except ImportError as error:
            raise RequestError(
                f"{getattr(model, '__name__', type(model).__name__)} can only be a program of torch's, which is not "
                f"installed: {INSTALL}"
            ) from error
    return is_program(model)


def _is_graph(model: object) -> bool:
    """Whether it is a graph of torch's; what reads them is not imported to find out."""
    if not may_be_graph(model):
        return False
    from macsim.sources.torch_graphs import is_graph

    return is_graph(model)


def _count_torch(
    model: Any,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    shapes: Any,
    dims: Mapping[str, int] | None,
    values: Mapping[str, Any] | None,
    dtypes: Mapping[str, Any] | None,
    hints: Mapping[str, int] | None,
    method: str | None,
    strict: bool,
    registry: Registry | None,
    training: bool | Training,
    cache: Sequence[str] | str | None,
) -> Report:
    if values:
        raise RequestError("values= is for ONNX models; give a torch program tensors as inputs")
    table = rules if registry is None else registry
    met: dict[str, int] = {}
    modules: Mapping[str, Called] | CalledModules
    if not (inputs and callable(getattr(model, "forward", None))) and _is_graph(model):
        from macsim.sources.torch_graphs import walk

        if dtypes or method or hints:
            raise RequestError("dtypes, hints and method are for programs that run; a graph is counted as it is")
        ledger, modules, outputs = walk(model, inputs, kwargs, shapes, table)
    else:
        from macsim.sources.torch_program import trace

        shapes = tuple(shapes) if isinstance(shapes, list) else shapes
        if dims:
            from macsim.sources.torch_requests import at_sizes

            inputs, kwargs, shapes = at_sizes((inputs, kwargs, shapes), dims, met)
        asked = {name: size for name, size in (hints or {}).items() if name not in met}
        ledger, modules, outputs = trace(model, inputs, kwargs, shapes, dtypes, method, table, asked, bool(training))
    report = Report(ledger, ledger.model, met, modules=modules)
    others = {name: size for name, size in (dims or {}).items() if name not in met}
    if others:
        report = report.bind(others)
    return _checked(report, strict, training, cache, outputs)


# Sources. -------------------------------------------------------------------------------------------------------------


def _serialized(proto: Any) -> bytes:
    try:
        data = proto.SerializeToString()
    except Exception as error:  # protobuf raises several kinds, by implementation
        raise ReadError(
            f"the {type(proto).__name__} cannot be serialized ({error}); protobuf stops at 2 GB: "
            "give the path of the file instead, which may be of any size",
            "MS101",
        ) from error
    if not isinstance(data, bytes):
        raise TypeError(f"{type(proto).__name__}.SerializeToString() gave {type(data).__name__}, not bytes")
    return data


def _proto_of(model: Any) -> Any:
    """Return an onnx_ir.Model as a proto, with large tensors declared but not copied: their contents are not needed."""
    import onnx_ir

    if not isinstance(model, onnx_ir.Model):
        raise TypeError(f"of onnx_ir, a model is a path, bytes or a Model, not {type(model).__name__}")
    try:
        light = model.clone()
        for graph in light.graphs():
            for name, value in graph.initializers.items():
                tensor = value.const_value
                if tensor is None or tensor.size <= MOST_ELEMENTS or isinstance(tensor, onnx_ir.ExternalTensor):
                    continue
                value.const_value = onnx_ir.ExternalTensor(
                    "contents", 0, tensor.nbytes, tensor.dtype, shape=onnx_ir.Shape(tensor.shape.numpy()), name=name
                )
        return onnx_ir.to_proto(light)
    except Exception as error:  # onnx_ir raises what it meets
        raise ReadError(
            f"the onnx_ir.Model cannot be turned into a ModelProto ({error}); give the path of the file instead",
            "MS101",
        ) from error


# Requests. ------------------------------------------------------------------------------------------------------------

# (dtype, shape, elements) of a tensor; ("sequence" or "optional", what it holds) of a list.
_Given: TypeAlias = "tuple[str | None, Shape | None, list[Any] | None] | tuple[str, list[Any]]"


def _inputs(
    model: Model, shapes: Mapping[str, Shape] | Shape | None, values: Mapping[str, Any] | None
) -> dict[str, _Given]:
    if not shapes and shapes != () and not values:
        return {}
    stated = {tensor.name: tensor for tensor in model.inputs + model.defaults}
    required = [tensor.name for tensor in model.inputs]
    if shapes is None:
        shapes = {}
    elif not isinstance(shapes, Mapping):
        if len(required) != 1:
            raise RequestError(
                f"the model has {len(required)} inputs ({_listed(required)}): name the shape, as in "
                f"shapes={{{required[0] if required else 'x'!r}: ...}}"
            )
        shapes = {required[0]: shapes}
    values = values or {}
    for name in (*shapes, *values):
        if name not in stated:
            raise RequestError(f"the model has no input {name!r}; {_suggestion(name, list(stated))}")
    out: dict[str, _Given] = {}
    for name, shape in shapes.items():
        out[name] = _shape(name, shape, stated[name])
    for name, value in values.items():
        out[name] = _value(name, value, shapes.get(name), stated[name])
    return out


def _check_dims(dims: Mapping[str, int], model: Model, inputs: Mapping[str, _Given], table: _core.RuleTable) -> None:
    """Refuse sizes of what is no symbol of the inputs, nor of anything further in."""
    known = set(model.symbols)
    for shape in (shape for given in inputs.values() for shape in _shapes_in(given)):
        for size in shape:
            known.update(_core.Expr(size).symbols if isinstance(size, str | _core.Expr) else ())
    inner = [name for name in dims if name not in known]
    if inner:  # rare: a size that depends on data, or that the file states inside only
        ledger = _core.analyze(model, table, inputs, {})
        known.update(symbol.name for symbol in ledger.unbound)
        for name in inner:
            try:
                ledger.bind({name: dims[name]})
            except RequestError as error:
                if name in known:
                    raise
                raise RequestError(
                    f"dims: nothing is called {name!r}; {_suggestion(name, sorted(known), 'sizes')}"
                ) from error


def _shapes_in(given: _Given) -> list[Shape]:
    if len(given) == 2:
        return [shape for part in given[1] for shape in _shapes_in(part)]
    return [] if given[1] is None else [given[1]]


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _shape(name: str, shape: Any, stated: _core.Tensor) -> _Given:
    """Return what is known of an input from its shape. A sequence's is that of every element, or a list of shapes."""
    if not _is_list(shape):
        raise RequestError(f"the shape of {name!r} must be a tuple of sizes, not {shape!r}")
    if stated.kind == "sequence" and any(_is_list(size) for size in shape):
        return "sequence", [_shape(f"{name}[{i}]", part, _held(stated)) for i, part in enumerate(shape)]
    return None, shape, None


def _held(stated: _core.Tensor) -> _core.Tensor:
    return stated.element if stated.element is not None else _core.Tensor("?", None)


def _value(name: str, value: Any, shape: Shape | None, stated: _core.Tensor) -> _Given:
    """Return what is known of an input from its value. A lone number stands for every element of the stated shape."""
    if stated.kind == "sequence":
        if not _is_list(value):
            raise RequestError(f"the value of {name!r} must be a list of its elements, not {type(value).__name__}")
        return "sequence", [_value(f"{name}[{i}]", part, None, _held(stated)) for i, part in enumerate(value)]
    if stated.kind == "optional":
        return "optional", [] if value is None else [_value(name, value, shape, _held(stated))]
    if stated.kind != "tensor":
        raise RequestError(f"{name!r} is a {stated.kind}, whose contents are not followed")
    if isinstance(value, bool | int | float):
        fixed = shape if shape is not None else stated.shape
        elements = 1
        for size in fixed or ():
            if not isinstance(size, int):
                raise RequestError(
                    f"the value of {name!r} is a single number, but the input's shape is not known: give shapes= too, "
                    "or an array"
                )
            elements *= size
        return None, fixed if fixed is not None else (), [value] * elements if elements <= MOST_ELEMENTS else None
    import numpy as np

    try:
        array = np.asarray(value)
    except ValueError as error:
        raise RequestError(f"the value of {name!r} is not an array: {error}") from error
    if array.dtype == object:
        raise RequestError(f"the value of {name!r} is not an array of numbers")
    if shape is not None and len(shape) != array.ndim:
        raise RequestError(f"{name!r} is given a shape of rank {len(shape)} and a value of rank {array.ndim}")
    dtype = "string" if array.dtype.kind in "SUT" else array.dtype.name
    known = array.dtype.kind in "biuf" and array.size <= MOST_ELEMENTS
    if array.dtype.kind == "V":  # ml_dtypes' floats: bfloat16, float8 and the like
        array, known = array.astype(np.float32), array.size <= MOST_ELEMENTS
    return dtype, array.shape, array.ravel().tolist() if known else None


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return (shown or "none") + (", ..." if len(names) > 20 else "")


def _suggestion(name: str, known: list[str], of: str = "inputs") -> str:
    import difflib

    folded = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(repr(folded[one]) for one in near)}?"
    return f"its {of} are {_listed(known)}"
