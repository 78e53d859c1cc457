"""The adaptive code against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpipe.entropy.adaptive import adaptive_bits, read_adaptive, write_adaptive
from rdpipe.entropy.coder import Decoder, Encoder


@given(st.lists(st.integers(0, 4), max_size=40))
def test_code_length_matches_the_sequential_estimate(symbols):
    counts, bits = np.full(5, 0.5), 0.0
    for symbol in symbols:
        bits -= np.log2(counts[symbol] / counts.sum())
        counts[symbol] += 1
    assert adaptive_bits(np.array(symbols, dtype=np.int64), 5) == pytest.approx(bits, abs=1e-9)


def test_symbols_are_read_back_and_have_the_stated_length():
    symbols = np.random.default_rng(0).geometric(0.4, 3000).clip(max=65) - 1
    coder = Encoder()
    write_adaptive(coder, symbols, 65)
    words = coder.to_bytes()
    decoder = Decoder(words)
    assert np.array_equal(read_adaptive(decoder, 3000, 65), symbols)
    assert 8 * len(words) == pytest.approx(adaptive_bits(symbols, 65), abs=100)
