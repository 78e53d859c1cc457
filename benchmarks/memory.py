"""Memory of every stage with many images against few: crops and mirror images of those given."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps

from benchmarks.common import Figure, Options, files
from benchmarks.workflow import HERE, config_of, snakemake
from rdpipe.provenance import stage_times

FEW, MANY = 24, 384
SIZE = 256


def folder_of(options: Options, count: int) -> Path:
    """A folder of ``count`` images of one size."""
    folder, sources = options.work / f"images-{count}", files(options.images)
    folder.mkdir()
    for i in range(count):
        with Image.open(sources[i % len(sources)]) as opened:
            image = opened.convert("RGB")
        shift, turn = divmod(i // len(sources), 2)
        left, top = (shift * 37 % (side - SIZE + 1) for side in image.size)
        crop = image.crop((left, top, left + SIZE, top + SIZE))
        (ImageOps.mirror(crop) if turn else crop).save(folder / f"{i:04}.png")
    return folder


def peaks(options: Options, count: int) -> dict[str, float]:
    """Most memory of a job of each stage, MB."""
    datasets = {"many": {"use": "folder", "args": {"root": str(folder_of(options, count))}}}
    datasets["sample-calibration"] = {}
    codecs = {"mini-mean-scale": {"qualities": [2]}}
    where = options.work / f"memory-{count}"
    config = config_of(where, options.config, datasets=datasets, codecs=codecs, bitstream=False)
    snakemake("--configfile", config, cores=options.cores, cwd=HERE)
    return {one["stage"]: one["memory"] for one in stage_times(where / "logs/benchmarks")}


def figures(options: Options) -> Iterator[Figure]:
    few, many = peaks(options, FEW), peaks(options, MANY)
    for stage in sorted(few):
        if few[stage]:
            note = f"{many[stage]:.0f} MB"
            yield Figure(f"memory of {stage}, {MANY} images", f"{FEW} images", "<= 1.1",
                         [many[stage] / few[stage]], note)  # fmt: skip
