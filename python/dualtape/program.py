# SPDX-License-Identifier: MIT
"""Programs: a function traced once, and replayed without Python. `trace` makes one.

A program is a flat list of instructions on slots. Decisions that the function took on values (``if``, ``while``,
``int(x)``, an index) are kept with their outcomes; where a replay decides otherwise, the function is traced along that
path, which joins the program. Start reading at Program.
"""

from __future__ import annotations

import inspect
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dualtape import _core
from dualtape._captures import Captures
from dualtape._core import DTypeError, ShapeError, TraceError, dlarray
from dualtape._purity import purity
from dualtape.tree import Structure, flatten, paths, unflatten

__all__ = ["Constant", "Guard", "Instruction", "Program", "trace"]


class Instruction(NamedTuple):
    """One step of a program."""

    number: int
    op: str  # of the table of ops, a shaped op, "input" or "constant"
    operands: tuple[int, ...]
    dtype: str
    shape: tuple[int, ...]
    line: tuple[str, int, str] | None  # file, line and function of the user's code


class Constant(NamedTuple):
    """A value from outside that became part of a program."""

    value: dlarray
    line: tuple[str, int, str] | None


class Guard(NamedTuple):
    """A decision on a value, with the outcomes that have been seen."""

    number: int  # of the instruction whose value decides
    kind: str  # "truth" or "integer"
    outcomes: tuple[int, ...]
    line: tuple[str, int, str] | None


def is_dynamic(leaf: Any) -> bool:
    """Whether an argument is an operand of the program; other arguments are part of what is traced."""
    return isinstance(leaf, (dlarray, float, np.ndarray, np.floating)) or (
        hasattr(leaf, "__array__") and not isinstance(leaf, (bool, int, np.integer, np.bool_))
    )


def as_operand(leaf: Any) -> dlarray:
    return leaf if isinstance(leaf, dlarray) else dlarray(leaf)


class Call(NamedTuple):
    """How arguments are laid out, and results put together."""

    structure: Structure  # of (args, kwargs)
    names: list[str]
    static: list[tuple[int, Any]]  # places and values of leaves that are no operands
    out: Structure
    labels: list[str | None]
    dims: list[str]  # labels of the operands


