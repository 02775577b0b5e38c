// SPDX-License-Identifier: MIT
// Sweep: the step of a training loop, run over and over for many runs at once inside the core.
//
//   * Runs (this file) holds what every run is at, run by run: the state, what the step returned last, the history,
//     the iterations done and why it stopped. It knows nothing of code, so a sweep can be stopped anywhere, extended
//     by a new path, saved, sent elsewhere, and gone on with.
//   * A Plan is how a program becomes a loop: what its inputs are, the code of its stages, and the values that are
//     computed before the loop begins.
//   * A Worker (worker.hpp) takes runs as lanes of a block, iterates them, and puts them back; `run_sweep` starts as
//     many workers as there are threads and collects what they say.
//
// A run has the same bits whatever lane it was, whoever ran beside it and however often it was interrupted.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dualtape/loop/batches.hpp"
#include "dualtape/machine/kernel.hpp"
#include "dualtape/program/program.hpp"

namespace dualtape::exec {
class Fusion;
class Runner;
class Workspace;
}  // namespace dualtape::exec

namespace dualtape::loop {

using array::Array;
using array::DType;
using program::Level;
using program::NodeId;

enum class Stop : std::uint8_t { running, iterations, until, nonfinite };

/// What an input of the step's program, behind the state, is filled with.
struct Source {
  enum class Kind : std::uint8_t {
    fixed,      // `value` for all runs
    swept,      // `value` has a leading axis of runs
    iteration,  // the number of the iteration, from 1
    table,      // `value` has a leading axis of iterations
    stream,     // the number of the run
    batch,      // leaf `leaf` of the minibatch
  };
  Kind kind = Kind::fixed;
  Array value;
  std::size_t leaf = 0;
};

struct Settings {
  std::size_t states = 0;  // the program's first inputs, and its first results
  std::size_t values = 0;  // the results behind them: what the step returned
  bool until = false;      // one more result: whether to stop
  std::vector<Source> sources;
  std::int64_t iterations = 0;
  std::int64_t record_every = 0;  // 0: no history
  std::int64_t first_stream = 0;  // the number of run 0, where the runs are a part of a larger sweep
  std::int64_t lanes = 0;         // in a block; 0: chosen by the size of the program
  std::optional<Batches> batches;
};

/// All runs, with a leading axis of runs in every array. C-ordered, in memory of its own.
struct Runs {
  std::int64_t count = 0;
  std::vector<Array> state;
  std::vector<Array> value;
  std::vector<Array> history;  // (runs, records, ...)
  std::vector<std::int64_t> iterations;
  std::vector<Stop> stopped;
};

/// Shared between workers and whoever watches.
struct Control {
  std::atomic<bool> stop{false};          // come home at the next opportunity
  std::atomic<std::int64_t> done{0};      // iterations of runs, all together
  std::atomic<std::int64_t> computed{0};  // the same with lanes that were computed in vain
  std::atomic<std::int64_t> finished{0};  // runs
};

/// A decision that no path of the program has, and where it was met.
struct Missing {
  std::int64_t run = 0;
  std::int64_t iteration = 0;  // the one that could not be computed, from 1
  std::uint32_t segment = 0;   // whose decision it was,
  std::int64_t outcome = 0;    // and how it came out
};

class MachineStep;

class Plan {
 public:
  Plan(std::shared_ptr<const program::Program> program, Settings settings, const Runs& runs);
  ~Plan();

  const Settings& settings() const { return settings_; }
  const program::Part& step() const { return stages_.step; }
  std::size_t watches() const { return watches_; }
  std::int64_t lanes() const { return lanes_; }
  /// Lanes that there is room for: whole vectors.
  std::int64_t capacity() const { return capacity_; }
  /// The step as machine code; null where it is interpreted.
  const MachineStep* machine() const { return machine_.get(); }
  /// What workspaces of interpreted steps fuse; made for the first of them.
  std::shared_ptr<const exec::Fusion> fusion(const exec::Workspace& workspace) const;
  /// The kernels that there are, and what each is for.
  machine::Listing machine_code() const;
  /// Instructions that are in kernels of stretches.
  std::int64_t fused_instructions() const;
  bool asynchronous() const { return asynchronous_; }
  /// Whether all values that are the same in all iterations are finite.
  bool finite() const { return finite_; }
  /// How often input k of the step's code changes.
  Level level(std::size_t k) const { return stages_.levels[k]; }
  /// The value of an input of level once.
  const Array& once_value(std::size_t k) const { return fixed_[k]; }
  /// The values of an input of level lane: a leading axis of runs.
  const Array& lane_values(std::size_t k) const { return fixed_[k]; }
  /// The source of an input of level batch.
  const Source& source(std::size_t k) const { return settings_.sources[*sources_[k]]; }

  /// Fills a table: out[k] gets the values of iterations first ... first + n - 1 for each input of level iteration.
  class Tables;

 private:
  friend class Tables;
  std::vector<Array> evaluate(const program::Part& part, const std::vector<Array>& known, std::int64_t count) const;
  Array input_values(NodeId node, std::int64_t first, std::int64_t count) const;
  void choose_lanes(const Runs& runs);
  void make_machine();

  std::shared_ptr<const program::Program> program_;
  Settings settings_;
  program::Graph graph_;
  program::Stages stages_;
  std::size_t watches_ = 0;
  std::int64_t lanes_ = 1, capacity_ = 1;
  bool asynchronous_ = false, finite_ = true;
  std::unique_ptr<const MachineStep> machine_;
  mutable std::once_flag fused_;
  mutable std::shared_ptr<const exec::Fusion> fusion_;
  std::vector<Array> values_;  // by node: what was computed once, or for each run
  std::vector<Array> fixed_;
  std::vector<std::optional<std::size_t>> sources_;  // of the inputs of the step's code
  std::int64_t run_count_;
};

/// The values that depend on the iteration alone, for a window of iterations. One for each worker.
class Plan::Tables {
 public:
  explicit Tables(const Plan& plan);
  ~Tables();
  /// The inputs of the step's code that these are.
  const std::vector<std::size_t>& inputs() const { return inputs_; }
  /// The value of entry i at an iteration (from 1). The window moves there if it is elsewhere.
  const char* at(std::size_t i, std::int64_t iteration) {
    see(iteration);
    return entries_[i].data() + (iteration - first_) * items_[i];
  }
  std::int64_t item(std::size_t i) const { return items_[i]; }
  /// Makes the window hold an iteration. Returns how many it holds from there on.
  std::int64_t see(std::int64_t iteration) {
    if (iteration < first_ || iteration >= first_ + length_) fill(iteration);
    return first_ + length_ - iteration;
  }
  /// Whether all values in the window are.
  bool finite() const { return finite_; }
  /// Makes the window hold all iterations of the loop: for lanes that are at different ones.
  void fill_all();

 private:
  void fill(std::int64_t first);
  void fill(std::int64_t first, std::int64_t length);

  const Plan& plan_;
  std::vector<std::size_t> inputs_;
  std::vector<std::int64_t> items_;
  std::vector<std::vector<char>> entries_;
  std::unique_ptr<exec::Runner> runner_;  // computes them
  std::int64_t first_ = 0, length_ = 0;
  bool finite_ = true;
};

/// Runs all runs that are still `running`, on `threads` threads, until they have stopped, `control.stop` is set, some
/// `seconds` have gone by, or a decision is missing. Whatever happens, `runs` holds where each of them is, and the
/// next call goes on from there. Errors of workers are thrown.
std::optional<Missing> run_sweep(const Plan& plan, Runs& runs, Control& control, int threads, double seconds);

}  // namespace dualtape::loop
