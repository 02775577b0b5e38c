// SPDX-License-Identifier: MIT
// Kernel: a body as machine code. `compile` is all that the rest of the core sees of an instruction set.
//
// A kernel goes through the lanes a few vectors at a time. For each group of vectors it loads the states, runs all
// iterations with the states in registers, and stores them. With `until`, a group stops after the iteration in which
// one of its active lanes is done, whatever the others do.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dualtape/machine/body.hpp"
#include "dualtape/machine/pages.hpp"

namespace dualtape::machine {

/// What a kernel is called with. `byte of a lane` is its number times the size of a number.
struct Call {
  char* lanes = nullptr;
  const char* shared = nullptr;
  const char* const* tables = nullptr;  // each from the first iteration on; for own iterations from iteration 0 on
  char* records = nullptr;
  std::int64_t record_step = 0;           // bytes from one iteration's records to the next
  const char* iterations_done = nullptr;  // own iterations: at the byte of each lane an integer of a number's size
  const char* active = nullptr;           // until: at the byte of a vector's first lane a bit for each active lane
  char* done = nullptr;                   // until: there the number of iterations that its group has done (32 bits)
  std::int64_t first = 0;                 // the byte of the first lane
  std::int64_t bytes = 0;                 // of the lanes in use, whole vectors
  std::int64_t iterations = 1;            // or rows:
  std::int64_t row_step = 0;              // bytes from a row to the next,
  const char* const* rows = nullptr;      // and the places of the first row, then of the second, ...
  const char* const* places = nullptr;    // and those of all rows
};

class Kernel {
 public:
  Kernel(Pages pages, int width, std::int64_t item) : pages_(std::move(pages)), width_(width), item_(item) {}
  void operator()(const Call& call) const { reinterpret_cast<void (*)(const Call*)>(pages_.data())(&call); }
  /// Lanes in a vector; their memory is used in whole vectors.
  int width() const { return width_; }
  std::int64_t vector_bytes() const { return width_ * item_; }
  std::span<const std::byte> code() const { return {static_cast<const std::byte*>(pages_.data()), pages_.size()}; }

 private:
  Pages pages_;
  int width_;
  std::int64_t item_;
};

/// Kernels, each with what it is for.
using Listing = std::vector<std::pair<std::string, std::span<const std::byte>>>;

/// The processor's flags of this thread, by which it remembers that a number became infinite or NaN.
class FiniteFlags {
 public:
  FiniteFlags() { clear(); }
  static void clear();
  /// Whether every result since then of operations on finite numbers was finite.
  static bool all_finite();
};

/// Whether machine code is wanted: not where the environment variable DUALTAPE_EXECUTOR is `interpreter` (the other
/// value is `machine`).
bool is_wanted();
/// Lanes in a vector of the current instruction set; 0 where there is no machine code for it.
int vector_width(bool single);
/// What an instruction set brings (x86.cpp): null where it fails.
std::unique_ptr<Kernel> emit(const Body& body, bool scalar);
/// The kernel of a body: for vectors of lanes or, `scalar`, for one lane. Null where machine code cannot be had.
std::unique_ptr<Kernel> compile(const Body& body, bool scalar);
/// Whether that has happened although there is machine code for this processor: the system refused the memory, say.
bool has_failed();

}  // namespace dualtape::machine
