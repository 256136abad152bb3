// The ONNX reader on good models: each part of a model, in all forms that it may have.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/onnx.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "check.hpp"
#include "onnx_writer.hpp"

using namespace macsim;
using namespace writer;

namespace {

/// The model, which keeps the bytes.
ModelPtr read(const Bytes& content) {
  const auto kept = std::make_shared<const Bytes>(content);
  auto model = read_onnx(*kept, kept);
  if (!model) throw std::runtime_error(std::string(model.status().text()));
  return *model;
}

/// The value of that name.
const Value& value(const Graph& graph, std::string_view name) {
  static const Value none;
  for (const Value& v : graph.values) {
    if (v.name == name) return v;
  }
  check::fail(__FILE__, __LINE__, "no value " + std::string(name));
  return none;
}

std::string type_text(const Graph& graph, std::string_view name) {
  const Value& v = value(graph, name);
  if (v.claim == kNone) return "unclaimed";
  const Type& type = graph.claims[v.claim];
  std::string text(name_of(type.dtype));
  if (!type.ranked) return text + "[*]";
  text += "[";
  for (std::size_t i = 0; i < type.shape.size(); ++i) text += (i == 0 ? "" : ",") + type.shape[i].str();
  return text + "]";
}

const Attr& attr(const Model& model, const Node& node, std::string_view name) {
  static const Attr none{};
  for (std::uint32_t i = 0; i < node.attrs; ++i) {
    if (model.attrs[node.first_attr + i].name == name) return model.attrs[node.first_attr + i];
  }
  check::fail(__FILE__, __LINE__, "no attribute " + std::string(name));
  return none;
}

const Bytes kX = input(floats("x", dim(1) + dim(4)));
const Bytes kY = output(floats("y", dim(1) + dim(4)));

/// A model of these nodes from x to y.
Bytes simple(const Bytes& nodes) { return model(nodes + kX + kY); }

std::string names_of(const Graph& graph) {
  std::string text;
  for (const Node& node : graph.nodes) text += std::string(node.name) + " ";
  return text;
}

}  // namespace

TEST("a small model, whole") {
  const ModelPtr m = read(number(1, 8) + bytes(2, "maker") + bytes(3, "1.2") +
                          bytes(7, node("Gemm", {"x", "w", ""}, {"h"}, node_name("fc") + integer_attr("transB", 1)) +
                                       node("Relu", {"h"}, {"y"}) + bytes(2, "main") +
                                       initializer(tensor("w", 1, {4, 4}, raw(Bytes(64, 'a')))) + kX + kY) +
                          opset("", 17) + opset("ai.onnx.ml", 3));
  CHECK_EQ(m->ir_version, 8);
  CHECK_EQ(m->producer, "maker");
  CHECK_EQ(m->producer_version, "1.2");
  CHECK_EQ(m->opsets.size(), 2U);
  CHECK_EQ(m->node_total, 2U);
  CHECK(m->notes.empty());
  const Graph& g = m->bodies[0];
  CHECK_EQ(g.name, "main");
  CHECK_EQ(g.parent, kNone);
  CHECK_EQ(g.nodes.size(), 2U);
  const Node& fc = g.nodes[0];
  CHECK_EQ(fc.name, "fc");
  CHECK_EQ(m->ops[fc.op].full(), "onnx::Gemm");
  CHECK_EQ(m->ops[fc.op].version, 17);
  CHECK_EQ(fc.inputs, 3U);
  CHECK_EQ(g.inputs_of(fc)[2], kNone);
  CHECK_EQ(g.values[g.inputs_of(fc)[1]].name, "w");
  CHECK_EQ(g.values[g.outputs_of(fc)[0]].name, "h");
  CHECK_EQ(value(g, "h").producer, 0U);
  CHECK_EQ(value(g, "y").producer, 1U);
  CHECK(value(g, "x").role == Role::input && value(g, "x").producer == kNone);
  CHECK(value(g, "w").role == Role::weight);
  CHECK_EQ(attr(*m, fc, "transB").integer, 1);
  CHECK_EQ(g.inputs.size(), 1U);
  CHECK_EQ(g.values[g.outputs[0]].name, "y");
  const Stored& w = g.stored[value(g, "w").stored];
  CHECK(w.type.dtype == DType::f32 && w.type.shape == (Shape{4, 4}));
  CHECK(w.encoding == Encoding::raw && !w.external);
  CHECK_EQ(w.bytes.size(), 64U);
}

