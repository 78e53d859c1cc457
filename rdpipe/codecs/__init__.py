"""Codecs: the protocol, and adapters to it.

A codec is made for one quality by a factory ``factory(quality, **args)``; configs name it in
``use``, by a name of this registry or as ``module:attribute``.
"""

CODECS = {
    "compressai": "rdpipe.codecs.compressai:from_checkpoint",
    "dct": "rdpipe.codecs.linear:dct",
    "gained": "rdpipe.codecs.compressai:from_gained",
    "klt": "rdpipe.codecs.linear:klt",
    "mini-mean-scale": "rdpipe.codecs.compressai:mini_mean_scale",
}
