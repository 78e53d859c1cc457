"""Labelled arrays in single-file Zarr stores: the only module that knows Zarr.

A store is one file ``*.zarr.zip``. Its many small files are written to the folder for temporary
files (``TMPDIR``, which Snakemake sets to the resource ``tmpdir``), and zipped with sorted names
and a fixed date to a hidden file beside the target, which is renamed. A store is therefore complete
or absent, and the same content gives the same bytes. It can be opened without rdpipe::

    xarray.open_zarr(zarr.storage.ZipStore(path, mode="r"), group=group, consolidated=False)
"""

from __future__ import annotations

import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec
from zarr.errors import GroupNotFoundError
from zarr.storage import ZipStore

from rdpipe.core.device import describe_cards
from rdpipe.core.errors import InputError
from rdpipe.core.provenance import versions
from rdpipe.core.specs import Spec
from rdpipe.io.files import write_atomically

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    ValueError,
    KeyError,
    RuntimeError,
    OSError,
)
"""What zipfile, Zarr and xarray raise when they read a damaged file."""
COMPRESSOR = BloscCodec(cname="zstd", clevel=6, shuffle="shuffle")
"""Compressor of floating-point arrays.

It groups the bytes of equal significance: signs and exponents are compressible, the last digits are
not.
"""
FileVersion = tuple[Path, int, int]
"""Path, size in bytes and time of modification in nanoseconds of a file."""


class Writer:
    """Writer of the groups of one store; :func:`create` returns it."""

    def __init__(self, folder: Path):
        self._folder = folder

    def write(self, dataset: xr.Dataset, group: str | None = None) -> None:
        """Write a dataset as the root of the store, or as a group below the root."""
        texts = [name for name, v in dataset.variables.items() if v.dtype.kind == "U"]
        for name in texts:  # Zarr 3 has no stable fixed-length strings
            dataset = dataset.assign({name: dataset[name].astype(object)})
        encoding = {
            name: {"compressors": COMPRESSOR, "chunks": v.shape}  # one chunk per array
            for name, v in dataset.variables.items()
            if v.dtype.kind == "f" and v.size and v.ndim
        }
        dataset.to_zarr(
            self._folder,
            group=group,
            encoding=encoding,
            mode="a",
            zarr_format=3,
            consolidated=False,
        )


