// SPDX-License-Identifier: MIT
// Replayable: where a call of a program or of an accelerated function begins. It asks the trace that was used last;
// what that cannot answer is left to the method `_call_slowly(args, kwargs)` of the Python class.
//
// Latest: that trace, with what it relies on. Wrappers of one function share it.
#include <pybind11/pybind11.h>
#include <structmember.h>

#include "bindings/checks.hpp"
#include "bindings/program.hpp"
#include "bindings/replay.hpp"

namespace py = pybind11;

namespace dualtape::bindings {
namespace {

struct Latest {
  PyObject_HEAD PyObject* replay;  // null for none
  PyObject* checks;                // null where nothing is to be checked
  long long calls, hits;
};

struct Replayable {
  PyObject_HEAD vectorcallfunc call;
  PyObject* latest;  // null for none
  char direct;       // whether the trace may be asked
};

PyTypeObject* latest_type = nullptr;
PyTypeObject* replayable_type = nullptr;

/// The call that nobody has an answer to yet.
PyObject* call_slowly(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  static PyObject* const method = PyUnicode_InternFromString("_call_slowly");
  Ref positional(checked(PyTuple_New(count))), keywords(checked(PyDict_New()));
  for (Py_ssize_t i = 0; i < count; ++i) PyTuple_SET_ITEM(positional.get(), i, Py_NewRef(args[i]));
  for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); ++i) {
    if (PyDict_SetItem(keywords.get(), PyTuple_GET_ITEM(names, i), args[count + i]) < 0) throw PythonError{};
  }
  return PyObject_CallMethodObjArgs(self, method, positional.get(), keywords.get(), nullptr);
}

PyObject* call(PyObject* self, PyObject* const* args, std::size_t flags, PyObject* names) {
  const Replayable& replayable = *reinterpret_cast<Replayable*>(self);
  const Py_ssize_t count = PyVectorcall_NARGS(flags);
  return guarded([&]() -> PyObject* {
    if (replayable.direct && replayable.latest) {
      // Checks and arguments may run Python, which may trace anew.
      const Ref kept(Py_NewRef(replayable.latest));
      Latest& latest = *reinterpret_cast<Latest*>(kept.get());
      if (latest.replay) {
        const Ref replay(Py_NewRef(latest.replay)), checks(Py_XNewRef(latest.checks));
        if (!checks || unchanged(checks.get())) {
          if (PyObject* out = machine_of(replay.get()).call(args, count, names)) {
            ++latest.calls;
            ++latest.hits;
            return out;
          }
        }
      }
    }
    return call_slowly(self, args, count, names);
  });
}

// ---- the types ------------------------------------------------------------------------------------------------

int latest_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(reinterpret_cast<Latest*>(self)->replay);
  Py_VISIT(reinterpret_cast<Latest*>(self)->checks);
  return 0;
}

int latest_clear(PyObject* self) {
  Py_CLEAR(reinterpret_cast<Latest*>(self)->replay);
  Py_CLEAR(reinterpret_cast<Latest*>(self)->checks);
  return 0;
}

PyObject* latest_set(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  const bool has_replay = count > 0 && args[0] != Py_None, has_checks = count > 1 && args[1] != Py_None;
  if (count > 2 || (has_replay && !is_replay(args[0])) || (has_checks && !is_checks(args[1]))) {
    return PyErr_Format(PyExc_TypeError, "set takes a Replay and Checks, or None");
  }
  Latest& latest = *reinterpret_cast<Latest*>(self);
  Py_XSETREF(latest.replay, has_replay ? Py_NewRef(args[0]) : nullptr);
  Py_XSETREF(latest.checks, has_checks ? Py_NewRef(args[1]) : nullptr);
  Py_RETURN_NONE;
}

void latest_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  latest_clear(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* replayable_new(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* self = type->tp_alloc(type, 0);
  if (!self) return nullptr;
  reinterpret_cast<Replayable*>(self)->call = call;
  reinterpret_cast<Replayable*>(self)->direct = true;
  return self;
}

int replayable_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(reinterpret_cast<Replayable*>(self)->latest);
  return 0;
}

