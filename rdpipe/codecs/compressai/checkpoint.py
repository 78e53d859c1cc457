"""Checkpoints of CompressAI's models: where they are, what they are of, and a model that has them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from rdpipe.codecs.compressai._torchvision import declare_missing_operators
from rdpipe.codecs.compressai.checkerboard import CheckerboardHyperprior
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import suggest

declare_missing_operators()

from compressai.models import (  # noqa: E402
    Cheng2020AnchorCheckerboard,
    CompressionModel,
    Elic2022Chandelier,
    Elic2022Official,
)
from compressai.models.utils import remap_old_keys  # noqa: E402
from compressai.zoo import image as zoo  # noqa: E402
from compressai.zoo import image_vbr as vbr_zoo  # noqa: E402
from compressai.zoo.pretrained import load_pretrained  # noqa: E402

EMBEDDED = Path(__file__).parent / "weights"
"""Weights in the package."""


def _plain(state: dict) -> dict:
    return {"N": len(state["g_a.0.weight"]), "M": len(state["g_a.6.weight"])}


def _residual(state: dict) -> dict:
    return {"N": len(state["g_a.0.conv1.weight"])}


def _elic(state: dict) -> dict:
    name = re.compile(r"latent_codec\.y\.latent_codec\.y(\d+)\.context_prediction\.weight")
    groups = {int(found[1]): value.shape[1] for key, value in state.items()
              if (found := name.fullmatch(key))}  # fmt: skip
    groups = [channels for _, channels in sorted(groups.items())]
    return {"N": len(state["g_a.0.weight"]), "M": sum(groups), "groups": groups}


def _variable(state: dict) -> dict:
    own_step = {"vr_entbttlnck": True} if "gayn2zqstep.0.weight" in state else {}
    return {**_plain(state), **own_step}


ARCHITECTURES: dict[str, tuple[type[CompressionModel], Callable[[dict], dict]]] = {
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
    **{name: (model, _variable) for name, model in vbr_zoo.model_architectures.items()},
}
"""The class of each architecture, and how its dimensions are read off its weights."""
BOTTLENECKS = ("entropy_bottleneck", "latent_codec.hyper.entropy_bottleneck")


def read_state(file: Path) -> dict[str, Tensor]:
    """State dict in a checkpoint, on the CPU.

    Raises
    ------
    InputError
        If the file cannot be read, is no state dict, or holds values that are not finite.
    """
    try:
        if file.suffix == ".safetensors":
            state = safetensors.torch.load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose text advises to execute what is in there
        raise InputError(
            f"{file}: cannot read this checkpoint: it holds something else than tensors, and nothing of it"
            " is executed; save the state dict alone, best as .safetensors"
        ) from error
    except Exception as error:  # whatever a damaged or hostile file makes torch raise
        raise InputError(f"{file}: cannot read this checkpoint: {_first_line(error)}") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not (isinstance(state, dict) and state and all(map(torch.is_tensor, state.values()))):
        raise InputError(f"{file}: holds no state dict (names of parameters and their tensors)")
    for name, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise InputError(f"{file}: {name} holds values that are not finite")
    return state


def load_model(architecture: str, state: dict[str, Tensor], source: str) -> CompressionModel:
    """A model of the size that the weights have.

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
    state = load_pretrained(state)
    state.pop("QuantOffset", None)  # of early variable-rate networks, unused
    try:
        model = family(**dimensions(state))
        wanted = dict(model.named_parameters())
        for bottleneck in BOTTLENECKS:  # its parameters have had other names since CompressAI 1.2.7
            if f"{bottleneck}.matrices.0" in wanted:
                state = remap_old_keys(bottleneck, state)
        if missing := wanted.keys() - state.keys():
            raise RuntimeError(f"they lack {', '.join(sorted(missing)[:3])}")
        # the coder's tables are made anew; anything else is of another architecture
        if unknown := state.keys() - model.state_dict().keys():
            raise RuntimeError(f"they have {', '.join(sorted(unknown)[:3])} too")
        state = {name: state[name].float() for name in wanted}
        torch.nn.Module.load_state_dict(model, state, strict=False)
    except (KeyError, RuntimeError, IndexError, TypeError, AssertionError) as error:
        message = f"{source}: these weights do not fit {architecture}: {_first_line(error)}"
        raise InputError(message) from error
    return model


