"""Data sets: functions ``find(**args)`` that return the images as :class:`~rdpipe.datasets.source.Source`."""

DATASETS = {
    "clic2020-professional": "rdpipe.datasets.published:clic2020_professional",
    "gaussian-field": "rdpipe.datasets.gaussian_field:find",
    "folder": "rdpipe.datasets.folder:find",
    "kodak": "rdpipe.datasets.kodak:find",
    "sample": "rdpipe.datasets.sample:find",
    "sample-calibration": "rdpipe.datasets.sample:find_calibration",
    "tecnick": "rdpipe.datasets.published:tecnick",
}
