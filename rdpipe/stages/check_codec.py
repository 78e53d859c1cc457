"""Check whether a codec fulfills the protocol, and say what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rdpipe.codecs.bitstream import decode, encode
from rdpipe.codecs.building import build_codec
from rdpipe.codecs.conformance import Finding, check
from rdpipe.core.device import raise_lack_of_memory
from rdpipe.core.errors import InputError
from rdpipe.core.protocols import Codec, Image
from rdpipe.core.running import decode_image, to_tensor
from rdpipe.core.walk import Walk
from rdpipe.datasets.image import read_image
from rdpipe.refinement.codec import fingerprint, refined_codec
from rdpipe.refinement.refine import Refiner, Settings

SIDE = 256
"""Largest side of the part of the image whose latents are refined, pixels."""
SLOPE = 0.01
"""Weight of the MSE, bit/pixel, for a few steps that only show whether there are gradients."""
SHIFT = 0.7
"""Change of all latents, units of the codec, to see whether other latents decode."""


def run(
    codec: str,
    image: Path,
    /,
    quality: int = 1,
    args: dict[str, Any] = {},  # noqa: B006 (the default of a flag)
) -> None:
    """Check a codec on an image.

    Parameters
    ----------
    codec : str
        A known name, or ``module:attribute``.
    image : Path
        Any image file.
    quality : int
        Quality of the codec.
    args : dict
        Keyword arguments of the codec's factory.

    Raises
    ------
    InputError
        If there is a problem; says how many.
    """
    instance = build_codec(codec, quality, {"use": codec, "args": args}, "cpu")
    print(f"{codec} at quality {quality} on {image}")
    pixels = read_image(str(image))[0]
    findings = list(check(instance, pixels))
    if all(fine for fine, _ in findings):
        findings.append(check_refinement(instance, pixels))
    for fine, finding in findings:
        print(f"{'ok     ' if fine else 'PROBLEM'}  {finding}")
    if problems := sum(not fine for fine, _ in findings):
        plural = "s" if problems > 1 else ""
        raise InputError(f"{codec}: {problems} problem{plural} in {len(findings)} findings")
    print(f"clean: {len(findings)} findings, no problem")


def check_refinement(codec: Codec, image: Image) -> Finding:
    """Check that latents can be refined, and that other latents than the codec's own decode.

    A codec that cannot be refined has no problem: the finding says why.

    Parameters
    ----------
    codec : Codec
        It has passed the other checks.
    image : array
    """
    pixels = np.ascontiguousarray(image[:SIDE, :SIDE])
    try:
        refiner = Refiner(codec, "check", pixels, Settings(SLOPE, steps=2))
        refiner.refine()
    except (InputError, RuntimeError) as error:
        raise_lack_of_memory(error)
        return Finding(True, f"its latents cannot be refined: {error}")
    latents = {name: latent + SHIFT for name, latent in refiner.initial.items()}
    encoder = refined_codec(codec, {fingerprint(to_tensor(codec, pixels)): latents})
    expected = decode_image(encoder, Walk(), pixels)
    try:
        decoded = decode(codec, encode(encoder, pixels))
    except InputError as error:
        return Finding(False, f"latents that differ from its own do not decode: {error}")
    different = np.abs(expected.astype(int) - decoded) > 1
    if different.any():
        return Finding(
            False,
            f"latents that differ from its own decode to another image ({different.mean():.2%} of"
            " the values differ by more than one level); expected code to use what send returns,"
            " and nothing else of the image",
        )
    return Finding(True, "its latents can be refined, and latents that differ from its own decode")
