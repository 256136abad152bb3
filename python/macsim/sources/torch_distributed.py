# Models that are wrapped or spread over several machines, as the ones that they were made from.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Wrapped and sharded modules, for the time of a count as they were written: whole, on one device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from macsim.sources.torch_modules import SHARDED, loaded, unwrapped
from macsim.sources.torch_values import META

__all__ = ["made_whole"]

_FLAT = "_flat_param"  # what FSDP keeps the parameters of a module in
_HOOKS = ("_forward_pre_hooks", "_forward_hooks")


def made_whole(modules: Iterable[nn.Module]) -> None:
    """Take wrappers out of their places, and give modules their parameters at full size.

    The modules are changed: who calls this puts back what they held.
    """
    modules = [module for module in modules if not isinstance(module, torch.jit.ScriptModule)]
    same: dict[int, Any] = {}  # parameters that are shared stay so
    flat = [module._handle.flat_param for module in modules if getattr(module, "_handle", None) is not None]
    for module in modules:
        module._parameters.pop(_FLAT, None)
        for held in (module._parameters, module._buffers):
            _gathered(held, same)
        for name in _HOOKS:
            hooks = getattr(module, name)
            for key in [key for key, hook in hooks.items() if _is_of_torch(hook)]:
                del hooks[key]
        for name, child in module._modules.items():
            if child is not None:
                module._modules[name] = unwrapped(child)
    for parameter in flat:
        _taken_apart(parameter)


def _gathered(held: dict[str, Any], same: dict[int, Any]) -> None:
    sharded = loaded(SHARDED)
    for name, one in held.items():
        if isinstance(one, sharded):
            full = same.get(id(one))
            if full is None:
                full = torch.empty(one.shape, dtype=one.dtype, device=META)
                same[id(one)] = full = nn.Parameter(full, one.requires_grad) if isinstance(one, nn.Parameter) else full
            held[name] = full


def _is_of_torch(hook: Any) -> bool:
    """Whether a hook is there to gather parameters, or to spread what a module is given."""
    return str(getattr(getattr(hook, "func", hook), "__module__", "")).startswith("torch.distributed.")


def _taken_apart(flat: Any) -> None:
    for (name, module, _), shape in zip(flat._param_infos, flat._shapes, strict=True):
        module.__dict__.pop(name, None)
        full = torch.empty(shape, dtype=flat.dtype, device=META)
        module._parameters[name] = nn.Parameter(full, flat.requires_grad)
    for name, module, _, first, owner, _ in flat._shared_param_infos:
        module.__dict__.pop(name, None)
        module._parameters[name] = owner._parameters[first]
