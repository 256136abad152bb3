# The hardware tables: what is shipped, what rules derive, what is refused, and the command line.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import csv
import io
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import macsim
from macsim import hardware_rules, hardware_tables
from macsim.cli import main, parser
from macsim.completion import script
from macsim.hardware_quantity import DTYPES, MEASURES, WORKS, Quantity, measure_of, table_dtype
from macsim.hardware_schema import read_sheet

CHIPS = macsim.hardware_names()
TECHNOLOGIES = macsim.hardware_names(technologies=True)

# What is shipped ------------------------------------------------------------------------------------------------------


def test_there_are_enough_of_every_kind() -> None:
    chips = [macsim.hardware(name) for name in CHIPS]
    assert len(chips) >= 50
    kinds = {kind: sum(chip.kind == kind for chip in chips) for kind in ("gpu", "cpu", "soc", "tpu", "accelerator")}
    assert all(count >= 5 for count in kinds.values()), kinds
    assert {"NVIDIA", "AMD", "Intel", "Apple", "Google", "AWS", "Qualcomm", "Ampere", "Broadcom"} <= {
        chip.vendor for chip in chips
    }


@pytest.mark.parametrize("name", [*CHIPS, *TECHNOLOGIES])
def test_every_number_has_a_source_and_a_range(name: str) -> None:
    chip = macsim.hardware(name)
    assert hardware_tables._read(name).unused_sources == ()
    assert chip.title
    numbers = dict(chip.numbers())
    for key, one in numbers.items():
        assert one.source, key
        assert 0 <= one.low <= one.typical <= one.high < math.inf, key
        assert one.unit in MEASURES[measure_of(one.unit)], key
        if "from memory" in one.source.lower():
            assert one.confidence == "low", key
        if one.status == "derived":
            assert one.confidence != "high" or one.origin == "mac-of-parts", key
        if one.status == "stated":
            assert one.origin == name, key
        elif one.status == "inherited":
            assert one.origin in TECHNOLOGIES, key
        else:
            assert one.origin in {rule.name for rule in hardware_rules.RULES}, key
    if chip.kind != "technology":
        assert chip.launch
        assert chip.peaks
        assert "process" in numbers
        assert any(key.startswith("memory.") for key in numbers)


@pytest.mark.parametrize("name", CHIPS)
def test_peaks_hang_together(name: str) -> None:
    chip = macsim.hardware(name)
    for peak in chip.peaks:
        assert peak.rate.unit.endswith("OP/s" if peak.dtype[0] == "i" else "FLOP/s")
        dense = chip.peak(peak.dtype, peak.unit)
        assert dense is not None
        if peak.sparse:
            ratio = peak.rate.si.typical / dense.si.typical
            assert ratio == pytest.approx(2, rel=0.01) or name == "trainium2"  # 4:1, its own
    for wide, narrow in (("tf32", "bf16"), ("f16", "f8"), ("f8", "f4"), ("f64", "f32")):
        first, second = chip.peak(wide), chip.peak(narrow)
        if first is not None and second is not None and name != "gaudi3":  # whose f16 runs at the rate of tf32
            assert first.si.typical <= second.si.typical * 2.0001, (wide, narrow)


def test_no_name_stands_for_two_chips() -> None:
    owners: dict[str, str] = {}
    for name in [*CHIPS, *TECHNOLOGIES]:
        for spelling in {name, *macsim.hardware(name).aliases}:
            key = hardware_tables._key(spelling)
            assert owners.setdefault(key, name) == name, spelling


