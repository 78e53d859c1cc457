"""One cell of the array: its estimators, and how they code an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rdpipe.core.axes import AXES, CellId, axis_named
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents, Structure
from rdpipe.core.plugins import build_entry
from rdpipe.core.rng import standard_normal
from rdpipe.core.validation import check_unchanged, is_finite
from rdpipe.entropy import escape
from rdpipe.estimators.base import (
    CausalEstimator,
    FittedEstimator,
    Mean,
    State,
    Variance,
)
from rdpipe.estimators.causal import (
    FLOOR,
    channel_blocks,
    residuals,
    traverse,
    with_typical,
)
from rdpipe.estimators.user_estimators import (
    adapt_mean,
    adapt_variance,
    check_decodable,
    check_mean_output,
    check_variance_output,
)
from rdpipe.evaluation.claims import (
    INDEPENDENT,
    bound_kind,
    decoder_view,
    has_codec_past,
    includes_side,
    is_genie,
    is_user_defined,
    private_copy,
)
from rdpipe.evaluation.levels import LEAST_DISTORTION, solve_level
from rdpipe.quantizers.base import CodableQuantizer, Quantizer, QuantizerOutput, cell_bits
from rdpipe.quantizers.reconstruction import CalibratedReconstruction
from rdpipe.quantizers.scalar import Rounding
from rdpipe.quantizers.user_quantizers import (
    adapt_quantizer,
    check_distortion,
    check_output,
    check_shapes,
)

Fits = Mapping[tuple[str, str], Mapping[str, State]]
"""States of fitted estimators, by axis and name, for each latent."""
Entries = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Config entries by section (``means``, ``variances``, ``quantizers``) and name."""
RECONSTRUCTION = "reconstruction"
"""Stands for the axis in the states of reconstructions, which are fitted for each quantizer."""
ADAPTERS: dict[str, Callable[[str, object], Any]] = {
    "mean": adapt_mean,
    "variance": adapt_variance,
    "quantizer": adapt_quantizer,
}
_T = TypeVar("_T")


def build_part(
    axis: str, name: str, entry: Mapping[str, Any], fits: Fits, latent: str = "y"
) -> Any:
    """Build and validate one estimator, with its state if it is a fitted one.

    Parameters
    ----------
    axis, name : str
        Name of the axis, and of the estimator in the config.
    entry : mapping
        ``use`` and ``args`` from the config, both optional.
    fits : mapping
        States of fitted estimators.
    latent : str
        Name of the latent that it is for.

    Raises
    ------
    InputError
        If it breaks the contract of its axis, or is not fitted yet.
    """
    instance = build_entry(axis, name, entry, axis_named(axis).registry)
    part = ADAPTERS[axis](name, instance)
    if isinstance(part, FittedEstimator):
        if (axis, name) not in fits:
            raise InputError(
                f"{axis} {name!r} must be fitted first: set `calibration` in the config to a"
                " dataset, and name the estimator's class in `use`, not a function that returns it"
            )
        if latent not in fits[axis, name]:
            raise InputError(
                f"{axis} {name!r} was not fitted to the latent {latent!r}; expected one of:"
                f" {', '.join(fits[axis, name])}"
            )
        part.load_state(fits[axis, name][latent])
    return part


def build_reconstruction(
    cell_id: CellId, fits: Fits, latent: str
) -> CalibratedReconstruction | None:
    """Return the reconstruction of a cell; None if it is plain.

    Raises
    ------
    InputError
        If it is not fitted yet.
    """
    if not cell_id.is_calibrated:
        return None
    states = fits.get((RECONSTRUCTION, cell_id.quantizer), {})
    if latent not in states:
        raise InputError(
            f"cell {cell_id}: the reconstruction must be fitted first; set `calibration` in the"
            " config to a dataset"
        )
    return CalibratedReconstruction.from_state(states[latent])


