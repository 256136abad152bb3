// The ledger: rows, totals, groups, and what binding does to them.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "macsim/report.hpp"

#include <algorithm>
#include <unordered_map>

#include "walk.hpp"

namespace macsim {
namespace {

const Count& zero() noexcept {
  static const Count none;
  return none;
}

bool counts_as_integer(DType dtype) noexcept {
  const DTypeClass kind = class_of(dtype);
  return kind == DTypeClass::integer || kind == DTypeClass::boolean || kind == DTypeClass::string;
}

Type bound(const Type& type, const Bindings& sizes) {
  Type out = type;
  if (!sizes.empty()) {
    for (Dim& dim : out.shape) dim = dim.bind(sizes);
  }
  return out;
}

// A function's inputs and a body's captures are what they are outside.
Role role_of(const Analysis& found, const Frame& frame, ValueId id) {
  if (frame.weight(id) != nullptr) return Role::weight;
  const Role role = frame.graph->values[id].role;
  if (role == Role::input && frame.graph != &found.model->bodies.front()) return Role::activation;
  return role == Role::capture ? Role::activation : role;
}

std::string op_name(const Op& op) { return op.dialect == "onnx" ? std::string(op.name) : op.full(); }

}  // namespace

std::string_view name_of(Work work) noexcept { return name_of(static_cast<Column>(work)); }

std::string_view name_of(Trust trust) noexcept {
  constexpr std::string_view kNames[] = {"exact", "bound", "estimate", "unknown"};
  return kNames[static_cast<std::size_t>(trust)];
}

std::string_view name_of(Column column) noexcept {
  constexpr std::string_view kNames[kColumns] = {"mac",     "add",  "mul",     "div",     "compare",
                                                 "exp",     "log",  "sqrt",    "trig",    "logic",
                                                 "convert", "read", "weights", "written", "masked"};
  return kNames[static_cast<std::size_t>(column)];
}

// Rows. ------------------------------------------------------------------------------------------------------------

std::size_t Report::rows() const noexcept { return data_->found->node.size(); }

namespace {
const Node& node_of(const Analysis& found, std::size_t i) {
  return found.frames[found.frame[i]].graph->nodes[found.node[i]];
}
}  // namespace

std::string_view Report::name(std::size_t i) const { return node_of(*data_->found, i).name; }
std::string Report::op(std::size_t i) const { return op_name(data_->found->model->ops[node_of(*data_->found, i).op]); }
std::string Report::rule(std::size_t i) const {
  const Match* match = data_->found->matches[node_of(*data_->found, i).op];
  return match == nullptr ? std::string() : match->rule->name.str();
}
std::string Report::scope(std::size_t i) const { return scope_of(*data_->found, i); }
std::string Report::path(std::size_t i) const {
  const Analysis& found = *data_->found;
  return path_of(found.frames, *found.model, found.frame[i], found.node[i]);
}
Trust Report::trust(std::size_t i) const { return data_->trusts()[i]; }
std::string_view Report::because(std::size_t i) const {
  return data_->because.empty() ? data_->found->because[i] : data_->because[i];
}
DType Report::compute(std::size_t i) const { return data_->found->dtypes[i][0]; }
std::array<DType, 3> Report::mac_dtypes(std::size_t i) const {
  const auto& dtypes = data_->found->dtypes[i];
  return {dtypes[1], dtypes[2], dtypes[3]};
}
Count Report::times(std::size_t i) const {
  const Analysis& found = *data_->found;
  const auto at = found.times.find(i);
  return (at != found.times.end() ? at->second : found.frames[found.frame[i]].times).bind(data_->bound);
}
const Count& Report::at(Column column, std::size_t i) const {
  const auto& values = data_->columns[static_cast<std::size_t>(column)];
  return i < values.size() ? values[i] : zero();
}

namespace {

// The convention of FLOPs: 2 a mac, 1 for every other scalar operation; logic, conversions and bytes are none.
constexpr bool is_arithmetic(Column column) noexcept { return column <= Column::trig; }
constexpr int per_operation(Column column) noexcept { return column == Column::mac ? 2 : 1; }

// Adds up the kinds of work that are arithmetic on floats (or on integers).
template <class At>
Count operations(const std::array<DType, 4>& dtypes, bool integers, const At& at) {
  Count sum;
  for (std::size_t c = 0; is_arithmetic(static_cast<Column>(c)); ++c) {
    const auto column = static_cast<Column>(c);
    if (counts_as_integer(dtypes[column == Column::mac ? 1 : 0]) != integers || at(column).is(0)) continue;
    sum += per_operation(column) * at(column);
  }
  return sum;
}

// A running sum that stays a plain integer for as long as it can. Undefined amounts are left out: their rows are
// marked unknown.
class Sum {
 public:
  static constexpr std::int64_t kLimit = std::int64_t{1} << 61;
  void add(const Count& amount) {
    if (const auto plain = amount.constant()) {
      if (*plain < kLimit && *plain > -kLimit) {
        plain_ += *plain;
        if (plain_ >= kLimit || plain_ <= -kLimit) flush();
        return;
      }
    }
    if (amount.defined()) ++repeated_[amount];  // layers repeat: the same expression comes again and again
  }
  Count take() {
    flush();
    for (const auto& [amount, times] : repeated_) rest_ += times * amount;
    repeated_.clear();
    return std::move(rest_);
  }

