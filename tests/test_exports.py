"""Models as torch's exporters and ONNX Runtime's tools write them, counted, against what ONNX Runtime executed.

Every model is counted twice: with the shapes of the run given, and with nothing given and the symbols bound
afterwards. Both must give the executed multiply-adds exactly, and the executed output shapes.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import macsim

torch = pytest.importorskip("torch")
ort = pytest.importorskip("onnxruntime")

from oracle import executed  # noqa: E402  (needs onnxruntime)
from zoo import ZOO, Exhibit  # noqa: E402  (needs torch)


def export(exhibit: Exhibit, exporter: str, path: Path, half: bool = False) -> Path:
    module = exhibit.build()
    inputs = tuple(exhibit.inputs.values())
    if half:
        module = module.half()
        inputs = tuple(t.half() if t.is_floating_point() else t for t in inputs)
    names = list(exhibit.inputs)
    # Its own deprecation and registration warnings are the exporter's business.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            if exporter == "torchscript":
                torch.onnx.export(module, inputs, str(path), input_names=names, dynamic_axes=exhibit.axes, dynamo=False)
            else:
                shapes = tuple(exhibit.axes.get(name, {}) for name in names)
                torch.onnx.export(
                    module, inputs, str(path), input_names=names, dynamic_shapes=shapes, dynamo=True, verbose=False
                )
        finally:
            logging.disable(logging.NOTSET)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


def check(path: Path, feeds: dict[str, Any], sizes: dict[str, int], folder: Path) -> macsim.Report:
    """Both counts against the run; the report of the first."""
    done = executed.run(path, feeds, folder)
    assert done.macs > 0
    given = macsim.count(path, shapes={name: np.shape(array) for name, array in feeds.items()})
    assert given.macs == done.macs, (given.by("op"), done.by_op)
    assert given.trust == "exact", [str(d) for d in given.diagnostics]
    for output in given.outputs:
        assert tuple(output.shape or ()) == done.outputs[output.name], output.name
    free = macsim.count(path)
    names = {u.name for u in free.unbound}
    assert names <= set(sizes), f"only the model's own sizes are free: {names - set(sizes)}"
    bound = free.bind({k: v for k, v in sizes.items() if k in names})
    assert bound.macs == done.macs
    assert not [d for d in free.diagnostics if d.severity != "note"], [str(d) for d in free.diagnostics]
    return given


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("exhibit", ZOO, ids=lambda e: e.name)
def test_exported(exhibit: Exhibit, exporter: str, folder: Path) -> None:
    if exporter in exhibit.skip:
        pytest.skip(exhibit.skip[exporter])
    path = export(exhibit, exporter, folder / f"{exhibit.name}_{exporter}.onnx")
    report = check(path, exhibit.feeds(), exhibit.sizes, folder)
    if exporter == "dynamo" and exhibit.name == "language_model":
        scopes = {group.name for group in report.by("scope")}
        assert {"layers.0.attn.qkv", "layers.1.mlp.2"} <= scopes


def find(name: str) -> Exhibit:
    return next(e for e in ZOO if e.name == name)


@pytest.mark.parametrize("name", ["convnet", "encoder_layer"])
def test_half_precision(name: str, folder: Path) -> None:
    exhibit = find(name)
    path = export(exhibit, "torchscript", folder / f"{name}_half.onnx", half=True)
    full = export(exhibit, "torchscript", folder / f"{name}_full.onnx")
    half, whole = macsim.count(path), macsim.count(full)
    assert half.macs == whole.macs
    assert {group.name for group in half.by("dtype") if group.macs != 0} == {"f16"}
    if name == "convnet":  # the other has stored integers too
        assert half.weight_bytes * 2 == whole.weight_bytes


def test_external_data_is_never_read(folder: Path) -> None:
    path = export(find("language_model"), "torchscript", folder / "external_source.onnx")
    moved = folder / "external.onnx"
    onnx.save(onnx.load(path), moved, save_as_external_data=True, location="external.bin", size_threshold=0)
    with_payload = macsim.count(moved).macs
    (folder / "external.bin").unlink()
    assert macsim.count(moved).macs == with_payload == macsim.count(path).macs


class _Reader:
    """Calibration data: a few random batches."""

    def __init__(self, feeds: dict[str, Any]) -> None:
        self.batches = iter([feeds] * 2)

    def get_next(self) -> dict[str, Any] | None:
        return next(self.batches, None)


@pytest.mark.parametrize("style", ["qdq", "qoperator", "dynamic"])
@pytest.mark.parametrize("name", ["convnet", "encoder_layer", "recurrent"])
def test_quantised_by_onnx_runtime(name: str, style: str, folder: Path) -> None:
    from onnxruntime import quantization as q

    exhibit = find(name)
    source = export(exhibit, "torchscript", folder / f"{name}_{style}_float.onnx")
    prepared, path = folder / f"{name}_{style}_prepared.onnx", folder / f"{name}_{style}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            q.shape_inference.quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            if style == "dynamic":
                q.quantize_dynamic(str(prepared), str(path))
            else:
                form = q.QuantFormat.QDQ if style == "qdq" else q.QuantFormat.QOperator
                q.quantize_static(str(prepared), str(path), _Reader(exhibit.feeds()), quant_format=form)
        finally:
            logging.disable(logging.NOTSET)
    report = check(path, exhibit.feeds(), exhibit.sizes, folder)
    assert report.macs == macsim.count(source, shapes={k: v.shape for k, v in exhibit.feeds().items()}).macs
    if style == "dynamic":
        assert report.int_ops != 0


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_of_few_bits(bits: int, folder: Path) -> None:
    from onnxruntime.quantization import matmul_nbits_quantizer as nbits

    exhibit = find("encoder_layer")
    source = export(exhibit, "torchscript", folder / f"nbits{bits}_float.onnx")
    path = folder / f"nbits{bits}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            quantizer = nbits.MatMulNBitsQuantizer(onnx.load(source), bits=bits, block_size=16, is_symmetric=True)
            quantizer.process()
            quantizer.model.save_model_to_file(str(path))
        finally:
            logging.disable(logging.NOTSET)
    assert "MatMulNBits" in {n.op_type for n in onnx.load(path).graph.node}
    report = check(path, exhibit.feeds(), exhibit.sizes, folder)
    float_report = macsim.count(source, shapes={k: v.shape for k, v in exhibit.feeds().items()})
    assert report.macs == float_report.macs
    assert report.weight_bytes < float_report.weight_bytes


@pytest.mark.parametrize("exhibit", ZOO, ids=lambda e: e.name)
def test_fused_by_onnx_runtime(exhibit: Exhibit, folder: Path) -> None:
    """The file that ONNX Runtime's own optimiser writes: fused, with operators of com.microsoft."""
    source = export(exhibit, "torchscript", folder / f"{exhibit.name}_plain.onnx")
    path = folder / f"{exhibit.name}_fused.onnx"
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    report = check(path, exhibit.feeds(), exhibit.sizes, folder)
    assert report.macs == macsim.count(source, shapes={k: v.shape for k, v in exhibit.feeds().items()}).macs


