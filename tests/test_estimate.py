# Estimates: truths by hand on a made-up chip with round numbers, what must grow with what, and errors.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from round_chip import round_chip

import macsim
from macsim.estimate_loads import machine_of
from macsim.estimate_physics import NINETY, Loads, Machine, Spread, joined, simulate
from macsim.hardware_types import Hardware

EXACT = Spread.exact
# The vector unit has 10 TFLOP/s; 2 pJ a MAC.
PEAKS = '{ unit = "vector", dtype = "f32", rate = { typical = 10, unit = "TFLOP/s", SOURCE } },'
ENERGY = '{ kind = "mac", dtype = "bf16", price = { typical = 2, unit = "pJ/MAC", SOURCE } },'
WIRE = """
[[link]]
name = "wire"
bandwidth = { typical = 100, unit = "GB/s", SOURCE }
energy = { typical = 10, unit = "pJ/B", SOURCE }
"""


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> Hardware:
    return round_chip(tmp_path_factory.mktemp("chips"), PEAKS, ENERGY, WIRE)


def product(m: int | str, k: int, n: int, dtype: int = TensorProto.BFLOAT16) -> macsim.Report:
    """A product of an m x k input with a k x n weight."""
    weight = helper.make_tensor(
        "w", dtype, (k, n), b"\0" * (k * n * (8 if dtype == TensorProto.DOUBLE else 2)), raw=True
    )
    inputs = [helper.make_tensor_value_info("x", dtype, (m, k))]
    outputs = [helper.make_tensor_value_info("y", dtype, (m, n))]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", inputs, outputs, [weight])
    return macsim.count(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))


def test_compute_bound_product(chip: Hardware) -> None:
    # 4096 x 1024 x 1024 MACs = 4.295 G: 8.590 GFLOP at 50 TFLOP/s is 171.8 us. Bytes: (4096 * 1024 + 1024 * 1024 +
    # 4096 * 1024) * 2 = 18.87 MB at 0.5 TB/s is 37.7 us. With the launch: 172.8 us.
    estimate = product(4096, 1024, 1024).estimate(chip)
    macs, moved = 4096 * 1024 * 1024, 18874368
    seconds = 2 * macs / 50e12 + 1e-6
    assert estimate.seconds.typical == pytest.approx(seconds)
    assert estimate.bound == "compute"
    # 2 pJ a MAC, 100 pJ a byte, 50 W all the time
    joules = macs * 2e-12 + moved * 100e-12 + 50 * seconds
    assert estimate.joules.typical == pytest.approx(joules)
    assert estimate.watts.typical == pytest.approx(joules / seconds)
    parts = {name: value.typical for name, value in estimate.energy.items()}
    assert parts["compute"] == pytest.approx(macs * 2e-12)
    assert parts["memory.path"] == pytest.approx(moved * 100e-12)
    assert parts["launch"] == pytest.approx(50e-6)
    assert parts["static"] == pytest.approx(50 * (seconds - 1e-6))
    assert sum(parts.values()) == pytest.approx(joules)
    assert estimate.edp.typical == pytest.approx(joules * seconds)
    assert estimate.per(4096).typical == pytest.approx(joules / 4096)
    assert estimate.missing == []
    assert estimate.sign == ""
    roof = estimate.roofline
    assert roof.intensity == pytest.approx(2 * macs / moved)
    assert roof.ridge == pytest.approx(100)
    assert roof.roof == pytest.approx(100e12)
    assert roof.reached == pytest.approx(2 * macs / seconds)


def test_memory_bound_product(chip: Hardware) -> None:
    # One row: 1 M MACs take 0.042 us; 2.1 MB of weights take 4.2 us at half of 1 TB/s.
    estimate = product(1, 1024, 1024).estimate(chip)
    moved = 1024 * 1024 * 2 + 2 * 1024 * 2
    assert estimate.seconds.typical == pytest.approx(moved / 0.5e12 + 1e-6)
    assert estimate.bound == "memory"
    assert estimate.time["memory"] == pytest.approx(moved / 0.5e12)
    assert estimate.time["launch"] == pytest.approx(1e-6)


def test_constants_that_are_exact_leave_no_doubt(chip: Hardware) -> None:
    estimate = product(64, 64, 64).estimate(chip)
    for value in (estimate.seconds, estimate.joules):
        assert value.low == pytest.approx(value.typical) == pytest.approx(value.high)


