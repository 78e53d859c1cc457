"""Downloads from an HTTP server: complete, cut, resumed, changed, wrong, absent."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from small_images import BODY, SHA256

from rdpipe.core.errors import InputError
from rdpipe.datasets import download
from rdpipe.datasets.download import fetch

pytestmark = pytest.mark.usefixtures("no_waiting")


def test_download_leaves_only_the_complete_file(server, tmp_path):
    fetch("set", f"{server.url}/set.bin", tmp_path / "set.bin", SHA256)
    assert [file.name for file in tmp_path.iterdir()] == ["set.bin"]
    assert (tmp_path / "set.bin").read_bytes() == BODY


def test_cut_download_resumes_where_it_was_cut(server, tmp_path):
    server.cuts, server.cut_after = 2, 400_000
    fetch("set", f"{server.url}/set.bin", tmp_path / "set.bin", SHA256)
    starts = [int(header.removeprefix("bytes=").rstrip("-") or 0) for _, header in server.requests]
    assert starts[0] == 0 and 300_000 < starts[1] <= 400_000 and 600_000 < starts[2] <= 800_000
    assert len(starts) == 3


def test_next_process_resumes_a_cut_download(server, tmp_path):
    file = tmp_path / "set.bin"
    server.cuts, server.cut_after = download.ATTEMPTS, 100_000
    message = "127.0.0.1:.* cut the connection 4 times .the next run"
    with pytest.raises(InputError, match=message):
        fetch("set", f"{server.url}/set.bin", file, SHA256)
    assert not file.exists() and (tmp_path / ".set.bin.part").stat().st_size > 200_000
    code = (
        "import sys; from pathlib import Path; from rdpipe.datasets.download import fetch;"
        "fetch('set', sys.argv[1], Path(sys.argv[2]), sys.argv[3])"
    )
    before = len(server.requests)
    subprocess.run([sys.executable, "-c", code, f"{server.url}/set.bin", file, SHA256], check=True)
    assert file.read_bytes() == BODY
    ((_, header),) = server.requests[before:]
    assert int(header.removeprefix("bytes=").rstrip("-")) > 200_000


@pytest.mark.parametrize("change", ["other", "no ranges", "shorter"])
def test_part_of_a_changed_file_is_not_resumed(server, tmp_path, change):
    server.cuts, server.cut_after = download.ATTEMPTS, 150_000
    with pytest.raises(InputError):
        fetch("set", f"{server.url}/set.bin", tmp_path / "set.bin", SHA256)
    body = {"other": BODY[::-1], "no ranges": BODY, "shorter": BODY[:1000]}[change]
    server.files["/set.bin"], server.ranges = body, change != "no ranges"
    sha256 = hashlib.sha256(body).hexdigest()
    fetch("set", f"{server.url}/set.bin", tmp_path / "set.bin", sha256)
    assert (tmp_path / "set.bin").read_bytes() == body


def test_complete_part_is_downloaded_again(server, tmp_path):
    part = tmp_path / ".set.bin.part"
    part.write_bytes(BODY)
    download.validator_file(part).write_text(f'"{hashlib.md5(BODY).hexdigest()}"')
    fetch("set", f"{server.url}/set.bin", tmp_path / "set.bin", SHA256)
    assert (tmp_path / "set.bin").read_bytes() == BODY and len(server.requests) == 2


def test_download_with_wrong_checksum_is_refused_and_deleted(server, tmp_path):
    message = "set.bin does not have the SHA-256 0000.*put the right set"
    with pytest.raises(InputError, match=message):
        fetch("set", f"{server.url}/set.bin", tmp_path / "set.bin", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_missing_file_gives_the_http_status(server, tmp_path):
    with pytest.raises(InputError, match="nothing.zip: HTTP status 404; without a network, put"):
        fetch("set", f"{server.url}/nothing.zip", tmp_path / "nothing.zip", None)


def test_environment_variable_sets_the_folder_of_datasets(monkeypatch, tmp_path):
    monkeypatch.setenv("RDPIPE_DATA", str(tmp_path))
    assert download.dataset_folder("kodak", None) == tmp_path / "kodak"
    assert download.dataset_folder("kodak", "/elsewhere") == Path("/elsewhere")
