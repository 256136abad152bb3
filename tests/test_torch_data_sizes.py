# Sizes that depend on data, in torch programs: a symbol stands for each.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""A program whose sizes depend on data is counted with symbols, which the data's own numbers can be bound to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import macsim


class Chosen(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.layer = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> Any:
        mask = x.sum(-1) > 0
        if self.how == "mask":
            return self.layer(x[mask])
        if self.how == "nonzero":
            return self.layer(x[mask.nonzero().squeeze(1)])
        if self.how == "where":
            return self.layer(x[torch.where(mask)[0]])
        return self.layer(torch.unique(x, dim=0))


CHOICES = ("mask", "nonzero", "where", "unique")


@pytest.mark.parametrize("rows", [5, "rows"])
@pytest.mark.parametrize("how", CHOICES)
def test_a_symbol_stands_for_it(how: str, rows: Any) -> None:
    report = macsim.count(nn.Sequential(Chosen(how)), (rows, 8))
    (symbol,) = (one.name for one in report.unbound if one.name != "rows")
    assert symbol.startswith("0.")
    assert symbol.endswith(".nonzeros")
    sizes = {symbol: 3} | ({"rows": 5} if rows == "rows" else {})
    assert report.bind(sizes).macs == 3 * 8 * 4
    with pytest.raises(macsim.RequestError):  # more than there are
        report.bind({**sizes, symbol: 6}).macs  # noqa: B018


def test_every_call_has_its_own() -> None:
    part = Chosen("mask")
    report = macsim.count(nn.Sequential(part, nn.Linear(4, 8), part), (5, 8))
    assert sorted(one.name for one in report.unbound) == ["0.index.nonzeros", "0.index.nonzeros_2"]
    found = report.bind({"0.index.nonzeros": 4, "0.index.nonzeros_2": 2})
    assert found.macs == 4 * 32 + 4 * 32 + 2 * 32


def test_known_data_needs_none() -> None:
    x = torch.tensor([0, 3, 0, 5])
    report = macsim.count(lambda x: torch.ones(8, 4) @ torch.ones(4, 2)[:, : len(x.nonzero())], x)
    assert not report.unbound
    assert report.macs == 8 * 4 * 2


def test_a_loop_over_it_is_refused_by_name() -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        for row in (x > 0).nonzero():
            x = x + row.sum()
        return x

    with pytest.raises(macsim.TraceError, match=r"nonzero\.nonzeros"):
        macsim.count(run, (5, 8))
