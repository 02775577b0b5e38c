# SPDX-License-Identifier: MIT
"""`dlaccelerate`: a function that remembers its traces, under MATLAB's name and with its properties.

A call looks for a program that was traced for arguments of the same layout, shapes and dtypes, and replays it. Unlike
MATLAB's, a trace is never used where it does not apply: decisions on values are checked in the replay, and so is what
the function takes from outside (_captures.py). Start reading at AcceleratedFunction.
"""

from __future__ import annotations

import functools
import warnings
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from dualtape import _core
from dualtape._core import TraceError, dlarray, dlfeval
from dualtape._traced_call import Replayer, as_operand, check_results, is_dynamic, trace_call
from dualtape.tree import flatten, leaves_with_paths

if TYPE_CHECKING:
    from dualtape._captures import Captures

__all__ = ["AcceleratedFunction", "dlaccelerate"]

MOST_PATHS = 2000
MOST_NOTES = 200


class Entry:
    """A trace, and what it relies on."""

    __slots__ = ("captures", "replayer")

    def __init__(self, replayer: Replayer, captures: Captures) -> None:
        self.replayer, self.captures = replayer, captures


class Cache(_core.Latest):
    """The traces of one function; wrappers of the same function share it."""

    def __init__(self, owner: Any = None) -> None:
        self.owner = owner  # a weak reference to the function
        self.entries: OrderedDict[Any, Entry] = OrderedDict()
        self.retraces = 0
        self.log: deque[str] = deque(maxlen=MOST_NOTES)


NAME = "__dualtape_cache__"


def cache_of(function: Any) -> Cache:
    """The cache that lives, and dies, with a function."""
    known = getattr(function, "__dict__", {}).get(NAME)
    if known is not None and known.owner() is function:  # functools.wraps copies attributes to other functions
        return known
    try:
        cache = Cache(weakref.ref(function))
        vars(function)[NAME] = cache
    except TypeError:  # an object without attributes, or without weak references
        return Cache()
    return cache


def where(line: Any) -> str:
    return f" at {line[0]}:{line[1]}" if line else ""


def kind_of(leaf: Any) -> Any:
    """What must be equal for a trace to apply: the type of an operand, the value of anything else."""
    if is_dynamic(leaf):
        if isinstance(leaf, float) or _core.is_weak(leaf):
            return "float"
        array = as_operand(leaf)
        return (array.shape, array.dtype.str, array.dims)
    try:
        hash(leaf)
    except TypeError:
        return (type(leaf), repr(leaf))
    return (type(leaf), leaf)