TEST("attributes of every kind") {
  const Bytes sub = node("Identity", {"x"}, {"z"}) + output(floats("z", dim(4)));
  const Bytes attrs =
      integer_attr("i", -7) + bytes(5, bytes(1, "f") + real(2, 0.5F) + number(20, 1)) +
      bytes(5, bytes(1, "s") + bytes(4, "text") + number(20, 3)) + integers_attr("is", {1, -2, 300}) +
      bytes(5, bytes(1, "packed") + bytes(8, varint(5) + varint(600)) + number(20, 7)) +
      bytes(5, bytes(1, "fs") + real(7, 1.5F) + real(7, -2.F) + number(20, 6)) +
      bytes(5, bytes(1, "fpacked") + bytes(7, little_endian(3.F) + little_endian(4.F)) + number(20, 6)) +
      bytes(5, bytes(1, "ss") + bytes(9, "a") + bytes(9, "") + number(20, 8)) +
      bytes(5, bytes(1, "t") + bytes(5, tensor("", 7, {2}, raw(Bytes(16, '\0')))) + number(20, 4)) +
      body_attr("g", sub) + bytes(5, bytes(1, "gs") + bytes(11, sub) + bytes(11, sub) + number(20, 10)) +
      bytes(5, bytes(1, "tp") + bytes(14, tensor_type(6, dim(3))) + number(20, 13)) +
      bytes(5, bytes(1, "none") + number(20, 7)) + bytes(5, bytes(1, "untyped") + number(3, 9)) +
      bytes(5, bytes(1, "zero") + number(20, 2));
  const ModelPtr m = read(simple(node("Custom", {"x"}, {"y"}, attrs)));
  const Node& n = m->bodies[0].nodes[0];
  using Kind = Attr::Kind;
  CHECK(attr(*m, n, "i").kind == Kind::integer && attr(*m, n, "i").integer == -7);
  CHECK(attr(*m, n, "f").kind == Kind::real && attr(*m, n, "f").real == 0.5);
  CHECK(attr(*m, n, "s").kind == Kind::text && attr(*m, n, "s").text == "text");
  const Attr& is = attr(*m, n, "is");
  CHECK(is.kind == Kind::integers && is.count == 3 && m->integers[is.first + 1] == -2 &&
        m->integers[is.first + 2] == 300);
  const Attr& packed = attr(*m, n, "packed");
  CHECK(packed.kind == Kind::integers && packed.count == 2 && m->integers[packed.first + 1] == 600);
  const Attr& fs = attr(*m, n, "fs");
  CHECK(fs.kind == Kind::reals && fs.count == 2 && m->reals[fs.first] == 1.5 && m->reals[fs.first + 1] == -2);
  const Attr& fpacked = attr(*m, n, "fpacked");
  CHECK(fpacked.kind == Kind::reals && fpacked.count == 2 && m->reals[fpacked.first + 1] == 4);
  const Attr& ss = attr(*m, n, "ss");
  CHECK(ss.kind == Kind::texts && ss.count == 2 && m->texts[ss.first] == "a" && m->texts[ss.first + 1].empty());
  const Attr& t = attr(*m, n, "t");
  CHECK(t.kind == Kind::tensor && m->tensors[t.first].type.shape == Shape{2});
  CHECK(attr(*m, n, "g").kind == Kind::body && m->bodies[attr(*m, n, "g").first].nodes.size() == 1);
  const Attr& gs = attr(*m, n, "gs");
  CHECK(gs.kind == Kind::bodies && gs.count == 2 && m->bodies[m->body_lists[gs.first + 1]].nodes.size() == 1);
  CHECK(attr(*m, n, "tp").kind == Kind::type && m->types[attr(*m, n, "tp").first].dtype == DType::i32);
  CHECK(attr(*m, n, "none").kind == Kind::integers && attr(*m, n, "none").count == 0);
  CHECK(attr(*m, n, "untyped").kind == Kind::integer && attr(*m, n, "untyped").integer == 9);
  CHECK(attr(*m, n, "zero").kind == Kind::integer && attr(*m, n, "zero").integer == 0);
}

