# Graphs that torch made: exported programs and fx graphs count as the modules that they come from, and as ONNX does.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import gc
import io
import operator
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

import macsim  # noqa: E402
from macsim import Expr  # noqa: E402
from macsim.show import plain  # noqa: E402


class Conv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.down = nn.Conv2d(8, 16, 3, stride=2, groups=2)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.down(self.stem(x)).mean((2, 3)))


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 12, num_layers=2, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0])


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Linear(6, 6)
        self.other = nn.Linear(6, 6)
        self.other.weight = self.again.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.other(self.again(self.again(x).relu()))


class Cond(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Linear(4, 4)
        self.wide = nn.Linear(4, 8)
        self.back = nn.Linear(8, 4)

    def forward(self, x: Any) -> Any:
        return torch.cond(x.sum() > 0, lambda y: self.small(y), lambda y: self.back(self.wide(y)), (x,))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 32), nn.GELU(), nn.Dropout(), nn.Linear(32, 4), nn.Softmax(-1))


def encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "mlp": (mlp, (3, 6), 3 * (6 * 32 + 32 * 4)),
    "conv": (Conv, (2, 3, 9, 9), 2 * (81 * 8 * 27 + 16 * 16 * 4 * 9 + 16 * 5)),
    "lstm": (Lstm, (2, 5, 8), 10 * (48 * (8 + 12) + 48 * (12 + 12) + 12 * 3)),
    "attention": (Attention, (2, 7, 16), 2 * (7 * 16 * 64 + 2 * 7 * 7 * 16)),
    "encoder": (encoder, (2, 7, 16), 2 * 2 * (7 * 16 * 64 + 2 * 7 * 7 * 16 + 2 * 7 * 16 * 32)),
    "shared": (Shared, (2, 6), 2 * 3 * 36),
}


def exported(model: nn.Module, shape: tuple[int, ...], dynamic: Any = None) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(model.eval(), (torch.randn(shape),), dynamic_shapes=dynamic, strict=False)


def scopes(report: macsim.Report) -> dict[str, Any]:
    return {group.name: (group.macs, group.flops) for group in report.by("scope")}


@pytest.fixture(params=MODELS)
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, tuple[int, ...], int]:
    make, shape, macs = MODELS[request.param]
    return make().eval(), shape, macs


def test_exported_counts_as_the_module(case) -> None:
    model, shape, macs = case
    ran, walked = macsim.count(model, shape), macsim.count(exported(model, shape))
    assert ran.macs == walked.macs == macs
    assert ran.flops == walked.flops
    assert ran.work == walked.work
    assert ran.total.trust == walked.total.trust == "exact"
    assert scopes(ran) == scopes(walked)
    assert ran.parameters == walked.parameters == sum(one.numel() for one in model.parameters())
    assert ran.model.name == walked.model.name == type(model).__name__
    assert [str(one) for one in ran.outputs] == [str(one) for one in walked.outputs]


def test_onnx_counts_as_the_module(case) -> None:
    pytest.importorskip("onnxscript")
    model, shape, macs = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(model, (torch.randn(shape),), dynamo=True, verbose=False)
    assert macsim.count(program.model_proto).macs == macs


def test_open_sizes_are_symbols(case) -> None:
    model, shape, macs = case
    program = exported(model, shape, ({0: torch.export.Dim("batch", min=2)},))
    report = macsim.count(program)
    (symbol,) = report.unbound
    assert report.macs == macs // shape[0] * Expr(symbol.name)
    assert report.bind({symbol.name: shape[0]}).macs == macs
    assert macsim.count(program, dims={symbol.name: 4}).macs == 2 * 2 * macs // shape[0]
    named = macsim.count(program, ("batch", *shape[1:]))
    assert named.macs == macs // shape[0] * Expr("batch")
    assert named.inputs[0].shape == (Expr("batch"), *shape[1:])
    assert macsim.count(program, torch.randn(shape)).macs == macs
    name = named.inputs[0].name
    assert macsim.count(program, shapes={name: ("n", *[None] * (len(shape) - 1))}).macs == macs // shape[0] * Expr("n")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"y": (2, 6)}, "no input 'y'; there are input"),
        ({"input": (2, 7)}, "dimension 1 of 'input' is 6 in the graph, not 7"),
        ({"input": (2, 6, 1)}, "'input' has 2 dimensions in the graph, not 3"),
        ({"input": (1000, 6)}, "the graph holds from 0 to 64"),
    ],
)
def test_sizes_that_do_not_fit(given: dict[str, Any], says: str) -> None:
    program = exported(mlp(), (3, 6), ({0: torch.export.Dim("batch", min=2, max=64)},))
    with pytest.raises(macsim.RequestError) as caught:
        macsim.count(program, shapes=given)
    assert says in str(caught.value)


