// SPDX-License-Identifier: MIT
// Where in the user's code we are: the innermost Python frame whose file is not part of this package. Traces keep it
// for each op, errors name it.
#include <pybind11/pybind11.h>

#include "bindings/dlarray.hpp"

namespace dualtape::bindings {
namespace {

/// The directory of this package, with a slash at the end.
const std::string& package_directory() {
  static const std::string directory = [] {
    const auto file = pybind11::module_::import("dualtape").attr("__file__").cast<std::string>();
    return file.substr(0, file.rfind('/') + 1);
  }();
  return directory;
}

}  // namespace

SourceLine user_line() {
  SourceLine out;
  PyFrameObject* frame = PyThreadState_GetFrame(PyThreadState_Get());
  while (frame) {
    PyCodeObject* code = PyFrame_GetCode(frame);
    const char* file = PyUnicode_AsUTF8(code->co_filename);
    const bool ours = !file || std::string_view(file).starts_with(package_directory());
    if (!ours) {
      out = {file, PyUnicode_AsUTF8(code->co_name), PyFrame_GetLineNumber(frame)};
      Py_DECREF(code);
      Py_DECREF(frame);
      return out;
    }
    Py_DECREF(code);
    PyFrameObject* back = PyFrame_GetBack(frame);
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
