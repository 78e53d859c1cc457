"""The complete config, the parameters of the stages, and the files of the runs."""

import json
import os
import re
import shlex
import sys
from functools import cache
from pathlib import Path
from uuid import uuid4

from snakemake.common import SNAKEFILE_CHOICES
from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from rdpipe.__main__ import FORKED
from rdpipe.config import query
from rdpipe.config.check import check_device, complete
from rdpipe.config.programs import used_programs
from rdpipe.config.text import check_text
from rdpipe.core import forkserver
from rdpipe.core.attempts import RUN
from rdpipe.core.axes import AXES, axis_named
from rdpipe.core.device import count_cards, resolve_device
from rdpipe.core.errors import InputError
from rdpipe.core.provenance import ROOT, installed_versions
from rdpipe.datasets import folder
from rdpipe.datasets.digests import content_digests
from rdpipe.io.sources import Sources

if str(Path.cwd()) not in sys.path:  # for modules of the user, as in the jobs
    sys.path.append(str(Path.cwd()))

# A module has a part of the config of another workflow, and none of its files.
config_files = [] if workflow.modifier.skip_configfile else workflow.configfiles
with_conda = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
with_container = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
# On a cluster, which has a number of nodes, other machines run the codecs.
runs_here = workflow.is_main_process and workflow.resource_settings.nodes is None
if workflow.is_main_process:
    os.environ.pop("RDPIPE_DEVICE", None)

try:
    for file in config_files:
        check_text(Path(file))
    config = complete(config, workflow.source_path("../schema.yaml"))
    # A job of a cluster reads the config again, where there may be other cards.
    if config["device"] == "auto":
        config["device"] = os.environ.setdefault("RDPIPE_DEVICE", resolve_device("auto"))
        workflow.register_envvars("RDPIPE_DEVICE")
    for arguments in query.image_folders(config).values():
        arguments["root"] = folder.canonical_root(arguments["root"])
    if runs_here and not (with_conda or with_container):
        check_device(config["device"])
except InputError as error:  # one line, and the status of the command line
    print(f"rdpipe: {error}", file=sys.stderr)
    sys.exit(2)

# With a default storage, jobs may run on machines that share no files: the images of a dataset are
# packed into one file, and files of the user are copied to the storage, both on this machine.
STORAGE = workflow.storage_settings.default_storage_provider
STORED = STORAGE is not None

# Without a limit on the command line or in a profile, each card has one job at a time.
if runs_here and config["device"] != "cpu" and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", 1 if ":" in config["device"] else max(1, count_cards()))

# A job that exhausts the memory of a card of this machine is not tried again in this run, unless
# others share the card.
if workflow.is_main_process:
    uses_cards = runs_here and config["device"] != "cpu"
    shares_cards = uses_cards and workflow.global_resources["gpu"] > count_cards()
    os.environ[RUN] = uuid4().hex if runs_here and not shares_cards else ""

MATCHES_DATASET = config["matching"] == "dataset"

# Jobs use the interpreter that runs Snakemake, also on a cluster. The environment of conda has all
# but rdpipe: it finds this package through a link, in a folder with nothing else.
if with_conda:
    link = Path(".snakemake/rdpipe/rdpipe").absolute()
    if workflow.is_main_process or not link.exists():  # jobs may have no folder in common
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink() or link.readlink() != ROOT:
            new = link.with_name(f"new-{os.getpid()}")
            new.symlink_to(ROOT)
            new.replace(link)  # in one step: jobs may be running
    shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(link.parent))}; ")
elif with_container:  # the image has rdpipe; Apptainer keeps the variables of this machine
    shell.prefix("set -euo pipefail; unset PYTHONPATH; ")
else:
    interpreter = shlex.quote(str(Path(sys.executable).parent))
    shell.prefix(f"set -euo pipefail; export PATH={interpreter}:$PATH; ")


def start_fork_server():
    """Let the jobs of this machine start as forks of one process that has imported the stages."""
    isolated = workflow.deployment_settings.deployment_method  # jobs have another Python
    wanted = os.environ.get(forkserver.VARIABLE) != ""
    used = any(job.rule.name in FORKED for job in workflow.dag.needrun_jobs())
    if runs_here and wanted and used and not isolated:
        code = "import sys; from rdpipe.__main__ import serve; serve(*map(int, sys.argv[1:]))"
        forkserver.start([sys.executable, "-P", "-c", code])


