// OnnxReader: ModelProto to Model, in one pass over the bytes and without recursion over subgraphs.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_ONNX_READER_HPP
#define MACSIM_ONNX_READER_HPP

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "macsim/graph.hpp"
#include "name_table.hpp"
#include "wire.hpp"

namespace macsim {

/// 'text' for a message: shortened, control characters as '?'.
std::string quoted(std::string_view text);

/// Reads one model. How it goes:
///
/// * A look at ModelProto's own fields first: operator sets and functions come after the graph in the bytes, and are
///   needed before it.
/// * A body's nodes are read in one pass. A name gets its id where it is first met, defined or not: initializers and
///   inputs come after the nodes in the bytes.
/// * Bodies of attributes are put aside with the node that owns them and read when the body around them is complete, so
///   that captured names can be found. What is open forms a stack of bodies, not of function calls.
/// * The order of nodes is checked when all bodies inside are done, as captures are dependencies too.
class OnnxReader {
 public:
  OnnxReader(std::string_view bytes, Model& model);
  Status read();

 private:
  static constexpr std::size_t kMostDepth = 256;  ///< bodies in bodies, types in types, functions in functions
  static constexpr std::size_t kMostRank = 1024;
  static constexpr std::int64_t kNewestOpset = 28;  ///< of the default domain that the rules know
  static constexpr std::size_t kMostOpsets = 256;   ///< they are searched one by one, for each node of another domain

  /// A body that waits to be read.
  struct Waiting {
    std::string_view bytes;
    std::uint32_t body;
    NodeId owner;  ///< in the body around it
  };
  /// A body being read, or around one that is.
  struct Open {
    std::uint32_t body = 0;
    NodeId owner = 0;
    NameTable names;
    std::vector<Waiting> inside;  ///< sorted by owner
    std::size_t next = 0;         ///< of `inside`
    bool check_order = false;     ///< a name was used before it was produced
    bool unsorted = false;        ///< ... and it is known that this breaks the order
  };
  /// The operator sets in force.
  struct Imports {
    std::vector<Model::Opset> opsets;
    std::int64_t onnx = -1;  ///< of the default domain; negative: not imported
  };
  /// What make_room found.
  struct Counts {
    const char* first_info = nullptr;  ///< where the first value_info starts
    std::size_t nodes = 0;
  };
  /// An input or output of a node whose name has no id yet.
  struct Mention {
    std::string_view name;
    std::uint32_t hash;
    std::uint32_t edge;  ///< where the id goes
    NodeId producer;     ///< kNone: an input
  };
  /// A value_info whose value is not looked up yet.
  struct Info {
    std::string_view name, type;
    std::uint32_t hash;
  };
  /// An initializer whose name has no id yet.
  struct Initializer {
    std::string_view name;
    std::uint32_t hash;
    std::uint32_t stored;
  };
  /// Texts of a node that are interned when all of it is read.
  struct NodeTexts {
    std::string_view op, domain, overload, scopes, space;
  };
  struct FunctionBytes {
    std::string_view bytes;
    Imports imports;
  };

  // The model: read_onnx.cpp.
  Status refuse_other_formats() const;
  bool read_model_fields();
  bool model_flawed(const wire::Wire& wire, bool known);
  bool without_graph();
  bool read_opset(std::string_view bytes, Imports& imports);
  bool read_function_fields(std::string_view bytes);
  bool read_function(std::uint32_t index);
  bool link_functions();
  bool check_calls();
  void note_imports();  ///< of operator sets that are missing or newer than the rules
  std::int64_t version_of(std::string_view dialect) const;
  static std::int64_t newest_opset(std::int64_t ir_version);

  // Bodies and nodes: read_onnx_graph.cpp.
  bool read_bodies(std::string_view bytes, std::uint32_t body);
  bool read_open(std::string_view bytes, std::uint32_t body, NodeId owner);
  bool count_fields(Counts& counts, std::string_view bytes, const wire::Message& message, std::uint32_t node_field,
                    std::uint32_t info_field);
  void look_ahead(std::string_view field);
  bool read_graph(std::string_view bytes);
  bool read_function_body(std::string_view bytes);
  bool read_value_infos(const Counts& counts, std::string_view bytes, const wire::Message& message,
                        std::uint32_t info_field);
  bool read_next_node(std::string_view bytes, const Counts& counts);
  void extrapolate(std::size_t nodes);
  bool read_node(std::string_view bytes);
  bool read_node_fields(std::string_view bytes, Node& node);
  std::uint32_t op_of(const NodeTexts& texts);
  std::uint32_t intern_op(std::string_view domain, std::string_view name, std::string_view overload);
  std::uint32_t intern_scope(std::string_view text, Model::Scope::Form form);
  bool read_metadata(std::string_view bytes, NodeTexts& texts);
  bool is_constant(const Node& node) const;
  void store_constant(const Node& node, std::string_view bytes);
  bool add_input(std::string_view name, std::string_view message);
  bool add_output(std::string_view name, std::string_view message);
  bool read_named_type(std::string_view bytes, std::string_view& name, std::string_view& type);
  bool read_input(std::string_view bytes);
  bool read_output(std::string_view bytes);
  bool settle_infos();
  bool read_claim(ValueId value, std::string_view name, std::string_view bytes, std::string_view axes_of);
  bool read_initializer(std::string_view bytes, bool sparse);
  bool settle_initializers();

