// SPDX-License-Identifier: MIT
// Memory of arrays: a block with a count of its owners. Blocks are aligned to a cache line, and large ones are
// kept for reuse after their end (up to a bound), because a fresh one costs a page fault for every 4 KiB.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

namespace dualtape {

/// Counts of live objects, for tests that look for leaks.
struct MemoryCounts {
  std::atomic<long long> buffers{0};
  std::atomic<long long> bytes{0};
  std::atomic<long long> arrays{0};
};
MemoryCounts& memory_counts();
/// Gives back the memory that this thread keeps for reuse.
void release_cached_memory();

/// A block of memory shared by an array and its views.
class Buffer {
 public:
  using Release = void (*)(void* owner);

  Buffer() = default;
  /// A fresh, uninitialised block.
  static Buffer allocate(std::size_t bytes);
  /// Memory of somebody else, given back by `release(owner)` when the last owner goes.
  static Buffer borrow(void* data, std::size_t bytes, bool writable, void* owner, Release release);

  Buffer(const Buffer& other) : block_(other.block_) {
    if (block_) block_->owners.fetch_add(1, std::memory_order_relaxed);
  }
  Buffer(Buffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Buffer() {
    if (block_ && block_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(block_);
  }

  explicit operator bool() const { return block_ != nullptr; }
  void* data() const { return block_->data; }
  std::size_t bytes() const { return block_->bytes; }
  /// True where nobody else can see a write: the sole owner of memory that may be written.
  bool unique() const { return block_ && block_->writable && block_->owners.load(std::memory_order_acquire) == 1; }
  bool writable() const { return block_->writable; }
  friend bool operator==(const Buffer& a, const Buffer& b) { return a.block_ == b.block_; }

 private:
  struct Block {
    std::atomic<int> owners;
    bool writable;
    void* data;
    std::size_t bytes;
    void* owner;
    Release release;
  };
  explicit Buffer(Block* block) : block_(block) {}
  static void destroy(Block* block);

  Block* block_ = nullptr;
};

/// Small fixed-size pieces (headers of arrays), recycled per thread.
void* allocate_small(std::size_t bytes);
void free_small(void* piece, std::size_t bytes);

}  // namespace dualtape
