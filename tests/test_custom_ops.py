# Operators of the user's own: rules in Python, aliases, registries, and what happens when a rule fails.
# Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
import gc
import weakref

import models
import pytest
from onnx import helper

import macsim
from macsim import Call, Cost, Expr, Registry, Tensor

BATCH = Expr("batch")


@pytest.fixture
def registry() -> Registry:
    return Registry()


def row_of(report: macsim.Report) -> macsim.Row:
    (row,) = (row for row in report.rows if row.name == "/own")
    return row


def same(call: Call) -> Tensor:
    return call.q


def rule(infer=same, cost=None, doc=None):
    """A class with these as its static functions."""
    parts = {"infer": None if infer is None else staticmethod(infer), "__doc__": doc}
    return type("Rule", (), parts | {"cost": staticmethod(cost or (lambda call: Cost(mac=1)))})


# What a rule sees and gives -------------------------------------------------------------------------------------------


def test_shapes_in_work_out(registry: Registry) -> None:
    """The example of the documentation: sliding-window attention over [batch, 5] three times."""

    @registry.op("mylib::Window", slots="q k v")
    class WindowAttention:
        """Attention over a sliding window.

        Shapes: q, k, v are [batch, dim]. Attribute: window (positions).
        Formula: mac = 2 * batch*dim*window;
                 exp = batch*window
        Reference: https://example.org/window
        """

        @staticmethod
        def infer(call: Call) -> Tensor:
            return call.q

        @staticmethod
        def cost(call: Call) -> Cost:
            b, d = call.q.shape
            w = call.attr("window")
            return Cost(mac=2 * b * d * w, exp=b * w)

    report = macsim.count(models.custom(window=7), registry=registry)
    row = row_of(report)
    assert row.macs == 70 * BATCH
    assert row.work["exp"] == 7 * BATCH
    assert row.flops == 2 * 70 * BATCH + 7 * BATCH
    assert (row.op, row.rule, row.trust, row.because) == ("mylib::Window", "mylib::Window", "exact", "")
    assert [(t.slot, t.dtype, t.shape) for t in row.inputs] == [(slot, "f32", (BATCH, 5)) for slot in "qkv"]
    assert [(t.dtype, t.shape) for t in row.outputs] == [("f32", (BATCH, 5))]
    assert row.read == 3 * 5 * 4 * BATCH  # every input once, unless the rule says otherwise
    assert row.written == 5 * 4 * BATCH
    assert report.macs == 85 * BATCH
    assert report.bind(batch=4).macs == 340
    found = registry.find("mylib::Window")
    assert found["summary"] == "Attention over a sliding window."
    assert found["formula"] == "mac = 2 * batch*dim*window; exp = batch*window"
    assert found["reference"] == "https://example.org/window"
    assert WindowAttention.infer is not None  # the decorator gives the class back


def test_everything_that_a_call_has(registry: Registry) -> None:
    seen = {}

    def infer(call: Call) -> tuple:
        seen["values"] = call.values("k")
        return call.q, Tensor("i64", (call.symbol("n", "how many are left"), 2))

    def cost(call: Call) -> Cost:
        seen.update(
            inputs=[t and t.shape for t in call.inputs],
            output=call.output(1).shape,
            absent=(call.output(2), call.v),
            outputs=call.outputs,
            op=(call.domain, call.op, call.version, call.name),
            attrs=[call.attr(name) for name in ("i", "f", "s", "li", "lf", "ls")],
            default=call.attr("none", None),
            tensor=call.attr("t"),
        )
        return Cost(mac=1)

    registry.op("mylib::Odd", slots="q #k v")(rule(infer, cost))
    node = helper.make_node(
        "Odd",
        ["x", "two"],
        ["a", "b"],
        name="/own",
        domain="mylib",
        i=3,
        f=0.5,
        s="text",
        li=[1, 2],
        lf=[0.5, 1.5],
        ls=["a", "b"],
        t=helper.make_tensor("t", 7, [2], [1, 2]),
    )
    proto = models.model(
        [node],
        [models.feed("x", "batch", 3)],
        [helper.make_empty_tensor_value_info(name) for name in "ab"],
        [helper.make_tensor("two", 7, [2], [4, 5])],
        ["mylib"],
    )
    report = macsim.count(proto, registry=registry)
    row = row_of(report)
    assert row.macs == 1, report.diagnostics
    assert seen["values"] == [4, 5]
    assert seen["inputs"] == [(BATCH, 3), (2,)]
    assert seen["output"] == (Expr("`/own.n`"), 2)
    assert seen["absent"] == (None, None)
    assert seen["outputs"] == 2
    assert seen["op"] == ("mylib", "Odd", 1, "/own")
    assert seen["attrs"] == [3, 0.5, "text", [1, 2], [0.5, 1.5], ["a", "b"]]
    assert seen["default"] is None
    assert (seen["tensor"].dtype, seen["tensor"].shape) == ("i64", (2,))
    assert row.read == 12 * BATCH  # '#k' is a number for the host: no traffic
    assert [(symbol.name, symbol.why) for symbol in report.unbound if symbol.name != "batch"] == [
        ("/own.n", "how many are left")
    ]


