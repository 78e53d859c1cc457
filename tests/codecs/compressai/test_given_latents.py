"""Codecs that code given latents: raster scans all at once, and CompressAI's own bitstream."""

import numpy as np
import pytest
import torch
from small_models import IMAGE, RASTER_SCAN, REPRESENTATIVE, VARIABLE_RATE, adapt, coding_model

from rdpipe.codecs.bitstream import decode, encode
from rdpipe.core.assembly import assemble
from rdpipe.core.errors import InputError
from rdpipe.core.running import decode_image, padded_size, run, to_tensor
from rdpipe.core.walk import Walk
from rdpipe.refinement.codec import fingerprint, refined_codec
from rdpipe.refinement.refine import Refiner, Settings


class Given:
    """A send that decodes given latents, and keeps the prior of y."""

    def __init__(self, y_hat, z_hat):
        self.y_hat, self.z_hat = y_hat, z_hat

    def __call__(self, name, prior, y=None, **options):
        return self.z_hat

    def send_with_context(self, name, predict):
        self.prior = predict(self.y_hat)
        return self.y_hat


@pytest.fixture(scope="module", params=sorted(RASTER_SCAN - VARIABLE_RATE))
def codec(request):
    return adapt(coding_model(request.param))


def test_predictions_and_image_are_those_of_the_raster_scan(codec):
    walk = Walk()
    image = run(codec, walk, IMAGE)
    wholes = assemble(walk.record)
    y_hat, z_hat = (
        (whole.offset + whole.step * whole.index).float()[None]
        for whole in (wholes["y"], wholes["z"])
    )
    replay = Given(y_hat, z_hat)
    with torch.no_grad():
        parallel = codec.code_parallel(padded_size(codec, *IMAGE.shape[:2]), replay)
    torch.testing.assert_close(replay.prior.mean[0], wholes["y"].mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(replay.prior.scale[0], wholes["y"].scale, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(parallel, image, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("architecture", ["mbt2018", "mbt2018-vbr"])
def test_latents_are_refined_at_once_and_coded_one_after_the_other(architecture):
    codec = adapt(coding_model(architecture))
    refiner = Refiner(codec, "image", IMAGE, Settings(1e-4, steps=12))
    bits = refiner.bits_in_graph(refiner.initial)  # on the grid of the entropy coder
    assert bits == pytest.approx(refiner.before.bits, rel=2e-3)
    refined = refiner.refine()
    assert refined.after.value < refined.before.value
    assert refined.graph_bits == pytest.approx(refined.after.bits, rel=0.1)
    assert refined.graph_bits != refined.after.bits
    latents = {fingerprint(to_tensor(codec, IMAGE)): refined.latents}
    encoder = refined_codec(codec, latents)
    decoded = decode(codec, encode(encoder, IMAGE))
    expected = decode_image(encoder, Walk(), IMAGE)
    assert np.abs(decoded.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("architecture", REPRESENTATIVE)
def test_bitstream_of_the_own_latents_is_that_of_the_image(architecture):
    codec = adapt(coding_model(architecture))
    walk = Walk()
    run(codec, walk, IMAGE)
    latents = {name: whole.y[None] for name, whole in assemble(walk.record).items()}
    assert codec.compress_latents(IMAGE, latents) == codec.compress(IMAGE)
    other = {name: latent + 1 for name, latent in latents.items()}
    assert codec.compress_latents(IMAGE, other) != codec.compress(IMAGE)


def test_other_orders_need_no_parallel_form():
    codec = adapt(coding_model("mbt2018-mean"))
    with pytest.raises(InputError, match="does not decode in raster scan; use code"):
        codec.code_parallel((64, 64), Given(None, None))
