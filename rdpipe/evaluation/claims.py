"""What a decoder of a cell knows, and so what the cell's curve may be called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rdpipe.core.kinds import BoundKind, Information
from rdpipe.core.latents import Latents, Structure
from rdpipe.estimators.base import Mean, Variance
from rdpipe.estimators.user_estimators import UserEstimator
from rdpipe.quantizers.base import CodableQuantizer, Quantizer
from rdpipe.quantizers.user_quantizers import UserQuantizer

INDEPENDENT = Structure()
"""Of a codec nothing of which depends on latents that are decoded before."""


def bound_kind(
    mean: Mean,
    variance: Variance,
    quantizer: Quantizer,
    structure: Structure = INDEPENDENT,
    calibrated: bool = False,
) -> BoundKind:
    """Return what a curve of a cell may be called.

    See ``docs/explanation/science.md``, section 5.

    Parameters
    ----------
    mean, variance, quantizer
        Estimators of the cell.
    structure : Structure
        What of the codec depends on decoded latents. What is stored of that depends on the codec's
        own rounded past. In a cell with another past only a genie has it (section 8).
    calibrated : bool
        Whether the reconstruction is fitted, so that y_hat is not the codec's own.
    """
    if sees_latents(mean, variance, quantizer, structure, calibrated):
        return BoundKind.GENIE_AIDED
    if isinstance(quantizer, CodableQuantizer):
        return BoundKind.ACHIEVABLE
    return BoundKind.UPPER_BOUND if quantizer.rate_is_bound else BoundKind.GENIE_AIDED


def sees_latents(
    mean: Mean,
    variance: Variance,
    quantizer: Quantizer,
    structure: Structure = INDEPENDENT,
    calibrated: bool = False,
) -> bool:
    """Return whether a cell depends on latents that no decoder of it has.

    Parameters are those of :func:`bound_kind`.
    """
    parts: tuple[Mean | Variance | Quantizer, ...] = (mean, variance, quantizer)
    uses_context = mean.uses_context or variance.uses_context
    stored_past = structure.codes_follow_past or (structure.priors_follow_past and uses_context)
    return any(map(is_genie, parts)) or (
        stored_past and not has_codec_past(mean, quantizer, calibrated)
    )


def is_genie(part: Mean | Variance | Quantizer) -> bool:
    """Return whether an estimator sees the latents that are being coded."""
    return Information.parse(part.information) is Information.GENIE


def is_user_defined(part: object) -> bool:
    """Return whether an estimator is not part of rdpipe."""
    wrapper = isinstance(part, (UserEstimator, UserQuantizer))
    return wrapper or type(part).__module__.partition(".")[0] != "rdpipe"


def decoder_view(latents: Latents, part: Mean | Variance) -> Latents:
    """Return what a decoder has when it computes an estimate; everything else is NaN.

    Parameters
    ----------
    latents : Latents
    part : Mean or Variance
        Its ``uses_side`` and ``uses_context`` state which predictions of the codec it uses.
    """
    unknown = torch.full_like(latents.y, torch.nan)
    without_context: dict[str, Any] = {
        name: value.clone() if part.uses_side else unknown.clone()
        for name in ("hyper", "hyper_scale")
        if (value := getattr(latents, name)) is not None
    }
    predictions = (unknown.clone(), unknown.clone())
    if part.uses_side and (part.uses_context or not latents.with_context):
        predictions = (latents.mean.clone(), latents.scale.clone())
    mean, scale = predictions
    offset = latents.offset if part.uses_side or latents.offset is None else unknown.clone()
    return replace(
        latents,
        name="",
        y=unknown,
        mean=mean,
        scale=scale,
        **without_context,
        offset=offset,
        gain=None,
        weight=None,
        own_bits=None,
    )


def private_copy(latents: Latents) -> Latents:
    """Return latents in memory that nothing else uses."""
    copies: dict[str, Any] = {
        name: value.clone() for name, value in vars(latents).items() if isinstance(value, Tensor)
    }
    return replace(latents, **copies)


def has_codec_past(mean: Mean, quantizer: Quantizer, calibrated: bool = False) -> bool:
    """Return whether a decoder of a cell obtains the codec's own y_hat."""
    return mean.is_codec and quantizer.reproduces_codec and not calibrated


def includes_side(mean: Mean, variance: Variance, structure: Structure = INDEPENDENT) -> bool:
    """Return whether the rate of a cell must include the codec's side information.

    It must if the mean, the variance or the image is computed from it, in a genie's cell, too: a
    genie has the latents at no cost, but not what the codec's own estimators are computed from.

    Parameters
    ----------
    mean, variance
        Estimators of the cell.
    structure : Structure
        What of the codec depends on decoded latents and on side information.
    """
    return mean.uses_side or variance.uses_side or structure.image_needs_side
