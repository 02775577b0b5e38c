// SPDX-License-Identifier: MIT
// Body: what machine code is made from. A list of lines, each one instruction of a vector machine, on values that are
// vectors of lanes; no line depends on an instruction set. What an op of the table is in lines is found by evaluating
// its rule on a number type that writes them down (recorder.cpp), so the emitter has no list of ops.
//
// A body is run over and over: for each vector of lanes, and in a loop for each iteration. Inputs are places in
// memory, some of which are states: at the end of an iteration a state takes the value of a line. A body that runs over
// rows has outputs instead: it is a stretch of elementwise instructions, and its lanes are elements of arrays.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dualtape/ops/codes.hpp"

namespace dualtape::machine {

enum class Kind : std::uint8_t {
  input,     // inputs[immediate]
  constant,  // constants[immediate]
  add,
  subtract,
  multiply,
  divide,
  fma,         // a * b + c; immediate: kNegateProduct, kNegateAddend
  strong,      // a * b, and 0 where that is NaN and a factor is 0
  strong_sum,  // a * b + c, and c where that is NaN and a factor is 0; immediate: kNegateProduct
  negate,
  absolute,
  sqrt,
  round,     // immediate: a Rounding
  copysign,  // magnitude of a, sign of b
  at_most,   // the lower of a and b, and a where it is NaN
  at_least,  // the higher
  power,     // 2^n where a is n + kBiasedRounder (num/polynomials.hpp)
  // Masks
  compare,  // immediate: a Comparison
  both,     // a and b
  either,   // a or b
  differ,   // a or b, not both
  inverse,  // not a
  // Numbers again
  select,  // a mask, b where it is true, c elsewhere
  // Lines that are left out where no lane wants them
  guard,  // up to the join whose line is `immediate`, unless mask a is true in some lane
  join,
};

enum : std::uint32_t { kNegateProduct = 1, kNegateAddend = 2 };
enum class Rounding : std::uint8_t { rint, floor, ceil, trunc };
enum class Comparison : std::uint8_t { equal, not_equal, less, less_equal, greater, greater_equal };

using LineId = std::int32_t;
inline constexpr LineId kNoLine = -1;

struct Line {
  Kind kind;
  std::uint32_t immediate = 0;
  LineId operands[3] = {kNoLine, kNoLine, kNoLine};

  bool is_value() const { return kind < Kind::guard; }
  bool is_mask() const { return kind >= Kind::compare && kind <= Kind::inverse; }
  int arity() const {
    int n = 0;
    while (n < 3 && operands[n] != kNoLine) ++n;
    return n;
  }
  friend bool operator==(const Line&, const Line&) = default;
};

/// Where an input comes from, in bytes from a base that the caller gives.
struct Input {
  enum class From : std::uint8_t {
    lanes,   // lanes base + offset: one number for each lane
    shared,  // shared base + offset: one number for all lanes
    table,   // table `offset`: one number for each iteration
    // Of a body that runs over rows: place `offset` of the row, or of all rows; a number for each lane, or one
    row_lanes,
    row_shared,
    place_lanes,
    place_shared,
  };
  From from = From::lanes;
  std::int64_t offset = 0;
};

/// A number that is written at the end of an iteration: to lanes base + offset, or to records + offset.
struct Output {
  LineId line = kNoLine;
  std::int64_t offset = 0;
};

struct State {
  std::uint32_t input = 0;
  LineId line = kNoLine;
};

struct Body {
  bool single = false;  // float32
  /// The results count only if nothing became infinite or NaN, which the processor's flags tell: a product with a
  /// strong zero is a product then.
  bool finite = false;
  std::vector<Line> lines;
  std::vector<double> constants;
  std::vector<Input> inputs;
  std::vector<State> states;
  std::vector<Output> outputs;
  std::vector<Output> records;
  LineId until = kNoLine;       // a mask: lanes that are done
  bool own_iterations = false;  // each lane is at an iteration of its own
  bool rows = false;            // no loop: once over each of many rows of lanes

  std::int64_t item() const { return single ? 4 : 8; }
};

/// Writes lines, each different one once.
class Recorder {
 public:
  explicit Recorder(Body& body) : body_(body) {}

  LineId input(Input::From from, std::int64_t offset);
  LineId constant(double value);
  LineId line(Line line);
  LineId line(Kind kind, std::uint32_t immediate, LineId a, LineId b = kNoLine, LineId c = kNoLine) {
    return this->line({kind, immediate, {a, b, c}});
  }
  /// The lines of an op; a predicate gives 1 and 0. Nothing where the op is not made of a few instructions.
  std::optional<LineId> op(ops::Op op, std::span<const LineId> operands);
  /// A mask of where a number is not zero.
  LineId truth(LineId number);
  /// Lines that are written between a guard and its join are left out where the mask is false in all lanes: what they
  /// compute is good only in lanes of the mask.
  LineId guard(LineId mask);
  void join(LineId guard);

  /// For the numbers of an op's rule: a function was met that is no instruction.
  void refuse() { refused_ = true; }

  Body& body() { return body_; }
  const Body& body() const { return body_; }

 private:
  struct Hash {
    std::size_t operator()(const Line& line) const;
  };
  Body& body_;
  std::unordered_map<Line, LineId, Hash> known_;
  std::map<std::pair<Input::From, std::int64_t>, std::uint32_t> inputs_;  // where each is in the body
  std::unordered_map<std::uint64_t, std::uint32_t> constants_;            // the same, by their bits
  bool refused_ = false;
  std::vector<std::vector<Line>> guarded_;  // what is known only within the guards that are open
};

/// Whether an op is made of a few instructions.
bool is_light(ops::Op op);

}  // namespace dualtape::machine
