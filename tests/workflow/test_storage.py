"""A run without a shared file system: each job starts in an empty folder, with a storage alone."""

import copy
import json
import os
import re
import shutil
import subprocess
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import xarray as xr
import zarr.storage
from small_project import CONFIG, ROOT, Project, write_inputs

SUBMIT = """#!/bin/bash
node=$(mktemp -d {nodes}/XXXXXX)
cp "$1" $node.sh
passed=(PATH="$PATH" HOME="$HOME" PYTHONPATH="$PYTHONPATH")
(cd $node; env -i "${{passed[@]}}" bash $node.sh > $node.log 2>&1
 echo $? > $node.new; mv $node.new $node.status) \\
  > /dev/null 2>&1 &
echo $node
"""
"""A machine for each job: an empty folder, and no variables but those that Snakemake passes."""
STATUS = """#!/bin/bash
case $(cat $1.status 2> /dev/null) in "") echo running ;; 0) echo success ;; *) echo failed ;; esac
"""
RSYNC = """#!/bin/bash
exec cp --dereference --preserve=timestamps "${@: -2}"
"""
"""What the plug-in asks of rsync."""
PLUGINS = ("snakemake_storage_plugin_fs", "snakemake_executor_plugin_cluster_generic")
missing = [name for name in PLUGINS if find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
    pytest.mark.skipif(shutil.which("git") is None, reason="Snakemake packs sources with git"),
]
TARGETS = [
    "results/tiny/theirs/q1/images/0.zarr.zip",  # its weights are a file of the user
    "results/tiny/mine/q1/images/0.zarr.zip",  # its weights are trained here
    "results/tiny/baselines/jpeg/q40/0.zarr.zip",
]


def write_script(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


class Stored(Project):
    """A project whose jobs share nothing but a storage."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        scripts, self.nodes = folder.parent / "scripts", folder.parent / "nodes"
        self.storage = folder.parent / "storage"
        self.nodes.mkdir()
        write_script(scripts / "submit", SUBMIT.format(nodes=self.nodes))
        write_script(scripts / "status", STATUS)
        if shutil.which("rsync") is None:
            write_script(scripts / "rsync", RSYNC)
        self.scripts = scripts
        for words in (["init"], ["add", "Snakefile", "workflow", "config"]):
            subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.scripts}:{os.environ['PATH']}"
        return {**super().environment, "PATH": path}

    def snakemake(self, *flags: str) -> subprocess.CompletedProcess:
        return super().snakemake(
            *flags,
            *("--jobs", "2", "--executor", "cluster-generic", "--job-deploy-sources"),
            *("--cluster-generic-submit-cmd", str(self.scripts / "submit")),
            *("--cluster-generic-status-cmd", str(self.scripts / "status")),
            *("--seconds-between-status-checks", "1", "--shared-fs-usage", "none"),
            *("--default-storage-provider", "fs", "--default-storage-prefix", str(self.storage)),
        )


def table(file: Path) -> xr.Dataset:
    with zarr.storage.ZipStore(file, mode="r") as archive:
        return xr.open_zarr(archive, consolidated=False).load()


def test_jobs_that_share_only_a_storage_give_the_same_numbers(tmp_path):
    project = Stored(tmp_path / "run")
    write_inputs(project.folder)
    weights = tmp_path / "elsewhere" / "q1.safetensors"
    weights.parent.mkdir()
    shutil.copy(ROOT / "rdpipe/codecs/weights/joint-upper.safetensors", weights)
    config = copy.deepcopy(CONFIG)
    checkpoint = {"checkpoint": str(weights.parent / "q{quality}.safetensors")}
    config["codecs"] = {
        "mine": config["codecs"]["mine"],
        "theirs": {"use": "trained", "args": checkpoint, "qualities": [1]},
    }
    project.configure(config)

    process = project.snakemake(*TARGETS)
    logs = "\n".join(file.read_text() for file in project.nodes.glob("*.log"))
    assert process.returncode == 0, process.stdout + logs
    assert len(list(project.nodes.glob("*.status"))) == 4  # with the training
    scripts = [file.read_text() for file in project.nodes.glob("*.sh")]
    assert all(re.search(r"RDPIPE_DEVICE='?\"?(cpu|cuda)", script) for script in scripts)
    assert not (project.folder / "results").exists()
    results = project.storage / "results"
    manifest = json.loads((results / "tiny/manifest.json").read_text())
    files = [image["file"] for image in manifest["images"]]
    assert files == ["images.zip/000000.png", "images.zip/000001.png"]
    assert len(zipfile.ZipFile(results / "tiny/images.zip").namelist()) == 2
    assert "Nothing to be done" in project.snakemake(*TARGETS).stdout

    (project.folder / "results/training").mkdir(parents=True)
    shutil.copy(results / "training/net.safetensors", project.folder / "results/training")
    plain = Project.snakemake(project, *TARGETS, "--rerun-triggers", "mtime")
    assert plain.returncode == 0, plain.stdout
    for target in TARGETS:
        xr.testing.assert_identical(
            table(project.storage / target).drop_attrs(),
            table(project.folder / target).drop_attrs(),
        )


def test_copies_of_files_of_the_user_have_the_files_that_the_config_names(tmp_path):
    """Names of copies begin with ``work/`` or ``root/``, which a name of the user may, too."""
    project = Stored(tmp_path / "run")
    write_inputs(project.folder)
    for folder in ("models", "rootmodels", "work"):
        (project.folder / folder).mkdir()
        (project.folder / folder / "q1.safetensors").write_bytes(b"")
    config = copy.deepcopy(CONFIG)
    for folder in ("rootmodels", "work"):
        args = {"checkpoint": f"{folder}/q{{quality}}.safetensors"}
        config["codecs"] = {"theirs": {"use": "trained", "args": args, "qualities": [1]}}
        project.configure(config)
        printed = project.snakemake(TARGETS[0], "--dry-run").stdout
        assert f"input: {folder}/q1.safetensors\n" in printed, printed
