# SPDX-License-Identifier: MIT
"""What a sweep goes over: `grid` (the outer product of axes), `points` (rows together), and their products.

An `Over` is a list of axes, and an axis is a list of columns of one length. ``grid(a=..., b=...)`` has two axes
of one column, ``points(a=..., b=...)`` one axis of two columns, and ``*`` puts lists of axes behind one another,
so that grids of points and points of grids are the same thing as everything else. Nothing is multiplied out
before `Over.columns` is called. Start reading at Over.

Values are checked when an Over is made, not when the sweep runs: numbers, finite, at least one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from dualtape._core import DTypeError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Values: TypeAlias = "NDArray[Any]"  # float64 or float32, the axis of the sweep in front

_EXACT = 2**53  # integers up to here are float64 numbers


class _Axis(NamedTuple):
    """One axis of a sweep: columns of equal length that advance together. `dim` is None for points."""

    dim: str | None
    columns: tuple[tuple[str, Values], ...]

    @property
    def length(self) -> int:
        return int(self.columns[0][1].shape[0])


class Over:
    """What a sweep goes over. Made by :func:`grid`, :func:`points`, and products of these (``*``).

    An Over does not change, compares by value, and pickles. A grid is not multiplied out before its columns are
    asked for: ten thousand values times ten thousand cost as little as their axes.

    Attributes
    ----------
    names : tuple of str
        The hyperparameters, in the order given.
    shape : tuple of int
        The sweep's axes: one per hyperparameter of a grid, one for all of a points.
    dims : tuple of str
        The names of these axes: the hyperparameter's for a grid; "point" for points ("point_2", ... for more).
    size : int
        How many runs the sweep has.

    Examples
    --------
    >>> over = points(x1=[2.0, -1.0], x2=[2.0, 0.5]) * grid(learn_rate=[0.01, 0.1, 0.2])
    >>> over.shape, over.dims
    ((2, 3), ('point', 'learn_rate'))
    >>> over.at((1, 2))
    {'x1': -1.0, 'x2': 0.5, 'learn_rate': 0.2}
    """

    __slots__ = ("_axes", "_dims")

    _axes: tuple[_Axis, ...]
    _dims: tuple[str, ...]

    def __init__(self, axes: tuple[_Axis, ...]) -> None:
        taken = {name for axis in axes for name, _ in axis.columns}
        dims: list[str] = []
        for axis in axes:
            dim, number = axis.dim or "point", 1
            while axis.dim is None and (dim in taken or dim in dims):
                number += 1
                dim = f"point_{number}"
            dims.append(dim)
        for axis in axes:
            for _, values in axis.columns:
                values.flags.writeable = False  # here, since pickle brings writable arrays back
        object.__setattr__(self, "_axes", axes)
        object.__setattr__(self, "_dims", tuple(dims))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Over.{name} cannot be set: an Over does not change; make another with grid or points.")

    def __reduce__(self) -> tuple[Any, ...]:
        return (Over, (self._axes,))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for axis in self._axes for name, _ in axis.columns)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(axis.length for axis in self._axes)

    @property
    def dims(self) -> tuple[str, ...]:
        return self._dims

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def columns(self) -> dict[str, Values]:
        """The hyperparameters of every run.

        Returns
        -------
        dict of str to array
            For each name an array of shape ``(size, *shape of one value)``, the runs in C order over `shape`.
            The arrays are new.
        """
        shape, columns = self.shape, {}
        for number, axis in enumerate(self._axes):
            for name, values in axis.columns:
                inner = values.shape[1:]
                along = (1,) * number + values.shape[:1] + (1,) * (len(shape) - number - 1) + inner
                full = np.broadcast_to(values.reshape(along), shape + inner)
                # order="C" is a copy even where a single axis needs none, so that callers may write
                columns[name] = np.array(full, order="C").reshape((self.size, *inner))
        return columns

    def coordinates(self) -> dict[str, tuple[tuple[str, ...], Values]]:
        """The hyperparameters along the sweep's axes, as xarray takes coordinates.

        Returns
        -------
        dict of str to (dims, array)
            For each name the dims it varies along and its values along these: the sweep's dim, and
            ``name.axis0``, ``name.axis1``, ... for the axes of a value that is an array. Read-only.
        """
        return {
            name: ((dim, *(f"{name}.axis{i}" for i in range(values.ndim - 1))), values)
            for dim, axis in zip(self._dims, self._axes, strict=True)
            for name, values in axis.columns
        }

    def at(self, index: int | tuple[int, ...]) -> dict[str, Any]:
        """The hyperparameters of one run.

        Parameters
        ----------
        index : int or tuple of int
            The number of the run in C order over `shape`, or one index per axis. Negative ones count from the end.

        Returns
        -------
        dict of str to value
            Floats for float64 numbers, otherwise what the arrays hold (new arrays for values that are arrays).

        Raises
        ------
        IndexError
            There is no such run.
        """
        place = unravel("Over.at", index, self.shape)
        found: dict[str, Any] = {}
        for i, axis in zip(place, self._axes, strict=True):
            for name, values in axis.columns:
                value = values[i]
                found[name] = float(value) if type(value) is np.float64 else value.copy()
        return found

    def __mul__(self, other: Over) -> Over:
        if not isinstance(other, Over):
            return NotImplemented
        twice = sorted(set(self.names) & set(other.names))
        if twice:
            raise ValueError(
                f"{self._sketch()} * {other._sketch()}: a hyperparameter can be swept once; got {', '.join(twice)} on "
                "both sides; leave it out of one of them."
            )
        return Over(self._axes + other._axes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Over):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        """Everything that makes the value. `+ 0.0` since -0.0 and 0.0 are equal, but of different bytes."""
        return tuple(
            (axis.dim, tuple((name, v.shape, v.dtype.str, (v + 0.0).tobytes()) for name, v in axis.columns))
            for axis in self._axes
        )

    def _sketch(self) -> str:
        """How this was made, without the numbers."""
        parts: list[str] = []
        for axis in self._axes:
            call = "points" if axis.dim is None else "grid"
            names = ", ".join(name for name, _ in axis.columns)
            if call == "grid" and parts and parts[-1].startswith("grid("):
                parts[-1] = f"{parts[-1][:-1]}, {names})"  # neighbouring axes of a grid are one grid
            else:
                parts.append(f"{call}({names})")
        return " * ".join(parts)

    def __repr__(self) -> str:
        lines = [f"{self._sketch()}: {self.size:,} run{'' if self.size == 1 else 's'}"]
        width = max(map(len, self.names))
        for dim, axis in zip(self._dims, self._axes, strict=True):
            for name, values in axis.columns:
                where = f", along {dim}" if axis.dim is None else ""
                lines.append(f"  {name:<{width}}  {_describe(values)}{where}")
        return "\n".join(lines)


def grid(**axes: Any) -> Over:
    """Go over every combination of the values given: the outer product of axes.

    Parameters
    ----------
    **axes : sequence of numbers
        For each hyperparameter its values, 1-D. A hyperparameter that is an array itself has its values along the
        leading axis: 5 vectors of length 3 are an array of shape (5, 3). Integers and bools become float64; float32
        stays what it is.

    Returns
    -------
    Over
        With one axis per hyperparameter, in the order given.

    Raises
    ------
    ValueError
        No axis is given, or one is empty, or holds NaN, infinities, or integers beyond 2**53.
    ShapeError
        An axis is a single number.
    DTypeError
        The values are not real numbers.

    See Also
    --------
    points : hyperparameters that advance together.

    Examples
    --------
    >>> grid(learn_rate=[0.1, 0.2], momentum=[0.0, 0.5, 0.9])
    grid(learn_rate, momentum): 6 runs
      learn_rate  2 values, 0.1 to 0.2
      momentum    3 values, 0 to 0.9
    """
    return Over(tuple(_Axis(name, ((name, values),)) for name, values in _checked("grid", axes).items()))


def points(**columns: Any) -> Over:
    """Go over rows of values that belong together: the first of each, the second of each, and so on.

    Parameters
    ----------
    **columns : sequence of numbers
        For each hyperparameter its values, as in :func:`grid`, but all of the same length.

    Returns
    -------
    Over
        With a single axis.

    Raises
    ------
    ShapeError
        The columns differ in length, or one is a single number.
    ValueError, DTypeError
        As :func:`grid`.

    Examples
    --------
    >>> points(x1=[2.0, -1.0], x2=[2.0, 0.5]) * grid(learn_rate=[0.01, 0.1, 0.2])
    points(x1, x2) * grid(learn_rate): 6 runs
      x1          2 values, -1 to 2, along point
      x2          2 values, 0.5 to 2, along point
      learn_rate  3 values, 0.01 to 0.2
    """
    checked = _checked("points", columns)
    lengths = {name: values.shape[0] for name, values in checked.items()}
    if len(set(lengths.values())) > 1:
        raise ShapeError(
            f"points({', '.join(lengths)}): rows need a value in every column; got lengths "
            f"{', '.join(f'{name}: {length}' for name, length in lengths.items())}; "
            "use grid(...) for every combination, or points(...) * grid(...)."
        )
    return Over((_Axis(None, tuple(checked.items())),))


def unravel(where: str, index: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """One index per axis from the number of a run or a tuple, negative ones resolved, all checked."""
    given = index if isinstance(index, tuple) else (index,)
    numbers = []
    for item in given:
        try:
            numbers.append(item.__index__())
        except AttributeError:
            raise TypeError(
                f"{where}({index!r:.60}): a run is found by integers; got {type(item).__name__}; "
                f"give its number, or one integer per axis of {shape}."
            ) from None
    extents = shape if isinstance(index, tuple) else (math.prod(shape),)
    if len(numbers) != len(extents):
        raise IndexError(
            f"{where}({index!r}): there must be one index per axis; got {len(numbers)} for axes of {shape}; "
            "give all of them, or the number of the run alone."
        )
    for number, extent in zip(numbers, extents, strict=True):
        if not -extent <= number < extent:
            raise IndexError(
                f"{where}({index!r}): there is no such run; got {number} for {extent} of them; "
                f"indices go from 0 to {extent - 1}."
            )
    place = [number % extent for number, extent in zip(numbers, extents, strict=True)]
    if isinstance(index, tuple):
        return tuple(place)
    return tuple(int(i) for i in np.unravel_index(place[0], shape))


def _checked(where: str, axes: Mapping[str, Any]) -> dict[str, Values]:
    if not axes:
        raise ValueError(
            f"{where}(): there must be something to sweep over; got no hyperparameter; "
            f"{where}(learn_rate=np.geomspace(1e-3, 0.2, 100)) works."
        )
    return {name: _values(where, name, data) for name, data in axes.items()}


def _values(where: str, name: str, data: Any) -> Values:
    """One column, checked: a read-only copy in float64 or float32."""
    here = f"{where}({name}=...)"
    if not name.isidentifier():
        raise ValueError(
            f"{where}(**{{{name!r}: ...}}): a hyperparameter is passed to the step by name; got {name!r}; "
            "names are Python identifiers, such as learn_rate."
        )
    try:
        values = np.asarray(data)
    except ValueError as error:  # rows of different lengths
        raise ShapeError(
            f"{here}: the values must have one shape; got {data!r:.60}, which has several; "
            "arrays of equal shape, one per run, work."
        ) from error
    if values.dtype.kind not in "fiub":
        raise DTypeError(
            f"{here}: the values must be real numbers; got dtype {values.dtype}; floats, integers and bools work; "
            "to choose among functions or words, call sweep once for each."
        )
    if values.ndim == 0:
        raise ShapeError(
            f"{here}: an axis needs a sequence of values; got the single number {values}; a value that is the same "
            f"in all runs is passed to sweep by name: sweep(..., {name}={values})."
        )
    if values.size == 0:
        raise ValueError(
            f"{here}: an axis needs at least one value; got shape {values.shape}; a sweep over nothing has no runs."
        )
    if values.dtype.kind in "iu" and max(-int(values.min()), int(values.max())) > _EXACT:
        raise ValueError(
            f"{here}: integers become float64, which holds them exactly up to 2**53; got one of "
            f"{max(-int(values.min()), int(values.max()))}; smaller ones work."
        )
    with np.errstate(over="ignore"):  # a longdouble too large for float64: refused as infinite below
        values = np.array(values, dtype=np.float32 if values.dtype == np.float32 else np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        first = np.argwhere(bad)[0].tolist()
        place = first[0] if len(first) == 1 else tuple(first)
        raise ValueError(
            f"{here}: the values must be finite; got {int(bad.sum())} that are not, the first at index {place} "
            f"({values[tuple(first)]}); drop them, for example with values[np.isfinite(values)]."
        )
    return values


def _describe(values: Values) -> str:
    count, low, high = values.shape[0], float(values.min()), float(values.max())
    what = f"{count:,} value{'' if count == 1 else 's'}"
    if values.ndim > 1:
        what = f"{count:,} array{'' if count == 1 else 's'} of shape {values.shape[1:]}"
    return f"{what}, {low:g}" if low == high else f"{what}, {low:g} to {high:g}"
