"""Simulation of cells at the quality of the codec's own pictures."""

import sys

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from small_run import SmallRun, cells, photographs

from rdpipe.codecs.building import build_codec
from rdpipe.core.running import decode_image
from rdpipe.core.walk import Walk
from rdpipe.io import store

OWN, DEADZONE, BOUND, GENIE, STALE = (
    "codec/codec/rounding",
    "codec/codec/deadzone",
    "codec/codec/test-channel",
    "codec/window-5/test-channel",
    "codec/channel/test-channel",
)
CELLS = cells(OWN, DEADZONE, BOUND, GENIE, STALE)
SOLVED = [DEADZONE, BOUND, GENIE, STALE]
CODEC_OF_GRID = '''
import torch

from rdpipe.entropy.priors import Gaussian


class Grid:
    """Decodes integers to multiples of 7, and anything else to black."""

    multiple = 1

    def __init__(self, quality):
        pass

    def code(self, image, size, send):
        scale = torch.full((1, 3, *size), 20.0)
        y_hat = send("y", Gaussian(0 * scale, scale), None if image is None else image * 255 / 7)
        on_grid = torch.equal(y_hat, y_hat.round())
        return y_hat * 7 / 255 if on_grid else 0 * y_hat
'''


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """Two images of a codec with a context model."""
    return SmallRun(tmp_path_factory.mktemp("context"), photographs(2), "mini-context")


@pytest.fixture(scope="module")
def simulated(context):
    return store.read(context.simulate(CELLS))


@pytest.fixture(scope="module")
def own_psnr(context):
    """PSNR of the codec's own pictures, by another library."""
    codec = build_codec("mini-context", 2, {}, "cpu")
    return np.array(
        [
            peak_signal_noise_ratio(pixels, decode_image(codec, Walk(), pixels))
            for pixels in context.images
        ]
    )


def psnr(simulation, curve):
    return 10 * np.log10(255**2 / simulation["mse"].sel(curve=curve).values)


def of_curve(simulation, name):
    """Return a coordinate over curve as a dict."""
    return dict(zip(simulation["curve"].values, simulation[name].values, strict=True))


def test_context_model_that_runs_again_makes_the_test_channel_a_bound(simulated):
    assert of_curve(simulated, "kind") == {
        OWN: "achievable",
        DEADZONE: "achievable",
        BOUND: "upper bound on R(D)",
        GENIE: "genie-aided estimate",
        STALE: "genie-aided estimate",
    }
    assert simulated["includes_side"].all()  # all have the codec's mean


def test_codecs_own_cell_is_not_solved_for(simulated, context):
    cell = simulated.sel(curve=OWN)
    np.testing.assert_array_equal(cell["mse"], context.table["mse"])
    np.testing.assert_allclose(cell["bits"], context.table["latent_bits"], rtol=0.01)
    assert (cell["level"] == 1).all() and (cell["syntheses"] == 0).all()


@pytest.mark.parametrize("curve", SOLVED)
def test_cell_has_the_psnr_of_the_codecs_picture_for_each_image(simulated, own_psnr, curve):
    np.testing.assert_allclose(psnr(simulated, curve), own_psnr, atol=0.05)
    cell = simulated.sel(curve=curve)
    assert (cell["reason"] == "").all() and len(set(cell["level"].values)) == 2
    assert ((cell["syntheses"] >= 1) & (cell["syntheses"] <= 13)).all()  # 12 levels, one again


def test_fixed_level_is_used_as_it_is(simulated, context):
    """At its own level an image costs the same, without the bits of a level that is solved for."""
    level = simulated["level"].sel(curve=BOUND)[1].item()
    fixed = store.read(context.simulate(CELLS, out="fixed", level=level))
    assert (fixed["level"].sel(curve=[BOUND, GENIE, STALE]) == level).all()
    solved, again = (table.sel(curve=BOUND).isel(image=1) for table in (simulated, fixed))
    assert again["mse"].item() == solved["mse"].item()
    assert again["bits"].item() == pytest.approx(solved["bits"].item() - 32, abs=1e-6)
    assert (fixed["syntheses"].sel(curve=SOLVED) == 1).all()
    assert (fixed["level"].sel(curve=OWN) == 1).all()


