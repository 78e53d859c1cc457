"""What goes wrong on real machines, done for real: kills, damage, full disks, two runs, wrong clocks.

The measure is always the same: after a plain second run the products are the bytes of an undisturbed
one, and until then nothing damaged is used without a word.
"""

import copy
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import CONFIG

from rdpipe.__main__ import main

STAGES = {"prepare_dataset", "train_codec", "extract_latents", "fit_estimator", "measure_gap", "simulate", "map_latents",
          "write_bitstreams", "read_bitstreams", "run_anchor", "trace_bounds", "export_curves",
          "make_report"}  # fmt: skip


def products(folder: Path) -> dict[str, bytes]:
    """All results but manifests, which hold where the images are, and the state of the training."""
    files = (file for file in (folder / "results").rglob("*") if file.is_file())
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in files
        if file.name != "manifest.json" and ".state" not in str(file)
    }


def changed(project, before: dict[str, bytes]) -> list[str]:
    """Products that are not what they were, or not there, or new."""
    now = products(project.folder)
    return sorted(name for name in now.keys() | before.keys() if now.get(name) != before.get(name))


def running_stages(folder: Path) -> dict[int, str]:
    """Processes of stages that work in a folder."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if words[1:3] == ["-m", "rdpipe"] and (process / "cwd").resolve() == folder.resolve():
                found[int(process.name)] = words[3]
        except OSError:  # it has ended
            continue
    return found


class Killer(threading.Thread):
    """Kills the first process of every stage, some time after it started."""

    def __init__(self, folder: Path, seed: int):
        super().__init__(daemon=True)
        self.folder, self.random, self.killed, self.ended = folder, random.Random(seed), [], False

    def run(self):
        while not self.ended:
            for process, stage in running_stages(self.folder).items():
                if stage in STAGES - set(self.killed):
                    time.sleep(self.random.uniform(0, 1.5))
                    try:
                        os.kill(process, signal.SIGKILL)
                        self.killed.append(stage)
                    except ProcessLookupError:  # it was quicker: the next one of its kind
                        pass
            time.sleep(0.1)


@pytest.fixture(scope="module")
def small(project, new_project, tmp_path_factory):
    """A project with every stage and few jobs, in whose first run each stage was killed once."""
    folder = tmp_path_factory.mktemp("faults")
    for name in ("images", "calibration"):
        shutil.copytree(project.folder / name, folder / name)
    small = new_project(folder)
    small.config = copy.deepcopy(CONFIG)
    small.config.update(references={}, codecs={"mini-mean-scale": {"qualities": [1]}},
                        anchors={"jpeg": {"qualities": [40, 95]}})  # fmt: skip
    small.configure(small.config)
    killer = Killer(folder, seed=time.time_ns())
    killer.start()
    small.first = small.snakemake("--retries", "3")
    killer.ended = True
    killer.join()
    small.killed = set(killer.killed)
    return small


@pytest.fixture(autouse=True)
def same_config_in_the_small_project(small):
    small.configure(small.config)


def test_every_stage_killed_once_ends_in_the_same_bytes(project, small):
    assert small.first.returncode == 0, small.first.stdout
    assert small.killed == STAGES
    here, there = products(small.folder), products(project.folder)
    common = {name for name in here.keys() & there.keys()
              if "/mini-mean-scale/q1/" in name or "/anchors/" in name or "/training/" in name}  # fmt: skip
    assert len(common) == 13
    assert [name for name in common if here[name] != there[name]] == []
    small.undisturbed = here
    # what the other config makes differ, made again without a kill
    again = ["results/bounds.zarr.zip", "results/report.html", "results/compressai/tiny/jpeg.json"]
    done = small.snakemake("--force", *again)
    assert done.returncode == 0, done.stdout
    assert changed(small, here) == []
    assert "Nothing to be done" in small.snakemake().stdout


def test_a_killed_snakemake_leaves_a_lock_and_nothing_half_made(small):
    before = products(small.folder)
    target = "results/tiny/mini-mean-scale/q1/simulation.zarr.zip"
    command = [sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", "--cores", "2"]
    running = subprocess.Popen([*command, "--force", target], cwd=small.folder, env=small.environment,
                               start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    while "simulate" not in running_stages(small.folder).values() and running.poll() is None:
        time.sleep(0.05)
    time.sleep(random.uniform(0, 2))
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert products(small.folder).get(target, before[target]) == before[target]
    refused = small.snakemake()
    assert refused.returncode != 0 and "Directory cannot be locked" in refused.stdout
    assert small.snakemake("--unlock").returncode == 0
    done = small.snakemake("--rerun-incomplete", *changed(small, before))
    assert done.returncode == 0, done.stdout
    assert changed(small, before) == []


def test_of_two_runs_at_once_one_is_refused_and_nothing_is_lost(small):
    before = products(small.folder)
    flags = ("--force", "results/bounds.zarr.zip", "results/report.html")
    with_output = []
    both = [threading.Thread(target=lambda: with_output.append(small.snakemake(*flags))) for _ in "ab"]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    codes = sorted(done.returncode for done in with_output)
    assert codes[0] == 0
    if codes[1]:  # or one had ended before the other began
        assert any("Directory cannot be locked" in done.stdout for done in with_output)
    assert small.snakemake().returncode == 0 and changed(small, before) == []


def test_products_from_the_future_are_kept_and_a_wrong_clock_is_named(small):
    """The clock is set back: everything that was made is newer than now."""
    before, ahead = products(small.folder), time.time() + 86_400
    gap = "results/tiny/mini-mean-scale/q1/gaps/variance.zarr.zip"
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
    before = products(small.folder)
    name = "results/tiny/mini-mean-scale/q1/latents.zarr.zip"
    (small.folder / name).write_bytes(before[name][:-500])
    done = small.snakemake("--show-failed-logs", "--keep-going")
    assert done.returncode != 0 and f"{name}: damaged store, delete it" in done.stdout
    assert "most recent call last" not in done.stdout
    (small.folder / name).unlink()
    done = small.snakemake(*changed(small, before))  # a plain run leaves out what nothing waits for
    assert done.returncode == 0, done.stdout
    assert changed(small, before) == []


class Commands:
    """The command of every job of a project, to be run by hand."""

    def __init__(self, small):
        self.folder, self.environment = small.folder, small.environment
        printed = small.snakemake("--dry-run", "--forceall", "--printshellcmds").stdout
        lines = re.findall(r"python -m rdpipe .*$", printed, re.M)
        self.all = [shlex.split(line.split(" > logs/")[0])[1:] for line in lines]
        assert {command[2] for command in self.all} == STAGES

    def one(self, stage: str) -> list[str]:
        return next(command for command in self.all if command[2] == stage)

    def run(self, command: list[str], **more) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, *command], cwd=self.folder, env=self.environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)  # fmt: skip


@pytest.fixture(scope="module")
def commands(small):
    small.configure(small.config)
    return Commands(small)


def outputs_moved(command: list[str], folder: Path) -> list[str]:
    """A command whose outputs, and state of training, go to another folder."""
    moved, output = [], False
    for word in command:
        if word.startswith("--"):
            output = word in ("--out", "--points", "--bd_rates", "--decomposition", "--codes", "--figures", "--state")
        elif output:
            word = str(folder / word)
        moved.append(word)
    return moved


@pytest.fixture
def disk(tmp_path):
    """Mount a small file system of its own, if this process may."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> Path:
        subprocess.run(["umount", folder], capture_output=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
            pytest.skip("no file system of its own can be mounted here")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True)


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_full_disk_is_said_in_one_line_and_leaves_nothing(commands, disk, stage):
    folder = disk("size=4k")
    (folder / "full").write_bytes(bytes(4096))
    done = commands.run(outputs_moved(commands.one(stage), folder))
    assert done.returncode == 2, done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"rdpipe {stage}: ")
    assert "No space left" in done.stdout and "Traceback" not in done.stdout
    assert [file.name for file in folder.rglob("*") if file.is_file() and file.stat().st_size] == ["full"]