def test_sizes_that_a_graph_does_not_hold_for_are_not_bound() -> None:
    program = exported(mlp(), (5, 6), ({0: torch.export.Dim("batch", min=3, max=64)},))
    report, named = macsim.count(program), macsim.count(program, ("n", 6))
    assert report.bind(batch=3).macs == named.bind(n=3).macs == macsim.count(program, (3, 6)).macs
    for size in (2, 65):
        with pytest.raises(macsim.RequestError, match="the graph holds from 3 to 64"):
            macsim.count(program, (size, 6))
        with pytest.raises(macsim.RequestError, match="bounds of a graph"):
            report.bind(batch=size)
        with pytest.raises(macsim.RequestError, match="bounds of a graph"):
            named.bind(n=size)


def test_sizes_that_are_worked_out() -> None:
    class Folded(nn.Module):
        def forward(self, x: Any) -> Any:
            wide = torch.cat([x, x[1:]])
            return wide @ wide.T + nn.functional.avg_pool1d(x[None].mT, 2).sum()

    report = macsim.count(exported(Folded(), (5, 4), ({0: torch.export.Dim("n", min=4)},)), shapes=("n", 4))
    n = Expr("n")
    assert report.macs == (2 * n - 1) * (2 * n - 1) * 4
    assert report.outputs[0].shape == (2 * n - 1, 2 * n - 1)


def test_sizes_that_depend_on_data() -> None:
    class Picked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return self.fc(x[x.sum(1) > 0])

    report = macsim.count(exported(Picked(), (5, 4)))
    (symbol,) = report.unbound
    assert symbol.why == "a size of the graph that depends on data"
    assert report.macs == 16 * Expr(symbol.name)
    assert report.bind({symbol.name: 3}).macs == 48


def test_files(tmp_path: Path) -> None:
    model = Conv().eval()
    torch.export.save(exported(model, (2, 3, 9, 9)), tmp_path / "conv.pt2")
    read = macsim.count(str(tmp_path / "conv.pt2"))
    assert scopes(read) == scopes(macsim.count(model, (2, 3, 9, 9)))
    assert macsim.count(tmp_path / "conv.pt2").parameters == read.parameters > 0
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(macsim.ReadError, match="neither an exported program nor TorchScript"):
        macsim.count(tmp_path / "weights.pth")
    with pytest.raises(macsim.ReadError, match="no such file"):
        macsim.count(tmp_path / "missing.pt2")
    (tmp_path / "broken.pt2").write_bytes(b"nothing")
    with pytest.raises(macsim.ReadError, match="no exported program that this torch"):
        macsim.count(tmp_path / "broken.pt2")


# Operators that run graphs. -------------------------------------------------------------------------------------------


def test_the_larger_branch_is_a_bound() -> None:
    report = macsim.count(exported(Cond(), (2, 4)))
    assert (report.macs, report.trust, report.total.sign("macs")) == (2 * 64, "bound", "<=")
    assert [one.code for one in report.diagnostics] == ["MS401"]
    assert report.parameters == sum(one.numel() for one in Cond().parameters())
    symbolic = macsim.count(exported(Cond(), (2, 4), ({0: torch.export.Dim("b", min=2)},)), shapes=("b", 4))
    assert (symbolic.macs, symbolic.trust) == (64 * Expr("b"), "bound")
    with pytest.raises(macsim.TraceError, match=r"give torch\.export\.export"):
        macsim.count(Cond(), (2, 4))


