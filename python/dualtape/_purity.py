# SPDX-License-Identifier: MIT
"""Side effects that a program could not repeat: `purity` refuses them while a function is traced.

A program computes what was traced and nothing else. A function that counts its calls in a global, appends to a list or
draws from NumPy's random numbers would do so once, when it is traced, and never again. Before the function runs, its
code is searched for writes to names outside of it; afterwards, what it takes from outside (_captures.py) and the states
of random number generators are compared with what they were.

Usage, around the call of a function while it is traced::

    with purity(function, "loop"):
        results = function(*arguments)
"""

from __future__ import annotations

import dis
import functools
import inspect
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

from dualtape._captures import RANDOM, Captures, is_users, state_of
from dualtape._core import TraceError, own_bytes

WRITES = {"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF"}
MAKERS = {"default_rng", "RandomState", "Random", "SystemRandom"}
WRITE_CODES = {dis.opmap[name] for name in WRITES}
CHANGES = {"STORE_SUBSCR", "DELETE_SUBSCR", "STORE_ATTR", "DELETE_ATTR", "CALL", "CALL_METHOD", "CALL_FUNCTION"}


def unwrapped(function: Any) -> types.FunctionType | None:
    """The user's function behind wrappers, methods, partials and objects that are called."""
    for _ in range(20):
        function = inspect.unwrap(function)
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif isinstance(function, types.FunctionType):
            return function if is_users(function) else None
        else:
            function = type(function).__call__
    return None


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Code and the code of functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def lines(code: types.CodeType) -> Iterator[tuple[int, dis.Instruction]]:
    """Instructions with their lines."""
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        positions = instruction.positions
        line = (positions.lineno if positions else None) or line
        yield line, instruction


@functools.lru_cache(maxsize=256)
def unseeded(outer: types.CodeType) -> tuple[str, int] | None:
    """(name, line) of the first generator that is made without a seed: it differs from call to call."""
    for code in codes(outer):
        if MAKERS.isdisjoint(code.co_names):
            continue
        maker: str | None = None
        for line, instruction in lines(code):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_ATTR", "LOAD_METHOD", "LOAD_NAME"):
                maker = instruction.argval if instruction.argval in MAKERS else None
            elif instruction.opname == "CALL":
                if maker is not None and instruction.arg == 0:
                    return maker, line
                maker = None
            elif instruction.opname not in ("PRECALL", "PUSH_NULL", "CACHE"):
                maker = None
    return None


@functools.lru_cache(maxsize=256)
def first_write(outer: types.CodeType) -> tuple[str, str, int] | None:
    """(kind, name, line) of the first write to a name outside of a function."""
    around = set(outer.co_freevars)
    for code in codes(outer):
        if WRITE_CODES.isdisjoint(code.co_code[::2]):
            continue
        for line, instruction in lines(code):
            if instruction.opname not in WRITES:
                continue
            is_global = instruction.opname.endswith("GLOBAL")
            # A variable of the function itself, which an inner function writes to, is nobody else's.
            if is_global or (instruction.argval in around and instruction.argval in code.co_freevars):
                return "global" if is_global else "nonlocal", str(instruction.argval), line
    return None


def place_of(function: types.FunctionType, name: str) -> str:
    """File and line where the function changes what a name stands for, or uses it last."""
    found, changing, used = 0, 0, 0
    for code in codes(function.__code__):
        here = 0
        for line, instruction in lines(code):
            if instruction.argval == name and isinstance(instruction.argval, str):
                here = used = line
            elif instruction.opname in CHANGES and line == here:
                changing = line
                if not instruction.opname.startswith("CALL"):
                    found = line
    return f"{function.__code__.co_filename}:{found or changing or used or function.__code__.co_firstlineno}"


def names(function: types.FunctionType, module: Any) -> bool:
    """Whether the code of a function uses a module: by its name, as an attribute of another, or a function of it."""
    scope = function.__globals__
    generator = getattr(module, "_inst", None) or getattr(getattr(module, "mtrand", None), "_rand", None)
    for code in codes(function.__code__):
        owner: Any = None
        for instruction in dis.get_instructions(code):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                owner = scope.get(instruction.argval)
            elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and isinstance(owner, types.ModuleType):
                owner = getattr(owner, instruction.argval, None)
            elif instruction.opname == "IMPORT_NAME":
                owner = sys.modules.get(instruction.argval)
            else:
                continue
            # random.random and the like are methods of a generator.
            if owner is module or (generator is not None and getattr(owner, "__self__", None) is generator):
                return True
    return False


