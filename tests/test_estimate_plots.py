# Figures of estimates: what is drawn is what the estimate says; what energy goes to, by rows and by levels of memory.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from round_chip import round_chip

import macsim
from macsim.estimate_physics import Loads, Machine, Spread, simulate
from macsim.hardware_types import Hardware
from macsim.show import plain

pytest.importorskip("matplotlib")

# 100 TFLOP/s in f16, too, and 40 in f32; of the 100 pJ that a byte takes 30 are the L2's and 10 the L1's.
PEAKS = """
  { unit = "tensor", dtype = "f16", sparse = false, rate = { typical = 100, unit = "TFLOP/s", SOURCE } },
  { unit = "vector", dtype = "f32", rate = { typical = 40, unit = "TFLOP/s", SOURCE } },
"""
ENERGY = """
  { kind = "mac", dtype = "bf16", price = { low = 1, typical = 2, high = 4, unit = "pJ/MAC", SOURCE } },
  { kind = "add", dtype = "*", price = { typical = 3, unit = "pJ/op", SOURCE } },
  { kind = "compare", dtype = "*", price = { typical = 3, unit = "pJ/op", SOURCE } },
"""
CACHES = """
[[memory]]
name = "l2"
capacity = { typical = 1, unit = "MiB", SOURCE }
bandwidth = { typical = 4, unit = "TB/s", SOURCE }
energy = { typical = 30, unit = "pJ/B", SOURCE }
[[memory]]
name = "l1"
energy = { typical = 10, unit = "pJ/B", SOURCE }
"""


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> Hardware:
    return round_chip(tmp_path_factory.mktemp("chips"), PEAKS, ENERGY, CACHES)


@pytest.fixture(scope="module")
def report() -> macsim.Report:
    """Two products, one after the other."""
    floats = TensorProto.BFLOAT16
    weight = helper.make_tensor("w", floats, (1024, 512), b"\0" * (1024 * 512 * 2), raw=True)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], name="/first/MatMul"),
        helper.make_node("MatMul", ["y", "v"], ["z"], name="/second/MatMul"),
    ]
    other = helper.make_tensor("v", floats, (512, 512), b"\0" * (512 * 512 * 2), raw=True)
    ends = [helper.make_tensor_value_info(name, floats, ("batch", size)) for name, size in (("x", 1024), ("z", 512))]
    graph = helper.make_graph(nodes, "two", ends[:1], ends[1:], [weight, other])
    return macsim.count(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))


# What energy goes to --------------------------------------------------------------------------------------------------


def test_memory_by_level(report: macsim.Report, chip: Hardware) -> None:
    # 256 x 1024 and 1024 x 512, then 256 x 512 and 512 x 512: each is read once, and both results are written.
    moved = 2 * (256 * 1024 + 1024 * 512 + 256 * 512 + 256 * 512 + 512 * 512 + 256 * 512)
    energy = {name: value.typical for name, value in report.estimate(chip, batch=256).energy.items()}
    assert energy["memory.dram"] == pytest.approx(moved * 60e-12)
    assert energy["memory.l2"] == pytest.approx(moved * 30e-12)
    assert energy["memory.l1"] == pytest.approx(moved * 10e-12)
    assert energy["compute"] == pytest.approx(256 * 512 * (1024 + 512) * 2e-12)
    assert "memory.path" not in energy


def test_a_table_without_levels_has_the_path_as_one(report: macsim.Report) -> None:
    energy = report.estimate("h100-sxm", batch=256).energy
    assert [name for name in energy if name.startswith("memory")] == ["memory.path"]
    measured = report.estimate("b200-sxm", batch=256).energy  # 83.7, 22.9 and 10 of 116.6 pJ/B
    levels = {name: value.typical for name, value in measured.items() if name.startswith("memory")}
    assert levels["memory.dram"] / sum(levels.values()) == pytest.approx(83.7 / 116.6)
    assert levels["memory.l2"] / levels["memory.l1"] == pytest.approx(2.29)


