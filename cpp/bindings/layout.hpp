// SPDX-License-Identifier: MIT
// Layout: a structure of python/dualtape/tree.py that consists of tuples, lists, dicts and None, as a list of nodes
// that is walked without Python. A call of a program takes its arguments apart and puts its results together by it.
#pragma once

#include <optional>

#include "bindings/dlarray.hpp"

namespace dualtape::bindings {

class Layout {
 public:
  /// Of a Structure; `fixed`: a list of (number, value) of the leaves that must have a value, which are left out when
  /// leaves are counted. Nothing where other containers occur, or it is too deep.
  static std::optional<Layout> from(PyObject* structure, PyObject* fixed = nullptr);
  Layout(Layout&& other) noexcept = default;
  Layout& operator=(Layout&& other) noexcept {
    std::swap(nodes_, other.nodes_);
    std::swap(leaves_, other.leaves_);
    return *this;
  }
  ~Layout();

  /// A tree around the leaves that `next()` gives, new references.
  template <class Next>
  PyObject* build(Next&& next) const {
    const Node* at = nodes_.data();
    return build(at, next);
  }
  /// Calls leaf(object) for each leaf of the arguments of a call, until that is false; false too where they are laid
  /// out otherwise. The structure must be one of (args, kwargs).
  template <class Leaf>
  bool take_call(PyObject* const* args, Py_ssize_t count, PyObject* names, Leaf&& leaf) const;

  int traverse(visitproc visit, void* arg) const;
  std::size_t leaves() const { return leaves_; }

 private:
  enum class Kind : std::uint8_t { leaf, fixed, tuple, list, dict, none };
  struct Node {
    Kind kind;
    std::uint32_t count = 0;     // children
    PyObject* object = nullptr;  // the value of a fixed leaf, the keys of a dict
  };
  Layout() = default;
  bool add(PyObject* structure, PyObject* fixed, int depth);
  static bool is_same(PyObject* given, PyObject* value);
  static PyObject* named(PyObject* const* values, PyObject* names, PyObject* name);
  template <class Next>
  static PyObject* build(const Node*& at, Next&& next);
  template <class Leaf>
  static bool take(const Node*& at, PyObject* tree, Leaf&& leaf);
  // Most children are leaves, which need no call.
  template <class Next>
  static PyObject* item(const Node*& at, Next&& next) {
    if (at->kind != Kind::leaf) return build(at, next);
    ++at;
    return next();
  }
  template <class Leaf>
  static bool take_item(const Node*& at, PyObject* tree, Leaf&& leaf) {
    if (at->kind != Kind::leaf) return take(at, tree, leaf);
    ++at;
    return leaf(tree);
  }

  std::vector<Node> nodes_;
  std::size_t leaves_ = 0;
  Py_ssize_t fixed_seen_ = 0;
};

template <class Next>
PyObject* Layout::build(const Node*& at, Next&& next) {
  const Node& node = *at++;
  const auto count = static_cast<Py_ssize_t>(node.count);
  switch (node.kind) {
    case Kind::leaf:
      return next();
    case Kind::tuple: {
      Ref out(checked(PyTuple_New(count)));
      for (Py_ssize_t i = 0; i < count; ++i) PyTuple_SET_ITEM(out.get(), i, item(at, next));
      return out.release();
    }
    case Kind::list: {
      Ref out(checked(PyList_New(count)));
      for (Py_ssize_t i = 0; i < count; ++i) PyList_SET_ITEM(out.get(), i, item(at, next));
      return out.release();
    }
    case Kind::dict: {
      Ref out(checked(PyDict_New()));
      for (Py_ssize_t i = 0; i < count; ++i) {
        Ref value(item(at, next));
        if (PyDict_SetItem(out.get(), PyTuple_GET_ITEM(node.object, i), value.get()) < 0) throw PythonError{};
      }
      return out.release();
    }
    case Kind::fixed:
      return Py_NewRef(node.object);
    case Kind::none:
      break;
  }
  return Py_NewRef(Py_None);
}

template <class Leaf>
bool Layout::take(const Node*& at, PyObject* tree, Leaf&& leaf) {
  const Node& node = *at++;
  const auto count = static_cast<Py_ssize_t>(node.count);
  switch (node.kind) {
    case Kind::leaf:
      return leaf(tree);
    case Kind::fixed:
      return is_same(tree, node.object);
    case Kind::tuple:
      if (!PyTuple_CheckExact(tree) || PyTuple_GET_SIZE(tree) != count) return false;
      for (Py_ssize_t i = 0; i < count; ++i) {
        if (!take_item(at, PyTuple_GET_ITEM(tree, i), leaf)) return false;
      }
      return true;
    case Kind::list:
      if (!PyList_CheckExact(tree)) return false;
      for (Py_ssize_t i = 0; i < count; ++i) {  // (a leaf may run Python, which may change the list)
        if (PyList_GET_SIZE(tree) != count || !take_item(at, PyList_GET_ITEM(tree, i), leaf)) return false;
      }
      return PyList_GET_SIZE(tree) == count;
    case Kind::dict:
      if (!PyDict_CheckExact(tree) || PyDict_GET_SIZE(tree) != count) return false;
      for (Py_ssize_t i = 0; i < count; ++i) {
        PyObject* item = PyDict_GetItemWithError(tree, PyTuple_GET_ITEM(node.object, i));
        if (!item && PyErr_Occurred()) throw PythonError{};
        if (!item || !take_item(at, item, leaf)) return false;
      }
      return true;
    case Kind::none:
      break;
  }
  return tree == Py_None;
}

template <class Leaf>
bool Layout::take_call(PyObject* const* args, Py_ssize_t count, PyObject* names, Leaf&& leaf) const {
  const Node* at = nodes_.data() + 1;
  if (static_cast<Py_ssize_t>(at->count) != count) return false;
  ++at;
  for (Py_ssize_t i = 0; i < count; ++i) {
    if (!take_item(at, args[i], leaf)) return false;
  }
  const Node& keywords = *at++;
  if (keywords.count != static_cast<std::uint32_t>(names ? PyTuple_GET_SIZE(names) : 0)) return false;
  for (std::uint32_t i = 0; i < keywords.count; ++i) {
    PyObject* value = named(args + count, names, PyTuple_GET_ITEM(keywords.object, static_cast<Py_ssize_t>(i)));
    if (!value || !take(at, value, leaf)) return false;
  }
  return true;
}

}  // namespace dualtape::bindings
