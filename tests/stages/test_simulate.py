"""Simulation of cells of a codec with a context model."""

import numpy as np
import pytest
import torch
from PIL import Image

from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES
from rdpipe.io import store
from rdpipe.stages import extract_latents, prepare_dataset, simulate

CELLS = {
    "codec": {"mean": "codec", "variance": "codec", "quantizer": "rounding"},
    "bound": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"},
    "genie": {"mean": "codec", "variance": "window-5", "quantizer": "test-channel"},
    "stale": {"mean": "codec", "variance": "channel", "quantizer": "test-channel"},
}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Latents and simulation of an image, for a small network with a checkerboard context model."""
    folder = tmp_path_factory.mktemp("context")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    torch.manual_seed(0)
    model = ARCHITECTURES["mbt2018-checkerboard"][0](8, 12)
    with torch.no_grad():
        model.g_a[6].weight /= model.g_a(torch.rand(1, 3, 128, 128)).std() / 3
    torch.save(model.state_dict(), folder / "model.pt")
    entry = {"use": "folder", "args": {"root": str(folder), "pattern": "*.png"}}
    data = prepare_dataset.PrepareDatasetSpec(name="d", entry=entry, on_error="stop")
    prepare_dataset.run(data, folder / "manifest.json")
    entry = {
        "use": "compressai",
        "args": {
            "architecture": "mbt2018-checkerboard",
            "checkpoint": str(folder / "model.pt"),
        },
    }
    codec = {"dataset": "d", "codec": "c", "quality": 1, "entry": entry, "device": "cpu"}
    latents, out = folder / "latents.zarr.zip", folder / "simulation.zarr.zip"
    spec = extract_latents.ExtractLatentsSpec.from_mapping(codec)
    extract_latents.run(spec, folder / "manifest.json", folder / "images.zarr.zip", latents)
    sweep = {
        "means": {"codec": {}},
        "variances": {"codec": {}, "window-5": {}, "channel": {}},
        "quantizers": {"rounding": {}, "test-channel": {}},
        "curves": CELLS,
        "levels": [0.05, 0.2],
        "seed": 0,
    }
    spec = simulate.SimulateSpec.from_mapping({**codec, **sweep})
    simulate.run(spec, folder / "manifest.json", latents, [], out)
    return store.read(latents), store.read(out)


def test_context_model_that_runs_again_makes_the_test_channel_a_bound(simulated):
    _, simulation = simulated
    kinds = dict(zip(simulation["curve"].values, simulation["kind"].values, strict=True))
    assert kinds == {
        "codec": "achievable",
        "bound": "upper bound on R(D)",
        "genie": "genie-aided estimate",
        "stale": "genie-aided estimate",
    }
    assert simulation["includes_side"].sel(curve=["codec", "bound"]).all()


def test_codecs_own_cell_has_the_error_of_its_bitstream(simulated):
    latents, simulation = simulated
    assert simulation["mse"].sel(curve="codec")[0, 0].item() == latents["mse"].item()


def test_higher_level_costs_fewer_bits(simulated):
    _, simulation = simulated
    low, high = simulation["bits"].sel(curve="bound")[0].values
    assert np.isfinite([low, high]).all() and low > high > 0


def test_levels_have_their_kind_and_units(simulated):
    _, simulation = simulated
    assert simulation["bits"].dims == simulation["mse"].dims == ("curve", "image", "sweep")
    kinds = dict(zip(simulation["curve"].values, simulation["level_kind"].values, strict=True))
    assert kinds == {"codec": "step", "bound": "theta", "genie": "theta", "stale": "theta"}
    level = simulation["level"]
    assert level.attrs["units"] == "theta: squared latent units; step: latent units"
    assert level.sel(curve="bound").values.tolist() == [0.05, 0.2]
    assert level.sel(curve="codec")[0].item() == 1 and np.isnan(level.sel(curve="codec")[1].item())
