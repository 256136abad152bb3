# The report's face: totals, rows, groups, columns, binding, many bindings at once, and what it is printed as.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import copy
import csv
import io
import json
import pickle
from pathlib import Path

import models
import numpy as np
import pytest
from onnx import TensorProto, helper

import macsim
from macsim import Cost, Expr, Registry
from macsim.rows import NUMBERS, TEXTS, WORK
from macsim.show import cell, exactly, human

EXAMPLES = Path(__file__).parents[1] / "examples"
BATCH = Expr("batch")


@pytest.fixture(scope="module")
def resnet() -> macsim.Report:
    return macsim.count(EXAMPLES / "resnet50.onnx", shapes=(1, 3, 224, 224))


@pytest.fixture(scope="module")
def symbolic() -> macsim.Report:
    return macsim.count(EXAMPLES / "resnet50.onnx")


@pytest.fixture
def doubtful() -> macsim.Report:
    """A matmul of 15 macs a sample, then a bound of 7 macs, an estimate of 11 exps, and a node that nobody knows."""
    registry = Registry()
    for op, cost in {
        "Bound": Cost(mac=7, trust="bound", because="at most"),
        "Estimate": Cost(exp=11, trust="estimate", because="about"),
    }.items():
        parts = {"infer": staticmethod(lambda call: call.q), "cost": staticmethod(lambda call, cost=cost: cost)}
        registry.op(f"mylib::{op}", slots="q")(type(op, (), parts))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["v0"], name="/a/matmul")]
    for i, op in enumerate(("Bound", "Estimate", "Nobody")):
        nodes.append(helper.make_node(op, [f"v{i}"], [f"v{i + 1}"], name=f"/b/{op}", domain="mylib"))
    proto = models.model(
        nodes,
        [models.feed("x", "batch", 3)],
        [helper.make_empty_tensor_value_info("v3")],
        [models.weight("w", 3, 5)],
        ["mylib"],
    )
    return macsim.count(proto, registry=registry)


# Numbers --------------------------------------------------------------------------------------------------------------


def test_totals_of_resnet(resnet: macsim.Report) -> None:
    """4,089,184,256 is the published count; parameters are the published ones and the running statistics."""
    assert resnet.macs == 4_089_184_256
    assert resnet.parameters == 25_557_032 + 53_120
    assert resnet.weight_bytes == 4 * resnet.parameters
    assert resnet.weights == resnet.weight_bytes  # every weight is read once
    assert resnet.trust == "exact"
    assert resnet.total.unknown == 0
    assert resnet.unbound == []
    assert [(t.name, t.shape) for t in resnet.outputs] == [("logits", (1, 1000))]


def test_totals_are_the_sums_of_rows(resnet: macsim.Report) -> None:
    for name in ("macs", "flops", "int_ops", "read", "weights", "written"):
        assert getattr(resnet, name) == sum(getattr(row, name) for row in resnet.rows)
    for kind in WORK:
        assert resnet.work[kind] == sum(row.work[kind] for row in resnet.rows)


def test_symbols_live_until_they_are_bound(symbolic: macsim.Report, resnet: macsim.Report) -> None:
    assert set(symbolic.macs.symbols) == {"batch", "height", "width"}
    assert [symbol.name for symbol in symbolic.unbound] == ["batch", "height", "width"]
    assert all(symbol.why for symbol in symbolic.unbound)
    part = symbolic.bind({"height": 224}, width=224)
    assert part.macs == 4_089_184_256 * BATCH
    whole = part.at(batch=1)
    assert whole.macs == resnet.macs
    assert whole.flops == resnet.flops
    assert [row.outputs[0].shape for row in whole.rows] == [row.outputs[0].shape for row in resnet.rows]
    assert symbolic.macs.bind(batch=1, height=224, width=224) == resnet.macs


def test_counts_past_64_bits_are_exact() -> None:
    report = macsim.count(models.linear()).bind(batch=2**62)
    assert report.macs == 15 * 2**62
    assert report.columns["mac"].tolist() == [15 * 2**62]
    assert report.to_dict()["total"]["macs"] == 15 * 2**62


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"bacth": 1}, "nothing is called 'bacth'; to bind: batch"),
        ({"batch": -1}, "negative"),
        ({"batch": 1.5}, "must be an integer"),
        ({"batch": "8"}, "must be an integer"),
    ],
)
def test_what_cannot_be_bound(sizes: dict, says: str) -> None:
    with pytest.raises(macsim.RequestError, match=says):
        macsim.count(models.linear()).bind(sizes)


