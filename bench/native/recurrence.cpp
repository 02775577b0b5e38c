// SPDX-License-Identifier: MIT
// The recurrence x = x * a + b / x, differentiated backwards: on a tape of flat arrays through operator
// overloading (`on_tape`, what a C++ library would do), and with the adjoint written out (`by_hand`).
// Both write value, dy/dx, dy/da, dy/db.
#include <cstdint>
#include <memory>
#include <vector>

namespace {

// An operation's one or two operands and the partials with respect to them; 24 bytes.
struct Node {
  std::uint32_t a, b;
  double da, db;
};

std::vector<Node> tape;

struct Variable {
  double value;
  std::uint32_t index;
};

inline Variable push(double value, std::uint32_t a, double da, std::uint32_t b, double db) {
  const auto index = static_cast<std::uint32_t>(tape.size());
  tape.push_back({a, b, da, db});
  return {value, index};
}

inline Variable operator*(Variable x, Variable y) {
  return push(x.value * y.value, x.index, y.value, y.index, x.value);
}

inline Variable operator+(Variable x, Variable y) { return push(x.value + y.value, x.index, 1.0, y.index, 1.0); }

inline Variable operator/(Variable x, Variable y) {
  const double inverse = 1.0 / y.value;
  const double quotient = x.value * inverse;
  return push(quotient, x.index, inverse, y.index, -quotient * inverse);
}

}  // namespace

extern "C" void on_tape(std::int64_t steps, double x0, double a0, double b0, double* result) {
  tape.reserve(3 * steps + 3);
  Variable x = push(x0, 0, 0.0, 0, 0.0);
  const Variable a = push(a0, 0, 0.0, 0, 0.0);
  const Variable b = push(b0, 0, 0.0, 0, 0.0);
  for (std::int64_t i = 0; i < steps; ++i) x = x * a + b / x;

  std::vector<double> adjoint(tape.size(), 0.0);
  adjoint[x.index] = 1.0;
  for (std::size_t i = x.index; i >= 3; --i) {
    const Node& node = tape[i];
    adjoint[node.a] += adjoint[i] * node.da;
    adjoint[node.b] += adjoint[i] * node.db;
  }
  result[0] = x.value;
  for (int i = 0; i < 3; ++i) result[1 + i] = adjoint[i];
  std::vector<Node>().swap(tape);  // the memory goes back
}

extern "C" void by_hand(std::int64_t steps, double x, double a, double b, double* result) {
  const std::unique_ptr<double[]> path(new double[steps]);
  for (std::int64_t i = 0; i < steps; ++i) {
    path[i] = x;
    x = x * a + b / x;
  }
  double dx = 1.0, da = 0.0, db = 0.0;
  for (std::int64_t i = steps; i-- > 0;) {
    const double inverse = 1.0 / path[i];
    da += dx * path[i];
    db += dx * inverse;
    dx *= a - b * inverse * inverse;
  }
  result[0] = x;
  result[1] = dx;
  result[2] = da;
  result[3] = db;
}
