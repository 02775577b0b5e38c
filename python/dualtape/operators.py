# SPDX-License-Identifier: MIT
"""Differential operators of MATLAB's custom training loops, for use inside `dlfeval`.

All three take values u and inputs x with one axis of components (`dim`) and treat the other axes of u as independent
observations: one reverse pass for each component serves all observations at once. If observations depend on each
other (through a batch normalisation, say), the result is a sum over them, which cannot be noticed here.
"""

from __future__ import annotations

from dualtape import _core
from dualtape._core import ShapeError, dlarray, dlgradient

__all__ = ["dldivergence", "dljacobian", "dllaplacian"]


def _component(u: dlarray, dim: int, i: int) -> dlarray:
    return u[(slice(None),) * dim + (i,)].sum()


def _axis(name: str, u: dlarray, dim: int) -> int:
    for value in (u,):
        if not isinstance(value, dlarray):
            raise _core.DTypeError(f"{name}: u must be a traced dlarray; a {type(value).__name__} was given.")
        if value.dims:
            raise ShapeError(f"{name}: u has the labels {value.dims!r}; call stripdims(u) first.")
    if not -u.ndim <= dim < u.ndim:
        raise ShapeError(f"{name}{u.shape}: there is no axis {dim}; name one of 0 to {u.ndim - 1}.")
    return dim % u.ndim


def dljacobian(u: dlarray, x: dlarray, dim: int = 0, *, enable_higher_derivatives: bool = True) -> dlarray:
    """Derivatives of each component of u with respect to x, observation by observation.

    Parameters
    ----------
    u : dlarray, shape (k, ..., batch)
        Traced values, without labels; `dim` is the axis of the k components.
    x : dlarray
        Traced inputs, without labels.
    dim : int
        Axis of u (from 0; MATLAB counts from 1).
    enable_higher_derivatives : bool
        Whether the result may be differentiated again.

    Returns
    -------
    dlarray, shape (k, *x.shape)

    Examples
    --------
    >>> import numpy as np
    >>> import dualtape as dt
    >>> x = dt.dlarray(np.ones((3, 5)))
    >>> dt.dlfeval(lambda x: dt.dljacobian(x**2, x), x).shape
    (3, 3, 5)
    """
    axis = _axis("dljacobian", u, dim)
    rows = [
        dlgradient(_component(u, axis, i), x, enable_higher_derivatives=enable_higher_derivatives)
        for i in range(u.shape[axis])
    ]
    result: dlarray = _core.stack(rows)
    return result


def _diagonal_sum(name: str, u: dlarray, x: dlarray, axis: int, enable_higher_derivatives: bool) -> dlarray:
    if u.shape != x.shape:
        raise ShapeError(f"{name}({u.shape}, {x.shape}): u and x must have the same shape.")
    total: dlarray | None = None
    for i in range(u.shape[axis]):
        row = dlgradient(_component(u, axis, i), x, enable_higher_derivatives=enable_higher_derivatives)
        part = row[(slice(None),) * axis + (slice(i, i + 1),)]
        total = part if total is None else total + part
    if total is None:
        raise ShapeError(f"{name}({u.shape}): there are no components along axis {axis}.")
    return total


def dldivergence(u: dlarray, x: dlarray, dim: int = 0, *, enable_higher_derivatives: bool = True) -> dlarray:
    """Sum of the partials of u_i with respect to x_i, observation by observation.

    Parameters are those of `dljacobian`; u and x have the same shape.

    Returns
    -------
    dlarray
        The shape of u with extent 1 along `dim`.
    """
    return _diagonal_sum("dldivergence", u, x, _axis("dldivergence", u, dim), enable_higher_derivatives)


def dllaplacian(u: dlarray, x: dlarray, dim: int = 0, *, enable_higher_derivatives: bool = True) -> dlarray:
    """Sum of the second derivatives of u with respect to each x_i, observation by observation.

    Parameters are those of `dljacobian`; u has extent 1 along `dim`.

    Returns
    -------
    dlarray
        The shape of x with extent 1 along `dim`.
    """
    axis = _axis("dllaplacian", u, dim)
    if u.shape[axis] != 1:
        raise ShapeError(f"dllaplacian{u.shape}: u must have extent 1 along axis {axis}; take one component.")
    gradient = dlgradient(u.sum(), x, enable_higher_derivatives=True)
    return _diagonal_sum("dllaplacian", gradient, x, axis, enable_higher_derivatives)
