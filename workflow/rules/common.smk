"""The checked config, the specs that rules hand to their stages, and where the runs are."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from rdpipe.config import query as settings
from rdpipe.config.check import complete
from rdpipe.datasets import folder
from rdpipe.errors import InputError
from rdpipe.provenance import source_digest

if str(Path.cwd()) not in sys.path:  # where jobs find modules of one's own
    sys.path.append(str(Path.cwd()))

try:
    config = complete(config, workflow.source_path("../schema.yaml"))
except InputError as error:
    raise WorkflowError(str(error))

# jobs find the interpreter that runs Snakemake, also on the nodes of a cluster; conda brings its own
if DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method:
    interpreter = shlex.quote(str(Path(sys.executable).parent))
    shell.prefix(f"set -euo pipefail; export PATH={interpreter}:$PATH; ")


wildcard_constraints:
    dataset="[A-Za-z0-9._-]+",
    codec="[A-Za-z0-9._-]+",
    anchor="[A-Za-z0-9._-]+",
    network="[A-Za-z0-9._-]+",
    quality="[0-9]+",
    shard="[0-9]+",
    component="|".join(settings.COMPONENTS),
    axis="|".join(settings.AXES),
    estimator="[A-Za-z0-9._-]+",


def canonical(**spec):
    """A spec as canonical JSON: the same text whenever the content is the same."""
    return json.dumps(spec, sort_keys=True)


def source(stage, *sections, **names):
    """Digest of the source behind a stage, and behind the names in sections of the config."""
    return source_digest(f"rdpipe.stages.{stage}", *settings.modules(config, *sections, **names))


def made_by(section, name):
    """What makes one data set, codec or anchor: of its entry in the config, not how it is swept or split."""
    entry = config[section][name]
    return {key: entry[key] for key in ("use", "args") if key in entry}


def images(wildcards):
    """Digest of the images of a folder, so that a changed one is noticed.

    They are no inputs: their names may hold whatever a file system allows.
    """
    entry = config["datasets"][wildcards.dataset]
    if entry.get("use", wildcards.dataset) != "folder":
        return ""
    try:
        return folder.fingerprint(**entry["args"])
    except InputError as error:
        raise WorkflowError(f"data set {wildcards.dataset!r}: {error}")


def growing(amount):
    """An amount of memory or time (a text, or a function of the wildcards), doubled with every retry."""

    def asked(wildcards, attempt):
        text = amount(wildcards) if callable(amount) else amount
        number, unit = re.fullmatch("([0-9]+)([A-Za-z]+)", text).groups()
        return f"{int(number) * 2 ** (attempt - 1)}{unit}"

    return asked


def given(*files):
    """Files that the config names: they count from where the workflow runs, whatever a module's prefix."""
    return [local(file) for file in files]


def shards(dataset):
    """Indices of the shards of a data set, each of which is jobs of its own."""
    return range(config["datasets"][dataset]["shards"])


def shard(wildcards):
    """Which shard a job is on, and of how many."""
    return [int(wildcards.shard), len(shards(wildcards.dataset))]


def raw(path):
    """Latents, which go when all that needs them is made, unless they are to be kept.

    What reads them has a priority over what makes more of them: so few are there at a time. Bitstreams, written and
    then read, take longest and have a higher one.
    """
    return path if config["keep_latents"] else temp(path)


def codec_spec(wildcards):
    """What a stage must know to build one codec at one quality."""
    return {
        "dataset": wildcards.dataset,
        "codec": wildcards.codec,
        "quality": int(wildcards.quality),
        "entry": made_by("codecs", wildcards.codec),
        "device": config["device"],
        "shard": shard(wildcards),
    }


def bitstream_spec(wildcards):
    """What encoder and decoder must know; on the CPU, where both compute the same numbers."""
    axes = {section: config[section] for section in settings.AXES.values()}
    spec = {**codec_spec(wildcards), **axes, "seed": config["seed"], "device": "cpu"}
    return canonical(**spec)


def checkpoint(wildcards):
    """The file of weights of a codec, where it has one: a changed file is a changed codec."""
    file = settings.checkpoint(config, wildcards.codec, wildcards.quality)
    return given(file) if file else []


def fits(wildcards, used):
    """What the fitted ones among the estimators in use found on the calibration images."""
    return [
        file
        for axis, estimator in settings.fitted_estimators(used)
        for file in expand(
            rules.fit_estimator.output,
            codec=wildcards.codec,
            quality=wildcards.quality,
            axis=axis,
            estimator=estimator,
        )
    ]


def every_run(pattern, codecs=settings.analysed(config), shards=shards, **more):
    """Files of every data set that is measured, of some codecs (the analysed ones), quality and shard."""
    return [
        file
        for dataset in settings.measured(config)
        for codec, entry in codecs.items()
        for file in expand(
            pattern,
            dataset=dataset,
            codec=codec,
            quality=entry["qualities"],
            shard=shards(dataset),
            **more,
        )
    ]


def every_gap(component):
    """Files of one gap; of a data set that is matched as a whole, there is one for all shards."""
    whole = {"shards": lambda dataset: [0]} if config["matching"] == "dataset" else {}
    return every_run(rules.measure_gap.output, component=component, **whole)


def every_anchor(pattern):
    """Files of every data set that is measured, classical codec, quality and shard."""
    return [
        file
        for dataset in settings.measured(config)
        for anchor, entry in config["anchors"].items()
        for file in expand(
            pattern,
            dataset=dataset,
            anchor=anchor,
            quality=entry["qualities"],
            shard=shards(dataset),
        )
    ]


def shards_as_one(files):
    """Paths for a command line; where they are all the shards of a run, as bash writes them: ``.../{0..9}.zarr.zip``.

    A command is one argument of bash, which may have 128 KiB.
    """
    runs = {}
    for file in map(Path, [files] if isinstance(files, str) else files):
        runs.setdefault(file.parent, []).append(file.name)
    return " ".join(
        shlex.quote(str(folder)) + "/"
        + (names[0] if len(names) == 1 else f"{{0..{len(names) - 1}}}.zarr.zip")
        for folder, names in runs.items()
    )


def origin():
    """The command that starts this run, and where its benchmarks and logs are."""
    configs = [os.path.relpath(file) for file in workflow.overwrite_configfiles]
    flags = ["--configfile", *configs] if configs else []
    return {
        "command": shlex.join(["snakemake", *flags, "--cores", "2"]),
        "benchmarks": os.path.dirname(rules.trace_bounds.benchmark),
        "logs": os.path.dirname(rules.trace_bounds.log[0]),
    }
