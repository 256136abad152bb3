# What exported graphs hold besides plain calls: maps, scans and loops with bodies, writes made functional, kernels.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import fx, nn  # noqa: E402

import macsim  # noqa: E402
from macsim import Expr  # noqa: E402


def exported(model: nn.Module, *shape: int, **how: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(model.eval(), (torch.randn(shape),), **{"strict": False} | how)


def functional(model: nn.Module, *shape: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return exported(model, *shape).run_decompositions()


class Each(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return torch.func.vmap(self.fc)(x)


@pytest.fixture
def library() -> Iterator[Any]:
    with torch.library._scoped_library("macsimhigher", "FRAGMENT") as held:
        held.define("accumulate(Tensor x, Tensor(a!) y) -> ()")
        held.impl("accumulate", lambda x, y: None, "CompositeExplicitAutograd")
        held.define("bare(Tensor x) -> Tensor")
        yield held


# vmap. ----------------------------------------------------------------------------------------------------------------


def test_vmap_runs_its_calls_for_every_lane() -> None:
    report = macsim.count(exported(Each(), 2, 4, 4))
    assert (report.macs, report.trust) == (2 * 4 * 4 * 4, "exact")
    assert report.macs == macsim.count(Each(), (2, 4, 4)).macs
    assert report.by("scope")["fc"].macs == 128
    assert report.outputs[0].shape == (2, 4, 4)
    dynamic = exported(Each(), 3, 4, 4, dynamic_shapes=({0: torch.export.Dim("n", min=2)},))
    assert macsim.count(dynamic, shapes=("n", 4, 4)).macs == 64 * Expr("n")


def test_weights_are_read_once_for_all_lanes() -> None:
    """What every lane has for itself is read for each: the inputs, and weights that are mapped over, too."""
    report = macsim.count(exported(Each(), 3, 5, 4))
    assert report.traffic().roles["weight"] == 4 * (16 + 4)
    assert [row.weights for row in report.rows if row.macs] == [4 * (16 + 4)]
    assert [row.read for row in report.rows if row.macs] == [4 * 3 * 5 * 4]

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(torch.zeros(3, 4, 4))

        def forward(self, x: Any) -> Any:
            return torch.func.vmap(torch.matmul)(x, self.weights)

    (row,) = (row for row in macsim.count(exported(Own(), 3, 5, 4)).rows if row.macs)
    assert row.read + row.weights == 4 * (3 * 5 * 4 + 3 * 4 * 4)


def test_vmap_in_vmap_and_work_that_is_the_same_for_all() -> None:
    class Nested(Each):
        def forward(self, x: Any) -> Any:
            def inner(y: Any) -> Any:
                return y @ (self.fc.weight @ self.fc.weight)  # the product in brackets is made once

            return torch.func.vmap(torch.func.vmap(inner))(x)

    report = macsim.count(exported(Nested(), 2, 3, 5, 4))
    assert (report.macs, report.trust) == (64 + 2 * 3 * 5 * 16, "exact")


def test_associative_scans_that_torch_unrolls() -> None:
    from torch._higher_order_ops.associative_scan import associative_scan

    class Running(nn.Module):
        def forward(self, x: Any) -> Any:
            return associative_scan(lambda a, b: a * b + a, x, dim=0, combine_mode="generic")

    # 8 elements: 4 + 2 + 1 combinations on the way up, 0 + 1 + 3 on the way down; each of 3 products and 3 sums
    report = macsim.count(exported(Running(), 8, 3))
    assert (report.work["mul"], report.work["add"]) == (33, 33)
    assert report.flops == macsim.count(Running(), (8, 3)).flops == 66


# Bodies. --------------------------------------------------------------------------------------------------------------


def test_calls_in_bodies_are_in_the_module_whose_weights_they_read() -> None:
    from torch._higher_order_ops.map import map as mapped
    from torch._higher_order_ops.scan import scan
    from torch._higher_order_ops.while_loop import while_loop

    class Inner(Each):
        def __init__(self, how: str) -> None:
            super().__init__()
            self.how = how

        def forward(self, x: Any) -> Any:
            if self.how == "map":
                return mapped(lambda one: self.fc(one).relu(), x)
            if self.how == "scan":
                return scan(lambda state, one: (self.fc(state + one), state * 2), torch.zeros(4), x)[0]
            if self.how == "cond":
                return torch.cond(x.sum() > 0, lambda y: self.fc(y), lambda y: y + 1, (x,))
            return while_loop(lambda i, y: y.sum() < i, lambda i, y: (i + 1, self.fc(y)), (torch.tensor(0), x))[1]

    class Outer(nn.Module):
        def __init__(self, how: str) -> None:
            super().__init__()
            self.inner = Inner(how)

        def forward(self, x: Any) -> Any:
            return self.inner(x)

    for how in ("map", "scan", "cond", "while"):
        report = macsim.count(exported(Outer(how), 3, 4))
        assert {row.scope for row in report.rows if row.op == "aten::linear"} == {"inner.fc"}, how
        assert {row.scope for row in report.rows if row.op != "aten::linear"} <= {"", "inner"}, how
        assert report.by("scope")["inner.fc"].macs == report.macs


def test_hints_are_walked_through() -> None:
    from torch._higher_order_ops.hints_wrap import hints_wrapper

    class Hinted(nn.Module):
        def forward(self, x: Any) -> Any:
            return hints_wrapper(lambda y: y @ y.T, (x,), {}, hints={"a": 1})

    report = macsim.count(exported(Hinted(), 2, 3, strict=True))
    assert (report.macs, report.trust) == (12, "exact")
    assert {row.scope for row in report.rows} == {""}


def test_regions_that_are_compiled_once_are_in_each_module_that_runs_them() -> None:
    region = getattr(torch.compiler, "nested_compile_region", None)
    if region is None:
        pytest.skip("this torch has no regions")

    class Region(Each):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

        @region
        def forward(self, x: Any) -> Any:
            return self.inner(self.fc(x)) + 1

    model = nn.Sequential(*(Region() for _ in range(3)))
    want = {group.name: group.macs for group in macsim.count(model, (2, 4)).by("scope") if group.macs}
    assert want == {f"{i}.{name}": 32 for i in range(3) for name in ("fc", "inner.0")}
    program = exported(model, 2, 4, strict=True)
    assert "invoke_subgraph" in {str(node.target) for node in program.graph.nodes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        decomposed = program.run_decompositions()
    for one in (program, decomposed):
        report = macsim.count(one)
        assert (report.macs, report.parameters, report.trust) == (6 * 32, 6 * 20, "exact")
        assert {group.name: group.macs for group in report.by("scope") if group.macs} == want


def graph_of(target: Any, bodies: dict[str, Any], inputs: dict[str, Any], args: Any, val: Any, kwargs: Any) -> Any:
    """Return a graph that calls one operator; names in its arguments are those of bodies and inputs."""
    graph = fx.Graph()
    nodes = {}
    for name, shape in inputs.items():
        nodes[name] = graph.placeholder(name)
        nodes[name].meta["val"] = torch.empty(shape, device="meta")
    for name in bodies:
        nodes[name] = graph.get_attr(name)
        nodes[name].meta["val"] = None

    def told(nest: Any) -> Any:
        if isinstance(nest, dict):
            return {key: told(one) for key, one in nest.items()}
        if isinstance(nest, list | tuple):
            return type(nest)(told(one) for one in nest)
        return nodes.get(nest, nest) if isinstance(nest, str) else nest

    called = graph.create_node("call_function", target, told(args), told(kwargs))
    called.meta["val"] = val
    graph.output(called)
    root = nn.Module()
    for name, body in bodies.items():
        setattr(root, name, body)
    return fx.GraphModule(root, graph)


def body_of(function: Any, *shapes: tuple[int, ...]) -> Any:
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(function)(*(torch.empty(shape, device="meta") for shape in shapes))


def counted(module: Any) -> macsim.Report:
    from macsim.sources.torch_graphs import walk

    ledger, modules, _ = walk(module, (), None, None, macsim.rules)
    return macsim.Report(ledger, ledger.model, {}, modules=modules)


def test_associative_scans_that_stay_combine_all_but_one() -> None:
    from torch._higher_order_ops.associative_scan import associative_scan_op

    body = body_of(lambda a, b: [a * b + a], (3,), (3,))
    val = [torch.empty(8, 3, device="meta")]
    report = counted(graph_of(associative_scan_op, {"f": body}, {"x": (8, 3)}, ("f", ["x"], ()), val, {}))
    assert (report.work["mul"], report.work["add"], report.trust) == (7 * 3, 7 * 3, "estimate")


def test_constants_are_walked_through() -> None:
    run_const_graph = pytest.importorskip("torch._higher_order_ops.run_const_graph").run_const_graph
    body = body_of(lambda a: (a @ a,), (3, 3))
    val = (torch.empty(3, 3, device="meta"),)
    report = counted(graph_of(run_const_graph, {"f": body}, {"x": (3, 3)}, ("f", ("x",)), val, {}))
    assert (report.macs, report.trust) == (27, "exact")


# Operators that write. ------------------------------------------------------------------------------------------------


class Writes(nn.Module):
    def forward(self, x: Any) -> Any:
        y = torch.zeros(2, 3)
        torch.ops.macsimhigher.accumulate(x, y)
        return y @ y.T


def test_operators_that_only_write_are_not_passed_over(library) -> None:
    for model in (Writes(), exported(Writes(), 2, 3), functional(Writes(), 2, 3)):
        report = macsim.count(model, (2, 3)) if isinstance(model, nn.Module) else macsim.count(model)
        assert report.trust == "unknown"
        assert report.macs == 12
        assert [row.op for row in report.rows if row.trust == "unknown"] == ["macsimhigher::accumulate"]


def test_operators_that_only_write_are_counted_by_rows_of_the_user(library) -> None:
    mine = macsim.rules.copy()

    @macsim.op("macsimhigher::accumulate", slots="x y", registry=mine)
    class Accumulate:
        """Adds into a tensor."""

        infer = None

        @staticmethod
        def cost(call: macsim.Call) -> macsim.Cost:
            return macsim.Cost(add=call.x.shape[0] * call.x.shape[1])

    for model in (Writes(), exported(Writes(), 2, 3), functional(Writes(), 2, 3)):
        report = (
            macsim.count(model, (2, 3), registry=mine)
            if isinstance(model, nn.Module)
            else macsim.count(model, registry=mine)
        )
        assert (report.trust, report.macs) == ("exact", 12)
        assert sum(row.work["add"] for row in report.rows if row.op == "macsimhigher::accumulate") == 6


def test_operators_without_a_meta_kernel(library) -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.deep = nn.Module()
            self.deep.forward = torch.ops.macsimhigher.bare  # type: ignore[assignment]

        def forward(self, x: Any) -> Any:
            return self.deep(x)

    with pytest.raises(macsim.TraceError, match=r"macsimhigher::bare: .*macsim\.op") as caught:
        macsim.count(Deep(), (2, 3))
    assert "deep" in str(caught.value)
    mine = macsim.rules.copy()

    @macsim.op("macsimhigher::bare", slots="x", registry=mine)
    class Bare:
        """A secret."""

        @staticmethod
        def infer(call: macsim.Call) -> macsim.Tensor:
            return call.x

        @staticmethod
        def cost(call: macsim.Call) -> macsim.Cost:
            return macsim.Cost(mac=7)

    report = macsim.count(Deep(), (2, 3), registry=mine)
    assert (report.macs, report.trust, report.rows[0].scope) == (7, "exact", "deep")


# What is not in the graph. --------------------------------------------------------------------------------------------


def test_forward_derivatives_are_unknown() -> None:
    class Pushed(Each):
        def forward(self, x: Any) -> Any:
            return torch.func.jvp(self.fc, (x,), (x,))[1]

    report = macsim.count(exported(Pushed(), 2, 4))  # the graph has the values alone, not what their derivatives take
    assert report.trust == "unknown"
    with pytest.raises(macsim.UnknownWorkError, match="_make_dual"):
        macsim.count(exported(Pushed(), 2, 4), strict=True)


def test_derivatives_that_a_program_takes_are_counted() -> None:
    class Taken(Each):
        def __init__(self, how: str) -> None:
            super().__init__()
            self.how = how

        def forward(self, x: Any) -> Any:
            if self.how == "grad":
                return torch.func.grad(lambda y: self.fc(y).sum())(x)
            if self.how == "vjp":
                value, pull = torch.func.vjp(self.fc, x)
                return pull(value)[0]
            if self.how == "each":
                return torch.func.vmap(torch.func.grad(lambda y: self.fc(y).sum()))(x)
            if self.how == "jvp":
                return torch.func.jvp(self.fc, (x,), (x,))[1]
            y = x.detach().requires_grad_()
            return torch.autograd.grad(self.fc(y).sum(), y)[0]

    for how in ("grad", "vjp", "each"):  # the value, and what comes back from it
        report = macsim.count(Taken(how), (2, 4))
        assert (report.macs, report.trust) == (2 * 2 * 4 * 4, "exact"), how
    report = macsim.count(Taken("jvp"), (2, 4))  # the weight has no tangent: a product with zeros that torch leaves out
    assert (report.macs, report.trust) == (3 * 32, "bound")
    with pytest.raises(macsim.TraceError, match=r"autograd, which is off .* torch\.func\.grad"):
        macsim.count(Taken("autograd"), (2, 4))


def test_triton_operators_are_rows_of_the_user() -> None:
    triton_op = getattr(torch.library, "triton_op", None)
    if triton_op is None:
        pytest.skip("this torch has none")

    @triton_op("macsimtriton::doubled", mutates_args={})
    def doubled(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    mine = macsim.rules.copy()

    @macsim.op("macsimtriton::doubled", slots="x", registry=mine)
    class Doubled:
        """Twice x."""

        infer = None

        @staticmethod
        def cost(call: macsim.Call) -> macsim.Cost:
            return macsim.Cost(mul=call.x.shape[0] * call.x.shape[1])

    class Twice(nn.Module):
        def forward(self, x: Any) -> Any:
            return doubled(x)

    for given in ((Twice(), (2, 4)), (exported(Twice(), 2, 4),)):
        assert macsim.count(*given).trust == "unknown"
        report = macsim.count(*given, registry=mine)
        assert (report.work["mul"], report.trust) == (8, "exact")


def test_kernels_in_triton_are_rows_by_name() -> None:
    wrap = pytest.importorskip("torch._higher_order_ops.triton_kernel_wrap")

    class Kernel:
        """What `triton.jit` makes of a function."""

        def fn(self) -> None: ...

    Kernel.fn.__name__ = "scaled_add"
    table = wrap.kernel_side_table
    said = {
        "kernel_idx": table.add_kernel(Kernel()),
        "constant_args_idx": table.add_constant_args({"factor": 3}),
        "grid": [(1, 1, 1)],
        "tma_descriptor_metadata": {},
        "kwargs": {"x": "x", "out": "y"},
    }
    tensor = torch.empty(2, 5, device="meta")
    inputs = {"x": (2, 5), "y": (2, 5)}
    mine = macsim.rules.copy()
    for target, more, val in (
        (wrap.triton_kernel_wrapper_functional, {"tensors_to_clone": ["out"]}, {"out": tensor}),
        (wrap.triton_kernel_wrapper_mutation, {}, None),
    ):
        report = counted(graph_of(target, {}, inputs, (), val, {**said, **more}))
        assert [row.op for row in report.rows] == ["triton::scaled_add"]
        assert report.trust == "unknown"

        @macsim.op("triton::scaled_add", slots="x out", registry=mine)
        class ScaledAdd:
            """A kernel."""

            infer = None

            @staticmethod
            def cost(call: macsim.Call) -> macsim.Cost:
                return macsim.Cost(mul=call.attr("factor") * call.x.shape[1], add=call.out.shape[0])

        from macsim.sources.torch_graphs import walk

        ledger, _, _ = walk(graph_of(target, {}, inputs, (), val, {**said, **more}), (), None, None, mine)
        assert (ledger.total().work["mul"], ledger.total().work["add"]) == (15, 2)
