"""What of a codec depends on what, found by running it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.latents import Structure
from rdpipe.core.protocols import Codec, Image
from rdpipe.core.rng import generator
from rdpipe.core.running import padded_size, run
from rdpipe.core.walk import Part, Walk

SIDE = 128
"""Side of the image on which a codec is tried, pixels."""
TOLERANCE = 1e-4
"""Difference of means and scales that rounding errors explain, in units of the scale."""
IMAGE_TOLERANCE = 1e-6
"""Difference of decoded images that rounding errors explain."""


class _Disturbed(Walk):
    """Decodes something else than what is sent, of side information or of all else.

    Parameters
    ----------
    side : bool
        Whether side information is disturbed.
    y_hats : list of Tensor, optional
        What is decoded of the other parts. Default: what is sent.
    """

    def __init__(self, side: bool, y_hats: list[Tensor] | None = None):
        super().__init__()
        self._side, self._noise = side, generator("structure")
        self._y_hats = None if y_hats is None else iter(y_hats)

    def decode(self, part: Part) -> Tensor:
        y_hat = super().decode(part)
        if part.side is self._side:
            drawn = torch.randint(0, 2, part.shape, generator=self._noise).to(y_hat)
            return y_hat + (3 * drawn - 1) * part.step  # -1 or 2: averages change, too
        return y_hat if self._y_hats is None else next(self._y_hats, y_hat)


def find_structure(codec: Codec, colors: int = 3) -> Structure:
    """Return what of a codec depends on latents that are decoded before.

    The codec codes a random image twice, with other decoded latents the second time. What changes
    depends on them.

    Parameters
    ----------
    codec : Codec
    colors : int
        3, or 1 for codecs of Gaussian fields.
    """
    image = random_image(codec, colors)
    usual = Walk()
    decoded = run(codec, usual, image)
    main = _parts(usual)
    priors = latents = grids = needs_side = False
    if len(main) > 1 or _has_late_side(usual):
        other = _Disturbed(side=False)
        run(codec, other, image)
        _check_side(_parts(usual, side=True), _parts(other, side=True))
        others = _parts(other)
        priors, latents = _priors_differ(main, others), _latents_differ(main, others)
        grids = len(main) == len(others) and any(map(_grid_differs, main, others))
    if len(main) < len(usual.record):
        y_hats = [coded.part.point(coded.index) for coded in usual.record if not coded.part.side]
        disturbed = _Disturbed(side=True, y_hats=y_hats)
        replayed = run(codec, disturbed, image)
        needs_side = not torch.allclose(replayed, decoded, rtol=0, atol=IMAGE_TOLERANCE)
        needs_side = needs_side or any(map(_grid_differs, main, _parts(disturbed)))
    return Structure(priors or latents, latents, needs_side, grids)


def _parts(walk: Walk, side: bool = False) -> list[Part]:
    """Return the parts of a walk that are side information, or all others."""
    return [coded.part for coded in walk.record if coded.part.side == side]


def _has_late_side(walk: Walk) -> bool:
    """Return whether side information comes after a part that is none."""
    sides = [coded.part.side for coded in walk.record]
    return any(later and not earlier for earlier, later in pairwise(sides))


def _check_side(first: list[Part], second: list[Part]) -> None:
    """Check that side information does not depend on other latents.

    Raises
    ------
    InputError
        If it does. Cells decode it first, so they could not have it.
    """
    if _priors_differ(first, second) or _latents_differ(first, second):
        names = ", ".join(dict.fromkeys(repr(part.name) for part in first))
        raise InputError(
            f"side information ({names}) depends on latents that are sent before it; expected"
            " side=True only for what depends on the image and other side information"
        )


def random_image(codec: Codec, colors: int) -> Image:
    """Return a smooth random image of the least size that shows a codec's structure."""
    height, width = padded_size(codec, SIDE, SIDE)
    coarse = torch.rand((1, colors, 16, 16), generator=generator("random image"))
    fine = torch.nn.functional.interpolate(coarse.float(), (height, width), mode="bicubic")
    pixels = fine[0].permute(1, 2, 0).clamp(0, 1).mul(255).contiguous().numpy()
    return pixels.astype(np.uint8 if colors == 3 else np.float32)


def _priors_differ(first: list[Part], second: list[Part]) -> bool:
    return len(first) != len(second) or any(map(_differ, first, second))


def _differ(a: Part, b: Part) -> bool:
    """Return whether two parts differ in what a decoder has before they are decoded."""
    if a.shape != b.shape or _grid_differs(a, b):
        return True
    unit = b.prior.scale
    pairs = (a.prior.mean, b.prior.mean), (a.prior.scale, unit), (a.offset, b.offset)
    return any(bool(((x - y).abs() > TOLERANCE * unit).any()) for x, y in pairs)


def _grid_differs(a: Part, b: Part) -> bool:
    """Return whether two parts differ in their steps, or in which elements are coded."""
    steps = torch.as_tensor(a.step), torch.as_tensor(b.step)
    same_steps = torch.allclose(*steps, rtol=TOLERANCE, atol=0)
    return not (same_steps and torch.equal(a.coded_mask(), b.coded_mask()))


def _latents_differ(first: list[Part], second: list[Part]) -> bool:
    return len(first) != len(second) or any(
        a.y is not None
        and b.y is not None
        and (a.shape != b.shape or bool(((a.y - b.y).abs() > TOLERANCE * b.prior.scale).any()))
        for a, b in zip(first, second, strict=True)
    )
