# SPDX-License-Identifier: MIT
"""Trees of parameters: what counts as a container, how it is taken apart, how it is put together again.

Learnables, model gradients and optimizer states are trees: containers inside containers with arrays or
numbers at the ends, the *leaves*. Everything in dualtape that accepts "a tree" goes through this file.

======================  =========================================================================
container               children
======================  =========================================================================
``dict``                its values, in the sorted order of the keys (see below)
``OrderedDict``         its values, in insertion order: the order is part of what the type says
``defaultdict``         as ``dict``; the factory is kept
``list``, ``tuple``     its items
a namedtuple            its fields
any dataclass instance  its fields, except those declared ``field(metadata={"static": True})``
``None``                an empty node: no leaf, and it comes back as None
======================  =========================================================================

Everything else is a leaf: numbers, arrays, strings, sets, and other subclasses of list, tuple and dict.

*Order of a dict.* Sorted, as in JAX, so that two dicts with the same keys have the same structure however
they were filled. Keys that do not compare (``0`` and ``"bias"``) are sorted type by type; if that fails as
well, insertion order is kept. :func:`unflatten` returns plain dicts in that order.

*Dataclasses* are rebuilt field by field without ``__init__`` and ``__post_init__``: frozen ones, slots and
``init=False`` fields work, and no validation meets a traced value. Attributes that are not fields are not
carried over. A static field belongs to the structure: it must be hashable, and is compared with ``==``.

*Depth.* The walk recurses once per level. A tree deeper than Python's recursion limit (about 1000), or a
container that contains itself, raises RecursionError with a message that says so.

*Speed.* This runs in every training iteration. Types are classified once and remembered; structures are
interned (see _structure.py), so that comparing two of them is comparing identities and a repeated flatten
builds nothing but the list of leaves. Start reading at :func:`flatten`; `_split` says what the children of a
container are.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from itertools import repeat
from typing import Any, NoReturn

from ._structure import (
    CACHE_LIMIT,
    DATACLASS,
    DEFAULT_DICT,
    DICT,
    LEAF,
    LEAF_STRUCTURE,
    LIST,
    NAMEDTUPLE,
    ORDERED_DICT,
    TUPLE,
    Structure,
    accessors,
    all_str,
    classify,
    difference,
    intern,
    kind_of,
)

__all__ = [
    "Structure",
    "check_same",
    "flatten",
    "leaves_with_paths",
    "paths",
    "tree_map",
    "unflatten",
]

_key_orders: dict[tuple[Any, ...], tuple[Any, ...]] = {}


def _sorted_keys(keys: tuple[Any, ...]) -> tuple[Any, ...]:
    """The canonical order of a dict's keys."""
    # Only plain strings are remembered: other keys may be equal to keys of another type (1 and True).
    remember = all_str(keys)
    if remember:
        found = _key_orders.get(keys)
        if found is not None:
            return found
    try:
        order = tuple(sorted(keys))
    except TypeError:
        try:
            order = tuple(sorted(keys, key=lambda key: (type(key).__module__, type(key).__qualname__, key)))
        except TypeError:
            order = keys
    if remember:
        if len(_key_orders) >= CACHE_LIMIT:
            _key_orders.clear()
        _key_orders[keys] = order
    return order


@lru_cache(maxsize=CACHE_LIMIT)
def _field_names(cls: type) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the ordinary and of the static fields of a dataclass."""
    fields = dataclasses.fields(cls)
    ordinary = tuple(f.name for f in fields if not f.metadata.get("static", False))
    static = tuple(f.name for f in fields if f.metadata.get("static", False))
    return ordinary, static


def _split(kind: int, tree: Any) -> tuple[Any, Collection[Any]]:
    """Take a container other than a sequence apart: (what is needed to rebuild it, its children)."""
    if kind == DICT:
        keys = _sorted_keys(tuple(tree))
        return keys, [tree[key] for key in keys]
    if kind == DATACLASS:
        ordinary, static = _field_names(type(tree))  # type: ignore[arg-type]  # classes are hashable
        aux = (ordinary, tuple((name, getattr(tree, name)) for name in static))
        return aux, [getattr(tree, name) for name in ordinary]
    if kind == ORDERED_DICT:
        return tuple(tree), tree.values()
    if kind == DEFAULT_DICT:
        keys = _sorted_keys(tuple(tree))
        return (keys, tree.default_factory), [tree[key] for key in keys]
    return None, ()  # NONE


def _join(structure: Structure, children: Iterable[Any]) -> Any:
    """Put one container together again: the inverse of _split."""
    kind, cls, aux = structure.kind, structure.cls, structure.aux
    if kind == TUPLE:
        return tuple(children)
    if kind == LIST:
        return list(children)
    if kind == DICT:
        return dict(zip(aux, children, strict=True))
    if kind == NAMEDTUPLE:
        return cls._make(children)
    if kind == DATACLASS:
        instance = object.__new__(cls)
        for name, value in zip(aux[0], children, strict=True):
            object.__setattr__(instance, name, value)
        for name, value in aux[1]:
            object.__setattr__(instance, name, value)
        return instance
    if kind == ORDERED_DICT:
        return OrderedDict(zip(aux, children, strict=True))
    if kind == DEFAULT_DICT:
        return defaultdict(aux[1], zip(aux[0], children, strict=True))
    return None  # NONE


def _flatten_into(tree: Any, leaves: list[Any]) -> Structure:
    cls = type(tree)
    kind = kind_of(cls)
    if kind is None:
        kind = classify(cls)
    if kind == LEAF:
        leaves.append(tree)
        return LEAF_STRUCTURE
    aux, children = (None, tree) if kind <= NAMEDTUPLE else _split(kind, tree)
    for child in children:
        if kind_of(type(child)) != LEAF:
            break
    else:  # nothing but leaves: the usual container, without a call per child
        leaves += children
        return intern(kind, cls, aux, (LEAF_STRUCTURE,) * len(children))
    return intern(kind, cls, aux, tuple(map(_flatten_into, children, repeat(leaves))))


def _too_deep(function: str) -> NoReturn:
    raise RecursionError(
        f"{function}(tree): the tree is nested deeper than Python's recursion limit, or a container contains "
        "itself; use a flat list of layers in place of layers inside layers."
    ) from None


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Take a tree apart into its leaves and its structure.

    Parameters
    ----------
    tree : tree
        Any nesting of the containers listed at the head of this module; a leaf alone is a tree too.

    Returns
    -------
    leaves : list
        The leaves, depth first. A new list; the leaves themselves are not copied.
    structure : Structure
        What :func:`unflatten` needs to put them together again.

    Raises
    ------
    RecursionError
        The tree is deeper than Python's recursion limit, or contains itself.
    TypeError
        A static field of a dataclass is not hashable.

    Examples
    --------
    >>> leaves, structure = flatten({"weights": [1.0, 2.0], "bias": 3.0})
    >>> leaves
    [3.0, 1.0, 2.0]
    >>> unflatten(structure, [0.0, 0.1, 0.2])
    {'bias': 0.0, 'weights': [0.1, 0.2]}
    """
    leaves: list[Any] = []
    try:
        return leaves, _flatten_into(tree, leaves)
    except RecursionError:
        _too_deep("flatten")


