"""An exception in a user's codec ends a stage with one line that names the user's line."""

import json

import pytest
from small_field_specs import CODEC, prepare_fields

from rdpipe.__main__ import main

MODULES = {
    "constructor": "class Codec:\n    def __init__(self, quality):\n        {}['weights']\n",
    "code": (
        "class Codec:\n    def __init__(self, quality):\n        pass\n"
        "    def code(self, image, size, send):\n        return [][size[0]]\n"
    ),
    "import": "import torch\nnet = torch.nn.Linear(1, 2)(torch.ones(3))\n",
    "file": "class Codec:\n    def __init__(self, quality):\n        open('weights.pt')\n",
    "send": (
        "import torch\nfrom rdpipe.entropy.priors import Gaussian\n"
        "class Codec:\n    multiple = 1\n    def __init__(self, quality):\n        pass\n"
        "    def code(self, image, size, send):\n        x = torch.ones(1, 1, *size)\n"
        "        return send('y', Gaussian(0 * x, x), image)\n"
    ),
    "syntax": "class Codec:\n    def code(self, image\n",
}
LINES = {
    "constructor": "KeyError: 'weights' ({}.py, line 3)",
    "code": "IndexError: list index out of range ({}.py, line 5)",
    "import": "RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x3 and 1x2) ({}.py, line",
    "file": "FileNotFoundError: [Errno 2] No such file or directory: 'weights.pt' ({}.py, line 3)",
    "syntax": "'(' was never closed ({}.py, line 2)",
}


@pytest.fixture
def extract(tmp_path, monkeypatch):
    """Return a function that runs ``extract_latents`` with the codec of a module."""
    monkeypatch.syspath_prepend(tmp_path)
    prepare_fields(tmp_path / "manifest.json")

    def run(kind):
        (tmp_path / f"users_{kind}.py").write_text(MODULES[kind])
        spec = {**CODEC, "entry": {"use": f"users_{kind}:Codec"}}
        files = {"manifest_file": "manifest.json", "table": "images.zip", "out": "latents.zip"}
        flags = [f"--{flag}={tmp_path / file}" for flag, file in files.items()]
        return main(["extract_latents", f"--spec={json.dumps(spec)}", *flags])

    return run


@pytest.mark.parametrize("kind", LINES)
def test_error_of_the_user_is_one_line(extract, capsys, kind):
    assert extract(kind) == 2
    error = capsys.readouterr().err
    assert LINES[kind].format(f"users_{kind}") in error and error.count("\n") == 1
    assert error.startswith("rdpipe extract_latents: ")
    assert ("; RDPIPE_DEBUG=1 shows the traceback" in error) == (kind != "syntax")


def test_debugging_shows_the_traceback(extract, monkeypatch):
    monkeypatch.setenv("RDPIPE_DEBUG", "1")
    with pytest.raises(KeyError, match="weights"):
        extract("constructor")


def test_error_of_rdpipe_has_its_traceback(extract, monkeypatch):
    monkeypatch.setattr("rdpipe.stages.extract_latents.encoder_of", int)  # takes no such argument
    with pytest.raises(TypeError):
        extract("code")


def test_error_of_rdpipe_below_the_code_of_a_user_has_its_traceback(extract, monkeypatch):
    """A call of ``send`` is the user's line; what fails in it is not."""
    monkeypatch.setattr("rdpipe.core.walk.make_part", int)  # takes no such arguments
    with pytest.raises(TypeError):
        extract("send")