class purity:
    """Refuse a function that has side effects, around the run in which it is traced.

    Parameters
    ----------
    function : callable
        The user's function; wrappers, methods and partials are looked through.
    where : str
        What begins the message: "trace", "loop".

    Raises
    ------
    TraceError
        On entering, where the function's code writes to a global or nonlocal name. On leaving, where it drew random
        numbers that are not dualtape's, or something that it takes from outside has changed.
    """

    __slots__ = ("captures", "function", "ours", "python", "theirs", "where")

    def __init__(self, function: Callable[..., Any], where: str) -> None:
        self.where = where
        self.function = unwrapped(function)
        self.captures = Captures(function, watching=True)

    def __enter__(self) -> purity:
        if self.function is not None:
            if (found := first_write(self.function.__code__)) is not None:
                kind, name, line = found
                raise TraceError(
                    f"{self.where}: {self.function.__qualname__} writes to the {kind} name {name!r}, a side effect "
                    f"that a program cannot repeat (at {self.function.__code__.co_filename}:{line}); return the value, "
                    "or make it an argument or a part of the state."
                )
            if (made := unseeded(self.function.__code__)) is not None:
                raise TraceError(
                    f"{self.where}: {made[0]}() without a seed gives other numbers in every call (at "
                    f"{self.function.__code__.co_filename}:{made[1]}); a program would repeat those of its trace; use "
                    "dualtape.random in a loop or sweep, or draw outside and pass the numbers in."
                )
        self.python = python_state()
        self.theirs = global_state()
        self.ours = own_state()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is not None:
            return
        import random

        for library, module, same in (
            ("Python's random", random, python_state() == self.python),
            ("numpy.random", sys.modules.get("numpy.random"), global_state() == self.theirs),
        ):
            # (Other threads draw from the same generators.)
            if not same and (threading.active_count() == 1 or any(names(f, module) for f in self.captures.functions)):
                self._refuse_random(library, "random")
        if self.ours != own_state():
            raise TraceError(
                f"{self.where}: random numbers were drawn with dualtape.random outside of a loop{self._at('random')}; "
                "a program would repeat the same numbers in every run; use loop or sweep, whose programs draw anew in "
                "each iteration, or draw outside and pass the numbers in."
            )
        what = self.captures.changed()
        if what is None:
            return
        label = what.removeprefix(RANDOM)
        name = match.group(1) if (match := re.search(r"'([^']*)'", label)) else ""
        if what.startswith(RANDOM):
            self._refuse_random(label, name)
        raise TraceError(
            f"{self.where}: {label} was changed{self._at(name)}, a side effect that a program cannot repeat; return "
            "the value, or make it an argument or a part of the state."
        )

    def _at(self, name: str) -> str:
        return f" (at {place_of(self.function, name)})" if self.function is not None else ""

    def _refuse_random(self, what: str, name: str) -> None:
        raise TraceError(
            f"{self.where}: random numbers were drawn from {what}{self._at(name)}; a program would repeat the same "
            "numbers in every run; use dualtape.random in a loop or sweep, or draw outside and pass the numbers in."
        )


def python_state() -> Any:
    """The state of Python's global generator: as bytes, since getstate makes 625 numbers of it."""
    import random  # here, since importing dualtape should stay quick

    generator: Any = random._inst
    base: Any = random.Random.__base__
    return own_bytes(generator, base), generator.gauss_next


def global_state() -> Any:
    """The state of NumPy's global generator; None where nobody has drawn from it, or even imported it."""
    module = sys.modules.get("numpy.random.mtrand")
    if module is None:
        return None
    state = state_of(module._rand)
    return None if state["state"]["pos"] >= FRESH and not state["has_gauss"] else state


FRESH = 623  # where the Mersenne twister stands before its first number


def own_state() -> Any:
    """Where dualtape.random stands; nothing inside of loops, whose programs draw anew."""
    module = sys.modules.get("dualtape.random")
    keys = getattr(module, "_keys", None)
    return 0.0 if keys is None else None if keys.inside else keys.iteration