TEST("an attribute whose type names another list has none") {
  const Bytes odd = bytes(5, bytes(1, "odd") + real(7, 1.F) + number(20, 7));
  const ModelPtr m = read(simple(node("Custom", {"x"}, {"y"}, odd)));
  CHECK(m->attrs[0].kind == Attr::Kind::integers && m->attrs[0].count == 0);
}

TEST("types: numbers, names, expressions, nameless") {
  const Bytes dims = dim(3) + dim("batch") + dim("2*seq") + no_dim() + dim(-1) + dim("") + dim("seq-len") + dim("a b") +
                     dim("?") + dim(0);
  const ModelPtr m = read(model(node("Custom", {"in"}, {"out", "mid"}) + input(floats("in", dims)) +
                                output(floats("out", dims)) + info(floats("mid", dim("batch")))));
  const Graph& g = m->bodies[0];
  const Type& in = g.claims[value(g, "in").claim];
  CHECK(in.shape[0].is(3));
  CHECK(in.shape[1] == Expr::symbol("batch"));
  CHECK(in.shape[2] == 2 * Expr::symbol("seq"));
  CHECK(in.shape[3] == Expr::symbol("in.3"));
  CHECK(in.shape[4] == Expr::symbol("in.4"));
  CHECK(in.shape[5] == Expr::symbol("in.5"));
  CHECK(in.shape[6] == Expr::symbol("seq-len"));
  CHECK(in.shape[7] == Expr::symbol("a b"));
  CHECK(in.shape[8] == Expr::symbol("in.8"));
  CHECK(in.shape[9].is(0));
  const Type& out = g.claims[value(g, "out").claim];
  for (const std::size_t nameless : {3U, 4U, 5U, 8U}) CHECK(!out.shape[nameless].defined());
  CHECK(out.shape[1] == in.shape[1]);
  CHECK_EQ(type_text(g, "mid"), "f32[batch]");
}

TEST("types: sequences, optionals, maps, sparse, without a shape, opaque") {
  const Bytes element = tensor_type(1, no_dim());
  const ModelPtr m = read(model(node("Custom", {"s", "o", "m", "p", "u", "q", "n"}, {"y"}) +
                                input(value_info("s", bytes(4, bytes(1, element)))) +
                                input(value_info("o", bytes(9, bytes(1, bytes(4, bytes(1, element)))))) +
                                input(value_info("m", bytes(5, number(1, 8) + bytes(2, element)))) +
                                input(value_info("p", bytes(8, number(1, 11) + bytes(2, dim(9))))) +
                                input(value_info("u", bytes(1, number(1, 7)))) +
                                input(value_info("q", bytes(7, bytes(1, "d")))) + input(bytes(1, "n")) + kY));
  const Graph& g = m->bodies[0];
  const auto claim = [&](std::string_view name) -> const Type& { return g.claims[value(g, name).claim]; };
  CHECK(claim("s").kind == Kind::sequence && claim("s").dtype == DType::f32);
  CHECK(claim("s").element->ranked && !claim("s").element->shape[0].defined());
  CHECK(claim("o").kind == Kind::optional && claim("o").element->kind == Kind::sequence);
  CHECK(claim("m").kind == Kind::map && claim("m").dtype == DType::f32);
  CHECK(claim("p").kind == Kind::sparse && claim("p").dtype == DType::f64 && claim("p").shape[0].is(9));
  CHECK(claim("u").kind == Kind::tensor && !claim("u").ranked && claim("u").dtype == DType::i64);
  CHECK(claim("q").dtype == DType::unknown && !claim("q").ranked);
  CHECK_EQ(value(g, "n").claim, kNone);
}

