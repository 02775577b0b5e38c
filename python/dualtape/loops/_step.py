# SPDX-License-Identifier: MIT
"""A step as the loop sees it: whose names it takes, how it is called, and how it is traced.

A step is any function ``step(state, <names>)`` that returns the new state, or the new state and a value. Each name is
a hyperparameter that `loop` or `sweep` was given, or one of ``iteration`` and ``batch``. Hyperparameters that are
functions of the iteration are called anew in each iteration; they may name other hyperparameters, too.

`Step.resolve` is what happens in one iteration, in plain Python. Run on values it is the eager loop; run on traced
values (`Step.trace`) it becomes the program, whose inputs are listed by `Step.inputs`. Start reading there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dualtape import _core, random
from dualtape._core import DTypeError, ShapeError, TraceError, dlarray
from dualtape.tree import Structure, check_same, flatten, paths, unflatten

SPECIAL = ("iteration", "batch")
MOST_PATHS = 2000


class Input(NamedTuple):
    """An input of the program behind the state."""

    name: str
    source: str  # as in _core.Sweep: fixed, swept, iteration, table, stream or batch
    value: Any  # of the first run, at the first iteration
    weak: bool  # a Python number, which takes the dtype of what it meets


class Untraceable(Exception):
    """A hyperparameter's function cannot be traced; it must be tabulated."""

    def __init__(self, name: str) -> None:
        self.name = name


def location(function: Callable[..., Any]) -> str:
    """Where a function is defined, for messages: " (step, train.py:12)"."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    name = getattr(function, "__name__", type(function).__name__)
    return f" ({name}, {code.co_filename}:{code.co_firstlineno})" if code else f" ({name})"


def as_leaf(where: str, path: str, value: Any) -> dlarray:
    """A leaf of a state, a value or a hyperparameter as a dlarray."""
    if isinstance(value, dlarray):
        return value
    if isinstance(value, (str, bytes)) or value is None:
        raise DTypeError(f"{where}({path}): a leaf must be a number or an array; got {value!r:.60}; leave it out.")
    return dlarray(float(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def is_number(value: Any) -> bool:
    """Whether a value is one of Python's own numbers (NumPy's float64 is one too)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