int replayable_clear(PyObject* self) {
  Py_CLEAR(reinterpret_cast<Replayable*>(self)->latest);
  return 0;
}

void replayable_dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  PyObject_GC_UnTrack(self);
  replayable_clear(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* get_latest(PyObject* self, void*) {
  PyObject* latest = reinterpret_cast<Replayable*>(self)->latest;
  return Py_NewRef(latest ? latest : Py_None);
}

int set_latest(PyObject* self, PyObject* value, void*) {
  if (!value || !PyObject_TypeCheck(value, latest_type)) {
    PyErr_SetString(PyExc_TypeError, "latest must be a Latest");
    return -1;
  }
  Py_XSETREF(reinterpret_cast<Replayable*>(self)->latest, Py_NewRef(value));
  return 0;
}

/// A subclass without a __call__ of its own is called as its base is; CPython does so by itself from 3.12 on.
PyObject* init_subclass(PyObject* type, PyObject*) {
  PyTypeObject* made = reinterpret_cast<PyTypeObject*>(type);
  if (made->tp_call == PyVectorcall_Call) made->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL;
  Py_RETURN_NONE;
}

}  // namespace

void bind_replayable(py::module_& module) {
  static PyMemberDef counts[] = {{"calls", T_LONGLONG, offsetof(Latest, calls), 0, "Calls so far."},
                                 {"hits", T_LONGLONG, offsetof(Latest, hits), 0, "Those that a trace answered."},
                                 {nullptr, 0, 0, 0, nullptr}};
  static PyMethodDef setting[] = {
      {"set", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(latest_set)), METH_FASTCALL,
       "set($self, replay=None, checks=None, /)\n--\n\nThe trace to ask from now on."},
      {nullptr, nullptr, 0, nullptr}};
  PyType_Slot slots[] = {{Py_tp_doc, const_cast<char*>("The trace that was used last, and counts of calls.")},
                         {Py_tp_new, reinterpret_cast<void*>(PyType_GenericNew)},
                         {Py_tp_dealloc, reinterpret_cast<void*>(latest_dealloc)},
                         {Py_tp_traverse, reinterpret_cast<void*>(latest_traverse)},
                         {Py_tp_clear, reinterpret_cast<void*>(latest_clear)},
                         {Py_tp_members, counts},
                         {Py_tp_methods, setting},
                         {0, nullptr}};
  PyType_Spec spec{"dualtape._core.Latest", sizeof(Latest), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, slots};
  latest_type = reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpec(&spec)));
  module.attr("Latest") = py::handle(reinterpret_cast<PyObject*>(latest_type));

  static PyGetSetDef properties[] = {{"_latest", get_latest, set_latest, "The trace that is asked first.", nullptr},
                                     {nullptr, nullptr, nullptr, nullptr, nullptr}};
  static PyMethodDef methods[] = {{"__init_subclass__", init_subclass, METH_NOARGS | METH_CLASS, nullptr},
                                  {nullptr, nullptr, 0, nullptr}};
  replayable_type =
      make_callable_type("dualtape._core.Replayable", "A function whose calls a program answers.", sizeof(Replayable),
                         Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, offsetof(Replayable, call),
                         {{Py_tp_new, reinterpret_cast<void*>(replayable_new)},
                          {Py_tp_dealloc, reinterpret_cast<void*>(replayable_dealloc)},
                          {Py_tp_traverse, reinterpret_cast<void*>(replayable_traverse)},
                          {Py_tp_clear, reinterpret_cast<void*>(replayable_clear)},
                          {Py_tp_getset, properties},
                          {Py_tp_methods, methods}},
                         {{"_direct", T_BOOL, offsetof(Replayable, direct), 0, "Whether the trace may be asked."}});
  module.attr("Replayable") = py::handle(reinterpret_cast<PyObject*>(replayable_type));
}

}  // namespace dualtape::bindings
