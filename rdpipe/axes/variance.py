"""Variances: how spread the decoder expects each residual to be (SCIENCE.md, section 2.2).

Under N(0, v) the expected code length 1/2 log2(2 pi v) + E r^2 / (2 v ln 2) is smallest at
v = E r^2, so every estimator but the codec's own is a second moment; they differ in what the
expectation is taken over.

``variance(latents, r)`` is what is known before coding begins, and the bits sent to make it known.
A causal variance sharpens it with the residuals decoded before, ``at(past, known, channels,
positions)``. What is sent is the integer array of its ``sender`` (:class:`Sent`).
"""

from __future__ import annotations

import copy

import lazy_loader
import numpy as np

from rdpipe.axes.adaptive import adaptive_bits, read_adaptive, write_adaptive
from rdpipe.axes.causal import FLOOR, traverse
from rdpipe.axes.stream import interval_bits
from rdpipe.errors import InputError

torch = lazy_loader.load("torch")
constriction = lazy_loader.load("constriction")
scipy = lazy_loader.load("scipy")


def residuals(mean, y, prediction, step: float = 1.0):
    """y minus its mean; a causal mean sees the past that rounding leaves.

    Parameters
    ----------
    mean
        An estimator.
    y, prediction : Tensor of shape (channel, row, column), float64
        Latents, contiguous, and their mean as far as it is known beforehand.
    step : float
        Of the rounding.
    """
    if not mean.causal:
        return y - prediction
    r = torch.empty(y.shape, dtype=y.dtype)

    def one_wave(channels, positions, mu, v):
        exact = y.flatten(1)[channels, positions] - mu
        r.flatten(1)[channels, positions] = exact
        return step * (exact / step).round()

    traverse(mean, Variance, prediction, torch.ones_like(y), one_wave)
    return r


class Variance:
    """Defaults of every variance.

    ``information`` is decodable or genie; ``uses_side``, whether a decoder needs the codec's side
    information for it; ``sees_context``, whether it comes out of a codec's context model, where there
    is one; ``sender``, what writes and reads what it sends.
    """

    information = "decodable"
    uses_side = False
    sees_context = False
    causal = False
    fitted = False
    sender = None


class Codec(Variance):
    """The variance the codec predicts, sigma_i^2."""

    uses_side = True
    sees_context = True

    def __call__(self, latents, r):
        """Variance of each element, of shape (channel, row, column), and bits sent for it."""
        return latents.scale.square(), 0


class Calibrated(Variance):
    """E[r^2 | sigma], a monotone function of the codec's sigma, fitted on the calibration images.

    The second moments of r = y - mean in bins of 1/8 octave of sigma, made monotone by isotonic
    regression and interpolated in the log domain; beyond the outermost bins the ratio v / sigma^2
    stays what it is there. There is one function for each mean, as each leaves residuals of its own.
    """

    uses_side = True
    sees_context = True
    fitted = True
    bins_per_octave = 8

    def __call__(self, latents, r):
        """Variance of each element, of shape (channel, row, column), and bits sent for it."""
        log_scale = latents.scale.log2().numpy()
        log_ratio = np.interp(log_scale, *self.knots[self.mean])
        return latents.scale.square() * torch.from_numpy(2**log_ratio), 0

    def given(self, mean):
        """The same for the residuals of one mean.

        Raises
        ------
        InputError
            If it was not fitted to them.
        """
        if mean.name not in self.knots:
            raise InputError(
                f"calibrated was not fitted to the mean {mean.name!r}; it was to"
                f" {', '.join(sorted(self.knots))}"
            )
        one = copy.copy(self)
        one.mean = mean.name
        return one

    def fit(self, images, means: dict) -> dict[str, np.ndarray]:
        """Knots for each mean, of shape (2, knot): log2 sigma, and log2 of E r^2 / sigma^2.

        Parameters
        ----------
        images : sequence of Latents
        means : dict
            Means by name. One that is fitted itself was so on the same images, whose residuals are a
            little smaller than those of others.
        """
        return {name: self._fit_to(mean, images) for name, mean in means.items()}

    def _fit_to(self, mean, images) -> np.ndarray:
        sums = {}
        for latents in images:
            log_scale = latents.scale.double().log2().flatten()
            y, prediction = latents.y.double(), mean(latents).double()
            square = residuals(mean, y, prediction).square().flatten()
            bins, place = (log_scale * self.bins_per_octave).floor().unique(return_inverse=True)
            for key, values in enumerate((torch.ones_like(square), log_scale, square)):
                total = torch.zeros_like(bins).index_add_(0, place, values)
                for name, one in zip(bins.tolist(), total.tolist()):
                    sums.setdefault(name, [0.0, 0.0, 0.0])[key] += one
        count, log_scale, square = np.array([sums[name] for name in sorted(sums)]).T
        moment = scipy.optimize.isotonic_regression(square / count, weights=count).x
        log_scale /= count
        return np.stack([log_scale, np.log2(moment.clip(FLOOR)) - 2 * log_scale])

    def use(self, fit: dict[str, np.ndarray]) -> None:
        """Take the knots that :meth:`fit` found."""
        self.knots = fit


