"""Stores: reproducible bytes, complete or absent, damage is detected, images are compared."""

import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
import zarr.storage

from rdpipe.core.errors import InputError
from rdpipe.core.specs import Spec
from rdpipe.io import store


def write(path):
    """Write a store with a table of two images and a group for each."""
    rng = np.random.default_rng(0)
    with store.create(path, {"b": 1, "a": [2]}) as writer:
        writer.write(xr.Dataset({"n": ("image", [1, 2])}, {"image": ["x", "<ü>"], "codec": "c"}))
        for group in "01":
            y = rng.normal(size=(3, 40, 50)).astype(np.float32)
            writer.write(xr.Dataset({"y": (("channel", "row", "column"), y)}), group=group)


def test_store_opens_with_plain_xarray(tmp_path):
    write(tmp_path / "a.zarr.zip")
    expected = np.random.default_rng(0).normal(size=(3, 40, 50)).astype(np.float32)
    with zarr.storage.ZipStore(tmp_path / "a.zarr.zip", mode="r") as archive:
        y = xr.open_zarr(archive, group="0", consolidated=False)["y"].load()
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, expected)
    root = store.read(tmp_path / "a.zarr.zip")
    assert root["image"].values.tolist() == ["x", "<ü>"]
    assert root["codec"].item() == "c"
    assert root.attrs["spec"] == '{"a": [2], "b": 1}'
    assert root.attrs["version_numpy"] == np.__version__


def test_repeated_texts_share_one_object(tmp_path):
    names = np.array([["kodim01", "kodim02"], ["kodim02", "kodim01"]])
    with store.create(tmp_path / "a.zarr.zip", {}) as writer:
        writer.write(xr.Dataset({"name": (("row", "column"), names)}))
    read = store.read(tmp_path / "a.zarr.zip")["name"].values
    assert read.tolist() == names.tolist()
    assert read[0, 0] is read[1, 1] and read[0, 1] is read[1, 0]


def test_same_content_gives_the_same_bytes(tmp_path):
    write(tmp_path / "a.zarr.zip")
    write(tmp_path / "b.zarr.zip")
    assert (tmp_path / "a.zarr.zip").read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()


def test_error_leaves_no_new_file_and_the_old_store_unchanged(tmp_path):
    write(tmp_path / "a.zarr.zip")
    before = (tmp_path / "a.zarr.zip").read_bytes()
    with pytest.raises(RuntimeError, match="midway"), store.create(tmp_path / "a.zarr.zip", {}):
        raise RuntimeError("midway")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zarr.zip"]
    assert (tmp_path / "a.zarr.zip").read_bytes() == before


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_only_the_finished_store_is_written_beside_the_target(tmp_path, temporary):
    with store.create(tmp_path / "out" / "a.zarr.zip", {}) as writer:
        writer.write(xr.Dataset({"a": ("x", [1.0])}))
        assert not list((tmp_path / "out").iterdir())
        assert [path.name[:7] for path in temporary.iterdir()] == ["rdpipe-"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.zarr.zip"]
    assert not list(temporary.iterdir())


def test_folder_that_cannot_be_made_is_an_error_before_the_block(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError), store.create(tmp_path / "file" / "a.zarr.zip", {}):
        pytest.fail("something was computed")


def test_error_leaves_no_temporary_file(tmp_path, temporary, monkeypatch):
    def fail(folder, path):
        path.write_bytes(b"the beginning")
        raise OSError("full")

    monkeypatch.setattr(store, "_zip", fail)
    with pytest.raises(OSError, match="full"), store.create(tmp_path / "a.zarr.zip", {}):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]


def test_truncated_store_is_named(tmp_path):
    write(tmp_path / "a.zarr.zip")
    (tmp_path / "b.zarr.zip").write_bytes((tmp_path / "a.zarr.zip").read_bytes()[:-1000])
    with pytest.raises(InputError, match="b.zarr.zip: damaged store"):
        store.read(tmp_path / "b.zarr.zip")


@pytest.mark.parametrize("where", np.linspace(0.1, 0.9, 9))
def test_flipped_bit_is_detected(tmp_path, where):
    """The checksum of a chunk is then wrong, or the structure of the file."""
    write(tmp_path / "a.zarr.zip")
    data = bytearray((tmp_path / "a.zarr.zip").read_bytes())
    data[int(where * len(data))] ^= 16
    (tmp_path / "a.zarr.zip").write_bytes(data)
    with pytest.raises(InputError, match="damaged store"):
        for group in (None, "0", "1"):
            store.read(tmp_path / "a.zarr.zip", group)


