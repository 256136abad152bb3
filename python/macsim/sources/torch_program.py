# Counts a module or a function of torch by running it over tensors without storage.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Counts torch programs: a module, a function, a graph of either, with the shapes of its inputs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from macsim import _core
from macsim.custom import Registry
from macsim.errors import MacsimError, RequestError, TraceError
from macsim.sources.torch_inputs import (
    Examples,
    check_arguments,
    check_shape,
    has_symbols,
    named_arguments,
    signature_of,
)
from macsim.sources.torch_modules import (
    called,
    class_name,
    is_script,
    is_wrapped,
    left_as_found,
    noted,
    unwrapped,
    watching,
)
from macsim.sources.torch_ops import tape_of
from macsim.sources.torch_trace import DataSizeError, Recorder, small, torch_facts
from macsim.sources.torch_values import NestedError, placed

if TYPE_CHECKING:
    from macsim.modules import Called

__all__ = ["trace"]


def trace(
    model: Any,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    shapes: Mapping[str, Any] | Sequence[Any] | None,
    dtypes: Mapping[str, Any] | None,
    method: str | None,
    registry: Registry,
    hints: Mapping[str, int] | None = None,
    training: bool = False,
) -> tuple[_core.Ledger, _core.CalledModules | dict[str, Called], list[str]]:
    """Run a program over tensors without storage; return what it called, its modules by path and its results' names.

    ``hints`` are numbers that stand in for symbols where the program decides by their size. For training modules run
    in the mode that they are in, and the tape is told what takes part in differentiation.
    """
    model = called(model)
    if isinstance(model, torch.fx.GraphModule) and not (inputs or kwargs or shapes or method):
        inputs = _stated(model)
    symbolic = has_symbols((inputs, kwargs, _as_shapes(shapes)))
    given = (model, inputs, kwargs, shapes, dtypes, method, registry, hints, training)
    compiler = "torch._dynamo" in sys.modules
    try:
        found = _attempted(symbolic, *given)
    except NestedError as error:
        if symbolic or training or not error.jagged:
            raise
        return _traced(False, False, *given, nested=True)
    if not compiler and "torch._dynamo" in sys.modules:
        return _attempted(symbolic, *given)  # the program had it imported, which with torch 2.6 computes: 77 rows
    return found


def _attempted(
    symbolic: bool, model: Any, *given: Any
) -> tuple[_core.Ledger, _core.CalledModules | dict[str, Called], list[str]]:
    """Run with numbers where it can be, then with symbols for what depends on data, then for what torch wants known."""
    if not symbolic:
        try:
            return _traced(False, False, model, *given)
        except DataSizeError:
            if is_script(unwrapped(model)):  # whose sizes are numbers
                raise
    try:
        return _traced(True, False, model, *given)
    except TraceError as error:
        from macsim.sources.torch_symbol_calls import was_refused

        if not was_refused(error):
            raise
    return _traced(True, True, model, *given)


def _stated(graph: torch.fx.GraphModule) -> list[Any]:
    """Return inputs like those that a graph was run with, as far as passes over it noted their shapes."""
    out: list[Any] = []
    for node in graph.graph.nodes:
        if node.op != "placeholder":
            continue
        said: Any = next((node.meta[key] for key in ("val", "example_value", "tensor_meta") if key in node.meta), None)
        shape = getattr(said, "shape", None)
        if shape is None or not all(type(size) is int for size in shape):
            break
        out.append(torch.empty(shape, dtype=said.dtype, device="meta"))
    return out