class Sent(Variance):
    """A variance that is sent as an integer array.

    ``index`` finds the array, ``from_index`` makes variances of it; ``index_bits`` is the length of
    its code, ``write`` and ``read`` are the code itself.
    """

    @property
    def sender(self):
        return self

    def __call__(self, latents, r):
        """Variance of each element, of shape (channel, row, column), and bits sent for it."""
        index = self.index(r)
        return self.from_index(index, r.shape), self.index_bits(index)


class Channel(Sent):
    """Second moment of each channel of the image, sent as an 8-bit index of its logarithm.

    log2 v is rounded to a multiple of 1/4 between -16 and 47.75 by a fixed-length code, so that
    a mismatch of at most 2^(1/8) remains, which costs at most 0.003 bit per element.
    """

    def index(self, r):
        """Index of each channel, int64 of shape (channel,)."""
        log_moment = r.square().mean((1, 2)).clamp(min=2.0**-16).log2()
        return (4 * log_moment).round().clamp(-64, 191).long() + 64

    def from_index(self, index, shape):
        """Variance of each element, of shape (channel, row, column)."""
        return (2 ** ((index.double() - 64) / 4))[:, None, None].expand(shape)

    def index_bits(self, index) -> float:
        """Bits of the fixed-length code."""
        return 8.0 * len(index)

    def write(self, coder, index) -> None:
        """Write to a range encoder."""
        coder.encode(index.numpy().astype(np.int32), constriction.stream.model.Uniform(256))

    def read(self, coder, shape):
        """Read the index of an image of ``shape`` back from a range decoder."""
        index = coder.decode(constriction.stream.model.Uniform(256), shape[0])
        return torch.from_numpy(index).long()


class SearchedChannel(Channel):
    """The variance of each channel that codes its rounded residuals in the fewest bits, by search.

    A check on the theory: under a Gaussian density the optimum is the second moment, whatever the
    distribution; what the search saves against ``channel`` is what the discrete index, and the
    resolution of the 8-bit index, leave.

    Parameters
    ----------
    step : float
        Of the rounding.
    reach : int
        The search goes this many quarters of an octave to both sides of the second moment.
    """

    def __init__(self, step: float = 1.0, reach: int = 12):
        self.step, self.reach = step, reach

    def index(self, r):
        """Index of each channel, int64 of shape (channel,)."""
        around = torch.arange(-self.reach, self.reach + 1)
        candidates = (super().index(r) + around[:, None]).clamp(0, 255)
        centre = (r / self.step).round() * self.step
        bits = [interval_bits(centre, self.from_index(one, r.shape), self.step).sum((1, 2))
                for one in candidates]  # fmt: skip
        return candidates.gather(0, torch.stack(bits).argmin(0)[None])[0]


