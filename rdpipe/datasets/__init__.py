"""Data sets: functions ``find(**args)`` that return the images as :class:`~manifest.Source`."""

DATASETS = {
    "folder": "rdpipe.datasets.folder:find",
    "sample": "rdpipe.datasets.sample:find",
    "sample-calibration": "rdpipe.datasets.sample:find_calibration",
}
