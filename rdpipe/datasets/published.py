"""Published data sets in archives: CLIC 2020 professional and Tecnick."""

from __future__ import annotations

from dataclasses import replace

from rdpipe.datasets import archive
from rdpipe.datasets.archive import Archive
from rdpipe.datasets.source import Source
from rdpipe.core.errors import InputError

CLIC = {
    "validation": Archive(
        "clic2020-professional",
        "https://data.vision.ee.ethz.ch/cvl/clic/professional_valid_2020.zip",
        "00be38092ade2ab5163b65f7f6523d46c7bca147007f559adbb02c0afc236b7d",
        "",
        41,
    ),
    "test": Archive(
        "clic2020-professional",
        "https://data.vision.ee.ethz.ch/cvl/clic/test/CLIC2020Professional_test.zip",
        "857df244fc2bfa5da28d4c66bf0db16ee99bfc79eb807be8afa89cd507852884",
        "",
        250,
    ),
}
TECNICK = Archive(
    "tecnick",
    "https://downloads.sourceforge.net/project/testimages/OLD/OLD_SAMPLING/testimages.zip",
    None,
    "RGB_OR_1200x1200",
    100,
)


def clic2020_professional(
    split: str = "validation", root: str | None = None, url: str | None = None
) -> list[Source]:
    """The professional images of the Challenge on Learned Image Compression 2020.

    Parameters
    ----------
    split : {"validation", "test"}
        41 images (0.13 GB), or 250 (0.9 GB); space for twice that is needed.
    root : str, optional
        Where it is kept, see :mod:`rdpipe.datasets.download`.
    url : str, optional
        A mirror's address of the same archive.

    References
    ----------
    compression.cc. Checksums: TensorFlow Datasets, ``url_checksums/clic.txt``.
    """
    if split not in CLIC:
        raise InputError(
            f"clic2020-professional split {split!r}: allowed are {', '.join(CLIC)}"
        )
    return archive.find(replace(CLIC[split], url=url or CLIC[split].url), root)


def tecnick(
    root: str | None = None, url: str | None = None, sha256: str | None = None
) -> list[Source]:
    """Tecnick's TESTIMAGES as compression papers use it: 100 photographs of 1200 x 1200, RGB, 0.5 GB.

    No checksum of the archive is published, so that of the first download is recorded beside it.

    Parameters
    ----------
    root : str, optional
        Where it is kept, see :mod:`rdpipe.datasets.download`.
    url : str, optional
        A mirror's address of the same archive.
    sha256 : str, optional
        Of the archive, if one is known: no other is taken then.

    References
    ----------
    N. Asuni, A. Giachetti, "TESTIMAGES: a large-scale archive for testing visual devices and basic image
    processing algorithms", STAG 2014 (CC BY-NC-SA 4.0).
    """
    return archive.find(replace(TECNICK, url=url or TECNICK.url, sha256=sha256), root)
