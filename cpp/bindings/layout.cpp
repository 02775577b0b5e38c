// SPDX-License-Identifier: MIT
#include "bindings/layout.hpp"

namespace dualtape::bindings {
namespace {

constexpr int kDeepest = 50;

Ref attribute(PyObject* object, const char* name) { return Ref(checked(PyObject_GetAttrString(object, name))); }

bool all_strings(PyObject* keys) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keys); ++i) {
    if (!PyUnicode_CheckExact(PyTuple_GET_ITEM(keys, i))) return false;
  }
  return true;
}

}  // namespace

std::optional<Layout> Layout::from(PyObject* structure, PyObject* fixed) {
  Layout out;
  if (!out.add(structure, fixed, 0)) return std::nullopt;
  return out;
}

Layout::~Layout() {
  for (const Node& node : nodes_) Py_XDECREF(node.object);
}

bool Layout::add(PyObject* structure, PyObject* fixed, int depth) {
  const Ref type = attribute(structure, "cls"), children = attribute(structure, "children");
  const auto count = static_cast<std::uint32_t>(PyTuple_GET_SIZE(children.get()));
  if (depth > kDeepest) return false;
  if (type.get() == Py_None) {  // a leaf
    const std::size_t number = leaves_ + static_cast<std::size_t>(fixed_seen_);
    if (fixed && fixed_seen_ < PyList_GET_SIZE(fixed)) {
      PyObject* pair = PyList_GET_ITEM(fixed, fixed_seen_);
      if (PyLong_AsSize_t(PyTuple_GET_ITEM(pair, 0)) == number) {
        ++fixed_seen_;
        nodes_.push_back({Kind::fixed, 0, Py_NewRef(PyTuple_GET_ITEM(pair, 1))});
        return true;
      }
    }
    ++leaves_;
    nodes_.push_back({Kind::leaf});
    return true;
  }
  PyObject* cls = type.get();
  if (cls == reinterpret_cast<PyObject*>(Py_TYPE(Py_None))) {
    nodes_.push_back({Kind::none});
  } else if (cls == reinterpret_cast<PyObject*>(&PyTuple_Type)) {
    nodes_.push_back({Kind::tuple, count});
  } else if (cls == reinterpret_cast<PyObject*>(&PyList_Type)) {
    nodes_.push_back({Kind::list, count});
  } else if (cls == reinterpret_cast<PyObject*>(&PyDict_Type)) {
    Ref keys = attribute(structure, "aux");
    if (!all_strings(keys.get())) return false;
    nodes_.push_back({Kind::dict, count, keys.release()});
  } else {
    return false;
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!add(PyTuple_GET_ITEM(children.get(), static_cast<Py_ssize_t>(i)), fixed, depth + 1)) return false;
  }
  return true;
}

bool Layout::is_same(PyObject* given, PyObject* value) {
  if (given == value) return true;
  if (Py_TYPE(given) != Py_TYPE(value)) return false;
  const int equal = PyObject_RichCompareBool(given, value, Py_EQ);
  if (equal < 0) throw PythonError{};
  return equal == 1;
}

/// The value of a keyword argument, or null.
PyObject* Layout::named(PyObject* const* values, PyObject* names, PyObject* name) {
  for (const bool by_identity : {true, false}) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); ++i) {
      PyObject* given = PyTuple_GET_ITEM(names, i);
      if (by_identity ? given == name : PyUnicode_Compare(given, name) == 0) return values[i];
    }
  }
  return nullptr;
}

int Layout::traverse(visitproc visit, void* arg) const {
  for (const Node& node : nodes_) Py_VISIT(node.object);
  return 0;
}

}  // namespace dualtape::bindings
