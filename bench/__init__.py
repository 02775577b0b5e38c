# SPDX-License-Identifier: MIT
"""The bench suite and the pure-Python reference; `README.md` beside this file says how to use them.

Start with `model`, the few words that everything here is made of, then one module of `workloads`.
"""
