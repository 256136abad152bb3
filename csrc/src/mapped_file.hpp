// MappedFile: the bytes of a file, read only, without loading it.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_MAPPED_FILE_HPP
#define MACSIM_MAPPED_FILE_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "macsim/diag.hpp"

namespace macsim {

/// A file mapped into memory. Only the pages that are looked at are fetched: read-ahead is off, as weights lie between
/// what is read; see fetch_ahead. Cutting the file short while it is mapped takes the bytes away under the reader: ask
/// unchanged() before looking at them late.
class MappedFile {
 public:
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);

  /// What a file is known by: as long as it stays, the bytes do.
  struct Identity {
    std::string path;  ///< absolute
    std::uint64_t device = 0, number = 0, size = 0;
    std::int64_t seconds = 0, nanoseconds = 0;  ///< when it was last written to
  };
  MappedFile(const char* data, std::size_t size, Identity identity) noexcept
      : data_(data), size_(size), identity_(std::move(identity)) {}
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::string_view bytes() const noexcept { return {data_, size_}; }
  /// False when the file was written to since it was mapped. True when another took its place: the map keeps the old.
  bool unchanged() const noexcept;

 private:
  const char* data_;
  std::size_t size_;
  Identity identity_;
};

/// Says that these bytes of a mapped file are needed soon, so that they are fetched in one go. Only advice.
void fetch_ahead(std::string_view bytes) noexcept;

}  // namespace macsim

#endif  // MACSIM_MAPPED_FILE_HPP
