"""The workflow on SLURM: a complete run, a cancelled job, and a job whose node is lost.

The tests use the SLURM that runs here. Otherwise they start one with two nodes, if SLURM is
installed; if it is not, they are skipped and name the packages to install.
"""

import copy
import re
import shutil
import subprocess
import sys
import time

import pytest
from small_project import CONFIG
from small_slurm import missing_packages, small_slurm

PROFILE = ("--workflow-profile", "workflow/profiles/slurm")
RUN = "results/tiny/mini-mean-scale/q1"
SHARED = {
    "group_baselines_run_baseline",
    "group_fits_fit_estimator",
    "group_report_export_curves_make_report_trace_bounds",
    "group_shard_extract_latents",  # of the calibration images
    "group_shard_extract_latents_map_latents_measure_gap_simulate",
}
"""Folders of the logs of submissions that jobs share."""


def output_of(*command: str) -> str:
    """Return the output of a command of SLURM; empty if it is missing, fails or hangs."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        process = subprocess.run(command, text=True, capture_output=True, timeout=15)
    except subprocess.TimeoutExpired:
        return ""
    return process.stdout if process.returncode == 0 else ""


pytestmark = pytest.mark.slurm


@pytest.fixture(scope="session")
def slurm():
    """A SLURM whose commands are on the PATH."""
    if output_of("sinfo", "-h"):
        yield
        return
    if packages := missing_packages():
        names = " ".join(packages)
        pytest.skip(f"no SLURM runs here; to start one, install the packages {names}")
    with small_slurm() as commands, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(commands), prepend=":")
        yield


@pytest.fixture
def cluster(slurm, project, new_project, tmp_path):
    """A project with part of the config, not yet run."""
    for name in ("images", "calibration"):
        shutil.copytree(project.folder / name, tmp_path / name)
    for image in (project.folder / "images").iterdir():
        shutil.copystat(image, tmp_path / "images" / image.name)
    cluster = new_project(tmp_path)
    config = copy.deepcopy(CONFIG)
    config["codecs"] = {"mini-mean-scale": {"qualities": [1]}}
    config.update(bitstream=False, references={}, training={})
    cluster.configure(config)
    return cluster


def start(cluster, *flags: str) -> subprocess.Popen:
    """Start Snakemake with the profile; its jobs are short, so they are checked sooner."""
    command = [sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", *PROFILE]
    command += ["--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "10"]
    return subprocess.Popen(
        [*command, *flags],
        cwd=cluster.folder,
        env=cluster.environment,
        text=True,
        stdout=(cluster.folder / "slurm.out").open("w"),
        stderr=subprocess.STDOUT,
    )


def has_accounting() -> bool:
    return "slurmdbd" in output_of("scontrol", "show", "config")


def finished(cluster, running: subprocess.Popen) -> str:
    """Return the output of Snakemake, which must have succeeded."""
    try:
        code = running.wait(timeout=1800)  # a loaded machine is slow
    finally:
        running.kill()
    output = (cluster.folder / "slurm.out").read_text()
    assert code == 0, output
    return output


def hours(limit: str) -> str:
    """Return a time limit with hours; squeue prints ``16:00`` and ``2:00:00``."""
    parts = limit.split(":")
    return ":".join(part.zfill(2) for part in ["0"] * (3 - len(parts)) + parts)


def jobs_of(output: str) -> list[tuple[str, ...]]:
    """Return number, state, memory, time limit and node of each job of a run after all have ended.

    They are from the accounting, where a job that SLURM started again has two rows; without
    accounting, from squeue.
    """
    name = re.search(r"SLURM run ID: (\S+)", output)[1]
    fields = "JobID,State,ReqMem,Timelimit,NodeList"
    command = (
        ("sacct", "-X", "-D", "-n", "-P", f"--name={name}", "-o", fields)
        if has_accounting()
        else ("squeue", "-h", "-t", "all", "-n", name, "-o", "%i|%T|%m|%l|%N")
    )
    for _ in range(20):
        rows = [row.split("|") for row in output_of(*command).splitlines()]
        if rows and not {row[1] for row in rows} & {"RUNNING", "PENDING", "COMPLETING"}:
            break
        time.sleep(1)
    return [
        (job, state.split()[0], memory, hours(limit), node)
        for job, state, memory, limit, node in rows
    ]


def test_workflow_on_slurm_gives_the_same_bytes(cluster, project):
    output = finished(cluster, start(cluster))
    assert (cluster.folder / "results/report.html").stat().st_size > 50_000
    for name in ("latents", "simulation", "gaps/joint", "gaps/variance"):
        file = f"{RUN}/{name}/0.zarr.zip"
        assert (cluster.folder / file).read_bytes() == (project.folder / file).read_bytes(), name
    assert (cluster.folder / "logs/extract_latents/tiny/mini-mean-scale/q1/0.log").exists()
    assert list((cluster.folder / "logs/slurm/rule_prepare_dataset").rglob("*.log"))
    rows = jobs_of(output)
    assert {row[1] for row in rows} == {"COMPLETED"}
    assert len(rows) == output.count("has been submitted with SLURM jobid")

    assert len(rows) == 2 + len(SHARED) and "of 15 steps" in output  # `all` is no job of SLURM
    folders = {folder.name for folder in (cluster.folder / "logs/slurm").iterdir()}
    assert folders == {"rule_prepare_dataset", *SHARED}


def job_that_runs(cluster, running: subprocess.Popen) -> tuple[str, str]:
    """Return number and node of the job that extracts latents, as soon as it runs."""
    while running.poll() is None:
        time.sleep(0.3)
        for row in output_of("squeue", "-h", "-t", "RUNNING", "-o", "%i %N %k %Z").splitlines():
            if "extract_latents" in row and str(cluster.folder) in row:
                return tuple(row.split()[:2])
    raise AssertionError((cluster.folder / "slurm.out").read_text())


def test_cancelled_job_is_submitted_again_with_twice_the_memory(cluster, project):
    target = f"{RUN}/latents/0.zarr.zip"
    running = start(cluster, target)
    job, _ = job_that_runs(cluster, running)
    time.sleep(2)
    subprocess.run(["scancel", job], check=True)
    output = finished(cluster, running)
    assert f"with SLURM jobid {job} " in output and "Trying to restart job" in output
    assert (cluster.folder / target).read_bytes() == (project.folder / target).read_bytes()
    requests = {row[1:4] for row in jobs_of(output)}
    # for two images of 12480 pixels; see workflow/rules/resources.smk
    assert {("CANCELLED", "1515M", "00:16:00"), ("COMPLETED", "3030M", "00:32:00")} <= requests


def may_lose_a_node() -> bool:
    """Return whether SLURM has several nodes, all on this machine: nobody else has jobs there."""
    local = "(127.0.0.1)" in output_of("scontrol", "show", "config")
    return local and len(output_of("sinfo", "-h", "-N").splitlines()) > 1


def test_job_whose_node_goes_down_runs_on_another(cluster, project):
    """SLURM starts it again after its credential has expired, or else Snakemake does."""
    if not may_lose_a_node():
        pytest.skip("takes a node down: needs a SLURM with two nodes, both on this machine")
    target = f"{RUN}/latents/0.zarr.zip"
    running = start(cluster, target)
    job, node = job_that_runs(cluster, running)
    time.sleep(2)
    update = ["scontrol", "update", f"nodename={node}"]
    for state in ("drain", "down"):  # without drain it would resume at once
        subprocess.run([*update, f"state={state}", "reason=test"], check=True)
    try:
        output = finished(cluster, running)
    finally:
        subprocess.run([*update, "state=resume"], check=True)
    assert (cluster.folder / target).read_bytes() == (project.folder / target).read_bytes()
    rows = [(number, state, where) for number, state, *_, where in jobs_of(output)]
    assert (job, "NODE_FAIL", node) in rows or not has_accounting()
    assert [where != node for _, state, where in rows if state == "COMPLETED"][-1]