def test_binding_twice() -> None:
    report = macsim.count(models.linear()).bind(batch=2)
    assert report.bind(batch=2).macs == 30
    with pytest.raises(macsim.RequestError, match="already bound to 2"):
        report.bind(batch=3)


# Parts ----------------------------------------------------------------------------------------------------------------


def test_a_row(resnet: macsim.Report) -> None:
    row = resnet.rows[0]
    assert (row.name, row.op, row.rule, row.scope, row.path) == ("/conv1/Conv", "Conv", "conv", "conv1", "/conv1/Conv")
    assert (row.trust, row.because, row.times, row.compute) == ("exact", "", 1, "f32")
    assert row.macs == 112 * 112 * 64 * 7 * 7 * 3
    assert (row.flops, row.int_ops) == (2 * row.macs, 0)
    assert row.mac_dtypes == ("f32", "f32", "f32")
    assert [(t.slot, t.shape, t.role) for t in row.inputs] == [
        ("x", (1, 3, 224, 224), "input"),
        ("w", (64, 3, 7, 7), "weight"),
    ]
    assert (row.read, row.weights, row.written) == (4 * 3 * 224 * 224, 4 * 64 * 3 * 49, 4 * 64 * 112 * 112)
    assert "/conv1/Conv" in repr(row)


def test_rows_are_a_sequence(resnet: macsim.Report) -> None:
    rows = resnet.rows
    assert len(rows) == len(list(rows)) == 175
    assert rows[-1].name == rows[174].name == list(rows)[-1].name
    assert [row.name for row in rows[2:8:3]] == [rows[2].name, rows[5].name]
    assert len(rows[:]) == 175
    for index in (175, -176):
        with pytest.raises(IndexError):
            rows[index]


def test_columns_agree_with_rows(resnet: macsim.Report, symbolic: macsim.Report) -> None:
    for report in (resnet, symbolic):
        columns = report.columns
        assert list(columns) == [*TEXTS, *NUMBERS]
        for name in (*TEXTS, *NUMBERS):
            attribute = "macs" if name == "mac" else name
            want = [row.work[name] if name in WORK else getattr(row, attribute) for row in report.rows]
            assert columns[name].tolist() == want, name
        assert columns["mac"] is columns["mac"]
        with pytest.raises(KeyError):
            columns["macs!"]
    assert resnet.columns["mac"].dtype == np.int64
    assert symbolic.columns["mac"].dtype == object
    assert resnet.columns["mac"].sum() == 4_089_184_256


def test_groups(resnet: macsim.Report) -> None:
    for key in ("op", "node", "scope", "dtype", "rule"):
        groups = resnet.by(key)
        assert sum(group.macs for group in groups) == resnet.macs
        assert sum(group.rows for group in groups) == 175
        assert len({group.name for group in groups}) == len(groups)
    assert resnet.by("op")["Gemm"].macs == 2_048_000
    assert resnet.by("op")["Conv"].rows == 53
    assert resnet.by("dtype")["f32"].macs == resnet.macs
    assert {"layer1.0", "layer4.2"} <= {group.name for group in resnet.by("scope")}
    stages = {group.name: group.macs for group in resnet.by("scope", depth=1)}
    assert stages["layer1"] == 667_942_912
    assert stages["fc"] == 2_048_000
    with pytest.raises(macsim.RequestError, match="grouped by"):
        resnet.by("module")
    with pytest.raises(KeyError):
        resnet.by("op")["Nobody"]


def test_groups_are_sorted(resnet: macsim.Report, symbolic: macsim.Report) -> None:
    for report in (resnet, symbolic):
        assert [group.name for group in report.by("op").sort("macs")[:2]] == ["Conv", "Gemm"]
        assert report.by("op").sort("name")[0].name == "Add"
        assert report.by("op").sort("name", descending=False)[-1].name == "Add"
        assert report.by("op").sort("rows")[0].name in ("Conv", "BatchNormalization")
    with pytest.raises(macsim.RequestError, match="no quantity 'speed'"):
        resnet.by("op").sort("speed")


def test_scopes_of_names() -> None:
    report = macsim.count(models.linear(batch=1))
    assert [(group.name, group.macs) for group in report.by("scope")] == [("fc", 15)]


