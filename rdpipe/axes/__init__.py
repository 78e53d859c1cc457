"""The three axes and the labelled array over them (SCIENCE.md, section 2).

The registries give the names that configs, coordinates and plots use. ``window-5`` is the family
``window`` with the number 5; ``module:attribute`` is an estimator of one's own.
"""

import lazy_loader

MEANS = {
    "zero": "rdpipe.axes.mean:Zero",
    "hyper": "rdpipe.axes.mean:Hyper",
    "codec": "rdpipe.axes.mean:Codec",
    "linear-causal": "rdpipe.axes.mean:LinearCausal",
    "network": "rdpipe.axes.network:Network",
    "accuracy": "rdpipe.axes.mean:Accuracy",
}
VARIANCES = {
    "codec": "rdpipe.axes.variance:Codec",
    "calibrated": "rdpipe.axes.variance:Calibrated",
    "causal-window": "rdpipe.axes.variance:CausalWindow",
    "block": "rdpipe.axes.variance:Block",
    "channel": "rdpipe.axes.variance:Channel",
    "searched-channel": "rdpipe.axes.variance:SearchedChannel",
    "window": "rdpipe.axes.variance:Window",
    "element": "rdpipe.axes.variance:Element",
}
QUANTIZERS = {
    "codec": "rdpipe.axes.quantizer:Codec",
    "rounding": "rdpipe.axes.quantizer:Rounding",
    "dithered": "rdpipe.axes.quantizer:Dithered",
    "dithered-wiener": "rdpipe.axes.quantizer:DitheredWiener",
    "deadzone": "rdpipe.axes.quantizer:DeadZone",
    "lattice-e8": "rdpipe.axes.lattice:LatticeE8",
    "trellis": "rdpipe.axes.trellis:Trellis",
    "test-channel": "rdpipe.axes.quantizer:TestChannel",
    "weighted-test-channel": "rdpipe.axes.weighted:WeightedTestChannel",
}
TABLES = {"mean": MEANS, "variance": VARIANCES, "quantizer": QUANTIZERS}
"""The registry of each axis."""
START = {"mean": "codec", "variance": "codec", "quantizer": "rounding"}
"""The codec as it is: the corner of the array that every gap starts from."""
TRAINED_LEVEL = 1 / 12
"""Water level that networks are trained at for the test channel, squared latent units: rounding's noise."""
GENIE = "genie-aided estimate"
"""What a cell with a genie in it may be called."""


def cell_name(cell: dict[str, str]) -> str:
    """``mean/variance/quantizer``, the name of a cell's curve."""
    return "/".join(cell[axis] for axis in START)


__getattr__, __dir__, _ = lazy_loader.attach(__name__, submod_attrs={"cube": ["evaluate"]})
