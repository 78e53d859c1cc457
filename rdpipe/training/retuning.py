"""Training of a user's own codec, or of its decoder alone, for a quantizer.

.. code-block:: none

    decoder only    x -> code(x, size, walk of the quantizer) -> x_hat: distortion
    more            x -> code(x, size, relaxed walk) -> x_hat: distortion
                                       '-> bits: rate

The first walk is the one with which ``simulate`` measures a cell, so a decoder is trained on what
it will decode. See ``docs/explanation/science.md``, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast

import lightning_fabric
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from rdpipe.core.assembly import assemble
from rdpipe.core.axes import BASELINE_CELL
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import CodecPart
from rdpipe.core.protocols import Codec, SupportsTraining
from rdpipe.core.running import device_of, padded_size
from rdpipe.core.walk import Walk
from rdpipe.evaluation.cell import Cell, Entries
from rdpipe.evaluation.cell_walk import CellOfLatent, CellWalk
from rdpipe.training.crops import Crops
from rdpipe.training.relaxed_walk import RelaxedWalk
from rdpipe.training.spec import RetuningSpec
from rdpipe.training.trainer import Trainer, make_fabric


class TrainableCodec(Codec, SupportsTraining, Protocol):
    """A codec that PyTorch can train."""


class Quantization:
    """What takes the place of rounding while a codec is trained.

    Parameters
    ----------
    spec : RetuningSpec

    Raises
    ------
    InputError
        If the quantizer does not exist, is fitted, or has no gradient where one is needed.
    """

    def __init__(self, spec: RetuningSpec):
        self._name, self._level = spec.quantizer, spec.level
        self._cell: Cell | None = None
        self._shapes: dict[str, tuple[int, ...]] = {}
        if set(spec.train) == {CodecPart.DECODER} and spec.quantizer != "noise":
            self._cell = make_cell(spec).at_level(spec.level)
        else:
            RelaxedWalk(self._name, self._level)  # refuses a quantizer without gradients

    def walk(self, codec: Codec, image: Tensor) -> CellWalk | RelaxedWalk:
        """Return the walk of a crop, with noise of PyTorch's global generator."""
        if self._cell is None:
            return RelaxedWalk(self._name, self._level)
        if not self._shapes:
            self._shapes = shapes_of(codec, image)
        keys = torch.randint(2**62, (len(self._shapes),))
        of_latents = {
            name: CellOfLatent(self._cell, self._level, key, shape)
            for (name, shape), key in zip(self._shapes.items(), keys.tolist(), strict=True)
        }
        return CellWalk(of_latents)