@pytest.mark.parametrize(
    ("key", "text", "scope"),
    [
        ("pkg.torch.onnx.name_scopes", "['', 'layers.0', 'NOBODY', 'linear']", "layers.0"),
        ("pkg.torch.onnx.name_scopes", "['', 'NOBODY', 'linear']", ""),
        ("namespace", ": M/layers.0: pkg.Block/NOBODY: NOBODY/linear: aten.linear.default", "layers.0"),
        ("namespace", "NOBODY: NOBODY/linear: aten.linear.default", ""),
    ],
)
def test_a_scope_that_torch_does_not_know_is_left_out(key: str, text: str, scope: str) -> None:
    """torch's exporter puts a placeholder of this name in the place of the modules of nodes that it made itself."""
    proto = models.linear(batch=1)
    proto.graph.node[0].name = "linear"
    text = text.replace("NOBODY", "_empty_nn_module_stack_from_metadata_hook")
    proto.graph.node[0].metadata_props.add(key=key, value=text)
    assert macsim.count(proto).rows[0].scope == scope


# Doubt ----------------------------------------------------------------------------------------------------------------


def test_doubt_marks_only_what_it_touches(doubtful: macsim.Report) -> None:
    total = doubtful.total
    assert (total.trust, total.unknown, total.rows) == ("unknown", 1, 4)
    assert doubtful.macs == 15 * BATCH + 7
    assert total.sign("macs") == "~"  # a bound and an unknown: neither at most nor at least
    assert total.sign("exp") == "~"
    assert total.sign("weights") == ""
    groups = doubtful.by("op")
    assert [group.sign("macs") for group in groups] == ["", "<=", "", ">="]
    assert [group.sign("exp") for group in groups] == ["", "", "~", ">="]
    assert [group.trust for group in groups] == ["exact", "bound", "estimate", "unknown"]
    assert doubtful.bind(batch=1).total.sign("macs") == "~"


def test_unknown_is_never_a_bare_zero(doubtful: macsim.Report) -> None:
    row = doubtful.rows[3]
    assert str(row.macs) == "?"
    assert row.trust == "unknown"
    assert row.because
    text = repr(doubtful.by("op"))
    (line,) = (line for line in text.splitlines() if "Nobody" in line)
    assert ">= 0" in line
    data = doubtful.to_dict()
    assert data["rows"][3]["macs"] is None
    assert data["total"]["signs"]["macs"] == "~"
    assert data["total"]["unknown"] == 1
    whole = repr(doubtful)
    assert "1 of 4 nodes are unknown" in whole
    assert "MS201" in whole


# Many bindings at once ------------------------------------------------------------------------------------------------


def test_evaluation_agrees_with_binding(symbolic: macsim.Report) -> None:
    sides = np.arange(32, 300, 37)
    batches = np.array([[1], [4]])
    macs = symbolic.evaluate("macs", batch=batches, height=sides, width=224)
    assert macs.shape == (2, len(sides))
    assert macs.dtype == np.int64
    for i, batch in enumerate((1, 4)):
        for j, side in enumerate(sides.tolist()):
            assert macs[i, j] == symbolic.bind(batch=batch, height=side, width=224).macs
    for name in ("flops", "read", "exp", "compare", "parameters", "weight_bytes"):
        value = symbolic.evaluate(name, batch=2, height=64, width=64)
        bound = symbolic.bind(batch=2, height=64, width=64)
        assert value.shape == ()
        assert int(value) == (bound.work[name] if name in WORK else getattr(bound, name))


def test_whole_columns_are_evaluated(symbolic: macsim.Report) -> None:
    column = symbolic.columns["mac"]
    values = symbolic.evaluate(column, {"batch": [1, 2, 3]}, height=64, width=64)
    assert values.shape == (175, 3)
    assert values[:, 1].tolist() == symbolic.bind(batch=2, height=64, width=64).columns["mac"].tolist()
    some = symbolic.evaluate([symbolic.macs, 5], batch=[1, 2], height=64, width=64)
    assert some[1].tolist() == [5, 5]
    assert symbolic.evaluate(BATCH * 2, batch=[1, 2]).tolist() == [2, 4]


