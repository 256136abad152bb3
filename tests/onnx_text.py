# Models of ONNX's textual form.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser

import macsim

HEAD = '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>\n'


def parsed(text: str, **stored: np.ndarray[Any, Any]) -> onnx.ModelProto:
    """Return the model; arrays are its stored tensors."""
    model = onnx.parser.parse_model(HEAD + text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in stored.items())
    return model


def count(text: str, **stored: np.ndarray[Any, Any]) -> macsim.Report:
    return macsim.count(parsed(text, **stored))


def floats(*shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, np.float32)
