# SPDX-License-Identifier: MIT
"""What dualtape promises about its speed, each line checked against the numbers just measured.

Start with `PROMISES`.  A broken promise is printed as such but does not fail the bench: a loaded machine
would otherwise fail a build.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .model import USEFUL, Row


@dataclass(frozen=True)
class Promise:
    """One bound on one number of the table.

    Attributes
    ----------
    text
        What is promised.
    case, competitor
        Where to look; the competitor's ratio is relative to dualtape.
    quantity
        The attribute of the row: "ratio", "per_unit" (seconds) or "bytes_per_unit"; or the name of one of its
        further numbers.
    at_least, at_most
        The bound; one of them.
    """

    text: str
    case: str
    competitor: str
    quantity: str
    at_least: float | None = None
    at_most: float | None = None

    def kept(self, value: float) -> bool:
        """Return whether a measured value keeps the promise."""
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


STOPPING = "stopping: Adam from 1,000 starts"
RATES = "rates, descent: 4,096 by 1,000"
PROMISES = (
    Promise("at most twice the gradient by hand in Python floats", "seed", "Python floats", "ratio", 0.5),
    Promise("the same, against the loop with everything inlined", "seed", "Python floats, inlined", "ratio", 0.5),
    Promise("6 times as fast as a pure-Python tape", "seed", "Python tape", "ratio", 6.0),
    Promise("15 times as fast as XAD's binding", "seed", "XAD", "ratio", 15.0),
    Promise("150 times as fast as PyTorch", "seed", "PyTorch", "ratio", 150.0),
    Promise("280 times as fast as autograd", "seed", "autograd", "ratio", 280.0),
    Promise("a network's step 8 times as fast as PyTorch's", "digits", "PyTorch", "ratio", 8.0),
    Promise("exp of 10^6 numbers ahead of NumPy", "exp of 10^6", "NumPy", "ratio", 1.0),
    Promise("sin of 10^6 numbers ahead of NumPy", "sin of 10^6", "NumPy", "ratio", 1.0),
    Promise("tanh of 10^6 numbers ahead of NumPy", "tanh of 10^6", "NumPy", "ratio", 1.0),
    Promise("70 ns a node", "recurrence of 10^7 nodes", "dualtape", "per_unit", at_most=70e-9),
    Promise("a sweep no slower than JAX's, tracing included", RATES, "JAX vmap(fori_loop)", "ratio", 1.0),
    Promise("4 times as fast as JAX where runs stop in their own time", STOPPING, "JAX vmap(while_loop)", "ratio", 4.0),
    Promise("95 % of the iterations of lanes are useful", STOPPING, "dualtape", USEFUL, 0.95),
    Promise(
        "an if costs at most 4 times a step without",
        "branches: an if from 4,096 starts",
        "dualtape",
        "ratio",
        at_most=4.0,
    ),
    Promise(
        "a line search at most 4 times all its trials",
        "branches: a line search from 4,096 starts",
        "dualtape",
        "ratio",
        at_most=4.0,
    ),
    Promise("a network's step in a loop no slower than JAX's", "training: 4,000 steps", "JAX scan", "ratio", 1.0),
    Promise("tracing and compiling within 1 ms", "first result: descent", "dualtape loop", "per_unit", at_most=1e-3),
    Promise(
        "memory does not grow with the iterations",
        "loop: 10^8 iterations",
        "dualtape loop, recording",
        "bytes_per_unit",
        at_most=0.05,
    ),
    Promise("one run within 1.15 of C++", "loop: descent for 10^6 iterations", "C++", "ratio", 1 / 1.15),
    Promise("Adam within 1.15 of C++", "loop: Adam for 10^6 iterations", "C++", "ratio", 1 / 1.15),
    Promise("descent in lanes ahead of C++", "rates, descent: 4,096 by 10,000", "C++ vectors", "ratio", 1 / 0.9),
    Promise("Adam in lanes within 1.1 of C++", "rates, Adam: 4,096 by 10,000", "C++ vectors", "ratio", 1 / 1.1),
    Promise("logistic regression within 1.4 of C++", "logistic: 4,096 by 100", "C++, fast-math", "ratio", 1 / 1.4),
    Promise("runs that stop within 1.4 of C++ that refills", STOPPING, "C++ vectors, refilled", "ratio", 1 / 1.4),
    Promise("a network's step within 1.2 of C++", "training: 4,000 steps", "C++", "ratio", 1 / 1.2),
    Promise(
        "256 networks within 1.1 of C++", "training: 256 networks by 50 steps", "C++, one by one", "ratio", 1 / 1.1
    ),
    Promise("a call within 1.5 of a C function's", "calls", "C, METH_FASTCALL", "ratio", 1 / 1.5),
    Promise("a Hessian within 3 us", "Rosenbrock hessian", "dualtape, program", "per_unit", at_most=3e-6),
    Promise(
        "a gradient within 5 us",
        "Rosenbrock reverse in 1,000 dimensions",
        "dualtape, program",
        "per_unit",
        at_most=5e-6,
    ),
    Promise("a call of a program within 1 us", "calls", "dualtape, program", "per_unit", at_most=1e-6),
    Promise("into bound buffers within 0.3 us", "calls", "dualtape, bound buffers", "per_unit", at_most=0.3e-6),
    Promise("40 bytes a node", "recurrence of 10^7 nodes", "dualtape", "bytes_per_unit", at_most=40.0),
)


def table(rows: Sequence[Row]) -> str:
    """Return a line for each promise whose number was measured; the empty string if none was."""
    found = {(row.case, row.competitor): row for row in rows if row.status == "ok"}
    lines = []
    for promise in PROMISES:
        row = found.get((promise.case, promise.competitor))
        value = row.extra.get(promise.quantity, getattr(row, promise.quantity, None)) if row else None
        if value is None:
            continue
        verdict = "kept  " if promise.kept(value) else "BROKEN"
        bound = promise.at_least if promise.at_least is not None else promise.at_most
        sign = ">=" if promise.at_least is not None else "<="
        lines.append(f"  {verdict}  {promise.text} ({promise.case}): {value:.3g} {sign} {bound:.3g}")
    return "\nPromises\n" + "\n".join(lines) if lines else ""