def test_a_slot_that_repeats(registry: Registry) -> None:
    registry.op("mylib::Window", slots="xs...")(
        rule(lambda call: call.xs[0], lambda call: Cost(mac=sum(t.shape[0] * t.shape[1] for t in call.xs)))
    )
    assert row_of(macsim.count(models.custom(), registry=registry)).macs == 15 * BATCH


def test_everything_that_a_cost_says(registry: Registry) -> None:
    cost = Cost(
        mac=5, convert=7, read=11, weights=13, written=17, trust="bound", because="at most that", compute="f16",
        lhs="i8", rhs="i4", accumulate="i32",
    )  # fmt: skip
    registry.op("mylib::Window", slots="q k v")(rule(cost=lambda call: cost))
    report = macsim.count(models.custom(), registry=registry)
    row = row_of(report)
    assert {kind: amount for kind, amount in row.work.items() if amount} == {"mac": 5, "convert": 7}
    assert (row.read, row.weights, row.written) == (11, 13, 17)
    assert (row.trust, row.because, row.compute, row.mac_dtypes) == (
        "bound",
        "at most that",
        "f16",
        ("i8", "i4", "i32"),
    )
    assert (row.flops, row.int_ops) == (0, 10)
    assert report.trust == "bound"
    assert report.total.sign("macs") == "<="
    assert report.total.sign("exp") == ""


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "needs a reason"),
        ({"mac": 0}, "needs a reason"),
        ({"mac": 1, "trust": "estimate"}, "needs a reason"),
        ({"mac": 1, "trust": "sure"}, "trust is"),
        ({"mac": 1.5}, "must be exact"),
        ({"mac": "n"}, "takes an int or an Expr"),
        ({"macs": 1}, "the kinds of work are mac add"),
        ({"mac": 1, "compute": "f31"}, "not a dtype"),
    ],
)
def test_a_cost_that_cannot_be(wrong: dict, says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        Cost(**wrong)
    with pytest.raises(TypeError):
        Cost(1)


def test_the_file_may_state_the_outputs(registry: Registry) -> None:
    registry.op("mylib::Window", slots="q k v")(rule(None, lambda call: Cost(mac=call.output().shape[0])))
    proto = models.custom()
    proto.graph.output[0].CopyFrom(models.feed("z0", "batch", 9))
    row = row_of(macsim.count(proto, registry=registry))
    assert row.outputs[0].shape == (BATCH, 9)
    assert row.macs == BATCH


def test_no_work_with_a_reason(registry: Registry) -> None:
    free = Cost(read=0, weights=0, written=0, because="a view: no data moved")
    registry.op("mylib::Window", slots="q k v")(rule(cost=lambda call: free))
    row = row_of(macsim.count(models.custom(), registry=registry, strict=True))
    assert (row.macs, row.read, row.written, row.because) == (0, 0, 0, "a view: no data moved")


# Failures -------------------------------------------------------------------------------------------------------------


def failing(call: Call):
    raise ZeroDivisionError("no window")


@pytest.mark.parametrize(
    ("infer", "cost", "says"),
    [
        (failing, None, "infer of mylib::Window raised ZeroDivisionError: no window"),
        (same, failing, "cost of mylib::Window raised ZeroDivisionError: no window"),
        (lambda call: None, None, "must return a Tensor"),
        (lambda call: (), None, "gave 0 of the node's 1 outputs"),
        (lambda call: (None, 3), None, "must return a Tensor"),
        (same, lambda call: 12, "must return a Cost, not int"),
        (same, lambda call: Cost(), "needs a reason"),
        (same, lambda call: Cost(mac=call.nothing.size), "'nothing' is neither a slot"),
        (same, lambda call: Cost(mac=call.attr("window")), "no attribute 'window'"),
        (same, lambda call: Cost(mac=int(call.q.shape[0])), "batch has no integer value until it is bound"),
        (same, lambda call: Cost(mac=1 if call.q.shape[0] > 4 else 2), "sign"),
        (same, lambda call: Cost(mac=1).other, "other"),
    ],
)
def test_an_exception_is_a_remark_on_that_node(registry: Registry, infer, cost, says: str) -> None:
    registry.op("mylib::Window", slots="q k v")(rule(infer, cost))
    report = macsim.count(models.custom(), registry=registry)
    (remark,) = (d for d in report.diagnostics if d.code == "MS501")
    assert says in remark.text
    assert "/own" in remark.where
    assert remark.hint
    assert row_of(report).trust == ("unknown" if infer is same else row_of(report).trust)
    assert report.rows[0].macs == 15 * BATCH  # the others stand
    assert report.rows[0].trust == "exact"


def test_the_remark_names_the_line(registry: Registry) -> None:
    registry.op("mylib::Window", slots="q k v")(rule(cost=failing))
    (remark,) = macsim.count(models.custom(), registry=registry).diagnostics
    assert "test_custom_ops.py, line" in remark.text
    assert "in failing" in remark.text
    assert 'raise ZeroDivisionError("no window")' in remark.text


def test_strict_names_the_rule_that_failed(registry: Registry) -> None:
    registry.op("mylib::Window", slots="q k v")(rule(cost=failing))
    with pytest.raises(macsim.UnknownWorkError, match="mylib::Window"):
        macsim.count(models.custom(), registry=registry, strict=True)


def test_an_unknown_rank_is_no_fault_of_the_rule(registry: Registry) -> None:
    """The rule unpacks a shape that nobody knows: the node is unknown, and the remark says why."""
    registry.op("mylib::Window", slots="q k v")(rule(cost=lambda call: Cost(mac=call.q.shape[1])))
    proto = models.custom()
    proto.graph.node[0].op_type = "Nobody"
    proto.graph.node[0].domain = "mylib"
    report = macsim.count(proto, registry=registry)
    assert row_of(report).trust == "unknown"
    assert "MS501" not in {d.code for d in report.diagnostics}
    assert "MS205" in {d.code for d in report.diagnostics}


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_not_swallowed(registry: Registry, interrupt: type) -> None:
    def stop(call: Call) -> Cost:
        raise interrupt("enough")

    registry.op("mylib::Window", slots="q k v")(rule(cost=stop))
    with pytest.raises(interrupt, match="enough"):
        macsim.count(models.custom(), registry=registry)
    assert macsim.count(models.linear(), registry=registry).macs == 15 * BATCH


def test_a_call_ends_with_its_rule(registry: Registry) -> None:
    kept = []

    def cost(call: Call) -> Cost:
        kept.append(call)
        return Cost(mac=1)

    registry.op("mylib::Window", slots="q k v")(rule(cost=cost))
    macsim.count(models.custom(), registry=registry)
    for use in (lambda c: c.q, lambda c: c.inputs, lambda c: c.attr("x", 1), lambda c: c.output(), lambda c: c.name):
        with pytest.raises(ValueError, match="only while the rule"):
            use(kept[0])


def test_symbols_are_for_infer(registry: Registry) -> None:
    registry.op("mylib::Window", slots="q k v")(rule(cost=lambda call: Cost(mac=call.symbol("n", "some"))))
    (remark,) = macsim.count(models.custom(), registry=registry).diagnostics
    assert "symbol() is for infer" in remark.text


# Registries -----------------------------------------------------------------------------------------------------------


def test_a_registry_keeps_its_rules_to_itself(registry: Registry) -> None:
    registry.op("mylib::Window", slots="q k v")(rule())
    assert "mylib::Window" in registry
    assert "mylib::Window" not in macsim.rules
    assert macsim.count(models.custom()).total.unknown == 1
    assert macsim.count(models.custom(), registry=registry).total.unknown == 0
    assert "Conv" in Registry()
    assert "onnx::Conv" in Registry()
    assert 3 not in Registry()


def test_the_registry_of_everybody() -> None:
    @macsim.op("tests.everybody::Window", slots="q k v")
    class Everybody:
        infer = None

        @staticmethod
        def cost(call: Call) -> Cost:
            return Cost(mac=21)

    assert row_of(macsim.count(models.custom(domain="tests.everybody"))).macs == 21


def test_an_alias_behaves_as_the_other(registry: Registry) -> None:
    proto = models.linear()
    proto.graph.node[0].op_type = "Product"
    proto.graph.node[0].domain = "com.acme"
    proto.opset_import.append(helper.make_opsetid("com.acme", 3))
    assert macsim.count(proto, registry=registry).trust == "unknown"
    macsim.alias("com.acme::Product", like="onnx::MatMul", registry=registry)
    report = macsim.count(proto, registry=registry, strict=True)
    assert report.macs == 15 * BATCH
    assert (report.rows[0].op, report.rows[0].rule) == ("com.acme::Product", "matmul")
    with pytest.raises(macsim.RequestError, match=r"onnx::Conv"):
        registry.alias("com.acme::Other", like="onnx::Cnov")
    with pytest.raises(macsim.RequestError, match="dialect::Name"):
        registry.alias("Other", like="onnx::Conv")


def test_a_built_in_rule_is_replaced_only_on_request(registry: Registry) -> None:
    double = rule(lambda call: Tensor("f32", (call.a.shape[0], 5)), lambda call: Cost(mac=2))
    with pytest.raises(macsim.RequestError, match=r"already belongs to rule 'matmul'"):
        registry.op("onnx::MatMul", slots="a b")(double)
    registry.op("onnx::MatMul", slots="a b", replace=True)(double)
    assert macsim.count(models.linear(), registry=registry).macs == 2
    assert macsim.count(models.linear()).macs == 15 * BATCH


def test_a_rule_comes_before_a_function_of_the_model(registry: Registry) -> None:
    """The body counts 15 macs a sample; who registers a rule for the function's name knows better."""
    proto = models.model(
        [helper.make_node("Layer", ["x", "w"], ["y"], name="/own", domain="mylib")],
        [models.feed("x", "batch", 3)],
        [helper.make_empty_tensor_value_info("y")],
        [models.weight("w", 3, 5)],
        ["mylib"],
    )
    body = [helper.make_node("MatMul", ["a", "b"], ["c"])]
    opsets = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("mylib", "Layer", ["a", "b"], ["c"], body, opsets))
    assert macsim.count(proto, registry=registry).macs == 15 * BATCH
    registry.op("mylib::Layer", slots="a b")(
        rule(lambda call: Tensor("f32", (call.a.shape[0], 5)), lambda call: Cost(mac=2))
    )
    report = macsim.count(proto, registry=registry)
    assert (report.macs, row_of(report).rule) == (2, "mylib::Layer")