def test_scans_and_maps_run_their_body_once_an_element() -> None:
    from torch._higher_order_ops.map import map as mapped
    from torch._higher_order_ops.scan import scan

    class Each(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return mapped(lambda one: self.fc(one), x).sum(0)

    class Running(Each):
        def forward(self, x: Any) -> Any:
            return scan(lambda state, one: (self.fc(state + one), state * 2), torch.zeros(2, 4), x)[0]

    for kind in (Each, Running):
        report = macsim.count(exported(kind(), (3, 2, 4)))
        assert (report.macs, report.trust) == (3 * 2 * 16, "exact")
        assert {row.times for row in report.rows if row.op == "aten::linear"} == {3}
        report = macsim.count(exported(kind(), (3, 2, 4), ({0: torch.export.Dim("n", min=2)},)), shapes=("n", 2, 4))
        assert report.macs == 32 * Expr("n")


def test_loops_whose_end_is_not_known_keep_a_symbol() -> None:
    from torch._higher_order_ops.while_loop import while_loop

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return while_loop(lambda i, y: y.sum() < i, lambda i, y: (i + 1, self.fc(y)), (torch.tensor(0), x))[1]

    report = macsim.count(exported(Loop(), (2, 4)))
    (trips,) = report.unbound
    assert report.macs == 32 * Expr(f"`{trips.name}`")
    assert "MS402" in [one.code for one in report.diagnostics]
    assert report.bind({trips.name: 5}).macs == 160
    assert report.bind({trips.name: 5}).work["compare"] == 6  # it is asked once more than it runs


def test_modes_are_walked_through() -> None:
    class Modes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            with torch.no_grad():
                x = self.fc(x)
            with torch.autocast("cpu", torch.bfloat16):
                return self.fc(x)

    report = macsim.count(exported(Modes(), (2, 4)))
    assert (report.macs, report.trust) == (64, "exact")
    assert report.rows[-1].outputs[0].dtype == "bf16"
    assert report.by("scope")["fc"].macs == 64


# Graphs of fx. --------------------------------------------------------------------------------------------------------


def test_graphs_with_results_are_walked() -> None:
    model = Conv().eval()
    ran = macsim.count(model, (2, 3, 9, 9))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = make_fx(model)(torch.randn(2, 3, 9, 9))
        decomposed = exported(model, (2, 3, 9, 9)).run_decompositions()
        unlifted = exported(model, (2, 3, 9, 9)).module()
        assert macsim.count(unlifted, (2, 3, 9, 9)).macs == ran.macs
    assert macsim.count(graph).macs == ran.macs
    assert macsim.count(graph).parameters == ran.parameters
    assert scopes(macsim.count(unlifted)) == scopes(ran)
    assert macsim.count(decomposed).macs == ran.macs


def test_graphs_whose_nodes_say_nothing_count_as_their_module() -> None:
    model = Conv().eval()
    graph = torch.fx.symbolic_trace(model)
    assert scopes(macsim.count(graph, (2, 3, 9, 9))) == scopes(macsim.count(model, (2, 3, 9, 9)))
    with pytest.raises(macsim.RequestError, match=r"missing a required argument: 'x'; it takes \(x\)"):
        macsim.count(graph)


def test_inputs_that_a_graph_knows_need_not_be_given() -> None:
    from torch.fx.passes.shape_prop import ShapeProp

    graph = torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 5), nn.ReLU()))
    with pytest.raises(macsim.RequestError, match="missing a required argument"):
        macsim.count(graph)
    ShapeProp(graph).propagate(torch.ones(3, 4))
    assert macsim.count(graph).macs == 60


def test_inputs_in_nests_are_named_alike() -> None:
    """An exported program's as those of the module."""

    class Nested(nn.Module):
        def forward(self, x: Any, held: Any, *, rest: Any) -> Any:
            return x + held["a"] * held["b"][0] - rest["z"]

    one = torch.randn(5, 4)
    given, named = (one, {"a": one, "b": (one,)}), {"rest": {"z": one}}
    names = [one.name for one in macsim.count(Nested(), *given, kwargs=named).inputs]
    assert names == ["x", "held.a", "held.b[0]", "rest.z"]
    exported = torch.export.export(Nested(), given, named)
    assert [one.name for one in macsim.count(exported).inputs] == names
    with pytest.raises(macsim.RequestError, match=r"'held.a' has 2 dimensions"):
        macsim.count(exported, shapes={"held.a": (5, 4, 1)})


