# The workloads of the energy benchmark against what is published of them, and its board set against its target.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MEASURED = BENCHMARKS / "data" / "energy_measured.csv.gz"
PAGE = BENCHMARKS.parent / "docs" / "estimates.md"
pytestmark = pytest.mark.skipif(not BENCHMARKS.exists(), reason="source packages come without the benchmarks")


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


# Millions of multiply-accumulates and of weights, as the papers print them.
@pytest.mark.parametrize(
    ("network", "macs", "weights", "within"),
    [
        ("mobilenet-v1-1.0-224", 569, 4.24, 0.01),
        ("mobilenet-v1-0.5-160", 77, 1.34, 0.01),
        ("mobilenet-v2-1.0-224", 300, 3.5, 0.01),
        ("mobilenet-v2-1.4-224", 582, 6.1, 0.01),
        ("mobilenet-v3-large-1.0-224", 219, 5.4, 0.02),
        ("mobilenet-v3-small-1.0-224", 56, 2.5, 0.02),
        ("mobilenet-v3-large-minimalistic-1.0-224", 209, 3.9, 0.01),
        ("efficientnet-lite0", 407, 4.7, 0.06),  # the authors' figures, which are of TensorFlow's profiler
        ("efficientnet-lite4", 2640, 13.0, 0.06),
    ],
)
def test_networks_are_those_of_the_papers(network: str, macs: float, weights: float, within: float) -> None:
    import energy_rows

    rows = energy_rows.counted(network, "all", batch=1)
    assert (rows["macs"] * rows["times"]).sum() == pytest.approx(macs * 1e6, rel=within)
    assert (rows["weights"] * rows["times"]).sum() / 4 == pytest.approx(weights * 1e6, rel=0.02)


# Billions of weights that the names say, without the table of embeddings where it is not also the last layer.
@pytest.mark.parametrize(
    ("model", "weights"),
    [
        ("Qwen3-8B", 8.19 - 0.62),
        ("Qwen3-14B", 14.77 - 0.78),
        ("Qwen3-32B", 32.76 - 0.78),
        ("Llama-3.1-8B", 8.03 - 0.53),
        ("Llama-3.1-405B", 405.9 - 2.1),
        ("gemma-3-27b", 27.0),
        ("Nemotron-Nano-12B-v2", 12.3 - 0.67),
    ],
)
def test_decoders_have_the_weights_of_their_names(model: str, weights: float) -> None:
    import energy_rows

    rows = energy_rows.counted(model, "decode", batch=1, context=1, window=1)
    assert (rows["weights"] * rows["times"]).sum() / 2 == pytest.approx(weights * 1e9, rel=0.01)


def test_a_board_is_estimated_with_a_network_left_out() -> None:
    import energy_rows

    from macsim.calibrate_fit import leave_out

    data = energy_rows.read(MEASURED)
    assert len(data) == 3292
    rows = [
        row
        for row in data
        if "rpi4-tflite-v2.7.1-ruy" in row["citation"]
        and row["scenario_batch"] == "singlestream"
        and not energy_rows.is_int8(row["task_model"])
    ]
    cases = [energy_rows.on_board(row) for row in rows]
    found = leave_out(cases[0].machine, cases)
    errors = [abs(one.joules(case).typical / case.joules - 1) for one, case in zip(found, cases, strict=True)]
    assert len(errors) == 31
    assert np.median(errors) < 0.12
    assert "energy_rows" in sys.modules


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    import validate_energy

    monkeypatch.setattr(sys, "argv", ["validate_energy.py", *arguments])
    validate_energy.main()


QUICK = ("--only", "servers", "studies")


