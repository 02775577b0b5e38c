// SPDX-License-Identifier: MIT
// dlfeval, dlgradient and extractdata: MATLAB's three verbs, on the hot path of every eager training loop.
#include "bindings/evaluate.hpp"

#include <array>

#include "bindings/dlarray.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/apply.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"
#include "dualtape/tape/reverse.hpp"

namespace dualtape::bindings {

using tape::Scope;
using tape::Tape;

PyObject* make_leaf(Tape& tape, PyObject* array) {
  if (is_bare_scalar(as_dlarray(array)) && !tape::Recorder::lifting()) {
    const Var& x = as_dlarray(array)->var;
    const double value = x.value().scalar();
    const std::uint32_t origin = x.recording() == tape.recording() ? x.node() : tape::kNoNode;
    return make_scalar(value, tape.push_value(tape::Kind::leaf, value, origin), tape.recording());
  }
  const Var& x = var_of(array);
  if (!array::is_float(x.dtype())) {
    throw DTypeError("derivative: an array of " + std::string(array::name(x.dtype())) +
                     " has no derivatives; convert it with x.astype(float).");
  }
  if (x.is_dual()) {
    // The identity of a dual is dual in the identity of its primal; the tangent stays what it is.
    const auto identity = [&](const Var& v, auto&& self) -> Var {
      if (!v.is_dual()) return tape.leaf(v);
      return Var::dual(v.level(), self(v.primal(), self), v.tangent(), v.directions());
    };
    return make_labelled(identity(x, identity), labels_of(array));
  }
  return make_labelled(tape.leaf(x), labels_of(array));
}

bool may_hold_arrays(PyObject* object) {
  if (is_dlarray(object) || PyFloat_Check(object) || PyLong_Check(object) || PyUnicode_Check(object) ||
      object == Py_None)
    return false;
  return PyTuple_Check(object) || PyList_Check(object) || PyDict_Check(object) ||
         PyObject_HasAttrString(object, "__dataclass_fields__");
}

namespace {

using Args = PyObject* const*;

/// A callable of Python for each dlarray of a tree, made for one call of `tree_map`.
template <class Body>
Ref map_tree(PyObject* tree, Body& body) {
  // A traceback may keep the callable for longer than this call, so its definition is static, and the capsule takes
  // a name at the end, by which the body is no longer found.
  static PyMethodDef definition{
      "each",
      reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(+[](PyObject* self, PyObject* leaf) -> PyObject* {
        if (!is_dlarray(leaf)) return Py_NewRef(leaf);
        Body* apply = static_cast<Body*>(PyCapsule_GetPointer(self, nullptr));
        return apply ? guarded([&] { return (*apply)(leaf); }) : nullptr;
      })),
      METH_O, nullptr};
  Ref capsule(checked(PyCapsule_New(&body, nullptr, nullptr)));
  Ref function(checked(PyCFunction_New(&definition, capsule.get())));
  PyObject* args[] = {function.get(), tree};
  PyObject* out = PyObject_Vectorcall(package_attribute("dualtape.tree", "tree_map"), args, 2, nullptr);
  PyCapsule_SetName(capsule.get(), "over");
  return Ref(checked(out));
}

/// A dict of arrays and plain values, which is what parameters mostly are, with `apply` on each array: a new dict in
/// the same order. Null where it holds something that trees are made of in its turn.
template <class Body>
PyObject* map_dict(PyObject* dict, Body&& apply) {
  if (!PyDict_CheckExact(dict)) return nullptr;
  Py_ssize_t place = 0;
  PyObject *key, *value;
  while (PyDict_Next(dict, &place, &key, &value)) {
    if (!is_dlarray(value) && may_hold_arrays(value)) return nullptr;
  }
  Ref out(checked(PyDict_Copy(dict)));
  place = 0;
  while (PyDict_Next(out.get(), &place, &key, &value)) {
    if (!is_dlarray(value)) continue;
    // Setting the value of a key that is there leaves the walk intact.
    Ref mapped(checked(apply(value)));
    if (PyDict_SetItem(out.get(), key, mapped.get()) < 0) throw PythonError{};
  }
  return out.release();
}

/// An argument as the function sees it: dlarrays become leaves, in trees too.
Ref traced_argument(Tape& tape, PyObject* argument) {
  if (is_dlarray(argument)) {
    return Ref(array::is_float(as_dlarray(argument)->var.dtype()) ? make_leaf(tape, argument) : Py_NewRef(argument));
  }
  if (!may_hold_arrays(argument)) return Ref(Py_NewRef(argument));
  auto each = [&](PyObject* leaf) {
    return array::is_float(as_dlarray(leaf)->var.dtype()) ? make_leaf(tape, leaf) : Py_NewRef(leaf);
  };
  if (PyObject* dict = map_dict(argument, each)) return Ref(dict);
  return map_tree(argument, each);
}

}  // namespace

