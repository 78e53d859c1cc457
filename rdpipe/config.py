"""The config: checked against the schema, completed with defaults, its names looked up.

All of this happens before any job starts, and imports nothing heavy: the Snakefile is read again in
every job of a cluster.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import math
from pathlib import Path

import jsonschema
import yaml

from rdpipe.axes import MEANS, QUANTIZERS, START, TRAINED_LEVEL, VARIANCES, cell_name
from rdpipe.codecs import ANCHORS, CODECS
from rdpipe.datasets import DATASETS
from rdpipe.errors import InputError
from rdpipe.plugins import load, locate, nearest

AXES = {"mean": "means", "variance": "variances", "quantizer": "quantizers"}
COMPONENTS = {"variance": "variance", "quantization": "quantizer", "context": "mean", "joint": None}
"""Each gap and the axis along which it is measured; joint is the whole array."""


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
        return "; ".join(f"{place}: unknown key {key!r}; {nearest(str(key), known)}" for key in unknown)
    return f"{place}: {error.message}"


def check_finite(value, place: str) -> None:
    """YAML has numbers that no limit of a schema refuses: .nan and .inf."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        check_finite(item, f"{place}.{key}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{place}: {value} is no finite number")


def checkpoint(config: dict, codec: str, quality: int) -> str | None:
    """The file of weights of a codec at one quality, where it has one."""
    file = config["codecs"][codec]["args"].get("checkpoint")
    if file is None:
        return None
    # nothing but the name of the field: format() would also look into attributes
    if not isinstance(file, str) or {"{", "}"} & set(file.replace("{quality}", "")):
        raise InputError(
            f"config: codecs.{codec}.args.checkpoint {file!r}: allowed is a text in which {{quality}} stands"
            " for the quality, and no other braces"
        )
    return file.replace("{quality}", str(quality))


def check_names(config: dict) -> None:
    """Look up every data set, codec, anchor and estimator, and every reference between them."""
    for what, section, table in (
        ("dataset", "datasets", DATASETS),
        ("codec", "codecs", CODECS),
        ("anchor", "anchors", ANCHORS),
        ("mean", "means", MEANS),
        ("variance", "variances", VARIANCES),
        ("quantizer", "quantizers", QUANTIZERS),
    ):
        for name, entry in config[section].items():
            target, numbers = locate(what, entry.get("use", name), table)
            check_importable(what, name, target)
            if what != "codec":  # codecs import torch; their arguments are checked by the job
                check_arguments(what, name, target, numbers, entry["args"])
    for name, entry in config["codecs"].items():
        checkpoint(config, name, entry["qualities"][0])
    if both := sorted(config["anchors"].keys() & config["codecs"].keys()):
        raise InputError(f"config: codecs and anchors both have {both[0]!r}; rename one")
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


def fitted_estimators(used: dict) -> list[tuple[str, str]]:
    """Axis and name of the estimators in use that must be fitted on calibration images."""
    return that_say(used, "fitted")


def asks_for_gain(config: dict, dataset: str) -> bool:
    """Whether an estimator is fitted to the decoder's gain on the images of a data set."""
    return dataset == config["calibration"] and bool(that_say(config, "needs_gain"))


def that_say(used: dict, trait: str) -> list[tuple[str, str]]:
    """Axis and name of the estimators in use of which something is true."""
    tables = {"mean": MEANS, "variance": VARIANCES, "quantizer": QUANTIZERS}
    return [
        (axis, name)
        for axis, section in AXES.items()
        for name, entry in used.get(section, {}).items()
        if getattr(load(locate(axis, entry.get("use", name), tables[axis])[0]), trait, False)
    ]


def means_of(config: dict, axis: str) -> dict:
    """The means whose residuals an estimator of an axis is fitted to; none but for a variance."""
    return {"means": config["means"] if axis == "variance" else {}}


def analysed(config: dict) -> dict:
    """The codecs that are analysed: all but those of which one curve joins another one's."""
    return {name: one for name, one in config["codecs"].items() if "beside" not in one}


def beside(config: dict) -> dict[str, str]:
    """The codecs of which one curve joins another one's, and that one's name."""
    return {
        name: one["beside"]["codec"] for name, one in config["codecs"].items() if "beside" in one
    }


