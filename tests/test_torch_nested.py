# Jagged tensors as inputs, and what cannot be followed of nested and masked ones.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Sequences of 3, 5 and 2 steps in one tensor: each is counted by its own length."""

from __future__ import annotations

from typing import Any

import pytest

import macsim

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore")
LENGTHS = (3, 5, 2)


def sequences(width: int = 32, **how: Any) -> Any:
    how.setdefault("layout", torch.jagged)
    return torch.nested.nested_tensor([torch.randn(n, width) for n in LENGTHS], **how)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm, self.leave = nn.Linear(32, 48), nn.LayerNorm(16), nn.Linear(16, 32)

    def forward(self, x: Any, causal: bool = False) -> Any:
        q, k, v = (one.unflatten(-1, (2, 8)).transpose(1, 2) for one in self.enter(x).chunk(3, -1))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(-2)
        return x + self.leave(self.norm(y).relu())


PAIRS = sum(n * n for n in LENGTHS)


@pytest.mark.parametrize("causal", [False, True])
def test_a_layer_over_jagged_tensors(causal: bool) -> None:
    """10 steps through three projections and one; in 2 heads of 8 each step meets those of its own sequence."""
    given, layer = sequences(), Layer().eval()
    report = macsim.count(layer, given, causal)
    assert report.macs == 10 * 32 * 48 + 10 * 16 * 32 + PAIRS * 2 * 16
    seen = sum(n * (n + 1) // 2 for n in LENGTHS) if causal else PAIRS
    assert report.macs - report.macs_unmasked == (PAIRS - seen) * 2 * 16
    assert [(one.name, one.shape) for one in report.inputs] == [("x", (10, 32)), ("x.offsets", (4,))]
    assert report.outputs[0].shape == (10, 32)
    assert report.trust == "exact"
    assert given.is_nested
    assert given.values().device.type == "cpu"


def test_what_cannot_be_followed_says_so() -> None:
    linear = nn.Linear(32, 4)
    with pytest.raises(macsim.RequestError, match=r"'input' is a nested tensor.*layout=torch.jagged"):
        macsim.count(linear, sequences(layout=torch.strided))
    with pytest.raises(macsim.RequestError, match=r"'input' is a jagged tensor.*training"):
        macsim.count(linear, sequences(), training=True)
    made = {
        "jagged": lambda x: linear(torch.nested.nested_tensor_from_jagged(x, torch.tensor([0, 3, 8]))).values(),
        "strided": lambda x: linear(torch.nested.as_nested_tensor([x, x])),
        "masked": lambda x: torch.masked.masked_tensor(x, x > 0).sum(),
    }
    for call in made.values():
        with pytest.raises(macsim.TraceError, match=r"nested or a masked tensor.*give a jagged one as an input"):
            macsim.count(call, (8, 32))