 private:
  void flush() {
    rest_ += plain_;
    plain_ = 0;
  }
  struct Hash {
    std::size_t operator()(const Count& amount) const noexcept { return amount.hash(); }
  };
  std::int64_t plain_ = 0;
  Count rest_;
  std::unordered_map<Count, std::int64_t, Hash> repeated_;
};

}  // namespace

Count Report::flops(std::size_t i) const {
  return operations(data_->found->dtypes[i], false, [&](Column c) -> const Count& { return at(c, i); });
}
Count Report::int_ops(std::size_t i) const {
  return operations(data_->found->dtypes[i], true, [&](Column c) -> const Count& { return at(c, i); });
}

Count Report::macs_unmasked(std::size_t i) const {
  const Count &macs = at(Column::mac, i), &masked = at(Column::masked, i);
  return masked.is(0) ? macs : macs - masked;
}

std::vector<Tensor> Report::inputs(std::size_t i) const {
  const Analysis& found = *data_->found;
  const Frame& frame = found.frames[found.frame[i]];
  const Node& node = node_of(found, i);
  const Match* match = found.matches[node.op];
  std::vector<Tensor> out;
  std::size_t position = 0;
  for (const ValueId id : frame.graph->inputs_of(node)) {
    const std::size_t at = position++;
    if (id == kNone) continue;
    std::string_view slot;
    if (match != nullptr && !match->names.empty()) slot = match->names[std::min(at, match->names.size() - 1)];
    out.push_back(
        {frame.graph->values[id].name, slot, bound(frame.types[id], data_->bound), role_of(found, frame, id)});
  }
  return out;
}

std::vector<Tensor> Report::outputs(std::size_t i) const {
  const Analysis& found = *data_->found;
  const Frame& frame = found.frames[found.frame[i]];
  std::vector<Tensor> out;
  for (const ValueId id : frame.graph->outputs_of(node_of(found, i))) {
    if (id == kNone) continue;
    out.push_back({frame.graph->values[id].name, {}, bound(frame.types[id], data_->bound), role_of(found, frame, id)});
  }
  return out;
}

// Sums. ------------------------------------------------------------------------------------------------------------

namespace {

// Rows that are known add up to a sum that is not: it is past 128 bits.
void distrust(Total& total) {
  const auto known = [](const Count& amount) { return amount.defined(); };
  const bool all = std::all_of(total.sum.begin(), total.sum.end(), known) && known(total.flops) && known(total.int_ops);
  if (!all) total.trust = Trust::unknown;
}

void add_row(Total& total, const Report::Data& data, std::size_t i) {
  const Analysis& found = *data.found;
  const auto at = [&](Column column) -> const Count& {
    const auto& values = data.columns[static_cast<std::size_t>(column)];
    return i < values.size() ? values[i] : zero();
  };
  ++total.rows;
  const Trust trust = data.trusts()[i];
  total.trust = std::max(total.trust, trust);
  if (trust == Trust::unknown) ++total.unknown;
  for (std::size_t c = 0; c < kColumns; ++c) {
    const Count& amount = at(static_cast<Column>(c));
    if (!amount.is(0) && amount.defined()) total.sum[c] += amount;
  }
  const auto known = [&](Column column) -> const Count& {
    const Count& amount = at(column);
    return amount.defined() ? amount : zero();
  };
  total.flops += operations(found.dtypes[i], false, known);
  total.int_ops += operations(found.dtypes[i], true, known);
  distrust(total);
}

}  // namespace

// The whole sum goes column by column: most amounts are plain integers, which add up without a Count each.
Total Report::total() const {
  const Analysis& found = *data_->found;
  Total total;
  total.rows = rows();
  for (const Trust trust : data_->trusts()) {
    total.trust = std::max(total.trust, trust);
    total.unknown += trust == Trust::unknown ? 1U : 0U;
  }
  std::array<bool, static_cast<std::size_t>(DType::count_)> integer{};
  for (std::size_t d = 0; d < integer.size(); ++d) integer[d] = counts_as_integer(static_cast<DType>(d));
  for (std::size_t c = 0; c < kColumns; ++c) {
    const auto column = static_cast<Column>(c);
    std::array<Sum, 2> sums;  // of rows that compute on floats, on integers
    const std::size_t by = column == Column::mac ? 1 : 0;
    const auto& values = data_->columns[c];
    std::array<std::int64_t, 2> plain{};
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t side = integer[static_cast<std::size_t>(found.dtypes[i][by])] ? 1 : 0;
      const std::int64_t amount = values[i].constant().value_or(Sum::kLimit);
      if (amount < Sum::kLimit && amount > -Sum::kLimit && plain[side] < Sum::kLimit && plain[side] > -Sum::kLimit) {
        plain[side] += amount;
      } else {
        sums[side].add(values[i]);
      }
    }
    for (const std::size_t side : {0U, 1U}) sums[side].add(plain[side]);
    const Count floats = sums[0].take(), integers = sums[1].take();
    total.sum[c] = floats + integers;
    if (!is_arithmetic(column)) continue;
    total.flops += per_operation(column) * floats;
    total.int_ops += per_operation(column) * integers;
  }
  distrust(total);
  return total;
}