# Public figures, by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dtype", "unit", "value"),
    [
        ("a100", "bf16", "tensor", 312e12),  # NVIDIA's data sheet of the A100
        ("a100", "tf32", "tensor", 156e12),
        ("a100", "i8", "tensor", 624e12),
        ("a100", "f32", "vector", 19.5e12),
        ("a100", "f64", "tensor", 19.5e12),
        ("h100-sxm", "f32", "vector", 66.9e12),
        ("h100-sxm", "f8", "tensor", 1978.9e12),
        ("h100-pcie", "bf16", "tensor", 756e12),
        ("b200", "bf16", "tensor", 2250e12),  # DGX B200's data sheet: 36 PFLOPS sparse for 8 GPUs
        ("mi250x", "f16", "tensor", 383e12),
        ("mi300x", "f8", "tensor", 2614.9e12),
        ("tpu-v4", "bf16", "tensor", 275e12),
        ("tpu-v5e", "bf16", "tensor", 197e12),
        ("l4", "bf16", "tensor", 121e12),  # the data sheet prints 242, sparse
        ("jetson-agx-orin", "i8", "tensor", 85e12),  # half of 170 sparse TOPS
        ("gaudi2", "bf16", "tensor", 432e12),
        # tensor cores x fused multiply-adds a cycle x 2 x boost clock
        ("v100", "f16", "tensor", 640 * 64 * 2 * 1.53e9),
        ("t4", "f16", "tensor", 320 * 64 * 2 * 1.59e9),
        ("a10", "bf16", "tensor", 288 * 128 * 2 * 1.695e9),
        ("a100", "f16", "tensor", 432 * 256 * 2 * 1.41e9),
        ("h100-sxm", "bf16", "tensor", 528 * 512 * 2 * 1.83e9),
        ("rtx-3090", "bf16", "tensor", 328 * 64 * 2 * 1.695e9),  # half the rate with sums in f32
        ("rtx-4090", "bf16", "tensor", 512 * 64 * 2 * 2.52e9),
        # cores x operations of f32 a cycle x clock
        ("raspberry-pi-4", "f32", "vector", 4 * 8 * 1.5e9),
        ("raspberry-pi-5", "f32", "vector", 4 * 16 * 2.4e9),
        ("epyc-9654", "f32", "vector", 96 * 32 * 2.4e9),
        ("grace", "f64", "vector", 7.1e12 / 2),  # the data sheet is of two CPUs
        ("a64fx", "f64", "vector", 48 * 32 * 2.2e9),
    ],
)
def test_peak(name: str, dtype: str, unit: str, value: float) -> None:
    peak = macsim.hardware(name).peak(dtype, unit)
    assert peak is not None
    assert peak.si.typical == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        ("a100-sxm-40gb", 1555),
        ("a100-sxm-80gb", 2039),
        ("a100-pcie-80gb", 1935),
        ("h100-sxm", 3350),
        ("h200", 4800),
        ("mi300x", 5300),
        ("tpu-v4", 1200),
        # bits x gigabits a second for each / 8
        ("t4", 256 * 10 / 8),
        ("rtx-3090", 384 * 19.5 / 8),
        ("rtx-4090", 384 * 21 / 8),
        ("rtx-5090", 512 * 28 / 8),
        ("raspberry-pi-4", 32 * 3.2 / 8),
        ("xeon-8480+", 8 * 64 * 4.8 / 8),
        ("epyc-9654", 12 * 64 * 4.8 / 8),
        ("altra-q80-30", 8 * 64 * 3.2 / 8),
        ("graviton4", 12 * 64 * 5.6 / 8),
    ],
)
def test_bandwidth(name: str, gigabytes: float) -> None:
    main = macsim.hardware(name).memory()
    assert main is not None
    assert main.bandwidth.si.typical == pytest.approx(gigabytes * 1e9, rel=0.01)


@pytest.mark.parametrize(
    ("name", "watts"),
    [
        *[("a100", 400), ("a100-pcie-40gb", 250), ("h100", 700), ("h100-pcie", 350), ("b200", 1000), ("v100", 300)],
        *[("t4", 70), ("l40s", 350), ("rtx-4090", 450), ("mi300x", 750), ("gaudi3", 900)],
        *[("epyc-7763", 280), ("xeon-8380", 270)],
    ],
)
def test_tdp(name: str, watts: float) -> None:
    assert macsim.hardware(name).power.tdp.typical == watts


def test_bare_arithmetic() -> None:
    """Horowitz 2014: 3.7 and 0.9 pJ for a float multiplication and addition; 1.3 to 2.6 nJ for 64 bits of DRAM."""
    old = macsim.hardware("horowitz")
    assert old.energy("mac", "float32").typical == pytest.approx(3.7 + 0.9)
    assert old.energy("mac", "int8").typical == pytest.approx(0.2 + 0.1)  # sums of int8 are int32
    dram = old.bytes_price("dram")
    assert (dram.low, dram.high) == (1300 / 8, 2600 / 8)
    assert old.bytes_price("sram-8k").typical == 10 / 8
    new = macsim.hardware("7nm")
    assert new.energy("mac", "f16").typical == pytest.approx(0.34 + 0.16)
    assert old.power.tdp is None
    assert new.peak("f32") is None


