# Operators of torch.library: through macsim's decorator, and through formulas registered with torch.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch.utils import flop_counter  # noqa: E402

import macsim  # noqa: E402


@torch.library.custom_op("macsim_tests::window", mutates_args=())
def window(q: torch.Tensor, k: torch.Tensor, width: int) -> torch.Tensor:
    return q + k


@window.register_fake
def _(q: Any, k: Any, width: int) -> Any:
    return torch.empty_like(q)


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return window(y, y, 3)


def reports(**more: Any) -> list[Any]:
    """The three entrances: 2 rows."""
    program = torch.export.export(Model(), (torch.zeros(2, 4),))
    symbolic = macsim.count(Model(), ("b", 4), **more).bind(b=2)
    return [macsim.count(Model(), (2, 4), **more), symbolic, macsim.count(program, **more)]


@pytest.fixture
def formula() -> Iterator[Any]:
    """Registers formulas, and takes them back."""
    before = dict(flop_counter.flop_registry)
    yield lambda raw=False: flop_counter.register_flop_formula(torch.ops.macsim_tests.window, get_raw=raw)
    flop_counter.flop_registry.clear()
    flop_counter.flop_registry.update(before)


def decorated() -> macsim.Registry:
    mine = macsim.Registry()

    @mine.op("macsim_tests::window", slots="q k")
    class Window:
        """Every row against a window of others. Torch's fake kernel tells the shapes."""

        infer = None

        @staticmethod
        def cost(call: macsim.Call) -> macsim.Cost:
            rows, size = call.q.shape
            return macsim.Cost(mac=rows * size * call.attr("width"))

    return mine


def test_the_decorator_serves_torch() -> None:
    for report in reports(registry=decorated()):
        assert (report.macs, report.trust) == (2 * 4 * 6 + 2 * 6 * 3, "exact")


def test_without_any_it_is_unknown() -> None:
    for report in reports():
        assert (report.macs, report.trust) == (48, "unknown")
        assert [one.code for one in report.diagnostics] == ["MS201"]
    with pytest.raises(macsim.MacsimError, match="macsim_tests::window"):
        macsim.count(Model(), (2, 4), strict=True)


def test_formulas_of_torch_are_honoured(formula: Any) -> None:
    @formula()
    def flops(q: Any, k: Any, width: int, out_shape: Any = None, **_: Any) -> Any:
        assert tuple(out_shape) == tuple(q)
        return 2 * q[0] * q[1] * width

    with flop_counter.FlopCounterMode(display=False) as counter:
        Model()(torch.zeros(2, 4))
    for report in reports():
        assert report.macs == 48 + 36 == counter.get_total_flops() // 2
        assert (report.trust, report.diagnostics) == ("estimate", [])
        row = next(row for row in report.rows if row.op == "macsim_tests::window")
        assert row.trust == "estimate"
        assert "registered with torch.utils.flop_counter" in row.because
    assert macsim.rules.find("macsim_tests::window") is None  # a count leaves the rules as they were
    for report in reports(registry=decorated()):  # a row comes before a formula
        assert report.trust == "exact"


def test_raw_formulas(formula: Any) -> None:
    @formula(raw=True)
    def flops(q: Any, k: Any, width: int, out_val: Any = None, **_: Any) -> Any:
        return 2 * q.shape[0] * q.shape[1] * width

    for report in reports():
        assert report.macs == 48 + 36


def test_a_formula_that_raises(formula: Any) -> None:
    @formula()
    def flops(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("by nothing")

    for report in reports():
        assert (report.macs, report.trust) == (48, "unknown")
        [remark] = [one for one in report.diagnostics if one.code == "MS501"]
        assert "ZeroDivisionError: by nothing" in remark.text
        assert "window" in remark.where
