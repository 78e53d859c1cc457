"""The workflow on a SLURM: all of it, a job that is cancelled, and one whose node is lost.

On the one that runs here, or on one of two nodes that is started for it where SLURM is installed; where it is not,
these tests are skipped and say what to install.
"""

import copy
import re
import shutil
import subprocess
import sys
import time

import pytest
from conftest import CONFIG
from small_slurm import missing, small_slurm

PROFILE = ("--workflow-profile", "workflow/profiles/slurm")
RUN = "results/tiny/mini-mean-scale/q1"


def says(*command: str) -> str:
    """What a command of SLURM prints; nothing if it is not there, fails or hangs."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, text=True, capture_output=True, timeout=15)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout if done.returncode == 0 else ""


pytestmark = pytest.mark.slurm


@pytest.fixture(scope="session")
def slurm():
    """A SLURM whose commands are on the PATH."""
    if says("sinfo", "-h"):
        yield
        return
    if packages := missing():
        pytest.skip(f"no SLURM runs here, and these packages to start one are not installed: {' '.join(packages)}")
    with small_slurm() as commands, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(commands), prepend=":")
        yield


@pytest.fixture
def cluster(slurm, project, new_project, tmp_path):
    """A project of its own with part of the config, not yet run."""
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
    """Snakemake with the profile; jobs are looked at sooner, as these are short."""
    command = [sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", *PROFILE,
               "--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "10", *flags]  # fmt: skip
    return subprocess.Popen(command, cwd=cluster.folder, env=cluster.environment, text=True,
                            stdout=(cluster.folder / "slurm.out").open("w"), stderr=subprocess.STDOUT)  # fmt: skip


def has_accounting() -> bool:
    return "slurmdbd" in says("scontrol", "show", "config")


def finished(cluster, running: subprocess.Popen) -> str:
    """What Snakemake printed; it must have succeeded."""
    try:
        code = running.wait(timeout=1800)  # a loaded machine is slow; what hangs does so for ever
    finally:
        running.kill()
    output = (cluster.folder / "slurm.out").read_text()
    assert code == 0, output
    return output


def jobs_of(output: str) -> list[tuple[str, ...]]:
    """Number, state, memory, time limit and node of each job of a run, once all have ended.

    From the accounting, where one started again by SLURM has a row more; without, as SLURM remembers them.
    """
    name = re.search(r"SLURM run ID: (\S+)", output)[1]
    ask = (
        ("sacct", "-X", "-D", "-n", "-P", f"--name={name}", "-o", "JobID,State,ReqMem,Timelimit,NodeList")
        if has_accounting()
        else ("squeue", "-h", "-t", "all", "-n", name, "-o", "%i|%T|%m|%l|%N")
    )
    for _ in range(20):
        rows = [row.split("|") for row in says(*ask).splitlines()]
        if rows and not {row[1] for row in rows} & {"RUNNING", "PENDING", "COMPLETING"}:
            break
        time.sleep(1)
    return [(job, state.split()[0], memory, limit.zfill(8), node) for job, state, memory, limit, node in rows]


def test_the_whole_workflow_runs_on_slurm_and_gives_the_same_bytes(cluster, project):
    output = finished(cluster, start(cluster))
    assert (cluster.folder / "results/report.html").stat().st_size > 50_000
    for name in ("latents", "simulation", "gaps/joint", "gaps/variance"):
        file = f"{RUN}/{name}/0.zarr.zip"
        assert (cluster.folder / file).read_bytes() == (project.folder / file).read_bytes(), name
    assert (cluster.folder / "logs/extract_latents/tiny/mini-mean-scale/q1/0.log").exists()
    assert list((cluster.folder / "logs/slurm/rule_extract_latents").rglob("*.log"))
    assert list((cluster.folder / "logs/slurm").glob("group_gaps_*"))
    rows = jobs_of(output)
    assert {row[1] for row in rows} == {"COMPLETED"}
    assert len(rows) == output.count("has been submitted with SLURM jobid")
    # gaps, anchors and the report share submissions
    assert len(rows) < int(re.search("of ([0-9]+) steps", output)[1])


def job_that_runs(cluster, running: subprocess.Popen) -> tuple[str, str]:
    """Number and node of the job of a run that extracts latents, once it runs."""
    while running.poll() is None:
        time.sleep(0.3)
        for row in says("squeue", "-h", "-t", "RUNNING", "-o", "%i %N %k %Z").splitlines():
            if "extract_latents" in row and str(cluster.folder) in row:
                return tuple(row.split()[:2])
    raise AssertionError((cluster.folder / "slurm.out").read_text())


def test_a_cancelled_job_is_submitted_again_with_twice_the_memory(cluster, project):
    target = f"{RUN}/latents/0.zarr.zip"
    running = start(cluster, target)
    job, _ = job_that_runs(cluster, running)
    time.sleep(2)
    subprocess.run(["scancel", job], check=True)
    output = finished(cluster, running)
    assert f"with SLURM jobid {job} " in output and "Trying to restart job" in output
    assert (cluster.folder / target).read_bytes() == (project.folder / target).read_bytes()
    asked = {row[1:4] for row in jobs_of(output)}
    assert {("CANCELLED", "4000M", "02:00:00"), ("COMPLETED", "8000M", "04:00:00")} <= asked


def may_lose_a_node() -> bool:
    """Whether SLURM is of this machine alone, with nodes to spare: nobody else's jobs are there."""
    return "(127.0.0.1)" in says("scontrol", "show", "config") and len(says("sinfo", "-h", "-N").splitlines()) > 1


def test_a_job_whose_node_goes_down_runs_on_another(cluster, project):
    """SLURM starts it again itself once its credential has expired, or, where a site forbids that, Snakemake does."""
    if not may_lose_a_node():
        pytest.skip("takes a node down: only where SLURM has two, both of this machine")
    target = f"{RUN}/latents/0.zarr.zip"
    running = start(cluster, target)
    job, node = job_that_runs(cluster, running)
    time.sleep(2)
    for state in ("drain", "down"):  # drained, or it would be back at once
        subprocess.run(["scontrol", "update", f"nodename={node}", f"state={state}", "reason=test"], check=True)
    try:
        output = finished(cluster, running)
    finally:
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=True)
    assert (cluster.folder / target).read_bytes() == (project.folder / target).read_bytes()
    rows = [(number, state, where) for number, state, *_, where in jobs_of(output)]
    assert (job, "NODE_FAIL", node) in rows or not has_accounting()
    assert [where != node for _, state, where in rows if state == "COMPLETED"][-1]