def test_memory_technologies() -> None:
    assert macsim.hardware("hbm3").bytes_price("dram").typical == 4 * 8  # pJ/bit
    assert macsim.hardware("ddr5").bytes_price("dram").typical == 14 * 8
    h200 = macsim.hardware("h200").memory("dram")
    assert h200.path.status == "stated"
    assert (h200.energy.status, h200.energy.origin) == ("inherited", "hbm3")  # through hbm3e


# What rules derive ----------------------------------------------------------------------------------------------------


def stated(tdp: float, peak: float, dtype: str = "f16") -> dict:
    watts = Quantity(tdp, tdp, tdp, "W", "given")
    rate = Quantity(peak, peak, peak, "TFLOP/s", "given")
    return {("power", "tdp"): watts, ("peak", "tensor", dtype, False): rate}


@pytest.mark.parametrize(
    ("tdp", "peak", "picojoules"),
    [(700, 989, 0.77), (400, 312, 1.4), (300, 125, 2.6), (70, 65, 1.2)],  # H100, A100, V100, T4
)
def test_closure(tdp: float, peak: float, picojoules: float) -> None:
    """(TDP - 0.24 TDP) / (0.7 peak), for each operation; a multiply-accumulate is two."""
    price = hardware_rules.derive("gpu", stated(tdp, peak))[("energy", "mac", "f16")]
    assert price.typical / 2 == pytest.approx(0.76 * tdp / (0.7 * peak))
    assert price.typical / 2 == pytest.approx(picojoules, rel=0.03)
    assert (price.low, price.high) == pytest.approx((0.6 * price.typical, 2 * price.typical))
    assert (price.status, price.confidence, price.unit) == ("derived", "low", "pJ/MAC")


def test_shares_of_the_tdp() -> None:
    numbers = hardware_rules.derive("gpu", stated(100, 10))
    static, idle = numbers[("power", "static")], numbers[("power", "idle")]
    assert (static.low, static.typical, static.high) == (17, 24, 30)
    assert (idle.low, idle.high) == (3, 15)
    active = hardware_rules.derive("cpu", stated(100, 10))[("power", "active")]
    assert (active.low, active.typical, active.high) == (70, 85, 100)
    assert ("power", "active") not in numbers
    assert ("power", "static") not in hardware_rules.derive("soc", stated(100, 10))


def test_what_is_stated_wins_over_rules() -> None:
    measured = Quantity(50, 50, 50, "W", "meter")
    numbers = hardware_rules.derive("gpu", {**stated(100, 10), ("power", "static"): measured})
    assert numbers[("power", "static")] == measured
    assert numbers[("energy", "mac", "f16")].typical == pytest.approx(2 * 50 / (0.7 * 10))


def test_prices_of_other_dtypes() -> None:
    h200 = macsim.hardware("h200")
    base = h200.energy("mac", "bf16").typical
    assert base == 2.0  # 1.0 pJ for each operation
    for dtype, ratio in (("f8", 0.55), ("i8", 0.5), ("tf32", 2), ("f32", 5), ("f64", 10)):
        assert h200.energy("mac", dtype).typical == pytest.approx(base * ratio), dtype
    assert h200.energy("mac", "uint8") == h200.energy("mac", "i8")
    assert h200.energy("mac", "i4") is None  # it has no peak for it
    assert h200.energy("add", "f16").typical == h200.energy("mac", "f32").typical  # an instruction for an instruction


def test_unknown_is_none() -> None:
    assert macsim.hardware("graviton3").power.tdp is None
    assert macsim.hardware("graviton3").power.active is None
    assert macsim.hardware("raspberry-pi-4").energy("mac", "f32") is None
    assert macsim.hardware("raspberry-pi-4").peak("bf16") is None
    assert macsim.hardware("tpu-v5e").energy("mac", "bf16") is None
    assert macsim.hardware("edge-tpu").memory("dram") is None
    assert macsim.hardware("edge-tpu").bytes_price() is None
    assert macsim.hardware("gtx-1080-ti").bytes_price() is None
    assert macsim.hardware("h100").link("ici") is None
    assert macsim.hardware("h100").power.active is None


