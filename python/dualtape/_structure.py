# SPDX-License-Identifier: MIT
"""What tree.py stands on: which types are containers, and the interned Structure of a tree.

A container is described by four things: its *kind* (one of the constants below), its class, what is needed
besides the children to rebuild it (its *aux*: the keys of a dict, the static fields of a dataclass), and
the structures of its children. `_split` and `_join` in tree.py take a container apart and put it together
by kind; this file decides the kind (`classify`), keeps one Structure object for each description
(`intern`), and writes structures as text (`accessors`, `skeleton`, `difference`).

Interning makes comparison and hashing of structures constant-time and lets a repeated flatten build nothing
but the list of leaves. Start reading at Structure.
"""

from __future__ import annotations

import dataclasses
import weakref
from _thread import RLock  # as functools does: threading takes longer to import than this package's trees
from collections import OrderedDict, defaultdict, deque
from typing import Any

# What a type is, decided once per type by classify. The sequences, whose children are found by iterating
# and which are rebuilt from the children alone, come first: `kind <= NAMEDTUPLE` asks for one.
LEAF, TUPLE, LIST, NAMEDTUPLE, DICT, ORDERED_DICT, DEFAULT_DICT, DATACLASS, NONE = range(9)

_kinds: dict[type, int] = {
    float: LEAF,
    int: LEAF,
    type(None): NONE,
    tuple: TUPLE,
    list: LIST,
    dict: DICT,
    OrderedDict: ORDERED_DICT,
    defaultdict: DEFAULT_DICT,
}
_BUILTIN_KINDS = dict(_kinds)
kind_of = _kinds.get  # kind_of(cls) is None for a type that classify has not seen
CACHE_LIMIT = 4096  # types and key orders remembered; classes made in a loop must not pile up


class Structure:
    """The shape of a tree without its leaves: immutable, hashable, comparable in constant time.

    Made by :func:`~dualtape.tree.flatten`, never by hand. Equal structures are the same object, so ``==``,
    ``is`` and hashing cost the same. Structures pickle.

    Attributes
    ----------
    num_leaves : int
        How many leaves a tree of this structure has.
    """

    # The other attributes are for tree.py. aux is the keys of a dict, (keys, factory) of a defaultdict,
    # (names of fields, ((name, value) of each static field, ...)) of a dataclass, otherwise None.
    # flat: all children are leaves.
    __slots__ = ("__weakref__", "aux", "children", "cls", "flat", "kind", "num_leaves")

    num_leaves: int

    def __init__(self, kind: int, cls: Any, aux: Any, children: tuple[Structure, ...]) -> None:
        self.kind = kind
        self.cls = cls
        self.aux = aux
        self.children = children
        self.flat = all(child.kind == LEAF for child in children)
        self.num_leaves = 1 if kind == LEAF else sum(child.num_leaves for child in children)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.kind == LEAF:
            return (_the_leaf, ())
        return (intern, (self.kind, self.cls, self.aux, self.children))

    def __copy__(self) -> Structure:
        return self

    def __deepcopy__(self, memo: Any) -> Structure:
        return self

    def __repr__(self) -> str:
        return f"Structure({skeleton(self)})"


LEAF_STRUCTURE = Structure(LEAF, None, None, ())

# Interning. Weak references let unused structures go (a list that grows by one item per iteration must
# not leave all its lengths behind); `_recent` keeps the last few alive, so that the structures of a
# training loop survive from one iteration to the next.
_interned: dict[Any, weakref.ref[Structure]] = {}
_recent: deque[Structure] = deque(maxlen=64)
_lock = RLock()


def _the_leaf() -> Structure:
    return LEAF_STRUCTURE


def _types(aux: Any) -> Any:
    """The types inside `aux`: 1, 1.0 and True are equal, but must come back as what they were."""
    return tuple(map(_types, aux)) if type(aux) is tuple else type(aux)


def all_str(keys: tuple[Any, ...]) -> bool:
    """Whether all keys are exactly str, so that equal keys are interchangeable."""
    for key in keys:  # noqa: SIM110 - a plain loop is twice as fast as all() here
        if type(key) is not str:
            return False
    return True


def _needs_types(kind: int, aux: Any) -> bool:
    """Whether equal values of different types may hide in `aux`: there, 1 and True are two structures."""
    if kind == DICT:
        return not all_str(aux)
    return bool(aux[1]) if kind == DATACLASS else True


