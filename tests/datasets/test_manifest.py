"""What stands in a manifest, and where images come from."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rdpipe.datasets import folder, manifest, sample
from rdpipe.datasets.source import Source
from rdpipe.core.errors import InputError


@pytest.fixture
def images(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("z.png", "b/a.JPG", ".hidden/no.png", "b/.no.png"):
        Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_gives_its_images_in_order(images):
    assert [source.name for source in folder.find(str(images))] == ["b/a.JPG", "z.png"]
    assert [source.name for source in folder.find(str(images), "*.png")] == ["z.png"]


def test_a_fingerprint_changes_with_the_images_and_only_with_them(images):
    before = folder.fingerprint(root=str(images))
    (images / "notes.txt").write_text("other words")
    assert folder.fingerprint(root=str(images)) == before
    Image.fromarray(np.ones((9, 9, 3), np.uint8)).save(images / "z.png")
    changed = folder.fingerprint(root=str(images))
    (images / "z.png").rename(images / "y.png")
    assert len({before, changed, folder.fingerprint(root=str(images))}) == 3


@pytest.mark.parametrize("root", ["absent", "notes.txt"])
def test_a_missing_folder_is_named(images, root):
    with pytest.raises(InputError, match=root):
        folder.find(str(images / root))


def test_an_empty_folder_is_refused(images):
    with pytest.raises(InputError, match="no image matches.*known: .png"):
        folder.find(str(images), "*.txt")


def test_a_manifest_says_what_each_image_is(images, tmp_path):
    built = manifest.build(folder.find(str(images)))
    one = built["images"][1]
    digest = hashlib.sha256((images / "z.png").read_bytes()).hexdigest()
    assert (one["name"], one["width"], one["height"], one["pixels"]) == ("z.png", 4, 3, 12)
    assert one["sha256"] == digest
    manifest.write(tmp_path / "out" / "manifest.json", built)
    assert manifest.load(tmp_path / "out" / "manifest.json") == built


def test_unreadable_images_stop_or_are_quarantined(images):
    (images / "y.png").write_bytes(b"broken")
    (images / "x.png").write_bytes(b"")
    sources = folder.find(str(images))
    with pytest.raises(
        InputError, match="(?s)2 of 4 images.*x.png.*empty.*y.png.*not an image"
    ) as error:
        manifest.build(sources)
    assert "on_error: skip" in str(error.value)
    built = manifest.build(sources, on_error="skip")
    assert [one["name"] for one in built["images"]] == ["b/a.JPG", "z.png"]
    assert [one["name"] for one in built["quarantined"]] == ["x.png", "y.png"]


def test_nothing_readable_is_an_error_even_when_skipping(tmp_path):
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(InputError, match="no image that can be read"):
        manifest.build(folder.find(str(tmp_path)), on_error="skip")


def test_names_must_be_unique():
    with pytest.raises(InputError, match="same name: 'a'"):
        manifest.build([Source("a", "1.png"), Source("a", "2.png")])


def test_the_sample_is_what_the_issue_of_sizes_needs():
    built = manifest.build(sample.find())
    names = [Path(one["name"]).name for one in built["images"]]
    assert names == ["astronaut", "chelsea", "coffee", "motorcycle_left", "rocket"]
    assert any(one["width"] % 64 and one["height"] % 64 for one in built["images"])
    assert all(one["conversion"] == "none" for one in built["images"])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": []}'])
def test_what_is_no_manifest_is_refused(tmp_path, text):
    file = tmp_path / "manifest.json"
    file.write_text(text)
    with pytest.raises(InputError, match="manifest.json: no manifest"):
        manifest.load(file)
