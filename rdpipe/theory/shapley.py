"""Order-free shares of a total."""

import math
from itertools import combinations


def shapley(worth):
    """Share a worth among components, averaged over every order of adding them.

    Parameters
    ----------
    worth : dict of frozenset to float
        Worth (bits) of every subset of the components, the empty one included: 2^n entries.

    Returns
    -------
    dict of str to float
        Value of each component, by name; they sum to worth[all] - worth[empty].

    Raises
    ------
    ValueError
        If a subset is missing, a key is no frozenset, or a worth is not finite.

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
    values = {}
    for name in names:
        others = [other for other in names if other != name]
        values[name] = math.fsum(
            (worth[subset | {name}] - worth[subset]) / (n * math.comb(n - 1, len(subset)))
            for subset in _subsets(others)
        )
    return values


def _components(worth):
    for key, value in worth.items():
        if not isinstance(key, frozenset):
            raise ValueError(f"worth has the key {key!r}; allowed: frozensets of names")
        if not math.isfinite(value):
            raise ValueError(f"worth[{sorted(key)}] is {value}; allowed: finite numbers")
    names = sorted(frozenset().union(*worth))
    missing = [sorted(subset) for subset in _subsets(names) if subset not in worth]
    if missing:
        raise ValueError(f"worth lacks {missing}; allowed: all {2 ** len(names)} subsets")
    return names


def _subsets(names):
    for size in range(len(names) + 1):
        yield from map(frozenset, combinations(names, size))