def test_what_is_found_in_the_cache_goes_the_rest_of_the_way(report: macsim.Report, chip: Hardware) -> None:
    fused = report.estimate(chip, batch=256)
    cached = report.estimate(chip, traffic="cached", capacity=16 * 2**20, batch=256)
    saved = fused._loads.bytes.sum() - cached._loads.bytes.sum()
    assert saved == 2 * 2 * 256 * 512  # the result between the two is neither written nor read
    for level, price in (("dram", 60e-12), ("l2", 0.0), ("l1", 0.0)):
        name = f"memory.{level}"
        assert fused.energy[name].typical - cached.energy[name].typical == pytest.approx(saved * price)
    unpriced = report.estimate("h100-sxm", traffic="cached", batch=256)
    assert "a price of a byte (cache)" in unpriced.missing


def test_parts_of_rows_add_up(report: macsim.Report, chip: Hardware) -> None:
    for how in ({}, {"traffic": "cached"}, {"devices": 2}, {"seconds": 1e-3}, {"seconds": 1e-7}):
        estimate = report.estimate(chip, batch=256, **how)
        for some in (estimate.rows, estimate.by("op"), estimate.by("scope")):
            for row in some:
                assert sum(row.energy.values()) == pytest.approx(row.joules.typical)
            for name, value in estimate.energy.items():
                if name != "link":
                    assert sum(row.energy[name] for row in some) == pytest.approx(value.typical), name


def test_groups_have_intervals_of_their_own(report: macsim.Report, chip: Hardware) -> None:
    estimate = report.estimate(chip, batch=4096)
    (whole,) = estimate.by("op")  # both are products
    assert (whole.name, whole.op) == ("MatMul", "MatMul")
    assert list(whole.joules) == pytest.approx(list(estimate.joules))
    assert list(whole.seconds) == pytest.approx(list(estimate.seconds))
    assert whole.joules.low < whole.joules.typical < whole.joules.high
    assert whole.reached == pytest.approx(whole.flops / whole.seconds.typical)


def test_loads_from_a_cache_by_hand() -> None:
    exact = Spread.exact
    machine = Machine(
        "toy",
        {
            "memory.dram.bandwidth": exact(1e12),
            "memory.dram.path": exact(100e-12),
            "memory.l2.energy": exact(20e-12),
            "power.static": exact(0.0),
        },
    )
    ones = np.ones((1, 1))
    outcome = simulate(Loads({}, {"path": 1e9 * ones, "cache": 5e9 * ones}, ones), machine)
    assert outcome.seconds[0, 0] == pytest.approx(1e-3)  # the main memory's alone
    assert outcome.joules[0, 0] == pytest.approx(0.1 + 0.1)


# Figures --------------------------------------------------------------------------------------------------------------


def lines(axes) -> list[tuple[list[float], list[float]]]:
    return [([float(x) for x in line.get_xdata()], [float(y) for y in line.get_ydata()]) for line in axes.lines]


def test_roofline(report: macsim.Report, chip: Hardware) -> None:
    estimate = report.estimate(chip, batch=256)
    figure = estimate.plot("roofline")
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    points = sorted((float(x), float(y)) for some in axes.collections for x, y in some.get_offsets())
    np.testing.assert_allclose(points, sorted((row.intensity, row.reached) for row in estimate.rows))
    areas = sorted(float(area) for some in axes.collections for area in some.get_sizes())
    assert areas == pytest.approx(
        sorted(16 + 1200 * r.seconds.typical / estimate.seconds.typical for r in estimate.rows)
    )
    drawn = lines(axes)
    slopes = {round(ys[0] / xs[0] / 1e12, 6) for xs, ys in drawn if xs[0] < xs[-1] and ys[0] < ys[-1]}
    assert slopes == {1.0, 4.0, 0.5}  # of the main memory, of the L2, and what is reached of the first
    flat = {ys[-1] for xs, ys in drawn if xs[0] < xs[-1] and ys[0] == ys[-1]}
    assert flat == {100e12, 40e12}
    assert any(ys[-1] == pytest.approx(50e12) for xs, ys in drawn if len(xs) == 3)
    whole = [(xs[0], ys[0]) for xs, ys in drawn if len(xs) == 1]
    assert whole == [pytest.approx((estimate.roofline.intensity, estimate.roofline.reached))]
    texts = [text.get_text() for text in axes.texts]
    assert {"main memory: 1 TB/s", "L2: 4 TB/s", "tensor bf16, f16: 100 TOP/s", "first", "second"} <= set(texts)
    assert "A chip of round numbers" in axes.get_title(loc="left")
    words = figure.get_supxlabel()
    for wanted in ("Products in bf16", "traffic: fused", "batch = 256", "90 %"):
        assert wanted in words


