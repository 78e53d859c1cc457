"""A codec whose encoder sends refined latents; its decoder is the unmodified one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, Self

from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.protocols import (
    Codec,
    Image,
    Prior,
    Region,
    Send,
    SupportsFloat64,
    SupportsLatentCoder,
)
from rdpipe.core.running import device_of, least_of, multiple_of, to_tensor
from rdpipe.core.walk import PartSelector


class RefinedCodec:
    """A codec that codes given latents of some images.

    .. code-block:: none

        encoder: image -> latents that were refined before -> code(None, size, send)
        decoder: None ----------------------------------------> code(None, size, send)

    Parameters
    ----------
    codec : Codec
    latents : mapping of str to mapping of str to Tensor of shape (1, channel, row, column)
        The elements of each latent, by the :func:`fingerprint` of the image.
    """

    def __init__(self, codec: Codec, latents: Mapping[str, Mapping[str, Tensor]]):
        self.codec, self.latents = codec, latents
        self.multiple, self.least = multiple_of(codec), least_of(codec)
        self.device = device_of(codec)

    def code(
        self, image: Tensor | None, size: tuple[int, int], send: Send
    ) -> Tensor | Callable[[], Tensor]:
        """Code an image; see :meth:`rdpipe.core.protocols.Codec.code`.

        Raises
        ------
        InputError
            If the latents of the image were not refined.
        """
        if image is None:
            return self.codec.code(None, size, send)
        latents, selector = self.latents_of(image), PartSelector()

        def send_refined(
            name: str,
            prior: Prior | Callable[[], Prior],
            y: Tensor | None = None,
            *,
            at: Tensor | Region | None = None,
            **options: Any,
        ) -> Tensor:
            if isinstance(at, tuple):  # the prior may never be evaluated
                part = latents[name][:, *at]
            else:
                prior = prior() if callable(prior) else prior
                part = selector.select(name, latents[name], at, prior.mean.shape)
            return send(name, prior, part.to(image), at=at, **options)

        return self.codec.code(None, size, send_refined)

    def latents_of(self, image: Tensor) -> Mapping[str, Tensor]:
        """Return the refined latents of an image.

        Raises
        ------
        InputError
            If there are none.
        """
        if (key := fingerprint(image)) not in self.latents:
            height, width = image.shape[2:]
            raise InputError(
                f"an image of {height} x {width} pixels is not among the {len(self.latents)} images"
                " whose latents were refined"
            )
        return self.latents[key]


class _WithFloat64(RefinedCodec):
    """A refined codec of which the codec makes a copy for bitstreams."""

    def to_float64(self) -> Self:
        """Return a codec whose means and scales are computed in float64."""
        precise = copy(self)
        assert isinstance(self.codec, SupportsFloat64)
        precise.codec = self.codec.to_float64()
        return precise


class _WithCoder(RefinedCodec):
    """A refined codec with the bitstream of the codec, which the codec's decoder reads."""

    def compress(self, image: Image) -> bytes:
        """Return the bitstream of the refined latents of an image."""
        assert isinstance(self.codec, SupportsLatentCoder)
        return self.codec.compress_latents(image, self.latents_of(to_tensor(self.codec, image)))

    def decompress(self, stream: bytes) -> Image:
        """Return the decoded image."""
        assert isinstance(self.codec, SupportsLatentCoder)
        return self.codec.decompress(stream)


def refined_codec(codec: Codec, latents: Mapping[str, Mapping[str, Tensor]]) -> RefinedCodec:
    """Return a codec that codes given latents, with the capabilities of the codec.

    See :class:`RefinedCodec`. It has the codec's own bitstream if that can hold given latents, and
    otherwise that of :mod:`rdpipe.codecs.bitstream`.
    """
    capabilities = {SupportsFloat64: _WithFloat64, SupportsLatentCoder: _WithCoder}
    bases = [added for supported, added in capabilities.items() if isinstance(codec, supported)]
    refined: RefinedCodec = type("RefinedCodec", (*bases, RefinedCodec), {})(codec, latents)
    return refined


def fingerprint(image: Tensor) -> str:
    """Return a digest of an image tensor that does not depend on its dtype or device.

    Parameters
    ----------
    image : Tensor of shape (1, channel, height, width)
        As ``code`` of a codec receives it.
    """
    values = (255 * image.detach().cpu().double()).round().int().contiguous().numpy()
    return hashlib.sha256(repr(values.shape).encode() + values.tobytes()).hexdigest()
