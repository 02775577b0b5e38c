// SPDX-License-Identifier: MIT
// Dual: the public scalar type of forward mode. Primal and tangent are any numbers: floats, dlarrays, or Duals, for
// higher orders. There is no rule here: an op is looked up in the table and evaluated on Number.
#include <pybind11/pybind11.h>

#include <new>

#include "bindings/number.hpp"
#include "dualtape/array/elementwise.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/ops/partial.hpp"

namespace dualtape::bindings {

PyTypeObject* dual_type = nullptr;

namespace {

PyDual* as_dual(PyObject* object) { return reinterpret_cast<PyDual*>(object); }

PyObject* make_dual_object(Number primal, Number tangent) {
  PyDual* dual = PyObject_New(PyDual, dual_type);
  if (!dual) throw PythonError{};
  new (&dual->primal) Number(std::move(primal));
  new (&dual->tangent) Number(std::move(tangent));
  return reinterpret_cast<PyObject*>(dual);
}

Number primal_of(const Number& x) { return is_py_dual(x.get()) ? as_dual(x.get())->primal : x; }

/// The dual lift: partials are evaluated on the primals, so a Dual inside a Dual is differentiated in its turn.
PyObject* lift(ops::Op op, std::span<const Number* const> operands) {
  std::array<Number, ops::kMaxArity> primals;
  std::array<const Number*, ops::kMaxArity> pointers{};
  for (std::size_t i = 0; i < operands.size(); ++i) {
    primals[i] = primal_of(*operands[i]);
    pointers[i] = &primals[i];
  }
  Number y = Number::apply(op, {pointers.data(), operands.size()});
  const ops::OpInfo& info = ops::info(op);
  if (info.predicate) return y.release();
  Number tangent;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (!info.differentiable[i] || !is_py_dual(operands[i]->get())) continue;
    const Number slope = ops::partial_of(op, static_cast<int>(i), primals.data(), y);
    tangent = tangent + strong_multiply(as_dual(operands[i]->get())->tangent, slope);
  }
  return make_dual_object(std::move(y), std::move(tangent));
}

bool fits(PyObject* object) {
  return PyFloat_Check(object) || PyLong_Check(object) || is_dlarray(object) || is_py_dual(object) ||
         PyObject_HasAttrString(object, "__array__");
}

template <ops::Op op>
PyObject* binary(PyObject* left, PyObject* right) {
  if (!fits(left) || !fits(right)) Py_RETURN_NOTIMPLEMENTED;
  PyObject* operands[] = {left, right};
  return guarded([&] { return apply_dual(op, operands, 2); });
}

template <ops::Op op>
PyObject* unary(PyObject* self) {
  return guarded([&] { return apply_dual(op, &self, 1); });
}

PyObject* dual_power(PyObject* base, PyObject* exponent, PyObject*) {
  if (!fits(base) || !fits(exponent)) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&]() -> PyObject* {
    PyObject* operands[] = {base, exponent};
    const bool number = PyFloat_Check(exponent) || PyLong_Check(exponent);
    const double n = number ? PyFloat_AsDouble(exponent) : 0.5;
    if (n == 2.0) return apply_dual(ops::Op::square, operands, 1);
    if (n == static_cast<int>(n) && n >= -32.0 && n <= 32.0) return apply_dual(ops::Op::integer_power, operands, 2);
    return apply_dual(ops::Op::power, operands, 2);
  });
}

/// Comparisons look at primals alone, like those of every number type here.
PyObject* compare(PyObject* left, PyObject* right, int op) {
  switch (op) {
    case Py_EQ:
      return binary<ops::Op::equal>(left, right);
    case Py_NE:
      return binary<ops::Op::not_equal>(left, right);
    case Py_LT:
      return binary<ops::Op::less>(left, right);
    case Py_LE:
      return binary<ops::Op::less_equal>(left, right);
    case Py_GT:
      return binary<ops::Op::greater>(left, right);
    default:
      return binary<ops::Op::greater_equal>(left, right);
  }
}

PyObject* new_dual(PyTypeObject*, PyObject* args, PyObject* kwargs) {
  static const char* keywords[] = {"primal", "tangent", nullptr};
  PyObject *primal = nullptr, *tangent = nullptr;
  if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:Dual", const_cast<char**>(keywords), &primal, &tangent))
    return nullptr;
  return guarded([&]() -> PyObject* {
    for (PyObject* part : {primal, tangent}) {
      if (part && !(fits(part) && !PyUnicode_Check(part))) {
        throw DTypeError(std::string("Dual: primal and tangent must be real numbers, dlarrays or Duals; a ") +
                         Py_TYPE(part)->tp_name + " was given.");
      }
    }
    return make_dual_object(
        Number::own(PyLong_Check(primal) ? PyNumber_Float(primal) : Py_NewRef(primal)),
        !tangent ? Number(0.0) : Number::own(PyLong_Check(tangent) ? PyNumber_Float(tangent) : Py_NewRef(tangent)));
  });
}

void dealloc(PyObject* self) {
  as_dual(self)->primal.~Number();
  as_dual(self)->tangent.~Number();
  PyTypeObject* type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(type);
}