def test_a_cell_may_be_run_again(registry: Registry) -> None:
    rules = len(registry)
    for macs in (1, 2):
        registry.op("mylib::Window", slots="q k v")(rule(cost=lambda call, macs=macs: Cost(mac=macs)))
    assert row_of(macsim.count(models.custom(), registry=registry)).macs == 2
    assert len(registry) == rules + 1


def test_versions(registry: Registry) -> None:
    for since, until, macs in ((1, 1, 10), (2, None, 20)):
        registry.op("mylib::Window", slots="q k v", since=since, until=until)(
            rule(cost=lambda call, macs=macs: Cost(mac=macs))
        )
    for version, macs in ((1, 10), (2, 20), (9, 20)):
        proto = models.custom()
        proto.opset_import[1].version = version
        assert row_of(macsim.count(proto, registry=registry)).macs == macs


def test_a_copy_is_apart(registry: Registry) -> None:
    registry.op("mylib::Window", slots="q k v")(rule())
    other = registry.copy()
    other.alias("com.acme::Product", like="onnx::MatMul")
    assert "mylib::Window" in other
    assert "com.acme::Product" not in registry


@pytest.mark.parametrize(
    ("names", "slots", "klass", "says"),
    [
        ((), "q", rule(), "needs the name of an operator"),
        (("Window",), "q", rule(), "dialect::Name"),
        (("a::B",), "attr", rule(), "'attr' cannot be a slot: it is taken"),
        (("a::B",), "q 2", rule(), "'2' cannot be a slot"),
        (("a::B",), "q", type("NoCost", (), {"infer": None}), "needs a static function cost"),
        (("a::B",), "q", type("Odd", (), {"infer": 3, "cost": same}), "needs a static function cost"),
        (("a::B",), "q", type("Odd", (), {"infer": None, "cost": same, "gradient": 3}), "gradient is a static"),
    ],
)
def test_what_cannot_be_registered(registry: Registry, names, slots, klass, says) -> None:
    with pytest.raises(macsim.RequestError, match=says):
        registry.op(*names, slots=slots)(klass)


