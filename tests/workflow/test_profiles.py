"""The profiles are accepted, and the GPUs of a stage follow from the config."""

import copy

import pytest
from small_project import CONFIG

from rdpipe.core.device import count_cards


@pytest.mark.parametrize("name", ["default", "slurm"])
def test_profile_is_accepted_and_stages_that_run_a_codec_request_a_gpu(project, name):
    config = copy.deepcopy(CONFIG)
    config["device"] = "cuda"
    project.configure(config)
    flags = ("--workflow-profile", f"workflow/profiles/{name}", "--dry-run", "--forceall")
    done = project.snakemake(*flags, "--jobs", "9")  # of other machines: this one may lack a GPU
    assert done.returncode == 0, done.stdout
    requests = [line for line in done.stdout.splitlines() if line.strip().startswith("resources:")]
    assert {line.split(" gpu=")[1][0] for line in requests if " gpu=" in line} == {"1"}
    assert ("tasks_per_gpu=0" in done.stdout) == (name == "slurm")  # of the training
    # four codecs on both datasets, five simulations, one training
    assert sum(" gpu=1" in line for line in requests) > 8
    assert any(" gpu" not in line for line in requests)


def test_auto_is_decided_when_jobs_are_planned(project):
    """It is a part of the specs, so a job on another machine has the same device."""
    config = copy.deepcopy(CONFIG)
    config["device"] = "auto"
    project.configure(config)
    expected = "cuda" if count_cards() else "cpu"
    done = project.snakemake("--dry-run", "--forceall", "--cores", "16", "--printshellcmds")
    assert done.returncode == 0, done.stdout
    assert f'"device": "{expected}"' in done.stdout and '"device": "auto"' not in done.stdout
