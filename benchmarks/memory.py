"""Memory and time of every stage with many images against few: crops and mirror images of those given."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps

from benchmarks.common import Figure, Options, files
from benchmarks.workflow import HERE, config_of, snakemake
from rdpipe.provenance import stage_times

COUNTS = (24, 96, 384)
SIZES = (128, 192, 96)
"""One after the other: memory of an allocator that keeps what is freed may depend on their order."""


def folder_of(options: Options, count: int) -> Path:
    """A folder of ``count`` images of a few sizes."""
    folder, sources = options.work / f"images-{count}", files(options.images)
    folder.mkdir()
    for i in range(count):
        with Image.open(sources[i % len(sources)]) as opened:
            image = opened.convert("RGB")
        shift, turn = divmod(i // len(sources), 2)
        size = SIZES[i % len(SIZES)]
        left, top = (shift * 37 % (side - size + 1) for side in image.size)
        crop = image.crop((left, top, left + size, top + size))
        (ImageOps.mirror(crop) if turn else crop).save(folder / f"{i:04}.png")
    return folder


def measured(options: Options, count: int) -> dict[str, dict]:
    """Most memory of a job of each stage, MiB, and seconds of all of them; one shard."""
    datasets = {"many": {"use": "folder", "args": {"root": str(folder_of(options, count))}}}
    datasets["sample-calibration"] = {}
    codecs = {"mini-mean-scale": {"qualities": [2]}}
    where = options.work / f"memory-{count}"
    config = config_of(where, options.config, datasets=datasets, codecs=codecs, bitstream=False)
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
