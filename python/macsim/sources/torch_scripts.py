# Runs TorchScript over tensors without storage: what its interpreter does otherwise than Python.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Records what TorchScript calls."""

from __future__ import annotations

from typing import Any

from macsim.sources.torch_trace import Recorder, _gather, small

__all__ = ["ScriptRecorder"]


class ScriptRecorder(Recorder):
    """For TorchScript, which makes tensors of sizes by itself, and keeps to itself what was raised inside."""

    raised: BaseException | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        for one in _gather(args, []):
            if not one.is_meta and not self.tape.knows(one) and small(one):
                self.know(one, ours=False)
        try:
            return super().__torch_dispatch__(func, types, args, kwargs)
        except BaseException as error:
            self.raised = error
            raise
