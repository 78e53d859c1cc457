"""The gain of a codec's decoder: how much the image changes with each latent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from rdpipe.core.assembly import Whole, assemble
from rdpipe.core.device import raise_lack_of_memory
from rdpipe.core.errors import InputError, describe
from rdpipe.core.protocols import Codec, Image
from rdpipe.core.rng import generator
from rdpipe.core.running import copy_to, run
from rdpipe.core.walk import Part, Walk

DRAWS = 4
"""Number of draws of the noise over which the weights of latents are averaged."""
LEAST_WEIGHT = 1e-9
"""Smallest weight of a latent, relative to the largest."""


class NotDifferentiableError(InputError):
    """A decoder whose image has no gradient with respect to the latents."""

    def __init__(self, codec: Codec, why: str = ""):
        super().__init__(
            f"{type(codec).__name__} has no gradient of the image with respect to its latents;"
            f" expected a decoder that PyTorch can differentiate{why}"
        )


class _Leaves(Walk):
    """Decodes what is sent, as leaves of the graph of the decoded image."""

    needs_gradients = True

    def __init__(self) -> None:
        super().__init__()
        self.leaves: list[Tensor] = []

    def decode(self, part: Part) -> Tensor:
        y_hat = super().decode(part).detach()
        self.leaves.append(y_hat if part.side else y_hat.requires_grad_())
        return y_hat


def latents_with_change(codec: Codec, name: str, image: Image) -> dict[str, Whole]:
    """Return the latents of an image, with the change of white noise over the image for a step.

    The parameters are those of :func:`decoder_gain`.

    Raises
    ------
    NotDifferentiableError
        If PyTorch finds no gradient, or an operation has none.
    """
    walk = _Leaves()
    try:
        changes = _changes(codec, name, image, walk)
    except RuntimeError as error:  # of an operation without a gradient
        raise_lack_of_memory(error)
        raise NotDifferentiableError(codec, f" ({describe(error)})") from error
    with torch.no_grad():
        record = zip(walk.record, changes, strict=True)
        return assemble(replace(coded, change=change) for coded, change in record)


def gains_of(wholes: Mapping[str, Whole]) -> dict[str, Tensor]:
    """Return the gain of the decoder for each latent; see :func:`decoder_gain`.

    Parameters
    ----------
    wholes : mapping of str to Whole
        From :func:`latents_with_change`.

    Raises
    ------
    InputError
        If a gain is not finite.
    """
    gains = {}
    for latent, whole in wholes.items():
        if whole.change is None or whole.side:
            continue
        squares = whole.change.square()
        if whole.coded is None:
            gains[latent] = squares.mean((1, 2))
        else:
            count = whole.coded.sum((1, 2)).clamp(min=1)
            gains[latent] = (squares * whole.coded).sum((1, 2)) / count
        if not gains[latent].isfinite().all():
            raise InputError(f"the gain of the decoder for latent {latent!r} is not finite")
    return gains


def decoder_gain(codec: Codec, name: str, image: Image) -> dict[str, Tensor]:
    """Return the squared change of the image for a step of one element, for every latent.

    It is summed over pixels and colors, in pixel values of [0, 1] (gray levels of a field), and
    averaged over the positions of each channel. With white noise n over the image and the decoder's
    Jacobian J, E (J^T n)_i^2 = sum_j J_ji^2, which takes one backward pass. The estimate is
    unbiased; the average over positions reduces its variance.

    Parameters
    ----------
    codec : Codec
    name : str
        Name of the image, which seeds the noise.
    image : array

    Returns
    -------
    dict of str to Tensor of shape (channel,)
        By the name of the latent.

    Raises
    ------
    NotDifferentiableError
        If PyTorch finds no gradient, or an operation has none.
    InputError
        If a gain is not finite.

    References
    ----------
    M. F. Hutchinson, "A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian
    Smoothing Splines", Communications in Statistics 19(2), 1990.
    """
    return gains_of(latents_with_change(codec, name, image))


def _changes(codec: Codec, name: str, image: Image, walk: _Leaves) -> list[Tensor]:
    """Return the gradient of white noise over the image for a step of each element of each part.

    Raises
    ------
    NotDifferentiableError
        If there is none.
    """
    height, width, colors = image.shape
    decoded = run(codec, walk, image)[..., :height, :width]
    if not decoded.requires_grad:
        raise NotDifferentiableError(codec)
    noise = torch.randn((1, colors, height, width), generator=generator(0, name))
    noise = copy_to(noise, decoded.device).to(decoded.dtype)
    leaves = [leaf for leaf in walk.leaves if leaf.requires_grad]
    gradients = iter(torch.autograd.grad(decoded, leaves, noise, allow_unused=True))
    changes = []
    for coded, leaf in zip(walk.record, walk.leaves, strict=True):
        gradient = next(gradients) if leaf.requires_grad else None
        changes.append(torch.zeros_like(leaf) if gradient is None else gradient * coded.part.step)
    return changes


def latent_weights(codec: Codec, image: Image) -> dict[str, float]:
    """Return the weight of the squared errors of each latent: its gain over the largest.

    Parameters
    ----------
    codec : Codec
    image : array
        The image at which the gains are measured. If it is the same at every call, then the weights
        are constants of the codec, which need not be transmitted.

    Returns
    -------
    dict of str to float
        From ``LEAST_WEIGHT`` to 1, by the name of the latent. Gains are averaged over the channels.

    Raises
    ------
    NotDifferentiableError
        If PyTorch finds no gradient.
    InputError
        If a gain is not finite, or all are 0.
    """
    draws = [decoder_gain(codec, f"weights {i}", image) for i in range(DRAWS)]
    gains = {
        latent: sum(draw[latent].double().mean().item() for draw in draws) for latent in draws[0]
    }
    largest = max(gains.values())
    if largest == 0:
        raise InputError("the gain of the decoder is 0 for every latent; expected an image of them")
    return {latent: max(gain / largest, LEAST_WEIGHT) for latent, gain in gains.items()}
