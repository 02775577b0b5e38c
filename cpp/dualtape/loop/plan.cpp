// SPDX-License-Identifier: MIT
// How a program becomes a loop: levels of its inputs, its stages, and what is computed before the first iteration.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "dualtape/array/convert.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/exec/runner.hpp"
#include "dualtape/loop/machine.hpp"
#include "dualtape/loop/sweep.hpp"

namespace dualtape::loop {
namespace {

/// A block of lanes should stay within the first-level cache, and be long enough to pay for the dispatch.
constexpr std::int64_t kCacheBytes = 36 << 10;
constexpr std::int64_t kMostLanes = 512;
constexpr std::int64_t kLanesStep = 8;  // a register of the widest instruction set
constexpr std::int64_t kVector = 16;    // the numbers in one
/// A table of more entries than this is not kept in one piece.
constexpr std::int64_t kLargestTable = 1 << 22;
constexpr std::int64_t kWindow = 512;

Level level_of(Source::Kind kind) {
  switch (kind) {
    case Source::Kind::fixed:
      return Level::once;
    case Source::Kind::swept:
    case Source::Kind::stream:
      return Level::lane;
    case Source::Kind::iteration:
    case Source::Kind::table:
      return Level::iteration;
    case Source::Kind::batch:
      break;
  }
  return Level::batch;
}

bool all_finite(const Array& x) {
  return array::dispatch(x.dtype(), [&]<class T>() {
    const T* at = static_cast<const T*>(x.raw_data());
    return std::all_of(at, at + x.size(), [](T v) { return std::isfinite(static_cast<double>(v)); });
  });
}

/// Elements of x from entry `first` of its leading axis on.
const char* entry(const Array& x, std::int64_t first) {
  const std::int64_t extent = x.shape()[0];
  const std::int64_t bytes = extent ? x.size() / extent * array::item_size(x.dtype()) : 0;
  return static_cast<const char*>(x.raw_data()) + first * bytes;
}

}  // namespace

Plan::Plan(std::shared_ptr<const program::Program> program, Settings settings, const Runs& runs)
    : program_(std::move(program)), settings_(std::move(settings)), run_count_(runs.count) {
  graph_ = program::watch_finite(program_->graph(), settings_.states, watches_);
  const std::size_t states = settings_.states + watches_;
  std::vector<Level> levels(states, Level::step);
  for (const Source& source : settings_.sources) levels.push_back(level_of(source.kind));
  if (levels.size() != graph_.inputs.size()) throw TapeError("sweep: the program has other inputs than the loop.");
  // Lanes go their own ways only where a run may stop before the others and another one waits for its lane.
  asynchronous_ = settings_.until && !settings_.batches && runs.count > 1 && settings_.iterations < kLargestTable;
  stages_ = program::lower_step(graph_, levels, states, settings_.values, false);
  choose_lanes(runs);
  // (In machine code each vector of lanes stops when one of them does, so that they part at once.)
  asynchronous_ = asynchronous_ && (runs.count > lanes_ || machine::is_wanted());
  if (asynchronous_) stages_ = program::lower_step(graph_, levels, states, settings_.values, true);

  make_machine();

  // What does not change from iteration to iteration is computed now.
  values_.resize(graph_.nodes.size());
  const auto keep = [&](const program::Part& part, std::int64_t count) {
    std::vector<Array> results = evaluate(part, values_, count);
    for (std::size_t i = 0; i < part.results.size(); ++i) values_[part.results[i]] = std::move(results[i]);
  };
  keep(stages_.once, 1);
  if (!stages_.lane.results.empty()) keep(stages_.lane, runs.count);
  fixed_.resize(stages_.step.inputs.size());
  sources_.resize(stages_.step.inputs.size());
  for (std::size_t k = states; k < stages_.step.inputs.size(); ++k) {
    const NodeId node = stages_.step.inputs[k];
    const program::Node& at = graph_.nodes[node];
    if (at.kind == program::NodeKind::input) sources_[k] = at.which - states;
    if (level(k) == Level::once) {
      fixed_[k] = at.kind == program::NodeKind::input ? input_values(node, 0, 1) : values_[node];
    } else if (level(k) == Level::lane) {
      fixed_[k] = at.kind == program::NodeKind::input ? input_values(node, 0, runs.count) : values_[node];
    }
    finite_ = finite_ && (level(k) > Level::lane || all_finite(fixed_[k]));
  }
}

void Plan::choose_lanes(const Runs& runs) {
  lanes_ = settings_.lanes;
  if (lanes_ <= 0) {
    const std::int64_t fit = kCacheBytes / std::max<std::int64_t>(stages_.step.code->per_lane, 1);
    lanes_ = std::clamp(fit / kLanesStep * kLanesStep, kLanesStep, kMostLanes);
  }
  lanes_ = std::max<std::int64_t>(std::min(lanes_, runs.count), 1);
  capacity_ = lanes_;
}

Plan::~Plan() = default;

void Plan::make_machine() {
  const bool part = settings_.until && lanes_ > 1 && !asynchronous_;
  if (!machine::is_wanted() || settings_.batches || part) return;
  const exec::Code& code = *stages_.step.code;
  // Lanes in use are whole vectors of any instruction set and type.
  capacity_ = lanes_ == 1 ? 1 : (lanes_ + kVector - 1) / kVector * kVector;
  exec::LoopLayout layout{capacity_, settings_.states + watches_, watches_, settings_.until, asynchronous_, {}};
  std::int64_t tables = 0;
  for (std::size_t k = 0; k < code.inputs.size(); ++k) {
    layout.table.push_back(level(k) == Level::iteration ? tables++ : -1);
  }
  machine_ = MachineStep::make(code, layout);
  if (!machine_) capacity_ = lanes_;
}

std::shared_ptr<const exec::Fusion> Plan::fusion(const exec::Workspace& workspace) const {
  if (machine_ || settings_.iterations < exec::Fusion::pays_from(workspace)) return nullptr;
  std::call_once(fused_, [&] { fusion_ = exec::Fusion::of(workspace); });
  return fusion_;
}

std::int64_t Plan::fused_instructions() const { return fusion_ ? fusion_->covered() : 0; }

machine::Listing Plan::machine_code() const {
  if (!machine_) return fusion_ ? fusion_->kernels() : machine::Listing();
  machine::Listing out;
  if (machine_->head()) out.emplace_back("all iterations but the last of a stretch", machine_->head()->code());
  if (machine_->finite()) {
    out.emplace_back(machine_->head() ? "the last iteration of a stretch" : "all iterations",
                     machine_->finite()->code());
  }
  return out;
}

/// The values of an input (not of level batch) for entries first ... first + count - 1 of what it varies along.
Array Plan::input_values(NodeId node, std::int64_t first, std::int64_t count) const {
  const program::Node& at = graph_.nodes[node];
  const Source& source = settings_.sources[at.which - settings_.states - watches_];
  Dims shape = graph_.shapes[at.shape];
  shape.insert(0, count);
  Array out = Array::empty(at.dtype, shape);
  const auto count_up = [&](std::int64_t from) {
    for (std::int64_t i = 0; i < count; ++i) out.writable_data<double>()[i] = static_cast<double>(from + i);
  };
  switch (source.kind) {
    case Source::Kind::iteration:
      count_up(first);
      break;
    case Source::Kind::stream:
      count_up(settings_.first_stream + first);
      break;
    case Source::Kind::table:
      // Iterations count from 1.
      std::memcpy(out.raw_writable_data(), entry(source.value, first - 1),
                  static_cast<std::size_t>(out.size() * array::item_size(out.dtype())));
      break;
    case Source::Kind::swept:
      std::memcpy(out.raw_writable_data(), entry(source.value, first),
                  static_cast<std::size_t>(out.size() * array::item_size(out.dtype())));
      break;
    case Source::Kind::fixed:
    case Source::Kind::batch:
      std::memcpy(out.raw_writable_data(), source.value.raw_data(),
                  static_cast<std::size_t>(out.size() * array::item_size(out.dtype())));
      break;
  }
  return out;
}

/// Runs a part for entries 0 ... count - 1 as its lanes; results have a leading axis of them.
std::vector<Array> Plan::evaluate(const program::Part& part, const std::vector<Array>& known,
                                  std::int64_t count) const {
  std::vector<Array> out;
  if (part.results.empty()) return out;
  const exec::Code& code = *part.code;
  exec::Runner runner(part.code, std::min<std::int64_t>(count, kWindow));
  exec::Workspace& home = runner.home();
  std::vector<Array> inputs;
  for (std::size_t i = 0; i < part.inputs.size(); ++i) {
    const bool given = graph_.nodes[part.inputs[i]].kind == program::NodeKind::input;
    const bool varies = code.values[code.inputs[i]].varying;
    inputs.push_back(given ? input_values(part.inputs[i], 0, varies ? count : 1) : known[part.inputs[i]]);
    if (!varies) home.load(code.inputs[i], inputs.back().raw_data());
  }
  for (NodeId node : part.results) {
    Dims shape = graph_.shape(node);
    shape.insert(0, count);
    out.push_back(Array::empty(code.values[code.segments[0].results[out.size()]].dtype, shape));
  }
  for (std::int64_t first = 0; first < count; first += home.capacity()) {
    const std::int64_t n = std::min(home.capacity(), count - first);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (!code.values[code.inputs[i]].varying) continue;
      home.load_all(code.inputs[i], entry(inputs[i], first), n);
    }
    runner.run(n);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const exec::ValueId id = code.segments[0].results[i];
      home.store_all(id, const_cast<char*>(entry(out[i], first)), n);
    }
  }
  return out;
}

