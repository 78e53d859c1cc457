"""Paths that the documentation names exist, and the generated reference is complete."""

import importlib
import re
import shlex
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from small_page import make_tables
from small_results import write_results
from torch import nn

from rdpipe.__main__ import main
from rdpipe.codecs import bitstream
from rdpipe.codecs.structure import find_structure
from rdpipe.core.assembly import assemble
from rdpipe.core.latents import Structure
from rdpipe.core.running import decode_image
from rdpipe.core.walk import Walk

ROOT = Path(__file__).parents[1]
FOLDERS = "benchmarks|config|docs|examples|rdpipe|tests|workflow"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "config").glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
EXCEPTIONS = {
    "config/mine.yaml",  # the config that a reader writes
    "docs/reference/config.md",  # generated
}


def commands_of(page):
    """Return the commands of rdpipe in the blocks of a page, as lists of words."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
    lines = [line for language, block in blocks if not language for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("rdpipe ")]


@pytest.fixture
def config_reference(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    yield importlib.import_module("config_reference")
    sys.modules.pop("config_reference", None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_a_page_exist(page):
    paths = set(re.findall(rf"`((?:{FOLDERS})/[\w./*-]+)`", page.read_text()))
    paths = {path for path in paths if not re.search("[A-Z]{3}", Path(path).stem)} - EXCEPTIONS
    assert not [path for path in paths if not list(ROOT.glob(path.rstrip("/")))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_in_a_page_lead_to_a_file(page):
    text = re.sub("^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)", text)
    assert not [
        link
        for link in links
        if not (page.parent / link).exists()
        and (page.parent / link).resolve() != ROOT / "docs" / "reference" / "config.md"
    ]


def test_readme_is_short_and_its_picture_small():
    text = (ROOT / "README.md").read_text()
    assert text.count("\n") <= 120
    pictures = re.findall(r"^!\[[^\]]*\]\((?!https)([^)]+)\)", text, re.M)
    assert len(pictures) == 1 and (ROOT / pictures[0]).stat().st_size < 300_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_in_a_page_can_be_imported(page):
    for name in re.findall(r"`(rdpipe(?:\.\w+)+)`", page.read_text()):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), name


def test_config_reference_has_every_key_of_the_schema(config_reference):
    file = ROOT / "workflow" / "schema.yaml"
    schema = yaml.safe_load(file.read_text())
    page = config_reference.render(file)
    headings = re.findall(r"^## `(\w+)`", page, re.MULTILINE)
    assert headings == list(schema["properties"])
    for form in ("network", "retuning"):
        for key in schema["$defs"][form]["properties"]:
            assert f"| `NAME.{key}`" in page


def test_every_value_of_the_config_has_a_meaning(config_reference):
    page = config_reference.render(ROOT / "workflow" / "schema.yaml")
    sections = re.findall(r"^## (`\w+`)[^\n]*\n\n(\w+)", page, re.MULTILINE)
    assert not [key for key, first in sections if first in ("Type", "Default")]


@pytest.mark.parametrize("page", ["README.md", "docs/howto/faults.md", "docs/howto/cluster.md"])
def test_pages_say_the_same_of_a_killed_run(page):
    """The same command alone ends with a lock, and then maybe with IncompleteFilesException."""
    text = (ROOT / page).read_text()
    assert "--unlock" in text and "--rerun-incomplete" in text


def make_network(quality):
    """Return small networks of a mean-scale hyperprior with random weights."""
    torch.manual_seed(0)
    net = nn.Module()
    net.analysis, net.synthesis = nn.Conv2d(3, 8, 16, 16), nn.ConvTranspose2d(8, 3, 16, 16)
    net.hyper_analysis = nn.Conv2d(8, 4, 4, 4)
    net.hyper_synthesis = nn.ConvTranspose2d(4, 16, 4, 4)
    net.z_scale = nn.Parameter(torch.full((1, 4, 1, 1), 1.0))
    nn.init.constant_(net.hyper_synthesis.bias, 1.0)
    return net


def test_codec_of_the_page_runs(monkeypatch):
    """It has real bytes, and the structure of a hyperprior."""
    page = (ROOT / "docs" / "howto" / "codec.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    module = types.ModuleType("my_network")
    module.make_network = make_network
    monkeypatch.setitem(sys.modules, "my_network", module)
    names = {}
    exec(next(block for block in blocks if "def code(" in block), names)
    codec = names["MyCodec"](2)
    image = np.random.default_rng(0).integers(0, 256, (70, 130, 3), dtype=np.uint8)
    walk = Walk()
    rounded = decode_image(codec, walk, image)
    assert list(assemble(walk.record)) == ["z", "y"]
    decoded = bitstream.decode(codec, bitstream.encode(codec, image))
    assert np.abs(decoded.astype(int) - rounded).max() <= 1
    assert find_structure(codec) == Structure()


def test_commands_of_the_first_figure_run(tmp_path, monkeypatch):
    write_results(make_tables(), tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    for words in commands_of("docs/tutorial/first-figure.md"):
        assert main(words) == 0, words
    assert all((tmp_path / f"{name}.pdf").stat().st_size for name in ("answer", "rd"))
