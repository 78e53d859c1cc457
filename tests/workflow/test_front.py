"""`rdpipe run`: a line for each finished job and for failures, and programs that have changed."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings

from snakemake_logger_plugin_rdpipe import LogHandler, Progress, clock, job_label

ROOT = Path(__file__).parents[2]
CONFIG = {
    "datasets": {"tiny": {"use": "folder", "args": {"root": "images"}}},
    "baselines": {
        "jpeg": {"qualities": [10, 50]},
        "none": {
            "use": "external",
            "args": {"encode": "cat {input} no-{output}", "decode": "cp {input} {output}"},
            "qualities": [1],
        },
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("progress")
    (folder / "images").mkdir()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(folder / "images/a.png")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


def run(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """Return the status and the lines of `rdpipe run`."""
    process = subprocess.run(
        [sys.executable, "-m", "rdpipe", "run", "tiny.yaml", *arguments, "--cores", "1"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    first, *lines = process.stdout.splitlines()
    assert first.startswith("Using workflow specific profile")  # by Snakemake, before it logs
    return process.returncode, lines


def baseline(name: str, quality: int) -> str:
    return f"results/tiny/baselines/{name}/q{quality}/0.zarr.zip"


def test_each_finished_job_is_a_line_and_the_full_log_is_a_file(folder):
    status, lines = run(folder, baseline("jpeg", 10), baseline("jpeg", 50))
    assert status == 0
    assert lines[0] == "3 jobs"
    assert re.fullmatch(r"1/3 prepare_dataset tiny \d+ s", lines[1])
    assert re.fullmatch(r"2/3 run_baseline tiny jpeg q(10|50) \d+ s, about \d+ s left", lines[2])
    assert re.fullmatch(r"3/3 run_baseline tiny jpeg q(10|50) \d+ s", lines[3])
    assert len(lines) == 4  # and no report, which is not made
    log = max((folder / ".snakemake/log").iterdir())
    assert "rule prepare_dataset:" in log.read_text()
    assert run(folder, baseline("jpeg", 10))[1] == [
        "Nothing to be done (all requested files are present and up to date)."
    ]


def test_failed_job_shows_the_last_line_and_the_path_of_its_log(folder):
    status, lines = run(folder, baseline("none", 1))
    log = "logs/run_baseline/tiny/none/q1/0.log"
    assert status == 1
    failed = [line for line in lines if line.startswith("FAILED")]
    assert len(failed) == 2  # the profile tries a job once more
    assert all(line.startswith("FAILED run_baseline tiny none q1: ") for line in failed)
    assert failed[1].endswith(f" ({log})")
    assert (folder / log).read_text().split("\n")[-2].strip() in failed[1]
    assert "trying again: run_baseline tiny none q1" in lines
    assert any(line.startswith("Complete log(s): ") for line in lines)
    assert not any("python -P -m rdpipe" in line for line in lines)


def test_dry_run_shows_the_plan_of_snakemake(folder):
    status, lines = run(folder, baseline("none", 1), "--dry-run")
    assert status == 0 and "This was a dry-run (flag -n)." in "\n".join(lines)


def test_another_version_of_a_program_reruns_what_it_made(tmp_path):
    """A program is one script, which encodes and decodes: it copies."""
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "images/a.png")
    script = tmp_path / "duplicate.py"
    script.write_text("import shutil, sys; shutil.copy(*sys.argv[1:])\n")
    command = f"python {tmp_path}/duplicate.py {{input}} {{output}}"
    copied = {"use": "external", "args": {"encode": command, "decode": command}, "qualities": [1]}
    baselines = {"jpeg": {"qualities": [10]}, "copy": copied}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**CONFIG, "baselines": baselines}))
    products = [baseline("jpeg", 10), baseline("copy", 1)]
    status, lines = run(tmp_path, *products)
    assert status == 0, lines
    script.write_text(script.read_text() + "# version 2\n")
    status, lines = run(tmp_path, *products)
    assert status == 0 and lines[0] == "1 job"
    assert lines[1].startswith("1/1 run_baseline tiny copy q1 ")


def record(created, message="", level=logging.INFO, **attributes):
    record = logging.LogRecord("snakemake", level, "", 0, message, (), None)
    vars(record).update(attributes, created=created)
    return record


def test_time_left_follows_from_the_times_of_each_rule():
    """Four jobs of 10 s, two at once, and one of a rule that has not run: 1.5 rounds of 10 s."""
    progress = Progress()
    stats = {"simulate": 4, "make_report": 1, "all": 1, "total": 6}
    assert list(progress.lines(record(0, event=LogEvent.RUN_INFO, stats=stats))) == ["5 jobs"]
    for job in (1, 2):
        started = dict(jobid=job, rule_name="simulate", wildcards={"quality": str(job)})
        assert not list(progress.lines(record(100, event=LogEvent.JOB_INFO, **started)))
    finished = [
        list(progress.lines(record(110, event=LogEvent.JOB_FINISHED, job_id=job))) for job in (1, 2)
    ]
    assert finished[1] == ["2/5 simulate q2 10 s, about 15 s left"]


def test_jobs_of_a_failed_group_have_one_line():
    """Snakemake reports an error of each of them, whichever has failed."""
    progress, jobs = Progress(), (1, 2)
    for job in jobs:
        started = dict(jobid=job, rule_name="simulate", wildcards={"quality": str(job)})
        assert not list(progress.lines(record(0, event=LogEvent.JOB_INFO, **started)))
    infos = [{"jobid": job} for job in jobs]
    failed = record(1, event=LogEvent.GROUP_ERROR, groupid="a", job_error_info=infos)
    line = "FAILED one of 2 jobs of a group: simulate q1; simulate q2 (see their logs)"
    assert list(progress.lines(failed)) == [line]
    for job in jobs:
        assert not list(progress.lines(record(1, event=LogEvent.JOB_ERROR, jobid=job, log=[])))


def test_rules_that_run_nothing_are_not_counted():
    progress = Progress()
    list(progress.lines(record(0, event=LogEvent.RUN_INFO, stats={"all": 1, "total": 1})))
    started = dict(jobid=0, rule_name="all", wildcards={})
    assert not list(progress.lines(record(1, event=LogEvent.JOB_INFO, **started)))
    assert not list(progress.lines(record(2, event=LogEvent.JOB_FINISHED, job_id=0)))


def test_progress_goes_on_after_a_record_that_is_not_understood(capsys, monkeypatch):
    settings = MockOutputSettings()
    settings.printshellcmds = False
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = LogHandler(settings, None)
    handler.emit(record(0, event=LogEvent.JOB_FINISHED, job_id=7))
    handler.emit(record(0, event=LogEvent.RUN_INFO, stats={"simulate": 2, "total": 2}))
    assert capsys.readouterr().err == "2 jobs\n"


@pytest.mark.parametrize("flag", ["dryrun", "printshellcmds", "verbose", "debug_dag"])
def test_plans_and_verbose_runs_are_left_to_snakemake(flag):
    settings = MockOutputSettings()
    settings.printshellcmds = False
    assert LogHandler(settings, None).writes_to_stream
    setattr(settings, flag, True)
    assert not LogHandler(settings, None).writes_to_stream


def test_warnings_are_shown():
    text = "Unlocked working directory."
    assert list(Progress().lines(record(0, text, logging.WARNING))) == [text]


def test_label_of_a_job():
    wildcards = {"dataset": "kodak", "codec": "mine", "quality": "3", "shard": "0"}
    assert job_label("simulate", wildcards) == "simulate kodak mine q3"
    assert job_label("simulate", wildcards | {"shard": "2"}) == "simulate kodak mine q3 shard 2"


def test_times_have_minutes_and_hours():
    assert [clock(s) for s in (0.4, 59.6, 3599, 3600)] == ["0 s", "1:00", "59:59", "1:00:00"]
