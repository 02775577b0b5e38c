# SPDX-License-Identifier: MIT
"""Programs that Hypothesis writes, as lists of moves over a pool of arrays.

A move is an op of the table on numbers of any kind, broadcasting, a reduction, a product, a slice, an assignment, a
branch, a loop whose length depends on values, a gradient or a gradient of gradients. Start reading at `perform`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

import dualtape as dt
from dualtape import _core
from dualtape import numpy as dnp

TABLE = {row["name"]: row for row in _core.op_table()}
SMOOTH = sorted(name for name, row in TABLE.items() if all(row["differentiable"]))
PREDICATES = frozenset(name for name, row in TABLE.items() if row["predicate"])
SHAPES = [(), (), (1,), (3,), (5,), (2, 3), (3, 2), (2, 1), (3, 3), (2, 2, 3)]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -2.0, 0.1, 3.0, 4.0, 1e-3, 30.0, 1e-8, 1e8]
STRANGE = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e300, 1e-300, 5e-324, -1e38, 1e-42, 709.5, 0.5, 1.0, -1.0, 2.0]
WHOLE = {"polygamma": 0, "integer_power": 1}
UNARY_RULES = ["softmax", "log_softmax", "cumsum", "flat", "swap", "expand", "reverse", "double", "single"]
REDUCTIONS = ["sum", "mean", "prod", "max", "min", "var", "std", "argmax", "argmin", "any", "all"]

Move = tuple[Any, ...]


def operand(pool: list[Any], ref: Any) -> Any:
    """An operand is a place in the pool or a Python number."""
    return pool[ref] if isinstance(ref, int) else ref


def scalar(x: Any) -> Any:
    """A number made of all elements, for decisions."""
    return x.sum() if x.ndim else x * 1.0


def perform(move: Move, pool: list[Any]) -> Any:
    """What a move gives, from values that are traced or not."""
    kind, *rest = move
    if kind == "op":
        name, refs = rest
        out = getattr(_core.elementwise, name)(*(operand(pool, ref) for ref in refs))
        return out * 1.0 if name in PREDICATES else out
    if kind == "where":  # truths as operands of ops and of reductions
        a, b, x, y = (operand(pool, ref) for ref in rest)
        less = _core.elementwise.less(a, b)
        return dnp.where(less, x, y) + less.sum() + less
    if kind == "python":  # Python's operators
        sign, a, b = rest
        x, y = operand(pool, a), operand(pool, b)
        return {"+": lambda: x + y, "-": lambda: x - y, "*": lambda: x * y, "/": lambda: x / y}[sign]()
    if kind == "power":
        place, exponent = rest
        return pool[place] ** exponent
    if kind == "fused":  # what contraction looks for
        a, b, c, minus = rest
        product = operand(pool, a) * operand(pool, b)
        return (lambda z: z - product if minus == 1 else product - z if minus == 2 else product + z)(operand(pool, c))
    if kind == "rule":
        name, place, axis = rest
        return rule(name, pool[place], axis)
    if kind == "reduce":
        name, place, axis, keepdims = rest
        x = pool[place]
        if name in ("argmax", "argmin"):
            return getattr(dnp, name)(x, axis=axis) * 1.0
        out = getattr(dnp, name)(x, axis=axis, keepdims=keepdims)
        return out * 1.0 if name in ("any", "all") else out
    if kind == "matmul":
        return pool[rest[0]] @ pool[rest[1]]
    if kind == "join":
        name, places = rest
        return getattr(dnp, name)([pool[place] for place in places])
    if kind == "index":
        return pool[rest[0]][rest[1]]
    if kind == "assign":
        place, row, ref, how = rest
        x = pool[place] * 1.0
        if how == "set":
            x[row] = operand(pool, ref)
        elif how == "add":
            x[row] += operand(pool, ref)
        else:
            x[row] *= operand(pool, ref)
        return x
    if kind == "branch":
        place, cut, yes, no = rest
        return perform(yes if scalar(pool[place]) > cut else no, pool)
    if kind == "while":
        place, factor, most = rest
        x, done = pool[place], 0
        while done < most and abs(scalar(x)) > 0.5:
            x, done = x * factor, done + 1
        return x
    if kind == "count":
        place, of = rest
        s = scalar(pool[of])
        x = pool[place]
        if s == s:
            for k in range(abs(int(dnp.clip(s, -3.0, 3.0)))):
                x = dnp.sin(x) + k
        return x
    if kind == "pick":
        place, of = rest
        return pool[place][dnp.argmax(pool[of])] if pool[of].size <= pool[place].shape[0] else pool[place][0]
    return derivative(move, pool)


def rule(name: str, x: Any, axis: int) -> Any:
    if name in ("softmax", "log_softmax"):
        return getattr(dt, name)(x, axis=axis)
    if name == "cumsum":
        return dnp.cumsum(x, axis=axis)
    if name == "flat":
        return x.reshape(-1)
    if name == "swap":
        return dnp.swapaxes(x, 0, -1)
    if name == "expand":
        return dnp.expand_dims(x, axis)
    if name == "reverse":
        return dnp.flip(x, axis)
    return x.astype(np.float64 if name == "double" else np.float32)


def derivative(move: Move, pool: list[Any]) -> Any:
    """Gradients of inner programs with respect to one value; the rest of the pool are constants of theirs."""
    kind, place, body = move

    def inner(x: Any) -> Any:
        values = [*pool]
        values[place] = x
        for step in body:
            values.append(perform(step, values))
        return dnp.sum(values[-1] * 1.0) + dnp.sum(dnp.sin(x))

    x = pool[place]
    if kind == "grad":
        return dt.grad(inner)(x)
    if kind == "value":
        loss, slope = dt.dlfeval(lambda x: (lambda y: (y, dt.dlgradient(y, x)))(inner(x)), x)
        return loss * slope
    if kind == "jvp":
        return dt.jvp(inner, (x,), (dnp.ones_like(x),))[1]
    if kind == "second":
        return dt.grad(lambda x: dnp.sum(dt.grad(inner)(x) ** 2))(x)
    if kind == "hvp":
        return dt.hvp(inner)(x, dnp.ones_like(x))
    raise AssertionError(kind)


def broadcasts(*shapes: tuple[int, ...]) -> bool:
    try:
        return len(np.broadcast_shapes(*shapes)) <= 3
    except ValueError:
        return False


@st.composite
def moves(draw: Any, pool: list[Any], smooth: bool = False) -> Move:
    """A move that fits the shapes of a pool; `smooth` ones can be differentiated, and hold no derivatives."""
    place = draw(st.integers(max(0, len(pool) - 5), len(pool) - 1))  # near, so that programs are deep
    shape = pool[place].shape

    def other(fits: Callable[[Any], bool], numbers: bool = True) -> Any:
        """A place that fits, or a number."""
        fitting = [k for k, x in enumerate(pool) if fits(x)]
        if numbers and (not fitting or draw(st.integers(0, 3)) == 0):
            return draw(st.sampled_from(NUMBERS))
        return draw(st.sampled_from(fitting)) if fitting else None

    def broadcasting(count: int) -> list[Any]:
        refs, now = [place], [shape]
        for _ in range(count - 1):
            refs.append(other(lambda x: broadcasts(*now, x.shape)))
            if isinstance(refs[-1], int):
                now.append(pool[refs[-1]].shape)
        return draw(st.permutations(refs)) if count > 1 else refs

    kinds = ["op"] * 5 + ["python"] * 2 + ["fused", "where", "power", "rule", "reduce"]
    kinds += ["matmul", "join", "index", "assign"]
    kinds += ["branch", "while"] if smooth else ["branch", "while", "count", "pick", "derivative", "derivative"]
    kind = draw(st.sampled_from(kinds))
    if kind == "python":
        return (kind, draw(st.sampled_from("+-*/")), *broadcasting(2))
    if kind == "power":
        return kind, place, draw(st.sampled_from([2, 3, -1, 0.5, 1.5, -2, 5, 0, 1]))
    if kind == "where":
        refs = broadcasting(4)
        return kind, place, *refs[1:]
    if kind == "fused":
        return (kind, *broadcasting(3), draw(st.integers(0, 2)))
    if kind == "rule" and shape:
        axis = draw(st.integers(-len(shape), len(shape) - 1))
        names = [n for n in UNARY_RULES if n != "expand" or len(shape) < 3]
        return kind, draw(st.sampled_from(names)), place, axis
    if kind == "reduce":
        axis = draw(st.sampled_from([None, *range(-len(shape), len(shape))]))
        names = [n for n in REDUCTIONS if n not in ("argmax", "argmin", "any", "all")] if smooth else REDUCTIONS
        return kind, draw(st.sampled_from(names)), place, axis, draw(st.booleans())
    if kind == "matmul" and shape:
        with_me = other(lambda x: x.ndim in (1, 2) and len(shape) < 3 and x.shape[0] == shape[-1], False)
        if with_me is not None:
            return kind, place, with_me
    if kind == "join" and len(shape) in (1, 2):
        same = [k for k, x in enumerate(pool) if x.shape == shape]
        chosen = draw(st.lists(st.sampled_from(same), min_size=1, max_size=3))
        return kind, draw(st.sampled_from(["concatenate", "stack"])), chosen
    if kind == "index" and shape:
        options = [np.s_[0], np.s_[-1], np.s_[-1:], np.s_[::-1], np.s_[..., None], np.array([0, -1, 0])]
        options += [np.s_[:, 0], np.s_[..., ::2], np.s_[:, ::-1]] if len(shape) > 1 else []
        if np.s_[..., None] not in options or len(shape) < 3:
            return kind, place, options[draw(st.integers(0, len(options) - 1))]
        return kind, place, 0
    if kind == "assign" and shape:
        row = draw(st.integers(-shape[0], shape[0] - 1))
        fits = lambda x: broadcasts(shape[1:], x.shape) and np.broadcast_shapes(shape[1:], x.shape) == shape[1:]  # noqa: E731
        return kind, place, row, other(fits), draw(st.sampled_from(["set", "add", "multiply"]))
    if kind == "branch":
        # Both ways must give the same shape and dtype.
        options = ["tanh", "negative", "square", "exp", "positive", "logistic"]
        yes, no = (("op", draw(st.sampled_from(options)), [place]) for _ in range(2))
        return kind, other(lambda _: True, False), draw(st.sampled_from([0.0, 0.5, -1.0, 2.0])), yes, no
    if kind == "while":
        return kind, place, draw(st.sampled_from([0.5, -0.25, 0.9])), draw(st.integers(1, 4))
    if kind == "count":
        return kind, place, other(lambda _: True, False)
    if kind == "pick" and shape:
        return kind, place, other(lambda x: x.ndim == 1, False) or place
    if kind == "derivative" and not _core.is_weak(pool[place]):
        values = [*pool]
        body: list[Move] = []
        for _ in range(draw(st.integers(1, 3))):
            body.append(draw(moves(values, smooth=True)))
            values.append(perform(body[-1], values))
        return draw(st.sampled_from(["grad", "value", "jvp", "second", "hvp"])), place, body
    names = SMOOTH if smooth else list(TABLE)
    name = draw(st.sampled_from(names))
    refs = broadcasting(TABLE[name]["arity"])
    if name in WHOLE:  # the order is a whole number by contract
        refs[WHOLE[name]] = float(draw(st.integers(1, 4)))
    return "op", name, refs


def run_moves(body: list[Move], inputs: Any) -> list[Any]:
    pool = list(inputs)
    for move in body:
        pool.append(perform(move, pool))
    return pool


@st.composite
def numbers(draw: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array with numbers of ordinary size and, now and then, of strange kinds."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    out = rng.normal(size=shape) * draw(st.sampled_from([1.0, 1.0, 3.0, 0.1, 100.0]))
    if draw(st.integers(0, 2)) == 0:
        out = np.where(rng.random(shape) < 0.4, rng.choice(STRANGE, shape), out)
    with np.errstate(all="ignore"):
        return np.asarray(out, dtype)


@st.composite
def programs(draw: Any) -> tuple[list[Move], list[int], list[list[Any]]]:
    """(moves, places of the results, several lists of inputs)."""
    kinds = [
        (draw(st.sampled_from(SHAPES)), draw(st.sampled_from([np.float64, np.float64, np.float32])))
        for _ in range(draw(st.integers(1, 3)))
    ]
    places = [[draw(numbers(shape, dtype)) for shape, dtype in kinds] for _ in range(draw(st.integers(2, 5)))]
    pool: list[Any] = [dt.dlarray(x) for x in places[0]]
    body: list[Move] = []
    for _ in range(draw(st.integers(1, 9))):
        move = draw(moves(pool))
        result = perform(move, pool)
        if result.size > 64:
            continue
        body.append(move)
        pool.append(result)
    results = draw(st.lists(st.integers(0, len(pool) - 1), max_size=2))
    return body, [*results, len(pool) - 1], places
