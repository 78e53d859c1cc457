"""Adaptive code for small side information: the Krichevsky-Trofimov estimator.

After n symbols from an alphabet of size K, symbol k has probability (n_k + 1/2) / (n + K/2). The
encoder and the decoder count in the same way, so no table is transmitted.

References
----------
R. E. Krichevsky, V. K. Trofimov, "The performance of universal encoding", IEEE Trans. Inf. Theory
27(2), 1981.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import lazy_loader
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import constriction
    import scipy.special
else:
    constriction = lazy_loader.load("constriction")
    scipy = lazy_loader.load("scipy")


def adaptive_bits(symbols: NDArray[np.int64], alphabet: int) -> float:
    """Return the length of the adaptive code in bits.

    It depends on how often each symbol occurs, not on their order.

    Parameters
    ----------
    symbols : array of int, of shape (n,)
        From 0 to ``alphabet`` - 1.
    alphabet : int
        Size of the alphabet, K.
    """
    counts = np.bincount(symbols, minlength=alphabet)
    log_gamma = scipy.special.gammaln
    nats = (
        log_gamma(len(symbols) + alphabet / 2)
        - log_gamma(alphabet / 2)
        - (log_gamma(counts + 0.5) - log_gamma(0.5)).sum()
    )
    return float(nats / math.log(2))


def write_adaptive(encoder: Any, symbols: NDArray[np.int64], alphabet: int) -> None:
    """Write symbols to a ``constriction`` range encoder."""
    counts = np.full(alphabet, 0.5)
    for symbol in symbols.tolist():
        encoder.encode(symbol, _model(counts))
        counts[symbol] += 1


def read_adaptive(decoder: Any, count: int, alphabet: int) -> NDArray[np.int64]:
    """Read ``count`` symbols from a ``constriction`` range decoder."""
    counts = np.full(alphabet, 0.5)
    symbols = np.empty(count, dtype=np.int64)
    for i in range(count):
        symbols[i] = decoder.decode(_model(counts))
        counts[symbols[i]] += 1
    return symbols


def _model(counts: NDArray[np.float64]) -> Any:
    """Return the categorical model with probabilities proportional to the counts."""
    return constriction.stream.model.Categorical(counts / counts.sum(), perfect=False)
