"""Begin a training with the weights of another one."""

from __future__ import annotations

from pathlib import Path

import torch

from rdpipe.codecs.compressai.checkpoint import read_state
from rdpipe.training.model import Gained
from rdpipe.core.errors import InputError


def begin_with(model: Gained, file: str) -> set[str]:
    """Take over the weights of another training: the transforms, and the prior if it is of the same kind.

    The other network may have fewer latents. It then becomes a part of this one, to which new latents
    and channels contribute nothing yet: the network begins with the images, the means and the scales
    of the one it grew from.

    Returns
    -------
    set of str
        Names of the arrays that were taken over.

    Raises
    ------
    InputError
        If that is no network of the same ``N`` and number of rates, with at most ``M`` latents.
    """
    given, own = read_state(Path(file)), dict(model.named_parameters())
    needed = ("g_a.0.weight", "g_a.6.weight", "g_s.0.weight", "log_gain")
    if missing := [name for name in needed if name not in given]:
        raise InputError(f"{file}: no weights of a training; they lack {missing[0]}")
    sizes = [tuple(len(w[name]) for name in needed if name != "g_s.0.weight") for w in (given, own)]
    (N, M, rates), (own_N, own_M, own_rates) = sizes
    if (N, rates) != (own_N, own_rates) or M > own_M:
        raise InputError(
            f"{file}: N = {N}, M = {M} and {rates} rates; this training has N = {own_N}, M = {own_M} and"
            f" {own_rates} rates, and can begin with the same N and rates and at most as many latents"
        )
    taken = given.keys() & own.keys()
    predicted = predicted_per_latent(own)
    if predicted_per_latent(given) != predicted:
        taken = {name for name in taken if name.startswith(("g_", "log_"))}
    modules = dict(model.named_modules())
    with torch.no_grad():
        for name in taken:
            transposed = isinstance(modules.get(name.rpartition(".")[0]), torch.nn.ConvTranspose2d)
            blocks = {
                "h_s.4": (0, predicted),  # scales, then means
                "entropy_parameters.2": (0, 2),
                "entropy_parameters.0": (1, 3),  # context, then those two
            }.get(name.rpartition(".")[0])
            put_in_corner(own[name], given[name], transposed, blocks)
    new = sorted(own.keys() - taken)
    print(f"began with {len(taken)} arrays of {file}; new are {', '.join(new) or 'none'}")
    return set(taken)


def put_in_corner(
    target: torch.Tensor, source: torch.Tensor, transposed: bool, blocks: tuple[int, int] | None
) -> None:
    """Put the weights of a layer into those of a wider one, whose new inputs old outputs ignore.

    ``blocks`` says along which axis several groups of channels follow each other, and how many; a
    transposed convolution has its inputs on the first axis.
    """
    if blocks is not None and blocks[0] < target.ndim:
        target, source = (one.unflatten(blocks[0], (blocks[1], -1)) for one in (target, source))
    corner = [slice(length) for length in source.shape]
    if source.ndim >= 4:  # a convolution, in blocks or not
        inputs = 0 if transposed else 1 if blocks is None else 2
        target[tuple(corner[:inputs] + [slice(None)] + corner[inputs + 1 :])] = 0
    target[tuple(corner)] = source


def predicted_per_latent(weights: dict[str, torch.Tensor]) -> int:
    """What the hyper-latents predict for each latent: nothing, a scale, or a scale and a mean."""
    return (
        len(weights["h_s.4.bias"]) // len(weights["g_a.6.bias"]) if "h_s.4.bias" in weights else 0
    )
