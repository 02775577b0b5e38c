# SPDX-License-Identifier: MIT
"""What a function takes from outside: globals, closures, defaults, and what these hold; and whether it has changed.

A trace contains such values as constants, so it applies only while they are what they were. `Captures` finds them by
reading the code of the function and of the functions that it uses (those of the user: not this package, not libraries
in site-packages), and `changed` checks them in constant time each:

* numbers, strings, flags by type and value; functions by their code and defaults,
* dlarrays by the memory that holds their value (an assignment gives them another),
* ndarrays by identity. An ndarray can be written to without a trace, so it is made read-only when it is captured, with
  the arrays that it is a view of; whoever wants to write sets ``x.flags.writeable = True`` first, and that is seen,
* containers by identity, length and content, to a depth of a few levels; attributes of objects, classes and modules of
  the user as far as the code names them, and the code of their methods.

Arrays whose memory belongs to something else than NumPy are compared element by element. `_purity.py` uses the same
walk to find out whether a function changed something while it was traced.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dualtape._core import Checks, dlarray

DEPTH = 10
PACKAGE = __name__.partition(".")[0]
FOLDER = __file__.removesuffix("_captures.py")
SMALL = 1 << 20  # bytes of an ndarray that is copied to be compared


@functools.cache
def is_users_file(file: str | None) -> bool:
    """Whether a source file is neither ours nor a library's."""
    if not file or file.startswith("<frozen") or "site-packages" in file or "dist-packages" in file:
        return False
    return not file.startswith(STANDARD)


STANDARD = (inspect.getsourcefile(functools) or "functools.py").removesuffix("functools.py") or "<frozen"


def is_users(function: Any) -> bool:
    """Whether a function is looked into: Python code that is neither ours nor a library's."""
    if not isinstance(function, types.FunctionType):
        return False
    return not is_our_function(function) and is_users_file(function.__code__.co_filename)


@functools.cache
def is_ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] == PACKAGE


def is_our_function(function: types.FunctionType) -> bool:
    """Whether a function is the package's, under whatever name: functools.wraps copies the module, too."""
    return is_ours(function.__module__) or function.__code__.co_filename.startswith(FOLDER)


