"""CLIC and Tecnick: their arguments reach the download."""

import pytest
from small_images import ARCHIVE_MEMBERS, zipped

from rdpipe.core.errors import InputError
from rdpipe.datasets import published

pytestmark = pytest.mark.usefixtures("no_waiting")


def test_clic_and_tecnick_accept_a_mirror_and_a_checksum(server, tmp_path):
    content = zipped(ARCHIVE_MEMBERS)
    server.files["/professional_valid_2020.zip"] = server.files["/t.zip"] = content
    url = f"{server.url}/professional_valid_2020.zip"
    message = "does not have the SHA-256 00be38092ade.*put the right prof"
    with pytest.raises(InputError, match=message):
        published.clic2020_professional(root=str(tmp_path), url=url)
    with pytest.raises(InputError, match="does not have the SHA-256 1111"):
        published.tecnick(root=str(tmp_path), url=f"{server.url}/t.zip", sha256="1" * 64)
    message = "'train' is not a split; expected one of: validation, test"
    with pytest.raises(InputError, match=message):
        published.clic2020_professional(split="train")
