"""The examples run, from outside the package."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from rdpipe.io import store

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
IMAGE = np.kron(
    np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "PATH": path}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a copy of the examples and with images."""
    folder = tmp_path_factory.mktemp("examples") / "mine"
    shutil.copytree(
        EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__", "results*", "logs*")
    )
    (folder / "images").mkdir()
    for i in range(3):
        Image.fromarray(IMAGE[: 72 - 20 * i]).save(folder / "images" / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def report(folder):
    """Return the results of the workflow on the examples."""
    snakefile = str(ROOT / "Snakefile")
    process = run(
        folder, "snakemake", "--snakefile", snakefile, "--configfile", "mine.yaml", "--cores", "2"
    )
    assert process.returncode == 0, process.stderr
    return folder / "results-mine"


def test_commands_of_the_tutorial_run(folder):
    """With its config and the same class, on the images of the examples."""
    page = (ROOT / "docs" / "tutorial" / "your-codec.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page, re.M | re.S)
    (config,) = [text for language, text in blocks if language == "yaml"]
    (folder / "my.yaml").write_text(config)
    commands = [text for language, text in blocks if not language]
    shown = []
    for command in commands:
        process = run(folder, *shlex.split(command))
        assert process.returncode == 0, process.stdout + process.stderr
        shown.append(process.stdout)
    assert [command.split()[1] for command in commands] == ["check", "run", "show", "explain"]
    assert shown[2].startswith("My codec on photos\n") and "real bytes, bpp" in shown[2]
    html = (folder / "results-my" / "report.html").read_text()
    assert "Where the bits go: My codec on photos" in html


def test_a_user_defined_dataset_is_measured(report):
    table = store.read(report / "mine" / "tables" / "q1" / "images" / "0.zarr.zip")
    assert table["image"].values.tolist() == ["2.png", "1.png"]


def test_codecs_have_real_bytes_with_and_without_a_coder_of_their_own(report):
    points = pd.read_csv(report / "bounds.csv").query("curve == 'codec'")
    assert set(points.query("codec == 'tables'")["kind"]) == {"achieved"}
    assert set(points.query("codec == 'bitstream'")["kind"]) == {"achieved"}


def test_the_codecs_own_tables_are_a_quantizer(report):
    """The code length is the one that the codec states; prior and quantization cancel."""
    terms = pd.read_csv(report / "decomposition.csv").query(
        "codec == 'bitstream' and order == 'paper' and quality.notna()"
    )
    to_tables = terms.query("limit == 'tables'").pivot(
        index="quality", columns="term", values="bpp"
    )
    np.testing.assert_allclose(to_tables["prior"] + to_tables["quantization"], 0, atol=1e-4)
    assert set(terms.query("limit == 'tables'")["kind"]) == {"achievable"}
    assert set(terms.query("limit == 'genie'")["kind"]) == {"genie-aided estimate"}


def test_user_defined_estimators_are_coordinates(report):
    gaps = report / "mine" / "tables" / "q2" / "gaps"
    array, along = (store.read(gaps / name / "0.zarr.zip") for name in ("joint", "quantization"))
    assert set(array["mean"].values) == {"codec", "cautious"}
    assert array["variance_information"].sel(variance="row") == "genie"
    bits = along["bits"].sel(mean="codec", variance="codec")
    assert (
        bits.sel(quantizer="floored") > bits.sel(quantizer="rounding")
    ).all()  # no cell around 0
    assert (bits.sel(quantizer="shrunk") == bits.sel(quantizer="rounding")).all()
    assert np.isnan(array["bits"].sel(mean="cautious", quantizer="codec")).all()  # another grid


@pytest.mark.parametrize("codec", ["tables", "bitstream"])
def test_the_ladder_by_hand_is_that_of_the_table(folder, report, codec):
    """The rates at three qualities, and ln(rate) over the curve between them."""
    arguments = (report.name, "mine", codec, "codec/codec/rounding")
    process = run(folder, sys.executable, "ladder_by_hand.py", *arguments)
    assert process.returncode == 0, process.stderr
    numbers = re.sub(r"[][]", " ", process.stdout).split()
    by_hand, table = np.array(numbers, float).reshape(4, 2).T
    np.testing.assert_allclose(by_hand, table, rtol=1e-7)
    assert np.log(by_hand[0]) < by_hand[3] < np.log(by_hand[2])


def test_a_user_defined_program_is_a_baseline(report):
    """It has real bytes, and the page shows its config with braces."""
    points = pd.read_csv(report / "bounds.csv").query("curve == 'program'")
    assert (
        set(points["kind"]) == {"achieved"}
        and points["psnr"].is_monotonic_increasing
        and len(points) == 3
    )
    assert (
        "my_baseline.py encode {quality} {input} {output}" in (report / "report.html").read_text()
    )


def test_the_configs_of_the_readme_and_the_docs_plan_a_complete_run(tmp_path):
    pages = (ROOT / "README.md", ROOT / "docs" / "howto" / "comparisons.md")
    texts = "".join(page.read_text() for page in pages)
    blocks = re.findall("^```yaml\n(.*?)^```", texts, re.M | re.S)
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
    process = run(
        tmp_path,
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--configfile",
        "config.yaml",
        "--dry-run",
    )
    assert process.returncode == 0 and "rule make_report" in process.stdout, (
        process.stdout + process.stderr
    )
    inputs = {
        file
        for listed in re.findall("^    input: (.+)$", process.stdout, re.M)
        for file in listed.split(", ")
    }
    assert inputs >= set(files)


@pytest.mark.parametrize(
    "name", ["my_codec:MyCodec", "my_bitstream:MyBitstream", "mini-mean-scale"]
)
def test_the_checker_passes_the_examples(folder, name):
    process = run(folder, "rdpipe", "check_codec", name, "images/0.png", "--quality", "2")
    assert process.returncode == 0 and "PROBLEM" not in process.stdout, (
        process.stdout + process.stderr
    )


def test_a_flag_that_is_not_json_is_refused(folder):
    process = run(
        folder, "rdpipe", "check_codec", "my_codec:MyCodec", "images/0.png", "--args", "gamma=0.1"
    )
    assert process.returncode == 2 and "'gamma=0.1' is not JSON" in process.stderr


def test_the_notebook_runs(folder):
    """Its code cells run one after the other in a fresh process."""
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text())
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert all(not c.get("outputs") for c in notebook["cells"])
    code = "import matplotlib; matplotlib.use('Agg')\n" + "\n".join(cells)
    process = run(folder, sys.executable, "-c", code)
    assert process.returncode == 0, process.stderr
    assert " bit/pixel at " in process.stdout


def test_the_page_on_codecs_shows_the_tested_example():
    assert (EXAMPLES / "my_codec.py").read_text() in (
        ROOT / "docs" / "howto" / "codec.md"
    ).read_text()
