# Jagged tensors, whose sequences have lengths of their own, as inputs.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Programs over tensors of torch's that say themselves which operators on plain ones theirs are made of."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch.nested._internal.nested_tensor import NestedTensor
from torch.utils.flop_counter import FlopCounterMode, _FlopCounterMode

from macsim.sources.torch_trace import Recorder
from macsim.sources.torch_values import META, without_storage

__all__ = ["NestedRecorder"]


class NestedRecorder(Recorder):
    """Records what operators on jagged tensors are made of: they run, and their parts come here again."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if any(issubclass(kind, NestedTensor) for kind in types):
            return NotImplemented
        return super().__torch_dispatch__(func, types, args, kwargs)

    def run_under(self, stack: ExitStack) -> None:
        """Turn torch's own counter on: only then does it attend over such tensors without a look at their lengths."""
        stack.enter_context(_FlopCounterMode(FlopCounterMode(display=False)))

    def inside(self, result: Any) -> Any:
        """Return the sequences of a jagged tensor, one after the other."""
        return result._values if isinstance(result, NestedTensor) else result

    def nested(self, name: str, given: Any) -> Any:
        """Return what stands for an input: its values without storage, and where each sequence begins."""
        values = without_storage(given._values)
        self.tape.input(values, name)
        lengths = given._offsets.diff() if given._lengths is None else given._lengths
        ends = {"min_seqlen": lengths.min(), "max_seqlen": lengths.max()} if lengths.numel() else {}
        return NestedTensor(
            values,
            self._told(f"{name}.offsets", given._offsets),
            lengths=None if given._lengths is None else self._told(f"{name}.lengths", given._lengths),
            _ragged_idx=given._ragged_idx,
            _metadata_cache={key: torch.empty(int(end), 0, device=META) for key, end in ends.items()},
        )

    def _told(self, name: str, given: torch.Tensor) -> torch.Tensor:
        """Return a tensor that lies where the values do, and whose contents are known all the same."""
        made = without_storage(given)
        self.tape.input(made, name)
        self.know(made)
        self._copies[id(made)] = given.detach().cpu().clone()
        return made
