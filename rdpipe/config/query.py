"""What the rules derive from a complete config."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rdpipe.baselines import BASELINES
from rdpipe.codecs import CODECS, EMBEDDED, weights_of
from rdpipe.core.axes import (
    AXES,
    BASELINE_CELL,
    PAPER_ORDER,
    TRAINING_THETA,
    CellId,
    axis_named,
    corners,
)
from rdpipe.core.kinds import LevelKind
from rdpipe.core.plugins import load_attribute, locate
from rdpipe.datasets import DATASETS, PUBLISHED
from rdpipe.refinement.spec import RefinedFor

Config = Mapping[str, Any]
Entries = dict[str, dict[str, Any]]
"""Config entries by name."""

QUANTIZER = "quantizer"
"""The axis of the quantizer."""
REFINED = "refined"
"""The ``use`` of a codec whose latents are refined."""
RETUNED = "retuned"
"""The ``use`` of a codec whose weights are fine-tuned."""
JOINT = "joint"
"""The component that is measured along all axes."""
ZOO_KEYS = ("architecture", "metric")
"""Arguments that name pretrained weights, beside the quality."""
DECODER_LAMBDA = 0.01
"""Lambda of the training of a decoder alone, whose rate is constant.

It scales the gradient, so it matters only where gradients are clipped.
"""
COMPONENTS = {axis.term: axis.name for axis in PAPER_ORDER} | {JOINT: None}
"""Each component of the gap, and the axis along which it is measured; None for all axes."""
REGISTRIES: dict[str, tuple[str, Mapping[str, str]]] = {
    "datasets": ("dataset", DATASETS),
    "codecs": ("codec", CODECS),
    "baselines": ("baseline", BASELINES),
    **{axis.section: (axis.name, axis.registry) for axis in AXES},
}
"""For each section of the config, what its names denote, and the known names."""


def image_folders(config: Config) -> Entries:
    """Return the arguments of the datasets that are folders of images, by name."""
    return {
        name: entry["args"]
        for name, entry in config["datasets"].items()
        if entry.get("use", name) == "folder"
    }


def published_datasets(config: Config) -> list[str]:
    """Return the datasets that are downloaded."""
    return [
        name for name, entry in config["datasets"].items() if entry.get("use", name) in PUBLISHED
    ]


def measured_datasets(config: Config) -> list[str]:
    """Return the datasets that are measured.

    Those are all except the calibration dataset and the datasets of trainings: a curve on the
    images that a codec was trained on is not a bound.
    """
    others = {config["calibration"], *(entry["dataset"] for entry in config["training"].values())}
    return [name for name in config["datasets"] if name not in others]


def analyzed_codecs(config: Config) -> Entries:
    """Return the entries of the codecs that are analyzed.

    Those are all except bounds for other codecs and refined ones that are only a rung of a ladder.
    """
    return {
        name: entry
        for name, entry in config["codecs"].items()
        if "bound_for" not in entry and entry["analyze"]
    }


def bound_codecs(config: Config) -> dict[str, str]:
    """Return the codecs that were trained as bounds, and the codec that each is a bound for."""
    return {
        name: entry["bound_for"]["codec"]
        for name, entry in config["codecs"].items()
        if "bound_for" in entry
    }


def refined_codecs(config: Config) -> Entries:
    """Return the arguments of the codecs whose latents are refined, by name."""
    return {
        name: entry["args"]
        for name, entry in config["codecs"].items()
        if entry.get("use", name) == REFINED
    }


def networks(config: Config) -> Entries:
    """Return the trainings of networks of rdpipe."""
    return {
        name: entry
        for name, entry in config["training"].items()
        if not isinstance(entry.get("start"), dict)
    }


def retunings(config: Config) -> Entries:
    """Return the trainings of codecs of the config from their own weights."""
    return {
        name: entry
        for name, entry in config["training"].items()
        if isinstance(entry.get("start"), dict)
    }


def retuned_codecs(config: Config) -> Entries:
    """Return the trainings of the codecs whose weights are fine-tuned, by name of the codec."""
    return {
        name: config["training"][entry["args"]["training"]]
        for name, entry in config["codecs"].items()
        if entry.get("use", name) == RETUNED
    }


def retuned_bases(config: Config) -> dict[str, str]:
    """Return the codecs whose weights are fine-tuned, and the codec with the weights before."""
    return {name: entry["start"]["codec"] for name, entry in retuned_codecs(config).items()}


def retuning_spec(config: Config, network: str, quality: int) -> dict[str, Any]:
    """Return how a codec is fine-tuned at one quality, without the entry of the codec."""
    entry = dict(config["training"][network])
    start = entry.pop("start")
    place = start["quality"].index(quality)
    lambdas = entry.pop("lambdas", None)
    quantizer = entry["quantizer"]
    known = config["quantizers"]  # not noise
    return {
        **entry,
        "lambdas": [DECODER_LAMBDA if lambdas is None else lambdas[place]],
        "level": retuning_level(config, entry),
        "quantizers": {quantizer: known[quantizer]} if quantizer in known else {},
        "codec": start["codec"],
        "quality": quality,
        "device": config["device"],
    }


def retuning_level(config: Config, entry: Mapping[str, Any]) -> float:
    """Return the level of the quantizer of a training: the one it states, or a usual one.

    That is a unit step, or the water level with the same distortion at high rate.
    """
    if "level" in entry:
        return float(entry["level"])
    name = entry["quantizer"]
    if name not in config["quantizers"]:  # noise
        return 1.0
    target, _ = locate(
        QUANTIZER, config["quantizers"][name].get("use", name), axis_named(QUANTIZER).registry
    )
    kind = getattr(load_attribute(target), "level_kind", None)
    return TRAINING_THETA if kind == LevelKind.THETA else 1.0


def refined_bases(config: Config) -> dict[str, str]:
    """Return the codecs whose latents are refined, and the codec that has their networks."""
    return {name: args["codec"] for name, args in refined_codecs(config).items()}


def attached_codecs(config: Config) -> Entries:
    """Return the codecs that have a curve among those of another codec.

    Returns
    -------
    dict
        By name: ``codec``, the other codec; ``role``, a :class:`~rdpipe.core.kinds.CurveRole`;
        ``is_bound``, whether the curve is that of a simulated cell instead of its own coding; and
        ``network``, the codec that has its networks, which is another one if it is refined.
    """
    bounds, refined, retuned = (
        of_config(config) for of_config in (bound_codecs, refined_bases, retuned_bases)
    )
    owners = {**refined, **retuned, **bounds}
    return {
        name: {
            "codec": owner,
            "role": attached_role(config, refined.get(name, name), owner),
            "is_bound": name in bounds,
            "network": refined.get(name, name),
        }
        for name, owner in owners.items()
    }


def attached_role(config: Config, network: str, owner: str) -> str:
    """Return the role of a curve of some networks among the curves of a codec."""
    if network == owner:
        return "refined"
    training = retuned_codecs(config).get(network, {})
    return "retuned" if training.get("train") == ["decoder"] else "joint"


def base_codec(config: Config, codec: str) -> str:
    """Return the codec whose networks a codec has: another one if it is refined."""
    return refined_bases(config).get(codec, codec)


def refinement_spec(config: Config, codec: str, quality: int) -> dict[str, Any]:
    """Return how the latents of a codec are refined at one quality."""
    refinement = dict(refined_codecs(config)[codec])
    lambdas = refinement.pop("lambdas", None)
    place = config["codecs"][codec]["qualities"].index(quality)
    return {
        "refinement": refinement,
        "slope": None if lambdas is None else lambdas[place],
        "neighbors": slope_qualities(config, codec, quality) if lambdas is None else [quality],
    }


def refinement_cells(config: Config, codec: str) -> list[CellId]:
    """Return the cells whose reconstruction the latents of a codec are refined for, if any."""
    return simulated_cells(config, codec) if is_refined_for_lattice(config, codec) else []


def is_refined_for_lattice(config: Config, codec: str) -> bool:
    """Return whether the latents of a codec are refined for a lattice."""
    return refined_codecs(config).get(codec, {}).get("quantizer") == RefinedFor.LATTICE


def slope_qualities(config: Config, codec: str, quality: int) -> list[int]:
    """Return a quality of a refined codec and the nearest others of its codec, at most three."""
    known = sorted({*config["codecs"][base_codec(config, codec)]["qualities"], quality})
    first = min(max(known.index(quality) - 1, 0), max(len(known) - 3, 0))
    return known[first : first + 3]


def pretrained_codecs(config: Config) -> Entries:
    """Return architecture and metric of the codecs with weights of CompressAI's zoo, by name."""
    return {
        name: {key: value for key, value in entry["args"].items() if key in ZOO_KEYS}
        for name, entry in config["codecs"].items()
        if entry["args"].get("pretrained")
        and locate("codec", entry.get("use", name), CODECS)[0] == CODECS["compressai"]
    }