def test_power_at_its_limit_stretches_time() -> None:
    # 1 J of arithmetic in 1 ms would draw 1050 W. At 250 W, 200 W are left for it: 5 ms.
    machine = toy().with_values(power__tdp=EXACT(250.0))
    loads = work(macs=0.5e12, moved=0.0)
    outcome = simulate(loads, machine.with_values(peak__tensor__bf16=EXACT(2e15), launch__overhead=EXACT(0.0)))
    assert outcome.energy["compute"][0, 0] == pytest.approx(1.0)
    assert outcome.seconds[0, 0] == pytest.approx(5e-3)
    assert outcome.joules[0, 0] / outcome.seconds[0, 0] == pytest.approx(250.0)
    assert outcome.capped[0, 0]
    assert outcome.row_seconds[0, 0] == pytest.approx(5e-3)
    free = simulate(loads, toy().with_values(peak__tensor__bf16=EXACT(2e15), power__tdp=EXACT(2000.0)))
    assert not free.capped[0, 0]


def test_measured_time_is_taken_as_it_is() -> None:
    outcome = simulate(work(macs=1e9, moved=1e6), toy(), seconds=np.array([0.01]))
    assert outcome.seconds[0, 0] == 0.01
    assert outcome.joules[0, 0] == pytest.approx(1e9 * 2e-12 + 1e6 * 100e-12 + 50 * 0.01)


def toy(**values: Spread) -> Machine:
    """The chip of round numbers, without a table."""
    return Machine(
        "toy",
        {
            "peak.tensor.bf16": EXACT(100e12),
            "peak.vector.f32": EXACT(10e12),
            "efficiency.compute": EXACT(0.5),
            "efficiency.memory": EXACT(0.5),
            "memory.dram.bandwidth": EXACT(1e12),
            "memory.dram.path": EXACT(100e-12),
            "energy.mac.bf16": EXACT(2e-12),
            "launch.overhead": EXACT(1e-6),
            "power.static": EXACT(50.0),
            "power.tdp": EXACT(1000.0),
            **{name.replace("__", "."): value for name, value in values.items()},
        },
    )


def work(macs: float = 0.0, moved: float = 0.0, rows: int = 1, dtype: str = "bf16") -> Loads:
    ones = np.ones((rows, 1))
    return Loads({("mac", dtype): macs * ones}, {"path": moved * ones}, ones)


# Doubt ----------------------------------------------------------------------------------------------------------------


def test_interval_of_one_constant_is_its_range() -> None:
    # All the time is bytes over bandwidth: a share of 0.4 to 0.5 to 0.8 is 2.5 to 2 to 1.25 of the ideal time.
    machine = toy(efficiency__memory=Spread(0.4, 0.5, 0.8), launch__overhead=EXACT(0.0))
    outcome = simulate(work(moved=1e9), machine)
    low, typical, high = (float(value[0]) for value in outcome.range(outcome.seconds))
    assert typical == pytest.approx(2e-3)
    assert low == pytest.approx(1.25e-3, rel=0.01)
    assert high == pytest.approx(2.5e-3, rel=0.01)


def test_interval_of_a_sum_is_narrower_than_all_low_and_all_high() -> None:
    # Two independent parts of 1 J each, from half to twice: all high is 4 J, and 90 % of the sums are below 3.4 J.
    half_to_twice = Spread(0.5, 1.0, 2.0)
    machine = toy(energy__mac__bf16=half_to_twice.scaled(1e-12), memory__dram__path=half_to_twice.scaled(1e-9))
    machine = machine.with_values(power__static=EXACT(0.0), power__tdp=EXACT(1e9))
    outcome = simulate(work(macs=1e12, moved=1e9), machine)
    low, typical, high = (float(value[0]) for value in outcome.range(outcome.joules))
    sigma = math.log(2) / NINETY
    draws = np.exp(sigma * np.random.default_rng(1).standard_normal((2, 200_000))).sum(0)
    assert typical == pytest.approx(2.0)
    assert low == pytest.approx(np.quantile(draws, 0.05), rel=0.04)
    assert high == pytest.approx(np.quantile(draws, 0.95), rel=0.04)
    assert low > 1.0
    assert high < 3.6