namespace {

std::string first_levels(const std::string& scope, int depth) {
  if (depth < 0) return scope;
  std::size_t end = 0;
  for (int level = 0; level < depth; ++level) {
    const std::size_t dot = scope.find('.', end);
    if (dot == std::string::npos) return scope;
    end = dot + 1;
  }
  return end == 0 ? std::string() : scope.substr(0, end - 1);
}

}  // namespace

std::vector<std::uint32_t> Report::groups(Key key, int depth) const {
  std::vector<std::uint32_t> out(rows());
  std::unordered_map<std::string, std::uint32_t> seen;
  std::unordered_map<std::uint64_t, std::uint32_t> by_number;  // of what a row has by number: no text is made for each
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Analysis& found = *data_->found;
    std::uint64_t number = i;
    const bool numbered = key == Key::op || key == Key::rule || key == Key::dtype;
    if (key == Key::op || key == Key::rule) number = node_of(found, i).op;
    if (key == Key::dtype) number = static_cast<std::uint64_t>(found.dtypes[i][this->at(Column::mac, i).is(0) ? 0 : 1]);
    if (numbered) {
      const auto known = by_number.find(number);
      if (known != by_number.end()) {
        out[i] = known->second;
        continue;
      }
    }
    std::string name;
    switch (key) {
      case Key::op:
        name = op(i);
        break;
      case Key::node:
        name = path(i);
        break;
      case Key::scope:
        name = first_levels(scope(i), depth);
        break;
      case Key::dtype:
        name = std::string(name_of(static_cast<DType>(number)));
        break;
      case Key::rule:
        name = rule(i);
        break;
    }
    if (key == Key::node) {
      out[i] = static_cast<std::uint32_t>(i);
      continue;
    }
    out[i] = seen.try_emplace(std::move(name), static_cast<std::uint32_t>(seen.size())).first->second;
    if (numbered) by_number.emplace(number, out[i]);
  }
  return out;
}

