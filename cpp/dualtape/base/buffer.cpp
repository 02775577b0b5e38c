// SPDX-License-Identifier: MIT
// Allocation with two per-thread caches: free lists of small pieces, and a few large blocks. A thread that is
// ending gives its caches back; what is freed after that goes straight to the system.
#include "dualtape/base/buffer.hpp"

#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

namespace dualtape {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kSmallStep = 64;
constexpr std::size_t kSmallClasses = 32;  // pieces of up to 2 KiB are recycled
constexpr std::size_t kSmallKept = 256;    // per class
constexpr std::size_t kSmallest = kSmallStep * kSmallClasses;
constexpr std::size_t kLargeKept = std::size_t{64} << 20;
constexpr std::size_t kLargeClasses = 64;

/// Large blocks come in four sizes per power of two, so that one fits the next request of about its size.
struct LargeClass {
  std::size_t index;
  std::size_t bytes;
};
LargeClass large_class(std::size_t bytes) {
  const int exponent = std::bit_width(bytes - 1) - 1;  // bytes > kSmallest, so there are bits enough
  const std::size_t step = std::size_t{1} << (exponent - 2);
  const std::size_t quarters = (bytes + step - 1) >> (exponent - 2);  // 5 to 8
  const std::size_t index = static_cast<std::size_t>(exponent - std::bit_width(kSmallest) + 1) * 4 + quarters - 5;
  return {index, quarters * step};
}

void* allocate_aligned(std::size_t bytes) {
  void* memory = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (!memory) throw std::bad_alloc();
  return memory;
}

struct Caches {
  std::array<std::vector<void*>, kSmallClasses> small;
  std::array<std::vector<void*>, kLargeClasses> large;
  std::size_t large_bytes = 0;

  ~Caches() {
    release();
    alive = false;
  }
  void release() {
    for (auto* lists : {small.data(), large.data()}) {
      for (std::size_t i = 0; i < (lists == small.data() ? kSmallClasses : kLargeClasses); ++i) {
        for (void* piece : lists[i]) std::free(piece);
        lists[i].clear();
      }
    }
    large_bytes = 0;
  }

  static thread_local bool alive;
};
thread_local bool Caches::alive = true;

Caches& caches() {
  // On the heap: a module that is loaded late gets only a few hundred bytes of thread-local memory of the fast kind,
  // and as the tape asks for that kind, all of the module's has to fit into it.
  static thread_local const auto instance = std::make_unique<Caches>();
  return *instance;
}

void* allocate_block(std::size_t bytes) {
  if (bytes <= kSmallest) return allocate_small(bytes);
  const LargeClass size = large_class(bytes);
  if (size.index < kLargeClasses && Caches::alive) {
    Caches& cache = caches();
    if (auto& blocks = cache.large[size.index]; !blocks.empty()) {
      void* memory = blocks.back();
      blocks.pop_back();
      cache.large_bytes -= size.bytes;
      return memory;
    }
  }
  return allocate_aligned(size.bytes);
}

void free_block(void* memory, std::size_t bytes) {
  if (bytes <= kSmallest) return free_small(memory, bytes);
  const LargeClass size = large_class(bytes);
  if (size.index < kLargeClasses && Caches::alive) {
    Caches& cache = caches();
    if (cache.large_bytes + size.bytes <= kLargeKept) {
      cache.large[size.index].push_back(memory);
      cache.large_bytes += size.bytes;
      return;
    }
  }
  std::free(memory);
}

}  // namespace

MemoryCounts& memory_counts() {
  static MemoryCounts counts;
  return counts;
}

void release_cached_memory() {
  if (Caches::alive) caches().release();
}

void* allocate_small(std::size_t bytes) {
  const std::size_t index = bytes ? (bytes - 1) / kSmallStep : 0;
  if (index < kSmallClasses && Caches::alive) {
    auto& pieces = caches().small[index];
    if (!pieces.empty()) {
      void* piece = pieces.back();
      pieces.pop_back();
      return piece;
    }
  }
  return allocate_aligned((index + 1) * kSmallStep);
}

void free_small(void* piece, std::size_t bytes) {
  const std::size_t index = bytes ? (bytes - 1) / kSmallStep : 0;
  if (index < kSmallClasses && Caches::alive) {
    auto& pieces = caches().small[index];
    if (pieces.size() < kSmallKept) {
      pieces.push_back(piece);
      return;
    }
  }
  std::free(piece);
}

Buffer Buffer::allocate(std::size_t bytes) {
  void* memory = allocate_block(bytes);
  memory_counts().buffers.fetch_add(1, std::memory_order_relaxed);
  memory_counts().bytes.fetch_add(static_cast<long long>(bytes), std::memory_order_relaxed);
  return Buffer(new (allocate_small(sizeof(Block))) Block{{1}, true, memory, bytes, nullptr, nullptr});
}

Buffer Buffer::borrow(void* data, std::size_t bytes, bool writable, void* owner, Release release) {
  memory_counts().buffers.fetch_add(1, std::memory_order_relaxed);
  return Buffer(new (allocate_small(sizeof(Block))) Block{{1}, writable, data, bytes, owner, release});
}

void Buffer::destroy(Block* block) {
  memory_counts().buffers.fetch_sub(1, std::memory_order_relaxed);
  if (block->release) {
    block->release(block->owner);
  } else {
    memory_counts().bytes.fetch_sub(static_cast<long long>(block->bytes), std::memory_order_relaxed);
    free_block(block->data, block->bytes);
  }
  block->~Block();
  free_small(block, sizeof(Block));
}

}  // namespace dualtape
