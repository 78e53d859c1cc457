"""Files are written completely or not at all."""

import pytest

from rdpipe.io.files import write_atomically


def test_folder_is_created_and_no_temporary_file_remains(tmp_path):
    file = tmp_path / "new" / "a.txt"
    write_atomically(file, lambda temporary: temporary.write_text("content"))
    assert file.read_text() == "content" and list(file.parent.iterdir()) == [file]


def test_error_leaves_the_old_file_and_no_temporary_file(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")

    def save(temporary):
        temporary.write_text("half")
        raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        write_atomically(file, save)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]