PyObject* outcome_of(Scope& scope, PyObject* owned) {
  if (is_dlarray(owned) && is_bare_scalar(as_dlarray(owned)) && Py_REFCNT(owned) == 1 && !scope.nested()) {
    as_dlarray(owned)->var.forget();
    return owned;
  }
  Ref object(owned);
  if (is_dlarray(owned)) {
    DlArray* array = as_dlarray(owned);
    if (!array->extras && !array->var.has_node() && !array->var.is_dual()) return object.release();
    Var value = scope.outcome(var_of(owned));
    if (Py_REFCNT(owned) == 1 && !array->extras) {
      array->var = std::move(value);
      return object.release();
    }
    return make_labelled(std::move(value), labels_of(owned));
  }
  if (PyTuple_CheckExact(owned)) {
    const Py_ssize_t count = PyTuple_GET_SIZE(owned);
    if (Py_REFCNT(owned) == 1) {
      for (Py_ssize_t i = 0; i < count; ++i) {
        PyObject* item = PyTuple_GET_ITEM(owned, i);
        PyTuple_SET_ITEM(owned, i, nullptr);  // the item is ours for the moment, so its count is honest
        PyObject* out = outcome_of(scope, item);
        PyTuple_SET_ITEM(owned, i, out);
      }
      return object.release();
    }
    Ref copy(checked(PyTuple_New(count)));
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyTuple_SET_ITEM(copy.get(), i, outcome_of(scope, Py_NewRef(PyTuple_GET_ITEM(owned, i))));
    }
    return copy.release();
  }
  if (!may_hold_arrays(owned)) return object.release();
  auto each = [&](PyObject* leaf) { return outcome_of(scope, Py_NewRef(leaf)); };
  if (PyObject* dict = map_dict(owned, each)) return dict;
  return map_tree(owned, each).release();
}