def test_page_has_the_figures_that_come_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The quick sets; `python benchmarks/validate_energy.py --check docs/estimates.md` compares all."""
    run(monkeypatch, *QUICK, "--check", str(PAGE))
    assert "MLPerf, several GPUs, offline, wall" in capsys.readouterr().out
    text = PAGE.read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("| tables alone: one sequence"))
    cells = line.split(" | ")
    cells[3] = f"{float(cells[3]) - 3:.1f}"
    page = tmp_path / "page.md"
    page.write_text(text.replace(line, " | ".join(cells)), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"is stale.*--write"):
        run(monkeypatch, "--only", "studies", "--check", str(page))
    run(monkeypatch, "--only", "studies", "--write", str(page))
    run(monkeypatch, "--only", "studies", "--check", str(page))
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(SystemExit, match="there are no marks"):
        run(monkeypatch, "--only", "studies", "--check", str(page))


def test_each_row_is_scored_or_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text(encoding="utf-8").split("printed by benchmarks/validate_energy.py")[1]
    tables = [[line.split(" | ") for line in table.splitlines()[2:]] for table in text.split("\n\n")[1:3]]
    assert {len(table) for table in tables} == {28, 5}
    alone = [row for row in tables[0] if "tables alone: dense" not in row[0] and "alone: boards" not in row[0]]
    # One line of each rows; power, energy and time are of the same rows, and those of one chip are among those of both.
    twice = ("power with", "time of a step", "the same", ": h100", ": b200")
    scored = sum(int(row[1]) for row in alone if not any(word in row[0] for word in twice))
    assert scored + sum(int(row[0].strip("| ")) for row in tables[1]) == 3292
    assert "not known" not in text


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"J_per_unit": "-1"}, "line 2: J_per_unit is '-1', not a number above 0"),
        ({"throughput": ""}, "line 2: throughput is '', not a number above 0"),
        ({"avg_watts": "nan"}, "line 2: avg_watts is 'nan'"),
        ({"n_devices": None}, "there are no columns n_devices"),
    ],
)
def test_file_of_ones_own_that_is_odd(tmp_path: Path, change: dict[str, str | None], what: str) -> None:
    import energy_rows

    row = energy_rows.read(MEASURED)[0] | change
    row = {name: text for name, text in row.items() if text is not None}
    path = tmp_path / "own.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    with pytest.raises(SystemExit, match=what):
        energy_rows.read(path)


def test_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A few rows are enough, of whatever sets; what is not known is told."""
    import energy_rows

    data = energy_rows.read(MEASURED)
    jetsons = [row for row in data if row["hardware"] == "NVIDIA Orin"]
    odd = jetsons[0] | {"hardware": "NVIDIA Thor"}
    path = tmp_path / "own.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, odd)
        writer.writeheader()
        writer.writerows([*jetsons, odd])
    run(monkeypatch, "--data", str(path), "--by", "model")
    said = capsys.readouterr().out
    assert re.search(rf"MLPerf, Jetsons, wall +{len(jetsons)} ", said)
    assert "1 rows are not scored: NVIDIA Thor: there is no table of it" in said
    assert "NVIDIA Orin 1 bert-99" in said
    with pytest.raises(SystemExit, match=r"none of the \d+ rows can be scored.*too few models"):
        run(monkeypatch, "--data", str(path), "--only", "servers")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"precision": "int7"}, "there is no precision 'int7'"),
        ({"task_model": "Apertus-8B / gpqa"}, "Apertus-8B / gpqa: there is no such workload"),
        (
            {"scenario_batch": "max=8", "notes": ""},
            "there is no avg_batch in scenario_batch and no avg_output_len in notes",
        ),
        ({"hardware": "NVIDIA R100"}, "NVIDIA R100: there is no table of it"),
    ],
)
def test_rows_that_are_not_rebuilt_say_why(change: dict[str, str], why: str) -> None:
    import energy_rows

    row = next(row for row in energy_rows.read(MEASURED) if row["unit"] == "output token" and "avg_batch" in str(row))
    assert energy_rows.why_not(row) == ""
    assert energy_rows.why_not(row | change) == why
