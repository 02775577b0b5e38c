# SPDX-License-Identifier: MIT
"""What all optimizers share: an immutable set of hyperparameters, and the verbs init, update and apply_.

A subclass is a frozen dataclass whose fields are hyperparameters. It names the rule of the core's table that
it runs (`_rule`), and has a field or property for each hyperparameter of that rule; checking, calling and
printing are here.

A state is a plain dict: the iteration, one tree like the parameters for each state of the rule, and a number
for each number that the rule carries. So it prints, pickles, and is itself a tree.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, NoReturn

from .._core import dlarray, optim_update
from .._update import (
    CHECK_FINITE,
    IN_PLACE,
    RULES,
    THRESHOLD_METHODS,
    carefully,
    check_number,
    zeros_like,
)
from ..tree import flatten, paths, unflatten

SHARED_PARAMETERS = """weight_decay : float
        Factor of the parameters that is added to the gradients (an L2 term).
    decoupled_weight_decay : bool
        Shrink the parameters by ``1 - learn_rate * weight_decay`` instead of changing the gradients.
    l1 : float
        Factor of the signs of the parameters that is added to the gradients.
    gradient_threshold : float
        Clip gradients that are larger, before anything else; infinity for no clipping.
    gradient_threshold_method : {"l2norm", "global-l2norm", "absolute-value"}
        What is compared with the threshold: the norm of each array, that of all arrays together, or each
        element.
    maximize : bool
        Climb instead of descend.
    check_finite : bool
        Raise NumericError, having changed nothing, if a gradient holds NaN or infinity."""


@dataclass(frozen=True, repr=False)
class Optimizer:
    """Base of the optimizers: see the module's page for how they are used."""

    _rule: ClassVar[str] = ""
    # Set by __post_init__: rule, names of states and carried numbers, hyperparameters, terms, flags.
    _prepared: ClassVar[Any] = None

    _: KW_ONLY
    weight_decay: float = 0.0
    decoupled_weight_decay: bool = False
    l1: float = 0.0
    gradient_threshold: float = math.inf
    gradient_threshold_method: str = "l2norm"
    maximize: bool = False
    check_finite: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__doc__:
            cls.__doc__ = cls.__doc__.replace("{shared}", SHARED_PARAMETERS)

    def __post_init__(self) -> None:
        name = type(self).__name__
        rule = RULES[self._choose_rule()]
        hyper = tuple(getattr(self, hyper[0]) for hyper in rule.hypers)
        for (hyper_name, _, low, high), value in zip(rule.hypers, hyper, strict=True):
            if not isinstance(value, dlarray) and not callable(value):
                check_number(name, hyper_name, value, low, high)
        for shared in ("weight_decay", "l1"):
            check_number(name, shared, getattr(self, shared), 0.0, math.inf)
        if not self.gradient_threshold > 0:
            raise ValueError(
                f"{name}(gradient_threshold): gradient_threshold must be above 0; got "
                f"{self.gradient_threshold!r}; "
                "use math.inf for no clipping."
            )
        if self.gradient_threshold_method not in THRESHOLD_METHODS[1:]:
            raise ValueError(
                f"{name}(gradient_threshold_method): unknown method; got "
                f"{self.gradient_threshold_method!r}; use "
                "'l2norm', 'global-l2norm' or 'absolute-value'."
            )
        # Prepared once, because an update takes about a microsecond.
        method = 0 if self.gradient_threshold == math.inf else THRESHOLD_METHODS.index(self.gradient_threshold_method)
        terms = (
            method,
            self.gradient_threshold,
            self.l1,
            self.weight_decay,
            self.decoupled_weight_decay,
            self.maximize,
        )
        idle = not (method or self.l1 or self.weight_decay or self.maximize)
        flags = CHECK_FINITE if self.check_finite else 0
        names = rule.states + rule.carries
        object.__setattr__(self, "_prepared", (rule, names, hyper, None if idle else terms, flags))

    def _choose_rule(self) -> str:
        """The name of the rule in the core's table."""
        return self._rule

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        self.__post_init__()  # numbers of rules may differ between versions

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if field.name == "learn_rate" or getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def init(self, params: Any) -> dict[str, Any]:
        """Make the state for the first update.

        Parameters
        ----------
        params : tree
            The parameters: dlarrays, ndarrays or floats.

        Returns
        -------
        dict
            ``{"iteration": 0, ...}`` with zeros like the parameters for each state of the rule.
        """
        rule = self._prepared[0]
        leaves, structure = flatten(params)
        function = f"{type(self).__name__}.init"
        named = list(zip(paths(structure, "params"), leaves, strict=True))
        state: dict[str, Any] = {"iteration": 0}
        for name in rule.states:
            state[name] = unflatten(structure, [zeros_like(function, path, leaf) for path, leaf in named])
        return state | dict.fromkeys(rule.carries, 0.0)

    def update(self, grads: Any, state: dict[str, Any], params: Any) -> tuple[Any, dict[str, Any]]:
        """Take one step, functionally.

        Parameters
        ----------
        grads : tree
            The gradients, like `params`.
        state : dict
            From :meth:`init` or the previous update. It is left as it is.
        params : tree
            The parameters. They are left as they are.

        Returns
        -------
        params : tree
            New parameters, of the same kinds.
        state : dict
            The new state, with `iteration` one higher.

        Raises
        ------
        ValueError
            Trees of different structure (the message names the path), or a learning rate out of range.
        ShapeError, DTypeError, NumericError
            A leaf does not fit, is no floating-point array, or is not finite under `check_finite`.
        """
        names, iteration, result = self._run("update", grads, state, params, 0)
        return result[0], {"iteration": iteration} | dict(zip(names, result[1:], strict=True))

    def apply_(self, params: Any, grads: Any, state: dict[str, Any]) -> None:
        """Take one step in place: write into the memory of the parameters and of the state.

        The numbers are the same, bit for bit, as those of :meth:`update`.

        Parameters
        ----------
        params : tree
            The parameters: untracked dlarrays, or writable C-contiguous ndarrays.
        grads : tree
            The gradients, like `params`.
        state : dict
            From :meth:`init`; its arrays, and `iteration`, are overwritten.

        Raises
        ------
        ValueError
            As :meth:`update`; also for floats, read-only arrays and tracked arrays. Nothing is changed then.
        """
        names, iteration, result = self._run("apply_", grads, state, params, IN_PLACE)
        state["iteration"] = iteration
        if result:
            state.update(zip(names[-len(result) :], result, strict=True))

    def _run(self, verb: str, grads: Any, state: Any, params: Any, flags: int) -> tuple[Any, Any, Any]:
        rule, names, hyper, terms, own_flags = self._prepared
        try:
            iteration = state["iteration"] + 1
            states = tuple([state[name] for name in names])
        except (KeyError, TypeError):
            self._fail_state(verb, state, names)
        if callable(hyper[0]):
            hyper = (hyper[0](iteration), *hyper[1:])
        flags |= own_flags
        result = optim_update(rule.number, params, grads, states, iteration, hyper, terms, flags)
        if result is NotImplemented:
            function = f"{type(self).__name__}.{verb}"
            result = carefully(function, rule, params, grads, states, iteration, hyper, terms, flags)
        return names, iteration, result

    def _fail_state(self, verb: str, state: Any, names: tuple[str, ...]) -> NoReturn:
        got = f"the keys {sorted(map(str, state))}" if isinstance(state, dict) else f"{type(state).__name__}"
        raise ValueError(
            f"{type(self).__name__}.{verb}(state): the state must be a dict with "
            f"{['iteration', *names]}; got {got}; "
            f"start with {type(self).__name__}(...).init(params)."
        ) from None


LearnRate = float | Callable[[int], float]
