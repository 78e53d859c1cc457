"""Small codecs that decode real bytes, one for each way to use `send`.

Corrected      slices of channels, and a correction of what is decoded
Hierarchical   latents of three strides, each of which depends on those before
MixtureRaster  one position after the other, mixtures of densities, rounding to integers
FourPart       four parts of the positions; elements that are not coded
Stepped        a quantization step for each position
Overfitted     parameters of the image in the bitstream

Their weights are chosen by hand or drawn with a seed. An image is a tensor of shape (1, 3, height,
width) with values in [0, 1].
"""

import math

import torch
from torch.nn import functional as F

from rdpipe.entropy.priors import Gaussian, Laplace, Logistic, Mixture

FREQUENCY = torch.arange(8.0) + torch.arange(8.0)[:, None]  # of the coefficients of a block


def cosines():
    """The orthonormal DCT of 8 x 8 blocks of one color, of shape (64, 1, 8, 8)."""
    n = torch.arange(8.0)
    line = torch.cos(math.pi / 8 * (n + 0.5) * n[:, None]) / 2
    line[0] /= math.sqrt(2)
    return torch.einsum("ai,bj->abij", line, line).reshape(64, 1, 8, 8)


def color_cosines():
    """The same for luma and two color differences, of shape (192, 3, 8, 8)."""
    color = torch.tensor([[1.0, 1, 1], [1, 0, -1], [-1, 2, -1]])
    color /= color.square().sum(1, keepdim=True).sqrt()
    return torch.einsum("cd,kij->ckdij", color, cosines()[:, 0]).reshape(192, 3, 8, 8)


def usual_scales():
    """Standard deviations of these coefficients in photographs, of shape (1, 192, 1, 1)."""
    of_color = torch.tensor([2.0, 0.6, 0.15])[:, None]
    return (of_color * (1 + FREQUENCY.flatten()) ** -1.7).reshape(1, 192, 1, 1)


