"""Packs: the files of images in one archive."""

import os

import pytest

from rdpipe.core.errors import InputError
from rdpipe.datasets import folder, gaussian_field, manifest, pack
from rdpipe.datasets.image import load_image, read_image


@pytest.fixture
def packed(image_folder, tmp_path_factory):
    """A manifest of images whose files are gone, and their pixels."""
    built = manifest.build(folder.find(str(image_folder)))
    pixels = {entry["name"]: read_image(entry["file"])[0] for entry in built["images"]}
    out = tmp_path_factory.mktemp("results")
    manifest.write(out / "manifest.json", manifest.pack_images(built, out / "images.zip"))
    for entry in built["images"]:
        os.remove(entry["file"])
    return out / "manifest.json", pixels


def test_packed_images_are_read_wherever_the_results_are(packed, tmp_path, monkeypatch):
    file, pixels = packed
    file.parent.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    images = manifest.load(tmp_path / "moved" / "manifest.json")["images"]
    images += manifest.load(os.path.join("moved", "manifest.json"))["images"]
    assert len(images) == 2 * len(pixels)
    for entry in images:
        assert (load_image(entry["file"], entry["sha256"]) == pixels[entry["name"]]).all()


def test_pack_is_always_the_same(image_folder, tmp_path):
    built = manifest.build(folder.find(str(image_folder)))
    for name in ("a.zip", "b.zip"):
        manifest.pack_images(built, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_fields_have_no_file_in_a_pack(tmp_path):
    source = gaussian_field.find(count=1, size=16, rho=0.9, sigma=40)
    built = manifest.build(source)
    assert manifest.pack_images(built, tmp_path / "images.zip") == built
    manifest.write(tmp_path / "manifest.json", built)
    assert manifest.load(tmp_path / "manifest.json") == built


def test_damaged_pack_and_absent_file_are_named(packed, tmp_path):
    file, _ = packed
    entry = manifest.load(file)["images"][0]
    with pytest.raises(InputError, match=r"images\.zip: damaged, .*no\.png"):
        read_image(str(file.parent / "images.zip" / "no.png"))
    (file.parent / "images.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"images\.zip: damaged, delete it"):
        load_image(entry["file"], entry["sha256"])
    assert pack.read_packed(tmp_path / "nothing" / "a.png") is None


def test_file_of_the_user_in_a_path_is_no_pack(tmp_path):
    (tmp_path / "photos").write_text("a file in place of a folder")
    assert pack.read_packed(tmp_path / "photos" / "a.png") is None
    with pytest.raises(InputError) as raised:
        read_image(str(tmp_path / "photos" / "a.png"))
    assert "damaged" not in str(raised.value)
