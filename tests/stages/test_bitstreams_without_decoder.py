"""Stages that write and read bitstreams, for a codec that does not decode without the image."""

import logging
import sys

import numpy as np
import pytest
from PIL import Image
from torch import full_like

from rdpipe.analysis.available import available_frame
from rdpipe.analysis.measured_curves import codec_curves
from rdpipe.analysis.tables import code_frame
from rdpipe.core.kinds import BoundKind
from rdpipe.entropy.priors import Gaussian
from rdpipe.io import store
from rdpipe.stages import (
    extract_latents,
    measure_gap,
    prepare_dataset,
    read_bitstreams,
    simulate,
    write_bitstreams,
)
from rdpipe.stages.trace_bounds import by_run

OWN = {"mean": "codec", "variance": "codec", "quantizer": "rounding"}
OTHER = {**OWN, "variance": "channel"}
SHARDS = 2


class Describes:
    """Pixels as they are; the mean is that of the very image, so nothing decodes."""

    multiple = 1
    can_decode = False

    def __init__(self, quality):
        self.step = 8.0 / quality

    def code(self, image, size, send):
        y = 255 * image / self.step
        mean = full_like(y, y.mean().item())
        return send("y", Gaussian(mean, full_like(y, 20.0)), y) * self.step / 255


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset of three images, and its latents and simulation in two shards."""
    folder = tmp_path_factory.mktemp("describes")
    rng = np.random.default_rng(0)
    for i in range(3):
        pixels = rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels.repeat(16, 0).repeat(16, 1)).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def products(folder):
    """The stores of every stage, by stage; those of each shard."""
    sys.modules["codec_that_describes"] = sys.modules[__name__]
    entry = {"use": "folder", "args": {"root": str(folder), "pattern": "*.png"}}
    data = prepare_dataset.PrepareDatasetSpec(name="d", entry=entry, on_error="stop")
    manifest = folder / "manifest.json"
    prepare_dataset.run(data, manifest)
    names = ("images", "latents", "gaps", "simulations", "streams", "decoded")
    stores = {name: [folder / f"{name}-{i}.zarr.zip" for i in range(SHARDS)] for name in names}
    estimators = {
        "means": {"codec": {}},
        "variances": {"codec": {}, "channel": {}},
        "quantizers": {"rounding": {}},
    }
    gap = {"slices": [{"component": "variance", **estimators}], "matching": "image", "seed": 0}
    for i, of_shard in enumerate(zip(*stores.values(), strict=True)):
        images, latents, gaps, simulation, streams, decoded = of_shard
        codec = {
            "dataset": "d",
            "codec": "c",
            "quality": 1,
            "entry": {"use": "codec_that_describes:Describes"},
            "device": "cpu",
            "shard": [i, SHARDS],
        }
        spec = extract_latents.ExtractLatentsSpec.from_mapping(codec)
        extract_latents.run(spec, manifest, images, latents)
        measure_gap.run(measure_gap.MeasureGapSpec.from_mapping(gap), [latents], [], [gaps])
        cells = {**codec, **estimators, "seed": 0}
        sweep = {**cells, "curves": {"codec/codec/rounding": OWN}}
        spec = simulate.SimulateSpec.from_mapping({**sweep, "measure": "psnr", "matching": "image"})
        simulate.run(spec, manifest, [latents], [], simulation)
        coded = {**cells, "cells": {"own": OWN, "other": OTHER}}
        spec = write_bitstreams.WriteBitstreamsSpec.from_mapping(coded)
        write_bitstreams.run(spec, manifest, latents, simulation, [], streams)
        spec = read_bitstreams.ReadBitstreamsSpec.from_mapping(coded)
        read_bitstreams.run(spec, manifest, streams, latents, [], decoded)
    return stores


def test_stores_have_no_cells_and_all_images(products):
    streams, decoded = (store.join_shards(products[name]) for name in ("streams", "decoded"))
    images = ["0.png", "1.png", "2.png"]
    for product, variables in (
        (streams, {"size", "seconds", "y_hat_sha256"}),
        (decoded, {"size", "seconds", "mse", "ms_ssim"}),
    ):
        assert set(product.data_vars) == variables
        assert dict(product.sizes) == {"cell": 0, "image": 3}
        assert product["image"].values.tolist() == images
        assert all(product[name].dims == ("cell", "image") for name in variables)
    groups = store.image_groups(products["streams"])
    assert [store.read(*group).sizes["byte"] for group in groups] == [0, 0, 0]


def test_summaries_have_no_real_codes(products):
    tables, simulations, arrays, decoded = (
        by_run(products[name]) for name in ("images", "simulations", "gaps", "decoded")
    )
    assert code_frame(tables, simulations, arrays, decoded).empty
    curves = codec_curves(tables, simulations, tables)
    assert curves[0].kind is BoundKind.ACHIEVABLE
    available = available_frame(curves, tables, arrays, decoded, "psnr")
    assert available["cell"].tolist() == ["codec/channel/rounding"]
    assert [BoundKind.parse(kind) for kind in available["kind"]] == [BoundKind.ACHIEVABLE]


def test_log_says_that_the_codec_does_not_decode(folder, products, caplog):
    spec = write_bitstreams.WriteBitstreamsSpec.from_mapping(
        {
            "dataset": "d",
            "codec": "c",
            "quality": 1,
            "entry": {"use": "codec_that_describes:Describes"},
            "device": "cpu",
            "shard": [0, SHARDS],
            "means": {"codec": {}},
            "variances": {"codec": {}},
            "quantizers": {"rounding": {}},
            "seed": 0,
            "cells": {"own": OWN},
        }
    )
    inputs = products["latents"][0], products["simulations"][0]
    with caplog.at_level(logging.WARNING):
        write_bitstreams.run(spec, folder / "manifest.json", *inputs, [], folder / "again.zarr.zip")
    assert "c does not decode without the image: there are no bitstreams" in caplog.text
