# SPDX-License-Identifier: MIT
"""What happens when a value that is being differentiated becomes a number of Python's.

``float(x)`` is a look at the value, and stays possible: for a message, for a test. ``math.sin(x)`` asks for the same
number, but to compute with it, and ``array[i] = x`` to keep it in an ndarray: both would lose the derivative silently.
They look alike from inside `dlarray`, so the instruction that is running in the caller's frame is looked at; once for
each place in the code.
"""

from __future__ import annotations

import dis
import math
import sys
from types import CodeType, FrameType
from typing import Any
from weakref import WeakKeyDictionary

from dualtape._core import TraceError

#: Functions of `math` that decide or round; their results have no derivative to lose.
_HARMLESS = {math.isnan, math.isinf, math.isfinite, math.isclose, math.floor, math.ceil, math.trunc}
_REFUSED: dict[Any, str] = {
    function: name
    for name, function in vars(math).items()
    if callable(function) and function not in _HARMLESS and name[0] != "_"
}

#: By code object: at which place what is called; None for an assignment to an element.
_called: WeakKeyDictionary[CodeType, dict[int, list[str] | None]] = WeakKeyDictionary()


def _start(instruction: dis.Instruction) -> tuple[int | None, int | None]:
    at = instruction.positions
    return (None, None) if at is None else (at.lineno, at.col_offset)


def _callee(code: CodeType, at: int) -> list[str] | None:
    """The names in ``a.b.c(...)``, for the call at an offset of a code object; empty for any other callee."""
    instructions = list(dis.get_instructions(code))
    if any(i.offset == at and i.opname in ("STORE_SUBSCR", "STORE_SLICE") for i in instructions):
        return None
    call = next((i for i in instructions if i.offset == at and i.opname.startswith("CALL")), None)
    if call is None or None in _start(call):
        return []
    # What is called begins where the call begins, and is loaded last of all that begins there.
    names: list[str] = []
    for i in instructions:
        if i.offset >= at or _start(i) != _start(call):
            continue
        if i.opname.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FAST", "LOAD_DEREF")):
            names = [str(i.argval)]
        elif i.opname.startswith(("LOAD_ATTR", "LOAD_METHOD")) and names:
            names.append(str(i.argval))
        elif not i.opname.startswith(("PUSH_NULL", "PRECALL", "CACHE", "RESUME", "COPY_FREE_VARS")):
            names = []
    return names


def _resolve(frame: FrameType, names: list[str]) -> Any:
    found: Any = None
    for scope in (frame.f_locals, frame.f_globals, frame.f_builtins):
        if names[0] in scope:
            found = scope[names[0]]
            break
    for name in names[1:]:
        found = getattr(found, name, None)
    return found


def refuse() -> None:
    """Raise where a number is asked for that would lose a derivative; `dlarray` calls this.

    Raises
    ------
    TraceError
        Naming the function of NumPy that keeps the derivative.
    """
    frame = sys._getframe(1)
    places = _called.setdefault(frame.f_code, {})
    if frame.f_lasti not in places:
        places[frame.f_lasti] = _callee(frame.f_code, frame.f_lasti)
    names = places[frame.f_lasti]
    if names is None:
        raise TraceError(
            "assignment: an element of an ndarray cannot hold a value that is being differentiated, and its number "
            "alone would lose the derivative; make the array with dualtape.numpy.zeros, join values with "
            "dualtape.numpy.array, or assign float(x) to keep the number on purpose."
        )
    function = _resolve(frame, names) if names else None
    try:
        name = _REFUSED.get(function)
    except TypeError:  # of something that has no hash
        return
    if name is not None:
        import numpy as np

        ours = {"pow": "power", "dist": "linalg.norm", "fsum": "sum", "lgamma": "gammaln"}.get(name, name)
        ours = f"numpy.{ours}" if hasattr(np, ours.split(".")[0]) else f"dualtape.scipy.special.{ours}"
        raise TraceError(
            f"math.{name}: a value that is being differentiated was given, and Python's math knows numbers only, so "
            f"the derivative would be lost; use {ours}, or extractdata(x) to cut it off on purpose."
        )
