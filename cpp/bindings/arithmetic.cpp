// SPDX-License-Identifier: MIT
// Number slots and elementwise functions. The fast path is for bare float64 scalars: compute, append a node, hand
// out an object from the free list; everything else goes the general way through tape::apply.
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "bindings/dlarray.hpp"
#include "bindings/slots.hpp"
#include "dualtape/array/elementwise.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/ops/rules.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"

namespace dualtape::bindings {
namespace {

using ops::Op;
using tape::Tape;

/// A scalar operand on the fast path.
struct Scalar {
  double value;
  std::uint32_t node = tape::kNoNode;
  std::uint32_t recording = 0;
};

inline bool fast_scalar(PyObject* object, Scalar& out) {
  if (is_dlarray(object)) {
    const DlArray* array = as_dlarray(object);
    if (!is_bare_scalar(array)) return false;
    out.value = array->var.value().scalar();
    out.node = array->var.node();
    out.recording = array->var.recording();
    return true;
  }
  if (PyFloat_CheckExact(object)) {
    out.value = PyFloat_AS_DOUBLE(object);
    return true;
  }
  if (PyLong_CheckExact(object)) {
    out.value = PyLong_AsDouble(object);
    if (out.value == -1.0 && PyErr_Occurred()) {
      PyErr_Clear();
      return false;
    }
    return true;
  }
  return false;
}

inline PyObject* record_unary(Op op, const Scalar& x, double value) {
  if (x.recording) {
    Tape* tape = Tape::current();
    if (tape && tape->recording() == x.recording) {
      return make_scalar(value, tape->push_scalar(op, x.node, tape::kNoNode, 1, value), x.recording);
    }
  }
  return make_scalar(value);
}

inline PyObject* record_binary(Op op, const Scalar& a, const Scalar& b, double value) {
  if (a.recording | b.recording) {
    if (Tape* tape = Tape::current()) {
      const bool on_a = a.recording == tape->recording(), on_b = b.recording == tape->recording();
      if (on_a || on_b) {
        const std::uint32_t place_a = on_a ? a.node : tape->push_constant(a.value);
        const std::uint32_t place_b = on_b ? b.node : tape->push_constant(b.value);
        const std::uint8_t tracked = static_cast<std::uint8_t>(on_a | (on_b << 1));
        return make_scalar(value, tape->push_scalar(op, place_a, place_b, tracked, value), tape->recording());
      }
    }
  }
  return make_scalar(value);
}

template <class Rule>
PyObject* binary_slot(PyObject* left, PyObject* right) {
  Scalar a, b;
  if (fast_scalar(left, a) && fast_scalar(right, b)) [[likely]] {
    return guarded([&] { return record_binary(Rule::code, a, b, Rule::value(a.value, b.value)); });
  }
  PyObject* operands[] = {left, right};
  return guarded([&] { return apply_op(Rule::code, operands, 2, true); });
}

template <class Rule>
PyObject* unary_slot(PyObject* self) {
  Scalar x;
  if (fast_scalar(self, x)) return guarded([&] { return record_unary(Rule::code, x, Rule::value(x.value)); });
  return guarded([&] { return apply_op(Rule::code, &self, 1, false); });
}

PyObject* power_slot(PyObject* base, PyObject* exponent, PyObject* modulus) {
  // By far the most frequent power is a square, and the interpreter has one object for the number 2.
  static PyObject* const two = PyLong_FromLong(2);
  if (exponent == two && is_dlarray(base) && is_bare_scalar(as_dlarray(base)) && modulus == Py_None) {
    const Var& x = as_dlarray(base)->var;
    const double value = x.value().scalar();
    return guarded([&] { return record_unary(Op::square, {value, x.node(), x.recording()}, value * value); });
  }
  if (modulus != Py_None) {
    PyErr_SetString(PyExc_TypeError, "pow: a modulus is not supported for dlarrays; use remainder.");
    return nullptr;
  }
  return guarded([&] { return power(base, exponent, true); });
}

PyObject* divmod_slot(PyObject* left, PyObject* right) {
  Ref quotient(PyNumber_FloorDivide(left, right));
  if (!quotient) return nullptr;
  Ref rest(PyNumber_Remainder(left, right));
  return rest ? PyTuple_Pack(2, quotient.get(), rest.get()) : nullptr;
}

PyObject* matmul_slot(PyObject* left, PyObject* right) {
  return guarded([&] { return matmul(left, right, true); });
}

int truth(PyObject* self) {
  return guarded([&]() -> int {
    const Array& value = var_of(self).value();
    if (value.is_scalar()) return value.scalar() != 0.0;
    if (value.size() == 1 && tape::is_recorded(value)) {
      return static_cast<int>(tape::Recorder::of(value)->decide(tape::Recorder::Decision::truth, value));
    }
    if (value.size() != 1) {
      throw ShapeError("bool" + to_string(value.shape()) + ": the truth of an array of " +
                       std::to_string(value.size()) + " elements is ambiguous; use .any() or .all().");
    }
    return value.item() != 0.0;
  });
}

void require_one(const char* what, const Array& value) {
  if (value.size() != 1) {
    throw ShapeError(std::string(what) + to_string(value.shape()) +
                     ": only an array of one element is a number; index it or reduce it first.");
  }
}

PyObject* to_float(PyObject* self) {
  return guarded([&] {
    const Array& value = var_of(self).value();
    require_one("float", value);
    refuse_recorded("float", value);
    // A number may leave, for a look at it; functions of `math`, which would go on to compute with it, are refused.
    if (var_of(self).is_dual() || tape::Tape::of(var_of(self)))
      Ref(checked(PyObject_CallNoArgs(package_attribute("dualtape._leaving", "refuse"))));
    return PyFloat_FromDouble(value.item());
  });
}

PyObject* to_int(PyObject* self) {
  return guarded([&] {
    const Array& value = var_of(self).value();
    require_one("int", value);
    if (tape::is_recorded(value)) {
      return PyLong_FromLongLong(tape::Recorder::of(value)->decide(tape::Recorder::Decision::integer, value));
    }
    if (value.dtype() == DType::i64) return PyLong_FromLongLong(*value.data<std::int64_t>());
    return PyLong_FromDouble(value.item());
  });
}

PyObject* to_index(PyObject* self) {
  return guarded([&] {
    const Array& value = var_of(self).value();
    if (value.dtype() != DType::i64 || value.size() != 1) {
      throw DTypeError("index: only an integer scalar can be an index; this is a " +
                       std::string(array::name(value.dtype())) + " of shape " + to_string(value.shape()) +
                       "; use int(x).");
    }
    if (tape::is_recorded(value)) {
      return PyLong_FromLongLong(tape::Recorder::of(value)->decide(tape::Recorder::Decision::integer, value));
    }
    return PyLong_FromLongLong(*value.data<std::int64_t>());
  });
}

template <class Rule>
PyObject* compare(PyObject* left, PyObject* right) {
  Scalar a, b;
  if (fast_scalar(left, a) && fast_scalar(right, b)) {
    return guarded(
        [&] { return make_dlarray(Var(Array::full(DType::boolean, {}, Rule::value(a.value, b.value) ? 1.0 : 0.0))); });
  }
  PyObject* operands[] = {left, right};
  return guarded([&] { return apply_op(Rule::code, operands, 2, true); });
}

PyObject* rich_compare(PyObject* left, PyObject* right, int op) {
  // Equality with what is no number has an answer, identity's, so that `x in [None, x]` works.
  for (PyObject* side : {left, right}) {
    if ((op == Py_EQ || op == Py_NE) && (side == Py_None || PyUnicode_Check(side) || PyBytes_Check(side))) {
      Py_RETURN_NOTIMPLEMENTED;
    }
  }
  switch (op) {
    case Py_EQ:
      return compare<ops::equal_op>(left, right);
    case Py_NE:
      return compare<ops::not_equal_op>(left, right);
    case Py_LT:
      return compare<ops::less_op>(left, right);
    case Py_LE:
      return compare<ops::less_equal_op>(left, right);
    case Py_GT:
      return compare<ops::greater_op>(left, right);
    default:
      return compare<ops::greater_equal_op>(left, right);
  }
}

/// The op of the table that a bitwise ufunc is on bools.
std::optional<Op> logical(std::string_view ufunc) {
  if (ufunc == "bitwise_and") return Op::logical_and;
  if (ufunc == "bitwise_or") return Op::logical_or;
  if (ufunc == "bitwise_xor") return Op::logical_xor;
  if (ufunc == "invert") return Op::logical_not;
  return std::nullopt;
}

/// Integers and bools among themselves are NumPy's business.
PyObject* apply_numpy(const char* ufunc, std::span<const Var> operands, PyObject* const* objects,
                      std::span<const bool> weak) {
  std::vector<Ref> arrays;
  std::vector<PyObject*> args;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    arrays.emplace_back(weak[i] ? Py_NewRef(objects[i]) : checked(to_numpy(operands[i].value(), false)));
    args.push_back(arrays.back().get());
  }
  Ref result(checked(PyObject_Vectorcall(numpy_attribute(ufunc), args.data(), args.size(), nullptr)));
  return make_dlarray(Var(array_from(ufunc, result.get())));
}

/// Integers of a program are computed with as float64, which holds them exactly up to 2**53. NumPy says which dtype the
/// result has.
PyObject* apply_to_recorded_integers(Op op, std::span<const Var> operands) {
  std::vector<Var> as_floats, ones;
  for (const Var& x : operands) {
    as_floats.push_back(tape::cast(x, DType::f64));
    ones.emplace_back(Array::full(is_float(x.dtype()) ? DType::i64 : x.dtype(), Dims{1}, 1.0));
  }
  constexpr bool weak[3] = {};
  PyObject* const nothing[3] = {};
  Ref sample(apply_numpy(ops::info(op).numpy_name.data(), ones, nothing, std::span<const bool>(weak, ones.size())));
  return make_dlarray(tape::cast(tape::apply(op, as_floats), var_of(checked(sample.get())).dtype()));
}

PyObject* bitwise(const char* ufunc, PyObject* left, PyObject* right) {
  return guarded([&]() -> PyObject* {
    PyObject* objects[] = {left, right};
    bool weak[2];
    std::vector<Var> operands;
    for (int i = 0; i < (right ? 2 : 1); ++i) {
      operands.push_back(operand(ufunc, objects[i], &weak[i]));
      if (PyBool_Check(objects[i])) operands[i] = Var(Array::full(DType::boolean, {}, objects[i] == Py_True));
      const bool integer = weak[i] && PyLong_Check(objects[i]);  // bools included
      if (is_float(operands.back().dtype()) && !integer) {
        throw DTypeError(std::string(ufunc) +
                         ": bits of floating-point numbers have no meaning here; the operands must be bool or integer "
                         "arrays, such as comparisons.");
      }
    }
    const auto traced = [](const Var& v) { return tape::is_recorded(v); };
    const auto is_bool = [](const Var& v) { return v.dtype() == DType::boolean; };
    if (std::any_of(operands.begin(), operands.end(), traced) &&
        std::all_of(operands.begin(), operands.end(), is_bool)) {
      if (const auto op = logical(ufunc)) return make_dlarray(tape::apply(*op, operands));
    }
    return apply_numpy(ufunc, operands, objects, std::span<const bool>(weak, operands.size()));
  });
}

template <class Rule>
void* binary() {
  return reinterpret_cast<void*>(binary_slot<Rule>);
}
template <class Rule>
void* unary() {
  return reinterpret_cast<void*>(unary_slot<Rule>);
}

}  // namespace

