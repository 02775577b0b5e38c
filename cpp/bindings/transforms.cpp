// SPDX-License-Identifier: MIT
// What the functional transformations of python/dualtape/{reverse,forward,hessians}.py are made of: scopes with leaves
// and pulls, pairs of primal and tangent, and custom rules.
#include "bindings/transforms.hpp"

#include <memory>

#include "bindings/evaluate.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/reverse.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

using tape::Operand;
using tape::ReversePass;
using tape::Tape;

py::object steal(PyObject* object) { return py::reinterpret_steal<py::object>(checked(object)); }
py::object wrap(Var var) { return steal(make_dlarray(std::move(var))); }

/// The Vars of a list of dlarrays.
std::vector<Var> vars_of(const py::sequence& arrays) {
  std::vector<Var> out;
  for (py::handle array : arrays) out.push_back(operand("derivative", array.ptr()));
  return out;
}

py::list wrap_all(std::vector<Var> vars, const py::sequence* like = nullptr) {
  py::list out;
  for (std::size_t i = 0; i < vars.size(); ++i) {
    PyObject* labels = like ? labels_of(py::object((*like)[i]).ptr()) : nullptr;
    out.append(steal(make_labelled(std::move(vars[i]), labels)));
  }
  return out;
}

bool on_current_tape(const Var& var) {
  return var.is_dual() ? on_current_tape(var.primal()) || on_current_tape(var.tangent()) : Tape::of(var) != nullptr;
}

/// A scope as Python holds it: opened by the constructor, closed by `close`, and still good for pulls afterwards
/// where it is persistent.
class PyScope {
 public:
  explicit PyScope(bool persistent) : tape_(persistent ? std::make_shared<Tape>() : nullptr) {
    scope_ = tape_ ? std::make_unique<tape::Scope>(tape_) : std::make_unique<tape::Scope>();
    active_ = &scope_->tape();
    nested_ = scope_->nested();
    first_ = scope_->first();
    recording_ = active_->recording();
  }

  py::object leaf(py::object value) {
    require_open();
    if (is_dlarray(value.ptr())) return steal(make_leaf(*active_, value.ptr()));
    Var var = operand("derivative", value.ptr());
    if (!array::is_float(var.dtype()) && PyObject_HasAttrString(value.ptr(), "dtype")) {
      throw DTypeError("derivative: an array of " + std::string(array::name(var.dtype())) +
                       " has no derivatives; convert it with x.astype(float).");
    }
    // Foreign memory may change under a recording, so a leaf has its own.
    return wrap(
        active_->leaf(Var(tape::cast(var, var.dtype() == DType::f32 ? DType::f32 : DType::f64).value().copy())));
  }

  /// Cotangents of the leaves for cotangents of the results.
  py::list pull(const py::sequence& ys, const py::sequence& cotangents, const py::sequence& xs) {
    const std::vector<Var> results = vars_of(ys), given = vars_of(cotangents), leaves = vars_of(xs);
    // A nested scope records on a tape that is not its own and may be gone by now, with its thread for instance.
    if ((nested_ && Tape::current() != active_) || active_->recording() != recording_) {
      throw TapeError(
          "pull: the recording has ended; call it while the function around it is still being differentiated.");
    }
    bool record = false;
    if (nested_) {
      record = active_->depends_on_earlier(first_);
      for (const Var& c : given) record = record || on_current_tape(c);
    }
    const std::unique_ptr<tape::Reopened> reopened =
        Tape::current() ? nullptr : std::make_unique<tape::Reopened>(*active_);
    return wrap_all(tape::pull_back(active_, results, given, leaves, {record, false}), &xs);
  }

  py::list push_forward(const py::sequence& xs, const py::sequence& tangents, const py::sequence& ys,
                        std::int64_t directions) {
    return wrap_all(tape::push_forward(*active_, vars_of(xs), vars_of(tangents), vars_of(ys), directions));
  }

