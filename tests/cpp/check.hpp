// A small test runner: TEST("what holds") { CHECK(...); CHECK_EQ(found, expected); }, one per file, main included.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_TESTS_CHECK_HPP
#define MACSIM_TESTS_CHECK_HPP

#include <cstdio>
#include <exception>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace check {

inline std::vector<std::pair<const char*, void (*)()>> tests;  // name and body
inline int failures = 0;                                       // of the test that is running

inline void fail(const char* file, int line, const std::string& what) {
  constexpr int kShown = 20;
  if (failures++ < kShown) std::printf("%s:%d: %s\n", file, line, what.c_str());
}

template <class T>
std::string show(const T& value) {
  std::string text;
  if constexpr (requires { value.str(); })
    text = value.str();
  else if constexpr (requires(std::ostringstream& out) { out << value; })
    text = (std::ostringstream() << value).str();
  else if constexpr (requires { value.has_value(); })
    text = value ? show(*value) : "nothing";
  else if constexpr (std::is_enum_v<T>)
    text = std::to_string(static_cast<long long>(value));
  else if constexpr (requires { value.begin(); })
    for (const auto& item : value) text += "[" + show(item) + "]";
  else
    text = "(a value that cannot be printed)";
  return text;
}

template <class A, class B>
void equal(const A& a, const B& b, const char* text, const char* file, int line) {
  bool same;
  if constexpr (std::is_integral_v<A> && std::is_integral_v<B>)  // of any signs
    same = static_cast<long long>(a) == static_cast<long long>(b) && static_cast<double>(a) == static_cast<double>(b);
  else
    same = a == b;
  if (!same) fail(file, line, std::string(text) + "\n  found:    " + show(a) + "\n  expected: " + show(b));
}

inline int run() {
  int failed = 0;
  for (const auto& [name, body] : tests) {
    failures = 0;
    try {
      body();
    } catch (const std::exception& error) {
      fail("exception", 0, error.what());
    }
    if (failures > 0) std::printf("FAILED: %s (%d checks)\n", name, failures), ++failed;
  }
  std::printf("%d passed, %d failed\n", static_cast<int>(tests.size()) - failed, failed);
  return failed == 0 && !tests.empty() ? 0 : 1;
}

}  // namespace check

#define CHECK_JOIN2(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN2(a, b)
#define TEST(name)                                                   \
  static void CHECK_JOIN(test_, __LINE__)();                         \
  static const auto& CHECK_JOIN(registered_, __LINE__) =             \
      check::tests.emplace_back(name, &CHECK_JOIN(test_, __LINE__)); \
  static void CHECK_JOIN(test_, __LINE__)()
#define CHECK(condition) ((condition) ? void() : check::fail(__FILE__, __LINE__, #condition))
#define CHECK_EQ(a, b) check::equal((a), (b), #a " == " #b, __FILE__, __LINE__)

int main() { return check::run(); }

#endif  // MACSIM_TESTS_CHECK_HPP
