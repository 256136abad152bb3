# Calibration: made-up constants are found again; meters with recorded data; microbenchmarks; what is refused.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import csv
import time
import types
from pathlib import Path

import numpy as np
import pytest

import macsim
from macsim.calibrate import calibrate, cases_of, read_measurements
from macsim.calibrate_fit import Case, _student, fit, leave_out, widening
from macsim.calibrate_run import microbenchmarks
from macsim.cli import main
from macsim.estimate import estimated
from macsim.estimate_loads import machine_of
from macsim.estimate_physics import Machine, Range, Spread, simulate
from macsim.meters import NvmlMeter, RaplMeter, RecordedMeter, find_meter, measured

TRUTH = {
    "efficiency.compute": 0.62,
    "efficiency.memory": 0.71,
    "launch.overhead": 4e-6,
    "energy.mac.bf16": 2.5e-12,
    "memory.dram.path": 150e-12,
    "power.static": 80.0,
}
SHAPES = [("matmul", f"{side}x{side}x{side}") for side in (256, 512, 1024, 2048, 4096, 8192)]
SHAPES += [("matmul", "16x4096x4096"), ("matmul", "64x8192x1024")]
SHAPES += [("copy", size) for size in ("1e6", "1e7", "1e8", "1e9")]


def made_up(noise: float = 0.0) -> list[dict[str, str]]:
    """Measurements of an A100 whose constants are `TRUTH`, with so much noise."""
    true, _ = machine_of("a100-sxm-80gb")
    true = true.with_values(**{name.replace(".", "__"): Spread.exact(value) for name, value in TRUTH.items()})
    rows = [{"model": model, "shape": shape, "dtype": "bf16", "seconds": "1"} for model, shape in SHAPES]
    random = np.random.default_rng(3)
    for row, case in zip(rows, cases_of(rows), strict=True):
        found = simulate(case.loads, true, draws=False)
        slow, hungry = np.exp(noise * random.standard_normal(2))
        row["seconds"] = repr(float(found.seconds[0, 0] * slow))
        row["joules"] = repr(float(found.joules[0, 0] * slow * hungry))
    return rows


def test_made_up_constants_are_found_again() -> None:
    found = calibrate(cases_of(made_up()), "a100-sxm-80gb")
    for name, value in TRUTH.items():
        assert found.constants()[name].typical == pytest.approx(value, rel=0.12), name  # held a little by the table
    assert np.abs(found.seconds.fitted).max() < 0.05
    assert np.abs(found.joules.fitted).max() < 0.05
    assert np.abs(found.joules.left_out).mean() >= np.abs(found.joules.fitted).mean()


def test_noise_is_in_the_ranges_and_a_stray_does_not_pull() -> None:
    quiet, noisy = (calibrate(cases_of(made_up(noise)), "a100-sxm-80gb") for noise in (0.01, 0.1))
    for name in ("efficiency.memory", "memory.dram.path"):
        wide, narrow = noisy.constants()[name], quiet.constants()[name]
        assert wide.high / wide.low > narrow.high / narrow.low
    rows = made_up(0.01)
    rows[2]["seconds"] = repr(20 * float(rows[2]["seconds"]))
    stray = calibrate(cases_of(rows), "a100-sxm-80gb")
    assert stray.constants()["efficiency.compute"].typical == pytest.approx(0.62, rel=0.15)


def test_table_that_is_written_is_read(tmp_path: Path) -> None:
    found = calibrate(cases_of(made_up(0.02)), "a100-sxm-80gb")
    path = tmp_path / "mine.toml"
    title = 'My "chip", C:\\new ü'
    path.write_text(found.to_toml(title), encoding="utf-8")
    chip = macsim.hardware(path)
    assert chip.title == title
    assert chip.peak("bf16").typical == 312
    machine, _ = machine_of(chip)
    for name, spread in found.constants().items():
        assert machine.values[name].typical == pytest.approx(spread.typical, rel=1e-3), name
    report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
    assert report.estimate(chip).seconds.typical > report.estimate("a100-sxm-80gb").seconds.typical
    again = calibrate(cases_of(made_up(0.02)), chip)  # of a table of one's own
    path.with_name("again.toml").write_text(again.to_toml())
    assert macsim.hardware(path.with_name("again.toml")).peak("bf16").typical == 312