def test_rows_share_their_constants() -> None:
    # A hundred rows with one price are as uncertain as one: doubt does not average out.
    machine = toy(energy__mac__bf16=Spread(1e-12, 2e-12, 4e-12), power__static=EXACT(0.0))
    one, many = (simulate(work(macs=1e9, rows=rows), machine) for rows in (1, 100))
    low, typical, high = (float(v[0]) for v in one.range(one.joules))
    assert [float(v[0]) / 100 for v in many.range(many.joules)] == pytest.approx([low, typical, high])
    assert high / typical == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize(
    ("low", "typical", "high"), [(1.0, 2.0, 8.0), (0.0, 1.0, 2.0), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0)]
)
def test_draws_are_around_the_typical_value(low: float, typical: float, high: float) -> None:
    spread = Spread(low, typical, high)
    z = np.array([0.0, -NINETY, NINETY])
    drawn = spread.draw(z)
    assert drawn[0] == typical
    assert drawn[1] == pytest.approx(max(low, typical / 100))
    assert drawn[2] == pytest.approx(high)
    assert (spread.widened(1.0).draw(z) == pytest.approx(drawn)) or low == 0
    assert spread.widened(0.0).draw(z) == pytest.approx([typical] * 3)


# What must grow with what ---------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    macs=st.floats(0, 1e12),
    moved=st.floats(0, 1e10),
    more=st.floats(1, 10),
    share=st.floats(0.1, 1.0),
)
def test_more_work_takes_more(macs: float, moved: float, more: float, share: float) -> None:
    machine = toy(efficiency__compute=Spread(0.3, 0.5, 0.7), power__tdp=EXACT(300.0))
    base = simulate(work(macs, moved), machine, draws=False)
    for other in (
        simulate(work(macs * more, moved), machine, draws=False),
        simulate(work(macs, moved * more), machine, draws=False),
        simulate(joined([work(macs, moved), work(macs, moved)]), machine, draws=False),
        simulate(work(macs, moved), machine.with_values(efficiency__memory=EXACT(0.5 * share)), draws=False),
        simulate(work(macs, moved), machine.with_values(power__static=EXACT(50 / share)), draws=False),
    ):
        assert other.joules[0, 0] >= base.joules[0, 0] * (1 - 1e-9)
        assert other.seconds[0, 0] >= base.seconds[0, 0] * (1 - 1e-9)
    watts = base.joules[0, 0] / base.seconds[0, 0]
    assert watts <= 300 * (1 + 1e-9)


def test_sum_of_rows_is_the_total() -> None:
    report = macsim.count("examples/resnet50.onnx", shapes=(8, 3, 224, 224))
    estimate = report.estimate("a100-sxm-80gb", dtype="f16")
    assert sum(row.seconds.typical for row in estimate.rows) == pytest.approx(estimate.seconds.typical)
    assert sum(row.joules.typical for row in estimate.rows) == pytest.approx(estimate.joules.typical)
    for key in ("op", "scope", "dtype", "rule"):
        groups = estimate.by(key)
        assert sum(group.joules.typical for group in groups) == pytest.approx(estimate.joules.typical)
    assert all(row.seconds.low <= row.seconds.typical <= row.seconds.high for row in estimate.rows)
    top = estimate.by("scope", depth=1)
    assert {"layer1", "fc"} <= {group.name for group in top}


def test_sizes_at_once_are_sizes_one_by_one() -> None:
    report = macsim.count("examples/resnet50.onnx", dims={"height": 64, "width": 64})
    many = report.estimate("h100-sxm", batch=[1, 16])
    for at, batch in enumerate((1, 16)):
        one = report.estimate("h100-sxm", batch=batch)
        for name in ("seconds", "joules", "watts"):
            assert [float(v[at]) for v in getattr(many, name)] == pytest.approx(list(getattr(one, name)))
        assert many.bound[at] == one.bound
    with pytest.raises(macsim.RequestError, match="one set of sizes"):
        _ = many.rows


# Dtypes ---------------------------------------------------------------------------------------------------------------


