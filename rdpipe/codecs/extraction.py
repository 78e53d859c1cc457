"""Extraction of the latents of an image, and the measurement of the codec itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from rdpipe.codecs import bitstream
from rdpipe.codecs.gain import (
    NotDifferentiableError,
    gains_of,
    latent_weights,
    latents_with_change,
)
from rdpipe.codecs.structure import find_structure, random_image
from rdpipe.core.assembly import Whole, assemble, stride_of
from rdpipe.core.errors import InputError
from rdpipe.core.latent_arrays import FLAGS, tensors, to_dataset
from rdpipe.core.latents import Latents, Structure
from rdpipe.core.metrics import mean_squared_error, ms_ssim, psnr
from rdpipe.core.protocols import (
    Codec,
    Image,
    SupportsCoder,
    SupportsForwardBits,
)
from rdpipe.core.running import decode_image, decodes, padded_size, to_tensor, visit
from rdpipe.core.walk import Walk, ZeroWalk

UNITS = {
    "bytes": "byte",
    "real": "whether the bytes exist",
    "latent_bits": "bit",
    "side_bits": "bit",
    "forward_bits": "bit",
    "mse": "squared 8-bit levels",
    "psnr": "dB",
    "ms_ssim": "multiscale structural similarity",
    "pixels": "pixel",
    "height": "pixel",
    "width": "pixel",
}
"""Columns of the table of images, and their units."""

Row = dict[str, Any]
"""A row of the table of images, with the columns of :data:`UNITS`."""


class Extractor:
    """Extracts latents with a codec.

    Parameters
    ----------
    codec : Codec
    gain : bool
        Whether to measure the gain of the decoder on each image.
    described : Codec, optional
        The codec whose structure and weights are found on an image of rdpipe. Default: ``codec``,
        which must then code any image.
    """

    def __init__(self, codec: Codec, gain: bool = False, described: Codec | None = None):
        self.codec, self.gain = codec, gain
        self._described = codec if described is None else described
        self._structures: dict[int, Structure] = {}
        self._weights: dict[int, Mapping[str, float]] = {}

    def structure(self, colors: int) -> Structure:
        """Return the structure of the codec for images of some number of colors."""
        if colors not in self._structures:
            self._structures[colors] = find_structure(self._described, colors)
        return self._structures[colors]

    def weights(self, colors: int) -> Mapping[str, float]:
        """Return the weight of each latent, for images of some number of colors; see ``Latents``.

        They are measured on the image on which the structure is found, so they do not depend on the
        images of the run. The mapping is empty if PyTorch cannot differentiate the decoder.
        """
        if colors not in self._weights:
            codec = self._described
            image = random_image(codec, colors)
            try:
                self._weights[colors] = latent_weights(codec, image)
            except NotDifferentiableError:
                self._weights[colors] = {}
        return self._weights[colors]

    def extract(self, name: str, image: Image) -> tuple[Row, dict[str, xr.Dataset]]:
        """Extract the latents of an image, and measure the codec on it.

        Parameters
        ----------
        name : str
            Name of the image.
        image : array

        Returns
        -------
        row : dict
            See :data:`UNITS`.
        arrays : dict of str to xarray.Dataset
            The fields of :class:`~rdpipe.core.latents.Latents` of each latent, in decoding order;
            :func:`rdpipe.core.latent_arrays.as_latents` is the inverse.

        Raises
        ------
        InputError
            If the latents or the gain cannot be used.
        """
        wholes = self._wholes(name, image)
        latents = self._latents(name, image, wholes)
        size, decoded = real_bytes(self.codec, image, wholes)
        row = describe(self.codec, image, decoded, wholes) | {"bytes": size}
        row["real"] = isinstance(self.codec, SupportsCoder) or decodes(self.codec)
        return row, {of_one.latent: to_dataset(of_one) for of_one in latents}

    def latents(self, name: str, image: Image) -> list[Latents]:
        """Return the latents of an image, in decoding order."""
        return self._latents(name, image, self._wholes(name, image))

    def _wholes(self, name: str, image: Image) -> dict[str, Whole]:
        """Return the latents, for a gain with the changes if PyTorch can differentiate them."""
        if self.gain:
            with suppress(NotDifferentiableError):
                return latents_with_change(self.codec, name, image)
        walk = Walk()
        visit(self.codec, walk, image)
        return assemble(walk.record)

    def _latents(self, name: str, image: Image, wholes: Mapping[str, Whole]) -> list[Latents]:
        structure = self.structure(image.shape[2])
        main = [whole for whole in wholes.values() if not whole.side]
        if not main:
            raise InputError("the codec sends nothing but side information; expected a latent")
        hyper: Mapping[str, Whole] = {}
        if structure.priors_follow_past:
            zeros = ZeroWalk()
            visit(self.codec, zeros, image)
            hyper = assemble(zeros.record)
        try:
            gains = gains_of(wholes)
        except InputError as error:
            raise InputError(f"{name!r}: {error}") from error
        weights = self.weights(image.shape[2]) if len(main) > 1 else {}
        size = padded_size(self.codec, *image.shape[:2])
        return [
            replace(
                to_latents(name, whole, structure, hyper, gains.get(whole.name), size),
                weight=weights.get(whole.name),
            )
            for whole in main
        ]


def describe(codec: Codec, image: Image, decoded: Image, wholes: Mapping[str, Whole]) -> Row:
    """Return what is measured of the codec on an image, bytes apart."""
    side, main = (
        sum(whole.bits.sum().item() for whole in wholes.values() if whole.side is side)
        for side in (True, False)
    )
    mse = mean_squared_error(image, decoded)
    height, width = image.shape[:2]
    return {
        "latent_bits": main,
        "side_bits": side,
        "forward_bits": forward_bits(codec, image),
        "mse": mse,
        "psnr": psnr(mse),
        "ms_ssim": ms_ssim(image, decoded),
        "pixels": height * width,
        "height": height,
        "width": width,
    }


def forward_bits(codec: Codec, image: Image) -> float:
    """Return the bits by the model's own likelihoods; NaN if the codec does not state them."""
    if not isinstance(codec, SupportsForwardBits):
        return math.nan
    with torch.no_grad():
        bits = codec.forward_bits(to_tensor(codec, image))
    return math.nan if bits is None else float(bits)


