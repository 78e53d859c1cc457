"""Validation of a config against the schema, with defaults; look-up of its names."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from contextlib import suppress
from os.path import expanduser
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from rdpipe.baselines import BASELINES
from rdpipe.codecs import CODECS, weights_of
from rdpipe.config.attached import check_known, complete_attached
from rdpipe.config.query import (
    REGISTRIES,
    analyzed_codecs,
    attached_codecs,
    bound_codecs,
    fitted_estimators,
    measured_datasets,
    networks,
)
from rdpipe.config.values import check_values, number_in_yaml
from rdpipe.core.axes import AXES, CellId
from rdpipe.core.device import available_device
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import bind_entry, locate, suggest

RENAMED = {"anchors": "it is now baselines", "beside": "it is now bound_for"}
"""Hints at keys of earlier versions."""


def complete(config: Mapping[str, Any], schema_file: Path) -> dict[str, Any]:
    """Validate a config and add the defaults.

    Parameters
    ----------
    config : mapping
        As read from YAML.
    schema_file : Path
        ``workflow/schema.yaml``.

    Returns
    -------
    dict
        A new config with every key of the schema.

    Raises
    ------
    InputError
        If a key, a value or a name is invalid; names the place and what is allowed there.
    """
    check_values(config, "config")
    schema = yaml.safe_load(Path(schema_file).read_text())
    completed: dict[str, Any] = add_defaults(copy.deepcopy(config), schema, schema)
    simulate = config.get("simulate")
    if not (isinstance(simulate, Mapping) and "curves" in simulate):
        drop_unknown_curves(completed)
    errors = sorted(
        jsonschema.Draft202012Validator(schema).iter_errors(completed), key=lambda e: list(e.path)
    )
    if errors:
        raise InputError("config: " + "; ".join(describe_error(error) for error in errors))
    complete_attached(completed)
    check_names(completed)
    expand_home(completed)
    if completed["calibration"] is None:
        use_plain_reconstructions(completed)
    return completed


def use_plain_reconstructions(config: Mapping[str, Any]) -> None:
    """Make the reconstruction of every cell plain, in place: there is nothing to fit it on."""
    for cell in all_cells(config).values():
        cell.pop("reconstruction", None)


def drop_unknown_curves(config: Mapping[str, Any]) -> None:
    """Drop the default curves that have an estimator that is not in the config, in place.

    A config that is not valid is left as it is, for the schema to refuse.
    """
    with suppress(KeyError, TypeError, AttributeError):
        curves = config["simulate"]["curves"]
        curves[:] = [c for c in curves if all(c[a.name] in config[a.section] for a in AXES)]


def all_cells(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the cells that a config names, by their place in it."""
    bounds = {
        f"codecs.{name}.bound_for.cell": entry["bound_for"]["cell"]
        for name, entry in config["codecs"].items()
        if "bound_for" in entry
    }
    limits = {f"limits.{name}": cell for name, cell in config["limits"].items()}
    curves = {f"simulate.curves.{i}": cell for i, cell in enumerate(config["simulate"]["curves"])}
    return bounds | limits | curves


