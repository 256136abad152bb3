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


# Schemas. -------------------------------------------------------------------------------------------------------------


def spelled(kind: str) -> str:
    """A type of a schema's text, as torch's own objects spell it."""
    if kind.endswith("?"):
        return f"Optional[{spelled(kind[:-1])}]"
    if kind.endswith("[]"):
        return f"List[{spelled(kind[:-2])}]"
    same = {"SymInt": "int", "ScalarType": "int", "Layout": "int", "MemoryFormat": "int", "Scalar": "number"}
    return same.get(kind, kind)


def test_schemas_are_read_as_torch_says() -> None:
    odd = "macsim_tests::odd(Tensor(a!)[] xs, Tensor(b -> *) y, int[2] k=3, bool[2] both=True, str mode='x=),(', *, "
    odd += "float[] each=[1., -2.5e-07], Tensor(c!)? out=None, Device? device=None) -> (Tensor(b) y, Tensor[] rest)"
    texts = [*torch._C._jit_get_all_schemas(), torch._C.parse_schema(odd)]
    assert len(texts) > 3000
    for schema in texts:
        name, overload, arguments, results = macsim._core.read_schema(str(schema))
        assert (name, overload) == (schema.name, schema.overload_name)
        if "..." in str(schema) or "(Dict" in str(schema) or "_test_string_default" in name:  # TorchScript's own
            continue
        for (called, kind, use, written, keyword, default), said in zip(arguments, schema.arguments, strict=True):
            assert (called, keyword) == (said.name, said.kwarg_only), schema
            assert default == (said.default_value if said.has_default_value() else None) or default is NotImplemented
            assert written == (said.alias_info is not None and said.alias_info.is_write), schema
            if not {"(", "__torch__"} & set(kind):
                assert spelled(kind) == str(said.type) or kind[0] in "ADFR[(", schema
            if use == "tensor":
                assert str(said.type) in ("Tensor", "Optional[Tensor]")
        for (kind, alias), said in zip(results, schema.returns, strict=True):
            assert alias == (said.alias_info is not None), schema
            assert (kind == "Tensor") == (str(said.type) == "Tensor")
