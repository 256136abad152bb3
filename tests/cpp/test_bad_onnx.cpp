// The ONNX reader on bad input: cut, mutated, hostile, or not a model at all. It says what is wrong and where.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <random>

#include "check.hpp"
#include "macsim/onnx.hpp"
#include "onnx_writer.hpp"

using namespace macsim;
using namespace writer;

namespace {

const Bytes kX = input(floats("x", dim(1) + dim(4)));
const Bytes kY = output(floats("y", dim(1) + dim(4)));

Bytes simple(const Bytes& nodes, const Bytes& more = {}) { return model(nodes + kX + kY, opset("", 17) + more); }

/// Reads from a copy of exactly that size, so that a step past the end is caught by the sanitizer.
Result<ModelPtr> read(std::string_view content) {
  const auto kept = std::make_shared<const std::vector<char>>(content.begin(), content.end());
  return read_onnx({kept->data(), kept->size()}, kept);
}

/// "MS106: why", or "good".
std::string outcome(std::string_view content) {
  auto model = read(content);
  return model ? "good" : code_text(model.status().code()) + ": " + std::string(model.status().text());
}

/// Checks the code, and that the message has each of the parts.
void refused(std::string_view content, Code code, const std::vector<std::string>& parts) {
  const std::string found = outcome(content);
  if (found.find(code_text(code) + ": ") != 0)
    check::fail(__FILE__, __LINE__, "expected " + code_text(code) + ", found " + found);
  for (const std::string& part : parts) {
    if (found.find(part) == std::string::npos) check::fail(__FILE__, __LINE__, "no \"" + part + "\" in: " + found);
  }
}

/// Something of everything.
Bytes representative() {
  const Bytes body = node("Add", {"h", "w"}, {"b"}, node_name("inner")) + output(floats("b", dim("n")));
  const Bytes function = bytes(1, "F") + bytes(4, "a") + bytes(5, "b") + bytes(6, "k") +
                         bytes(11, bytes(1, "d") + number(3, 4) + number(20, 2)) +
                         bytes(7, bytes(1, "a") + bytes(2, "b") + bytes(4, "Neg")) +
                         bytes(9, bytes(1, "") + number(2, 17)) + bytes(10, "my") + bytes(12, floats("b", dim("n")));
  const Bytes sparse =
      bytes(1, tensor("sp", 1, {1}, raw("abcd"))) + bytes(2, tensor("", 7, {1}, raw(Bytes(8, '\0')))) + number(3, 4);
  const Bytes meta = bytes(9, bytes(1, "namespace") + bytes(2, "a/b"));
  return number(1, 8) + bytes(2, "maker") +
         bytes(
             7,
             node("F", {"x"}, {"h"}, node_name("call") + node_domain("my") + integers_attr("k", {1, 2, 300}) + meta) +
                 node("If", {"c"}, {"i"}, body_attr("then_branch", body) + body_attr("else_branch", body)) +
                 node("Constant", {}, {"k"},
                      bytes(5, bytes(1, "value") + bytes(5, tensor("", 7, {1}, raw(Bytes(8, '\1')))) + number(20, 4))) +
                 node("Sum", {"i", "sp", "k", "u", "v", ""}, {"y", ""}) + bytes(2, "main") +
                 initializer(tensor("w", 1, {4}, raw(Bytes(16, 'a')))) +
                 initializer(tensor("u", 7, {2}, bytes(7, varint(1) + varint(200)))) +
                 initializer(tensor("v", 1, {2}, bytes(13, bytes(1, "location") + bytes(2, "f")) + number(14, 1))) +
                 kX + input(value_info("c", tensor_type(9, {}))) +
                 input(value_info("q", bytes(9, bytes(1, bytes(4, bytes(1, tensor_type(1, no_dim()))))))) + kY +
                 info(floats("h", dim("2*n"))) + bytes(15, sparse)) +
         opset("", 17) + opset("my", 1) + bytes(25, function);
}

/// Levels of one message in the other, each `prefix` and then a field with what is inside; linear in the levels.
Bytes nested(std::size_t levels, const Bytes& innermost, const std::vector<std::pair<Bytes, unsigned>>& around) {
  std::vector<Bytes> heads;
  std::size_t size = innermost.size();
  for (std::size_t level = 0; level < levels; ++level) {
    for (const auto& [prefix, field] : around) {
      heads.push_back(prefix + tag(field, 2) + varint(size));
      size += heads.back().size();
    }
  }
  Bytes all;
  all.reserve(size);
  for (std::size_t i = heads.size(); i-- > 0;) all += heads[i];
  return all + innermost;
}

/// A graph of If in If.
Bytes nested_bodies(std::size_t levels) {
  const Bytes innermost = node("Neg", {"x"}, {"z"}) + output(floats("z", {}));
  // From the inside out: the attribute's g, the node's attribute, the graph's node; what else they need comes before.
  return nested(levels, innermost,
                {{bytes(1, "then_branch") + number(20, 5), 6},
                 {bytes(1, "x") + bytes(2, "z") + bytes(4, "If"), 5},
                 {bytes(12, floats("z", {})), 1}});
}

}  // namespace

