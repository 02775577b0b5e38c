// SPDX-License-Identifier: MIT
// Var: a value inside a differentiated computation, and the one type on which every rule of this floor is written.
//
// A Var is an array, and may be more:
//  * tracked: `node` is its place on the tape whose recording has the number `recording`. A tape holds plain arrays
//    only. Numbers of recordings are never used twice, so a value that outlives its recording is a constant.
//  * dual: a pair (primal, tangent) of Vars at a level of its own. Levels are numbered by the order in which forward
//    differentiations begin, the highest is the outermost pair; that is what keeps nested perturbations apart.
//    Primal and tangent may each be tracked, or dual at a lower level.
// So duals are around the tape, never inside: reverse mode of a dual is reverse mode of each of its parts.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "dualtape/array/array.hpp"

namespace dualtape::tape {

using array::Array;
using array::DType;

inline constexpr std::uint32_t kNoNode = 0xffffffffu;

struct DualParts;

class Var {
 public:
  Var() = default;
  Var(double value) : value_(value) {}
  Var(Array value) : value_(std::move(value)) {}
  Var(Array value, std::uint32_t node, std::uint32_t recording)
      : value_(std::move(value)), node_(node), recording_(recording) {}
  /// The pair at `level`. With `directions` > 0 the tangent has a leading axis of that many directions; with 0 it
  /// has the shape of the primal.
  static Var dual(std::uint32_t level, Var primal, Var tangent, std::int64_t directions);

  Var(const Var& other) : value_(other.value_), node_(other.node_), recording_(other.recording_), dual_(other.dual_) {
    if (dual_) retain();
  }
  Var(Var&& other) noexcept
      : value_(std::move(other.value_)),
        node_(other.node_),
        recording_(other.recording_),
        dual_(std::exchange(other.dual_, nullptr)) {}
  Var& operator=(Var other) noexcept {
    value_ = std::move(other.value_);
    node_ = other.node_;
    recording_ = other.recording_;
    std::swap(dual_, other.dual_);
    return *this;
  }
  ~Var() {
    if (dual_) release();
  }

  /// The innermost primal: what the computation would give without any derivative.
  const Array& value() const { return value_; }
  /// For in-place writes by whoever holds the only reference.
  Array& mutable_value() { return value_; }
  DType dtype() const { return value_.dtype(); }
  int ndim() const { return value_.ndim(); }
  Shape shape() const { return value_.shape(); }
  std::int64_t size() const { return value_.size(); }

  /// Place on the tape of recording `recording()`; 0 is no recording.
  std::uint32_t node() const { return node_; }
  std::uint32_t recording() const { return recording_; }
  bool has_node() const { return recording_ != 0; }

  bool is_dual() const { return dual_ != nullptr; }
  /// The level of the outermost pair; 0 for what is not dual.
  std::uint32_t level() const;
  const Var& primal() const;
  const Var& tangent() const;
  std::int64_t directions() const;

  /// A bare scalar: float64, 0-d, not dual. It may be tracked.
  bool is_scalar() const { return value_.is_scalar() && !dual_; }
  /// Makes this a constant: the value stays, its place on the tape is forgotten. For what is not dual.
  void forget() {
    node_ = kNoNode;
    recording_ = 0;
  }
  /// The same value as a constant.
  Var constant() const { return Var(value_); }

 private:
  void retain() const;
  void release();

  Array value_;
  std::uint32_t node_ = kNoNode;
  std::uint32_t recording_ = 0;
  DualParts* dual_ = nullptr;
};

struct DualParts {
  std::atomic<int> owners;
  std::uint32_t level;
  std::int64_t directions;
  Var primal;
  Var tangent;
};

inline std::uint32_t Var::level() const { return dual_ ? dual_->level : 0; }
inline const Var& Var::primal() const { return dual_->primal; }
inline const Var& Var::tangent() const { return dual_->tangent; }
inline std::int64_t Var::directions() const { return dual_->directions; }
inline void Var::retain() const { dual_->owners.fetch_add(1, std::memory_order_relaxed); }

inline Var Var::dual(std::uint32_t level, Var primal, Var tangent, std::int64_t directions) {
  Var out(primal.value());
  out.dual_ = new DualParts{{1}, level, directions, std::move(primal), std::move(tangent)};
  return out;
}

inline void Var::release() {
  if (dual_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete dual_;
}

/// A level that no pair has yet.
std::uint32_t new_level();

}  // namespace dualtape::tape