def checkpoint_file(config: Config, codec: str, quality: int | str) -> str | None:
    """Return the file with the weights of a codec at one quality; None if the entry names none."""
    checkpoint = config["codecs"][codec]["args"].get("checkpoint")
    return checkpoint and weights_of(checkpoint, int(quality))


def reference_tables(config: Config) -> dict[str, list[str]]:
    """Return the files with published curves by dataset."""
    tables = {dataset: entry["table"] for dataset, entry in config["references"].items()}
    return {
        dataset: [table] if isinstance(table, str) else table for dataset, table in tables.items()
    }


def exported_curves(config: Config) -> dict[str, dict[str, str | None]]:
    """Return the curves that are exported, by the name of their file.

    The names are ``DATASET/CODEC``, ``DATASET/CODEC_CELL`` and ``DATASET/BASELINE``. Published
    curves and the known limits of a source are not exported.
    """
    curves: dict[str, dict[str, str | None]] = {}
    for dataset in measured_datasets(config):
        for codec in analyzed_codecs(config):
            others = [name for name, of in attached_codecs(config).items() if of["codec"] == codec]
            for curve in ["codec", *simulation_spec(config, codec)["curves"], *others]:
                name = codec if curve == "codec" else f"{codec} {curve}"
                file = f"{dataset}/{name.replace(' ', '_').replace('/', '-')}"
                curves[file] = {"dataset": dataset, "codec": codec, "curve": curve, "name": name}
        for baseline in config["baselines"]:
            curves[f"{dataset}/{baseline}"] = {
                "dataset": dataset,
                "codec": None,
                "curve": baseline,
                "name": baseline,
            }
    return curves


