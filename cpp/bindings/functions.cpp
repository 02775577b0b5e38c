// SPDX-License-Identifier: MIT
// The functions of the module. Shaped ones of one array come from the list of shaped_functions.hpp and are methods of
// dlarray too; those of several arrays are here; elementwise ones come from the table of ops by a loop.
#include "bindings/functions.hpp"

#include <algorithm>

#include "bindings/dlarray.hpp"
#include "bindings/number.hpp"
#include "bindings/shaped_functions.hpp"
#include "dualtape/array/elementwise.hpp"
#include "dualtape/array/reduce.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"

namespace dualtape::bindings {
namespace {

template <Impl impl>
PyObject* as_method(PyObject* self, Args args, Py_ssize_t count, PyObject* kwnames) {
  return guarded([&] { return impl(self, args, count, kwnames); });
}

template <Impl impl>
PyObject* as_function(PyObject*, Args args, Py_ssize_t count, PyObject* kwnames) {
  if (count < 1) {
    PyErr_SetString(PyExc_TypeError, "the array must be given as the first argument");
    return nullptr;
  }
  return guarded([&]() -> PyObject* {
    if (is_dlarray(args[0])) return impl(args[0], args + 1, count - 1, kwnames);
    Ref array(make_dlarray(operand("function", args[0])));
    Ref out(impl(array.get(), args + 1, count - 1, kwnames));
    if (!is_dlarray(out.get())) return out.release();
    // A view of memory that is not ours would change with it.
    const Array& value = var_of(out.get()).value();
    return value.is_scalar() || value.buffer().writable() ? out.release() : make_dlarray(Var(value.copy()));
  });
}

template <class Function>
PyCFunction fast(Function function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

constexpr int kFast = METH_FASTCALL | METH_KEYWORDS;

// Functions of several arrays.

PyObject* join(const char* name, bool stacked, Args args, Py_ssize_t count, PyObject* kwnames) {
  constexpr const char* names[] = {"arrays", "axis"};
  PyObject* given[2];
  parse_arguments(name, args, count, kwnames, names, 1, given);
  Ref items(checked(PySequence_Tuple(given[0])));
  const Py_ssize_t n = PyTuple_GET_SIZE(items.get());
  if (n == 0) throw ShapeError(std::string(name) + "(): there is nothing to join; give at least one array.");
  std::vector<Var> parts;
  DType dtype = DType::boolean;
  std::vector<bool> weak;
  for (Py_ssize_t i = 0; i < n; ++i) {
    bool is_weak = false;
    parts.push_back(operand(name, PyTuple_GET_ITEM(items.get(), i), &is_weak));
    weak.push_back(is_weak);
    if (!is_weak) dtype = array::promote(dtype, parts.back().dtype());
  }
  if (std::find(weak.begin(), weak.end(), true) != weak.end() && !array::is_float(dtype)) dtype = DType::f64;
  for (Var& part : parts) part = tape::cast(part, dtype);
  const int ndim = parts[0].ndim();
  const bool flat = !stacked && given[1] == Py_None;
  if (flat) {
    for (Var& part : parts) part = tape::reshape(part, Dims{part.size()});
  }
  const std::int64_t wanted = given[1] && !flat ? int_from(name, "axis", given[1]) : 0;
  const int axis = normalize_axis(name, wanted, flat ? 1 : stacked ? ndim + 1 : ndim);
  return make_dlarray(stacked ? tape::stack(parts, axis) : tape::concatenate(parts, axis));
}

PyObject* concatenate_(PyObject*, Args args, Py_ssize_t count, PyObject* kwnames) {
  return guarded([&] { return join("concatenate", false, args, count, kwnames); });
}
PyObject* stack_(PyObject*, Args args, Py_ssize_t count, PyObject* kwnames) {
  return guarded([&] { return join("stack", true, args, count, kwnames); });
}

PyObject* matmul_(PyObject*, Args args, Py_ssize_t count, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    constexpr const char* names[] = {"a", "b"};
    PyObject* given[2];
    parse_arguments("matmul", args, count, kwnames, names, 2, given);
    return matmul(given[0], given[1], false);
  });
}

PyObject* elementwise(PyObject* code, Args args, Py_ssize_t count, PyObject* kwnames) {
  const ops::Op op = static_cast<ops::Op>(PyLong_AsLong(code));
  const ops::OpInfo& info = ops::info(op);
  if (kwnames && PyTuple_GET_SIZE(kwnames)) {
    PyErr_Format(PyExc_TypeError,
                 "%s: the keyword '%U' is not taken; out= would write into an array past the tape, where= would leave "
                 "elements undefined; use the result, numpy.where, or x.astype(dtype).",
                 info.name.data(), PyTuple_GET_ITEM(kwnames, 0));
    return nullptr;
  }
  if (count != info.arity) {
    PyErr_Format(PyExc_TypeError, "%s() takes %d arguments, %zd were given", info.name.data(), info.arity, count);
    return nullptr;
  }
  return guarded([&]() -> PyObject* {
    if (count == 1 && is_dlarray(args[0]) && is_bare_scalar(as_dlarray(args[0])) && !info.predicate) {
      const Var& x = as_dlarray(args[0])->var;
      const double in = x.value().scalar();
      const double out = array::scalar_value(op, &in);
      tape::Tape* tape = tape::Tape::of(x);
      if (!tape || !info.differentiable[0]) return make_scalar(out);
      return make_scalar(out, tape->push_scalar(op, x.node(), tape::kNoNode, 1, out), x.recording());
    }
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (is_py_dual(args[i])) return apply_dual(op, args, static_cast<std::size_t>(count));
    }
    if (op == ops::Op::power) return power(args[0], args[1], false);
    return apply_op(op, args, static_cast<std::size_t>(count), false);
  });
}

