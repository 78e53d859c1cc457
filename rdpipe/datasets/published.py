"""Published datasets in zip archives: CLIC 2020 professional and Tecnick."""

from __future__ import annotations

from dataclasses import replace

from rdpipe.core.errors import InputError
from rdpipe.datasets import archive
from rdpipe.datasets.archive import Archive
from rdpipe.datasets.source import Source

CLIC = {
    "validation": Archive(
        dataset="clic2020-professional",
        url="https://data.vision.ee.ethz.ch/cvl/clic/professional_valid_2020.zip",
        sha256="00be38092ade2ab5163b65f7f6523d46c7bca147007f559adbb02c0afc236b7d",
        folder="",
        count=41,
    ),
    "test": Archive(
        dataset="clic2020-professional",
        url="https://data.vision.ee.ethz.ch/cvl/clic/test/CLIC2020Professional_test.zip",
        sha256="857df244fc2bfa5da28d4c66bf0db16ee99bfc79eb807be8afa89cd507852884",
        folder="",
        count=250,
    ),
}
TECNICK = Archive(
    dataset="tecnick",
    url="https://downloads.sourceforge.net/project/testimages/OLD/OLD_SAMPLING/testimages.zip",
    sha256=None,
    folder="RGB_OR_1200x1200",
    count=100,
)


def clic2020_professional(
    split: str = "validation", root: str | None = None, url: str | None = None
) -> list[Source]:
    """Return the professional images of the Challenge on Learned Image Compression 2020.

    Parameters
    ----------
    split : {"validation", "test"}
        41 images (0.13 GB), or 250 images (0.9 GB). Archive and images need twice this space.
    root : str, optional
        Folder of the dataset, see :mod:`rdpipe.datasets.download`.
    url : str, optional
        Address of a mirror of the archive.

    Raises
    ------
    InputError
        If the split is unknown, and as :func:`rdpipe.datasets.archive.find`.

    References
    ----------
    compression.cc. Checksums: TensorFlow Datasets, ``url_checksums/clic.txt``.
    """
    if split not in CLIC:
        raise InputError(
            f"clic2020-professional: {split!r} is not a split; expected one of: {', '.join(CLIC)}"
        )
    return archive.find(replace(CLIC[split], url=url or CLIC[split].url), root)


def tecnick(
    root: str | None = None, url: str | None = None, sha256: str | None = None
) -> list[Source]:
    """Return the TESTIMAGES of Tecnick that compression papers use.

    These are 100 RGB photographs of 1200 x 1200 pixels, 0.5 GB. No checksum of the archive is
    published; the checksum of the first download is therefore recorded beside it.

    Parameters
    ----------
    root : str, optional
        Folder of the dataset, see :mod:`rdpipe.datasets.download`.
    url : str, optional
        Address of a mirror of the archive.
    sha256 : str, optional
        SHA-256 of the archive; any other archive is refused.

    Raises
    ------
    InputError
        As :func:`rdpipe.datasets.archive.find`.

    References
    ----------
    N. Asuni, A. Giachetti, "TESTIMAGES: a large-scale archive for testing visual devices and basic
    image processing algorithms", STAG 2014 (CC BY-NC-SA 4.0).
    """
    return archive.find(replace(TECNICK, url=url or TECNICK.url, sha256=sha256), root)