def test_the_names_of_numbers() -> None:
    """Estimates and calibrations go by them."""
    numbers = dict(macsim.hardware("h100").numbers())
    for name in ("peak.tensor.bf16", "peak.tensor.bf16.sparse", "peak.vector.f32", "energy.mac.bf16", "energy.add.*"):
        assert name in numbers
    for name in ("memory.dram.bandwidth", "memory.dram.path", "memory.l2.capacity", "link.nvlink.energy"):
        assert name in numbers
    for name in ("power.tdp", "power.static", "launch.overhead", "efficiency.compute", "efficiency.memory", "process"):
        assert name in numbers
    pi = dict(macsim.hardware("pi4").numbers())
    assert {"power.active", "clock", "fit.TFLite.f32.mac", "fit.TFLite.f32.constant"} <= set(pi)
    assert "power.cores.1" in dict(macsim.hardware("core-i7-12700k").numbers())


def test_package_power_by_cores() -> None:
    pi = macsim.hardware("pi4")
    idle, active = pi.power.idle.typical, pi.power.active.typical
    assert pi.package_power(0) == pi.power.idle
    assert pi.package_power(1).typical == pytest.approx(idle + (active - idle) / 4)
    assert pi.package_power(1).status == "derived"
    core = macsim.hardware("core-i7-12700k")
    assert core.package_power(1).typical == 36  # measured
    assert core.package_power(0) is None
    assert macsim.hardware("graviton3").package_power(8) is None
    with pytest.raises(macsim.HardwareError, match="has 4 cores, not 5"):
        pi.package_power(5)


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("h100", "h100-sxm"),
        ("H100 SXM5", "h100-sxm"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm-80gb"),
        ("geforce rtx 4090", "rtx-4090"),
        ("Tesla V100", "v100-sxm2"),
        ("pi4", "raspberry-pi-4"),
        ("Xeon Platinum 8480+", "xeon-8480-plus"),
        ("AMD Instinct MI300X", "mi300x"),
        ("Google TPU v4", "tpu-v4"),
        ("M2 Max", "apple-m2-max"),
        ("coral", "edge-tpu"),
    ],
)
def test_spellings(spelling: str, name: str) -> None:
    assert macsim.hardware(spelling).name == name
    assert macsim.hardware(macsim.hardware(spelling)) is macsim.hardware(name)


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("h10", "h100-sxm"), ("a100-sx", "a100-sxm-80gb"), ("rtx 4900", "rtx-4090"), ("rasberry-pi-4", "raspberry-pi-4")],
)
def test_unknown_name_names_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(macsim.HardwareError, match=f"no hardware table '{wrong}'; the nearest: .*{near}"):
        macsim.hardware(wrong)


@pytest.mark.parametrize("wrong", ["", "-", "zzzzqqqq"])
def test_unknown_name_unlike_any(wrong: str) -> None:
    with pytest.raises(macsim.HardwareError, match=r"no hardware table .*macsim hardware"):
        macsim.hardware(wrong)


def test_lookups_refuse_what_is_no_dtype_kind_or_unit() -> None:
    h100 = macsim.hardware("h100")
    with pytest.raises(macsim.HardwareError, match=r"no hardware table has a dtype 'float12'; there are f64"):
        h100.peak("float12")
    with pytest.raises(macsim.HardwareError, match=r"no unit 'cuda'; there are tensor, vector"):
        h100.peak("bf16", "cuda")
    with pytest.raises(macsim.HardwareError, match=r"no kind of work 'fma'; there are mac"):
        h100.energy("fma", "bf16")
    for dtype in ("float8_e5m2", "f8e4m3fn"):
        assert h100.peak(dtype) == h100.peak("f8")
    for known in DTYPES:
        assert table_dtype(known) == known


# Quantities -----------------------------------------------------------------------------------------------------------

UNITS = [(unit, other) for units in MEASURES.values() for unit in units for other in units]


