# SPDX-License-Identifier: MIT
"""The calling convention of a traced function: which arguments are operands, and how results are put together.

`trace_call` traces a function on arguments, `Replayer` replays what came of it; Program and dlaccelerate stand on both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dualtape import _core
from dualtape._arguments import flatten_result
from dualtape._core import DTypeError, TraceError, dlarray
from dualtape._parameters import parameters_of
from dualtape.tree import Structure, flatten, paths, unflatten

if TYPE_CHECKING:
    from dualtape._captures import Captures


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
    positional = [p.name for p in parameters_of(function) or () if p.is_positional]
    out = []
    for path in paths(structure, ""):
        first, rest = path[3:].split("]", 1)  # behind [0] for args or [1] for kwargs: the number or name, and the path
        key = first[1:]
        number = int(key) if path.startswith("[0]") else -1
        name = key.strip("'") if number < 0 else positional[number] if number < len(positional) else f"args[{number}]"
        out.append(name + rest)
    return out


def trace_call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], contract: bool,
    known: Any = None, forced: Any = (), where: str = "trace",
) -> tuple[Any, Call, Captures]:  # fmt: skip
    """Trace a function on arguments: (core program or None where the path is known, call, what it relies on)."""
    from dualtape._purity import purity  # here, since importing dualtape should stay quick

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
            results, found = flatten_result(function(*own_args, **own_kwargs))
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


class Replayer:
    """A core program with its calling convention; what Program and dlaccelerate call."""

    __slots__ = ("call", "core", "places", "replay")

    def __init__(self, core: Any, call: Call) -> None:
        self.core, self.call = core, call
        self.replay = _core.make_replay(core, call.dims, call.structure, call.static, call.out, call.labels)
        taken = {place for place, _ in call.static}
        self.places = [i for i in range(call.structure.num_leaves) if i not in taken]

    def finish(self, results: tuple[dlarray, ...]) -> Any:
        """The results of a replay as the function returns them."""
        return unflatten(self.call.out, results)

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
