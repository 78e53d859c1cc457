"""``extract_latents`` against CompressAI's ``eval_model`` with real coding: same model, images, one thread."""

import itertools
import json
from collections.abc import Iterator

import torch

from benchmarks.common import Figure, Options, alternate, image_files, run_python
from rdpipe.codecs.compressai.checkpoint import (
    EMBEDDED,
    architecture_of,
    fold,
    load_model,
    read_state,
)

QUALITY = 2
EVAL_MODEL = """
import runpy, sys
from rdpipe.codecs.compressai._torchvision import declare_missing_operators
declare_missing_operators()
sys.argv = ["eval_model", *sys.argv[1:]]
runpy.run_module("compressai.utils.eval_model", run_name="__main__")
"""


def checkpoint(path) -> str:
    """The embedded codec as CompressAI reads one, tables included; returns its architecture."""
    state = read_state(EMBEDDED / "mini-mean-scale.safetensors")
    model = load_model(architecture_of(state), fold(state, QUALITY - 1), str(path))
    model.update(force=True)
    torch.save({"state_dict": model.state_dict()}, path)
    return architecture_of(state)


def figures(options: Options) -> Iterator[Figure]:
    weights, manifest = options.work / "mini.pth.tar", options.work / "manifest.json"
    architecture = checkpoint(weights)
    entry = {"use": "folder", "args": {"root": str(options.images)}}
    given = {"name": "bench", "entry": entry, "on_error": "stop"}
    run_python("-m", "rdpipe", "prepare_dataset", "--spec", json.dumps(given), "--out", manifest)
    devices = [("cpu", "0.9")] + [("cuda", "0.6")] * torch.cuda.is_available()
    for (device, bound), gain in itertools.product(devices, (False, True)):
        spec = {"dataset": "bench", "codec": "mini-mean-scale", "quality": QUALITY, "entry": {},
                "device": device, "decoder_gain": gain}  # fmt: skip
        ours = ["-m", "rdpipe", "extract_latents", "--spec", json.dumps(spec),
                "--manifest_file", manifest, "--table", options.work / "images.zarr.zip",
                "--out", options.work / "latents.zarr.zip"]  # fmt: skip
        peer = ["-c", EVAL_MODEL, "checkpoint", options.images, "-a", architecture, "-p", weights]
        peer += ["--cuda"] * (device == "cuda")
        rounds = alternate(options.rounds, lambda: run_python(*ours), lambda: run_python(*peer))
        names = f"eval_model on {device}, {len(image_files(options.images))} images"
        walls, works = ([a[i] / b[i] for a, b in rounds] for i in (0, 1))
        what = f"extract_latents{', calibration' * gain}"
        yield Figure(f"{what}, seconds", names, f"<= {bound}", walls)
        yield Figure(f"{what}, processor seconds", names, f"<= {bound}", works)
