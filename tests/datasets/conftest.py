"""A server with one file, and downloads that do not wait between attempts."""

import numpy as np
import pytest
from http_server import Server
from PIL import Image
from small_images import BODY

from rdpipe.datasets import download


@pytest.fixture
def server():
    with Server({"/set.bin": BODY}) as running:
        yield running


@pytest.fixture
def no_waiting(monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda _: None)


@pytest.fixture
def image_folder(tmp_path):
    """Two images, two hidden ones, and a text file."""
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("z.png", "b/a.JPG", ".hidden/no.png", "b/.no.png"):
        Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path
