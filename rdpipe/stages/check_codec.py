"""Say in plain words what is wrong with a codec."""

from __future__ import annotations

from pathlib import Path

from rdpipe.codecs.conformance import check
from rdpipe.datasets.image import read
from rdpipe.core.errors import InputError
from rdpipe.stages.inputs import make_codec


def run(codec: str, image: Path, /, quality: int = 1, args: dict = {}) -> None:  # noqa: B006
    """Check a codec on an image.

    Parameters
    ----------
    codec : str
        A name that rdpipe knows, or ``module:attribute``.
    image : Path
        Any image file.
    quality : int
        Of the codec.
    args : dict
        Keyword arguments of the codec's factory.

    Raises
    ------
    InputError
        If anything is wrong; says how much.
    """
    entry = {"use": codec, "args": args}
    made = make_codec({"codec": codec, "quality": quality, "entry": entry, "device": "cpu"})
    print(f"{codec} at quality {quality} on {image}")
    findings = list(check(made, read(str(image))[0]))
    for fine, finding in findings:
        print(f"{'ok     ' if fine else 'PROBLEM'}  {finding}")
    if problems := sum(not fine for fine, _ in findings):
        raise InputError(f"{codec}: {problems} problem{'s' * (problems > 1)} of {len(findings)} findings")
    print(f"clean: {len(findings)} findings, no problem")
