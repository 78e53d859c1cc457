"""Labelled arrays in single-file Zarr stores: the only module that knows Zarr.

A product is one ``*.zarr.zip``: written to a temporary folder beside it, zipped with sorted names
and a fixed date, renamed into place. So it is there whole or not at all, and the same content gives
the same bytes. Any of it opens without rdpipe::

    xarray.open_zarr(zarr.storage.ZipStore(path, mode="r"), group=group, consolidated=False)
"""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec
from zarr.errors import GroupNotFoundError
from zarr.storage import ZipStore

from rdpipe.core.errors import InputError
from rdpipe.core.provenance import versions


DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, KeyError, RuntimeError, OSError)
"""What zipfile, Zarr and xarray raise at something else than was written."""

COMPRESSOR = BloscCodec(cname="zstd", clevel=6, shuffle="shuffle")
"""Of floats, first bytes of all, then second ones: signs and exponents are compressible, the last digits are not."""


class Writer:
    """Collects the groups of one product; made by :func:`create`."""

    def __init__(self, folder: Path):
        self._folder = folder

    def write(self, dataset: xr.Dataset, group: str | None = None) -> None:
        """Add a dataset as the root, or as a group below it."""
        text = [name for name, v in dataset.variables.items() if v.dtype.kind == "U"]
        for name in text:  # Zarr 3 has no stable fixed-length strings
            dataset = dataset.assign({name: dataset[name].astype(object)})
        encoding = {
            name: {"compressors": COMPRESSOR, "chunks": v.shape}  # one chunk: all of it is read, or none
            for name, v in dataset.variables.items()
            if v.dtype.kind == "f" and v.size and v.ndim
        }
        options = {"mode": "a", "zarr_format": 3, "consolidated": False}
        dataset.to_zarr(self._folder, group=group, encoding=encoding, **options)


@contextmanager
def create(path: Path, spec: dict):
    """Write a product; nothing appears at ``path`` unless the block ends without an error.

    Parameters
    ----------
    path : Path
        The ``*.zarr.zip`` to write.
    spec : dict
        What the product was made from; kept, with the versions of the packages, in the
        attributes of the root.

    Yields
    ------
    Writer
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield Writer(temporary / "store")
        root = zarr.open_group(temporary / "store", mode="a")
        root.attrs.update({"spec": json.dumps(spec, sort_keys=True), **versions()})
        _zip(temporary / "store", temporary / path.name)
        (temporary / path.name).replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _zip(folder: Path, path: Path) -> None:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as opened:  # the chunks are compressed
        for file in files:
            name = file.relative_to(folder).as_posix()
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            opened.writestr(info, file.read_bytes())


def has(path: Path, group: str) -> bool:
    """Whether a product has a group."""
    with undamaged(path):
        return f"{group}/zarr.json" in members(path)


@contextmanager
def undamaged(path: Path):
    """What a damaged archive raises, as an error that names it; yields which archive that is, as it is now.

    Every member is read once: Zarr looks only for those that it expects, and where the name of a
    chunk is damaged in the directory, it takes the chunk for one of zeros.
    """
    try:
        status = path.stat()
        version = path, status.st_size, status.st_mtime_ns
        if broken := first_broken(*version):
            raise zipfile.BadZipFile(f"{broken} is not what was written")
        yield version
    except (GroupNotFoundError, *DAMAGE) as error:
        if isinstance(error, GroupNotFoundError) or getattr(error, "filename", None):
            raise  # what is wrong is not in the archive
        message = f"{path}: damaged store, delete it to have it made again: {error}"
        raise InputError(message) from error


@lru_cache(maxsize=None)
def first_broken(path: Path, size: int, time: int) -> str | None:
    """The first member of an archive, as it is at a time, whose checksum is wrong."""
    with zipfile.ZipFile(path) as opened:
        return opened.testzip()


@lru_cache(maxsize=8)
def archive(path: Path, size: int, time: int) -> ZipStore:
    """An archive, as it is at a time, that stays open: its directory is not read again for every group."""
    return ZipStore(path, mode="r")


def members(path: Path) -> list[str]:
    """Names of what is in an archive."""
    with zipfile.ZipFile(path) as opened:
        return opened.namelist()


@contextmanager
def _opened(path: Path, group: str | None = None):
    """A product, or one group of it, of which nothing is read yet; whatever fails in the block is the archive's."""
    try:
        with undamaged(Path(path)) as version:
            yield xr.open_zarr(archive(*version), group=group, consolidated=False, chunks=None)
    except GroupNotFoundError as error:
        raise InputError(f"{path}: no group {group!r} in this store") from error


def read(path: Path, group: str | None = None) -> xr.Dataset:
    """Read a product, or one group of it, into memory.

    Raises
    ------
    InputError
        If the file is damaged, or has no such group.
    """
    with _opened(path, group) as lazy:
        dataset = lazy.load().drop_encoding()  # or what is written of it would have its chunks
    kept = {}
    for variable in dataset.data_vars.values():
        if variable.dtype == object:  # the same few texts, over and over
            texts = [kept.setdefault(text, text) for text in variable.values.ravel()]
            variable.values = np.array(texts, dtype=object).reshape(variable.shape)
    return dataset


def head(path: Path) -> tuple[dict, dict[str, int]]:
    """Scalar coordinates of a product, which say what it is about, and its sizes; no array is read.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    with _opened(path) as lazy:
        about = {name: one.item() for name, one in lazy.coords.items() if one.ndim == 0}
        return about, dict(lazy.sizes)


def runs(paths: list[Path]) -> list[list[Path]]:
    """Products by what they are about (their scalar coordinates): the shards of a run, in the order given."""
    found = {}
    for path in paths:
        about, _ = head(path)
        found.setdefault(tuple(sorted(about.items())), []).append(path)
    return list(found.values())


def joined(shards: list[Path]) -> xr.Dataset:
    """Root tables of the shards of a run, image after image; all else must be the same in each."""
    tables = [read(path) for path in shards]
    if len(tables) == 1:
        return tables[0]
    alike = {"data_vars": "minimal", "coords": "minimal", "compat": "equals", "join": "exact"}
    return xr.concat(tables, "image", **alike)


def image_groups(shards: list[Path]) -> list[tuple[Path, str]]:
    """Where each image of a run has its own group: the store and the name in there."""
    return [(path, str(i)) for path in shards for i in range(head(path)[1]["image"])]
