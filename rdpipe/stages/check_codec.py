"""Check whether a codec fulfills the protocol, and say what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rdpipe.codecs.conformance import check
from rdpipe.core.errors import InputError
from rdpipe.datasets.image import read_image
from rdpipe.stages.inputs import build_codec


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
    built = build_codec(codec, quality, {"use": codec, "args": args}, "cpu")
    print(f"{codec} at quality {quality} on {image}")
    findings = list(check(built, read_image(str(image))[0]))
    for fine, finding in findings:
        print(f"{'ok     ' if fine else 'PROBLEM'}  {finding}")
    if problems := sum(not fine for fine, _ in findings):
        plural = "s" if problems > 1 else ""
        raise InputError(f"{codec}: {problems} problem{plural} in {len(findings)} findings")
    print(f"clean: {len(findings)} findings, no problem")
