"""What becomes of hostile and odd inputs: docs/howto/inputs.md is the table that drives these tests.

Each goes through the command line as it would in a run. A mistake ends in status 2 and one message, never a
stack trace; nothing in an input is executed; no input is changed.
"""

import json
import re
from pathlib import Path

import corpus
import numpy as np
import pytest
import yaml

from rdpipe.io import store
from rdpipe.__main__ import main
from rdpipe.config.check import complete
from rdpipe.datasets import archive, folder
from rdpipe.core.errors import InputError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schema.yaml"
VALID = {"datasets": {"sample": {}}, "codecs": {"mini-mean-scale": {"qualities": [1]}}}
MAKERS = {"Images": corpus.IMAGES, "Checkpoints": corpus.CHECKPOINTS, "Archives": corpus.ARCHIVES}


def table() -> dict[str, dict[str, str]]:
    """The rows of docs/howto/inputs.md, by heading: an input, and what becomes of it."""
    found, rows = {}, {}
    for line in (ROOT / "docs" / "howto" / "inputs.md").read_text().splitlines():
        if line.startswith("## "):
            rows = found.setdefault(line.removeprefix("## "), {})
        elif row := re.fullmatch(r"\| `+ ?(.+?) ?`+ \| (.+) \|", line):
            rows[row[1]] = row[2].replace("`", "")
    return found


TABLE = table()


