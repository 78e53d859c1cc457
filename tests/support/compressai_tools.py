"""CompressAI's own tools, as an independent answer."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import rdpipe.codecs.compressai  # noqa: F401 - before compressai

# isort: split
from compressai.utils.plot.__main__ import parse_json_file  # noqa: F401

START = """
import runpy, sys
import rdpipe.codecs.compressai
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def tool(name: str, *flags) -> str:
    """Run ``python -m compressai.utils.NAME`` in a new process; return its output."""
    command = [sys.executable, "-c", START, f"compressai.utils.{name}", *map(str, flags)]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def jpeg_results(folder: Path) -> Path:
    """Measure JPEG on one image with CompressAI's ``bench``; return the file that it writes."""
    colors = np.random.default_rng(0).integers(100, 140, (64, 96, 3), dtype=np.uint8)
    Image.fromarray(colors).save(folder / "one.png")
    flags = ("-q", "5,30,90", "--metrics", "psnr-rgb")
    (folder / "theirs.json").write_text(tool("bench", "jpeg", folder, *flags))
    return folder / "theirs.json"
