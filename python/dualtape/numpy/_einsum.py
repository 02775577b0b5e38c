# SPDX-License-Identifier: MIT
"""einsum: any number of operands, contracted pair by pair with transpose, reshape and matmul.

Everything about a call but the numbers follows from the subscripts and the shapes. So `_compile` works it out once, as
a list of steps, and remembers it: a training loop pays for the letters in its first iteration only. `_parse` turns the
subscripts into one string of letters for each operand (an ellipsis becomes letters of its own). `_Plan` then simplifies
operands (diagonals for letters that repeat, sums over letters that nobody else has) and turns pairs of them into
stacks of matrices, writing down each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._elementwise import TABLE, Function, refuse_out
from ._products import plain

Shapes = tuple[tuple[int, ...], ...]
#: A function, the place of its first operand and of its result, then the place of a second operand or else -1, then an
#: argument for functions of one operand.
Step = tuple[Function, int, int, Any]

#: Letters of the axes behind an ellipsis, the last axis first: none that a person would write.
_HIDDEN = [chr(0xE000 + i) for i in range(64)]
_multiply = TABLE["multiply"]


@dataclass(frozen=True, slots=True)
class _Parsed:
    inputs: tuple[str, ...]
    output: str
    extents: dict[str, int]


def _fail(subscripts: str, shapes: Shapes, what: str) -> ShapeError:
    return ShapeError(f"einsum({', '.join(map(str, shapes))}): {what}; the subscripts are {subscripts!r}.")


def _letters(term: str, ndim: int) -> str | None:
    """A term with hidden letters in place of its ellipsis; None where their numbers do not fit."""
    named = len(term.replace("...", ""))
    if "..." not in term:
        return term if named == ndim else None
    return term.replace("...", "".join(reversed(_HIDDEN[: ndim - named]))) if ndim >= named else None


def _parse(subscripts: str, shapes: Shapes) -> _Parsed:
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    allowed = left.replace("...", "").replace(",", "") + right.replace("...", "")
    if not all(c.isascii() and c.isalpha() for c in allowed) or any(t.count("...") > 1 for t in [*terms, right]):
        raise _fail(subscripts, shapes, "only letters, commas, '->' and one '...' in each term are possible")
    if len(terms) != len(shapes):
        raise _fail(subscripts, shapes, f"{len(terms)} terms do not fit {len(shapes)} operands; give one for each")
    inputs = []
    for term, shape in zip(terms, shapes, strict=True):
        letters = _letters(term, len(shape))
        if letters is None:
            raise _fail(subscripts, shapes, f"the term {term!r} does not fit an operand of {len(shape)} axes")
        inputs.append(letters)
    everything = "".join(inputs)
    most_hidden = max((sum(c in _HIDDEN for c in term) for term in inputs), default=0)
    hidden = "".join(reversed(_HIDDEN[:most_hidden]))
    if arrow:
        output = right.replace("...", hidden)
        if hidden and "..." not in right:
            raise _fail(subscripts, shapes, "the output must have '...' too, since operands have axes there")
    else:
        once = sorted(c for c in set(everything) - set(hidden) if everything.count(c) == 1)
        output = hidden + "".join(once)
    if len(set(output)) < len(output):
        raise _fail(subscripts, shapes, "a letter occurs twice in the output")
    if not set(output) <= set(everything):
        missing = ", ".join(sorted(set(output) - set(everything)))
        raise _fail(subscripts, shapes, f"the output has a letter ({missing}) that no operand has")
    extents: dict[str, int] = {}
    for term, shape in zip(inputs, shapes, strict=True):
        own: dict[str, int] = {}
        for letter, extent in zip(term, shape, strict=True):
            known = extents.get(letter, 1)
            if (extent != known and 1 not in (extent, known)) or own.setdefault(letter, extent) != extent:
                name = letter if letter.isascii() else "..."
                raise _fail(subscripts, shapes, f"the extents {known} and {extent} of {name!r} differ")
            extents[letter] = extent if known == 1 else known
    return _Parsed(tuple(inputs), output, extents)


def _path(subscripts: str, shapes: Shapes, optimize: Any) -> tuple[tuple[int, ...], ...]:
    """Which operands to contract, again and again; their product goes to the end of the list."""
    count = len(shapes)
    if count < 3 or optimize is False:
        return ((0, 1),) + ((0, -1),) * (count - 2) if count > 1 else ()
    if isinstance(optimize, tuple):  # a path as numpy.einsum_path gives it
        return optimize[1:]
    stand_ins = [np.broadcast_to(0.0, shape) for shape in shapes]
    found, _ = np.einsum_path(subscripts, *stand_ins, optimize="greedy" if optimize is True else optimize)
    return tuple(found[1:])


def _diagonal(x: dlarray, axes: tuple[int, int]) -> dlarray:
    """The diagonal of two axes of one extent, as the last axis."""
    y = _core.moveaxis(x, axes, (-2, -1))
    extent = y.shape[-1]
    return _core.reshape(y, (*y.shape[:-2], extent * extent))[..., :: extent + 1]


@dataclass(slots=True)
class _Term:
    """What is known of the array at a place while the steps are being written."""

    place: int
    letters: str
    shape: tuple[int, ...]


class _Plan:
    """The steps so far; each method adds some and brings a term up to date."""

    def __init__(self, extents: dict[str, int]) -> None:
        self.extents = extents
        self.steps: list[Step] = []

    def simplify(self, term: _Term, needed: set[str]) -> None:
        """Diagonals for repeated letters; no axis that broadcasts; sums over letters that are not needed."""
        while len(set(term.letters)) < len(term.letters):
            letter = next(c for c in term.letters if term.letters.count(c) > 1)
            first = term.letters.index(letter)
            second = term.letters.index(letter, first + 1)
            self.steps.append((_diagonal, term.place, -1, (first, second)))
            self._keep(term, [i for i in range(len(term.letters)) if i not in (first, second)])
            term.letters += letter
            term.shape += (self.extents[letter],)
        for function, drop in (
            (_core.squeeze, lambda c, n: n == 1 != self.extents[c]),
            (_core.sum, lambda c, n: c not in needed),
        ):
            axes = tuple(i for i, (c, n) in enumerate(zip(term.letters, term.shape, strict=True)) if drop(c, n))
            if axes:
                self.steps.append((function, term.place, -1, axes))
                self._keep(term, [i for i in range(len(term.letters)) if i not in axes])

    def contract(self, a: _Term, b: _Term, needed: set[str]) -> None:
        """The product of two terms, in place of the first: (batch, a's own, summed) times (batch, summed, b's own)."""
        shared = [c for c in a.letters if c in b.letters]
        batch, summed = [c for c in shared if c in needed], [c for c in shared if c not in needed]
        rows, columns = [c for c in a.letters if c not in shared], [c for c in b.letters if c not in shared]
        sizes = tuple(self.extents[c] for c in batch)
        m, k, n = (prod(self.extents[c] for c in part) for part in (rows, summed, columns))
        self.arrange(a, batch + rows + summed, (*sizes, m, k))
        self.arrange(b, batch + summed + columns, (*sizes, k, n))
        self.steps.append((_core.matmul if summed else _multiply, a.place, b.place, None))
        a.letters = "".join(batch + rows + columns)
        a.shape = (*sizes, m, n)
        self.arrange(a, list(a.letters), tuple(self.extents[c] for c in a.letters))

    def arrange(self, term: _Term, letters: list[str], shape: tuple[int, ...]) -> None:
        """Axes in another order, and merged or split to a shape."""
        axes = tuple(term.letters.index(c) for c in letters)
        if axes != tuple(range(len(axes))):
            self.steps.append((_core.transpose, term.place, -1, axes))
            self._keep(term, axes)
        if term.shape != shape:
            self.steps.append((_core.reshape, term.place, -1, shape))
            term.shape = shape

    @staticmethod
    def _keep(term: _Term, axes: Sequence[int]) -> None:
        term.letters, term.shape = "".join(term.letters[i] for i in axes), tuple(term.shape[i] for i in axes)


@lru_cache(maxsize=512)
def _compile(subscripts: str, shapes: Shapes, optimize: Any) -> tuple[tuple[Step, ...], int]:
    """The steps, and the place where the result will be."""
    parsed = _parse(subscripts, shapes)
    plan, output = _Plan(parsed.extents), set(parsed.output)
    terms = [_Term(i, letters, shape) for i, (letters, shape) in enumerate(zip(parsed.inputs, shapes, strict=True))]
    for term in terms:
        plan.simplify(term, output.union(*(other.letters for other in terms if other is not term)))
    for places in _path(subscripts.replace(" ", ""), shapes, optimize):
        first, *others = [terms[i] for i in places]
        for other in others:
            terms.remove(other)
            outside = output.union(*(term.letters for term in terms if term is not first))
            plan.simplify(first, outside | set(other.letters))
            plan.simplify(other, outside | set(first.letters))
            plan.contract(first, other, outside)
        terms.remove(first)
        terms.append(first)
    (result,) = terms
    plan.simplify(result, output)
    plan.arrange(result, list(parsed.output), tuple(parsed.extents[c] for c in parsed.output))
    return tuple(plan.steps), result.place


def _from_lists(operands: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """The other way to call einsum: op0, [0, 1], op1, [1, 2], ..., [0, 2]."""

    def term(axes: Any) -> str:
        return "".join("..." if i is Ellipsis else chr(65 + i if i < 26 else 71 + i) for i in axes)

    count = len(operands) // 2
    subscripts = ",".join(term(operands[2 * i + 1]) for i in range(count))
    return subscripts + (f"->{term(operands[-1])}" if len(operands) % 2 else ""), operands[: 2 * count : 2]


def einsum(subscripts: Any, /, *operands: Any, out: None = None, optimize: Any = True) -> dlarray:
    """Sum of products over named axes, as numpy.einsum.

    Parameters
    ----------
    subscripts : str
        Letters for the axes of each operand, then ``->`` and those of the result. Without the arrow the
        result has the letters that occur once, in the order of the alphabet, behind those of an ellipsis.
        ``...`` stands for the axes that are not named; they broadcast. A letter twice in one operand takes
        its diagonal.
    *operands : array
        Or arrays and lists of axis numbers in turn, as NumPy takes them.
    out : None
        Not taken.
    optimize : bool, str or path
        The order of pairs where there are more than two operands: False from left to right; True or "greedy",
        "optimal" or a path as numpy.einsum_path finds it.

    Returns
    -------
    dlarray

    Raises
    ------
    ShapeError
        Subscripts that are malformed, or do not fit the operands.

    Examples
    --------
    >>> import dualtape.numpy as dnp
    >>> float(dnp.einsum("ij,ji->", dnp.eye(3), dnp.ones((3, 3))))
    3.0
    """
    if out is not None:
        refuse_out("einsum")
    if not isinstance(subscripts, str):
        subscripts, operands = _from_lists((subscripts, *operands))
    arrays = [plain(x) for x in operands]
    how = tuple(optimize) if isinstance(optimize, list) else optimize
    steps, place = _compile(subscripts, tuple([x.shape for x in arrays]), how)
    for function, i, j, argument in steps:
        arrays[i] = function(arrays[i], argument if j < 0 else arrays[j])
    return arrays[place]