def test_cpu_without_prices_gets_them_and_idle_is_its_floor(tmp_path: Path) -> None:
    rows = [
        {"model": "matmul", "shape": "1024x1024x1024", "seconds": "0.1", "joules": "0.6"},
        {"model": "matmul", "shape": "512x512x512", "seconds": "0.0125", "joules": "0.075"},
        {"model": "copy", "shape": "1e8", "seconds": "0.05", "joules": "0.2"},
        {"model": "idle", "seconds": "10", "joules": "30"},
    ]
    found = calibrate(cases_of(rows), "raspberry-pi-4")
    constants = found.constants()
    assert constants["power.static"].typical == pytest.approx(3.3, rel=0.3)
    # Of 6 W, 3 or so are left for 1.07 G MACs in 0.1 s.
    assert 100e-12 < constants["energy.mac.f32"].typical < 500e-12
    path = tmp_path / "pi.toml"
    path.write_text(found.to_toml())
    machine, _ = machine_of(path)
    assert not machine.package
    # Other work has a price in that of a multiply-accumulate, so that nothing is missing from an estimate.
    resnet = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224)).estimate(str(path))
    assert not resnet.missing


def test_models_are_counted_and_grouped() -> None:
    rows = [
        {"model": "examples/resnet50.onnx", "shape": "1,3,224,224", "seconds": "0.01"},
        {"model": "examples/resnet50.onnx", "dims": "batch=2 height=64 width=64", "seconds": "0.01"},
        {"model": "examples/gpt2.onnx", "dims": "batch=1 seq=16", "seconds": "0.01", "dtype": "bf16"},
    ]
    cases = cases_of(rows)
    assert [case.group for case in cases] == [row["model"] for row in rows]
    macs = [sum(float(n.sum()) for (kind, _), n in case.loads.work.items() if kind == "mac") for case in cases]
    assert macs[0] == 4089184256
    assert {dtype for kind, dtype in cases[2].loads.work if kind == "mac"} == {"bf16"}


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"model": "matmul", "shape": "1x1x1"}, "line 2: there is no seconds"),
        ({"seconds": "1"}, "no model"),
        ({"model": "matmul", "shape": "1x1x1", "seconds": "-1"}, "'-1' is not a number above 0"),
        ({"model": "matmul", "shape": "1x1x1", "seconds": "1", "joules": "x"}, "joules: 'x'"),
        ({"model": "matmul", "shape": "1x1", "seconds": "1"}, "the shape of matmul is not '1x1'"),
        ({"model": "copy", "shape": "many", "seconds": "1"}, "'many' is not a shape"),
        ({"model": "matmul", "shape": "1x1x1", "seconds": "1", "dtype": "f33"}, "f33"),
    ],
)
def test_measurements_that_are_none_are_refused(row: dict[str, str], what: str) -> None:
    with pytest.raises((macsim.RequestError, macsim.HardwareError), match=what):
        cases_of([row])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"model,shape,seconds\nmatmul,8x8x8,1e-6\nnone.onnx,,1\n", "line 3: none.onnx: .*No such file"),
        (b"model,shape,dims,seconds\nexamples/gpt2.onnx,,batch=1,1\n", "line 2: examples/gpt2.onnx: .*bind seq"),
        (b"model,shape,dims,seconds\nexamples/gpt2.onnx,,batch=x=1,1\n", "line 2: examples/gpt2.onnx"),
        (b"model,shape,seconds\nmatmul,0x8x8,1\n", "the shape of matmul is not '0x8x8'"),
        (b"model,shape,seconds\ncopy,nan,1\n", "the shape of copy is not 'nan'"),
        (b"model;shape;seconds\nmatmul;8x8x8;1\n", "no model and no seconds; columns are model, shape"),
        (b"\xff\xfe", "is no CSV file in UTF-8"),
    ],
)
def test_files_that_are_odd_are_refused_with_their_line(tmp_path: Path, text: bytes, what: str) -> None:
    path = tmp_path / "odd.csv"
    path.write_bytes(text)
    with pytest.raises(macsim.RequestError, match=what):
        read_measurements(path)