TEST("the representative model is good") { CHECK_EQ(outcome(representative()), "good"); }

TEST("cut at every byte") {
  const Bytes whole = representative();
  // Where ModelProto's own fields end: ir_version, producer, graph, opsets, function.
  std::vector<std::size_t> ends{0, number(1, 8).size()};
  ends.push_back(ends.back() + bytes(2, "maker").size());
  const std::size_t function_at = whole.rfind("\xCA\x01");
  ends.push_back(function_at - opset("my", 1).size() - opset("", 17).size());
  ends.push_back(function_at - opset("my", 1).size());
  ends.push_back(function_at);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    auto model = read(std::string_view(whole).substr(0, size));
    if (std::find(ends.begin(), ends.end(), size) == ends.end()) {
      if (model || model.status().code() != Code::truncated) {
        check::fail(__FILE__, __LINE__,
                    "cut at " + std::to_string(size) + ": " + outcome(std::string_view(whole).substr(0, size)));
      }
    } else if (size == 0) {
      CHECK(!model && model.status().code() == Code::not_onnx);
    } else if (size < ends[3]) {
      CHECK(!model && model.status().code() == Code::truncated);  // before the graph
    } else {
      CHECK(static_cast<bool>(model));  // a whole model; what it does not import is noted
      if (model) CHECK(size == function_at || !(*model)->notes.empty());
    }
  }
}

TEST("a cut model says how much is missing") {
  const Bytes whole = simple(node("Neg", {"x"}, {"y"}));
  refused(whole.substr(0, 20), Code::truncated, {"ends after 20 bytes", "graph", "offset 2", "are missing"});
}

