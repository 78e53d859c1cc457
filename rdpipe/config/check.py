"""A config checked against the schema and completed with its defaults; its names looked up."""

from __future__ import annotations

import copy
import importlib.util
import math
from pathlib import Path

import jsonschema
import yaml

from rdpipe.core.axes import START
from rdpipe.codecs import weights_of
from rdpipe.config.query import AXES, REGISTRIES, analysed, beside, fitted_estimators, measured
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import bind_entry, locate, suggest


def complete(config: dict, schema_file: Path) -> dict:
    """Check a config and fill in the defaults.

    Parameters
    ----------
    config : dict
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
        If a key, a value or a name is wrong; names the place and what is allowed there.
    """
    schema = yaml.safe_load(Path(schema_file).read_text())
    config = fill(copy.deepcopy(config), schema, schema)
    errors = sorted(
        jsonschema.Draft202012Validator(schema).iter_errors(config), key=lambda e: list(e.path)
    )
    if errors:
        raise InputError("config: " + "; ".join(describe(error) for error in errors))
    check_finite(config, "config")
    check_names(config)
    return config


def fill(value, schema: dict, root: dict):
    """A value with the defaults of its schema, at every depth."""
    if "$ref" in schema:
        schema = {**root["$defs"][schema["$ref"].rsplit("/", 1)[1]], **schema}
    if isinstance(value, dict):
        for key, sub in schema.get("properties", {}).items():
            if key not in value and "default" in sub:
                value[key] = copy.deepcopy(sub["default"])
        for key, item in value.items():
            sub = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if isinstance(sub, dict):
                value[key] = fill(item, sub, root)
    return value


def describe(error: jsonschema.ValidationError) -> str:
    """A schema error in words, with the nearest known keys for an unknown one."""
    place = ".".join(map(str, error.path)) or "top level"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = [key for key in error.instance if key not in known]
        return "; ".join(f"{place}: unknown key {key!r}; {suggest(str(key), known)}" for key in unknown)
    return f"{place}: {error.message}"


def check_finite(value, place: str) -> None:
    """YAML has numbers that no limit of a schema refuses: .nan and .inf."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        check_finite(item, f"{place}.{key}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{place}: {value} is no finite number")


def check_names(config: dict) -> None:
    """Look up every data set, codec, anchor and estimator, and every reference between them."""
    for section, (what, table) in REGISTRIES.items():
        for name, entry in config[section].items():
            target, _ = locate(what, entry.get("use", name), table)
            check_importable(what, name, target)
            # codecs import torch, and plugins what they like: their arguments are checked by the job
            if what != "codec" and target.startswith("rdpipe."):
                check_arguments(what, name, entry, table)
    for name, entry in config["codecs"].items():
        check_checkpoint(name, entry["args"].get("checkpoint"))
    if both := sorted(config["anchors"].keys() & config["codecs"].keys()):
        raise InputError(f"config: codecs and anchors both have {both[0]!r}; rename one")
    for section in ("anchors", "codecs"):
        if "codec" in config[section]:
            raise InputError(f"config: {section}.codec: every codec's own curve has this name; choose another one")
    for axis, start in START.items():
        if config["codecs"] and start not in config[AXES[axis]]:
            raise InputError(f"config: {AXES[axis]} must have {start!r}, the codec as it is")
        entry = config[AXES[axis]].get(start, {})
        if entry.get("use", start) != start or entry.get("args"):
            raise InputError(
                f"config: {AXES[axis]}.{start} is the codec as it is and takes neither use nor args;"
                " give another one a name of its own"
            )
    joint = [one["beside"]["curve"] for one in config["codecs"].values() if "beside" in one]
    cells = [*config["limits"].values(), *config["simulate"]["curves"]] if config["codecs"] else []
    cells += joint
    for cell in cells:
        for axis, name in cell.items():
            require(axis, name, config[AXES[axis]])
    check_calibration(config)
    if config["references"] and not config["codecs"]:
        raise InputError("config: references are drawn with the curves of a codec; codecs has none")
    for dataset in config["references"]:
        require("measured data set", dataset, measured(config))
    for other in beside(config).values():
        require("analysed codec", other, analysed(config))
    for training in config["training"].values():
        require("dataset", training["dataset"], config["datasets"])


def require(what: str, name: str, known) -> None:
    if name not in known:
        raise InputError(f"config: unknown {what} {name!r}; {suggest(name, known)}")


def check_importable(what: str, name: str, target: str) -> None:
    module = target.partition(":")[0]
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # of a parent, or no name of a module at all
        found = None
    if found is None:
        raise InputError(
            f"config: {what} {name!r}: there is no module {module!r} on the Python path"
        )


def check_arguments(what: str, name: str, entry: dict, table: dict[str, str]) -> None:
    """Whether the arguments fit the factory, which judges their values; a data set is not looked for yet."""
    try:
        build = bind_entry(what, name, entry, table)
    except InputError as error:
        raise InputError(f"config: {error}") from error
    if what != "dataset":
        try:
            build()
        except InputError as error:
            raise InputError(f"config: {what} {name!r}: {error}") from error


def check_checkpoint(codec: str, file) -> None:
    """Whether a file of weights is a text that has, at most, a place for the quality."""
    # nothing but the name of the field: format() would also look into attributes
    if file is not None and (not isinstance(file, str) or {"{", "}"} & set(weights_of(file, 1))):
        raise InputError(
            f"config: codecs.{codec}.args.checkpoint {file!r}: allowed is a text in which {{quality}} stands"
            " for the quality, and no other braces"
        )


def check_calibration(config: dict) -> None:
    """A data set to fit on where something is to be fitted, and another one to measure."""
    name = config["calibration"]
    if name is not None:
        require("dataset", name, config["datasets"])
        if config["codecs"] and len(config["datasets"]) == 1:
            raise InputError(
                f"config: calibration {name!r} is the only data set; add one to measure"
            )
    elif fitted := fitted_estimators(
        {section: config[section] for section in AXES.values()}
    ):
        axis, estimator = fitted[0]
        raise InputError(
            f"config: {axis} {estimator!r} is fitted: name a data set as `calibration`"
        )
