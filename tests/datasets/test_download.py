"""Published data sets from a real HTTP server: whole, cut, resumed, changed, wrong, absent."""

import hashlib
import io
import shutil
import socket
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from server import Server

from rdpipe.datasets import archive, download, kodak, published
from rdpipe.datasets.archive import Archive
from rdpipe.datasets.download import fetch
from rdpipe.core.errors import InputError

BODY = np.random.default_rng(0).bytes(1_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server():
    with Server({"/set.bin": BODY}) as running:
        yield running


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(download.time, "sleep", lambda _: None)


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return buffer.getvalue()


def test_a_file_comes_whole_and_nothing_else_stays(server, tmp_path):
    fetch("set", f"{server.url}/set.bin", tmp_path / "set.bin", SHA256)
    assert [file.name for file in tmp_path.iterdir()] == ["set.bin"]
    assert (tmp_path / "set.bin").read_bytes() == BODY


def test_a_cut_connection_is_taken_up_where_it_was_cut(server, tmp_path):
    server.cuts, server.cut_after = 2, 400_000
    fetch("set", f"{server.url}/set.bin", tmp_path / "set.bin", SHA256)
    begins = [int(asked.removeprefix("bytes=").rstrip("-") or 0) for _, asked in server.asked]
    assert begins[0] == 0 and 300_000 < begins[1] <= 400_000 and 600_000 < begins[2] <= 800_000
    assert len(begins) == 3


def test_a_download_is_resumed_by_the_next_run(server, tmp_path):
    file = tmp_path / "set.bin"
    server.cuts, server.cut_after = download.ATTEMPTS, 100_000
    with pytest.raises(InputError, match="127.0.0.1:.* cut the connection 4 times .the next run"):
        fetch("set", f"{server.url}/set.bin", file, SHA256)
    assert not file.exists() and (tmp_path / ".set.bin.part").stat().st_size > 200_000
    code = (
        "import sys; from pathlib import Path; from rdpipe.datasets.download import fetch;"
        "fetch('set', sys.argv[1], Path(sys.argv[2]), sys.argv[3])"
    )
    before = len(server.asked)
    subprocess.run([sys.executable, "-c", code, f"{server.url}/set.bin", file, SHA256], check=True)
    assert file.read_bytes() == BODY
    (_, asked), = server.asked[before:]
    assert int(asked.removeprefix("bytes=").rstrip("-")) > 200_000


@pytest.mark.parametrize("change", ["other", "no ranges", "shorter"])
def test_a_part_of_another_file_is_not_resumed(server, tmp_path, change):
    server.cuts, server.cut_after = download.ATTEMPTS, 150_000
    with pytest.raises(InputError):
        fetch("set", f"{server.url}/set.bin", tmp_path / "set.bin", SHA256)
    body = {"other": BODY[::-1], "no ranges": BODY, "shorter": BODY[:1000]}[change]
    server.files["/set.bin"], server.ranges = body, change != "no ranges"
    sha256 = hashlib.sha256(body).hexdigest()
    fetch("set", f"{server.url}/set.bin", tmp_path / "set.bin", sha256)
    assert (tmp_path / "set.bin").read_bytes() == body


def test_a_part_that_is_whole_already_starts_anew(server, tmp_path):
    part = tmp_path / ".set.bin.part"
    part.write_bytes(BODY)
    download.validator_of(part).write_text(f'"{hashlib.md5(BODY).hexdigest()}"')
    fetch("set", f"{server.url}/set.bin", tmp_path / "set.bin", SHA256)
    assert (tmp_path / "set.bin").read_bytes() == BODY and len(server.asked) == 2


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(server, tmp_path):
    with pytest.raises(InputError, match="set.bin sent has not the SHA-256 0000.*put the right set"):
        fetch("set", f"{server.url}/set.bin", tmp_path / "set.bin", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_what_to_put_where_is_said_when_there_is_no_network(tmp_path):
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


def test_a_missing_file_is_a_status(server, tmp_path):
    with pytest.raises(InputError, match="nothing.zip: HTTP status 404; without a network, put"):
        fetch("set", f"{server.url}/nothing.zip", tmp_path / "nothing.zip", None)


@pytest.fixture
def small_kodak(monkeypatch):
    """Two images for the 24."""
    images = [png(10), png(20)]
    samples = [hashlib.sha256(bytes([value]) * 72).hexdigest() for value in (10, 20)]
    digests = [hashlib.sha256(image).hexdigest() for image in images]
    monkeypatch.setattr(kodak, "DIGESTS", tuple(zip(digests, samples)))
    return images


def test_kodak_is_downloaded_once(server, tmp_path, small_kodak):
    server.files.update({f"/k/kodim0{i + 1}.png": small_kodak[i] for i in range(2)})
    for _ in range(2):
        sources = kodak.find(root=str(tmp_path), url=f"{server.url}/k/")
        assert [source.name for source in sources] == ["kodim01.png", "kodim02.png"]
        assert [Path(source.file).read_bytes() for source in sources] == small_kodak
    assert [path for path, _ in server.asked] == ["/k/kodim01.png", "/k/kodim02.png"]


def test_another_encoding_of_the_samples_is_kodak_too_and_other_samples_are_not(
    tmp_path, small_kodak
):
    for i, value in enumerate((10, 20)):
        image = Image.fromarray(np.full((4, 6, 3), value, np.uint8))
        image.save(tmp_path / f"kodim0{i + 1}.png", compress_level=0)
    assert len(kodak.find(root=str(tmp_path))) == 2
    (tmp_path / "kodim02.png").write_bytes(png(21))
    with pytest.raises(InputError, match="kodim02.png is not the published kodim02.png, nor"):
        kodak.find(root=str(tmp_path))


def test_the_digests_of_kodak_are_of_24_images_each_another():
    assert len({digest for pair in kodak.DIGESTS for digest in pair}) == 48
    listed = "".join(
        f"{digest}  kodim{i:02d}.png\n" for i, (digest, _) in enumerate(kodak.DIGESTS, 1)
    )
    # published by others as `shasum -a 256 kodim*.png | shasum -a 256`
    known = "3eaa5bd52eb8c894d351cf607028f5d3d80e778fd0267eeff8c73d66539a25d5"
    assert hashlib.sha256(listed.encode()).hexdigest() == known


def test_data_sets_are_kept_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("RDPIPE_DATA", str(tmp_path))
    assert download.place("kodak", None) == tmp_path / "kodak"


@pytest.mark.parametrize("way", ["under a file", "no folder at all"])
def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path, way):
    place = tmp_path / "file" if way == "under a file" else Path("/proc/nowhere")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RDPIPE_DATA", str(place))
    with pytest.raises(InputError, match="kodak: cannot write in .*say where it may be kept: .*RDPIPE_DATA"):
        kodak.find()


def test_a_set_that_is_complete_may_lie_where_nothing_can_be_written(tmp_path, small_kodak):
    for i, image in enumerate(small_kodak):
        (tmp_path / f"kodim0{i + 1}.png").write_bytes(image)
    kodak.find(root=str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 2  # not even a lock


CONTENT = {
    "set/RGB/one.png": png(1),
    "set/RGB/two.PNG": png(2),
    "set/GREY/one.png": png(3),
    "__MACOSX/set/RGB/._one.png": b"x",
    "set/RGB/": b"",
    "set/read.me": b"x",
}


@pytest.fixture
def two(server):
    """An archive with two images of interest, whose checksum nobody has published."""
    server.files["/a/set.zip"] = zipped(CONTENT)
    return Archive("two", f"{server.url}/a/set.zip", None, "RGB", 2)


def test_an_archive_is_unpacked_once_with_its_checksums(two, server, tmp_path):
    for _ in range(2):
        sources = archive.find(two, str(tmp_path))
        assert [source.name for source in sources] == ["one.png", "two.PNG"]
        assert [Path(source.file).read_bytes() for source in sources] == [png(1), png(2)]
    assert len(server.asked) == 1
    subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "set", check=True)
    (tmp_path / "set/one.png").write_bytes(png(9))
    with pytest.raises(InputError, match="one.png is missing or has changed; remove"):
        archive.find(two, str(tmp_path))


def test_an_unpublished_checksum_is_recorded_and_said_and_another_archive_refused(
    two, server, tmp_path, capsys
):
    archive.find(two, str(tmp_path))
    digest = hashlib.sha256(server.files["/a/set.zip"]).hexdigest()
    said = capsys.readouterr().err
    assert f"no checksum of set.zip is published; its SHA-256, {digest}, is recorded" in said
    subprocess.run(["sha256sum", "-c", "set.zip.sha256"], cwd=tmp_path, check=True)
    shutil.rmtree(tmp_path / "set")
    archive.find(two, str(tmp_path))  # from the archive that is there
    shutil.rmtree(tmp_path / "set")
    (tmp_path / "set.zip").write_bytes(zipped({**CONTENT, "set/RGB/one.png": png(7)}))
    with pytest.raises(InputError, match=f"recorded in .*set.zip.sha256 is {digest}"):
        archive.find(two, str(tmp_path))
    server.files["/a/set.zip"] = (tmp_path / "set.zip").read_bytes()
    (tmp_path / "set.zip").unlink()
    with pytest.raises(InputError, match=f"has not the SHA-256 {digest}, and is not kept"):
        archive.find(two, str(tmp_path))


def test_a_page_instead_of_an_archive_is_neither_kept_nor_recorded(two, server, tmp_path):
    server.files["/a/set.zip"] = b"<html>choose a mirror</html>"
    with pytest.raises(InputError, match="set.zip is no zip archive; put the right set.zip into"):
        archive.find(two, str(tmp_path))
    assert [file.name for file in tmp_path.iterdir() if file.name != ".lock"] == []


def test_another_number_of_images_is_refused(two, server, tmp_path):
    server.files["/a/set.zip"] = zipped({**CONTENT, "set/RGB/three.png": png(3)})
    with pytest.raises(InputError, match="has 3 images; wanted are 2"):
        archive.find(two, str(tmp_path))


def test_processes_that_want_the_same_set_wait_for_each_other(two, server, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: archive.find(two, str(tmp_path)), range(4)))
    assert all(sources == found[0] for sources in found) and len(server.asked) == 1


def test_clic_and_tecnick_take_a_mirror_and_a_checksum(server, tmp_path):
    server.files["/professional_valid_2020.zip"] = server.files["/t.zip"] = zipped(CONTENT)
    url = f"{server.url}/professional_valid_2020.zip"
    with pytest.raises(InputError, match="has not the SHA-256 00be38092ade.*put the right prof"):
        published.clic2020_professional(root=str(tmp_path), url=url)
    with pytest.raises(InputError, match="has not the SHA-256 1111"):
        published.tecnick(root=str(tmp_path), url=f"{server.url}/t.zip", sha256="1" * 64)
    with pytest.raises(InputError, match="split 'train': allowed are validation, test"):
        published.clic2020_professional(split="train")
