# SPDX-License-Identifier: MIT
"""Write the stub of the extension module, python/dualtape/_core.pyi, from the module itself.

    python tools/stubs.py               # writes
    python tools/stubs.py --check       # exit 1 if it is out of date, or if mypy.stubtest finds it untrue

Names and parameters come from the built module: `__text_signature__` of what is written for CPython, the
first docstring line of what pybind11 makes. Types that a signature does not tell are looked up by name below;
what is not there either is `Any`. Start reading at `stub`.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from dualtape import _core

STUB = Path(__file__).resolve().parent.parent / "python" / "dualtape" / "_core.pyi"

HEAD = """# SPDX-License-Identifier: MIT
# The stub of the extension module, made by tools/stubs.py from the module itself.
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any, ClassVar, Self, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

_Axis: TypeAlias = int | Sequence[int] | None
"""

PARAMETERS = {
    "axis": "_Axis",
    "keepdims": "bool",
    "ddof": "float",
    "fmt": "str | None",
    "fun": "Callable[..., Any]",
    "retain_data": "bool",
    "enable_higher_derivatives": "bool",
    "allow_complex": "bool",
    "unconnected": "str",
    "shape": "int | Sequence[int]",
    "axes": "int | Sequence[int] | None",
    "axis1": "int",
    "axis2": "int",
    "arrays": "Sequence[Any]",
}
ATTRIBUTES = {  # of dlarray and Dual
    "T": "dlarray",
    "mT": "dlarray",
    "real": "dlarray",
    "imag": "dlarray",
    "device": "str",
    "dims": "str",
    "dtype": "np.dtype[Any]",
    "itemsize": "int",
    "__pandas_priority__": "int",
    "nbytes": "int",
    "ndim": "int",
    "shape": "tuple[int, ...]",
    "size": "int",
    "tracked": "bool",
}
RETURNS = {
    "changed": "str | None",
    "labels": "list[str]",  # of methods and functions, where it is not a dlarray (or, for a Dual, a Dual)
    "__array__": "NDArray[Any]",
    "__array_function__": "Any",
    "__array_namespace__": "Any",
    "__array_ufunc__": "Any",
    "__call__": "Any",
    "__init__": "None",
    "__bool__": "bool",
    "__delitem__": "None",
    "__dlpack__": "Any",
    "__dlpack_device__": "tuple[int, int]",
    "__divmod__": "tuple[dlarray, dlarray]",
    "__float__": "float",
    "__format__": "str",
    "__hash__": "int",
    "__index__": "int",
    "__int__": "int",
    "__iter__": "Iterator[dlarray]",
    "__len__": "int",
    "__rdivmod__": "tuple[dlarray, dlarray]",
    "__reduce__": "tuple[Any, ...]",
    "fill": "None",
    "nonzero": "tuple[dlarray, ...]",
    "sort": "None",
    "__repr__": "str",
    "__setitem__": "None",
    "__str__": "str",
    "dlfeval": "Any",
    "dlgradient": "Any",
    "extractdata": "Any",
    "item": "Any",
    "numpy": "NDArray[Any]",
    "optim_norm": "Any",
    "optim_update": "Any",
    "stop_gradient": "Any",
    "tolist": "Any",
}
VARIABLES = {"_direct": "bool", "_latest": "Latest", "calls": "int", "hits": "int"}  # attributes to assign to
NOTHING = {"Checks", "Latest"}  # classes whose other methods return nothing
IS_BASE = 1 << 10  # Py_TPFLAGS_BASETYPE
COMPARISONS = {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}
PYBIND_TYPES = {  # as pybind11 spells them
    r"typing\.SupportsInt \| typing\.SupportsIndex": "int",
    r"typing\.SupportsFloat \| typing\.SupportsIndex": "float",
    r"collections\.abc\.Sequence(?!\[)": "Sequence[Any]",
    r"collections\.abc\.Sequence(?=\[)": "Sequence",
    r"numpy\.ndarray": "NDArray[Any]",
    r"collections\.abc\.Callable": "Callable[..., Any]",
    r"\bobject\b": "Any",
    r"\btuple\b(?!\[)": "tuple[Any, ...]",
    r"\bdict\b(?!\[)": "dict[str, Any]",
    r"\blist\b(?!\[)": "list[Any]",
    r"dualtape\._core\.": "",
}


def parameter(p: inspect.Parameter, name: str) -> str:
    """One parameter of a function, with its type."""
    annotation = "" if p.name == "self" else f": {PARAMETERS.get(p.name, 'Any')}"
    if p.name == "dtype" or name.startswith("__"):
        annotation = "" if p.name == "self" else ": Any"
    star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    default = "" if p.default is p.empty else f" = {p.default!r}" if annotation else f"={p.default!r}"
    return f"{star}{p.name}{annotation}{default}".replace("'", '"')


def signature(value: Any, name: str) -> str | None:
    """The parameters of what carries a text signature, or None."""
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return None
    parts: list[str] = []
    for i, p in enumerate(parameters):
        before = parameters[i - 1].kind if i else None
        if before is p.POSITIONAL_ONLY and p.kind is not p.POSITIONAL_ONLY:
            parts.append("/")
        if p.kind is p.KEYWORD_ONLY and before not in (p.KEYWORD_ONLY, p.VAR_POSITIONAL):
            parts.append("*")
        parts.append(parameter(p, name))
    if parameters and parameters[-1].kind is inspect.Parameter.POSITIONAL_ONLY:
        parts.append("/")
    return ", ".join(parts)


def pybind_signature(value: Any, name: str) -> str | None:
    """Parameters and result as pybind11 writes them into the docstring, or None."""
    match = re.match(rf"{name}\((.*)\) -> (.*)", (value.__doc__ or "").split("\n")[0])
    if match is None:
        return None
    text = f"({match[1]}) -> {match[2]}"
    for pattern, ours in PYBIND_TYPES.items():
        text = re.sub(pattern, ours, text)
    return re.sub(r"\(self: \w+", "(self", text)


def function(name: str, value: Any, owner: str | None = None) -> str:
    """The definition of a function, or of a method of `owner`."""
    indent = "    " if owner else ""
    if text := pybind_signature(value, name):
        return f"{indent}def {name}{text}: ..."
    fallback = "self, *args: Any, **kwargs: Any" if owner else "*args: Any, **kwargs: Any"
    parameters = signature(value, name) or fallback
    default = "dlarray" if owner in (None, "dlarray") else "None" if owner in NOTHING else owner
    result = RETURNS.get(name, "Any" if name in COMPARISONS and owner != "dlarray" else default)
    # object's own comparison returns bool; an array's returns an array
    comment = "  # type: ignore[override]" if name in ("__eq__", "__ne__") and owner == "dlarray" else ""
    return f"{indent}def {name}({parameters}) -> {result}: ...{comment}"


def is_pybind(cls: type) -> bool:
    return type(cls).__name__ == "pybind11_type"


def members(cls: type) -> Iterator[str]:
    """The definitions of a class."""
    # __buffer__ has a name from Python 3.12 on, and the stub is the same for all versions
    skipped = {"__doc__", "__module__", "__new__", "__getattribute__", "__dict__", "__weakref__", "__buffer__",
               "__init_subclass__"}  # fmt: skip
    attributes, methods = [], []
    for name, value in sorted(vars(cls).items()):
        if name in skipped or "pybind11" in name:
            continue
        if value is None:
            attributes.append(f"    {name}: ClassVar[None]  # type: ignore[assignment]")
        elif name in VARIABLES:
            attributes.append(f"    {name}: {VARIABLES[name]}")
        elif type(value).__name__ in ("getset_descriptor", "property"):
            kind = ATTRIBUTES.get(name, "Any")
            methods.append(f"    @property\n    def {name}(self) -> {kind}: ...")
        elif callable(value):
            methods.append(function(name, value, cls.__name__))
    yield from attributes
    if not is_pybind(cls) and not issubclass(cls, BaseException):
        parameters = signature(cls, cls.__name__) or "*args: Any, **kwargs: Any"
        yield f"    def __new__(cls, {parameters}) -> Self: ..."
    yield from methods


def definitions(module: ModuleType) -> Iterator[str]:
    """The definitions of a module: classes, bases first, then functions."""
    values = {name: value for name, value in sorted(vars(module).items()) if not name.startswith("__")}
    classes = [(name, value) for name, value in values.items() if isinstance(value, type)]
    for name, cls in sorted(classes, key=lambda item: (len(item[1].__mro__), item[0])):
        bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object and not is_pybind(cls))
        plain = issubclass(cls, BaseException) or is_pybind(cls)
        # A class of C with fields of its own: whoever inherits from it can inherit from no other such class.
        final = "" if plain else "@disjoint_base\n" if cls.__flags__ & IS_BASE else "@final\n"
        body = list(members(cls)) or ["    ..."]
        head = f"class {name}({bases}):" if bases else f"class {name}:"
        yield f"{final}{head}" + (" ...\n" if body == ["    ..."] else "\n" + "\n".join(body) + "\n")
    for name, value in values.items():
        if callable(value) and not isinstance(value, type):
            yield function(name, value)


def stub() -> str:
    """The text of the stub."""
    tables = "".join(f"{name}: ModuleType\n" for name, value in vars(_core).items() if isinstance(value, ModuleType))
    return f"{HEAD}\n__version__: str\n{tables}\n" + "\n".join(definitions(_core)) + "\n"


def formatted(text: str) -> str:
    """The text as the formatter leaves it."""
    command = ["ruff", "format", "-q", "--stdin-filename", str(STUB), "-"]
    return subprocess.run(command, input=text, check=True, capture_output=True, text=True).stdout


def untrue() -> int:
    """What mypy.stubtest finds: 0 for nothing."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as allowed:
        # the metaclass of pybind11's classes, which has no name in Python
        for name, value in vars(_core).items():
            if isinstance(value, type) and is_pybind(value):
                allowed.write(f"dualtape\\._core\\.{name}\n")
        allowed.flush()
        command = [sys.executable, "-m", "mypy.stubtest", "dualtape._core", "--allowlist", allowed.name]
        return subprocess.run(command).returncode


def main() -> int:
    """Write or check."""
    wanted = formatted(stub())
    if "--check" not in sys.argv[1:]:
        STUB.write_text(wanted, encoding="utf-8")
        return 0
    if not STUB.exists() or wanted != STUB.read_text(encoding="utf-8"):
        print(f"{STUB.name} differs from the module; run: python tools/stubs.py")
        return 1
    return untrue()


if __name__ == "__main__":
    sys.exit(main())
