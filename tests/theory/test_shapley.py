import math
from itertools import chain, combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpipe.theory import shapley


def subsets(names):
    return [
        frozenset(s)
        for s in chain.from_iterable(combinations(names, k) for k in range(len(names) + 1))
    ]


def average_over_orders(names, worth):
    shares = {name: [] for name in names}
    for order in permutations(names):
        for position, name in enumerate(order):
            before = frozenset(order[:position])
            shares[name].append(worth[before | {name}] - worth[before])
    return {name: np.mean(share) for name, share in shares.items()}


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_equals_average_over_all_orders(n, seed):
    names = [f"component{i}" for i in range(n)]
    rng = np.random.default_rng(seed)
    worth = {subset: rng.normal() for subset in subsets(names)}
    values = shapley(worth)
    assert values == pytest.approx(average_over_orders(names, worth), abs=1e-12)
    total = worth[frozenset(names)] - worth[frozenset()]
    assert math.fsum(values.values()) == pytest.approx(total, abs=1e-12)


def test_additive_game_and_dummy():
    bits = {"variance": 0.25, "quantizer": 0.5, "mean": 0.0}
    worth = {s: 3 + sum(bits[name] for name in s) for s in subsets(bits)}
    assert shapley(worth) == pytest.approx(bits)


def test_no_components():
    assert shapley({frozenset(): 1.0}) == {}


def test_errors():
    worth = {s: float(len(s)) for s in subsets(["mean", "variance"])}
    del worth[frozenset({"variance"})], worth[frozenset()]
    with pytest.raises(ValueError, match=r"lacks \[\[\], \['variance'\]\]; expected all 4 subsets"):
        shapley(worth)
    with pytest.raises(ValueError, match="key 'mean'; expected frozensets"):
        shapley({"mean": 1.0})
    with pytest.raises(ValueError, match=r"worth\[\['mean'\]\] is nan; expected finite"):
        shapley({frozenset(): 0.0, frozenset({"mean"}): math.nan})
