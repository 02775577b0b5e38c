// SPDX-License-Identifier: MIT
// Checkpoints: which states of a loop are kept on the way, so that its steps can be pulled back in reverse order.
//
// Where the number of steps is known, they are the binomial ones of Griewank and Walther (2000, ACM TOMS 26, algorithm
// 799, "Revolve"): with s places, binomial(s + t, s) steps can be reversed such that none is computed more than t
// times, and no schedule does better. Where it is not known (a while_loop), every state is kept until the places are
// full, then every second one is given up, and from then on half as many are kept, and so on; what lies between two of
// them is binomial again when the steps are reversed (after Wang, Moin and Iaccarino 2009, SIAM J. Sci. Comput. 31).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace dualtape::loop {

/// Steps that `places` can serve where each is computed `times` times at most: binomial(places + times, places), or
/// INT64_MAX where that is more.
std::int64_t reach(std::int64_t places, std::int64_t times);
/// For `steps` steps behind a state that is kept, with `places` places including its own: how far ahead to keep the
/// next one. 0 < it < steps, for at least two steps and places.
std::int64_t next_kept(std::int64_t steps, std::int64_t places);
/// Places for a loop of `steps` steps: 80 for each doubling, so that a million steps are computed twice each at most,
/// and fewer where states of `bytes` bytes would need more than 256 MiB, down to 4 for each doubling.
std::int64_t places_for(std::int64_t steps, std::size_t bytes);

/// The states that are kept, in the order of their steps.
class Checkpoints {
 public:
  explicit Checkpoints(std::size_t bytes) : bytes_(bytes) {}

  std::int64_t count() const { return static_cast<std::int64_t>(steps_.size()); }
  std::int64_t last() const { return steps_.back(); }
  const char* last_state() const { return at(steps_.size() - 1); }
  /// The most that were kept at a time.
  std::int64_t most() const { return most_; }
  void keep(std::int64_t step, const char* state) {
    const std::size_t place = steps_.size();
    if (place == pieces_.size() * kTogether) grow();
    steps_.push_back(step);
    if (bytes_ == sizeof(double)) {
      std::memcpy(at(place), state, sizeof(double));
    } else if (bytes_) {
      std::memcpy(at(place), state, bytes_);
    }
    most_ = std::max(most_, count());
  }
  void drop() { steps_.pop_back(); }
  /// For loops whose number of steps is not known: keeps the state if it is its turn.
  void offer(std::int64_t step, const char* state, std::int64_t places);

 private:
  void grow();
  static constexpr std::size_t kTogether = 64;  // states of one piece of memory
  char* at(std::size_t i) const { return pieces_[i / kTogether].get() + i % kTogether * bytes_; }

  std::size_t bytes_;
  std::int64_t every_ = 1, most_ = 0;  // every: a power of two
  std::vector<std::int64_t> steps_;
  std::vector<std::unique_ptr<char[]>> pieces_;
};

}  // namespace dualtape::loop
