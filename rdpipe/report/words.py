"""What the page's names mean, and what is assumed."""

TERMS = {
    "coder": "real bytes minus the model's own bits: entropy coder, header; of a codec without a bitstream, what rounding up to bytes adds",
    "prior": "the model's own bits minus those of a Gaussian of the same mean and scale, with escapes for floors",
    "side": "side information that the limit does not send (0 where the limit needs it)",
    "variance": "the codec's variance against the limit's",
    "quantization": "rounding against the limit's quantizer, at the latent MSE that stands below",
    "context": "the codec's mean against the limit's",
    "total": "sum of the terms: from the real bytes to the limit",
}
KINDS = {
    "achieved": "real bytes of a real bitstream that decodes to the reported image",
    "achievable": "everything is known at the decoder, and the quantizer can be built",
    "upper bound on R(D)": "everything is known at the decoder; the quantizer is the Gaussian test channel",
    "genie-aided estimate": "an estimator looks at the very latents being coded: optimistic, not a bound",
    "reference": "a published figure, with its source, or a rate-distortion function that is known",
}
ASSUMPTIONS = (
    (
        "terms of the decomposition",
        "given mean and variance, an element is Gaussian and independent of the others; two cells compare "
        "where their latent distortion is the same (it stands below each table)",
        "what a codec would save at equal PSNR: the decoder is not orthonormal, so the curves are "
        "simulated through it",
    ),
    (
        "BD-rate of a lever",
        "the term is saved at every quality, at equal distortion of the latents, and the codec keeps its PSNR",
        "what is saved at equal PSNR: that is the BD-rate of a limit's own curve, and may be far less; nor a sum: the "
        "levers of one limit need not add up, and closing one changes the others",
    ),
    (
        "upper bound on R(D)",
        "only that the decoder knows mean and variance: the rate is a divergence, which bounds R(D) from "
        "above whatever the truth",
        "R(D) itself, nor a code: how far below it R(D) lies is not known, and the interval is over these "
        "images",
    ),
    (
        "genie-aided estimate",
        "an estimator sees the latents that it codes, and is told for nothing",
        "a bound of any kind: a lower curve that looks too good is first suspected of this",
    ),
    (
        "curves at equal PSNR",
        "the codec's own decoder, as trained on rounded latents; PSNR is the mean over images; a point lies between two "
        "levels of the sweep and is interpolated, which moved it by one or two thousandths of its rate where that was tried",
        "the best that a decoder trained for the channel could have",
    ),
    (
        "available today",
        "the best decodable, realisable estimator measured in this run, at no more latent distortion",
        "the best there is: an estimator that was not measured does not count",
    ),
    (
        "maps and channels",
        "bits of an element are those of its own code length; escapes are counted where they occur",
        "side information, or what a variance estimator sends: these belong to no position",
    ),
    (
        "intervals",
        "the images are a sample: 95 % percentiles of a bootstrap over them, which cover less with few images: of a "
        "lognormal spread (sigma 0.5) 91 % with 24, 81 % with 5",
        "the spread between images, or what another data set would give",
    ),
)
"""A number, what it assumes, and what it is not."""
