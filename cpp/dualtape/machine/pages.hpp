// SPDX-License-Identifier: MIT
// Pages: memory that holds machine code. It is written first and executable afterwards, never both.
#pragma once

#include <cstddef>
#include <span>

namespace dualtape::machine {

class Pages {
 public:
  Pages() = default;
  /// Pages with a copy of `code`, executable. Empty where the system does not allow it.
  static Pages with(std::span<const std::byte> code);
  Pages(Pages&& other) noexcept;
  Pages& operator=(Pages&& other) noexcept;
  ~Pages();

  explicit operator bool() const { return data_ != nullptr; }
  const void* data() const { return data_; }
  std::size_t size() const { return size_; }
  /// Bytes of code that are held by all pages of the process.
  static std::size_t in_use();

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0, mapped_ = 0;
};

}  // namespace dualtape::machine