def test_dtype_that_has_no_price_is_listed_and_the_total_a_bound(chip: Hardware) -> None:
    estimate = product(64, 64, 64, TensorProto.DOUBLE).estimate(chip)
    assert estimate.missing == ["a rate of mac on f64", "a price of mac on f64"]
    assert estimate.sign == ">="
    assert repr(estimate).startswith("<Estimate on round: >= ")
    as_bf16 = product(64, 64, 64, TensorProto.DOUBLE).estimate(chip, dtype="bf16")
    assert as_bf16.missing == []
    assert as_bf16.joules.typical == pytest.approx(product(64, 64, 64).estimate(chip).joules.typical)


def test_narrow_weights_move_less_and_are_converted() -> None:
    # bf16 times i4: the product is made in bf16, and each weight is converted once.
    from macsim.estimate_loads import _product

    assert _product("bf16", "i4") == ("bf16", "i4")
    assert _product("i8", "i8") == ("i8", "")
    assert _product("f32", "bf16") == ("f32", "bf16")


def test_int4_weights_are_converted_once(chip: Hardware) -> None:
    # 4 x 1024 times 1024 x 512: products in f16, 524,288 weights of half a byte with a scale for each 32.
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=1024, N=512, bits=4, block_size=32
    )
    weights = helper.make_tensor("w", TensorProto.UINT8, (512, 32, 16), bytes(512 * 32 * 16), raw=True)
    scales = helper.make_tensor("s", TensorProto.FLOAT16, (512 * 32,), bytes(512 * 32 * 2), raw=True)
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT16, (4, size)) for name, size in (("x", 1024), ("y", 512))
    ]
    graph = helper.make_graph([node], "g", values[:1], values[1:], [weights, scales])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    estimate = macsim.count(helper.make_model(graph, opset_imports=opsets)).estimate("a100")
    work_done = {key: float(amounts.sum()) for key, amounts in estimate._loads.work.items()}
    assert work_done["mac", "f16"] == 4 * 1024 * 512
    assert work_done["convert", "f16"] == 1024 * 512
    assert estimate._loads.bytes.sum() == 4 * 1024 * 2 + 4 * 512 * 2 + 512 * 32 * 16 + 512 * 32 * 2


def test_mfu_is_of_products_at_the_peak(chip: Hardware) -> None:
    report = product("m", 1024, 1024)
    assert report.mfu(1e-3, chip, m=1024) == pytest.approx(2 * 1024**3 / 100e12 / 1e-3)
    with pytest.raises(macsim.RequestError, match="no peak for f16"):
        report.mfu(1e-3, chip, m=1024, dtype="f16")
    with pytest.raises(macsim.RequestError, match="above 0"):
        report.mfu(0.0, chip, m=1024)


# Devices, cores, walls ------------------------------------------------------------------------------------------------


def test_devices_that_share_the_data(chip: Hardware) -> None:
    # Each has half of the rows and all of the weights.
    whole, half = product(4096, 1024, 1024), product(2048, 1024, 1024)
    two, one = whole.estimate(chip, devices=2), half.estimate(chip)
    assert two.seconds.typical == pytest.approx(one.seconds.typical)
    assert two.joules.typical == pytest.approx(2 * one.joules.typical)


def test_devices_that_share_the_weights(chip: Hardware) -> None:
    # Half of everything, and the result is summed: 2 * (2 - 1) / 2 of its bytes are sent, at half of 100 GB/s.
    report = product(4096, 1024, 1024)
    estimate = report.estimate(chip, devices=2, parallel="tensor")
    sent = 4096 * 1024 * 2
    macs = 4096 * 1024 * 1024
    assert estimate.seconds.typical == pytest.approx(macs / 50e12 + 1e-6 + sent / 50e9)
    assert estimate.energy["link"].typical == pytest.approx(2 * sent * 10e-12)
    quiet = report.estimate(chip, devices=2, parallel="tensor", sent=0)
    assert quiet.energy["link"].typical == 0


def test_cores_of_a_package() -> None:
    report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
    four, one = report.estimate("pi4", cores=4), report.estimate("pi4", cores=1)
    assert four.joules.typical == pytest.approx(report.estimate("pi4").joules.typical)
    assert one.seconds.typical > four.seconds.typical
    assert one.watts.typical < four.watts.typical
    assert four.energy["compute"].typical == 0  # the package's power has it
    with pytest.raises(macsim.HardwareError, match="4 cores"):
        report.estimate("pi4", cores=5)
    with pytest.raises(macsim.RequestError, match="how many cores"):
        report.estimate("h100", cores=5)


