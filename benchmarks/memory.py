"""Memory and time of every stage with many images against few: crops and mirror images of those given."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps

from benchmarks.common import Figure, Options, files
from benchmarks.workflow import HERE, config_of, snakemake
from rdpipe.report.stage_times import stage_times

COUNTS = (24, 96, 384)
SIZES = (128, 192, 96)
"""One after the other: memory of an allocator that keeps what is freed may depend on their order."""


def folder_of(options: Options, name: str, numbers: range) -> dict:
    """A data set of images, of a size each by its number."""
    folder, sources = options.work / name, files(options.images)
    folder.mkdir()
    for i in numbers:
        with Image.open(sources[i % len(sources)]) as opened:
            image = opened.convert("RGB")
        shift, turn = divmod(i // len(sources), 2)
        size = SIZES[i % len(SIZES)]
        left, top = (shift * 37 % (side - size + 1) for side in image.size)
        crop = image.crop((left, top, left + size, top + size))
        (ImageOps.mirror(crop) if turn else crop).save(folder / f"{i:04}.png")
    return {"use": "folder", "args": {"root": str(folder)}}


def measured(options: Options, count: int) -> dict[str, dict]:
    """Most memory of a job of each stage, MiB, and seconds of all of them; one shard."""
    few = range(max(COUNTS) + 2, max(COUNTS) + 20, 3)  # of the smallest size: no job on them has most
    datasets = {
        "many": folder_of(options, f"images-{count}", range(count)),
        "few": folder_of(options, f"calibration-{count}", few),
    }
    codecs = {"mini-mean-scale": {"qualities": [2]}}
    training = {"small": {"dataset": "many", "lambdas": [0.01], "steps": 20, "N": 32, "M": 48, "crop": 64}}
    where = options.work / f"memory-{count}"
    config = config_of(where, options.config, datasets=datasets, calibration="few",
                       codecs=codecs, training=training)  # fmt: skip
    snakemake("--configfile", config, cores=1, cwd=HERE)
    return {one["stage"]: one for one in stage_times(where / "logs/benchmarks", where / "logs")}


def figures(options: Options) -> Iterator[Figure]:
    found = [measured(options, count) for count in COUNTS]
    for stage, few in sorted(found[0].items()):
        runs = [one[stage] for one in found]
        took = ", ".join(f"{one['seconds']:.0f}" for one in runs)
        note = f"{runs[-1]['memory']:.0f} MiB; {', '.join(map(str, COUNTS))} images take {took} s"
        if few["memory"]:
            yield Figure(f"memory of {stage}, {COUNTS[-1]} images", f"{COUNTS[0]} images", "<= 1.1",
                         [runs[-1]["memory"] / few["memory"]], note)  # fmt: skip