@pytest.mark.parametrize("stage", ["prepare_dataset", "extract_latents", "train_codec", "make_report"])
def test_a_read_only_disk_is_said_in_one_line(commands, disk, stage):
    done = commands.run(outputs_moved(commands.one(stage), disk("ro")))
    assert done.returncode == 2 and "Read-only file system" in done.stdout, done.stdout
    assert "Traceback" not in done.stdout


STORES = ("--latents", "--joint", "--gaps", "--simulations", "--anchors", "--decoded", "--fits", "--streams", "--bounds")


def stores_read(command: list[str]) -> list[str]:
    """The stores that a command reads."""
    flag, found = "", []
    for word in command:
        flag = word if word.startswith("--") else flag
        if flag in STORES and word.endswith(".zarr.zip"):
            found.append(word)
    return found


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Cut somewhere, or with one bit flipped."""
    place = chance.randrange(len(data))
    if chance.random() < 0.5:
        return data[:place]
    return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]


def test_no_stage_uses_a_damaged_store_without_a_word(commands, small, tmp_path, monkeypatch, capsys):
    """Each store that a stage reads, damaged at random: it is named, or the result is the same."""
    monkeypatch.chdir(small.folder)
    chance, outcomes = random.Random(time.time_ns()), []
    for stage in sorted(STAGES - {"prepare_dataset", "train_codec", "run_anchor", "extract_latents"}):
        command = outputs_moved(commands.one(stage), tmp_path)
        for name in dict.fromkeys(stores_read(command)):
            good = Path(name).read_bytes()
            Path(name).write_bytes(damaged(good, chance))
            try:
                status = main(command[2:])
            finally:
                Path(name).write_bytes(good)
            said = capsys.readouterr().err
            outcomes.append(status)
            if status:
                assert status == 2 and name in said and "damaged store" in said, (stage, name, said)
            for made in filter(Path.is_file, list(tmp_path.rglob("*"))):
                original = small.folder / made.relative_to(tmp_path)
                assert status == 0 and made.read_bytes() == original.read_bytes(), (stage, name)
                made.unlink()
    assert len(outcomes) >= 20 and outcomes.count(2) >= len(outcomes) // 2
