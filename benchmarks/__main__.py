"""Run benchmarks, print a table and write it as JSON.

    python -m benchmarks [NAME ...] [--images FOLDER] [--rounds 5] [--cores 2] [--out FILE]

With idle cores, as every figure is a ratio of times: a noisy machine widens the spread.
"""

import argparse
import json
import platform
import tempfile
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import torch
from PIL import Image
import skimage.data

from benchmarks.common import Options

NAMES = ("array", "level", "store", "extraction", "workflow", "training", "memory")


def sample_images(folder: Path) -> Path:
    """The photographs that scikit-image ships, as PNG."""
    folder.mkdir()
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        Image.fromarray(getattr(skimage.data, name)()).save(folder / f"{name}.png")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--images", type=Path, help="folder; by default photographs of scikit-image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2, help="of the workflow")
    parser.add_argument("--config", type=Path, default=Path("config/sample.yaml"), help="of the workflow")
    parser.add_argument("--out", type=Path, default=Path("results-benchmarks/benchmarks.json"))
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"unknown {', '.join(sorted(unknown))}; allowed are {', '.join(NAMES)}")
    figures = []
    with tempfile.TemporaryDirectory() as work:
        images = given.images.absolute() if given.images else sample_images(Path(work, "sample"))
        options = Options(images, given.rounds, Path(work), given.cores, given.config.absolute())
        print(f"{'what':44} {'against':40} {'aim':>8} {'median':>8}  spread")
        for name in given.names or NAMES:
            for figure in import_module(f"benchmarks.{name}").figures(options):
                figures.append(figure)
                spread = f"{min(figure.ratios):.3f} to {max(figure.ratios):.3f}"
                line = f"{figure.what:44} {figure.against:40} {figure.aim:>8} {figure.median:8.3f}"
                print(f"{line}  {spread} {'' if figure.met else 'MISSED'} {figure.note}", flush=True)
    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__,
               "threads": torch.get_num_threads(), "cuda": torch.cuda.is_available()}  # fmt: skip
    rows = [{**asdict(f), "median": f.median, "met": f.met} for f in figures]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"machine": machine, "figures": rows}, indent=1))
    print(f"written to {given.out}")


if __name__ == "__main__":
    main()
