"""Faults of real machines: kills, damage, full and read-only disks, two runs, wrong clocks.

The criterion is always the same: a second run gives the bytes of an undisturbed run, and before
that no stage uses damaged files without an error. docs/howto/faults.md describes the outcomes.
"""

import copy
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_project import CONFIG, SOURCES, Project, write_inputs
from timeless import content

STAGES = {
    *("prepare_dataset", "train_codec", "extract_latents", "fit_estimator", "measure_gap"),
    *("simulate", "map_latents", "write_bitstreams", "read_bitstreams", "run_baseline"),
    *("trace_bounds", "export_curves", "make_report"),
}
PROFILE = ("--workflow-profile", "workflow/profiles/default")
BOUNDS = "results/bounds.zarr.zip"
GAP, DECODED = "/gaps/", "/decoded"  # parts of their paths
OUTPUT_FLAGS = {
    *("--out", "--table", "--state", "--figures", "--points", "--bd_rates", "--decomposition"),
    *("--codes", "--ladder", "--latent_matched", "--context", "--image_bd_rates"),
}

FAULTS = '''
"""Python imports this first in every process of the project; it acts only if a test requests it."""
import os, random, signal, sys, threading, time
from pathlib import Path


def claim(marker):
    """Return whether this is the first process of its stage."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def hold():
    """Wait until the test removes its file."""
    Path("held").touch()
    while Path("hold").exists():
        time.sleep(0.05)


def at_first_write_or_rename(at_write, at_rename):
    """Call a function just before a file of the results is opened for writing, or renamed."""

    def hook(event, args):
        if event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR):
            if str(args[0]).startswith("results/"):
                at_write()
        if event == "os.rename" and str(args[1]).startswith("results/"):
            at_rename()

    sys.addaudithook(hook)


def act(stage):
    """Prepare what shall happen to this process, which runs a stage."""
    if stage == "show":  # it writes no product
        return
    process = os.getpid()

    def die(moment):
        (Path("killed") / stage).write_text(moment)
        os.kill(process, signal.SIGKILL)

    if (seed := os.environ.get("FAULTS_KILL")) and claim(Path("killed") / stage):
        chance = random.Random(f"{seed} {stage}")
        moment = chance.choice(["any", "write", "rename"])
        if moment == "any":
            timer = threading.Timer(chance.uniform(0, 4), die, ["any"])
            timer.daemon = True
            timer.start()
        at_write = (lambda: die("write")) if moment == "write" else (lambda: None)
        at_first_write_or_rename(at_write, lambda: die("rename"))  # at the latest

    if stage == os.environ.get("FAULTS_HOLD"):
        renames = iter(range(int(os.environ["FAULTS_HOLD_AT"])))
        hold_after_some = lambda: None if next(renames, None) is not None else hold()
        at_first_write_or_rename(lambda: None, hold_after_some)


def act_in_fork():
    """Act as soon as this fork of the server knows which job it is: it then changes its folder."""

    def hook(event, args):
        if event == "os.chdir" and (message := sys._getframe(1).f_locals.get("message")):
            act(message["arguments"][0])

    sys.addaudithook(hook)


if "rdpipe" in sys.orig_argv[3:4]:
    stage = sys.orig_argv[4]
    if stage == "train_codec" or not os.environ.get("RDPIPE_FORK_SERVER"):  # it is not forked
        act(stage)
if "import serve" in "".join(sys.orig_argv[3:4]):
    os.register_at_fork(after_in_child=act_in_fork)
'''


def products(small) -> dict[str, bytes]:
    """Return all existing outputs except manifests, which contain the paths of images."""
    files = [small.folder / name for name in small.outputs if not name.endswith("manifest.json")]
    return {str(file.relative_to(small.folder)): content(file) for file in files if file.exists()}


def changed(small, before: dict[str, bytes]) -> list[str]:
    """Return the products that differ from before, or are missing."""
    now = products(small)
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))


def first_output(small, part: str) -> str:
    """Return the first output whose path contains a text."""
    return min(name for name in small.outputs if part in name)