def test_cells_with_the_same_pictures_share_them(context):
    """The variance changes the bits of rounded latents, not the latents."""
    names = ["zero/codec/rounding", "zero/channel/rounding"]
    simulation = store.read(context.simulate(cells(*names), out="shared"))
    first, second = (simulation.sel(curve=name) for name in names)
    assert (first["syntheses"] > 0).all() and (second["syntheses"] == 0).all()
    for name in ("mse", "ms_ssim", "level"):
        np.testing.assert_array_equal(first[name], second[name])
    assert (first["bits"] != second["bits"]).all()
    alone = store.read(context.simulate(cells(names[1]), out="alone")).isel(curve=0)
    for name in ("bits", "mse", "ms_ssim", "level"):
        np.testing.assert_array_equal(alone[name], second[name])


def test_higher_level_costs_fewer_bits_and_quality(context):
    bound = cells(BOUND, DEADZONE)
    low, middle, high = (
        store.read(context.simulate(bound, out="fixed", level=level)) for level in (0.3, 0.6, 1.2)
    )
    for lower, higher in ((low, middle), (middle, high)):
        assert (lower["bits"] > higher["bits"]).all() and (higher["bits"] > 0).all()
        assert (lower["mse"] < higher["mse"]).all()


def test_level_of_the_dataset_gives_the_mean_psnr_of_the_codec(simulated, context, own_psnr):
    """One level for all images, between those of the images, whose bits are not counted."""
    path = context.simulate(CELLS, out="dataset", matching="dataset")
    whole = store.read(path)
    for curve in SOLVED:
        levels = whole["level"].sel(curve=curve).values
        assert len(set(levels)) == 1
        of_images = simulated["level"].sel(curve=curve).values
        assert of_images.min() < levels[0] < of_images.max()
        difference = psnr(whole, curve) - own_psnr
        assert abs(difference.mean()) < 0.05 and abs(difference).max() > 0.005
    level = whole["level"].sel(curve=BOUND)[0].item()
    fixed = store.read(context.simulate(cells(BOUND), out="fixed", level=level))
    np.testing.assert_allclose(fixed["bits"][0], whole["bits"].sel(curve=BOUND), rtol=1e-12)


def test_simulation_has_its_kinds_and_units(simulated):
    for name in ("bits", "mse", "ms_ssim", "level", "syntheses", "reason"):
        assert simulated[name].dims == ("curve", "image")
    assert of_curve(simulated, "level_kind") == {OWN: "step", DEADZONE: "step"} | dict.fromkeys(
        (BOUND, GENIE, STALE), "theta"
    )
    assert simulated["level"].attrs["units"] == "theta: squared latent units; step: latent units"
    assert simulated["bits"].attrs["units"] == "bit"
    assert simulated["measure"].item() == "psnr"
    assert simulated["ms_ssim"].isnull().all()  # the images are too small to have one


def test_cell_that_cannot_reach_the_quality_is_missing_with_its_reason(tmp_path, monkeypatch):
    (tmp_path / "codec_of_grid.py").write_text(CODEC_OF_GRID)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        run = SmallRun(tmp_path, photographs(1), "grid", {"use": "codec_of_grid:Grid"})
        simulation = store.read(run.simulate(cells(OWN, BOUND)))
    finally:
        sys.modules.pop("codec_of_grid", None)
    codec, bound = (simulation.sel(curve=curve).isel(image=0) for curve in (OWN, BOUND))
    assert codec["reason"].item() == "" and codec["mse"].item() == run.table["mse"].item()
    black = 10 * np.log10(255**2 / np.square(run.images[0].astype(float)).mean())
    target = 10 * np.log10(255**2 / run.table["mse"].item())
    reason = bound["reason"].item()
    assert reason.startswith("levels from ")
    assert reason.endswith(f" give {black:.2f} to {black:.2f} dB, not {target:.2f} dB")
    assert all(np.isnan(bound[name].item()) for name in ("bits", "mse", "ms_ssim", "level"))


def test_ms_ssim_may_be_what_is_equal(tmp_path):
    """An image with a side of fewer than 161 pixels has none, so its cells have no level."""
    images = [*photographs(1, 176, 176, top=0), *photographs(1)]
    run = SmallRun(tmp_path, images)
    simulation = store.read(run.simulate(cells(OWN, BOUND), measure="ms-ssim"))
    similarity = simulation["ms_ssim"].isel(image=0)
    assert similarity.sel(curve=OWN).item() == pytest.approx(run.table["ms_ssim"][0].item())
    codec, bound = -10 * np.log10(1 - similarity.sel(curve=[OWN, BOUND]).values)
    assert bound == pytest.approx(codec, abs=0.05)
    missing = simulation.sel(curve=BOUND).isel(image=1)
    assert np.isnan(missing["bits"].item()) and missing["reason"].item()
    assert simulation["measure"].item() == "ms-ssim"
