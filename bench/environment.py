# SPDX-License-Identifier: MIT
"""One thread for everyone, and a description of the machine for the record.

`use_one_thread` has to run before anything that owns a thread pool is imported: `__main__` calls it first of
all. `machine` names the processor and the versions, and nothing that would tell whose machine it is.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

_PACKAGES = (
    *("dualtape", "numpy", "scipy", "torch", "jax", "jaxlib", "optax"),
    *("autograd", "casadi", "numba", "xad", "scikit-learn", "matplotlib"),
)


def use_one_thread() -> None:
    """Tell every thread pool that a competitor may bring along to use one thread, and JAX to use float64."""
    for name in ("OMP", "MKL", "OPENBLAS", "BLIS", "VECLIB_MAXIMUM", "NUMEXPR", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    os.environ["XLA_FLAGS"] = " ".join(
        (
            os.environ.get("XLA_FLAGS", ""),
            "--xla_cpu_multi_thread_eigen=false",
            "intra_op_parallelism_threads=1",
        )
    ).strip()
    os.environ["NPROC"] = "1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_ENABLE_X64"] = "1"


def machine() -> dict[str, object]:
    """Return what a reader of the numbers has to know: processor, system, compiler and versions."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": _compiler(),
        "threads": 1,
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()


def _compiler() -> str | None:
    from .native import find_compiler

    command = find_compiler()
    if command is None:
        return None
    lines = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout.splitlines()
    return lines[0] if lines else None
