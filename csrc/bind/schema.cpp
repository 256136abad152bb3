// Reads schemas of torch's operators from their text: to ask torch's objects for one part after another takes longer.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "schema.hpp"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

namespace macsim::bind {
namespace {

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// A type as it is spelled, without what it says of aliases and of lengths.
struct Spelled {
  std::string kind;
  bool alias = false, written = false;
  std::size_t length = 0;  ///< of a list whose default may be one number: "int[2]"
};

Spelled read_type(std::string_view text) {
  Spelled out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '(') {
      const std::size_t end = std::min(text.find(')', i), text.size() - 1);
      const std::string_view inside = text.substr(i, end - i + 1);
      if (is_one_of(out.kind, {"", "Dict", "Future", "Await", "RRef"})) {
        out.kind += inside;  // what it is made of
      } else {
        out.alias = true;
        out.written = out.written || inside.find('!') != std::string_view::npos;
      }
      i = end;
    } else if (text[i] == '[') {
      out.kind += "[]";
      for (++i; i < text.size() && text[i] != ']'; ++i) {
        out.length = out.length * 10 + static_cast<std::size_t>(text[i] - '0');
      }
    } else {
      out.kind += text[i];
    }
  }
  return out;
}

/// How an argument is used, by its type and name.
std::string_view use_of(std::string_view kind, std::string_view name) {
  if (is_one_of(name, {"device", "layout", "pin_memory", "memory_format", "generator", "non_blocking"}) ||
      is_one_of(kind, {"Generator", "Device", "Stream"})) {
    return "nothing";  // where a result lies, or which numbers are drawn
  }
  if (kind.ends_with('?')) kind.remove_suffix(1);
  if (kind == "Tensor") return "tensor";
  if (is_one_of(kind, {"Tensor[]", "Tensor?[]"})) return "tensors";
  if (kind == "Scalar") return "number";
  const bool list = kind.ends_with("[]");
  if (list) kind.remove_suffix(2);
  if (list && kind.ends_with('?')) kind.remove_suffix(1);
  return is_one_of(kind, {"int", "SymInt", "ScalarType", "Layout", "MemoryFormat"}) ? "sizes" : "value";
}

py::object unreadable() { return py::reinterpret_borrow<py::object>(Py_NotImplemented); }

/// Where the first of these is that stands outside of brackets and texts; the length: nowhere.
std::size_t outside(std::string_view text, char sought, std::size_t from = 0) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = from; i < text.size(); ++i) {
    const char ch = text[i];
    if (quoted) {
      if (ch == '\\') ++i;
      quoted = ch != '"';
    } else if (depth == 0 && ch == sought) {
      return i;
    } else if (ch == '"') {
      quoted = true;
    } else if (ch == '(' || ch == '[') {
      ++depth;
    } else if (ch == ')' || ch == ']') {
      --depth;
    }
  }
  return text.size();
}

/// The parts of a list.
std::vector<std::string_view> parts_of(std::string_view text) {
  std::vector<std::string_view> out;
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = outside(text, ',', start);
    while (start < end && text[start] == ' ') ++start;
    if (start < end) out.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return out;
}

py::object number(std::string_view text) {
  const std::string digits(text);
  char* end = nullptr;
  PyObject* const whole = PyLong_FromString(digits.c_str(), &end, 10);
  if (whole != nullptr) return py::reinterpret_steal<py::object>(whole);
  PyErr_Clear();
  const double real = PyOS_string_to_double(digits.c_str(), nullptr, nullptr);
  if (real == -1.0 && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    return unreadable();
  }
  return py::float_(real);
}

py::object value(std::string_view text, std::size_t length) {
  if (text == "None") return py::none();
  if (is_one_of(text, {"True", "False"})) return py::bool_(text == "True");
  if (text.starts_with('"')) {
    const std::string_view inner = text.substr(1, text.size() - 2);
    return inner.find('\\') == std::string_view::npos ? py::object(py::str(inner.data(), inner.size())) : unreadable();
  }
  if (text.starts_with('[')) {
    py::list out;
    for (const std::string_view part : parts_of(text.substr(1, text.size() - 2))) {
      py::object one = value(part, 0);
      if (one.ptr() == Py_NotImplemented) return one;
      out.append(std::move(one));
    }
    return out;
  }
  py::object one = number(text);
  if (length == 0 || one.ptr() == Py_NotImplemented) return one;
  py::list all;  // for every place of the list
  for (std::size_t i = 0; i < length; ++i) all.append(one);
  return all;
}

py::tuple argument(std::string_view text, bool keyword) {
  // A default comes last, and its text may have anything in it.
  const std::size_t equals = text.find('=');
  const std::string_view declared = text.substr(0, equals);
  const std::size_t space = declared.rfind(' ');
  const std::string_view name = space == std::string_view::npos ? std::string_view() : declared.substr(space + 1);
  const Spelled type = read_type(declared.substr(0, space));
  py::object otherwise = equals == std::string_view::npos ? py::none() : value(text.substr(equals + 1), type.length);
  const std::string_view use = keyword && type.written ? "nothing" : use_of(type.kind, name);  // out=: only written to
  return py::make_tuple(name, type.kind, use, type.written, keyword, std::move(otherwise));
}

}  // namespace

py::tuple read_schema(std::string_view text) {
  const std::string_view called = text.substr(0, text.find('('));
  text.remove_prefix(std::min(called.size() + 1, text.size()));
  const std::size_t close = outside(text, ')');
  const std::size_t dot = std::min(called.find('.', std::min(called.find("::"), called.size())), called.size());
  py::list arguments, results;
  bool keyword = false;
  for (const std::string_view part : parts_of(text.substr(0, close))) {
    if (part == "*") {
      keyword = true;
    } else if (part != "...") {
      arguments.append(argument(part, keyword));
    }
  }
  constexpr std::string_view kArrow = ") -> ";
  std::string_view given = text.substr(std::min(close + kArrow.size(), text.size()));
  if (given.starts_with('(')) given = given.substr(1, given.size() - 2);
  for (const std::string_view part : parts_of(given)) {
    if (part == "...") continue;
    const std::size_t space = outside(part, ' ');  // before its name
    const Spelled type = read_type(part.substr(0, space));
    results.append(py::make_tuple(type.kind, type.alias));
  }
  return py::make_tuple(called.substr(0, dot), called.substr(std::min(dot + 1, called.size())), std::move(arguments),
                        std::move(results));
}

}  // namespace macsim::bind
