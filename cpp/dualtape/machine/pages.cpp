// SPDX-License-Identifier: MIT
#include "dualtape/machine/pages.hpp"

#include <atomic>
#include <cstring>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#define DUALTAPE_HAS_PAGES 1
#endif

namespace dualtape::machine {
namespace {

std::atomic<std::size_t> bytes_in_use{0};

}  // namespace

std::size_t Pages::in_use() { return bytes_in_use; }

Pages Pages::with([[maybe_unused]] std::span<const std::byte> code) {
  Pages out;
#if defined(DUALTAPE_HAS_PAGES)
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t mapped = (code.size() + page - 1) / page * page;
  void* data = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return out;
  std::memcpy(data, code.data(), code.size());
  if (mprotect(data, mapped, PROT_READ | PROT_EXEC) != 0) {
    munmap(data, mapped);
    return out;
  }
  out.data_ = data;
  out.size_ = code.size();
  out.mapped_ = mapped;
  bytes_in_use += mapped;
#endif
  return out;
}

Pages::Pages(Pages&& other) noexcept { *this = std::move(other); }

Pages& Pages::operator=(Pages&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

Pages::~Pages() {
#if defined(DUALTAPE_HAS_PAGES)
  if (data_) {
    munmap(data_, mapped_);
    bytes_in_use -= mapped_;
  }
#endif
}

}  // namespace dualtape::machine