TEST("a claim with a rank stays, one without is replaced") {
  const Bytes bare = value_info("y", bytes(1, number(1, 1)));
  const ModelPtr first = read(model(node("A", {"x"}, {"y"}) + kX + kY + info(floats("y", dim(9)))));
  CHECK_EQ(type_text(first->bodies[0], "y"), "f32[1,4]");
  const ModelPtr second = read(model(node("A", {"x"}, {"y"}) + kX + output(bare) + info(floats("y", dim(9)))));
  CHECK_EQ(type_text(second->bodies[0], "y"), "f32[9]");
  // A stale value_info is nobody's.
  const ModelPtr stale = read(model(node("A", {"x"}, {"y"}) + kX + kY + info(floats("gone", dim(9)))));
  CHECK_EQ(stale->bodies[0].values.size(), 2U);
}

TEST("initializers: inputs with a default, given twice, external, sparse, all encodings") {
  const Bytes external =
      tensor("ext", 1, {1000, 1000}, bytes(13, bytes(1, "location") + bytes(2, "w.bin")) + number(14, 1));
  const Bytes sparse = bytes(1, tensor("sp", 1, {2}, raw(Bytes(8, 'a')))) +
                       bytes(2, tensor("", 7, {2}, raw(Bytes(16, '\0')))) + number(3, 10) + number(3, 20);
  const ModelPtr m = read(model(node("Custom", {"x", "w", "ext", "sp", "i", "u", "f", "d", "one"}, {"y"}) +
                                initializer(tensor("w", 1, {2}, raw(Bytes(8, 'a')))) +
                                initializer(tensor("w", 1, {4}, raw(Bytes(16, 'a')))) + initializer(external) +
                                initializer(tensor("i", 7, {2}, bytes(7, varint(1) + varint(2)))) +
                                initializer(tensor("u", 13, {1}, bytes(11, varint(1)))) +
                                initializer(tensor("f", 1, {1}, bytes(4, little_endian(1.F)))) +
                                initializer(tensor("d", 11, {1}, bytes(10, little_endian(1.)))) +
                                initializer(tensor("one", 7, {2}, number(7, 1) + number(7, 2))) + kX +
                                input(floats("w", dim(4))) + kY + bytes(15, sparse)));
  const Graph& g = m->bodies[0];
  const auto stored = [&](std::string_view name) -> const Stored& { return g.stored[value(g, name).stored]; };
  CHECK_EQ(g.inputs.size(), 2U);
  CHECK(value(g, "w").role == Role::weight && value(g, "w").claim != kNone);
  CHECK(stored("w").type.shape[0].is(4));  // the last of two
  CHECK(stored("ext").external && stored("ext").encoding == Encoding::none);
  CHECK(stored("ext").type.shape == (Shape{1000, 1000}));
  CHECK(stored("sp").type.shape == (Shape{10, 20}) && stored("sp").nonzeros == 2);
  CHECK(stored("sp").encoding == Encoding::sparse && value(g, "sp").role == Role::weight);
  CHECK(stored("i").encoding == Encoding::varints && stored("i").bytes.size() == 2);
  CHECK(stored("u").encoding == Encoding::varints);
  CHECK(stored("f").encoding == Encoding::fixed32);
  CHECK(stored("d").encoding == Encoding::fixed64);
  CHECK(stored("one").encoding == Encoding::unpacked);
}

