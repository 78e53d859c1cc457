"""Memory and time of every stage with many images and with few: crops and mirrored crops."""

from collections.abc import Iterable, Iterator
from typing import Any

from PIL import Image, ImageOps

from benchmarks.common import Figure, Options, image_files
from benchmarks.workflow import ROOT, run_snakemake, write_config
from rdpipe.report.stage_times import stage_times

COUNTS = (24, 96, 384)
"""Numbers of images."""
SIZES = (128, 192, 96)
"""Heights and widths of the images, in this order, pixels.

The memory of an allocator that retains freed blocks may depend on the order.
"""


def write_dataset(options: Options, name: str, numbers: Iterable[int]) -> dict[str, Any]:
    """Write images to a folder; each number gives another crop. Return the config entry."""
    folder, sources = options.work / name, image_files(options.images)
    folder.mkdir()
    for i in numbers:
        with Image.open(sources[i % len(sources)]) as opened:
            image = opened.convert("RGB")
        shift, mirrored = divmod(i // len(sources), 2)
        size = SIZES[i % len(SIZES)]
        left, top = (shift * 37 % (side - size + 1) for side in image.size)
        crop = image.crop((left, top, left + size, top + size))
        (ImageOps.mirror(crop) if mirrored else crop).save(folder / f"{i:04}.png")
    return {"use": "folder", "args": {"root": str(folder)}}


def measure_stages(options: Options, count: int) -> dict[str, dict[str, Any]]:
    """Run the workflow on one shard; return memory (MiB) and seconds of each stage."""
    # small images: no job on them needs the most memory
    calibration = range(max(COUNTS) + 2, max(COUNTS) + 20, 3)
    datasets = {
        "many": write_dataset(options, f"images-{count}", range(count)),
        "few": write_dataset(options, f"calibration-{count}", calibration),
    }
    training = {
        "dataset": "many",
        "lambdas": [0.01],
        "steps": 20,
        "N": 32,
        "M": 48,
        "crop": 64,
    }
    folder = options.work / f"memory-{count}"
    config = write_config(
        folder,
        options.config,
        datasets=datasets,
        calibration="few",
        codecs={"mini-mean-scale": {"qualities": [2]}},
        training={"small": training},
    )
    run_snakemake("--configfile", config, cores=1, cwd=ROOT)
    return {row["stage"]: row for row in stage_times(folder / "logs")}


def figures(options: Options) -> Iterator[Figure]:
    measurements = [measure_stages(options, count) for count in COUNTS]
    for stage, fewest in sorted(measurements[0].items()):
        rows = [measured[stage] for measured in measurements]
        seconds = ", ".join(f"{row['seconds']:.0f}" for row in rows)
        counts = ", ".join(map(str, COUNTS))
        note = f"{rows[-1]['memory']:.0f} MiB; {counts} images take {seconds} s"
        if fewest["memory"]:
            name = f"memory of {stage}, {COUNTS[-1]} images"
            ratios = [rows[-1]["memory"] / fewest["memory"]]
            yield Figure(name, f"{COUNTS[0]} images", "<= 1.1", ratios, note)
