// ModelProto to Model: other formats told apart, operator sets, functions, and what is known only at the end.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <functional>
#include <iterator>

#include "macsim/onnx.hpp"
#include "mapped_file.hpp"
#include "onnx_fields.hpp"
#include "onnx_reader.hpp"

namespace macsim {

using wire::Field;
using wire::Flaw;
using wire::Wire;

namespace {

/// "ai.onnx" and the empty domain are one.
std::string_view dialect_of(std::string_view domain) {
  return domain.empty() || domain == "ai.onnx" ? std::string_view("onnx") : domain;
}

/// Whether the bytes are one whole message of this kind with `field` in it, and no field that it does not have.
bool is_message(std::string_view bytes, const wire::Message& message, std::uint32_t field) {
  Wire wire(bytes, message);
  Field f;
  bool there = false;
  while (wire.next(f)) {
    if (f.number >= wire::Message::kFields || message.allowed[f.number] == wire::kAnything) return false;
    there = there || f.number == field;
  }
  return there && wire.flaw() == Flaw::none;
}

}  // namespace

std::string quoted(std::string_view text) {
  constexpr std::size_t most = 80;
  std::string shown = "'";
  for (const char c : text.substr(0, most)) {
    const auto code = static_cast<unsigned char>(c);
    shown += code < 0x20 || code == 0x7F ? '?' : c;
  }
  // A cut may fall inside a UTF-8 sequence: drop the started character.
  if (text.size() > most) {
    while (!shown.empty() && (static_cast<unsigned char>(shown.back()) & 0xC0U) == 0x80) shown.pop_back();
    if (static_cast<unsigned char>(shown.back()) >= 0xC0) shown.pop_back();
    shown += "...";
  }
  return shown + "'";
}

OnnxReader::OnnxReader(std::string_view bytes, Model& model) : bytes_(bytes), model_(model) {
  // Where things lie in memory differs from run to run: enough that no file can foresee the hash.
  hash_key_ = fold(reinterpret_cast<std::uintptr_t>(bytes.data()) ^ 0x243F6A8885A308D3U,
                   reinterpret_cast<std::uintptr_t>(&model) | 0x8000000000000001U);
}

Status OnnxReader::read() {
  if (Status other = refuse_other_formats(); !other) return other;
  if (!read_model_fields()) return std::move(status_);
  model_.bodies.emplace_back();
  for (std::size_t i = 0; i < function_bytes_.size(); ++i) {
    model_.functions[i].body = static_cast<std::uint32_t>(model_.bodies.size());
    model_.bodies.emplace_back().name = model_.functions[i].name;
  }
  if (!read_bodies(graph_bytes_, 0)) return std::move(status_);
  for (std::uint32_t i = 0; i < function_bytes_.size(); ++i) {
    if (!read_function(i)) {
      place("function " + quoted(model_.functions[i].name));
      return std::move(status_);
    }
  }
  if (!link_functions()) return std::move(status_);
  note_imports();
  for (const Graph& body : model_.bodies) model_.node_total += body.nodes.size();
  if (unsorted_nodes_ != 0) {
    std::string text = std::to_string(unsorted_nodes_) + (unsorted_nodes_ == 1 ? " node comes" : " nodes come") +
                       " before a node whose output is needed; the first is " + first_unsorted_;
    model_.notes.push_back(
        {Code::unsorted, Severity::warning, kNone, {}, std::move(text), std::string(explain(Code::unsorted)->hint)});
  }
  return {};
}

Status OnnxReader::refuse_other_formats() const {
  const auto starts = [this](std::string_view with, std::size_t at = 0) {
    return bytes_.size() >= at + with.size() && bytes_.compare(at, with.size(), with) == 0;
  };
  const auto refuse = [](const char* what) { return Status(Code::not_onnx, what); };
  if (bytes_.empty()) return refuse("the file is empty");
  if (starts("version https://git-lfs")) {
    return refuse("this is a pointer of Git LFS, not the model itself: run `git lfs pull`, or download the file");
  }
  if (starts("PK\x03\x04")) {
    return refuse("this is a zip archive (a PyTorch checkpoint, perhaps), not an ONNX model");
  }
  if (starts("\x80\x02") || starts("\x80\x04")) return refuse("this is a Python pickle, not an ONNX model");
  if (starts("\x1F\x8B")) return refuse("this is compressed with gzip: unpack it first");
  if (starts("\x89HDF")) return refuse("this is an HDF5 file (Keras, perhaps), not an ONNX model");
  if (starts("TFL3", 4)) return refuse("this is a TensorFlow Lite model, not an ONNX model");
  if (starts("ORTM", 4))
    return refuse("this is ONNX Runtime's own format (.ort): give the .onnx file it was made from");
  if (starts("GGUF")) return refuse("this is a GGUF file, not an ONNX model");
  if (bytes_.size() > 9 && bytes_[8] == '{' && wire::little_endian(bytes_.data(), 8) <= bytes_.size() - 8) {
    return refuse("this is a safetensors file: weights without a model");
  }
  const std::size_t text = bytes_.find_first_not_of(" \t\r\n");
  if (text == std::string_view::npos) return refuse("the file holds nothing but blanks");
  if (bytes_[text] == '{') return refuse("this is JSON; only the binary form of ONNX is read");
  if (bytes_[text] == '<')
    return refuse("this is text (HTML, XML or ONNX's textual form), not the binary form of ONNX");
  if (starts("ir_version", text) || starts("graph {", text)) {
    return refuse("this is the text form of protobuf; only the binary form of ONNX is read");
  }
  return {};
}

bool OnnxReader::read_model_fields() {
  Wire wire(bytes_, onnx::model::kMessage);
  Field f;
  bool known = false;  // some field was one of ModelProto's
  while (wire.next(f)) {
    switch (f.number) {
      case onnx::model::kIrVersion:
        model_.ir_version = f.integer();
        break;
      case onnx::model::kProducerName:
        model_.producer = f.bytes;
        break;
      case onnx::model::kProducerVersion:
        model_.producer_version = f.bytes;
        break;
      case onnx::model::kOpsetImport:
        if (!read_opset(f.bytes, imports_)) return false;
        break;
      case onnx::model::kGraph:
        if (graph_bytes_.data() != nullptr) {
          return fail_at(wire.field_at(), Code::malformed, "a second graph: a model has one");
        }
        graph_bytes_ = f.bytes;
        break;
      case onnx::model::kFunctions:
        if (!read_function_fields(f.bytes)) return false;
        break;
      default:
        break;
    }
    known = known || (f.number < wire::Message::kFields && wire.message().allowed[f.number] != wire::kAnything);
  }
  if (wire.flaw() != Flaw::none) return model_flawed(wire, known);
  if (graph_bytes_.data() == nullptr) return without_graph();
  model_.opsets = imports_.opsets;
  return true;
}

// The bytes of the model itself are broken: cut short, or never a model.
bool OnnxReader::model_flawed(const Wire& wire, bool known) {
  if (graph_bytes_.data() == nullptr) {
    if (is_message(bytes_, onnx::graph::kMessage, onnx::graph::kNode)) {
      return fail(Code::not_onnx, "this is a GraphProto alone, without the model around it: save a ModelProto");
    }
    if (is_message(bytes_, onnx::tensor::kMessage, onnx::tensor::kDataType)) {
      return fail(Code::not_onnx, "this is a TensorProto: a tensor, not a model");
    }
  }
  const bool cut = wire.flaw() == Flaw::overrun || wire.flaw() == Flaw::cut;
  Wire again({wire.field_at(), static_cast<std::size_t>(wire.end() - wire.field_at())}, wire.message());
  std::uint64_t tag = 0;
  const bool ours = again.varint(tag) && tag >> 3 < wire::Message::kFields && wire.message().allowed[tag >> 3] != 0;
  if (cut && (ours || known || bytes_.size() < 2)) {
    std::string text = "the file ends after " + std::to_string(bytes_.size()) + " bytes, in the middle of ";
    text += ours ? std::string("ModelProto's field ") + wire.message().names[tag >> 3] : std::string("a field");
    text += " (" + offset_of(wire.field_at()) + ")";
    if (wire.flaw() == Flaw::overrun) {
      const auto left = static_cast<std::uint64_t>(wire.end() - wire.at());
      text += ", which is " + std::to_string(wire.wanted()) + " bytes long: " + std::to_string(wire.wanted() - left) +
              " are missing";
    }
    return fail(Code::truncated, std::move(text));
  }
  flawed(wire);
  if (!known) status_ = Status(Code::not_onnx, "the bytes do not start like a model: " + std::string(status_.text()));
  return false;
}

bool OnnxReader::without_graph() {
  if (is_message(bytes_, onnx::tensor::kMessage, onnx::tensor::kDataType)) {
    return fail(Code::not_onnx, "this is a TensorProto: a tensor, not a model");
  }
  if (model_.ir_version != 0 || !model_.producer.empty()) {
    return fail(Code::truncated, "the file ends after " + std::to_string(bytes_.size()) + " bytes, before the graph");
  }
  return fail(Code::not_onnx, "the bytes hold no graph");
}

bool OnnxReader::read_opset(std::string_view bytes, Imports& imports) {
  Model::Opset opset{{}, 0};
  Wire wire(bytes, onnx::opset::kMessage);
  Field f;
  while (wire.next(f)) {
    if (f.number == onnx::opset::kDomain) opset.domain = f.bytes;
    if (f.number == onnx::opset::kVersion) opset.version = f.integer();
  }
  if (!done(wire)) return false;
  if (imports.opsets.size() == kMostOpsets) {
    return fail_at(bytes, Code::malformed, "more than " + std::to_string(kMostOpsets) + " operator sets are imported");
  }
  opset.domain = dialect_of(opset.domain);
  if (opset.domain == "onnx") imports.onnx = std::max(opset.version, std::int64_t{0});
  imports.opsets.push_back(opset);
  return true;
}

// What has to be known of a function before any body is read.
bool OnnxReader::read_function_fields(std::string_view bytes) {
  Function function;
  FunctionBytes pending{bytes, {}};
  Wire wire(bytes, onnx::function::kMessage);
  Field f;
  while (wire.next(f)) {
    switch (f.number) {
      case onnx::function::kName:
        function.name = f.bytes;
        break;
      case onnx::function::kDomain:
        function.domain = f.bytes;
        break;
      case onnx::function::kOverload:
        function.overload = f.bytes;
        break;
      case onnx::function::kAttribute:
        function.attributes.push_back(f.bytes);
        break;
      case onnx::function::kOpsetImport:
        if (!read_opset(f.bytes, pending.imports)) return false;
        break;
      default:
        break;
    }
  }
  if (!done(wire)) return false;
  if (function.name.empty()) return fail_at(bytes, Code::malformed, "a function without a name");
  function.domain = dialect_of(function.domain);
  model_.functions.push_back(std::move(function));
  function_bytes_.push_back(std::move(pending));
  return true;
}

bool OnnxReader::read_function(std::uint32_t index) {
  in_force_ = &function_bytes_[index].imports;
  const bool read = read_bodies(function_bytes_[index].bytes, model_.functions[index].body);
  in_force_ = &imports_;
  return read;
}

std::int64_t OnnxReader::version_of(std::string_view dialect) const {
  for (const Imports* imports : {in_force_, &imports_}) {
    if (dialect == "onnx" && imports->onnx >= 0) return imports->onnx;
    for (const Model::Opset& opset : imports->opsets) {
      if (opset.domain == dialect) return opset.version;
    }
  }
  return -1;
}

std::int64_t OnnxReader::newest_opset(std::int64_t ir_version) {
  // The last opset released with each IR version, from ONNX's table of releases.
  constexpr std::int64_t newest[] = {1, 1, 1, 8, 9, 10, 11, 14, 18, 20, 22, 23, 24, 27, kNewestOpset};
  constexpr auto last = static_cast<std::int64_t>(std::size(newest)) - 1;
  return newest[std::clamp(ir_version, std::int64_t{0}, last)];
}

// All node operators have an entry by now: point those that are functions to their function.
bool OnnxReader::link_functions() {
  if (model_.functions.empty()) return true;
  const auto hash_of = [this](std::string_view domain, std::string_view name, std::string_view overload) {
    return hash_name(name, hash_key_) ^ (hash_name(domain, hash_key_) * 3U) ^ (hash_name(overload, hash_key_) * 5U);
  };
  NameTable table;
  table.reset(model_.functions.size());
  for (std::uint32_t i = 0; i < model_.functions.size(); ++i) {
    const Function& f = model_.functions[i];
    table.find_or_add(hash_of(f.domain, f.name, f.overload), i, [&](std::uint32_t other) {
      const Function& g = model_.functions[other];
      return f.domain == g.domain && f.name == g.name && f.overload == g.overload;
    });
  }
  for (Op& op : model_.ops) {
    const std::uint32_t found = table.find(hash_of(op.dialect, op.name, op.overload), [&](std::uint32_t i) {
      const Function& f = model_.functions[i];
      return f.domain == op.dialect && f.name == op.name && f.overload == op.overload;
    });
    if (found != NameTable::kEmpty) op.function = found;
  }
  return check_calls();
}

// No function may call itself, directly or through others, nor call too deep.
bool OnnxReader::check_calls() {
  const std::size_t count = model_.functions.size();
  std::vector<std::uint32_t> function_of(model_.bodies.size(), kNone);  // of each body, the function it is part of
  for (std::uint32_t i = 0; i < count; ++i) function_of[model_.functions[i].body] = i;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> calls;
  for (std::size_t b = 0; b < model_.bodies.size(); ++b) {
    const Graph& body = model_.bodies[b];
    if (body.parent != kNone) function_of[b] = function_of[body.parent];  // a body comes after the one around it
    if (function_of[b] == kNone) continue;
    for (const Node& node : body.nodes) {
      const std::uint32_t callee = model_.ops[node.op].function;
      if (callee != kNone) calls.emplace_back(function_of[b], callee);
    }
  }
  std::sort(calls.begin(), calls.end());
  calls.erase(std::unique(calls.begin(), calls.end()), calls.end());
  std::vector<std::size_t> first(count + 1, calls.size());
  for (std::size_t i = calls.size(); i-- > 0;) first[calls[i].first] = i;
  for (std::size_t i = count; i-- > 0;) first[i] = std::min(first[i], first[i + 1]);

  enum : std::uint8_t { unseen, open, closed };
  std::vector<std::uint8_t> state(count, unseen);
  std::vector<std::size_t> next = first;
  std::vector<std::uint32_t> height(count, 1);
  std::vector<std::uint32_t> path;
  for (std::uint32_t root = 0; root < count; ++root) {
    if (state[root] != unseen) continue;
    path.assign(1, root);
    state[root] = open;
    while (!path.empty()) {
      const std::uint32_t f = path.back();
      if (next[f] == first[f + 1]) {
        state[f] = closed;
        path.pop_back();
        if (height[f] > kMostDepth)
          return fail(Code::too_deep, "functions call each other more than " + std::to_string(kMostDepth) +
                                          " deep, from " + quoted(model_.functions[f].name) + " on");
        if (!path.empty()) height[path.back()] = std::max(height[path.back()], height[f] + 1);
        continue;
      }
      const std::uint32_t callee = calls[next[f]++].second;
      if (state[callee] == open) {
        const bool direct = callee == f;
        return fail(Code::recursion, "function " + quoted(model_.functions[callee].name) + " calls itself" +
                                         (direct ? "" : ", through " + quoted(model_.functions[f].name)));
      }
      if (state[callee] == closed) {
        height[f] = std::max(height[f], height[callee] + 1);
      } else {
        state[callee] = open;
        path.push_back(callee);
      }
    }
  }
  return true;
}

void OnnxReader::note_imports() {
  if (imports_.onnx > kNewestOpset) {
    model_.notes.push_back({Code::newer_opset,
                            Severity::warning,
                            kNone,
                            {},
                            "the model imports version " + std::to_string(imports_.onnx) +
                                " of ai.onnx; the latest known is " + std::to_string(kNewestOpset),
                            std::string(explain(Code::newer_opset)->hint)});
  }
  constexpr std::size_t most = 20;  // domains that are told
  std::vector<std::string_view> told;
  for (const std::uint32_t id : missing_) {
    const Op& op = model_.ops[id];
    if (op.function != kNone || told.size() == most) continue;
    if (std::find(told.begin(), told.end(), op.dialect) != told.end()) continue;
    told.push_back(op.dialect);
    const std::string_view domain = op.dialect == "onnx" ? "ai.onnx" : op.dialect;
    model_.notes.push_back({Code::no_import,
                            Severity::warning,
                            kNone,
                            {},
                            "operators of " + quoted(domain) + " are used (" + quoted(op.name) +
                                "), but the model does not import that set; version " + std::to_string(op.version) +
                                " was assumed",
                            std::string(explain(Code::no_import)->hint)});
  }
}

bool OnnxReader::fail(Code code, std::string text) {
  if (status_) status_ = Status(code, std::move(text));
  return false;
}

bool OnnxReader::fail_at(const char* at, Code code, const std::string& text) {
  return fail(code, offset_of(at) + ": " + text);
}

bool OnnxReader::fail_at(std::string_view message, Code code, const std::string& text) {
  return fail_at(start_of(message), code, text);
}

std::string OnnxReader::offset_of(const char* at) const { return "offset " + std::to_string(at - bytes_.data()); }

bool OnnxReader::flawed(const Wire& wire) {
  const wire::Message& message = wire.message();
  std::uint64_t tag = 0;
  Wire again({wire.field_at(), static_cast<std::size_t>(wire.end() - wire.field_at())}, message);
  const bool read = again.varint(tag) && tag >> 3 != 0 && tag <= 0xFFFFFFFFU;
  std::string text = "a field";
  if (read) {
    text = "field " + std::to_string(tag >> 3);
    if (tag >> 3 < wire::Message::kFields && message.names[tag >> 3] != nullptr) {
      text += std::string(" (") + message.names[tag >> 3] + ")";
    }
  }
  text += std::string(" of ") + message.name + ", " + offset_of(wire.field_at()) + ": ";
  switch (wire.flaw()) {
    case Flaw::cut:
      text += "it runs past the end of the message";
      break;
    case Flaw::overrun:
      text += "its length, " + std::to_string(wire.wanted()) + ", runs past the end of the message, " +
              std::to_string(wire.end() - wire.at()) + " bytes on";
      break;
    case Flaw::long_varint:
      text += "a number of more than ten bytes";
      break;
    case Flaw::bad_tag:
      text += "no such field or wire type can exist";
      break;
    case Flaw::misfit:
      text += "wire type " + std::to_string(tag & 7U) + " is not how this field is encoded";
      break;
    case Flaw::none:
      break;
  }
  return fail(Code::malformed, std::move(text));
}

bool OnnxReader::flawed_inside(const Wire& wire) {
  return fail_at(wire.field_at(), Code::malformed,
                 std::string("a packed list of numbers in ") + wire.message().name + " ends in the middle of one");
}

void OnnxReader::place(const std::string& where) {
  status_ = Status(status_.code(), where + ": " + std::string(status_.text()));
}

namespace {

Status out_of_memory(const std::exception& trouble) {
  return {Code::unreadable, std::string("there is not enough memory to read the model: ") + trouble.what()};
}

// Copies of texts, side by side in blocks of the model's.
class Copies {
 public:
  Copies(Model& model, std::string_view file) : model_(model), file_(file) {}
  void take(std::string_view& text) {
    const std::less<> before;
    if (text.empty() || before(text.data(), file_.data()) || !before(text.data(), file_.data() + file_.size())) return;
    if (text.size() > left_) {
      left_ = std::max(kBlock, text.size());
      at_ = model_.kept.emplace_back(left_, '\0').data();
    }
    std::memcpy(at_, text.data(), text.size());
    text = {at_, text.size()};
    at_ += text.size();
    left_ -= text.size();
  }