PyObject* apply_op(Op op, PyObject* const* objects, std::size_t count, bool may_decline) {
  const ops::OpInfo& info = ops::info(op);
  std::array<Var, 3> operands;
  bool weak[3] = {};
  PyObject* labelled = nullptr;
  for (std::size_t i = 0; i < count; ++i) {
    bool foreign = false;
    operands[i] = operand(info.name.data(), objects[i], &weak[i], may_decline ? &foreign : nullptr);
    if (foreign) Py_RETURN_NOTIMPLEMENTED;
    if (labels_of(objects[i])) labelled = objects[i];
  }
  if (labelled && count > 1) {
    Ref name(checked(PyUnicode_FromStringAndSize(info.name.data(), static_cast<Py_ssize_t>(info.name.size()))));
    PyObject* args[4] = {name.get()};
    std::copy(objects, objects + count, args + 1);
    return PyObject_Vectorcall(package_attribute("dualtape.labels", "apply_op"), args, count + 1, nullptr);
  }
  DType strong = DType::boolean;
  bool any_float = false, any_strong = false;
  for (std::size_t i = 0; i < count; ++i) {
    if (weak[i]) {
      any_float = any_float || PyFloat_Check(objects[i]) || is_dlarray(objects[i]);
      continue;
    }
    // The mask of a selection has no say in the dtype.
    if (op == Op::where && i == 0) continue;
    strong = array::promote(strong, operands[i].dtype());
    any_strong = true;
    any_float = any_float || is_float(operands[i].dtype());
  }
  if (any_strong && !any_float && !info.numpy_name.empty()) {
    const bool recorded =
        std::any_of(operands.begin(), operands.begin() + count, [](const Var& v) { return tape::is_recorded(v); });
    if (recorded && !info.predicate && op != Op::where) {
      return apply_to_recorded_integers(op, std::span<const Var>(operands.data(), count));
    }
    if (!recorded && (!info.predicate || strong != DType::boolean))
      return apply_numpy(info.numpy_name.data(), std::span<const Var>(operands.data(), count), objects,
                         std::span<const bool>(weak, count));
  }
  const DType target = is_float(strong) ? strong : DType::f64;
  for (std::size_t i = 0; i < count; ++i) {
    if (weak[i]) operands[i] = weak_as(operands[i], target);
  }
  Var out = tape::apply(op, std::span<const Var>(operands.data(), count));
  // What is computed from weak scalars alone is one of them. (A trace knows that by itself.)
  const bool all_weak = std::all_of(weak, weak + count, [](bool w) { return w; });
  if (all_weak && std::any_of(objects, objects + count, is_dlarray) && out.is_scalar() && !out.has_node()) {
    return make_dlarray(Var(Array::weak_scalar(out.value().scalar())));
  }
  return make_labelled(std::move(out), count == 1 && labelled ? labels_of(labelled) : nullptr);
}

