"""What goes wrong on real machines, done for real: kills, damage, full and read-only disks, two runs, wrong clocks.

The measure is always the same: after a plain second run the products are the bytes of an undisturbed
one, and until then nothing damaged is used without a word. docs/howto/faults.md has the outcomes.
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
from conftest import CONFIG

STAGES = {"prepare_dataset", "train_codec", "extract_latents", "fit_estimator", "measure_gap", "simulate", "map_latents",
          "write_bitstreams", "read_bitstreams", "run_anchor", "trace_bounds", "export_curves",
          "make_report"}  # fmt: skip
PROFILE = ("--workflow-profile", "workflow/profiles/default")
BOUNDS = "results/bounds.zarr.zip"
GAP, DECODED = "/gaps/variance", "/decoded"  # what their paths hold

FAULTS = '''
"""Python imports this first in every process of the project; it acts in stages, where a test asks for it."""
import os, random, signal, sys, threading, time
from pathlib import Path

ME, STAGE = os.getpid(), sys.orig_argv[3] if sys.orig_argv[1:3] == ["-m", "rdpipe"] else ""


def claim(marker):
    """Whether this is the first process of its stage."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def die(moment):
    (Path("killed") / STAGE).write_text(moment)
    os.kill(ME, signal.SIGKILL)


def hold():
    """Wait here, until the test takes its file away."""
    Path("held").touch()
    while Path("hold").exists():
        time.sleep(0.05)


def at_first_write_or_rename(at_write, at_rename):
    """Call one of them just before a file of the results is opened for writing, or renamed into place."""

    def hook(event, args):
        if event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR) and str(args[0]).startswith("results/"):
            at_write()
        if event == "os.rename" and str(args[1]).startswith("results/"):
            at_rename()

    sys.addaudithook(hook)


writes = STAGE not in ("", "summarise")
if writes and (seed := os.environ.get("FAULTS_KILL")) and claim(Path("killed") / STAGE):
    chance = random.Random(f"{seed} {STAGE}")
    moment = chance.choice(["any", "write", "rename"])
    if moment == "any":
        timer = threading.Timer(chance.uniform(0, 4), die, ["any"])
        timer.daemon = True
        timer.start()
    at_write = (lambda: die("write")) if moment == "write" else (lambda: None)
    at_first_write_or_rename(at_write, lambda: die("rename"))  # at the latest

if writes and STAGE == os.environ.get("FAULTS_HOLD"):
    renames = iter(range(int(os.environ["FAULTS_HOLD_AT"])))
    at_first_write_or_rename(lambda: None, lambda: None if next(renames, None) is not None else hold())
