// Span and Shape: a view of a run of elements, and a short list of sizes that rarely allocates.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_SPAN_HPP
#define MACSIM_SPAN_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "macsim/expr.hpp"

namespace macsim {

/// A read-only view of elements that someone else owns (std::span arrives with C++20).
template <class T>
class Span {
 public:
  constexpr Span() noexcept = default;
  constexpr Span(const T* data, std::size_t size) noexcept : data_(data), size_(size) {}
  Span(const std::vector<T>& from) noexcept : data_(from.data()), size_(from.size()) {}
  constexpr const T* begin() const noexcept { return data_; }
  constexpr const T* end() const noexcept { return data_ + size_; }
  constexpr const T* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr const T& operator[](std::size_t i) const noexcept { return data_[i]; }

 private:
  const T* data_ = nullptr;
  std::size_t size_ = 0;
};

/// The sizes of a tensor, outermost first. Up to five are held in place. Reading past the end through a const Shape
/// gives an undefined size, so that a rule which forgot to check a rank marks its result unknown and does not crash.
class Shape {
 public:
  using value_type = Dim;
  Shape() noexcept {}
  Shape(std::initializer_list<Dim> dims) { append(dims.begin(), dims.end()); }
  Shape(const Dim* first, const Dim* last) { append(first, last); }
  explicit Shape(std::size_t rank, const Dim& fill = Dim()) {
    reserve(rank);
    for (std::size_t i = 0; i < rank; ++i) push_back(fill);
  }
  Shape(const Shape& other) { append(other.begin(), other.end()); }
  Shape(Shape&& other) noexcept { take(other); }
  Shape& operator=(const Shape& other) {
    if (this != &other) {
      clear();
      append(other.begin(), other.end());
    }
    return *this;
  }
  Shape& operator=(Shape&& other) noexcept {
    if (this != &other) {
      drop();
      take(other);
    }
    return *this;
  }
  ~Shape() { drop(); }

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  const Dim* begin() const noexcept { return data(); }
  const Dim* end() const noexcept { return data() + size_; }
  Dim* begin() noexcept { return data(); }
  Dim* end() noexcept { return data() + size_; }
  const Dim& operator[](std::size_t i) const noexcept { return i < size_ ? data()[i] : outside(); }
  /// `i` must be below size().
  Dim& operator[](std::size_t i) noexcept { return data()[i]; }
  const Dim& back() const noexcept { return size_ != 0 ? data()[size_ - 1] : outside(); }
  Dim& back() noexcept { return data()[size_ - 1]; }

  void reserve(std::size_t capacity) {
    if (capacity > capacity_) grow(capacity);
  }
  void push_back(Dim dim) {
    if (size_ == capacity_) grow(std::size_t{capacity_} * 2);
    new (data() + size_) Dim(std::move(dim));
    ++size_;
  }
  void pop_back() noexcept { data()[--size_].~Expr(); }
  void append(const Dim* first, const Dim* last) {
    reserve(size_ + static_cast<std::size_t>(last - first));
    Dim* to = data() + size_;
    size_ += static_cast<std::uint32_t>(last - first);
    for (; first != last; ++first, ++to) new (to) Dim(*first);
  }
  /// `at` must be at most size().
  void insert(std::size_t at, Dim dim) {
    push_back(std::move(dim));
    for (std::size_t i = size_ - 1; i > at; --i) std::swap(data()[i], data()[i - 1]);
  }
  /// `at` must be below size().
  void erase(std::size_t at) noexcept {
    for (std::size_t i = at; i + 1 < size_; ++i) std::swap(data()[i], data()[i + 1]);
    pop_back();
  }
  void clear() noexcept {
    while (size_ != 0) pop_back();
  }
  friend bool operator==(const Shape& a, const Shape& b) noexcept {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i) {
      if (a.data()[i] != b.data()[i]) return false;
    }
    return true;
  }
  friend bool operator!=(const Shape& a, const Shape& b) noexcept { return !(a == b); }

 private:
  static constexpr std::uint32_t kInPlace = 5;
  static const Dim& outside() noexcept {
    static const Dim none = Dim::undefined();
    return none;
  }
  bool on_heap() const noexcept { return capacity_ != kInPlace; }
  Dim* data() noexcept { return on_heap() ? heap_ : reinterpret_cast<Dim*>(place_); }
  const Dim* data() const noexcept { return on_heap() ? heap_ : reinterpret_cast<const Dim*>(place_); }
  void grow(std::size_t capacity) {
    Dim* wider = static_cast<Dim*>(::operator new(capacity * sizeof(Dim)));
    // A Dim is one word that owns what it points to: its bytes may move, as long as only one copy is used after.
    std::memcpy(static_cast<void*>(wider), static_cast<const void*>(data()), size_ * sizeof(Dim));
    if (on_heap()) ::operator delete(heap_);
    heap_ = wider;
    capacity_ = static_cast<std::uint32_t>(capacity);
  }
  void drop() noexcept {
    clear();
    if (on_heap()) ::operator delete(heap_);
    capacity_ = kInPlace;
  }
  void take(Shape& other) noexcept {
    size_ = other.size_;
    capacity_ = other.capacity_;
    if (other.on_heap()) {
      heap_ = other.heap_;
    } else {
      std::memcpy(place_, other.place_, size_ * sizeof(Dim));  // see grow()
    }
    other.size_ = 0;
    other.capacity_ = kInPlace;
  }

  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = kInPlace;
  union {
    alignas(Dim) unsigned char place_[kInPlace * sizeof(Dim)];
    Dim* heap_;
  };
};

}  // namespace macsim

#endif  // MACSIM_SPAN_HPP
