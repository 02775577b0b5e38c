# SPDX-License-Identifier: MIT
"""Programs: a function traced once, and replayed without Python. `trace` makes one.

A program is a flat list of instructions on slots. Decisions that the function took on values (``if``, ``while``,
``int(x)``, an index) are kept with their outcomes; where a replay decides otherwise, the function is traced along that
path, which joins the program. Start reading at Program.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dualtape import _core
from dualtape._core import DTypeError, ShapeError, TraceError, dlarray
from dualtape._traced_call import Call, Replayer, as_operand, check_results, trace_call
from dualtape.tree import flatten

if TYPE_CHECKING:
    from dualtape._captures import Captures
    from dualtape._execution import Execution
    from dualtape._program_rows import Constant, Guard, Instruction

__all__ = ["Program", "trace"]


class Program(_core.Replayable):
    """A traced function: immutable instructions that run without Python.

    Call it like the function. Floats and arrays among the arguments are operands, other arguments (integers, strings,
    flags) are part of what was traced. Shapes and dtypes must be those of the trace.

    Attributes
    ----------
    instructions : list of Instruction
        The optimized program, inputs first.
    constants : list of Constant
        What came from outside of the function: globals, closures, literals.
    guards : list of Guard
        The decisions.
    memory : dict
        How many instructions and paths there are, and the bytes a replay needs.
    execution : Execution
        How the core runs it from its second call on.
    executor : str
        The same in a word: "machine", "fused" or "interpreter".

    Notes
    -----
    ``print(program)`` shows the instructions, ``program.to_dot()`` is a graph for Graphviz. A program pickles; `save`
    writes a file that is checked when it is read and from which nothing is ever run.
    """

    def __init__(
        self,
        core: Any,
        call: Call,
        function: Callable[..., Any] | None = None,
        captures: Captures | None = None,
    ) -> None:
        self._function = function
        self._captures = captures
        self._latest = _core.Latest()
        self._take(core, call)

    def _take(self, core: Any, call: Call) -> None:
        self._core, self._call = core, call
        self._replayer = Replayer(core, call)
        self._latest.set(self._replayer.replay)

    # ---- calling ----------------------------------------------------------------------------------------------

    @property
    def __signature__(self) -> Any:
        import inspect  # here, since importing dualtape should stay quick

        return inspect.signature(lambda *args, **kwargs: None)

    def _call_slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that the replay has not answered: __call__ of the base begins in C++ (cpp/bindings/replayable.cpp)."""
        operands = self._replayer.operands(args, kwargs)
        if operands is None:
            raise ValueError(
                f"{self._signature()}: the arguments must be laid out as they were when the function was traced, "
                f"with the same integers, strings and flags; got {flatten((args, kwargs))[1]!r}; "
                "trace the function on these."
            )
        while True:
            results = self._replayer.replay(*operands)
            if type(results) is tuple:
                return self._replayer.finish(results)
            if results is NotImplemented:
                ready = self._ready(operands)
                if ready is None:
                    return self._inline(args, kwargs)
                operands = ready
                continue
            if _core.is_tracing() and self._function is not None:  # a new path is part of that trace
                return self._function(*args, **kwargs)
            self._grow(args, kwargs, _core.missing(self._replayer.replay))

    def _inline(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that is part of a derivative or of another trace."""
        if self._function is None:
            raise TraceError(
                f"{self._signature()}: a program that was loaded has no derivatives; an argument is being "
                "differentiated or traced; use the function it was made from."
            )
        return self._function(*args, **kwargs)

    def _ready(self, operands: list[Any]) -> list[Any] | None:
        """Operands as the program takes them, where they are not; None where they are differentiated or traced.

        A number is as good as a scalar array and the other way round: the program's dtypes are fixed.
        """
        if any(isinstance(leaf, dlarray) and (leaf.tracked or _core.is_traced(leaf)) for leaf in operands):
            return None
        out = []
        for (name, dtype, shape, weak), dims, leaf in zip(self._core.inputs(), self._call.dims, operands, strict=True):
            given = as_operand(leaf)
            number = isinstance(leaf, (int, float, np.integer)) and not isinstance(leaf, bool)
            if number or (given.ndim == 0 and given.dtype == np.float64):
                given = dlarray(float(given), dtype=None if weak or shape else np.dtype(dtype))
            if given.shape != tuple(shape):
                raise ShapeError(
                    f"{self._signature()}: {name} must have the shape {tuple(shape)}; got {given.shape}; a program is "
                    "made for fixed shapes; trace the function on this one, or use dlaccelerate."
                )
            if given.dtype != np.dtype(dtype):
                raise DTypeError(
                    f"{self._signature()}: {name} must be {dtype}; got {given.dtype}; convert it with astype."
                )
            if given.dims != dims:
                raise ShapeError(
                    f"{self._signature()}: {name} must have the labels {dims!r}; got {given.dims!r}; label it as "
                    "it was when the function was traced."
                )
            out.append(float(given) if weak else given)
        return out

    def _grow(self, args: tuple[Any, ...], kwargs: dict[str, Any], forced: list[int]) -> None:
        if self._function is None:
            guard = self._core.guards()
            lines = sorted({f"{line[0]}:{line[1]}" for *_, line in guard if line})
            raise TraceError(
                f"{self._signature()}: a decision came out in a way that was never traced, and a loaded program "
                f"cannot trace; decisions are at {', '.join(lines) or 'unknown lines'}; trace the function on such "
                "arguments too before saving."
            )
        if self._captures is not None and (what := self._captures.changed()) is not None:
            raise TraceError(
                f"{self._signature()}: a decision came out in a new way, and its path cannot be traced, because {what} "
                "has changed since the program was made; trace the function again, make that an argument, or use "
                "dlaccelerate."
            )
        core, call, _ = trace_call(self._function, args, kwargs, self._core.contraction, self._core, forced)
        check_results(self._call, call)
        if core is None:
            raise RuntimeError("program: a path is missing that the trace says it has; please report this.")
        self._take(core, call)

    def bind(self, inputs: Any, results: Any) -> Any:
        """Tie the program to fixed buffers, for calls that cost next to nothing.

        Parameters
        ----------
        inputs : tree of ndarray
            One C-contiguous array for each operand, laid out as the arguments were (a tuple of them); numbers are
            arrays of shape ().
        results : tree of ndarray
            Writable arrays, laid out as the results.

        Returns
        -------
        callable
            Each call without arguments reads the inputs and writes the results.
        """
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        return _core.bind(self._replayer.replay, flatten(given)[0], flatten(results)[0])

    # ---- looking ----------------------------------------------------------------------------------------------

    @property
    def instructions(self) -> list[Instruction]:
        from dualtape._program_rows import Instruction

        return [Instruction(*row) for row in self._core.instructions()]

    @property
    def constants(self) -> list[Constant]:
        from dualtape._program_rows import Constant

        return [Constant(*row) for row in self._core.constants()]

    @property
    def guards(self) -> list[Guard]:
        from dualtape._program_rows import Guard

        return [Guard(*row) for row in self._core.guards()]

    @property
    def memory(self) -> dict[str, int]:
        return dict(self._core.memory())

    @property
    def execution(self) -> Execution:
        from dualtape._execution import Execution

        return Execution(**_core.execution(self._replayer.replay))

    @property
    def executor(self) -> str:
        return self.execution.executor

    def disassembly(self) -> str:
        """The machine code in assembly language; see :meth:`Execution.disassembly`."""
        return self.execution.disassembly()

    def to_dot(self) -> str:
        """The graph in Graphviz's language."""
        return str(self._core.dot())

    def _signature(self) -> str:
        return f"program({', '.join(name for name, *_ in self._core.inputs())})"

    def __str__(self) -> str:
        return str(self._core.text())

    def __repr__(self) -> str:
        memory = self._core.memory()
        return f"<{self._signature()}: {memory['instructions']} instructions, {memory['paths']} paths>"

    # ---- keeping ----------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program to a file, whole or not at all.

        Parameters
        ----------
        path : path

        Raises
        ------
        ValueError
            Arguments or results are laid out in containers other than dict, list, tuple and None; a pickle keeps those.
        """
        from dualtape import _program_files  # here, since importing dualtape should stay quick

        _program_files.save(self._core, self._call, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Program:
        """Read a program from a file of :meth:`save`.

        Parameters
        ----------
        path : path

        Returns
        -------
        Program
            With the same bits in its results. It has no function to trace, so a decision that was never traced is an
            error.

        Raises
        ------
        ValueError
            The file is none of a program, is cut off or altered, or was written by another version.
        """
        from dualtape import _program_files

        return cls(*_program_files.load(path))

    def __reduce__(self) -> tuple[Any, ...]:
        return (from_bytes, (self._core.save(), tuple(self._call)))


def from_bytes(data: bytes, call: tuple[Any, ...]) -> Program:
    """For pickles."""
    return Program(_core.load_program(data), Call(*call))


def trace(function: Callable[..., Any], /, *args: Any, contract: bool = True, **kwargs: Any) -> Program:
    """Trace a function on example arguments.

    Parameters
    ----------
    function : callable
        Any Python code on dlarrays: derivatives, updates, ``if`` and ``while``, NumPy's functions.
    *args, **kwargs
        Example arguments, trees too. Floats and arrays become operands; integers, strings and flags stay what they are.
    contract : bool
        Whether a product and a sum may be rounded once.

    Returns
    -------
    Program

    Raises
    ------
    TraceError
        The function takes a number out of a traced value (``float(x)``), or stores a traced value outside of itself.

    Examples
    --------
    >>> import dualtape as dt
    >>> program = dt.trace(dt.value_and_grad(lambda x: x**3), 2.0)
    >>> program(3.0)
    (dlarray(27.0), dlarray(27.0))
    """
    if not callable(function):
        raise TypeError(
            f"trace: the first argument must be the function to trace; a {type(function).__name__} was given; "
            "write trace(function, *example_arguments)."
        )
    core, call, captures = trace_call(function, args, kwargs, contract)
    return Program(core, call, function, captures)