def test_too_few_are_refused() -> None:
    with pytest.raises(macsim.RequestError, match="3 measurements"):
        calibrate(cases_of(made_up()[:2]), "a100")


# The fit --------------------------------------------------------------------------------------------------------------


def test_what_is_waited_for_and_a_host_are_fitted() -> None:
    machine, _ = machine_of("a100-sxm-80gb")
    rows = made_up()
    cases = []
    for at, case in enumerate(cases_of(rows)):
        count = float(at % 4)
        seconds = case.seconds + count * 1e-3
        share = 1 / (1 + at % 2 * 7)
        joules = case.joules + 80.0 * count * 1e-3 + 400.0 * share * seconds
        cases.append(Case(f"model {at % 3}", case.loads, seconds, joules, {"a token": count}, host=share))
    found = fit(machine, cases)
    assert found.waits["a token"] == pytest.approx(1e-3, rel=0.02)
    assert found.host == pytest.approx(400, rel=0.1)
    apart = leave_out(machine, cases)
    assert apart[0] is apart[3]
    assert apart[0] is not apart[1]
    off = [one.joules(case).typical / case.joules - 1 for one, case in zip(apart, cases, strict=True)]
    assert np.median(np.abs(off)) < 0.05


def test_constants_of_one_chip_go_to_another() -> None:
    machine, _ = machine_of("a100-sxm-80gb")
    found = fit(machine, cases_of(made_up()))
    other = found.on(machine_of("h100-sxm")[0])
    assert isinstance(other, Machine)
    assert other.values["efficiency.compute"].typical == pytest.approx(0.62, rel=0.05)
    before = machine_of("h100-sxm")[0].values["power.static"].typical
    factor = 80.0 / machine.values["power.static"].typical
    assert other.values["power.static"].typical == pytest.approx(before * factor, rel=0.1)


def test_widening() -> None:
    ranges = [Range(0.5, 1.0, 2.0)] * 2000
    truths = np.array([2.0 ** (at / 2000) for at in range(1, 2001)])
    assert widening(truths, ranges) == pytest.approx(0.9, rel=0.002)
    assert widening(truths**2, ranges) == pytest.approx(1.8, rel=0.002)


@pytest.mark.parametrize(("freedom", "percentile"), [(3, 2.353), (4, 2.132), (10, 1.812), (30, 1.697), (1e9, 1.645)])
def test_students_distribution(freedom: float, percentile: float) -> None:
    assert _student(freedom) == pytest.approx(percentile, rel=0.003)  # as tables print it


