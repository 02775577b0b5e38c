// SPDX-License-Identifier: MIT
#include "dualtape/loop/machine.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace dualtape::loop {
namespace {

constexpr std::int64_t kWork = 1 << 18;  // lines of lanes in a call: a few tens of microseconds
constexpr std::int64_t kStopping = 4;    // so many times that where lanes stop and leave the call
constexpr std::int64_t kMostIterations = 1 << 14;
constexpr std::int64_t kRecordBytes = 1 << 18;  // records of a call: they should stay in the second-level cache

}  // namespace

std::unique_ptr<MachineStep> MachineStep::make(const exec::Code& code, const exec::LoopLayout& layout) {
  std::optional<machine::Body> body = exec::loop_body(code, layout, {});
  if (!body) return nullptr;
  auto out = std::make_unique<MachineStep>();
  out->layout_ = layout;
  out->item_ = body->item();
  out->records_ = body->records.size();
  out->lines_ = body->lines.size();
  out->width_ = layout.capacity == 1 ? 1 : machine::vector_width(body->single);
  if (out->width_ == 0) return nullptr;
  const bool scalar = layout.capacity == 1;
  out->branches_ = code.branches();
  const bool finite =
      std::all_of(body->constants.begin(), body->constants.end(), [](double x) { return std::isfinite(x); });
  if (finite) {
    out->finite_ = machine::compile(*exec::loop_body(code, layout, {.finite = true}), scalar);
    // With `until` a lane may stop in any iteration, and then its values are wanted.
    if (out->finite_ && !layout.until && !code.branches() && code.tail < code.segments[0].instructions.size()) {
      out->head_ = machine::compile(*exec::loop_body(code, layout, {.values = false, .finite = true}), scalar);
    }
  }
  out->body_ = std::move(*body);
  if (!out->finite_ && !out->watching()) return nullptr;
  return out;
}

const machine::Kernel* MachineStep::watching() const {
  std::call_once(once_, [&] { watching_ = machine::compile(body_, layout_.capacity == 1); });
  return watching_.get();
}

MachineRun::MachineRun(const MachineStep& step, exec::Workspace& home)
    : step_(step),
      home_(home),
      row_bytes_(static_cast<std::int64_t>(step.records()) * home.capacity() * step.item()),
      most_rows_(std::max<std::int64_t>(kRecordBytes / std::max<std::int64_t>(row_bytes_, 1), 1)) {
  const auto bytes = static_cast<std::size_t>(std::max<std::int64_t>(home.capacity(), 16) * step.item());
  records_.resize(static_cast<std::size_t>(row_bytes_));
  if (step.layout().own_iterations) own_.resize(bytes);
  if (step.stops()) {
    active_.resize(bytes);
    done_.resize(bytes);
  }
}

std::int64_t MachineRun::most(std::int64_t lanes) const {
  const std::int64_t work = lanes * static_cast<std::int64_t>(step_.lines()) + 1;
  const std::int64_t most = (step_.stops() ? kStopping * kWork : kWork) * (home_.capacity() == 1 ? 1 : 8) / work;
  return std::clamp<std::int64_t>(most, 16, kMostIterations);
}

/// Lanes that are not in use are computed along where a vector has some; they are copies of the first, so that they
/// break no sooner than that.
void MachineRun::fill_vectors(std::int64_t lanes) {
  const std::int64_t full = (lanes + step_.width() - 1) / step_.width() * step_.width();
  if (full == lanes) return;
  const exec::Code& code = home_.code();
  for (const exec::ValueId id : code.inputs) {
    if (!code.values[id].varying) continue;
    const auto copy = [&](auto word) {
      auto* at = home_.at<decltype(word)>(id);
      std::fill(at + lanes, at + full, at[0]);
    };
    step_.item() == 8 ? copy(std::uint64_t{}) : copy(std::uint32_t{});
  }
}

bool MachineRun::run(std::int64_t lanes, std::int64_t iterations, std::span<const char* const> tables,
                     std::span<const std::int64_t> iterations_done, bool keep_rows, bool trust) {
  const std::int64_t item = step_.item();
  const std::int64_t width = step_.width();
  fill_vectors(lanes);
  rows_kept_ = keep_rows;
  iterations_ = iterations;
  if (keep_rows) records_.resize(static_cast<std::size_t>(row_bytes_ * std::max(iterations, std::int64_t{1})));
  const auto put = [&](std::vector<char>& to, std::int64_t lane, std::int64_t number) {
    char* at = to.data() + lane * item;
    if (item == 8) std::memcpy(at, &number, 8);
    const auto small = static_cast<std::int32_t>(number);
    if (item == 4) std::memcpy(at, &small, 4);
  };
  if (!own_.empty()) {
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      put(own_, lane, iterations_done[static_cast<std::size_t>(lane)]);
    }
    for (std::int64_t lane = lanes; lane < (lanes + width - 1) / width * width; ++lane)
      put(own_, lane, iterations_done[0]);
  }
  if (!active_.empty() && active_lanes_ != lanes) {
    active_lanes_ = lanes;
    for (std::int64_t first = 0; first < lanes; first += width) {
      const std::int64_t here = std::min(width, lanes - first);
      const std::uint32_t bits = (1u << here) - 1;
      std::memcpy(active_.data() + first * item, &bits, 4);
    }
  }
  machine::Call call;
  call.lanes = home_.varying();
  call.shared = home_.shared();
  call.records = records_.data();
  call.record_step = keep_rows ? row_bytes_ : 0;
  call.iterations_done = own_.data();
  call.active = active_.data();
  call.done = done_.data();
  call.bytes = (lanes + width - 1) / width * width * item;
  std::vector<const char*> begins(tables.begin(), tables.end());
  call.tables = begins.data();
  call.iterations = iterations;
  if (!trust) {
    (*step_.watching())(call);
    return true;
  }
  const machine::FiniteFlags flags;
  if (step_.head() && !keep_rows && iterations > 1) {
    call.iterations = iterations - 1;
    (*step_.head())(call);
    call.iterations = 1;
    for (const char*& begin : begins) begin += (iterations - 1) * item;
  }
  (*step_.finite())(call);
  return flags.all_finite();
}

bool MachineRun::missing(std::int64_t lanes) const {
  if (!step_.branches()) return false;
  for (std::int64_t lane = 0; lane < lanes; ++lane) {
    const char* number = record(step_.records() - 1, -1, lane);
    double wide = 0.0;
    float narrow = 0.0f;
    if (step_.item() == 8) std::memcpy(&wide, number, 8);
    if (step_.item() == 4) std::memcpy(&narrow, number, 4);
    if (wide != 0.0 || narrow != 0.0f) return true;
  }
  return false;
}

std::int64_t MachineRun::done(std::int64_t lane) const {
  if (done_.empty()) return iterations_;
  const std::int64_t width = step_.width();
  std::int32_t out;
  std::memcpy(&out, done_.data() + lane / width * width * step_.item(), 4);
  return out;
}

const char* MachineRun::record(std::size_t which, std::int64_t row, std::int64_t lane) const {
  if (row < 0) row = rows_kept_ ? done(lane) - 1 : 0;
  return records_.data() + (rows_kept_ ? row : 0) * row_bytes_ +
         (static_cast<std::int64_t>(which) * home_.capacity() + lane) * step_.item();
}

}  // namespace dualtape::loop
