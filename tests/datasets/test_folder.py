"""Folders of images: which files count, in which order, and when a folder has changed."""

import numpy as np
import pytest
from PIL import Image

from rdpipe.core.errors import InputError
from rdpipe.datasets import folder


def test_images_are_sorted_by_relative_path(image_folder):
    assert [source.name for source in folder.find(str(image_folder))] == ["b/a.JPG", "z.png"]
    assert [source.name for source in folder.find(str(image_folder), "*.png")] == ["z.png"]


def test_fingerprint_changes_only_with_the_images(image_folder):
    before = folder.fingerprint(root=str(image_folder))
    (image_folder / "notes.txt").write_text("other words")
    assert folder.fingerprint(root=str(image_folder)) == before
    Image.fromarray(np.ones((9, 9, 3), np.uint8)).save(image_folder / "z.png")
    changed = folder.fingerprint(root=str(image_folder))
    (image_folder / "z.png").rename(image_folder / "y.png")
    assert len({before, changed, folder.fingerprint(root=str(image_folder))}) == 3


@pytest.mark.parametrize("root", ["absent", "notes.txt"])
def test_missing_folder_is_named(image_folder, root):
    with pytest.raises(InputError, match=root):
        folder.find(str(image_folder / root))


def test_folder_without_images_is_refused(image_folder):
    with pytest.raises(InputError, match="no image matches.*expected files that end in .png"):
        folder.find(str(image_folder), "*.txt")
