"""The walk through which a codec is trained: quantizers with gradients in the place of rounding."""

from __future__ import annotations

import torch
from torch import Tensor

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import DIFFERENTIABLE
from rdpipe.core.walk import Part, Walk
from rdpipe.refinement.walk import differentiable_bits, transmit


class RelaxedWalk(Walk):
    """Codes an image with gradients with respect to all weights of the codec, and sums the bits.

    .. code-block:: none

        quantizer       rate                     synthesis
        rounding        y + uniform noise        rounded, the gradient passes straight through
        noise           y + uniform noise        y + uniform noise
        test-channel    divergence               output of the channel

    Side information is rounded, or noisy if the quantizer is ``noise``. The noise is that of
    PyTorch's global generator.

    Parameters
    ----------
    quantizer : str
        One of :data:`rdpipe.core.kinds.DIFFERENTIABLE`.
    theta : float
        Water level of the test channel, squared steps.

    Raises
    ------
    InputError
        If the quantizer has no gradient.
    """

    needs_gradients = True

    def __init__(self, quantizer: str, theta: float):
        super().__init__()
        if quantizer not in DIFFERENTIABLE:
            raise InputError(
                f"{quantizer!r} has no gradient, which the encoder and the prior need; expected one"
                f" of: {', '.join(DIFFERENTIABLE)}, or train: [decoder]"
            )
        self._quantizer, self._theta, self._bits = quantizer, theta, list[Tensor]()

    @property
    def bits(self) -> Tensor:
        """Code length of all latents, bit."""
        return torch.stack(self._bits).sum()

    def decode(self, part: Part) -> Tensor:
        """Return what the synthesis gets of a part, float64."""
        assert part.y is not None, "an encoder runs"
        y, step = part.y.double(), part.step
        if self._quantizer == "test-channel" and not part.side:
            if not part.prior.is_gaussian:
                raise InputError(
                    f"latent {part.name!r} has a {type(part.prior).__name__} prior; expected a"
                    " Gaussian for the test channel"
                )
            residual, bits = transmit(part.prior, y, step, self._theta, torch.randn_like(y))
            y_hat = part.prior.mean.double() + step * residual
        else:
            noisy = y + step * (torch.rand_like(y) - 0.5)
            bits = differentiable_bits(part.prior, noisy, step)
            rounded = y + (part.point(part.index()) - y).detach()
            y_hat = noisy if self._quantizer == "noise" else rounded
        self._bits.append((bits if part.coded is None else bits * part.coded).sum())
        return y_hat