def real_bytes(codec: Codec, image: Image, wholes: Mapping[str, Whole]) -> tuple[int, Image]:
    """Return the number of bytes of an image, and what they decode to.

    They are those of the codec's own coder if it has one, otherwise those of
    :mod:`rdpipe.codecs.bitstream`. For a codec that does not decode they are the code length under
    its own likelihood.
    """
    if isinstance(codec, SupportsCoder):
        stream = codec.compress(image)
        return len(stream), codec.decompress(stream)
    if decodes(codec):
        stream = bitstream.encode(codec, image)
        return len(stream), bitstream.decode(codec, stream)
    bits = sum(whole.bits.sum().item() for whole in wholes.values())
    return math.ceil(bits / 8), decode_image(codec, Walk(), image)


def to_latents(
    name: str,
    whole: Whole,
    structure: Structure,
    hyper: Mapping[str, Whole],
    gain: Tensor | None,
    size: tuple[int, int],
) -> Latents:
    """Return a latent in units of its step.

    Parameters
    ----------
    name : str
        Name of the image.
    whole : Whole
    structure : Structure
    hyper : mapping of str to Whole
        What is predicted without the past.
    gain : Tensor of shape (channel,), optional
    size : tuple of int
        Height and width of the extended image, pixels.

    Raises
    ------
    InputError
        If values are not finite.
    """
    dtype, step = whole.y.dtype, whole.step
    unit = bool((step == 1).all())
    off_center = not torch.equal(whole.offset, whole.mean.double())
    values = {
        "y": whole.y,
        "mean": whole.mean,
        "scale": whole.scale,
        "hyper": hyper[whole.name].mean if hyper else None,
        "hyper_scale": hyper[whole.name].scale if hyper else None,
        "offset": whole.offset if off_center else None,
    }
    in_steps = {
        field: None if value is None else (value if unit else value / step).to(dtype)
        for field, value in values.items()
    }
    latents = Latents(
        name,
        **in_steps,  # type: ignore[arg-type]
        gain=None if gain is None else gain.to(dtype),
        own_bits=None if whole.gaussian else whole.bits.to(dtype),
        coded=whole.coded,
        step=None if unit else step.to(dtype),
        latent=whole.name,
        stride=stride_of(whole, size),
        **{flag: getattr(structure, flag) for flag in FLAGS},
    )
    for field, tensor in tensors(latents).items():
        if not tensor.isfinite().all():
            raise InputError(
                f"latent {whole.name!r} of image {name!r}: {field} has values that are not finite"
            )
    return latents