wildcard_constraints:
    dataset="[A-Za-z0-9._-]+",
    codec="[A-Za-z0-9._-]+",
    baseline="[A-Za-z0-9._-]+",
    network="[A-Za-z0-9._-]+",
    quality="[0-9]+",
    shard="[0-9]+",
    axis="|".join(axis.name for axis in AXES),
    estimator="[A-Za-z0-9._-]+",
    quantizer="[A-Za-z0-9._-]+",


# Parameters

CONTAINER = "rdpipe.sif"
SOURCES = Sources(Path(".snakemake/rdpipe-sources.json"))


def canonical_json(**values):
    """Return values as canonical JSON: the same text whenever the content is the same."""
    return json.dumps(values, sort_keys=True)


def code_digests(stage, spec=None, **used):
    """Return what a stage executes: digests of code, plug-ins, weights and programs, and versions.

    What is used is one name, or several, in each section of the config, and all entries of the
    sections of a specification. With conda, Snakemake itself compares the environments. In a
    container, rdpipe and its packages are those of the image, whose digest stands for them.
    """
    sections = {
        section: [names] if isinstance(names, str) else names for section, names in used.items()
    }
    sections |= {key: spec[key] for key in query.REGISTRIES if key in (spec or {})}
    modules, files = query.used_modules(config, sections), query.used_weights(config, sections)
    files += used_programs(config, sections.get("baselines", []))
    return read_once(stage, tuple(modules), tuple(files))


@cache
def read_once(stage, modules, weights):
    """Return digests and versions, which are read once for all jobs."""
    modules = [f"rdpipe.stages.{stage}", *modules]
    if with_container:
        modules = [module for module in modules if module.partition(".")[0] != "rdpipe"]
    digests = SOURCES.digests(modules, weights)
    if workflow.is_main_process:
        SOURCES.save()
    if with_container:
        cache = Path(".snakemake/rdpipe-container.json")
        return digests + [f"{CONTAINER}: {content_digests([os.path.abspath(CONTAINER)], cache)[0]}"]
    return digests + ([] if with_conda else installed_versions(stage))


def config_entry(section, name):
    """Return `use` and `args` of a dataset, codec or baseline: its entry without the sweep."""
    entry = config[section][name]
    return {key: entry[key] for key in ("use", "args") if key in entry}


def codec_entry(name):
    """Return `use` and `args` of a codec; of a refined one, those of its codec.

    Those of a retuned one are the codec before and the file of weights.
    """
    base = query.base_codec(config, name)
    if base in query.retuned_codecs(config):
        before = query.retuned_bases(config)[base]
        args = {
            "codec": {"use": before, **weights_entry(before)},
            "checkpoint": retuned_weights(base, "{quality}"),
        }
        return {"use": query.RETUNED, "args": args}
    entry = weights_entry(base)
    return entry if base == name else {"use": base, **entry}


def weights_entry(name):
    """Return `use` and `args` of a codec; its weights may be a file that is fetched before."""
    entry = config_entry("codecs", name)
    if name in query.pretrained_codecs(config):
        args = {key: entry["args"][key] for key in entry["args"].keys() - {"pretrained", "metric"}}
        return {**entry, "args": {**args, "checkpoint": pretrained_weights(name, ["{quality}"])[0]}}
    weights = entry["args"].get("checkpoint")
    if not (STORED and weights):
        return entry
    stored = stored_copy(os.path.expanduser(weights))
    return {**entry, "args": {**entry["args"], "checkpoint": stored}}


def training_entry(network):
    """Return the entry of the training of a network; with a storage, its start is the copy there."""
    entry = config["training"][network]
    if not (STORED and entry.get("start")):
        return entry
    return {**entry, "start": stored_copy(entry["start"])}


def pretrained_weights(codec, qualities):
    """Return the files with the pretrained weights of a codec at some qualities."""
    return expand_outputs(rules.fetch_weights.output, codec=codec, quality=qualities)


def retuned_weights(codec, quality):
    """Return the file with the fine-tuned weights of a codec."""
    network = config["codecs"][codec]["args"]["training"]
    return expand_outputs(rules.retune_codec.output, network=network, quality=quality)[0]


def image_fingerprint(wildcards):
    """Return a digest of the images of a folder, so that a changed image is noticed.

    They are not inputs of the rule, because their names may contain any character.
    """
    if wildcards.dataset not in query.image_folders(config):
        return ""
    arguments = query.image_folders(config)[wildcards.dataset]
    try:
        return folder.fingerprint(
            **arguments, cache=Path(f".snakemake/rdpipe-{wildcards.dataset}.json")
        )
    except InputError as error:
        raise WorkflowError(f"dataset {wildcards.dataset!r}: {error}")


