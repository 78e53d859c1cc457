"""The store of latents: size and reading speed, relative to the raw numbers."""

import time
from collections.abc import Iterator

import xarray as xr

from benchmarks.array import latents
from benchmarks.common import Figure, Options, image_files
from rdpipe.io import store

READ_SPEED = 300
"""Reference speed of a core, megabytes of raw numbers per second."""


def figures(options: Options) -> Iterator[Figure]:
    path, dims = options.work / "latents.zarr.zip", ("channel", "row", "column")
    images = latents(options, min(24, len(image_files(options.images))))
    with store.create(path, {}) as writer:
        for i, image in enumerate(images):
            arrays = {k: (dims, getattr(image, k).numpy()) for k in ("y", "mean", "scale")}
            writer.write(xr.Dataset(arrays), group=str(i))
    raw_size = sum(3 * 4 * image.y.numel() for image in images)
    ratio = path.stat().st_size / raw_size
    yield Figure("store of latents, bytes", "float32", "<= 0.75", [ratio])

    def read_speed() -> float:
        start = time.process_time()
        for i in range(len(images)):
            store.read(path, str(i))
        return raw_size / (time.process_time() - start) / 1e6

    ratios = [read_speed() / READ_SPEED for _ in range(options.rounds)]
    yield Figure("reading the store, speed", f"{READ_SPEED} MB/s of a core", ">= 1", ratios)
