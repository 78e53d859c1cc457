"""What hooks see of CompressAI's architectures, against the adapter that is written for them."""

import pytest
import torch
from small_models import IMAGE, RASTER_SCAN, VARIABLE_RATE, adapt, coding_model

from rdpipe.codecs.automatic import AutomaticCodec
from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES
from rdpipe.codecs.gain import decoder_gain
from rdpipe.core.assembly import assemble
from rdpipe.core.errors import InputError
from rdpipe.core.running import run, to_tensor
from rdpipe.core.walk import Coded, Walk

ARRAYS = ("y", "mean", "scale", "index", "bits")


class DoubleStep(Walk):
    """Rounds to every second point of the grid."""

    def decode(self, part):
        self.record.append(Coded(part, 2 * (part.index() / 2).round()))
        return part.point(self.record[-1].index)


@pytest.fixture(params=[n for n in ARCHITECTURES if n not in RASTER_SCAN | VARIABLE_RATE])
def supported(request):
    return coding_model(request.param)


@pytest.mark.parametrize("architecture", ["mbt2018", "mbt2018-mean-vbr"])
def test_a_forward_pass_that_is_not_the_codec_is_refused(architecture):
    with pytest.raises(InputError, match="rounds what no entropy model codes"):
        AutomaticCodec(coding_model(architecture), "cpu")


def test_image_and_bits_are_those_of_the_forward_pass(supported):
    codec, walk = AutomaticCodec(supported, "cpu"), Walk()
    decoded = run(codec, walk, IMAGE)
    with torch.no_grad():
        output = supported(to_tensor(codec, IMAGE))
    assert torch.equal(decoded, output["x_hat"])
    wholes = assemble(walk.record)
    assert wholes.keys() == output["likelihoods"].keys()
    for name, likelihood in output["likelihoods"].items():
        expected = -likelihood.double().log2().sum().item()
        assert wholes[name].bits.sum().item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("make_walk", [Walk, DoubleStep])
def test_any_quantizer_gives_what_the_adapter_gives(supported, make_walk):
    theirs = make_walk()
    expected = run(adapt(supported), theirs, IMAGE)
    ours = make_walk()
    decoded = run(AutomaticCodec(supported, "cpu"), ours, IMAGE)
    torch.testing.assert_close(decoded, expected, rtol=1e-4, atol=1e-4)
    ours, theirs = assemble(ours.record), assemble(theirs.record)
    assert ours.keys() == theirs.keys()
    for name, whole in ours.items():
        assert whole.side is theirs[name].side
        for field in ARRAYS:
            actual, desired = getattr(whole, field), getattr(theirs[name], field)
            torch.testing.assert_close(actual, desired, rtol=1e-3, atol=1e-3)


def test_the_gain_is_that_of_the_adapter(supported):
    theirs = decoder_gain(adapt(supported), "a", IMAGE)
    ours = decoder_gain(AutomaticCodec(supported, "cpu"), "a", IMAGE)
    torch.testing.assert_close(ours["y"], theirs["y"], rtol=1e-3, atol=0.0)
