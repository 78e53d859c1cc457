"""An exception in a user's codec ends a stage with one line that names the user's line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_field_specs import CODEC, prepare_fields

import rdpipe
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
FACTORY = "from users_codecs.code import Codec\n\ndef make(quality):\n    return Codec(quality)\n"
PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "users-codecs"
version = "1"

[tool.setuptools]
packages = ["users_codecs", "users_factories", "users_space.part"]
py-modules = ["users_module"]
"""


def flags_of(folder, use):
    """Return the arguments that extract the latents of a codec."""
    spec = {**CODEC, "entry": {"use": use}}
    files = {"manifest_file": "manifest.json", "table": "images.zip", "out": "latents.zip"}
    flags = [f"--{flag}={folder / file}" for flag, file in files.items()]
    return ["extract_latents", f"--spec={json.dumps(spec)}", *flags]


@pytest.fixture
def extract(tmp_path, monkeypatch):
    """Return a function that runs ``extract_latents`` with the codec of a module."""
    monkeypatch.syspath_prepend(tmp_path)
    prepare_fields(tmp_path / "manifest.json")

    def run(kind):
        (tmp_path / f"users_{kind}.py").write_text(MODULES[kind])
        return main(flags_of(tmp_path, f"users_{kind}:Codec"))

    return run


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a ``site-packages`` in which packages of a user are installed."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("lib")
    packages = "users_codecs", "users_factories", "users_space/part"
    for package in packages:
        (source / package).mkdir(parents=True)
        (source / package / "__init__.py").touch()
    for kind, text in MODULES.items():
        if kind != "syntax":  # pip compiles
            (source / "users_codecs" / f"{kind}.py").write_text(text)
    (source / "users_factories/factory.py").write_text(FACTORY)
    (source / "users_space/part/code.py").write_text(MODULES["code"])
    (source / "users_module.py").write_text(MODULES["code"])
    (source / "pyproject.toml").write_text(PROJECT)
    options = "--quiet", "--no-deps", "--no-index", "--no-build-isolation"
    target = site / "site-packages"
    pip = [sys.executable, "-m", "pip", "install", *options, f"--target={target}", str(source)]
    subprocess.run(pip, check=True)
    return target


INSTALLED = {
    f"users_codecs.{kind}:Codec": kind for kind in ("constructor", "code", "import", "file")
}
OTHERS = ("users_factories.factory:make", "users_space.part.code:Codec", "users_module:Codec")
INSTALLED |= dict.fromkeys(OTHERS, "code")


@pytest.mark.parametrize("kind", LINES)
def test_error_of_the_user_is_one_line(extract, capsys, kind):
    assert extract(kind) == 2
    error = capsys.readouterr().err
    assert LINES[kind].format(f"users_{kind}") in error and error.count("\n") == 1
    assert error.startswith("rdpipe extract_latents: ")
    assert ("; RDPIPE_DEBUG=1 shows the traceback" in error) == (kind != "syntax")


@pytest.mark.parametrize("use", INSTALLED)
def test_error_of_an_installed_package_is_one_line(tmp_path, site, monkeypatch, capsys, use):
    monkeypatch.syspath_prepend(site)
    prepare_fields(tmp_path / "manifest.json")
    assert main(flags_of(tmp_path, use)) == 2
    error = capsys.readouterr().err
    file = "users_module" if use.startswith("users_module") else INSTALLED[use]
    assert LINES[INSTALLED[use]].format(file) in error and error.count("\n") == 1


@pytest.mark.parametrize("use", ["users_send:Codec", "users_codecs.send:Codec"])
def test_error_of_an_installed_rdpipe_is_not_the_users(tmp_path, site, use):
    """What fails below ``send`` is no fault of the user, wherever both packages are."""
    prepare_fields(tmp_path / "manifest.json")
    (tmp_path / "users_send.py").write_text(MODULES["send"])
    package = tmp_path / "site-packages" / "rdpipe"
    shutil.copytree(Path(rdpipe.__file__).parent, package)
    with (package / "core/walk.py").open("a") as file:
        file.write("make_part = int\n")  # takes no such arguments
    path = os.pathsep.join((str(package.parent), str(site)))
    process = subprocess.run(
        [sys.executable, "-m", "rdpipe", *flags_of(tmp_path, use)],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.startswith("Traceback") and "TypeError: int() takes" in process.stderr


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
