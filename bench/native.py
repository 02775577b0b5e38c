# SPDX-License-Identifier: MIT
"""Compile the hand-written C++ of `native/` on the spot and load it with ctypes.

Start with `load`.  Each file is a plain C interface over C++ written as an expert would for this very
machine: ``-O3 -march=native`` and no fast-math.  A machine without a compiler just lacks these competitors.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .model import Unavailable

_SOURCES = Path(__file__).resolve().parent / "native"
_FLAGS = ["-std=c++17", "-O3", "-march=native", "-fopenmp-simd", "-shared", "-fPIC", "-pthread"]
_FLAGS += ["-fno-math-errno", "-fno-trapping-math"]  # what the vector functions of the C library ask for
if platform.machine() in ("x86_64", "AMD64"):
    _FLAGS.append("-mprefer-vector-width=512")  # GCC's default of 256 suits code with few loops

Array = NDArray[np.float64]


def find_compiler() -> str | None:
    """Return the command of a C++ compiler: what CXX names, else the first of the usual ones."""
    candidates = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    return next((name for name in candidates if name and shutil.which(name)), None)


@functools.cache
def _folder() -> Path:
    folder = tempfile.mkdtemp(prefix="bench-native-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@functools.cache
def _compiled(name: str, *flags: str) -> Path:
    """Compile ``native/<name>.cpp``, once per process, and return the library's path.

    Further flags are for what is not to be had with those of all, such as fast-math.

    Raises
    ------
    Unavailable
        If there is no compiler, or if it rejects the flags or the file.
    """
    compiler = find_compiler()
    if compiler is None or sys.platform == "win32":
        raise Unavailable("no C++ compiler")
    target = _folder() / f"{name}.so"
    command = [compiler, *_FLAGS, *flags, str(_SOURCES / f"{name}.cpp"), "-o", str(target), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        raise Unavailable(f"{compiler}: {(errors or ['failed'])[0].rpartition('error:')[2].strip()}")
    return target


@functools.cache
def load(name: str, *flags: str) -> ctypes.CDLL:
    """Return the compiled library of ``native/<name>.cpp``."""
    return ctypes.CDLL(str(_compiled(name, *flags)))


def module(name: str) -> Any:
    """Return ``native/<name>.cpp`` as a module of Python; it takes Python's headers."""
    path = str(_compiled(name, f"-I{sysconfig.get_path('include')}"))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def function(
    library: str, name: str, *arguments: Any, result: Any = None, flags: tuple[str, ...] = ()
) -> Callable[..., Any]:
    """Return one C function, typed."""
    found = getattr(load(library, *flags), name)
    found.argtypes = arguments
    found.restype = result
    return found  # type: ignore[no-any-return]


def pointer(array: Array) -> Any:
    """Return the address of an array's data, for a parameter of type `doubles`; keep the array alive."""
    if not array.flags.c_contiguous or array.dtype != np.float64:
        raise ValueError("pointer: a contiguous float64 array is needed")
    return array.ctypes.data_as(doubles)


doubles = ctypes.POINTER(ctypes.c_double)
int64 = ctypes.c_int64
double = ctypes.c_double
