"""``simulate`` relative to its syntheses alone, and how many it takes to solve for a level."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image

from benchmarks.common import Figure, Options, alternate, image_files, processor_seconds
from rdpipe.codecs.compressai import mini_mean_scale
from rdpipe.codecs.compressai.adapter import CompressAICodec
from rdpipe.codecs.extraction import Extractor
from rdpipe.core.axes import AXES, CellId
from rdpipe.evaluation.cell import Entries
from rdpipe.evaluation.simulation import CodedImage, Simulation

CELLS = {
    "element by element": (
        "zero/channel/rounding",
        "codec/codec/deadzone",
        "codec/codec/dithered-wiener",
        "codec/codec/test-channel",
        "codec/channel/test-channel",
    ),
    "searches": ("codec/codec/lattice-e8", "codec/codec/trellis"),
}
"""Cells whose level is solved for, by how their quantizers work."""
QUALITIES = (1, 4)
"""Qualities at which syntheses are counted."""
IMAGES = 2
"""Number of images."""


def code_images(codec: CompressAICodec, options: Options) -> list[CodedImage]:
    """Return the first images and their latents."""
    extractor, images = Extractor(codec), []
    for file in image_files(options.images)[:IMAGES]:
        pixels = np.array(Image.open(file).convert("RGB"))
        images.append(CodedImage(extractor.latents(file.stem, pixels), pixels))
    return images


def simulate(codec: CompressAICodec, images: Sequence[CodedImage], names: Sequence[str]) -> int:
    """Simulate cells on each image; return the number of syntheses, the codec's own included."""
    cells = {name: CellId.parse(name) for name in names}
    entries: Entries = {
        axis.section: {cell.selector()[axis.name]: {} for cell in cells.values()} for axis in AXES
    }
    simulation = Simulation(codec, cells, entries, {}, images[0].latents)
    tables = [simulation.run([image]) for image in images]
    return sum(1 + int(table["syntheses"].sum()) for table in tables)


def synthesize(codec: CompressAICodec, images: Sequence[CodedImage]) -> None:
    """Run the synthesis transform alone on the rounded latents of each image."""
    with torch.no_grad():
        for image in images:
            codec.model.g_s(image.latents[0].y.round()[None])


def figures(options: Options) -> Iterator[Figure]:
    codec = mini_mean_scale(2, "cpu")
    images = code_images(codec, options)
    for kind, names in CELLS.items():
        count = simulate(codec, images, names)
        rounds = alternate(
            options.rounds,
            lambda: processor_seconds(lambda: simulate(codec, images, names), 0, 2) / count,
            lambda: processor_seconds(lambda: synthesize(codec, images)) / IMAGES,
        )
        ratios = [of_simulation / alone for of_simulation, alone in rounds]
        note = f"{count} syntheses"
        yield Figure(f"simulation, {kind}", "as many syntheses alone", "<= 1.2", ratios, note)
    all_names = [name for of_kind in CELLS.values() for name in of_kind]
    ratios = []
    for quality in QUALITIES:
        codec = mini_mean_scale(quality, "cpu")
        for image in code_images(codec, options):
            ratios.append((simulate(codec, [image], all_names) - 1) / len(all_names))
    yield Figure("syntheses of a cell and image", "one synthesis", "<= 5", ratios)
