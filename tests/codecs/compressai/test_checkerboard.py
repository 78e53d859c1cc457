"""The checkerboard hyperprior against CompressAI's own latent codec."""

import torch
from small_models import coding_model

from rdpipe.codecs.compressai import decoding_order
from rdpipe.training.model import two_passes


def coded_side():
    """Return a model, its latents, and the output of its hyper-synthesis."""
    model = coding_model("mbt2018-checkerboard")
    with torch.no_grad():
        y = model.g_a(torch.rand(1, 3, 64, 128))
        z_hat, _ = model.entropy_bottleneck(model.h_a(y))
        return model, y, model.h_s(z_hat)


def test_two_passes_equal_the_decoding_order():
    """The context model in training predicts what the decoder does."""
    model, y, side = coded_side()

    def code_all(scales, means):
        return (y - means).round() + means

    expected_means, expected_scales = torch.zeros_like(y), torch.zeros_like(y)

    def send(mean, scale, at):
        for whole, half in ((expected_means, mean), (expected_scales, scale)):
            whole[:] = torch.where(at, half, whole)
        return torch.where(at, (y - mean).round() + mean, 0)

    with torch.no_grad():
        scales, means = two_passes(model, side, code_all)
        decoding_order.decoder(model)(side, send)
    torch.testing.assert_close(means, expected_means)
    torch.testing.assert_close(scales, expected_scales)


def test_second_pass_sees_only_the_first():
    model, y, side = coded_side()
    row, column = torch.arange(y.shape[2])[:, None], torch.arange(y.shape[3])
    second = (row + column) % 2 == 1
    with torch.no_grad():
        first = []
        scales, means = two_passes(model, side, lambda *prior: first.extend(prior) or y.round())
        first_scales, first_means = first
        changed = torch.where(second, y.round() + 7, y.round())
        same_scales, same_means = two_passes(model, side, lambda scales, means: changed)
    assert torch.equal(means, same_means) and torch.equal(scales, same_scales)
    torch.testing.assert_close(means[..., ~second], first_means[..., ~second])
    torch.testing.assert_close(scales[..., ~second], first_scales[..., ~second])
    assert not torch.allclose(means[..., second], first_means[..., second])


def test_bitstream_decodes_to_the_image_of_forward():
    model, _, _ = coded_side()
    x = torch.rand(1, 3, 64, 128)
    with torch.no_grad():
        expected = model(x)["x_hat"].clamp(0, 1)
        coded = model.compress(x)
        decoded = model.decompress(coded["strings"], coded["shape"])["x_hat"]
    torch.testing.assert_close(decoded, expected, atol=1e-3, rtol=1e-3)