def test_evaluation_past_64_bits_is_exact() -> None:
    report = macsim.count(models.linear())
    values = report.evaluate("macs", batch=[1, 2**62])
    assert values.dtype == object
    assert values.tolist() == [15, 15 * 2**62]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((("macs",), {}), "no size is given for 'batch'"),
        ((("macs",), {"batch": 1, "n": 2}), "nothing is called 'n'"),
        ((("macs",), {"batch": [1, -2]}), "negative"),
        ((("macs",), {"batch": np.asarray([2**63], np.uint64)}), "does not fit 64 bits: 9223372036854775808"),
        ((("macs",), {"batch": [1.5]}), "must be integers"),
        ((("speed",), {"batch": 1}), "no total 'speed'"),
        (((Expr("batch*m"),), {"batch": [1, 2], "m": [1, 2, 3]}), "do not broadcast"),
    ],
)
def test_what_cannot_be_evaluated(arguments: tuple, says: str) -> None:
    positional, named = arguments
    with pytest.raises(macsim.RequestError, match=says):
        macsim.count(models.linear()).evaluate(*positional, **named)


# Windows --------------------------------------------------------------------------------------------------------------


def test_the_table_says_what_was_counted(resnet: macsim.Report, symbolic: macsim.Report) -> None:
    text = repr(resnet)
    assert text == str(resnet)
    assert "resnet50: 175 nodes" in text
    assert "input: f32[1, 3, 224, 224]" in text
    assert "4.089 G" in text
    assert "4,089,184,256" in text
    assert "2 for a MAC" in text
    assert "1 G = 1e9" in text
    assert "To bind" not in text
    assert all(op in text for op in ("Conv", "BatchNormalization", "Gemm"))
    assert not any(line != line.rstrip() for line in text.splitlines())
    text = repr(symbolic)
    assert "input: f32[batch, 3, height, width]" in text
    assert "To bind: batch (size of 'input', axis 0)" in text


def test_names_are_shown_as_they_are() -> None:
    """Brackets in a name are no markup, tags no HTML, bars no columns."""
    proto = models.linear(batch=2)
    proto.graph.node[0].name = "[bold]<b>|x|</b>[/bold]"
    proto.graph.name = "<i>[red]"
    report = macsim.count(proto)
    from macsim.show import plain

    assert "[bold]<b>|x|</b>" in plain(report.table("node"), 200)
    assert "<i>[red]" in repr(report)
    assert "<i>" not in report._repr_html_()
    assert "&lt;i&gt;[red]" in report._repr_html_()
    assert "\\|x\\|" in report.to_markdown(by="node")
    size = macsim.count(models.linear(batch="a|b")).to_markdown()
    assert [line.count(" | ") for line in size.splitlines() if line.startswith("| MACs")] == [2]
    assert "15*a\\|b" in size


def test_a_table_of_nodes(resnet: macsim.Report) -> None:
    from macsim.show import plain

    text = plain(resnet.table("node", top=3, sort="macs"), 200)
    lines = [line for line in text.splitlines() if "Conv" in line]
    assert "/conv1/Conv" in lines[0]
    assert "f32[1, 64, 112, 112]" in lines[0]
    assert "172 more" in text
    text = plain(resnet.table("node", top=None, sort=None), 200)
    assert text.index("/conv1/Conv") < text.index("/maxpool/MaxPool") < text.index("/fc/Gemm")


def test_rich_prints_it(resnet: macsim.Report) -> None:
    from rich.console import Console

    for thing in (resnet, resnet.by("op")):
        out = io.StringIO()
        Console(file=out, width=120, force_terminal=True, color_system="truecolor").print(thing)
        assert "Conv" in out.getvalue()
        assert "\x1b[" in out.getvalue()


def test_notebooks_show_it(resnet: macsim.Report, doubtful: macsim.Report) -> None:
    html = resnet._repr_html_()
    assert html.count("<table>") == html.count("</table>") == 2
    assert "4,089,184,256" in html
    assert "&gt;= 0" in doubtful._repr_html_()
    assert "<table>" in resnet.by("op")._repr_html_()


def test_the_schema(symbolic: macsim.Report) -> None:
    data = symbolic.to_dict()
    assert data["schema"] == "macsim.report/1"
    assert data == json.loads(symbolic.to_json())
    assert data["model"]["opsets"] == {"onnx": 17}
    assert data["inputs"] == [
        {"name": "input", "dtype": "f32", "shape": ["batch", 3, "height", "width"], "role": "input"}
    ]
    assert Expr(data["total"]["macs"]) == symbolic.macs
    assert [one["name"] for one in data["unbound"]] == ["batch", "height", "width"]
    assert len(data["rows"]) == 175
    row = data["rows"][0]
    assert row["op"] == "Conv"
    assert Expr(row["macs"]) == symbolic.rows[0].macs
    assert row["work"].keys() == {"mac"}
    assert "rows" not in symbolic.to_dict(rows=False)


