# From what a user gives, a tensor, a shape, a nest of them, to tensors without storage that stand for it.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Examples for a torch program: tensors without storage, made from tensors or from shapes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch

from macsim.errors import RequestError
from macsim.sources.torch_trace import Recorder, is_named_shape, small
from macsim.sources.torch_values import DTYPES, META, nonzeros, without_storage

__all__ = ["Examples", "check_arguments", "check_shape", "has_symbols", "named_arguments", "signature_of"]

_BY_NAME = {name: dtype for dtype, name in reversed(DTYPES.items())}
_WHOLE = ("_ids", "ids", "_indices", "labels", "tokens")  # names of inputs that are indices, in the field's usage


# What is said when they do not fit is imported when it is said.


def signature_of(call: Any) -> inspect.Signature | None:
    """Return what Python says that a call takes; None: nothing."""
    try:
        return inspect.signature(call)
    except (TypeError, ValueError):
        return None


def check_arguments(
    name: str, call: Any, said: inspect.Signature | None, positional: Sequence[Any], named: Mapping[str, Any]
) -> None:
    """Raise when a call, whose signature is known or not, does not take these arguments, and say what it takes."""
    wanted = said
    if wanted is None:
        from macsim.sources.torch_requests import by_schema

        wanted = by_schema(call)
        if wanted is None:
            return
    try:
        wanted.bind(*positional, **named)
    except TypeError as error:
        from macsim.sources.torch_requests import not_taken

        raise not_taken(name, error, wanted, named) from error


def check_shape(name: str, shape: Any) -> None:
    """Raise when a shape that is given as such has something for a size that is none."""
    for size in shape if isinstance(shape, list | tuple) else ():
        if size is None or isinstance(size, bool | float):
            raise RequestError(
                f"the shape of {name!r} has {size!r}: a size is an int, or a name or an expression, which stays open: "
                "('batch', 3, 224, 224)"
            )


def has_symbols(given: Any) -> bool:
    """Whether a shape somewhere in a nest of arguments names sizes."""
    if isinstance(given, Mapping):
        return any(has_symbols(one) for one in given.values())
    return isinstance(given, tuple | list) and (is_named_shape(given) or any(has_symbols(one) for one in given))


class Examples:
    """The arguments of a call, each tensor in it announced to the recorder as an input."""

    def __init__(self, recorder: Recorder, default: torch.dtype, dtypes: Mapping[str, Any] | None) -> None:
        self.recorder = recorder
        self.default = default
        self.dtypes = {name: dtype_named(dtype, name) for name, dtype in (dtypes or {}).items()}
        self.used: set[str] = set()

    def of(self, name: str, given: Any) -> Any:
        """Return what stands for ``given``: its tensors without storage, in the same nest."""
        if isinstance(given, torch.Tensor):
            return self._tensor(name, given)
        if _is_shape(given) or is_named_shape(given):
            return self._shape(name, given)
        if isinstance(given, Mapping):
            made = {key: self.of(f"{name}.{key}" if name else str(key), value) for key, value in given.items()}
            if isinstance(given, dict):
                return made if type(given) is dict else _rebuilt(given, made)
            return _rebuilt(given, made)
        if isinstance(given, tuple) and hasattr(given, "_fields"):
            return type(given)(*(self.of(f"{name}.{field}", getattr(given, field)) for field in given._fields))
        if isinstance(given, list | tuple):
            return type(given)(self.of(f"{name}[{i}]", value) for i, value in enumerate(given))
        return self._held(name, given, {}) if _is_record(given) else given

    def _held(self, name: str, given: Any, made: dict[int, Any]) -> Any:
        """Return an object of the program's own, such as a cache, with tensors without storage for those it holds."""
        if id(given) in made:
            return made[id(given)]
        if isinstance(given, torch.Tensor):
            made[id(given)] = self._tensor(name, given)
        elif type(given) in (list, tuple):
            made[id(given)] = type(given)(self._held(f"{name}[{i}]", one, made) for i, one in enumerate(given))
        elif type(given) is dict:
            made[id(given)] = {key: self._held(f"{name}.{key}", one, made) for key, one in given.items()}
        elif _is_record(given):
            made[id(given)] = twin = copy.copy(given)
            if twin is given:  # there is only one of it, as of the member of an enumeration
                return given
            vars(twin).update({key: self._held(f"{name}.{key}", one, made) for key, one in vars(given).items()})
        else:
            return given
        return made[id(given)]

    def _tensor(self, name: str, given: torch.Tensor) -> torch.Tensor:
        if given.is_nested:
            return self.recorder.nested(name, given)
        if small(given):
            made = given.detach().clone()
            self.recorder.tape.input(made, name)
            self.recorder.know(made)
            return made
        made = without_storage(given)
        self.recorder.tape.input(made, name)
        if given.is_quantized:
            self.recorder.stands_for(made, given)
        if given.layout is not torch.strided:
            self.recorder.tape.sparse(made, nonzeros(given))
        return made

    def _shape(self, name: str, shape: Sequence[Any]) -> torch.Tensor:
        last = name.rpartition(".")[2].partition("[")[0]
        dtype = self.dtypes.get(name, self.dtypes.get(last))
        self.used |= {name, last}
        if dtype is None:
            whole = last.endswith(_WHOLE) or last == "attention_mask"
            dtype = torch.int64 if whole else self.default
        sizes = [
            size
            if isinstance(size, int)
            else int(size)
            if isinstance(size, Integral)
            else self.recorder.size(size, name)
            for size in shape
        ]
        for size in sizes:
            if isinstance(size, int) and size < 0:
                raise RequestError(f"the shape of {name!r} has a negative size: {tuple(shape)}")
        made = torch.empty(sizes, dtype=dtype, device=META)
        self.recorder.tape.input(made, name)
        return made


def _is_shape(given: Any) -> bool:
    return (
        isinstance(given, tuple | list)
        and not hasattr(given, "_fields")
        and all(isinstance(size, int | Integral) and not isinstance(size, bool) for size in given)
        and (isinstance(given, tuple | torch.Size))
    )


def _is_record(given: Any) -> bool:
    """Whether it is an object with attributes that a program may hold tensors in, and write to."""
    return hasattr(given, "__dict__") and not (
        isinstance(given, type | torch.nn.Module | torch.dtype | torch.device | str | int | float) or callable(given)
    )


def _rebuilt(given: Any, made: dict[Any, Any]) -> Any:
    """Return a mapping of the same class: transformers' BatchEncoding and the like."""
    try:
        return type(given)(made)
    except TypeError:
        return made


def dtype_named(dtype: Any, name: str) -> torch.dtype:
    """Return a torch dtype from one, or from the name of one."""
    if isinstance(dtype, torch.dtype):
        return dtype
    found = _BY_NAME.get(str(dtype)) or getattr(torch, str(dtype).removeprefix("torch."), None)
    if not isinstance(found, torch.dtype):
        raise RequestError(f"the dtype of {name!r} is given as {dtype!r}; write 'i64', 'f16', 'int64' or torch.int64")
    return found


def named_arguments(said: inspect.Signature | None, positional: Sequence[Any], named: Mapping[str, Any]) -> list[str]:
    """Return names for positional arguments: the parameters' of the call, where its signature has them."""
    parameters = [
        one.name
        for one in (said.parameters.values() if said is not None else ())
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    names = [name for name in parameters if name not in named]
    return [names[i] if i < len(names) else f"input{i}" for i in range(len(positional))]
