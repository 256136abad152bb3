// Einsum: parsing an equation, and the size of its loop nest.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <string>

#include "aten.hpp"
#include "contraction.hpp"
#include "families.hpp"
#include "gradient.hpp"
#include "support.hpp"

namespace macsim::rules {
namespace {

/// A term of the equation: letters in order; '.' stands for all axes of the ellipsis.
using Term = std::string;

struct Equation {
  std::vector<Term> operands;
  Term result;
};

bool is_letter(char ch) { return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z'); }

/// One term without blanks, "..." as '.'; false when anything else is in it.
bool read_term(std::string_view source, Term& term) {
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == ' ') continue;
    if (is_letter(source[i])) {
      term += source[i];
    } else if (source.substr(i, 3) == "..." && term.find('.') == Term::npos) {
      term += '.';
      i += 2;
    } else {
      return false;
    }
  }
  return true;
}

/// The result of an equation without an arrow: the ellipsis, then the letters that appear once, in ASCII order.
Term implicit_result(const std::vector<Term>& operands) {
  std::array<int, 128> seen{};
  for (const Term& term : operands) {
    for (const char ch : term) ++seen[static_cast<unsigned char>(ch)];
  }
  Term result;
  if (seen['.'] > 0) result += '.';
  for (char ch = 'A'; ch <= 'z'; ++ch) {
    if (is_letter(ch) && seen[static_cast<unsigned char>(ch)] == 1) result += ch;
  }
  return result;
}

Status parse(std::string_view source, Equation& equation) {
  const std::string whole(source);
  const std::size_t arrow = source.find("->");
  std::string_view left = source.substr(0, arrow);
  for (bool more = true; more;) {
    const std::size_t comma = left.find(',');
    Term term;
    if (!read_term(left.substr(0, comma), term)) return bad("not an einsum equation: \"" + whole + "\"");
    equation.operands.push_back(std::move(term));
    more = comma != std::string_view::npos;
    if (more) left = left.substr(comma + 1);
  }
  if (arrow == std::string_view::npos) {
    equation.result = implicit_result(equation.operands);
  } else if (!read_term(source.substr(arrow + 2), equation.result)) {
    return bad("not an einsum equation: \"" + whole + "\"");
  }
  return {};
}

/// The sizes behind the letters, and behind the ellipsis.
struct Sizes {
  std::array<Dim, 128> of_letter;
  std::array<bool, 128> seen{};
  Shape ellipsis;