TEST("Constant in all its forms") {
  const auto constant = [](std::string_view out, const Bytes& a) { return node("Constant", {}, {out}, bytes(5, a)); };
  const ModelPtr m = read(
      model(constant("v", bytes(1, "value") + bytes(5, tensor("", 7, {3}, raw(Bytes(24, '\0')))) + number(20, 4)) +
            constant("i", bytes(1, "value_int") + number(3, 5) + number(20, 2)) +
            constant("is", bytes(1, "value_ints") + number(8, 5) + number(8, 6) + number(20, 7)) +
            constant("f", bytes(1, "value_float") + real(2, 5) + number(20, 1)) +
            constant("fs", bytes(1, "value_floats") + real(7, 5) + number(20, 6)) +
            constant("s", bytes(1, "value_string") + bytes(4, "t") + number(20, 3)) +
            constant("ss", bytes(1, "value_strings") + bytes(9, "t") + bytes(9, "u") + number(20, 8)) +
            constant("sp", bytes(1, "sparse_value") +
                               bytes(22, bytes(1, tensor("", 1, {1}, raw("abcd"))) + number(3, 7)) + number(20, 11)) +
            node("Custom", {"v", "i", "is", "f", "fs", "s", "ss", "sp"}, {"y"}) + kY));
  const Graph& g = m->bodies[0];
  const auto text = [&](std::string_view name) {
    const Value& v = value(g, name);
    if (v.stored == kNone || v.role != Role::weight || v.producer == kNone) return std::string("not stored");
    const Type& type = g.stored[v.stored].type;
    std::string shape(name_of(type.dtype));
    for (const Dim& d : type.shape) shape += " " + d.str();
    return shape;
  };
  CHECK_EQ(text("v"), "i64 3");
  CHECK_EQ(text("i"), "i64");
  CHECK_EQ(text("is"), "i64 2");
  CHECK_EQ(text("f"), "f32");
  CHECK_EQ(text("fs"), "f32 1");
  CHECK_EQ(text("s"), "string");
  CHECK_EQ(text("ss"), "string 2");
  CHECK_EQ(text("sp"), "f32 7");
}

TEST("operators are one entry for each name and version") {
  const Bytes rest = opset("", 17) + opset("com.microsoft", 1) + opset("ai.onnx.ml", 3) + opset("unused", 9);
  const ModelPtr m = read(model(node("Relu", {"x"}, {"a"}) + node("Relu", {"a"}, {"b"}) +
                                    node("Relu", {"b"}, {"c"}, node_domain("ai.onnx")) +
                                    node("Relu", {"c"}, {"d"}, node_domain("com.microsoft")) +
                                    node("Scaler", {"d"}, {"y"}, node_domain("ai.onnx.ml")) + kX + kY,
                                rest));
  CHECK_EQ(m->ops.size(), 3U);
  CHECK_EQ(m->ops[0].full(), "onnx::Relu");
  CHECK_EQ(m->ops[1].full(), "com.microsoft::Relu");
  CHECK_EQ(m->ops[1].version, 1);
  CHECK_EQ(m->ops[2].version, 3);
  CHECK(m->notes.empty());
}

TEST("an operator set that is newer than the rules") {
  const Bytes graph = node("Relu", {"x"}, {"y"}) + kX + kY;
  CHECK(read(model(graph, opset("", 28), 13))->notes.empty());
  const ModelPtr newer = read(model(graph, opset("", 29), 13));
  CHECK_EQ(newer->ops[0].version, 29);
  CHECK_EQ(newer->notes.size(), 1U);
  CHECK(newer->notes[0].code == Code::newer_opset && newer->notes[0].text.find("29") != std::string::npos);
}

TEST("operator sets that are not imported") {
  const Bytes graph = node("Relu", {"x"}, {"a"}) + node("Foo", {"a"}, {"y"}, node_domain("my")) + kX + kY;
  const ModelPtr old = read(model(graph, opset("my", 2), 2));
  CHECK_EQ(old->ops[0].version, 1);
  CHECK(old->notes.empty());
  const ModelPtr later = read(model(graph, opset("", 11), 6));
  CHECK_EQ(later->notes.size(), 1U);
  CHECK(later->notes[0].code == Code::no_import && later->notes[0].text.find("'my'") != std::string::npos);
  CHECK_EQ(later->ops[1].version, 1);
  const ModelPtr none = read(model(graph, opset("my", 1), 8));
  CHECK_EQ(none->ops[0].version, 18);  // the newest that came with that IR
  CHECK_EQ(none->notes.size(), 1U);
}

