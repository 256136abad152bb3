// Graph: a model as plain data, neutral between ONNX and torch. Values, nodes and nested bodies; never weights.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_GRAPH_HPP
#define MACSIM_GRAPH_HPP

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "macsim/diag.hpp"
#include "macsim/dtype.hpp"
#include "macsim/span.hpp"

namespace macsim {

/// What a value holds.
enum class Kind : std::uint8_t { tensor, sparse, sequence, optional, map };

/// The type of a value. Dimensions nobody knows are undefined(); `ranked` false: not even their number is known.
struct Type {
  DType dtype = DType::unknown;  ///< of the elements; of a map: of its values
  Kind kind = Kind::tensor;
  bool ranked = false;
  Shape shape;                          ///< when ranked
  std::shared_ptr<const Type> element;  ///< of a sequence or optional: what it holds; null: not known

  static Type of(DType dtype, Shape shape) { return Type{dtype, Kind::tensor, true, std::move(shape), nullptr}; }
  static Type unranked(DType dtype) { return Type{dtype, Kind::tensor, false, {}, nullptr}; }
};

/// Where a value comes from.
enum class Role : std::uint8_t {
  activation,  ///< computed by a node
  input,       ///< an input of the graph (or of the body)
  weight,      ///< stored in the model
  capture,     ///< a value of the enclosing graph
};

/// How the contents of a stored tensor are laid out; they are read only when a rule asks, and only when small.
enum class Encoding : std::uint8_t {
  none,       ///< no contents at hand (external data, or too odd)
  raw,        ///< little-endian elements, packed for sub-byte types
  varints,    ///< protobuf packed varints (int32_data, int64_data, uint64_data)
  fixed32,    ///< packed 4-byte floats (float_data)
  fixed64,    ///< packed 8-byte doubles (double_data)
  unpacked,   ///< the fields one by one: bytes span the whole TensorProto
  attribute,  ///< a number or list of numbers: bytes span the whole AttributeProto
  sparse,     ///< bytes span the whole SparseTensorProto
};

/// A tensor stored in the model: its type, and where its contents lie.
struct Stored {
  Type type;
  Encoding encoding = Encoding::none;
  bool external = false;
  bool buffer = false;  ///< bytes of the model, but no parameter of it: statistics, tables
  bool frozen = false;  ///< its source says that it is not trained
  std::string_view bytes;
  std::int64_t nonzeros = -1;  ///< of a sparse tensor: how many elements are stored; its type is the dense one
};

struct Value {
  std::string_view name;
  std::uint32_t claim = kNone;   ///< into Graph::claims: the type that the source states
  std::uint32_t stored = kNone;  ///< into Graph::stored: a tensor of the model (a weight, or an input's default)
  NodeId producer = kNone;       ///< the node of this body that computes it
  Role role = Role::activation;
};

/// One attribute of a node.
struct Attr {
  // clang-format off: in a row
  enum class Kind : std::uint8_t {
    integer, real, text, integers, reals, texts, tensor, body, bodies, type, refers, other
  };
  // clang-format on
  std::string_view name;
  Kind kind = Kind::other;
  std::uint32_t first = 0, count = 0;  ///< lists: a run in the model's pools; tensor, type, body: `first` is the index
  union {
    std::int64_t integer = 0;
    double real;
  };
  std::string_view text;  ///< text; refers: the name of the enclosing function's attribute
};

struct Node {
  std::string_view name;         ///< as in the model, may be empty
  std::uint32_t op = 0;          ///< into Model::ops
  std::uint32_t first_edge = 0;  ///< into Graph::edges: inputs, then outputs
  std::uint32_t inputs = 0, outputs = 0;
  std::uint32_t first_attr = 0, attrs = 0;  ///< into Model::attrs
  std::uint32_t scope = kNone;              ///< into Model::scopes
};

/// An operator as spelled by the model: one entry for each (dialect, name, version) that occurs.
struct Op {
  std::string_view dialect;        ///< "onnx" (for "" and "ai.onnx"), "com.microsoft", "ai.onnx.ml", "aten", ...
  std::string_view name;           ///< "Conv"
  std::int64_t version = 0;        ///< the opset imported for the dialect
  std::string_view overload;       ///< of a model-local function
  std::uint32_t function = kNone;  ///< into Model::functions, when the model defines it
  std::string full() const { return std::string(dialect) + "::" + std::string(name); }
};

/// A graph or body: of the model, of a control-flow attribute, or of a function.
struct Graph {
  std::string_view name;
  std::vector<Value> values;
  std::vector<Node> nodes;               ///< topological order
  std::vector<ValueId> edges;            ///< node inputs and outputs; kNone: an absent optional
  std::vector<ValueId> inputs, outputs;  ///< inputs: all of them, also those with a stored default (Role::weight)
  struct Capture {
    ValueId inner, outer;
  };
  std::vector<Capture> captures;  ///< values of the enclosing graph that are used here, or further in
  std::vector<Type> claims;
  std::vector<Stored> stored;
  std::uint32_t parent = kNone;  ///< into Model::bodies; kNone for a function's body and for the model's graph

  Span<ValueId> inputs_of(const Node& n) const { return {edges.data() + n.first_edge, n.inputs}; }
  Span<ValueId> outputs_of(const Node& n) const { return {edges.data() + n.first_edge + n.inputs, n.outputs}; }
};

/// A model-local function.
struct Function {
  std::string_view domain, name, overload;
  std::uint32_t body = kNone;                     ///< into Model::bodies
  std::vector<std::string_view> attributes;       ///< without a default
  std::uint32_t first_default = 0, defaults = 0;  ///< into Model::attrs: attributes with their default
};

/// A whole model. Immutable once built; names are views into `bytes` or `kept`, which live as long as it.
struct Model {
  std::string_view producer, producer_version;
  std::int64_t ir_version = 0;
  struct Opset {
    std::string_view domain;
    std::int64_t version;
  };
  std::vector<Opset> opsets;
  std::deque<Graph> bodies;  ///< [0] is the model's graph
  std::vector<Function> functions;
  std::vector<Op> ops;
  std::vector<Attr> attrs;
  std::vector<std::int64_t> integers;  ///< pools of the attributes
  std::vector<double> reals;
  std::vector<std::string_view> texts;
  std::vector<Stored> tensors;            ///< of tensor attributes
  std::vector<Type> types;                ///< of type attributes
  std::vector<std::uint32_t> body_lists;  ///< of attributes with several bodies
  struct Scope {
    std::string_view text;                                                      ///< as the source states it
    enum class Form : std::uint8_t { path, name_scopes, onnx_namespace } form;  ///< how `text` is to be read
  };
  std::vector<Scope> scopes;
  std::vector<Diagnostic> notes;  ///< what the source remarked
  std::size_t node_total = 0;     ///< in all bodies

  std::shared_ptr<const void> bytes;  ///< keeps the file or buffer alive
  /// Whether what `bytes` holds may still be looked at; null: always. A file that is written to under a map of it is
  /// not what was read, and may have no bytes where some were. Names are copies then, tensors' contents are not.
  bool (*unchanged)(const void* bytes) = nullptr;
  std::deque<std::string> kept;  ///< texts made on the way
  std::string_view keep(std::string text) { return kept.emplace_back(std::move(text)); }
};

}  // namespace macsim

#endif  // MACSIM_GRAPH_HPP