def fetch(architecture: str, quality: int, metric: str = "mse") -> Path:
    """The file of a pretrained model of CompressAI's zoo, downloaded once.

    Parameters
    ----------
    architecture : str
        One of the zoo.
    quality : int
        As the zoo counts; of a variable-rate model every quality is in one file.
    metric : str
        What it was trained for, "mse" or "ms-ssim".

    Returns
    -------
    Path
        In torch.hub's cache.

    Raises
    ------
    InputError
        If there is no such model, or it cannot be downloaded; says which file to put where.
    """
    known = {**zoo.model_urls, **vbr_zoo.model_urls}
    if architecture not in known:
        raise InputError(f"no pretrained {architecture!r}; {suggest(architecture, known)}")
    if metric not in known[architecture]:
        raise InputError(
            f"no pretrained {architecture} for metric {metric!r}; {suggest(metric, known[architecture])}"
        )
    url = known[architecture][metric]
    if isinstance(url, dict):
        if quality not in url:
            qualities = ", ".join(map(str, sorted(url)))
            raise InputError(f"no pretrained {architecture} of quality {quality}; it has {qualities}")
        url = url[quality]
    name = url.rsplit("/", 1)[1]
    file = Path(torch.hub.get_dir(), "checkpoints", name)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            checksum = re.search(r"-([a-f0-9]{8,})\.", name)[1]  # torch.hub's convention
            torch.hub.download_url_to_file(url, str(file), checksum, progress=False)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"cannot download {url}: {_first_line(error)}; with no network put that file at {file}"
            ) from error
    return file


def fold(state: dict[str, Tensor], rate: int) -> dict[str, Tensor]:
    """Fold the gains of one rate into the neighbouring convolutions, and into the density of the latents
    where that is learned.

    Parameters
    ----------
    state : dict of Tensor
        State dict of a :class:`rdpipe.training.model.Gained`.
    rate : int
        Which of its rates.

    Returns
    -------
    dict of Tensor
        State dict of an equivalent plain model, in float32.

    Raises
    ------
    IndexError
        If the network has no such rate.
    """
    rates = len(state["log_gain"])
    if not 0 <= rate < rates:
        raise IndexError(f"no rate {rate}: the network has rates 0 to {rates - 1}")
    folded = {name: value.float() for name, value in state.items()}
    gain = folded.pop("log_gain")[rate].exp()
    inverse_gain = folded.pop("log_inverse_gain")[rate].exp()
    folded["g_a.6.weight"] = folded["g_a.6.weight"] * gain[:, None, None, None]
    folded["g_a.6.bias"] = folded["g_a.6.bias"] * gain
    # transposed convolutions keep their input channels first
    folded["g_s.0.weight"] = folded["g_s.0.weight"] * inverse_gain[:, None, None, None]
    if "h_s.4.weight" not in folded:  # the bottleneck is of the latents: as much wider as they are
        first = "entropy_bottleneck.matrices.0"
        folded[first] = stretched(folded[first], gain)
        folded["entropy_bottleneck.quantiles"] = folded["entropy_bottleneck.quantiles"] * gain[:, None, None]
    return folded


def stretched(matrix: Tensor, factor: Tensor) -> Tensor:
    """First matrix of a learned density (before its softplus), for values larger by a factor in each channel."""
    slope = torch.nn.functional.softplus(matrix) / factor[:, None, None]
    return slope + torch.log(-torch.expm1(-slope))


def architecture_of(state: dict[str, Tensor]) -> str:
    """Which of ``ARCHITECTURES`` the weights of a trained network are of."""
    if "h_s.4.weight" not in state:
        return "bmshj2018-factorized"
    if "context_prediction.weight" in state:
        return "mbt2018-checkerboard"
    predicted = len(state["h_s.4.weight"]) // len(state["g_a.6.weight"])  # for each latent
    return "mbt2018-mean" if predicted == 2 else "bmshj2018-hyperprior"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__
