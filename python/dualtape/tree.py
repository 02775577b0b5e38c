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
interned, so that comparing two of them is comparing identities and a repeated flatten builds nothing but
the list of leaves. Start reading at :func:`flatten`; `_split` says what the children of a container are.
"""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

__all__ = [
    "Structure",
    "check_same",
    "flatten",
    "leaves_with_paths",
    "paths",
    "tree_map",
    "unflatten",
]

# What a type is, decided once per type by _classify.
_LEAF, _NONE, _TUPLE, _LIST, _DICT, _ORDERED_DICT, _DEFAULT_DICT, _NAMEDTUPLE, _DATACLASS = range(9)

_kinds: dict[type, int] = {
    float: _LEAF,
    int: _LEAF,
    type(None): _NONE,
    tuple: _TUPLE,
    list: _LIST,
    dict: _DICT,
    OrderedDict: _ORDERED_DICT,
    defaultdict: _DEFAULT_DICT,
}
_BUILTIN_KINDS = dict(_kinds)
_CACHE_LIMIT = 4096  # types and key orders remembered; classes made in a loop must not pile up


class Structure:
    """The shape of a tree without its leaves: immutable, hashable, comparable in constant time.

    Made by :func:`flatten`, never by hand. Equal structures are the same object, so ``==``, ``is`` and
    hashing cost the same. Structures pickle.

    Attributes
    ----------
    num_leaves : int
        How many leaves a tree of this structure has.
    """

    __slots__ = ("__weakref__", "_aux", "_children", "_cls", "_flat", "_kind", "num_leaves")

    num_leaves: int

    def __init__(self, kind: int, cls: Any, aux: Any, children: tuple[Structure, ...]) -> None:
        self._kind = kind
        self._cls = cls
        self._aux = aux  # dict: keys; defaultdict: (keys, factory); dataclass: (names, static values)
        self._children = children
        self._flat = all(child._kind == _LEAF for child in children)
        self.num_leaves = 1 if kind == _LEAF else sum(child.num_leaves for child in children)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._kind == _LEAF:
            return (_leaf_structure, ())
        return (_intern, (self._kind, self._cls, self._aux, self._children))

    def __copy__(self) -> Structure:
        return self

    def __deepcopy__(self, memo: Any) -> Structure:
        return self

    def __repr__(self) -> str:
        return f"Structure({_skeleton(self)})"


_LEAF_STRUCTURE = Structure(_LEAF, None, None, ())

# Interning. Weak references let unused structures go (a list that grows by one item per iteration must
# not leave all its lengths behind); `_recent` keeps the last few alive, so that the structures of a
# training loop survive from one iteration to the next.
_interned: dict[Any, weakref.ref[Structure]] = {}
_recent: deque[Structure] = deque(maxlen=64)
_lock = threading.RLock()


def _leaf_structure() -> Structure:
    return _LEAF_STRUCTURE


def _types(aux: Any) -> Any:
    """The types inside `aux`: 1, 1.0 and True are equal as keys, but must come back as what they were."""
    return tuple(map(_types, aux)) if type(aux) is tuple else type(aux)


def _intern(kind: int, cls: Any, aux: Any, children: tuple[Structure, ...]) -> Structure:
    """The one Structure object with these parts; made if there is none."""
    # A tuple or list is known by its children alone; keys and static values also by their types.
    key = (cls, children) if aux is None else (cls, aux, _types(aux), children)
    try:
        found = _interned.get(key)
    except TypeError:
        raise TypeError(
            f"flatten({cls.__name__}): a static field must be hashable, since it becomes part of the "
            f"structure; got {aux[1]!r}; use a tuple or a frozenset, or make the field an ordinary one."
        ) from None
    structure = None if found is None else found()
    if structure is None:
        with _lock:
            found = _interned.get(key)
            structure = None if found is None else found()
            if structure is None:
                structure = Structure(kind, cls, aux, children)

                def forget(dead: weakref.ref[Structure]) -> None:
                    with _lock:
                        if _interned.get(key) is dead:
                            del _interned[key]

                _interned[key] = weakref.ref(structure, forget)
                _recent.append(structure)
    return structure


def _classify(cls: type) -> int:
    """Decide what instances of `cls` are, and remember it."""
    if issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_make"):
        kind = _NAMEDTUPLE
    elif dataclasses.is_dataclass(cls):
        kind = _DATACLASS
    else:
        kind = _LEAF
    if len(_kinds) >= _CACHE_LIMIT:
        _kinds.clear()
        _kinds.update(_BUILTIN_KINDS)
    _kinds[cls] = kind
    return kind


_key_orders: dict[tuple[Any, ...], tuple[Any, ...]] = {}


def _sorted_keys(keys: tuple[Any, ...]) -> tuple[Any, ...]:
    """The canonical order of a dict's keys."""
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
    if all(type(key) is str for key in keys):  # others may be equal to keys of another type: not remembered
        if len(_key_orders) >= _CACHE_LIMIT:
            _key_orders.clear()
        _key_orders[keys] = order
    return order


