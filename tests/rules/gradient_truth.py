"""Truth rows of gradients: formulas over numbers that count, compared with torch's autograd and with the rows' work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from models import feed, model
from onnx import helper, numpy_helper
from oracle.counted import counted, numbers, tally

import macsim

X = (2, 3)


@dataclass(frozen=True)
class Case:
    """`run` is the operator in torch; `gradient` gives those of the inputs from dy, y and the inputs.

    What is counted is `run`, or the node of ONNX that does the same. Inputs are drawn from the range, or
    given: those have no gradient.
    """

    run: Callable[..., Any]
    gradient: Callable[..., Any]
    given: list[Any] = field(default_factory=lambda: [X])
    node: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""
    range: tuple[float, float] = (0.2, 0.9)
    trust: str = "exact"


def counted_by_macsim(case: Case, arrays: list[Any]) -> Any:
    training = macsim.Training(inputs=["*"])
    if not case.node:
        tensors = [torch.tensor(x, dtype=torch.float32 if x.dtype.kind == "f" else torch.int64) for x in arrays]
        return macsim.count(case.run, *tensors, training=training).training
    names = [f"x{i}" for i in range(len(arrays))]
    feeds = [feed(name, *shape) for name, shape in zip(names, case.given, strict=True) if isinstance(shape, tuple)]
    stored = [numpy_helper.from_array(x.astype(np.float32) if x.dtype.kind == "f" else x, name)
              for name, x in zip(names, case.given, strict=True) if isinstance(x, np.ndarray)]  # fmt: skip
    node = helper.make_node(case.node, names, ["y"], domain=case.domain, **case.attributes)
    proto = model([node], feeds, [feed("y")], stored, [case.domain] if case.domain else [])
    return macsim.count(proto, training=training).training


def check(case: Case) -> None:
    dice = np.random.default_rng(0)
    arrays = [x if isinstance(x, np.ndarray) else dice.uniform(*case.range, x) for x in case.given]
    tensors = [torch.tensor(x, requires_grad=isinstance(shape, tuple))
               for x, shape in zip(arrays, case.given, strict=True)]  # fmt: skip
    y = case.run(*tensors)
    dy = dice.uniform(0.5, 1, y.shape)
    want = torch.autograd.grad(y, [x for x in tensors if x.requires_grad], torch.tensor(dy))
    inputs = [counted(x) if one.requires_grad else x for x, one in zip(arrays, tensors, strict=True)]
    with tally() as (work, repeated):
        made = case.gradient(counted(dy), counted(y.detach().numpy()), *inputs)
    for mine, theirs in zip(made if isinstance(made, tuple) else (made,), want, strict=True):
        np.testing.assert_allclose(numbers(mine), theirs.numpy(), rtol=1e-6, atol=1e-9)
    got = counted_by_macsim(case, arrays)
    assert {kind: n for kind, n in got.backward.work.items() if n} == dict(work)
    assert {kind: n for kind, n in got.recompute.work.items() if n} == dict(repeated)
    assert got.backward.trust == case.trust