Plan::Tables::Tables(const Plan& plan) : plan_(plan) {
  for (std::size_t k = 0; k < plan.stages_.step.inputs.size(); ++k) {
    if (plan.level(k) != Level::iteration) continue;
    const exec::Value& value = plan.stages_.step.code->values[plan.stages_.step.code->inputs[k]];
    inputs_.push_back(k);
    items_.push_back(value.bytes());
    entries_.emplace_back();
  }
}

Plan::Tables::~Tables() = default;

void Plan::Tables::fill_all() {
  if (!inputs_.empty()) fill(1, plan_.settings_.iterations);
}
void Plan::Tables::fill(std::int64_t first) { fill(first, std::min(kWindow, plan_.settings_.iterations - first + 1)); }

void Plan::Tables::fill(std::int64_t first, std::int64_t length) {
  const program::Part& part = plan_.stages_.iteration;
  const exec::Code& code = *part.code;
  first_ = first;
  length_ = length;
  if (!runner_) {
    runner_ = std::make_unique<exec::Runner>(part.code, std::min(plan_.settings_.iterations, kWindow));
    for (std::size_t i = 0; i < part.inputs.size(); ++i) {
      if (code.values[code.inputs[i]].varying) continue;
      const NodeId node = part.inputs[i];
      const bool given = plan_.graph_.nodes[node].kind == program::NodeKind::input;
      runner_->home().load(code.inputs[i], (given ? plan_.input_values(node, 0, 1) : plan_.values_[node]).raw_data());
    }
  }
  exec::Workspace& home = runner_->home();
  for (std::size_t t = 0; t < inputs_.size(); ++t) entries_[t].resize(static_cast<std::size_t>(length * items_[t]));
  for (std::int64_t start = 0; start < length; start += home.capacity()) {
    const std::int64_t n = std::min(home.capacity(), length - start);
    for (std::size_t i = 0; i < part.inputs.size(); ++i) {
      if (!code.values[code.inputs[i]].varying) continue;
      const Array values = plan_.input_values(part.inputs[i], first + start, n);
      home.load_all(code.inputs[i], values.raw_data(), n);
    }
    runner_->run(n);
    for (std::size_t t = 0; t < inputs_.size(); ++t) {
      const NodeId node = plan_.stages_.step.inputs[inputs_[t]];
      char* to = entries_[t].data() + start * items_[t];
      if (plan_.graph_.nodes[node].kind == program::NodeKind::input) {
        const Array values = plan_.input_values(node, first + start, n);
        std::memcpy(to, values.raw_data(), static_cast<std::size_t>(n * items_[t]));
        continue;
      }
      const std::size_t which =
          static_cast<std::size_t>(std::find(part.results.begin(), part.results.end(), node) - part.results.begin());
      const exec::ValueId result = code.segments[0].results[which];
      home.store_all(result, to, n);
    }
  }
  if (!plan_.machine_) return;
  finite_ = true;
  for (std::size_t t = 0; t < inputs_.size(); ++t) {
    const exec::ValueId id = plan_.stages_.step.code->inputs[inputs_[t]];
    array::dispatch(plan_.stages_.step.code->values[id].dtype, [&]<class T>() {
      const T* at = reinterpret_cast<const T*>(entries_[t].data());
      finite_ = finite_ && std::all_of(at, at + length_ * items_[t] / static_cast<std::int64_t>(sizeof(T)),
                                       [](T x) { return std::isfinite(static_cast<double>(x)); });
    });
  }
}

}  // namespace dualtape::loop
