"""Functions that find the images of a dataset, as :class:`~rdpipe.datasets.source.Source`."""

DATASETS = {
    "clic2020-professional": "rdpipe.datasets.published:clic2020_professional",
    "folder": "rdpipe.datasets.folder:find",
    "gaussian-field": "rdpipe.datasets.gaussian_field:find",
    "kodak": "rdpipe.datasets.kodak:find",
    "sample": "rdpipe.datasets.sample:find",
    "sample-calibration": "rdpipe.datasets.sample:find_calibration",
    "tecnick": "rdpipe.datasets.published:tecnick",
}
"""``module:attribute`` of each known dataset."""
PUBLISHED = ("clic2020-professional", "kodak", "tecnick")
"""The datasets that are downloaded."""