def test_wall(chip: Hardware) -> None:
    estimate = product(4096, 1024, 1024).estimate(chip)
    wall = estimate.wall(host_watts=100, supply=0.8, pue=1.5, grams_per_kwh=360, price_per_kwh=0.36)
    joules = (estimate.joules.typical + 100 * estimate.seconds.typical) / 0.8 * 1.5
    assert wall.joules.typical == pytest.approx(joules)
    assert wall.grams.typical == pytest.approx(joules / 1e4)
    assert wall.cost.typical == pytest.approx(joules / 1e7)
    assert estimate.wall().joules == estimate.joules
    assert estimate.wall().grams is None
    assert estimate.runs_on(1.0).typical == pytest.approx(3600 / estimate.joules.typical)
    for wrong in ({"supply": 0}, {"supply": 1.1}, {"pue": 0.9}, {"host_watts": -1}):
        with pytest.raises(macsim.RequestError, match="supply"):
            estimate.wall(**wrong)


# Errors and faces -----------------------------------------------------------------------------------------------------


def test_what_is_asked_wrongly_is_told() -> None:
    report = macsim.count("examples/resnet50.onnx")
    with pytest.raises(macsim.RequestError, match="bind batch, height, width"):
        report.estimate("a100")
    bound = report.bind(batch=1, height=32, width=32)
    with pytest.raises(macsim.HardwareError, match="the nearest: "):
        bound.estimate("a1000000")
    with pytest.raises(macsim.RequestError, match="nothing is called"):
        bound.estimate("a100", batch=2)
    with pytest.raises(macsim.RequestError, match="devices"):
        bound.estimate("a100", devices=0)
    with pytest.raises(macsim.RequestError, match="parallel"):
        bound.estimate("a100", parallel="pipeline")
    with pytest.raises(macsim.RequestError, match="no traffic 'none'"):
        bound.estimate("a100", traffic="none")
    with pytest.raises(macsim.HardwareError, match="dtype"):
        bound.estimate("a100", dtype="f33")
    with pytest.raises(macsim.RequestError, match="h100-sxm has no link 'wire'; it has nvlink"):
        bound.estimate("h100", devices=2, parallel="tensor", link="wire")
    with pytest.raises(macsim.RequestError, match="at least 1, not 0"):
        bound.estimate("pi4", cores=0)
    for devices in (2.5, True):
        with pytest.raises(macsim.RequestError, match="whole number"):
            bound.estimate("a100", devices=devices)
    for seconds in (0, [1.0, -1.0]):
        with pytest.raises(macsim.RequestError, match="above 0"):
            bound.estimate("a100", seconds=seconds)
    estimate = bound.estimate("a100")
    with pytest.raises(macsim.RequestError, match="more than 0 of them"):
        estimate.per(0)
    with pytest.raises(macsim.RequestError, match="more than 0 Wh"):
        estimate.runs_on(0)
    with pytest.raises(macsim.RequestError, match="no groups by 'colour'; there are op, node"):
        estimate.by("colour")
    with pytest.raises(macsim.RequestError, match="joules"):
        macsim.compare(bound, ["a100"]).best("watts")


def test_what_is_assumed_is_told() -> None:
    assert len(machine_of("tpu-v4")[1]) == 2
    assert machine_of("h100-sxm")[1] == []
    machine, assumed = machine_of("epyc-7763")
    assert assumed == []
    assert machine_of("epyc-7763", 16)[1] == ["the package draws as much as with all of its cores at work"]
    assert machine_of("pi4", 2)[1] == []  # between idle and all four there is a line
    assert machine.package
    assert not machine.overlap


def test_chips_that_were_not_calibrated_are_less_sure(chip: Hardware) -> None:
    assert "misfit.time" in machine_of("a100")[0].values
    assert "misfit.time" not in machine_of(chip)[0].values  # it states its efficiencies and its launch overhead itself
    calm = simulate(work(macs=1e9, moved=1e6), toy())
    loose = simulate(work(macs=1e9, moved=1e6), toy(misfit__time=Spread(0.5, 1.0, 2.0)))
    assert loose.seconds[0, 0] == calm.seconds[0, 0]
    low, typical, high = (float(value[0]) for value in loose.range(loose.seconds))
    assert low / typical == pytest.approx(0.5, rel=0.02)
    assert high / typical == pytest.approx(2.0, rel=0.02)