TEST("bodies capture from all around") {
  const Bytes innermost = node("Add", {"x", "local"}, {"deep"}) + output(floats("deep", dim(4)));
  const Bytes inner = node("Neg", {"w"}, {"local"}) + node("If", {"c"}, {"mid"}, body_attr("then_branch", innermost)) +
                      output(floats("mid", dim(4)));
  const ModelPtr m = read(model(node("If", {"c"}, {"y"}, node_name("outer") + body_attr("then_branch", inner)) +
                                initializer(tensor("w", 1, {4}, raw(Bytes(16, 'a')))) + kX +
                                input(value_info("c", tensor_type(9, {}))) + kY));
  CHECK_EQ(m->bodies.size(), 3U);
  CHECK_EQ(m->node_total, 4U);
  const Graph &outer = m->bodies[0], &middle = m->bodies[1], &deep = m->bodies[2];
  CHECK_EQ(middle.parent, 0U);
  CHECK_EQ(deep.parent, 1U);
  const auto captured = [](const Graph& from, const Graph& into) {
    std::string text;
    for (const Graph::Capture& c : into.captures) {
      CHECK(into.values[c.inner].role == Role::capture);
      CHECK(into.values[c.inner].name == from.values[c.outer].name);
      text += std::string(into.values[c.inner].name) + " ";
    }
    return text;
  };
  CHECK_EQ(captured(outer, middle), "w c x ");  // x only passes through
  CHECK_EQ(captured(middle, deep), "x local ");
  CHECK(outer.captures.empty());
}

TEST("a body's own name hides the one around") {
  const Bytes body = node("Neg", {"x"}, {"a"}) + node("Abs", {"a"}, {"b"}) + output(floats("b", dim(4)));
  const ModelPtr m = read(simple(node("Neg", {"x"}, {"a"}) + node("If", {"a"}, {"y"}, body_attr("then_branch", body))));
  CHECK_EQ(m->bodies[1].captures.size(), 1U);
  CHECK(value(m->bodies[1], "a").role == Role::activation);
}

TEST("functions: bodies, attributes, defaults, references, nesting") {
  const Bytes refers = bytes(5, bytes(1, "alpha") + number(20, 1) + bytes(21, "slope"));
  const Bytes leaky = bytes(1, "Leaky") + bytes(4, "in") + bytes(5, "out") + bytes(6, "needed") +
                      bytes(11, bytes(1, "slope") + real(2, 0.25F) + number(20, 1)) +
                      bytes(7, bytes(1, "in") + bytes(2, "out") + bytes(4, "LeakyRelu") + refers) +
                      bytes(9, bytes(1, "") + number(2, 16)) + bytes(10, "my") + bytes(12, floats("out", dim("n")));
  const Bytes twice = bytes(1, "Twice") + bytes(4, "a") + bytes(5, "c") +
                      bytes(7, bytes(1, "a") + bytes(2, "b") + bytes(4, "Leaky") + bytes(7, "my")) +
                      bytes(7, bytes(1, "b") + bytes(2, "c") + bytes(4, "Leaky") + bytes(7, "my")) +
                      bytes(9, bytes(1, "my") + number(2, 1)) + bytes(10, "my");
  const ModelPtr m = read(model(node("Twice", {"x"}, {"y"}, node_domain("my")) + kX + kY,
                                opset("", 17) + opset("my", 1) + bytes(25, leaky) + bytes(25, twice)));
  CHECK_EQ(m->functions.size(), 2U);
  CHECK(m->notes.empty());
  const Function& f = m->functions[0];
  CHECK_EQ(f.name, "Leaky");
  CHECK_EQ(f.domain, "my");
  CHECK_EQ(f.attributes.size(), 1U);
  CHECK_EQ(f.defaults, 1U);
  CHECK(m->attrs[f.first_default].name == "slope" && m->attrs[f.first_default].real == 0.25);
  const Graph& body = m->bodies[f.body];
  CHECK_EQ(m->ops[body.nodes[0].op].version, 16);  // by the function's own import
  const Attr& alpha = attr(*m, body.nodes[0], "alpha");
  CHECK(alpha.kind == Attr::Kind::refers && alpha.text == "slope");
  CHECK_EQ(type_text(body, "out"), "f32[n]");
  CHECK(value(body, "in").role == Role::input && body.inputs.size() == 1 && body.outputs.size() == 1);
  CHECK_EQ(m->ops[m->bodies[0].nodes[0].op].function, 1U);
  CHECK_EQ(m->ops[m->bodies[m->functions[1].body].nodes[0].op].function, 0U);
}