def to_float64(latents: Latents) -> Latents:
    """Return latents in float64 and contiguous memory, which the functions below rely on.

    Raises
    ------
    InputError
        If the latents are not finite, have other shapes than ``y``, or have a negative scale or
        negative bits.
    """
    optional = [
        name for name in ("hyper", "hyper_scale", "offset") if getattr(latents, name) is not None
    ]
    names = ("y", "mean", "scale", *optional)
    if not is_finite(latents.y):
        raise InputError(f"the latents of image {latents.name!r} are not finite")
    if (latents.scale < 0).any():
        raise InputError(f"the scale of image {latents.name!r} is negative; expected numbers >= 0")
    for name in ("mean", "scale", "hyper", "hyper_scale", "own_bits", "offset", "coded"):
        value = getattr(latents, name)
        if value is not None and value.shape != latents.y.shape:
            raise InputError(
                f"{name} of image {latents.name!r} has shape {tuple(value.shape)}; expected that of"
                f" y, {tuple(latents.y.shape)}"
            )
    if latents.own_bits is not None and not (latents.own_bits >= 0).all():
        raise InputError(
            f"own_bits of image {latents.name!r} are negative or NaN; expected numbers >= 0"
        )
    return replace(latents, **{n: getattr(latents, n).double().contiguous() for n in names})


