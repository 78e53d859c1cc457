"""Data sets: functions ``find(**args)`` that return the images as :class:`~rdpipe.datasets.source.Source`."""

DATASETS = {
    "gaussian-field": "rdpipe.datasets.gaussian_field:find",
    "folder": "rdpipe.datasets.folder:find",
    "sample": "rdpipe.datasets.sample:find",
    "sample-calibration": "rdpipe.datasets.sample:find_calibration",
}