TEST("functions are told apart by overload") {
  const auto function = [](std::string_view overload) {
    return bytes(25, bytes(1, "F") + bytes(4, "a") + bytes(5, "b") +
                         bytes(7, bytes(1, "a") + bytes(2, "b") + bytes(4, "Neg")) + bytes(10, "my") +
                         (overload.empty() ? Bytes() : bytes(13, overload)));
  };
  const ModelPtr m = read(model(node("F", {"x"}, {"h"}, node_domain("my") + bytes(8, "two")) +
                                    node("F", {"h"}, {"y"}, node_domain("my")) + kX + kY,
                                opset("", 17) + opset("my", 1) + function("") + function("two")));
  CHECK_EQ(m->ops[m->bodies[0].nodes[0].op].function, 1U);
  CHECK_EQ(m->ops[m->bodies[0].nodes[1].op].function, 0U);
}

TEST("nodes out of order are sorted, with a note") {
  const ModelPtr m = read(simple(node("C", {"b"}, {"y"}, node_name("c")) + node("A", {"x"}, {"a"}, node_name("a")) +
                                 node("B", {"a"}, {"b"}, node_name("b")) + node("D", {"x"}, {"d"}, node_name("d"))));
  const Graph& g = m->bodies[0];
  CHECK_EQ(names_of(g), "a b c d ");
  for (std::size_t n = 0; n < g.nodes.size(); ++n) {
    for (const ValueId out : g.outputs_of(g.nodes[n])) CHECK_EQ(g.values[out].producer, n);
  }
  CHECK_EQ(m->notes.size(), 1U);
  CHECK(m->notes[0].code == Code::unsorted && m->notes[0].text.find("'c'") != std::string::npos);
}

TEST("what a body captures counts for the order") {
  const Bytes body = node("Neg", {"late"}, {"o"}) + output(floats("o", dim(4)));
  const ModelPtr m = read(simple(node("If", {"x"}, {"y"}, node_name("if") + body_attr("then_branch", body)) +
                                 node("A", {"x"}, {"late"}, node_name("late"))));
  CHECK_EQ(names_of(m->bodies[0]), "late if ");
  CHECK_EQ(m->notes.size(), 1U);
}

TEST("fields in any order") {
  const Bytes odd_node =
      bytes(1, bytes(4, "Add") + bytes(2, "y") + integer_attr("k", 1) + bytes(1, "x") + bytes(1, "w"));
  const Bytes graph =
      info(floats("y", dim(7))) + kY + kX + odd_node + initializer(tensor("w", 1, {4}, raw(Bytes(16, 'a'))));
  const ModelPtr m = read(opset("", 17) + bytes(7, graph) + number(1, 8));
  const Graph& g = m->bodies[0];
  const Node& add = g.nodes[0];
  CHECK_EQ(add.inputs, 2U);
  CHECK_EQ(g.values[g.inputs_of(add)[1]].name, "w");
  CHECK_EQ(g.values[g.outputs_of(add)[0]].name, "y");
  CHECK(m->notes.empty());
}

TEST("where a node comes from: torch's scopes before namespaces") {
  const auto meta = [](std::string_view key, std::string_view text) {
    return bytes(9, bytes(1, key) + bytes(2, text));
  };
  const Bytes both = meta("namespace", "a/b") + meta("pkg.torch.onnx.name_scopes", "['', 'a']");
  const ModelPtr m =
      read(simple(node("A", {"x"}, {"a"}, both) + node("A", {"a"}, {"b"}, both) +
                  node("A", {"b"}, {"c"}, meta("namespace", "a/b")) + node("A", {"c"}, {"y"}, meta("k", "v"))));
  const Graph& g = m->bodies[0];
  CHECK_EQ(m->scopes.size(), 2U);
  CHECK_EQ(g.nodes[0].scope, 0U);
  CHECK_EQ(g.nodes[1].scope, 0U);
  CHECK_EQ(g.nodes[2].scope, 1U);
  CHECK_EQ(g.nodes[3].scope, kNone);
  CHECK(m->scopes[0].form == Model::Scope::Form::name_scopes && m->scopes[0].text == "['', 'a']");
  CHECK(m->scopes[1].form == Model::Scope::Form::onnx_namespace);
}

