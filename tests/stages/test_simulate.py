"""Cells through the decoder of a codec with a context model."""

import numpy as np
import pytest
import torch
from PIL import Image

from rdpipe.io import store
from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES
from rdpipe.stages import extract_latents, prepare_dataset, simulate

CELLS = {
    "own": {"mean": "codec", "variance": "codec", "quantizer": "rounding"},
    "bound": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"},
    "genie": {"mean": "codec", "variance": "window-5", "quantizer": "test-channel"},
    "stale": {"mean": "codec", "variance": "channel", "quantizer": "test-channel"},
}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """An image through a small network with a checkerboard context."""
    folder = tmp_path_factory.mktemp("context")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    torch.manual_seed(0)
    model = ARCHITECTURES["mbt2018-checkerboard"][0](8, 12)
    with torch.no_grad():
        model.g_a[6].weight /= model.g_a(torch.rand(1, 3, 128, 128)).std() / 3
    torch.save(model.state_dict(), folder / "model.pt")
    data = {"name": "d", "entry": {"use": "folder", "args": {"root": str(folder), "pattern": "*.png"}}}
    prepare_dataset.run({**data, "on_error": "stop"}, folder / "manifest.json")
    entry = {"use": "compressai",
             "args": {"architecture": "mbt2018-checkerboard", "checkpoint": str(folder / "model.pt")}}  # fmt: skip
    spec = {"dataset": "d", "codec": "c", "quality": 1, "entry": entry, "device": "cpu"}
    latents, out = folder / "latents.zarr.zip", folder / "simulation.zarr.zip"
    extract_latents.run(spec, folder / "manifest.json", folder / "images.zarr.zip", latents)
    axes = {"means": {"codec": {}}, "variances": {"codec": {}, "window-5": {}, "channel": {}},
            "quantizers": {"rounding": {}, "test-channel": {}}}  # fmt: skip
    sweep = {"curves": CELLS, "levels": [0.05, 0.2], "seed": 0}
    simulate.run({**spec, **axes, **sweep}, folder / "manifest.json", latents, [], out)
    return store.read(latents), store.read(out)


def test_a_context_run_anew_makes_the_test_channel_a_bound(simulated):
    _, found = simulated
    kinds = dict(zip(found["curve"].values, found["kind"].values))
    assert kinds == {"own": "achievable", "bound": "upper bound on R(D)",
                     "genie": "genie-aided estimate", "stale": "genie-aided estimate"}  # fmt: skip
    assert found["side_counted"].sel(curve=["own", "bound"]).all()


def test_the_codec_as_it_is_has_the_error_of_its_own_bitstream(simulated):
    latents, found = simulated
    assert found["mse"].sel(curve="own")[0, 0].item() == latents["mse"].item()


def test_a_higher_level_costs_fewer_bits(simulated):
    _, found = simulated
    low, high = found["bits"].sel(curve="bound")[0].values
    assert np.isfinite([low, high]).all() and low > high > 0