class CodecModel(nn.Module):
    """The weights of a codec that are trained, and the codec as a function of them.

    Parameters
    ----------
    codec : TrainableCodec
        It is changed: its network is in training mode.
    spec : RetuningSpec

    Raises
    ------
    InputError
        If the codec has no such weights, the crop is not a multiple of its stride, or the quantizer
        cannot train these parts.
    """

    def __init__(self, codec: TrainableCodec, spec: RetuningSpec):
        super().__init__()
        self._codecs = (
            codec,
        )  # not a module of this one, whose state has the trained weights only
        self.trained = nn.ParameterList(select_weights(codec, spec.train))
        self._quantization = Quantization(spec)

    @property
    def codec(self) -> TrainableCodec:
        """The codec, with the weights of this module."""
        return self._codecs[0]

    def forward(self, x: Tensor, rate: Tensor) -> dict[str, Tensor]:
        """Code a batch of crops.

        Parameters
        ----------
        x : Tensor of shape (n, color, height, width)
            Images in [0, 1]; of one color, gray levels divided by 255.
        rate : Tensor
            Not used: the codec has one rate.

        Returns
        -------
        dict
            ``x_hat`` of the shape of ``x`` and ``bits`` of shape (n,).
        """
        peak = 255 if x.shape[1] == 1 else 1
        decoded, bits = zip(*(self._code(peak * image[None]) for image in x), strict=True)
        return {"x_hat": torch.cat(decoded) / peak, "bits": torch.stack(bits)}

    def _code(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decoded image, and the bits."""
        walk = self._quantization.walk(self.codec, image)
        decoded = self.codec.code(image, (image.shape[2], image.shape[3]), walk)
        decoded = decoded() if callable(decoded) else decoded
        if not decoded.requires_grad:
            raise InputError(
                f"{type(self.codec).__name__} has no gradient of the image with respect to its"
                " weights; expected a codec that PyTorch can differentiate"
            )
        return decoded, torch.as_tensor(walk.bits, device=decoded.device)


class RetuningTrainer(Trainer):
    """A codec in training.

    Parameters
    ----------
    spec : RetuningSpec
    state_dir, crops
        See :class:`Trainer`.
    codec : TrainableCodec
    """

    warm_up = 20  # the weights are trained already

    def __init__(
        self,
        spec: RetuningSpec,
        state_dir: Path,
        crops: Crops | None = None,
        *,
        codec: TrainableCodec,
    ):
        self._codec = codec
        super().__init__(spec, state_dir, crops)

    def make_fabric(self) -> lightning_fabric.Fabric:
        """Return a Fabric on the device of the codec."""
        return make_fabric(replace(self.spec, device=str(device_of(self._codec))))

    def make_model(self, is_new: bool) -> nn.Module:
        """Return the weights to train, which are those of the codec."""
        assert isinstance(self.spec, RetuningSpec)
        return CodecModel(self._codec, self.spec)

    def weights(self) -> dict[str, Tensor]:
        """Return all weights of the codec, with the average of those that are trained."""
        model, current = (cast(CodecModel, of.module) for of in (self.average, self.model))
        networks = model.codec.network, current.codec.network
        for averaged, last in zip(*(network.buffers() for network in networks), strict=True):
            averaged.copy_(last)  # running means, which are averages already
        weights = model.codec.checkpoint().items()
        return {name: weight.cpu().contiguous() for name, weight in weights}


def check_trainable(codec: Codec, spec: RetuningSpec) -> TrainableCodec:
    """Check that a codec can be trained with crops of some size, and return it.

    Raises
    ------
    InputError
        If it has no method for it, or the crop is not a multiple of its stride.
    """
    if not isinstance(codec, SupportsTraining):
        raise InputError(
            f"{type(codec).__name__} cannot be trained; expected a codec of CompressAI, or one with"
            " network, part_of, checkpoint and load_checkpoint (see"
            " rdpipe.core.protocols.SupportsTraining)"
        )
    if spec.crop != (side := padded_size(codec, spec.crop, spec.crop)[0]):
        name = type(codec).__name__
        raise InputError(f"crop {spec.crop} is not a size of images of {name}; expected {side}")
    return cast(TrainableCodec, codec)


def select_weights(codec: TrainableCodec, parts: Sequence[CodecPart]) -> list[nn.Parameter]:
    """Return the weights of some parts of a codec, which alone have gradients from then on.

    The network of the codec is in training mode, except the modules in which nothing is trained.

    Raises
    ------
    InputError
        If there are no weights of one of the parts.
    """
    codec.network.train()
    selected, missing = [], {str(part) for part in parts}
    for name, weight in codec.network.named_parameters():
        part = codec.part_of(name)
        weight.requires_grad_(part in parts)
        if part in parts:
            selected.append(weight)
            missing -= {part}
    if missing:
        names = " and ".join(sorted(missing))
        raise InputError(f"{type(codec).__name__} has no weights of its {names} to train")
    for module in codec.network.modules():
        weights = list(module.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            module.eval()  # no running mean changes, and nothing is dropped
    return selected


def shapes_of(codec: Codec, image: Tensor) -> dict[str, tuple[int, ...]]:
    """Return the shapes (channel, row, column) of the latents of an image by name."""
    walk = Walk()
    with torch.no_grad():
        codec.code(image, (image.shape[2], image.shape[3]), walk)
    wholes = assemble(walk.record)
    return {name: tuple(whole.y.shape) for name, whole in wholes.items() if not whole.side}


def make_cell(spec: RetuningSpec) -> Cell:
    """Return the cell of a quantizer with the codec's own mean and variance."""
    entries: Entries = {
        "means": {BASELINE_CELL.mean: {}},
        "variances": {BASELINE_CELL.variance: {}},
        "quantizers": spec.quantizers,
    }
    return Cell.from_entries(BASELINE_CELL.replace(quantizer=spec.quantizer), entries, {})
