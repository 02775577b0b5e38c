# SPDX-License-Identifier: MIT
"""A step as the loop sees it: whose names it takes, how it is called, and how it is traced.

A step is any function ``step(state, <names>)`` that returns the new state, or the new state and a value. Each name is
a hyperparameter that `loop` or `sweep` was given, or one of ``iteration`` and ``batch``. Hyperparameters that are
functions of the iteration are called anew in each iteration; they may name other hyperparameters, too.

`Step.resolve` is what happens in one iteration, in plain Python. Run on values it is the eager loop; run on traced
values (`Step.trace`) it becomes the program, whose inputs are listed by `Step.inputs`. Start reading there.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dualtape import _core, random
from dualtape._core import DTypeError, ShapeError, TraceError, dlarray
from dualtape._purity import purity
from dualtape.loops._data import Data
from dualtape.loops._function_tables import Table, as_leaf, is_number, location, tabulated
from dualtape.loops._names import Names, ordered, unused
from dualtape.tree import Structure, check_same, flatten, paths, unflatten

MOST_PATHS = 2000
MOST_PATHS_OF_FUNCTIONS = 100  # a function of the iteration that decides more often becomes a table
LONGEST_TABLE = 10_000_000


class Input(NamedTuple):
    """An input of the program behind the state."""

    name: str
    source: str  # as in _core.Sweep: fixed, swept, iteration, table, stream or batch
    value: Any  # the value, or those of all runs or iterations
    weak: bool  # a Python number, which takes the dtype of what it meets


class Untraceable(Exception):
    """Functions of the iteration that cannot be traced: `Step.tabulate` them, and begin again."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"cannot trace {', '.join(names)}")
        self.names = names


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
        data: Data,
        seed: int,
        iterations: int,
    ) -> None:
        if not callable(function):
            raise TypeError(
                f"{where}: the step must be a function of the state; a {type(function).__name__} was given; write "
                "a function that takes the state and returns the new one."
            )
        if until is not None and not callable(until):
            raise TypeError(
                f"{where}: until must be a function of the new state and the value; a {type(until).__name__} was "
                "given; lambda state, loss: loss < 1e-9 works."
            )
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**53:
            raise ValueError(f"{where}: seed must be a whole number from 0 to 2**53 - 1; got {seed!r}; 0 works.")
        self.where, self.function, self.until = where, function, until
        self.iterations, self.data = iterations, data
        leaves, self.structure = flatten(state)
        self.paths = paths(self.structure, "state")
        self.state = [as_leaf(where, path, leaf) for path, leaf in zip(self.paths, leaves, strict=True)]
        self.labels = [leaf.dims or None for leaf in self.state]
        self.hyper, self.swept, self.seed = dict(hyper), dict(swept), seed
        self.functions = {name: value for name, value in hyper.items() if callable(value)}
        self.function_names = {name: Names(value, 1) for name, value in self.functions.items()}
        self.names = Names(function, 1)
        self.until_names = Names(until, 2, {*hyper, *swept, "iteration", "batch"}) if until is not None else None
        self.tables: dict[str, Table] = {}
        self.value_structure: Structure | None = None
        self.value_paths: list[str] = []
        self.value_labels: list[str | None] = []
        self.kinds: list[tuple[Any, tuple[int, ...]]] | None = None  # (dtype, shape) of each result
        self.extra = unused(self)
        self.functions = ordered(self)

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

    @functools.cached_property
    def inputs(self) -> list[Input]:
        """What the program takes behind the state, leaf by leaf."""
        out: list[Input] = []
        for name, value in self.hyper.items():
            if name in self.tables:
                table = self.tables[name]
                for path, column, weak in zip(paths(table.structure, name), table.columns, table.weak, strict=True):
                    out.append(Input(path, "table", column, weak))
            elif name not in self.functions:
                leaves, structure = flatten(value)
                for path, leaf in zip(paths(structure, name), leaves, strict=True):
                    out.append(Input(path, "fixed", as_leaf(self.where, path, leaf), is_number(leaf)))
        for name, values in self.swept.items():
            out.append(Input(name, "swept", values, values.ndim == 1 and values.dtype == np.float64))
        out.append(Input("iteration", "iteration", None, True))
        out.append(Input("seed", "fixed", dlarray(float(self.seed)), True))
        out.append(Input("stream", "stream", None, True))
        for number in range(len(self.data.leaves)):
            out.append(Input(f"batch.{number}", "batch", None, False))
        return out

    def values(self, run: int, iteration: int) -> list[Any]:
        """The values of `inputs` in an iteration of a run, as dlarrays; Python's numbers as weak scalars."""
        batch = iter(self.data.batch_leaves(iteration))
        out = []
        for item in self.inputs:
            value = item.value
            if item.source == "swept":
                value = value[run]
            elif item.source == "table":
                value = value[iteration - 1]
            elif item.source == "iteration":
                value = iteration
            elif item.source == "stream":
                value = run
            elif item.source == "batch":
                value = next(batch)
            if item.weak:
                out.append(_core.weak_scalar(float(value)))
            else:
                out.append(value if isinstance(value, dlarray) else dlarray(value))
        return out

    def sources(self) -> list[tuple[str, Any, int]]:
        """The inputs as the core takes them."""
        out, leaf = [], 0
        for item in self.inputs:
            out.append((item.source, item.value, leaf))
            leaf += item.source == "batch"
        return out

    def labelled(self, leaves: Iterable[Any]) -> list[dlarray]:
        """Arrays as leaves of the state."""
        return [
            dlarray(leaf) if label is None else dlarray(leaf, label)
            for leaf, label in zip(leaves, self.labels, strict=True)
        ]

    # ---- one iteration ----------------------------------------------------------------------------------------

    def resolve(self, state: list[Any], values: Sequence[Any]) -> tuple[list[Any], list[Any], Any]:
        """One iteration: the leaves of the new state and of the value, and what until says (None without it).

        `values` are those of `inputs`, traced or not.
        """
        at = iter(values)
        given: dict[str, Any] = {}
        for name, value in self.hyper.items():
            if name in self.tables or name not in self.functions:
                structure = self.tables[name].structure if name in self.tables else flatten(value)[1]
                given[name] = unflatten(structure, [next(at) for _ in range(structure.num_leaves)])
        for name in self.swept:
            given[name] = next(at)
        iteration, seed, stream = next(at), next(at), next(at)
        given["iteration"] = iteration
        if self.data.structure is not None:
            given["batch"] = unflatten(self.data.structure, list(at))
        with random.streams(seed, stream, iteration):
            for name, function in self.functions.items():
                if name in self.tables:
                    continue
                try:
                    given[name] = function(iteration, **self.function_names[name].wanted(given))
                except TraceError as error:
                    raise Untraceable([name]) from error
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
                f"{self.where}: the state must keep its structure from iteration to iteration: {error}; the step"
                f"{place} returns the new state, or (new state, value)."
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
        count = len(self.state)

        def flat(traced: list[dlarray]) -> list[Any]:
            new_state, value, stop = self.resolve(traced[:count], traced[count:])
            return [*new_state, *value, *(() if stop is None else (stop,))]

        users = [self.function, *(function for name, function in self.functions.items() if name not in self.tables)]
        with contextlib.ExitStack() as stack:
            for function in [*users, self.until] if self.until is not None else users:
                stack.enter_context(purity(function, self.where))
            program, results, labels, broken = _core.trace(
                flat, [*state, *values], names, weak, contract, known, list(forced), watch
            )
        self._check_results(results)
        self.value_labels = labels[count : count + len(self.value_paths)]
        if program is not None:
            self._check_paths(program)
        return program, broken

    def _check_results(self, results: list[Any]) -> None:
        """All paths must return the same dtypes and shapes."""
        kinds = [(leaf.dtype, leaf.shape) for leaf in results]
        if self.kinds is None:
            self.kinds = kinds
        for path, a, b in zip([*self.paths, *self.value_paths, "until"], self.kinds, kinds, strict=False):
            if a != b:
                raise ShapeError(
                    f"{self.where}: {path} must have one dtype and shape on every path of the step"
                    f"{location(self.function)}; got {a[0]} {a[1]} and {b[0]} {b[1]}; make them equal."
                )

    def _check_paths(self, program: Any) -> None:
        """Too many paths: functions of the iteration that decide often become tables, a step that does is refused."""
        count = program.paths()
        if count > MOST_PATHS_OF_FUNCTIONS and self.iterations <= LONGEST_TABLE:
            often = [name for name in self.functions if name not in self.tables and self._decides_often(program, name)]
            if often:
                raise Untraceable(often)
        if count > MOST_PATHS:
            raise TraceError(
                f"{self.where}: the step{location(self.function)} has taken more than {MOST_PATHS:,} different paths; "
                "each decision on a traced value (`if`, `while`, int(), an index) makes one, and a decision that "
                "comes out differently in every iteration makes one for each; use numpy.where for what is not meant "
                "as a path."
            )

    def _decides_often(self, program: Any, name: str) -> bool:
        code = getattr(inspect.unwrap(self.functions[name]), "__code__", None)
        if code is None or self.function_names[name].wanted(self.swept):
            return False
        last = max((line for _, _, line in code.co_lines() if line), default=code.co_firstlineno)
        outcomes = 0
        for _, _, seen, line in program.guards():
            if line and line[0] == code.co_filename and code.co_firstlineno <= line[1] <= last:
                outcomes += len(seen) - 1
        return outcomes > MOST_PATHS_OF_FUNCTIONS // 2

    def tabulate(self, error: Untraceable) -> None:
        """Call functions of the iteration for every iteration, since they cannot be traced."""
        names = list(error.names)
        for name in names:  # and those whose results they take
            names += [n for n in self.function_names[name].wanted(self.functions) if n not in names]
            swept = self.function_names[name].wanted(self.swept)
            if swept or self.iterations > LONGEST_TABLE or "batch" in self.function_names[name].required:
                raise error.__cause__ or error
        self.tables |= tabulated(self, [n for n in self.functions if n in names and n not in self.tables])
        vars(self).pop("inputs", None)
        self.value_structure, self.kinds = None, None
