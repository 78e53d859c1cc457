"""The cells of a codec with and without its context model, through the stages."""

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from small_run import SmallRun, photographs

from rdpipe.analysis.context import context_frame
from rdpipe.codecs.compressai import mini_context
from rdpipe.core.assembly import assemble
from rdpipe.core.running import visit
from rdpipe.core.walk import Walk, ZeroWalk
from rdpipe.io import store
from rdpipe.stages import measure_gap
from rdpipe.stages.trace_bounds import by_run

ENTRIES = {"means": {"codec": {}}, "variances": {"codec": {}}, "quantizers": {"rounding": {}}}
KEY = "d", "mini-context"


def measure(run, component="context"):
    """Return the path of a slice of the array."""
    path = run.folder / f"{component}.zarr.zip"
    fields = {"slices": [{"component": component, **ENTRIES}], "matching": "image", "seed": 0}
    measure_gap.run(measure_gap.MeasureGapSpec.from_mapping(fields), [run.latents], [], [path])
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return SmallRun(tmp_path_factory.mktemp("context"), photographs(2), codec="mini-context")


def code_length(y, mean, scale):
    """Return the bits of rounded residuals under Gaussians, by differences of their CDF."""
    q = torch.round(y - mean).abs().numpy()
    sigma = scale.numpy()
    return -np.log2(ndtr((0.5 - q) / sigma) - ndtr((-0.5 - q) / sigma)).sum()


def test_rates_are_those_of_the_predictions_with_and_without_decoded_latents(run):
    frame = context_frame({KEY: {2: run.table}}, by_run([measure(run)], "context"))
    codec, expected = mini_context(2, "cpu"), []
    for pixels, side in zip(run.images, run.table["side_bits"].values, strict=True):
        walks = ZeroWalk(), Walk()
        for walk in walks:
            visit(codec, walk, pixels)
        without, full = (assemble(walk.record)["y"] for walk in walks)
        y = full.y.double()
        means, scales = ((without.mean, full.mean), (without.scale, full.scale))
        bits = [[code_length(y, m.double(), s.double()) for s in scales] for m in means]
        expected.append((np.array(bits) + side) / (pixels.shape[0] * pixels.shape[1]))
    (neither, variance), (mean, both) = np.mean(expected, axis=0)
    rates = frame[frame["quantity"] == "rate"].set_index("context")["bpp"]
    expected = {"neither": neither, "mean": mean, "variance": variance, "both": both}
    assert rates.to_dict() == pytest.approx(expected, rel=2e-3)  # escapes have a code
    model = (run.table["latent_bits"] + run.table["side_bits"]) / run.table["pixels"]
    assert rates["both"] == pytest.approx(model.mean().item(), rel=1e-3)
    assert rates["both"] < rates["neither"]
    ratio = frame.set_index(["quantity", "context"])["latent_mse_ratio"]["rate"]
    assert ratio["mean"] == ratio["both"] == 1 and ratio["neither"] == ratio["variance"]
    assert ratio["neither"] == pytest.approx(1, abs=0.05)


def test_only_the_component_of_the_context_has_the_cells(run):
    path = measure(run)
    assert store.has_group(path, "context") and not store.has_group(
        measure(run, "variance"), "context"
    )
    along_the_axis = store.read(path)["bits"].squeeze()
    cells = store.read(path, "context")["bits"].squeeze()
    assert (
        cells.sel(mean="codec", variance="codec").values.tolist() == along_the_axis.values.tolist()
    )


def test_codec_without_a_context_model_has_no_such_cells(tmp_path):
    run = SmallRun(tmp_path, photographs(1))
    path = measure(run)
    assert not store.has_group(path, "context") and by_run([path], "context") == {}
