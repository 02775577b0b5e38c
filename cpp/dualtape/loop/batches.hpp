// SPDX-License-Identifier: MIT
// Minibatches: which rows of the data an iteration sees. An epoch goes through the data once, in an order that follows
// from the seed and the number of the epoch alone; what is left over at its end is left out.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dualtape/array/array.hpp"

namespace dualtape::loop {

struct Batches {
  std::vector<array::Array> data;        // each with a leading axis of the same extent; C-ordered
  std::int64_t size = 1;                 // rows in a batch
  std::optional<std::uint64_t> shuffle;  // the seed; none: in order

  std::int64_t rows() const { return data.empty() ? 0 : data[0].shape()[0]; }
  std::int64_t per_epoch() const { return rows() / size; }
};

/// Finds rows, and remembers the order of the epoch it was asked for last.
class BatchOrder {
 public:
  explicit BatchOrder(const Batches& batches) : batches_(batches) {}
  /// The rows of an iteration, from 1.
  std::span<const std::int64_t> rows(std::int64_t iteration);
  /// Copies the rows of a leaf one after another.
  static void gather(const array::Array& data, std::span<const std::int64_t> rows, char* to);

 private:
  const Batches& batches_;
  std::int64_t epoch_ = -1;
  std::vector<std::int64_t> order_;
};

}  // namespace dualtape::loop