def argument_names(function: Callable[..., Any], structure: Structure) -> list[str]:
    """Names for the leaves of (args, kwargs): parameters by their names, what is inside them by its path."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    out = []
    for path in paths(structure, ""):
        first, rest = path[3:].split("]", 1)  # behind [0] for args or [1] for kwargs: the number or name, and the path
        key = first[1:]
        number = int(key) if path.startswith("[0]") else -1
        name = key.strip("'") if number < 0 else positional[number] if number < len(positional) else f"args[{number}]"
        out.append(name + rest)
    return out


def builder(structure: Structure) -> Callable[[Any], Any] | None:
    """A function that puts a tuple of leaves into a structure, written out, since a replay takes less than a walk.

    None for structures with other containers than tuples, lists, dicts and None.
    """
    numbers = itertools.count()

    def text(part: Structure) -> str:
        if part.num_leaves == 1 and not part.children:
            return f"r[{next(numbers)}]"
        example = unflatten(part, [0.0] * part.num_leaves)
        inside = [text(child) for child in part.children]
        if type(example) is tuple:
            return f"({', '.join(inside)}{',' if len(inside) == 1 else ''})"
        if type(example) is list:
            return f"[{', '.join(inside)}]"
        if type(example) is dict and all(type(key) is str for key in example):
            return f"{{{', '.join(f'{key!r}: {item}' for key, item in zip(example, inside, strict=True))}}}"
        if example is None:
            return "None"
        raise LookupError

    try:
        built: Callable[[Any], Any] = eval(f"lambda r: {text(structure)}", {})
    except (LookupError, SyntaxError, MemoryError, RecursionError):  # or too deep for the parser
        return None
    return built


def trace_call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], contract: bool,
    known: Any = None, forced: Any = (), where: str = "trace",
) -> tuple[Any, Call, Captures]:  # fmt: skip
    """Trace a function on arguments: (core program or None where the path is known, call, what it relies on)."""
    leaves, structure = flatten((args, kwargs))
    places = [i for i, leaf in enumerate(leaves) if is_dynamic(leaf)]
    names = argument_names(function, structure)
    shape: list[Any] = []
    pure = purity(function, where)

    def flat(traced: list[dlarray]) -> list[Any]:
        filled = list(leaves)
        for place, value in zip(places, traced, strict=True):
            filled[place] = value
        own_args, own_kwargs = unflatten(structure, filled)
        with pure:
            results, found = flatten(function(*own_args, **own_kwargs))
        for path, leaf in zip(paths(found, "result"), results, strict=True):
            if isinstance(leaf, (str, bytes)):
                raise DTypeError(f"{where}: {path} must be a number or an array; the function returned {leaf!r:.60}.")
        shape[:] = [found]
        return results

    operands = [as_operand(leaves[place]) for place in places]
    core, results, labels, _ = _core.trace(
        flat,
        operands,
        [names[place] for place in places],
        [isinstance(leaves[place], float) for place in places],
        contract,
        known,
        list(forced),
    )
    if known is not None:
        check_kinds(known, results, shape[0], where)
    static = [(i, leaf) for i, leaf in enumerate(leaves) if not is_dynamic(leaf)]
    call = Call(structure, [names[place] for place in places], static, shape[0], labels, [x.dims for x in operands])
    return core, call, pure.captures


class Replayer:
    """A core program with its calling convention; what Program and dlaccelerate call."""

    __slots__ = ("build", "call", "core", "direct", "labelled", "places", "replay", "simple")

    def __init__(self, core: Any, call: Call) -> None:
        self.core, self.call = core, call
        self.replay = _core.make_replay(core, call.dims)
        taken = {place for place, _ in call.static}
        self.places = [i for i in range(call.structure.num_leaves) if i not in taken]
        args = call.structure.children[0]
        keywords = call.structure.children[1].num_leaves
        flat = args.flat if args.children else True
        #: arguments can be handed on as they are
        self.direct = flat and not keywords and not call.static
        self.labelled = any(label is not None for label in call.labels)
        self.build = builder(call.out)
        #: results need nothing but to be put together
        self.simple = self.build is not None and not self.labelled

    def finish(self, results: Any) -> Any:
        """The results of a replay as the function returns them."""
        if self.labelled:
            results = [
                leaf if label is None else _core.with_labels(leaf, label)
                for leaf, label in zip(results, self.call.labels, strict=True)
            ]
        return self.build(results) if self.build else unflatten(self.call.out, list(results))

    def operands(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any] | None:
        """The operands among arguments; None where the arguments are laid out otherwise."""
        leaves, structure = flatten((args, kwargs))
        if structure is not self.call.structure:
            return None
        for place, value in self.call.static:
            given = leaves[place]
            if type(given) is not type(value) or given != value:
                return None
        return [leaves[place] for place in self.places]


class Program:
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
        self._take(core, call)

    def _take(self, core: Any, call: Call) -> None:
        self._core, self._call = core, call
        self._replayer = Replayer(core, call)

    # ---- calling ----------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        replayer = self._replayer
        if replayer.direct and not kwargs:
            results = replayer.replay(*args)
            if type(results) is tuple:
                return replayer.build(results) if replayer.simple else replayer.finish(results)  # type: ignore[misc]
        return self._call_slowly(args, kwargs)

    def _call_slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
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
        return [Instruction(*row) for row in self._core.instructions()]

    @property
    def constants(self) -> list[Constant]:
        return [Constant(*row) for row in self._core.constants()]

    @property
    def guards(self) -> list[Guard]:
        return [Guard(*row) for row in self._core.guards()]

    @property
    def memory(self) -> dict[str, int]:
        return dict(self._core.memory())

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
        import json  # here, since importing dualtape should stay quick
        import zlib

        for _, value in self._call.static:
            if type(value) not in (int, bool, str):
                raise ValueError(
                    f"Program.save: a file holds whole numbers, flags and text among the arguments; one is a "
                    f"{type(value).__name__}; pickle the program instead, or let the function get it from outside."
                )
        head = json.dumps(
            {
                "arguments": outline(self._call.structure),
                "names": self._call.names,
                "static": self._call.static,
                "results": outline(self._call.out),
                "labels": self._call.labels,
                "dims": self._call.dims,
            }
        ).encode()
        rest = len(head).to_bytes(8, "little") + head + self._core.save()
        beside = Path(f"{os.fspath(path)}.{os.getpid()}.tmp")
        try:
            with open(beside, "wb") as file:
                file.write(MAGIC + zlib.crc32(rest).to_bytes(4, "little") + rest)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)

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
        import json
        import zlib

        what = f"Program.load({os.fspath(path)!r})"
        data = Path(path).read_bytes()
        if not data.startswith(MAGIC):
            if data.startswith(MAGIC[:-2]) and data[len(MAGIC) - 1 : len(MAGIC)] == b"\n":
                version = data[len(MAGIC) - 2 : len(MAGIC) - 1].decode(errors="replace")
                raise ValueError(
                    f"{what}: the file has the format {version}, this version of dualtape reads 1; update it."
                )
            raise ValueError(f"{what}: this is no file of a program.")
        rest = data[len(MAGIC) + 4 :]
        if zlib.crc32(rest).to_bytes(4, "little") != data[len(MAGIC) : len(MAGIC) + 4]:
            raise ValueError(f"{what}: the file is cut off or has been altered; save the program again.")
        size = int.from_bytes(rest[:8], "little")
        core = _core.load_program(rest[8 + size :])
        try:
            head = json.loads(rest[8 : 8 + size])
            call = Call(
                structure_of(head["arguments"]),
                [str(name) for name in head["names"]],
                [(int(place), value) for place, value in head["static"]],
                structure_of(head["results"]),
                [None if label is None else str(label) for label in head["labels"]],
                [str(label) for label in head["dims"]],
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError(f"{what}: the head of the file has been altered.") from None
        places = {place for place, _ in call.static}
        if (
            len(call.labels) != len(core.results())
            or len(call.labels) != call.out.num_leaves
            or not len(call.names) == len(call.dims) == len(core.inputs())
            or len(places) != len(call.static)
            or not places <= set(range(call.structure.num_leaves))
            or len(call.names) + len(places) != call.structure.num_leaves
            or len(call.structure.children) != 2
        ):
            raise ValueError(f"{what}: the head of the file does not fit the program.")
        return cls(core, call)

    def __reduce__(self) -> tuple[Any, ...]:
        return (from_bytes, (self._core.save(), tuple(self._call)))


#: How a file begins. Behind it: CRC-32 (4 bytes) of the rest; the length of the head (8); the head, JSON with the
#: layout of arguments and results; and the core's file (cpp/dualtape/program/file.cpp). Numbers are little-endian.
MAGIC = b"dualtape Program file 1\n"


def from_bytes(data: bytes, call: tuple[Any, ...]) -> Program:
    """For pickles."""
    return Program(_core.load_program(data), Call(*call))


def outline(structure: Structure) -> Any:
    """A structure of plain containers for JSON."""
    example = unflatten(structure, [LEAF] * structure.num_leaves)

    def walk(item: Any) -> Any:
        if item is LEAF:
            return 0
        if item is None:
            return None
        if type(item) is dict and all(isinstance(key, str) for key in item):
            return {"dict": [[key, walk(value)] for key, value in item.items()]}
        if type(item) in (list, tuple):
            return {type(item).__name__: [walk(value) for value in item]}
        raise ValueError(
            f"Program.save: a file holds dicts with text as keys, lists, tuples and None; the program uses "
            f"{type(item).__name__}; pickle it instead, or rearrange the arguments."
        )

    return walk(example)


LEAF = object()


def structure_of(sketch: Any) -> Structure:
    def build(item: Any) -> Any:
        if item == 0 or item is None:
            return 0.0 if item == 0 else None
        ((kind, inside),) = item.items()
        if kind == "dict":
            return {key: build(value) for key, value in inside}
        return {"list": list, "tuple": tuple}[kind](build(value) for value in inside)

    return flatten(build(sketch))[1]


def check_kinds(known: Any, results: list[Any], structure: Structure, where: str) -> None:
    """The results of a further path must be like those of the others."""
    before = known.results()
    if len(before) != len(results):
        return  # check_results says it better
    for path, (dtype, shape), now in zip(paths(structure, "result"), before, results, strict=True):
        if (np.dtype(dtype), tuple(shape)) != (now.dtype, now.shape):
            raise TraceError(
                f"{where}: {path} must have one dtype and shape on every path; got {now.dtype} {now.shape} after "
                f"{dtype} {tuple(shape)}; use astype, or a shape that does not depend on values."
            )


def check_results(before: Call, after: Call) -> None:
    if after.out is not before.out:
        raise TraceError(
            f"trace: the function must return one structure on every path; got {after.out!r} after {before.out!r}."
        )


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