def _field_names(cls: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the ordinary and of the static fields of a dataclass."""
    fields = dataclasses.fields(cls)
    ordinary = tuple(f.name for f in fields if not f.metadata.get("static", False))
    static = tuple(f.name for f in fields if f.metadata.get("static", False))
    return ordinary, static


def _split(kind: int, tree: Any) -> tuple[Any, Iterable[Any]]:
    """Take one container apart: (what is needed to rebuild it, its children)."""
    if kind == _TUPLE or kind == _LIST or kind == _NAMEDTUPLE:
        return None, tree
    if kind == _DICT:
        keys = _sorted_keys(tuple(tree))
        return keys, [tree[key] for key in keys]
    if kind == _DATACLASS:
        ordinary, static = _field_names(type(tree))
        aux = (ordinary, tuple((name, getattr(tree, name)) for name in static))
        return aux, [getattr(tree, name) for name in ordinary]
    if kind == _ORDERED_DICT:
        return tuple(tree), tree.values()
    if kind == _DEFAULT_DICT:
        keys = _sorted_keys(tuple(tree))
        return (keys, tree.default_factory), [tree[key] for key in keys]
    return None, ()  # _NONE


def _join(structure: Structure, children: Iterable[Any]) -> Any:
    """Put one container together again: the inverse of _split."""
    kind, cls, aux = structure._kind, structure._cls, structure._aux
    if kind == _TUPLE:
        return tuple(children)
    if kind == _LIST:
        return list(children)
    if kind == _DICT:
        return dict(zip(aux, children, strict=True))
    if kind == _NAMEDTUPLE:
        return cls._make(children)
    if kind == _DATACLASS:
        instance = object.__new__(cls)
        for name, value in zip(aux[0], children, strict=True):
            object.__setattr__(instance, name, value)
        for name, value in aux[1]:
            object.__setattr__(instance, name, value)
        return instance
    if kind == _ORDERED_DICT:
        return OrderedDict(zip(aux, children, strict=True))
    if kind == _DEFAULT_DICT:
        return defaultdict(aux[1], zip(aux[0], children, strict=True))
    return None  # _NONE


def _flatten_into(tree: Any, leaves: list[Any]) -> Structure:
    cls = type(tree)
    kind = _kinds.get(cls)
    if kind is None:
        kind = _classify(cls)
    if kind == _LEAF:
        leaves.append(tree)
        return _LEAF_STRUCTURE
    aux, children = _split(kind, tree)
    get_kind = _kinds.get
    structures = []
    for child in children:
        if get_kind(type(child)) == _LEAF:  # the usual case, without a call
            leaves.append(child)
            structures.append(_LEAF_STRUCTURE)
        else:
            structures.append(_flatten_into(child, leaves))
    return _intern(kind, cls, aux, tuple(structures))


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
    if structure._kind == _LEAF:
        return values[0]
    if structure._flat:
        return _join(structure, values)
    return _unflatten_from(structure, iter(values))


def _unflatten_from(structure: Structure, leaves: Iterator[Any]) -> Any:
    return _join(
        structure,
        [
            next(leaves) if child is _LEAF_STRUCTURE else _unflatten_from(child, leaves)
            for child in structure._children
        ],
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
        return unflatten(structure, [fun(leaf) for leaf in leaves])
    columns = [leaves]
    for number, other in enumerate(rest, start=2):
        other_leaves, other_structure = flatten(other)
        if other_structure is not structure:
            check_same(structure, other, "tree 1", f"tree {number}")
        columns.append(other_leaves)
    return unflatten(structure, [fun(*row) for row in zip(*columns, strict=True)])


def _accessors(structure: Structure) -> list[str]:
    """How each child of a node is reached in Python source: "['W']", "[0]" or ".weight"."""
    kind, aux = structure._kind, structure._aux
    if kind == _DICT or kind == _ORDERED_DICT:
        return [f"[{key!r}]" for key in aux]
    if kind == _DEFAULT_DICT:
        return [f"[{key!r}]" for key in aux[0]]
    if kind == _DATACLASS:
        return [f".{name}" for name in aux[0]]
    if kind == _NAMEDTUPLE:
        return [f".{name}" for name in structure._cls._fields]
    return [f"[{i}]" for i in range(len(structure._children))]


def _walk_paths(structure: Structure, prefix: str) -> Iterator[str]:
    if structure._kind == _LEAF:
        yield prefix
        return
    for accessor, child in zip(_accessors(structure), structure._children, strict=True):
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
        raise ValueError(_difference(structure_a, structure_b, name_a, name_b))


def _difference(a: Structure, b: Structure, path_a: str, path_b: str) -> str:
    """One sentence on the first place, depth first, where two unequal structures differ."""
    if a._kind != b._kind or a._cls is not b._cls:
        return f"{path_b} is {_describe(b)}, but {path_a} is {_describe(a)}"
    names_a, names_b = _accessors(a), _accessors(b)
    if names_a != names_b:
        if a._kind == _TUPLE or a._kind == _LIST:
            return f"{path_b} has length {len(names_b)}, but {path_a} has length {len(names_a)}"
        for name in names_a:
            if name not in names_b:
                return f"{path_b} has no {_bare(name)}, which {path_a} has"
        for name in names_b:
            if name not in names_a:
                return f"{path_b} has {_bare(name)}, which {path_a} has not"
        return f"{path_b} has its keys in another order than {path_a}: {_bare_list(names_b)}, not {_bare_list(names_a)}"
    for name, child_a, child_b in zip(names_a, a._children, b._children, strict=True):
        if child_a is not child_b:
            return _difference(child_a, child_b, path_a + name, path_b + name)
    if a._kind == _DATACLASS:
        for (name, value_a), (_, value_b) in zip(a._aux[1], b._aux[1], strict=True):
            if value_a != value_b or type(value_a) is not type(value_b):
                return f"{path_b}.{name} is {value_b!r}, but {path_a}.{name} is {value_a!r} (a static field)"
    if a._kind == _DEFAULT_DICT and a._aux[1] is not b._aux[1]:
        return f"{path_b} has the default factory {b._aux[1]!r}, but {path_a} has {a._aux[1]!r}"
    return f"the keys of {path_b} and {path_a} are equal, but of different types"


def _bare(accessor: str) -> str:
    return accessor[1:-1] if accessor.startswith("[") else f"field {accessor[1:]!r}"


def _bare_list(accessors: list[str]) -> str:
    return ", ".join(map(_bare, accessors))


def _describe(structure: Structure) -> str:
    if structure._kind == _LEAF:
        return "a leaf"
    if structure._kind == _NONE:
        return "None"
    article = "an" if structure._cls.__name__[0] in "aeiouAEIOU" else "a"
    count = len(structure._children)
    return f"{article} {structure._cls.__name__} of {count} {'child' if count == 1 else 'children'}"


def _skeleton(structure: Structure) -> str:
    """The tree as Python source with a star for each leaf."""
    kind = structure._kind
    if kind == _LEAF:
        return "*"
    if kind == _NONE:
        return "None"
    parts = [_skeleton(child) for child in structure._children]
    if kind == _LIST:
        return f"[{', '.join(parts)}]"
    if kind == _TUPLE:
        return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
    if kind == _NAMEDTUPLE or kind == _DATACLASS:
        names = [name[1:] for name in _accessors(structure)]
        items = [f"{name}={part}" for name, part in zip(names, parts, strict=True)]
        if kind == _DATACLASS:
            items += [f"{name}={value!r}" for name, value in structure._aux[1]]
        return f"{structure._cls.__name__}({', '.join(items)})"
    keys = structure._aux[0] if kind == _DEFAULT_DICT else structure._aux
    body = "{" + ", ".join(f"{key!r}: {part}" for key, part in zip(keys, parts, strict=True)) + "}"
    return body if kind == _DICT else f"{structure._cls.__name__}({body})"