def test_energy_bars(report: macsim.Report, chip: Hardware) -> None:
    estimate = report.estimate(chip, batch=4096)
    above, below = estimate.plot("energy", by="node").axes
    (ends,) = {label.removeprefix("energy of a run (") for label in (above.get_xlabel(), below.get_xlabel())}
    factor = {"mJ)": 1e-3, "J)": 1.0, "uJ)": 1e-6}[ends]
    widths = [float(bar.get_width()) * factor for bar in above.patches]
    assert widths == pytest.approx([value.typical for value in seen(estimate.energy).values()])
    assert max(float(bar.get_x() + bar.get_width()) for bar in above.patches) * factor == pytest.approx(
        estimate.joules.typical
    )
    assert lines(above)[0][0] == pytest.approx([estimate.joules.low / factor, estimate.joules.high / factor])
    rows = sorted(estimate.rows, key=lambda row: -row.joules.typical)
    assert [label.get_text() for label in below.get_yticklabels()] == ["first/MatMul", "second/MatMul"]
    first = [bar.get_width() * factor for bar in below.patches if abs(bar.get_y() + bar.get_height() / 2) < 0.1]
    assert sum(first) == pytest.approx(rows[0].joules.typical)
    legend = [text.get_text() for text in above.get_legend().get_texts()]
    assert legend == ["arithmetic", "L1", "L2", "main memory", "static, while kernels start", "static"]


def seen(energy: dict) -> dict:
    """In the order of the bars."""
    order = ("compute", "memory.l1", "memory.l2", "memory.dram", "launch", "static")
    return {name: energy[name] for name in order}


def test_energy_over_the_batch(report: macsim.Report, chip: Hardware) -> None:
    found = macsim.compare(report, [chip, "h100"], batch=[8, 1, 64])
    figure = found.plot()
    run, each = figure.axes
    for estimate, line, per in zip(found.estimates.values(), run.lines, each.lines, strict=True):
        low, typical, high = (np.asarray(one)[[1, 0, 2]] for one in estimate.joules)
        assert line.get_xdata().tolist() == [1, 8, 64]
        assert line.get_ydata().tolist() == pytest.approx(typical.tolist())
        assert per.get_ydata().tolist() == pytest.approx((typical / [1, 8, 64]).tolist())
    band = run.collections[1].get_paths()[0].vertices
    assert {round(float(y), 12) for x, y in band if x == 64} == {round(float(one[2]), 12) for one in (low, high)}
    assert [tick.get_text() for tick in run.get_xticklabels()] == ["1", "8", "64"]
    one = report.estimate("h100", batch=[1, 8, 64]).plot()
    assert one.axes[0].lines[0].get_ydata().tolist() == pytest.approx(typical.tolist())


def test_chips_beside_each_other(report: macsim.Report) -> None:
    found = macsim.compare(report, ["a100", "h100"], batch=64, dtype="f16")
    left, right = found.plot().axes
    order = sorted(found.estimates.values(), key=lambda one: one.joules.typical)
    for axes, what in ((left, "joules"), (right, "seconds")):
        ranges = [[float(np.ravel(one)[0]) for one in getattr(estimate, what)] for estimate in order]
        widths = [float(bar.get_width()) for bar in axes.patches]
        assert widths[1] / widths[0] == pytest.approx(ranges[1][1] / ranges[0][1])
        factor = ranges[0][1] / widths[0]
        assert lines(axes)[0][0] == pytest.approx([ranges[0][0] / factor, ranges[0][2] / factor])
    assert [label.get_text() for label in left.get_yticklabels()] == [one.hardware.title for one in order]


