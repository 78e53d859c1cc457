"""Refined latents of a few small images: resumption, shards, slopes and errors."""

import numpy as np
import pytest
import torch
from small_run import SmallRun, photographs

from rdpipe.codecs.compressai import mini_mean_scale
from rdpipe.core.errors import InputError
from rdpipe.io import store
from rdpipe.refinement.refine import Refiner, Settings
from rdpipe.refinement.spec import RefinedFor
from rdpipe.stages import extract_latents, refine_latents
from rdpipe.stages.extract_latents import ExtractLatentsSpec
from rdpipe.stages.refine_latents import RefineLatentsSpec

IMAGES = photographs(3)
EXTRACTION = ExtractLatentsSpec(
    dataset="photographs",
    codec="better",
    quality=2,
    entry={"use": "mini-mean-scale"},
    device="cpu",
)


def spec_of(quality=2, neighbors=(2,), shard=(0, 1), slope=None, **settings):
    refinement = {"codec": "mini-mean-scale", "steps": 3, **settings}
    return RefineLatentsSpec.from_mapping(
        {
            "dataset": "photographs",
            "codec": "better",
            "quality": quality,
            "entry": {"use": "mini-mean-scale"},
            "device": "cpu",
            "shard": shard,
            "refinement": refinement,
            "neighbors": list(neighbors),
            "slope": slope,
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return SmallRun(tmp_path_factory.mktemp("run"), IMAGES)


def refine(run, folder, spec=None, name="refined"):
    out = folder / f"{name}.zarr.zip"
    spec = spec_of(slope=0.005) if spec is None else spec
    refine_latents.run(spec, run.manifest, folder / "state", out)
    return out


def test_interrupted_refinement_continues(run, tmp_path, monkeypatch):
    """Images that are finished are read from the side folder, which a complete run deletes."""
    whole = store.read(refine(run, tmp_path, name="whole"))
    assert not (tmp_path / "state").exists()
    calls, refine_image = [], Refiner.refine

    def interrupted(refiner):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(refiner)
        return refine_image(refiner)

    monkeypatch.setattr(Refiner, "refine", interrupted)
    with pytest.raises(KeyboardInterrupt):
        refine(run, tmp_path)
    assert len(list((tmp_path / "state").iterdir())) == 1
    assert not (tmp_path / "refined.zarr.zip").exists()
    monkeypatch.setattr(Refiner, "refine", lambda r: calls.append(r) or refine_image(r))
    path = refine(run, tmp_path)
    assert len(calls) == 3  # the first image was not refined again
    same = [name for name in whole.data_vars if name != "seconds"]
    assert store.read(path)[same].identical(whole[same])
    for group in ("0/y", "2/z"):
        pair = (store.read(x, group) for x in (path, tmp_path / "whole.zarr.zip"))
        assert next(pair).identical(next(pair))


def test_state_of_other_settings_or_weights_is_not_used():
    """The key of the state changes with the image, the weights and every setting."""
    first, second = IMAGES[:2]
    codec, other = mini_mean_scale(2), mini_mean_scale(2)
    with torch.no_grad():
        other.model.g_s[-1].bias += 0.5  # only the decoder
    settings = Settings(0.005)
    refiners = [
        Refiner(codec, "a", first, settings),
        Refiner(codec, "a", second, settings),
        Refiner(other, "a", first, settings),
        Refiner(codec, "a", first, Settings(0.006)),
        Refiner(codec, "a", first, Settings(0.005, steps=4)),
        Refiner(codec, "a", first, Settings(0.005, seed=1)),
        Refiner(codec, "a", first, Settings(0.005, quantizer=RefinedFor.TEST_CHANNEL)),
    ]
    keys = [refine_latents.key_of(refiner) for refiner in refiners]
    assert len(set(keys)) == len(keys)
    assert refine_latents.key_of(Refiner(codec, "a", first, settings)) == keys[0]


def test_shards_are_the_whole(run, tmp_path):
    specs = [spec_of(shard=(i, 2), slope=0.005) for i in range(2)]
    shards = [refine(run, tmp_path, spec, f"shard{i}") for i, spec in enumerate(specs)]
    whole, joined = store.read(refine(run, tmp_path)), store.join_shards(shards)
    np.testing.assert_array_equal(joined["bits"], whole["bits"])


def test_slope_is_that_of_the_curve_and_is_recorded(run, tmp_path):
    specs = spec_of(neighbors=(1, 2, 3)), spec_of(), spec_of(lambda_factor=2.0)
    slopes = [store.read(refine(run, tmp_path, spec)).attrs["slope"] for spec in specs]
    assert 0.002 < slopes[0] < 0.02 and 0.002 < slopes[1] < 0.02
    assert slopes[2] == pytest.approx(2 * slopes[1])


def test_extraction_measures_the_refined_latents(run, tmp_path):
    refined = refine(run, tmp_path)
    table = tmp_path / "images.zarr.zip"
    latents = tmp_path / "latents.zarr.zip"
    extract_latents.run(EXTRACTION, run.manifest, table, latents, [refined])
    measured, expected = store.read(table), store.read(refined)
    bits = measured["latent_bits"] + measured["side_bits"]
    np.testing.assert_allclose(bits, expected["bits"], rtol=1e-3)
    np.testing.assert_allclose(measured["mse"], expected["mse"], rtol=1e-3)
    np.testing.assert_array_equal(
        store.read(latents, "1/y")["y"].values, store.read(refined, "1/y")["elements"].values
    )


def test_images_that_were_not_refined_are_an_error(run, tmp_path):
    refined = refine(run, tmp_path, spec_of(shard=(0, 3), slope=0.005))
    with pytest.raises(InputError, match="not among the 1 images whose latents were refined"):
        extract_latents.run(
            EXTRACTION, run.manifest, tmp_path / "t.zarr.zip", tmp_path / "l.zarr.zip", [refined]
        )
