// SPDX-License-Identifier: MIT
#include "dualtape/exec/workspace.hpp"

#include <algorithm>
#include <cstring>

#include "dualtape/array/elementwise.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/exec/kernels/part.hpp"

namespace dualtape::exec {
namespace {

/// x with the lane axis, which is its last one, brought to the front, and axes of extent 1 behind it up to `rank`.
Array lane_to_front(const Array& x, int rank) {
  Dims permutation{x.ndim() - 1};
  for (int i = 0; i + 1 < x.ndim(); ++i) permutation.push_back(i);
  const Array moved = array::transpose(x, permutation);
  Dims shape(moved.shape()), strides(moved.strides());
  while (shape.size() - 1 < rank) {
    shape.insert(1, 1);
    strides.insert(1, 0);
  }
  return Array::pinned(moved.buffer(), moved.dtype(), shape, strides, moved.offset());
}

}  // namespace

Workspace::Workspace(std::shared_ptr<const Code> code, std::int64_t capacity, Workspace* shared)
    : code_(std::move(code)), capacity_(capacity) {
  const std::int64_t own = std::max<std::int64_t>(code_->per_lane * capacity_, 64);
  const std::int64_t common = std::max<std::int64_t>(code_->shared, 64);
  const bool together = capacity_ == 1 && !shared;
  shared_at_ = together ? (own + 63) / 64 * 64 : shared ? shared->shared_at_ : 0;
  varying_ = Buffer::allocate(static_cast<std::size_t>(together ? shared_at_ + common : own));
  std::memset(varying_.data(), 0, static_cast<std::size_t>(own));  // unused lanes are computed too, on numbers
  shared_ = together ? varying_ : shared ? shared->shared_ : Buffer::allocate(static_cast<std::size_t>(common));
  pointers_.resize(code_->values.size());
  for (std::size_t id = 0; id < pointers_.size(); ++id) {
    const Value& value = code_->values[id];
    if (value.view_of != kNone) continue;
    pointers_[id] =
        value.varying ? static_cast<char*>(varying_.data()) + value.offset * capacity_ : this->shared() + value.offset;
  }
  // A view begins where its array begins; views of views come after what they are views of.
  for (std::size_t id = 0; id < pointers_.size(); ++id) {
    if (code_->values[id].view_of == kNone) continue;
    pointers_[id] = array_of(static_cast<ValueId>(id)).raw_writable_data();
  }
  if (!shared) {
    for (const auto& [id, value] : code_->constants) {
      Array target = array_of(id);
      array::copy_elements(value, target);
    }
  }
  for (const Segment& segment : code_->segments) {
    const auto first = static_cast<std::uint32_t>(prepared_.size());
    for (const Instruction& instruction : segment.instructions) prepare(instruction);
    ranges_.emplace_back(first, static_cast<std::uint32_t>(prepared_.size()));
  }
  tail_ = static_cast<std::uint32_t>(code_->tail);
}

void Workspace::fuse(std::shared_ptr<const Fusion> fusion) {
  if (!fusion || fusion_) return;
  fusion_ = std::move(fusion);
  const auto pointers = [&](const std::vector<Place>& places) {
    std::vector<const char*> out;
    for (const Place& place : places) out.push_back((place.varying ? varying() : shared()) + place.offset);
    return out;
  };
  for (const Stretch& stretch : fusion_->stretches()) {
    for (const auto& [offset, number] : stretch.constants) {
      if (stretch.single) {
        *reinterpret_cast<float*>(varying() + offset) = static_cast<float>(number);
      } else {
        *reinterpret_cast<double*>(varying() + offset) = number;
      }
    }
    const machine::Kernel::Code alone = stretch.vectors ? nullptr : stretch.rest->entry();
    fused_.push_back({&stretch, alone, {}, pointers(stretch.places), pointers(stretch.row_places)});
    machine::Call& call = fused_.back().call;
    call.lanes = varying();
    call.shared = varying();
    call.iterations = stretch.rows;
    call.bytes = stretch.row_bytes;
    call.row_step = stretch.row_bytes;
    call.places = fused_.back().places.data();  // (they stay there when `fused_` grows)
    call.rows = fused_.back().rows.data();
  }
  std::vector<Prepared> all;
  std::uint32_t next = 0;
  for (std::uint32_t s = 0; s < ranges_.size(); ++s) {
    const auto [first, last] = ranges_[s];
    const auto begin = static_cast<std::uint32_t>(all.size());
    for (std::uint32_t i = first; i < last;) {
      if (s == 0 && i == code_->tail) tail_ = static_cast<std::uint32_t>(all.size());
      if (next < fused_.size() && fused_[next].stretch->segment == s && fused_[next].stretch->first == i - first) {
        Prepared prepared{};
        prepared.way = Prepared::Way::fused;
        prepared.call = next;
        all.push_back(prepared);
        i = first + fused_[next++].stretch->last;
      } else {
        all.push_back(prepared_[i++]);
      }
    }
    if (s == 0 && last == code_->tail) tail_ = static_cast<std::uint32_t>(all.size());
    ranges_[s] = {begin, static_cast<std::uint32_t>(all.size())};
  }
  prepared_ = std::move(all);
}

std::pair<const machine::Kernel*, machine::Call*> Workspace::only_kernel() {
  const auto [first, last] = ranges_[0];
  if (last != first + 1 || prepared_[first].way != Prepared::Way::fused) return {};
  Fused& fused = fused_[prepared_[first].call];
  if (fused.stretch->vectors) return {};
  return {fused.stretch->rest.get(), &fused.call};
}

Array Workspace::array_of(ValueId id) const {
  const Value& value = code_->values[id];
  const bool lanes = value.varying && capacity_ > 1;
  if (value.view_of != kNone) {
    const Instruction& view = code_->views[value.view];
    const Array base = array_of(value.view_of);
    const Array* operands[] = {&base};
    const Dims shapes[] = {code_->values[value.view_of].shape};
    const Array seen = view.rule->forward(
        operands, lanes ? view.rule->over_lanes(*view.attributes, shapes, capacity_) : *view.attributes);
    // A single number would be a copy; it is the only element of what it is a view of.
    return seen.is_scalar() ? Array::pinned(base.buffer(), base.dtype(), {}, {}, base.offset()) : seen;
  }
  Dims shape = value.shape;
  if (lanes) shape.push_back(capacity_);
  const Buffer& buffer = value.varying ? varying_ : shared_;
  const std::int64_t offset = value.varying ? value.offset * capacity_ : shared_at_ + value.offset;
  return Array::pinned(buffer, value.dtype, shape, contiguous_strides(shape), offset / array::item_size(value.dtype));
}

/// A value as an operand of an op whose result has lanes (or not): what is shared gets a lane axis of extent 1.
Array Workspace::lane_operand(ValueId id, bool varying_result) const {
  const Array x = array_of(id);
  if (!varying_result || capacity_ == 1 || code_->values[id].varying) return x;
  Dims shape(x.shape()), strides(x.strides());
  shape.push_back(1);
  strides.push_back(0);
  return Array::pinned(x.buffer(), x.dtype(), shape, strides, x.offset());
}

void Workspace::prepare(const Instruction& instruction) {
  const Value& out = code_->values[instruction.out];
  Prepared prepared{};
  prepared.op = instruction.op;
  prepared.rule = instruction.rule;
  prepared.out = pointers_[instruction.out];
  prepared.call = static_cast<std::uint32_t>(calls_.size());
  const bool lanes = out.varying && capacity_ > 1;
  if (!instruction.rule) {
    prepared.loop = array::element_loops(out.dtype).number[static_cast<int>(instruction.op)];
    prepared.n = out.size * (lanes ? capacity_ : 1);
    prepared.single = array::element_loops(out.dtype).single[static_cast<int>(instruction.op)];
    prepared.way = prepared.n == 1                ? Prepared::Way::single
                   : out.size == 1 && out.varying ? Prepared::Way::lanes
                                                  : Prepared::Way::loop;
    bool direct = true;
    for (std::size_t k = 0; k < instruction.operands.size(); ++k) {
      const ValueId id = instruction.operands[k];
      const Value& in = code_->values[id];
      prepared.in[k] = pointers_[id];
      // One number for all, or elements that lie like the result's.
      const bool number = in.size == 1 && !(lanes && in.varying);
      const bool alike = (in.shape == out.shape || (in.size == 1 && out.size == 1)) && (!lanes || in.varying) &&
                         (in.view_of == kNone || array_of(id).contiguous());
      prepared.steps[k] = !number;
      direct = direct && in.dtype == out.dtype && (number || alike);
    }
    if (direct) {
      prepared_.push_back(prepared);
      return;
    }
    prepared.way = Prepared::Way::apply;
  } else {
    prepared.way = Prepared::Way::rule;
  }
  Call call;
  call.out = array_of(instruction.out);
  std::vector<Dims> shapes;
  int rank = 0;
  for (ValueId id : instruction.operands) {
    shapes.push_back(code_->values[id].shape);
    rank = std::max(rank, code_->values[id].shape.size());
  }
  call.lanes_first = instruction.rule && lanes && instruction.rule->takes_batches();
  for (ValueId id : instruction.operands) {
    Array x = call.lanes_first ? array_of(id) : lane_operand(id, lanes);
    if (call.lanes_first && code_->values[id].varying) x = lane_to_front(x, rank);
    if (instruction.rule && lanes && !call.lanes_first && !code_->values[id].varying) {
      // Shaped ops do not broadcast: the lane axis is repeated (without a copy).
      Dims shape(x.shape());
      shape[shape.size() - 1] = capacity_;
      x = array::broadcast_to(x, shape);
    }
    call.operands.push_back(std::move(x));
  }
  if (call.lanes_first) {
    call.target = lane_to_front(call.out, 0);
    call.out = Array::empty(out.dtype, call.target.shape());
  }
  if (instruction.rule) {
    call.attributes = lanes && !call.lanes_first
                          ? instruction.rule->over_lanes(*instruction.attributes, shapes, capacity_)
                          : *instruction.attributes;
  }
  calls_.push_back(std::move(call));
  prepared_.push_back(prepared);
  // (The vector may move while it grows, so pointers are taken when an instruction runs first.)
}

void Workspace::run_rule(const Prepared& prepared, std::int64_t lanes) {
  Call& call = calls_[prepared.call];
  prepared.rule->forward_lanes(call.out, call.pointers, call.attributes, {lanes, members_});
  if (call.lanes_first) array::copy_elements(call.out, call.target);
}

void Workspace::run_fused(Fused& fused, std::int64_t lanes) {
  machine::Call& call = fused.call;
  if (fused.alone) return fused.alone(&call);
  const Stretch& stretch = *fused.stretch;
  std::int64_t end = stretch.row_bytes;
  const std::int64_t vector = stretch.vectors->vector_bytes();
  if (stretch.numbers && capacity_ > 1) {
    // Lanes in use; others may be computed to make whole vectors.
    end = end / capacity_ * lanes;
    const std::int64_t whole = (end + vector - 1) / vector * vector;
    if (whole <= stretch.row_bytes) end = whole;
  }
  call.first = 0;
  call.bytes = end;
  if (end >= vector) (*stretch.vectors)(call);
  call.first = end / vector * vector;
  if (call.first < end) (*stretch.rest)(call);
}

void Workspace::run(std::uint32_t first, std::uint32_t last, std::int64_t lanes) {
  for (std::uint32_t i = first; i < last; ++i) {
    const Prepared& p = prepared_[i];
    switch (p.way) {
      case Prepared::Way::single:
        p.single(p.in, p.out);
        break;
      case Prepared::Way::lanes:
        p.loop(p.in, p.steps, p.out, lanes);
        break;
      case Prepared::Way::loop:
        p.loop(p.in, p.steps, p.out, p.n);
        break;
      case Prepared::Way::fused:
        run_fused(fused_[p.call], lanes);
        break;
      case Prepared::Way::apply:
      case Prepared::Way::rule: {
        Call& call = calls_[p.call];
        if (call.pointers.empty()) {
          for (const Array& x : call.operands) call.pointers.push_back(&x);
        }
        if (p.way == Prepared::Way::apply) {
          array::apply_into(p.op, call.pointers, call.out);
        } else {
          run_rule(p, lanes);
        }
        break;
      }
    }
  }
}

namespace {

void gather(const std::uint64_t* from, std::uint64_t* to, std::span<const std::uint32_t> lanes) {
  part_kernels().gather_8(from, lanes.data(), static_cast<std::int64_t>(lanes.size()), to);
}
template <class Word>
void gather(const Word* from, Word* to, std::span<const std::uint32_t> lanes) {
  for (std::size_t k = 0; k < lanes.size(); ++k) to[k] = from[lanes[k]];
}

template <class Body>
void by_size(DType dtype, Body&& body) {
  switch (array::item_size(dtype)) {
    case 8:
      return body(std::uint64_t{});
    case 4:
      return body(std::uint32_t{});
    default:
      return body(std::uint8_t{});
  }
}

}  // namespace

void Workspace::take(const Workspace& other, std::span<const ValueId> values, std::span<const std::uint32_t> from) {
  for (ValueId id : values) {
    const Value& value = code_->values[id];
    by_size(value.dtype, [&](auto word) {
      using Word = decltype(word);
      for (std::int64_t e = 0; e < value.size; ++e) {
        gather(other.at<Word>(id) + e * other.capacity_, at<Word>(id) + e * capacity_, from);
      }
    });
  }
}

void Workspace::load(ValueId id, const void* elements, std::int64_t lane) {
  const Value& value = code_->values[id];
  if (!value.varying || capacity_ == 1) {
    std::memcpy(data(id), elements, static_cast<std::size_t>(value.bytes()));
    return;
  }
  by_size(value.dtype, [&](auto word) {
    using Word = decltype(word);
    for (std::int64_t e = 0; e < value.size; ++e) {
      at<Word>(id)[e * capacity_ + lane] = static_cast<const Word*>(elements)[e];
    }
  });
}

void Workspace::store(ValueId id, void* elements, std::int64_t lane) const {
  const Value& value = code_->values[id];
  if (!value.varying || capacity_ == 1) {
    std::memcpy(elements, data(id), static_cast<std::size_t>(value.bytes()));
    return;
  }
  by_size(value.dtype, [&](auto word) {
    using Word = decltype(word);
    for (std::int64_t e = 0; e < value.size; ++e) {
      static_cast<Word*>(elements)[e] = at<Word>(id)[e * capacity_ + lane];
    }
  });
}

void Workspace::load_all(ValueId id, const void* arrays, std::int64_t count) {
  const Value& value = code_->values[id];
  const char* from = static_cast<const char*>(arrays);
  if (value.size == 1) {
    std::memcpy(data(id), from, static_cast<std::size_t>(count * value.bytes()));
  } else {
    for (std::int64_t lane = 0; lane < count; ++lane) load(id, from + lane * value.bytes(), lane);
  }
}

void Workspace::store_all(ValueId id, void* arrays, std::int64_t count) const {
  const Value& value = code_->values[id];
  char* to = static_cast<char*>(arrays);
  if (value.size == 1 && value.varying) {
    std::memcpy(to, data(id), static_cast<std::size_t>(count * value.bytes()));
  } else {
    for (std::int64_t lane = 0; lane < count; ++lane) store(id, to + lane * value.bytes(), lane);
  }
}

}  // namespace dualtape::exec
