"""Reverse water-filling of a million components, relative to sorting them."""

from collections.abc import Iterator

import numpy as np

from benchmarks.common import Figure, Options, alternate, processor_seconds
from rdpipe.theory import reverse_waterfill

COMPONENTS = 1_000_000


def figures(options: Options) -> Iterator[Figure]:
    variances = np.random.default_rng(0).exponential(size=COMPONENTS)
    total = 0.3 * variances.sum()
    rounds = alternate(
        options.rounds,
        lambda: processor_seconds(lambda: reverse_waterfill(variances, total)),
        lambda: processor_seconds(lambda: np.sort(variances)),
    )
    ratios = [filled / ordered for filled, ordered in rounds]
    note = f"{min(filled for filled, _ in rounds):.2f} s"
    yield Figure("water-filling of a million components", "sorting them", "<= 10", ratios, note)
