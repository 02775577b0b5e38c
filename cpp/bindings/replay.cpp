// SPDX-License-Identifier: MIT
// Replay as an object of CPython, because a call through anything slower costs more than a small program takes. Called
// itself, it takes leaves and gives a tuple of leaves; it answers NotImplemented where they do not fit the program, and
// None where a decision came out in a way that has not been traced: python/dualtape/program.py knows what to do then.
#include "bindings/replay.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <structmember.h>

#include <algorithm>

#include "bindings/execution.hpp"
#include "bindings/program.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/tape/functions.hpp"
#include "dualtape/tape/recorder.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

constexpr std::int64_t kQuickToMake = 10'000;  // instructions: some ten milliseconds

}  // namespace

Machine::Machine(std::shared_ptr<const program::Program> from, Description description)
    : program_(std::move(from)), runner_(program_->part().code, 1), description_(std::move(description)) {
  if (instructions_of(runner_.code()) > kQuickToMake) {
    compile_at_ = std::max(compile_at_, exec::Fusion::pays_from(runner_.home()));
  }
  if (machine::is_wanted_at_once()) compile_at_ = 1;
  const program::Graph& graph = program_->graph();
  description_.labels.resize(graph.inputs.size());
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    const program::Node& node = graph.nodes[graph.inputs[i].node];
    Input input{nullptr, node.weak, runner_.code().inputs[i]};
    if (node.dtype == DType::f64 && graph.shapes[node.shape].empty() && description_.labels[i].empty()) {
      input.number = runner_.home().at<double>(input.id);
    }
    inputs_.push_back(input);
  }
  for (const program::Segment& segment : graph.segments) {
    if (!segment.is_leaf()) continue;
    description_.result_labels.resize(segment.results.size());
    for (std::size_t i = 0; i < segment.results.size(); ++i) {
      Result result{nullptr, graph.nodes[segment.results[i]].dtype, graph.shape(segment.results[i])};
      const bool number = runner_.code().branches() || stored(i) == DType::f64;
      if (result.dtype == DType::f64 && result.shape.empty() && number && !description_.result_labels[i]) {
        result.number = static_cast<const double*>(runner_.result(i));
      }
      results_.push_back(std::move(result));
    }
    break;
  }
  if (description_.arguments && description_.arguments->leaves() != inputs()) description_.arguments.reset();
  if (description_.results && description_.results->leaves() != results()) description_.results.reset();
}

Machine::~Machine() {
  for (PyObject* label : description_.result_labels) Py_XDECREF(label);
}

inline bool Machine::load(std::size_t i, PyObject* object) {
  const Input& input = inputs_[i];
  if (input.number) {
    if (PyFloat_CheckExact(object)) {
      if (!input.weak) return false;
      *input.number = PyFloat_AS_DOUBLE(object);
      return true;
    }
    if (is_dlarray(object) && is_bare_scalar(as_dlarray(object)) && !as_dlarray(object)->var.has_node()) {
      if (input.weak) return false;
      *input.number = as_dlarray(object)->var.value().scalar();
      return true;
    }
  }
  return load_slowly(i, object);
}

bool Machine::load_slowly(std::size_t i, PyObject* object) {
  if (!is_dlarray(object) && !PyFloat_Check(object) && !PyObject_HasAttrString(object, "__array__")) return false;
  PyObject* given = labels_of(object);
  const std::string& labels = description_.labels[i];
  if (given ? labels != PyUnicode_AsUTF8(given) : !labels.empty()) return false;
  bool is_weak = false, foreign = false;
  Var var = operand("program", object, &is_weak, &foreign);
  if (foreign || var.is_dual() || tape::Tape::of(var) || tape::is_recorded(var)) return false;
  const exec::Value& value = runner_.code().values[inputs_[i].id];
  if (is_weak != inputs_[i].weak) return false;
  if (var.dtype() != value.dtype || !same_shape(var.shape(), value.shape)) return false;
  const Array elements = var.value().as_contiguous();
  runner_.home().load(inputs_[i].id, elements.raw_data());
  return true;
}

inline PyObject* Machine::result(std::size_t i) {
  return results_[i].number ? make_scalar(*results_[i].number) : result_slowly(i);
}

PyObject* Machine::result_slowly(std::size_t i) {
  void* data = const_cast<void*>(runner_.result(i));
  const Result& result = results_[i];
  const Array seen = Array::pinned(Buffer::borrow(data, 0, false, nullptr, [](void*) {}), stored(i), result.shape,
                                   contiguous_strides(result.shape), 0);
  Array out = Array::empty(result.dtype, result.shape);
  array::copy_elements(seen, out);
  return make_labelled(Var(std::move(out)), description_.result_labels[i]);
}

PyObject* Machine::call(PyObject* const* args, Py_ssize_t count, PyObject* names) {
  if (!description_.arguments || !description_.results) return nullptr;
  std::size_t next = 0;
  if (!description_.arguments->take_call(args, count, names, [&](PyObject* leaf) { return load(next++, leaf); })) {
    return nullptr;
  }
  if (!run()) return nullptr;
  next = 0;
  return description_.results->build([&] { return result(next++); });
}

int Machine::traverse(visitproc visit, void* arg) const {
  for (const std::optional<Layout>* layout : {&description_.arguments, &description_.results}) {
    if (!*layout) continue;
    if (const int stop = (*layout)->traverse(visit, arg)) return stop;
  }
  return 0;
}

void Machine::compile() {
  exec::Workspace& home = runner_.home();
  if (home.fusion()) return;
  home.fuse(exec::Fusion::of(home));
}

