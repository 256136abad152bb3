"""Published models, when they are at hand: set MACSIM_MODELS to a folder of ONNX files with a truth.json.

truth.json is a list of {"file", "input_shapes", "macs", "by_op"}: the multiply-adds of the shapes that a run executed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import macsim

FOLDER = Path(os.environ.get("MACSIM_MODELS", "."))
TRUTH = FOLDER / "truth.json"
MODELS: list[dict[str, Any]] = json.loads(TRUTH.read_text()) if TRUTH.exists() else []
VALUES = {"silero": {"sr": 16000}}

pytestmark = pytest.mark.skipif(not MODELS, reason="MACSIM_MODELS does not name a folder with a truth.json")


def _values(name: str) -> dict[str, Any]:
    return next((values for start, values in VALUES.items() if name.startswith(start)), {})


@pytest.mark.parametrize("truth", MODELS, ids=lambda t: t["file"])
def test_macs_equal_what_was_executed(truth: dict[str, Any]) -> None:
    shapes = {name: tuple(shape) for name, shape in truth["input_shapes"].items()}
    report = macsim.count(FOLDER / truth["file"], shapes=shapes, values=_values(truth["file"]))
    by_op = {group.name.split("::")[-1]: group.macs for group in report.by("op") if group.macs != 0}
    assert by_op == truth["by_op"]
    assert report.macs == truth["macs"]
    assert report.trust in ("exact", "estimate"), [str(d) for d in report.diagnostics]


@pytest.mark.parametrize("truth", MODELS, ids=lambda t: t["file"])
def test_the_symbolic_total_bound_afterwards_is_the_same(truth: dict[str, Any]) -> None:
    free = macsim.count(FOLDER / truth["file"], values=_values(truth["file"]))
    sizes: dict[str, int] = {}
    for given in free.inputs:
        for dim, size in zip(given.shape or (), truth["input_shapes"][given.name], strict=True):
            if not isinstance(dim, int):
                sizes[str(dim)] = size
    assert free.bind(sizes).macs == truth["macs"]


SILERO = FOLDER / "silero-vad__silero_vad.onnx"


@pytest.mark.skipif(not SILERO.exists(), reason="the model is not there")
@pytest.mark.parametrize(("samples", "macs"), [(352, 423_808), (512, 563_968), (576, 679_552)])
def test_a_branch_that_may_not_run_refuses_no_sizes(samples: int, macs: int) -> None:
    """Nobody says which rate the sound has: the larger branch is counted, as it is when the sizes are given before."""
    sizes = {"input.0": 1, "input.1": samples}
    assert macsim.count(SILERO).bind(sizes).macs == macs
    assert macsim.count(SILERO, dims=sizes).macs == macs
