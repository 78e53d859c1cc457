"""Shares of a total that do not depend on an order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations


def shapley(worth: Mapping[frozenset[str], float]) -> dict[str, float]:
    """Share a worth among components, averaged over all orders of adding them.

    Parameters
    ----------
    worth : mapping of frozenset to float
        Worth (bits) of all 2^n subsets of the components, the empty one included.

    Returns
    -------
    dict of str to float
        Value of each component, by name. Their sum is worth[all] - worth[empty].

    Raises
    ------
    ValueError
        If a subset is missing, a key is not a frozenset, or a worth is not finite.

    References
    ----------
    L. Shapley, "A Value for n-Person Games", 1953.

    Examples
    --------
    >>> shapley({frozenset(): 0, frozenset("a"): 1, frozenset("b"): 2, frozenset("ab"): 4})
    {'a': 1.5, 'b': 2.5}
    """
    names = _components(worth)
    n = len(names)
    values: dict[str, float] = {}
    for name in names:
        remaining = [component for component in names if component != name]
        values[name] = math.fsum(
            (worth[subset | {name}] - worth[subset]) / (n * math.comb(n - 1, len(subset)))
            for subset in _subsets(remaining)
        )
    return values


def _components(worth: Mapping[frozenset[str], float]) -> list[str]:
    """Return the sorted names of the components of a valid argument."""
    for key, value in worth.items():
        if not isinstance(key, frozenset):
            raise ValueError(f"worth has the key {key!r}; expected frozensets of names")
        if not math.isfinite(value):
            raise ValueError(f"worth[{sorted(key)}] is {value}; expected finite numbers")
    names = sorted({name for subset in worth for name in subset})
    missing = [sorted(subset) for subset in _subsets(names) if subset not in worth]
    if missing:
        raise ValueError(f"worth lacks {missing}; expected all {2 ** len(names)} subsets")
    return names


def _subsets(names: Sequence[str]) -> Iterator[frozenset[str]]:
    for size in range(len(names) + 1):
        yield from map(frozenset, combinations(names, size))