# Gradients ------------------------------------------------------------------------------------------------------------


def trained(registry: Registry, gradient=..., **more) -> macsim.Report:
    """Count a step of y = x @ w (15 a row), then the own operator of three times y."""
    klass = rule(cost=lambda call: Cost(mac=call.q.size))
    if gradient is not ...:
        klass.gradient = gradient if gradient is None else staticmethod(gradient)
    registry.op("mylib::Window", slots="q k v", replace=True)(klass)
    return macsim.count(models.custom(**more), registry=registry, training=True).training


def test_a_gradient(registry: Registry) -> None:
    """The rule is asked for what is needed; what it keeps is read and held, as is the gradient of its output."""
    seen = {}

    def gradient(call: Call) -> macsim.Gradient:
        seen["needs"] = [call.needs(slot) for slot in "qkv"]
        seen["shape"] = call.output().shape
        b, d = call.q.shape
        return macsim.Gradient(
            mac=2 * b * d, add=7, keep=["q", "k"], keep_outputs=[0], keep_bytes=3 * b, none=["v"], again=Cost(exp=b * d)
        )

    got = trained(registry, gradient)
    below, own = got.backward.rows
    assert seen == {"needs": [True, True, True], "shape": (BATCH, 5)}
    assert (own.macs, own.trust, got.unknown) == (10 * BATCH, "exact", {})
    # y is needed twice, by q and by k: their gradients are added
    assert own.work["add"] == 7 + 5 * BATCH
    assert got.recompute.work["exp"] == 5 * BATCH
    assert below.macs == 15 * BATCH
    # Kept: x for the product, y once, the result, the mask
    assert got.memory.saved == (3 + 5 + 5) * 4 * BATCH + 3 * BATCH
    # Reads dz, y once, z and the mask, writes two gradients; then they are added
    assert own.read == (5 + 5 + 5) * 4 * BATCH + 3 * BATCH + 2 * 20 * BATCH
    assert own.written == 2 * 20 * BATCH + 20 * BATCH


