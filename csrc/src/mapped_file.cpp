// Mapping a file: mmap where there is POSIX, MapViewOfFile on Windows.
// Copyright macsim contributors. SPDX-License-Identifier: Apache-2.0
#include "mapped_file.hpp"

#include <cstdint>
#include <cstring>
#include <system_error>

#ifdef _WIN32
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#endif

namespace macsim {
namespace {

Status unreadable(const std::string& path, const std::string& why) {
  return {Code::unreadable, "cannot read '" + path + "': " + why};
}

}  // namespace

#ifdef _WIN32

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  const auto last_error = [] { return std::system_category().message(static_cast<int>(GetLastError())); };
  const int wide_size = MultiByteToWideChar(CP_UTF8, 0, path.c_str(), -1, nullptr, 0);
  std::wstring wide(static_cast<std::size_t>(wide_size > 0 ? wide_size : 1), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, path.c_str(), -1, wide.data(), wide_size);
  const DWORD attributes = GetFileAttributesW(wide.c_str());
  if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY) != 0) {
    return unreadable(path, "it is a directory");
  }
  const HANDLE file = CreateFileW(wide.c_str(), GENERIC_READ, FILE_SHARE_READ, nullptr, OPEN_EXISTING,
                                  FILE_FLAG_RANDOM_ACCESS, nullptr);
  if (file == INVALID_HANDLE_VALUE) return unreadable(path, last_error());
  LARGE_INTEGER size{};
  if (!GetFileSizeEx(file, &size)) {
    CloseHandle(file);
    return unreadable(path, last_error());
  }
  const void* data = nullptr;
  if (size.QuadPart != 0) {
    const HANDLE mapping = CreateFileMappingW(file, nullptr, PAGE_READONLY, 0, 0, nullptr);
    if (mapping != nullptr) {
      data = MapViewOfFile(mapping, FILE_MAP_READ, 0, 0, 0);
      CloseHandle(mapping);
    }
    if (data == nullptr) {
      CloseHandle(file);
      return unreadable(path, last_error());
    }
  }
  CloseHandle(file);
  return std::shared_ptr<const MappedFile>(std::make_shared<MappedFile>(
      static_cast<const char*>(data), static_cast<std::size_t>(size.QuadPart), Identity()));
}

bool MappedFile::unchanged() const noexcept { return true; }  // the system lets nobody write to a mapped file

MappedFile::~MappedFile() {
  if (size_ != 0) UnmapViewOfFile(data_);
}

void fetch_ahead(std::string_view) noexcept {}

#else

namespace {
timespec modified(const struct stat& about) noexcept {
#ifdef __APPLE__
  return about.st_mtimespec;
#else
  return about.st_mtim;
#endif
}
}  // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string& path) {
  const auto last_error = [] { return std::generic_category().message(errno); };
  // Without O_NONBLOCK a pipe that nobody writes to would wait for ever.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return unreadable(path, last_error());
  struct stat about{};
  const bool known = ::fstat(file, &about) == 0;
  if (!known || !S_ISREG(about.st_mode)) {
    const std::string why = !known ? last_error() : S_ISDIR(about.st_mode) ? "it is a directory" : "it is not a file";
    ::close(file);
    return unreadable(path, why);
  }
  const auto size = static_cast<std::size_t>(about.st_size);
  void* data = nullptr;
  if (size != 0) {
    data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED) {
      const std::string why = last_error();
      ::close(file);
      return unreadable(path, why);
    }
    ::madvise(data, size, MADV_RANDOM);
  }
  ::close(file);
  std::error_code ignored;
  Identity identity{std::filesystem::absolute(path, ignored).string(),
                    about.st_dev,
                    about.st_ino,
                    size,
                    modified(about).tv_sec,
                    modified(about).tv_nsec};
  return std::shared_ptr<const MappedFile>(
      std::make_shared<MappedFile>(static_cast<const char*>(data), size, std::move(identity)));
}

bool MappedFile::unchanged() const noexcept {
  struct stat about{};
  if (::stat(identity_.path.c_str(), &about) != 0) return true;  // its name is gone, the bytes are not
  if (std::uint64_t{about.st_dev} != identity_.device || std::uint64_t{about.st_ino} != identity_.number) return true;
  return static_cast<std::uint64_t>(about.st_size) == identity_.size && modified(about).tv_sec == identity_.seconds &&
         modified(about).tv_nsec == identity_.nanoseconds;
}

MappedFile::~MappedFile() {
  if (size_ != 0) ::munmap(const_cast<char*>(data_), size_);
}

void fetch_ahead(std::string_view bytes) noexcept {
  static const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::uintptr_t aligned = first / page * page;
  ::madvise(reinterpret_cast<void*>(aligned), first - aligned + bytes.size(), MADV_WILLNEED);
}

#endif

}  // namespace macsim