@given(pair=st.sampled_from(UNITS), value=st.floats(1e-3, 1e6))
def test_units_go_there_and_back(pair: tuple[str, str], value: float) -> None:
    unit, other = pair
    one = Quantity(value / 2, value, value * 2, unit, "given")
    back = one.to(other).to(unit)
    assert back.typical == pytest.approx(value, rel=1e-9)
    assert back.low <= back.typical <= back.high
    assert one.si.si == one.si
    assert one.to(other).si.typical == pytest.approx(one.si.typical, rel=1e-9)


def test_units_by_hand() -> None:
    assert Quantity(1, 1, 1, "pJ/FLOP", "").to("pJ/MAC").typical == 2
    assert Quantity(1, 1, 1, "pJ/bit", "").to("pJ/B").typical == 8
    assert Quantity(1, 1, 1, "Gbit/s", "").si.typical == 0.125e9
    assert Quantity(3, 3, 3, "TOP/s", "").si.unit == "OP/s"
    assert Quantity(1, 1, 1, "GiB", "").si.typical == 2**30
    with pytest.raises(macsim.HardwareError, match="W cannot be told in 'J'"):
        Quantity(1, 1, 1, "W", "").to("J")


# The schema -----------------------------------------------------------------------------------------------------------

PEAK = '{ unit = "tensor", dtype = "bf16", sparse = false, rate = { typical = 9, unit = "TFLOP/s", %s } }'
CITED = 'source = "s", confidence = "low"'
WATTS = f'typical = 9, unit = "W", {CITED}'


def text(body: str, head: str = 'title = "Mine"\nkind = "gpu"\n') -> str:
    return f'{head}{body}\n[sources]\ns = "a source"\n'