def test_levels_of_traffic(chip: Hardware) -> None:
    report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 64, 64))
    bytes_ = {
        level: report.estimate("a100", traffic=level)._loads.bytes.sum() for level in ("unfused", "fused", "minimum")
    }
    for level, moved in bytes_.items():
        assert moved == report.traffic(level).bytes
    fused, plain = report.estimate("a100"), report.estimate("a100", traffic="unfused")
    kernels = len(report.traffic("fused").kernels)
    assert kernels <= len(fused.rows) <= report.total.rows
    assert fused.energy["launch"].typical < plain.energy["launch"].typical
    assert fused.joules.typical < plain.joules.typical
    cached = report.estimate("a100", traffic="cached")  # behind the L2 of its table
    assert cached._loads.bytes.sum() == report.traffic("cached", capacity=40 * 2**20).bytes
    with pytest.raises(macsim.RequestError, match="nothing of a cache"):
        report.estimate(chip, traffic="cached")


def test_unknown_work_makes_a_bound(chip: Hardware) -> None:
    node = helper.make_node("Secret", ["x"], ["y"], domain="com.acme")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (4,)) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "g", values[:1], values[1:]))
    estimate = macsim.count(model).estimate(chip)
    assert estimate.missing == ["the work of 1 nodes"]


def test_comparison() -> None:
    found = macsim.compare("examples/gpt2.onnx", ["a100", "h100-sxm"], batch=range(1, 3), seq=[16, 64, 256])
    assert found.estimates["h100-sxm"].joules.typical.shape == (2, 3)
    records = list(found.records())
    assert len(records) == 12
    report = macsim.count("examples/gpt2.onnx")
    one = report.estimate("h100-sxm", batch=2, seq=64)
    same = next(r for r in records if (r["hardware"], r["batch"], r["seq"]) == ("h100-sxm", 2, 64))
    assert same["joules"].typical == pytest.approx(one.joules.typical)
    assert found.best("seconds") == "h100-sxm"
    two = macsim.compare(report, ["h100"], {"batch": 2}, seq=64, devices=2, parallel="tensor", traffic="unfused")
    again = report.estimate("h100", batch=2, seq=64, devices=2, parallel="tensor", traffic="unfused")
    assert float(two.estimates["h100-sxm"].joules.typical[0, 0]) == pytest.approx(again.joules.typical)
    assert list(found.to_pandas().columns[:3]) == ["hardware", "batch", "seq"]
    assert "h100-sxm" in repr(found)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    from macsim.cli import main

    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: str) -> tuple[int, str]:
        status = main(["estimate", "examples/resnet50.onnx", *arguments])
        streams = capsys.readouterr()
        return status, streams.out + streams.err

    return call


def test_command_line(run, tmp_path: Path) -> None:
    import json

    status, text = run(
        "--on", "a100", "--shape", "1,3,64,64", "--as", "f16", "--host-watts", "100", "--grams-per-kwh", "400"
    )
    assert status == 0
    assert "NVIDIA A100" in text
    assert "of CO2" in text
    status, text = run("--on", "a100", "--on", "h100", "--shape", "1,3,64,64")
    assert status == 0
    assert [line.split()[0] for line in text.splitlines() if "sxm" in line] == ["a100-sxm-80gb", "h100-sxm"]
    status, text = run("--on", "pi4", "--shape", "1,3,64,64", "--format", "json", "--cores", "2")
    (data,) = json.loads(text)
    assert data["hardware"] == "raspberry-pi-4"
    assert data["joules"]["low"] < data["joules"]["typical"] < data["joules"]["high"]
    assert run("--on", "a100")[0] == 2
    assert run("--on", "a1oo", "--shape", "1,3,64,64")[0] == 2


def test_import_stays_light() -> None:
    import subprocess
    import sys

    code = "import macsim, sys; print([m for m in ('numpy', 'macsim.estimate') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(Path(macsim.__file__).parents[1])}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.strip() == "[]"
