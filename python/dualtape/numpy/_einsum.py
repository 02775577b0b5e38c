# SPDX-License-Identifier: MIT
"""einsum: any number of operands, contracted pair by pair with transpose, reshape and matmul.

A call goes through three steps. `_parse` turns the subscripts into one string of letters for each operand
(an ellipsis becomes letters of its own). Each operand is then made simple: diagonals for letters that
repeat, sums over letters that nobody else has. `_pairing` says how two operands become two stacks of
matrices. Parsing and pairing depend on letters and shapes alone and are remembered, so a training loop pays
for them once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from dualtape import _core
from dualtape._core import ShapeError, dlarray

from ._elementwise import TABLE, refuse_out
from ._products import plain

Shapes = tuple[tuple[int, ...], ...]

#: Letters of the axes behind an ellipsis, the last axis first: none that a person would write.
_HIDDEN = [chr(0xE000 + i) for i in range(64)]
_multiply = TABLE["multiply"]


@dataclass(frozen=True, slots=True)
class _Parsed:
    inputs: tuple[str, ...]
    output: str
    extents: dict[str, int]
    path: tuple[tuple[int, ...], ...]  # which operands to contract; their product goes to the end of the list


def _fail(subscripts: str, shapes: Shapes, what: str) -> ShapeError:
    return ShapeError(f"einsum({', '.join(map(str, shapes))}): {what}; the subscripts are {subscripts!r}.")


def _letters(term: str, ndim: int) -> str | None:
    """A term with hidden letters in place of its ellipsis; None where their numbers do not fit."""
    named = len(term.replace("...", ""))
    if "..." not in term:
        return term if named == ndim else None
    return term.replace("...", "".join(reversed(_HIDDEN[: ndim - named]))) if ndim >= named else None


@lru_cache(maxsize=512)
def _parse(subscripts: str, shapes: Shapes, optimize: Any) -> _Parsed:
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    allowed = left.replace("...", "").replace(",", "") + right.replace("...", "")
    if not all(c.isascii() and c.isalpha() for c in allowed) or any(
        t.count("...") > 1 for t in [*terms, right]
    ):
        raise _fail(subscripts, shapes, "only letters, commas, '->' and one '...' in each term are possible")
    if len(terms) != len(shapes):
        raise _fail(
            subscripts, shapes, f"{len(terms)} terms do not fit {len(shapes)} operands; give one for each"
        )
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
    return _Parsed(tuple(inputs), output, extents, _path(text, shapes, optimize))


def _path(subscripts: str, shapes: Shapes, optimize: Any) -> tuple[tuple[int, ...], ...]:
    count = len(shapes)
    if count < 3 or optimize is False:
        return ((0, 1),) + ((0, -1),) * (count - 2) if count > 1 else ()
    if isinstance(optimize, tuple):  # a path as numpy.einsum_path gives it
        return optimize[1:]
    stand_ins = [np.broadcast_to(0.0, shape) for shape in shapes]
    found, _ = np.einsum_path(subscripts, *stand_ins, optimize="greedy" if optimize is True else optimize)
    return tuple(found[1:])


def _simplify(x: dlarray, letters: str, extents: dict[str, int], needed: set[str]) -> tuple[dlarray, str]:
    """Diagonals for repeated letters; no axis that broadcasts; sums over letters that are not needed."""
    while len(set(letters)) < len(letters):
        letter = next(c for c in letters if letters.count(c) > 1)
        first = letters.index(letter)
        second = letters.index(letter, first + 1)
        extent = x.shape[first]
        rest = letters[:first] + letters[first + 1 : second] + letters[second + 1 :]
        x = _core.moveaxis(x, (first, second), (-2, -1))
        x = _core.reshape(x, (*x.shape[:-2], extent * extent))[..., :: extent + 1]
        letters = rest + letter
    dropped = tuple(i for i, c in enumerate(letters) if x.shape[i] == 1 and extents[c] != 1)
    if dropped:
        x = _core.squeeze(x, dropped)
        letters = "".join(c for i, c in enumerate(letters) if i not in dropped)
    summed = tuple(i for i, c in enumerate(letters) if c not in needed)
    if summed:
        x = _core.sum(x, summed)
        letters = "".join(c for c in letters if c in needed)
    return x, letters


@dataclass(frozen=True, slots=True)
class _Pairing:
    axes_a: tuple[int, ...]
    shape_a: tuple[int, ...]
    axes_b: tuple[int, ...]
    shape_b: tuple[int, ...]
    summed: bool
    shape: tuple[int, ...]
    letters: str


@lru_cache(maxsize=512)
def _pairing(a: str, b: str, needed: str, shape_a: tuple[int, ...], shape_b: tuple[int, ...]) -> _Pairing:
    """Two operands as stacks of matrices: (batch, a's own, summed) and (batch, summed, b's own)."""
    extents = dict(zip(a + b, shape_a + shape_b, strict=True))
    batch = "".join(c for c in a if c in b and c in needed)
    summed = "".join(c for c in a if c in b and c not in needed)
    rows, columns = "".join(c for c in a if c not in b), "".join(c for c in b if c not in a)
    sizes = tuple(extents[c] for c in batch)
    m, k, n = (prod(extents[c] for c in part) for part in (rows, summed, columns))
    return _Pairing(
        tuple(a.index(c) for c in batch + rows + summed),
        (*sizes, m, k),
        tuple(b.index(c) for c in batch + summed + columns),
        (*sizes, k, n),
        bool(summed),
        tuple(extents[c] for c in batch + rows + columns),
        batch + rows + columns,
    )


def _arranged(x: dlarray, axes: tuple[int, ...], shape: tuple[int, ...]) -> dlarray:
    if axes != tuple(range(len(axes))):
        x = _core.transpose(x, axes)
    return x if x.shape == shape else _core.reshape(x, shape)


def _contract(
    a: dlarray, letters_a: str, b: dlarray, letters_b: str, needed: set[str]
) -> tuple[dlarray, str]:
    pairing = _pairing(letters_a, letters_b, "".join(sorted(needed)), a.shape, b.shape)
    left = _arranged(a, pairing.axes_a, pairing.shape_a)
    right = _arranged(b, pairing.axes_b, pairing.shape_b)
    product = _core.matmul(left, right) if pairing.summed else _multiply(left, right)
    return _arranged(product, tuple(range(product.ndim)), pairing.shape), pairing.letters


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
    shapes = tuple(x.shape for x in arrays)
    parsed = _parse(subscripts, shapes, tuple(optimize) if isinstance(optimize, list) else optimize)
    terms: list[tuple[dlarray, str]] = []
    for i, (x, letters) in enumerate(zip(arrays, parsed.inputs, strict=True)):
        needed = set(parsed.output).union(*(t for j, t in enumerate(parsed.inputs) if j != i))
        terms.append(_simplify(x, letters, parsed.extents, needed))
    for places in parsed.path:
        chosen = [terms[i] for i in places]
        terms = [t for i, t in enumerate(terms) if i not in {p % len(terms) for p in places}]
        result, letters = chosen[0]
        for number, (x, own) in enumerate(chosen[1:], start=2):
            others = set(parsed.output).union(*(t for _, t in terms), *(t for _, t in chosen[number:]))
            result, letters = _simplify(result, letters, parsed.extents, others | set(own))
            x, own = _simplify(x, own, parsed.extents, others | set(letters))
            result, letters = _contract(result, letters, x, own, others)
        terms.append((result, letters))
    ((result, letters),) = terms
    result, letters = _simplify(result, letters, parsed.extents, set(parsed.output))
    return _arranged(
        result,
        tuple(letters.index(c) for c in parsed.output),
        tuple(parsed.extents[c] for c in parsed.output),
    )