namespace {

PyObject* dlfeval(PyObject*, Args args, Py_ssize_t count, PyObject* kwnames) {
  if (count < 1 || !PyCallable_Check(args[0])) {
    PyErr_SetString(
        PyExc_TypeError,
        "dlfeval: the first argument must be the function to evaluate; give dlfeval(function, *arguments).");
    return nullptr;
  }
  return guarded([&]() -> PyObject* {
    // An accelerated function brings its own evaluation.
    if (!PyFunction_Check(args[0]) && !Tape::current() &&
        Py_TYPE(args[0]) ==
            reinterpret_cast<PyTypeObject*>(package_attribute("dualtape.accelerate", "AcceleratedFunction"))) {
      return PyObject_Vectorcall(args[0], args + 1, static_cast<std::size_t>(count - 1), kwnames);
    }
    const Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    const std::size_t total = static_cast<std::size_t>(count + keywords - 1);
    constexpr std::size_t kFew = 8;
    Ref few[kFew];
    std::vector<Ref> many;
    if (total > kFew) many.resize(total);
    Ref* traced = total > kFew ? many.data() : few;
    PyObject* few_pointers[kFew + 1];
    std::vector<PyObject*> many_pointers;
    if (total > kFew) many_pointers.resize(total + 1);
    PyObject** pointers = (total > kFew ? many_pointers.data() : few_pointers) + 1;

    Scope scope;
    for (std::size_t i = 0; i < total; ++i) {
      traced[i] = traced_argument(scope.tape(), args[i + 1]);
      pointers[i] = traced[i].get();
    }
    PyObject* result = PyObject_Vectorcall(
        args[0], pointers, static_cast<std::size_t>(count - 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, kwnames);
    if (!result) throw PythonError{};
    return outcome_of(scope, result);
  });
}

struct Options {
  bool higher = false;
  bool unconnected_error = false;
};

Options read_options(Args values, PyObject* kwnames) {
  Options out;
  const Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t k = 0; k < keywords; ++k) {
    PyObject* keyword = PyTuple_GET_ITEM(kwnames, k);
    const auto is = [&](const char* name) { return PyUnicode_CompareWithASCIIString(keyword, name) == 0; };
    if (is("enable_higher_derivatives")) {
      out.higher = bool_from(values[k], false);
    } else if (is("unconnected")) {
      if (!PyUnicode_Check(values[k]) || (PyUnicode_CompareWithASCIIString(values[k], "zero") != 0 &&
                                          PyUnicode_CompareWithASCIIString(values[k], "error") != 0)) {
        throw GradientError("dlgradient: unconnected must be \"zero\" or \"error\".");
      }
      out.unconnected_error = PyUnicode_CompareWithASCIIString(values[k], "error") == 0;
    } else if (!is("retain_data") && !is("allow_complex")) {
      PyErr_Format(PyExc_TypeError, "dlgradient() got an unexpected keyword argument '%U'", keyword);
      throw PythonError{};
    }
  }
  return out;
}

/// True where some part of a value lies on the current tape.
bool is_traced(const Var& var) {
  return var.is_dual() ? is_traced(var.primal()) || is_traced(var.tangent()) : Tape::of(var) != nullptr;
}

Tape& require_tape(PyObject* y) {
  Tape* tape = Tape::current();
  if (!tape || !Scope::innermost()) {
    throw TapeError(
        "dlgradient: no function is being evaluated for derivatives; call dlgradient inside a function that is passed "
        "to dlfeval.");
  }
  if (!is_dlarray(y)) {
    throw GradientError(std::string("dlgradient: the value to differentiate must be a traced dlarray; a ") +
                        Py_TYPE(y)->tp_name +
                        " was given; compute it from arguments of the function given to dlfeval that are dlarrays.");
  }
  const Var& value = var_of(y);
  if (value.size() != 1) {
    throw GradientError("dlgradient" + to_string(value.shape()) +
                        ": the value to differentiate is not a scalar; use y.sum() for derivatives sample by sample, "
                        "or dljacobian(y, x).");
  }
  if (!is_traced(value)) {
    throw GradientError(
        "dlgradient: the value to differentiate is not traced, it depends on no argument of the function given to "
        "dlfeval (extractdata and float cut the trace).");
  }
  return *tape;
}

/// The fast way: a bare scalar by bare scalars, on a tape of scalars. Null where that is not so.
PyObject* scalar_gradient(PyObject* y, Args xs, Py_ssize_t count) {
  constexpr Py_ssize_t kMost = 8;
  Tape* tape = Tape::current();
  const Scope* scope = Scope::innermost();  // null while a pull runs a rule on a tape that is closed
  if (!tape || !scope || scope->nested() || count > kMost || !is_dlarray(y) || !is_bare_scalar(as_dlarray(y)))
    return nullptr;
  const Var& value = as_dlarray(y)->var;
  if (value.recording() != tape->recording()) return nullptr;
  std::uint32_t nodes[kMost];
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!is_dlarray(xs[i]) || !is_bare_scalar(as_dlarray(xs[i]))) return nullptr;
    const Var& x = as_dlarray(xs[i])->var;
    if (x.recording() != tape->recording()) return nullptr;
    nodes[i] = x.node();
  }
  double gradients[kMost];
  const std::size_t n = static_cast<std::size_t>(count);
  if (!tape::pull_back_scalars(*tape, value.node(), {nodes, n}, {gradients, n})) return nullptr;
  const auto result = [&](Py_ssize_t i) {
    return make_scalar(gradients[i], tape->push_value(tape::Kind::opaque, gradients[i]), tape->recording());
  };
  if (count == 1) return result(0);
  Ref out(checked(PyTuple_New(count)));
  for (Py_ssize_t i = 0; i < count; ++i) PyTuple_SET_ITEM(out.get(), i, result(i));
  return out.release();
}

/// The leaves of each x in turn, and what it takes to put gradients in their place.
struct Inputs {
  std::vector<Ref> leaves;
  std::vector<Ref> structures;  // null for a bare dlarray, the dict itself for a dict of dlarrays
  std::vector<Py_ssize_t> counts;
};

