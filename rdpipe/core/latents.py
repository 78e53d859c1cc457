"""One latent of an image, and the codec's prediction of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


class Structure(NamedTuple):
    """What of a codec depends on latents that are decoded before, side information apart.

    Parameters
    ----------
    priors_follow_past : bool
        Whether a prior does. The stored prior is then a genie's in a cell with another past.
    latents_follow_past : bool
        Whether a latent before quantization does, as in hierarchical codecs. All that is stored is
        then a genie's in every cell but the codec's own.
    image_needs_side : bool
        Whether the decoded image depends on side information other than through the latents.
    grid_follows_past : bool
        Whether a step, or which elements are coded, does. It has the same consequence, because
        every cell codes the stored elements in units of the stored step.
    """

    priors_follow_past: bool = False
    latents_follow_past: bool = False
    image_needs_side: bool = False
    grid_follows_past: bool = False

    @property
    def codes_follow_past(self) -> bool:
        """Whether what every cell codes depends on latents that are decoded before."""
        return self.latents_follow_past or self.grid_follows_past

    @property
    def follows_past(self) -> bool:
        """Whether anything depends on latents that are decoded before."""
        return self.priors_follow_past or self.codes_follow_past


@dataclass(frozen=True)
class Latents:
    """One latent of an image: a grid of elements, and the codec's own prediction of them.

    All values are in units of the codec's quantization step. An image has one of them for each
    latent of its codec that is not side information.

    Parameters
    ----------
    name : str
        Name of the image.
    y : Tensor of shape (channel, row, column)
        Elements before quantization.
    mean, scale : Tensor of shape (channel, row, column)
        Mean and standard deviation that the codec predicts for each element of ``y``.
    hyper, hyper_scale : Tensor of shape (channel, row, column), optional
        Mean and standard deviation that the codec predicts before it decodes any latent but side
        information. Present if anything that the codec predicts depends on latents that are decoded
        before.
    gain : Tensor of shape (channel,), optional
        Gain of the decoder: the squared change of the image for a unit change of one element.
    own_bits : Tensor of shape (channel, row, column), optional
        Code length of each rounded element under the codec's own prior, bit. Present if that prior
        is not a Gaussian with this mean and scale.
    offset : Tensor of shape (channel, row, column), optional
        A point of the grid to which the codec rounds. Default: the mean.
    coded : Tensor of bool, of shape (channel, row, column), optional
        Elements that are coded. Default: all. Of the others the decoder has the offset.
    step : Tensor of shape (channel, row, column), optional
        Quantization step, in units of the codec. Default: 1.
    latent : str
        Name of the latent.
    stride : int, optional
        Distance of neighboring elements in the image, pixels; None if they have no place in it.
    weight : float, optional
        Weight of the squared errors among the latents of the codec. Present if it has several.
    latents_follow_past, image_needs_side, grid_follows_past : bool
        See :class:`Structure`.
    """

    name: str
    y: Tensor
    mean: Tensor
    scale: Tensor
    hyper: Tensor | None = None
    hyper_scale: Tensor | None = None
    gain: Tensor | None = None
    own_bits: Tensor | None = None
    offset: Tensor | None = None
    coded: Tensor | None = None
    step: Tensor | None = None
    latent: str = "y"
    stride: int | None = None
    weight: float | None = None
    latents_follow_past: bool = False
    image_needs_side: bool = False
    grid_follows_past: bool = False

    @property
    def with_context(self) -> bool:
        """Whether mean and scale depend on latents that are decoded before."""
        return self.hyper is not None

    @property
    def coded_elements(self) -> int:
        """Number of elements that are coded."""
        return self.y.numel() if self.coded is None else int(self.coded.sum())

    @property
    def structure(self) -> Structure:
        """What of the codec depends on latents that are decoded before."""
        return Structure(
            self.with_context,
            self.latents_follow_past,
            self.image_needs_side,
            self.grid_follows_past,
        )


ImageLatents = Latents | Sequence[Latents]
"""The latents of one image: one, or several in decoding order."""


def as_sequence(latents: ImageLatents) -> Sequence[Latents]:
    """Return the latents of one image as a sequence."""
    return (latents,) if isinstance(latents, Latents) else latents
