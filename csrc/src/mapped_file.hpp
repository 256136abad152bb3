// MappedFile: the bytes of a file, read only, without loading it.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#ifndef MACSIM_MAPPED_FILE_HPP
#define MACSIM_MAPPED_FILE_HPP

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "macsim/diag.hpp"

namespace macsim {

/// A file mapped into memory. Only the pages that are looked at are fetched: read-ahead is off, as weights lie between
/// what is read; see fetch_ahead. The file must not be cut short while it is mapped.
class MappedFile {
 public:
  static Result<std::shared_ptr<const MappedFile>> open(const std::string& path);

  MappedFile(const char* data, std::size_t size) noexcept : data_(data), size_(size) {}
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::string_view bytes() const noexcept { return {data_, size_}; }

 private:
  const char* data_;
  std::size_t size_;
};

/// Says that these bytes of a mapped file are needed soon, so that they are fetched in one go. Only advice.
void fetch_ahead(std::string_view bytes) noexcept;

}  // namespace macsim

#endif  // MACSIM_MAPPED_FILE_HPP