def add_defaults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Add the defaults of a schema to a value, at every depth, in place; return the value."""
    if "$ref" in schema:
        schema = {**root["$defs"][schema["$ref"].rsplit("/", 1)[1]], **schema}
    if "if" in schema:
        chosen = "then" if jsonschema.Draft202012Validator(schema["if"]).is_valid(value) else "else"
        return add_defaults(value, schema[chosen], root)
    if isinstance(value, dict):
        for key, subschema in schema.get("properties", {}).items():
            if key not in value and "default" in subschema:
                value[key] = copy.deepcopy(subschema["default"])
        for key, item in value.items():
            subschema = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if isinstance(subschema, dict):
                value[key] = add_defaults(item, subschema, root)
    return value


def describe_error(error: jsonschema.ValidationError) -> str:
    """Return a schema error in words, with a hint at what was probably meant."""
    place = ".".join(map(str, error.path)) or "top level"
    if error.validator == "additionalProperties":
        schema: Any = error.schema
        known = schema.get("properties", {})
        instance: Any = error.instance
        unknown = [key for key in instance if key not in known]
        return "; ".join(
            f"{place}: unknown key {key!r}; {RENAMED.get(key) or suggest(key, known)}"
            for key in unknown
        )
    return f"{place}: {error.message}{_type_hint(error)}"


def _type_hint(error: jsonschema.ValidationError) -> str:
    """Return how to write a value that YAML reads as another type; empty if it does not."""
    if error.validator != "type":
        return ""
    expected: Any = error.validator_value
    value = error.instance
    if isinstance(value, str) and expected in ("number", "integer"):
        number = number_in_yaml(value)
        return f"; write {number}" if number else ""
    is_name = "string" in expected and isinstance(value, (bool, int, float))
    return "; put a name in quotes" if is_name else ""


def check_names(config: Mapping[str, Any]) -> None:
    """Look up every dataset, codec, baseline and estimator, and every reference between them.

    Raises
    ------
    InputError
        If a name is unknown or not allowed, or arguments do not fit.
    """
    for section, (what, registry) in REGISTRIES.items():
        for name, entry in config[section].items():
            target = find_target(what, entry.get("use", name), registry)
            if target not in registry.values():
                check_importable(what, name, target)
            # codecs import torch, and plug-ins import anything: the job checks their arguments
            if what != "codec" and target.startswith("rdpipe."):
                check_arguments(what, name, entry, registry)
    if not (config["codecs"] or config["baselines"] or config["training"]):
        raise InputError(
            "config: there is nothing to do; expected an entry in codecs, baselines or training"
        )
    for training in config["training"].values():
        check_known("dataset", training["dataset"], config["datasets"])
    check_codec_names(config)
    check_cells(config)
    check_labels(config)
    check_measured(config)
    check_calibration(config)
    if config["references"] and not config["codecs"]:
        raise InputError(
            "config: references are drawn with the curves of a codec, but codecs is empty"
        )
    for dataset in config["references"]:
        check_known("measured dataset", dataset, measured_datasets(config))


def check_labels(config: Mapping[str, Any]) -> None:
    """Check that each label belongs to a codec, a baseline, a published curve or a cell.

    Raises
    ------
    InputError
        If there is no such name. Without a list of published curves, any name may be that of one.
    """
    references = config["references"].values()
    published = [name for entry in references for name in entry.get("curves", [])]
    for name in config["labels"]:
        if "/" in name:
            cell = CellId.parse(name)
            for axis in AXES:
                check_known(axis.name, getattr(cell, axis.name), config[axis.section])
        elif all("curves" in entry for entry in references):
            check_known("label", name, [*config["codecs"], *config["baselines"], *published])


def find_target(what: str, name: str, registry: Mapping[str, str]) -> str:
    """Return the ``module:attribute`` of a name.

    Raises
    ------
    InputError
        If the name is unknown; says so if it is the name of an architecture.
    """
    try:
        return locate(what, name, registry)[0]
    except InputError as error:
        architecture = known_architecture(name) if what == "codec" else None
        if architecture is None:
            raise InputError(f"config: {error}") from error
        raise InputError(
            f"config: unknown codec {name!r}; for an architecture of CompressAI write use:"
            f" compressai, args: {{architecture: {architecture}, checkpoint: FILE}}, or pretrained:"
            " true instead of the checkpoint"
        ) from error


def known_architecture(name: str) -> str | None:
    """Return the architecture of CompressAI with a name; None if there is none."""
    try:
        from rdpipe.codecs.compressai.checkpoint import ARCHITECTURES
    except ImportError:  # CompressAI is optional
        return None
    architecture = name.lower().replace("_", "-")
    return architecture if architecture in ARCHITECTURES else None


def check_codec_names(config: Mapping[str, Any]) -> None:
    """Check the names of codecs and baselines, their checkpoints, and what bounds are for."""
    for name, entry in config["codecs"].items():
        check_checkpoint(name, entry["args"].get("checkpoint"))
        check_rates("codecs", name, entry)
    for name, entry in config["baselines"].items():
        check_rates("baselines", name, entry)
    if shared := sorted(config["baselines"].keys() & config["codecs"].keys()):
        raise InputError(f"config: codecs and baselines both have {shared[0]!r}; rename one")
    for section in ("baselines", "codecs"):
        if "codec" in config[section]:
            raise InputError(
                f"config: {section}.codec: this is the name of every codec's own curve; expected"
                " another name"
            )
    analyzed = analyzed_codecs(config)
    for codec in bound_codecs(config).values():
        check_known("analyzed codec", codec, analyzed)
    for name, attachment in attached_codecs(config).items():
        if name not in analyzed and attachment["codec"] not in analyzed:
            raise InputError(
                f"config: codec {name!r} is a curve of {attachment['codec']!r}, and neither is"
                " analyzed; expected analyze: true for one of them"
            )


def check_cells(config: Mapping[str, Any]) -> None:
    """Check that the codec's cell exists unchanged, and that the estimators of all cells exist."""
    for axis in AXES:
        section, name = axis.section, axis.baseline
        if config["codecs"] and name not in config[section]:
            raise InputError(f"config: {section} must have {name!r}, the codec as it is")
        entry = config[section].get(name, {})
        if entry.get("use", name) != name or entry.get("args"):
            raise InputError(
                f"config: {section}.{name} is the codec as it is and takes neither use nor args;"
                " expected a new entry under another name"
            )
    for place, cell in all_cells(config).items() if config["codecs"] else []:
        for axis in AXES:
            check_known(f"{axis.name} in {place}", cell[axis.name], config[axis.section])


