"""The gain of a codec's decoder: how much the image changes with each latent."""

from __future__ import annotations

import torch
from torch import Tensor

from rdpipe.core.assembly import place, to_host
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
        self.leaves: list[tuple[Part, Tensor]] = []

    def decode(self, part: Part) -> Tensor:
        y_hat = super().decode(part).detach()
        if not part.side:
            y_hat.requires_grad_()
            self.leaves.append((part, y_hat))
        return y_hat


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
    try:
        changes = _changes(codec, name, image)
    except RuntimeError as error:  # of an operation without a gradient
        raise_lack_of_memory(error)
        raise NotDifferentiableError(codec, f" ({describe(error)})") from error
    gains = {}
    for latent in dict.fromkeys(part.name for part, _ in changes):
        parts, of_latent = zip(*(pair for pair in changes if pair[0].name == latent), strict=True)
        masks = [part.coded_mask() for part in parts]
        on_host = to_host([*masks, *(change.square() for change in of_latent)])
        masks, squares = on_host[: len(parts)], on_host[len(parts) :]
        places = [
            mask if isinstance(part.at, Tensor) else part.at
            for part, mask in zip(parts, masks, strict=True)
        ]
        coded = place(latent, masks, places)
        total = (place(latent, squares, places) * coded).sum((1, 2))
        gains[latent] = total / coded.sum((1, 2)).clamp(min=1)
        if not gains[latent].isfinite().all():
            raise InputError(f"the gain of the decoder for latent {latent!r} is not finite")
    return gains


def _changes(codec: Codec, name: str, image: Image) -> list[tuple[Part, Tensor]]:
    """Return the gradient of white noise over the image for a step of each element of a part.

    Raises
    ------
    NotDifferentiableError
        If there is none.
    """
    walk = _Leaves()
    height, width, colors = image.shape
    decoded = run(codec, walk, image)[..., :height, :width]
    if not decoded.requires_grad:
        raise NotDifferentiableError(codec)
    noise = torch.randn((1, colors, height, width), generator=generator(0, name))
    noise = copy_to(noise, decoded.device).to(decoded.dtype)
    leaves = [leaf for _, leaf in walk.leaves]
    gradients = torch.autograd.grad(decoded, leaves, noise, allow_unused=True)
    return [
        (part, torch.zeros(part.shape) if gradient is None else gradient * part.step)
        for (part, _), gradient in zip(walk.leaves, gradients, strict=True)
    ]


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
