// A small test runner: TEST("what holds") { CHECK(...); CHECK_EQ(found, expected); }, one per file, main included.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_TESTS_CHECK_HPP
#define MACSIM_TESTS_CHECK_HPP

#include <cstdio>
#include <exception>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace check {

struct Test {
  std::string_view name;
  void (*body)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline int& failures() {  // of the test that is running
  static int count = 0;
  return count;
}

struct Registration {
  Registration(std::string_view name, void (*body)()) { tests().push_back({name, body}); }
};

inline void fail(const char* file, int line, const std::string& what) {
  constexpr int kShown = 20;
  if (failures()++ < kShown) std::printf("%s:%d: %s\n", file, line, what.c_str());
}

template <class T>
std::string show(const T& value) {
  if constexpr (requires { value.str(); })
    return value.str();
  else if constexpr (requires(std::ostringstream& out) { out << value; })
    return (std::ostringstream() << value).str();
  else if constexpr (requires { value.has_value(); })
    return value ? show(*value) : "nothing";
  else if constexpr (std::is_enum_v<T>)
    return std::to_string(static_cast<long long>(value));
  else if constexpr (requires { value.begin(); }) {
    std::string text;
    for (const auto& item : value) text += (text.empty() ? "" : ", ") + show(item);
    return "[" + text + "]";
  } else
    return "(a value that cannot be printed)";
}

template <class A, class B>
void equal(const A& a, const B& b, const char* text, const char* file, int line) {
  if (!(a == b)) fail(file, line, std::string(text) + "\n  found:    " + show(a) + "\n  expected: " + show(b));
}

inline int run() {
  int failed = 0;
  for (const Test& test : tests()) {
    failures() = 0;
    try {
      test.body();
    } catch (const std::exception& error) {
      fail("exception", 0, error.what());
    }
    if (failures() == 0) continue;
    ++failed;
    std::printf("FAILED: %.*s (%d checks)\n", static_cast<int>(test.name.size()), test.name.data(), failures());
  }
  std::printf("%d passed, %d failed\n", static_cast<int>(tests().size()) - failed, failed);
  return failed == 0 && !tests().empty() ? 0 : 1;
}

}  // namespace check

#define CHECK_JOIN2(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN2(a, b)
#define TEST(name)                                                                                        \
  static void CHECK_JOIN(test_, __LINE__)();                                                              \
  static const check::Registration CHECK_JOIN(registered_, __LINE__)(name, &CHECK_JOIN(test_, __LINE__)); \
  static void CHECK_JOIN(test_, __LINE__)()
#define CHECK(condition) ((condition) ? void() : check::fail(__FILE__, __LINE__, #condition))
#define CHECK_EQ(a, b) check::equal((a), (b), #a " == " #b, __FILE__, __LINE__)

int main() { return check::run(); }

#endif  // MACSIM_TESTS_CHECK_HPP
