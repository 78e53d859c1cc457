"""An adaptive code for small side information: the Krichevsky-Trofimov estimator.

After n letters of an alphabet of K, letter k has probability (n_k + 1/2) / (n + K/2); decoder and
encoder count alike, so no table is sent.

References
----------
R. E. Krichevsky, V. K. Trofimov, "The performance of universal encoding", IEEE Trans. Inf. Theory
27(2), 1981.
"""

from __future__ import annotations

import math

import lazy_loader
import numpy as np

constriction = lazy_loader.load("constriction")
scipy = lazy_loader.load("scipy")


def adaptive_bits(letters: np.ndarray, alphabet: int) -> float:
    """Code length in bits; it depends on how often each letter occurs, not on their order.

    Parameters
    ----------
    letters : array of int, of shape (n,)
        From 0 to ``alphabet`` - 1.
    alphabet : int
        K.
    """
    counts = np.bincount(letters, minlength=alphabet)
    log_gamma = scipy.special.gammaln
    nats = (
        log_gamma(len(letters) + alphabet / 2)
        - log_gamma(alphabet / 2)
        - (log_gamma(counts + 0.5) - log_gamma(0.5)).sum()
    )
    return float(nats / math.log(2))


def write_adaptive(coder, letters: np.ndarray, alphabet: int) -> None:
    """Write letters to a ``constriction`` range encoder."""
    counts = np.full(alphabet, 0.5)
    for letter in letters.tolist():
        coder.encode(letter, _model(counts))
        counts[letter] += 1


def read_adaptive(coder, count: int, alphabet: int) -> np.ndarray:
    """Read ``count`` letters from a ``constriction`` range decoder, int64."""
    counts = np.full(alphabet, 0.5)
    letters = np.empty(count, dtype=np.int64)
    for i in range(count):
        letters[i] = coder.decode(_model(counts))
        counts[letters[i]] += 1
    return letters


def _model(counts: np.ndarray):
    return constriction.stream.model.Categorical(counts / counts.sum(), perfect=False)
