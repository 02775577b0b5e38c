// SPDX-License-Identifier: MIT
// `_core.Sweep`: runs of a step inside the core, driven in slices of time by python/dualtape/loops. A slice runs
// without the interpreter lock; between slices Python looks at signals, shows progress, writes checkpoints, and traces
// the paths that are missing.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>

#include "bindings/dlarray.hpp"
#include "bindings/execution.hpp"
#include "bindings/program.hpp"
#include "dualtape/base/error.hpp"
#include "dualtape/loop/sweep.hpp"
#include "dualtape/machine/kernel.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

using loop::Plan;
using loop::Runs;
using loop::Settings;
using loop::Source;
using loop::Stop;

/// An array that nobody else writes to. (Whoever assigns to a dlarray whose value is held assigns to a copy.)
Array own(const char* what, const py::handle& object) {
  if (is_dlarray(object.ptr())) {
    const Var& var = var_of(object.ptr());
    if (!var.is_dual() && !var.has_node() && !var.value().trace()) return var.value().as_contiguous();
  }
  return array_from(what, object.ptr()).as_contiguous();
}

Source source_from(const py::tuple& item) {
  static const std::map<std::string, Source::Kind> kinds = {
      {"fixed", Source::Kind::fixed}, {"swept", Source::Kind::swept},   {"iteration", Source::Kind::iteration},
      {"table", Source::Kind::table}, {"stream", Source::Kind::stream}, {"batch", Source::Kind::batch},
  };
  Source out;
  out.kind = kinds.at(item[0].cast<std::string>());
  if (!item[1].is_none()) out.value = own("sweep", item[1]);
  out.leaf = item[2].cast<std::size_t>();
  return out;
}

/// NaN for floats, 0 for the others: what stands where a run did not come to.
Array absent(DType dtype, const Dims& shape) {
  return Array::full(dtype, shape, array::is_float(dtype) ? std::numeric_limits<double>::quiet_NaN() : 0.0);
}

/// The memory of an array with at least one axis, as an ndarray that may be written to.
py::object writable_numpy(const Array& value) {
  std::vector<py::ssize_t> shape(value.shape().begin(), value.shape().end());
  static std::map<DType, PyObject*> known;  // for the life of the interpreter
  PyObject*& entry = known[value.dtype()];
  if (!entry) entry = checked(PyObject_CallOneArg(numpy_attribute("dtype"), numpy_dtype(value.dtype())));
  const auto dtype = py::reinterpret_borrow<py::dtype>(entry);
  const py::capsule owner(new Array(value), [](void* array) { delete static_cast<Array*>(array); });
  return py::array(dtype, shape, {}, value.raw_data(), owner);
}

/// Once, where steps cannot become machine code.
void warn_of_failure();

class Sweep {
 public:
  Sweep(const PyProgram& program, std::int64_t count, const py::list& state, std::size_t values, bool until,
        const py::list& sources, std::int64_t iterations, std::int64_t record_every, std::int64_t first_stream,
        std::int64_t lanes, const py::object& batches)
      : program_(program.program) {
    settings_.states = state.size();
    settings_.values = values;
    settings_.until = until;
    settings_.iterations = iterations;
    settings_.record_every = record_every;
    settings_.first_stream = first_stream;
    settings_.lanes = lanes;
    for (const py::handle item : sources) settings_.sources.push_back(source_from(item.cast<py::tuple>()));
    if (!batches.is_none()) {
      const auto [data, size, shuffle] = batches.cast<std::tuple<py::list, std::int64_t, py::object>>();
      settings_.batches.emplace();
      for (const py::handle leaf : data) settings_.batches->data.push_back(own("data", leaf));
      settings_.batches->size = size;
      if (!shuffle.is_none()) settings_.batches->shuffle = shuffle.cast<std::uint64_t>();
    }
    runs_.count = count;
    for (const py::handle leaf : state) runs_.state.push_back(own("state", leaf));
    const program::Graph& graph = program_->graph();
    for (const program::Segment& segment : graph.segments) {
      if (!segment.is_leaf()) continue;
      for (std::size_t v = 0; v < values; ++v) {
        const program::NodeId id = segment.results[settings_.states + v];
        Dims shape = graph.shape(id);
        shape.insert(0, count);
        runs_.value.push_back(absent(graph.nodes[id].dtype, shape));
        shape.insert(1, record_every ? iterations / record_every : 0);
        if (record_every) runs_.history.push_back(absent(graph.nodes[id].dtype, shape));
      }
      break;
    }
    runs_.iterations.assign(static_cast<std::size_t>(count), 0);
    runs_.stopped.assign(static_cast<std::size_t>(count), iterations > 0 ? Stop::running : Stop::iterations);
  }

