# SPDX-License-Identifier: MIT
"""Trees: every container there and back, structures as values, paths and the messages that name them."""

import copy
import gc
import pickle
import re
import sys
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pytest

from dualtape import _structure
from dualtape.tree import (
    Structure,
    check_same,
    flatten,
    leaves_with_paths,
    paths,
    tree_map,
    unflatten,
)

Point = namedtuple("Point", "x y")


@dataclass
class Layer:
    weight: float
    bias: float
    activation: str = field(default="relu", metadata={"static": True})


@dataclass(frozen=True, slots=True)
class Frozen:
    a: float
    b: float = field(init=False, default=7.0)

    def __post_init__(self) -> None:
        if not isinstance(self.a, (int, float)):
            raise TypeError("a number, please")


TREES = [
    1.0,
    "a string",
    None,
    (),
    [],
    {},
    (1.0, 2.0),
    [1.0, [2.0, (3.0,)]],
    {"b": 1.0, "a": {"d": [2.0, None], "c": ()}},
    OrderedDict([("z", 1.0), ("a", 2.0)]),
    Point(1.0, Point(2.0, None)),
    Layer(1.0, 2.0, "tanh"),
    [Layer(1.0, 2.0), Frozen(3.0)],
    {"layers": [Layer(1.0, 2.0)], "norm": Frozen(2.0), 0: (1.0, {2.0})},
]


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_there_and_back(tree):
    leaves, structure = flatten(tree)
    assert len(leaves) == structure.num_leaves
    back = unflatten(structure, leaves)
    assert back == tree
    assert type(back) is type(tree)
    assert flatten(back)[1] is structure


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_structures_are_values(tree):
    structure = flatten(tree)[1]
    again = flatten(copy.deepcopy(tree))[1]
    assert structure == again
    assert hash(structure) == hash(again)
    assert pickle.loads(pickle.dumps(structure)) is structure
    assert copy.deepcopy(structure) is structure
    assert structure != flatten((tree, 1.0))[1]


def test_leaves_are_not_copied():
    weights = np.ones(3)
    leaves, structure = flatten({"w": weights, "n": 3})
    assert leaves[1] is weights
    assert unflatten(structure, leaves)["w"] is weights


def test_what_is_a_leaf():
    class Names(list):
        pass

    class Table(dict):
        pass

    for leaf in (3, 2.0, True, "ab", b"ab", {1, 2}, np.zeros((2, 2)), Names([1]), Table(a=1), Layer, len):
        leaves, structure = flatten(leaf)
        assert leaves[0] is leaf
        assert structure.num_leaves == 1


def test_order_of_dicts_is_sorted():
    one, two = {"b": 1, "a": 2}, {"a": 2, "b": 1}
    assert flatten(one) == flatten(two) == ([2, 1], flatten(two)[1])
    assert list(unflatten(flatten(one)[1], [2, 1])) == ["a", "b"]
    assert flatten({10: 1, 9: 2})[0] == [2, 1]


def test_order_of_keys_that_do_not_compare():
    mixed, other = {"bias": 1, 1: 2, 0: 3}, {0: 3, "bias": 1, 1: 2}
    assert flatten(mixed)[0] == [3, 2, 1]
    assert flatten(mixed)[1] is flatten(other)[1]
    a, b = object(), object()
    assert flatten({b: 1, a: 2})[0] == [1, 2]  # insertion order, for want of a better one


def test_equal_keys_of_different_types_stay_apart():
    class Name(StrEnum):
        W = "W"

    integer, boolean, string, enum = {1: 0.0}, {True: 0.0}, {"W": 0.0}, {Name.W: 0.0}
    for tree in (integer, boolean, integer, string, enum, string):
        assert type(next(iter(unflatten(flatten(tree)[1], [5.0])))) is type(next(iter(tree)))
    assert flatten(integer)[1] != flatten(boolean)[1]


def test_ordered_and_default_dicts():
    assert flatten(OrderedDict(b=1, a=2))[0] == [1, 2]
    assert flatten(OrderedDict(b=1, a=2))[1] != flatten(OrderedDict(a=2, b=1))[1]
    tree = defaultdict(list, b=1, a=2)
    leaves, structure = flatten(tree)
    back = unflatten(structure, leaves)
    assert leaves == [2, 1]
    assert back == tree
    assert back.default_factory is list


def test_dataclasses_are_rebuilt_without_init():
    structure = flatten(Frozen(1.0))[1]
    back = unflatten(structure, ["not a number", 3.0])
    assert (back.a, back.b) == ("not a number", 3.0)


def test_static_fields_belong_to_the_structure():
    relu, tanh = Layer(1.0, 2.0), Layer(1.0, 2.0, "tanh")
    assert flatten(relu)[0] == [1.0, 2.0]
    assert flatten(relu)[1] != flatten(tanh)[1]
    assert tree_map(lambda leaf: -leaf, tanh) == Layer(-1.0, -2.0, "tanh")
    with pytest.raises(TypeError, match=r"flatten\(Layer\): a static field must be hashable.*\[1, 2\]"):
        flatten(Layer(1.0, 2.0, [1, 2]))


def test_none_is_an_empty_node():
    assert flatten([None, 1.0])[0] == [1.0]
    assert tree_map(lambda leaf: leaf + 1, {"a": None, "b": 1}) == {"a": None, "b": 2}