TEST("many nodes, so that tables grow") {
  constexpr int count = 5000;
  Bytes nodes, previous = "x";
  for (int i = 0; i < count; ++i) {
    const Bytes next = i + 1 == count ? Bytes("y") : "v" + std::to_string(i);
    nodes += node("Add", {previous, "w" + std::to_string(i % 700)}, {next}, integer_attr("k", i));
    previous = next;
  }
  for (int i = 0; i < 700; ++i) nodes += initializer(tensor("w" + std::to_string(i), 1, {1}, raw("abcd")));
  const ModelPtr m = read(simple(nodes));
  const Graph& g = m->bodies[0];
  CHECK_EQ(g.nodes.size(), 5000U);
  CHECK_EQ(g.values.size(), 5000U + 700U + 1U);
  CHECK_EQ(g.stored.size(), 700U);
  for (std::size_t i = 1; i < g.nodes.size(); ++i) {
    CHECK_EQ(g.inputs_of(g.nodes[i])[0], g.outputs_of(g.nodes[i - 1])[0]);
    CHECK_EQ(g.values[g.inputs_of(g.nodes[i])[1]].name, "w" + std::to_string(i % 700));
    CHECK_EQ(m->attrs[g.nodes[i].first_attr].integer, static_cast<std::int64_t>(i));
  }
}

TEST("from a file, which stays mapped") {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("macsim_test_" + std::to_string(::getpid()))).string();
  std::ofstream(path, std::ios::binary) << simple(node("Relu", {"x"}, {"y"}));
  ModelPtr kept;
  {
    auto m = read_onnx_file(path);
    CHECK(static_cast<bool>(m));
    if (m) kept = *m;
  }
  std::remove(path.c_str());
  CHECK(kept && kept->bodies[0].values[0].name == "x");
}

#ifdef __linux__
TEST("weights inside the file are not touched") {
  constexpr std::size_t weights = 64, payload = std::size_t{4} << 20;
  // Written with holes in the place of the payloads: a quarter of a gigabyte that takes no room.
  Bytes nodes;
  std::vector<Bytes> heads;
  std::size_t size = 0;
  for (std::size_t i = 0; i < weights; ++i) {
    const Bytes name = "w" + std::to_string(i);
    nodes += node("MatMul", {i == 0 ? "x" : "v" + std::to_string(i - 1), name},
                  {i + 1 == weights ? "y" : "v" + std::to_string(i)});
    const Bytes head = tensor(name, 1, {1024, 1024}, tag(9, 2) + varint(payload));
    heads.push_back(tag(5, 2) + varint(head.size() + payload) + head);
    size += heads.back().size() + payload;
  }
  const Bytes rest = kX + kY;
  const std::string path =
      (std::filesystem::temp_directory_path() / ("macsim_holes_" + std::to_string(::getpid()))).string();
  std::ofstream file(path, std::ios::binary);
  file << number(1, 8) << tag(7, 2) << varint(nodes.size() + size + rest.size()) << nodes;
  for (const Bytes& head : heads) {
    file << head;
    file.seekp(payload, std::ios::cur);
  }
  file << rest << opset("", 17);
  file.close();
  const auto total = std::filesystem::file_size(path);
  const int descriptor = ::open(path.c_str(), O_RDWR);
  ::fsync(descriptor);
  ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);  // out of the cache, so that what is read shows
  const auto model = read_onnx_file(path);
  CHECK(static_cast<bool>(model));

  void* const mapped = ::mmap(nullptr, total, PROT_READ, MAP_PRIVATE, descriptor, 0);
  std::vector<unsigned char> resident(total / 4096 + 1);
  CHECK_EQ(::mincore(mapped, total, resident.data()), 0);
  const auto touched = std::count_if(resident.begin(), resident.end(), [](unsigned char c) { return (c & 1U) != 0; });
  CHECK(touched >= 1 && touched < 4 * static_cast<std::ptrdiff_t>(weights));  // of 65,536
  ::munmap(mapped, total);
  ::close(descriptor);
  std::remove(path.c_str());
}
#endif