def test_the_schema_is_documented(resnet: macsim.Report) -> None:
    page = (Path(__file__).parents[1] / "docs/report.md").read_text(encoding="utf-8")

    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            inner = set().union(*(keys(one) for one in value.values())) if value else set()
            return inner | {key for key in value if key not in ("onnx", "macsim")}
        return set().union(*map(keys, value)) if isinstance(value, list) and value else set()

    data = resnet.to_dict()
    missing = [key for key in sorted(keys(data)) if f"`{key}`" not in page]
    assert not missing, f"docs/report.md does not mention {missing}"
    assert "`macsim.report/1`" in page


def test_csv(resnet: macsim.Report, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    text = resnet.to_csv(path)
    assert path.read_text(encoding="utf-8") == text
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == 175
    assert sum(int(line["mac"]) for line in lines) == 4_089_184_256
    assert lines[0]["inputs"] == "f32[1, 3, 224, 224]; f32[64, 3, 7, 7]"
    groups = list(csv.DictReader(io.StringIO(resnet.by("op").to_csv())))
    assert {line["op"]: line["macs"] for line in groups}["Gemm"] == "2048000"


def test_markdown(resnet: macsim.Report) -> None:
    text = resnet.to_markdown(top=2)
    assert "| Conv | 53 | 4.087 G | 99.9 % |" in text
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.count("|") for line in table if "G |" in line and "%" in line}) == 1
    assert "... 6 more" in text
    assert "Gemm" in resnet.by("op").to_markdown()


def test_pandas(resnet: macsim.Report, symbolic: macsim.Report) -> None:
    frame = resnet.to_pandas()
    assert len(frame) == 175
    assert frame.groupby("op")["mac"].sum()["Gemm"] == 2_048_000
    assert frame["mac"].dtype == np.int64
    assert symbolic.to_pandas()["mac"].iloc[0] == symbolic.rows[0].macs
    assert resnet.by("op").to_pandas().loc["Gemm", "macs"] == 2_048_000


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0, "", "0"),
        (999, "B", "999 B"),
        (1000, "", "1.000 k"),
        (-1234, "", "-1.234 k"),
        (999_949, "", "999.9 k"),
        (999_950, "", "1.000 M"),
        (999_999, "", "1.000 M"),
        (4_089_184_256, "", "4.089 G"),
        (102_437_888, "B", "102.4 MB"),
        (10**18, "", "1.000 E"),
        (10**20, "", "100.0 E"),
        (10**21, "", "1.000e+21"),
        (999_999_999_999_999_999_999, "", "1.000e+21"),
        (2**127, "", "1.701e+38"),
    ],
)
def test_numbers_for_people(number: int, unit: str, text: str) -> None:
    assert human(number, unit) == text


def test_expressions_for_people() -> None:
    long = sum((Expr(f"name_{i}") * (i + 1) for i in range(20)), Expr(0))
    assert cell(long).endswith("…")
    assert len(cell(long)) < 40
    assert exactly(long) == str(long)
    assert cell(BATCH, ">=") == ">= batch"
    assert exactly(1234567) == "1,234,567"


def test_what_a_terminal_cannot_show_is_replaced(resnet: macsim.Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    repr(resnet).encode("ascii")


def test_a_report_of_nothing() -> None:
    proto = models.model([], [models.feed("x", 3)], [models.feed("x", 3)])
    report = macsim.count(proto)
    assert len(report.rows) == 0
    assert (report.macs, report.trust) == (0, "exact")
    assert "0 nodes" in repr(report)
    assert report.columns["mac"].tolist() == []
    assert list(report.by("op")) == []
    assert report.to_csv().count("\n") == 1
    assert "<table>" in report._repr_html_()


def test_integer_work_is_apart() -> None:
    proto = models.model(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [models.feed("x", 6, kind=TensorProto.INT32)],
        [models.feed("y", 6, kind=TensorProto.INT32)],
    )
    report = macsim.count(proto)
    assert (report.flops, report.int_ops, report.work["add"]) == (0, 6, 6)
    assert "int ops" in repr(report)


def test_errors_travel_between_processes() -> None:
    for error in (macsim.ReadError("why", "MS103", "do this"), macsim.RequestError("why")):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)


def test_a_copy_is_the_same_report() -> None:
    report = macsim.count(EXAMPLES / "gpt2.onnx")
    assert copy.copy(report) is report
    assert copy.deepcopy({"key": report})["key"] is report