def estimators_with(entries: Config, trait: Callable[[type], bool]) -> Iterator[tuple[str, str]]:
    """Yield axis and name of the estimators whose class has a trait.

    An entry that names a function instead of a class has no trait.
    """
    for axis in AXES:
        for name, entry in entries.get(axis.section, {}).items():
            target, _ = locate(axis.name, entry.get("use", name), axis.registry)
            part = load_attribute(target)
            if isinstance(part, type) and trait(part):
                yield axis.name, name


def fitted_estimators(entries: Config) -> list[tuple[str, str]]:
    """Return axis and name of the estimators that must be fitted on calibration images."""
    from rdpipe.estimators.base import FittedEstimator

    return list(estimators_with(entries, lambda part: issubclass(part, FittedEstimator)))


def needs_gain(config: Config, dataset: str) -> bool:
    """Return whether a quantizer is fitted to the decoder's gain on the images of a dataset."""
    from rdpipe.quantizers.base import Quantizer

    def has_trait(part: type) -> bool:
        return issubclass(part, Quantizer) and part.needs_gain

    return dataset == config["calibration"] and any(estimators_with(config, has_trait))


def residual_means(config: Config, axis: str) -> Entries:
    """Return the means to whose residuals an estimator is fitted: none except for variances."""
    means: Entries = config["means"] if axis == "variance" else {}
    return means


def gap_spec(config: Config) -> dict[str, Any]:
    """Return the slice of the array for each component of the gap in order, matching and seed."""
    return {
        "slices": [{"component": name, **gap_entries(config, name)} for name in COMPONENTS],
        "matching": config["matching"],
        "seed": config["seed"],
    }


def gap_entries(config: Config, component: str) -> dict[str, Entries]:
    """Return the entries of the slice of the array that a component of the gap needs, by section.

    All axes together are measured between the codec's cell and the limits.
    """
    moved = COMPONENTS[component]
    if moved is None:
        return limit_entries(config)
    return {
        axis.section: config[axis.section]
        if axis.name == moved
        else {axis.baseline: config[axis.section][axis.baseline]}
        for axis in AXES
    }


def limit_entries(config: Config) -> dict[str, Entries]:
    """Return the entries of the estimators of the codec's cell and of the limits, by section."""
    return used_entries(config, [BASELINE_CELL, *limit_cells(config)])


def limit_cells(config: Config) -> list[CellId]:
    """Return the cells of the limits."""
    return list(map(CellId.from_mapping, config["limits"].values()))


def simulated_cells(config: Config, codec: str) -> list[CellId]:
    """Return the cells that are simulated through the decoder of a codec.

    They are the curves of the config, and all corners between the codec's cell and its limits. Of a
    codec that was trained as a bound, it is the cell of its training; of a refined one that is only
    a rung, the corners that are rounded.
    """
    bound = config["codecs"][codec].get("bound_for")
    if bound:
        return [CellId.from_mapping(bound["cell"])]
    limits = limit_cells(config)
    if not config["codecs"][codec]["analyze"]:
        moved = [item for limit in limits for item in corners(limit).items()]
        return list(dict.fromkeys(cell for axes, cell in moved if QUANTIZER not in axes))
    cells = [*map(CellId.from_mapping, config["simulate"]["curves"])]
    cells += [corner for limit in limits for corner in corners(limit).values()]
    return list(dict.fromkeys(cells))


