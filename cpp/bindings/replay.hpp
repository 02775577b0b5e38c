// SPDX-License-Identifier: MIT
// Replay: a program with a workspace, as an object of CPython. What else needs it: replayable.cpp, where the calls of
// programs and accelerated functions begin, and bound.cpp, for calls between fixed buffers.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <memory>
#include <optional>
#include <string>

#include "bindings/layout.hpp"
#include "dualtape/exec/runner.hpp"
#include "dualtape/program/program.hpp"

namespace dualtape::bindings {

/// How a program is called: its code with a workspace, what its leaves must be, and what becomes of its results.
class Machine {
 public:
  struct Description {
    std::vector<std::string> labels;           // of the inputs
    std::optional<Layout> arguments, results;  // none: the caller has to take arguments apart
    std::vector<PyObject*> result_labels;      // owned; null for none
  };
  Machine(std::shared_ptr<const program::Program> from, Description description);
  ~Machine();

  /// Loads an argument; false where it does not fit. Only what would have been traced in the same way fits: a number
  /// where a number was, an array of the same dtype, shape and labels where an array was.
  bool load(std::size_t i, PyObject* object);
  /// False where a decision came out in a way that has not been traced.
  bool run() {
    if (++runs_ == compile_at_) compile();
    return runner_.run(1);
  }
  /// Makes machine code of it, unless that has been done.
  void compile();
  /// A new dlarray.
  PyObject* result(std::size_t i);
  /// The results for the arguments of a call, put together. Null, without an error, where the arguments do not fit, or
  /// a decision came out in a way that has not been traced.
  PyObject* call(PyObject* const* args, Py_ssize_t count, PyObject* names);

  exec::Runner& runner() { return runner_; }
  const program::Program& program() const { return *program_; }
  std::size_t inputs() const { return inputs_.size(); }
  std::size_t results() const { return results_.size(); }
  DType stored(std::size_t i) const { return runner_.result_dtype(i); }
  const Dims& shape(std::size_t i) const { return results_[i].shape; }
  int traverse(visitproc visit, void* arg) const;

 private:
  struct Input {
    double* number = nullptr;  // where it is stored, if it is a float64 number without labels
    bool weak = false;
    exec::ValueId id = exec::kNone;
  };
  struct Result {
    const double* number = nullptr;  // where it is stored, if it is a float64 number without labels
    DType dtype = DType::f64;
    Dims shape;
  };
  bool load_slowly(std::size_t i, PyObject* object);
  PyObject* result_slowly(std::size_t i);

  std::shared_ptr<const program::Program> program_;
  exec::Runner runner_;
  /// A program that is run once is not compiled; a large one is when that pays.
  std::int64_t runs_ = 0, compile_at_ = 2;
  Description description_;
  std::vector<Input> inputs_;
  std::vector<Result> results_;
};

bool is_replay(PyObject* object);
/// The machine of a replay.
Machine& machine_of(PyObject* replay);

/// A type of CPython with a vectorcall at `call_offset`, with no way to make one from Python.
PyTypeObject* make_callable_type(const char* name, const char* doc, int size, unsigned int flags,
                                 Py_ssize_t call_offset, std::initializer_list<PyType_Slot> more,
                                 std::initializer_list<PyMemberDef> properties = {});

}  // namespace dualtape::bindings
