"""Small modules in the styles of published repositories, and their codecs, written by hand."""

import rdpipe.codecs.compressai  # noqa: F401 - before compressai

# isort: split
import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.models import CompressionModel
from compressai.models.utils import update_registered_buffers
from compressai.ops import quantize_ste
from torch import nn

from rdpipe.codecs.bottleneck import bottleneck_moments
from rdpipe.entropy.priors import Gaussian, Learned

CHANNELS, SIDE_CHANNELS = 6, 4


def ste_round(x):
    return torch.round(x) - x.detach() + x


def checkerboard(x):
    rows, columns = (torch.arange(length, device=x.device) for length in x.shape[2:])
    return ((rows[:, None] + columns) % 2 == 0).expand(x.shape)


class Hyperprior(nn.Module):
    """Transforms and a hyperprior; subclasses code y."""

    context = 0
    """Number of channels with which a prediction is made, besides those of the hyperprior."""
    predicted = CHANNELS

    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.g_a = nn.Conv2d(3, CHANNELS, 16, 16)
        self.g_s = nn.ConvTranspose2d(CHANNELS, 3, 16, 16)
        self.h_a = nn.Conv2d(CHANNELS, SIDE_CHANNELS, 4, 4)
        self.h_s = nn.ConvTranspose2d(SIDE_CHANNELS, CHANNELS, 4, 4)
        self.entropy_bottleneck = EntropyBottleneck(SIDE_CHANNELS)
        self.gaussian_conditional = GaussianConditional(None)
        self.predict = nn.Conv2d(CHANNELS + self.context, 2 * self.predicted, 3, padding=1)
        with torch.no_grad():
            self.g_a.weight *= 60
            self.predict.bias[self.predicted :] += 2.0
            self.entropy_bottleneck._update_quantiles()

    def means_and_scales(self, *inputs):
        mean, scale = self.predict(torch.cat(inputs, 1)).chunk(2, 1)
        return 3 * mean, scale

    def forward(self, x):
        y = self.g_a(x)
        z = self.h_a(y)
        _, z_likelihood = self.entropy_bottleneck(z)
        median = self.entropy_bottleneck._get_medians()
        z_hat = ste_round(z - median) + median
        y_hat, likelihood = self.code_y(y, self.h_s(z_hat))
        return {"x_hat": self.g_s(y_hat), "likelihoods": {"y": likelihood, "z": z_likelihood}}

    def code_y(self, y, side):
        mean, scale = self.means_and_scales(side)
        return self.gaussian_conditional(y, scale, mean)


class OwnLoading(Hyperprior):
    """Takes a whole state, and has no parameter ``strict`` (as most repositories do)."""

    def load_state_dict(self, state_dict):
        update_registered_buffers(
            self.gaussian_conditional,
            "gaussian_conditional",
            ["_quantized_cdf", "_offset", "_cdf_length", "scale_table"],
            state_dict,
        )
        super().load_state_dict(state_dict)


class CompressAIs(Hyperprior):
    """Loads its weights as CompressAI's models do."""

    load_state_dict = CompressionModel.load_state_dict


class Rates(Hyperprior):
    """A gain for each of three rates, chosen when the module is made or in its forward pass."""

    def __init__(self, rate: int, late: bool):
        super().__init__()
        self.gains, self.rate = [1.0, 2.0, 3.0], rate
        if not late:
            self.gains[rate]

    def forward(self, x):
        return super().forward(x * self.gains[self.rate])


class Slices(Hyperprior):
    """Groups of channels, with a prediction of the residual (TCM, WACNN)."""

    context, predicted = CHANNELS, CHANNELS // 3

    def __init__(self):
        super().__init__()
        self.residual = nn.Conv2d(CHANNELS + self.predicted, self.predicted, 3, padding=1)

    def inputs(self, side, past):
        filled = torch.cat([*past, side], 1)[:, :CHANNELS]
        return side, filled

    def correct(self, y_hat, side):
        return y_hat + 0.5 * torch.tanh(self.residual(torch.cat([side, y_hat], 1)))

    def code_y(self, y, side):
        decoded, likelihoods = [], []
        for part in y.chunk(3, 1):
            mean, scale = self.means_and_scales(*self.inputs(side, decoded))
            _, likelihood = self.gaussian_conditional(part, scale, mean)
            y_hat = ste_round(part - mean) + mean
            decoded.append(self.correct(y_hat, side))
            likelihoods.append(likelihood)
        return torch.cat(decoded, 1), torch.cat(likelihoods, 1)


