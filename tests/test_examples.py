"""What users are told to write runs, from outside the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

from rdpipe.io import store
from rdpipe.codecs.conformance import check
from rdpipe.codecs.compressai.adapter import mini_mean_scale
from rdpipe.core.errors import InputError

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
IMAGE = np.kron(np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8), np.ones((8, 8, 1), np.uint8))


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The examples in a folder of their own, with images."""
    folder = tmp_path_factory.mktemp("examples") / "mine"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__", "results*", "logs*"))
    (folder / "images").mkdir()
    for i in range(3):
        Image.fromarray(IMAGE[: 72 - 20 * i]).save(folder / "images" / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def report(folder):
    """The workflow on parts that are all of one's own."""
    snakefile = str(ROOT / "Snakefile")
    done = run(folder, "snakemake", "--snakefile", snakefile, "--configfile", "mine.yaml", "--cores", "2")
    assert done.returncode == 0, done.stderr
    return folder / "results-mine"


def test_a_data_set_of_ones_own_is_measured(report):
    table = store.read(report / "mine" / "tables" / "q1" / "images" / "0.zarr.zip")
    assert table["image"].values.tolist() == ["2.png", "1.png"]


def test_a_curve_without_real_bytes_is_not_called_achieved(report):
    points = pd.read_csv(report / "bounds.csv").query("curve == 'codec'")
    assert set(points.query("codec == 'tables'")["kind"]) == {"achievable"}
    assert set(points.query("codec == 'bitstream'")["kind"]) == {"achieved"}


def test_tables_are_a_coordinate_of_the_quantizer_axis(report):
    """Theirs is the code length that the codec itself counts; the Gaussian one is beside it."""
    terms = pd.read_csv(report / "decomposition.csv").query("codec == 'bitstream' and order == 'paper'")
    to_tables = terms.query("limit == 'tables'").pivot(index="quality", columns="term", values="bpp")
    np.testing.assert_allclose(to_tables["prior"] + to_tables["quantization"], 0, atol=1e-4)
    assert set(terms.query("limit == 'tables'")["kind"]) == {"achievable"}
    assert set(terms.query("limit == 'genie'")["kind"]) == {"genie-aided estimate"}


def test_estimators_of_ones_own_are_coordinates(report):
    cube = store.read(report / "mine" / "tables" / "q2" / "gaps" / "joint" / "0.zarr.zip")
    assert set(cube["mean"].values) == {"codec", "cautious"}
    assert cube["variance_information"].sel(variance="row") == "genie"
    bits = cube["bits"].sel(mean="codec", variance="codec")
    assert (bits.sel(quantizer="floored") > bits.sel(quantizer="rounding")).all()  # no cell about 0
    assert (bits.sel(quantizer="shrunk") == bits.sel(quantizer="rounding")).all()
    assert np.isnan(cube["bits"].sel(mean="cautious", quantizer="codec")).all()  # on another grid


def test_a_program_of_ones_own_is_an_anchor(report):
    """Real bytes, and a page whose config has braces in it."""
    points = pd.read_csv(report / "bounds.csv").query("curve == 'program'")
    assert set(points["kind"]) == {"achieved"} and points["psnr"].is_monotonic_increasing and len(points) == 3
    assert "my_anchor.py encode {quality} {input} {output}" in (report / "report.html").read_text()


def test_the_configs_of_the_readme_plan_a_run_to_its_page(tmp_path):
    blocks = re.findall("^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    config = yaml.safe_load(blocks[0])
    assert "{quality}" in config["codecs"]["mine"]["args"]["checkpoint"]
    for block in blocks[1:]:
        for section, entries in yaml.safe_load(block).items():
            config[section] = {**config.get(section, {}), **entries}
    config["datasets"]["photos"]["args"]["root"] = "images"
    (tmp_path / "images").mkdir()
    Image.fromarray(IMAGE).save(tmp_path / "images" / "one.png")
    files = [f"checkpoints/lambda-{quality}.pth.tar" for quality in range(1, 6)]
    for file in (*files, "results-training/training/net.safetensors"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    done = run(tmp_path, "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml", "--dry-run")
    assert done.returncode == 0 and "rule make_report" in done.stdout, done.stdout + done.stderr
    inputs = {file for listed in re.findall("^    input: (.+)$", done.stdout, re.M) for file in listed.split(", ")}
    assert inputs >= set(files)


@pytest.mark.parametrize("name", ["my_codec:MyCodec", "my_bitstream:MyBitstream", "mini-mean-scale"])
def test_the_checker_finds_nothing_wrong_with_the_examples(folder, name):
    done = run(folder, "rdpipe", "check_codec", name, "images/0.png", "--quality", "2")
    assert done.returncode == 0 and "PROBLEM" not in done.stdout, done.stdout + done.stderr


def test_a_flag_that_is_no_json_is_named(folder):
    done = run(folder, "rdpipe", "check_codec", "my_codec:MyCodec", "images/0.png", "--args", "gamma=0.1")
    assert done.returncode == 2 and "'gamma=0.1' is no JSON" in done.stderr


class Broken:
    """A codec that works, but for what a test breaks."""

    def __init__(self):
        self.codec = mini_mean_scale(1, "cpu")
        for name in ("analyse", "synthesise", "compress", "decompress", "side", "predict", "reconstruct",
                     "stride", "decoder_gain"):  # fmt: skip
            setattr(self, name, getattr(self.codec, name))

    def analysed(self, **changes):
        def analyse(name, image):
            analysis = self.codec.analyse(name, image)
            new = {key: change(getattr(analysis.latents, key)) for key, change in changes.items()}
            return replace(analysis, latents=replace(analysis.latents, **new))

        self.analyse = analyse


def remove(codec, name):
    delattr(codec, name)


def noisy(codec):
    codec.analysed(y=lambda y: y + 0.1 * torch.randn_like(y))


MISTAKES = {
    "no method synthesise": lambda c: remove(c, "synthesise"),
    "compress without decompress": lambda c: remove(c, "decompress"),
    "other latents the second time": noisy,
    r"mean has shape \(1, ": lambda c: c.analysed(mean=lambda mean: mean[:1]),
    "scale must be positive": lambda c: c.analysed(scale=lambda scale: 0 * scale),
    "scale holds values that are not finite": lambda c: c.analysed(scale=lambda scale: scale / 0),
    "is scale a standard deviation": lambda c: c.analysed(scale=lambda scale: 9 * scale),
    "it is the sum over pixels": lambda c: setattr(c, "decoder_gain", lambda *a: 255**2 * c.codec.decoder_gain(*a)),
    r"104 x 72: decoder_gain has shape \(1, ": lambda c: setattr(c, "decoder_gain", lambda *a: c.codec.decoder_gain(*a)[None]),
    "mean is a ndarray": lambda c: c.analysed(mean=lambda mean: mean.numpy()),
    "y is of torch.int64": lambda c: c.analysed(y=lambda y: y.long()),
    "the latents are named 'other'": lambda c: c.analysed(name=lambda name: "other"),
    "decodes to another image": lambda c: c.analysed(y=lambda y: 2 * y, mean=lambda m: 2 * m),
    "synthesise returns float64": lambda c: setattr(c, "synthesise", lambda *a: c.codec.synthesise(*a) / 255),
    "they must be the same": lambda c: setattr(c, "compress", lambda x: c.codec.compress(x) + bytes(9999)),
    r"it raised RuntimeError: boom \(test_examples.py, line": lambda c: setattr(c, "analyse", boom),
}  # fmt: skip


def boom(name, image):
    raise RuntimeError("boom")


def test_nothing_is_wrong_with_what_works():
    assert all(fine for fine, _ in check(Broken(), IMAGE))


def test_an_image_that_is_too_small_to_say_anything_is_refused():
    with pytest.raises(InputError, match="an image of 1 x 3: the check takes one of at least 64 pixels"):
        list(check(Broken(), IMAGE[:3, :1]))


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_said_in_plain_words(words):
    codec = Broken()
    MISTAKES[words](codec)
    problems = [finding for fine, finding in check(codec, IMAGE) if not fine]
    assert any(re.search(words, problem) for problem in problems), problems


def test_the_notebook_runs(folder):
    """Its code cells, one after the other, in a fresh process."""
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text())
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert all(not c.get("outputs") for c in notebook["cells"])
    code = "import matplotlib; matplotlib.use('Agg')\n" + "\n".join(cells)
    done = run(folder, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert " bit/pixel at " in done.stdout


def test_the_page_on_codecs_shows_the_example_that_runs():
    assert (EXAMPLES / "my_codec.py").read_text() in (ROOT / "docs" / "howto" / "codec.md").read_text()
