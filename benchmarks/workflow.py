"""The workflow: a run and the sum of its stages, a run with nothing to do, one and two workers."""

import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmarks.common import Figure, Options, alternate, run_command
from rdpipe.report.stage_times import stage_times

ROOT = Path(__file__).parents[1]
RUN_ROUNDS = 2
"""Largest number of rounds of complete runs, which take minutes."""


def run_snakemake(*words: object, cores: int = 1, **options: Any) -> float:
    """Run Snakemake with this interpreter on the ``PATH``; return wall-clock seconds."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    command = (sys.executable, "-m", "snakemake", "--cores", cores, *words)
    return run_command(*command, env=environment, **options)[0]


def write_config(folder: Path, source: Path, **changes: Any) -> Path:
    """Create a folder and write a config to it whose results and logs go to the same folder."""
    config = yaml.safe_load(source.read_text())
    config["pathvars"] = {"results": str(folder / "results"), "logs": str(folder / "logs")}
    folder.mkdir()
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**config, **changes}))
    return file


def figures(options: Options) -> Iterator[Figure]:
    name, folders = options.config.stem, {}

    def complete_run(cores: int) -> float:
        folders[cores] = options.work / f"run-{len(list(options.work.glob('run-*')))}"
        config = write_config(folders[cores], options.config)
        return run_snakemake("--configfile", config, cores=cores, cwd=ROOT)

    rounds = alternate(
        min(RUN_ROUNDS, options.rounds), lambda: complete_run(1), lambda: complete_run(2)
    )
    logs = folders[1] / "logs"
    stages = sum(row["seconds"] for row in stage_times(logs))
    ratios = [rounds[-1][0] / stages]
    reference = "sum of its jobs"
    yield Figure(f"all of {name} on one core", reference, "<= 1.35", ratios, f"{stages:.0f} s")
    ratios = [first / second for first, second in rounds]
    yield Figure(f"all of {name}, 1 worker", "2 workers", ">= 1.7", ratios)

    empty = options.work / "empty"
    empty.mkdir()
    (empty / "Snakefile").write_text("rule all:\n    input: []\n")
    repeat = ("--configfile", folders[1] / "config.yaml")
    rounds = alternate(
        options.rounds,
        lambda: run_snakemake(*repeat, cwd=ROOT),
        lambda: run_snakemake("-n", cwd=empty),
    )
    ratios = [first / second for first, second in rounds]
    note = f"{statistics.median(first for first, _ in rounds):.1f} s"
    reference = "snakemake -n, empty workflow"
    yield Figure("second run with nothing to do", reference, "<= 3", ratios, note)
