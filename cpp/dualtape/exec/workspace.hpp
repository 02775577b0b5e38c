// SPDX-License-Identifier: MIT
// Workspace: the mutable side of a run. It holds the memory of all values for a block of lanes, and the instructions
// prepared for that memory: pointers instead of numbers, so that running one costs a call. Nothing is allocated while
// it runs. A workspace belongs to one thread; several may share the part that is the same for all lanes.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "dualtape/array/kernels/elementwise.hpp"
#include "dualtape/exec/code.hpp"
#include "dualtape/exec/fusion.hpp"

namespace dualtape::exec {

/// An instruction with everything found out.
struct Prepared {
  enum class Way : std::uint8_t {
    single,  // one number in all
    lanes,   // one number per lane: a loop over the lanes that are in use
    loop,    // a loop over all elements
    apply,   // elementwise with strides
    rule,    // a shaped op
    fused,   // several instructions at once
  };
  Way way;
  ops::Op op;
  int steps[3];
  const void* in[3];
  void* out;
  std::int64_t n;
  array::ElementLoop loop;
  array::SingleElement single;
  const tape::ShapedRule* rule;
  std::uint32_t call;  // for apply and rule: the place in Workspace::calls_; for fused: that in fused_
};

class Workspace {
 public:
  /// For `capacity` lanes; with a capacity of 1 there is no lane axis at all, and shared values lie behind the varying
  /// ones. `shared`: use its shared values.
  Workspace(std::shared_ptr<const Code> code, std::int64_t capacity, Workspace* shared = nullptr);
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  /// Runs stretches of instructions as the kernels of `fusion` from now on.
  void fuse(std::shared_ptr<const Fusion> fusion);
  const Fusion* fusion() const { return fusion_.get(); }
  /// The kernel, with its call, that is all of the first segment; nulls where that is not so.
  std::pair<const machine::Kernel*, machine::Call*> only_kernel();

  const Code& code() const { return *code_; }
  std::int64_t capacity() const { return capacity_; }
  /// The first element of a value; element e of lane l is at e * stride() + l where it is varying.
  void* data(ValueId id) const { return pointers_[id]; }
  template <class T>
  T* at(ValueId id) const {
    return static_cast<T*>(pointers_[id]);
  }
  /// Where all varying values lie, each at its offset times the capacity, and the shared ones.
  char* varying() const { return static_cast<char*>(varying_.data()); }
  char* shared() const { return static_cast<char*>(shared_.data()) + shared_at_; }
  /// Lanes from one element of a varying value to the next.
  std::int64_t stride() const { return capacity_; }
  /// The memory of a value as an array, with the lane axis at the end where it has one.
  Array array_of(ValueId id) const;
  /// Runs the instructions of a segment on the first `lanes` lanes (others may be computed too).
  /// `members`: the bits of those whose results count, where they are not all (for rules that ask).
  void run(std::uint32_t segment, std::int64_t lanes, const std::uint64_t* members = nullptr) {
    members_ = members;
    run(ranges_[segment].first, ranges_[segment].second, lanes);
    members_ = nullptr;
  }
  /// The same in two halves, for code of one segment: what the states need, and the tail.
  void run_head(std::int64_t lanes) { run(0, tail_, lanes); }
  void run_tail(std::int64_t lanes) { run(tail_, ranges_[0].second, lanes); }

  /// Copies lanes of varying values from another workspace of the same code: lane k becomes its lane from[k].
  void take(const Workspace& other, std::span<const ValueId> values, std::span<const std::uint32_t> from);
  /// Copies an array (C order, without lanes) into a shared value, or into one lane of a varying one.
  void load(ValueId id, const void* elements, std::int64_t lane = 0);
  void store(ValueId id, void* elements, std::int64_t lane = 0) const;
  /// The same for the first `count` lanes of a varying value, whose arrays follow each other.
  void load_all(ValueId id, const void* arrays, std::int64_t count);
  void store_all(ValueId id, void* arrays, std::int64_t count) const;

  static std::int64_t bytes(const Code& code, std::int64_t capacity) { return code.per_lane * capacity + code.shared; }

 private:
  struct Call {
    std::vector<Array> operands;
    std::vector<const Array*> pointers;
    Array out;
    tape::Attributes attributes;
    bool lanes_first = false;  // the lane axis is a leading one: `out` is a temporary, `target` its transpose
    Array target;
  };
  struct Fused {
    const Stretch* stretch;
    machine::Kernel::Code alone;  // the only kernel, called once; or null
    machine::Call call;
    std::vector<const char*> places, rows;
  };
  void prepare(const Instruction& instruction);
  void run_fused(Fused& fused, std::int64_t lanes);
  void run(std::uint32_t first, std::uint32_t last, std::int64_t lanes);
  Array lane_operand(ValueId id, bool varying_result) const;
  void run_rule(const Prepared& prepared, std::int64_t lanes);

  std::shared_ptr<const Code> code_;
  std::int64_t capacity_;
  Buffer varying_, shared_;
  std::int64_t shared_at_ = 0;  // where the shared values begin in their buffer
  std::vector<void*> pointers_;
  std::vector<Prepared> prepared_;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ranges_;  // of each segment in prepared_
  std::uint32_t tail_ = 0;                                       // Code::tail there
  std::vector<Call> calls_;
  std::shared_ptr<const Fusion> fusion_;
  std::vector<Fused> fused_;
  const std::uint64_t* members_ = nullptr;
};

}  // namespace dualtape::exec
