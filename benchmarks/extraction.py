"""``extract_latents`` relative to CompressAI's ``eval_model``, which also writes real bytes.

Both have the same model, the same images and one thread.
"""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import torch

from benchmarks.common import Figure, Options, alternate, image_files, run_python
from rdpipe.codecs import EMBEDDED, importing
from rdpipe.codecs.compressai.checkpoint import (
    architecture_of,
    fold,
    load_model,
    read_state,
)

QUALITY = 2
EVAL_MODEL = f"""
import runpy, sys
runpy.run_path({str(importing.__file__)!r})["declare_missing_operators"]()
sys.argv = ["eval_model", *sys.argv[1:]]
runpy.run_module("compressai.utils.eval_model", run_name="__main__")
"""
"""CompressAI's command, without an import of rdpipe."""


def write_checkpoint(path: Path) -> str:
    """Write the embedded codec as CompressAI reads it, with tables; return its architecture."""
    state = read_state(EMBEDDED / "mini-mean-scale.safetensors")
    model = load_model(architecture_of(state), fold(state, QUALITY - 1), str(path))
    model.update(force=True)
    torch.save({"state_dict": model.state_dict()}, path)
    return architecture_of(state)


def figures(options: Options) -> Iterator[Figure]:
    if find_spec("torchvision") is None:
        print("extraction: left out, because eval_model needs torchvision")
        return
    weights, manifest = options.work / "mini.pth.tar", options.work / "manifest.json"
    architecture = write_checkpoint(weights)
    entry = {"use": "folder", "args": {"root": str(options.images)}}
    dataset = json.dumps({"name": "bench", "entry": entry, "on_error": "stop"})
    run_python("-m", "rdpipe", "prepare_dataset", "--spec", dataset, "--out", manifest)
    devices = [("cpu", "0.9")] + [("cuda", "0.6")] * torch.cuda.is_available()
    for (device, bound), gain in product(devices, (False, True)):
        spec = {
            "dataset": "bench",
            "codec": "mini-mean-scale",
            "quality": QUALITY,
            "entry": {},
            "device": device,
            "decoder_gain": gain,
        }
        flags = {
            "--spec": json.dumps(spec),
            "--manifest_file": manifest,
            "--table": options.work / "images.zarr.zip",
            "--out": options.work / "latents.zarr.zip",
        }
        extract = [
            "-m",
            "rdpipe",
            "extract_latents",
            *(word for flag in flags.items() for word in flag),
        ]
        evaluate = [
            "-c",
            EVAL_MODEL,
            "checkpoint",
            options.images,
            "-a",
            architecture,
            "-p",
            weights,
        ]
        evaluate += ["--cuda"] * (device == "cuda")
        rounds = alternate(
            options.rounds, lambda: run_python(*extract), lambda: run_python(*evaluate)
        )
        reference = f"eval_model on {device}, {len(image_files(options.images))} images"
        name = f"extract_latents{', calibration' * gain}"
        for index, unit in enumerate(("seconds", "processor seconds")):
            ratios = [measured[index] / peer[index] for measured, peer in rounds]
            yield Figure(f"{name}, {unit}", reference, f"<= {bound}", ratios)
