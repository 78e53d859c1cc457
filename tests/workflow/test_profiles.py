"""The profiles are accepted, and the GPUs of a stage follow from the config."""

import copy
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from small_project import CONFIG

from rdpipe.core.device import count_cards

SLURM = Path(__file__).parents[2] / "workflow/profiles/slurm/config.yaml"


@pytest.mark.parametrize("name", ["default", "slurm"])
def test_profile_is_accepted_and_stages_that_run_a_codec_request_a_gpu(project, name):
    config = copy.deepcopy(CONFIG)
    config["device"] = "cuda"
    project.configure(config)
    flags = ("--workflow-profile", f"workflow/profiles/{name}", "--dry-run", "--forceall")
    process = project.snakemake(*flags, "--jobs", "9")  # of other machines: this one may lack a GPU
    assert process.returncode == 0, process.stdout
    requests = [
        line for line in process.stdout.splitlines() if line.strip().startswith("resources:")
    ]
    assert {line.split(" gpu=")[1][0] for line in requests if " gpu=" in line} == {"1"}
    # four codecs on both datasets, five simulations, one training
    assert sum(" gpu=1" in line for line in requests) > 8
    assert any(" gpu" not in line for line in requests)


class Resources(dict):
    """Resources of a job, as the plug-in reads them."""

    __getattr__ = dict.__getitem__


def requests_of_rules(output):
    """Return the resources of one job of each rule that a dry run prints."""
    pattern = r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    resources: (.*)$"
    texts = dict(re.findall(pattern, output, re.M))
    return {
        rule: Resources((key, yaml.safe_load(value)) for key, value in map(pair, text.split(", ")))
        for rule, text in texts.items()
    }


def pair(text):
    """Return name and value of a resource such as ``gpu=1``."""
    name, _, value = text.partition("=")
    return name, value


def submit_command(resources):
    """Return the command with which the plug-in submits a job."""
    submitting = pytest.importorskip("snakemake_executor_plugin_slurm.submit_string")
    from snakemake_executor_plugin_slurm.utils import set_gres_string

    job = SimpleNamespace(resources=resources, threads=8)
    names = "run_uuid slurm_logfile comment_str account partition workdir".split()
    call = submitting.get_submit_command(job, dict.fromkeys(names, ""))
    return call + set_gres_string(job)


def test_training_with_two_gpus_is_one_task_on_one_node(project):
    config = copy.deepcopy(CONFIG)
    config["device"] = "cuda"
    config["training"]["net"].update(devices=2, batch=4)
    project.configure(config)
    profile = ("--workflow-profile", "workflow/profiles/slurm")
    process = project.snakemake(*profile, "--dry-run", "--forceall", "--jobs", "9")
    requests = requests_of_rules(process.stdout)
    training, extraction = (
        submit_command(requests[rule]) for rule in ("train_codec", "extract_latents")
    )
    assert "--gpus=2" in training and "--nodes=1" in training
    assert "--ntasks" not in training
    assert "--gpus=1" in extraction and "--ntasks-per-gpu=1" in extraction
    assert "--gpus" not in submit_command(requests["prepare_dataset"])


@pytest.mark.parametrize(
    "resources, expected",
    [({"gpu": 0, "gres": "gpu:1"}, "--gres=gpu:1"), ({"gpu": 1, "gpu_model": "a100"}, "a100:1")],
)
def test_plugin_accepts_the_other_requests_that_the_profile_names(resources, expected):
    call = submit_command(Resources(resources))
    assert expected in call and "--ntasks-per-gpu=1" in call


def test_profile_lists_the_rules_that_request_a_gpu():
    """Its commented lines are those to edit for a partition with GPUs."""
    listed = set(re.findall(r"^#  - (\w+):slurm_partition=gpu$", SLURM.read_text(), re.M))
    rules = SLURM.parents[2].glob("rules/*.smk")
    texts = [text for file in rules for text in re.split(r"^rule ", file.read_text(), flags=re.M)]
    assert listed == {text.partition(":")[0] for text in texts if "\n        gpu=" in text}
    uncommented = re.sub(r"^#  - ", "  - ", SLURM.read_text(), flags=re.M)
    assert "simulate:slurm_partition=gpu" in yaml.safe_load(uncommented)["set-resources"]


def test_auto_is_decided_when_jobs_are_planned(project):
    """It is a part of the specs, so a job on another machine has the same device."""
    config = copy.deepcopy(CONFIG)
    config["device"] = "auto"
    project.configure(config)
    expected = "cuda" if count_cards() else "cpu"
    process = project.snakemake("--dry-run", "--forceall", "--cores", "16", "--printshellcmds")
    assert process.returncode == 0, process.stdout
    assert f'"device": "{expected}"' in process.stdout and '"device": "auto"' not in process.stdout
