// SPDX-License-Identifier: MIT
// The functions behind python/dualtape/updates.py and optim/: `optim_update` runs a rule over trees, `optim_norm` and
// `optim_rules` serve what is around it. They are plain CPython functions without keyword arguments, because an Adam
// step of two scalars takes about a microsecond in all.
//
// `optim_update` declines (returns NotImplemented, having changed nothing) whatever is not in order; Python then says
// why. Start reading at `Update`.
#include "bindings/optim.hpp"

#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>

#include "bindings/optim_leaves.hpp"
#include "bindings/optim_traced.hpp"
#include "dualtape/tape/recorder.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

using optim::Rule;
using optim::RuleInfo;
using tape::Traced;

constexpr std::int64_t kLong = 1 << 15;  // with more elements than this the interpreter lock is released
constexpr long kInPlace = 1, kCheckFinite = 2;

/// A hyperparameter, carried number or iteration: its value, and whether derivatives go through it.
struct Number {
  double value = 0.0;
  bool live = false;
  PyObject* object = nullptr;  // borrowed

  bool read(PyObject* from) {
    object = from;
    if (PyFloat_CheckExact(from)) {
      value = PyFloat_AS_DOUBLE(from);
      return true;
    }
    if (is_dlarray(from)) {
      const Var& var = var_of(from);
      if (var.size() != 1 || var.ndim() != 0) return false;
      live = var.is_dual() || tape::Tape::of(var) || tape::is_recorded(var);
      value = var.value().item();
      return true;
    }
    if (PyUnicode_Check(from)) return false;
    value = PyFloat_AsDouble(from);
    if (value == -1.0 && PyErr_Occurred()) return PyErr_Clear(), false;
    return true;
  }
  Traced traced() const { return live ? Traced(var_of(object)) : Traced(value); }
};

/// First call: None, or an empty list or tuple.
bool is_unset(PyObject* state) {
  return state == Py_None || (PyList_CheckExact(state) && PyList_GET_SIZE(state) == 0) ||
         (PyTuple_CheckExact(state) && PyTuple_GET_SIZE(state) == 0);
}

template <class T>
std::span<const T> elements(const Source& source) {
  return {static_cast<const T*>(source.data()), static_cast<std::size_t>(source.size)};
}
double norm(const Source& source) {
  return source.dtype == DType::f64 ? optim::norm(elements<double>(source)) : optim::norm(elements<float>(source));
}
bool all_finite(const Source& source) {
  return source.dtype == DType::f64 ? optim::all_finite(elements<double>(source))
                                    : optim::all_finite(elements<float>(source));
}

/// One call of `optim_update`.
class Update {
 public:
  Update(Rule rule, long flags) : rule_(rule), info_(optim::info(rule)), flags_(flags), leaves_(info_.state_count) {}

  /// Reads and checks everything; false to decline.
  bool read(PyObject* params, PyObject* grads, PyObject* states, PyObject* iteration, PyObject* hyper,
            PyObject* terms) {
    if (!t_.read(iteration) || !(t_.value >= 1.0) || t_.value != std::floor(t_.value)) return false;
    if (!PyTuple_CheckExact(hyper) || PyTuple_GET_SIZE(hyper) != info_.hyper_count) return false;
    for (int k = 0; k < info_.hyper_count; ++k) {
      const optim::HyperInfo& wanted = info_.hyper_infos[k];
      if (!hyper_[k].read(PyTuple_GET_ITEM(hyper, k))) return false;
      if (!(wanted.low <= hyper_[k].value && hyper_[k].value < wanted.high)) return false;
    }
    if (!PyTuple_CheckExact(states) || PyTuple_GET_SIZE(states) != info_.state_count + info_.carry_count) return false;
    PyObject* trees[optim::kMaxStates] = {};
    for (int k = 0; k < info_.state_count; ++k) {
      trees[k] = PyTuple_GET_ITEM(states, k);
      if (is_unset(trees[k])) trees[k] = nullptr;
    }
    for (int k = 0; k < info_.carry_count; ++k) {
      if (!carry_[k].read(PyTuple_GET_ITEM(states, info_.state_count + k))) return false;
    }
    if (!read_terms(terms) || !leaves_.collect(params, grads, trees) || !leaves_.fit(in_place())) return false;
    params_ = params;
    if (flags_ & kCheckFinite) {
      for (Leaf& leaf : leaves_.list()) {
        if (!all_finite(leaf.grad)) return false;
      }
    }
    live_ = leaves_.any_live() || t_.live || carry_[0].live;
    for (const Number& number : hyper_) live_ = live_ || number.live;
    return !(live_ && in_place());
  }