def intern(kind: int, cls: Any, aux: Any, children: tuple[Structure, ...]) -> Structure:
    """The one Structure object with these parts; made if there is none."""
    key: Any = (cls, children) if aux is None else (cls, aux, children)
    if aux is not None and _needs_types(kind, aux):
        key = (*key, _types(aux))
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


def classify(cls: type) -> int:
    """Decide what instances of `cls` are, and remember it."""
    if issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_make"):
        kind = NAMEDTUPLE
    elif dataclasses.is_dataclass(cls):
        kind = DATACLASS
    else:
        kind = LEAF
    if len(_kinds) >= CACHE_LIMIT:
        _kinds.clear()
        _kinds.update(_BUILTIN_KINDS)
    _kinds[cls] = kind
    return kind


def accessors(structure: Structure) -> list[str]:
    """How each child of a node is reached in Python source: "['W']", "[0]" or ".weight"."""
    kind, aux = structure.kind, structure.aux
    if kind in (DICT, ORDERED_DICT):
        return [f"[{key!r}]" for key in aux]
    if kind == DEFAULT_DICT:
        return [f"[{key!r}]" for key in aux[0]]
    if kind == DATACLASS:
        return [f".{name}" for name in aux[0]]
    if kind == NAMEDTUPLE:
        return [f".{name}" for name in structure.cls._fields]
    return [f"[{i}]" for i in range(len(structure.children))]


def skeleton(structure: Structure) -> str:
    """The tree as Python source with a star for each leaf."""
    kind = structure.kind
    if kind == LEAF:
        return "*"
    if kind == NONE:
        return "None"
    parts = [skeleton(child) for child in structure.children]
    if kind == LIST:
        return f"[{', '.join(parts)}]"
    if kind == TUPLE:
        return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
    if kind in (NAMEDTUPLE, DATACLASS):
        names = [name[1:] for name in accessors(structure)]
        items = [f"{name}={part}" for name, part in zip(names, parts, strict=True)]
        if kind == DATACLASS:
            items += [f"{name}={value!r}" for name, value in structure.aux[1]]
        return f"{structure.cls.__name__}({', '.join(items)})"
    keys = structure.aux[0] if kind == DEFAULT_DICT else structure.aux
    body = "{" + ", ".join(f"{key!r}: {part}" for key, part in zip(keys, parts, strict=True)) + "}"
    return body if kind == DICT else f"{structure.cls.__name__}({body})"


def difference(a: Structure, b: Structure, path_a: str, path_b: str) -> str:
    """One sentence on the first place, depth first, where two unequal structures differ."""
    if a.kind != b.kind or a.cls is not b.cls:
        return f"{path_b} is {_describe(b)}, but {path_a} is {_describe(a)}"
    names_a, names_b = accessors(a), accessors(b)
    if names_a != names_b:
        if a.kind in (TUPLE, LIST):
            return f"{path_b} has length {len(names_b)}, but {path_a} has length {len(names_a)}"
        for name in names_a:
            if name not in names_b:
                return f"{path_b} has no {_bare(name)}, which {path_a} has"
        for name in names_b:
            if name not in names_a:
                return f"{path_b} has {_bare(name)}, which {path_a} has not"
        orders = [", ".join(map(_bare, names)) for names in (names_b, names_a)]
        return f"{path_b} has its keys in another order than {path_a}: {orders[0]}, not {orders[1]}"
    for name, child_a, child_b in zip(names_a, a.children, b.children, strict=True):
        if child_a is not child_b:
            return difference(child_a, child_b, path_a + name, path_b + name)
    if a.kind == DATACLASS:
        for (name, value_a), (_, value_b) in zip(a.aux[1], b.aux[1], strict=True):
            if value_a != value_b or type(value_a) is not type(value_b):
                return f"{path_b}.{name} is {value_b!r}, but {path_a}.{name} is {value_a!r} (a static field)"
    if a.kind == DEFAULT_DICT and a.aux[1] is not b.aux[1]:
        return f"{path_b} has the default factory {b.aux[1]!r}, but {path_a} has {a.aux[1]!r}"
    return f"the keys of {path_b} and {path_a} are equal, but of different types"


def _bare(accessor: str) -> str:
    return accessor[1:-1] if accessor.startswith("[") else f"field {accessor[1:]!r}"


def _describe(structure: Structure) -> str:
    if structure.kind == LEAF:
        return "a leaf"
    if structure.kind == NONE:
        return "None"
    article = "an" if structure.cls.__name__[0] in "aeiouAEIOU" else "a"
    count = len(structure.children)
    return f"{article} {structure.cls.__name__} of {count} {'child' if count == 1 else 'children'}"
