# SPDX-License-Identifier: MIT
"""Which names a step, its `until` and functions of the iteration take, and whether they are all given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dualtape._parameters import KEYWORD_ONLY, VAR_KEYWORD, VAR_POSITIONAL, parameters_of
from dualtape.loops._function_tables import location

if TYPE_CHECKING:
    from dualtape.loops._step import Step

RESERVED = {
    "iteration": "the number of the iteration, from 1",
    "batch": "the minibatch; pass data=... and batch_size=...",
    "state": "the state; the start is the second argument",
}


class Names:
    """The parameters of a function that are filled by name: those behind the first `positional` ones, and those among
    these, but for the first, whose name is in `named`."""

    def __init__(self, function: Callable[..., Any], positional: int, named: Iterable[str] = ()) -> None:
        self.required: list[str] = []
        self.optional: list[str] = []
        self.all = False
        self.positional = 0
        parameters = parameters_of(function)
        if parameters is None:  # a builtin that does not say
            self.positional = positional
            return
        for parameter in parameters:
            if parameter.kind is VAR_POSITIONAL:
                self.positional = positional
            elif parameter.kind is VAR_KEYWORD:
                self.all = True
            elif (
                self.positional < positional
                and parameter.kind is not KEYWORD_ONLY
                and not (self.positional and parameter.name in named)
            ):
                self.positional += 1
            elif parameter.required:
                self.required.append(parameter.name)
            else:
                self.optional.append(parameter.name)

    def wanted(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What to pass of what is there."""
        if self.all:
            return dict(given)
        return {name: given[name] for name in (*self.required, *self.optional) if name in given}


def unused(step: Step) -> set[str]:
    """The hyperparameters that nobody takes; names that clash or are missing are refused."""
    given = {*step.hyper, *step.swept}
    for name in sorted(given & set(RESERVED)):
        raise ValueError(
            f"{step.where}: no hyperparameter can be called {name}, which is {RESERVED[name]}; got it as "
            f"{'an argument' if name in step.hyper else 'an axis of over'}; choose another name."
        )
    twice = sorted(set(step.hyper) & set(step.swept))
    if twice:
        raise ValueError(
            f"{step.where}: a hyperparameter is either fixed or swept; {', '.join(twice)} was given both as an "
            "argument and in over; leave out one of them."
        )
    known = given | {"iteration"} | ({"batch"} if step.data.structure is not None else set())
    users: list[tuple[str, Names]] = [("the step", step.names)]
    users += [(f"the function for {name}", names) for name, names in step.function_names.items()]
    if step.until_names is not None:
        users.append(("until", step.until_names))
    for who, names in users:
        missing = [name for name in names.required if name not in known]
        if missing:
            if who == "the step":
                who += location(step.function)
            hint = "pass data=... and batch_size=..." if missing == ["batch"] else f"pass {missing[0]}=..."
            raise TypeError(
                f"{step.where}: {who} takes {', '.join(missing)}, which was not given; got "
                f"{', '.join(sorted(given)) or 'no hyperparameters'}; {hint}, or give the parameter a default."
            )
    return {
        name
        for name in given
        if not any(names.all or name in names.required or name in names.optional for _, names in users)
    }


def ordered(step: Step) -> dict[str, Callable[..., Any]]:
    """The functions of the iteration, behind those whose results they take."""
    waiting, done = dict(step.functions), dict[str, Callable[..., Any]]()
    while waiting:
        ready = [n for n in waiting if not set(step.function_names[n].wanted(step.functions)) - set(done) - {n}]
        ready = [n for n in ready if n not in step.function_names[n].required]
        if not ready:
            raise ValueError(
                f"{step.where}: the functions for {', '.join(waiting)} take each other's results, so that none can "
                "be called first; got a circle; let one of them be computed in the step."
            )
        for name in ready:
            done[name] = waiting.pop(name)
    return done