  /// One slice: None, or (run, iteration, outcomes) where a decision has no path.
  py::object run(double seconds, int threads) {
    if (!plan_) plan_.emplace(program_, settings_, runs_);
    std::optional<loop::Missing> missing;
    {
      const py::gil_scoped_release unlocked;
      missing = loop::run_sweep(*plan_, runs_, control_, threads, seconds);
    }
    warn_of_failure();
    if (!missing) return py::none();
    return py::make_tuple(missing->run, missing->iteration,
                          program::decisions_to(program_->graph(), missing->segment, missing->outcome));
  }

  /// The same step with more paths.
  void extend(const PyProgram& program) {
    program_ = program.program;
    plan_.reset();
  }

  /// Puts back what `snapshot` gave.
  void resume(const py::list& state, const py::list& value, const py::list& history, const py::array& iterations,
              const py::array& stopped) {
    const auto put = [](std::vector<Array>& to, const py::list& from) {
      for (std::size_t i = 0; i < to.size(); ++i) {
        const Array given = own("checkpoint", from[i]);
        if (given.dtype() != to[i].dtype() || !same_shape(given.shape(), to[i].shape())) {
          throw ShapeError("checkpoint: an array has the shape " + to_string(given.shape()) + ", this loop needs " +
                           to_string(to[i].shape()) + "; the checkpoint belongs to another loop.");
        }
        to[i] = given;
      }
    };
    if (state.size() != runs_.state.size() || value.size() != runs_.value.size() ||
        history.size() != runs_.history.size() || iterations.size() != runs_.count || stopped.size() != runs_.count) {
      throw ShapeError("checkpoint: it has other states or values than this loop; it belongs to another loop.");
    }
    put(runs_.state, state);
    put(runs_.value, value);
    put(runs_.history, history);
    const auto done = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>(iterations);
    const auto why = py::array_t<std::uint8_t, py::array::c_style | py::array::forcecast>(stopped);
    for (std::int64_t run = 0; run < runs_.count; ++run) {
      const auto at = static_cast<std::size_t>(run);
      runs_.iterations[at] = done.data()[run];
      runs_.stopped[at] = static_cast<Stop>(why.data()[run]);
      // A loop that is given more iterations goes on.
      if (runs_.stopped[at] == Stop::iterations && runs_.iterations[at] < settings_.iterations) {
        runs_.stopped[at] = Stop::running;
      }
    }
    plan_.reset();
  }

  py::list arrays(const std::vector<Array>& of) const {
    py::list out;
    for (const Array& value : of) out.append(writable_numpy(value));
    return out;
  }
  py::list state() const { return arrays(runs_.state); }
  py::list value() const { return arrays(runs_.value); }
  py::list history() const { return arrays(runs_.history); }
  py::array iterations() const { return py::array_t<std::int64_t>(runs_.count, runs_.iterations.data()); }
  py::array stopped() const {
    return py::array_t<std::uint8_t>(runs_.count, reinterpret_cast<const std::uint8_t*>(runs_.stopped.data()));
  }
  /// Adds what others have computed for these runs.
  void count(std::int64_t done, std::int64_t computed) {
    control_.done = done;
    control_.computed = computed;
  }
  py::dict counters() const {
    py::dict out;
    out["done"] = control_.done.load();
    out["computed"] = control_.computed.load();
    std::int64_t running = 0;
    for (const Stop stop : runs_.stopped) running += stop == Stop::running;
    out["running"] = running;
    return out;
  }
  /// How the step was executed, in the words of Execution (_execution.py); None where it was not.
  py::object execution() const {
    if (!plan_) return py::none();
    const exec::Code& code = *plan_->step().code;
    const std::int64_t covered = plan_->machine() ? instructions_of(code) : plan_->fused_instructions();
    return execution_of(code, plan_->lanes(), covered, plan_->machine_code());
  }