class Halves(Hyperprior):
    """The halves of a checkerboard; the entropy model is called between their roundings (MLIC)."""

    context = CHANNELS

    def code_y(self, y, side):
        first = checkerboard(y)
        means, scales = self.means_and_scales(side, 0 * y)
        means, scales = means * first, scales * first
        anchors = (ste_round(y * first - means) + means) * 0.9
        means_2, scales_2 = (p * ~first for p in self.means_and_scales(side, anchors))
        _, likelihood = self.gaussian_conditional(y, scales + scales_2, means + means_2)
        others = ste_round(y * ~first - means_2) + means_2
        return anchors + others, likelihood


class Overwritten(Halves):
    """Everything is rounded in the first step, and one half is discarded (``twopass_faster``)."""

    def code_y(self, y, side):
        first = checkerboard(y)
        means, scales = (p * first for p in self.means_and_scales(side, 0 * y))
        anchors = (quantize_ste(y - means) + means) * first * 0.9
        means_2, scales_2 = (p * ~first for p in self.means_and_scales(side, anchors))
        y_hat, likelihood = self.gaussian_conditional(y, scales + scales_2, means + means_2)
        y_hat[first] = anchors[first]
        return y_hat, likelihood


class MaskedCalls(Halves):
    """An entropy model is called for each half, with the other half masked out."""

    def code_y(self, y, side):
        y_hat, likelihood = torch.zeros_like(y), 1.0
        for half in (checkerboard(y), ~checkerboard(y)):
            mean, scale = (p * half for p in self.means_and_scales(side, y_hat))
            part, of_part = self.gaussian_conditional(y * half, scale, means=mean)
            y_hat = y_hat + 0.9 ** half[0, 0, 0, 0] * part
            likelihood = likelihood * torch.where(half, of_part, 1.0)
        return y_hat, likelihood


class FullCalls(Halves):
    """An entropy model is called for all elements twice, and half of each is used."""

    def code_y(self, y, side):
        y_hat, likelihood = torch.zeros_like(y), 1.0
        for half in (checkerboard(y), ~checkerboard(y)):
            mean, scale = self.means_and_scales(side, y_hat)
            _, of_part = self.gaussian_conditional(y, scale, mean)
            part = ste_round(y * half - mean * half) + mean * half
            y_hat = y_hat + 0.9 ** half[0, 0, 0, 0] * part
            likelihood = likelihood * torch.where(half, of_part, 1.0)
        return y_hat, likelihood


class Residuals(Halves):
    """The residual is rounded step by step, and coded as a whole (HPCM)."""

    def code_y(self, y, side):
        y_hat, residuals, scales = torch.zeros_like(y), 0.0, 0.0
        for half in (checkerboard(y), ~checkerboard(y)):
            mean, scale = self.means_and_scales(side, y_hat)
            residual = (y - mean) * half
            y_hat = y_hat + 0.9 ** half[0, 0, 0, 0] * (ste_round(residual) + mean * half)
            residuals, scales = residuals + residual, scales + scale * half
        _, likelihood = self.gaussian_conditional(residuals, scales)
        return y_hat, likelihood


