"""Extraction of one image, for tests."""

from rdpipe.codecs.extraction import Extractor


def extract(codec, name, image, gain=False):
    """Return the row of an image and its latents by name, as arrays."""
    return Extractor(codec, gain).extract(name, image)