def test_flipped_bit_never_changes_numbers(tmp_path):
    """If the name of a chunk in the directory is damaged, Zarr alone would read zeros."""
    file = tmp_path / "a.zarr.zip"
    with store.create(file, {}) as writer:
        writer.write(xr.Dataset({"y": ("image", [1.0, 2.0])}), group="0")
    good, expected = file.read_bytes(), store.read(file, "0")
    for place in range(len(good) // 2, len(good), 5):
        data = bytearray(good)
        data[place] ^= 16
        file.write_bytes(data)
        os.utime(file, ns=(place, place))
        try:
            assert store.read(file, "0").identical(expected)
        except InputError as error:
            assert "a.zarr.zip" in str(error)


def test_absent_group_is_named(tmp_path):
    write(tmp_path / "a.zarr.zip")
    with pytest.raises(InputError, match="no group '7'"):
        store.read(tmp_path / "a.zarr.zip", "7")


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np, xarray as xr
from rdpipe.io import store

def write_forever(child):
    while not child:
        with store.create(file, {}) as writer:
            writer.write(xr.Dataset({"y": ("row", np.arange(50_000.0))}), group="0")
    return child

file, rng, start = Path(sys.argv[1]), random.Random(), time.time()
child = write_forever(os.fork())
while not file.exists():
    time.sleep(0.01)
duration = time.time() - start
os.kill(child, signal.SIGKILL)
print(hash(file.read_bytes()))
for _ in range(20):
    file.unlink(missing_ok=True)
    child = write_forever(os.fork())
    time.sleep(rng.uniform(0, 2 * duration))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(file.exists() and hash(file.read_bytes()))
"""


def test_store_of_a_killed_process_is_complete_or_absent(tmp_path):
    file = tmp_path / "a.zarr.zip"
    command = [sys.executable, "-c", KILLED, file]
    process = subprocess.run(command, text=True, capture_output=True, check=True)
    hashes = process.stdout.split()
    assert len(hashes) == 21 and len(set(hashes) - {"False"}) == 1


class SmallSpec(Spec):
    name: str
    seed: int = 0


def test_spec_is_stored_like_its_mapping(tmp_path):
    for name, spec in {"a": SmallSpec(name="x"), "b": {"seed": 0, "name": "x"}}.items():
        with store.create(tmp_path / f"{name}.zarr.zip", spec) as writer:
            writer.write(xr.Dataset({"y": ("image", [1.0])}))
    first, second = (tmp_path / f"{name}.zarr.zip" for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert store.read(first).attrs["spec"] == '{"name": "x", "seed": 0}'


def write_shard(path, images, **coordinates):
    """Write a table of some images."""
    table = {"bytes": ("image", np.arange(len(images)))}
    with store.create(path, {}) as writer:
        writer.write(xr.Dataset(table, {"image": images, **coordinates}))
    return path


def test_header_has_scalar_coordinates_and_sizes(tmp_path):
    path = write_shard(tmp_path / "a.zarr.zip", ["x", "y"], codec="c", quality=3)
    assert store.read_header(path) == ({"codec": "c", "quality": 3}, {"image": 2})


def test_has_group(tmp_path):
    write(tmp_path / "a.zarr.zip")
    assert store.has_group(tmp_path / "a.zarr.zip", "1")
    assert not store.has_group(tmp_path / "a.zarr.zip", "2")


def test_shards_are_grouped_by_run_and_joined_in_their_order(tmp_path):
    first = write_shard(tmp_path / "0", ["b", "a"], quality=1)
    other = write_shard(tmp_path / "1", ["b", "a"], quality=2)
    second = write_shard(tmp_path / "2", ["c"], quality=1)
    runs = store.group_by_run([first, other, second])
    assert runs == [[first, second], [other]]
    joined = store.join_shards(runs[0])
    assert joined["image"].values.tolist() == ["b", "a", "c"]
    assert joined["bytes"].values.tolist() == [0, 1, 0] and joined["quality"] == 1
    assert store.image_groups(runs[0]) == [(first, "0"), (first, "1"), (second, "0")]


def test_image_in_two_shards_is_refused(tmp_path):
    shards = [write_shard(tmp_path / "0", ["a", "b"]), write_shard(tmp_path / "1", ["b", "c"])]
    with pytest.raises(InputError, match="image 'b' is in .*0 and again in .*1"):
        store.join_shards(shards)


def test_same_images_are_accepted():
    store.check_same_images(["a", "b"], np.array(["a", "b"], dtype=object), "latents")
    store.check_same_images([], [], "latents")


@pytest.mark.parametrize(
    "names, message",
    [
        (["b", "a", "c"], "latents: image 0 is 'b'; expected 'a'"),
        (["a", "b"], "latents: image 2 is missing; expected 'c'"),
        (["a", "b", "c", "d"], "latents: image 3 is 'd'; expected no more images"),
        ([], "latents: image 0 is missing; expected 'a'"),
    ],
)
def test_first_difference_between_images_is_named(names, message):
    with pytest.raises(InputError) as error:
        store.check_same_images(["a", "b", "c"], names, "latents")
    assert str(error.value) == message
