"""The store: the same bytes twice, whole or not at all, damage is noticed."""

import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
import zarr.storage

from rdpipe.io import store
from rdpipe.core.errors import InputError


def write(path):
    rng = np.random.default_rng(0)
    with store.create(path, {"b": 1, "a": [2]}) as writer:
        writer.write(xr.Dataset({"n": ("image", [1, 2])}, {"image": ["x", "<ü>"], "codec": "c"}))
        for group in "01":
            y = rng.normal(size=(3, 40, 50)).astype(np.float32)
            writer.write(xr.Dataset({"y": (("channel", "row", "column"), y)}), group=group)


def test_round_trip_with_plain_xarray(tmp_path):
    write(tmp_path / "a.zarr.zip")
    expected = np.random.default_rng(0).normal(size=(3, 40, 50)).astype(np.float32)
    with zarr.storage.ZipStore(tmp_path / "a.zarr.zip", mode="r") as archive:
        got = xr.open_zarr(archive, group="0", consolidated=False)["y"].load()
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, expected)
    root = store.read(tmp_path / "a.zarr.zip")
    assert root["image"].values.tolist() == ["x", "<ü>"]
    assert root["codec"].item() == "c"
    assert root.attrs["spec"] == '{"a": [2], "b": 1}'
    assert root.attrs["version_numpy"] == np.__version__


def test_texts_that_repeat_are_kept_once(tmp_path):
    names = np.array([["kodim01", "kodim02"], ["kodim02", "kodim01"]])
    with store.create(tmp_path / "a.zarr.zip", {}) as writer:
        writer.write(xr.Dataset({"name": (("row", "column"), names)}))
    read = store.read(tmp_path / "a.zarr.zip")["name"].values
    assert read.tolist() == names.tolist()
    assert read[0, 0] is read[1, 1] and read[0, 1] is read[1, 0]


def test_two_runs_give_the_same_bytes(tmp_path):
    write(tmp_path / "a.zarr.zip")
    write(tmp_path / "b.zarr.zip")
    assert (tmp_path / "a.zarr.zip").read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()


def test_an_error_leaves_nothing_behind_and_the_old_product_alone(tmp_path):
    write(tmp_path / "a.zarr.zip")
    before = (tmp_path / "a.zarr.zip").read_bytes()
    with pytest.raises(RuntimeError, match="midway"), store.create(tmp_path / "a.zarr.zip", {}):
        raise RuntimeError("midway")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zarr.zip"]
    assert (tmp_path / "a.zarr.zip").read_bytes() == before


def test_a_truncated_store_is_named(tmp_path):
    write(tmp_path / "a.zarr.zip")
    (tmp_path / "b.zarr.zip").write_bytes((tmp_path / "a.zarr.zip").read_bytes()[:-1000])
    with pytest.raises(InputError, match="b.zarr.zip: damaged store"):
        store.read(tmp_path / "b.zarr.zip")


@pytest.mark.parametrize("where", np.linspace(0.1, 0.9, 9))
def test_a_flipped_bit_in_the_data_is_noticed(tmp_path, where):
    """In a chunk the archive's checksum notices it; elsewhere the structure breaks."""
    write(tmp_path / "a.zarr.zip")
    data = bytearray((tmp_path / "a.zarr.zip").read_bytes())
    data[int(where * len(data))] ^= 16
    (tmp_path / "a.zarr.zip").write_bytes(data)
    with pytest.raises(InputError, match="damaged store"):
        for group in (None, "0", "1"):
            store.read(tmp_path / "a.zarr.zip", group)


def test_no_flipped_bit_anywhere_is_read_as_other_numbers(tmp_path):
    """In the directory at the end the name of a chunk may break: Zarr would take it for zeros."""
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


def test_an_absent_group_is_named(tmp_path):
    write(tmp_path / "a.zarr.zip")
    with pytest.raises(InputError, match="no group '7'"):
        store.read(tmp_path / "a.zarr.zip", "7")


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np, xarray as xr
from rdpipe import store

def writes(child):
    while not child:
        with store.create(file, {}) as writer:
            writer.write(xr.Dataset({"y": ("row", np.arange(50_000.0))}), group="0")
    return child

file, chance, began = Path(sys.argv[1]), random.Random(), time.time()
child = writes(os.fork())
while not file.exists():
    time.sleep(0.01)
takes = time.time() - began
os.kill(child, signal.SIGKILL)
print(hash(file.read_bytes()))
for _ in range(20):
    file.unlink(missing_ok=True)
    child = writes(os.fork())
    time.sleep(chance.uniform(0, 2 * takes))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(file.exists() and hash(file.read_bytes()))
"""


def test_killed_at_any_moment_a_store_is_whole_or_absent(tmp_path):
    file = tmp_path / "a.zarr.zip"
    done = subprocess.run([sys.executable, "-c", KILLED, file], text=True, capture_output=True, check=True)
    found = done.stdout.split()
    assert len(found) == 21 and len(set(found) - {"False"}) == 1