  // Attributes: read_onnx_attribute.cpp.
  struct AttributeFields;
  bool read_attribute(std::string_view bytes, NodeId owner);
  bool read_attribute_list(const wire::Field& field, AttributeFields& fields, NodeId owner);
  bool read_packed(std::string_view bytes, AttributeFields& fields);
  bool read_attribute_tensor(const wire::Field& field);
  void add_attribute(const AttributeFields& fields);
  std::uint32_t put_aside(std::string_view bytes, NodeId owner);

  // Tensors and types: read_onnx_tensor.cpp.
  bool read_tensor(std::string_view bytes, Stored& stored, std::string_view& name);
  bool read_sparse(std::string_view bytes, Stored& stored, std::string_view& name);
  bool read_dims(const wire::Field& field, Shape& shape, const char* at);
  bool read_type(std::string_view bytes, Type& type, std::string_view axes_of, std::size_t depth);
  bool read_tensor_type(std::string_view bytes, Type& type, std::string_view axes_of);
  bool read_element_type(const wire::Field& field, std::uint32_t number, const wire::Message& message, Type& type,
                         std::size_t depth);
  bool read_shape(std::string_view bytes, Shape& shape, std::string_view axes_of);
  bool read_dim(std::string_view bytes, Dim& dim);
  bool too_many_dims(const char* at);
  Dim dim_named(std::string_view text);

  // Names and order: link_names.cpp.
  void mention(std::string_view name, NodeId producer);
  bool settle_mentions();
  template <class Pending>
  void warm(const std::vector<Pending>& pending) const;
  bool produce(ValueId value, bool fresh, NodeId producer);
  ValueId intern(std::string_view name) { return intern(name, hash_name(name, hash_key_)); }
  ValueId intern(std::string_view name, std::uint32_t hash);
  ValueId find(const Open& open, std::string_view name, std::uint32_t hash) const;
  bool twice(ValueId value, const std::string& again);
  bool link_names();
  bool capture(ValueId value);
  bool dangling(ValueId value);
  bool finish_order();
  bool in_order() const;
  bool sort_nodes();
  void put_in_order(const std::vector<NodeId>& order);
  bool cycle(const std::vector<NodeId>& path);
  template <class Visit>
  void visit_producers(NodeId id, Visit visit) const;

  // Trouble. All return false; the first one stays.
  bool fail(Code code, std::string text);
  bool fail_at(const char* at, Code code, const std::string& text);
  bool fail_at(std::string_view message, Code code, const std::string& text);
  bool flawed(const wire::Wire& wire);
  bool flawed_inside(const wire::Wire& wire);  ///< ... in the packed numbers of its latest field
  bool done(const wire::Wire& wire) { return wire.flaw() == wire::Flaw::none || flawed(wire); }
  std::string offset_of(const char* at) const;
  static const char* start_of(std::string_view message) noexcept { return message.data(); }
  std::string node_text(const Graph& graph, NodeId id) const;
  void place(const std::string& where);

  Open& top() { return *open_[depth_ - 1]; }
  Graph& graph() { return *graph_; }

  std::string_view bytes_;
  Model& model_;
  std::uint64_t hash_key_;
  Status status_;

  std::string_view graph_bytes_;
  Imports imports_;
  std::vector<FunctionBytes> function_bytes_;
  const Imports* in_force_ = &imports_;

  std::size_t run_start_ = 0;  ///< offset since where all fields were small
  std::size_t fetched_ = 0;    ///< offset up to where the file was asked for

  std::vector<std::unique_ptr<Open>> open_;  ///< the first depth_ are in use; the others keep their memory
  std::size_t depth_ = 0;
  Graph* graph_ = nullptr;     ///< of top()
  std::size_t passed_on_ = 0;  ///< captures that only pass through a body

  NameTable op_table_, scope_table_, symbol_table_;
  std::array<std::uint32_t, 64> recent_ops_{};  ///< of the default domain, by a part of their names
  const Imports* recent_in_ = nullptr;          ///< the operator sets that these were met under
  std::vector<std::pair<std::string_view, Dim>> symbols_;
  std::vector<std::uint32_t> missing_;     ///< ops whose domain is not imported
  std::vector<std::string_view> outputs_;  ///< of the node being read
  std::vector<Mention> mentions_;          ///< of the latest nodes
  std::vector<Info> infos_;                ///< the latest
  std::vector<Initializer> initializers_;  ///< the latest
  std::size_t unsorted_nodes_ = 0;
  std::string first_unsorted_;
};

}  // namespace macsim

#endif  // MACSIM_ONNX_READER_HPP
