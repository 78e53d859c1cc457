"""Range coding of decisions and integers."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rdpipe.entropy import range_coding
from rdpipe.entropy.coder import Decoder, Encoder


def decoder(coder):
    return Decoder(coder.to_bytes())


@given(st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=20), st.floats(1e-3, 1e6))
def test_integers_of_any_size_are_read_back(values, sigma):
    k = torch.tensor(values, dtype=torch.float64)
    tails = range_coding.gaussian_tails(lambda m, v: m - 0.5, torch.full_like(k, sigma**2))
    coder = Encoder()
    range_coding.code_indices(coder, k, tails)
    unknown = torch.full_like(k, torch.nan)
    assert torch.equal(range_coding.code_indices(decoder(coder), unknown, tails), k)


def test_a_decoder_ignores_the_values():
    probability = torch.tensor([0.5, 0.9, 0.1, torch.nan])
    values = torch.tensor([True, False, True, False])
    mask = torch.tensor([True, True, True, False])
    coder = Encoder()
    range_coding.code_flags(coder, probability, values, mask)
    decoded = range_coding.code_flags(decoder(coder), probability, ~values, mask)
    assert decoded.tolist() == [True, False, True, False]
