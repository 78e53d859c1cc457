"""Any encoder and decoder that are programs, as an anchor: VTM, HM, BPG, or one's own.

```
image.png -> encode -> stream          (a folder of the encoder's own)
                          |
             stream -> decode -> image.png   (another folder: only the bytes cross)
```

Commands are lists of arguments, never a shell's: no quoting, no expansion, no pipes. BPG::

    encode: "bpgenc -q {quality} -f 444 -o {output} {input}"
    decode: "bpgdec -o {output} {input}"

VTM, which knows raw YCbCr only, with ffmpeg before and after it::

    encode:
      - "ffmpeg -v error -i {input} -pix_fmt yuv444p -f rawvideo {folder}/in.yuv"
      - "EncoderApp -c encoder_intra_vtm.cfg -i {folder}/in.yuv -b {output} -o {folder}/out.yuv
         -q {quality} -wdt {width} -hgt {height} -f 1 -fr 1 --InputChromaFormat=444
         --InputBitDepth=8 --ConformanceWindowMode=1"
    decode:
      - "DecoderApp -b {input} -o {folder}/out.yuv -d 8"
      - "ffmpeg -v error -f rawvideo -pix_fmt yuv444p -s {width}x{height} -i {folder}/out.yuv {output}"

The decoder is told ``{width}`` and ``{height}``, to give raw samples a shape: streams of video codecs
carry both.
"""

from __future__ import annotations

import shlex
import string
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rdpipe.core.errors import InputError

FORMATS = ("png", "ppm")
PLACES = ("input", "output", "quality", "width", "height", "folder")
NEEDED = ("input", "output")


class External:
    """An anchor that runs two programs.

    Parameters
    ----------
    encode, decode : str or list of str
        A command, or several that run one after the other. ``{input}``, ``{output}``, ``{width}``,
        ``{height}`` (pixels) and ``{folder}`` (one for files in between) are filled in, for the encoder
        ``{quality}`` too; ``{{`` and ``}}`` are braces.
    format : {"png", "ppm"}
        What the image is handed over as, and the decoder's output is read as: 8-bit RGB.
    suffix : str
        Of the name of the stream, for programs that judge by it.

    Raises
    ------
    InputError
        If a command is no command, or a placeholder is unknown or missing.
    """

    def __init__(
        self,
        encode: str | Sequence[str],
        decode: str | Sequence[str],
        format: str = "png",
        suffix: str = ".bin",
    ):
        if format not in FORMATS:
            raise InputError(f"external format {format!r}: allowed are {', '.join(FORMATS)}")
        self.encode = parse("encode", encode, PLACES)
        self.decode = parse("decode", decode, tuple(p for p in PLACES if p != "quality"))
        self.image, self.stream = f"image.{format}", f"stream{suffix}"

    def __call__(self, image: np.ndarray, quality: int) -> tuple[bytes, np.ndarray]:
        """Code an image and decode it again.

        Parameters
        ----------
        image : array of uint8, of shape (height, width, 3)
        quality : int
            Whatever the command takes: a QP, a level.

        Returns
        -------
        stream : bytes
            The file that the encoder wrote, the whole of it.
        decoded : array of uint8, of shape (height, width, 3)

        Raises
        ------
        InputError
            If a program is missing, fails, or does not write what it should.
        """
        size = {"width": image.shape[1], "height": image.shape[0]}
        with tempfile.TemporaryDirectory(prefix="rdpipe-encode-") as folder:
            files = places(folder, self.image, self.stream)
            Image.fromarray(image).save(files["input"])
            stream = run("encode", self.encode, {**files, **size, "quality": quality})
        with tempfile.TemporaryDirectory(prefix="rdpipe-decode-") as folder:
            files = places(folder, self.stream, self.image)
            Path(files["input"]).write_bytes(stream)
            run("decode", self.decode, {**files, **size})
            return stream, read_image(Path(files["output"]), image.shape)


def parse(what: str, commands: str | Sequence[str], allowed: tuple[str, ...]) -> list[list[str]]:
    """Commands as lists of arguments with placeholders, all of them known."""
    commands = [commands] if isinstance(commands, str) else list(commands)
    try:
        parsed = [shlex.split(command) for command in commands]
        fields = [
            field
            for argument in sum(parsed, [])
            for _, *field in string.Formatter().parse(argument)
            if field[0] is not None
        ]
    except (ValueError, AttributeError) as error:
        raise InputError(f"external {what} {commands!r}: {error}") from error
    if not parsed or not all(parsed):
        raise InputError(f"external {what}: {commands!r} has an empty command")
    named = [name for name, *_ in fields]
    for field, form, conversion in fields:
        if form or conversion:
            raise InputError(f"external {what}: {{{field}}} takes no format, and has one")
        if field not in allowed:
            listed = ", ".join(f"{{{place}}}" for place in allowed)
            raise InputError(f"external {what}: unknown {{{field}}}; allowed are {listed}")
    for field in NEEDED:
        if field not in named:
            raise InputError(f"external {what}: no {{{field}}} in {commands!r}")
    return parsed


def places(folder: str, read: str, write: str) -> dict[str, str]:
    """The files of one call."""
    return {"folder": folder, "input": str(Path(folder, read)), "output": str(Path(folder, write))}


def run(what: str, commands: list[list[str]], values: dict) -> bytes:
    """Run commands one after the other; the bytes that they wrote to ``output``."""
    for command in commands:
        arguments = [argument.format(**values) for argument in command]
        try:
            done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True)
        except OSError as error:
            raise InputError(f"external {what}: cannot run {arguments[0]!r}: {error}") from error
        if done.returncode:
            said = (done.stderr or done.stdout).decode(errors="replace").strip()[-500:]
            raise InputError(
                f"external {what}: {shlex.join(arguments)} ended with status {done.returncode}: {said}"
            )
    try:
        content = Path(values["output"]).read_bytes()
    except OSError:
        content = b""
    if not content:
        raise InputError(f"external {what}: {shlex.join(arguments)} wrote nothing to its output")
    return content


def read_image(file: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The decoded image, which must be 8-bit RGB of the size of the original."""
    try:
        with Image.open(file) as opened:
            mode, decoded = opened.mode, np.asarray(opened)
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"external decode: its output is no image: {error}") from error
    if mode != "RGB" or decoded.shape != shape:
        found = f"{decoded.shape[1]} x {decoded.shape[0]} {mode}"
        raise InputError(
            f"external decode: its output is {found}; wanted is {shape[1]} x {shape[0]} RGB"
        )
    return decoded
