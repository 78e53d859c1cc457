"""Trainings of codecs, and codecs that are measured for another one: retuned and refined ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rdpipe.config.query import (
    QUANTIZER,
    REFINED,
    RETUNED,
    fitted_estimators,
    refined_codecs,
    retuned_codecs,
    retuning_level,
    retunings,
)
from rdpipe.core.axes import BASELINE_CELL, CellId
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import DIFFERENTIABLE, CodecPart, Reconstruction
from rdpipe.core.plugins import suggest
from rdpipe.refinement.spec import RefinedFor, RefinementSpec

CHANNEL = str(RefinedFor.TEST_CHANNEL)
LATTICE = str(RefinedFor.LATTICE)
NOISE = "noise"
ROUNDED = ("rounding", NOISE)
"""Quantizers of trainings for the codec's own coding."""
WHOLE = sorted(map(str, CodecPart))
"""All parts of a codec."""


def complete_attached(config: Mapping[str, Any]) -> None:
    """Check trainings of codecs, retuned codecs and refined ones, and add what follows, in place.

    Raises
    ------
    InputError
        If an entry is invalid, or does not fit the entries that it names.
    """
    for name, entry in retunings(config).items():
        complete_retuning(config, name, entry)
    for name, entry in config["codecs"].items():
        use = entry.get("use", name)
        if use == RETUNED:
            complete_retuned(config, name, entry)
        elif use != REFINED and not entry["analyze"]:
            raise InputError(
                f"config: codecs.{name}.analyze is false; expected `use: refined` or `retuned`"
            )
    for name in refined_codecs(config):
        complete_refined(config, name, config["codecs"][name])


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    """Check that a name is among the known ones.

    Raises
    ------
    InputError
        If it is not; suggests the most similar known names.
    """
    names = list(known)
    if name not in names:
        raise InputError(f"config: unknown {what} {name!r}; {suggest(name, names)}")


def complete_retuning(config: Mapping[str, Any], name: str, entry: dict[str, Any]) -> None:
    """Check the training of a codec, and state its qualities and parts, in place."""
    place, start = f"training.{name}", entry["start"]
    bases = [
        codec
        for codec, values in config["codecs"].items()
        if values.get("use", codec) not in (REFINED, RETUNED)
    ]
    check_known(f"codec in {place}.start", start["codec"], bases)
    known = config["codecs"][start["codec"]]["qualities"]
    chosen = start.get("quality", known)
    start["quality"] = chosen if isinstance(chosen, list) else [chosen]
    for quality in start["quality"]:
        if quality not in known:
            raise InputError(
                f"config: {place}.start.quality {quality} is not a quality of"
                f" {start['codec']!r}; expected one of: {', '.join(map(str, known))}"
            )
    entry["train"] = WHOLE if entry["train"] == "all" else sorted(entry["train"])
    if entry["train"] not in (["decoder"], WHOLE):
        raise InputError(
            f"config: {place}.train is {', '.join(entry['train'])}, which no rung of the ladder"
            " stands for; expected [decoder] or all"
        )
    check_quantizer(config, place, entry)
    count = len(entry.get("lambdas", []))
    if count != len(start["quality"]) and (entry["train"] == WHOLE or "lambdas" in entry):
        raise InputError(
            f"config: {place} has {count} lambdas; expected one for each of the"
            f" {len(start['quality'])} qualities"
        )


def check_quantizer(config: Mapping[str, Any], place: str, entry: Mapping[str, Any]) -> None:
    """Check that a codec can be trained for the quantizer, at the level that the entry states."""
    name, known = entry["quantizer"], config["quantizers"]
    if name in ROUNDED and "level" in entry:
        raise InputError(
            f"config: {place} has a level, but {name} has the codec's own step; remove it"
        )
    if entry["train"] == ["decoder"]:
        check_known(f"quantizer in {place}", name, [*known, NOISE])
    elif name not in DIFFERENTIABLE:
        raise InputError(
            f"config: {place}.quantizer {name!r} has no gradient, which the encoder and the prior"
            f" need; expected one of: {', '.join(DIFFERENTIABLE)}, or train: [decoder]"
        )
    elif name != NOISE and (name not in known or known[name].get("use", name) != name):
        raise InputError(
            f"config: {place}.quantizer {name!r}: expected this name in quantizers, without `use`"
        )
    if name in known and fitted_estimators({"quantizers": {name: known[name]}}):
        raise InputError(
            f"config: {place}.quantizer {name!r} is fitted on latents, which a training changes;"
            " expected one that is not fitted"
        )