def unflatten(structure: Structure, leaves: Iterable[Any]) -> Any:
    """Put leaves into a structure: the inverse of :func:`flatten`.

    Parameters
    ----------
    structure : Structure
        From :func:`flatten`.
    leaves : iterable
        As many values as the structure has leaves, in the order of flatten. They may be of any kind.

    Returns
    -------
    tree
        New containers around the given leaves.

    Raises
    ------
    ValueError
        The number of leaves is not ``structure.num_leaves``.
    """
    values = leaves if type(leaves) is list or type(leaves) is tuple else list(leaves)
    if len(values) != structure.num_leaves:
        raise ValueError(
            f"unflatten({structure!r}): the number of leaves does not fit; got {len(values)}; "
            f"this structure takes {structure.num_leaves}."
        )
    if structure.kind == LEAF:
        return values[0]
    if structure.flat:
        return _join(structure, values)
    return _unflatten_from(structure, iter(values))


def _unflatten_from(structure: Structure, leaves: Iterator[Any]) -> Any:
    return _join(
        structure,
        [next(leaves) if child is LEAF_STRUCTURE else _unflatten_from(child, leaves) for child in structure.children],
    )


def tree_map(fun: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Apply a function leaf by leaf, over one tree or over several of the same structure.

    Parameters
    ----------
    fun : callable
        Gets one leaf from each tree, returns the leaf of the result.
    tree, *rest : tree
        All of the same structure.

    Returns
    -------
    tree
        Of the structure of `tree`.

    Raises
    ------
    ValueError
        A tree of `rest` has another structure; the message names the first path that differs.

    Examples
    --------
    >>> tree_map(lambda p, g: p - 0.5 * g, {"w": 1.0, "b": (2.0, 3.0)}, {"w": 4.0, "b": (1.0, 1.0)})
    {'b': (1.5, 2.5), 'w': -1.0}
    """
    leaves, structure = flatten(tree)
    if not rest:
        return unflatten(structure, list(map(fun, leaves)))
    columns = [leaves]
    for number, other in enumerate(rest, start=2):
        other_leaves, other_structure = flatten(other)
        if other_structure is not structure:
            check_same(structure, other, "tree 1", f"tree {number}")
        columns.append(other_leaves)
    return unflatten(structure, list(map(fun, *columns)))


def _walk_paths(structure: Structure, prefix: str) -> Iterator[str]:
    if structure.kind == LEAF:
        yield prefix
        return
    for accessor, child in zip(accessors(structure), structure.children, strict=True):
        yield from _walk_paths(child, prefix + accessor)


def paths(tree: Any, name: str = "tree") -> list[str]:
    """Say where each leaf is, as one would write it in Python.

    Parameters
    ----------
    tree : tree or Structure
        A tree, or the structure of one.
    name : str
        What the tree is called; the paths start with it.

    Returns
    -------
    list of str
        In the order of :func:`flatten`.

    Examples
    --------
    >>> paths({"fc1": {"W": 1.0, "b": 2.0}}, "params")
    ["params['fc1']['W']", "params['fc1']['b']"]
    """
    structure = tree if type(tree) is Structure else flatten(tree)[1]
    return list(_walk_paths(structure, name))


def leaves_with_paths(tree: Any, name: str = "tree") -> list[tuple[str, Any]]:
    """Pair each leaf with its path: ``[("params['fc1']['W']", W), ...]``; see :func:`paths`."""
    leaves, structure = flatten(tree)
    return list(zip(paths(structure, name), leaves, strict=True))


def check_same(structure_a: Structure, tree_b: Any, name_a: str = "params", name_b: str = "gradients") -> None:
    """Check that a tree has a given structure, and say where it first differs if it has not.

    Parameters
    ----------
    structure_a : Structure
        The structure wanted.
    tree_b : tree or Structure
        The tree to check, or its structure.
    name_a, name_b : str
        What the two are called in the message.

    Raises
    ------
    ValueError
        For example ``gradients['fc1'] has no 'bias', which params['fc1'] has``.
    """
    structure_b = tree_b if type(tree_b) is Structure else flatten(tree_b)[1]
    if structure_b is not structure_a:
        raise ValueError(difference(structure_a, structure_b, name_a, name_b))