class Names:
    """The parameters of a function that are filled by name."""

    def __init__(self, function: Callable[..., Any], positional: int) -> None:
        self.required: list[str] = []
        self.optional: list[str] = []
        self.all = False
        self.positional = 0
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # a builtin that does not say
            self.positional = positional
            return
        for parameter in parameters:
            if parameter.kind is parameter.VAR_POSITIONAL:
                self.positional = positional
            elif parameter.kind is parameter.VAR_KEYWORD:
                self.all = True
            elif self.positional < positional and parameter.kind is not parameter.KEYWORD_ONLY:
                self.positional += 1
            elif parameter.default is parameter.empty:
                self.required.append(parameter.name)
            else:
                self.optional.append(parameter.name)

    def wanted(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What to pass of what is there."""
        if self.all:
            return dict(given)
        return {name: given[name] for name in (*self.required, *self.optional) if name in given}


class Step:
    """See the head of this module."""

    def __init__(
        self,
        where: str,
        function: Callable[..., Any],
        state: Any,
        hyper: Mapping[str, Any],
        swept: Mapping[str, Any],
        until: Callable[..., Any] | None,
        batch: Any,
        seed: int,
        iterations: int,
    ) -> None:
        if not callable(function):
            raise TypeError(
                f"{where}: the step must be a function of the state; a {type(function).__name__} was given; write "
                "a function that takes the state and returns the new one."
            )
        self.where, self.function, self.until = where, function, until
        self.iterations = iterations
        leaves, self.structure = flatten(state)
        self.paths = paths(self.structure, "state")
        self.state = [as_leaf(where, path, leaf) for path, leaf in zip(self.paths, leaves, strict=True)]
        self.names = Names(function, 1)
        self.until_names = Names(until, 2) if until is not None else None
        self.hyper = dict(hyper)
        self.functions = {name: value for name, value in hyper.items() if callable(value)}
        self.function_names = {name: Names(value, 1) for name, value in self.functions.items()}
        self.swept = dict(swept)
        self.seed = seed
        self.batch_leaves, self.batch_structure = flatten(batch) if batch is not None else ([], None)
        self.tables: dict[str, Any] = {}
        self.value_structure: Structure | None = None
        self.value_labels: list[Any] = []
        self._check_names()

    # ---- names ------------------------------------------------------------------------------------------------

    def _check_names(self) -> None:
        given = {*self.hyper, *self.swept}
        twice = sorted(set(self.hyper) & set(self.swept))
        if twice:
            raise ValueError(
                f"{self.where}: a hyperparameter is either fixed or swept; {', '.join(twice)} was given both as an "
                "argument and in over; leave out one of them."
            )
        known = given | {"iteration"} | ({"batch"} if self.batch_structure is not None else set())
        users: list[tuple[str, Names]] = [("the step" + location(self.function), self.names)]
        users += [(f"the function for {name}", names) for name, names in self.function_names.items()]
        if self.until_names is not None:
            users.append(("until", self.until_names))
        for who, names in users:
            missing = [name for name in names.required if name not in known]
            if missing:
                hint = "pass data=... and batch_size=..." if missing == ["batch"] else f"pass {missing[0]}=..."
                raise TypeError(
                    f"{self.where}: {who} takes {', '.join(missing)}, which was not given; got "
                    f"{', '.join(sorted(given)) or 'no hyperparameters'}; {hint}, or give the parameter a default."
                )
        self.extra = {
            name
            for name in given
            if not any(names.all or name in names.required or name in names.optional for _, names in users)
        }

    def check_extra(self, used: Sequence[str] = ()) -> None:
        """Refuse hyperparameters that nobody takes; `used` are those that somebody else does."""
        unused = sorted(self.extra - set(used))
        if unused:
            takes = [*self.names.required, *self.names.optional]
            raise TypeError(
                f"{self.where}: the step{location(self.function)} takes no {', '.join(unused)}; it takes "
                f"{', '.join(takes) or 'nothing but the state'}; rename the argument, or add the parameter to the step."
            )

    # ---- inputs -----------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> list[Input]:
        """What the program takes behind the state, leaf by leaf."""
        out: list[Input] = []
        for name, value in self.hyper.items():
            if name in self.tables:
                out.append(Input(name, "table", float(self.tables[name][0]), True))
            elif name not in self.functions:
                leaves, structure = flatten(value)
                for path, leaf in zip(paths(structure, name), leaves, strict=True):
                    out.append(Input(path, "fixed", as_leaf(self.where, path, leaf), is_number(leaf)))
        for name, values in self.swept.items():
            out.append(Input(name, "swept", values[0], values.ndim == 1 and values.dtype == np.float64))
        out.append(Input("iteration", "iteration", 1.0, True))
        out.append(Input("seed", "fixed", float(self.seed), True))
        out.append(Input("stream", "stream", 0.0, True))
        for number, leaf in enumerate(self.batch_leaves):
            out.append(Input(f"batch.{number}", "batch", leaf, False))
        return out

    # ---- one iteration ----------------------------------------------------------------------------------------

    def resolve(self, state: list[Any], values: Sequence[Any]) -> tuple[list[Any], list[Any], Any]:
        """One iteration: the leaves of the new state and of the value, and what until says (None without it).

        `values` are those of `inputs`, traced or not.
        """
        at = iter(values)
        given: dict[str, Any] = {}
        for name, value in self.hyper.items():
            if name in self.tables:
                given[name] = next(at)
            elif name not in self.functions:
                structure = flatten(value)[1]
                given[name] = unflatten(structure, [next(at) for _ in range(structure.num_leaves)])
        for name in self.swept:
            given[name] = next(at)
        iteration, seed, stream = next(at), next(at), next(at)
        given["iteration"] = iteration
        if self.batch_structure is not None:
            given["batch"] = unflatten(self.batch_structure, list(at))
        with random.streams(seed, stream, iteration):
            for name, function in self.functions.items():
                if name in self.tables:
                    continue
                try:
                    given[name] = function(iteration, **self.function_names[name].wanted(given))
                except TraceError as error:
                    raise Untraceable(name) from error
            result = self.function(unflatten(self.structure, state), **self.names.wanted(given))
            new_state, value = self._split(result)
            stop = None
            if self.until is not None and self.until_names is not None:
                both = (unflatten(self.structure, new_state), value)[: self.until_names.positional]
                stop = self._checked_stop(self.until(*both, **self.until_names.wanted(given)))
        leaves, structure = flatten(value)
        if self.value_structure is None:
            self.value_structure = structure
            self.value_paths = paths(structure, "value")
        elif structure is not self.value_structure:
            raise ValueError(
                f"{self.where}: the step{location(self.function)} must return a value of one structure on every path; "
                f"got {structure!r} after {self.value_structure!r}; return the same names everywhere."
            )
        leaves = [as_leaf(self.where, path, leaf) for path, leaf in zip(self.value_paths, leaves, strict=True)]
        return new_state, leaves, stop

    def _split(self, result: Any) -> tuple[list[Any], Any]:
        """What the step returned, as the leaves of the new state and the value."""
        leaves, structure = flatten(result)
        value = None
        if structure is not self.structure:
            if not (isinstance(result, tuple) and len(result) == 2) or flatten(result[0])[1] is not self.structure:
                self._refuse_structure(result)
            leaves, value = flatten(result[0])[0], result[1]
        out = []
        for path, before, leaf in zip(self.paths, self.state, leaves, strict=True):
            after = as_leaf(self.where, path, leaf)
            if after.shape != before.shape:
                raise ShapeError(
                    f"{self.where}: {path} must keep its shape from iteration to iteration; it came as {before.shape} "
                    f"and the step{location(self.function)} returned {after.shape}; start with an array of the final "
                    "shape."
                )
            if after.dtype != before.dtype:
                raise DTypeError(
                    f"{self.where}: {path} must keep its dtype from iteration to iteration; it came as {before.dtype} "
                    f"and the step{location(self.function)} returned {after.dtype}; start with the dtype of the "
                    "result, or use astype in the step."
                )
            out.append(after)
        return out, value

    def _refuse_structure(self, result: Any) -> None:
        new = result[0] if isinstance(result, tuple) and len(result) == 2 else result
        place = location(self.function)
        if result is None:
            raise TypeError(
                f"{self.where}: the step{place} must return the new state, or (new state, value); it returned None; "
                "add a return."
            )
        try:
            check_same(self.structure, new, "state", "the new state")
        except ValueError as error:
            raise ValueError(
                f"{self.where}: the state must keep its structure from iteration to iteration: {error}; the step{place} "
                "returns the new state, or (new state, value)."
            ) from None

    def _checked_stop(self, stop: Any) -> Any:
        if isinstance(stop, (bool, np.bool_)):
            return dlarray(bool(stop))
        if isinstance(stop, dlarray) and stop.size == 1 and stop.dtype == np.bool_:
            return stop
        kind = f"a dlarray of {stop.dtype} and shape {stop.shape}" if isinstance(stop, dlarray) else type(stop).__name__
        raise TypeError(
            f"{self.where}: until must return one truth value; it returned {kind}{location(self.until or bool)}; "
            "compare, as in lambda state, loss: loss < 1e-9."
        )

    # ---- tracing ----------------------------------------------------------------------------------------------

    def trace(
        self,
        state: Sequence[Any],
        values: Sequence[Any],
        contract: bool,
        known: Any = None,
        forced: Sequence[int] = (),
        watch: bool = False,
    ) -> tuple[Any, Any]:
        """Trace one iteration on given values: (program, or None if the path was known; the first op to break)."""
        inputs = self.inputs
        names = [*self.paths, *(item.name for item in inputs)]
        weak = [False] * len(self.state) + [item.weak for item in inputs]
        leaves = [*state, *(as_leaf(self.where, item.name, value) for item, value in zip(inputs, values, strict=True))]
        count = len(self.state)

        def flat(traced: list[dlarray]) -> list[Any]:
            new_state, value, stop = self.resolve(traced[:count], traced[count:])
            return [*new_state, *value, *(() if stop is None else (stop,))]

        try:
            program, results, labels, broken = _core.trace(
                flat, leaves, names, weak, contract, known, list(forced), watch
            )
        except Untraceable as error:
            if known is not None:
                raise
            self.tabulate(error)
            return self.trace(state, [item.value for item in self.inputs], contract)
        self._check_results(program, results)
        self.labels = labels
        if program is not None and program.memory()["paths"] > MOST_PATHS:
            raise TraceError(
                f"{self.where}: the step{location(self.function)} has taken more than {MOST_PATHS} different paths; "
                "each decision on a traced value (`if`, `while`, int(), an index) makes one, and a decision that "
                "comes out differently in every iteration makes one for each; use numpy.where for what is not meant "
                "as a path."
            )
        return program, broken

    def _check_results(self, program: Any, results: list[Any]) -> None:
        """All paths must return the same dtypes and shapes."""
        kinds = [(leaf.dtype, leaf.shape) for leaf in results]
        first = self.__dict__.setdefault("kinds", kinds)
        for path, a, b in zip([*self.paths, *self.value_paths, "until"], first, kinds, strict=False):
            if a != b:
                raise ShapeError(
                    f"{self.where}: {path} must have one dtype and shape on every path of the step"
                    f"{location(self.function)}; got {a[0]} {a[1]} and {b[0]} {b[1]}; make them equal."
                )

    def tabulate(self, error: Untraceable) -> None:
        """Call a function of the iteration for every iteration, since it cannot be traced."""
        name, function = error.name, self.functions[error.name]
        if self.iterations > 10_000_000 or self.function_names[name].wanted(self.swept):
            raise error.__cause__ or error
        self.tables[name] = np.array([float(function(k)) for k in range(1, self.iterations + 1)])
