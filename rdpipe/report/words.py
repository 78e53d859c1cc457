"""Definitions of the terms and kinds on the page, and the assumptions behind its numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rdpipe.analysis.measures import CURVE_MEASURES
from rdpipe.core.kinds import BoundKind

LATENT_MATCHED = "latent-matched"
"""Name of figures that compare rates at equal distortion of the latents."""
TERMS = {
    "coder": (
        "real bytes minus the model's own bits: entropy coder and header; for a codec without a"
        " bitstream, what rounding up to bytes adds"
    ),
    "prior": (
        "the model's own bits minus those of a Gaussian with the same mean and scale, with escapes"
        " instead of floors"
    ),
    "side": (
        "side information that the limit does not use; 0 if its mean, its variance or the image is"
        " computed from it, a genie's, too"
    ),
    "variance": "the codec's variance against the limit's",
    "quantization": (
        "rounding against the limit's quantizer; if latent-matched, at the ratio of latent"
        " distortions below the table"
    ),
    "context": "the codec's mean against the limit's",
    "total": "sum of the measured terms: from the real bytes to the limit",
}
"""Definition of each term of the decomposition."""
TERM_NAMES = {
    "coder": "entropy coder",
    "prior": "prior",
    "side": "side information",
    "variance": "variance",
    "quantization": "quantization",
    "context": "context",
    "encoder": "encoder (refined latents)",
    "decoder": "retuned decoder",
    "transforms": "jointly trained transforms",
}
"""Names of the terms in a sentence."""
MEASURE_NAMES = {name: measure.label for name, measure in CURVE_MEASURES.items()}
"""Names of the measures of quality in a sentence."""
KINDS = {
    BoundKind.ACHIEVED: "real bytes of a bitstream that decodes to the reported image",
    BoundKind.ACHIEVABLE: "a decoder knows all that is needed, and the quantizer can be built",
    BoundKind.UPPER_BOUND: (
        "a decoder knows all that is needed; the quantizer is the Gaussian test channel"
    ),
    BoundKind.GENIE_AIDED: (
        "an estimator uses the very latents that are coded, or the quantizer has neither"
        " an entropy coder nor a rate that is known to be a bound: optimistic, not a bound"
    ),
    BoundKind.REFERENCE: ("a published curve with its source, or a known rate-distortion function"),
}
"""Definition of each kind of curve."""
ASSUMPTIONS = (
    (
        "curves and BD-rates, at equal PSNR or MS-SSIM",
        "the codec's own decoder, which is trained on rounded latents; PSNR and MS-SSIM (in dB) are"
        " means over images. A BD-rate at equal PSNR of the mean MSE is about the MSE instead, in"
        " which the worst images count most. Between its points a curve is interpolated",
        "the best result of a decoder that is trained for the test channel",
    ),
    (
        "ladder and terms, at equal PSNR or MS-SSIM",
        "every cell goes through the codec's own decoder and has the quality of the codec's own"
        " picture. Over the curve, terms are differences of the mean of ln(rate) over the codec's"
        " range of quality",
        "what another transform could save: another codec may need fewer bits than these bounds",
    ),
    (
        "upper bound on R(D)",
        "only that the decoder knows mean and variance: the rate is a divergence, which bounds"
        " R(D) from above for any true distribution",
        "R(D) itself, or a code: the distance to R(D) is unknown, and the interval is over these"
        " images",
    ),
    (
        "genie-aided estimate",
        "an estimator uses the latents that it codes, at no cost; or a decoder knows all that is"
        " needed, but the quantizer has neither an entropy coder nor a rate that is known to be a"
        " bound. Side information is charged if the mean, the variance or the image is computed"
        " from it",
        "a bound of any kind; if a curve looks too good, check first whether it is genie-aided",
    ),
    (
        "available today",
        "codes with an equal picture: cells that were simulated at the quality of the codec's"
        " pictures, and rounding with the codec's mean and another variance, which decodes to the"
        " codec's own pictures. In real bytes if bitstreams were written, otherwise by code length",
        "the best possible code: estimators that were not measured do not count",
    ),
    (
        "latent-matched terms and changes",
        "given mean and variance, elements are Gaussian and independent. Rates are compared at"
        " equal distortion of the latents; the ratio of latent distortions is stated beside them",
        "a saving at equal PSNR: the decoder is not orthonormal, so a limit may save far less"
        " through it. The changes of one limit do not add up, because closing one term changes the"
        " others",
    ),
    (
        "maps and channels",
        "bits of an element are its own code length, with escapes where they occur",
        "side information, or what a variance estimator transmits: these belong to no position",
    ),
    (
        "intervals",
        "the images are a sample of independent ones: 95 % t intervals of means, and of BD-rates by"
        " the influence of each image. For lognormal values (sigma 0.5) that of a mean covers 93 %"
        " with 24 images and 91 % with 5. One image has no interval",
        "the variation between images, the result on another dataset, or the error of the"
        " interpolation between the points of a curve",
    ),
)
"""A number, what it assumes, and what it is not."""
GLOSSARY = {
    **{TERM_NAMES.get(term, term): text for term, text in TERMS.items()},
    "side information": (
        "bits that tell the decoder the mean or the variance of the latents, such as a hyperlatent;"
        " as a term, those of them that the limit does not use"
    ),
    "encoder": (
        "what the encoder loses because it computes latents in one pass: refined latents of the"
        " same image need fewer bits at equal quality, for the same decoder"
    ),
    "decoder": "what a decoder saves that was fine-tuned, with encoder and prior as they are",
    "transforms": "what transforms save that were trained together with the test channel",
    **{str(kind): text for kind, text in KINDS.items()},
    "bpp": "bit/pixel: bits of the file over the pixels of the image, without padding",
    "PSNR": "10 log10(255^2 / MSE) in dB, mean over images; higher is better",
    "BD-rate": (
        "mean change of the rate at equal quality over the range of qualities that two curves have"
        " in common, per cent; negative saves bits"
    ),
    "ladder": (
        "curves from the real bytes of a codec to its best bound, each of which changes one thing,"
        " all at the quality of the codec's own pictures"
    ),
    "rung": "one curve of a ladder",
    "cell": "one choice of mean, variance and quantizer, written mean/variance/quantizer",
    "limit": "the cell, named in the config, at which a decomposition and a ladder end",
    "test channel": (
        "Gaussian noise in the place of rounding, as reverse water-filling asks for; no code"
        " quantizes so, and its rate is an upper bound on R(D)"
    ),
    "water level": (
        "distortion that reverse water-filling gives each element, theta; an element of a smaller"
        " variance is not coded"
    ),
    "R(D)": "the lowest rate at which any code reaches a distortion",
    "calibrated": (
        "fitted on the calibration images: a variance, or the map from decoded residuals to the"
        " input of the decoder"
    ),
    LATENT_MATCHED: (
        "compared at equal distortion of the latents: a diagnostic, not a saving at equal PSNR"
    ),
    "available today": "saved by a curve that is achieved or achievable, at equal pictures",
    "baseline": "a classical codec, such as JPEG, that is compared with",
}
"""What each word of the page, the tables and the terminal means."""
ON_THE_PAGE = (
    "upper bound on R(D)",
    "genie-aided estimate",
    "R(D)",
    "BD-rate",
    "bpp",
    "PSNR",
    "ladder",
    "rung",
    "available today",
    "cell",
    "limit",
    "test channel",
    "water level",
    "side information",
    LATENT_MATCHED,
)
"""Words that the page explains where they stand."""
SIGN_OF_ZERO = re.compile(r"(?<![\w.])[+-](?=0(?:\.0+)?(?![\w.]))")
"""The sign of a number that was rounded to 0."""


def without_sign_of_zero(text: str) -> str:
    """Return a text in which numbers that were rounded to 0 have no sign.

    Examples
    --------
    >>> without_sign_of_zero("-0.0000 bpp (-0.02 to +0.00)")
    '0.0000 bpp (-0.02 to 0.00)'
    """
    return SIGN_OF_ZERO.sub("", text)


def range_text(values: Iterable[float], form: str = ".3f") -> str:
    """Return the range of some values; one number if the ends look the same.

    Examples
    --------
    >>> range_text([0.5, 0.25]), range_text([0.5])
    ('0.250 to 0.500', '0.500')
    """
    known = [value for value in values if value == value]
    if not known:
        return "unknown"
    low, high = (without_sign_of_zero(format(end(known), form)) for end in (min, max))
    return low if low == high else f"{low} to {high}"