def complete_retuned(config: Mapping[str, Any], name: str, entry: dict[str, Any]) -> None:
    """Check a codec whose weights were trained, and state what its cell is for, in place."""
    if entry["args"].keys() != {"training"}:
        raise InputError(
            f"config: codec {name!r}: args has {', '.join(entry['args']) or 'no key'}; expected"
            " training, the name of an entry of `training` with start: {codec: ...}"
        )
    check_known(f"training of codec {name!r}", entry["args"]["training"], retunings(config))
    training = config["training"][entry["args"]["training"]]
    known = training["start"]["quality"]
    if missing := [quality for quality in entry["qualities"] if quality not in known]:
        raise InputError(
            f"config: codec {name!r} is not trained at quality {missing[0]}; expected one of:"
            f" {', '.join(map(str, known))}"
        )
    quantizer = training["quantizer"]
    if quantizer in ROUNDED:
        if "bound_for" in entry:
            raise InputError(
                f"config: codec {name!r} is trained for {quantizer}, so its curve is that of its"
                " own coding; remove bound_for"
            )
        return
    cell, owner = BASELINE_CELL.replace(quantizer=quantizer).names(), training["start"]["codec"]
    bound = entry.setdefault("bound_for", {"codec": owner, "cell": cell})
    if training["train"] != WHOLE and bound["codec"] != owner:
        raise InputError(
            f"config: codec {name!r}: bound_for.codec is {bound['codec']!r}; expected {owner!r},"
            " whose decoder is trained"
        )
    if bound["cell"][QUANTIZER] != quantizer:
        raise InputError(
            f"config: codec {name!r}: bound_for.cell.quantizer is {bound['cell'][QUANTIZER]!r};"
            f" expected {quantizer!r}, for which it is trained"
        )


def complete_refined(config: Mapping[str, Any], name: str, entry: dict[str, Any]) -> None:
    """Check a codec with refined latents, and state what its bound is for, in place."""
    try:
        spec = RefinementSpec.from_mapping(entry["args"])
    except InputError as error:
        raise InputError(f"config: codec {name!r}: {error}") from error
    if spec.lambdas is not None and len(spec.lambdas) != len(entry["qualities"]):
        raise InputError(
            f"config: codec {name!r} has {len(spec.lambdas)} lambdas; expected one for each of"
            f" the {len(entry['qualities'])} qualities"
        )
    bases = [codec for codec in config["codecs"] if codec not in refined_codecs(config)]
    check_known("codec that is refined", spec.codec, bases)
    if training := retuned_codecs(config).get(spec.codec):
        check_refined_for(config, name, spec, training)
        if spec.quantizer is not RefinedFor.ROUNDING:
            level = "theta" if spec.quantizer is RefinedFor.TEST_CHANNEL else "step"
            entry["args"].setdefault(level, retuning_level(config, training))
    bound = config["codecs"][spec.codec].get("bound_for")
    if spec.quantizer is RefinedFor.ROUNDING:
        if bound or "bound_for" in entry:
            raise InputError(
                f"config: codec {name!r} is refined for rounding, which is no bound; expected"
                " quantizer: test-channel, or no `bound_for` of it and of its codec"
            )
    elif "bound_for" not in entry:
        entry["bound_for"] = bound or {"codec": spec.codec, "cell": refined_cell(spec.quantizer)}
    if spec.quantizer is RefinedFor.LATTICE:
        entry["args"].setdefault("step", spec.step)
        check_lattice(config, name, entry["bound_for"]["cell"])


def refined_cell(quantizer: RefinedFor) -> dict[str, str]:
    """Return the cell of latents that were refined for another quantizer than rounding.

    After a lattice, decoded residuals are calibrated.
    """
    cell = BASELINE_CELL.replace(quantizer=str(quantizer))
    if quantizer is RefinedFor.LATTICE:
        cell = cell._replace(reconstruction=Reconstruction.CALIBRATED)
    return cell.names()


def check_lattice(config: Mapping[str, Any], name: str, cell: Mapping[str, str]) -> None:
    """Check that the cell of latents that were refined for a lattice has this lattice.

    Raises
    ------
    InputError
        If it has another quantizer, or another mean or variance than the codec.
    """
    cell_id, expected = CellId.from_mapping(cell), BASELINE_CELL.replace(quantizer=LATTICE)
    if cell_id.selector() != expected.selector():
        raise InputError(
            f"config: codec {name!r} is refined for {LATTICE}, but its bound_for.cell is {cell_id};"
            f" expected {expected}, plain or calibrated"
        )
    entry = config["quantizers"].get(LATTICE, {})
    if entry.get("use", LATTICE) != LATTICE or "order" in entry.get("args", {}):
        raise InputError(
            f"config: codec {name!r} is refined for {LATTICE}; expected quantizers.{LATTICE}"
            " without `use` and without `order`"
        )


def check_refined_for(
    config: Mapping[str, Any], name: str, spec: RefinementSpec, training: Mapping[str, Any]
) -> None:
    """Check that latents are refined for the quantizer that the decoder is trained for."""
    trained_for = training["quantizer"]
    use = config["quantizers"].get(trained_for, {}).get("use", trained_for)
    is_rounded = spec.quantizer is RefinedFor.ROUNDING
    if use not in (ROUNDED if is_rounded else (str(spec.quantizer),)):
        raise InputError(
            f"config: codec {name!r} is refined for {spec.quantizer}, but {spec.codec!r} is"
            f" trained for {trained_for}; expected a codec that is trained for {spec.quantizer}"
        )