  /// The new trees (unless in place), then the carried numbers.
  PyObject* run() {
    if (live_) {
      run_traced();
    } else {
      leaves_.allocate(in_place());
      run_numbers();
      leaves_.finish(in_place());
    }
    const int trees = in_place() ? 0 : leaves_.tree_count();
    Ref out(checked(PyTuple_New(trees + info_.carry_count)));
    for (int k = 0; k < trees; ++k) PyTuple_SET_ITEM(out.get(), k, leaves_.build(params_, k));
    for (int k = 0; k < info_.carry_count; ++k) PyTuple_SET_ITEM(out.get(), trees + k, carried_[k].release());
    return out.release();
  }

 private:
  bool in_place() const { return flags_ & kInPlace; }

  bool read_terms(PyObject* terms) {
    if (terms == Py_None) return true;
    int method, decoupled, ascend;
    TermRequest& r = terms_;
    if (!PyArg_ParseTuple(terms, "idddpp", &method, &r.threshold, &r.l1, &r.l2, &decoupled, &ascend)) {
      return PyErr_Clear(), false;
    }
    r.threshold_method = static_cast<Threshold>(method), r.decoupled = decoupled, r.ascend = ascend;
    return true;
  }

  /// The factor that brings a norm down to the threshold.
  double clipped(double norm) const { return norm > terms_.threshold ? terms_.threshold / norm : 1.0; }

  void run_numbers() {
    double hyper[optim::kMaxHypers], carry[optim::kMaxCarries] = {};
    for (int k = 0; k < info_.hyper_count; ++k) hyper[k] = hyper_[k].value;
    for (int k = 0; k < info_.carry_count; ++k) carry[k] = carry_[k].value;
    const auto count = [](int n) { return static_cast<std::size_t>(n); };
    const optim::Scalars scalars =
        optim::prepare(rule_, {hyper, count(info_.hyper_count)}, t_.value, {carry, count(info_.carry_count)});
    for (int k = 0; k < info_.carry_count; ++k) carried_[k] = Ref(checked(PyFloat_FromDouble(carry[k])));

    PyThreadState* unlocked = leaves_.total_size() > kLong ? PyEval_SaveThread() : nullptr;
    double global = 1.0;
    if (terms_.threshold_method == Threshold::global_l2norm) {
      std::vector<double> norms;
      for (Leaf& leaf : leaves_.list()) norms.push_back(norm(leaf.grad));
      std::sort(norms.begin(), norms.end());  // so that the order of the leaves does not matter
      global = clipped(optim::norm(norms));
    }
    for (Leaf& leaf : leaves_.list()) {
      optim::TermValues terms;
      terms.scale = terms_.threshold_method == Threshold::l2norm ? clipped(norm(leaf.grad)) : global;
      if (terms_.threshold_method == Threshold::absolute_value) terms.limit = terms_.threshold;
      if (terms_.ascend) terms.scale = -terms.scale;
      terms.l1 = terms_.l1;
      (terms_.decoupled ? terms.shrink : terms.l2) = terms_.decoupled ? 1.0 - hyper[0] * terms_.l2 : terms_.l2;
      if (leaf.param().dtype == DType::f64) {
        update_leaf<double>(scalars, terms, leaf);
      } else {
        update_leaf<float>(scalars, terms, leaf);
      }
    }
    if (unlocked) PyEval_RestoreThread(unlocked);
  }

  template <class T>
  void update_leaf(const optim::Scalars& scalars, const optim::TermValues& terms, Leaf& leaf) {
    optim::Slice<T> slice{leaf.param().size,
                          static_cast<const T*>(leaf.param().data()),
                          static_cast<const T*>(leaf.grad.data()),
                          {},
                          static_cast<T*>(leaf.targets[0].memory),
                          {}};
    for (int k = 0; k < info_.state_count; ++k) {
      const Source& state = leaf.sources[1 + k];
      slice.states[k] = state.kind == Source::Kind::absent ? nullptr : static_cast<const T*>(state.data());
      slice.states_out[k] = static_cast<T*>(leaf.targets[1 + k].memory);
    }
    optim::update(rule_, scalars, terms, slice);
  }

