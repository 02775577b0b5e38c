// SPDX-License-Identifier: MIT
#include "dualtape/loop/batches.hpp"

#include <cstring>
#include <numeric>

#include "dualtape/num/philox.hpp"

namespace dualtape::loop {

std::span<const std::int64_t> BatchOrder::rows(std::int64_t iteration) {
  const std::int64_t epoch = (iteration - 1) / batches_.per_epoch();
  if (epoch != epoch_) {
    if (batches_.shuffle) {
      order_ = num::permutation(batches_.rows(), *batches_.shuffle, static_cast<std::uint64_t>(epoch));
    } else if (order_.empty()) {
      order_.resize(static_cast<std::size_t>(batches_.rows()));
      std::iota(order_.begin(), order_.end(), std::int64_t{0});
    }
    epoch_ = epoch;
  }
  const auto first = static_cast<std::size_t>((iteration - 1) % batches_.per_epoch() * batches_.size);
  return std::span<const std::int64_t>(order_).subspan(first, static_cast<std::size_t>(batches_.size));
}

void BatchOrder::gather(const array::Array& data, std::span<const std::int64_t> rows, char* to) {
  const std::int64_t extent = data.shape()[0];
  const auto bytes = static_cast<std::size_t>(extent ? data.size() / extent * array::item_size(data.dtype()) : 0);
  const char* from = static_cast<const char*>(data.raw_data());
  for (const std::int64_t row : rows) {
    std::memcpy(to, from + static_cast<std::size_t>(row) * bytes, bytes);
    to += bytes;
  }
}

}  // namespace dualtape::loop