@contextmanager
def create(path: Path, spec: Spec | Mapping[str, Any]) -> Iterator[Writer]:
    """Create a store; it appears at ``path`` only if the block ends without an error.

    Parameters
    ----------
    path : Path
        The ``*.zarr.zip`` to write. An existing store is replaced.
    spec : Spec or mapping
        What the store is made from. It is stored as JSON in the attribute ``spec`` of the root,
        beside the versions of the packages, and the card if one was used.

    Yields
    ------
    Writer
    """
    fields = spec.to_mapping() if isinstance(spec, Spec) else spec
    Path(path).parent.mkdir(parents=True, exist_ok=True)  # fails before anything is computed
    with tempfile.TemporaryDirectory(prefix="rdpipe-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary) / "store"
        yield Writer(folder)
        root = zarr.open_group(folder, mode="a")
        root.attrs.update({"spec": json.dumps(fields, sort_keys=True)})
        root.attrs.update(versions() | describe_cards())
        write_atomically(path, lambda file: _zip(folder, file))


def _zip(folder: Path, path: Path) -> None:
    """Zip a folder; the bytes depend only on names and contents."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:  # the chunks are compressed
        for file in files:
            name = file.relative_to(folder).as_posix()
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, file.read_bytes())


def read(path: Path, group: str | None = None) -> xr.Dataset:
    """Read the root of a store, or one of its groups, into memory.

    Raises
    ------
    InputError
        If the file is damaged or has no such group.
    """
    with _opened(path, group) as lazy:
        dataset = lazy.load().drop_encoding()  # otherwise a copy would inherit its chunks
    texts: dict[str, str] = {}
    for variable in dataset.data_vars.values():
        if variable.dtype == object:  # few different texts, many times: keep one object of each
            shared = [texts.setdefault(text, text) for text in variable.values.ravel()]
            variable.values = np.array(shared, dtype=object).reshape(variable.shape)
    return dataset


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Read the scalar coordinates and the sizes of a store, but no array.

    Returns
    -------
    coordinates : dict of str to scalar
        What the store describes, such as dataset, codec and quality.
    sizes : dict of str to int
        Length of each dimension.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    with _opened(path) as lazy:
        scalars = {
            str(name): coordinate.item()
            for name, coordinate in lazy.coords.items()
            if coordinate.ndim == 0
        }
        return scalars, {str(name): size for name, size in lazy.sizes.items()}


def has_group(path: Path, group: str) -> bool:
    """Return whether a store has a group.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    with _damage_named(path), zipfile.ZipFile(path) as archive:
        return f"{group}/zarr.json" in archive.namelist()


def group_by_run(paths: Iterable[Path]) -> list[list[Path]]:
    """Group stores by their scalar coordinates, that is, collect the shards of each run.

    Runs, and the shards of a run, are in the order of ``paths``.
    """
    runs: dict[tuple[tuple[str, Any], ...], list[Path]] = {}
    for path in paths:
        scalars, _ = read_header(path)
        runs.setdefault(tuple(sorted(scalars.items())), []).append(path)
    return list(runs.values())


def join_shards(shards: Sequence[Path], group: str | None = None) -> xr.Dataset:
    """Concatenate the root tables of the shards of a run, or one of their groups, along ``image``.

    Variables without this dimension must be equal in all shards.

    Raises
    ------
    InputError
        If an image is in two shards.
    """
    tables = [read(path, group) for path in shards]
    first: dict[str, Path] = {}
    for path, table in zip(shards, tables, strict=True):
        for image in table["image"].values:
            if image in first:
                raise InputError(f"image {image!r} is in {first[image]} and again in {path}")
            first[image] = path
    if len(tables) == 1:
        return tables[0]
    return xr.concat(
        tables, "image", data_vars="minimal", coords="minimal", compat="equals", join="exact"
    )


def image_groups(shards: Iterable[Path]) -> list[tuple[Path, str]]:
    """Return store and group of each image of a run, in the order of :func:`join_shards`."""
    return [(path, str(i)) for path in shards for i in range(read_header(path)[1]["image"])]


def check_same_images(expected: Iterable[str], names: Iterable[str], what: str) -> None:
    """Check that two lists name the same images in the same order, before they are joined.

    Parameters
    ----------
    expected, names : iterable of str
        Names of images, for instance of a manifest and of a store.
    what : str
        What ``names`` belongs to, for the error message.

    Raises
    ------
    InputError
        If they differ; names the first difference.
    """
    for position, (left, right) in enumerate(zip_longest(expected, names)):
        if left != right:
            actual = "missing" if right is None else repr(str(right))
            required = "no more images" if left is None else repr(str(left))
            raise InputError(f"{what}: image {position} is {actual}; expected {required}")


@contextmanager
def _opened(path: Path, group: str | None = None) -> Iterator[xr.Dataset]:
    """Open a store, or one of its groups, without reading arrays.

    Every error inside the block counts as damage of the file.
    """
    try:
        with _damage_named(Path(path)) as version:
            yield xr.open_zarr(_open_zip(*version), group=group, consolidated=False, chunks=None)
    except GroupNotFoundError as error:
        raise InputError(f"{path}: no group {group!r} in this store") from error


@contextmanager
def _damage_named(path: Path) -> Iterator[FileVersion]:
    """Replace the errors of a damaged file by one that names it; yield the version of the file.

    The checksum of every member is verified, because Zarr only looks for the members that it
    expects: if the name of a chunk is damaged in the directory, Zarr reads zeros.
    """
    try:
        status = path.stat()
        version = path, status.st_size, status.st_mtime_ns
        if member := _first_damaged_member(*version):
            raise zipfile.BadZipFile(f"the checksum of {member} is wrong")
        yield version
    except (GroupNotFoundError, *DAMAGE) as error:
        if isinstance(error, GroupNotFoundError) or getattr(error, "filename", None):
            raise  # the file itself is not damaged
        message = f"{path}: damaged store, delete it and run the workflow again: {error}"
        raise InputError(message) from error


@cache
def _first_damaged_member(path: Path, size: int, time: int) -> str | None:
    """Return the first member of a version of a file whose checksum is wrong."""
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


@lru_cache(maxsize=8)
def _open_zip(path: Path, size: int, time: int) -> ZipStore:
    """Open a version of a file and keep it open: its directory is read once for all groups."""
    return ZipStore(path, mode="r")
