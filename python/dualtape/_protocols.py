# SPDX-License-Identifier: MIT
"""NumPy's protocols: what happens when one of NumPy's own functions meets a dlarray.

The methods ``__array_ufunc__`` and ``__array_function__`` of dlarray call the two functions of this file. A
function that `dualtape.numpy` has is called there, found by identity in a dict that is built once. Another
one gets plain ndarrays where nothing is being differentiated, and is refused where a derivative would be
lost.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import dualtape.numpy as dnp
from dualtape import _core
from dualtape._core import TraceError, dlarray
from dualtape._ufunc_methods import METHODS
from dualtape.numpy._elementwise import UFUNCS as _ELEMENTWISE
from dualtape.numpy._elementwise import refuse_out

Function = Callable[..., Any]

#: Ufuncs that dualtape has. The core looks here itself for a call without options.
UFUNCS: dict[np.ufunc, Function] = dict(_ELEMENTWISE)
UFUNCS |= {
    value: getattr(dnp, name)
    for name, value in vars(np).items()
    if isinstance(value, np.ufunc) and value not in UFUNCS and name in dnp.__all__
}

#: Functions of NumPy that are no ufuncs.
_FUNCTIONS: dict[Function, Function] = {
    theirs: getattr(ours, name)
    for namespace, ours in ((np, dnp), (np.linalg, dnp.linalg))
    for name in ours.__all__
    if callable(theirs := getattr(namespace, name, None)) and not isinstance(theirs, (np.ufunc, type))
}
_FUNCTIONS[np.linalg.matmul] = dnp.matmul


#: Functions that only look: at numbers to show them, at dtypes, at memory.
_LOOKS = {np.array2string, np.array_repr, np.array_str, np.can_cast, np.min_scalar_type, np.common_type}


def _name(function: Any) -> str:
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module}.{function.__name__}"


def _dlarrays(*objects: Any) -> Iterator[dlarray]:
    for item in objects:
        if isinstance(item, dlarray):
            yield item
        elif isinstance(item, (list, tuple)):
            yield from _dlarrays(*item)
        elif isinstance(item, dict):
            yield from _dlarrays(*item.values())


def _constants(item: Any) -> Any:
    """The same with ndarrays in place of dlarrays."""
    if isinstance(item, dlarray):
        return _core.extractdata(item)
    if isinstance(item, (list, tuple)):
        return type(item)(map(_constants, item))
    if isinstance(item, dict):
        return {key: _constants(value) for key, value in item.items()}
    return item


def _reason(name: str) -> str:
    """Why there is no derivative."""
    if name.startswith("numpy.fft.") or name.rsplit(".", 1)[-1] in ("eig", "eigvals", "roots", "sort_complex"):
        return "its results are complex, and dlarrays hold real numbers"
    return "dualtape has no derivative of this function"


def _on_constants(function: Function, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    for x in _dlarrays(*args, kwargs):
        if x.tracked and function not in _LOOKS:
            raise TraceError(
                f"{name}{x.shape}: {_reason(name)}; a dlarray that is being differentiated was given; write it with "
                "functions of dualtape.numpy, give it a rule of its own with custom_vjp, or cut it off on purpose with "
                "extractdata(x)."
            )
    return function(*_constants(args), **_constants(kwargs))


def array_ufunc(self: dlarray, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """What ``dlarray.__array_ufunc__`` does.

    Parameters
    ----------
    self : dlarray
    ufunc : numpy.ufunc
    method : {"__call__", "reduce", "accumulate", "outer", "reduceat", "at"}
    *inputs, **kwargs
        Operands, of which at least one is a dlarray, and options.

    Returns
    -------
    dlarray
        Or what NumPy returns, for a ufunc that dualtape does not have and constant operands.

    Raises
    ------
    TypeError
        For ``out=`` and options that dualtape does not take.
    TraceError
        Where a derivative would be lost.
    """
    if method == "__call__" and not kwargs:
        function = UFUNCS.get(ufunc)
        if function is not None:
            return function(*inputs)
    return _special_call(ufunc, method, inputs, kwargs)


def dual_ufunc(ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """``Dual.__array_ufunc__``: the ufuncs that are ops of the table."""
    function = _ELEMENTWISE.get(ufunc)
    return NotImplemented if method != "__call__" or kwargs or function is None else function(*inputs)


def _special_call(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls of a ufunc with options, its methods, and ufuncs from elsewhere."""
    name = _name(ufunc)
    if kwargs.get("out") is not None:
        refuse_out(name)
    function = UFUNCS.get(ufunc) or _from_scipy(ufunc)
    if function is None:
        return _on_constants(getattr(ufunc, method), name, inputs, kwargs)
    if method == "__call__":
        dtype = kwargs.pop("dtype", None)
        if dtype is not None:
            inputs = tuple(dnp.asarray(x, dtype) for x in inputs)
        if kwargs.get("where") is not None:
            raise TypeError(f"{name}: where= is not taken; the result would be undefined elsewhere; use numpy.where.")
        kwargs = {key: value for key, value in kwargs.items() if key not in ("casting", "order", "subok")}
        return function(*inputs, **kwargs)
    if ufunc.nout == 1 and ufunc.signature is None:
        return METHODS[method](ufunc, function, *inputs, **kwargs)
    return getattr(ufunc, method)(*_constants(inputs), **_constants(kwargs))  # NumPy says why not