bool is_dict_of_arrays(PyObject* object) {
  if (!PyDict_CheckExact(object)) return false;
  Py_ssize_t place = 0;
  PyObject *key, *value;
  while (PyDict_Next(object, &place, &key, &value)) {
    if (!is_dlarray(value)) return false;
  }
  return true;
}

Inputs read_inputs(Args xs, Py_ssize_t count) {
  Inputs out;
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (is_dlarray(xs[i])) {
      out.leaves.emplace_back(Py_NewRef(xs[i]));
      out.structures.emplace_back();
      out.counts.push_back(1);
      continue;
    }
    if (is_dict_of_arrays(xs[i])) {
      Py_ssize_t place = 0;
      PyObject *key, *value;
      while (PyDict_Next(xs[i], &place, &key, &value)) out.leaves.emplace_back(Py_NewRef(value));
      out.structures.emplace_back(Py_NewRef(xs[i]));
      out.counts.push_back(PyDict_GET_SIZE(xs[i]));
      continue;
    }
    Ref flat(checked(PyObject_CallOneArg(package_attribute("dualtape.tree", "flatten"), xs[i])));
    Ref items(checked(PySequence_Tuple(PyTuple_GET_ITEM(flat.get(), 0))));
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(items.get()); ++k) {
      PyObject* leaf = PyTuple_GET_ITEM(items.get(), k);
      if (!is_dlarray(leaf)) {
        throw GradientError(
            std::string("dlgradient: the input is not traced: it is a ") + Py_TYPE(leaf)->tp_name +
            "; differentiate with respect to dlarrays that were arguments of the function given to dlfeval.");
      }
      out.leaves.emplace_back(Py_NewRef(leaf));
    }
    out.structures.emplace_back(Py_NewRef(PyTuple_GET_ITEM(flat.get(), 1)));
    out.counts.push_back(PyTuple_GET_SIZE(items.get()));
  }
  return out;
}

PyObject* dlgradient(PyObject*, Args args, Py_ssize_t count, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    if (count < 2) {
      PyErr_SetString(PyExc_TypeError,
                      "dlgradient: give the value and at least one input: dlgradient(y, x1, x2, ...).");
      throw PythonError{};
    }
    if (!kwnames) {
      if (PyObject* fast = scalar_gradient(args[0], args + 1, count - 1)) return fast;
    }
    Tape& tape = require_tape(args[0]);
    const Options options = read_options(args + count, kwnames);
    const Scope& scope = *Scope::innermost();
    const bool record = options.higher || (scope.nested() && tape.depends_on_earlier(scope.first()));
    const Inputs inputs = read_inputs(args + 1, count - 1);
    std::vector<Var> xs;
    for (const Ref& leaf : inputs.leaves) xs.push_back(var_of(leaf.get()));
    const Var y = tape::reshape(var_of(args[0]), {});
    const Var one(Array::full(y.dtype(), {}, 1.0));
    std::vector<Var> gradients =
        tape::pull_back(&tape, std::span(&y, 1), std::span(&one, 1), xs, {record, options.unconnected_error});
    // Unless it may be differentiated again, a derivative is a value through which no other derivative may go.
    std::vector<Ref> results;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      Var value = record || gradients[i].is_dual() ? std::move(gradients[i]) : tape.opaque(gradients[i].value());
      results.emplace_back(make_labelled(std::move(value), labels_of(inputs.leaves[i].get())));
    }
    Ref out(checked(PyTuple_New(count - 1)));
    std::size_t next = 0;
    for (Py_ssize_t i = 0; i < count - 1; ++i) {
      const std::size_t k = static_cast<std::size_t>(i);
      if (!inputs.structures[k]) {
        PyTuple_SET_ITEM(out.get(), i, results[next++].release());
        continue;
      }
      if (PyDict_CheckExact(inputs.structures[k].get())) {
        auto put = [&](PyObject*) { return results[next++].release(); };
        PyTuple_SET_ITEM(out.get(), i, checked(map_dict(inputs.structures[k].get(), put)));
        continue;
      }
      Ref list(checked(PyList_New(inputs.counts[k])));
      for (Py_ssize_t j = 0; j < inputs.counts[k]; ++j) PyList_SET_ITEM(list.get(), j, results[next++].release());
      PyObject* pair[] = {inputs.structures[k].get(), list.get()};
      PyTuple_SET_ITEM(out.get(), i,
                       checked(PyObject_Vectorcall(package_attribute("dualtape.tree", "unflatten"), pair, 2, nullptr)));
    }
    return count == 2 ? Py_NewRef(PyTuple_GET_ITEM(out.get(), 0)) : out.release();
  });
}

