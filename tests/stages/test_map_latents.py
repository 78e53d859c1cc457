"""Maps of a codec on small Gaussian fields."""

import numpy as np
import pytest
from small_field_specs import CODEC, ENTRIES, GAP, LIMIT, prepare_fields

from rdpipe.io import store
from rdpipe.stages import extract_latents, map_latents, measure_gap


def test_error_map_has_the_error_of_the_codec(tmp_path):
    """Its mean over positions is the MSE that ``extract_latents`` measured."""
    manifest, images, latents, joint, out = (
        tmp_path / name
        for name in ("m.json", "i.zarr.zip", "l.zarr.zip", "j.zarr.zip", "o.zarr.zip")
    )
    prepare_fields(manifest)
    spec = extract_latents.ExtractLatentsSpec.from_mapping(CODEC)
    extract_latents.run(spec, manifest, images, latents)
    measure_gap.run(measure_gap.MeasureGapSpec.from_mapping(GAP), [latents], [], [joint])
    mapped = {**CODEC, **ENTRIES, "seed": 0, "limits": {"bound": LIMIT}}
    spec = map_latents.MapLatentsSpec.from_mapping(mapped)
    map_latents.run(spec, manifest, latents, joint, [], out)
    assert not store.read(out)["content_pixels"].any()  # fields are no photographs
    for i, expected in enumerate(store.read(images)["mse"].values):
        error = store.read(out, str(i))["mse"]
        assert error.size > 1 and np.ptp(error.values) > 0
        assert float(error.mean()) == pytest.approx(expected, rel=1e-6)
