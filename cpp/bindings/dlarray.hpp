// SPDX-License-Identifier: MIT
// dlarray: the array type that Python sees. A CPython heap type with its own slots and a free list, because a call
// through pybind11 costs as much as a whole iteration of a scalar training loop.
//
// Where to start: `DlArray` below, then dlarray.cpp (making, freeing, the type), arithmetic.cpp (number slots),
// members.cpp (methods and properties), indexing.cpp (reading, assignment, views), convert.cpp (from and to NumPy).
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dualtape/array/views.hpp"
#include "dualtape/ops/op.hpp"
#include "dualtape/tape/tape.hpp"
#include "dualtape/tape/var.hpp"

namespace dualtape::bindings {

using array::Array;
using array::DType;
using tape::Var;

struct DlArray;

/// How a view follows from its base: enough to read it again after an assignment to the base, and to write an
/// assignment to the view back into the base.
struct View {
  enum class Kind { slice, reshape, transpose } kind;
  std::vector<array::Slice> slices;
  Dims shape;        // of the view (slice: before axes are dropped or added this is `sliced`)
  Dims sliced;       // slice: the shape with every axis of the base
  Dims permutation;  // transpose
  DlArray* base;     // a strong reference
  std::uint32_t base_version;
};

/// What few arrays have: labels, a base, or views that watch for assignments.
struct Extras {
  PyObject* labels = nullptr;  // a str of S, C, B, T, U, or null
  View* view = nullptr;
  std::uint32_t version = 0;  // counts assignments
};

struct DlArray {
  PyObject_HEAD Var var;
  Extras* extras;
};

/// The type object; made once by `make_dlarray_type`.
extern PyTypeObject* dlarray_type;
PyObject* make_dlarray_type();

inline bool is_dlarray(PyObject* object) { return Py_TYPE(object) == dlarray_type; }
inline DlArray* as_dlarray(PyObject* object) { return reinterpret_cast<DlArray*>(object); }

/// The value of a dlarray, read again from its base where that has been assigned to. Throws what reading throws.
const Var& var_of(PyObject* object);
/// A new dlarray.
PyObject* make_dlarray(Var var);
PyObject* make_scalar(double value, std::uint32_t node = tape::kNoNode, std::uint32_t recording = 0);
/// The same with labels (a new reference is taken; null for none).
PyObject* make_labelled(Var var, PyObject* labels);
Extras& extras_of(DlArray* array);
inline PyObject* labels_of(PyObject* object) {
  return is_dlarray(object) && as_dlarray(object)->extras ? as_dlarray(object)->extras->labels : nullptr;
}

/// A bare scalar without labels or base: what the fast paths take.
inline bool is_bare_scalar(const DlArray* array) { return !array->extras && array->var.is_scalar(); }

/// Runs `body` and turns a C++ exception into the Python one; returns null or -1 then.
template <class Body>
auto guarded(Body&& body) noexcept -> decltype(body());
/// Sets the Python error for the exception being handled.
void set_python_error() noexcept;

template <class Body>
auto guarded(Body&& body) noexcept -> decltype(body()) {
  try {
    return body();
  } catch (...) {
    set_python_error();
    if constexpr (std::is_pointer_v<decltype(body())>) {
      return nullptr;
    } else {
      return -1;
    }
  }
}

/// Thrown where a Python error is set already.
struct PythonError {};
/// Passes a reference on, or throws PythonError for null.
inline PyObject* checked(PyObject* object) {
  if (!object) throw PythonError{};
  return object;
}

/// An owned reference.
class Ref {
 public:
  explicit Ref(PyObject* owned = nullptr) : object_(owned) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() { Py_XDECREF(object_); }
  PyObject* get() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_;
};

// convert.cpp ---------------------------------------------------------------------------------------------------
/// An operand of an operation `op`: a dlarray, a number, or anything NumPy understands as a real array. `weak` is
/// set for Python numbers, which take the dtype of what they meet. Throws DTypeError for anything else; with
/// `foreign` given, sets it instead where the object is of an unknown type that may know how to handle dlarrays.
Var operand(const char* op, PyObject* object, bool* weak = nullptr, bool* foreign = nullptr);
/// Data for a dlarray of its own: always a copy. Lists of Python numbers become float64.
Array array_from(const char* op, PyObject* object, PyObject* dtype = nullptr);
/// The memory of an object that speaks DLPack, without a copy where the dtype is one of ours.
Array array_by_dlpack(PyObject* object);
/// A number as 0-d array of `dtype`, for a weak operand.
Var weak_as(const Var& number, DType dtype);
/// A NumPy array: a fresh copy, or a read-only view of the same memory. TraceError for a value that is being traced.
PyObject* to_numpy(const Array& value, bool copy);
/// The innermost line of Python that is not this package's own.
struct SourceLine {
  std::string file, function;
  int line = 0;
};
SourceLine user_line();
/// " (at file.py:12)", or nothing where there is no such line.
std::string user_location();
/// Throws the TraceError for numbers that would leave a trace: `what` says by which way.
void refuse_recorded(const char* what, const Array& value);
DType dtype_from(const char* op, PyObject* dtype);
PyObject* numpy_dtype(DType dtype);
/// Attribute of the numpy module, borrowed for the life of the interpreter.
PyObject* numpy_attribute(const char* name);
/// Attribute of a module of this package, imported when first used.
PyObject* package_attribute(const char* module, const char* name);

// arguments.cpp -------------------------------------------------------------------------------------------------
/// Positional and keyword arguments by name; missing ones are null. Throws PythonError with a TypeError set.
void parse_arguments(const char* function, PyObject* const* args, Py_ssize_t count, PyObject* kwnames,
                     std::span<const char* const> names, int required, PyObject** out);
/// Axes of a reduction: None (all), an int, or a tuple of ints; sorted and non-negative.
Dims axes_from(const char* op, PyObject* axis, int ndim);
std::int64_t int_from(const char* op, const char* what, PyObject* object);
bool bool_from(PyObject* object, bool missing);
/// A shape or permutation: an int or a sequence of ints.
Dims dims_from(const char* op, const char* what, PyObject* object);

// arithmetic.cpp ------------------------------------------------------------------------------------------------
/// Applies an elementwise op of the table to Python objects; may return NotImplemented where `reflected` is allowed.
PyObject* apply_op(ops::Op op, PyObject* const* operands, std::size_t count, bool may_decline);
/// x ** n with the exact route for small integer exponents.
PyObject* power(PyObject* base, PyObject* exponent, bool may_decline);

// functions.cpp -------------------------------------------------------------------------------------------------
/// The matrix product; may return NotImplemented where `may_decline`.
PyObject* matmul(PyObject* left, PyObject* right, bool may_decline);

// indexing.cpp --------------------------------------------------------------------------------------------------
PyObject* get_item(PyObject* self, PyObject* key);
int set_item(PyObject* self, PyObject* key, PyObject* value);
/// A view of `self` that follows assignments: `value` is what the view is now.
PyObject* make_view(PyObject* self, Var value, View view);

}  // namespace dualtape::bindings
