"""Run benchmarks, print a table and write it as JSON.

    python -m benchmarks [NAME ...] [--images FOLDER] [--rounds 5] [--cores 2] [--out FILE]

Use idle cores: every figure is a ratio of measurements, and other load widens its range.
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

from benchmarks.common import Figure, Options

NAMES = (
    "array",
    "level",
    "simulation",
    "refinement",
    "waterfill",
    "store",
    "extraction",
    "workflow",
    "training",
    "memory",
    "page",
)
"""The benchmarks: modules with a function ``figures(options)``."""
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def write_sample_images(folder: Path) -> Path:
    """Write photographs of scikit-image as PNG to a folder."""
    import skimage.data  # not on a machine with a card

    folder.mkdir()
    for name in PHOTOGRAPHS:
        Image.fromarray(getattr(skimage.data, name)()).save(folder / f"{name}.png")
    return folder


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--images", type=Path, help="folder; default: photographs of scikit-image")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2, help="cores of the workflow")
    parser.add_argument(
        "--config", type=Path, default=Path("config/sample.yaml"), help="config of the workflow"
    )
    parser.add_argument("--out", type=Path, default=Path("results-benchmarks/benchmarks.json"))
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        names = ", ".join(sorted(unknown))
        parser.error(f"unknown benchmark: {names}; expected one of: {', '.join(NAMES)}")
    return arguments


def print_row(figure: Figure) -> None:
    values = f"{figure.target:>8} {figure.median:8.3f}"
    spread = f"{min(figure.ratios):.3f} to {max(figure.ratios):.3f}"
    missed = "" if figure.reached else "MISSED"
    line = f"{figure.name:44} {figure.reference:40} {values}  {spread} {missed} {figure.note}"
    print(line, flush=True)


def main() -> None:
    arguments = parse_arguments()
    figures = []
    with tempfile.TemporaryDirectory() as work:
        images = arguments.images or write_sample_images(Path(work, "sample"))
        options = Options(
            images.absolute(),
            arguments.rounds,
            Path(work),
            arguments.cores,
            arguments.config.absolute(),
        )
        print(f"{'name':44} {'reference':40} {'target':>8} {'median':>8}  range")
        for name in arguments.names or NAMES:
            for figure in import_module(f"benchmarks.{name}").figures(options):
                figures.append(figure)
                print_row(figure)
    machine = {
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.is_available(),
    }
    rows = [
        {**asdict(figure), "median": figure.median, "reached": figure.reached} for figure in figures
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"machine": machine, "figures": rows}, indent=1))
    print(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
