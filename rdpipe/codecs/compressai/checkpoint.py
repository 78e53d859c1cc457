"""Checkpoints of CompressAI's models: reading them, and models with their weights."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from compressai.models import (
    Cheng2020AnchorCheckerboard,
    CompressionModel,
    Elic2022Chandelier,
    Elic2022Official,
)
from compressai.models.utils import remap_old_keys
from compressai.zoo import image as zoo
from compressai.zoo import image_vbr as vbr_zoo
from compressai.zoo.pretrained import load_pretrained
from torch import Tensor

from rdpipe.codecs.compressai.checkerboard import CheckerboardHyperprior
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import suggest

StateDict = dict[str, Tensor]
"""Weights by name."""
STATE_KEYS = ("state_dict", "model_state_dict", "model", "net")
"""Keys under which training scripts save the state dict of a network."""
WRAPPERS = ("_orig_mod", "module")
"""Names that ``torch.compile`` and ``DataParallel`` insert, also within a network."""
NEW_LAYOUT = {
    r"^latent_codec\.(h_[as])\.": r"latent_codec.hyper.\1.",
    r"^latent_codec\.z\.": "latent_codec.hyper.",
}
"""Names after CompressAI 1.2.8 (pull request 352), and how the installed version names the same."""


def _plain(state: StateDict) -> dict[str, Any]:
    return {"N": len(state["g_a.0.weight"]), "M": len(state["g_a.6.weight"])}


def _residual(state: StateDict) -> dict[str, Any]:
    return {"N": len(state["g_a.0.conv1.weight"])}


def _elic(state: StateDict) -> dict[str, Any]:
    pattern = re.compile(r"latent_codec\.y\.latent_codec\.y(\d+)\.context_prediction\.weight")
    channels = {
        int(match[1]): value.shape[1]
        for name, value in state.items()
        if (match := pattern.fullmatch(name))
    }
    groups = [count for _, count in sorted(channels.items())]
    return {"N": len(state["g_a.0.weight"]), "M": sum(groups), "groups": groups}


def _variable_rate(state: StateDict) -> dict[str, Any]:
    bottleneck = {"vr_entbttlnck": True} if "gayn2zqstep.0.weight" in state else {}
    return {**_plain(state), **bottleneck}


ARCHITECTURES: dict[str, tuple[type[CompressionModel], Callable[[StateDict], dict[str, Any]]]] = {
    "bmshj2018-factorized": (zoo.model_architectures["bmshj2018-factorized"], _plain),
    "bmshj2018-factorized-relu": (zoo.model_architectures["bmshj2018_factorized_relu"], _plain),
    "bmshj2018-hyperprior": (zoo.model_architectures["bmshj2018-hyperprior"], _plain),
    "mbt2018-mean": (zoo.model_architectures["mbt2018-mean"], _plain),
    "mbt2018": (zoo.model_architectures["mbt2018"], _plain),
    "mbt2018-checkerboard": (CheckerboardHyperprior, _plain),
    "cheng2020-anchor": (zoo.model_architectures["cheng2020-anchor"], _residual),
    "cheng2020-attn": (zoo.model_architectures["cheng2020-attn"], _residual),
    "cheng2020-anchor-checkerboard": (Cheng2020AnchorCheckerboard, _residual),
    "elic2022-official": (Elic2022Official, _elic),
    "elic2022-chandelier": (Elic2022Chandelier, _elic),
    **{name: (model, _variable_rate) for name, model in vbr_zoo.model_architectures.items()},
}
"""Class of each architecture, and a function that derives its dimensions from the weights."""
HOLDER = re.compile(r"((?:[^.]+\.)*?)g_a\.")
"""The path of a network within a larger module."""
BOTTLENECKS = ("entropy_bottleneck", "latent_codec.hyper.entropy_bottleneck")
"""Names of the entropy bottlenecks of all architectures."""


def read_state(file: Path) -> StateDict:
    """Return the state dict in a checkpoint, on the CPU, with the names of CompressAI's models.

    Parameters
    ----------
    file : Path
        A state dict, or a dict that holds one under any key. Prefixes of wrappers, such as
        ``module.``, ``_orig_mod.`` and ``model.``, are removed from the names.

    Raises
    ------
    InputError
        If the file cannot be read, does not hold exactly one state dict, or has values that are not
        finite.
    """
    content: Any
    try:
        if file.suffix == ".safetensors":
            content = safetensors.torch.load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # its own message advises to execute the content
        raise InputError(
            f"{file}: cannot read this checkpoint: it does not consist of tensors alone, and rdpipe"
            " does not execute its content; save only the state dict, preferably as .safetensors"
            + _foreign_type(error)
        ) from error
    except Exception as error:  # torch raises many types for damaged and hostile files
        raise InputError(f"{file}: cannot read this checkpoint: {_first_lines(error)}") from error
    state = _strip_wrappers(_find_state(content, file), file)
    for name, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise InputError(f"{file}: {name} has values that are not finite")
    return state


def _find_state(content: Any, file: Path) -> StateDict:
    """Return the state dict that a checkpoint is or holds; a known key has precedence.

    Raises
    ------
    InputError
        If there is none, or several; names the keys.
    """
    if _is_state(content):
        return dict(content)
    keys = list(content) if isinstance(content, dict) else []
    states = [key for key in keys if _is_state(content[key])]
    chosen = [key for key in STATE_KEYS if key in states] or states
    if len(chosen) > 1:
        raise InputError(
            f"{file} holds several state dicts: {listed(chosen)}; expected one: save only the one"
            " to use"
        )
    if not chosen:
        raise InputError(
            f"{file} is not a state dict; expected names of parameters and tensors, or a dict that"
            f" holds these as one of: {listed(STATE_KEYS)}"
            + (f"; found: {listed(keys)}" * bool(keys))
        )
    return dict(content[chosen[0]])


def _is_state(value: Any) -> bool:
    """Return whether a value is a non-empty dict of tensors by name."""
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(name, str) and torch.is_tensor(item) for name, item in value.items())
    )


def listed(names: Iterable[object], most: int = 10) -> str:
    """Return the first of some names, with commas."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (", ..." if len(texts) > most else "")


