"""Small files that the tests of downloads serve."""

import hashlib
import io
import zipfile

import numpy as np
from PIL import Image

BODY = np.random.default_rng(0).bytes(1_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


def png(value: int) -> bytes:
    """Return a PNG of 6 x 4 pixels of one value."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return buffer.getvalue()


ARCHIVE_MEMBERS = {
    "set/RGB/one.png": png(1),
    "set/RGB/two.PNG": png(2),
    "set/GREY/one.png": png(3),
    "__MACOSX/set/RGB/._one.png": b"x",
    "set/RGB/": b"",
    "set/read.me": b"x",
}
"""Members of an archive with two images in its folder RGB."""
