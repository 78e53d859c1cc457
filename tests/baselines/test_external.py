"""External programs as baselines: a real process, and every way in which it can fail."""

import io
import shlex
import sys

import numpy as np
import pytest
from PIL import Image
from skimage import data

from rdpipe.baselines.external import External
from rdpipe.core.errors import InputError

IMAGE = data.chelsea()[:101, :77]
PROGRAM = """
import os, sys
from PIL import Image
act, read, write, *quality = sys.argv[1:]
files = os.listdir(os.path.dirname(read))
if act == "encode":
    Image.open(read).save(write, "JPEG", quality=int(quality[0]))
elif act == "decode":
    assert files == [os.path.basename(read)], files  # only the stream
    Image.open(read).save(write)
elif act == "gray":
    Image.open(read).convert("L").save(write)
elif act == "small":
    Image.open(read).resize((5, 7)).save(write)
elif act == "text":
    open(write, "w").write("not an image")
elif act == "fail":
    sys.exit("out of memory")
"""


@pytest.fixture
def call(tmp_path):
    """Commands of the program; its path has spaces, quotes and characters special to a shell."""
    folder = tmp_path / "a $HOME 'b' ;c"
    folder.mkdir()
    (folder / "codec.py").write_text(PROGRAM)
    start = f"{shlex.quote(sys.executable)} {shlex.quote(str(folder / 'codec.py'))}"
    return lambda act, end="": f"{start} {act} {{input}} {{output}} {end}"


@pytest.mark.parametrize("format", ["png", "ppm"])
def test_bytes_are_those_that_the_program_writes(call, format):
    baseline = External(call("encode", "{quality}"), call("decode"), format=format)
    stream, decoded = baseline(IMAGE, 30)
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, "JPEG", quality=30)
    assert stream == buffer.getvalue()
    assert np.array_equal(decoded, np.asarray(Image.open(buffer)))


def test_commands_run_one_after_the_other_in_one_folder(call):
    between = call("encode", "{quality}").replace("{output}", "{folder}/between")
    last = call("decode").replace("{input}", "{folder}/between").replace("decode", "gray")
    uses_size = call("text").replace("{output}", "{folder}/{width}x{height}")
    baseline = External([uses_size, between, last], call("gray"), suffix=".png")
    with pytest.raises(InputError, match="the output is 77 x 101 L; expected 77 x 101 RGB"):
        baseline(IMAGE, 30)


@pytest.mark.parametrize(
    "encode, decode, message",
    [
        ("encode", "small", "external decode: the output is 5 x 7 RGB; expected 77 x 101 RGB"),
        ("encode", "text", "external decode: the output is not an image"),
        ("encode", "fail", "external decode: .* ended with status 1: out of memory"),
        ("fail", "decode", "external encode: .* ended with status 1: out of memory"),
        ("nothing", "decode", "external encode: .* wrote nothing to its output"),
    ],
)
def test_failing_program_is_named(call, encode, decode, message):
    with pytest.raises(InputError, match=message):
        External(call(encode, "{quality}"), call(decode))(IMAGE, 30)


def test_missing_program_is_named():
    baseline = External("no-such-encoder {input} {output}", "decoder {input} {output}")
    with pytest.raises(
        InputError, match="external encode: cannot run 'no-such-encoder': .*No such"
    ):
        baseline(IMAGE, 30)


@pytest.mark.parametrize(
    "encode, message",
    [
        (
            "bpgenc -q {qp} {input} {output}",
            "unknown {qp}; expected one of: {input}, {output}, {quality}",
        ),
        ("bpgenc -q {quality:03} {input} {output}", "{quality} has a format; expected none"),
        ("bpgenc {input.real} {output}", "unknown {input.real}"),
        ("bpgenc -q {quality} {input}", "no {output} in"),
        ("bpgenc '{input} {output}", "No closing quotation"),
        ("bpgenc {input {output}", "external encode"),
        ("", "has an empty command"),
        ([], "has an empty command"),
    ],
)
def test_invalid_command_is_refused_before_anything_runs(encode, message):
    with pytest.raises(InputError) as error:
        External(encode, "bpgdec {input} {output}")
    assert message in str(error.value)


def test_decoder_does_not_get_the_quality(call):
    with pytest.raises(InputError, match="external decode: unknown {quality}"):
        External(call("encode", "{quality}"), call("decode", "{quality}"))


def test_unknown_format_is_refused(call):
    with pytest.raises(
        InputError, match="external: 'yuv' is not a format; expected one of: png, ppm"
    ):
        External(call("encode"), call("decode"), format="yuv")
