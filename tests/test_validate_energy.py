# The workloads of the energy benchmark against what is published of them, and its board set against its target.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import csv
import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
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

    with gzip.open(BENCHMARKS / "data" / "energy_measured.csv.gz", "rt", encoding="utf-8") as file:
        data = list(csv.DictReader(file))
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