PyObject* power(PyObject* base, PyObject* exponent, bool may_decline) {
  // The exact route: x**2 is x*x, and so on for what a handful of multiplications give.
  double n = 0.0;
  bool number = false;
  if (PyFloat_CheckExact(exponent)) {
    n = PyFloat_AS_DOUBLE(exponent);
    number = true;
  } else if (PyLong_CheckExact(exponent)) {
    n = PyLong_AsDouble(exponent);
    number = !(n == -1.0 && PyErr_Occurred());
    PyErr_Clear();
  }
  if (number && is_dlarray(base) && is_float(as_dlarray(base)->var.dtype())) {
    if (n == 2.0) {
      Scalar x;
      if (fast_scalar(base, x)) return record_unary(Op::square, x, x.value * x.value);
      return apply_op(Op::square, &base, 1, may_decline);
    }
    if (n == 1.0) return apply_op(Op::positive, &base, 1, may_decline);
    if (n == -1.0) return apply_op(Op::reciprocal, &base, 1, may_decline);
    if (n == 0.5) return apply_op(Op::sqrt, &base, 1, may_decline);
    if (n == std::trunc(n) && std::fabs(n) <= 32.0) {
      PyObject* operands[] = {base, exponent};
      Scalar x;
      if (fast_scalar(base, x)) {
        return record_binary(Op::integer_power, x, Scalar{n}, ops::integer_power_op::value(x.value, n));
      }
      return apply_op(Op::integer_power, operands, 2, may_decline);
    }
  }
  PyObject* operands[] = {base, exponent};
  Scalar a, b;
  if (fast_scalar(base, a) && fast_scalar(exponent, b)) {
    return record_binary(Op::power, a, b, ops::power_op::value(a.value, b.value));
  }
  return apply_op(Op::power, operands, 2, may_decline);
}