class Block(Sent):
    """Second moment of each ``size`` x ``size`` block of a channel, sent in steps of an octave.

    log2 v is rounded to a whole number from -8 to 24. What is sent is its difference from the block
    to the left (the first of a row: above), by an adaptive code over all channels of the image.

    Parameters
    ----------
    size : int
        Side of a block, elements; blocks at the right and lower border are cut.
    """

    low, high = -8, 24

    def __init__(self, size: int):
        if not (isinstance(size, int) and size > 0):
            raise InputError(f"block of size {size!r}: allowed are 1, 2, 3, ...")
        self.size = size
        self.letters = 2 * (self.high - self.low) + 1

    def index(self, r):
        """log2 of each block's second moment, int64 of shape (channel, block row, block column)."""
        moment = torch.nn.functional.avg_pool2d(
            r.square()[None], self.size, ceil_mode=True, count_include_pad=False
        )[0]
        return moment.clamp(min=2.0**self.low).log2().round().clamp(max=self.high).long()

    def from_index(self, index, shape):
        """Variance of each element, of shape (channel, row, column)."""
        large = index.repeat_interleave(self.size, 1).repeat_interleave(self.size, 2)
        return 2.0 ** large[:, : shape[1], : shape[2]].double()

    def index_bits(self, index) -> float:
        """Bits of the adaptive code."""
        return adaptive_bits(self._differences(index), self.letters)

    def write(self, coder, index) -> None:
        """Write to a range encoder."""
        write_adaptive(coder, self._differences(index), self.letters)

    def read(self, coder, shape):
        """Read the index of an image of ``shape`` back from a range decoder."""
        rows, columns = (-(-side // self.size) for side in shape[1:])
        letters = read_adaptive(coder, shape[0] * rows * columns, self.letters)
        difference = torch.from_numpy(letters).view(shape[0], rows, columns) + self.low - self.high
        first = difference[:, :, :1].cumsum(1)
        return torch.cat([first, difference[:, :, 1:]], 2).cumsum(2)

    def _differences(self, index) -> np.ndarray:
        left = index.diff(dim=2, prepend=torch.zeros_like(index[:, :, :1]))
        left[:, 1:, 0] = index[:, :, 0].diff(dim=1)
        return left.flatten().numpy() - (self.low - self.high)


class CausalWindow(Variance):
    """Second moment of the residuals decoded before, in a window around the element.

    v_i = p_i (s + sum_k m_k / p_k) / (s + n) over the n decoded elements k of the window in the same
    channel: shrunk, with the weight of s elements, to a variance p that is known beforehand. If that
    is the channel's second moment, v_i = (s p + sum_k m_k) / (s + n). m_k = r_hat_k^2 + min(d, p_k) is
    the second moment of r_k given what was decoded of it, d the noise of the quantizer: step^2/12, or
    theta of the test channel, whose r_hat has the variance v - theta.

    Parameters
    ----------
    size : int
        Odd side of the window, elements.
    weight : float
        s.
    towards : {"channel", "codec"}
        What p is: the channel's second moment, sent as by ``channel``, or the codec's variance.
    """

    causal = True
    groups = 1

    def __init__(self, size: int = 5, weight: float = 4.0, towards: str = "channel"):
        if not (isinstance(size, int) and size > 1 and size % 2):
            raise InputError(f"causal-window of size {size!r}: allowed are 3, 5, 7, ...")
        if not weight > 0:
            raise InputError(f"causal-window weight {weight!r}: allowed are positive numbers")
        if towards not in ("channel", "codec"):
            raise InputError(f"causal-window towards {towards!r}: allowed are channel, codec")
        self.radius, self.weight, self.uses_side = size // 2, weight, towards == "codec"
        self.known = Codec() if towards == "codec" else Channel()
        self.sees_context = self.known.sees_context
        self.sender = self.known.sender
        around = range(-self.radius, self.radius + 1)
        self.window = [(i, j) for i in around for j in around if (i, j) != (0, 0)]

    def __call__(self, latents, r):
        """Variance of each element before anything is decoded, and bits sent for it."""
        return self.known(latents, r)

    def at(self, past, known, channels, positions):
        """Variance given the past, of shape (channel, position)."""
        around = (channels, self.window)
        energy, count = (past.at(one, *around).sum(2) for one in (past.energy, past.done))
        return known * (self.weight + energy) / (self.weight + count)


class Window(Variance):
    """Second moment over the ``size`` x ``size`` window around each element, itself included.

    At the border the window is cut. A genie: the decoder does not have these residuals.

    Parameters
    ----------
    size : int
        Odd side of the window, elements.
    """

    information = "genie"

    def __init__(self, size: int):
        if not (isinstance(size, int) and size > 0 and size % 2):
            raise InputError(
                f"window of size {size!r}: allowed are odd whole numbers, 1, 3, 5, ..."
            )
        self.size = size

    def __call__(self, latents, r):
        """Variance of each element, of shape (channel, row, column), and bits sent for it."""
        square = r.square()
        moments = window_sum(square, self.size) / window_sum(torch.ones_like(square[:1]), self.size)
        return moments.clamp(min=FLOOR), 0


def window_sum(x, size: int):
    """Sum over a window around each element of an array of shape (channel, row, column), cut at the border."""
    for dim in (1, 2):
        length, reach = x.shape[dim], size // 2
        x = torch.nn.functional.pad(x, (0, 0, reach, reach) if dim == 1 else (reach, reach))
        x = sum(x.narrow(dim, start, length) for start in range(size))
    return x


class Element(Window):
    """r_i^2 itself: the second moment taken to its end, and the most optimistic genie."""

    def __init__(self):
        super().__init__(1)
