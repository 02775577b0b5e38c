# SPDX-License-Identifier: MIT
"""What a function takes from outside: globals, closures, defaults, and what these hold; and whether it has changed.

A trace contains such values as constants, so it applies only while they are what they were. `Captures` finds them by
reading the code of the function and of the functions that it uses (those of the user: not this package, not libraries
in site-packages), and `changed` checks them in constant time each:

* numbers, strings, flags by type and value; functions by their code,
* dlarrays by identity and by the memory that holds their value (an assignment gives them another),
* ndarrays by identity. An ndarray can be written to without a trace, so it is made read-only when it is captured, with
  the arrays that it is a view of; whoever wants to write sets ``x.flags.writeable = True`` first, and that is seen,
* containers by identity, length and content, to a depth of a few levels; attributes of objects as far as the code
  names them.

Arrays whose memory belongs to something else than NumPy are compared element by element.
"""

from __future__ import annotations

import builtins
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import dlarray

DEPTH = 4
PACKAGE = __name__.partition(".")[0]

Check = Callable[[], bool]  # True while nothing has changed


def is_users(function: Any) -> bool:
    """Whether a function is looked into: Python code that is neither ours nor a library's."""
    if not isinstance(function, types.FunctionType):
        return False
    if (function.__module__ or "").partition(".")[0] == PACKAGE:
        return False
    return "site-packages" not in function.__code__.co_filename and not function.__code__.co_filename.startswith(
        "<frozen"
    )


def code_names(code: types.CodeType) -> Iterator[str]:
    """Every global name and attribute that code mentions, that of inner functions too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_names(constant)


class Captures:
    """The values that a function takes from outside, as they were."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.checks: list[tuple[str, Check]] = []
        self._seen: set[int] = set()
        self._held: list[Any] = []  # so that identities stay taken
        self._function(inspect.unwrap(function), "")

    def changed(self) -> str | None:
        """The name of something that has changed, or None."""
        for name, same in self.checks:
            if not same():
                return name
        return None

    # ---- finding ----------------------------------------------------------------------------------------------

    def _function(self, function: Any, prefix: str) -> None:
        if isinstance(function, types.MethodType):
            self._names = set(code_names(function.__func__.__code__))
            self._object(f"{prefix}self", function.__self__, self._names)
            function = function.__func__
        if not is_users(function) or id(function) in self._seen:
            return
        self._seen.add(id(function))
        self._held.append(function)
        code = function.__code__
        names = set(code_names(code))
        self._add(f"the code of {function.__name__}", lambda: function.__code__ is code)
        scope = function.__globals__
        for name in sorted(names):
            if name in scope and not hasattr(builtins, name):
                value = scope[name]
                if isinstance(value, types.ModuleType):
                    continue
                self._add(f"global {name!r}", lambda n=name, v=value: scope.get(n) is v or same_number(scope.get(n), v))
                self._value(f"global {name!r}", value, names, DEPTH)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # not filled yet
                continue
            label = f"{name!r}, a variable around {function.__name__}"
            self._add(label, lambda c=cell, v=value: c.cell_contents is v or same_number(c.cell_contents, v))
            self._value(label, value, names, DEPTH)
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self._value(f"a default of {function.__name__}", value, names, DEPTH)

    def _value(self, label: str, value: Any, names: set[str], depth: int) -> None:
        if isinstance(value, (types.ModuleType, type, int, float, complex, str, bytes)) or value is None:
            return  # the binding has been checked
        if isinstance(value, (types.FunctionType, types.MethodType)):
            self._function(value, "")
            return
        if id(value) in self._seen or depth == 0:
            return
        self._seen.add(id(value))
        self._held.append(value)
        if isinstance(value, dlarray):
            mark = _core.value_mark(value)
            self._add(label, lambda: _core.value_mark(value) == mark)
        elif isinstance(value, np.ndarray):
            self._ndarray(label, value)
        elif isinstance(value, dict):
            keys = list(value)
            self._add(label, lambda: list(value) == keys)
            for key, item in list(value.items()):
                inner = f"{label}[{key!r}]"
                self._add(inner, lambda k=key, v=item: value.get(k) is v or same_number(value.get(k), v))
                self._value(inner, item, names, depth - 1)
        elif isinstance(value, (list, tuple)):
            length = len(value)
            self._add(label, lambda: len(value) == length)
            for number, item in enumerate(value):
                inner = f"{label}[{number}]"
                if isinstance(value, list):
                    self._add(inner, lambda n=number, v=item: value[n] is v or same_number(value[n], v))
                self._value(inner, item, names, depth - 1)
        else:
            self._object(label, value, names)

    def _object(self, label: str, value: Any, names: set[str]) -> None:
        """The attributes of an object that the code mentions."""
        module = sys.modules.get(type(value).__module__)
        if getattr(module, "__name__", "").partition(".")[0] in (PACKAGE, "numpy"):
            return
        for name, item in sorted(getattr(value, "__dict__", {}).items()):
            if name not in names:
                continue
            inner = f"{label}.{name}"
            self._add(inner, lambda n=name, v=item: vars(value).get(n) is v or same_number(vars(value).get(n), v))
            self._value(inner, item, names, DEPTH - 1)

    def _ndarray(self, label: str, array: Any) -> None:
        chain = [array]
        while isinstance(chain[-1].base, np.ndarray):
            chain.append(chain[-1].base)
        if chain[-1].base is not None or not chain[-1].flags.owndata:
            copy = array.copy()  # memory of somebody else, which nobody can freeze
            self._add(label, lambda: bool(np.array_equal(array, copy, equal_nan=array.dtype.kind == "f")))
            return
        for link in chain:
            link.flags.writeable = False
        self._add(label, lambda: not any(link.flags.writeable for link in chain))

    def _add(self, label: str, check: Any) -> None:
        self.checks.append((label, check))


def same_number(a: Any, b: Any) -> bool:
    """Equal numbers or strings of the same type: another object, but no other value."""
    return type(a) is type(b) and isinstance(a, (int, float, complex, str, bytes)) and bool(a == b)