def simulation_spec(config: Config, codec: str) -> dict[str, Any]:
    """Return the simulated cells of a codec by name, their estimators, and how they are matched.

    A codec that was trained as a bound, or for a quantizer, has the level of its training.
    """
    cells = simulated_cells(config, codec)
    level = {}
    if "bound_for" in config["codecs"][codec]:
        refinement = refined_codecs(config).get(codec, {})
        retuning = retuned_codecs(config).get(base_codec(config, codec))
        trained = TRAINING_THETA if retuning is None else retuning_level(config, retuning)
        name = "step" if is_refined_for_lattice(config, codec) else "theta"
        level = {"level": refinement.get(name, trained)}
    return {
        **used_entries(config, cells),
        **level,
        "measure": config["quality_measure"],
        "matching": config["matching"],
        "seed": config["seed"],
        "curves": {str(cell): cell.names() for cell in cells},
    }


def coded_codecs(config: Config) -> Entries:
    """Return the codecs of which real bytes are written.

    Besides those that are analyzed, they are those that are fine-tuned, or whose latents are
    refined, for a quantizer that has an entropy coder.
    """
    from rdpipe.quantizers.base import CodableQuantizer

    codable = {
        name
        for axis, name in estimators_with(config, lambda part: issubclass(part, CodableQuantizer))
        if axis == QUANTIZER
    }
    bounds = {
        name: config["codecs"][name]
        for name in [*retuned_codecs(config), *refined_codecs(config)]
        if "bound_for" in config["codecs"][name]
    }
    return analyzed_codecs(config) | {
        name: entry
        for name, entry in bounds.items()
        if entry["bound_for"]["cell"][QUANTIZER] in codable
    }


def bitstream_cells(config: Config, codec: str) -> list[CellId]:
    """Return the cells that are written as real bytes, if they have a bitstream.

    They are those that are simulated, and those with another variance or prior than the codec,
    which decode to its own pictures. Of a codec that is a bound, it is the cell of its training.
    """
    if "bound_for" in config["codecs"][codec]:
        return simulated_cells(config, codec)
    cells = [BASELINE_CELL, *simulated_cells(config, codec)]
    cells += [BASELINE_CELL.replace(variance=name) for name in config["variances"]]
    return list(dict.fromkeys(cells))


def bitstream_spec(config: Config, codec: str) -> dict[str, Any]:
    """Return the cells that are written as real bytes, their estimators and the seed."""
    cells = bitstream_cells(config, codec)
    return {
        **used_entries(config, cells),
        "cells": {str(cell): cell.names() for cell in cells},
        "seed": config["seed"],
    }


def calibrated_quantizers(cells: Iterable[CellId]) -> list[str]:
    """Return the quantizers whose reconstruction some cells need."""
    return list(dict.fromkeys(cell.quantizer for cell in cells if cell.is_calibrated))


def reconstruction_spec(config: Config, quantizer: str) -> dict[str, Any]:
    """Return what the fit of the reconstruction of a quantizer needs."""
    cell = BASELINE_CELL.replace(quantizer=quantizer)
    return {**used_entries(config, [cell]), "quantizer": quantizer, "seed": config["seed"]}


def used_entries(config: Config, cells: Iterable[CellId]) -> dict[str, Entries]:
    """Return the entries of the estimators that some cells use, by section."""
    cells = list(cells)
    names = {axis.section: [cell.selector()[axis.name] for cell in cells] for axis in AXES}
    return {
        section: {name: config[section][name] for name in used} for section, used in names.items()
    }


def used_modules(config: Config, used: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the modules behind some names of the config, for the digests of their source.

    The module that a codec names as its ``model`` counts too.

    Parameters
    ----------
    config : mapping
    used : mapping of str to iterable of str
        Names by section. A codec comes with the codec that has its networks, or had its weights.
    """
    targets = set()
    for section, name in _with_bases(config, used):
        entry = config[section][name]
        target, _ = locate(section, entry.get("use", name), REGISTRIES[section][1])
        targets |= {target, entry.get("args", {}).get("model")}
    return sorted({t.partition(":")[0] for t in targets if isinstance(t, str) and ":" in t})


def used_weights(config: Config, used: Mapping[str, Iterable[str]]) -> list[Path]:
    """Return the files of the embedded weights of some codecs; see :func:`used_modules`."""
    uses = {
        config[section][name].get("use", name)
        for section, name in _with_bases(config, used)
        if section == "codecs"
    }
    files = (EMBEDDED / f"{use}.safetensors" for use in sorted(uses))
    return [file for file in files if file.exists()]


def _with_bases(config: Config, used: Mapping[str, Iterable[str]]) -> set[tuple[str, str]]:
    """Return section and name of what is used; for a codec those whose networks it has."""
    refined, retuned = refined_bases(config), retuned_bases(config)
    pairs = set()
    for section, names in used.items():
        for name in names:
            base = refined.get(name, name) if section == "codecs" else name
            pairs.add((section, base))
            if section == "codecs" and base in retuned:
                pairs.add((section, retuned[base]))
    return pairs
