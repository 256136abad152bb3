# The example models: written by their script byte for byte, valid, small, and of the published size.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import math
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

# Numbers of stored elements. ResNet-50: the published 25,557,032 parameters and 2 x 26,560 running statistics.
# GPT-2 small: the published 124,439,808.
STORED = {"resnet50": 25_557_032 + 53_120, "gpt2": 124_439_808}


@pytest.mark.parametrize(
    ("script", "folder"), [("examples/make_models.py", "examples"), ("tests/fuzz/make_corpus.py", "tests/fuzz/corpus")]
)
def test_files_are_what_the_script_writes(root: Path, tmp_path: Path, script: str, folder: str) -> None:
    subprocess.run([sys.executable, root / script, tmp_path], check=True, stdout=subprocess.DEVNULL)
    committed = {path.name: path.read_bytes() for path in (root / folder).glob("*.onnx")}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == committed
    assert all(len(content) < 100_000 for content in committed.values())


@pytest.mark.parametrize("name", STORED)
def test_models_are_valid(root: Path, name: str) -> None:
    model = onnx.load(root / f"examples/{name}.onnx", load_external_data=False)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    weights = [tensor for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    assert sum(math.prod(tensor.dims) for tensor in weights) == STORED[name]