std::vector<std::pair<std::string, Total>> Report::by(Key key, int depth) const {
  const std::vector<std::uint32_t> group = groups(key, depth);
  std::vector<std::pair<std::string, Total>> out;
  for (std::size_t i = 0; i < group.size(); ++i) {
    if (group[i] == out.size()) {
      std::string name;
      switch (key) {
        case Key::op:
          name = op(i);
          break;
        case Key::node:
          name = path(i);
          break;
        case Key::scope:
          name = first_levels(scope(i), depth);
          break;
        case Key::dtype:
          name = std::string(macsim::name_of(data_->found->dtypes[i][this->at(Column::mac, i).is(0) ? 0 : 1]));
          break;
        case Key::rule:
          name = rule(i);
          break;
      }
      out.emplace_back(std::move(name), Total());
    }
    add_row(out[group[i]].second, *data_, i);
  }
  return out;
}

// The model's edges. -----------------------------------------------------------------------------------------------

std::vector<Tensor> Report::graph_inputs() const {
  const Analysis& found = *data_->found;
  const Frame& top = found.frames.front();
  std::vector<Tensor> out;
  for (const ValueId id : top.graph->inputs) {
    if (top.graph->values[id].stored != kNone) continue;
    out.push_back({top.graph->values[id].name, {}, bound(top.types[id], data_->bound), Role::input});
  }
  return out;
}

std::vector<Tensor> Report::graph_outputs() const {
  const Analysis& found = *data_->found;
  const Frame& top = found.frames.front();
  std::vector<Tensor> out;
  out.reserve(top.graph->outputs.size());
  for (const ValueId id : top.graph->outputs) {
    out.push_back({top.graph->values[id].name, {}, bound(top.types[id], data_->bound), top.graph->values[id].role});
  }
  return out;
}

ContentsPtr Report::output_contents(std::size_t i) const {
  const Frame& top = data_->found->frames.front();
  const ValueId id = top.graph->outputs[i];
  return top.known[id] == kNone ? nullptr : top.contents[top.known[id]];
}

Count Report::parameters() const { return data_->found->parameters; }
Count Report::weight_bytes() const { return data_->found->weight_bytes; }
const std::vector<Diagnostic>& Report::diagnostics() const {
  return data_->diagnostics.empty() ? data_->found->diagnostics : data_->diagnostics;
}
ModelPtr Report::shared_model() const { return data_->found->model; }
const Model& Report::model() const { return *data_->found->model; }

// Symbols. ---------------------------------------------------------------------------------------------------------

std::vector<Unbound> Report::unbound() const {
  std::set<std::string, std::less<>> free;
  const auto add = [&](const Expr& e) {
    if (e.is_constant() || !e.defined()) return;
    for (std::string& symbol : e.symbols()) free.insert(std::move(symbol));
  };
  const Total sum = total();
  for (const Count& count : sum.sum) add(count);
  for (const Tensor& tensor : graph_inputs()) {
    for (const Dim& dim : tensor.type.shape) add(dim);
  }
  for (const Tensor& tensor : graph_outputs()) {
    for (const Dim& dim : tensor.type.shape) add(dim);
  }
  std::vector<Unbound> out;
  for (const std::string& name : free) {
    const auto why = data_->found->symbols.find(name);
    out.push_back({name, why == data_->found->symbols.end() ? std::string() : why->second});
  }
  return out;
}

