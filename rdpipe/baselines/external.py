"""External programs as a baseline: VTM, HM, BPG, or a user's own encoder and decoder.

.. code-block:: none

    image.png -> encode -> stream          (in a folder of the encoder)
                              |
                 stream -> decode -> image.png   (in another folder: only the bytes are copied)

A command is split into arguments and run without a shell: there are no expansions and no pipes.
BPG::

    encode: "bpgenc -q {quality} -f 444 -o {output} {input}"
    decode: "bpgdec -o {output} {input}"

VTM reads and writes raw YCbCr only, so ffmpeg runs before and after it::

    encode:
      - "ffmpeg -v error -i {input} -pix_fmt yuv444p -f rawvideo {folder}/in.yuv"
      - "EncoderApp -c encoder_intra_vtm.cfg -i {folder}/in.yuv -b {output} -o {folder}/out.yuv
         -q {quality} -wdt {width} -hgt {height} -f 1 -fr 1 --InputChromaFormat=444
         --InputBitDepth=8 --ConformanceWindowMode=1"
    decode:
      - "DecoderApp -b {input} -o {folder}/out.yuv -d 8"
      - "ffmpeg -v error -f rawvideo -pix_fmt yuv444p -s {width}x{height} -i {folder}/out.yuv
         {output}"

The decoder may use ``{width}`` and ``{height}``, to give raw samples a shape: the streams of video
codecs contain both.
"""

from __future__ import annotations

import shlex
import string
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from rdpipe.baselines.classical import Pixels
from rdpipe.core.errors import InputError

FORMATS = ("png", "ppm")
"""Formats of images that programs read and write."""
PLACEHOLDERS = ("input", "output", "quality", "width", "height", "folder")
"""Placeholders in the commands of the encoder."""
REQUIRED = ("input", "output")
"""Placeholders that every command list has."""
ERROR_LENGTH = 500
"""Number of characters of a program's output in an error message."""

Command = list[str]
"""Arguments with placeholders."""


class External:
    """A baseline that runs two programs.

    Parameters
    ----------
    encode, decode : str or list of str
        A command, or several commands that run one after the other. They have the placeholders
        ``{input}``, ``{output}``, ``{width}``, ``{height}`` (pixels) and ``{folder}`` (for
        temporary files); the encoder also has ``{quality}``. ``{{`` and ``}}`` are braces.
    format : {"png", "ppm"}
        Format of the encoder's input and of the decoder's output, 8-bit RGB.
    suffix : str
        Suffix of the stream's name, for programs that depend on it.

    Raises
    ------
    InputError
        If a command is not valid, or a placeholder is unknown or missing.
    """

    def __init__(
        self,
        encode: str | Sequence[str],
        decode: str | Sequence[str],
        format: str = "png",
        suffix: str = ".bin",
    ):
        if format not in FORMATS:
            raise InputError(
                f"external: {format!r} is not a format; expected one of: {', '.join(FORMATS)}"
            )
        self.encode = parse_commands("encode", encode, PLACEHOLDERS)
        without_quality = tuple(p for p in PLACEHOLDERS if p != "quality")
        self.decode = parse_commands("decode", decode, without_quality)
        self.image, self.stream = f"image.{format}", f"stream{suffix}"

    def __call__(self, image: Pixels, quality: int) -> tuple[bytes, Pixels]:
        """Encode an image and decode it again.

        Parameters
        ----------
        image : array of uint8, of shape (height, width, 3)
        quality : int
            Replaces ``{quality}``, for example a QP.

        Returns
        -------
        stream : bytes
            The whole file that the encoder wrote.
        decoded : array of uint8, of shape (height, width, 3)

        Raises
        ------
        InputError
            If a program is missing, fails, or does not write what it should.
        """
        size: dict[str, object] = {"width": image.shape[1], "height": image.shape[0]}
        with tempfile.TemporaryDirectory(prefix="rdpipe-encode-") as folder:
            files = _files(folder, self.image, self.stream)
            Image.fromarray(image).save(files["input"])
            stream = _run("encode", self.encode, {**files, **size, "quality": quality})
        with tempfile.TemporaryDirectory(prefix="rdpipe-decode-") as folder:
            files = _files(folder, self.stream, self.image)
            Path(files["input"]).write_bytes(stream)
            _run("decode", self.decode, {**files, **size})
            return stream, _read_image(Path(files["output"]), image.shape)


def parse_commands(
    name: str, commands: str | Sequence[str], allowed: Sequence[str]
) -> list[Command]:
    """Split commands into arguments, and check their placeholders.

    Parameters
    ----------
    name : str
        ``encode`` or ``decode``, for error messages.
    commands : str or list of str
    allowed : sequence of str
        Names of the allowed placeholders.

    Raises
    ------
    InputError
        If a command is empty or cannot be split, or a placeholder is unknown or missing.
    """
    commands = [commands] if isinstance(commands, str) else list(commands)
    try:
        parsed = [shlex.split(command) for command in commands]
        fields = [
            (field, format_spec, conversion)
            for argument in chain.from_iterable(parsed)
            for _, field, format_spec, conversion in string.Formatter().parse(argument)
            if field is not None
        ]
    except (ValueError, AttributeError) as error:
        raise InputError(f"external {name} {commands!r}: {error}") from error
    if not parsed or not all(parsed):
        raise InputError(f"external {name}: {commands!r} has an empty command")
    for field, format_spec, conversion in fields:
        if format_spec or conversion:
            raise InputError(f"external {name}: {{{field}}} has a format; expected none")
        if field not in allowed:
            listed = ", ".join(f"{{{placeholder}}}" for placeholder in allowed)
            raise InputError(f"external {name}: unknown {{{field}}}; expected one of: {listed}")
    names = [field for field, *_ in fields]
    for field in REQUIRED:
        if field not in names:
            raise InputError(f"external {name}: no {{{field}}} in {commands!r}")
    return parsed


def _files(folder: str, source: str, target: str) -> dict[str, str]:
    """Return the values of the placeholders that are files."""
    return {
        "folder": folder,
        "input": str(Path(folder, source)),
        "output": str(Path(folder, target)),
    }


def _run(name: str, commands: Sequence[Command], values: Mapping[str, object]) -> bytes:
    """Run commands one after the other; return what they wrote to ``output``."""
    for command in commands:
        arguments = [argument.format(**values) for argument in command]
        try:
            process = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True)
        except OSError as error:
            raise InputError(f"external {name}: cannot run {arguments[0]!r}: {error}") from error
        if process.returncode:
            output = (process.stderr or process.stdout).decode(errors="replace").strip()
            raise InputError(
                f"external {name}: {shlex.join(arguments)} ended with status"
                f" {process.returncode}: {output[-ERROR_LENGTH:]}"
            )
    try:
        content = Path(str(values["output"])).read_bytes()
    except OSError:
        content = b""
    if not content:
        raise InputError(f"external {name}: {shlex.join(arguments)} wrote nothing to its output")
    return content


def _read_image(file: Path, shape: tuple[int, ...]) -> Pixels:
    """Return the decoded image, 8-bit RGB of the size of the original."""
    try:
        with Image.open(file) as image:
            mode, decoded = image.mode, np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"external decode: the output is not an image: {error}") from error
    if mode != "RGB" or decoded.shape != shape:
        raise InputError(
            f"external decode: the output is {decoded.shape[1]} x {decoded.shape[0]} {mode};"
            f" expected {shape[1]} x {shape[0]} RGB"
        )
    return decoded