def test_chips_that_are_far_apart_are_points(report: macsim.Report) -> None:
    found = macsim.compare(report, ["h100", "pi4", "jetson-agx-orin"], batch=64)
    figure = found.plot("chips")
    assert figure.axes[1].get_xscale() == "log"
    times = {float(np.ravel(one.seconds.typical)[0]) for one in found.estimates.values()}
    assert set(lines(figure.axes[1])[0][0]) == times
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert any(text.startswith(">= ") for text in texts)
    assert "Without a static power of NVIDIA Jetson AGX Orin 64GB (GPU): bounds from below" in figure.get_supxlabel()


def test_what_cannot_be_drawn_is_told(report: macsim.Report, chip: Hardware, tmp_path: Path) -> None:
    one, many = report.estimate(chip, batch=4), report.estimate(chip, batch=[1, 2])
    with pytest.raises(macsim.RequestError, match="there is no plot 'pie'; there are page, roofline"):
        one.plot("pie")
    with pytest.raises(macsim.RequestError, match="one set of sizes: give one of batch"):
        many.plot("roofline")
    with pytest.raises(macsim.RequestError, match="over one size of which there are several, not 0"):
        one.plot("sizes")
    with pytest.raises(macsim.RequestError, match="one chip, not of 2"):
        macsim.compare(report, [chip, "h100"], batch=1).plot("energy")
    with pytest.raises(macsim.RequestError, match=r"ends in .*\.png"):
        one.plot("energy", path=tmp_path / "figure.doc")
    nothing = report.estimate("edge-tpu", batch=4)  # it knows of int8 alone
    assert nothing.sign == ">="
    assert "on nothing that is known" in plain(nothing.table())
    with pytest.raises(macsim.RequestError, match="nothing to draw: the table of Google Coral Edge TPU has no number"):
        nothing.plot()
    with pytest.raises(macsim.RequestError, match="at least one"):
        macsim.compare(report, "h100")
    with pytest.raises(macsim.RequestError, match="sizes of 'batch' are integers"):
        macsim.compare(report, [chip], batch=[1.5])


def test_without_matplotlib(report: macsim.Report, chip: Hardware, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(macsim.RequestError, match=r"pip install 'macsim\[plot\]'"):
        report.estimate(chip, batch=4).plot()


def test_pyplot_is_left_alone(report: macsim.Report, chip: Hardware, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # to import it is an error now
    assert report.estimate(chip, batch=4).plot("energy").axes


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    from macsim.cli import main

    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(Path(__file__).parents[1])

    def call(*arguments: str) -> tuple[int, str]:
        status = main(["estimate", "examples/resnet50.onnx", "--dim", "height=64", "--dim", "width=64", *arguments])
        streams = capsys.readouterr()
        return status, streams.out + streams.err

    return call


def test_command_line(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    import json

    png, svg = tmp_path / "page.png", tmp_path / "batch.svg"
    assert run("--on", "a100", "--dim", "batch=1", "--plot", str(png))[0] == 0
    assert png.read_bytes()[:4] == b"\x89PNG"
    status, text = run("--on", "a100", "--on", "pi4", "--dim", "batch=1,4", "--pue", "2", "--plot", str(svg))
    assert status == 0
    assert "<svg" in svg.read_text()
    assert "At the wall, raspberry-pi-4: batch = 4, " in text
    status, text = run("--on", "a100", "--dim", "batch=1,4", "--format", "json")
    (data,) = json.loads(text)
    assert data["sizes"] == {"batch": [1, 4]}
    assert len(data["joules"]["typical"]) == len(data["wall"]["joules"]["low"]) == 2
    for wrong, words in (
        (("--dim", "batch=1", "--plot", str(tmp_path / "page.doc")), "ends in"),
        (("--dim", "batch=1,2", "--plot", str(png), "--plot-kind", "roofline"), "one set of sizes"),
        (("--dim", "batch=1", "--plot-kind", "roofline"), "goes with --plot"),
        (("--dim", "batch=1,x"), "batch=1,8,64"),
        (("--dim", "batch=1", "--dim", "depth=1,2"), "depth"),
    ):
        status, text = run("--on", "a100", *wrong)
        assert (status, words in text) == (2, True), text