def is_tolerance(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < float("inf")


def is_simple(leaf: Any) -> bool:
    """Whether an argument that is no operand can have changed only by being another."""
    return leaf is None or isinstance(leaf, (bool, int, str, bytes, np.integer, np.bool_))


class AcceleratedFunction(_core.Replayable):
    """A function with a cache of traces; made by :func:`dlaccelerate`.

    Attributes
    ----------
    enabled : bool
        False calls the function itself.
    cache_size : int
        How many traces are kept; the one not used for longest goes.
    check_mode : {"none", "tolerance"}
        "tolerance" also calls the function itself and warns where a result differs.
    check_tolerance : float
        By how much, relative to the larger of 1 and the value.
    """

    def __init__(self, function: Callable[..., Any], cache_size: int = 50) -> None:
        if not callable(function):
            raise TypeError(
                f"dlaccelerate: the argument must be a function; a {type(function).__name__} was given; write "
                "dlaccelerate(fun), not dlaccelerate(fun(x))."
            )
        functools.update_wrapper(self, function)
        self.__name__ = str(getattr(function, "__name__", type(function).__name__))
        self._function = function
        self.enabled = True
        self.cache_size = cache_size
        self.check_mode = "none"
        self.check_tolerance = 1e-4
        self._cache = self._latest = cache_of(function)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "enabled" and not isinstance(value, bool):
            raise ValueError(f"dlaccelerate: enabled must be True or False; got {value!r}.")
        if name == "check_tolerance" and (isinstance(value, bool) or not is_tolerance(value)):
            raise ValueError(f"dlaccelerate: check_tolerance must be a finite number of at least 0; got {value!r}.")
        if name == "cache_size" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"dlaccelerate: cache_size must be a whole number from 1; got {value!r}.")
        if name == "check_mode" and value not in ("none", "tolerance"):
            raise ValueError(f'dlaccelerate: check_mode must be "none" or "tolerance"; got {value!r}.')
        object.__setattr__(self, name, value)
        if name in ("enabled", "check_mode"):
            settings = vars(self)
            direct = settings["enabled"] and settings.get("check_mode", "none") == "none"
            object.__setattr__(self, "_direct", direct)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a decorator of methods: bound ones share nothing."""
        return self if instance is None else functools.partial(self, instance)

    # ---- calling ----------------------------------------------------------------------------------------------

    def _call_slowly(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that the last trace has not answered: __call__ of the base asks it (cpp/bindings/replayable.cpp)."""
        leaves, structure = flatten((args, kwargs))
        nested = _core.is_tracing() or any(isinstance(leaf, dlarray) and leaf.tracked for leaf in leaves)
        if not self.enabled or nested:
            # Inside a derivative or another trace the function is simply part of it.
            return self._evaluated(*args, **kwargs)
        cache = self._cache
        cache.calls += 1
        key = (structure, tuple(map(kind_of, leaves)))
        entry = cache.entries.get(key)
        if entry is not None and (what := entry.captures.changed()) is not None:
            self._note(f"traced anew: {what} has changed")
            del cache.entries[key]
            entry = None
        if entry is None:
            results = self._trace(key, args, kwargs)
        else:
            cache.entries.move_to_end(key)
            results = self._replay(key, entry, args, kwargs)
        entry = cache.entries.get(key)
        if entry is None:
            cache.set()
        else:
            cache.set(entry.replayer.replay, entry.captures.checks)
        if self.check_mode == "tolerance":
            self._compare(results, args, kwargs)
        return results

    @functools.cached_property
    def _evaluated(self) -> Callable[..., Any]:
        """The function as dlfeval evaluates it, with its signature."""
        function = self._function

        @functools.wraps(function)
        def evaluated(*args: Any, **kwargs: Any) -> Any:
            return dlfeval(function, *args, **kwargs)

        return evaluated

    def _trace(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from dualtape._captures import Captures  # here, since importing dualtape should stay quick

        cache = self._cache
        try:
            core, call, _ = trace_call(self._evaluated, args, kwargs, True, where="dlaccelerate")
        except TraceError:
            if Captures(self._function, watching=True).tracked:  # part of a derivative, by the back door
                return self._evaluated(*args, **kwargs)
            raise
        captures = Captures(self._function, others=tuple(leaf for _, leaf in call.static if not is_simple(leaf)))
        if not cache.entries and not cache.log:
            self._note("traced on the first call")
        elif not cache.log or not cache.log[-1].endswith("has changed"):
            kinds = ", ".join(f"{p}: {kind_of(v)}" for p, v in leaves_with_paths((args, kwargs), "arguments")[:6])
            self._note(f"traced for arguments of another kind ({kinds})")
        cache.retraces += 1
        entry = Entry(Replayer(core, call), captures)
        cache.entries[key] = entry
        while len(cache.entries) > self.cache_size:
            cache.entries.popitem(last=False)
        return self._run(key, entry, args, kwargs)

    def _replay(self, key: Any, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._cache.hits += 1
        before = self._cache.retraces
        results = self._run(key, entry, args, kwargs)
        if self._cache.retraces != before:
            self._cache.hits -= 1
        return results

    def _run(self, key: Any, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        while True:
            operands = entry.replayer.operands(args, kwargs)
            if operands is None:  # equal keys lay arguments out equally
                return self._evaluated(*args, **kwargs)
            results = entry.replayer.replay(*operands)
            if type(results) is tuple:
                return entry.replayer.finish(results)
            if results is NotImplemented:
                return self._evaluated(*args, **kwargs)
            entry = self._grow(key, entry, args, kwargs)

    def _grow(self, key: Any, entry: Entry, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        """A decision came out in a way that was not seen before: its path joins the program."""
        before = entry.replayer
        forced = _core.missing(before.replay)
        core, call, _ = trace_call(self._evaluated, args, kwargs, True, before.core, forced, "dlaccelerate")
        check_results(before.call, call)
        if core is None:
            raise RuntimeError("dlaccelerate: a path is missing that the trace says it has; please report this.")
        decisions = [guard for guard in core.guards() if forced[-1] in guard[2]]
        line = decisions[-1][3] if decisions else None
        self._note(f"traced along another path: a decision{where(line)} came out as {forced[-1]}")
        self._cache.retraces += 1
        if core.paths() > MOST_PATHS:
            warnings.warn(
                f"dlaccelerate: {self.__name__} has taken more than {MOST_PATHS} paths; a decision that comes out "
                "differently in each call is better written with numpy.where; see explain().",
                RuntimeWarning,
                stacklevel=4,
            )
        grown = Entry(Replayer(core, call), entry.captures)
        self._cache.entries[key] = grown
        return grown

    def _compare(self, results: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        expected = self._evaluated(*args, **kwargs)
        for (path, a), b in zip(leaves_with_paths(results, "result"), flatten(expected)[0], strict=True):
            x, y = np.asarray(a), np.asarray(b)
            if not np.allclose(x, y, rtol=self.check_tolerance, atol=self.check_tolerance, equal_nan=True):
                warnings.warn(
                    f"dlaccelerate: {path} of {self.__name__} differs from that of the function itself by "
                    f"{np.max(np.abs(x - y)):.3g}, more than check_tolerance allows.",
                    RuntimeWarning,
                    stacklevel=3,
                )

    # ---- looking ----------------------------------------------------------------------------------------------

    def _note(self, text: str) -> None:
        self._cache.log.append(f"call {max(self._cache.calls, 1)}: {text}")

    @property
    def hit_rate(self) -> float:
        """Percentage of calls that found a trace."""
        return 100.0 * self._cache.hits / self._cache.calls if self._cache.calls else 0.0

    @property
    def occupancy(self) -> float:
        """Percentage of the cache that is in use."""
        return 100.0 * len(self._cache.entries) / self.cache_size

    @property
    def retraces(self) -> int:
        """How often the function was traced."""
        return self._cache.retraces

    def clear_cache(self) -> None:
        """Forget all traces and counts."""
        cache = self._cache
        cache.entries.clear()
        cache.set()
        cache.calls = cache.hits = cache.retraces = 0
        cache.log.clear()

    def explain(self) -> str:
        """What was traced, how often, and why it was traced again.

        Returns
        -------
        str
            A line for each trace, then what each kept program decides on and where.
        """
        cache = self._cache
        lines = [
            f"{self.__name__}: {cache.calls} calls, {cache.hits} answered from {len(cache.entries)} "
            f"trace{'' if len(cache.entries) == 1 else 's'}, traced {cache.retraces} times"
        ]
        lines += [f"  {line}" for line in cache.log]
        for entry in cache.entries.values():
            memory = entry.replayer.core.memory()
            lines.append(f"  a program of {memory['instructions']} instructions and {memory['paths']} paths")
            for _, kind, outcomes, line in entry.replayer.core.guards():
                lines.append(f"    decides{where(line)}, {kind}, seen: {', '.join(map(str, outcomes))}")
            watched = [name for name in entry.captures.checks.labels() if not name.startswith("the code of")]
            if watched:
                lines.append(f"    relies on {', '.join(dict.fromkeys(watched))}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return (
            f"<AcceleratedFunction {self.__name__}: enabled={self.enabled}, cache_size={self.cache_size}, "
            f"hit_rate={self.hit_rate:g}, occupancy={self.occupancy:g}, check_mode={self.check_mode!r}, "
            f"check_tolerance={self.check_tolerance:g}>"
        )


@overload
def dlaccelerate(fun: Callable[..., Any], /, *, cache_size: int = ...) -> AcceleratedFunction: ...
@overload
def dlaccelerate(
    fun: None = None, /, *, cache_size: int = ...
) -> Callable[[Callable[..., Any]], AcceleratedFunction]: ...
def dlaccelerate(fun: Any = None, /, *, cache_size: int = 50) -> Any:
    """Make a function remember its traces, so that calls after the first one run inside the core.

    Parameters
    ----------
    fun : callable
        Evaluated as by :func:`dlfeval`, so it may call `dlgradient`. Left out, this is a decorator.
    cache_size : int
        How many traces are kept.

    Returns
    -------
    AcceleratedFunction
        Called like the function; inside a derivative or a loop it is simply part of that.

    Notes
    -----
    Floats and arrays are operands: another value needs no other trace. Arguments of other types, shapes and dtypes, and
    values of integers and strings, get traces of their own. ``if`` and ``while`` on values work: each way they come out
    is traced once. A captured array or number that has changed is noticed; captured ndarrays are made read-only for
    that (set ``x.flags.writeable = True`` to write again, and the next call traces anew).

    MATLAB shares the cache between wrappers of one function, and so does this.

    Examples
    --------
    >>> import dualtape as dt
    >>> @dt.dlaccelerate
    ... def slope(x):
    ...     return dt.dlgradient(x**3, x)
    >>> slope(dt.dlarray(2.0)), slope(dt.dlarray(3.0))
    (dlarray(12.0), dlarray(27.0))
    >>> slope.hit_rate
    50.0
    """
    if fun is None:
        return functools.partial(AcceleratedFunction, cache_size=cache_size)
    return AcceleratedFunction(fun, cache_size)
