// SPDX-License-Identifier: MIT
// Where in the user's code we are: the innermost Python frame whose file is not part of this package. Traces keep it
// for each op, errors name it.
#include <pybind11/pybind11.h>

#include "bindings/dlarray.hpp"

namespace dualtape::bindings {
namespace {

/// The directory of a module's file, with a slash at the end.
std::string directory_of(const char* module) {
  const auto file = pybind11::module_::import(module).attr("__file__").cast<std::string>();
  return file.substr(0, file.rfind('/') + 1);
}

/// Code of this package, which is never the user's.
bool is_ours(std::string_view file) {
  static const std::string directory = directory_of("dualtape");
  return file.starts_with(directory);
}

/// Code of NumPy, SciPy or Python's own library: a user's line stands behind it, unless there is none.
bool is_library(std::string_view file) {
  static const std::string numpy = directory_of("numpy"), standard = directory_of("os");
  static const std::string scipy = numpy.substr(0, numpy.size() - std::string_view("numpy/").size()) + "scipy/";
  return file.starts_with("<frozen") || file.starts_with("<__array_function__") || file.starts_with(numpy) ||
         file.starts_with(scipy) || (file.starts_with(standard) && file.find("-packages/") == std::string_view::npos);
}

}  // namespace

SourceLine user_line() {
  SourceLine out;
  PyFrameObject* frame = PyThreadState_GetFrame(PyThreadState_Get());
  while (frame) {
    PyCodeObject* code = PyFrame_GetCode(frame);
    const char* file = PyUnicode_AsUTF8(code->co_filename);
    bool found = false;
    if (file && !is_ours(file)) {
      found = !is_library(file);
      if (found || !out.line) out = {file, PyUnicode_AsUTF8(code->co_name), PyFrame_GetLineNumber(frame)};
    }
    Py_DECREF(code);
    PyFrameObject* back = found ? nullptr : PyFrame_GetBack(frame);
    Py_DECREF(frame);
    frame = back;
  }
  PyErr_Clear();
  return out;
}

std::string user_location() {
  const SourceLine at = user_line();
  return at.line ? " (at " + at.file + ":" + std::to_string(at.line) + ")" : "";
}

}  // namespace dualtape::bindings