def codec_spec(wildcards):
    """Return what a stage needs to build one codec at one quality."""
    return {
        "dataset": wildcards.dataset,
        "codec": wildcards.codec,
        "quality": int(wildcards.quality),
        "entry": codec_entry(wildcards.codec),
        "device": config["device"],
        "shard": shard(wildcards),
    }


def bitstream_spec(wildcards):
    """Return the JSON for encoder and decoder; on the CPU, where both compute the same numbers."""
    cells = query.bitstream_spec(config, wildcards.codec)
    return canonical_json(**{**codec_spec(wildcards), **cells, "device": "cpu"})


def run_origin():
    """Return a command that reproduces this run, and the folder of its logs.

    The command is run in the working directory, where Snakemake may not find the Snakefile.
    """
    snakefile = workflow.main_snakefile
    if os.path.exists(snakefile):  # not an address
        snakefile = os.path.relpath(snakefile)
    found = next((path for path in SNAKEFILE_CHOICES if path.exists()), None)
    flags = [] if snakefile == str(found) else ["--snakefile", snakefile]
    if configs := [os.path.relpath(file) for file in workflow.overwrite_configfiles]:
        flags += ["--configfile", *configs]
    if values := workflow.config_settings.config_args:
        flags += ["--config", *values]
    if with_conda:
        flags += ["--sdm", "conda"]
    if with_container:
        flags += ["--sdm", "apptainer"]
    return {
        "command": shlex.join(["snakemake", *flags, "--cores", "2"]),
        "logs": os.path.dirname(rules.trace_bounds.log[0]),
    }


# Files


def in_storage(path):
    """Return a file of the default storage, by its path there."""
    return getattr(workflow.storage_registry, STORAGE)(path)


def path_in_storage(file):
    """Return the path of an output of a rule in the default storage."""
    return file.flags["storage_object"].query


def expand_outputs(patterns, **values):
    """Expand wildcards in outputs of rules; `expand` refuses those that are in a storage."""
    if not STORED:
        return expand(patterns, **values)
    return [
        in_storage(path)
        for pattern in ([patterns] if isinstance(patterns, str) else patterns)
        for path in expand(path_in_storage(pattern), **values)
    ]


def user_files(*files):
    """Mark files as relative to the working directory; a module of a workflow does not prefix them.

    With a storage, return their copies there.
    """
    return [stored_copy(file) if STORED else local(file) for file in files]


def stored_copy(file):
    """Return the copy of a file of the user in the storage; what a training writes is there."""
    file = folder.canonical_root(file)
    prefix = workflow.storage_settings.default_storage_prefix or ""
    path = f"{prefix}/{file}" if prefix and not prefix.endswith("/") else prefix + file
    if path.startswith(os.path.dirname(path_in_storage(rules.train_codec.output[0])) + "/"):
        return in_storage(path)
    name = f"root{file}" if os.path.isabs(file) else f"work/{file}"
    return expand_outputs(rules.copy_file.output, file=name)[0]


def original_file(copy):
    """Return the path of a file of the user from that of its copy, see `stored_copy`."""
    below_work = copy.startswith("work/")
    return copy.removeprefix("work/") if below_work else copy.removeprefix("root")


def temp_unless_kept(path):
    """Return latents, which are deleted after all dependent stages have finished, unless kept.

    Stages that read latents have a higher priority than those that write more of them, so that few
    exist at a time. Bitstreams, which are written and then read, take longest and have the highest.
    """
    return path if config["keep_latents"] else temp(path)


def shards(dataset):
    """Return the indices of the shards of a dataset; each shard has separate jobs."""
    return range(config["datasets"][dataset]["shards"])


def shard(wildcards):
    """Return the index of the shard of a job, and the number of shards."""
    return [int(wildcards.shard), len(shards(wildcards.dataset))]


def checkpoint_files(wildcards):
    """Return the file with the weights of a codec, if it has one: another file is another codec."""
    return checkpoints_of(wildcards, [wildcards.quality])


def checkpoints_of(wildcards, qualities):
    """Return the files with the weights of a codec at some qualities, if it has any."""
    codec = query.base_codec(config, wildcards.codec)
    if codec not in query.retuned_codecs(config):
        return checkpoints_of_codec(codec, qualities)
    before = checkpoints_of_codec(query.retuned_bases(config)[codec], qualities)
    return before + [retuned_weights(codec, quality) for quality in qualities]


