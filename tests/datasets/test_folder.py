"""Folders of images: which files count, in which order, and when a folder has changed."""

import os

import numpy as np
import pytest
from PIL import Image

from rdpipe.core.errors import InputError
from rdpipe.datasets import digests, folder
from rdpipe.datasets.formats import SUFFIXES


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


def test_fingerprint_does_not_change_with_the_time_of_a_file(image_folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache") / "images.json"
    before = folder.fingerprint(str(image_folder), cache=cache)
    os.utime(image_folder / "z.png", (1, 1))
    assert folder.fingerprint(str(image_folder), cache=cache) == before
    assert folder.fingerprint(str(image_folder)) == before


def test_only_files_that_have_changed_are_read(image_folder, tmp_path_factory, monkeypatch):
    """Also one that has the size and the time of modification of the file that it replaces."""
    cache = tmp_path_factory.mktemp("cache") / "images.json"
    before = folder.fingerprint(str(image_folder), cache=cache)
    read, digest = [], digests._digest
    monkeypatch.setattr(digests, "_digest", lambda path: read.append(path.name) or digest(path))
    assert folder.fingerprint(str(image_folder), cache=cache) == before and not read
    image, status = image_folder / "z.png", (image_folder / "z.png").stat()
    image.write_bytes(bytes(status.st_size))
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert folder.fingerprint(str(image_folder), cache=cache) != before
    assert read == ["z.png"]


def test_file_that_cannot_be_read_is_left_to_the_job(tmp_path):
    assert digests.content_digests([str(tmp_path)], tmp_path / "cache.json") == [
        f"[Errno 21] Is a directory: '{tmp_path}'"
    ]


@pytest.mark.parametrize("content", ["", "[]", "{", None])
def test_damaged_or_unwritable_cache_is_no_error(image_folder, tmp_path, content):
    cache = tmp_path / "images.json"
    cache.mkdir() if content is None else cache.write_text(content)
    assert folder.fingerprint(str(image_folder), cache=cache)


def test_root_has_one_form_however_it_is_written(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    monkeypatch.setenv("HOME", str(tmp_path))
    written = ["images", "./images", "images/", str(tmp_path / "run/images"), "~/run/images"]
    assert set(map(folder.canonical_root, written)) == {"images"}
    outside = ["../images", str(tmp_path / "images"), "~/images"]
    assert set(map(folder.canonical_root, outside)) == {str(tmp_path / "images")}
    assert folder.canonical_root(["./a", 5]) == ["a", 5]


@pytest.mark.parametrize("root", ["absent", "notes.txt"])
def test_missing_folder_is_named(image_folder, root):
    with pytest.raises(InputError, match=root):
        folder.find(str(image_folder / root))


def test_folder_without_images_is_refused(image_folder):
    message = r"no image matches '\*.txt' \(but 1 .txt\); expected files that end in .png"
    with pytest.raises(InputError, match=message):
        folder.find(str(image_folder), "*.txt")


def test_files_that_are_not_images_are_counted_by_suffix(image_folder):
    for name in ("Thumbs.db", "b/RAW.CR2", "b/notes.txt", "LICENSE", ".DS_Store"):
        (image_folder / name).write_bytes(b"x")
    (image_folder / "folder.png").mkdir()
    (image_folder / "link").symlink_to("b")
    sources = folder.find(str(image_folder))
    assert [source.name for source in sources] == ["b/a.JPG", "z.png"]
    expected = {".txt": 2, ".db": 1, ".cr2": 1, "without suffix": 1, "links to folders": 1}
    assert sources.other_files == expected
    assert folder.counts_text(sources.other_files).startswith("2 .txt, 1 .cr2, 1 .db")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_with_each_suffix_are_images_in_either_case(tmp_path, suffix):
    for name in (f"a{suffix}", f"b{suffix.upper()}"):
        (tmp_path / name).write_bytes(b"x")
    assert [source.name[0] for source in folder.find(str(tmp_path))] == ["a", "b"]


@pytest.mark.parametrize("max_pixels", [0, -1, 1.5, True, "1e8", None])
def test_limit_of_pixels_is_a_positive_integer(image_folder, max_pixels):
    with pytest.raises(InputError, match="max_pixels: .* is not a number of pixels"):
        folder.find(str(image_folder), max_pixels=max_pixels)


def test_limit_of_pixels_belongs_to_each_image(image_folder):
    sources = folder.find(str(image_folder), max_pixels=12)
    assert [source.max_pixels for source in sources] == [12, 12]
    assert folder.fingerprint(str(image_folder), max_pixels=12)


def write_images(folder, *names):
    """Write images of different sizes, so that files can be distinguished."""
    for number, name in enumerate(names, 1):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((number, 1, 3), np.uint8)).save(folder / name)


def test_images_of_several_folders_have_different_names(tmp_path):
    write_images(tmp_path, "a/1.png", "b/1.png", "b/c/2.png", "x/a/1.png")
    (tmp_path / "b/notes.txt").write_text("not an image")
    sources = folder.find([str(tmp_path / "b"), str(tmp_path / "a")])
    assert [source.name for source in sources] == ["a/1.png", "b/1.png", "b/c/2.png"]
    assert [Image.open(source.file).height for source in sources] == [1, 2, 3]
    assert sources.other_files == {".txt": 1}
    same_name = folder.find([str(tmp_path / "a"), f"{tmp_path}/b/../x/a/"])
    assert [source.name for source in same_name] == ["a/1.png", "x/a/1.png"]


def test_list_of_one_folder_is_that_folder(tmp_path):
    write_images(tmp_path, "a/1.png")
    root = str(tmp_path / "a")
    assert folder.find([root]) == folder.find(root)
    assert folder.fingerprint([root]) == folder.fingerprint(root)


def test_fingerprint_changes_with_each_of_several_folders(tmp_path):
    write_images(tmp_path, "a/1.png", "b/1.png")
    roots = [str(tmp_path / "a"), str(tmp_path / "b")]
    before = folder.fingerprint(roots)
    write_images(tmp_path / "b", "2.png")
    assert folder.fingerprint(roots) != before == folder.fingerprint([roots[0], roots[1]], "1*")


@pytest.mark.parametrize(
    "names, message",
    [
        (["a", "a"], "root: .*/a' is twice in the list, or lies in .*/a'"),
        (["b/c", "b"], "root: .*/b/c' is twice in the list, or lies in .*/b'"),
        (["a", "link"], "root: .*/a' is twice in the list"),
        (["a", "absent"], "absent' .* is not a folder"),
        (["a", "empty"], "empty': no image matches"),
        (["a", 5], "root: 5 is not a text .*; expected a folder or a list of folders"),
        ([["a"]], r"root: \['a'\] is not a text"),
        ([], r"root: \[\] is not a text"),
    ],
)
def test_list_that_is_not_of_separate_folders_with_images_is_refused(
    names, message, tmp_path, monkeypatch
):
    write_images(tmp_path, "a/1.png", "b/c/2.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        folder.find(names)