def rows(heading: str):
    return pytest.mark.parametrize("name, outcome", TABLE[heading].items(), ids=str)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """Where a hostile input would leave its trace."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob("executed"))


def run(capsys, stage: str, spec: dict, **files) -> str:
    """One stage by its command line: what it says, after ``refused`` or ``done``."""
    flags = [text for name, file in files.items() for text in (f"--{name}", *([str(file)] if file else []))]
    status = main([stage, "--spec", json.dumps(spec), *flags])
    said = capsys.readouterr().err
    assert "Traceback" not in said and status in (0, 2)
    return f"refused: {said}" if status else "done"


def prepare(capsys, root) -> tuple[str, list[dict]]:
    """Manifest of a folder: what was said, and the images."""
    spec = {"name": "x", "entry": {"use": "folder", "args": {"root": str(root)}}, "on_error": "stop"}
    said = run(capsys, "prepare_dataset", spec, out="manifest.json")
    return said, json.loads(Path("manifest.json").read_text())["images"] if said == "done" else []


def extract(capsys, entry: dict) -> str:
    spec = {"dataset": "x", "codec": "mini-mean-scale", "quality": 1, "device": "cpu", "entry": entry}
    return run(capsys, "extract_latents", spec, manifest_file="manifest.json", table="images.zarr.zip", out="latents.zarr.zip")


def test_there_is_a_row_for_every_input_and_an_input_for_every_row():
    assert {heading: list(TABLE[heading]) for heading in MAKERS} == {
        heading: list(made) for heading, made in MAKERS.items()
    }
    assert sum(map(len, TABLE.values())) + len(corpus.NAMES) >= 100


@rows("Images")
def test_images(capsys, name, outcome):
    content = corpus.IMAGES[name]()
    file = corpus.write(Path("images"), name, content)
    said, images = prepare(capsys, "images")
    if outcome.startswith("refused"):
        assert said.startswith("refused") and name in said
        assert outcome.removeprefix("refused: ") in said
    else:
        (image,) = images
        assert outcome == f"{image['width']} x {image['height']}, {image['conversion']}"
        anchor = {"dataset": "x", "anchor": "jpeg", "quality": 50, "entry": {}}
        assert run(capsys, "run_anchor", anchor, manifest_file="manifest.json", out="a.zarr.zip") == "done"
    assert file.read_bytes() == content


@pytest.mark.parametrize("name", ["one.png", "line.png", "column.png"])
def test_the_thinnest_images_go_through_a_codec(capsys, name):
    corpus.write(Path("images"), name, corpus.IMAGES[name]())
    _, (image,) = prepare(capsys, "images")
    assert extract(capsys, {}) == "done"
    found = store.read(Path("latents.zarr.zip"))
    assert found["pixels"].item() == image["pixels"] and np.isfinite(found["psnr"].item())
    axes = {"means": {"codec": {}, "zero": {}}, "variances": {"codec": {}, "window-3": {}},
            "quantizers": {"rounding": {}, "test-channel": {}}}  # fmt: skip
    gap = {"component": "joint", "matching": "image", "seed": 0, **axes}
    assert run(capsys, "measure_gap", gap, latents="latents.zarr.zip", fits=None, out="gap.zarr.zip") == "done"
    assert np.isfinite(store.read(Path("gap.zarr.zip"))["bits"]).all()


def test_names_are_kept_as_they_are(capsys):
    root = Path("$(touch executed) `touch executed`;'\"{x}")
    for name in corpus.NAMES:
        corpus.write(root, name, corpus.PNG)
    said, images = prepare(capsys, root)
    assert said == "done" and {image["name"] for image in images} == set(corpus.NAMES)
    assert extract(capsys, {}) == "done"
    assert set(store.read(Path("latents.zarr.zip"))["image"].values) == set(corpus.NAMES)


def test_a_name_that_is_no_text_and_a_link_to_nothing_are_named(capsys):
    corpus.write(Path("images"), b"\xff.png".decode(errors="surrogateescape"), corpus.PNG)
    with pytest.raises(InputError, match=r"b'\\xff.png' is no UTF-8; rename the file"):
        folder.fingerprint(root="images")
    assert "is no UTF-8" in prepare(capsys, "images")[0]
    Path("links").mkdir()
    Path("links/gone.png").symlink_to("nowhere.png")
    assert folder.fingerprint(root="links")
    assert re.search("gone.png.*No such file", prepare(capsys, "links")[0])


@pytest.mark.parametrize("args", [{"root": 5}, {"root": "a\0b"}, {"root": ".", "pattern": ""},
                                  {"root": ".", "pattern": "/etc/*"}, {"root": ".", "pattern": "../*"},
                                  {"root": "absent"}, {"root": None}], ids=str)  # fmt: skip
def test_a_folder_is_a_folder(args):
    with pytest.raises(InputError, match="allowed|is no directory|no image matches"):
        folder.find(**args)


@rows("Checkpoints")
def test_checkpoints(capsys, name, outcome):
    file = corpus.write(Path("weights"), name, corpus.CHECKPOINTS[name]())
    corpus.write(Path("images"), "a.png", corpus.PNG)
    prepare(capsys, "images")
    args = {"architecture": "mbt2018-mean", "checkpoint": str(file)}
    said = extract(capsys, {"use": "compressai", "args": args})
    assert said.startswith("refused") and name in said and len(said.splitlines()) == 1
    assert outcome.removeprefix("refused: ") in said
    assert not list(Path().glob("*.zarr.zip")) and "weights_only" not in said


def test_the_weights_that_the_bad_ones_were_made_from_are_taken(capsys):
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
        found = archive.find(published, str(file.parent))
        assert ", ".join(source.name for source in found) == outcome
        assert {Path(source.file).parent for source in found} == {tmp_path / "deep/er/root" / file.stem}
    assert file.read_bytes() == content
    assert {path.name for path in Path().rglob("*.png")} <= {"up.png", "b.png", "absolute-path-of-rdpipe.png"}
    assert not list(Path().glob("*.png")) and not Path("/tmp/absolute-path-of-rdpipe.png").exists()


@rows("Configs")
def test_configs(name, outcome):
    """Before any job starts, with the place in the config."""
    with pytest.raises(InputError) as error:
        complete({**VALID, **yaml.safe_load(name)}, SCHEMA)
    assert outcome.removeprefix("refused: ") in str(error.value)