def _traced(
    symbolic: bool,
    refused: bool,
    model: Any,
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    shapes: Mapping[str, Any] | Sequence[Any] | None,
    dtypes: Mapping[str, Any] | None,
    method: str | None,
    registry: Registry,
    hints: Mapping[str, int] | None,
    training: bool,
    nested: bool = False,
) -> tuple[_core.Ledger, _core.CalledModules | dict[str, Called], list[str]]:
    program = unwrapped(model)
    module = program if isinstance(program, nn.Module) else getattr(program, "__self__", None)
    modules = module if isinstance(module, nn.Module) else None
    call = _entry(program, method)
    with ExitStack() as stack:
        paths = _paths(stack, model, modules, training)
        traced = (
            isinstance(program, torch.fx.GraphModule)
            and not (training or refused or method or nested)
            and _is_traced(program)
        )
        name = class_name(modules) if modules is not None and modules is program else _name_of(program)
        recorder = _recorder(registry, name, paths, symbolic, hints, program, traced, nested)
        if nested:
            recorder.run_under(stack)
        default = _announce(recorder, modules)
        signature = modules.forward if modules is not None and modules is program and method is None else call
        positional, named = _arguments(signature, inputs, kwargs, shapes)
        said = signature_of(signature)
        check_arguments(name, signature, said, positional, named)
        examples = Examples(recorder, default, dtypes)
        names = named_arguments(said, positional, named)
        running = partial(_running, stack.enter_context(ExitStack()), recorder, list(paths), training)
        if not traced:
            running()
        stack.enter_context(torch.inference_mode())
        if training:  # with gradients on, which inference mode turns off
            _follow(stack, recorder)
        args = tuple(examples.of(name, one) for name, one in zip(names, positional, strict=True))
        keywords = {name: examples.of(name, one) for name, one in named.items()}
        if dtypes or hints:
            from macsim.sources.torch_requests import check_names

            check_names(dtypes, hints, examples.used, recorder.named)
        if traced:
            from macsim.sources.torch_traced import walked

            call = partial(walked, program, recorder, running)
        else:
            stack.enter_context(recorder)
        if refused:
            from macsim.sources.torch_symbol_calls import SizedCalls

            stack.enter_context(SizedCalls(recorder))
        results = placed(_run(recorder, call, names, args, keywords), object)
        _refuse_postponed([one for _, one in results])
    made = [(place, recorder.inside(one)) for place, one in results if isinstance(one, torch.Tensor)]
    outputs = [place for place, one in made if recorder.tape.knows(one)]
    return recorder.tape.finish([one for _, one in made]), noted(recorder.calls.called(), modules), outputs


def _running(stack: ExitStack, recorder: Recorder, modules: list[nn.Module], training: bool) -> None:
    """Let the program run until the stack is closed: its modules are told apart, and left as they were found."""
    stack.enter_context(left_as_found(modules, evaluate=not training))
    stack.enter_context(watching(recorder.calls))


def _follow(stack: ExitStack, recorder: Recorder) -> None:
    from macsim.sources.torch_training import Follower, following

    follower = Follower(recorder.tape)
    recorder.follow(follower)
    stack.enter_context(following(follower))


def _is_traced(program: torch.fx.GraphModule) -> bool:
    from macsim.sources.torch_traced import is_traced  # most programs are no graphs

    return is_traced(program)


def _paths(stack: ExitStack, model: Any, modules: nn.Module | None, training: bool) -> dict[nn.Module, str]:
    """Return the modules with their paths; wrappers among them are out of the way until the stack is closed."""
    if modules is None:
        return {}
    paths, classes = _core.module_paths(modules)
    if not hasattr(model, "_handle") and not is_wrapped(classes):
        return paths
    wrapped = list(_core.module_paths(model)[0] if isinstance(model, nn.Module) else paths)
    stack.enter_context(left_as_found(wrapped, evaluate=not training))
    from macsim.sources.torch_distributed import made_whole

    made_whole(wrapped)
    return _core.module_paths(modules)[0]


def _recorder(
    registry: Registry,
    name: str,
    paths: dict[Any, str],
    symbolic: bool,
    hints: Mapping[str, int] | None,
    program: Any,
    traced: bool,
    nested: bool,
) -> Recorder:
    nodes = {"node": torch.fx.Node} if traced else {}
    if not symbolic:
        kind = _nested_recorder() if nested else _script_recorder() if is_script(program) else Recorder
        return kind(tape_of(registry, name, torch_facts() | nodes), paths)
    from macsim.sources.torch_symbolic import SymbolicRecorder
    from macsim.sources.torch_symbols import Sizes, expr_of

    sizes = Sizes(hints)
    sizes.tape = tape_of(registry, name, torch_facts(expr_of, sizes.size) | nodes)
    return SymbolicRecorder(sizes.tape, paths, sizes)


def _script_recorder() -> type[Recorder]:
    from macsim.sources.torch_scripts import ScriptRecorder  # most programs are Python's

    return ScriptRecorder


def _nested_recorder() -> type[Recorder]:
    from macsim.sources.torch_nested import NestedRecorder  # most programs have no such inputs

    return NestedRecorder


def _as_shapes(shapes: Any) -> Any:
    """Return shapes with tuples for all of them, also for a single one."""
    if isinstance(shapes, Mapping):
        return {name: tuple(one) if isinstance(one, list) else one for name, one in shapes.items()}
    return tuple(shapes) if isinstance(shapes, list) else shapes


