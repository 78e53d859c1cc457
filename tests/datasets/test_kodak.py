"""The Kodak images: downloaded once, verified, and usable from a read-only folder."""

import hashlib
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_images import png

from rdpipe.core.errors import InputError
from rdpipe.datasets import kodak

pytestmark = pytest.mark.usefixtures("no_waiting")


@pytest.fixture
def two_kodak_images(monkeypatch):
    """Replace the 24 images by two small ones."""
    images = [png(10), png(20)]
    samples = [hashlib.sha256(bytes([value]) * 72).hexdigest() for value in (10, 20)]
    digests = [hashlib.sha256(image).hexdigest() for image in images]
    monkeypatch.setattr(kodak, "DIGESTS", tuple(zip(digests, samples, strict=True)))
    return images


def test_without_a_network_the_message_names_the_files_and_the_folder(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/kodak"
    with pytest.raises(InputError) as error:
        kodak.find(root=str(tmp_path), url=url)
    host = url.split("/")[2]
    assert str(error.value) == (
        f"kodak: cannot download {url}/kodim01.png: no connection to {host}; without a network,"
        f" put kodim01.png to kodim24.png into {tmp_path}"
    )


def test_images_are_downloaded_once(server, tmp_path, two_kodak_images):
    server.files.update({f"/k/kodim0{i + 1}.png": two_kodak_images[i] for i in range(2)})
    for _ in range(2):
        sources = kodak.find(root=str(tmp_path), url=f"{server.url}/k/")
        assert [source.name for source in sources] == ["kodim01.png", "kodim02.png"]
        assert [Path(source.file).read_bytes() for source in sources] == two_kodak_images
    assert [path for path, _ in server.requests] == ["/k/kodim01.png", "/k/kodim02.png"]


def test_another_encoding_is_accepted_and_other_samples_are_refused(tmp_path, two_kodak_images):
    for i, value in enumerate((10, 20)):
        image = Image.fromarray(np.full((4, 6, 3), value, np.uint8))
        image.save(tmp_path / f"kodim0{i + 1}.png", compress_level=0)
    assert len(kodak.find(root=str(tmp_path))) == 2
    (tmp_path / "kodim02.png").write_bytes(png(21))
    message = "kodim02.png is neither the published kodim02.png nor"
    with pytest.raises(InputError, match=message):
        kodak.find(root=str(tmp_path))


def test_digests_belong_to_24_different_images():
    assert len({digest for pair in kodak.DIGESTS for digest in pair}) == 48
    listed = "".join(
        f"{digest}  kodim{i:02d}.png\n" for i, (digest, _) in enumerate(kodak.DIGESTS, 1)
    )
    # published by others as `shasum -a 256 kodim*.png | shasum -a 256`
    known = "3eaa5bd52eb8c894d351cf607028f5d3d80e778fd0267eeff8c73d66539a25d5"
    assert hashlib.sha256(listed.encode()).hexdigest() == known


@pytest.mark.parametrize("reason", ["under a file", "not a folder"])
def test_unwritable_folder_is_named(monkeypatch, tmp_path, reason):
    place = tmp_path / "file" if reason == "under a file" else Path("/proc/nowhere")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RDPIPE_DATA", str(place))
    message = "kodak: cannot write in .*set another folder with .*RDPIPE_DATA"
    with pytest.raises(InputError, match=message):
        kodak.find()


def test_complete_folder_is_read_without_writing(tmp_path, two_kodak_images):
    for i, image in enumerate(two_kodak_images):
        (tmp_path / f"kodim0{i + 1}.png").write_bytes(image)
    kodak.find(root=str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2  # no lock file either