def test_unflatten_takes_any_iterable_of_the_right_length():
    structure = flatten((1, [2, 3]))[1]
    assert unflatten(structure, iter("abc")) == ("a", ["b", "c"])
    with pytest.raises(ValueError, match=r"unflatten\(Structure\(\(\*, \[\*, \*\]\)\)\): .*got 2; .*takes 3"):
        unflatten(structure, [1, 2])


def test_tree_map():
    params, grads = {"w": np.ones(2), "b": (2.0, 3.0)}, {"b": (1.0, 1.0), "w": np.full(2, 4.0)}
    new = tree_map(lambda p, g: p - 0.5 * g, params, grads)
    assert new["b"] == (1.5, 2.5)
    np.testing.assert_array_equal(new["w"], [-1.0, -1.0])
    assert tree_map(lambda a, b, c: a + b + c, 1, 2, 3) == 6
    with pytest.raises(ValueError, match=r"tree 3\['b'\] has length 1, but tree 1\['b'\] has length 2"):
        tree_map(lambda *leaves: None, params, grads, {"w": 1.0, "b": (1.0,)})


def test_paths_read_like_python():
    params = {"fc1": {"W": 1.0, "b": 2.0}, "layers": [Layer(3.0, 4.0)], "p": Point(5.0, None), 0: 6.0}
    expected = [
        "[0]",
        "['fc1']['W']",
        "['fc1']['b']",
        "['layers'][0].weight",
        "['layers'][0].bias",
        "['p'].x",
    ]
    assert paths(params, "params") == ["params" + path for path in expected]
    for path, leaf in leaves_with_paths(params, "params"):
        assert eval(path, {"params": params}) == leaf
    assert paths(1.0, "loss") == ["loss"]
    assert paths(flatten([1.0, 2.0])[1]) == ["tree[0]", "tree[1]"]


@pytest.mark.parametrize(
    ("params", "gradients", "message"),
    [
        (
            {"fc1": {"W": 1, "bias": 2}},
            {"fc1": {"W": 1}},
            "gradients['fc1'] has no 'bias', which params['fc1'] has",
        ),
        ({"a": 1}, {"a": 1, "b": 2}, "gradients has 'b', which params has not"),
        ([1, 2], [1], "gradients has length 1, but params has length 2"),
        ((1, [2]), (1, (2,)), "gradients[1] is a tuple of 1 child, but params[1] is a list of 1 child"),
        ({"a": [1]}, {"a": 1}, "gradients['a'] is a leaf, but params['a'] is a list of 1 child"),
        ((1, None), (1, 2), "gradients[1] is a leaf, but params[1] is None"),
        ([Layer(1, None)], [Layer(1, 2)], "gradients[0].bias is a leaf, but params[0].bias is None"),
        (
            Layer(1, 2),
            Layer(1, 2, "tanh"),
            "gradients.activation is 'tanh', but params.activation is 'relu' (a static field)",
        ),
        (
            OrderedDict(a=1, b=2),
            OrderedDict(b=2, a=1),
            "gradients has its keys in another order than params: 'b', 'a', not 'a', 'b'",
        ),
        ({1: 0.0}, {True: 0.0}, "gradients has no 1, which params has"),
        ({np.str_("w"): 1}, {"w": 1}, "gradients has no np.str_('w'), which params has"),
    ],
)
def test_check_same_names_the_first_difference(params, gradients, message):
    structure = flatten(params)[1]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_same(structure, gradients)
    check_same(structure, params)
    check_same(structure, structure)


def test_check_same_uses_the_given_names():
    with pytest.raises(ValueError, match=r"^velocity has no 'w', which learnables has$"):
        check_same(flatten({"w": 1.0})[1], {}, "learnables", "velocity")


@pytest.mark.parametrize("function", [flatten, paths, lambda tree: tree_map(abs, tree)])
def test_cycles_and_great_depth_end_with_a_clear_message(function):
    cycle: list = [1.0]
    cycle.append(cycle)
    deep: object = 1.0
    for _ in range(10 * sys.getrecursionlimit()):
        deep = [deep]
    for tree in (cycle, deep):
        with pytest.raises(RecursionError, match="deeper than Python's recursion limit"):
            function(tree)


def test_moderate_depth_works():
    tree: object = 1.0
    for _ in range(200):
        tree = [tree, 2.0]
    leaves, structure = flatten(tree)
    assert len(leaves) == 201
    assert unflatten(structure, leaves) == tree
    assert repr(structure).count("*") == 201


def test_unused_structures_are_forgotten():
    flatten([0.0] * 5)
    before = len(_structure._interned)
    for length in range(1000, 3000):
        flatten([0.0] * length)
    gc.collect()
    assert len(_structure._interned) <= before + 64


def test_caches_are_bounded():
    for number in range(_structure.CACHE_LIMIT + 10):
        cls = type(f"Leaf{number}", (), {})
        assert flatten(cls())[1].num_leaves == 1
    assert len(_structure._kinds) <= _structure.CACHE_LIMIT
    assert flatten((1.0, None))[0] == [1.0]


def test_repr():
    tree = {"p": Point(1, (2,)), "l": [Layer(3, 4)], "o": OrderedDict(a=None), "d": defaultdict(int, k=1)}
    assert repr(flatten(tree)[1]) == (
        "Structure({'d': defaultdict({'k': *}), 'l': [Layer(weight=*, bias=*, activation='relu')], "
        "'o': OrderedDict({'a': None}), 'p': Point(x=*, y=(*,))})"
    )
    assert isinstance(flatten(1.0)[1], Structure)
