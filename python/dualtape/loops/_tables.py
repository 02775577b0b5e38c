# SPDX-License-Identifier: MIT
"""Results as tables of other packages: xarray's Dataset and pandas' DataFrame. Both are imported when used.

Names of variables are the tidy names of _choose.py; `Runs.to_xarray` says how they read.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from dualtape._core import __version__

from ._choose import named_leaves

if TYPE_CHECKING:
    from ._results import Runs


def _package(method: str, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{method}(): tables need {name}, which is not installed; pip install dualtape[results]"
        ) from error


def _free(name: str, taken: set[str]) -> str:
    """The name of a hyperparameter in a table, out of the way of the results' own names."""
    return f"over.{name}" if name in taken else name


def to_xarray(runs: Runs) -> Any:
    """See Runs.to_xarray."""
    xarray = _package("to_xarray", "xarray")
    variables: dict[str, tuple[tuple[str, ...], NDArray[Any]]] = {}
    results = [
        (name, leaf) for root in ("state", "value") for name, leaf in named_leaves(getattr(runs, root), root).items()
    ]
    history = named_leaves(runs.history, "history")
    taken = {name for name, _ in results} | set(history) | {"iterations", "stopped", "record"}
    dims = tuple(_free(dim, taken) for dim in runs.over.dims)
    renamed = dict(zip(runs.over.dims, dims, strict=True))
    for name, leaf in results:
        inner = tuple(f"{name}.axis{i}" for i in range(leaf.ndim - len(dims)))
        variables[name] = ((*dims, *inner), leaf)
    for name, leaf in history.items():
        owner = "value" + name.removeprefix("history")
        inner = tuple(f"{owner}.axis{i}" for i in range(leaf.ndim - len(dims) - 1))
        variables[name] = ((*dims, "record", *inner), leaf)
    variables["iterations"] = (dims, runs.iterations)
    variables["stopped"] = (dims, runs.stopped)
    coordinates: dict[str, Any] = {
        _free(name, taken): (tuple(renamed.get(dim, dim) for dim in along), values)
        for name, (along, values) in runs.over.coordinates().items()
    }
    if history:
        coordinates["record"] = (("record",), runs.recorded, {"long_name": "iteration"})
    attributes = {"seconds": runs.seconds, "useful": runs.useful, "dualtape": __version__}
    if runs.record_every is not None:  # None is nothing that a NetCDF file could hold
        attributes["record_every"] = runs.record_every
    return xarray.Dataset(variables, coordinates, attributes)


def to_pandas(runs: Runs) -> Any:
    """See Runs.to_pandas."""
    pandas = _package("to_pandas", "pandas")
    results = {
        name: leaf.reshape(-1)
        for root in ("state", "value")
        for name, leaf in named_leaves(getattr(runs, root), root).items()
        if leaf.shape == runs.shape
    }
    results |= {"iterations": runs.iterations.reshape(-1), "stopped": runs.stopped.reshape(-1)}
    columns = {_free(name, set(results)): values for name, values in runs.over.columns().items() if values.ndim == 1}
    return pandas.DataFrame(columns | results)
