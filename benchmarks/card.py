"""What runs on a machine with a card, a PyTorch of its own, and no registry.

    python -m benchmarks.card pack FOLDER [--images IMAGES]   where there is a registry
    python -m benchmarks.card unpack FOLDER SITE              on the machine with the card
    python -m benchmarks.card train --minutes 8 --out OUT --images IMAGES

``make cuda-wheels``, ``cuda-test``, ``cuda-bench`` and ``cuda-train`` call it. It needs the
standard library alone until a training starts.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PACKAGES = """
    absl-py attrs certifi charset-normalizer compressai constriction donfig einops fsspec
    google-crc32c hypothesis idna iniconfig jsonschema jsonschema-specifications lazy-loader
    lightning-fabric lightning-utilities msgspec numcodecs packaging pandas pillow pluggy protobuf
    pygments pytest python-dateutil pytorch-msssim pytorch-optimizer pytz pyyaml referencing
    requests rpds-py safetensors scipy six sortedcontainers tensorboard tqdm tzdata
    urllib3 xarray zarr
""".split()
"""What rdpipe needs beside PyTorch and NumPy to extract, to train and to run ``tests/cuda``."""
PYTHON = "3.12"
MOST_BYTES = 60_000_000
"""Size of the folder: wheels, and as many images as fit."""
NAMES = ("joint-upper", "mini-mean-scale", "mini-context", "mini-scale", "mini-factorized")
"""Trainings of ``config/train.yaml``, in order of their worth."""
MANY = 10**9
"""More steps than fit."""
SHARE = 0.6
"""Share of the time with a constant learning rate; both parts also have to start."""
LEFT_OUT = {"tests", "test_data", "webfiles.zip"}
"""Folders and files of packages that nothing here needs."""
ROOT = Path(__file__).parents[1]


def pack(folder: Path, images: Path | None) -> None:
    """Fill a folder with wheels for machines like this one, without their tests, and images."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as downloads:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", downloads]
        command += ["--only-binary", ":all:", "--python-version", PYTHON]
        subprocess.run([*command, "-c", ROOT / "constraints.txt", *PACKAGES], check=True)
        for wheel in sorted(Path(downloads).glob("*.whl")):
            compress(wheel, folder / wheel.name)
    space = MOST_BYTES - sum(file.stat().st_size for file in folder.glob("*.whl"))
    files = list(images_within(images, space)) if images else []
    for file in files:
        (folder / "images").mkdir(exist_ok=True)
        (folder / "images" / file.name).write_bytes(file.read_bytes())
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {len(PACKAGES)} wheels and {len(files)} images, {size / 2**20:.1f} MiB")


def compress(wheel: Path, out: Path) -> None:
    """Write a wheel with a better compression, without what only developers of the package need."""
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(wheel) as source,
        zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as target,
    ):
        for name in source.namelist():
            if not LEFT_OUT & set(Path(name).parts):
                file = Path(source.extract(name, folder))
                bundled = any(part.endswith(".libs") for part in Path(name).parts)
                if file.suffix == ".so" and not bundled and shutil.which("strip"):
                    subprocess.run(["strip", "--strip-unneeded", file], check=True)
                target.write(file, name)


def images_within(folder: Path, size: int) -> Iterator[Path]:
    """Yield the images of a folder, sorted, as many as fit into a size in bytes."""
    for file in sorted(folder.rglob("*.jpg")):
        size -= file.stat().st_size
        if size < 0:
            return
        yield file


def unpack(folder: Path, site: Path) -> None:
    """Unpack wheels into a folder for the Python path."""
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        sys.exit(f"{folder}: no wheels; expected those of `make cuda-wheels`")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as opened:
            opened.extractall(site)


def train_embedded(minutes: float, out: Path, images: Path, names: list[str]) -> None:
    """Continue the trainings of the embedded codecs, each for an equal share of the time.

    A training starts from its weights in ``out`` if there are some, otherwise from the committed
    ones.
    """
    from rdpipe.datasets import folder, manifest

    sources = folder.find(str(images))
    out.mkdir(parents=True, exist_ok=True)
    manifest.write(out / "manifest.json", manifest.build(sources))
    for name in names:
        share = 60 * minutes / len(names)
        start = time.monotonic()
        steps = train_for(share, name, out)
        print(f"{name}: {steps} steps in {time.monotonic() - start:.0f} s", flush=True)


def train_for(seconds: float, name: str, out: Path) -> int:
    """Train one embedded codec for some time; return the number of steps.

    The learning rate is constant over the first two thirds of the steps, whatever their number. So
    the training is stopped after two thirds of the time, and its steps are counted.
    """
    import torch

    import rdpipe.stages.train_codec  # noqa: F401 (loaded before the time counts)

    entry, state, weights = training_entry(name), out / f"{name}.state", out / f"{name}.safetensors"
    shutil.rmtree(state, ignore_errors=True)
    if weights.exists():
        entry["start"] = str(shutil.copy(weights, out / f"{name}.start.safetensors"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # until the training handles it
    timer = threading.Timer(SHARE * seconds, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    with contextlib.suppress(SystemExit):  # after the state is saved
        run_stage({**entry, "steps": MANY}, out, state, weights)
    timer.cancel()
    saved, step = state / "state.pt", 0
    if saved.exists():  # otherwise the start took all the time
        step = torch.load(saved, map_location="cpu", weights_only=True)["step"]
    steps = step + max(1, step // 2)
    run_stage({**entry, "steps": steps}, out, state, weights)
    return steps


def training_entry(name: str) -> dict[str, Any]:
    """Return a training of ``config/train.yaml`` that starts from the committed weights."""
    import yaml

    from rdpipe.codecs import EMBEDDED
    from rdpipe.config.check import complete

    config = yaml.safe_load((ROOT / "config/train.yaml").read_text())
    entry = complete(config, ROOT / "workflow/schema.yaml")["training"][name]
    return {**entry, "start": str(EMBEDDED / f"{name}.safetensors"), "on_change": "restart"}


def run_stage(entry: dict[str, Any], out: Path, state: Path, weights: Path) -> None:
    """Run the stage of a training in this process."""
    from rdpipe.io.sources import Sources
    from rdpipe.stages import train_codec

    source = Sources().digests(["rdpipe.stages.train_codec"])
    spec = train_codec.TrainCodecSpec.from_mapping({**entry, "device": "auto"})
    train_codec.run(spec, out / "manifest.json", source, state, weights, threads=2)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.card", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    of_pack = commands.add_parser("pack")
    of_pack.add_argument("folder", type=Path)
    of_pack.add_argument("--images", type=Path)
    of_unpack = commands.add_parser("unpack")
    of_unpack.add_argument("folder", type=Path)
    of_unpack.add_argument("site", type=Path)
    of_train = commands.add_parser("train")
    of_train.add_argument("--minutes", type=float, default=8)
    of_train.add_argument("--out", type=Path, required=True)
    of_train.add_argument("--images", type=Path, required=True)
    of_train.add_argument("--names", nargs="+", choices=NAMES, default=list(NAMES[:2]))
    values = vars(parser.parse_args())
    functions: dict[str, Callable[..., None]]
    functions = {"pack": pack, "unpack": unpack, "train": train_embedded}
    functions[values.pop("command")](**values)


if __name__ == "__main__":
    main()