def checkpoints_of_codec(codec, qualities):
    """Return the files with the weights of a codec, fetched or named by its entry, if any."""
    if codec in query.pretrained_codecs(config):
        return pretrained_weights(codec, qualities)
    files = (query.checkpoint_file(config, codec, quality) for quality in qualities)
    return user_files(*filter(None, files))


def refined_files(wildcards):
    """Return the refined latents of a codec, if it is a refined one."""
    if wildcards.codec not in query.refined_codecs(config):
        return []
    return expand_outputs(rules.refine_latents.output, allow_missing=True)


def refined_files_to_match(wildcards):
    """Return the refined latents of all images over which a level is solved."""
    return expand_outputs(
        refined_files(wildcards), shard=shards_to_match(wildcards), allow_missing=True
    )


def fit_files(wildcards, entries):
    """Return the fits of the fitted estimators among some entries.

    A refined codec has those of its codec, like its decoder.
    """
    return [
        file
        for axis, estimator in query.fitted_estimators(entries)
        for file in expand_outputs(
            rules.fit_estimator.output,
            codec=query.base_codec(config, wildcards.codec),
            quality=wildcards.quality,
            axis=axis,
            estimator=estimator,
        )
    ]


def reconstruction_files(wildcards, cells):
    """Return the fits of the reconstructions that some cells need."""
    return expand_outputs(
        rules.fit_reconstruction.output,
        codec=query.base_codec(config, wildcards.codec),
        quality=wildcards.quality,
        quantizer=query.calibrated_quantizers(cells),
    )


def fits_of_bitstreams(wildcards):
    """Return the fits of the cells that are written as real bytes."""
    cells = query.bitstream_cells(config, wildcards.codec)
    entries = query.used_entries(config, cells)
    return fit_files(wildcards, entries) + reconstruction_files(wildcards, cells)


def simulation_of_shard(wildcards):
    """Return the simulation that has the images of a shard."""
    shard = 0 if MATCHES_DATASET else wildcards.shard
    return expand_outputs(rules.simulate.output, shard=shard, allow_missing=True)


def every_run(pattern, codecs=query.analyzed_codecs(config), shards=shards, **more):
    """Return the files of every measured dataset, codec, quality and shard."""
    return [
        file
        for dataset in query.measured_datasets(config)
        for codec, entry in codecs.items()
        for file in expand_outputs(
            pattern,
            dataset=dataset,
            codec=codec,
            quality=entry["qualities"],
            shard=shards(dataset),
            **more,
        )
    ]


def every_matched(pattern, *codecs, **more):
    """Return the files of every run in which levels are solved for.

    If they are matched over the dataset, there is one file for all shards.
    """
    whole = {"shards": lambda dataset: [0]} if MATCHES_DATASET else {}
    return every_run(pattern, *codecs, **whole, **more)


def shards_to_match(wildcards):
    """Return the shards over which a level is solved: one, or all of the dataset."""
    return list(shards(wildcards.dataset)) if MATCHES_DATASET else [wildcards.shard]


def latents_to_match(wildcards):
    """Return the latents over which a level is solved: of one shard, or of the dataset."""
    return expand_outputs(
        rules.extract_latents.output.latents,
        shard=shards_to_match(wildcards),
        allow_missing=True,
    )


def shard_to_match(wildcards):
    """Return the shard of the images of :func:`latents_to_match`."""
    return [0, 1] if MATCHES_DATASET else shard(wildcards)


def every_baseline(pattern):
    """Return the files of every measured dataset, baseline, quality and shard."""
    return [
        file
        for dataset in query.measured_datasets(config)
        for baseline, entry in config["baselines"].items()
        for file in expand_outputs(
            pattern,
            dataset=dataset,
            baseline=baseline,
            quality=entry["qualities"],
            shard=shards(dataset),
        )
    ]


def brace_shards(files):
    """Return files for a command line; all shards of a run are one word: ``.../{0..9}.zarr.zip``.

    Shards are numbered from 0. The command is one argument of bash, which has at most 128 KiB.
    """
    runs = {}
    for file in map(Path, [files] if isinstance(files, str) else files):
        runs.setdefault(file.parent, []).append(file.name)
    return " ".join(
        shlex.quote(str(folder))
        + "/"
        + (names[0] if len(names) == 1 else f"{{0..{len(names) - 1}}}.zarr.zip")
        for folder, names in runs.items()
    )