class CellCache:
    """Intermediate results of one image that consecutive cells share.

    For each key it keeps the result for the last dependencies.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[tuple[object, ...], Any]] = {}

    def get(self, key: str, dependencies: tuple[object, ...], compute: Callable[[], _T]) -> _T:
        """Return the result for a key, computed again if its dependencies have changed.

        Numbers are compared by value, estimators by identity.
        """
        if key not in self._entries or not _same(self._entries[key][0], dependencies):
            self._entries[key] = dependencies, compute()
        result: _T = self._entries[key][1]
        return result


def _same(first: tuple[object, ...], second: tuple[object, ...]) -> bool:
    """Return whether two tuples hold the same objects or equal numbers."""
    return len(first) == len(second) and all(
        a is b or (isinstance(a, (int, float)) and a == b)
        for a, b in zip(first, second, strict=True)
    )


@dataclass(frozen=True)
class PreparedImage:
    """All that a cell knows about an image before coding begins.

    Parameters
    ----------
    y, initial_mean, residual, initial_variance, noise : Tensor of shape (channel, row, column)
        float64: latents; the mean before coding begins; residuals, 0 where nothing is coded; the
        variance before coding begins; standard normal noise.
    transmitted_bits : float
        Bits that the variance estimator sends.
    own_bits : Tensor of the same shape, optional
        Code length of each element under the codec's own prior, if the quantizer uses it.
    escaped_variance : Tensor of shape (channel, position), optional
        Variance after escapes, if the level is to be solved for and nothing is causal.
    shift : Tensor of the shape of ``y``, optional
        The codec's grid minus its mean, if the cell has the codec's mean and they differ.
    coded : Tensor of bool, of the shape of ``y``, optional
        Elements that are coded, if not all are.
    rest : Tensor of the shape of ``y``, optional
        What a decoder has of elements that are not coded.
    """

    y: Tensor
    initial_mean: Tensor
    residual: Tensor
    initial_variance: Tensor
    noise: Tensor
    transmitted_bits: float
    own_bits: Tensor | None = None
    escaped_variance: Tensor | None = None
    shift: Tensor | None = None
    coded: Tensor | None = None
    rest: Tensor | None = None

    @property
    def typical_residual(self) -> Tensor:
        """The residuals from which the variance is estimated; see :func:`with_typical`."""
        return with_typical(self.residual, self.coded)


@dataclass(frozen=True)
class CellOutput:
    """An image coded in a cell.

    Parameters
    ----------
    bits : float
        All bits except the codec's side information and the bits of a solved level.
    distortion : float
        Sum of squared errors of the latents, squared latent units.
    weighted_distortion : float
        The same, weighted by the quantizer.
    y_hat : Tensor of shape (channel, row, column)
    element_bits : Tensor of shape (channel, row, column)
        Bits of each element, without what the variance estimator sends.
    """

    bits: float
    distortion: float
    weighted_distortion: float
    y_hat: Tensor
    element_bits: Tensor


class Cell:
    """One cell of the array: a mean, a variance and a quantizer that code a latent together.

    Parameters
    ----------
    cell_id : CellId
        Names of the estimators.
    mean, variance, quantizer
        Estimators that fulfill their contracts.
    structure : Structure
        What of the codec depends on decoded latents.
    reconstruction : CalibratedReconstruction, optional
        What follows the quantizer if the cell is a calibrated one.

    Attributes
    ----------
    kind : BoundKind
        What the cell's curve may be called.
    includes_side : bool
        Whether its rate must include the codec's side information.
    step : float
        Step of the rounding that the cell is compared with, latent units.
    """

    def __init__(
        self,
        cell_id: CellId,
        mean: Mean,
        variance: Variance,
        quantizer: Quantizer,
        structure: Structure = INDEPENDENT,
        reconstruction: CalibratedReconstruction | None = None,
    ):
        self.reconstruction, self.structure = reconstruction, structure
        self.id, self.mean, self.estimator, self.quantizer = cell_id, mean, variance, quantizer
        self.variance = variance.for_mean(cell_id.mean)
        self.causal = isinstance(mean, CausalEstimator) or isinstance(variance, CausalEstimator)
        self.weights = quantizer.weights
        self.step = quantizer.step if quantizer.level is None else quantizer.level
        if is_genie(variance) != is_genie(self.variance):
            raise InputError(
                f"variance {cell_id.variance!r} is {variance.information}, but its for_mean returns"
                f" a {self.variance.information} estimator; expected the same information"
            )
        parts = mean, self.variance, quantizer, structure, reconstruction is not None
        self.kind = bound_kind(*parts)
        self.includes_side = includes_side(mean, self.variance, structure)

    @classmethod
    def from_entries(
        cls,
        cell_id: CellId,
        entries: Entries,
        fits: Fits,
        structure: Structure = INDEPENDENT,
        latent: str = "y",
    ) -> Cell:
        """Build a cell from config entries."""
        mean, variance, quantizer = (
            build_part(axis.name, name, entries[axis.section][name], fits, latent)
            for axis, name in zip(AXES, cell_id, strict=False)
        )
        reconstruction = build_reconstruction(cell_id, fits, latent)
        return cls(cell_id, mean, variance, quantizer, structure, reconstruction)

    def at_level(self, level: float) -> Cell:
        """Return this cell with another level of its quantizer; itself if it has none."""
        if self.quantizer.level is None:
            return self
        quantizer = self.quantizer.at_level(level)
        return Cell(
            self.id, self.mean, self.estimator, quantizer, self.structure, self.reconstruction
        )

    @property
    def predicts_as_codec(self) -> bool:
        """Whether mean and variance are the codec's own."""
        return self.mean.is_codec and self.estimator.is_codec

    @property
    def has_codec_past(self) -> bool:
        """Whether a decoder of the cell obtains the codec's own y_hat."""
        return has_codec_past(self.mean, self.quantizer, self.reconstruction is not None)

    @property
    def uses_context(self) -> bool:
        """Whether the cell depends on the output of the codec's context model."""
        return self.mean.uses_context or self.variance.uses_context

    def prepare(
        self, latents: Latents, key: int = 0, cache: CellCache | None = None
    ) -> PreparedImage:
        """Compute all that does not depend on the level.

        The noise depends on its key alone: it is the same in any cell, batch and order. Residuals
        of a causal mean are computed with rounding as the quantizer.

        Parameters
        ----------
        latents : Latents
        key : int
            Key of the noise.
        cache : CellCache, optional
            Shared by the cells of one image.

        Raises
        ------
        InputError
            If a mean or a variance returns something that is not usable.
        """
        cache = CellCache() if cache is None else cache
        latents = cache.get("latents", (), lambda: to_float64(latents))
        y, of_mean = latents.y, (self.mean, self.step)
        of_residual = *of_mean, self.variance.uses_residual
        of_variance = *of_mean, self.estimator
        noise = cache.get("noise", (), lambda: standard_normal(key, y.shape))
        initial_mean = cache.get("initial_mean", of_mean, lambda: self._initial_mean(latents))
        residual = cache.get("residual", of_residual, lambda: self._residual(latents, initial_mean))
        initial_variance, bits = cache.get(
            "initial_variance",
            of_variance,
            lambda: self._initial_variance(latents, with_typical(residual, latents.coded)),
        )
        if latents.coded is not None:
            initial_variance = torch.where(latents.coded, initial_variance, FLOOR)
        own_bits = None
        if self.quantizer.uses_own_prior and latents.own_bits is not None:
            unknown = torch.full_like(y, torch.nan)
            own_bits = latents.own_bits.double() if self.mean.is_codec else unknown
        escaped = None
        if self.quantizer.level is None and not self.causal:
            escaped = cache.get(
                "escaped", of_variance, lambda: self._escaped_variance(residual, initial_variance)
            )
        shift = None
        if latents.offset is not None and self.mean.is_codec:
            shift = latents.offset - latents.mean
            if latents.coded is not None:
                shift = torch.where(latents.coded, shift, 0.0)
        rest = None
        if latents.coded is not None:
            rest = latents.mean if latents.offset is None else latents.offset
        return PreparedImage(
            y,
            initial_mean,
            residual,
            initial_variance,
            noise,
            bits,
            own_bits,
            escaped,
            shift,
            latents.coded,
            rest,
        )

    def _residual(self, latents: Latents, initial_mean: Tensor) -> Tensor:
        if isinstance(self.mean, CausalEstimator) and not self.variance.uses_residual:
            return torch.zeros_like(latents.y)  # nothing uses them
        return residuals(self.mean, latents.y, initial_mean, self.step, latents.coded)

    def _initial_mean(self, latents: Latents) -> Tensor:
        label, blind = f"mean {self.id.mean!r}", None
        if user_defined := is_user_defined(self.mean):
            if not is_genie(self.mean):  # first, so that it cannot remember the latents
                blind = self.mean(decoder_view(latents, self.mean))
            latents = private_copy(latents)
        with check_unchanged(label, y=latents.y, mean=latents.mean, scale=latents.scale):
            mean = check_mean_output(label, self.mean(latents), latents.y)
        if user_defined and not is_genie(self.mean):
            check_decodable(label, mean, blind)
        return mean.double()

    def _initial_variance(self, latents: Latents, residual: Tensor) -> tuple[Tensor, float]:
        label, blind = f"variance {self.id.variance!r}", None
        claims = is_user_defined(self.variance) and not is_genie(self.variance)
        if claims and self.variance.transmitter is None:
            unknown = torch.full_like(residual, torch.nan)
            blind, _ = self.variance(decoder_view(latents, self.variance), unknown)
        if is_user_defined(self.variance):
            latents, residual = private_copy(latents), residual.clone()
        arrays = {"y": latents.y, "mean": latents.mean, "scale": latents.scale}
        with check_unchanged(label, residual=residual, **arrays):
            estimate = self.variance(latents, residual)
        variance, bits = check_variance_output(label, estimate, latents.y)
        if claims:
            self._check_transmission(variance, bits, residual, blind)
        return variance.double(), bits

    def _check_transmission(
        self, variance: Tensor, bits: float, residual: Tensor, blind: object
    ) -> None:
        """Check that a decoder obtains a user's variance from what is transmitted.

        Raises
        ------
        InputError
            If it does not, or the stated bits are not those of the code.
        """
        label, transmitter = f"variance {self.id.variance!r}", self.variance.transmitter
        code_bits = 0.0
        if transmitter is not None:
            index = transmitter.index(residual)
            blind = transmitter.from_index(index, residual.shape)
            code_bits = float(transmitter.index_bits(index))
        if bits != code_bits:
            raise InputError(
                f"{label} states {bits:g} bits, but transmits {code_bits:g}; expected a transmitter"
                " that writes and reads them, or information 'genie'"
            )
        check_decodable(label, variance, blind)

    def _escaped_variance(self, residual: Tensor, initial_variance: Tensor) -> Tensor:
        r, v = residual.flatten(1), initial_variance.clamp(min=FLOOR).flatten(1)
        return escape.escaped_variance(r, v, self.step)[0]

    def code(self, image: PreparedImage, level: float) -> CellOutput:
        """Code an image at a level.

        Parameters
        ----------
        image : PreparedImage
        level : float
            Theta or step, see :attr:`rdpipe.quantizers.base.Quantizer.level_kind`.

        Raises
        ------
        InputError
            If the quantizer returns something that is not usable.
        """
        y, noise = image.y.flatten(1), image.noise.flatten(1)
        sums, element_bits = torch.zeros(3, dtype=y.dtype), torch.empty_like(y)
        solved = self._level_by_channel(level, y) if self.quantizer.level is None else None
        noise_variance = self.step**2 / 12 if solved is None else solved
        own_bits = None if image.own_bits is None else image.own_bits.flatten(1)
        coded = None if image.coded is None else image.coded.flatten(1)
        shift = None if image.shift is None else image.shift.flatten(1)
        decoded = None if self.reconstruction is None else y.new_empty(2, *y.shape)

        def code_step(channels: slice, positions: slice | Tensor, mu: Tensor, v: Tensor) -> Tensor:
            here = channels, positions
            r = y[here] - mu
            if coded is not None:
                r, v = torch.where(coded[here], r, 0.0), torch.where(coded[here], v, FLOOR)
            at_level = level if solved is None else solved[channels]
            off_center = None if shift is None else shift[here]
            bits, output = self.code_residuals(r, v, at_level, noise[here], off_center)
            if own_bits is not None:
                bits = own_bits[here]
            if coded is not None:
                bits = torch.where(coded[here], bits, 0.0)
            element_bits[here] = bits
            distortions = output.distortion.sum(), self._weighted(output.distortion, channels)
            sums.add_(torch.stack([bits.sum(), *distortions]))
            if decoded is not None:
                decoded[0][here], decoded[1][here] = output.residual, v
            return output.residual

        y_hat = traverse(
            self.mean,
            self.variance,
            image.initial_mean,
            image.initial_variance,
            code_step,
            noise_variance,
            self.quantizer.elementwise,
        )
        if decoded is not None:
            residual, v = decoded
            reconstructed = self.reconstruct(residual, v, level if solved is None else solved)
            y_hat += (reconstructed - residual).view(y_hat.shape)
        if image.coded is not None and image.rest is not None:
            y_hat = torch.where(image.coded, y_hat, image.rest)
        bits, distortion, weighted = sums.tolist()
        self.check_sums(bits if own_bits is None else 0.0, distortion, y_hat)
        element_bits = element_bits.view(image.y.shape)
        total = bits + image.transmitted_bits
        return CellOutput(total, distortion, weighted, y_hat, element_bits)

    def code_residuals(
        self,
        r: Tensor,
        v: Tensor,
        level: float | Tensor,
        noise: Tensor,
        shift: Tensor | None = None,
    ) -> tuple[Tensor, QuantizerOutput]:
        """Quantize residuals.

        Parameters
        ----------
        r, v, noise : Tensor of shape (channel, position)
            Residuals, their variance, and standard normal noise.
        level : float or Tensor
        shift : Tensor of the same shape, optional
            The codec's grid minus its mean. The codec's own rounding is on that grid.

        Returns
        -------
        bits : Tensor
            Bits of each element, with those of escapes.
        output : QuantizerOutput
        """
        v, escape_bits = escape.escaped_variance(r, v, self.step)
        if shift is None or not self.quantizer.reproduces_codec:
            output = self._quantize(r, v, level, noise)
        else:
            point = (r - shift).round() + shift
            bits = cell_bits(point - 0.5, point + 0.5, v)
            output = QuantizerOutput(bits, (r - point).square(), point)
        return output.bits + escape_bits, output

    def reconstruct(self, residual: Tensor, v: Tensor, level: float | Tensor) -> Tensor:
        """Return what the decoder puts in the place of decoded residuals.

        Parameters
        ----------
        residual, v : Tensor of shape (channel, position)
            Decoded residuals and their variance.
        level : float or Tensor that broadcasts
        """
        if self.reconstruction is None:
            return residual
        return self.reconstruction(residual, v, self.quantizer.noise_variance(level))

    def _quantize(
        self, r: Tensor, v: Tensor, level: float | Tensor, noise: Tensor
    ) -> QuantizerOutput:
        """Return the output of the quantizer; that of a user's quantizer is checked in full."""
        label = f"quantizer {self.id.quantizer!r}"
        if not is_user_defined(self.quantizer):
            output = self.quantizer.code(r, v, level, noise)
            check_shapes(label, output, r)
            return output
        copies = r.clone(), v.expand(r.shape).clone()
        output = check_output(label, self.quantizer.code(*copies, level, noise.clone()), r)
        if isinstance(self.quantizer, CodableQuantizer):
            check_distortion(label, output, r)
        return output

    def check_sums(self, bits: float, distortion: float, y_hat: Tensor) -> None:
        """Refuse the output of a quantizer that is not finite or has a negative distortion."""
        valid = {
            "bits": math.isfinite(bits),
            "distortion": 0 <= distortion < math.inf,
            "residual": is_finite(y_hat),
        }
        invalid = [name for name, good in valid.items() if not good]
        if invalid:
            raise InputError(
                f"quantizer {self.id.quantizer!r} returned an invalid {' and '.join(invalid)};"
                " expected finite numbers, and squared errors as distortion"
            )

    def matched_level(self, images: Iterable[PreparedImage]) -> float:
        """Return the level at which the total weighted distortion equals that of rounding.

        The images are iterated over once per evaluation, so a generator is not enough.
        """
        return matched_level(PreparedForCell(self, images))

    def distortion_of_rounding(self, image: PreparedImage) -> float:
        """Return the weighted distortion of an image rounded with this cell's mean."""
        if self.causal:
            rounding_id = self.id.replace(quantizer="rounding")
            rounding = Cell(rounding_id, self.mean, self.variance, Rounding(self.step))
            rounding.weights = self.weights
            return rounding.code(image, self.step).weighted_distortion
        r = image.residual.flatten(1)
        if image.shift is not None:
            r = r - image.shift.flatten(1)
        return self._weighted((r - (r / self.step).round() * self.step).square()).item()

    def distortion_at(self, image: PreparedImage, level: float) -> float:
        """Return the weighted distortion of an image at a level, without coding if possible."""
        if image.escaped_variance is None or not self.quantizer.has_expected_distortion:
            return self.code(image, level).weighted_distortion
        r, v = image.residual.flatten(1), image.escaped_variance
        at_level = self._level_by_channel(level, r)
        total = 0.0
        for channels in channel_blocks(r):
            distortion = self.quantizer.expected_distortion(
                r[channels], v[channels], at_level[channels]
            )
            total += self._weighted(distortion, channels).item()
        return total

    def levels_of_channels(self, level: float, channels: int) -> NDArray[np.float64]:
        """Return the level of each channel, where ``level`` is the common one if it is solved for.

        Returns
        -------
        array of shape (channel,)
        """
        if self.quantizer.level is not None:
            return np.full(channels, self.quantizer.level)
        levels: NDArray[np.float64] = self._level_by_channel(
            level, torch.zeros(channels, 1, dtype=torch.float64)
        )[:, 0].numpy()
        return levels

    def _level_by_channel(self, level: float, y: Tensor) -> Tensor:
        """Return the level of each channel, of shape (channel, 1)."""
        weights = y.new_ones(len(y), 1) if self.weights is None else self.weights
        return level / weights

    def _weighted(self, distortion: Tensor, channels: slice = slice(None)) -> Tensor:
        """Return the sum of the distortions of elements, weighted by the quantizer."""
        return (distortion if self.weights is None else self.weights[channels] * distortion).sum()