class Looping(torch.nn.Module):
    """A loop over a size and a branch on a value, for the scripting exporter."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = torch.nn.Linear(6, 6)

    def forward(self, x: torch.Tensor, flag: torch.Tensor) -> torch.Tensor:
        h = x[:, 0]
        for i in range(x.shape[1]):
            h = torch.tanh(self.cell(h) + x[:, i])
        if bool(flag > 0):
            h = self.cell(h)
        return h


def test_scripted_loop_and_branch(folder: Path) -> None:
    path = folder / "looping.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            torch.jit.script(Looping()),
            (torch.zeros(2, 5, 6), torch.tensor(1)),
            str(path),
            input_names=["x", "flag"],
            dynamic_axes={"x": {0: "batch", 1: "steps"}},
            dynamo=False,
        )
    for flag in (0, 1):
        feeds = {"x": np.zeros((3, 4, 6), np.float32), "flag": np.array(flag)}
        done = executed.run(path, feeds, folder)
        given = macsim.count(path, shapes={"x": (3, 4, 6)}, values={"flag": flag})
        assert given.macs == done.macs == (4 + flag) * 3 * 36
        free = macsim.count(path, values={"flag": flag})
        assert free.bind(batch=3, steps=4).macs == done.macs
    either = macsim.count(path)
    assert either.trust == "bound"
    assert either.bind(batch=3, steps=4).macs == 5 * 3 * 36