namespace {

struct Replay {
  PyObject_HEAD vectorcallfunc call;
  Machine* machine;
};

PyTypeObject* replay_type = nullptr;

PyObject* replay_call(PyObject* self, PyObject* const* args, std::size_t flags, PyObject* kwnames) {
  Machine& machine = machine_of(self);
  const auto count = static_cast<std::size_t>(PyVectorcall_NARGS(flags));
  if (kwnames || count != machine.inputs()) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&]() -> PyObject* {
    for (std::size_t i = 0; i < count; ++i) {
      if (!machine.load(i, args[i])) Py_RETURN_NOTIMPLEMENTED;
    }
    if (!machine.run()) Py_RETURN_NONE;
    const auto results = static_cast<Py_ssize_t>(machine.results());
    Ref out(checked(PyTuple_New(results)));
    for (Py_ssize_t i = 0; i < results; ++i) {
      PyTuple_SET_ITEM(out.get(), i, checked(machine.result(static_cast<std::size_t>(i))));
    }
    return out.release();
  });
}

int replay_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  const Machine* machine = reinterpret_cast<Replay*>(self)->machine;
  return machine ? machine->traverse(visit, arg) : 0;
}

void replay_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  delete reinterpret_cast<Replay*>(self)->machine;
  type->tp_free(self);
  Py_DECREF(type);
}

/// `arguments` and `results` are structures of trees, `fixed` the arguments that are no operands, `labels` those of the
/// operands, `result_labels` (each a str or None) those of the results.
py::object make_replay(const PyProgram& program, std::vector<std::string> labels, const py::object& arguments,
                       const py::list& fixed, const py::object& results, const py::list& result_labels) {
  Machine::Description description;
  description.labels = std::move(labels);
  if (!arguments.is_none()) description.arguments = Layout::from(arguments.ptr(), fixed.ptr());
  if (!results.is_none()) description.results = Layout::from(results.ptr());
  for (const py::handle label : result_labels) {
    description.result_labels.push_back(label.is_none() ? nullptr : Py_NewRef(label.ptr()));
  }
  auto machine = std::make_unique<Machine>(program.program, std::move(description));
  PyObject* object = checked(replay_type->tp_alloc(replay_type, 0));
  Replay* replay = reinterpret_cast<Replay*>(object);
  replay->call = replay_call;
  replay->machine = machine.release();
  return py::reinterpret_steal<py::object>(object);
}

/// How a program is executed from the second call on.
py::dict execution(const py::object& object) {
  if (!is_replay(object.ptr())) throw DTypeError("execution: the argument must be a replay.");
  Machine& machine = machine_of(object.ptr());
  machine.compile();
  const exec::Fusion* fusion = machine.runner().home().fusion();
  return execution_of(machine.runner().code(), 1, fusion ? fusion->covered() : 0,
                      fusion ? fusion->kernels() : machine::Listing());
}

/// The outcomes of decisions up to the one that the last call of a replay had no path for.
std::vector<std::int64_t> missing(const py::object& object) {
  if (!is_replay(object.ptr())) throw DTypeError("missing: the argument must be a replay.");
  Machine& machine = machine_of(object.ptr());
  const exec::Unknown& unknown = machine.runner().unknown();
  return program::decisions_to(machine.program().graph(), unknown.segment, unknown.outcome);
}

}  // namespace

bool is_replay(PyObject* object) { return Py_TYPE(object) == replay_type; }
Machine& machine_of(PyObject* replay) { return *reinterpret_cast<Replay*>(replay)->machine; }

PyTypeObject* make_callable_type(const char* name, const char* doc, int size, unsigned int flags,
                                 Py_ssize_t call_offset, std::initializer_list<PyType_Slot> more,
                                 std::initializer_list<PyMemberDef> properties) {
  static std::vector<std::unique_ptr<PyMemberDef[]>> members;  // for the life of the process
  members.push_back(std::make_unique<PyMemberDef[]>(properties.size() + 2));
  members.back()[0] = {"__vectorcalloffset__", T_PYSSIZET, call_offset, READONLY, nullptr};
  std::copy(properties.begin(), properties.end(), &members.back()[1]);
  std::vector<PyType_Slot> slots = {{Py_tp_doc, const_cast<char*>(doc)},
                                    {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                                    {Py_tp_members, members.back().get()}};
  slots.insert(slots.end(), more);
  slots.push_back({0, nullptr});
  PyType_Spec spec{name, size, 0, static_cast<unsigned int>(Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL) | flags,
                   slots.data()};
  return reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
}

void bind_replay(py::module_& module) {
  replay_type = make_callable_type("dualtape._core.Replay", "A program as a function of its leaves.", sizeof(Replay),
                                   Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, offsetof(Replay, call),
                                   {{Py_tp_dealloc, reinterpret_cast<void*>(replay_dealloc)},
                                    {Py_tp_traverse, reinterpret_cast<void*>(replay_traverse)}});
  module.attr("Replay") = py::handle(reinterpret_cast<PyObject*>(replay_type));
  module.def("make_replay", &make_replay, py::arg("program"), py::arg("labels") = std::vector<std::string>(),
             py::arg("arguments") = py::none(), py::arg("fixed") = py::list(), py::arg("results") = py::none(),
             py::arg("result_labels") = py::list(),
             "The program as a callable on leaves; the rest says how the arguments of calls are laid out.");
  module.def("execution", &execution, py::arg("replay"), "How a replay is executed, in the words of Execution.");
  module.def("missing", &missing, py::arg("replay"), "Outcomes of decisions up to the one without a path.");
}

}  // namespace dualtape::bindings
