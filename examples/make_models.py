# Writes the example models: real architectures without their weights.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
"""Write resnet50.onnx and gpt2.onnx: ``python examples/make_models.py [folder]``.

Both are whole models as an exporter writes them, with sizes left symbolic. Their weights are declared as external data
in a file that does not exist: counting never opens it, and the models stay small enough to ship. The output is the same
bytes every time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper


class Model:
    """Collects the nodes and initializers of one model; every method that adds nodes gives back the result's name."""

    def __init__(self, name: str, opset: int) -> None:
        self.name = name
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.offset = 0  # where the next weight would lie in the weights file
        self.scope = ""

    def op(self, op_type: str, inputs: list[str], label: str = "", outputs: int = 1, **attrs: object) -> str:
        """Add a node, named by the scope and ``label``; gives the name of its (first) output."""
        path = f"{self.scope}/{label or op_type}"
        names = [f"{path}:{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, name=path, **attrs))
        return names[0]

    def weight(self, name: str, *shape: int) -> str:
        """Declare float32 weights that are stored elsewhere."""
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        size = 4
        for dim in shape:
            size *= dim
        for key, value in (("location", f"{self.name}.weights"), ("offset", self.offset), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        self.offset += size
        self.initializers.append(tensor)
        return name

    def constant(self, name: str, value: float | list[int], kind: int = TensorProto.INT64) -> str:
        """Add a small tensor that is stored in the model: a list is 1-D, a number is a scalar."""
        if all(tensor.name != name for tensor in self.initializers):
            values = value if isinstance(value, list) else [value]
            dims = [len(values)] if isinstance(value, list) else []
            self.initializers.append(helper.make_tensor(name, kind, dims, values))
        return name

    def finish(self, inputs: list[ValueInfoProto], output: ValueInfoProto) -> ModelProto:
        """Rename the last node's output to the model's output and put the model together."""
        self.nodes[-1].output[0] = output.name
        graph = helper.make_graph(self.nodes, self.name, inputs, [output], self.initializers)
        return helper.make_model(
            graph, producer_name="macsim examples", opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8
        )


def resnet50() -> ModelProto:
    """ResNet-50 v1.5 (the stride of a stage sits on its first 3x3 convolution) for images of any size."""
    m = Model("resnet50", opset=17)

    def conv(x: str, label: str, norm: str, shape: tuple[int, int, int], stride: int = 1, relu: bool = True) -> str:
        out, into, kernel = shape
        prefix = m.scope.rpartition("/")[2]  # torch's module path: the scope's last part
        weights = f"{prefix}.{label}" if prefix else label
        y = m.op(
            "Conv",
            [x, m.weight(f"{weights}.weight", out, into, kernel, kernel)],
            f"{label}/Conv",
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
        )
        weights = f"{prefix}.{norm}" if prefix else norm
        stats = [m.weight(f"{weights}.{part}", out) for part in ("weight", "bias", "running_mean", "running_var")]
        y = m.op("BatchNormalization", [y, *stats], f"{norm}/BatchNormalization", epsilon=1e-5)
        return m.op("Relu", [y], f"{label}/Relu") if relu else y

    x = conv("input", "conv1", "bn1", (64, 3, 7), stride=2)
    x = m.op("MaxPool", [x], "maxpool/MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(blocks):
            m.scope = f"/layer{stage}/layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            y = conv(x, "conv1", "bn1", (width, channels, 1))
            y = conv(y, "conv2", "bn2", (width, width, 3), stride=stride)
            y = conv(y, "conv3", "bn3", (4 * width, width, 1), relu=False)
            if block == 0:
                x = conv(x, "downsample.0", "downsample.1", (4 * width, channels, 1), stride=stride, relu=False)
            channels = 4 * width
            x = m.op("Relu", [m.op("Add", [y, x])], "relu/Relu")
    m.scope = ""
    x = m.op("Flatten", [m.op("GlobalAveragePool", [x], "avgpool/GlobalAveragePool")], axis=1)
    m.op("Gemm", [x, m.weight("fc.weight", 1000, channels), m.weight("fc.bias", 1000)], "fc/Gemm", transB=1)
    return m.finish(
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1000]),
    )


def gpt2() -> ModelProto:
    """GPT-2 small (12 layers, 12 heads, 768 wide) over ``seq`` tokens, attention spelled out in primitive operators."""
    m = Model("gpt2", opset=17)
    width, heads, layers, vocabulary, positions = 768, 12, 12, 50257, 1024

    def index(value: int) -> str:
        return m.constant(f"index_{value}", value)

    def size_of(x: str, axis: int, label: str) -> str:
        shape = m.op("Shape", [x], f"{label}/Shape")
        return m.op("Gather", [shape, index(axis)], f"{label}/Gather", axis=0)

    def unsqueeze(x: str, axis: int, label: str) -> str:
        return m.op("Unsqueeze", [x, m.constant(f"axes_{axis}", [axis])], f"{label}/Unsqueeze")

    def reshape(x: str, sizes: list[str | int], label: str) -> str:
        parts = [m.constant(f"sizes_{size}", [size]) if isinstance(size, int) else size for size in sizes]
        return m.op("Reshape", [x, m.op("Concat", parts, f"{label}/Concat", axis=0)], f"{label}/Reshape")

    def linear(x: str, name: str, into: int, out: int, label: str) -> str:
        y = m.op("MatMul", [x, m.weight(f"{name}.weight", into, out)], f"{label}/MatMul")
        return m.op("Add", [m.weight(f"{name}.bias", out), y], f"{label}/Add")

    def norm(x: str, name: str, label: str) -> str:
        scale, bias = m.weight(f"{name}.weight", width), m.weight(f"{name}.bias", width)
        return m.op("LayerNormalization", [x, scale, bias], f"{label}/LayerNormalization", axis=-1, epsilon=1e-5)

    def number(name: str, value: float) -> str:
        return m.constant(name, value, TensorProto.FLOAT)

    def gelu(x: str) -> str:  # 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
        cube = m.op("Mul", [m.op("Pow", [x, number("three", 3.0)], "act/Pow"), number("cubic", 0.044715)], "act/Mul")
        inner = m.op("Mul", [m.op("Add", [x, cube], "act/Add"), number("sqrt_2_pi", 0.7978845608)], "act/Mul_1")
        gate = m.op("Add", [m.op("Tanh", [inner], "act/Tanh"), number("one", 1.0)], "act/Add_1")
        return m.op("Mul", [m.op("Mul", [x, number("half", 0.5)], "act/Mul_2"), gate], "act/Mul_3")

    def attention(x: str, mask: str, name: str) -> str:
        batch = unsqueeze(size_of(x, 0, "batch"), 0, "batch")
        seq = unsqueeze(size_of(x, 1, "seq"), 0, "seq")
        packed = linear(x, f"{name}.c_attn", width, 3 * width, "c_attn")
        first = m.op("Split", [packed, m.constant("thirds", [width] * 3)], outputs=3, axis=2)
        query, key, value = (first.removesuffix("0") + str(i) for i in range(3))
        split = [reshape(part, [batch, seq, heads, width // heads], label)
                 for part, label in ((query, "q"), (key, "k"), (value, "v"))]  # fmt: skip
        query = m.op("Transpose", [split[0]], "q/Transpose", perm=[0, 2, 1, 3])
        key = m.op("Transpose", [split[1]], "k/Transpose", perm=[0, 2, 3, 1])
        value = m.op("Transpose", [split[2]], "v/Transpose", perm=[0, 2, 1, 3])
        scores = m.op("Div", [m.op("MatMul", [query, key], "scores/MatMul"), number("sqrt_head", 8.0)], "scores/Div")
        scores = m.op("Where", [mask, scores, number("lowest", -3.4028234663852886e38)], "scores/Where")
        mixed = m.op("MatMul", [m.op("Softmax", [scores], axis=-1), value], "mix/MatMul")
        mixed = m.op("Transpose", [mixed], "mix/Transpose", perm=[0, 2, 1, 3])
        return linear(reshape(mixed, [batch, seq, width], "mix"), f"{name}.c_proj", width, width, "c_proj")

    # Positions 0 .. seq - 1, and the causal mask: row r sees column c when c <= r.
    m.scope = "/transformer"
    seq = size_of("input_ids", 1, "positions")
    places = m.op("Range", [index(0), seq, index(1)], "positions/Range")
    columns, rows = unsqueeze(places, 0, "mask/columns"), unsqueeze(places, 1, "mask/rows")
    mask = m.op("LessOrEqual", [columns, rows], "mask/LessOrEqual")

    tokens = m.weight("transformer.wte.weight", vocabulary, width)
    x = m.op("Gather", [tokens, "input_ids"], "wte/Gather", axis=0)
    place = m.op("Gather", [m.weight("transformer.wpe.weight", positions, width), places], "wpe/Gather", axis=0)
    x = m.op("Add", [x, place])
    for layer in range(layers):
        name, block = f"transformer.h.{layer}", f"/transformer/h.{layer}"
        m.scope = f"{block}/attn"
        y = attention(norm(x, f"{name}.ln_1", "ln_1"), mask, f"{name}.attn")
        x = m.op("Add", [y, x], "residual/Add")
        m.scope = f"{block}/mlp"
        y = linear(norm(x, f"{name}.ln_2", "ln_2"), f"{name}.mlp.c_fc", width, 4 * width, "c_fc")
        x = m.op("Add", [x, linear(gelu(y), f"{name}.mlp.c_proj", 4 * width, width, "c_proj")], "residual/Add")
    m.scope = "/transformer"
    x = norm(x, "transformer.ln_f", "ln_f")
    m.scope = "/lm_head"  # shares its weights with the token embedding
    m.op("MatMul", [x, m.op("Transpose", [tokens], perm=[1, 0])])
    return m.finish(
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "seq"])],
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "seq", vocabulary]),
    )


def main(folder: Path) -> None:
    """Write both models into ``folder``."""
    for make in (resnet50, gpt2):
        path = folder / f"{make.__name__}.onnx"
        path.write_bytes(make().SerializeToString(deterministic=True))
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