def test_no_gradient(registry: Registry) -> None:
    """Without one it is unknown, and what comes before it is counted on; None stops there."""
    unknown = trained(registry)
    assert (unknown.unknown, unknown.backward.macs) == ({"mylib::Window": 1}, 15 * BATCH)
    constant = trained(registry, None)
    assert (constant.unknown, constant.backward.macs, constant.parameters) == ({}, 0, [])
    assert registry.find("mylib::Window")["gradients"]["mylib::Window"].startswith("none: its rule says")


@pytest.mark.parametrize(
    ("gradient", "says"),
    [
        (lambda call: Cost(mac=1), "must return a Gradient, not Cost"),
        (lambda call: macsim.Gradient(mac=1, keep=["p"]), "'p' is not a slot of mylib::Window"),
        (lambda call: 1 // 0, "ZeroDivisionError"),
        (lambda call: macsim.Gradient(), "needs a reason"),
        (lambda call: macsim.Gradient(mac=1.5), "must be exact"),
    ],
)
def test_a_gradient_that_fails(registry: Registry, gradient, says) -> None:
    got = trained(registry, gradient)
    (row,) = (row for row in got.backward.rows if row.trust == "unknown")
    assert says in row.because
    assert (got.unknown, got.backward.macs) == ({"mylib::Window": 1}, 15 * BATCH)


def test_needs_is_for_gradients(registry: Registry) -> None:
    registry.op("mylib::Window", slots="q k v")(rule(cost=lambda call: Cost(mac=call.needs("q"))))
    assert "needs() is for gradient" in macsim.count(models.custom(), registry=registry).diagnostics[0].text


def test_a_report_outlives_its_registry() -> None:
    registry = Registry()
    cost = Cost(mac=1, trust="estimate", because="because of " + "this" * 3)
    klass = rule(cost=lambda call: cost)
    registry.op("mylib::Window", slots="q k v")(klass)
    report = macsim.count(models.custom(), registry=registry)
    gone = weakref.ref(klass)
    del registry, klass
    gc.collect()
    assert row_of(report).because == "because of thisthisthis"
    assert report.bind(batch=1).by("rule")["mylib::Window"].macs == 1
    del report
    gc.collect()
    assert gone() is None  # and nothing is kept for ever