def measured(config: dict) -> list[str]:
    """The data sets that are measured: all but the one for calibration."""
    return [name for name in config["datasets"] if name != config["calibration"]]


def tables(config: dict) -> dict[str, list[str]]:
    """The tables of published curves, by data set."""
    given = {dataset: one["table"] for dataset, one in config["references"].items()}
    return {d: [table] if isinstance(table, str) else table for d, table in given.items()}


def curves(config: dict) -> dict[str, dict]:
    """The curves that are traced, by the name of a file: ``DATASET/CODEC``, ``DATASET/CODEC_CELL``.

    Published ones are not among them, nor what a codec knows of its source.
    """
    found = {}
    for dataset in measured(config):
        for codec in analysed(config):
            joint = [name for name, other in beside(config).items() if other == codec]
            for curve in ["codec", *simulation(config, codec)["curves"], *joint]:
                name = codec if curve == "codec" else f"{codec} {curve}"
                found[f"{dataset}/{name.replace(' ', '_').replace('/', '-')}"] = {
                    "dataset": dataset, "codec": codec, "curve": curve, "name": name}  # fmt: skip
        for anchor in config["anchors"]:
            found[f"{dataset}/{anchor}"] = {
                "dataset": dataset, "codec": "", "curve": anchor, "name": anchor}  # fmt: skip
    return found


def require(what: str, name: str, known) -> None:
    if name not in known:
        raise InputError(f"config: unknown {what} {name!r}; {nearest(name, known)}")


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


def check_arguments(what: str, name: str, target: str, numbers: list, args: dict) -> None:
    """Whether the arguments fit the factory's signature; the values are its own to judge."""
    if not target.startswith("rdpipe."):
        return  # a plugin may be heavy to import
    signature = inspect.signature(load(target))
    try:
        signature.bind(*numbers, **args)
    except TypeError as error:
        raise InputError(f"config: {what} {name!r}: {error}; it takes {signature}") from error


def gap_axes(config: dict, component: str) -> dict:
    """The slice of the array that a component's gap needs, and what it is matched over.

    Only what the component uses, so that a changed estimator reruns only the gaps that use it.
    """
    axes = {
        section: config[section]
        if COMPONENTS[component] in (None, axis)
        else {START[axis]: config[section][START[axis]]}
        for axis, section in AXES.items()
    }
    return {**axes, "matching": config["matching"], "seed": config["seed"]}


def simulation(config: dict, codec: str) -> dict:
    """The simulated cells of a codec by name, with the entries of the estimators that they use.

    Of one beside another, the cell that it was trained as, at the level of the training.
    """
    joint = config["codecs"][codec].get("beside")
    cells = [joint["curve"]] if joint else config["simulate"]["curves"]
    levels = [TRAINED_LEVEL] if joint else config["simulate"]["levels"]
    used = {
        section: {cell[axis]: config[section][cell[axis]] for cell in cells}
        for axis, section in AXES.items()
    }
    sweep = {"levels": levels, "seed": config["seed"]}
    return {**used, **sweep, "curves": {cell_name(cell): cell for cell in cells}}


def limit_axes(config: dict) -> dict:
    """The estimators of the codec's cell and of the limits, by section of the config."""
    cells = [START, *config["limits"].values()]
    return {
        section: {cell[axis]: config[section][cell[axis]] for cell in cells}
        for axis, section in AXES.items()
    }


def modules(config: dict, *sections: str, **names: str) -> list[str]:
    """Modules behind the names in some sections of the config, for the digest of their source.

    Of a section given with a name (``anchors="jpeg"``), only the one behind that name.
    """
    tables = {"datasets": DATASETS, "codecs": CODECS, "anchors": ANCHORS, "means": MEANS,
              "variances": VARIANCES, "quantizers": QUANTIZERS}  # fmt: skip
    wanted = [(section, name) for section in sections for name in config[section]]
    wanted += names.items()
    found = {
        locate(section, config[section][name].get("use", name), tables[section])[0]
        for section, name in wanted
    }
    return sorted({target.partition(":")[0] for target in found})