def _from_scipy(ufunc: np.ufunc) -> Function | None:
    """The function of dualtape.scipy.special that a ufunc of SciPy stands for; remembered."""
    special = sys.modules.get("scipy.special")
    if special is not None and getattr(special, ufunc.__name__, None) is ufunc:
        from dualtape.scipy import special as ours

        if ufunc.__name__ in ours.__all__:
            return UFUNCS.setdefault(ufunc, getattr(ours, ufunc.__name__))
    return None


def array_function(
    self: dlarray, func: Function, types: tuple[type, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What ``dlarray.__array_function__`` does.

    Parameters
    ----------
    self : dlarray
    func : callable
        The function of NumPy that was called.
    types : collection of type
        Types among the arguments that have the protocol.
    args, kwargs
        Its arguments.

    Returns
    -------
    dlarray
        Or what NumPy returns, for a function that dualtape does not have and constant arguments.

    Raises
    ------
    TraceError
        Where a derivative would be lost.
    """
    function = _FUNCTIONS.get(func)
    if function is not None:
        return function(*args, **kwargs)
    if not all(issubclass(t, (dlarray, np.ndarray)) for t in types):
        return NotImplemented
    return _on_constants(func, _name(func), args, kwargs)


def array_namespace(self: dlarray, /, *, api_version: str | None = None) -> Any:
    """What ``dlarray.__array_namespace__`` does.

    Parameters
    ----------
    self : dlarray
    api_version : str, optional
        A version of the array-API standard, from "2021.12" to "2024.12".

    Returns
    -------
    module
        `dualtape.array_api`.

    Raises
    ------
    ValueError
        There is no such version, or a later one.
    """
    from dualtape import array_api

    versions = ("2021.12", "2022.12", "2023.12", array_api.__array_api_version__)
    if api_version not in (None, *versions):
        raise ValueError(
            f"__array_namespace__: version {api_version!r} is not there; use one of {', '.join(versions)}."
        )
    return array_api


def to_device(self: dlarray, device: Any, /, *, stream: Any = None) -> dlarray:
    """What ``dlarray.to_device`` does: the array itself, for "cpu", which is the only device."""
    if device != "cpu" or stream is not None:
        raise ValueError(f"to_device: arrays are on 'cpu', without streams; {device!r} was given.")
    return self


def numpy_method(self: dlarray, name: str, *args: Any, **kwargs: Any) -> Any:
    """A method of ndarray that dlarray has by a function of `dualtape.numpy`."""
    return getattr(dnp, name)(self, *args, **kwargs)


def flatten(self: dlarray, order: Any = "C") -> dlarray:
    """What ``dlarray.flatten`` does: `ravel`, as a copy."""
    return dnp.ravel(self, order).copy()


def fill(self: dlarray, value: Any, /) -> None:
    """What ``dlarray.fill`` does: assigns one value."""
    self[...] = value


def sort(self: dlarray, axis: int = -1, kind: Any = None, order: None = None, *, stable: bool | None = None) -> None:
    """What ``dlarray.sort`` does: assigns the sorted elements."""
    self[...] = dnp.sort(self, axis, kind, order, stable=stable)
