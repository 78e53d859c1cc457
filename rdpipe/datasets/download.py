"""Files of published data sets: downloaded once, resumed where a connection was cut, checked, kept.

They are kept in the folder that a data set's ``root`` names, else in ``$RDPIPE_DATA/NAME``, else in the
user's cache. A file that lies there already is taken, so that with no network it can be put there by
hand.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from rdpipe.core.errors import InputError

ATTEMPTS = 4
"""At one download, each going on where the one before was cut."""
TIMEOUT = 30.0
"""Seconds of silence after which a connection counts as cut."""
CHUNK = 1 << 16


def place(dataset: str, root: str | None) -> Path:
    """The folder in which a data set is kept."""
    return Path(root).expanduser().absolute() if root else home() / dataset


@contextmanager
def alone(dataset: str, folder: Path):
    """Be the only process that adds to a folder, which is made."""
    from filelock import FileLock

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:  # permissions, a file system that is read only or full, a file in the way
        raise InputError(
            f"{dataset}: cannot write in {str(folder)!r}: {error.strerror or error};"
            " say where it may be kept: `args: {root: FOLDER}`, or the environment's RDPIPE_DATA"
        ) from error
    try:
        yield
    finally:
        lock.release()


def home() -> Path:
    """Where data sets are kept unless the config says otherwise."""
    import pooch

    return Path(os.environ.get("RDPIPE_DATA") or pooch.os_cache("rdpipe")).absolute()


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch(dataset: str, url: str, file: Path, sha256: str | None, wanted: str = "") -> None:
    """Download a file; it is there afterwards only if its checksum is right.

    Parameters
    ----------
    dataset : str
        Its name, for messages.
    url : str
    file : Path
        Where to write it. What came of a download that was cut stays beside it, as ``.NAME.part``.
    sha256 : str or None
        Hexadecimal; None takes whatever comes.
    wanted : str
        What to put there by hand where there is no network, in words; the file unless given.

    Raises
    ------
    InputError
        If the download fails, or the checksum is another one; says which file to put where.
    """
    import pooch
    import requests

    def part_by_part(url: str, output: str, _) -> None:
        part = file.with_name(f".{file.name}.part")
        resume(url, part)
        shutil.move(part, output)
        validator_of(part).unlink(missing_ok=True)

    try:
        pooch.retrieve(url, sha256 and f"sha256:{sha256}", file.name, file.parent,
                       downloader=part_by_part)  # fmt: skip
    except ValueError as error:  # pooch's for a wrong checksum, but also requests' for a wrong URL
        if isinstance(error, requests.RequestException):
            raise InputError(f"{dataset}: {error}") from error
        raise InputError(
            f"{dataset}: what {url} sent has not the SHA-256 {sha256}, and is not kept;"
            f" put the right {wanted or file.name} into {file.parent}"
        ) from error
    except requests.RequestException as error:
        raise InputError(
            f"{dataset}: cannot download {url}: {reason(error, url)};"
            f" without a network, put {wanted or file.name} into {file.parent}"
        ) from error


def reason(error: Exception, url: str) -> str:
    """Why a download failed, in a few words."""
    import requests

    if isinstance(error, requests.HTTPError):
        return f"HTTP status {error.response.status_code}"
    host = urlsplit(url).netloc
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"{host} cut the connection {ATTEMPTS} times (the next run goes on from there)"
    if isinstance(error, requests.Timeout):
        return f"{host} does not answer"
    return f"no connection to {host}"


def resume(url: str, part: Path) -> None:
    """Make a partial file whole, going on where a connection was cut."""
    import requests

    for attempt in range(ATTEMPTS):
        try:
            return transfer(url, part)
        except (requests.ConnectionError, requests.Timeout,
                requests.exceptions.ChunkedEncodingError):  # fmt: skip
            if attempt + 1 == ATTEMPTS:
                raise
            time.sleep(0.2 * 4**attempt)


def transfer(url: str, part: Path) -> None:
    """Ask for what a partial file lacks (RFC 9110, section 14); all of it, if the file is another now."""
    import requests

    validator = validator_of(part)
    start = part.stat().st_size if part.exists() and validator.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator.read_text()}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416 and start:  # no such range: the part is no beginning of that file
            part.unlink()
            return transfer(url, part)
        response.raise_for_status()
        goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        known = response.headers.get("ETag", "W/")
        known = response.headers.get("Last-Modified", "") if known.startswith("W/") else known
        with part.open("ab" if response.status_code == 206 and goes_on else "wb") as stream:
            # without a validator a file that changed would not be noticed: such a part is not resumed
            validator.write_text(known) if known else validator.unlink(missing_ok=True)
            for chunk in response.iter_content(CHUNK):
                stream.write(chunk)
    return None


def validator_of(part: Path) -> Path:
    """The file that says of which version of the remote one a partial file is."""
    return part.with_name(f"{part.name}.version")