namespace {

// Rows that had a count and have none with the sizes that were bound are unknown, and are told.
void lose(Report::Data& data, const std::set<std::uint32_t>& rows) {
  const Analysis& found = *data.found;
  if (data.trust.empty()) data.trust = found.trust;
  if (data.because.empty()) data.because = found.because;
  if (data.diagnostics.empty()) data.diagnostics = found.diagnostics;
  std::size_t told = 0;
  for (const std::uint32_t row : rows) {
    data.trust[row] = Trust::unknown;
    data.because[row] = "with these sizes a count does not fit 128 bits";
    if (++told > kMostTold) continue;
    data.diagnostics.push_back(remark_at(found.frames, *found.model, found.frame[row], found.node[row], Code::overflow,
                                         std::string(data.because[row])));
  }
  if (told > kMostTold) data.diagnostics.push_back(more_of(Code::overflow, told));
}

}  // namespace

std::vector<Expr> Report::assumptions() const {
  std::vector<Expr> out;
  const auto add = [&](const Expr& assumed) {
    Expr left = assumed.bind(data_->bound);
    if (left.defined() && !left.is_constant()) out.push_back(std::move(left));
  };
  for (const Expr& assumed : data_->found->not_negative) add(assumed);
  for (const Equality& same : data_->found->equal) add(min(same.a - same.b, same.b - same.a));
  return out;
}

Result<Report> Report::bind(const Bindings& sizes) const {
  const Analysis& found = *data_->found;
  for (const auto& [name, size] : sizes) {
    if (size < 0) return Status(Code::bad_request, "the size of '" + name + "' is negative: " + std::to_string(size));
    if (!found.symbols.contains(name)) {
      std::string text = "nothing is called '" + name + "'; to bind:";
      for (const Unbound& one : unbound()) text += " " + one.name;
      return Status(Code::bad_request, std::move(text));
    }
  }
  auto data = std::make_shared<Data>();
  data->found = data_->found;
  data->bound = data_->bound;
  data->trust = data_->trust;
  data->because = data_->because;
  data->diagnostics = data_->diagnostics;
  for (const auto& [name, size] : sizes) data->bound.emplace(name, size);
  for (const Expr& assumed : found.not_negative) {
    const Expr value = assumed.bind(data->bound);
    if (!value.is_constant() || at_least(value, 0) == Truth::yes) continue;
    return Status(Code::bad_request, assumed.str() + " would be " + value.str() +
                                         ", and these counts hold where it is at least 0: what a rule, a branch of "
                                         "the program or the bounds of a graph took for granted; give these sizes with "
                                         "shapes= or dims= before counting");
  }
  for (const Equality& same : found.equal) {
    const Expr a = same.a.bind(data->bound), b = same.b.bind(data->bound);
    if (equal(a, b) != Truth::no) continue;
    const Model& model = *found.model;
    const Op& op = model.ops[found.frames[same.frame].graph->nodes[same.node].op];
    return Status(Code::bad_request, path_of(found.frames, model, same.frame, same.node) + " (" + std::string(op.name) +
                                         "): " + std::string(same.what) + ", " + same.a.str() + " and " + same.b.str() +
                                         ", must be the same and would be " + a.str() + " and " + b.str());
  }
  std::set<std::uint32_t> lost;
  for (std::size_t c = 0; c < kColumns; ++c) {
    auto& values = data->columns[c];
    values.reserve(data_->columns[c].size());
    for (const Count& count : data_->columns[c]) {
      values.push_back(count.is_constant() ? count : count.bind(sizes));
      if (values.back().constant().value_or(0) < 0) values.back() = 0;  // a sum over nothing: n - 1 adds of 0 terms
      if (count.defined() && !values.back().defined()) lost.insert(static_cast<std::uint32_t>(values.size() - 1));
    }
  }
  if (!lost.empty()) lose(*data, lost);
  return Report(std::move(data));
}

}  // namespace macsim
