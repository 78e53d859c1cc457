"""The whole run against its own stages, a second run against an empty workflow, two workers against one."""

import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.common import Figure, Options, by_turns, command
from rdpipe.provenance import stage_times

HERE = Path(__file__).parents[1]
CONFIG = HERE / "config/sample.yaml"


def snakemake(*words, cores: int = 1, **options) -> float:
    """Seconds of a run of Snakemake, which finds the interpreter that runs this."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    words = ["-m", "snakemake", "--cores", cores, *words]
    return command(sys.executable, *words, env=environment, **options)[0]


def config_of(folder: Path, source: Path = CONFIG, **changes) -> Path:
    """A config that writes to a folder."""
    config = yaml.safe_load(source.read_text())
    config["pathvars"] = {"results": str(folder / "results"), "logs": str(folder / "logs")}
    folder.mkdir()
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**config, **changes}))
    return file


def run(folder: Path, cores: int) -> float:
    return snakemake("--configfile", config_of(folder), cores=cores, cwd=HERE)


def figures(options: Options) -> Iterator[Figure]:
    count = iter(range(10**6))
    folders = {}

    def fresh(cores: int) -> float:
        folders[cores] = options.work / f"run-{next(count)}"
        return run(folders[cores], cores)

    # a round is minutes: two of them
    rounds = by_turns(min(2, options.rounds), lambda: fresh(1), lambda: fresh(2))
    stages = sum(one["seconds"] for one in stage_times(folders[1] / "logs/benchmarks"))
    walls = [one / stages for one in [rounds[-1][0]]]
    yield Figure("the whole sample on one core", "its stages, start-up included", "<= 1.35", walls)
    yield Figure("the whole sample, 2 workers", "1 worker", ">= 1.7", [a / b for a, b in rounds])
    empty = options.work / "empty"
    empty.mkdir()
    (empty / "Snakefile").write_text("rule all:\n    input: []\n")
    again = ["--configfile", folders[1] / "config.yaml"]
    rounds = by_turns(
        options.rounds,
        lambda: snakemake(*again, cwd=HERE),
        lambda: snakemake("-n", cwd=empty),
    )
    note = f"{statistics.median(a for a, _ in rounds):.1f} s"
    yield Figure("a second run: nothing to be done", "snakemake -n, empty workflow", "<= 3",
                 [a / b for a, b in rounds], note)  # fmt: skip
