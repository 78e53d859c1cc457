"""What rules ask of a complete config."""

from __future__ import annotations

from rdpipe.core.axes import START, TABLES, TRAINED_LEVEL, cell_name
from rdpipe.codecs import ANCHORS, CODECS, weights_of
from rdpipe.datasets import DATASETS
from rdpipe.core.plugins import load_attribute, locate

AXES = {"mean": "means", "variance": "variances", "quantizer": "quantizers"}
COMPONENTS = {"variance": "variance", "quantization": "quantizer", "context": "mean", "joint": None}
"""Each gap and the axis along which it is measured; joint is the whole array."""
REGISTRIES = {
    "datasets": ("dataset", DATASETS),
    "codecs": ("codec", CODECS),
    "anchors": ("anchor", ANCHORS),
    **{section: (axis, TABLES[axis]) for axis, section in AXES.items()},
}
"""What the names in a section of the config are names of, and where those are looked up."""


def measured(config: dict) -> list[str]:
    """The data sets that are measured: all but the one for calibration."""
    return [name for name in config["datasets"] if name != config["calibration"]]


def analysed(config: dict) -> dict:
    """The codecs that are analysed: all but those of which one curve joins another one's."""
    return {name: one for name, one in config["codecs"].items() if "beside" not in one}


def beside(config: dict) -> dict[str, str]:
    """The codecs of which one curve joins another one's, and that one's name."""
    return {
        name: one["beside"]["codec"] for name, one in config["codecs"].items() if "beside" in one
    }


def checkpoint(config: dict, codec: str, quality: int) -> str | None:
    """The file of weights of a codec at one quality, where it has one."""
    file = config["codecs"][codec]["args"].get("checkpoint")
    return file and weights_of(file, quality)


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


def that_say(used: dict, trait: str) -> list[tuple[str, str]]:
    """Axis and name of the estimators in use of which something is true."""
    return [
        (axis, name)
        for axis, section in AXES.items()
        for name, entry in used.get(section, {}).items()
        if getattr(load(locate(axis, entry.get("use", name), TABLES[axis])[0]), trait, False)
    ]


def fitted_estimators(used: dict) -> list[tuple[str, str]]:
    """Axis and name of the estimators in use that must be fitted on calibration images."""
    return that_say(used, "fitted")


def asks_for_gain(config: dict, dataset: str) -> bool:
    """Whether an estimator is fitted to the decoder's gain on the images of a data set."""
    return dataset == config["calibration"] and bool(that_say(config, "needs_gain"))


def means_of(config: dict, axis: str) -> dict:
    """The means whose residuals an estimator of an axis is fitted to; none but for a variance."""
    return {"means": config["means"] if axis == "variance" else {}}


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


def limit_axes(config: dict) -> dict:
    """The estimators of the codec's cell and of the limits, by section of the config."""
    cells = [START, *config["limits"].values()]
    return {
        section: {cell[axis]: config[section][cell[axis]] for cell in cells}
        for axis, section in AXES.items()
    }


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


def modules(config: dict, *sections: str, **names: str) -> list[str]:
    """Modules behind the names in some sections of the config, for the digest of their source.

    Of a section given with a name (``anchors="jpeg"``), only the one behind that name.
    """
    wanted = [(section, name) for section in sections for name in config[section]]
    wanted += names.items()
    found = {
        locate(section, config[section][name].get("use", name), REGISTRIES[section][1])[0]
        for section, name in wanted
    }
    return sorted({target.partition(":")[0] for target in found})
