"""The stages run one after the other with ``device: cuda``, and have the results of the CPU."""

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_run import ENTRIES, SmallRun, cells, photographs

from rdpipe.io import store
from rdpipe.stages import (
    extract_latents,
    map_latents,
    measure_gap,
    prepare_dataset,
    refine_latents,
    retune_codec,
)

CURVE = {"channel": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"}}
CODED = cells("codec/codec/rounding", "codec/codec/deadzone", "codec/channel/deadzone")
RETUNING = {
    "train": ["decoder", "encoder"],
    "quantizer": "noise",
    "quantizers": {},
    "level": 1.0,
    "lambdas": [0.01],
    "steps": 3,
    "batch": 2,
    "crop": 64,
    "learning_rate": 1e-3,
    "seed": 0,
    "save_every": 2,
}


@pytest.fixture
def runs(tmp_path, pretend_cuda):
    """The same run on the CPU and on a pretended card."""
    runs = []
    for device in ("cpu", "cuda"):
        folder = tmp_path / device
        folder.mkdir()
        runs.append(SmallRun(folder, photographs(1, 64, 64), device=device))
    return runs


def both(runs, product, group="", **options):
    """Return a product of the run on the CPU and on the card."""
    return [store.read(product(run, **options), group) for run in runs]


def test_extraction_simulation_and_fit(runs):
    tables = [run.table for run in runs]
    for name in ("latent_bits", "psnr"):
        assert np.allclose(tables[0][name], tables[1][name], rtol=1e-3)
    simulations = both(runs, lambda run: run.simulate(CURVE))
    assert np.allclose(simulations[0]["bits"], simulations[1]["bits"], rtol=1e-2)
    fits = both(runs, lambda run: run.fit("test-channel"))
    assert fits[0].sizes == fits[1].sizes


def measure(run):
    """Return the path of the whole array."""
    path = run.folder / "joint.zarr.zip"
    fields = {"slices": [{"component": "joint", **ENTRIES}], "matching": "image", "seed": 0}
    measure_gap.run(measure_gap.MeasureGapSpec.from_mapping(fields), [run.latents], [], [path])
    return path


def mapped(run):
    """Return the path of the maps of the cells on the way to a limit."""
    path = run.folder / "maps.zarr.zip"
    spec = map_latents.MapLatentsSpec.from_mapping({**run.cell_spec, "limits": CURVE})
    map_latents.run(spec, run.manifest, run.latents, measure(run), [], path)
    return path


def test_maps(runs):
    on_cpu, on_cuda = both(runs, mapped, group="0")
    assert on_cpu.sizes == on_cuda.sizes
    assert np.allclose(on_cpu["bits"], on_cuda["bits"], rtol=1e-3, atol=1e-3)


def decoded(run):
    """Return the path of what the bitstreams decode to."""
    simulation = run.simulate(CODED)
    return run.read(CODED, run.write(CODED, simulation))


def test_bitstreams(runs):
    on_cpu, on_cuda = both(runs, decoded)
    assert (on_cuda["size"] > 0).all() and on_cpu.sizes["cell"] == len(CODED)
    assert np.allclose(on_cpu["size"], on_cuda["size"], rtol=1e-2)
    assert np.allclose(on_cpu["mse"], on_cuda["mse"], rtol=1e-2)


def refined(run):
    """Return the path of refined latents."""
    path = run.folder / "refined.zarr.zip"
    refinement = {"codec": "mini-mean-scale", "steps": 3}
    spec = {**run.codec, "refinement": refinement, "neighbors": [2], "slope": 0.005}
    spec = refine_latents.RefineLatentsSpec.from_mapping(spec)
    refine_latents.run(spec, run.manifest, run.folder / "state", path)
    return path


def extracted(run, name, files=(), **changes):
    """Return the path of latents of another codec on the same images."""
    spec = extract_latents.ExtractLatentsSpec.from_mapping({**run.codec, **changes})
    path = run.folder / f"{name}.zarr.zip"
    table = run.folder / f"{name}-images.zarr.zip"
    extract_latents.run(spec, run.manifest, table, path, list(files))
    return path


def test_refined_latents_and_their_extraction(runs):
    on_cpu, on_cuda = both(runs, refined)
    for name in ("bits", "mse"):
        assert np.allclose(on_cpu[name], on_cuda[name], rtol=1e-3)
    latents = both(runs, lambda run: extracted(run, "better", [refined(run)]))
    for name in ("latent_bits", "bytes", "psnr"):
        assert np.allclose(latents[0][name], latents[1][name], rtol=1e-2)


def retuned(run):
    """Return the path of weights that are fine-tuned."""
    path = run.folder / "retuned.safetensors"
    spec = {**RETUNING, **{key: run.codec[key] for key in ("codec", "quality", "entry", "device")}}
    spec = retune_codec.RetuneCodecSpec.from_mapping(spec)
    retune_codec.run(spec, run.manifest, [], run.folder / "training", path)
    return path


def test_retuned_weights_and_their_extraction(runs):
    weights = [load_file(retuned(run)) for run in runs]
    assert weights[0].keys() == weights[1].keys()
    for name, values in weights[0].items():
        assert np.allclose(values, weights[1][name], rtol=1e-3, atol=2e-3), name
    tables = []
    for run in runs:
        codec = {"use": "mini-mean-scale"}
        args = {"codec": codec, "checkpoint": str(run.folder / "retuned.safetensors")}
        entry = {"use": "rdpipe.codecs.building:retuned", "args": args}
        tables.append(store.read(extracted(run, "tuned", codec="tuned", entry=entry)))
    for name in ("latent_bits", "psnr"):
        assert np.allclose(tables[0][name], tables[1][name], rtol=1e-2)


def test_codec_without_a_device_runs_on_the_cpu(tmp_path, pretend_cuda):
    source = {"size": 64, "rho": 0.9, "sigma": 40.0}
    dataset = {"use": "gaussian-field", "args": {"count": 1, **source}}
    manifest = tmp_path / "manifest.json"
    spec = prepare_dataset.PrepareDatasetSpec(name="d", entry=dataset, on_error="stop")
    prepare_dataset.run(spec, manifest)
    paths = []
    for device in ("cpu", "cuda"):
        entry = {"args": {"steps": [8.0], **source}}
        spec = {"dataset": "d", "codec": "klt", "quality": 1, "entry": entry, "device": device}
        spec = extract_latents.ExtractLatentsSpec.from_mapping({**spec, "decoder_gain": True})
        paths.append(tmp_path / f"{device}.zarr.zip")
        extract_latents.run(spec, manifest, tmp_path / "images.zarr.zip", paths[-1])
    on_cpu, on_cuda = (store.read(path, "0/y") for path in paths)
    assert on_cpu.drop_attrs().identical(on_cuda.drop_attrs())