def start(project, *flags: str, **environment: str) -> subprocess.Popen:
    """Start Snakemake in a separate process group, without waiting for it."""
    command = [sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", "--cores", "2"]
    return subprocess.Popen(
        [*command, *flags],
        cwd=project.folder,
        env={**project.environment, **environment},
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def start_and_hold(small, renames: int = 0) -> subprocess.Popen:
    """Start a run after an edit; its job of the bounds waits before it renames an output.

    ``renames`` is the number of outputs that it has renamed before.
    """
    with (small.folder / "rdpipe" / "stages" / "trace_bounds.py").open("a") as stage:
        stage.write("EDITED = True\n")
    (small.folder / "held").unlink(missing_ok=True)
    (small.folder / "hold").touch()
    running = start(small, FAULTS_HOLD="trace_bounds", FAULTS_HOLD_AT=str(renames))
    while not (small.folder / "held").exists():
        assert running.poll() is None, running.communicate()[0]
        time.sleep(0.1)
    return running


@pytest.fixture(scope="module")
def small(project, new_project, tmp_path_factory):
    """A copy of the project with every stage and few jobs, after an undisturbed run."""
    folder = tmp_path_factory.mktemp("faults") / "small"
    shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns(*SOURCES))
    small = new_project(folder)
    small.config = copy.deepcopy(CONFIG)
    small.config["references"] = {}
    small.config["codecs"] = {"mini-mean-scale": {"qualities": [1]}}
    small.config["baselines"] = {"jpeg": {"qualities": [40, 95]}}
    small.configure(small.config)
    (folder / "sitecustomize.py").write_text(FAULTS)
    process = small.snakemake()
    assert process.returncode == 0, process.stdout
    summary = small.snakemake("--summary").stdout
    files = [line.split("\t")[0] for line in summary.splitlines()]
    small.outputs = [file for file in files if file.startswith("results/")]
    return small


@pytest.fixture(autouse=True)
def same_config_in_the_small_project(small):
    small.configure(small.config)


def test_run_in_which_every_stage_is_killed_once_gives_the_same_bytes(small, monkeypatch):
    """The first process of each stage gets SIGKILL: at some time, at a write or at a rename."""
    before, seed = products(small), str(time.time_ns())
    for name in small.outputs:
        if not name.startswith("results/other/"):  # one run of each stage is enough
            (small.folder / name).unlink()
    for state in small.folder.glob("results/training/*.state"):
        shutil.rmtree(state)
    (small.folder / "killed").mkdir()
    monkeypatch.setenv("FAULTS_KILL", seed)
    process = small.snakemake(*PROFILE)  # the profile tries a job once more
    monkeypatch.delenv("FAULTS_KILL")
    killed = {marker.name: marker.read_text() for marker in (small.folder / "killed").iterdir()}
    print("seed", seed, killed)
    assert process.returncode == 0, process.stdout
    assert killed.keys() == STAGES and all(killed.values())
    assert process.stdout.count("Trying to restart job") == len(STAGES)
    assert changed(small, before) == []
    assert "Nothing to be done" in small.snakemake().stdout


@pytest.mark.parametrize(
    "renames", [0, random.randrange(1, 6)], ids=["nothing-written", "half-written"]
)
def test_killed_snakemake_leaves_a_lock_and_a_second_run_gives_the_same_bytes(small, renames):
    """It and its job are killed just before the first or a later output is renamed into place."""
    before = products(small)
    running = start_and_hold(small, renames)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert len(changed(small, before)) >= 6 - renames
    assert all(data == before[name] for name, data in products(small).items())
    refused = small.snakemake()
    reason = "IncompleteFilesException" if renames else "Directory cannot be locked"
    assert refused.returncode != 0 and reason in refused.stdout
    assert small.snakemake("--unlock").returncode == 0
    process = small.snakemake("--rerun-incomplete")
    assert process.returncode == 0, process.stdout
    assert changed(small, before) == []


def test_second_run_at_the_same_time_is_refused_and_nothing_is_lost(small):
    """The first run is in the middle of a job, however slow the machine is."""
    before = products(small)
    first = start_and_hold(small)
    second = small.snakemake()
    assert second.returncode != 0 and "Directory cannot be locked" in second.stdout
    (small.folder / "hold").unlink()
    output = first.communicate()[0]
    assert first.returncode == 0, output
    assert small.snakemake().returncode == 0
    assert changed(small, before) == []


def test_products_from_the_future_are_kept_and_a_wrong_clock_is_reported(small):
    """The clock is set back, so that all products are newer than the present."""
    before, ahead, gap = products(small), time.time() + 86_400, first_output(small, GAP)
    of_job = sorted(name for name in small.outputs if name.startswith(gap.partition(GAP)[0] + GAP))
    try:
        for file in (small.folder / "results").rglob("*"):
            os.utime(file, (ahead, ahead))
        assert "Nothing to be done" in small.snakemake().stdout
        (small.folder / gap).unlink()
        process = small.snakemake(gap)
        assert process.returncode != 0 and "could indicate a clock skew" in process.stdout
        assert changed(small, before) == of_job
    finally:
        for file in (small.folder / "results").rglob("*"):
            os.utime(file)
    assert small.snakemake("--touch").returncode == 0
    process = small.snakemake(gap)
    assert process.returncode == 0, process.stdout
    assert changed(small, before) == []


def test_damaged_store_is_named_and_made_again(small):
    before, name = products(small), first_output(small, DECODED)
    store = small.folder / name
    store.write_bytes(store.read_bytes()[:-500])
    process = small.snakemake(*PROFILE)
    assert process.returncode != 0 and f"{name}: damaged store, delete it" in process.stdout
    assert "most recent call last" not in process.stdout
    store.unlink()
    process = small.snakemake(*PROFILE)
    assert process.returncode == 0, process.stdout
    assert changed(small, before) == []


@pytest.fixture
def disk(tmp_path):
    """A folder, and a function that mounts a small file system there, if this process may."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        return subprocess.run(command, capture_output=True).returncode == 0

    yield folder, mount
    subprocess.run(["umount", folder], capture_output=True)


@pytest.fixture
def read_only(disk):
    """A folder that cannot be written."""
    folder, mount = disk
    if not mount("ro"):
        if os.geteuid() == 0:
            pytest.skip("root writes everywhere, and nothing can be mounted here")
        folder.chmod(0o555)
    return folder


def test_run_succeeds_if_caches_cannot_be_written(small, read_only, monkeypatch):
    """As in a container with a read-only home: caches of Matplotlib and torch, and Snakemake's."""
    before = products(small)
    home = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    for name in (*home, "MPLCONFIGDIR", "TORCH_HOME", "NUMBA_CACHE_DIR"):
        monkeypatch.setenv(name, str(read_only / name))
    process = small.snakemake(*PROFILE, "--forcerun", "run_baseline", "trace_bounds", "train_codec")
    assert process.returncode == 0, process.stdout
    assert changed(small, before) == []


ONE_BY_ONE = """
import contextlib, importlib, io, json, resource, sys, tempfile
from rdpipe.__main__ import main

commands = json.load(sys.stdin)
if sys.argv[1:] == ["full"]:  # no file may grow
    tempfile.gettempdir()  # it writes a file to find the folder
    for stage in {command[0] for command in commands}:
        importlib.import_module(f"rdpipe.stages.{stage}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
for command in commands:
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        status = main(command)
    print("RESULT", json.dumps([status, errors.getvalue()]))
"""


class Commands:
    """The command of one job of every stage, to be run by hand."""

    def __init__(self, small):
        self.folder, self.environment = small.folder, small.environment
        printed = small.commands()
        self.of = {
            stage: shlex.split(command.split(" > logs/")[0])[4:]
            for stage, command in printed.items()
        }
        assert self.of.keys() == STAGES

    def run(self, commands: list[list[str]], *flags: str) -> list[tuple[int, str]]:
        """Return status and standard error of each command; one process runs all of them."""
        process = subprocess.run(
            [sys.executable, "-c", ONE_BY_ONE, *flags],
            input=json.dumps(commands),
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
        )
        assert process.returncode == 0, process.stderr
        results = re.findall(r"^RESULT (.*)$", process.stdout, re.M)
        assert len(results) == len(commands)
        return [tuple(json.loads(result)) for result in results]


@pytest.fixture(scope="module")
def commands(small):
    small.configure(small.config)
    return Commands(small)


def outputs_moved(command: list[str], folder: Path) -> list[str]:
    """Return a command whose outputs, and state of training, are in another folder."""
    moved, output = [], False
    for word in command:
        if word.startswith("--"):
            output = word in OUTPUT_FLAGS
        elif output:
            word = str(folder / word)
        moved.append(word)
    return moved


def test_full_disk_is_reported_in_one_line_and_leaves_no_file(commands, disk):
    """A file system of 4 kB; if none can be mounted, a limit on the size of files."""
    folder, mount = disk
    mounted = mount("size=4k")
    if mounted:
        (folder / "full").write_bytes(bytes(4096))
    stages = sorted(STAGES)
    moved = [outputs_moved(commands.of[stage], folder) for stage in stages]
    results = commands.run(moved, *[] if mounted else ["full"])
    reason = "No space left" if mounted else "File too large"
    for stage, (status, errors) in zip(stages, results, strict=True):
        assert status == 2, (stage, errors)
        assert errors.splitlines()[-1].startswith(f"rdpipe {stage}: "), (stage, errors)
        assert reason in errors and "Traceback" not in errors
    remaining = [file for file in folder.rglob("*") if file.is_file() and file.stat().st_size]
    assert [file.name for file in remaining] == ["full"] * mounted


def test_read_only_disk_is_reported_in_one_line(commands, read_only):
    stages = sorted(STAGES)
    results = commands.run([outputs_moved(commands.of[stage], read_only) for stage in stages])
    for stage, (status, errors) in zip(stages, results, strict=True):
        assert status == 2, (stage, errors)
        assert errors.splitlines()[-1].startswith(f"rdpipe {stage}: "), (stage, errors)
        assert re.search("Read-only file system|Permission denied", errors)
        assert "Traceback" not in errors


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return data that are cut at a random place, or have one bit flipped."""
    place = chance.randrange(len(data))
    if chance.random() < 0.5:
        return data[:place]
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def with_damaged_inputs(
    command: list[str], folder: Path, chance: random.Random
) -> list[tuple[list[str], str]]:
    """Return for each input store the command with a damaged copy of it, and the copy."""
    cases = []
    for place, word in enumerate(command):
        if word.endswith(".zarr.zip") and Path(word).exists():
            copied = folder / f"{command[0]}-{place}.zarr.zip"
            copied.write_bytes(damaged(Path(word).read_bytes(), chance))
            cases.append(([*command[:place], str(copied), *command[place + 1 :]], str(copied)))
    return cases


def test_no_stage_uses_a_damaged_store_without_an_error(commands, small, tmp_path, monkeypatch):
    """A store that is damaged at random is named in an error, or the result is the same."""
    monkeypatch.chdir(small.folder)
    seed = time.time_ns()
    print("seed", seed)
    chance, cases = random.Random(seed), []
    for stage in sorted(STAGES):
        for command, name in with_damaged_inputs(commands.of[stage], tmp_path, chance):
            out = tmp_path / str(len(cases))
            cases.append((stage, name, out, outputs_moved(command, out)))
    results = commands.run([command for *_, command in cases])
    for (stage, name, out, _), (status, errors) in zip(cases, results, strict=True):
        if status:
            assert status == 2 and name in errors and "damaged store" in errors, (
                stage,
                name,
                errors,
            )
        for file in filter(Path.is_file, out.rglob("*")):
            if file.suffix == ".html":  # the page has paths of figures
                file.write_bytes(file.read_bytes().replace(f"{out}/".encode(), b""))
            expected = content(Path(file.relative_to(out)))
            assert status == 0 and content(file) == expected, (stage, name)
    statuses = [status for status, _ in results]
    assert len(cases) >= 20 and statuses.count(2) >= len(cases) // 2


FULL_CARD = """
from pathlib import Path
import torch


def codec(quality):
    with Path("attempts.txt").open("a") as file:
        file.write("attempt\\n")
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has ...")
"""


def test_job_that_exhausts_the_memory_of_a_card_is_not_tried_again_in_a_run(tmp_path):
    write_inputs(tmp_path)
    project, config = Project(tmp_path), copy.deepcopy(CONFIG)
    (project.folder / "full_card.py").write_text(FULL_CARD)
    config["codecs"] = {"full": {"use": "full_card:codec", "qualities": [1]}}
    project.configure(config)
    for runs in (1, 2):
        process = project.snakemake("results/tiny/full/q1/latents/0.zarr.zip", "--retries", "1")
        assert process.returncode and process.stdout.count("Error in rule extract_latents") == 2
        assert (project.folder / "attempts.txt").read_text() == "attempt\n" * runs
        log = (project.folder / "logs/extract_latents/tiny/full/q1/0.log").read_text()
        assert log.startswith("rdpipe extract_latents: CUDA out of memory; expected")
        assert log.endswith("; not tried again\n") and log.count("\n") == 1
