"""Closed forms of rates and distortions.

Rates are in bits. Element-wise functions broadcast and return float64: scalars for scalars.
"""

from rdpipe.theory.blahut_arimoto import RateDistortionPoint, blahut_arimoto
from rdpipe.theory.channel import channel_distortion, channel_rate
from rdpipe.theory.gaussian import gaussian_rate, shannon_lower_bound
from rdpipe.theory.mismatch import mean_gain, variance_mismatch
from rdpipe.theory.rounding import rounding_distortion, rounding_rate
from rdpipe.theory.shapley import shapley
from rdpipe.theory.spectrum import field_spectrum
from rdpipe.theory.waterfill import Waterfill, field_rate, reverse_waterfill

__all__ = [
    "RateDistortionPoint",
    "Waterfill",
    "blahut_arimoto",
    "channel_distortion",
    "channel_rate",
    "field_rate",
    "field_spectrum",
    "gaussian_rate",
    "mean_gain",
    "reverse_waterfill",
    "rounding_distortion",
    "rounding_rate",
    "shannon_lower_bound",
    "shapley",
    "variance_mismatch",
]
