// Products of matrices, convolutions and attention as loops: how often tiling reads their operands. Private.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "flow.hpp"

namespace macsim {

/// 1 where `need` exceeds the capacity, else 0.
Count over(const Count& need, std::int64_t capacity);

/// What all products of the same sizes have in common.
struct Loops {
  Nest nest;
  std::int64_t left_bytes = 1, right_bytes = 1, out_bytes = 1;  ///< of an element
  Count left, right, values;                                    ///< bytes of the operands
  Count macs;
  bool known = false;
};

/// The product of a kernel.
struct Product {
  std::uint32_t loops = kNone;                                ///< into Products::loops
  std::uint32_t left = kNone, right = kNone, values = kNone;  ///< tensors; `values`: of attention
};

/// The products of all kernels, and what they need of a memory of some capacity.
class Products {
 public:
  Products(const Flow& flow, const Kernels& kernels, Amounts& amounts, std::int64_t capacity);

  const Product& of(std::uint32_t kernel) const { return products_[kernel]; }
  /// Whether the operands have to be read again, 0 or 1 or by size.
  Amounts::Id tiled(const Product& product) { return shared_[product.loops].tiled; }
  /// Whether not all ways to cut something were looked at: sizes are free, and which is best takes too much to say.
  bool is_bound() const noexcept { return is_bound_; }
  /// Bytes of the left operand, and how often the others are read, where so many bytes of them come from outside.
  std::pair<Amounts::Id, Amounts::Id> again(const Product& product, Amounts::Id left, Amounts::Id right);
  /// What no order of the loops can go below, without reading and writing each operand once; 0: not known.
  Amounts::Id io_bound(const Product& product) { return shared_[product.loops].io_bound; }

 private:
  /// How often the operands are read when the loops are cut in one way. Patches of a convolution share their edges: the
  /// left one is read up / down times as much where not all of its rows are in one tile of `rows`.
  struct Way {
    Count left, right;
    Count rows;
    Count fits = 1;  ///< 1 where there is room for it, else 0
    std::int64_t up = 1, down = 1;
  };
  struct Shared {
    Loops loops;
    Amounts::Id tiled = 0, io_bound = 0;
    std::vector<Way> ways;
  };
  using Key = std::tuple<const Nest*, std::array<Amounts::Id, 7>, std::array<DType, 3>>;

  Product product_of(std::uint32_t row);
  Loops loops_of(std::uint32_t row, const Nest* stated, const Count& macs) const;
  void join(Product& scores, const Product& values);
  void finish(Shared& shared);
  std::vector<Way> ways(const Loops& loops);
  static bool knows_edges(const Loops& loops) {
    return !loops.nest.v.is(0) || loops.nest.overlap == 1 || loops.nest.n.is_constant();
  }
  static Way with_edges(Way way, const Loops& loops);
  static Count need(const Loops& loops);
  Count io_bound(const Loops& loops) const;
  std::uint32_t behind(std::uint32_t tensor) const;

  const Flow& flow_;
  const Kernels& kernels_;
  Amounts& amounts_;
  std::int64_t capacity_;
  std::vector<Product> products_;
  std::vector<Shared> shared_;
  std::map<Key, std::uint32_t> known_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> joined_;
  std::map<std::tuple<std::uint32_t, Amounts::Id, Amounts::Id>, std::pair<Amounts::Id, Amounts::Id>> again_;
  bool is_bound_ = false;
};

}  // namespace macsim