def test_what_dynamo_hands_over() -> None:
    found = []

    def backend(graph: Any, examples: Any) -> Any:
        found.append(macsim.count(graph, *examples).macs)
        return graph

    with torch.no_grad():
        torch.compile(mlp().eval(), backend=backend)(torch.randn(3, 6))
    assert found == [MODELS["mlp"][2]]


def test_operators_without_a_row_are_counted_by_their_parts() -> None:
    class Odd(nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.nn.functional.bilinear(x, x, torch.ones(5, 6, 6))

    program = exported(Odd(), (3, 6))
    assert macsim.count(program).macs == macsim.count(Odd(), (3, 6)).macs > 0


def test_operators_nobody_knows_are_unknown() -> None:
    @torch.library.custom_op("macsimtest::secret", mutates_args=())
    def secret(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @secret.register_fake
    def _(x: torch.Tensor) -> torch.Tensor:
        return torch.empty_like(x)

    class Holds(nn.Module):
        def forward(self, x: Any) -> Any:
            return secret(x)

    report = macsim.count(exported(Holds(), (2, 3)))
    assert report.trust == "unknown"
    assert [row.op for row in report.rows] == ["macsimtest::secret"]
    with pytest.raises(macsim.UnknownWorkError):
        macsim.count(exported(Holds(), (2, 3)), strict=True)


# Wrappers. ------------------------------------------------------------------------------------------------------------


def test_wrappers_are_seen_through(case) -> None:
    model, shape, macs = case
    report = macsim.count(model, shape)
    for wrapped in (torch.compile(model), nn.DataParallel(model)):
        assert scopes(macsim.count(wrapped, shape)) == scopes(report)
        assert macsim.count(wrapped, shape).model.name == type(model).__name__
    for wrapped in (torch.compile(model.forward), torch.compile(lambda x: model(x))):
        assert macsim.count(wrapped, shape).macs == macs


@pytest.mark.parametrize("name", ["mlp", "conv", "lstm", "shared"])
def test_torchscript(name: str) -> None:
    make, shape, macs = MODELS[name]
    model = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(model.train())
        traced = torch.jit.trace(model.eval(), torch.randn(shape))
        report = macsim.count(scripted, shape)
        assert (report.macs, report.flops) == (macs, macsim.count(model, shape).flops)
        assert scripted.training  # it is left as it was found
        assert all(one.training for one in scripted.modules())
        assert report.parameters == sum(one.numel() for one in model.parameters())
        assert report.model.name == type(model).__name__
        assert macsim.count(traced, shape).macs == macs
        held = io.BytesIO()
        torch.jit.save(traced, held)
        held.seek(0)
        assert macsim.count(torch.jit.load(held), shape).macs == macs


def test_torchscript_in_a_file(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(Conv().eval(), torch.randn(2, 3, 9, 9)).save(tmp_path / "conv.pt")
        report = macsim.count(tmp_path / "conv.pt", (2, 3, 9, 9))
    assert report.macs == MODELS["conv"][2]


def test_torchscript_whose_module_goes_by_another_name(tmp_path: Path) -> None:
    """Of methods that were read from a file or frozen, the first argument is the module, whatever it is called."""

    class Own(nn.Module):
        def __init__(me) -> None:  # noqa: N805 - that is the point
            super().__init__()
            me.fc = nn.Linear(4, 5)

        def forward(me, x):  # noqa: N805
            return me.fc(x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(Own().eval())
        scripted.save(tmp_path / "own.pt")
        assert macsim.count(tmp_path / "own.pt", shapes={"x": (3, 4)}).macs == 60
        assert macsim.count(torch.jit.freeze(scripted), (3, 4)).macs == 60


# The tree. ------------------------------------------------------------------------------------------------------------


def test_tree() -> None:
    report = macsim.count(Shared(), (2, 6))
    assert plain(report.tree(), 100).splitlines() == [
        "Shared  216 MACs  48 parameters",
        "├── again  Linear  called 2 times  144 MACs  66.7 %  42 parameters",
        "└── other  Linear  72 MACs  33.3 %  6 parameters",
    ]
    assert plain(macsim.count(exported(Shared(), (2, 6))).tree(), 100) == plain(report.tree(), 100)


@pytest.mark.parametrize(
    "spelled",
    [
        "{}",
        "self.{}",
        "L['self'].{}",
        "_export_root.{}",
        "getattr(L['self'], '{}')",
        "L['self']._modules['{}']",
        "{}@1",
    ],
)
def test_tree_of_a_graph_however_it_spells_its_modules(spelled: str) -> None:
    program = exported(Shared(), (2, 6))
    for node in program.graph.nodes:
        stack = node.meta.get("nn_module_stack") or {}
        for key, (path, kind) in stack.items():
            stack[key] = (spelled.format(path) if path else path, nn.Linear if kind.endswith("Linear") else kind)
    report = macsim.count(program)
    assert plain(report.tree(), 100) == plain(macsim.count(Shared(), (2, 6)).tree(), 100)
    assert {group.name: group.macs for group in report.by("scope")} == {"": 0, "again": 144, "other": 72}


def test_tree_of_a_graph_that_is_bound() -> None:
    batch = torch.export.Dim("batch", max=64)
    report = macsim.count(torch.export.export(Shared(), (torch.zeros(3, 6),), dynamic_shapes=({0: batch},)))
    assert plain(report.bind(batch=2).tree(), 100) == plain(macsim.count(Shared(), (2, 6)).tree(), 100)


def test_weights_at_one_place_count_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Parameter(torch.randn(4, 4))
            self.same = nn.Parameter(self.a.data)  # another object, the same elements
            self.flat = nn.Parameter(self.a.data.view(16))  # these too, but of another type

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.a @ self.same + self.flat[:4]

    report = macsim.count(exported(Tied(), (2, 4)))
    assert (report.parameters, report.macs) == (16 + 16, 2 * 2 * 4 * 4)


def test_a_graph_that_was_changed_is_counted_as_it_is_now() -> None:
    program = exported(nn.Sequential(*(nn.Linear(4, 4) for _ in range(80)), nn.ReLU()), (2, 4))
    before = macsim.count(program)
    assert (before.macs, before.work["compare"], before.parameters) == (80 * 32, 8, 80 * 20)
    last = next(node for node in program.graph.nodes if node.target is torch.ops.aten.relu.default)
    last.target = torch.ops.aten.exp.default
    after = macsim.count(program)
    assert (after.macs, after.work["compare"], after.work["exp"], after.parameters) == (80 * 32, 0, 8, 80 * 20)


def test_depth_of_a_tree() -> None:
    report = macsim.count(Conv(), ("b", 3, 9, 9)).bind(b=2)
    assert plain(report.tree(1), 100).splitlines() == [
        "Conv  53.58 k MACs  917 parameters",
        "├── stem  Sequential  34.99 k MACs  65.3 %  240 parameters",
        "├── down  Conv2d  18.43 k MACs  34.4 %  592 parameters",
        "└── head  Linear  160 MACs  0.3 %  85 parameters",
    ]
    assert plain(report.tree(0), 100) == "Conv  53.58 k MACs  917 parameters"
    assert "│   ├── 0  Conv2d" in plain(report.tree(2), 100)
    with pytest.raises(macsim.RequestError):
        report.tree(-1)


def test_tree_of_a_bound() -> None:
    assert plain(macsim.count(exported(Cond(), (2, 4))).tree(), 100).startswith("Cond  <= 128 MACs")


def test_sizes_have_the_names_that_the_user_gave_them() -> None:
    batch, sides = torch.export.Dim("batch", max=64), torch.export.Dim("side")
    program = torch.export.export(
        nn.Conv2d(3, 8, 3, padding=1), (torch.zeros(2, 3, 9, 9),), dynamic_shapes=({0: batch, 2: sides},)
    )
    report = macsim.count(program)
    assert report.macs == 8 * 27 * 9 * Expr("batch") * Expr("side")
    assert report.bind(batch=2, side=9).macs == macsim.count(program, dims={"batch": 2, "side": 9}).macs == 2 * 81 * 216
    assert macsim.count(program, ("n", 3, 9, 9)).macs == 81 * 216 * Expr("n")


def test_flex_attention() -> None:
    """2 heads of 16, 16 queries and keys: 2 * 16 * 16 pairs of 32 MACs; what changes a score runs for each pair."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    class Flex(nn.Module):
        def __init__(self, mod: Any = None, mask: Any = None) -> None:
            super().__init__()
            self.mod, self.mask = mod, mask

        def forward(self, q: torch.Tensor) -> torch.Tensor:
            return flex_attention(q, q, q, self.mod, self.mask)

    q = torch.zeros(1, 2, 16, 16)
    pairs = 2 * 16 * 16
    report = macsim.count(torch.export.export(Flex(), (q,)))
    assert (report.macs, report.trust) == (32 * pairs, "exact")
    scaled = macsim.count(torch.export.export(Flex(lambda score, b, h, i, j: score * 2), (q,)))
    assert (scaled.macs, scaled.work["mul"] - report.work["mul"], scaled.trust) == (32 * pairs, pairs, "exact")
    mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, 16, 16, device="cpu")
    masked = macsim.count(torch.export.export(Flex(None, mask), (q,)))
    assert (masked.macs, masked.trust) == (32 * pairs, "bound")
    with pytest.raises(macsim.TraceError, match=r"torch\.export\.export"):
        macsim.count(Flex(), q)


def test_gradients_of_flex_attention() -> None:
    """Five products of 8 for each of 2 x 16 x 16 pairs, a score doubled again and its gradient, too."""
    q, sums = torch.empty(1, 2, 16, 8, device="meta"), torch.empty(1, 2, 16, device="meta")
    score, places = torch.empty((), device="meta"), [torch.empty((), dtype=torch.int32, device="meta")] * 4
    parts = {
        "score": make_fx(lambda s, b, h, i, j: s * 2)(score, *places),
        "joint": make_fx(lambda s, b, h, i, j, d: (d * 2, None, None, None, None))(score, *places, score),
        "mask": make_fx(lambda b, h, i, j: b.new_ones((), dtype=torch.bool))(*places),
    }
    graph = torch.fx.Graph()
    given = [graph.placeholder(name) for name in ("q", "k", "v", "y", "sums", "dy", "dsums")]
    for node in given:
        node.meta["val"] = sums if "sums" in node.name else q
    inner = {name: graph.get_attr(name) for name in parts}
    back = graph.call_function(
        torch.ops.higher_order.flex_attention_backward,
        (*given, inner["score"], inner["joint"], (16, 16, inner["mask"]), 1.0, {}, (), ()),
    )
    back.meta["val"] = (q, q, q, ())
    first = graph.call_function(operator.getitem, (back, 0))
    first.meta["val"] = q
    copied = graph.call_function(torch.ops.aten.clone.default, (first,))
    copied.meta["val"] = q
    graph.output((copied,))
    report = macsim.count(torch.fx.GraphModule(parts, graph))
    pairs = 2 * 16 * 16
    assert (report.macs, report.trust) == (5 * 8 * pairs, "exact")
    assert sum(row.work["mul"] for row in report.rows if row.op == "aten::mul") == 2 * pairs
    assert report.outputs[0].shape == (1, 2, 16, 8)


def test_nothing_is_kept_of_a_graph() -> None:
    """What a count holds goes with it, with nobody looking for cycles."""
    from macsim.sources.torch_graphs import Walker

    program, graph = exported(mlp(), (3, 6)), make_fx(mlp())(torch.randn(3, 6))
    gc.disable()
    try:
        reports = [macsim.count(one) for one in (program, graph)]
        assert not [one for one in gc.get_objects() if type(one) is Walker]
    finally:
        gc.enable()
    assert reports[0].macs == reports[1].macs
