// SPDX-License-Identifier: MIT
// Rolled loops: scan, fori_loop and while_loop as one op each, whatever the number of their steps. A `Rolled` is what
// such an op knows: the program of one step, and how its inputs and results go round. There are two ops:
//
//   * `rolled` runs the loop. Its operands are those of the step: the carry at the start, what the body takes from
//     outside (the same in all steps), and for a scan arrays with an entry for each step. The result is one float64
//     vector: the carry at the end, and all entries of each output of a scan.
//   * `rolled_pull` is its transpose: given a cotangent of that vector as a further operand, it gives the cotangents of
//     the operands that have any, one after another in a vector.
//
// Two programs follow from that of the step by running it on pairs, or on a tape (rolled_derive.cpp): one that pushes
// tangents, whose loop is a Rolled in its turn, and one that pulls cotangents through a single step. Derivatives of any
// order are made of these two ops (rolled_rules.cpp), and so need no more memory than first ones. rolled_run.cpp runs
// them, for one lane or a block; checkpoints.hpp says which steps are kept on the way.
#pragma once

#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "dualtape/exec/workspace.hpp"
#include "dualtape/loop/checkpoints.hpp"
#include "dualtape/program/program.hpp"
#include "dualtape/tape/shaped.hpp"

namespace dualtape::loop {

using array::Array;
using array::DType;
using program::Program;
using tape::Var;

/// An operand of the step, or an output.
struct Leaf {
  DType dtype = DType::f64;
  Dims shape;
  std::int64_t size = 1;
  bool differentiable() const { return array::is_float(dtype); }
};

/// Most of what loops copy is a single number.
inline void copy_bytes(void* to, const void* from, std::size_t bytes) {
  if (bytes == sizeof(double)) {
    std::memcpy(to, from, sizeof(double));
  } else if (bytes) {
    std::memcpy(to, from, bytes);
  }
}

/// Where an input or a result is in a workspace: numbers with lanes innermost, or one for all lanes.
struct Port {
  char* at;
  std::size_t bytes;
  DType dtype;
  std::int64_t numbers;  // there,
  std::int64_t repeat;   // each of them for so many lanes

  /// Elements of its own dtype.
  void copy_from(const char* from) const { copy_bytes(at, from, bytes); }
  /// Fills it with float64 numbers, or one of several lanes, with zeros for null.
  void fill(const double* from) const;
  void fill_lane(const double* from, std::int64_t lane, std::int64_t lanes) const;
  /// Writes it as float64 numbers.
  void store(double* to) const {
    if (dtype == DType::f64 && repeat == 1) {
      copy_bytes(to, at, bytes);
    } else {
      store_converted(to);
    }
  }
  void store_converted(double* to) const;
};

/// The code of a step that writes the first results over the first inputs, and workspaces for it that are not in use.
class Stepper {
 public:
  Stepper(const program::Graph& graph, std::size_t states);

  class Lent {
   public:
    Lent(const Stepper& from, std::int64_t lanes);
    Lent(Lent&&) = default;
    ~Lent();
    exec::Workspace& workspace() { return *workspace_; }
    /// One step, on everything that is in the workspace.
    void step() {
      if (kernel_) {
        (*kernel_)(*call_);
      } else {
        workspace_->run(0, workspace_->capacity());
      }
      for (const Move& move : moves_) copy_bytes(move.to, move.from, move.bytes);
    }
    Port input(std::size_t i) { return port(from_->code().inputs[i]); }
    Port result(std::size_t i) { return port(from_->code().segments[0].results[i]); }
    /// The memory of inputs first ... last - 1, which follow each other, and its bytes.
    char* inputs(std::size_t first) const;
    std::size_t bytes(std::size_t first, std::size_t last) const;

   private:
    Port port(exec::ValueId id);
    struct Move {
      const void* from;
      void* to;
      std::size_t bytes;
    };
    const Stepper* from_;
    std::unique_ptr<exec::Workspace> workspace_;
    const machine::Kernel* kernel_ = nullptr;  // that is all of the step
    machine::Call* call_ = nullptr;
    std::vector<Move> moves_;
  };
  Lent lend(std::int64_t lanes) const { return Lent(*this, lanes); }
  const exec::Code& code() const { return *code_; }

 private:
  std::unique_ptr<exec::Workspace> take(std::int64_t lanes) const;