  void run_traced() {
    std::vector<Traced> hyper, carry;
    for (int k = 0; k < info_.hyper_count; ++k) hyper.push_back(hyper_[k].traced());
    for (int k = 0; k < info_.carry_count; ++k) carry.push_back(carry_[k].traced());
    std::vector<Var> results[kTrees];
    update_traced(rule_, hyper, t_.traced(), carry, terms_, leaves_, results);
    for (int k = 0; k < info_.carry_count; ++k) carried_[k] = Ref(checked(make_dlarray(carry[k].var())));
    for (std::size_t i = 0; i < leaves_.list().size(); ++i) {
      Leaf& leaf = leaves_.list()[i];
      PyObject* labels = labels_of(leaf.param().object.get());
      for (int k = 0; k < leaves_.tree_count(); ++k) {
        leaf.targets[k].made = Ref(checked(make_labelled(std::move(results[k][i]), labels)));
      }
    }
  }

  Rule rule_;
  const RuleInfo& info_;
  long flags_;
  Leaves leaves_;
  PyObject* params_ = nullptr;
  Number t_, hyper_[optim::kMaxHypers], carry_[optim::kMaxCarries];
  Ref carried_[optim::kMaxCarries];
  TermRequest terms_;
  bool live_ = false;
};

/// optim_update(rule, params, grads, states, iteration, hyper, terms, flags)
PyObject* optim_update(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    if (count != 8) {
      PyErr_SetString(PyExc_TypeError, "optim_update takes 8 arguments.");
      return nullptr;
    }
    const long rule = PyLong_AsLong(args[0]), flags = PyLong_AsLong(args[7]);
    if (PyErr_Occurred()) return nullptr;
    if (rule < 0 || rule >= optim::kRuleCount) {
      PyErr_SetString(PyExc_ValueError, "optim_update: there is no such rule; see optim_rules().");
      return nullptr;
    }
    Update update(static_cast<Rule>(rule), flags);
    if (!update.read(args[1], args[2], args[3], args[4], args[5], args[6])) Py_RETURN_NOTIMPLEMENTED;
    return update.run();
  });
}

/// optim_norm(leaf): the Euclidean norm of a leaf that no derivative goes through.
PyObject* optim_norm(PyObject*, PyObject* leaf) {
  return guarded([&]() -> PyObject* {
    Source source;
    if (!source.read(leaf) || source.live) Py_RETURN_NOTIMPLEMENTED;
    return PyFloat_FromDouble(norm(source));
  });
}

/// optim_rules(): {name: (number, states, carried numbers, ((hyperparameter, default, low, high), ...))}
py::dict optim_rules() {
  py::dict out;
  for (const RuleInfo& rule : optim::rule_table()) {
    py::list states, carries, hypers;
    for (std::string_view name : rule.states()) states.append(py::str(std::string(name)));
    for (std::string_view name : rule.carries()) carries.append(py::str(std::string(name)));
    for (const optim::HyperInfo& hyper : rule.hypers()) {
      hypers.append(py::make_tuple(std::string(hyper.name), hyper.default_value, hyper.low, hyper.high));
    }
    out[py::str(std::string(rule.name))] =
        py::make_tuple(&rule - optim::rule_table().data(), py::tuple(states), py::tuple(carries), py::tuple(hypers));
  }
  return out;
}

PyMethodDef methods[] = {
    {"optim_update", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(optim_update)), METH_FASTCALL,
     "Runs an update rule over trees; NotImplemented where something is not in order."},
    {"optim_norm", optim_norm, METH_O,
     "optim_norm(leaf, /)\n--\n\nThe Euclidean norm of a leaf; NotImplemented for what is none or is tracked."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_optim(py::module_& module) {
  if (PyModule_AddFunctions(module.ptr(), methods) < 0) throw py::error_already_set();
  module.def("optim_rules", &optim_rules);
}

}  // namespace dualtape::bindings