TEST("a hundred thousand mutations: an answer every time") {
  const Bytes whole = representative();
  std::mt19937 random(20240607);
  const auto any = [&random](std::size_t below) { return static_cast<std::size_t>(random() % below); };
  int good = 0;
  for (int i = 0; i < 100'000; ++i) {
    Bytes changed = whole;
    for (std::size_t changes = 1 + any(4); changes != 0; --changes) {
      const std::size_t at = any(changed.size());
      switch (any(4)) {
        case 0:
          changed[at] = static_cast<char>(any(256));
          break;
        case 1:
          changed[at] = static_cast<char>(changed[at] ^ (1 << any(8)));
          break;
        case 2:
          changed.erase(at, 1 + any(8));
          break;
        default:
          changed.insert(at, whole, any(whole.size()), 1 + any(24));
      }
      if (changed.empty()) break;
    }
    auto model = read(changed);
    good += model ? 1 : 0;
    if (!model) CHECK(explain(model.status().code()) != nullptr && !model.status().text().empty());
  }
  CHECK(good > 100 && good < 90'000);  // both outcomes are tried
}

TEST("a broken field is named with its message, its number and its place") {
  // Every length in the file is right, except the innermost one.
  refused(simple(bytes(1, bytes(1, "x") + bytes(2, "y") + bytes(3, "conv1") + bytes(4, "Conv") + "\x2A\x63" + "abc")),
          Code::malformed,
          {"node 0 ('conv1')", "field 5 (attribute) of NodeProto", "offset", "its length, 99, runs past the end"});
  refused(simple(node("Conv", {"x"}, {"y"}, bytes(5, bytes(1, "pads") + "\x40\xFF"))), Code::malformed,
          {"attribute", "field 8 (ints) of AttributeProto"});
  refused(simple(node("Conv", {"x"}, {"y"}, bytes(5, bytes(1, "pads") + bytes(8, "\x80")))), Code::malformed,
          {"attribute 'pads'", "packed list"});
}

TEST("wrong wire types") {
  refused(simple(bytes(1, number(1, 5))), Code::malformed, {"node 0", "field 1 (input) of NodeProto", "wire type 0"});
  refused(simple(number(1, 5)), Code::malformed, {"field 1 (node) of GraphProto"});
  refused(simple(node("A", {"x"}, {"y"}, bytes(5, bytes(1, "k") + bytes(3, "5")))), Code::malformed, {"field 3 (i)"});
  refused(simple(node("A", {"x"}, {"y"}, number(5, 1))), Code::malformed, {"field 5 (attribute)"});
  refused(simple(node("A", {"x"}, {"y"}), bytes(25, number(1, 4))), Code::malformed, {"FunctionProto"});
  refused(model(node("A", {"x"}, {"y"}) + kX + kY, bytes(8, bytes(2, "17"))), Code::malformed, {"OperatorSetIdProto"});
  refused(simple(node("A", {"x"}, {"y"}) + input(value_info("z", number(1, 3)))), Code::malformed,
          {"'z'", "TypeProto"});
  refused(simple(node("A", {"x"}, {"y"}) + initializer(number(8, 3))), Code::malformed,
          {"initializer 0", "TensorProto"});
}

TEST("what a message must have") {
  refused(simple(bytes(1, bytes(1, "x") + bytes(2, "y"))), Code::malformed, {"node 0", "op_type"});
  refused(simple(node("A", {"x"}, {"y"}, bytes(5, number(3, 1)))), Code::malformed, {"attribute without a name"});
  refused(simple(initializer(tensor("", 1, {1}, raw("abcd")))), Code::malformed, {"initializer without a name"});
  refused(simple(node("A", {"x"}, {"y"}), bytes(25, bytes(10, "my"))), Code::malformed, {"function without a name"});
  refused(simple(node("A", {"x"}, {"y"}) + output(bytes(2, tensor_type(1, {})))), Code::bad_graph, {"without a name"});
  refused(number(1, 8) + bytes(7, kX) + bytes(7, kY), Code::malformed, {"second graph"});
}

TEST("impossible sizes") {
  refused(simple(initializer(tensor("w", 1, {-3}, {}))), Code::malformed, {"'w'", "-3"});
  Bytes many;
  for (int i = 0; i < 5000; ++i) many += dim(1);
  refused(simple(node("A", {"x"}, {"y"}) + input(floats("z", many))), Code::malformed, {"'z'", "1024 dimensions"});
  const std::vector<std::int64_t> dims(5000, 1);
  refused(simple(initializer(tensor("w", 1, dims, {}))), Code::malformed, {"'w'", "1024 dimensions"});
  // Large ones are sizes like others: what overflows is found when they are multiplied.
  CHECK_EQ(outcome(simple(node("A", {"x"}, {"y"}) + initializer(tensor("w", 1, {INT64_MAX, INT64_MAX}, {})))), "good");
}

TEST("operator sets without end") {
  Bytes sets;
  for (int i = 0; i < 300; ++i) sets += opset("d" + std::to_string(i), 1);
  refused(simple(node("A", {"x"}, {"y"}), sets), Code::malformed, {"256 operator sets"});
}

TEST("sizes whose names are hostile expressions") {
  for (const Bytes& name :
       {Bytes(100'000, '('), Bytes(900, '('), Bytes(900, '-'), Bytes("(a+b+c+d)^60^60"), Bytes("a//0"),
        Bytes("99999999999999999999999999999999999999999999"), Bytes("max(") + Bytes(400, ',')}) {
    CHECK_EQ(outcome(model(node("A", {"x"}, {"y"}) + input(floats("x", dim(name))) + kY)), "good");
  }
}

TEST("broken wiring") {
  refused(simple(node("Neg", {"x"}, {"a"}) + node("Conv", {"a", "lost"}, {"y"}, node_name("conv1"))), Code::bad_graph,
          {"node 1 ('conv1', Conv)", "input 1 is 'lost'"});
  refused(simple(node("Neg", {"x"}, {"a"})), Code::bad_graph, {"output", "'y'"});
  refused(simple(node("A", {"x"}, {"y"}) + node("B", {"x"}, {"y"})), Code::bad_graph,
          {"'y' is produced twice", "node 0 (A)", "node 1 (B)"});
  refused(simple(node("A", {"x"}, {"y", "y"})), Code::bad_graph, {"'y' is produced twice"});
  refused(simple(node("A", {"y"}, {"x"})), Code::bad_graph, {"'x'", "input"});
  refused(simple(node("A", {"x"}, {"y"}) + kX), Code::bad_graph, {"'x'", "twice"});
  refused(simple(node("A", {"x"}, {"y"}) + initializer(tensor("y", 1, {1}, raw("abcd")))), Code::bad_graph,
          {"'y'", "twice"});
  refused(simple(initializer(tensor("y", 1, {1}, raw("abcd"))) + node("A", {"x"}, {"y"})), Code::bad_graph,
          {"'y'", "twice"});
  refused(simple(node("Add", {"x", "y"}, {"y"})), Code::bad_graph, {"cycle", "node 0 (Add) needs node 0"});
  refused(simple(node("A", {"x", "c"}, {"a"}) + node("B", {"a"}, {"b"}) + node("C", {"b"}, {"c"}) +
                 node("D", {"a"}, {"y"})),
          Code::bad_graph, {"cycle", "(A)", "(B)", "(C)"});
  const Bytes body = node("Neg", {"nowhere"}, {"o"}) + output(floats("o", {}));
  refused(simple(node("If", {"x"}, {"y"}, node_name("choice") + body_attr("then_branch", body))), Code::bad_graph,
          {"in a body of node 0 ('choice', If)", "input 0 is 'nowhere'"});
  // A body that needs what its own node makes.
  const Bytes self = node("Neg", {"y"}, {"o"}) + output(floats("o", {}));
  refused(simple(node("If", {"x"}, {"y"}, body_attr("then_branch", self))), Code::bad_graph, {"cycle", "(If)"});
}

TEST("a function sees nothing around it") {
  const Bytes function = bytes(1, "F") + bytes(4, "a") + bytes(5, "b") +
                         bytes(7, bytes(1, "x") + bytes(2, "b") + bytes(4, "Neg")) + bytes(10, "my");
  refused(simple(node("F", {"x"}, {"y"}, node_domain("my")), opset("my", 1) + bytes(25, function)), Code::bad_graph,
          {"function 'F'", "input 0 is 'x'"});
}

TEST("functions that call themselves") {
  const auto calls = [](std::string_view name, std::string_view callee) {
    return bytes(25, bytes(1, name) + bytes(4, "a") + bytes(5, "b") +
                         bytes(7, bytes(1, "a") + bytes(2, "b") + bytes(4, callee) + bytes(7, "my")) + bytes(10, "my"));
  };
  const Bytes node_f = node("F", {"x"}, {"y"}, node_domain("my"));
  refused(simple(node_f, opset("my", 1) + calls("F", "F")), Code::recursion, {"'F' calls itself"});
  refused(simple(node_f, opset("my", 1) + calls("F", "G") + calls("G", "H") + calls("H", "F")), Code::recursion,
          {"calls itself, through"});
  // In a body inside the function, too.
  const Bytes body = bytes(1, bytes(1, "a") + bytes(2, "c") + bytes(4, "F") + bytes(7, "my")) + output(floats("c", {}));
  const Bytes hidden =
      bytes(25, bytes(1, "F") + bytes(4, "a") + bytes(5, "b") +
                    bytes(7, bytes(1, "a") + bytes(2, "b") + bytes(4, "If") + body_attr("then_branch", body)) +
                    bytes(10, "my"));
  refused(simple(node_f, opset("my", 1) + hidden), Code::recursion, {"'F' calls itself"});
  // A chain is no recursion, but an endless one is refused.
  const auto chain = [&](int length) {
    Bytes all = calls("f0", "Neg");
    for (int i = 1; i < length; ++i) all += calls("f" + std::to_string(i), "f" + std::to_string(i - 1));
    return simple(node("f" + std::to_string(length - 1), {"x"}, {"y"}, node_domain("my")), opset("my", 1) + all);
  };
  CHECK_EQ(outcome(chain(200)), "good");
  refused(chain(100'000), Code::too_deep, {"deep"});
}

TEST("nested too deep") {
  CHECK_EQ(outcome(model(nested_bodies(200) + kX)), "good");
  refused(model(nested_bodies(300) + kX), Code::too_deep, {"subgraphs", "256"});
  refused(model(nested_bodies(100'000) + kX), Code::too_deep, {"subgraphs"});
  const auto type = [](std::size_t levels) {
    return simple(node("A", {"x"}, {"y"}) +
                  input(value_info("z", nested(levels, tensor_type(1, {}), {{{}, 1}, {{}, 4}}))));
  };
  CHECK_EQ(outcome(type(200)), "good");
  refused(type(300), Code::too_deep, {"types"});
  refused(type(100'000), Code::too_deep, {"types"});
}

TEST("names passed on through many bodies are not multiplied without end") {
  // 250 bodies deep, the innermost uses 40,000 names of the outermost: ten million entries for less than a megabyte.
  Bytes inits, uses;
  for (int i = 0; i < 40'000; ++i) {
    const Bytes name = "w" + std::to_string(i);
    inits += initializer(bytes(8, name));
    uses += bytes(1, name);
  }
  const Bytes innermost = bytes(1, uses + bytes(2, "z") + bytes(4, "Sum")) + output(floats("z", {}));
  const Bytes deep = nested(250, innermost,
                            {{bytes(1, "then_branch") + number(20, 5), 6},
                             {bytes(1, "x") + bytes(2, "z") + bytes(4, "If"), 5},
                             {bytes(12, floats("z", {})), 1}});
  refused(model(deep + kX + inits), Code::too_deep, {"passed on"});
}

TEST("sorting a hundred thousand nodes that come in reverse") {
  constexpr int count = 100'000;
  Bytes nodes;
  for (int i = count; i-- > 0;) {
    nodes += node("Neg", {i == 0 ? Bytes("x") : "v" + std::to_string(i - 1)},
                  {i + 1 == count ? Bytes("y") : "v" + std::to_string(i)});
  }
  auto model = read(simple(nodes));
  CHECK(static_cast<bool>(model));
  if (model) CHECK_EQ((*model)->notes[0].text.substr(0, 12), "99999 nodes ");
  // The same as a ring.
  Bytes ring;
  for (int i = count; i-- > 0;) {
    ring += node("Neg", {"v" + std::to_string((i + count - 1) % count)}, {"v" + std::to_string(i)});
  }
  refused(simple(ring + node("Neg", {"x"}, {"y"})), Code::bad_graph, {"cycle"});
}

TEST("other files are told apart") {
  const std::vector<std::pair<Bytes, std::string>> files = {
      {"", "empty"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"},
      {Bytes("PK\x03\x04") + Bytes(30, '\0'), "zip"},
      {"\x80\x02}q\x01.", "pickle"},
      {"\x1F\x8B\x08\x00", "gzip"},
      {Bytes("\x1C\x00\x00\x00TFL3", 8), "TensorFlow Lite"},
      {Bytes("\x18\x00\x00\x00ORTM", 8), ".ort"},
      {Bytes("\x12\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\"}}", 30), "safetensors"},
      {"GGUF\x03", "GGUF"},
      {"\x89HDF\r\n", "HDF5"},
      {"{\"irVersion\": 8}", "JSON"},
      {"<!DOCTYPE html><html>", "text"},
      {"<ir_version: 8, opset_import: [\"\" : 17]>\nagraph (float[N] x) => (float[N] y) { y = Neg(x) }", "text"},
      {"ir_version: 8\ngraph {\n}", "text form"},
      {"  \n", "blanks"},
      {tensor("w", 1, {2, 2}, raw(Bytes(16, '\0'))), "TensorProto"},
      {node("Neg", {"x"}, {"y"}) + bytes(2, "g") + kX + kY, "GraphProto"},
      {"hello world, this is a text", ""},
      {Bytes(100, '\0'), ""},
      {Bytes(100, '\xFF'), ""},
  };
  for (const auto& [content, part] : files) refused(content, Code::not_onnx, {part});
}

TEST("files that cannot be read") {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / ("macsim_bad_" + std::to_string(::getpid()));
  fs::create_directory(folder);
  const auto why = [](const fs::path& path) {
    auto model = read_onnx_file(path.string());
    return model ? "good" : code_text(model.status().code()) + ": " + std::string(model.status().text());
  };
  CHECK(why(folder).find("MS101") == 0 && why(folder).find("directory") != std::string::npos);
  CHECK(why(folder / "none.onnx").find("MS101") == 0 &&
        why(folder / "none.onnx").find("none.onnx") != std::string::npos);
  CHECK(why("").find("MS101") == 0);
  CHECK(why("/dev/null").find("MS101") == 0);
  std::ofstream(folder / "empty.onnx").flush();
  CHECK(why(folder / "empty.onnx").find("MS102") == 0);
  fs::remove_all(folder);
}

TEST("names in messages are short and printable") {
  const std::string found = outcome(simple(node("A", {Bytes(5000, 'n') + "\n"}, {"y"})));
  CHECK(found.size() < 400);
  const std::string odd = outcome(simple(node("A", {"bad\nname\x01"}, {"y"})));
  CHECK(std::none_of(odd.begin(), odd.end(), [](unsigned char c) { return std::iscntrl(c) != 0; }));
}