'''


def content(file: Path) -> bytes:
    """The bytes of a file; of the page, all but how long its stages took."""
    return re.sub(rb"<!--times-->.*<!--/times-->", b"", file.read_bytes(), flags=re.S)


def products(small) -> dict[str, bytes]:
    """All outputs of the workflow that are there, but manifests, which hold where the images are."""
    files = [small.folder / name for name in small.outputs if not name.endswith("manifest.json")]
    return {str(file.relative_to(small.folder)): content(file) for file in files if file.exists()}


def changed(small, before: dict[str, bytes]) -> list[str]:
    """Products that are not what they were, or not there."""
    now = products(small)
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))


def one(small, part: str) -> str:
    """The first output whose path holds this."""
    return min(name for name in small.outputs if part in name)


def start(project, *flags: str, **environment: str) -> subprocess.Popen:
    """Snakemake, not waited for, in a group of processes of its own."""
    command = [sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", "--cores", "2", *flags]
    return subprocess.Popen(command, cwd=project.folder, env={**project.environment, **environment},
                            start_new_session=True, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)  # fmt: skip


def held(small, renames: int = 0) -> subprocess.Popen:
    """A run after an edit; the job of the bounds waits just before it renames an output, after some others."""
    with (small.folder / "rdpipe" / "stages" / "trace_bounds.py").open("a") as stage:
        stage.write("# edited\n")
    (small.folder / "held").unlink(missing_ok=True)
    (small.folder / "hold").touch()
    running = start(small, FAULTS_HOLD="trace_bounds", FAULTS_HOLD_AT=str(renames))
    while not (small.folder / "held").exists():
        assert running.poll() is None, running.communicate()[0]
        time.sleep(0.1)
    return running


@pytest.fixture(scope="module")
def small(project, new_project, tmp_path_factory):
    """A copy of the project with every stage and few jobs, all of them done and never disturbed."""
    folder = tmp_path_factory.mktemp("faults") / "small"
    shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns("rdpipe", "workflow"))
    small = new_project(folder)
    small.config = copy.deepcopy(CONFIG)
    small.config.update(references={}, codecs={"mini-mean-scale": {"qualities": [1]}},
                        anchors={"jpeg": {"qualities": [40, 95]}})  # fmt: skip
    small.configure(small.config)
    (folder / "sitecustomize.py").write_text(FAULTS)
    done = small.snakemake()
    assert done.returncode == 0, done.stdout
    summary = small.snakemake("--summary").stdout
    small.outputs = [line.split("\t")[0] for line in summary.splitlines() if line.startswith("results/")]
    return small


@pytest.fixture(autouse=True)
def same_config_in_the_small_project(small):
    small.configure(small.config)


def test_every_stage_killed_once_ends_in_the_same_bytes(small, monkeypatch):
    """The first process of each, with SIGKILL: some time after its start, at its first write or first rename."""
    before, seed = products(small), str(time.time_ns())
    for name in small.outputs:
        if not name.startswith("results/other/"):  # one run of each stage is enough
            (small.folder / name).unlink()
    for state in small.folder.glob("results/training/*.state"):
        shutil.rmtree(state)
    (small.folder / "killed").mkdir()
    monkeypatch.setenv("FAULTS_KILL", seed)
    done = small.snakemake(*PROFILE)  # which tries a job once more
    monkeypatch.delenv("FAULTS_KILL")
    killed = {marker.name: marker.read_text() for marker in (small.folder / "killed").iterdir()}
    print("seed", seed, killed)
    assert done.returncode == 0, done.stdout
    assert killed.keys() == STAGES and all(killed.values())
    assert done.stdout.count("Trying to restart job") == len(STAGES)
    assert changed(small, before) == []
    assert "Nothing to be done" in small.snakemake().stdout


@pytest.mark.parametrize("renames", [0, random.randrange(1, 6)], ids=["nothing-written", "half-written"])
def test_a_killed_snakemake_leaves_a_lock_and_a_rerun_makes_the_same_bytes(small, renames):
    """It and its job are killed just before an output is renamed into place, the first or a later one."""
    before = products(small)
    running = held(small, renames)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert len(changed(small, before)) >= 6 - renames
    assert all(data == before[name] for name, data in products(small).items())
    refused = small.snakemake()
    assert refused.returncode != 0 and "Directory cannot be locked" in refused.stdout
    assert small.snakemake("--unlock").returncode == 0
    done = small.snakemake(*PROFILE)
    assert done.returncode == 0, done.stdout
    assert changed(small, before) == []


def test_of_two_runs_at_once_one_is_refused_and_nothing_is_lost(small):
    """The first is in the middle of a job, however slow the machine is."""
    before = products(small)
    first = held(small)
    second = small.snakemake()
    assert second.returncode != 0 and "Directory cannot be locked" in second.stdout
    (small.folder / "hold").unlink()
    said = first.communicate()[0]
    assert first.returncode == 0, said
    assert small.snakemake().returncode == 0
    assert changed(small, before) == []


def test_products_from_the_future_are_kept_and_a_wrong_clock_is_named(small):
    """The clock is set back: everything that was made is newer than now."""
    before, ahead, gap = products(small), time.time() + 86_400, one(small, GAP)
    try:
        for file in (small.folder / "results").rglob("*"):
            os.utime(file, (ahead, ahead))
        assert "Nothing to be done" in small.snakemake().stdout
        (small.folder / gap).unlink()
        done = small.snakemake(gap)
        assert done.returncode != 0 and "could indicate a clock skew" in done.stdout
        assert changed(small, before) == [gap]
    finally:
        for file in (small.folder / "results").rglob("*"):
            os.utime(file)
    assert small.snakemake("--touch").returncode == 0
    done = small.snakemake(gap)
    assert done.returncode == 0, done.stdout
    assert changed(small, before) == []


def test_a_damaged_store_is_named_and_remade(small):
    before, name = products(small), one(small, DECODED)
    (small.folder / name).write_bytes(before[name][:-500])
    done = small.snakemake(*PROFILE)
    assert done.returncode != 0 and f"{name}: damaged store, delete it" in done.stdout
    assert "most recent call last" not in done.stdout
    (small.folder / name).unlink()
    done = small.snakemake(*PROFILE)
    assert done.returncode == 0, done.stdout
    assert changed(small, before) == []


@pytest.fixture
def disk(tmp_path):
    """Mount a small file system of its own, if this process may."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> bool:
        return not subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
                                  capture_output=True).returncode  # fmt: skip

    yield folder, mount
    subprocess.run(["umount", folder], capture_output=True)


@pytest.fixture
def read_only(disk):
    """A folder that nobody can write."""
    folder, mount = disk
    if not mount("ro"):
        if os.geteuid() == 0:
            pytest.skip("root writes everywhere, and nothing can be mounted here")
        folder.chmod(0o555)
    return folder


def test_caches_that_cannot_be_written_are_done_without(small, read_only, monkeypatch):
    """As in a container whose home is read-only: of Matplotlib and torch; Snakemake's by the profile."""
    before = products(small)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "TORCH_HOME", "NUMBA_CACHE_DIR"):
        monkeypatch.setenv(name, str(read_only / name))
    done = small.snakemake(*PROFILE, "--forcerun", "run_anchor", "trace_bounds", "train_codec")
    assert done.returncode == 0, done.stdout
    assert changed(small, before) == []


ONE_BY_ONE = """
import contextlib, importlib, io, json, resource, sys, tempfile
from rdpipe.__main__ import main

commands = json.load(sys.stdin)
if sys.argv[1:] == ["full"]:  # no file may grow; where temporary files go is looked for by writing one
    tempfile.gettempdir()
    for stage in {command[0] for command in commands}:
        importlib.import_module(f"rdpipe.stages.{stage}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
for command in commands:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        status = main(command)
    print("RESULT", json.dumps([status, said.getvalue()]))
"""


class Commands:
    """The command of one job of every stage, to be run by hand."""

    def __init__(self, small):
        self.folder, self.environment = small.folder, small.environment
        printed = small.snakemake("--dry-run", "--forceall", "--printshellcmds").stdout
        lines = re.findall(r"python -m rdpipe .*$", printed, re.M)
        words = [shlex.split(line.split(" > logs/")[0])[3:] for line in lines]
        self.of = {command[0]: command for command in words}
        assert self.of.keys() == STAGES

    def run(self, commands: list[list[str]], *flags: str) -> list[tuple[int, str]]:
        """Status of each, and what it said on standard error; one process runs all, as torch starts slowly."""
        done = subprocess.run([sys.executable, "-c", ONE_BY_ONE, *flags], input=json.dumps(commands), cwd=self.folder,
                              env=self.environment, text=True, capture_output=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
        results = re.findall(r"^RESULT (.*)$", done.stdout, re.M)
        assert len(results) == len(commands)
        return [tuple(json.loads(result)) for result in results]


@pytest.fixture(scope="module")
def commands(small):
    small.configure(small.config)
    return Commands(small)


def outputs_moved(command: list[str], folder: Path) -> list[str]:
    """A command whose outputs, and state of training, go to another folder."""
    moved, output = [], False
    for word in command:
        if word.startswith("--"):
            output = word in ("--out", "--points", "--bd_rates", "--decomposition", "--codes", "--levers", "--figures",
                              "--state", "--table")  # fmt: skip
        elif output:
            word = str(folder / word)
        moved.append(word)
    return moved


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(commands, disk):
    """A file system of 4 kB; where none can be mounted, a limit on the size of files."""
    folder, mount = disk
    mounted = mount("size=4k")
    if mounted:
        (folder / "full").write_bytes(bytes(4096))
    stages = sorted(STAGES)
    moved = [outputs_moved(commands.of[stage], folder) for stage in stages]
    results = commands.run(moved, *[] if mounted else ["full"])
    for stage, (status, said) in zip(stages, results, strict=True):
        assert status == 2 and said.splitlines()[-1].startswith(f"rdpipe {stage}: "), (stage, said)
        assert ("No space left" if mounted else "File too large") in said and "Traceback" not in said
    left = [file for file in folder.rglob("*") if file.is_file() and file.stat().st_size]
    assert [file.name for file in left] == ["full"] * mounted


def test_a_read_only_disk_is_said_in_one_line(commands, read_only):
    stages = sorted(STAGES)
    for stage, (status, said) in zip(stages, commands.run([outputs_moved(commands.of[stage], read_only)
                                                           for stage in stages]), strict=True):  # fmt: skip
        assert status == 2 and said.splitlines()[-1].startswith(f"rdpipe {stage}: "), (stage, said)
        assert re.search("Read-only file system|Permission denied", said) and "Traceback" not in said


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Cut somewhere, or with one bit flipped."""
    place = chance.randrange(len(data))
    if chance.random() < 0.5:
        return data[:place]
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def one_input_damaged(command: list[str], folder: Path, chance: random.Random) -> list[tuple[list[str], str]]:
    """For each store that a command reads: the command that reads a damaged copy, and the copy."""
    found = []
    for place, word in enumerate(command):
        if word.endswith(".zarr.zip") and Path(word).exists():
            copied = folder / f"{command[0]}-{place}.zarr.zip"
            copied.write_bytes(damaged(Path(word).read_bytes(), chance))
            found.append(([*command[:place], str(copied), *command[place + 1 :]], str(copied)))
    return found


def test_no_stage_uses_a_damaged_store_without_a_word(commands, small, tmp_path, monkeypatch):
    """Each store that a stage reads, damaged at random: it is named, or the result is the same."""
    monkeypatch.chdir(small.folder)
    seed = time.time_ns()
    print("seed", seed)
    chance, cases = random.Random(seed), []
    for stage in sorted(STAGES):
        for command, name in one_input_damaged(commands.of[stage], tmp_path, chance):
            out = tmp_path / str(len(cases))
            cases.append((stage, name, out, outputs_moved(command, out)))
    results = commands.run([command for *_, command in cases])
    for (stage, name, out, _), (status, said) in zip(cases, results, strict=True):
        if status:
            assert status == 2 and name in said and "damaged store" in said, (stage, name, said)
        for made in filter(Path.is_file, out.rglob("*")):
            same = content(made).replace(f"{out}/".encode(), b"")  # the page says what makes its figures
            assert status == 0 and same == content(Path(made.relative_to(out))), (stage, name)
    statuses = [status for status, _ in results]
    assert len(cases) >= 20 and statuses.count(2) >= len(cases) // 2
