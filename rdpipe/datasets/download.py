"""Download files of published datasets: each once, resumed if the connection is cut, verified.

They are stored in the folder that the argument ``root`` of a dataset names, otherwise in
``$RDPIPE_DATA/NAME``, otherwise in the cache of the user. An existing file is used as it is, so
without a network it can be placed there by hand.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from rdpipe.core.errors import InputError

ATTEMPTS = 4
"""Attempts at one download; each continues where the previous one was cut."""
TIMEOUT = 30.0
"""Silence after which a connection counts as cut, seconds."""
CHUNK = 1 << 16
"""Size of the blocks that are written, bytes."""


def dataset_folder(dataset: str, root: str | None) -> Path:
    """Return the folder in which a dataset is stored."""
    return Path(root).expanduser().absolute() if root else _data_home() / dataset


def _data_home() -> Path:
    """Return the folder of all datasets for which the config does not name one."""
    import pooch

    return Path(os.environ.get("RDPIPE_DATA") or pooch.os_cache("rdpipe")).absolute()


@contextmanager
def exclusive_access(dataset: str, folder: Path) -> Iterator[None]:
    """Create a folder, and keep other processes from adding files to it inside the block.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    from filelock import FileLock

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:  # no permission, a full or read-only file system, or a file in the way
        raise InputError(
            f"{dataset}: cannot write in {str(folder)!r}: {error.strerror or error};"
            " set another folder with `args: {root: FOLDER}` or the environment variable"
            " RDPIPE_DATA"
        ) from error
    try:
        yield
    finally:
        lock.release()


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch(dataset: str, url: str, file: Path, sha256: str | None, expected_files: str = "") -> None:
    """Download a file; it only appears if its checksum is right.

    Parameters
    ----------
    dataset : str
        Name of the dataset, for messages.
    url : str
    file : Path
        Where to write it. The beginning of a cut download remains beside it as ``.NAME.part``.
    sha256 : str or None
        Expected SHA-256, hexadecimal; None accepts any file.
    expected_files : str
        What to place there by hand without a network, for messages; by default the name of the
        file.

    Raises
    ------
    InputError
        If the download fails or the checksum differs; names the file to place and its folder.
    """
    import pooch
    import requests

    expected_files = expected_files or file.name

    def download(url: str, output: str, _: object) -> None:
        part = file.with_name(f".{file.name}.part")
        _download_with_retries(url, part)
        shutil.move(part, output)
        validator_file(part).unlink(missing_ok=True)

    try:
        known_hash = sha256 and f"sha256:{sha256}"
        pooch.retrieve(url, known_hash, file.name, file.parent, downloader=download)
    except ValueError as error:  # of pooch for a wrong checksum, or of requests for a wrong URL
        if isinstance(error, requests.RequestException):
            raise InputError(f"{dataset}: {error}") from error
        raise InputError(
            f"{dataset}: the download of {url} does not have the SHA-256 {sha256} and is deleted;"
            f" put the right {expected_files} into {file.parent}"
        ) from error
    except requests.RequestException as error:
        raise InputError(
            f"{dataset}: cannot download {url}: {_describe_failure(error, url)};"
            f" without a network, put {expected_files} into {file.parent}"
        ) from error


def _describe_failure(error: Exception, url: str) -> str:
    """Return a few words on why a download failed."""
    import requests

    if isinstance(error, requests.HTTPError):
        return f"HTTP status {error.response.status_code}"
    host = urlsplit(url).netloc
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"{host} cut the connection {ATTEMPTS} times (the next run resumes the download)"
    if isinstance(error, requests.Timeout):
        return f"{host} does not answer"
    return f"no connection to {host}"


def _download_with_retries(url: str, part: Path) -> None:
    """Complete a partial file; after a cut connection, resume it."""
    import requests

    errors = (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
    )
    for attempt in range(ATTEMPTS):
        try:
            return _download_rest(url, part)
        except errors:
            if attempt + 1 == ATTEMPTS:
                raise
            time.sleep(0.2 * 4**attempt)


def _download_rest(url: str, part: Path) -> None:
    """Download what a partial file lacks, or the whole file if the file on the server has changed.

    References
    ----------
    RFC 9110, "HTTP Semantics", section 14.
    """
    import requests

    validator = validator_file(part)
    start = part.stat().st_size if part.exists() and validator.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator.read_text()}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416 and start:  # the partial file is not a beginning of the file
            part.unlink()
            return _download_rest(url, part)
        response.raise_for_status()
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        version = response.headers.get("ETag", "W/")
        version = response.headers.get("Last-Modified", "") if version.startswith("W/") else version
        with part.open("ab" if response.status_code == 206 and resumed else "wb") as stream:
            if version:
                validator.write_text(version)
            else:  # a change of the file would not be noticed: do not resume this part
                validator.unlink(missing_ok=True)
            for chunk in response.iter_content(CHUNK):
                stream.write(chunk)


def validator_file(part: Path) -> Path:
    """Return the file that records the version of the remote file of a partial file."""
    return part.with_name(f"{part.name}.version")