  const Dim& of(char ch) const { return of_letter[static_cast<unsigned char>(ch)]; }
};

/// The size of a letter that also has `b` elsewhere; a 1 stretches.
Dim stretched(const Call& c, const Dim& a, const Dim& b) {
  if (a.is(1)) return b;
  if (b.is(1)) return a;
  return unify(c, a, b, "sizes of one letter");
}

Status measure(const Call& c, const Equation& equation, Sizes& sizes) {
  if (equation.operands.size() != c.inputs()) {
    return bad("the equation has " + std::to_string(equation.operands.size()) + " operands, the node " +
               std::to_string(c.inputs()));
  }
  for (std::size_t i = 0; i < c.inputs(); ++i) {
    const Term& term = equation.operands[i];
    const Shape& shape = c.shape_at(i);
    if (!c.at(i).ranked) continue;
    const bool dots = term.find('.') != Term::npos;
    const std::size_t letters = term.size() - (dots ? 1 : 0);
    if (shape.size() < letters || (!dots && shape.size() != letters)) {
      return bad("operand " + std::to_string(i) + " of shape " + text(shape) + " does not fit the term \"" + term +
                 "\"");
    }
    std::size_t axis = 0;
    for (const char ch : term) {
      if (ch == '.') {
        const std::size_t many = shape.size() - letters;
        const Shape part(shape.begin() + axis, shape.begin() + axis + many);
        const Shape before = sizes.ellipsis;
        if (Status s = broadcast(c, before, part, sizes.ellipsis); !s) return s;
        axis += many;
        continue;
      }
      const auto at = static_cast<unsigned char>(ch);
      sizes.of_letter[at] = sizes.seen[at] ? stretched(c, sizes.of_letter[at], shape[axis]) : shape[axis];
      sizes.seen[at] = true;
      ++axis;
    }
  }
  return {};
}

Status read(const Call& c, Equation& equation, Sizes& sizes) {
  if (Status s = parse(c.text("equation", ""), equation); !s) return s;
  return measure(c, equation, sizes);
}

Status infer_einsum(const Call& c, Outputs& out) {
  Equation equation;
  Sizes sizes;
  if (Status s = read(c, equation, sizes); !s) return s;
  Shape y;
  for (const char ch : equation.result) {
    if (ch == '.') {
      y.append(sizes.ellipsis.begin(), sizes.ellipsis.end());
    } else {
      const auto used = [&](const Term& term) { return term.find(ch) != Term::npos; };
      if (std::none_of(equation.operands.begin(), equation.operands.end(), used)) {
        return bad(std::string("the letter '") + ch + "' of the result is in no operand");
      }
      y.push_back(sizes.of(ch));
    }
  }
  out.set(0, c.at(0).dtype, y);
  return {};
}

/// The product of the sizes behind a set of letters.
Count points(const Sizes& sizes, const std::string& letters) {
  Count product = 1;
  for (const char ch : letters) product *= ch == '.' ? numel(sizes.ellipsis) : sizes.of(ch);
  return product;
}

void unite(std::string& letters, const Term& term) {
  for (const char ch : term) {
    if (letters.find(ch) == std::string::npos) letters += ch;
  }
}

/// Operands are taken two by two from the left; a letter that nobody needs further on is summed at once. The products
/// of each pair, in order.
std::vector<Count> pair_macs(const Call& c, const Equation& equation, const Sizes& sizes) {
  std::vector<Count> out;
  std::string running;
  unite(running, equation.operands.front());
  for (std::size_t i = 1; i < equation.operands.size(); ++i) {
    unite(running, equation.operands[i]);
    const Count macs = points(sizes, running);
    out.push_back(class_of(c.at(0).dtype) == DTypeClass::complex ? 4 * macs : macs);
    std::string needed = equation.result;
    for (std::size_t later = i + 1; later < equation.operands.size(); ++later) unite(needed, equation.operands[later]);
    running.erase(
        std::remove_if(running.begin(), running.end(), [&](char ch) { return needed.find(ch) == std::string::npos; }),
        running.end());
  }
  return out;
}

Status cost_einsum(const Call& c, Cost& cost) {
  Equation equation;
  Sizes sizes;
  if (Status s = read(c, equation, sizes); !s) return s;
  if (equation.operands.size() == 1) {
    std::string letters;
    unite(letters, equation.operands.front());
    const Count all = points(sizes, letters);
    if (!all.is(0)) cost[Work::add] = all - numel(c.out_shape());
    if (cost[Work::add].is(0)) cost.moves("moves data only");
    return {};
  }
  for (const Count& macs : pair_macs(c, equation, sizes)) cost[Work::mac] += macs;
  return {};
}

/// Of each pair, the gradients of the one operand and of what came before it.
Status gradient_einsum(const Call& c, Gradient& g) {
  Equation equation;
  Sizes sizes;
  if (Status s = read(c, equation, sizes); !s) return s;
  if (equation.operands.size() == 1) {
    g.cost.moves("moves data only");
    return {};
  }
  const std::vector<Count> macs = pair_macs(c, equation, sizes);
  bool before = g.needs_at(0);
  for (std::size_t i = 0; i < macs.size(); ++i) {
    if (before) g[Work::mac] += macs[i];
    if (g.needs_at(i + 1)) g[Work::mac] += macs[i];
    before = before || g.needs_at(i + 1);
  }
  for (std::size_t i = 0; i < equation.operands.size(); ++i) {
    bool others = false;
    for (std::size_t j = 0; j < equation.operands.size(); ++j) others = others || (j != i && g.needs_at(j));
    if (others) g.keep_at(i);
  }
  return {};
}

}  // namespace

std::vector<Rule> einsum_rules() {
  return {{"einsum", "xs...", "Einstein summation of any number of operands",
           "mac = product of the sizes of all letters (complex: 4 times); more than two operands: pair by pair from "
           "the left, summed as soon "
           "as a letter is not needed any more; one operand: add = that product - |y|",
           "https://onnx.ai/onnx/operators/onnx__Einsum.html", infer_einsum, cost_einsum,
           onnx({"Einsum"}) + aten({"einsum"}, infer_einsum), nullptr, gradient_einsum}};
}

}  // namespace macsim::rules