class Hierarchy(nn.Module):
    """Latents of three strides, each of which depends on those decoded before (QARV)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.views = nn.ModuleList(nn.Conv2d(3, 4, k, k) for k in (64, 32, 16))
        self.posteriors = nn.ModuleList(nn.Conv2d(8, 2, 3, padding=1) for _ in range(3))
        self.priors = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.fuse = nn.ModuleList(nn.Conv2d(2, 4, 1) for _ in range(3))
        self.conditionals = nn.ModuleList(GaussianConditional(None) for _ in range(3))
        self.g_s = nn.ConvTranspose2d(4, 3, 16, 16)
        with torch.no_grad():
            for layer in self.posteriors:
                layer.weight *= 20

    def start(self, size):
        return self.g_s.bias.new_ones(1, 4, size[0] // 64, size[1] // 64)

    def step(self, k, features, x):
        mean, scale = self.priors[k](features).chunk(2, 1)
        y = self.posteriors[k](torch.cat([features, self.views[k](x)], 1))
        return y, mean, scale + 1.5

    def join(self, k, features, y_hat):
        features = torch.tanh(features + self.fuse[k](y_hat))
        return features if k == 2 else nn.functional.interpolate(features, scale_factor=2.0)

    def forward(self, x):
        features, bits = self.start(x.shape[2:]), 0.0
        for k, conditional in enumerate(self.conditionals):
            y, mean, scale = self.step(k, features, x)
            y_hat, likelihood = conditional(y, scale, mean)
            features = self.join(k, features, y_hat)
            bits = bits - likelihood.log2().sum()
        return bits, self.g_s(features)


class HandWritten:
    """The codec of a module, in the contract of rdpipe; subclasses code y."""

    multiple = 64

    def __init__(self, module):
        self.m = module.eval().requires_grad_(False)

    def code(self, x, size, send):
        density = self.m.entropy_bottleneck
        y = self.m.g_a(x)
        z = self.m.h_a(y)
        mean, scale = (moment.expand_as(z) for moment in bottleneck_moments(density))

        def logits(v):
            flat = v.transpose(0, 1).reshape(SIDE_CHANNELS, 1, -1)
            values = density._logits_cumulative(flat, False)
            return values.reshape(v.transpose(0, 1).shape).transpose(0, 1)

        z_hat = send("z", Learned(logits, mean, scale, 1e-9), z, side=True)
        return self.m.g_s(self.code_y(y, self.m.h_s(z_hat), send))

    def code_y(self, y, side, send):
        mean, scale = self.m.means_and_scales(side)
        return send("y", self.prior(mean, scale), y)

    @staticmethod
    def prior(mean, scale):
        return Gaussian(mean, scale.clamp(min=0.11), 1e-9)


class HandWrittenSlices(HandWritten):
    def code_y(self, y, side, send):
        decoded = []
        for part in y.chunk(3, 1):
            mean, scale = self.m.means_and_scales(*self.m.inputs(side, decoded))
            y_hat = send("y", self.prior(mean, scale), part)
            decoded.append(self.m.correct(y_hat, side))
        return torch.cat(decoded, 1)


class HandWrittenHalves(HandWritten):
    def code_y(self, y, side, send):
        y_hat, first = torch.zeros_like(y), checkerboard(y)
        for half, factor in ((first, 0.9), (~first, 1.0)):
            prior = self.prior(*self.m.means_and_scales(side, y_hat))
            y_hat = y_hat + factor * send("y", prior, y, at=half)
        return y_hat


class HandWrittenResiduals(HandWritten):
    def code_y(self, y, side, send):
        y_hat, first = torch.zeros_like(y), checkerboard(y)
        for half, factor in ((first, 0.9), (~first, 1.0)):
            mean, scale = self.m.means_and_scales(side, y_hat)
            decoded = send("y", self.prior(0 * mean, scale), y - mean, at=half)
            y_hat = y_hat + factor * (decoded + mean * half)
        return y_hat


class HandWrittenHierarchy(HandWritten):
    def code(self, x, size, send):
        features = self.m.start(size)
        for k in range(3):
            y, mean, scale = self.m.step(k, features, x)
            features = self.m.join(k, features, send(f"y{k + 1}", self.prior(mean, scale), y))
        return self.m.g_s(features)


STYLES = {
    Hyperprior: HandWritten,
    Slices: HandWrittenSlices,
    Halves: HandWrittenHalves,
    Overwritten: HandWrittenHalves,
    MaskedCalls: HandWrittenHalves,
    FullCalls: HandWrittenHalves,
    Residuals: HandWrittenResiduals,
    Hierarchy: HandWrittenHierarchy,
}
"""Each module and its codec."""