 private:
  static constexpr std::size_t kBlock = std::size_t{1} << 16;
  Model& model_;
  std::string_view file_;
  char* at_ = nullptr;
  std::size_t left_ = 0;
};

// Makes a model's texts its own, so that the file may be written anew while a report is in use: what a program exports
// again and again is looked at again and again. Contents of stored tensors stay in the file.
void keep_texts(Model& model, std::string_view file) {
  constexpr std::size_t most = 4096;  // of a tensor in an attribute: they are read without asking
  Copies copies(model, file);
  for (std::string_view* text : {&model.producer, &model.producer_version}) copies.take(*text);
  for (Model::Opset& opset : model.opsets) copies.take(opset.domain);
  for (Graph& graph : model.bodies) {
    copies.take(graph.name);
    for (Value& value : graph.values) copies.take(value.name);
    for (Node& node : graph.nodes) copies.take(node.name);
  }
  for (Function& function : model.functions) {
    for (std::string_view* text : {&function.domain, &function.name, &function.overload}) copies.take(*text);
    for (std::string_view& name : function.attributes) copies.take(name);
  }
  for (Op& op : model.ops) {
    for (std::string_view* text : {&op.dialect, &op.name, &op.overload}) copies.take(*text);
  }
  for (Attr& attr : model.attrs) {
    copies.take(attr.name);
    copies.take(attr.text);
  }
  for (std::string_view& text : model.texts) copies.take(text);
  for (Model::Scope& scope : model.scopes) copies.take(scope.text);
  for (Stored& tensor : model.tensors) {
    if (tensor.bytes.size() > most) tensor.encoding = Encoding::none;
    if (tensor.bytes.size() <= most) copies.take(tensor.bytes);
  }
}

}  // namespace

Result<ModelPtr> read_onnx(std::string_view bytes, std::shared_ptr<const void> owner) {
  try {
    auto model = std::make_shared<Model>();
    model->bytes = std::move(owner);
    if (Status status = OnnxReader(bytes, *model).read(); !status) return status;
    return ModelPtr(std::move(model));
  } catch (const std::exception& trouble) {
    return out_of_memory(trouble);
  }
}

Result<ModelPtr> read_onnx_file(const std::string& path) {
  auto file = MappedFile::open(path);
  if (!file) return Status(file.status().code(), std::string(file.status().text()));
  const std::string_view bytes = (*file)->bytes();
  try {
    auto model = std::make_shared<Model>();
    if (Status status = OnnxReader(bytes, *model).read(); !status) {
      return Status(status.code(), "'" + path + "': " + std::string(status.text()));
    }
    model->bytes = *std::move(file);
    model->unchanged = [](const void* mapped) { return static_cast<const MappedFile*>(mapped)->unchanged(); };
    keep_texts(*model, bytes);
    return ModelPtr(std::move(model));
  } catch (const std::exception& trouble) {  // out of memory
    return out_of_memory(trouble);
  }
}

}  // namespace macsim
