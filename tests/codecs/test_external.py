"""Programs as anchors: a real one, run as a real process, and every way in which one can fail."""

import io
import shlex
import sys

import numpy as np
import pytest
from PIL import Image
from skimage import data

from rdpipe.codecs.external import External
from rdpipe.core.errors import InputError

IMAGE = data.chelsea()[:101, :77]
PROGRAM = """
import os, sys
from PIL import Image
act, read, write, *quality = sys.argv[1:]
near = os.listdir(os.path.dirname(read))
if act == "encode":
    Image.open(read).save(write, "JPEG", quality=int(quality[0]))
elif act == "decode":
    assert near == [os.path.basename(read)], near  # nothing but the stream
    Image.open(read).save(write)
elif act == "grey":
    Image.open(read).convert("L").save(write)
elif act == "small":
    Image.open(read).resize((5, 7)).save(write)
elif act == "text":
    open(write, "w").write("no image")
elif act == "fail":
    sys.exit("out of luck")
"""


@pytest.fixture
def call(tmp_path):
    """Commands of the program, whose path has spaces, quotes and what a shell would act on."""
    folder = tmp_path / "a $HOME 'b' ;c"
    folder.mkdir()
    (folder / "codec.py").write_text(PROGRAM)
    start = f"{shlex.quote(sys.executable)} {shlex.quote(str(folder / 'codec.py'))}"
    return lambda act, end="": f"{start} {act} {{input}} {{output}} {end}"


@pytest.mark.parametrize("format", ["png", "ppm"])
def test_its_bytes_are_what_the_program_writes(call, format):
    anchor = External(call("encode", "{quality}"), call("decode"), format=format)
    stream, decoded = anchor(IMAGE, 30)
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, "JPEG", quality=30)
    assert stream == buffer.getvalue()
    assert np.array_equal(decoded, np.asarray(Image.open(buffer)))


def test_commands_run_one_after_the_other_in_a_folder_of_theirs(call):
    between = call("encode", "{quality}").replace("{output}", "{folder}/between")
    last = call("decode").replace("{input}", "{folder}/between").replace("decode", "grey")
    sees_it = call("text").replace("{output}", "{folder}/{width}x{height}")
    anchor = External([sees_it, between, last], call("grey"), suffix=".png")
    with pytest.raises(InputError, match="its output is 77 x 101 L; wanted is 77 x 101 RGB"):
        anchor(IMAGE, 30)


@pytest.mark.parametrize(
    "encode, decode, message",
    [
        ("encode", "small", "external decode: its output is 5 x 7 RGB; wanted is 77 x 101 RGB"),
        ("encode", "text", "external decode: its output is no image"),
        ("encode", "fail", "external decode: .* ended with status 1: out of luck"),
        ("fail", "decode", "external encode: .* ended with status 1: out of luck"),
        ("nothing", "decode", "external encode: .* wrote nothing to its output"),
    ],
)
def test_a_program_that_fails_is_named(call, encode, decode, message):
    with pytest.raises(InputError, match=message):
        External(call(encode, "{quality}"), call(decode))(IMAGE, 30)


def test_a_missing_program_is_named():
    anchor = External("no-such-encoder {input} {output}", "decoder {input} {output}")
    with pytest.raises(InputError, match="external encode: cannot run 'no-such-encoder': .*No such"):
        anchor(IMAGE, 30)


@pytest.mark.parametrize(
    "encode, message",
    [
        ("bpgenc -q {qp} {input} {output}", "unknown {qp}; allowed are {input}, {output}, {quality}"),
        ("bpgenc {input.real} {output}", "unknown {input.real}"),
        ("bpgenc -q {quality} {input}", "no {output} in"),
        ("bpgenc '{input} {output}", "No closing quotation"),
        ("bpgenc {input {output}", "external encode"),
        ("", "has an empty command"),
        ([], "has an empty command"),
    ],
)
def test_a_command_that_cannot_work_is_refused_before_anything_runs(encode, message):
    with pytest.raises(InputError) as error:
        External(encode, "bpgdec {input} {output}")
    assert message in str(error.value)


def test_the_decoder_is_not_told_the_quality(call):
    with pytest.raises(InputError, match="external decode: unknown {quality}"):
        External(call("encode", "{quality}"), call("decode", "{quality}"))


def test_an_unknown_format_is_refused(call):
    with pytest.raises(InputError, match="external format 'yuv': allowed are png, ppm"):
        External(call("encode"), call("decode"), format="yuv")