  py::list second_order(const py::object& y, const py::sequence& xs, const py::sequence& tangents,
                        std::int64_t directions) {
    const Var value = tape::reshape(operand("hessian", y.ptr()), {});
    py::list out;
    for (const Var& var : tape::second_order(*active_, value, vars_of(xs), vars_of(tangents), directions)) {
      out.append(py::make_tuple(wrap(var.primal()), wrap(var.tangent())));
    }
    return out;
  }

  py::object outcome(py::object result) {
    require_open();
    return steal(outcome_of(*scope_, result.release().ptr()));
  }

  bool nested() const { return nested_; }
  std::size_t nodes() const { return active_->size(); }
  std::size_t bytes() const { return active_->bytes(); }
  void close() {
    scope_.reset();
    if (!tape_) active_ = closed();
  }

 private:
  static Tape* closed() {
    static Tape none;
    return &none;
  }
  void require_open() const {
    if (!scope_) throw TapeError("scope: it is closed.");
  }

  std::shared_ptr<Tape> tape_;
  std::unique_ptr<tape::Scope> scope_;
  Tape* active_ = nullptr;
  bool nested_ = false;
  std::uint32_t first_ = 0;
  std::uint32_t recording_ = 0;
};

/// The value of an operand, tracked where the pass can be differentiated itself.
Var operand_var(const ReversePass& pass, const Operand& operand) {
  return pass.numeric() || operand.node == tape::kNoNode ? Var(operand.value)
                                                         : Var(operand.value, operand.node, pass.tape().recording());
}

/// custom_vjp and the reverse half of custom_jvp: Python gets cotangents of the outputs, gives those of the inputs.
class PythonVjp final : public tape::CustomRule {
 public:
  explicit PythonVjp(py::object callback) : callback_(std::move(callback)) {}
  void pull(ReversePass& pass, std::span<const Operand> operands, std::span<const Var> cotangents) override {
    const py::list given = wrap_all({cotangents.begin(), cotangents.end()});
    py::list inputs;
    for (const Operand& operand : operands) inputs.append(wrap(operand_var(pass, operand)));
    const py::sequence out = callback_(inputs, given);
    if (py::len(out) != operands.size()) {
      throw GradientError("custom_vjp: the backward function gave " + std::to_string(py::len(out)) +
                          " cotangents for " + std::to_string(operands.size()) + " inputs; it must give one for each.");
    }
    pass.extend();
    for (std::size_t i = 0; i < operands.size(); ++i) {
      const py::object item = out[i];
      if (operands[i].node == tape::kNoNode || item.is_none()) continue;
      Var cotangent = operand("custom_vjp", item.ptr());
      if (!same_shape(cotangent.shape(), operands[i].shape)) {
        throw GradientError("custom_vjp: the cotangent of input " + std::to_string(i) + " has the shape " +
                            to_string(cotangent.shape()) + ", the input " + to_string(operands[i].shape) +
                            "; they must be equal.");
      }
      pass.add(operands[i].node, tape::cast(cotangent, operands[i].dtype));
    }
  }

 private:
  using Var = tape::Var;
  static Var operand(const char* op, PyObject* object) { return bindings::operand(op, object); }
  py::object callback_;
};

/// checkpoint: the function runs again when the pass comes by, at the end of the same tape, and what it recorded is
/// walked at once. Its leaves are identities of the inputs, so cotangents reach them, and everything that the
/// function takes from around it, by the ordinary way.
class Checkpoint final : public tape::CustomRule {
 public:
  explicit Checkpoint(py::object function) : function_(std::move(function)) {}
  void pull(ReversePass& pass, std::span<const Operand> operands, std::span<const Var> cotangents) override {
    Tape& tape = pass.tape();
    if (Tape::current() && Tape::current() != &tape) {
      throw TapeError("checkpoint: it cannot run again while another recording is open; pull before opening it.");
    }
    const tape::Reopened reopened(tape);
    const tape::Scope scope;
    const std::uint32_t first = tape.size();
    py::list inputs;
    for (const Operand& operand : operands) {
      Var value = operand.node == tape::kNoNode ? Var(operand.value)
                                                : tape.leaf(Var(operand.value, operand.node, tape.recording()));
      inputs.append(wrap(std::move(value)));
    }
    const py::sequence outputs = function_(inputs);
    pass.extend();
    const std::uint32_t last = tape.size();
    for (std::size_t k = 0; k < cotangents.size(); ++k) {
      const Var out = operand("checkpoint", py::object(outputs[k]).ptr());
      if (Tape::of(out)) pass.add(out.node(), cotangents[k]);
    }
    if (last > first) pass.run(last - 1, first);
    if (!pass.numeric()) return;
    tape.truncate(first);
    pass.extend();  // the adjoints go with their nodes, since others will stand in the same places
  }