 private:
  std::shared_ptr<const program::Program> program_;
  Settings settings_;
  Runs runs_;
  loop::Control control_;
  std::optional<Plan> plan_;
};

void warn_of_failure() {
  static bool told = false;
  if (told || !machine::has_failed()) return;
  told = true;
  const char* what =
      "dualtape: there is no machine code in this process, since the system refuses executable memory; steps are "
      "interpreted, with the same results. DUALTAPE_EXECUTOR=interpreter in the environment does so without a warning.";
  if (PyErr_WarnEx(PyExc_RuntimeWarning, what, 1) != 0) throw py::error_already_set();
}

py::array batch_rows(std::int64_t rows, std::int64_t size, const py::object& shuffle, std::int64_t iteration) {
  loop::Batches batches;
  batches.data.push_back(Array::empty(DType::boolean, Dims{rows}));
  batches.size = size;
  if (!shuffle.is_none()) batches.shuffle = shuffle.cast<std::uint64_t>();
  loop::BatchOrder order(batches);
  const auto found = order.rows(iteration);
  return py::array_t<std::int64_t>(static_cast<py::ssize_t>(found.size()), found.data());
}

/// The bytes of a program whose lines are all the same: what it computes, wherever its source has moved to.
py::bytes without_lines(const PyProgram& self) {
  program::Graph graph = self.program->recorded();
  graph.lines.forget();
  return py::bytes(program::Program(std::move(graph), self.program->contraction()).save());
}

}  // namespace

void bind_loop(py::module_& module) {
  py::class_<Sweep>(module, "Sweep", "Runs of a step inside the core.")
      .def(py::init<const PyProgram&, std::int64_t, const py::list&, std::size_t, bool, const py::list&, std::int64_t,
                    std::int64_t, std::int64_t, std::int64_t, const py::object&>(),
           py::kw_only(), py::arg("program"), py::arg("count"), py::arg("state"), py::arg("values"), py::arg("until"),
           py::arg("sources"), py::arg("iterations"), py::arg("record_every"), py::arg("first_stream"),
           py::arg("lanes"), py::arg("batches"))
      .def("run", &Sweep::run, py::arg("seconds"), py::arg("threads"),
           "Runs for a while: None, or (run, iteration, outcomes of decisions) where one has no path.")
      .def("extend", &Sweep::extend, py::arg("program"), "The same step with more paths.")
      .def("resume", &Sweep::resume, py::arg("state"), py::arg("value"), py::arg("history"), py::arg("iterations"),
           py::arg("stopped"), "Puts back where the runs were.")
      .def("count", &Sweep::count, py::arg("done"), py::arg("computed"), "Sets the counters.")
      .def("counters", &Sweep::counters, "Iterations done and computed, and runs that still go on.")
      .def("execution", &Sweep::execution, "How the step was executed; None before it is run.")
      .def_property_readonly("state", &Sweep::state)
      .def_property_readonly("value", &Sweep::value)
      .def_property_readonly("history", &Sweep::history)
      .def_property_readonly("iterations", &Sweep::iterations)
      .def_property_readonly("stopped", &Sweep::stopped);
  module.def("batch_rows", &batch_rows, py::arg("rows"), py::arg("size"), py::arg("shuffle"), py::arg("iteration"),
             "The rows of the data that an iteration sees.");
  module.def("without_lines", &without_lines, py::arg("program"),
             "The bytes of a program, but for the lines of the source.");
}

}  // namespace dualtape::bindings