PyMethodDef several[] = {
    {"concatenate", fast(concatenate_), kFast,
     "concatenate(arrays, axis=0)\n--\n\nArrays joined along an axis they have."},
    {"stack", fast(stack_), kFast, "stack(arrays, axis=0)\n--\n\nArrays of one shape joined along a new axis."},
    {"matmul", fast(matmul_), kFast, "matmul(a, b)\n--\n\nMatrix product, with NumPy's rules for vectors and batches."},
};

}  // namespace

PyObject* matmul(PyObject* left, PyObject* right, bool may_decline) {
  if (labels_of(left) && labels_of(right)) {
    throw ShapeError(
        "matmul: both operands have labels, and which axes to sum over is not clear; call stripdims on one.");
  }
  bool foreign = false;
  bool* decline = may_decline ? &foreign : nullptr;
  const Var a = operand("matmul", left, nullptr, decline), b = operand("matmul", right, nullptr, decline);
  if (foreign) Py_RETURN_NOTIMPLEMENTED;
  const DType both = array::promote(a.dtype(), b.dtype()), dtype = array::is_float(both) ? both : DType::f64;
  if (!array::is_float(both) && !tape::is_recorded(a) && !tape::is_recorded(b)) {
    // Integers among themselves are NumPy's business.
    Ref x(checked(to_numpy(a.value(), false))), y(checked(to_numpy(b.value(), false)));
    PyObject* operands[] = {x.get(), y.get()};
    Ref product(checked(PyObject_Vectorcall(numpy_attribute("matmul"), operands, 2, nullptr)));
    return make_dlarray(Var(array_from("matmul", product.get())));
  }
  return make_dlarray(tape::matmul(tape::cast(a, dtype), tape::cast(b, dtype)));
}

const std::vector<PyMethodDef>& shaped_methods() {
  static const std::vector<PyMethodDef> methods = {
#define DUALTAPE_METHOD(name, signature, doc) \
  {#name, fast(as_method<name##_>), kFast, #name "($self, /, " signature ")\n--\n\n" doc},
      DUALTAPE_SHAPED(DUALTAPE_METHOD)
#undef DUALTAPE_METHOD
  };
  return methods;
}

void bind_functions(pybind11::module_& module) {
  static PyMethodDef functions[] = {
#define DUALTAPE_FUNCTION(name, signature, doc) \
  {#name, fast(as_function<name##_>), kFast, #name "(x, /, " signature ")\n--\n\n" doc},
      DUALTAPE_SHAPED(DUALTAPE_FUNCTION)
#undef DUALTAPE_FUNCTION
  };
  const auto add = [&](pybind11::module_& to, PyMethodDef& definition, PyObject* self) {
    to.attr(definition.ml_name) =
        pybind11::reinterpret_steal<pybind11::object>(checked(PyCFunction_NewEx(&definition, self, nullptr)));
  };
  for (PyMethodDef& definition : functions) add(module, definition, nullptr);
  for (PyMethodDef& definition : several) add(module, definition, nullptr);

  pybind11::module_ table = module.def_submodule("elementwise", "The elementwise ops of the table, as functions.");
  static std::vector<PyMethodDef> definitions(ops::kOpCount);
  static std::vector<std::string> docs(ops::kOpCount);
  pybind11::list rows;
  for (int i = 0; i < ops::kOpCount; ++i) {
    const ops::OpInfo& info = ops::info(static_cast<ops::Op>(i));
    const std::size_t k = static_cast<std::size_t>(i);
    constexpr const char* signatures[] = {"(x, /)", "(a, b, /)", "(a, b, c, /)"};
    docs[k] = std::string(info.name) + signatures[info.arity - 1] + "\n--\n\n" +
              (info.numpy_name.empty() ? "Elementwise; NumPy has no function of this kind."
                                       : "Elementwise, with the values of numpy." + std::string(info.numpy_name) + ".");
    if (!info.kink.empty()) docs[k] += "\n\nDerivative: " + std::string(info.kink) + ".";
    definitions[k] = {info.name.data(), fast(elementwise), kFast, docs[k].c_str()};
    add(table, definitions[k], pybind11::int_(i).ptr());
    pybind11::dict row;
    row["name"] = std::string(info.name);
    row["numpy_name"] = std::string(info.numpy_name);
    row["arity"] = info.arity;
    row["predicate"] = info.predicate;
    pybind11::list differentiable, domains;
    for (int a = 0; a < info.arity; ++a) {
      const ops::Domain& domain = info.domains[static_cast<std::size_t>(a)];
      differentiable.append(info.differentiable[static_cast<std::size_t>(a)]);
      domains.append(pybind11::make_tuple(domain.lo, domain.hi, domain.except, domain.integer));
    }
    row["differentiable"] = pybind11::tuple(differentiable);
    row["domains"] = pybind11::tuple(domains);
    row["kink"] = std::string(info.kink);
    rows.append(row);
  }
  module.def(
      "op_table", [rows] { return rows.attr("copy")(); }, "The table of elementwise ops: a dict for each.");
}

}  // namespace dualtape::bindings