class Transform:
    """What most of them share: a block DCT, and side information about local activity."""

    multiple = 16

    def __init__(self, quality: int):
        self.step = 0.4 / 1.5**quality
        self.dct, self.scales = color_cosines(), usual_scales() / self.step

    def analyze(self, image):
        """The coefficients in steps, of shape (1, 192, row, column); None at a decoder."""
        return None if image is None else F.conv2d(image - 0.5, self.dct, stride=8) / self.step

    def synthesize(self, y):
        return F.conv_transpose2d(y * self.step, self.dct, stride=8) + 0.5

    def send_activity(self, y, size, send):
        """Octaves by which coefficients exceed their usual scales, the same in 16 x 16 pixels."""
        z = None
        if y is not None:
            energy = (y / self.scales).square().mean(1, keepdim=True)
            z = F.avg_pool2d(energy, 2).sqrt().clamp(min=1 / 64).log2()
        usual = torch.zeros(1, 1, size[0] // 16, size[1] // 16)
        prior = Logistic(usual, torch.ones_like(usual))
        return F.interpolate(send("z", prior, z, offset=0.0, side=True), scale_factor=2)


class Corrected(Transform):
    """Four slices of channels; a random network predicts each from the one before.

    The correction moves what is decoded towards the mean, where the density is larger.
    """

    def __init__(self, quality: int):
        super().__init__(quality)
        weights = torch.randn((3, 48, 48, 1, 1), generator=torch.Generator().manual_seed(1))
        self.weights = 0.03 * weights

    def code(self, image, size, send):
        y, decoded = self.analyze(image), []
        scales = self.scales * 2 ** self.send_activity(y, size, send)
        for i, scale in enumerate(scales.chunk(4, 1)):
            mean = 0.1 * F.conv2d(decoded[-1], self.weights[i - 1]).tanh() if i else 0 * scale
            y_slice = None if y is None else y.chunk(4, 1)[i]
            y_hat = send("y", Gaussian(mean, scale.clamp(min=0.11)), y_slice)
            decoded.append(y_hat - 0.1 * (y_hat - mean).tanh())
        return self.synthesize(torch.cat(decoded, 1))


class Hierarchical:
    """Means of 16 x 16 pixels, then of 4 x 4 and 2 x 2: each of what is not yet decoded.

    What is decoded predicts the next latent: edges become sharper.
    """

    multiple = 16

    def __init__(self, quality: int):
        self.step = 0.3 / 1.5**quality

    def code(self, image, size, send):
        decoded = torch.full((1, 3, *size), 0.5)
        for i, stride in enumerate((16, 4, 2)):
            blurred = F.avg_pool2d(F.pad(decoded, (4, 4, 4, 4), "replicate"), 9, 1)
            detail = F.avg_pool2d(decoded - blurred, stride) / self.step
            prior = Logistic(0.3 * detail, 0.3 + detail.abs() + (2 - i) * 0.1 / self.step)
            y = None if image is None else F.avg_pool2d(image - decoded, stride) / self.step
            y_hat = send(f"y{i}", prior, y) * self.step
            decoded = decoded + F.interpolate(y_hat, size, mode="bilinear")
        return decoded


class MixtureRaster(Transform):
    """A mixture of Laplace densities about 0 and about the decoded neighbors of each position."""

    def code(self, image, size, send):
        y, (rows, columns) = self.analyze(image), (side // 8 for side in size)
        scale, y_hat = self.scales.clamp(min=0.11), torch.zeros(1, 192, rows + 1, columns + 1)
        weights = torch.tensor([0.4, 0.3, 0.3]).view(3, 1, 1, 1, 1).expand(3, *scale.shape)
        for row in range(rows):
            for column in range(columns):
                at = slice(0, 192), slice(row, row + 1), slice(column, column + 1)
                above, left = y_hat[:, :, row, column + 1], y_hat[:, :, row + 1, column]
                centers = torch.zeros_like(scale), above[..., None, None], left[..., None, None]
                parts = [Laplace(mean, scale / (1 + i)) for i, mean in enumerate(centers)]
                here = None if y is None else y[:, *at]
                decoded = send("y", Mixture(weights, parts), here, at=at, offset=0.0)
                y_hat[:, :, row + 1, column + 1] = decoded[..., 0, 0]
        return self.synthesize(y_hat[:, :, 1:, 1:])


class FourPart(Transform):
    """A quarter of the positions at a time; those before predict the luma of the next.

    Elements with a small scale are not coded.
    """

    def code(self, image, size, send):
        y = self.analyze(image)
        scale = self.scales * 2 ** self.send_activity(y, size, send)
        y_hat, seen = torch.zeros_like(scale), torch.zeros_like(scale[:, :1])
        for row, column in ((0, 0), (1, 1), (0, 1), (1, 0)):
            at = torch.zeros_like(scale, dtype=torch.bool)
            at[..., row::2, column::2] = True
            neighbors = F.avg_pool2d(F.pad(y_hat[:, :1], (1, 1, 1, 1)), 3, 1)
            share = F.avg_pool2d(F.pad(seen, (1, 1, 1, 1)), 3, 1)
            luma = 0.9 * neighbors / share.clamp(min=0.1)
            prior = Gaussian(F.pad(luma, (0, 0, 0, 0, 0, 191)), scale.clamp(min=0.11))
            y_hat = y_hat + send("y", prior, y, at=at, skip=scale < 0.2)
            seen = seen + at[:, :1]
        return self.synthesize(y_hat)


class Stepped(Transform):
    """Larger steps where the image is active: errors are less visible there."""

    def code(self, image, size, send):
        y = self.analyze(image)
        activity = self.send_activity(y, size, send)
        scale = (self.scales * 2**activity).clamp(min=0.11)
        step = 2 ** (activity / 4).expand_as(scale)
        return self.synthesize(send("y", Gaussian(0 * scale, scale), y, step=step))


class Overfitted:
    """A color transform and densities for this image alone, which the bitstream contains.

    With the principal components of its colors, each with a law of its coefficients: the standard
    deviation is a power of frequency, and free at frequency 0.
    """

    multiple = 16

    def __init__(self, quality: int):
        self.step, self.dct = 0.4 / 1.5**quality, cosines()
        frequency = FREQUENCY.flatten()
        self.law = torch.stack([frequency == 0, frequency > 0, (1 + frequency).log2()], 1)

    def fit(self, image):
        """The parameters of an image, of shape (1, 18, 1, 1)."""
        axes = torch.linalg.eigh(image[0].flatten(1).cov())[1].T
        deviations = self.analyze(image, axes).square().mean((2, 3)).sqrt()
        octaves = deviations.clamp(min=0.05).log2().view(3, 64).T
        laws = torch.linalg.lstsq(self.law, octaves)[0]
        return torch.cat([axes.flatten(), laws.flatten()]).view(1, 18, 1, 1)

    def analyze(self, image, axes):
        planes = torch.einsum("ac,ncij->anij", axes, image - 0.5)
        y = F.conv2d(planes, self.dct, stride=8) / self.step
        return y.reshape(1, 192, *y.shape[2:])

    def code(self, image, size, send):
        usual = Laplace(torch.zeros(1, 18, 1, 1), torch.ones(1, 18, 1, 1))
        fitted = None if image is None else self.fit(image)
        sent = send("parameters", usual, fitted, offset=0.0, step=2**-8, side=True).flatten()
        axes, laws = sent.view(2, 3, 3)
        scale = (2 ** (self.law @ laws)).clamp(min=0.11).T.reshape(1, 192, 1, 1)
        scale = scale.expand(-1, -1, size[0] // 8, size[1] // 8)
        y = None if image is None else self.analyze(image, axes)
        y_hat = send("y", Laplace(torch.zeros_like(scale), scale), y).view(3, 64, *scale.shape[2:])
        planes = F.conv_transpose2d(y_hat * self.step, self.dct, stride=8)
        return torch.einsum("ca,anij->ncij", torch.linalg.inv(axes), planes) + 0.5