  std::shared_ptr<const exec::Code> code_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<exec::Workspace>> spare_;
  mutable std::vector<std::pair<std::int64_t, std::shared_ptr<const exec::Fusion>>> kernels_;  // by lanes
};

/// States that a run has kept, for the pull of the same operands.
struct Kept {
  std::vector<Array> operands;
  std::int64_t places = 0;
  std::vector<std::int64_t> counts;  // steps of each lane
  std::optional<Checkpoints> states;
};

class Rolled final : public tape::Payload {
 public:
  struct Parts {
    /// Inputs: carry, outside, entries. Results: the new carry and, of a scan, an entry of each output, or else
    /// whether to go on.
    std::shared_ptr<const Program> step;
    /// Of a while_loop: whether to begin, from the same inputs.
    std::shared_ptr<const Program> start;
    std::size_t carry = 0, outside = 0, entries = 0, outputs = 0;
    std::int64_t length = 0;  // of a scan
    bool reverse = false;     // the last entry first
  };
  explicit Rolled(Parts parts);

  bool is_while() const { return parts_.start != nullptr; }
  const Parts& parts() const { return parts_; }
  std::size_t operand_count() const { return operands_.size(); }
  /// Operands as the step sees them: an entry for each step counts once.
  const std::vector<Leaf>& operands() const { return operands_; }
  const std::vector<Leaf>& outputs() const { return outputs_; }
  bool is_entry(std::size_t operand) const { return operand >= parts_.carry + parts_.outside; }
  /// Numbers that an operand has in all.
  std::int64_t numbers(std::size_t operand) const;
  Dims full_shape(std::size_t operand) const;
  /// Numbers of the result of `rolled`, and of `rolled_pull`, with the cotangents of entries, which come last, or
  /// without.
  std::int64_t result_size() const { return result_size_; }
  std::int64_t pulled_size(bool entries) const { return entries ? pulled_size_ : entries_begin_; }
  /// Places of the carry and the outputs in the result.
  const std::vector<std::int64_t>& offsets() const { return offsets_; }
  /// Places of the operands in the result of `rolled_pull`; -1 where they have no cotangents.
  const std::vector<std::int64_t>& pulled_offsets() const { return pulled_offsets_; }

  /// The loop with a tangent behind each differentiable leaf. `samples`: operands on which the body runs once more.
  std::shared_ptr<const Rolled> pushed(std::span<const Array> samples) const;
  /// Pulls through one step. Inputs: what the outside has got so far, the cotangents of the carry (of differentiable
  /// leaves), then the inputs of the step, then cotangents of the outputs. Results: the first two, and those of the
  /// entries.
  const Stepper& pulled(std::span<const Array> samples) const;
  const Stepper& stepper() const { return *stepper_; }
  const Stepper& starter() const { return *starter_; }

  /// For the tape: what the last run has kept, taken away by the pull that needs it.
  void leave(Kept kept) const;
  std::optional<Kept> take(std::span<const Array> operands) const;

  std::string save() const override;
  std::string text() const override;
  static std::shared_ptr<const Rolled> load(std::string_view bytes);

 private:
  Parts parts_;
  std::vector<Leaf> operands_, outputs_;
  std::vector<std::int64_t> offsets_, pulled_offsets_;
  std::int64_t result_size_ = 0, pulled_size_ = 0, entries_begin_ = 0;
  std::unique_ptr<Stepper> stepper_, starter_;
  mutable std::recursive_mutex mutex_;
  mutable std::shared_ptr<const Rolled> pushed_;
  mutable std::unique_ptr<Stepper> pulled_;
  mutable std::optional<Kept> kept_;
};

/// The two derived programs, made by running a step on values that it could meet (rolled_derive.cpp).
program::Graph pushed_graph(const Rolled& rolled, std::span<const Array> samples);
program::Graph pushed_start_graph(const Rolled& rolled, std::span<const Array> samples);
program::Graph pulled_graph(const Rolled& rolled, std::span<const Array> samples);

/// The first lane of an array whose last axis is that of lanes.
Array first_lane(const Array& x);
/// Runs the loop: `out` has the numbers of `rolled`, for `lanes` lanes, innermost (1: none). Operands are C-ordered.
/// With `kept`, states are kept there. Without `out`, that is all.
void run(const Rolled& rolled, std::span<const Array> operands, std::int64_t lanes, const tape::ActiveLanes& active,
         double* out, Kept* kept = nullptr);
/// Pulls a cotangent back; the operands are followed by it. `entries`: with the cotangents of those that have an entry
/// for each step. Steps are computed again from the states that were kept.
void pull(const Rolled& rolled, std::span<const Array> operands, std::int64_t lanes, Kept kept, bool entries,
          double* out);
/// Called now and then while a loop runs; what it throws ends the loop. Set once, when the module is loaded.
extern void (*poll)();

/// Applies `rolled` to Vars of any kind.
Var apply_rolled(std::shared_ptr<const Rolled> rolled, std::span<const Var> operands);
/// The carry at the end and the outputs, out of the result of `rolled`.
std::vector<Var> unpack(const Rolled& rolled, const Var& result);

}  // namespace dualtape::loop
