// SPDX-License-Identifier: MIT
// Allocation with two per-thread caches: free lists of small pieces, and a few large blocks. A thread that is
// ending gives its caches back; what is freed after that goes straight to the system.
#include "dualtape/base/buffer.hpp"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace dualtape {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kSmallStep = 64;
constexpr std::size_t kSmallClasses = 32;  // pieces of up to 2 KiB are recycled
constexpr std::size_t kSmallKept = 256;    // per class
constexpr std::size_t kLargeKept = std::size_t{64} << 20;

std::size_t round_up(std::size_t bytes, std::size_t step) { return (bytes + step - 1) / step * step; }

void* allocate_aligned(std::size_t bytes) {
  void* memory = std::aligned_alloc(kAlignment, round_up(bytes ? bytes : 1, kAlignment));
  if (!memory) throw std::bad_alloc();
  return memory;
}

struct Caches {
  struct Large {
    void* memory;
    std::size_t bytes;
  };
  std::array<std::vector<void*>, kSmallClasses> small;
  std::vector<Large> large;
  std::size_t large_bytes = 0;

  ~Caches() {
    release();
    alive = false;
  }
  void release() {
    for (auto& pieces : small) {
      for (void* piece : pieces) std::free(piece);
      pieces.clear();
    }
    for (const Large& block : large) std::free(block.memory);
    large.clear();
    large_bytes = 0;
  }

  static thread_local bool alive;
};
thread_local bool Caches::alive = true;

Caches& caches() {
  static thread_local Caches instance;
  return instance;
}

void* allocate_block(std::size_t bytes) {
  if (bytes <= kSmallStep * kSmallClasses) return allocate_small(bytes);
  if (Caches::alive) {
    Caches& cache = caches();
    for (std::size_t i = cache.large.size(); i-- > 0;) {
      // A block serves a request of half its size or more, so that little of it lies idle.
      if (cache.large[i].bytes >= bytes && cache.large[i].bytes / 2 <= bytes) {
        void* memory = cache.large[i].memory;
        cache.large_bytes -= cache.large[i].bytes;
        cache.large.erase(cache.large.begin() + static_cast<std::ptrdiff_t>(i));
        return memory;
      }
    }
  }
  return allocate_aligned(bytes);
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
    const std::size_t bytes = block->bytes;
    if (bytes <= kSmallStep * kSmallClasses) {
      free_small(block->data, bytes);
    } else if (Caches::alive && caches().large_bytes + bytes <= kLargeKept) {
      caches().large.push_back({block->data, round_up(bytes, kAlignment)});
      caches().large_bytes += round_up(bytes, kAlignment);
    } else {
      std::free(block->data);
    }
  }
  block->~Block();
  free_small(block, sizeof(Block));
}

}  // namespace dualtape
