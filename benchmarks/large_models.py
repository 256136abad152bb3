"""Large ONNX files to measure with: written straight as protobuf, so that a million nodes take seconds to make.

Every block of four nodes is `y = relu(x @ W + b) * s` on a [batch, 64] activation, with weights of its own, which all
lie at the start of one small file; the exact MACs are known: `blocks * batch * 64 * 64`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

WIDTH = 64
NODES_A_BLOCK = 4


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _node(op: str, inputs: list[str], output: str, name: str) -> bytes:
    body = b"".join(_field(1, i.encode()) for i in inputs)
    return _field(1, body + _field(2, output.encode()) + _field(3, name.encode()) + _field(4, op.encode()))


def _external(name: str, dims: tuple[int, ...]) -> bytes:
    """A float initializer whose payload lies in weights.bin."""
    body = b"".join(_number(1, d) for d in dims) + _number(2, 1) + _field(8, name.encode())
    for key, value in (("location", "weights.bin"), ("offset", "0"), ("length", str(4 * math.prod(dims)))):
        body += _field(13, _field(1, key.encode()) + _field(2, value.encode()))
    body += _number(14, 1)
    return _field(5, body)


def _input(number: int, name: str, batch: str, width: int | None) -> bytes:
    dims = _field(1, _field(2, batch.encode()))
    if width is not None:
        dims += _field(1, _number(1, width))
    tensor = _number(1, 1) + _field(2, dims)
    return _field(number, _field(1, name.encode()) + _field(2, _field(1, tensor)))


def _blocks(count: int) -> Iterator[bytes]:
    x = "x"
    for i in range(count):
        y = f"h{i}.out"
        yield _node("MatMul", [x, f"h{i}.w"], f"h{i}.mm", f"/h{i}/MatMul")
        yield _node("Add", [f"h{i}.mm", f"h{i}.b"], f"h{i}.sum", f"/h{i}/Add")
        yield _node("Relu", [f"h{i}.sum"], f"h{i}.act", f"/h{i}/Relu")
        yield _node("Mul", [f"h{i}.act", "scale"], y, f"/h{i}/Mul")
        x = y


def write_chain(path: Path, nodes: int) -> int:
    """Writes a chain of `nodes` nodes (a multiple of 4) to `path`; its MACs at batch 1."""
    blocks = nodes // NODES_A_BLOCK
    (path.parent / "weights.bin").write_bytes(bytes(WIDTH * WIDTH * 4))
    graph = b"".join(_blocks(blocks)) + _field(2, b"chain") + _external("scale", ())
    graph += b"".join(_external(f"h{i}.w", (WIDTH, WIDTH)) + _external(f"h{i}.b", (WIDTH,)) for i in range(blocks))
    graph += _input(11, "x", "batch", WIDTH) + _input(12, f"h{blocks - 1}.out", "batch", WIDTH)
    path.write_bytes(_number(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _number(2, 17)))
    return blocks * WIDTH * WIDTH


def write_resnet50(path: Path) -> int:
    """Writes examples/resnet50.onnx at [1, 3, 224, 224] with its 102 MB of weights inline, all zero; its MACs."""
    import onnx

    source = Path(__file__).parent.parent / "examples" / "resnet50.onnx"
    model = onnx.load(str(source), load_external_data=False)
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            del tensor.external_data[:]
            tensor.data_location = onnx.TensorProto.DEFAULT
            tensor.raw_data = bytes(4 * math.prod(tensor.dims))
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, 224, 224), strict=True):
        dim.dim_value = size
    onnx.save(model, str(path))
    return 4_089_184_256


def write_inline(path: Path, gigabytes: float) -> tuple[int, int]:
    """Writes two matmuls, `gigabytes` of weights inline, as a sparse file; its MACs at batch 1 and its width."""
    rows = int(gigabytes * 1e9 / 2 / 4 / 4096)
    payload = rows * 4096 * 4

    def head(name: str, dims: tuple[int, int]) -> bytes:
        return (
            b"".join(_number(1, d) for d in dims)
            + _number(2, 1)
            + _field(8, name.encode())
            + _varint(9 << 3 | 2)
            + _varint(payload)
        )

    nodes = _node("MatMul", ["x", "w0"], "h", "/MatMul_0") + _node("MatMul", ["h", "w1"], "y", "/MatMul_1")
    rest = _input(11, "x", "batch", rows) + _input(12, "y", "batch", rows)
    heads = [head("w0", (rows, 4096)), head("w1", (4096, rows))]
    starts = [_varint(5 << 3 | 2) + _varint(len(h) + payload) + h for h in heads]
    length = len(nodes) + len(rest) + sum(len(s) + payload for s in starts)
    with path.open("wb") as file:
        file.write(_number(1, 8) + _varint(7 << 3 | 2) + _varint(length) + nodes)
        for start in starts:
            file.write(start)
            file.seek(payload - 1, 1)
            file.write(struct.pack("B", 0))
        file.write(rest + _field(8, _field(1, b"") + _number(2, 17)))
    return 2 * rows * 4096, rows
