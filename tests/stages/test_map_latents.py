"""Maps of a codec on small Gaussian fields, and on a photograph."""

import numpy as np
import pytest
import skimage.data
from PIL import Image
from small_field_specs import CODEC, ENTRIES, GAP, LIMIT, prepare_fields

from rdpipe.io import store
from rdpipe.stages import extract_latents, map_latents, measure_gap, prepare_dataset


def mapped(folder, codec):
    """Return the stores of ``extract_latents`` and ``map_latents`` of a codec."""
    manifest, images, latents, joint, out = (
        folder / name for name in ("m.json", "i.zarr.zip", "l.zarr.zip", "j.zarr.zip", "o.zarr.zip")
    )
    spec = extract_latents.ExtractLatentsSpec.from_mapping(codec)
    extract_latents.run(spec, manifest, images, latents)
    measure_gap.run(measure_gap.MeasureGapSpec.from_mapping(GAP), [latents], [], [joint])
    entries = {**codec, **ENTRIES, "seed": 0, "limits": {"bound": LIMIT}}
    spec = map_latents.MapLatentsSpec.from_mapping(entries)
    map_latents.run(spec, manifest, latents, joint, [], out)
    return images, out


def test_error_map_has_the_error_of_the_codec(tmp_path):
    """Its mean over positions is the MSE that ``extract_latents`` measured."""
    prepare_fields(tmp_path / "m.json")
    images, out = mapped(tmp_path, CODEC)
    assert not store.read(out)["content_pixels"].any()  # fields have no 8-bit levels
    for i, expected in enumerate(store.read(images)["mse"].values):
        error = store.read(out, str(i))["mse"]
        assert error.size > 1 and np.ptp(error.values) > 0
        assert float(error.mean()) == pytest.approx(expected, rel=1e-6)


def test_classes_of_content_have_all_pixels_and_the_whole_error(tmp_path):
    """And all bits of an image without padding; the distortions are equal over the whole image."""
    (tmp_path / "images").mkdir()
    Image.fromarray(skimage.data.chelsea()[:128, :192]).save(tmp_path / "images" / "cat.png")
    entry = {"use": "folder", "args": {"root": str(tmp_path / "images")}}
    data = prepare_dataset.PrepareDatasetSpec(name="photos", entry=entry, on_error="stop")
    prepare_dataset.run(data, tmp_path / "m.json")
    codec = {**CODEC, "dataset": "photos", "codec": "mini-mean-scale", "entry": {}}
    images, out = mapped(tmp_path, codec)
    table, maps = store.read(images).isel(image=0), store.read(out).isel(image=0)
    assert maps["content_pixels"].sum() == 128 * 192
    assert (maps["content_pixels"] > 0).sum() > 1
    error = maps["content_error"].sum().item() / (128 * 192)
    assert error == pytest.approx(table["mse"].item(), rel=1e-6)
    bits = maps["content_bits"].sum("content").values
    np.testing.assert_allclose(bits, maps["bits"].sum("channel").values, rtol=1e-6)
    rounding, channel = maps["content_latent_error"].sum("content").values
    assert channel == pytest.approx(rounding, rel=0.02)  # of one draw of the noise