PyObject* repr(PyObject* self) {
  return PyUnicode_FromFormat("Dual(%R, %R)", as_dual(self)->primal.get(), as_dual(self)->tangent.get());
}
int truth(PyObject* self) { return PyObject_IsTrue(as_dual(self)->primal.get()); }
PyObject* array_ufunc(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&] { return PyObject_Call(package_attribute("dualtape._protocols", "dual_ufunc"), args, kwargs); });
}
PyObject* reduce(PyObject* self, PyObject*) {
  return Py_BuildValue("O(OO)", reinterpret_cast<PyObject*>(dual_type), as_dual(self)->primal.get(),
                       as_dual(self)->tangent.get());
}
PyObject* get_primal(PyObject* self, void*) { return Py_NewRef(as_dual(self)->primal.get()); }
PyObject* get_tangent(PyObject* self, void*) { return Py_NewRef(as_dual(self)->tangent.get()); }

PyGetSetDef properties[] = {
    {"primal", get_primal, nullptr, "The value.", nullptr},
    {"tangent", get_tangent, nullptr, "The derivative carried beside it.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMethodDef methods[] = {
    {"__array_ufunc__", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(array_ufunc)),
     METH_VARARGS | METH_KEYWORDS, "NumPy's ufuncs on Duals."},
    {"__reduce__", reduce, METH_NOARGS, "__reduce__($self, /)\n--\n\nFor pickling."},
    {nullptr, nullptr, 0, nullptr},
};

template <ops::Op op>
void* two() {
  return reinterpret_cast<void*>(binary<op>);
}
template <ops::Op op>
void* one() {
  return reinterpret_cast<void*>(unary<op>);
}

}  // namespace

Number Number::apply(ops::Op op, std::span<const Number* const> operands) {
  bool floats = true;
  for (const Number* operand : operands) {
    if (is_py_dual(operand->get())) return Number::own(lift(op, operands));
    floats = floats && (PyFloat_Check(operand->get()) || PyLong_Check(operand->get()));
  }
  if (floats) {
    double values[ops::kMaxArity];
    for (std::size_t i = 0; i < operands.size(); ++i) {
      values[i] = PyFloat_AsDouble(operands[i]->get());
      if (values[i] == -1.0 && PyErr_Occurred()) throw PythonError{};
    }
    const double y = array::scalar_value(op, values);
    return Number::own(ops::info(op).predicate ? PyBool_FromLong(y != 0.0) : PyFloat_FromDouble(y));
  }
  PyObject* objects[ops::kMaxArity];
  for (std::size_t i = 0; i < operands.size(); ++i) objects[i] = operands[i]->get();
  return Number::own(apply_op(op, objects, operands.size(), false));
}

PyObject* apply_dual(ops::Op op, PyObject* const* objects, std::size_t count) {
  std::array<Number, ops::kMaxArity> operands;
  std::array<const Number*, ops::kMaxArity> pointers{};
  for (std::size_t i = 0; i < count; ++i) {
    operands[i] = Number::own(Py_NewRef(objects[i]));
    pointers[i] = &operands[i];
  }
  return Number::apply(op, {pointers.data(), count}).release();
}

void bind_dual(pybind11::module_& module) {
  using ops::Op;
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("Dual(primal, tangent=0.0)\n--\n\n"
                                    "A dual number: a value and the derivative carried beside it.\n\n"
                                    "Parameters\n----------\nprimal, tangent : float, dlarray or Dual\n"
                                    "    Nest Duals for higher derivatives: ``Dual(Dual(x, 1.0), Dual(1.0, 0.0))``.\n\n"
                                    "Notes\n-----\nArithmetic and the functions of dualtape.numpy (NumPy's too) carry "
                                    "both parts. Comparisons look at\n"
                                    "primals alone. A tangent of exactly zero contributes exactly zero.\n")},
      {Py_tp_new, reinterpret_cast<void*>(new_dual)},
      {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
      {Py_tp_repr, reinterpret_cast<void*>(repr)},
      {Py_tp_getset, properties},
      {Py_tp_methods, methods},
      {Py_tp_richcompare, reinterpret_cast<void*>(compare)},
      {Py_tp_hash, reinterpret_cast<void*>(PyObject_HashNotImplemented)},
      {Py_nb_bool, reinterpret_cast<void*>(truth)},
      {Py_nb_add, two<Op::add>()},
      {Py_nb_subtract, two<Op::subtract>()},
      {Py_nb_multiply, two<Op::multiply>()},
      {Py_nb_true_divide, two<Op::true_divide>()},
      {Py_nb_floor_divide, two<Op::floor_divide>()},
      {Py_nb_remainder, two<Op::remainder>()},
      {Py_nb_power, reinterpret_cast<void*>(dual_power)},
      {Py_nb_negative, one<Op::negative>()},
      {Py_nb_positive, one<Op::positive>()},
      {Py_nb_absolute, one<Op::absolute>()},
      {0, nullptr},
  };
  PyType_Spec spec{"dualtape.Dual", sizeof(PyDual), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, slots};
  dual_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!dual_type) throw pybind11::error_already_set();
  module.attr("Dual") = pybind11::handle(reinterpret_cast<PyObject*>(dual_type));
}

}  // namespace dualtape::bindings