def _strip_wrappers(state: StateDict, file: Path) -> StateDict:
    """Remove what wrappers add to the names of a network, in any order and depth.

    :data:`WRAPPERS` are removed everywhere. The attribute that holds the network, as ``model.`` of
    Lightning modules, is what precedes ``g_a.``, which every architecture has.

    Raises
    ------
    InputError
        If there are several networks, or two weights get one name.
    """
    unwrapped = {
        name: ".".join(part for part in name.split(".") if part not in WRAPPERS) for name in state
    }
    holders = {match[1] for name in unwrapped.values() if (match := HOLDER.match(name))}
    if len(holders) > 1:
        raise InputError(
            f"{file} holds several networks: {listed(f'{h}g_a' for h in sorted(holders))};"
            " expected one: save only the one to use"
        )
    prefix = "".join(holders)
    stripped = {name: short.removeprefix(prefix) for name, short in unwrapped.items()}
    if len(set(stripped.values())) < len(state):
        raise InputError(f"{file} holds some weights with and without the prefix of a wrapper")
    return {stripped[name]: value for name, value in state.items()}


def load_model(architecture: str, state: Mapping[str, Tensor], source: str) -> CompressionModel:
    """Return a model with some weights, of the size of the weights.

    Parameters
    ----------
    architecture : str
        One of :data:`ARCHITECTURES`.
    state : mapping of str to Tensor
        State dict.
    source : str
        Where the weights come from, for error messages.

    Raises
    ------
    InputError
        If the architecture is unknown or the weights do not fit it.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"unknown architecture {architecture!r}; {suggest(architecture, ARCHITECTURES)}"
        )
    family, dimensions = ARCHITECTURES[architecture]
    weights: StateDict = load_pretrained(dict(state))
    weights.pop("QuantOffset", None)  # of early variable-rate networks, unused
    for pattern, name in NEW_LAYOUT.items():
        weights = {re.sub(pattern, name, key): value for key, value in weights.items()}
    try:
        with torch.random.fork_rng(devices=[]):  # the random weights are replaced below
            model = family(**dimensions(weights))
        parameters = dict(model.named_parameters())
        for bottleneck in BOTTLENECKS:  # its parameters were renamed in CompressAI 1.2.7
            if f"{bottleneck}.matrices.0" in parameters:
                weights = remap_old_keys(bottleneck, weights)
        if missing := parameters.keys() - weights.keys():
            raise RuntimeError(f"missing {', '.join(sorted(missing)[:3])}")
        # buffers of the entropy coder are computed; anything else belongs to another architecture
        if unknown := weights.keys() - model.state_dict().keys():
            raise RuntimeError(f"unexpected {', '.join(sorted(unknown)[:3])}")
        weights = {name: weights[name].float() for name in parameters}
        torch.nn.Module.load_state_dict(model, weights, strict=False)
    except (KeyError, RuntimeError, IndexError, TypeError, AssertionError) as error:
        message = f"{source}: these weights do not fit {architecture}: {_first_lines(error)}"
        raise InputError(message) from error
    return model


def fetch(architecture: str, quality: int, metric: str = "mse") -> Path:
    """Return the file of a pretrained model of CompressAI's zoo, which is downloaded once.

    Parameters
    ----------
    architecture : str
        Name in the zoo.
    quality : int
        Quality in the zoo. The file of a variable-rate model has all qualities.
    metric : str
        Metric that the model was trained for, ``mse`` or ``ms-ssim``.

    Returns
    -------
    Path
        A file in the cache of torch.hub.

    Raises
    ------
    InputError
        If there is no such model, or it cannot be downloaded; names the file to provide instead.
    """
    known = {**zoo.model_urls, **vbr_zoo.model_urls}
    if architecture not in known:
        raise InputError(f"no pretrained {architecture!r}; {suggest(architecture, known)}")
    if metric not in known[architecture]:
        raise InputError(
            f"no pretrained {architecture} for metric {metric!r};"
            f" {suggest(metric, known[architecture])}"
        )
    url = known[architecture][metric]
    if isinstance(url, dict):
        if quality not in url:
            qualities = ", ".join(map(str, sorted(url)))
            raise InputError(
                f"no pretrained {architecture} of quality {quality}; expected one of: {qualities}"
            )
        url = url[quality]
    name = url.rsplit("/", 1)[1]
    file = Path(torch.hub.get_dir(), "checkpoints", name)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            checksum = re.search(r"-([a-f0-9]{8,})\.", name)  # convention of torch.hub
            prefix = checksum[1] if checksum else None
            torch.hub.download_url_to_file(url, str(file), prefix, progress=False)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"cannot download {url}: {_first_lines(error)}; without a network, put that file at"
                f" {file}"
            ) from error
    return file


def check_quality(quality: object, count: int, prefix: str = "") -> None:
    """Check that a quality is an integer from 1 to the number of qualities.

    Raises
    ------
    InputError
        If it is not. The message starts with ``prefix``.
    """
    if not isinstance(quality, (int, np.integer)):
        raise InputError(f"{prefix}quality {quality!r} is not an integer; expected 1 to {count}")
    if not 1 <= quality <= count:
        raise InputError(f"{prefix}quality {quality} does not exist; expected 1 to {count}")


def fold(state: Mapping[str, Tensor], rate: int) -> StateDict:
    """Fold the gains of one rate into the adjacent convolutions.

    If the density of the latents is learned, it is stretched too.

    Parameters
    ----------
    state : mapping of str to Tensor
        State dict of a :class:`rdpipe.training.model.VariableRateModel`.
    rate : int
        Index of the rate.

    Returns
    -------
    dict of Tensor
        State dict of an equivalent plain model, in float32.
    """
    folded = {name: value.float() for name, value in state.items()}
    gain = folded.pop("log_gain")[rate].exp()
    inverse_gain = folded.pop("log_inverse_gain")[rate].exp()
    folded["g_a.6.weight"] = folded["g_a.6.weight"] * gain[:, None, None, None]
    folded["g_a.6.bias"] = folded["g_a.6.bias"] * gain
    # the first axis of a transposed convolution is that of its inputs
    folded["g_s.0.weight"] = folded["g_s.0.weight"] * inverse_gain[:, None, None, None]
    if "h_s.4.weight" not in folded:  # the bottleneck codes the latents, which the gain stretches
        matrix, quantiles = "entropy_bottleneck.matrices.0", "entropy_bottleneck.quantiles"
        folded[matrix] = stretch_density(folded[matrix], gain)
        folded[quantiles] = folded[quantiles] * gain[:, None, None]
    return folded


def stretch_density(matrix: Tensor, factor: Tensor) -> Tensor:
    """Stretch a learned density by a factor in each channel.

    Parameters
    ----------
    matrix : Tensor of shape (channel, ...)
        First matrix of the density, before its softplus.
    factor : Tensor of shape (channel,)
    """
    slope = torch.nn.functional.softplus(matrix) / factor[:, None, None]
    return slope + torch.log(-torch.expm1(-slope))


def architecture_of(state: Mapping[str, Tensor]) -> str:
    """Return the architecture in :data:`ARCHITECTURES` of the weights of a trained network."""
    if "h_s.4.weight" not in state:
        return "bmshj2018-factorized"
    if "context_prediction.weight" in state:
        return "mbt2018-checkerboard"
    parameters_per_latent = len(state["h_s.4.weight"]) // len(state["g_a.6.weight"])
    return "mbt2018-mean" if parameters_per_latent == 2 else "bmshj2018-hyperprior"


def _foreign_type(error: Exception) -> str:
    """Return the type that a checkpoint has besides tensors, for an error message."""
    match = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"; found: {match[1][:100]}" if match else ""


def _first_lines(error: Exception) -> str:
    """Return the first two lines of an error message as one."""
    if isinstance(error, KeyError):  # its message is the key alone
        return f"missing {error.args[0]}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__
