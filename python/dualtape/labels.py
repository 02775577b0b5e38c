# SPDX-License-Identifier: MIT
"""Labels of axes: S (spatial), C (channel), B (batch), T (time), U (unspecified), as MATLAB has them.

A labelled dlarray has one letter for each axis, in the order S, C, B, T, U; any number of S and U, at most
one C, B and T. Labels are bookkeeping beside the numbers: everything here rearranges axes with ops of the
core, so derivatives pass.

Where to start: `label` (what ``dlarray(x, fmt)`` does) and `apply_op` (how labelled operands meet; the core
calls it).
"""

from __future__ import annotations

from typing import Any

from dualtape import _core
from dualtape._core import ShapeError, dlarray

__all__ = ["dims", "finddim", "isdlarray", "stripdims"]

ORDER = "SCBTU"


def _check(function: str, shape: tuple[int, ...], fmt: Any) -> None:
    """Refuse what is no format."""
    where = f"{function}({', '.join(map(str, shape))})"
    if not isinstance(fmt, str):
        raise _core.DTypeError(
            f"{where}: a format is a str such as 'SCB'; a {type(fmt).__name__} was given; put quotes."
        )
    for letter in fmt:
        if letter not in ORDER:
            raise ShapeError(
                f"{where}: {letter!r} is no label; the format {fmt!r} was given; use S (spatial), C "
                "(channel), B (batch), T (time) and U (unspecified)."
            )
    for letter in "CBT":
        if fmt.count(letter) > 1:
            raise ShapeError(
                f"{where}: only one axis can have the label {letter}; the format {fmt!r} was given; repeat "
                "S or U instead."
            )


def label(x: dlarray, fmt: str) -> dlarray:
    """Attach labels and bring the axes into the order S, C, B, T, U; what ``dlarray(x, fmt)`` does.

    Parameters
    ----------
    x : dlarray
        Labels that it has are replaced.
    fmt : str
        One label for each axis. More labels than axes add axes of extent 1 at the end. A single label of a
        vector makes a column of it, with a second axis U.

    Returns
    -------
    dlarray

    Raises
    ------
    ShapeError
        Unknown labels, labels that occur too often, or fewer labels than axes.
    """
    _check("dlarray", x.shape, fmt)
    if not fmt:
        return _core.with_labels(x, None)
    shape = x.shape
    if len(fmt) == 1 and (len(shape) == 1 or (len(shape) == 2 and 1 in shape)):
        fmt, shape = fmt + "U", (x.size, 1)
    if len(fmt) < len(shape):
        raise ShapeError(
            f"dlarray({', '.join(map(str, shape))}): an array of {len(shape)} axes needs as many labels; "
            f"the format {fmt!r} was given; label axes without a meaning U."
        )
    shape += (1,) * (len(fmt) - len(shape))
    y = _core.with_labels(x, None)
    if shape != x.shape:
        y = _core.reshape(y, shape)
    axes = tuple(sorted(range(len(fmt)), key=lambda i: ORDER.index(fmt[i])))  # stable: S and U keep their order
    if axes != tuple(range(len(fmt))):
        y = _core.transpose(y, axes)
    return _core.with_labels(y, "".join(fmt[i] for i in axes))


def _places(fmt: str) -> list[tuple[str, int]]:
    """For each axis its label and how often that occurred before: what axes of two arrays are matched by."""
    return [(letter, fmt[:i].count(letter)) for i, letter in enumerate(fmt)]


def _aligned(x: dlarray, target: list[tuple[str, int]]) -> dlarray:
    """A labelled array as an unlabelled one with the axes of `target`, of extent 1 where it has no such
    label.
    """
    own = _places(x.dims)
    axes = tuple(own.index(place) for place in target if place in own)
    y = _core.with_labels(x, None)
    if axes != tuple(range(len(axes))):
        y = _core.transpose(y, axes)
    if len(own) == len(target):
        return y
    return _core.reshape(y, tuple(x.shape[own.index(place)] if place in own else 1 for place in target))


def apply_op(op: str, *operands: Any) -> dlarray:
    """An elementwise op of the table where at least one operand has labels; the core calls this.

    Labelled operands meet label by label, repeated labels in the order in which they occur, and a label
    that one lacks stands for an axis of extent 1. Unlabelled ones broadcast by position, as NumPy has it.

    Parameters
    ----------
    op : str
        A name of the table.
    *operands : array or number

    Returns
    -------
    dlarray
        With the labels of all operands, in the order S, C, B, T, U.

    Raises
    ------
    ShapeError
        Extents that do not fit, or an unlabelled operand with more axes than there are labels.
    """
    labelled = [x.dims for x in operands if isinstance(x, dlarray) and x.dims]
    if all(fmt == labelled[0] for fmt in labelled):
        union = labelled[0]
        target = None
    else:
        union = "".join(letter * max(fmt.count(letter) for fmt in labelled) for letter in ORDER)
        target = _places(union)
    plain = []
    for x in operands:
        if isinstance(x, dlarray) and x.dims:
            x = _core.with_labels(x, None) if target is None else _aligned(x, target)
        plain.append(x)
    result = getattr(_core.elementwise, op)(*plain)
    if result.ndim != len(union):
        shapes = ", ".join(str(x.shape) for x in operands if hasattr(x, "shape"))
        raise ShapeError(
            f"{op}({shapes}): an operand without labels has more axes than the labels {union!r} name; "
            "label it, or remove the labels of the others with stripdims."
        )
    return _core.with_labels(result, union)


def isdlarray(x: Any) -> bool:
    """Whether an object is a dlarray."""
    return isinstance(x, dlarray)


def dims(x: Any) -> str:
    """Labels of the axes.

    Parameters
    ----------
    x : dlarray or anything else

    Returns
    -------
    str
        One letter for each axis; empty without labels.

    Examples
    --------
    >>> import numpy as np, dualtape as dt
    >>> dt.dims(dt.dlarray(np.zeros((3, 4)), "TS"))
    'ST'
    """
    return x.dims if isinstance(x, dlarray) else ""


def stripdims(x: Any, fmt: str | None = None) -> Any:
    """The same numbers without labels.

    Parameters
    ----------
    x : dlarray
        Anything else is handed back.
    fmt : str, optional
        The order of axes that the result shall have: the labels of `x` in any order, and labels that it
        lacks where axes of extent 1 are wanted. Without it, and for an array without labels, the order
        stays.

    Returns
    -------
    dlarray

    Raises
    ------
    ShapeError
        `fmt` lacks a label of `x`.
    """
    if not isinstance(x, dlarray) or not x.dims:
        return x
    if not fmt:
        return _core.with_labels(x, None)
    _check("stripdims", x.shape, fmt)
    target = _places(fmt)
    missing = [letter for letter, count in _places(x.dims) if (letter, count) not in target]
    if missing:
        raise ShapeError(
            f"stripdims({', '.join(map(str, x.shape))}): the format {fmt!r} has no place for the axis "
            f"{missing[0]} of an array labelled {x.dims!r}; name every label of the array."
        )
    return _aligned(x, target)


def finddim(x: Any, label: str) -> tuple[int, ...]:
    """The axes that have a label.

    Parameters
    ----------
    x : dlarray
    label : str
        One of S, C, B, T, U.

    Returns
    -------
    tuple of int
        Counted from 0 (MATLAB counts from 1); empty where there is none.
    """
    _check("finddim", getattr(x, "shape", ()), label)
    return tuple(i for i, letter in enumerate(dims(x)) if letter == label)
