"""Datasets in zip archives: unpacked once, verified, and refused if the archive is wrong."""

import hashlib
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from small_images import ARCHIVE_MEMBERS, png, zipped

from rdpipe.core.errors import InputError
from rdpipe.datasets import archive
from rdpipe.datasets.archive import Archive

pytestmark = pytest.mark.usefixtures("no_waiting")


@pytest.fixture
def two_images(server):
    """An archive with two images, whose checksum is not published."""
    server.files["/a/set.zip"] = zipped(ARCHIVE_MEMBERS)
    return Archive("two", f"{server.url}/a/set.zip", None, "RGB", 2)


def test_archive_is_unpacked_once_with_checksums(two_images, server, tmp_path):
    for _ in range(2):
        sources = archive.find(two_images, str(tmp_path))
        assert [source.name for source in sources] == ["one.png", "two.PNG"]
        assert [Path(source.file).read_bytes() for source in sources] == [png(1), png(2)]
    assert len(server.requests) == 1
    subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "set", check=True)
    (tmp_path / "set/one.png").write_bytes(png(9))
    with pytest.raises(InputError, match="one.png is missing or has changed; remove"):
        archive.find(two_images, str(tmp_path))


def test_unpublished_checksum_is_recorded_and_logged_and_other_archives_are_refused(
    two_images, server, tmp_path, caplog
):
    archive.find(two_images, str(tmp_path))
    digest = hashlib.sha256(server.files["/a/set.zip"]).hexdigest()
    message = f"no checksum of set.zip is published; its SHA-256, {digest}, is recorded"
    assert message in caplog.text
    subprocess.run(["sha256sum", "-c", "set.zip.sha256"], cwd=tmp_path, check=True)
    shutil.rmtree(tmp_path / "set")
    archive.find(two_images, str(tmp_path))  # from the existing archive
    shutil.rmtree(tmp_path / "set")
    (tmp_path / "set.zip").write_bytes(zipped({**ARCHIVE_MEMBERS, "set/RGB/one.png": png(7)}))
    with pytest.raises(InputError, match=f"expected {digest} .recorded in .*set.zip.sha256.$"):
        archive.find(two_images, str(tmp_path))
    server.files["/a/set.zip"] = (tmp_path / "set.zip").read_bytes()
    (tmp_path / "set.zip").unlink()
    with pytest.raises(InputError, match=f"does not have the SHA-256 {digest} and is deleted"):
        archive.find(two_images, str(tmp_path))


def test_unpacked_images_of_another_archive_are_refused(two_images, tmp_path):
    archive.find(two_images, str(tmp_path))
    message = f"comes from an archive with the SHA-256 [0-9a-f]+; expected {'0' * 64}; remove it"
    with pytest.raises(InputError, match=message):
        archive.find(replace(two_images, sha256="0" * 64), str(tmp_path))


def test_web_page_instead_of_an_archive_is_deleted_and_not_recorded(two_images, server, tmp_path):
    server.files["/a/set.zip"] = b"<html>choose a mirror</html>"
    message = "set.zip is not a zip archive; put the right set.zip into"
    with pytest.raises(InputError, match=message):
        archive.find(two_images, str(tmp_path))
    assert [file.name for file in tmp_path.iterdir() if file.name != ".lock"] == []


def test_wrong_number_of_images_is_refused(two_images, server, tmp_path):
    server.files["/a/set.zip"] = zipped({**ARCHIVE_MEMBERS, "set/RGB/three.png": png(3)})
    with pytest.raises(InputError, match="has 3 images; expected 2"):
        archive.find(two_images, str(tmp_path))


def test_concurrent_callers_wait_for_one_download(two_images, server, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: archive.find(two_images, str(tmp_path)), range(4)))
    assert all(sources == results[0] for sources in results) and len(server.requests) == 1
