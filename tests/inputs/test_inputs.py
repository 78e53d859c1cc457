"""Odd and hostile inputs have the outcomes that the tables of docs/howto/inputs.md state.

Each input goes through the command line as in a run. A mistake ends with status 2 and one message,
never with a stack trace. Nothing in an input is executed, and no input is changed.
"""

import json
import re
from pathlib import Path

import corpus
import numpy as np
import pytest
import yaml

from rdpipe.__main__ import main
from rdpipe.config.check import complete
from rdpipe.core.errors import InputError
from rdpipe.datasets import archive, folder
from rdpipe.io import store

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "inputs.md"
SCHEMA = ROOT / "workflow" / "schema.yaml"
VALID = {"datasets": {"sample": {}}, "codecs": {"mini-mean-scale": {"qualities": [1]}}}
MAKERS = {"Images": corpus.IMAGES, "Checkpoints": corpus.CHECKPOINTS, "Archives": corpus.ARCHIVES}


def read_tables() -> dict[str, dict[str, str]]:
    """Return the tables of the page by heading: the outcome of each input."""
    tables, rows = {}, {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            rows = tables.setdefault(line.removeprefix("## "), {})
        elif row := re.fullmatch(r"\| `+ ?(.+?) ?`+ \| (.+) \|", line):
            rows[row[1]] = row[2].replace("`", "")
    return tables


TABLES = read_tables()


def rows(heading: str):
    """Parametrize a test by the rows of a table."""
    return pytest.mark.parametrize("name, outcome", TABLES[heading].items(), ids=str)


@pytest.fixture(autouse=True)
def nothing_is_executed(tmp_path, monkeypatch):
    """Run in a folder in which an executed input would create a file."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob("executed"))


def run(capsys, stage: str, spec: dict, **files) -> str:
    """Run a stage by its command line; return "done", or "refused: " and the message."""
    flags = []
    for name, file in files.items():
        flags += [f"--{name}", str(file)] if file else [f"--{name}"]
    status = main([stage, "--spec", json.dumps(spec), *flags])
    message = capsys.readouterr().err
    assert "Traceback" not in message and status in (0, 2)
    return f"refused: {message}" if status else "done"


def prepare(capsys, root) -> tuple[str, list[dict]]:
    """Write the manifest of a folder; return the outcome and the images."""
    entry = {"use": "folder", "args": {"root": str(root)}}
    spec = {"name": "x", "entry": entry, "on_error": "stop"}
    outcome = run(capsys, "prepare_dataset", spec, out="manifest.json")
    if outcome != "done":
        return outcome, []
    return outcome, json.loads(Path("manifest.json").read_text())["images"]


def extract(capsys, entry: dict) -> str:
    """Extract the latents of the images of the manifest; return the outcome."""
    run_id = {"dataset": "x", "codec": "mini-mean-scale", "quality": 1}
    return run(
        capsys,
        "extract_latents",
        {**run_id, "device": "cpu", "entry": entry},
        manifest_file="manifest.json",
        table="images.zarr.zip",
        out="latents.zarr.zip",
    )


def test_tables_list_exactly_the_inputs():
    assert {heading: list(TABLES[heading]) for heading in MAKERS} == {
        heading: list(makers) for heading, makers in MAKERS.items()
    }
    assert sum(map(len, TABLES.values())) + len(corpus.NAMES) >= 100


@rows("Images")
def test_images(capsys, name, outcome):
    content = corpus.IMAGES[name]()
    file = corpus.write(Path("images"), name, content)
    result, images = prepare(capsys, "images")
    if outcome.startswith("refused"):
        assert result.startswith("refused") and name in result
        assert outcome.removeprefix("refused: ") in result
    else:
        (image,) = images
        assert outcome == f"{image['width']} x {image['height']}, {image['conversion']}"
        spec = {"dataset": "x", "baseline": "jpeg", "quality": 50, "entry": {}}
        files = {"manifest_file": "manifest.json", "out": "jpeg.zarr.zip"}
        assert run(capsys, "run_baseline", spec, **files) == "done"
    assert file.read_bytes() == content


@pytest.mark.parametrize("name", ["one.png", "line.png", "column.png"])
def test_thin_images_are_coded(capsys, name):
    corpus.write(Path("images"), name, corpus.IMAGES[name]())
    _, (image,) = prepare(capsys, "images")
    assert extract(capsys, {}) == "done"
    table = store.read(Path("latents.zarr.zip"))
    assert table["pixels"].item() == image["pixels"] and np.isfinite(table["psnr"].item())
    entries = {
        "means": {"codec": {}, "zero": {}},
        "variances": {"codec": {}, "window-3": {}},
        "quantizers": {"rounding": {}, "test-channel": {}},
    }
    spec = {"slices": [{"component": "joint", **entries}], "matching": "image", "seed": 0}
    files = {"latents": "latents.zarr.zip", "fits": None, "out": "gap.zarr.zip"}
    assert run(capsys, "measure_gap", spec, **files) == "done"
    assert np.isfinite(store.read(Path("gap.zarr.zip"))["bits"]).all()


def test_names_are_not_changed(capsys):
    root = Path("$(touch executed) `touch executed`;'\"{x}")
    for name in corpus.NAMES:
        corpus.write(root, name, corpus.PNG)
    outcome, images = prepare(capsys, root)
    assert outcome == "done" and {image["name"] for image in images} == set(corpus.NAMES)
    assert extract(capsys, {}) == "done"
    assert set(store.read(Path("latents.zarr.zip"))["image"].values) == set(corpus.NAMES)


def test_name_that_is_not_utf8_and_broken_link_are_named(capsys):
    corpus.write(Path("images"), b"\xff.png".decode(errors="surrogateescape"), corpus.PNG)
    with pytest.raises(InputError, match=r"b'\\xff.png' is not UTF-8; rename the file"):
        folder.fingerprint(root="images")
    assert "is not UTF-8" in prepare(capsys, "images")[0]
    Path("links").mkdir()
    Path("links/gone.png").symlink_to("nowhere.png")
    assert folder.fingerprint(root="links")
    assert re.search("gone.png.*No such file", prepare(capsys, "links")[0])


@pytest.mark.parametrize(
    "args, message",
    [
        ({"root": 5}, "root: 5 is not a text"),
        ({"root": "a\0b"}, r"root: 'a\\x00b' is not a text without null characters"),
        ({"root": None}, "root: None is not a text"),
        ({"root": "absent"}, "'absent' .* is not a folder"),
        ({"root": ".", "pattern": ""}, "pattern: '' is not valid"),
        ({"root": ".", "pattern": "/etc/*"}, "pattern: '/etc/.' is not valid"),
        ({"root": ".", "pattern": "../*"}, "pattern: '../.' is not valid|no image matches '../.'"),
    ],
    ids=str,
)
def test_invalid_arguments_of_a_folder_are_named(args, message):
    with pytest.raises(InputError, match=message):
        folder.find(**args)


@rows("Checkpoints")
def test_checkpoints(capsys, name, outcome):
    file = corpus.write(Path("weights"), name, corpus.CHECKPOINTS[name]())
    corpus.write(Path("images"), "a.png", corpus.PNG)
    prepare(capsys, "images")
    args = {"architecture": "mbt2018-mean", "checkpoint": str(file)}
    result = extract(capsys, {"use": "compressai", "args": args})
    assert result.startswith("refused") and name in result and len(result.splitlines()) == 1
    assert outcome.removeprefix("refused: ") in result
    assert not list(Path().glob("*.zarr.zip")) and "weights_only" not in result


def test_unmodified_checkpoint_is_accepted(capsys):
    corpus.write(Path("weights"), "good.pt", corpus.saved(corpus.state()))
    corpus.write(Path("images"), "a.png", corpus.PNG)
    prepare(capsys, "images")
    args = {"architecture": "mbt2018-mean", "checkpoint": "weights/good.pt"}
    assert extract(capsys, {"use": "compressai", "args": args}) == "done"


@rows("Archives")
def test_archives(tmp_path, name, outcome):
    file = corpus.write(Path("deep/er/root"), name, corpus.ARCHIVES[name]())
    content = file.read_bytes()
    published = archive.Archive("set", f"http://127.0.0.1:9/{name}", None, "", 2)
    if outcome.startswith("refused"):
        with pytest.raises(InputError, match=re.escape(outcome.removeprefix("refused: "))):
            archive.find(published, str(file.parent))
        assert not file.with_suffix("").exists()
    else:
        sources = archive.find(published, str(file.parent))
        assert ", ".join(source.name for source in sources) == outcome
        folders = {Path(source.file).parent for source in sources}
        assert folders == {tmp_path / "deep/er/root" / file.stem}
    assert file.read_bytes() == content
    written = {path.name for path in Path().rglob("*.png")}
    assert written <= {"up.png", "b.png", "absolute-path-of-rdpipe.png"}
    assert not list(Path().glob("*.png")) and not Path("/tmp/absolute-path-of-rdpipe.png").exists()


@rows("Configs")
def test_configs(name, outcome):
    """Invalid configs are refused before any job starts; the message names the place."""
    with pytest.raises(InputError) as error:
        complete({**VALID, **yaml.safe_load(name)}, SCHEMA)
    assert outcome.removeprefix("refused: ") in str(error.value)
