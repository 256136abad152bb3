"""ONNX graphs that hypothesis draws: small, valid, and of everything that traffic looks at.

A graph is drawn as a list of values with their shapes; each step takes some of them and adds what an operator, or the
several of which exporters write one, makes of them. Sizes may be symbols: names of `SIZES`, at least 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

SIZES = {"batch": 3, "seq": 6}
Size = int | str
Shape = tuple[Size, ...]


@dataclass(frozen=True)
class Value:
    name: str
    shape: Shape


@dataclass
class Graph:
    """A graph while it is drawn. Names are unique over all bodies."""

    draw: Any
    symbolic: bool
    values: list[Value] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    stored: list[onnx.TensorProto] = field(default_factory=list)
    made: list[int] = field(default_factory=lambda: [0])

    def name(self) -> str:
        self.made[0] += 1
        return f"v{self.made[0]}"

    def size(self, dim: Size) -> int:
        return SIZES[dim] if isinstance(dim, str) else dim

    def weight(self, *shape: int) -> str:
        name = self.name()
        self.stored.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
        return name

    def numbers(self, *values: int) -> str:
        name = self.name()
        self.stored.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def op(self, op: str, given: list[str], shape: Shape | None, **attributes: Any) -> str:
        """Adds a node of one result, which steps to come may take when its shape is told."""
        name = self.name()
        self.nodes.append(helper.make_node(op, given, [name], name="n_" + name, **attributes))
        if shape is not None:
            self.values.append(Value(name, shape))
        return name

    def pick(self, fits: Callable[[Value], bool] = lambda value: True) -> Value | None:
        """One of the values, later ones first when hypothesis makes things simple."""
        some = [value for value in reversed(self.values) if fits(value)]
        return self.draw(st.sampled_from(some)) if some else None

    def inside(self) -> Graph:
        """A body, which sees what is around it."""
        return Graph(self.draw, self.symbolic, list(self.values), made=self.made)


def info(name: str, shape: Shape | None, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


# Steps. ---------------------------------------------------------------------------------------------------------------


def unary(g: Graph) -> None:
    x = g.pick()
    assert x
    g.op(g.draw(st.sampled_from(["Relu", "Exp", "Sqrt", "Tanh"])), [x.name], x.shape)


def chain(g: Graph) -> None:
    """Operators that a runtime does in place."""
    x = g.pick()
    assert x
    last = x.name
    for op in g.draw(st.lists(st.sampled_from(["Relu", "Exp", "Neg"]), min_size=2, max_size=4)):
        last = g.op(op, [last], None)
    g.values.append(Value(last, x.shape))


def binary(g: Graph) -> None:
    x = g.pick()
    assert x
    y = g.pick(lambda value: value.shape == x.shape)
    assert y
    g.op(g.draw(st.sampled_from(["Add", "Mul", "Div"])), [x.name, y.name], x.shape)


def broadcast(g: Graph) -> None:
    """With something of fewer elements: sizes of 1, or fewer axes."""
    x = g.pick()
    assert x

    def is_part(value: Value) -> bool:
        pairs = zip(reversed(value.shape), reversed(x.shape), strict=False)
        return len(value.shape) <= len(x.shape) and all(a in (1, b) for a, b in pairs)

    y = g.pick(is_part)
    assert y
    g.op("Sub", g.draw(st.permutations([x.name, y.name])), x.shape)


def bias(g: Graph) -> None:
    x = g.pick(lambda value: bool(value.shape) and isinstance(value.shape[-1], int))
    if x:
        g.op("Add", [x.name, g.weight(g.size(x.shape[-1]))], x.shape)


def linear(g: Graph) -> None:
    x = g.pick(lambda value: len(value.shape) >= 2 and isinstance(value.shape[-1], int))
    if x:
        n = g.draw(st.sampled_from([4, 8, 5]))
        g.op("MatMul", [x.name, g.weight(g.size(x.shape[-1]), n)], (*x.shape[:-1], n))


def square(g: Graph) -> None:
    """A product of a value with another, or with itself."""
    x = g.pick(lambda value: len(value.shape) == 3)
    y = g.pick(lambda value: x is not None and value.shape == x.shape)
    if x and y:
        turned = g.op("Transpose", [y.name], (y.shape[0], y.shape[2], y.shape[1]), perm=[0, 2, 1])
        g.op("MatMul", [x.name, turned], (x.shape[0], x.shape[1], x.shape[1]))


def softmax_in_pieces(g: Graph, x: str) -> str:
    last = g.numbers(-1)
    high = g.op("ReduceMax", [x, last], None, keepdims=1)
    e = g.op("Exp", [g.op("Sub", [x, high], None)], None)
    return g.op("Div", [e, g.op("ReduceSum", [e, last], None, keepdims=1)], None)


def softmax(g: Graph) -> None:
    x = g.pick(lambda value: len(value.shape) >= 1)
    assert x
    if g.draw(st.booleans()):
        g.op("Softmax", [x.name], x.shape)
    else:
        g.values.append(Value(softmax_in_pieces(g, x.name), x.shape))


def attention(g: Graph) -> None:
    q = g.pick(lambda value: len(value.shape) == 3)
    k = g.pick(lambda value: q is not None and value.shape == q.shape)
    v = g.pick(lambda value: k is not None and len(value.shape) == 3 and value.shape[:2] == k.shape[:2])
    if not (q and k and v):
        return
    scores = g.op("MatMul", [q.name, g.op("Transpose", [k.name], None, perm=[0, 2, 1])], None)
    if g.draw(st.booleans()):
        scores = g.op("Mul", [scores, g.weight()], None)
    seen = g.draw(st.booleans())  # the scores are taken by others, too
    if seen:
        g.values.append(Value(scores, (q.shape[0], q.shape[1], q.shape[1])))
    p = g.op("Softmax", [scores], None) if g.draw(st.booleans()) else softmax_in_pieces(g, scores)
    g.op("MatMul", [p, v.name], v.shape)


def norm(g: Graph) -> None:
    x = g.pick(lambda value: len(value.shape) >= 1)
    assert x
    last, eps = g.numbers(-1), g.weight()
    c = x.name
    if g.draw(st.booleans()):
        c = g.op("Sub", [c, g.op("ReduceMean", [c, last], None, keepdims=1)], None)
    v = g.op("ReduceMean", [g.op("Mul", [c, c], None), last], None, keepdims=1)
    r = g.op("Sqrt", [g.op("Add", [v, eps], None)], None)
    g.op("Div", [c, r], x.shape)


def gelu(g: Graph) -> None:
    x = g.pick()
    assert x
    e = g.op("Erf", [g.op("Div", [x.name, g.weight()], None)], None)
    g.op("Mul", [g.op("Mul", [x.name, g.op("Add", [e, g.weight()], None)], None), g.weight()], x.shape)


def reduction(g: Graph) -> None:
    x = g.pick(lambda value: len(value.shape) >= 1)
    assert x
    axis, keep = g.draw(st.integers(0, len(x.shape) - 1)), g.draw(st.booleans())
    shape = (*x.shape[:axis], *((1,) if keep else ()), *x.shape[axis + 1 :])
    op = g.draw(st.sampled_from(["ReduceSum", "ReduceMax", "ReduceMean"]))
    g.op(op, [x.name, g.numbers(axis)], shape, keepdims=int(keep))


def view(g: Graph) -> None:
    x = g.pick(lambda value: len(value.shape) >= 1)
    assert x
    match g.draw(st.sampled_from(["Reshape", "Unsqueeze", "Identity", "Flatten"])):
        case "Reshape" if not any(isinstance(size, str) for size in x.shape):
            count = int(np.prod([g.size(size) for size in x.shape]))
            g.op("Reshape", [x.name, g.numbers(-1)], (count,))
        case "Unsqueeze":
            g.op("Unsqueeze", [x.name, g.numbers(0)], (1, *x.shape))
        case "Flatten" if len(x.shape) == 2:
            g.op("Flatten", [x.name], x.shape)
        case _:
            g.op("Identity", [x.name], x.shape)


def transpose(g: Graph) -> None:
    x = g.pick(lambda value: len(value.shape) >= 2)
    if x:
        order = g.draw(st.permutations(range(len(x.shape))))
        g.op("Transpose", [x.name], tuple(x.shape[i] for i in order), perm=order)


def concat(g: Graph) -> None:
    """Two or three values, perhaps one of them twice, one after another."""
    x = g.pick(lambda value: any(isinstance(size, int) for size in value.shape))
    if not x:
        return
    axis = g.draw(st.sampled_from([i for i, size in enumerate(x.shape) if isinstance(size, int)]))

    def fits(value: Value) -> bool:
        return len(value.shape) == len(x.shape) and all(
            a == b or (i == axis and isinstance(b, int))
            for i, (a, b) in enumerate(zip(x.shape, value.shape, strict=True))
        )

    parts = [x]
    for _ in range(g.draw(st.integers(1, 2))):
        y = g.pick(fits)
        assert y
        parts.append(y)
    whole = sum(g.size(part.shape[axis]) for part in parts)
    if whole < 64:
        g.op("Concat", [part.name for part in parts], (*x.shape[:axis], whole, *x.shape[axis + 1 :]), axis=axis)


def split(g: Graph) -> None:
    x = g.pick(lambda value: any(isinstance(size, int) and size > 1 for size in value.shape))
    if not x:
        return
    axis = g.draw(st.sampled_from([i for i, size in enumerate(x.shape) if isinstance(size, int) and size > 1]))
    whole = g.size(x.shape[axis])
    first = g.draw(st.integers(1, whole - 1))
    names = [g.name(), g.name()]
    g.nodes.append(helper.make_node("Split", [x.name, g.numbers(first, whole - first)], names, axis=axis))
    for name, size in zip(names, (first, whole - first), strict=True):
        g.values.append(Value(name, (*x.shape[:axis], size, *x.shape[axis + 1 :])))


def cut(g: Graph) -> None:
    x = g.pick(lambda value: any(isinstance(size, int) and size > 1 for size in value.shape))
    if not x:
        return
    axis = g.draw(st.sampled_from([i for i, size in enumerate(x.shape) if isinstance(size, int) and size > 1]))
    end = g.draw(st.integers(1, g.size(x.shape[axis]) - 1))
    g.op("Slice", [x.name, g.numbers(0), g.numbers(end), g.numbers(axis)], (*x.shape[:axis], end, *x.shape[axis + 1 :]))


def gather(g: Graph) -> None:
    x = g.pick(lambda value: len(value.shape) >= 1)
    assert x
    some = g.draw(st.lists(st.integers(0, g.size(x.shape[0]) - 1), min_size=2, max_size=9))  # also the same again
    g.op("Gather", [x.name, g.numbers(*some)], (len(some), *x.shape[1:]), axis=0)


def expand(g: Graph) -> None:
    x = g.pick(lambda value: 1 in value.shape)
    if x:
        shape = tuple(4 if size == 1 else size for size in x.shape)
        g.op("Expand", [x.name, g.numbers(*(4 if size == 1 else 1 for size in x.shape))], shape)


def quantised(g: Graph) -> None:
    """A product of what was quantised and dequantised again."""
    x = g.pick(lambda value: len(value.shape) >= 2 and isinstance(value.shape[-1], int))
    if not x:
        return
    scale, zero = g.weight(), g.name()
    g.stored.append(numpy_helper.from_array(np.zeros((), np.uint8), zero))
    q = g.op("QuantizeLinear", [x.name, scale, zero], None)
    back = g.op("DequantizeLinear", [q, scale, zero], x.shape if g.draw(st.booleans()) else None)
    w = g.name()
    g.stored.append(numpy_helper.from_array(np.zeros((g.size(x.shape[-1]), 4), np.int8), w))
    g.op("MatMul", [back, g.op("DequantizeLinear", [w, scale], None)], (*x.shape[:-1], 4))


def convolution(g: Graph) -> None:
    x = g.pick(lambda value: len(value.shape) == 3 and isinstance(value.shape[1], int))
    if x:
        weight = g.weight(4, g.size(x.shape[1]), 3)
        g.op("Conv", [x.name, weight, g.weight(4)], (x.shape[0], 4, x.shape[2]), pads=[1, 1])


def several(g: Graph, most: int) -> None:
    for _ in range(g.draw(st.integers(1, most))):
        g.draw(st.sampled_from(PLAIN))(g)


def branch(g: Graph) -> None:
    """An If whose condition is known, or an input of the model."""
    x = g.pick()
    assert x
    bodies = []
    for _ in range(2):
        body = g.inside()
        start = len(body.values)
        several(body, 3)
        some = [value for value in body.values[start:] if value.shape == x.shape]
        out = some[-1].name if some else body.op("Relu", [x.name], None)
        if g.draw(st.booleans()):
            out = body.op("Identity", [out], None)
        bodies.append(helper.make_graph(body.nodes, "b" + g.name(), [], [info(out, x.shape)], initializer=body.stored))
    cond = "cond"
    if g.draw(st.booleans()):
        cond = g.name()
        g.stored.append(numpy_helper.from_array(np.array(g.draw(st.booleans())), cond))
    g.op("If", [cond], x.shape, then_branch=bodies[0], else_branch=bodies[1])


def loop(g: Graph) -> None:
    """A state that comes out as it went in, and something that is stacked."""
    x = g.pick()
    assert x
    trips = g.draw(st.integers(1, 4))
    body = g.inside()
    state = Value(g.name(), x.shape)
    body.values.append(state)
    start = len(body.values)
    several(body, 3)
    some = [value for value in body.values[start:] if value.shape == x.shape]
    out = g.draw(st.sampled_from(some)).name if some else body.op("Exp", [state.name], None)
    if g.draw(st.booleans()):
        out = body.op("Identity", [out], None)
    on = g.name()
    body.nodes.append(helper.make_node("Identity", ["go" + on], [on]))
    outputs = [info(on, (), TensorProto.BOOL), info(out, x.shape)]
    stacked = g.draw(st.sampled_from([None, out, "own"]))
    if stacked is not None:
        stacked = body.op("Tanh", [state.name], None) if stacked == "own" else body.op("Identity", [stacked], None)
        outputs.append(info(stacked, x.shape))
    graph = helper.make_graph(
        body.nodes,
        "b" + g.name(),
        [info("i" + on, (), TensorProto.INT64), info("go" + on, (), TensorProto.BOOL), info(state.name, x.shape)],
        outputs,
        initializer=body.stored,
    )
    count, yes = g.numbers(trips), g.name()
    g.stored[-1] = numpy_helper.from_array(np.array(trips, np.int64), count)
    g.stored.append(numpy_helper.from_array(np.array(True), yes))
    names = [g.name() for _ in outputs[1:]]
    g.nodes.append(helper.make_node("Loop", [count, yes, x.name], names, name="n_" + names[0], body=graph))
    g.values.append(Value(names[0], x.shape))
    if len(names) > 1:
        g.values.append(Value(names[1], (trips, *x.shape)))


def scan(g: Graph) -> None:
    """A running sum of rows."""
    x = g.pick(lambda value: len(value.shape) >= 2)
    if not x:
        return
    row, total = Value(g.name(), x.shape[1:]), Value(g.name(), x.shape[1:])
    body = g.inside()
    body.values += [row, total]
    several(body, 2)
    out = body.op("Add", [total.name, body.op("Relu", [row.name], None)], None)
    again = body.op("Identity", [out], None) if g.draw(st.booleans()) else body.op("Exp", [out], None)
    graph = helper.make_graph(
        body.nodes,
        "b" + g.name(),
        [info(total.name, total.shape), info(row.name, row.shape)],
        [info(out, total.shape), info(again, row.shape)],
        initializer=body.stored,
    )
    start = g.op("ReduceMax", [x.name, g.numbers(0)], None, keepdims=0)
    names = [g.name(), g.name()]
    g.nodes.append(
        helper.make_node("Scan", [start, x.name], names, name="n_" + names[0], body=graph, num_scan_inputs=1)
    )
    g.values += [Value(names[0], total.shape), Value(names[1], x.shape)]


PLAIN: list[Callable[[Graph], None]] = [
    unary, chain, binary, broadcast, bias, linear, square, softmax, attention, norm, gelu, reduction, view, transpose,
    concat, split, cut, gather, expand, quantised, convolution,
]  # fmt: skip
CONTROL: list[Callable[[Graph], None]] = [branch, loop, scan]


@st.composite
def models(draw: Any, control: bool = False, symbolic: bool = False) -> onnx.ModelProto:
    """A model of up to 12 steps, some of them repeated; some of its values are outputs, others nobody reads."""
    g = Graph(draw, symbolic)
    dims: dict[str, Size] = {name: name if symbolic else size for name, size in SIZES.items()}
    inputs = []
    others = [("batch", "seq", 8), ("batch", "seq", 4), ("seq", 8), ("batch", 4, "seq"), (8,), ()]
    for shape in [("batch", "seq", 8), *draw(st.lists(st.sampled_from(others), max_size=2))]:
        value = Value(g.name(), tuple(dims[size] if isinstance(size, str) else size for size in shape))
        g.values.append(value)
        inputs.append(info(value.name, value.shape))
    inputs.append(info("cond", (), TensorProto.BOOL))
    given = len(g.values)
    steps = draw(st.lists(st.sampled_from(PLAIN + (CONTROL if control else [])), min_size=1, max_size=12))
    for _ in range(draw(st.integers(1, 2))):
        for step in steps:
            step(g)
    made = g.values[given:] or [Value(g.op("Relu", [g.values[0].name], None), g.values[0].shape)]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))
    graph = helper.make_graph(
        g.nodes, "g", inputs, [info(one.name, one.shape) for one in outputs], initializer=g.stored
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