def code_names(code: types.CodeType) -> Iterator[str]:
    """Every global name and attribute that code mentions, that of inner functions too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_names(constant)


class Captures:
    """The values that a function takes from outside, as they were.

    With `watching` they are to be compared once, after the function has run: nothing is frozen, ndarrays are copied
    where that is cheap, generators of random numbers count, and an object or dict may get further entries (a memo).
    """

    def __init__(self, function: Callable[..., Any], watching: bool = False, others: tuple[Any, ...] = ()) -> None:
        self.watching = watching
        self.checks = Checks()
        self.names: set[str] = set()
        self.functions: list[types.FunctionType] = []  # of the user
        self.tracked = False  # a dlarray among them is being differentiated
        self._held: list[Any] = []  # so that identities stay taken
        before = -1
        self._by_name = True  # whether attributes were chosen by `names`
        while self._by_name and len(self.names) > before:  # a function that is found may name further attributes
            before = len(self.names)
            self._by_name = False
            self.checks.clear()
            self.functions.clear()
            self._seen: set[int] = set()
            self._value("the function", function, DEPTH)
            for other in others:  # arguments that are no operands
                self._value(f"an argument of type {type(other).__name__}", other, DEPTH)

    def changed(self) -> str | None:
        """The name of something that has changed, or None."""
        return self.checks.changed()

    # ---- finding ----------------------------------------------------------------------------------------------

    def _function(self, function: types.FunctionType) -> None:
        if hasattr(function, "__wrapped__"):
            self._value("the function", inspect.unwrap(function), DEPTH)
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        self._held.append(function)
        if not is_users(function):
            if is_our_function(function):  # grad(f), say: what was handed to us
                for cell in function.__closure__ or ():
                    if callable(inner := contents(cell)):
                        self._value("a function", inner, DEPTH)
            return
        self.functions.append(function)
        code, defaults, by_name = function.__code__, function.__defaults__, function.__kwdefaults__
        names = set(code_names(code))
        self.names |= names
        self.checks.code(f"the code of {function.__name__}", function)
        scope = function.__globals__
        for name in sorted(name for name in names if name in scope):
            self._bound(f"global {name!r}", scope, name, scope[name], DEPTH)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            value = contents(cell)
            if value is MISSING:  # not filled yet
                continue
            label = f"{name!r} (a variable around {function.__name__})"
            self.checks.cell(label, cell, value)
            self._value(label, value, DEPTH)
        for value in (*(defaults or ()), *(by_name or {}).values()):
            self._value(f"a default of {function.__name__}", value, DEPTH)

    def _bound(self, label: str, scope: Any, name: Any, value: Any, depth: int) -> None:
        """A value under a name or key of a dict."""
        if not isinstance(value, types.ModuleType):
            self.checks.entry(label, scope, name, value)
        self._value(label, value, depth)

    def _value(self, label: str, value: Any, depth: int) -> None:
        if isinstance(value, (int, float, complex, str, bytes)) or value is None:
            return  # the binding has been checked
        if isinstance(value, types.FunctionType):
            self._function(value)
            return
        if id(value) in self._seen or depth == 0:
            return
        self._seen.add(id(value))
        self._held.append(value)
        if isinstance(value, dlarray):
            self._dlarray(label, value)
        elif isinstance(value, np.ndarray):
            self._ndarray(label, value)
        elif isinstance(value, dict):
            if self.watching:
                keys = list(value)
                self.checks.call(label, lambda: list(value)[: len(keys)] == keys)
            else:
                self.checks.keys(label, value)
            for key, item in list(value.items()):
                self._bound(f"{label}[{key!r}]", value, key, item, depth - 1)
        elif isinstance(value, (list, tuple, deque)):
            self.checks.length(label, value)
            for number, item in enumerate(value):
                inner = f"{label}[{number}]"
                if not isinstance(value, tuple):
                    self.checks.item(inner, value, number)
                self._value(inner, item, depth - 1)
        elif isinstance(value, (set, frozenset)):
            items = frozenset(value)
            self.checks.call(label, lambda: items <= value if self.watching else items == value)
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self._value(label, part, depth)
        elif isinstance(value, types.MethodType):
            self._value(label, value.__func__, depth)
            self._value(f"{label}.self", value.__self__, depth)
        elif is_random(value) or "numpy.random" in (getattr(type(value), "__module__", None) or ""):
            self._generator(label, value)
        else:
            self._object(label, value, depth)

    def _dlarray(self, label: str, value: dlarray) -> None:
        self.tracked = self.tracked or value.tracked
        self.checks.dlarray(label, value)

    def _object(self, label: str, value: Any, depth: int) -> None:
        """The attributes of an object, class or module that the code mentions, and the code of its methods."""
        kind = type(value)
        if isinstance(value, types.ModuleType):
            if is_ours(value.__name__) or not is_users_file(getattr(value, "__file__", None)):
                return
        else:
            home = value if isinstance(value, type) else kind
            if is_ours(home.__module__):
                if isinstance(inner := getattr(value, "__wrapped__", None), types.FunctionType):
                    self._function(inner)
                return
            module = sys.modules.get(home.__module__)
            if is_users_file(getattr(module, "__file__", None)) or home.__module__ == "__main__":
                for base in home.__mro__[:-1]:
                    if base is not value:
                        self._class(label, base, depth)
            elif home is value:
                return
            self._no_others(label, value)
        self._by_name = True
        for name, item in sorted(getattr(value, "__dict__", {}).items()):
            if name in self.names or is_special(name, item):
                self._bound(f"{label}.{name}", vars(value), name, item, depth - 1)
        for name in slots(kind):
            if name in self.names and (item := getattr(value, name, MISSING)) is not MISSING:
                self.checks.call(
                    f"{label}.{name}",
                    lambda n=name, v=item: (now := getattr(value, n, MISSING)) is v or same_number(now, v),
                )
                self._value(f"{label}.{name}", item, depth - 1)

    def _no_others(self, label: str, value: Any) -> None:
        """No further attribute that the code names, which would hide one of the class."""
        if not self.watching and hasattr(value, "__dict__"):
            names, present = self.names, frozenset(vars(value))
            self.checks.call(label, lambda: names.isdisjoint(vars(value).keys() - present))

    def _class(self, label: str, home: type, depth: int) -> None:
        self._by_name = True
        for name, item in sorted(vars(home).items()):
            if name in self.names or is_special(name, item):
                if isinstance(item, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                    continue
                self._bound(f"{label}.{name}", vars(home), name, item, depth - 1)
                for part in (item,) if not isinstance(item, property) else (item.fget,):
                    inner = getattr(part, "__func__", getattr(part, "func", part))
                    if isinstance(inner, types.FunctionType):
                        self._function(inner)

    def _ndarray(self, label: str, array: Any) -> None:
        if self.watching:
            if array.nbytes <= SMALL and array.dtype != object:
                before = array.tobytes()
                self.checks.call(label, lambda: array.tobytes() == before)
            return
        chain = [array]
        while isinstance(chain[-1].base, np.ndarray):
            chain.append(chain[-1].base)
        if chain[-1].base is not None or not chain[-1].flags.owndata:
            copy = array.copy()  # memory of somebody else, which nobody can freeze
            self.checks.call(label, lambda: array.shape == copy.shape and array.tobytes() == copy.tobytes())
            return
        for link in chain:
            link.flags.writeable = False
        self.checks.readonly(label, chain)

    def _generator(self, label: str, value: Any) -> None:
        if self.watching and (is_random(value) or hasattr(value, "bit_generator") or "get_state" in dir(value)):
            before = state_of(value)
            self.checks.call(f"{RANDOM}{label}", lambda: state_of(value) == before)


MISSING: Any = object()
RANDOM = "the random numbers of "


def contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def slots(kind: type) -> list[str]:
    return [name for name, item in vars(kind).items() if isinstance(item, types.MemberDescriptorType)]


def is_special(name: str, item: Any) -> bool:
    """Methods that are called without being named."""
    return name.startswith("__") and name.endswith("__") and isinstance(item, types.FunctionType) and name != "__init__"


def is_random(value: Any) -> bool:
    """Whether a value is a generator of Python's random, of which there is none before that is imported."""
    module = sys.modules.get("random")
    return module is not None and isinstance(value, module.Random)


def state_of(generator: Any) -> Any:
    """What the next number of a generator depends on, as something that can be compared."""
    if is_random(generator):
        return generator.getstate()
    if hasattr(generator, "bit_generator"):
        return plain(generator.bit_generator.state)
    return plain(generator.get_state(legacy=False))


def plain(state: Any) -> Any:
    """A tree of dicts with bytes in place of arrays."""
    if isinstance(state, dict):
        return {key: plain(item) for key, item in state.items()}
    return state.tobytes() if isinstance(state, np.ndarray) else state


def same_number(a: Any, b: Any) -> bool:
    """Equal numbers or strings of the same type: another object, but no other value."""
    if type(a) is not type(b) or not isinstance(a, (int, float, complex, str, bytes)):
        return False
    if isinstance(a, float):
        if a != a or b != b:
            return a != a and b != b
        return a == b and (a != 0.0 or math.copysign(1.0, a) == math.copysign(1.0, b))
    return bool(a == b)
