"""Tiny ONNX models for tests: what they hold is plain to see, and their counts can be worked out on paper."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

Dims = Sequence[int | str | None]


def feed(name: str, *dims: int | str | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """An input or output of the graph."""
    return helper.make_tensor_value_info(name, kind, dims)


def weight(name: str, *dims: int, kind: int = TensorProto.FLOAT) -> onnx.TensorProto:
    """A stored tensor whose contents do not matter: declared as external data that is not there."""
    proto = TensorProto(name=name, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    proto.external_data.add(key="location", value="absent.bin")
    return proto


def model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    stored: Sequence[onnx.TensorProto] = (),
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """A model of ONNX's opset 17, and of version 1 of other domains."""
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, list(stored))
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="tests")


def linear(batch: int | str = "batch", into: int = 3, out: int = 5) -> onnx.ModelProto:
    """Return y = x @ w: batch * into * out macs."""
    return model(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="/fc/MatMul")],
        [feed("x", batch, into)],
        [feed("y", batch, out)],
        [weight("w", into, out)],
    )


def custom(op: str = "Window", domain: str = "mylib", outputs: int = 1, **attrs: object) -> onnx.ModelProto:
    """A matmul, then a node of somebody's own domain over three tensors, named /own."""
    names = [f"z{i}" for i in range(outputs)]
    return model(
        [
            helper.make_node("MatMul", ["x", "w"], ["y"], name="/fc/MatMul"),
            helper.make_node(op, ["y", "y", "y"], names, name="/own", domain=domain, **attrs),
        ],
        [feed("x", "batch", 3)],
        [onnx.ValueInfoProto(name=name) for name in names],
        [weight("w", 3, 5)],
        [domain],
    )


def chain(nodes: int) -> onnx.ModelProto:
    """A row of Relu nodes, each over what the one before gives."""
    return model(
        [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"], name=f"/relu{i}") for i in range(nodes)],
        [feed("v0", "batch", 8)],
        [feed(f"v{nodes}", "batch", 8)],
    )