@dataclass(frozen=True)
class Prepared:
    """A latent of an image that is prepared for a cell.

    Parameters
    ----------
    cell : Cell
    image : PreparedImage
    weight : float
        Weight of its distortion among the latents of the image: the decoder's gain. Its level is
        the common one over this weight.
    """

    cell: Cell
    image: PreparedImage
    weight: float = 1.0

    def code(self, level: float) -> CellOutput:
        """Code the latent at the common level of all latents."""
        return self.cell.code(self.image, level_of_latent(self.cell, level, self.weight))


def level_of_latent(cell: Cell, level: float, weight: float) -> float:
    """Return the level of one latent from the common one: theta is divided by its weight."""
    return level / weight if cell.quantizer.level is None else level


class PreparedForCell:
    """Images with one latent, prepared for one cell."""

    def __init__(self, cell: Cell, images: Iterable[PreparedImage]):
        self.cell, self.images = cell, images

    def __iter__(self) -> Iterator[Sequence[Prepared]]:
        for image in self.images:
            yield (Prepared(self.cell, image),)


def matched_level(images: Iterable[Sequence[Prepared]]) -> float:
    """Return the level at which the total weighted distortion equals that of rounding.

    The distortion is at least ``LEAST_DISTORTION`` squared steps, in case rounding makes no error.

    Parameters
    ----------
    images : iterable of sequence of Prepared
        The latents of each image. They are iterated over once per evaluation, so a generator is not
        enough.
    """
    target, least, count, causal = 0.0, 0.0, 0, False
    for image in images:
        for latent in image:
            target += latent.weight * latent.cell.distortion_of_rounding(latent.image)
            least += latent.weight * LEAST_DISTORTION * latent.cell.step**2 * latent.image.y.numel()
            count += latent.image.y.numel()
            causal = causal or latent.cell.causal
    target = max(target, least)

    def distortion(level: float) -> float:
        return sum(
            latent.weight * latent.cell.distortion_at(latent.image, level / latent.weight)
            for image in images
            for latent in image
        )

    # causal cells are slow to code, so a tolerance of 1e-6 is used
    return solve_level(distortion, target, target / count, 1e-6 if causal else 1e-12)
