// What the families share for torch's spellings: names, and shape rules of calls by torch's conventions.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "macsim/rule.hpp"

namespace macsim::rules {

/// Spellings in ATen, without overloads, or whole ones of torch's other libraries ("prims::abs"). Tensors fill the
/// slots in the order of torch's schema, from the first on; attributes have the schema's names. Without a shape rule
/// torch tells the results.
std::vector<Binding> aten(std::initializer_list<std::string_view> names, const InferFn& infer = {},
                          const Text& slots = {}, const Text& attrs = {}, const CostFn& cost = {});

/// The dtype that two tensors meet in: of another kind the higher kind, of the same the wider. A tensor without axes
/// yields to one with axes of the same kind, and a number to both.
DType promoted(const Type& a, const Type& b);
/// The dtype of a function that has no integer results: torch's default where x is of whole numbers.
DType real_of(DType x);

/// A number that is given on the host, at a position among the inputs; undefined() where it is none that is whole.
Dim aten_number(const Call& c, std::size_t position);
/// The same of a list.
std::vector<Dim> aten_numbers(const Call& c, std::size_t position);
/// The dtype that is stated; unknown: torch's default, or that of a number.
DType stated(const Call& c);

/// Output 0 is as slot 0.
Status aten_same(const Call& c, Outputs& out);
/// The same, of a function that has no integer results.
Status aten_real(const Call& c, Outputs& out);
/// Slots 0 and 1 broadcast against each other, either perhaps a number (the attribute `number`, "other").
Status aten_pair(const Call& c, Outputs& out);
Status aten_ratio(const Call& c, Outputs& out);    ///< the same, without integer results
Status aten_compare(const Call& c, Outputs& out);  ///< the same, of booleans
/// Axes `dim` (all when left out) go, or become 1 with `keepdim`; sums of whole numbers are of 64 bits.
Status aten_reduced(const Call& c, Outputs& out);
Status aten_reduced_same(const Call& c, Outputs& out);  ///< the same, in the input's dtype
/// The same, as output `output` and of this dtype.
Status aten_reduced_to(const Call& c, Outputs& out, DType dtype, std::size_t output = 0);
/// The dtype of sums and products: what is stated, of whole numbers i64, otherwise the input's.
DType sum_of(const Call& c);
/// The dtype that what is in two slots meets in, either perhaps a number.
DType aten_meeting(const Call& c, std::size_t a, std::size_t b);
/// A window's numbers, one for every axis or one for all.
std::vector<std::int64_t> each_axis(Span<std::int64_t> given, std::size_t axes, std::int64_t otherwise);

}  // namespace macsim::rules
