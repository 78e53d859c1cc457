"""Gaussian fields and the KLT of their blocks, for several tests."""

from rdpipe.codecs.extraction import Extractor
from rdpipe.codecs.linear import klt
from rdpipe.datasets import gaussian_field
from rdpipe.datasets.image import read_image
from rdpipe.evaluation.simulation import CodedImage

SIDE = 512
"""Side of a field, pixels."""
SOURCE = {"rho": 0.9, "sigma": 40.0, "size": SIDE}


def coded_fields(step, count):
    """Return the KLT with a step, and some fields with their coefficients."""
    codec = klt(1, steps=[step], **SOURCE)
    extractor, images = Extractor(codec), []
    for source in gaussian_field.find(count=count, **SOURCE):
        pixels = read_image(source.file)[0]
        images.append(CodedImage(extractor.latents(source.name, pixels), pixels))
    return codec, images