 private:
  using Var = tape::Var;
  py::object function_;
};

/// Puts a custom rule on the tape: `outputs` become values that depend on `inputs` by it. Where no input is
/// tracked the outputs come back as they are.
py::list custom_node(const py::sequence& inputs, const py::sequence& outputs, const py::object& callback, bool rerun) {
  Tape* tape = Tape::current();
  const std::vector<Var> in = vars_of(inputs);
  bool tracked = false;
  for (const Var& var : in) tracked = tracked || Tape::of(var);
  std::vector<Var> out;
  for (const Var& var : vars_of(outputs)) out.push_back(var.constant());
  if (!tape || !tracked || out.empty()) return wrap_all(std::move(out));
  std::shared_ptr<tape::CustomRule> rule;
  if (rerun) {
    rule = std::make_shared<Checkpoint>(callback);
  } else {
    rule = std::make_shared<PythonVjp>(callback);
  }
  std::uint32_t head = tape::kNoNode;
  for (std::size_t k = 0; k < out.size(); ++k) {
    tape::Record record;
    record.out = out[k].value();
    record.out_dtype = out[k].dtype();
    record.out_shape = Dims(out[k].shape());
    if (k == 0) {
      for (const Var& var : in)
        record.operands.push_back(
            {var.value(), Tape::of(var) ? var.node() : tape::kNoNode, var.dtype(), Dims(var.shape())});
      record.custom = rule;
      record.outputs = static_cast<std::uint32_t>(out.size());
    }
    const bool scalar = out[k].value().is_scalar();
    const std::uint32_t place =
        tape->push(k == 0 ? tape::Kind::custom : tape::Kind::companion, {}, scalar ? out[k].value().scalar() : 0.0,
                   scalar ? tape::kScalarOut : 0, head, &record);
    if (k == 0) head = place;
    out[k] = Var(out[k].value(), place, tape->recording());
  }
  return wrap_all(std::move(out));
}

py::object make_dual(const py::object& primal, const py::object& tangent, std::uint32_t level,
                     std::int64_t directions) {
  Var x = operand("jvp", primal.ptr()), t = operand("jvp", tangent.ptr());
  if (!array::is_float(x.dtype())) x = tape::cast(x, DType::f64);
  Dims wanted(x.shape());
  if (directions) wanted.insert(0, directions);
  if (!same_shape(t.shape(), wanted)) {
    throw ShapeError("jvp(" + to_string(x.shape()) + ", " + to_string(t.shape()) +
                     "): the tangent must have the shape of the primal" +
                     (directions ? " behind an axis of directions." : "."));
  }
  PyObject* labels = labels_of(primal.ptr());
  // Foreign memory may change while the pair is in use.
  if (!is_dlarray(primal.ptr())) x = Var(x.value().copy());
  if (!is_dlarray(tangent.ptr())) t = Var(t.value().copy());
  const DType dtype = x.dtype();
  return steal(make_labelled(Var::dual(level, std::move(x), tape::cast(t, dtype), directions), labels));
}

/// (primal, tangent) at a level; the tangent is None where the value has none there.
py::tuple dual_parts(const py::object& array, std::uint32_t level) {
  if (!is_dlarray(array.ptr())) return py::make_tuple(array, py::none());
  const Var var = var_of(array.ptr());
  if (var.level() != level) return py::make_tuple(array, py::none());
  return py::make_tuple(steal(make_labelled(var.primal(), labels_of(array.ptr()))), wrap(var.tangent()));
}

}  // namespace