def check_importable(what: str, name: str, target: str) -> None:
    """Check that the module of ``module:attribute`` exists, without importing it.

    Packages that contain the module are imported.

    Raises
    ------
    InputError
        If it does not.
    """
    module = target.partition(":")[0]
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # a parent cannot be imported, or this is not a module's name
        spec = None
    if spec is None:
        raise InputError(
            f"config: {what} {name!r}: there is no module {module!r} on the Python path"
        )


def check_arguments(
    what: str, name: str, entry: Mapping[str, Any], registry: Mapping[str, str]
) -> None:
    """Check that the arguments fit the factory, and build the part, except for datasets.

    Raises
    ------
    InputError
        If an argument is unknown or missing, or its value is invalid.
    """
    try:
        build = bind_entry(what, name, entry, registry)
    except InputError as error:
        raise InputError(f"config: {error}") from error
    if what != "dataset":
        try:
            build()
        except InputError as error:
            raise InputError(f"config: {what} {name!r}: {error}") from error


def check_checkpoint(codec: str, file: object) -> None:
    """Check that a file of weights is a text without other placeholders than the quality.

    Raises
    ------
    InputError
        If it is not.
    """
    if file is None:
        return
    # braces are compared as text: format() would also evaluate attributes
    if not isinstance(file, str) or {"{", "}"} & set(weights_of(file, 1)):
        raise InputError(
            f"config: codecs.{codec}.args.checkpoint {file!r}: expected a text in which {{quality}}"
            " stands for the quality, and no other braces"
        )


def check_rates(section: str, name: str, entry: Mapping[str, Any]) -> None:
    """Check that several qualities of a codec or baseline are not one and the same.

    Raises
    ------
    InputError
        If a file of weights with a fixed rate, or the command of an encoder, has no ``{quality}``.
    """
    what, registry = REGISTRIES[section]
    target, args = locate(what, entry.get("use", name), registry)[0], entry["args"]
    if len(entry["qualities"]) == 1:
        return
    if target == CODECS["compressai"] and not str(args.get("architecture")).endswith("-vbr"):
        key = "checkpoint"
    elif target == BASELINES["external"]:
        key = "encode"
    else:
        return
    if key in args and "{quality}" not in str(args[key]):
        raise InputError(
            f"config: {section}.{name}.args.{key} {args[key]!r} is the same for the qualities"
            f" {', '.join(map(str, entry['qualities']))}; expected {{quality}} in it, or a single"
            " quality"
        )


def expand_home(config: Mapping[str, Any]) -> None:
    """Replace a leading ``~`` in the names of files that are keys of the schema, in place."""
    for training in networks(config).values():
        if "start" in training:
            training["start"] = expanduser(training["start"])
    for entry in config["references"].values():
        table = entry["table"]
        is_one = isinstance(table, str)
        entry["table"] = expanduser(table) if is_one else list(map(expanduser, table))


def check_device(device: str) -> None:
    """Check that this machine has the GPU on which codecs are to run.

    Raises
    ------
    InputError
        If it has not.
    """
    if device.startswith("cuda"):  # PyTorch is heavy, and loaded only where a GPU is requested
        try:
            available_device(device)
        except InputError as error:
            raise InputError(f"config: {error}") from None


def check_measured(config: Mapping[str, Any]) -> None:
    """Check that codecs have a dataset on which they are measured.

    Raises
    ------
    InputError
        If calibration and trainings use them all.
    """
    if config["datasets"] and config["codecs"] and not measured_datasets(config):
        uses = [f"training {name!r}" for name in config["training"]]
        uses += ["calibration"] if config["calibration"] else []
        raise InputError(
            f"config: the datasets {', '.join(config['datasets'])} are used by"
            f" {' and '.join(uses)}, so that they are not measured; add a dataset to measure"
        )


def check_calibration(config: Mapping[str, Any]) -> None:
    """Check that fitted estimators have a calibration dataset.

    Raises
    ------
    InputError
        If there is none, or it is unknown.
    """
    name = config["calibration"]
    if name is not None:
        check_known("dataset", name, config["datasets"])
        return
    for axis, estimator in fitted_estimators(config):
        raise InputError(f"config: {axis} {estimator!r} is fitted; name a dataset as `calibration`")