def watts(what: str) -> str:
    return text(f"[power]\ntdp = {{ {what} }}")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("title = ", "not TOML"),
        (text("", 'kind = "gpu"\n'), "title: is missing"),
        (text("", 'title = "Mine"\n'), "kind: is missing"),
        (text("", 'title = "Mine"\nkind = "fpga"\n'), "kind: 'fpga' is not allowed; gpu, cpu, soc, tpu, accelerator"),
        (text("", 'title = ""\nkind = "gpu"\n'), "title: must be a text"),
        (text("tpd = 3"), "tpd: there is no such key; allowed are title"),
        (text("lunch = '2022'"), "lunch: there is no such key; did you mean 'launch'?"),
        (text("launch = '22-10'"), "launch: '22-10' is not a year or a month; write 2022 or 2022-10"),
        (text("aliases = 'x'"), "aliases: must be an array"),
        (text("aliases = [3]"), r"aliases[0]: must be a text, and not 3"),
        (text("cores = 0"), "cores: must be a whole number of 1 or more"),
        (text("power = 3"), "power: must be a table, and not 3"),
        (text("process = 7"), "process: a number is a table { typical, unit, source, confidence }, and not 7"),
        (watts(WATTS.replace('unit = "W", ', "")), "power.tdp.unit: is missing; W, mW, kW are allowed"),
        (watts(WATTS.replace('source = "s", ', "")), "power.tdp.source: is missing"),
        (watts(WATTS.replace(', confidence = "low"', "")), "power.tdp.confidence: is missing; high, medium, low are"),
        (watts(WATTS.replace("typical = 9, ", "")), "power.tdp.typical: is missing"),
        (watts(WATTS.replace('"W"', '"J"')), "power.tdp.unit: 'J' is not allowed; W, mW, kW are"),
        (watts(WATTS.replace('"s"', '"t"')), "power.tdp.source: 't' is not one of [sources], which has s"),
        (watts(WATTS.replace('"low"', '"sure"')), "power.tdp.confidence: 'sure' is not allowed; high, medium, low are"),
        (watts(WATTS.replace("9", "-9")), "power.tdp.typical: -9 is not allowed: it must be 0 or more"),
        (watts(WATTS.replace("9", "nan")), "power.tdp.typical: must be a finite number, and not nan"),
        (watts(WATTS.replace("9", "'9'")), "power.tdp.typical: must be a finite number, and not '9'"),
        (watts(WATTS.replace("9", "true")), "power.tdp.typical: must be a finite number, and not True"),
        (watts(f"low = 10, {WATTS}"), "power.tdp: low <= typical <= high does not hold of 10, 9, 9"),
        (watts(f"high = 8, {WATTS}"), "power.tdp: low <= typical <= high does not hold of 9, 9, 8"),
        (watts(f"mean = 8, {WATTS}"), "power.tdp.mean: there is no such key"),
        (text(f"[power]\nmax = {{ {WATTS} }}"), "power.max: there is no such key"),
        (
            text(f"peak = [{PEAK % CITED}]").replace("sparse = false, ", ""),
            "peak[0].sparse: is missing: true for a peak",
        ),
        (text(f"peak = [{PEAK % CITED}]").replace("false", "'no'"), "peak[0].sparse: must be true or false"),
        (text(f"peak = [{PEAK % CITED}]").replace("bf16", "bf17"), "peak[0].dtype: 'bf17' is not allowed; f64, f32"),
        (
            text(f"peak = [{PEAK % CITED}]").replace("tensor", "cuda"),
            "peak[0].unit: 'cuda' is not allowed; tensor, vector",
        ),
        (text(f"peak = [{PEAK % CITED}]").replace("TFLOP", "TOP"), "peak[0].rate.unit: 'TOP/s' is not allowed; FLOP/s"),
        (
            text(f"peak = [{PEAK % CITED}]").replace("9", "0"),
            "peak[0].rate.typical: 0 is not allowed: it must be more than 0",
        ),
        (
            text(f"peak = [{PEAK % CITED}, {PEAK % CITED}]"),
            "peak[1].rate: is there already: peak.tensor.bf16.False (for",
        ),
        (
            text(f"peak = [{PEAK % CITED}, {(PEAK % CITED).replace('false', 'true')}]"),
            "peak.tensor.bf16: its sparse peak, 9 TFLOP/s, is not above its dense one, 9 TFLOP/s",
        ),
        (
            text(f'energy = [{{ kind = "fma", dtype = "f32", price = {{ {WATTS} }} }}]'),
            "energy[0].kind: 'fma' is not allowed; mac, add, mul",
        ),
        (
            text(f'energy = [{{ kind = "add", dtype = "f32", price = {{ {WATTS} }} }}]').replace('"W"', '"pJ/MAC"'),
            "energy[0].price.unit: 'pJ/MAC' is not allowed; J/op, pJ/op, nJ/op are",
        ),
        (
            text(f'energy = [{{ kind = "mac", dtype = "*", price = {{ {WATTS} }} }}]'),
            "energy[0].dtype: '*' is not allowed",
        ),
        (text("[[memory]]\ntechnology = 'hbm3'"), "memory[0].name: is missing"),
        (text("[[memory]]\nname = 'HBM 3'"), "memory[0].name: 'HBM 3' is not a name"),
        (text("[[memory]]\nname = 'l2'\n[[memory]]\nname = 'l2'"), "memory[1].name: 'l2' is there already"),
        (
            text(f"[efficiency]\ncompute = {{ {WATTS} }}").replace('"W"', '"1"'),
            "efficiency.compute.typical: 9 is not allowed",
        ),
        (
            text(f"[power]\npackage = [{{ cores = 1.5, power = {{ {WATTS} }} }}]"),
            "power.package[0].cores: must be a whole",
        ),
        (text("[[fit]]\nname = 'x'\ndtype = 'f32'\nscope = 'room'"), "fit[0].mac: is missing"),
    ],
)
def test_schema_errors_name_the_file_the_key_and_what_is_allowed(tmp_path: Path, table: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(table, encoding="utf-8")
    with pytest.raises(macsim.HardwareError) as caught:
        macsim.hardware(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@given(st.lists(st.floats(-10, 1000, allow_nan=False), min_size=3, max_size=3))
def test_a_range_is_taken_exactly_when_it_is_one(values: list[float]) -> None:
    low, typical, high = values
    table = watts(f'low = {low!r}, typical = {typical!r}, high = {high!r}, unit = "W", {CITED}')
    if 0 <= low <= typical <= high:
        one = read_sheet(table, "mine", "mine.toml").numbers[("power", "tdp")]
        assert (one.low, one.typical, one.high) == (low, typical, high)
    else:
        with pytest.raises(macsim.HardwareError, match=r"mine\.toml: power\.tdp"):
            read_sheet(table, "mine", "mine.toml")


@given(st.text(max_size=200))
def test_no_text_brings_anything_but_a_schema_error(junk: str) -> None:
    with pytest.raises(macsim.HardwareError, match=r"^mine\.toml: "):  # no text so short is a table
        read_sheet(junk, "mine", "mine.toml")


@pytest.mark.parametrize("path", ["missing.toml", "."])
def test_a_file_that_cannot_be_read(tmp_path: Path, path: str) -> None:
    with pytest.raises(macsim.HardwareError, match="cannot be read"):
        macsim.hardware(tmp_path / path)


# Tables of one's own --------------------------------------------------------------------------------------------------


def write(path: Path, body: str, **heads: str) -> Path:
    head = "".join(f"{key} = {value}\n" for key, value in {"title": '"Mine"', "kind": '"gpu"', **heads}.items())
    path.write_text(text(body, head), encoding="utf-8")
    return path


def test_a_file_inherits_from_a_chip(tmp_path: Path) -> None:
    path = write(tmp_path / "Slow.toml", f"[power]\ntdp = {{ {WATTS.replace('9', '350')} }}", inherits='["h100"]')
    mine, base = macsim.hardware(str(path)), macsim.hardware("h100")
    assert (mine.name, mine.power.tdp.typical, mine.power.tdp.origin) == ("slow", 350, "slow")
    assert mine.peak("bf16").typical == base.peak("bf16").typical
    assert (mine.peak("bf16").status, mine.peak("bf16").origin) == ("inherited", "h100-sxm")
    assert mine.bytes_price("dram").origin == "hbm3"
    assert mine.memory("dram").technology == "hbm3"
    assert mine.aliases == ()


def test_what_is_derived_is_derived_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", f"[power]\ntdp = {{ {WATTS.replace('9', '100')} }}", inherits='["a100"]')
    assert macsim.hardware(path).power.static.typical == 24


def test_what_is_named_first_wins_and_files_may_be_named(tmp_path: Path) -> None:
    body = f"launch_overhead = {{ {WATTS} }}".replace('"W"', '"us"')
    write(tmp_path / "base.toml", body.replace("9", "7"), kind='"technology"')
    for order, microseconds in (('"./base.toml", "gpu"', 7), ('"gpu", "./base.toml"', 3)):
        path = write(tmp_path / "mine.toml", "", inherits=f"[{order}]")
        assert macsim.hardware(path).launch_overhead.typical == microseconds
    path = write(tmp_path / "mine.toml", body, inherits='["gpu", "./base.toml"]')
    assert macsim.hardware(path).launch_overhead.typical == 9


def test_circles_and_unknown_technologies(tmp_path: Path) -> None:
    first = write(tmp_path / "first.toml", "", inherits='["./second.toml"]')
    write(tmp_path / "second.toml", "", inherits='["./first.toml"]')
    with pytest.raises(macsim.HardwareError, match=r"first\.toml: inherits: in a circle: .*first.* -> .*second.* -> "):
        macsim.hardware(first)
    alone = write(tmp_path / "alone.toml", "", inherits='["./alone.toml"]')
    with pytest.raises(macsim.HardwareError, match="in a circle"):
        macsim.hardware(alone)
    path = write(tmp_path / "mine.toml", "[[memory]]\nname = 'dram'\ntechnology = 'hmb3'")
    with pytest.raises(
        macsim.HardwareError, match=r"mine\.toml: memory\.dram\.technology: .*'hmb3'; .*hbm3.*technologies"
    ):
        macsim.hardware(path)
    path = write(tmp_path / "mine.toml", "", inherits='["nothing-like-it"]')
    with pytest.raises(
        macsim.HardwareError, match=r"mine\.toml: inherits: there is no hardware table 'nothing-like-it'"
    ):
        macsim.hardware(path)
    path = write(tmp_path / "mine.toml", "[[memory]]\nname = 'dram'\ntechnology = 'h100'")
    with pytest.raises(macsim.HardwareError, match="'h100' is a chip, and no technology"):
        macsim.hardware(path)


def test_other_packages_bring_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "theirs.toml", f"[power]\ntdp = {{ {WATTS} }}", aliases='["their-chip"]')
    (tmp_path / "their_package.py").write_text(
        "from pathlib import Path\nTABLE = str(Path(__file__).with_name('theirs.toml'))\ndef table(): return TABLE\n"
    )
    info = tmp_path / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their_package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[macsim.hardware]\ntheir-npu = their_package:TABLE\ntheir-other = their_package:table\nh100-sxm = nowhere:X\n"
        "their-lost = nowhere:X\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert {"their-npu", "their-other"} <= set(macsim.hardware_names())
    npu = macsim.hardware("their-npu")
    assert (npu.name, npu.power.tdp.typical, npu.power.tdp.origin) == ("their-npu", 9, "their-npu")
    assert macsim.hardware("their-other").power.tdp.typical == 9
    assert macsim.hardware("Their Chip").name in ("their-npu", "their-other")
    assert macsim.hardware("h100-sxm").peak("bf16").typical == 989.4  # ours stay ours
    assert macsim.hardware("RTX 4090").name == "rtx-4090"  # whatever is wrong with others
    with pytest.raises(macsim.HardwareError, match="the entry point their-lost = nowhere:X brings no table: No module"):
        macsim.hardware("their-lost")


# The command line -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: str) -> tuple[int, str, str]:
        status = main(["hardware", *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_list(run) -> None:
    status, out, err = run()
    assert (status, err) == (0, "")
    assert all(f" {name} " in out for name in CHIPS)
    assert "N/A" in out
    _, cpus, _ = run("--kind", "cpu")
    assert "epyc-7742" in cpus
    assert "h100" not in cpus
    _, technologies, _ = run("--kind", "technology")
    assert "hbm3e" in technologies


def test_list_as_data(run) -> None:
    lines = json.loads(run("--format", "json")[1])
    assert [line["name"] for line in lines] == CHIPS
    a100 = next(line for line in lines if line["name"] == "a100-sxm-80gb")
    assert (a100["16 bit"], a100["fp32"], a100["bandwidth"], a100["TDP"]) == (312, 19.5, 2039, 400)
    rows = list(csv.DictReader(io.StringIO(run("--format", "csv")[1])))
    assert [row["name"] for row in rows] == CHIPS
    graviton = next(row for row in rows if row["name"] == "graviton3")
    assert graviton["TDP (W)"] == ""
    markdown = run("--format", "md")[1].splitlines()
    assert len(markdown) == len(CHIPS) + 2
    assert {line.count("|") for line in markdown} == {11}


def test_one(run) -> None:
    status, out, _ = run("h100")
    assert status == 0
    assert out.startswith("h100-sxm: NVIDIA H100 SXM5 80GB")
    for shown in (
        "peak.tensor.bf16",
        "989.4",
        "inherited: hbm3",
        "derived: price-ratios",
        "100 to 120",
        "medium",
        "[1]",
    ):
        assert shown in out
    assert "energy.mac" in run("tpu-v5e")[1]  # which is not known


@pytest.mark.parametrize("name", ["h100-sxm", "raspberry-pi-4", "hbm3e", "gddr5x"])
def test_one_as_data(run, name: str) -> None:
    chip = macsim.hardware(name)
    numbers = dict(chip.numbers())
    data = json.loads(run(name, "--format", "json")[1])
    assert data["title"] == chip.title
    assert {key: value["typical"] for key, value in data["numbers"].items()} == {
        key: value.typical for key, value in numbers.items()
    }
    rows = list(csv.DictReader(io.StringIO(run(name, "--format", "csv")[1])))
    assert {row["name"]: (float(row["low"]), row["source"]) for row in rows} == {
        key: (value.low, value.source) for key, value in numbers.items()
    }
    assert run(name, "--format", "md")[1].startswith(f"## {name}\n")


def test_a_file_is_checked(run, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", f"[power]\ntdp = {{ {WATTS} }}")
    assert "mine: Mine" in run(str(path))[1]
    write(path, "tpd = 3")
    status, out, err = run(str(path))
    assert (status, out) == (2, "")
    assert err.startswith(f"macsim: {path}: tpd: there is no such key")


def test_wrong_names_and_options(run) -> None:
    status, _, err = run("h1000")
    assert status == 2
    assert "the nearest: h100-sxm" in err
    assert run("h100", "--kind", "gpu")[0] == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_chips(shell: str) -> None:
    text = script(parser(), shell)
    assert "raspberry-pi-4" in text
    assert "hardware" in text


def test_every_kind_of_work_can_be_asked_for() -> None:
    for kind in WORKS:
        assert macsim.hardware("h100").energy(kind, "f32") is not None