PyObject* extract(PyObject* array) {
  refuse_recorded("extractdata", var_of(array).value());
  Ref out(checked(to_numpy(var_of(array).value(), true)));
  // A scalar comes out as NumPy's scalar, which prints and formats as a number.
  PyObject* empty = PyTuple_New(0);
  Ref key(empty);
  return as_dlarray(array)->var.ndim() == 0 ? PyObject_GetItem(out.get(), key.get()) : out.release();
}

PyObject* extractdata(PyObject*, PyObject* object) {
  return guarded([&]() -> PyObject* {
    if (is_dlarray(object)) return extract(object);
    if (!may_hold_arrays(object)) return Py_NewRef(object);
    auto each = [](PyObject* leaf) { return extract(leaf); };
    return map_tree(object, each).release();
  });
}

PyObject* stop_gradient(PyObject*, PyObject* object) {
  return guarded([&]() -> PyObject* {
    auto each = [](PyObject* leaf) { return make_labelled(tape::stop_gradient(var_of(leaf)), labels_of(leaf)); };
    if (is_dlarray(object)) return each(object);
    if (!may_hold_arrays(object)) return Py_NewRef(object);
    return map_tree(object, each).release();
  });
}

PyCFunction fast(PyObject* (*function)(PyObject*, Args, Py_ssize_t, PyObject*)) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef verbs[] = {
    {"dlfeval", fast(dlfeval), METH_FASTCALL | METH_KEYWORDS,
     "dlfeval(fun, /, *args, **kwargs)\n--\n\n"
     "Evaluates a function so that dlgradient works inside it.\n\n"
     "Parameters\n----------\nfun : callable\n    Any Python function. Each dlarray among its arguments, in trees too, "
     "arrives traced.\n"
     "*args, **kwargs\n    Passed on.\n\n"
     "Returns\n-------\nWhat fun returns, with every dlarray in it as a plain value.\n\n"
     "Notes\n-----\nHowever fun ends, its trace ends with it. Evaluations nest."},
    {"dlgradient", fast(dlgradient), METH_FASTCALL | METH_KEYWORDS,
     "dlgradient(y, /, *xs, retain_data=False, enable_higher_derivatives=False, allow_complex=True, "
     "unconnected='zero')\n--\n\n"
     "Derivatives of a scalar with respect to one or several inputs.\n\n"
     "Parameters\n----------\ny : dlarray\n    A traced scalar.\n*xs : dlarray or tree of dlarrays\n    Traced "
     "inputs.\n"
     "retain_data : bool\n    A hint that y will be differentiated again; always possible, whatever it says.\n"
     "enable_higher_derivatives : bool\n    Whether the result may be differentiated.\n"
     "allow_complex : bool\n    Accepted for MATLAB's sake; there are no complex arrays.\n"
     "unconnected : {'zero', 'error'}\n    What to do where y does not depend on an input.\n\n"
     "Returns\n-------\nFor one x its gradient, with its shape, dtype, labels and structure; for several a tuple.\n\n"
     "Raises\n------\nTapeError\n    Outside dlfeval.\nGradientError\n    For a value that is not scalar or not "
     "traced, or an untraced input."},
    {"extractdata", extractdata, METH_O,
     "extractdata(x, /)\n--\n\n"
     "The numbers of a dlarray, or of each dlarray of a tree, as fresh NumPy arrays (scalars as NumPy scalars).\n\n"
     "Inside dlfeval this cuts the trace: what is computed from the numbers has no derivative."},
    {"stop_gradient", stop_gradient, METH_O,
     "stop_gradient(x, /)\n--\n\nThe same values, as constants: derivatives of any kind stop here. Accepts trees."},
};

}  // namespace

void bind_evaluate(pybind11::module_& module) {
  for (PyMethodDef& verb : verbs) {
    module.attr(verb.ml_name) = pybind11::reinterpret_steal<pybind11::object>(checked(PyCFunction_New(&verb, nullptr)));
  }
}

}  // namespace dualtape::bindings