void add_arithmetic_slots(std::vector<PyType_Slot>& slots) {
  const PyType_Slot mine[] = {
      {Py_nb_add, binary<ops::add_op>()},
      {Py_nb_subtract, binary<ops::subtract_op>()},
      {Py_nb_multiply, binary<ops::multiply_op>()},
      {Py_nb_true_divide, binary<ops::true_divide_op>()},
      {Py_nb_floor_divide, binary<ops::floor_divide_op>()},
      {Py_nb_remainder, binary<ops::remainder_op>()},
      {Py_nb_divmod, reinterpret_cast<void*>(divmod_slot)},
      {Py_nb_power, reinterpret_cast<void*>(power_slot)},
      {Py_nb_matrix_multiply, reinterpret_cast<void*>(matmul_slot)},
      {Py_nb_negative, unary<ops::negative_op>()},
      {Py_nb_positive, unary<ops::positive_op>()},
      {Py_nb_absolute, unary<ops::absolute_op>()},
      {Py_nb_invert, reinterpret_cast<void*>(+[](PyObject* x) { return bitwise("invert", x, nullptr); })},
      {Py_nb_and, reinterpret_cast<void*>(+[](PyObject* a, PyObject* b) { return bitwise("bitwise_and", a, b); })},
      {Py_nb_or, reinterpret_cast<void*>(+[](PyObject* a, PyObject* b) { return bitwise("bitwise_or", a, b); })},
      {Py_nb_xor, reinterpret_cast<void*>(+[](PyObject* a, PyObject* b) { return bitwise("bitwise_xor", a, b); })},
      {Py_nb_lshift, reinterpret_cast<void*>(+[](PyObject* a, PyObject* b) { return bitwise("left_shift", a, b); })},
      {Py_nb_rshift, reinterpret_cast<void*>(+[](PyObject* a, PyObject* b) { return bitwise("right_shift", a, b); })},
      {Py_nb_bool, reinterpret_cast<void*>(truth)},
      {Py_nb_float, reinterpret_cast<void*>(to_float)},
      {Py_nb_int, reinterpret_cast<void*>(to_int)},
      {Py_nb_index, reinterpret_cast<void*>(to_index)},
      {Py_tp_richcompare, reinterpret_cast<void*>(rich_compare)},
  };
  slots.insert(slots.end(), std::begin(mine), std::end(mine));
}

}  // namespace dualtape::bindings
