"""Baselines: classical codecs, whose real bytes are compared with, by the names that configs use.

A baseline is built by a factory ``factory(**args)`` and called with an image and a quality; it
returns the bytes and the decoded image. A config names it in ``use``: by a name of this registry or
as ``module:attribute``.
"""

from __future__ import annotations

__all__ = ["BASELINES"]

BASELINES = {
    "avif": "rdpipe.baselines.classical:avif",
    "external": "rdpipe.baselines.external:External",
    "jpeg": "rdpipe.baselines.classical:jpeg",
    "jpeg2000": "rdpipe.baselines.classical:jpeg2000",
    "jpegxl": "rdpipe.baselines.classical:jpegxl",
    "webp": "rdpipe.baselines.classical:webp",
}
"""``module:attribute`` of the factory of each known baseline."""
