"""The multiply-adds that ONNX Runtime really executed: shapes from its profiler, formulas of our own, loops as run.

Optimisations are off, so that the nodes of the profile are the nodes of the file; weights are not repacked, so that
their shapes are in the profile. Contractions only, no bias. Three-operand einsums count pairwise, left to right.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

Shape = list[int]


@dataclass
class Executed:
    """What one run did."""

    macs: int = 0
    by_op: Counter[str] = field(default_factory=Counter)
    outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)


def _all_nodes(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    found = {}
    for node in graph.node:
        found[node.name] = node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found.update(_all_nodes(attribute.g))
    return found


def _attributes(node: onnx.NodeProto | None) -> dict[str, Any]:
    return {} if node is None else {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _einsum(equation: str, shapes: list[Shape]) -> int:
    equation = equation.replace(" ", "")
    left, _, right = equation.partition("->")
    terms = left.split(",")
    sizes = {
        label: size for term, shape in zip(terms, shapes, strict=True) for label, size in zip(term, shape, strict=True)
    }
    total, running = 0, set(terms[0])
    for i, term in enumerate(terms[1:], 1):
        running |= set(term)
        total += math.prod(sizes[label] for label in running)
        needed = set(right).union(*map(set, terms[i + 1 :]))
        running &= needed
    return total


def _macs(op: str, ins: list[Shape], outs: list[Shape], attrs: dict[str, Any]) -> int | None:
    """Multiply-adds of one executed kernel; None: not a contraction."""
    size = math.prod
    if op in ("Conv", "ConvInteger", "FusedConv", "NhwcFusedConv"):
        return size(outs[0]) * size(ins[1][1:])
    if op == "QLinearConv":
        return size(outs[0]) * size(ins[3][1:])
    if op == "ConvTranspose":
        return size(ins[0]) * size(ins[1][1:])
    if op in ("MatMul", "MatMulInteger", "QLinearMatMul", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"):
        return size(outs[0]) * ins[0][-1]
    if op == "FusedMatMul":
        return size(outs[0]) * ins[0][-2 if attrs.get("transA") else -1]
    if op in ("Gemm", "FusedGemm", "QGemm"):
        b = ins[1] if op != "QGemm" else ins[3]
        return math.isqrt(size(ins[0]) * size(b) * size(outs[0]))
    if op in ("MatMulNBits", "MatMulBnb4"):
        return size(outs[0]) * int(attrs["K"])
    if op in ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"):
        batch_first = bool(attrs.get("layout", 0))
        steps = ins[0][1] if batch_first else ins[0][0]
        batch = ins[0][0] if batch_first else ins[0][1]
        return steps * batch * (size(ins[1]) + size(ins[2]))
    if op == "Einsum":
        return _einsum(attrs["equation"].decode(), ins)
    if op == "Attention" and "num_heads" in attrs:  # com.microsoft: x, w, bias
        batch, seq, width = ins[0]
        hidden = ins[1][1] // 3
        return batch * seq * width * 3 * hidden + 2 * batch * seq * seq * hidden
    if op == "MultiHeadAttention":
        batch, q_len, hidden = ins[0]
        return 2 * batch * q_len * ins[1][1] * hidden
    return None


def run(path: Path, feeds: Mapping[str, Any], folder: Path) -> Executed:
    """Runs the model once and adds up what was executed."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", "1")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    arrays = session.run(None, {name: np.asarray(value) for name, value in feeds.items()})
    events = json.loads(Path(session.end_profiling()).read_text())
    nodes = _all_nodes(onnx.load(str(path), load_external_data=False).graph)
    done = Executed()
    for output, array in zip(session.get_outputs(), arrays, strict=True):
        if isinstance(array, np.ndarray):
            done.outputs[output.name] = array.shape
    for event in events:
        if not event["name"].endswith("_kernel_time"):
            continue
        args = event["args"]
        name = event["name"].removesuffix("_kernel_time")
        ins = [shape for entry in args["input_type_shape"] for shape in entry.values()]
        outs = [shape for entry in args["output_type_shape"] for shape in entry.values()]
        macs = _macs(args["op_name"], ins, outs, _attributes(nodes.get(name)))
        if macs is not None:
            done.macs += macs
            done.by_op[args["op_name"]] += macs
    return done


def random_feeds(path: Path, sizes: Mapping[str, int], seed: int = 0) -> dict[str, Any]:
    """Feeds for every input of the model, its symbols replaced by `sizes`."""
    kinds = {
        "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
        "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_,
        "tensor(uint8)": np.uint8, "tensor(int8)": np.int8,
    }  # fmt: skip
    rng = np.random.default_rng(seed)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = {}
    for given in session.get_inputs():
        shape = [sizes[d] if isinstance(d, str) else d for d in given.shape]
        dtype = kinds[given.type]
        feeds[given.name] = (rng.random(shape) * 4).astype(dtype)
    return feeds