def _run(
    recorder: Recorder, call: Callable[..., Any], names: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    try:
        return call(*args, **kwargs)
    except MacsimError:
        raise
    except Exception as error:
        inside = getattr(recorder, "raised", None)
        if isinstance(inside, MacsimError):  # the interpreter of TorchScript keeps it to itself
            raise inside from error
        from macsim.sources.torch_requests import why_it_failed

        given = dict(zip(names, args, strict=True)) | kwargs
        raise TraceError(why_it_failed(error, given), recorder.calls.failed_in) from error


def _refuse_postponed(results: list[Any]) -> None:
    """Refuse results that hold work which is not done yet: generators, coroutines."""
    waiting = [one for one in results if isinstance(one, Iterator | Coroutine | AsyncIterator)]
    for one in waiting:
        close = getattr(one, "close", None)
        if close is not None:
            close()  # a coroutine that is never awaited warns
    if waiting:
        raise TraceError(
            f"the program gives back a {type(waiting[0]).__name__}, which does its work only when it is gone through: "
            "count a function that does so and gives back what it finds, such as lambda *inputs: list(model(*inputs))"
        )


def _entry(program: Any, method: str | None) -> Callable[..., Any]:
    if method is None:
        if not callable(program):
            raise RequestError(f"{type(program).__name__} cannot be called")
        entry: Callable[..., Any] = program
        return entry
    found: Callable[..., Any] | None = getattr(program, method, None)
    if found is None or not callable(found):
        raise RequestError(f"{type(program).__name__} has no method {method!r}; {_methods(program, method)}")
    return found


def _methods(program: Any, wanted: str) -> str:
    import difflib

    own = [name for name in dir(type(program)) if name[0] != "_" and not hasattr(nn.Module, name)]
    near = difflib.get_close_matches(wanted, own, n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"its own are {', '.join(own[:12])}" if own else "it has none of its own besides forward"


def _name_of(program: Any) -> str:
    return getattr(program, "__qualname__", type(program).__name__).replace("<locals>.", "")


def _announce(recorder: Recorder, module: nn.Module | None) -> torch.dtype:
    """Tell the tape of every parameter and buffer, each once; return the dtype of the first parameter."""
    default = torch.get_default_dtype()
    if module is None:
        return default
    for buffer in recorder.calls.announce(_refuse_lazy):
        if small(buffer) or _lone(buffer):
            recorder.know(buffer, ours=False)
    tensors = (tensor for part in recorder.calls.paths for tensor in part._parameters.values() if tensor is not None)
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), default)


def _refuse_lazy(name: str, tensor: torch.Tensor) -> None:
    if nn.parameter.is_lazy(tensor):
        raise RequestError(f"{name} has no size yet: run the model once, which gives it one")


def _lone(tensor: torch.Tensor) -> bool:
    """Whether it is one number, such as the scale of a layer that quantises, which reads it."""
    return tensor.numel() == 1 and tensor.device.type == "cpu" and tensor.layout is torch.strided


def _arguments(
    call: Callable[..., Any],
    inputs: Sequence[Any],
    kwargs: Mapping[str, Any] | None,
    shapes: Mapping[str, Any] | Sequence[Any] | None,
) -> tuple[list[Any], dict[str, Any]]:
    positional, named = list(inputs), dict(kwargs or {})
    if len(positional) == 1 and isinstance(positional[0], Mapping) and not named and _takes_names(call, positional[0]):
        named, positional = dict(positional[0]), []
    if shapes is None:
        return positional, named
    if not isinstance(shapes, Mapping):
        check_shape("shapes", shapes)
        return [*positional, tuple(shapes)], named
    for name, shape in shapes.items():
        if name in named:
            raise RequestError(f"{name!r} is given twice: as an input and as a shape")
        named[name] = tuple(shape) if isinstance(shape, list) else shape
        check_shape(name, shape)
    return positional, named


def _takes_names(call: Callable[..., Any], given: Mapping[str, Any]) -> bool:
    """Whether the keys of a mapping are the names of parameters: transformers' way to call a model."""
    try:
        parameters = inspect.signature(call).parameters
    except (TypeError, ValueError):
        return False
    known = [name for name in given if name in parameters]
    return bool(known) and (len(known) == len(given) or any(p.kind == p.VAR_KEYWORD for p in parameters.values()))
