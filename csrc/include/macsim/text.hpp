// Text: what a row says, a literal or a text of its own.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_TEXT_HPP
#define MACSIM_TEXT_HPP

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace macsim {

/// A text that never changes. Of a literal it holds the address, of anything else its own copy, which copies of the
/// Text share: so a table of rows that are mostly literals is built, copied and moved without asking for memory.
/// An array of constant characters is taken for a literal: it must outlive the Text. Other threads may hold copies.
class Text {
 public:
  constexpr Text() noexcept = default;
  template <std::size_t N>
  constexpr Text(const char (&literal)[N]) noexcept : data_(literal), size_(N - 1) {}
  template <std::size_t N>
  Text(char (&written)[N]) : Text(std::string_view(written)) {}
  template <class Pointer, class = std::enable_if_t<std::is_same_v<Pointer, const char*>>>
  Text(const Pointer& text) : Text(std::string_view(text)) {}
  Text(const std::string& text) : Text(std::string_view(text)) {}
  Text(std::string_view text) : Text(joined({text})) {}
  Text(const Text& other) noexcept : data_(other.data_), size_(other.size_), own_(other.own_) {
    if (own_ != nullptr) retain(own_);
  }
  Text(Text&& other) noexcept
      : data_(std::exchange(other.data_, "")),
        size_(std::exchange(other.size_, 0)),
        own_(std::exchange(other.own_, nullptr)) {}
  Text& operator=(Text other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(own_, other.own_);
    return *this;
  }
  ~Text() {
    if (own_ != nullptr) release(own_);
  }

  /// The parts, one after the other.
  static Text joined(std::initializer_list<std::string_view> parts);

  constexpr operator std::string_view() const noexcept { return {data_, size_}; }
  operator std::string() const { return str(); }
  constexpr std::string_view view() const noexcept { return {data_, size_}; }
  std::string str() const { return std::string(data_, size_); }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr std::size_t size() const noexcept { return size_; }

  // With whatever is a text; templates, or they would compete with those of std::string_view.
  template <class Other, class = std::enable_if_t<std::is_convertible_v<const Other&, std::string_view>>>
  friend bool operator==(const Text& a, const Other& b) noexcept {
    return a.view() == std::string_view(b);
  }
  template <class Other, class = std::enable_if_t<std::is_convertible_v<const Other&, std::string_view>>>
  friend bool operator!=(const Text& a, const Other& b) noexcept {
    return a.view() != std::string_view(b);
  }
  template <class Other, class = std::enable_if_t<std::is_convertible_v<const Other&, std::string_view> &&
                                                  !std::is_same_v<Other, Text>>>
  friend bool operator==(const Other& a, const Text& b) noexcept {
    return std::string_view(a) == b.view();
  }
  template <class Other, class = std::enable_if_t<std::is_convertible_v<const Other&, std::string_view> &&
                                                  !std::is_same_v<Other, Text>>>
  friend bool operator!=(const Other& a, const Text& b) noexcept {
    return std::string_view(a) != b.view();
  }

 private:
  struct Own;  // how many hold it, and its characters
  static void retain(Own* own) noexcept;
  static void release(Own* own) noexcept;

  const char* data_ = "";
  std::size_t size_ = 0;
  Own* own_ = nullptr;
};

}  // namespace macsim

#endif  // MACSIM_TEXT_HPP
