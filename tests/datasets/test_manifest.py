"""Manifests: what they say about each image, unreadable images, and shards."""

import hashlib
from pathlib import Path

import pytest

from rdpipe.core.errors import InputError
from rdpipe.datasets import folder, manifest
from rdpipe.datasets.source import Source


def test_manifest_describes_each_image(image_folder, tmp_path):
    built = manifest.build(folder.find(str(image_folder)))
    entry = built["images"][1]
    digest = hashlib.sha256((image_folder / "z.png").read_bytes()).hexdigest()
    assert (entry["name"], entry["width"], entry["height"], entry["pixels"]) == ("z.png", 4, 3, 12)
    assert entry["sha256"] == digest
    manifest.write(tmp_path / "out" / "manifest.json", built)
    assert manifest.load(tmp_path / "out" / "manifest.json") == built


def test_paths_of_the_file_start_at_its_folder(image_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(image_folder.parent)
    built = manifest.build(folder.find(image_folder.name))
    file = Path("out", "manifest.json")
    manifest.write(file, built)
    assert f'"../{image_folder.name}/z.png"' in file.read_text()
    assert manifest.load(file) == built
    monkeypatch.chdir(tmp_path)
    loaded = manifest.load(image_folder.parent / file)
    assert [Path(entry["file"]).exists() for entry in loaded["images"]] == [True, True]


def test_unreadable_images_are_an_error_or_quarantined(image_folder):
    (image_folder / "y.png").write_bytes(b"broken")
    (image_folder / "x.png").write_bytes(b"")
    sources = folder.find(str(image_folder))
    message = "(?s)2 of 4 images.*x.png.*empty.*y.png.*not an image"
    with pytest.raises(InputError, match=message) as error:
        manifest.build(sources)
    assert "on_error: skip" in str(error.value)
    built = manifest.build(sources, on_error="skip")
    assert [entry["name"] for entry in built["images"]] == ["b/a.JPG", "z.png"]
    assert [entry["name"] for entry in built["quarantined"]] == ["x.png", "y.png"]


def test_dataset_without_readable_images_is_refused_with_on_error_skip(tmp_path):
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(InputError, match="no image that can be read"):
        manifest.build(folder.find(str(tmp_path)), on_error="skip")


def test_names_must_be_unique():
    with pytest.raises(InputError, match="same name: 'a'"):
        manifest.build([Source("a", "1.png"), Source("a", "2.png")])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": []}'])
def test_other_files_are_not_manifests(tmp_path, text):
    file = tmp_path / "manifest.json"
    file.write_text(text)
    with pytest.raises(InputError, match="manifest.json: not a manifest"):
        manifest.load(file)


@pytest.mark.parametrize("shards", [1, 2, 3, 5])
def test_shards_are_consecutive_and_of_similar_size(tmp_path, shards):
    file, names = tmp_path / "manifest.json", list("abcde")
    manifest.write(file, {"images": [{"name": name} for name in names], "quarantined": []})
    parts = [manifest.load_shard(file, i, shards) for i in range(shards)]
    assert [entry["name"] for part in parts for entry in part] == names
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_more_shards_than_images_are_refused(tmp_path):
    file = tmp_path / "manifest.json"
    manifest.write(file, {"images": [{"name": "a"}], "quarantined": []})
    with pytest.raises(InputError, match="2 shards of 1 images; expected 1 to 1 shards"):
        manifest.load_shard(file, 0, 2)


def test_remarks_name_other_files_and_copies(image_folder):
    built = manifest.build(folder.find(str(image_folder)))
    (remark,) = manifest.remarks(built)
    assert remark.startswith("Beside the images, not read: 1 .txt.")
    (image_folder / "b" / "copy.png").write_bytes((image_folder / "z.png").read_bytes())
    _, copies = manifest.remarks(manifest.build(folder.find(str(image_folder))))
    assert copies.startswith("1 of 3 images are copies of another image, such as 'z.png' of 'b/co")


def test_manifest_without_other_files_is_read(tmp_path):
    file = tmp_path / "manifest.json"
    file.write_text('{"images": [], "quarantined": []}')
    loaded = manifest.load(file)
    assert loaded["other_files"] == {} and manifest.remarks(loaded) == []


def test_limit_of_pixels_is_that_of_the_source(image_folder):
    (source, *_) = folder.find(str(image_folder), max_pixels=11)
    with pytest.raises(InputError, match="4 x 3 is 12; expected at most 11"):
        manifest.build([source])