void bind_transforms(py::module_& module) {
  py::class_<PyScope>(module, "Scope", "An open recording, or a scope nested in the one that is open.")
      .def(py::init<bool>(), py::arg("persistent") = false)
      .def("leaf", &PyScope::leaf, py::arg("value"), "The value as something to differentiate with respect to.")
      .def("pull", &PyScope::pull, py::arg("ys"), py::arg("cotangents"), py::arg("xs"),
           "Cotangents of the leaves xs for cotangents of the results ys.")
      .def("push_forward", &PyScope::push_forward, py::arg("xs"), py::arg("tangents"), py::arg("ys"),
           py::arg("directions") = 0, "Tangents of ys for tangents of the leaves xs.")
      .def("second_order", &PyScope::second_order, py::arg("y"), py::arg("xs"), py::arg("tangents"),
           py::arg("directions") = 0, "(gradient, Hessian times tangents) for each leaf.")
      .def("outcome", &PyScope::outcome, py::arg("result"), "The result as it may leave the scope.")
      .def_property_readonly("nested", &PyScope::nested)
      .def_property_readonly("nodes", &PyScope::nodes, "Number of nodes on the tape.")
      .def_property_readonly("nbytes", &PyScope::bytes, "Bytes of the tape.")
      .def("close", &PyScope::close);
  module.def("custom_node", &custom_node, py::arg("inputs"), py::arg("outputs"), py::arg("callback"),
             py::arg("rerun") = false, "Outputs that depend on inputs by a rule of their own.");
  module.def("new_level", &tape::new_level, "A level for a forward differentiation.");
  module.def("make_dual", &make_dual, py::arg("primal"), py::arg("tangent"), py::arg("level"),
             py::arg("directions") = 0, "The pair at a level.");
  module.def("dual_parts", &dual_parts, py::arg("array"), py::arg("level"), "(primal, tangent or None) at a level.");
  module.def(
      "level_of", [](const py::object& x) { return is_dlarray(x.ptr()) ? var_of(x.ptr()).level() : 0u; }, py::arg("x"),
      "Level of the outermost pair; 0 for none.");
  module.def(
      "directions_of",
      [](const py::object& x) {
        return is_dlarray(x.ptr()) && var_of(x.ptr()).is_dual() ? var_of(x.ptr()).directions() : std::int64_t{0};
      },
      py::arg("x"), "Number of leading directions of the outermost tangent; 0 for a plain one.");
  module.def(
      "is_tracked", [](const py::object& x) { return is_dlarray(x.ptr()) && on_current_tape(var_of(x.ptr())); },
      py::arg("x"), "Whether the value lies on the current tape.");
  module.def(
      "from_dlpack", [](const py::object& x) { return steal(make_dlarray(Var(array_by_dlpack(x.ptr())))); },
      py::arg("x"), py::pos_only(),
      "An array that shares the memory of another library's, by DLPack.\n\n"
      "Parameters\n----------\nx : object with ``__dlpack__``, on the CPU\n"
      "    An array of PyTorch, JAX, NumPy, ...; of float64, float32, int64 or bool, or of a dtype that is "
      "converted.\n\n"
      "Returns\n-------\ndlarray\n"
      "    It keeps the memory alive and never writes to it: an assignment gives the dlarray memory of its own. What\n"
      "    the other library writes is seen, so that is to be left alone while a derivative or a loop is running.\n\n"
      "Raises\n------\nBufferError\n    The memory is on another device, or the array must not leave its library.\n"
      "DTypeError\n    The numbers are complex, or the object speaks no DLPack.");
  module.def(
      "with_labels",
      [](const py::object& x, const py::object& labels) {
        if (!is_dlarray(x.ptr())) throw DTypeError("with_labels: only a dlarray can have labels.");
        return steal(make_labelled(var_of(x.ptr()), labels.is_none() || py::len(labels) == 0 ? nullptr : labels.ptr()));
      },
      py::arg("x"), py::arg("labels"), "The array with labels attached, or without any for None.");
}

}  // namespace dualtape::bindings
