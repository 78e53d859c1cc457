"""The profiles: Snakemake takes them, and what a stage asks for follows from the config and the attempt."""

import copy

import pytest
from conftest import CONFIG


@pytest.mark.parametrize("name", ["default", "slurm"])
def test_a_profile_is_taken_and_stages_that_run_a_codec_ask_for_a_gpu(project, name):
    config = copy.deepcopy(CONFIG)
    config["device"] = "cuda"
    project.configure(config)
    flags = ("--workflow-profile", f"workflow/profiles/{name}", "--dry-run", "--forceall")
    done = project.snakemake(*flags)
    assert done.returncode == 0, done.stdout
    asked = [line for line in done.stdout.splitlines() if line.strip().startswith("resources:")]
    assert {line.split("gpu=")[1][0] for line in asked if "gpu=" in line} == {"1"}
    # both data sets under four codecs, five simulations, one training
    assert sum("gpu=1" in line for line in asked) > 8
    assert any("gpu" not in line for line in asked)