def test_intervals_cover_groups_that_were_not_seen() -> None:
    """Errors of groups are normal, with more or less of them in common: 90 % of further groups should be covered."""
    random = np.random.default_rng(5)
    ranges = [Range(1 / np.e, 1.0, np.e)] * 60
    for common in (0.3, 0.8):
        hits, before = [], []
        for _ in range(300):
            shared = np.repeat(random.standard_normal(7), 10) * common**0.5
            off = shared + random.standard_normal(70) * (1 - common) ** 0.5
            truths, groups = np.exp(off[:60]), [str(at // 10) for at in range(60)]
            hits.append(np.abs(off[60:]) <= widening(truths, ranges, groups))
            before.append(np.abs(off[60:]) <= widening(truths, ranges))
        assert 0.87 < np.mean(hits) < 0.96
        assert np.mean(before) < np.mean(hits)


def test_of_several_minima_the_lowest_is_found() -> None:
    """Nearly all cases are at the limit of power, where the price of bytes tells nothing: one that is not tells it."""
    machine, _ = machine_of("a100-sxm-80gb")
    machine = machine.with_values(memory__dram__path=Spread(20e-12, 1e-9, 4e-9), power__static=Spread(79.0, 80.0, 81.0))
    true = machine.with_values(memory__dram__path=Spread.exact(60e-12))
    rows = [{"model": "copy", "shape": size, "seconds": "1"} for size in ("1e8", "2e8", "4e8", "8e8")]
    cases = []
    for case in cases_of(rows):
        found = simulate(case.loads, true, draws=False)
        cases.append(Case(case.group, case.loads, float(found.seconds[0, 0]), float(found.joules[0, 0])))
    price = fit(machine, cases).on().values["memory.dram.path"].typical
    assert price == pytest.approx(60e-12, rel=0.1)


# Meters ---------------------------------------------------------------------------------------------------------------


def zone(root: Path, at: int, name: str, energy: int, most: int = 999_999) -> Path:
    folder = root / f"intel-rapl:{at}"
    folder.mkdir(exist_ok=True)
    for file, text in (("name", name), ("energy_uj", str(energy)), ("max_energy_range_uj", str(most))):
        (folder / file).write_text(f"{text}\n")
    return folder


def test_rapl_sums_packages_and_follows_counters_that_run_over(tmp_path: Path) -> None:
    one, two = zone(tmp_path, 0, "package-0", 900_000), zone(tmp_path, 1, "package-1", 0)
    zone(tmp_path, 2, "dram", 5)
    meter = RaplMeter(tmp_path)
    assert meter.name == "RAPL, 2 packages"
    with measured(meter) as reading:
        (one / "energy_uj").write_text("100000\n")  # 900,000 to 999,999, then 0 to 100,000
        (two / "energy_uj").write_text("500000\n")
    assert reading.joules == pytest.approx(0.7)
    assert reading.seconds > 0


def test_rapl_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(macsim.MeterError, match="no RAPL packages"):
        RaplMeter(tmp_path)
    folder = zone(tmp_path, 0, "package-0", 1)
    (folder / "energy_uj").write_text("-1\n")
    with pytest.raises(macsim.MeterError, match="says '-1', which is no energy"):
        RaplMeter(tmp_path)
    (folder / "max_energy_range_uj").unlink()
    with pytest.raises(macsim.MeterError, match="cannot be read"):
        RaplMeter(tmp_path)


def test_rapl_that_is_for_administrators_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = zone(tmp_path, 0, "package-0", 1)
    plain = Path.read_text

    def refused(path: Path, **how: str) -> str:
        if path == folder / "energy_uj":
            raise PermissionError(13, "Permission denied")
        return plain(path, **how)

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(macsim.MeterError, match="energy_uj is not for you to read: ask an administrator"):
        RaplMeter(tmp_path)


def nvml(energies: list[int], broken: bool = False) -> types.SimpleNamespace:
    class NVMLError(Exception):
        pass

    def consumption(_: object) -> int:
        if broken:
            raise NVMLError("Not Supported")
        return energies.pop(0)

    return types.SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda _: b"NVIDIA A100",
        nvmlDeviceGetTotalEnergyConsumption=consumption,
    )


def test_nvml_counts_in_millijoules() -> None:
    meter = NvmlMeter(nvml=nvml([1000, 2000, 7500]))
    assert meter.name == "NVIDIA A100"
    with measured(meter) as reading:
        pass
    assert reading.joules == pytest.approx(5.5)
    with pytest.raises(macsim.MeterError, match="Not Supported"):
        NvmlMeter(nvml=nvml([], broken=True))
    lost = nvml([1000])
    meter = NvmlMeter(nvml=lost)
    lost.nvmlDeviceGetTotalEnergyConsumption = nvml([], broken=True).nvmlDeviceGetTotalEnergyConsumption
    lost.NVMLError = Exception
    with pytest.raises(macsim.MeterError, match="its counter of energy cannot be read"):
        meter.joules()


def test_recordings_are_played_back(tmp_path: Path) -> None:
    path = tmp_path / "recorded.csv"
    path.write_text("joules\n1.0\n3.5\n")
    meter = RecordedMeter(path)
    with measured(meter) as reading:
        pass
    assert reading.joules == 2.5
    with pytest.raises(macsim.MeterError, match="at their end"):
        meter.joules()
    path.write_text("joules\n1.0\nmany\n")
    with pytest.raises(macsim.MeterError, match="a number of joules"):
        RecordedMeter(path)
    path.write_text("watts\n1\n")
    with pytest.raises(macsim.MeterError, match="column joules"):
        RecordedMeter(path)


def test_machine_without_meters_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pynvml", None)
    meter, reason = find_meter("cuda")
    assert meter is None
    assert "pip install nvidia-ml-py" in reason


class Clock:
    """A clock that goes on by a tick with each look, and a meter of 10 W on it."""

    name = "a clock"

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1e-3
        return self.now

    def joules(self) -> float:
        return 10 * self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_microbenchmarks_are_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    import macsim.calibrate_run as run

    monkeypatch.setattr(run, "CPU_SIDES", (8, 16, 32))
    monkeypatch.setattr(run, "CPU_BYTES", (64, 1024))
    clock = Clock()
    rows = list(microbenchmarks("cpu", clock, each=0.02, clock=clock, sleep=clock.sleep))
    assert [row["model"] for row in rows] == ["matmul"] * 3 + ["copy"] * 2 + ["idle"]
    for row in rows:
        assert float(row["joules"]) / float(row["seconds"]) == pytest.approx(10, rel=0.15)
    assert len(cases_of(rows)) == 6
    with pytest.raises(macsim.RequestError, match='"cpu" or "cuda"'):
        next(microbenchmarks("npu"))
    with pytest.raises(macsim.RequestError, match="f32 and f64"):
        next(microbenchmarks("cpu", dtype="bf16"))


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = made_up(0.02)
    path, table = tmp_path / "measured.csv", tmp_path / "mine.toml"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert main(["calibrate", str(path), "--base", "a100", "-o", str(table), "--title", "Mine"]) == 0
    said = capsys.readouterr().out
    assert "leave one model out" in said
    assert "power.static" in said
    assert macsim.hardware(table).title == "Mine"
    assert main(["calibrate", "--base", "a100"]) == 2
    assert main(["calibrate", str(path), "--base", "a100", "-o", "mine.yaml"]) == 2
    assert main(["calibrate", str(tmp_path / "none.csv"), "--base", "a100"]) == 2
    assert main(["calibrate", "--measure", "cpu", "--seconds", "0", "--base", "a100"]) == 2
    said = capsys.readouterr().err
    assert "--seconds 0: a measurement takes more than 0" in said


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_machine_that_is_measured_is_estimated_as_it_was_fitted(
    device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From counters of the kernel or the driver, played back at 25 W, to a table, and to an estimate with it."""
    import macsim.calibrate_run as run
    import macsim.meters as meters

    def spent() -> int:
        return int(25e6 * time.perf_counter())  # microjoules

    zone(tmp_path, 0, "package-0", 0, 2**40)
    plain = meters._read
    monkeypatch.setattr(meters, "_read", lambda path: str(spent()) if path.name == "energy_uj" else plain(path))
    board = nvml([])
    board.nvmlDeviceGetTotalEnergyConsumption = lambda _: spent() // 1000
    meter = RaplMeter(tmp_path) if device == "cpu" else NvmlMeter(nvml=board)
    monkeypatch.setattr(meters, "find_meter", lambda _: (meter, ""))
    monkeypatch.setattr(run, "CPU_SIDES", (32, 64, 128, 256))
    monkeypatch.setattr(run, "CPU_BYTES", (2**16, 2**20, 2**22))
    monkeypatch.setattr(run, "GPU_SIDES", run.CPU_SIDES)
    monkeypatch.setattr(run, "GPU_BYTES", run.CPU_BYTES)
    monkeypatch.setattr(run, "_torch", lambda _: run._numpy("f32"))
    save, table = tmp_path / "measured.csv", tmp_path / "mine.toml"
    base = "core-i9-13900k" if device == "cpu" else "rtx-4090"
    given = ["--measure", device, "--seconds", "0.02", "--base", base, "--save", str(save), "-o", str(table)]
    assert main(["calibrate", *given]) == 0
    said = capsys.readouterr()
    assert meter.name in said.err
    assert "joules" in said.out
    assert "leave one model out" in said.out
    with open(save, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["matmul"] * 4 + ["copy"] * 3 + ["idle"]
    for row in rows:
        assert float(row["joules"]) / float(row["seconds"]) == pytest.approx(25, rel=0.2)
    found = calibrate(read_measurements(save), base)
    report = macsim.count("examples/resnet50.onnx", shapes=(1, 3, 224, 224))
    there, here = estimated(report, table), estimated(report, base, machine=found.machine)
    assert there.seconds == pytest.approx(here.seconds, rel=2e-3)
    assert there.joules == pytest.approx(here.joules, rel=2e-3)
    assert main(["calibrate", str(save), "--base", base]) == 0  # from the file, too
