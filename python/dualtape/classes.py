# SPDX-License-Identifier: MIT
"""Classes as vectors and back: `onehotencode` and `onehotdecode`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dualtape import _core
from dualtape._core import DTypeError, dlarray

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["onehotdecode", "onehotencode"]

_ops = _core.elementwise


def onehotencode(a: Any, feature_dim: int = -1, dtype: Any = np.float64, *, class_names: Any = None) -> dlarray:
    """A vector for each label: 1 at the place of its class, 0 elsewhere.

    Parameters
    ----------
    a : array of numbers, strings or bools
        Labels. Numbers may be traced.
    feature_dim : int
        Where the new axis stands in the result (from 0; MATLAB counts from 1, and takes an axis of extent 1).
    dtype : dtype
        float64 or float32.
    class_names : sequence, optional
        The classes in order; by default what occurs, sorted.

    Returns
    -------
    dlarray
        A constant with one axis more. A label that is no class gives NaN.

    Examples
    --------
    >>> import dualtape as dt
    >>> dt.onehotencode(["cat", "dog", "cat"]).tolist()
    [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """
    if class_names is None:
        class_names = np.unique(_core.extractdata(a) if isinstance(a, dlarray) else np.asarray(a))
    classes = np.asarray(class_names)
    ndim = a.ndim if isinstance(a, dlarray) else np.ndim(a)
    axis = feature_dim % (ndim + 1)
    places = classes.reshape(tuple(classes.size if i == axis else 1 for i in range(ndim + 1)))
    if isinstance(a, dlarray):
        labels = _core.with_labels(a, None) if a.dims else a
        hits = _core.astype(_ops.equal(_core.expand_dims(labels, axis), places), dtype)
        return _ops.where(_core.sum(hits, axis, True), hits, np.nan)
    found = np.expand_dims(np.asarray(a), axis) == places
    return dlarray(np.where(found.any(axis, keepdims=True), found, np.nan).astype(dtype))


def onehotdecode(b: Any, classes: Any, feature_dim: int = -1) -> NDArray[Any]:
    """The class with the largest number of each vector.

    Parameters
    ----------
    b : array
        Probabilities or scores of the classes along an axis.
    classes : sequence
        The classes in order.
    feature_dim : int
        The axis of the classes (from 0).

    Returns
    -------
    numpy.ndarray
        Of the dtype of `classes`, with one axis less.

    Raises
    ------
    DTypeError
        The numbers of classes differ.
    """
    scores = _core.extractdata(b) if isinstance(b, dlarray) else np.asarray(b)
    names = np.asarray(classes)
    if scores.shape[feature_dim] != names.size:
        raise DTypeError(
            f"onehotdecode{scores.shape}: axis {feature_dim} has {scores.shape[feature_dim]} elements and there are "
            f"{names.size} classes; they must be equal."
        )
    return names[np.argmax(scores, axis=feature_dim)]
