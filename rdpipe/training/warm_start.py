"""Initialization of a training with the weights of another training."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from rdpipe.codecs.compressai.checkpoint import read_state
from rdpipe.core.errors import InputError
from rdpipe.training.model import VariableRateModel

logger = logging.getLogger(__name__)

REQUIRED = ("g_a.0.weight", "g_a.6.weight", "g_s.0.weight", "log_gain")
"""Weights that every network has."""
BLOCKS = {
    "h_s.4": (0, None),  # for each predicted parameter
    "entropy_parameters.2": (0, 2),  # scales, means
    "entropy_parameters.0": (1, 3),  # context, scales, means
}
"""Layers with several groups of channels: the axis of the groups and their number."""


def load_start(model: VariableRateModel, file: Path) -> set[str]:
    """Copy the weights of another training into a network.

    The transforms are copied, and the prior if it is of the same kind. The other network may have
    fewer latents. The new latents and channels then contribute nothing at first: the network starts
    with the images, the means and the scales of the other one.

    Parameters
    ----------
    model : VariableRateModel
        The untrained network.
    file : Path
        Weights of the other training.

    Returns
    -------
    set of str
        Names of the copied weights.

    Raises
    ------
    InputError
        If the file does not have the weights of a network with the same ``N`` and number of rates,
        and at most ``M`` latents.
    """
    source, target = read_state(file), dict(model.named_parameters())
    _check_sizes(source, target, file)
    copied = source.keys() & target.keys()
    predicted = _predicted_parameters(target)
    if _predicted_parameters(source) != predicted:
        copied = {name for name in copied if name.startswith(("g_", "log_"))}
    modules = dict(model.named_modules())
    with torch.no_grad():
        for name in copied:
            layer = name.rpartition(".")[0]
            is_transposed = isinstance(modules.get(layer), torch.nn.ConvTranspose2d)
            axis, count = BLOCKS.get(layer, (None, None))
            blocks = None if axis is None else (axis, predicted if count is None else count)
            _copy_into_corner(target[name], source[name], is_transposed, blocks)
    new = ", ".join(sorted(target.keys() - copied)) or "none"
    logger.info("copied %d weights of %s; new weights: %s", len(copied), file, new)
    return set(copied)


def _check_sizes(source: Mapping[str, Tensor], target: Mapping[str, Tensor], file: Path) -> None:
    """Check that the weights of a file fit into a network."""
    if missing := [name for name in REQUIRED if name not in source]:
        raise InputError(f"{file} does not have the weights of a training: {missing[0]} is missing")
    names = [name for name in REQUIRED if name != "g_s.0.weight"]
    (N, M, rates), (own_N, own_M, own_rates) = (
        [len(weights[name]) for name in names] for weights in (source, target)
    )
    if (N, rates) != (own_N, own_rates) or M > own_M:
        raise InputError(
            f"{file} has N = {N}, M = {M} and {rates} rates; this training has N = {own_N}, M ="
            f" {own_M} and {own_rates} rates; expected the same N and number of rates, and an M"
            " that is not larger"
        )


def _copy_into_corner(
    target: Tensor, source: Tensor, is_transposed: bool, blocks: tuple[int, int] | None
) -> None:
    """Copy the weights of a layer into a wider layer, whose new inputs old outputs ignore.

    Parameters
    ----------
    target, source : Tensor
    is_transposed : bool
        Whether the first axis is that of the inputs, as in a transposed convolution.
    blocks : tuple of int, optional
        Axis along which several groups of channels follow each other, and the number of groups.
    """
    if blocks is not None and blocks[0] < target.ndim:
        target, source = (t.unflatten(blocks[0], (blocks[1], -1)) for t in (target, source))
    corner = [slice(length) for length in source.shape]
    if source.ndim >= 4:  # a convolution, with groups or not
        inputs = 0 if is_transposed else 1 if blocks is None else 2
        target[(*corner[:inputs], slice(None), *corner[inputs + 1 :])] = 0
    target[tuple(corner)] = source


def _predicted_parameters(weights: Mapping[str, Tensor]) -> int:
    """Return the number of parameters that the hyper-latents predict for each latent.

    It is 0, 1 (a scale) or 2 (a scale and a mean).
    """
    if "h_s.4.bias" not in weights:
        return 0
    return len(weights["h_s.4.bias"]) // len(weights["g_a.6.bias"])
