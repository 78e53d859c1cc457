"""Codecs: the protocol, and adapters to it.

A codec is made for one quality by a factory ``factory(quality, **args)``; configs name it in
``use``, by a name of this registry or as ``module:attribute``. An anchor is made by a factory
``factory(**args)`` and called with an image and a quality; it returns its bytes and what they decode to.
"""


def weights_of(checkpoint: str, quality: int) -> str:
    """The file of weights of one quality: ``{quality}`` in its name is filled in, nothing else is."""
    return checkpoint.replace("{quality}", str(quality))


ANCHORS = {
    "avif": "rdpipe.codecs.classical:avif",
    "external": "rdpipe.codecs.external:External",
    "jpeg": "rdpipe.codecs.classical:jpeg",
    "jpeg2000": "rdpipe.codecs.classical:jpeg2000",
    "jpegxl": "rdpipe.codecs.classical:jpegxl",
    "webp": "rdpipe.codecs.classical:webp",
}

CODECS = {
    "compressai": "rdpipe.codecs.compressai.adapter:from_checkpoint",
    "dct": "rdpipe.codecs.linear:dct",
    "gained": "rdpipe.codecs.compressai.adapter:from_gained",
    "klt": "rdpipe.codecs.linear:klt",
    "joint-upper": "rdpipe.codecs.compressai.adapter:joint_upper",
    "mini-context": "rdpipe.codecs.compressai.adapter:mini_context",
    "mini-factorized": "rdpipe.codecs.compressai.adapter:mini_factorized",
    "mini-mean-scale": "rdpipe.codecs.compressai.adapter:mini_mean_scale",
    "mini-scale": "rdpipe.codecs.compressai.adapter:mini_scale",
}
