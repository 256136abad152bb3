# Sizes that depend on data, in torch programs: a symbol stands for each.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""A program whose sizes depend on data is counted with symbols, which the data's own numbers can be bound to."""

from __future__ import annotations

from contextlib import nullcontext
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


# Numbers that are contents. -------------------------------------------------------------------------------------------


class Shortened(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.layer = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> Any:
        if self.how == "repeat":
            return self.layer(x[: lengths.shape[0]].repeat_interleave(lengths, 0))
        if self.how == "bincount":
            return self.layer(x.new_zeros(lengths.bincount(minlength=2).shape[0], 8))
        most = lengths.max().item()
        if self.how == "check":
            torch._check(most >= 0)
            torch._check(most <= x.shape[0])
        if self.how == "loop":
            return [self.layer(x) for _ in range(most)]
        if self.how == "branch" and most > 4:
            return x
        return self.layer(x.new_zeros(most, 8) if self.how == "new" else x[:most])


class Holder(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.part = Shortened(how)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> Any:
        return self.part(x, lengths)


LENGTHS = {"dtypes": {"lengths": "i64"}}


@pytest.mark.parametrize(
    ("how", "symbol", "most"),
    [
        ("new", "item.value", 99),
        ("slice", "item.value", 5),
        ("check", "item.value", 5),
        ("repeat", "repeat_interleave.length", 99),
    ],
)
@pytest.mark.parametrize("rows", [5, "rows"])
def test_a_number_that_is_contents_is_a_size(how: str, symbol: str, most: int, rows: Any) -> None:
    report = macsim.count(Holder(how), (rows, 8), (3,), **LENGTHS)
    symbol = f"part.{symbol}"
    names = {one.name for one in report.unbound}
    assert names - {"rows"} == {symbol}
    others = {"rows": 5} if "rows" in names else {}
    assert report.bind({symbol: 3, **others}).macs == 3 * 8 * 4
    assert report.bind({symbol: most, **others}).macs == most * 8 * 4
    if others or rows == 5:
        with pytest.raises(macsim.RequestError) if most < 99 else nullcontext():
            report.bind({symbol: most + 1, **others})
    assert macsim.count(Holder(how), (5, 8), torch.tensor([1, 2, 3])).macs == (6 if how == "repeat" else 3) * 8 * 4


def test_no_fewer_than_are_asked_for() -> None:
    report = macsim.count(Holder("bincount"), (5, 8), (3,), **LENGTHS)
    assert report.macs == 32 * macsim.Expr("max(`part.bincount.length`, 2)")


def test_an_exported_program_says_the_same() -> None:
    for how in ("new", "check"):
        exported = torch.export.export(Holder(how), (torch.zeros(5, 8), torch.tensor([1, 2, 3])))
        report = macsim.count(exported)
        (symbol,) = (one.name for one in report.unbound)
        assert report.bind({symbol: 3}).macs == 3 * 8 * 4


@pytest.mark.parametrize("how", ["branch", "loop"])
def test_nothing_is_decided_by_it_unless_it_is_told(how: str) -> None:
    with pytest.raises(
        macsim.TraceError, match=r"give that tensor as an input, or hints=\{'part.item.value'"
    ) as caught:
        macsim.count(Holder(how), (5, 8), (3,), **LENGTHS)
    assert caught.value.module == "part"
    report = macsim.count(Holder(how), (5, 8), (3,), **LENGTHS, hints={"part.item.value": 4})
    assert any("part.item.value" in one.text for one in report.diagnostics)
    if how == "loop":
        assert report.macs == 4 * 5 * 32
    else:
        assert report.bind({"part.item.value": 2}).macs == 2 * 32
        with pytest.raises(macsim.RequestError):  # it would go the other way
            report.bind({"part.item.value": 5})


def test_a_float_that_is_contents_is_no_size() -> None:
    report = macsim.count(lambda x: x / x.abs().max().item(), (3, 4))
    assert (report.work["div"], report.trust) == (12, "exact")
    with pytest.raises(macsim.TraceError):
        macsim.count(lambda x: x + 1 if x.max().item() > 2 else x, (3, 4))


# Mixtures. ------------------------------------------------------------------------------------------------------------


class Mixture(nn.Module):
    """The best of 4 experts for every row."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.router = nn.Linear(8, 4)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        best = self.router(x).argmax(-1)
        y = torch.zeros_like(x)
        if self.how == "hit":
            chosen = nn.functional.one_hot(best, 4).T
            for number in (chosen.sum(-1) > 0).nonzero():
                (rows,) = torch.where(chosen[number[0]])
                y[rows] = self.experts[number[0]](x[rows])
            return y
        for number, expert in enumerate(self.experts):
            rows = (best == number).nonzero().squeeze(1)
            y.index_add_(0, rows, expert(x[rows]))
        return y


def test_what_experts_get_are_symbols() -> None:
    report = macsim.count(Mixture("all"), (10, 8))
    names = [one.name for one in report.unbound]
    assert len(names) == 4
    assert report.bind(dict(zip(names, (3, 0, 5, 2), strict=True))).macs == 10 * 8 * 4 + 10 * 8 * 8


def test_a_loop_over_the_experts_that_were_hit_is_refused_with_a_way_out() -> None:
    with pytest.raises(macsim.TraceError, match=r"hints=\{'nonzero\.nonzeros'.*grouped_mm"):
        macsim.count(Mixture("hit"), (10, 8))
