"""Enumerations of labels; text is parsed where it enters, and members are compared by identity.

See ``docs/explanation/science.md``, sections 2 and 5.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Self

from rdpipe.core.errors import InputError


class _Label(StrEnum):
    """A label that is parsed where it enters and refused if it is unknown."""

    @classmethod
    def parse(cls, value: object, name: str = "") -> Self:
        """Return the member with a value.

        Parameters
        ----------
        value : object
            A member, or the text of one.
        name : str
            What the value belongs to, for the error message.

        Raises
        ------
        InputError
            If there is no such member; names the allowed values.
        """
        for member in cls:
            if isinstance(value, str) and value == member.value:
                return member
        allowed = ", ".join(repr(member.value) for member in cls)
        label = f"{name}: " if name else ""
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__).lower()
        raise InputError(f"{label}{value!r} is not a valid {kind}; expected one of: {allowed}")


class Information(_Label):
    """What an estimator knows about the latents that are being coded."""

    DECODABLE = "decodable"
    """Only what a decoder has: parameters, the decoded past, or information that is transmitted."""
    GENIE = "genie"
    """The very latents that are being coded, which no decoder has."""


class BoundKind(_Label):
    """What a curve may be called."""

    ACHIEVED = "achieved"
    """Real bytes of a bitstream that decodes to the reported image."""
    ACHIEVABLE = "achievable"
    """All estimators are decodable and the quantizer can be built."""
    UPPER_BOUND = "upper bound on R(D)"
    """All estimators are decodable and the rate is a divergence that bounds R(D) (test channel)."""
    GENIE_AIDED = "genie-aided estimate"
    """An estimator sees the latents being coded, or the rate is not known to be a bound."""
    REFERENCE = "reference"
    """A published curve with its source, or a known rate-distortion function."""

    @property
    def is_realizable(self) -> bool:
        """Whether a codec can realize the rate; other kinds hold as a bound, or are no claim."""
        return self in (BoundKind.ACHIEVED, BoundKind.ACHIEVABLE)


class CurveRole(_Label):
    """Where a curve comes from."""

    CODEC = "codec"
    """The codec's own real bytes (or model bits, if it has no bitstream)."""
    CELL = "cell"
    """A cell of the array, simulated through the codec's decoder."""
    REFINED = "refined"
    """The codec with refined latents."""
    RETUNED = "retuned"
    """The codec with a decoder that was fine-tuned for a quantizer; its latents may be refined."""
    JOINT = "joint"
    """A network that was trained as a bound for the codec; its latents may be refined."""
    SOURCE = "source"
    """The rate-distortion function of a source whose distribution is known."""
    BASELINE = "baseline"
    """A classical codec."""
    PUBLISHED = "published"
    """A curve from a publication."""

    @property
    def belongs_to_codec(self) -> bool:
        """Whether the curve is measured with the codec's own latents or transforms."""
        shared = (CurveRole.SOURCE, CurveRole.BASELINE, CurveRole.PUBLISHED)
        return self not in shared


class Reconstruction(_Label):
    """What the decoder puts in the place of a decoded residual before the codec's synthesis."""

    PLAIN = "plain"
    """The decoded residual as it is."""
    CALIBRATED = "calibrated"
    """The decoded residual times a gain that is fitted on the calibration images."""


class LevelKind(_Label):
    """What the level of a quantizer is."""

    THETA = "theta"
    """The water level of the test channel, squared latent units."""
    STEP = "step"
    """The step of a realizable quantizer, latent units."""


class CodecPart(_Label):
    """A part of a codec, whose weights are trained together."""

    ENCODER = "encoder"
    DECODER = "decoder"
    PRIOR = "prior"


DIFFERENTIABLE = ("test-channel", "rounding", "noise")
"""Quantizers with which an encoder and a prior can be trained; ``noise`` replaces rounding."""
