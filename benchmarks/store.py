"""The store of latents against the raw numbers: size, and how fast they come back."""

import time
from collections.abc import Iterator

import xarray as xr

from benchmarks.array import latents
from benchmarks.common import Figure, Options, files
from rdpipe.io import store


def figures(options: Options) -> Iterator[Figure]:
    path, dims = options.work / "latents.zarr.zip", ("channel", "row", "column")
    every = latents(options, min(24, len(files(options.images))))
    with store.create(path, {}) as writer:
        for i, one in enumerate(every):
            arrays = {k: (dims, getattr(one, k).numpy()) for k in ("y", "mean", "scale")}
            writer.write(xr.Dataset(arrays), group=str(i))
    raw = sum(3 * 4 * one.y.numel() for one in every)
    yield Figure("store of latents, bytes", "float32", "<= 0.75", [path.stat().st_size / raw])

    def speed() -> float:
        start = time.process_time()
        for i in range(len(every)):
            store.read(path, str(i))
        return raw / (time.process_time() - start) / 1e6

    rates = [speed() for _ in range(options.rounds)]
    yield Figure("reading it, of 300 MB/s of a core", "300 MB/s", ">= 1", [r / 300 for r in rates])
