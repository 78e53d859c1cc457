"""Origin of a product: versions, commit and machine."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import rdpipe

PACKAGES = ("torch", "compressai", "imagecodecs", "numpy", "pillow", "xarray", "zarr")
"""Packages that numbers depend on."""
IMAGES = ("numpy", "imagecodecs", "pillow")
"""Packages that the pixels of images depend on."""
NUMERICAL = ("numpy", "scipy", "torch", "compressai", "pytorch-msssim")
"""Packages that the numbers of most stages depend on."""
TRAINING = (*NUMERICAL, "pillow", "lightning-fabric", "pytorch-optimizer")
"""Packages that trained weights depend on."""
STAGE_PACKAGES = {
    "prepare_dataset": IMAGES,
    "run_baseline": (*IMAGES, "pytorch-msssim"),
    "train_codec": TRAINING,
    "retune_codec": TRAINING,
    "write_bitstreams": (*NUMERICAL, "constriction"),
    "read_bitstreams": (*NUMERICAL, "constriction"),
    "export_curves": (),
    "make_report": (),
}
"""Packages whose versions the products of a stage depend on; of other stages, NUMERICAL."""
ROOT = Path(rdpipe.__file__).parent
"""Folder of the package."""


def versions() -> dict[str, str]:
    """Return the versions of rdpipe and of the packages that numbers depend on.

    Packages that are not installed are left out.
    """
    names = {"version_rdpipe": rdpipe.__version__}
    numbers = ((name, _version(name)) for name in PACKAGES)
    return names | {f"version_{name}": number for name, number in numbers if number is not None}


def commit() -> str:
    """Return the commit of the source, with ``-dirty`` if files differ from it.

    Outside a clone the commit is unknown.
    """
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a clone)"


def machine() -> str:
    """Return a description of the machine."""
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return f"{system}, Python {platform.python_version()}"


def installed_versions(stage: str) -> list[str]:
    """Return ``name: version`` of the packages that the product of a stage depends on.

    Packages that are not installed are left out.
    """
    packages = STAGE_PACKAGES.get(stage, NUMERICAL)
    return [f"{name}: {number}" for name in packages if (number := _version(name)) is not None]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
