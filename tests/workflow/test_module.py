"""The workflow as a module of another workflow, with its config and a prefix."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from rdpipe.baselines import classical

ROOT = Path(__file__).parents[2]
COPY = "import shutil, sys; shutil.copy(*sys.argv[1:])"

SNAKEFILE = f"""
configfile: "config.yaml"


rule everything:
    input:
        "sizes.csv",
        points=lambda _: rules.rdpipe_trace_bounds.output.points,


module rdpipe:
    snakefile: "{ROOT / "Snakefile"}"
    config: config["rdpipe"]
    prefix: "limits"


use rule * from rdpipe as rdpipe_*


rule sizes:
    input:
        expand(
            rules.rdpipe_run_baseline.output,
            dataset="ours",
            baseline=["jpegxl", "copy"],
            quality=30,
            shard=0,
        ),
    output:
        "sizes.csv",
    shell:
        "python sizes.py {{input}} > {{output}}"
"""

SIZES = """
import sys, xarray, zarr
print("baseline,bytes,psnr")
for file in sys.argv[1:]:
    table = xarray.open_zarr(zarr.storage.ZipStore(file, mode="r"), consolidated=False)
    print(table["baseline"].item(), table["bytes"].item(), table["psnr"].item(), sep=",")
"""


@pytest.fixture(scope="module")
def outer(tmp_path_factory):
    """Another workflow, whose folder has no files of rdpipe."""
    folder = tmp_path_factory.mktemp("outer")
    copy = f"{shlex.quote(sys.executable)} -c {shlex.quote(COPY)} {{input}} {{output}}"
    config = {
        "datasets": {"ours": {"use": "folder", "args": {"root": "images"}}},
        "codecs": {
            "mine": {"use": "trained", "args": {"checkpoint": "net.safetensors"}, "qualities": [1]}
        },
        "baselines": {
            "jpegxl": {"qualities": [30]},
            "copy": {
                "use": "external",
                "args": {"encode": copy, "decode": copy},
                "qualities": [30],
            },
        },
        "references": {"ours": {"table": "theirs.json"}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump({"rdpipe": config, "of_its_own": 1}))
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "sizes.py").write_text(SIZES)
    (folder / "theirs.json").write_text('{"name": "a", "results": {"bpp": [1], "psnr": [30]}}')
    (folder / "net.safetensors").write_bytes(b"not read before a job runs")
    (folder / "images").mkdir()
    pixels = np.random.default_rng(0).integers(90, 160, (33, 57, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "images/one.png")
    return folder


def snakemake(folder: Path, *flags: str) -> str:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *flags]
    process = subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.returncode == 0, process.stdout
    return process.stdout


def test_outer_workflow_keeps_its_target_and_prefixes_every_path_once(outer):
    printed = snakemake(outer, "--dry-run")
    outputs = re.findall(r"^    (?:output|log): (.+)$", printed, re.M)
    files = {file for listed in outputs for file in listed.split(", ")}
    assert {"sizes.csv", "limits/results/bounds.csv", "limits/logs/trace_bounds.log"} <= files
    assert all(file.startswith("limits/") for file in files - {"sizes.csv"})
    assert not any("limits/limits" in file for file in files)
    assert "rule everything" in printed and "rule rdpipe_all" not in printed
    inputs = re.findall(r"^    input: (.+)$", printed, re.M)
    files = {file for listed in inputs for file in listed.split(", ")}
    assert {"theirs.json", "net.safetensors"} <= files  # files of the user have no prefix


def test_page_finds_the_times_and_logs_of_the_jobs(outer):
    printed = snakemake(outer, "--dry-run", "--printshellcmds", "limits/results/report.html")
    assert '"logs": "limits/logs"' in printed


def test_jobs_run_and_their_stores_open_with_xarray_alone(outer):
    snakemake(outer, "sizes.csv")
    sizes = pd.read_csv(outer / "sizes.csv").set_index("baseline")
    image = np.asarray(Image.open(outer / "images/one.png"))
    stream, decoded = classical.jpegxl()(image, 30)
    psnr = 10 * np.log10(255**2 / np.square(image.astype(float) - decoded).mean())
    assert sizes.loc["jpegxl"].tolist() == pytest.approx([len(stream), psnr])
    assert sizes.loc["copy", "bytes"] > image.size / 3 and np.isinf(sizes.loc["copy", "psnr"])
    assert not (outer / "results").exists() and (outer / "limits/results/ours").is_dir()
    assert "Nothing to be done" in snakemake(outer, "sizes.csv")


def test_error_in_the_config_is_named(outer):
    command = [sys.executable, "-m", "snakemake", "-n", "--config", "rdpipe={quantizer: {}}"]
    process = subprocess.run(
        command, cwd=outer, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert (
        process.returncode != 0 and "unknown key 'quantizer'; did you mean 'quant" in process.stdout
    )


def test_snakefile_of_the_catalog_requests_the_same():
    flags = ("-s", "workflow/Snakefile", "-n", "--configfile", "config/gaussian.yaml")
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", snakemake(ROOT, *flags), re.M))
    assert jobs["everything"] == "1" and jobs["make_report"] == "1" and "all" not in jobs
