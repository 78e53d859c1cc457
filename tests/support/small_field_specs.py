"""Specifications of stages on two small Gaussian fields, for tests."""

from rdpipe.stages import prepare_dataset

SOURCE = {"rho": 0.9, "sigma": 40, "size": 64}
CODEC = {
    "dataset": "field",
    "codec": "dct",
    "quality": 1,
    "entry": {"args": {**SOURCE, "steps": [20]}},
    "device": "cpu",
}
ENTRIES = {
    "means": {"codec": {}},
    "variances": {"codec": {}},
    "quantizers": {"rounding": {}, "test-channel": {}},
}
GAP = {"slices": [{"component": "joint", **ENTRIES}], "matching": "image", "seed": 0}
LIMIT = {"mean": "codec", "variance": "codec", "quantizer": "test-channel"}


def prepare_fields(manifest):
    """Write the manifest of the fields."""
    entry = {"use": "gaussian-field", "args": {**SOURCE, "count": 2}}
    data = prepare_dataset.PrepareDatasetSpec(name="field", entry=entry, on_error="stop")
    prepare_dataset.run(data, manifest)
