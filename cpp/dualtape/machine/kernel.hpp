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
  using Code = void (*)(const Call*);
  /// Code that begins so many bytes behind the beginning of the pages, which may still be empty.
  Kernel(std::shared_ptr<const Pages> pages, std::size_t begin, std::size_t bytes, int width, std::int64_t item)
      : pages_(std::move(pages)), begin_(begin), bytes_(bytes), width_(width), item_(item) {}
  void operator()(const Call& call) const { entry()(&call); }
  Code entry() const { return reinterpret_cast<Code>(code().data()); }
  /// Lanes in a vector; their memory is used in whole vectors.
  int width() const { return width_; }
  std::int64_t vector_bytes() const { return width_ * item_; }
  std::span<const std::byte> code() const { return {static_cast<const std::byte*>(pages_->data()) + begin_, bytes_}; }

 private:
  std::shared_ptr<const Pages> pages_;
  std::size_t begin_, bytes_;
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

/// Whether machine code is wanted: not where the environment variable DUALTAPE_EXECUTOR is `interpreter`. Where it is
/// `machine`, it is wanted at once, whether it pays or not.
bool is_wanted();
bool is_wanted_at_once();
/// Lanes in a vector of the current instruction set; 0 where there is no machine code for it.
int vector_width(bool single);
/// What an instruction set brings (x86.cpp): the code of a body, which may lie anywhere; none where that fails.
std::vector<std::byte> emit(const Body& body, bool scalar);
/// The kernel of a body: for vectors of lanes or, `scalar`, for one lane. Null where machine code cannot be had.
std::unique_ptr<Kernel> compile(const Body& body, bool scalar);

/// Kernels that are run one after the other, and lie so in memory.
class Batch {
 public:
  /// The kernel of a body, which can be called once `finish` has succeeded. Null where there is none.
  std::unique_ptr<Kernel> add(const Body& body, bool scalar);
  /// False where the system does not allow it.
  bool finish();

 private:
  std::shared_ptr<Pages> pages_ = std::make_shared<Pages>();
  std::vector<std::byte> code_;
};
/// Whether that has happened although there is machine code for this processor: the system refused the memory, say.
bool has_failed();

}  // namespace dualtape::machine
