# SPDX-License-Identifier: MIT
"""Print the Chebyshev coefficients of cpp/dualtape/ops/bessel_tables.hpp (needs mpmath).

    python tools/bessel.py > cpp/dualtape/ops/bessel_tables.hpp

Each table holds a smooth function of t in [-1, 1], to which a Bessel function comes down between two bounds: the
coefficients are those of the interpolant in 40 Chebyshev points, in 50 digits, up to the last that matters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp

mp.mp.dps = 50
POINTS = 40
BOUND = 8  # from there on the asymptotic form


def coefficients(f: Callable[[Any], Any]) -> list[Any]:
    """Of T_0, T_1, ...; the last is the last above 1e-18 of the largest."""
    nodes = [mp.cos(mp.pi * (k + mp.mpf(1) / 2) / POINTS) for k in range(POINTS)]
    values = [f(t) for t in nodes]
    out = []
    for j in range(POINTS):
        angles = (mp.cos(mp.pi * j * (k + mp.mpf(1) / 2) / POINTS) for k in range(POINTS))
        total = mp.fsum(v * c for v, c in zip(values, angles, strict=True))
        out.append(total * (1 if j == 0 else 2) / POINTS)
    most = max(map(abs, out))
    last = max(j for j, c in enumerate(out) if abs(c) > most * mp.mpf("1e-18"))
    return out[: last + 1]


def near(t: Any) -> Any:
    """|x| of a t, below the bound."""
    return BOUND * (t + 1) / 2


def near_square(t: Any) -> Any:
    """The same for functions of x^2."""
    return BOUND * mp.sqrt((t + 1) / 2)


def far(t: Any) -> Any:
    """|x| beyond it, as a function of 1 / x."""
    return 2 * BOUND / (t + 1) if t > -1 else mp.inf


def far_square(t: Any) -> Any:
    """The same for functions of 1 / x^2."""
    return BOUND / mp.sqrt((t + 1) / 2)


def modulus(n: int, x: Any) -> tuple[Any, Any]:
    """P and x Q with J_n(x) = sqrt(2 / (pi x)) (P cos(u) - Q sin(u)), u = x - (2 n + 1) pi / 4."""
    u = x - (2 * n + 1) * mp.pi / 4
    j, y, root = mp.besselj(n, x), mp.bessely(n, x), mp.sqrt(mp.pi * x / 2)
    return root * (j * mp.cos(u) + y * mp.sin(u)), root * (y * mp.cos(u) - j * mp.sin(u)) * x


TABLES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "kI0Near": ("exp(-x) I_0(x)", lambda t: mp.exp(-near(t)) * mp.besseli(0, near(t))),
    "kI0Far": ("sqrt(x) exp(-x) I_0(x)", lambda t: mp.sqrt(far(t)) * mp.exp(-far(t)) * mp.besseli(0, far(t))),
    "kI1Near": ("exp(-x) I_1(x) / x", lambda t: mp.exp(-near(t)) * mp.besseli(1, near(t)) / near(t)),
    "kI1Far": ("sqrt(x) exp(-x) I_1(x)", lambda t: mp.sqrt(far(t)) * mp.exp(-far(t)) * mp.besseli(1, far(t))),
    "kJ0Near": ("J_0(x)", lambda t: mp.besselj(0, near_square(t))),
    "kJ1Near": ("J_1(x) / x", lambda t: mp.besselj(1, near_square(t)) / near_square(t)),
    "kP0": ("P of J_0", lambda t: modulus(0, far_square(t))[0]),
    "kQ0": ("x Q of J_0", lambda t: modulus(0, far_square(t))[1]),
    "kP1": ("P of J_1", lambda t: modulus(1, far_square(t))[0]),
    "kQ1": ("x Q of J_1", lambda t: modulus(1, far_square(t))[1]),
}


def main() -> None:
    """Print the header."""
    print("// SPDX-License-Identifier: MIT")
    print("// Chebyshev coefficients for bessel.hpp, made by tools/bessel.py.")
    print("#pragma once\n\nnamespace dualtape::ops {\n")
    print(f"inline constexpr double kBesselBound = {BOUND};\n")
    for name, (what, f) in TABLES.items():
        print(f"/// {what}")
        print(f"inline constexpr double {name}[] = {{{', '.join(mp.nstr(c, 18) for c in coefficients(f))}}};")
    print("\n}  // namespace dualtape::ops")


if __name__ == "__main__":
    main()
